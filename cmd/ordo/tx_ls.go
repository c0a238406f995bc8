package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"ordo/actors/audit"
	"ordo/actors/order"
	"ordo/api"
	"ordo/stores"
)

// TxLsCmd lists orders, of a running shop or from the order actor's file, which
// may be in use.
type TxLsCmd struct {
	TxSource
	State string        `help:"Those in this state; all for all." enum:"pending,placed,paid,refused,closing,cancelled,all" default:"all"`
	User  string        `help:"Those of this user." placeholder:"USER"`
	SKU   string        `name:"sku" help:"Those with this SKU." placeholder:"SKU"`
	Stuck bool          `help:"Those with a step that was asked for and is not answered, and those overdue."`
	Older time.Duration `help:"Those that were submitted, or with --stuck asked for, so long ago." default:"0s"`
	Limit int           `help:"Most orders." default:"50"`
	JSON  bool          `name:"json" help:"Print a line of JSON for each order."`
}

// Validate refuses what would list nothing.
func (c *TxLsCmd) Validate() error {
	err := errors.Join(within("limit", c.Limit, 1, 10_000),
		within("older", c.Older, 0, 10*365*24*time.Hour), c.check())
	if len(c.Data) > 1 {
		err = errors.Join(err,
			errors.New("--data is the one directory with the order actor's file"))
	}
	return err
}

// Run implements the command.
func (c *TxLsCmd) Run(ctx context.Context, t *terminal) error {
	read := c.ask
	if len(c.Data) > 0 {
		read = c.read
	}
	all, err := read(ctx)
	if err != nil {
		return fmt.Errorf("tx: %w", err)
	}
	if c.JSON {
		return printEach(t.Out, all)
	}
	w := tabwriter.NewWriter(t.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ORDER\tSTATE\tTOTAL\tSUBMITTED\tWAITS FOR") // w keeps its error
	for i := range all {
		o := &all[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", o.Order, o.State, o.Total, second(o.Created),
			waits(o))
	}
	return w.Flush()
}

// waits says what an order waits for.
func waits(o *api.Transaction) string {
	var all []string
	for i := range o.Waits {
		s := &o.Waits[i]
		if o.State == api.OrderPlaced && s.Name == "payment.collect" {
			all = append(all, "payment until "+second(o.Deadline))
			continue
		}
		all = append(all, fmt.Sprintf("%s %s since %s", s.Name, s.State, second(s.Since())))
	}
	return or(strings.Join(all, ", "), "-")
}

// second prints a time to the second.
func second(t api.Time) string {
	if t == 0 {
		return "-"
	}
	return t.Std().UTC().Format(time.RFC3339)
}

// ask asks a running shop, page by page.
func (c *TxLsCmd) ask(ctx context.Context) (all []api.Transaction, err error) {
	q := url.Values{"user": {c.User}, "sku": {c.SKU}, "stuck": {strconv.FormatBool(c.Stuck)},
		"older": {strconv.FormatInt(int64(c.Older/time.Second), 10)}}
	if c.State != "all" {
		q.Set("state", c.State)
	}
	for {
		q.Set("limit", strconv.Itoa(min(c.Limit-len(all), api.MaxPage)))
		var page api.TransactionList
		if err := c.remote().ask(ctx, "GET", "/transactions?"+q.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Transactions...)
		if page.Next == "" || len(all) >= c.Limit {
			return all, nil
		}
		q.Set("cursor", page.Next)
	}
}

// read reads the order actor's file.
func (c *TxLsCmd) read(ctx context.Context) (all []api.Transaction, err error) {
	path := audit.File(c.Data[0], "order")
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	db, err := stores.OpenReadOnly(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, `SELECT o.id, o.user, o.state, o.currency, o.total,
			o.total - o.balance, o.refunded, o.created, coalesce(o.deadline, 0), o.reason,
			json_group_array(json_object('order', o.id, 'step', s.name, 'occurrence', s.occurrence,
				'state', s.state, 'attempts', s.attempts, 'asked', s.asked_at))
				FILTER (WHERE s.name IS NOT NULL)
		FROM orders o LEFT JOIN steps s ON s.order_id = o.id AND s.state IN ('asked', 'undoing')
			AND NOT (?2 AND s.name = 'payment.collect' AND o.state = 'placed')
		WHERE (?1 = 'all' OR o.state = ?1) AND (?2 OR o.created <= ?3)
			AND (NOT ?2 OR s.asked_at <= ?3
				OR o.state = 'placed' AND o.deadline <= min(?3, ?7))
			AND (?5 = '' OR o.user = ?5) AND (?6 = '' OR EXISTS (SELECT 1 FROM json_each(o.lines) l
				WHERE l.value ->> 'sku' = ?6))
		GROUP BY o.n ORDER BY o.n DESC LIMIT ?4`, c.State, c.Stuck,
		time.Now().Add(-c.Older).UnixNano(), c.Limit, c.User, c.SKU,
		time.Now().Add(-order.OverdueAfter).UnixNano())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		o, err := scanTransaction(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, rows.Err()
}

func scanTransaction(rows *sql.Rows) (o api.Transaction, err error) {
	var currency, waits string
	var reason sql.NullString
	if err := rows.Scan(&o.Order, &o.User, &o.State, &currency, &o.Total.Amount, &o.Due.Amount,
		&o.Refunded.Amount, &o.Created, &o.Deadline, &reason, &waits); err != nil {
		return o, err
	}
	o.Total.Currency, o.Due.Currency, o.Refunded.Currency = currency, currency, currency
	if reason.Valid {
		if err := json.Unmarshal([]byte(reason.String), &o.Reason); err != nil {
			return o, fmt.Errorf("stored refusal: %w", err)
		}
	}
	var stored []struct {
		api.StepView
		Asked int64 `json:"asked"`
	}
	if err := json.Unmarshal([]byte(waits), &stored); err != nil {
		return o, fmt.Errorf("stored steps: %w", err)
	}
	o.Waits = make([]api.StepView, len(stored))
	for i, s := range stored {
		s.AskedAt = api.Time(s.Asked)
		o.Waits[i] = s.StepView
	}
	return o, nil
}
