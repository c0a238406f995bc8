package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"ordo/stores"
)

// AuditCmd reads the files of all actors, also of a shop that is running, and
// checks that they are there and whole, and that stock, money, coupons and
// orders add up. It exits with 1 and names every deviation with its order and
// row. What a message that is still under way will put right is counted, not
// reported. Row M11.
type AuditCmd struct {
	Data    []string `help:"Data directory; several when actors have their own." required:"" type:"path"`
	Partial bool     `help:"Files of actors may be missing; check what those that are there tell."`
	JSON    bool     `name:"json" help:"Print the result as JSON."`
}

// deviation is one thing that does not add up.
type deviation struct {
	// Check names the rule, for example holds.
	Check string `json:"check"`
	// Order is the order it is about; empty where there is none.
	Order string `json:"order,omitempty"`
	// Row is table and key.
	Row     string `json:"row"`
	Problem string `json:"problem"`
}

// auditResult is what an audit found.
type auditResult struct {
	// OK is true when nothing deviates, no file is damaged, and none is missing
	// that has to be there.
	OK         bool        `json:"ok"`
	Deviations []deviation `json:"deviations"`
	// Missing are the names of actors' files that are not there.
	Missing []string `json:"missing"`
	// Damaged are those that can't be read as an actor's file.
	Damaged []damage `json:"damaged"`
	// Warnings are dead letters and incidents that somebody should look at.
	Warnings []string `json:"warnings"`
	// InFlight counts messages sent and not committed by their receivers yet.
	InFlight int `json:"in_flight"`
	// Excused counts deviations of orders that have a message in flight.
	Excused int `json:"excused"`
	// Checks ran; LeftOut are those whose files are missing or damaged.
	Checks  []string `json:"checks"`
	LeftOut []string `json:"left_out"`
	// Orders counts the orders by state.
	Orders map[string]int64 `json:"orders"`
}

// Run implements the command.
func (c *AuditCmd) Run(ctx context.Context, t *terminal) error {
	result, err := runAudit(ctx, c.Data, c.Partial)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if c.JSON {
		err = json.NewEncoder(t.Out).Encode(result)
	} else {
		err = result.print(t.Out)
	}
	if err == nil && !result.OK {
		err = errFound
	}
	return err
}

func (r *auditResult) print(w io.Writer) error {
	var errs []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format, args...)
		errs = append(errs, err)
	}
	for _, name := range r.Missing {
		say("%s is missing\n", name)
	}
	for _, d := range r.Damaged {
		say("%s\n", d)
	}
	for _, d := range r.Deviations {
		say("DEVIATION %s: %s %s: %s\n", d.Check, or(d.Order, "-"), d.Row, d.Problem)
	}
	for _, text := range r.Warnings {
		say("warning: %s\n", text)
	}
	for _, name := range r.LeftOut {
		say("not checked, a file is missing or damaged: %s\n", name)
	}
	say("%s; %d checks, orders %v, %d messages in flight, %d deviations excused by them\n",
		r.verdict(), len(r.Checks), r.Orders, r.InFlight, r.Excused)
	return errors.Join(errs...)
}

func (r *auditResult) verdict() string {
	if r.OK {
		return "all adds up"
	}
	return fmt.Sprintf("%d deviations, %d files missing, %d damaged", len(r.Deviations),
		len(r.Missing), len(r.Damaged))
}

// audit is one consistent reading of all files, over one connection.
type audit struct {
	conn *sql.Conn
	// files are the paths of the actors' files that can be read.
	files map[string]string
	// sandbox is the path of a payment sandbox's books; empty where there is none.
	sandbox string
	// moving are the orders that have a message in flight.
	moving map[string]bool
	// stuck is true when a channel can't go on, so that what is under way will
	// not put anything right by itself.
	stuck  bool
	result auditResult
}

func runAudit(ctx context.Context, dirs []string, partial bool) (_ *auditResult, err error) {
	a := &audit{files: map[string]string{}, moving: map[string]bool{},
		result: auditResult{Deviations: []deviation{}, Missing: []string{}, Damaged: []damage{},
			Warnings: []string{}, Checks: []string{}, LeftOut: []string{}, Orders: map[string]int64{}}}
	if err := a.find(dirs); err != nil {
		return nil, err
	}
	if err := a.checkPages(ctx); err != nil {
		return nil, err
	}
	if err := a.findSandbox(ctx, dirs); err != nil {
		return nil, err
	}
	if len(a.files) > 0 {
		if err := a.readAll(ctx); err != nil {
			return nil, err
		}
	}
	r := &a.result
	r.OK = len(r.Deviations) == 0 && len(r.Damaged) == 0 && (partial || len(r.Missing) == 0)
	return r, nil
}

// readAll runs everything that is told from the tables.
func (a *audit) readAll(ctx context.Context) error {
	db, err := a.open(ctx)
	if err != nil {
		return err
	}
	for _, do := range []func(context.Context) error{a.inFlight, a.channels, a.runChecks, a.warn,
		a.countOrders} {
		if err = do(ctx); err != nil {
			break
		}
	}
	return errors.Join(err, a.conn.Close(), db.Close())
}

func (a *audit) exec(ctx context.Context, query string, args ...any) error {
	_, err := a.conn.ExecContext(ctx, query, args...)
	return err
}

// each calls f with a scan function for every row.
func (a *audit) each(ctx context.Context, query string, f func(scan func(...any) error) error,
) error {
	rows, err := a.conn.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// inFlight notes the orders that messages in flight are about: rows of a
// sender's outbox above the last number that the receiver has committed.
func (a *audit) inFlight(ctx context.Context) error {
	for _, from := range auditOrder() {
		for _, to := range auditOrder() {
			if a.files[from] == "" {
				continue
			}
			last := `(SELECT coalesce(max(committed), 0) FROM "` + from + `"._out
				WHERE receiver = '` + to + `.0')`
			if a.files[to] != "" {
				last = `(SELECT coalesce(max(number), 0) FROM "` + to + `"._in
					WHERE sender = '` + from + `.0' AND retired = 0)`
			}
			err := a.each(ctx, `SELECT coalesce(body ->> '$.order', '') FROM "`+from+`"._outbox
				WHERE receiver = '`+to+`.0' AND number > `+last,
				func(scan func(...any) error) error {
					var order string
					err := scan(&order)
					a.moving[order] = true
					a.result.InFlight++
					return err
				})
			if err != nil {
				return err
			}
		}
	}
	delete(a.moving, "")
	return nil
}

// rules are all that can be told from the files.
func (a *audit) rules() []check {
	all := slices.Concat(checks[:], moneyChecks[:])
	if a.sandbox != "" {
		all = append(all, gatewayChecks[:]...)
	}
	return all
}

func (a *audit) runChecks(ctx context.Context) error {
	for _, c := range a.rules() {
		if slices.ContainsFunc(c.needs, func(actor string) bool { return a.files[actor] == "" }) {
			a.result.LeftOut = append(a.result.LeftOut, c.name)
			continue
		}
		a.result.Checks = append(a.result.Checks, c.name)
		err := a.each(ctx, c.query, func(scan func(...any) error) error {
			d := deviation{Check: c.name}
			if err := scan(&d.Order, &d.Row, &d.Problem); err != nil {
				return err
			}
			a.deviate(d)
			return nil
		})
		if err != nil {
			return fmt.Errorf("check %s: %w", c.name, err)
		}
	}
	return nil
}

func (a *audit) deviate(d deviation) {
	if a.moving[d.Order] && !a.stuck {
		a.result.Excused++
		return
	}
	a.result.Deviations = append(a.result.Deviations, d)
}

// channels checks that no receiver has committed more than its sender gave.
// Senders are read after the receivers, since they may be running.
func (a *audit) channels(ctx context.Context) error {
	a.result.Checks = append(a.result.Checks, "channels")
	for sender, path := range a.files {
		given, err := readGiven(ctx, path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for receiver := range a.files {
			var committed int64
			if err := a.conn.QueryRowContext(ctx, `SELECT coalesce(max(number), 0) FROM "`+receiver+
				`"._in WHERE sender = ? AND retired = 0`, sender+".0").Scan(&committed); err != nil {
				return err
			}
			if n := given[receiver+".0"]; committed > n {
				a.stuck = true
				a.deviate(deviation{Check: "channels", Row: receiver + "._in " + sender,
					Problem: fmt.Sprintf("committed number %d, but %s has given only %d", committed,
						sender, n)})
			}
		}
	}
	return nil
}

// readGiven reads the last number that a file has given to each receiver.
func readGiven(ctx context.Context, path string) (given map[string]int64, err error) {
	db, err := stores.OpenReadOnly(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, `SELECT receiver, number FROM _out`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	given = map[string]int64{}
	for rows.Next() {
		var receiver string
		var n int64
		if err := rows.Scan(&receiver, &n); err != nil {
			return nil, err
		}
		given[receiver] = n
	}
	return given, rows.Err()
}

// warn lists what operators should look at though it breaks no rule by itself.
func (a *audit) warn(ctx context.Context) error {
	for _, actor := range auditOrder() {
		if a.files[actor] == "" {
			continue
		}
		err := a.each(ctx, `SELECT 'dead letter ' || n || ' of `+actor+`: ' || subject || ': ' || error
				FROM "`+actor+`"._dead WHERE state = 'open'
			UNION ALL SELECT 'incident of `+actor+`: ' || kind || ': ' || text
				FROM "`+actor+`"._incident LIMIT 1000`,
			func(scan func(...any) error) error {
				var text string
				err := scan(&text)
				a.result.Warnings = append(a.result.Warnings, text)
				return err
			})
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *audit) countOrders(ctx context.Context) error {
	if a.files["order"] == "" {
		return nil
	}
	return a.each(ctx, `SELECT state, count(*) FROM "order".orders GROUP BY state`,
		func(scan func(...any) error) error {
			var state string
			var n int64
			err := scan(&state, &n)
			a.result.Orders[state] = n
			return err
		})
}
