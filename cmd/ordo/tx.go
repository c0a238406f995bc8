package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"ordo/actors/history"
	"ordo/api"
	"ordo/stores"

	"ordo/actors/audit"
)

// TxCmd shows what became of orders. Row M7.
type TxCmd struct {
	Show TxShowCmd `cmd:"" help:"Show an order's whole life: messages, steps, what each wrote."`
	Ls   TxLsCmd   `cmd:"" help:"List orders with their steps."`
}

// TxShowCmd shows an order's life, from the files of a shop that may be running.
type TxShowCmd struct {
	Order  string   `arg:"" help:"Id of the order."`
	Data   []string `help:"Data directory; several when actors have their own." default:"ordo-data" type:"path"`
	NATS   string   `help:"NATS to read the streams from; else a copy of those in the data directory." placeholder:"URL"`
	NoRows bool     `help:"Leave out what each message wrote, which takes handling the streams again."`
	JSON   bool     `name:"json" help:"Print it as JSON."`
	Export string   `help:"Write it as scenarios that actorstest runs." placeholder:"FILE"`
}

// Validate refuses what contradicts itself.
func (c *TxShowCmd) Validate() error {
	if c.Export != "" && c.NoRows {
		return errors.New("--export needs what --no-rows leaves out")
	}
	_, err := api.ParseID(api.PrefixOrder, c.Order)
	return err
}

// Run implements the command.
func (c *TxShowCmd) Run(ctx context.Context, t *terminal) error {
	if err := refuseHalfSwapped(c.Data...); err != nil {
		return fmt.Errorf("tx: %w", err)
	}
	life, err := history.Read(ctx, c.Order, history.Config{Data: c.Data, NATS: c.NATS,
		Specs: specs(), Rows: !c.NoRows, Export: c.Export != ""})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("tx: there is no order %s", c.Order)
	}
	if err != nil {
		return fmt.Errorf("tx: %w", err)
	}
	if c.Export != "" {
		text, err := json.MarshalIndent(life.Scenarios, "", " ")
		if err != nil {
			return fmt.Errorf("tx: export: %w", err)
		}
		if err := os.WriteFile(c.Export, append(text, '\n'), 0o600); err != nil {
			return fmt.Errorf("tx: export: %w", err)
		}
	}
	if c.JSON {
		return json.NewEncoder(t.Out).Encode(life)
	}
	return printLife(t.Out, life)
}

func printLife(w io.Writer, life *history.Life) error {
	var errs []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format, args...)
		errs = append(errs, err)
	}
	say("order %s is %s\n\n", life.Order, or(life.State, "unknown"))
	for _, m := range life.Messages {
		say("%s  %s <- %s  %s\n", clock(m.At), m.Actor, m.From, m.Subject)
		say("    id %s", m.ID)
		if m.Cause != "" {
			say("  because of %s", m.Cause)
		}
		say("\n    %s\n", m.Body)
		switch {
		case m.Dead != "":
			say("    dead letter %s\n", m.Dead)
		case !m.Handled:
			say("    not handled, or not known any more\n")
		case m.Outcome != "":
			say("    answered %s\n", m.Outcome)
		}
		for _, c := range m.Wrote {
			say("    %-6s %s%s\n", c.Op, c.Table, changed(&c))
		}
		for _, s := range m.Sent {
			say("    sent   %s\n", s.Subject)
		}
	}
	say("\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range life.Steps {
		answered := "-"
		if s.AnsweredAt != 0 {
			answered = clock(s.AnsweredAt)
		}
		fmt.Fprintf(table, "step %s\t%d\t%s\tasked %s\tanswered %s\ttries %d\t%s\n", s.Name,
			s.Occurrence, s.State, clock(s.AskedAt), answered, s.Attempts, s.Refusal)
	}
	errs = append(errs, table.Flush())
	for _, text := range life.Notes {
		say("note: %s\n", text)
	}
	return errors.Join(errs...)
}

func clock(t api.Time) string { return t.Std().UTC().Format("2006-01-02T15:04:05.000000Z") }

// changed prints the columns of a change: key=value, or key=old→new.
func changed(c *stores.Change) string {
	names := map[string]bool{}
	for name := range c.Old {
		names[name] = true
	}
	for name := range c.New {
		names[name] = true
	}
	var b strings.Builder
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range names {
			if !yield(name) {
				return
			}
		}
	}) {
		was, had := c.Old[name]
		is, has := c.New[name]
		switch {
		case had && has:
			fmt.Fprintf(&b, " %s=%v→%v", name, was, is)
		case has:
			fmt.Fprintf(&b, " %s=%v", name, is)
		default:
			fmt.Fprintf(&b, " %s=%v", name, was)
		}
	}
	return b.String()
}

// TxLsCmd lists orders from the order actor's file, which may be in use.
type TxLsCmd struct {
	Data  string        `help:"Data directory." default:"ordo-data" type:"path"`
	State string        `help:"Those in this state; all for all." enum:"pending,placed,paid,refused,closing,cancelled,all" default:"all"`
	Stuck bool          `help:"Those with a step that was asked for and is not answered."`
	Older time.Duration `help:"Those that were submitted, or with --stuck asked for, so long ago." default:"0s"`
	Limit int           `help:"Most orders." default:"50"`
}

// Validate refuses what would list nothing.
func (c *TxLsCmd) Validate() error {
	return errors.Join(within("limit", c.Limit, 1, 10_000),
		within("older", c.Older, 0, 10*365*24*time.Hour))
}

// Run implements the command.
func (c *TxLsCmd) Run(ctx context.Context, t *terminal) (err error) {
	path := audit.File(c.Data, "order")
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("tx: %w", err)
	}
	db, err := stores.OpenReadOnly(path)
	if err != nil {
		return fmt.Errorf("tx: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, `SELECT o.id, o.state, o.created, coalesce(group_concat(
			s.name || ' ' || s.state, ', '), '')
		FROM orders o LEFT JOIN steps s ON s.order_id = o.id AND s.state IN ('asked', 'undoing')
			AND NOT (s.name = 'payment.collect' AND o.state = 'placed')
		WHERE (?1 = 'all' OR o.state = ?1) AND (NOT ?2 OR s.asked_at <= ?3) AND (?2
			OR o.created <= ?3)
		GROUP BY o.n ORDER BY o.n DESC LIMIT ?4`, c.State, c.Stuck,
		time.Now().Add(-c.Older).UnixNano(), c.Limit)
	if err != nil {
		return fmt.Errorf("tx: %w", err)
	}
	defer rows.Close()
	w := tabwriter.NewWriter(t.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ORDER\tSTATE\tSUBMITTED\tWAITS FOR") // w keeps its error
	for rows.Next() {
		var id, state, steps string
		var created api.Time
		if err := rows.Scan(&id, &state, &created, &steps); err != nil {
			return fmt.Errorf("tx: %w", err)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", id, state, created.Std().UTC().Format(time.RFC3339),
			or(steps, "-"))
	}
	return errors.Join(rows.Err(), w.Flush())
}
