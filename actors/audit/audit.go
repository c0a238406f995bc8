// Package audit checks that the actors' files agree with one another: stock,
// money, coupons, holds, orders and their journal add up. It reads the files
// only, also of a shop that is running, and decides what counts as a deviation;
// it never changes anything, and knows no actor's code, only tables.
//
// Files are read one after the other, so an order may have gone on between two
// of them. Each reading comes with the numbers of the actors' channels: what
// was sent to an actor and had not arrived in its reading, or arrived in it but
// was not sent in the sender's, names the orders that are on their way. All
// other orders rest, and of those the rules must hold.
package audit

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bound is how long an order may stay undecided after its deadline, and a
// message unhandled while both its actors go on, where Options do not say.
const Bound = 10 * time.Minute

// again is the pause before what deviates is looked at a second time, resend
// that where messages are not handled: an actor that has just started sends
// them again when it has asked its receivers.
const (
	again  = 250 * time.Millisecond
	resend = 6 * time.Second
)

// Options say what to read.
type Options struct {
	// Dirs are data directories; several when actors have their own.
	Dirs []string
	// Partial is true when files of actors may be missing.
	Partial bool
	// Bound is the time after which what was accepted must be decided; 0 for
	// the constant.
	Bound time.Duration
	// Reading, when not nil, is told of each actor before its file is read.
	Reading func(actor string)
}

// Deviation is one thing that does not add up.
type Deviation struct {
	// Check names the rule, for example holds.
	Check string `json:"check"`
	// Order is the order it is about; empty where there is none.
	Order string `json:"order,omitempty"`
	// Row is table and key.
	Row     string `json:"row"`
	Problem string `json:"problem"`
}

// key tells whether two looks have found the same.
func (d *Deviation) key() string { return d.Check + "\x00" + d.Order + "\x00" + d.Row }

// Result is what an audit found.
type Result struct {
	// OK is true when nothing deviates, no file is damaged, and none is missing
	// that has to be there.
	OK         bool        `json:"ok"`
	Deviations []Deviation `json:"deviations"`
	// Missing are the names of actors' files that are not there.
	Missing []string `json:"missing"`
	// Damaged are those that can't be read as an actor's file.
	Damaged []Damage `json:"damaged"`
	// Warnings are dead letters and incidents that somebody should look at.
	Warnings []string `json:"warnings"`
	// InFlight counts messages sent and not committed by their receivers yet.
	InFlight int `json:"in_flight"`
	// Excused counts deviations of orders that were on their way, or were gone
	// at the second look.
	Excused int `json:"excused"`
	// Checks ran; LeftOut are those whose files are missing or damaged.
	Checks  []string `json:"checks"`
	LeftOut []string `json:"left_out"`
	// Orders counts the orders by state.
	Orders map[string]int64 `json:"orders"`
}

// books are the files of a shop.
type books struct {
	// files are the paths of the actors' files that can be read.
	files map[string]string
	// sandbox is the path of a payment sandbox's books; empty where there is none.
	sandbox string
	bound   time.Duration
	reading func(actor string)
}

// audit is one reading of all files, over one connection.
type audit struct {
	books
	conn   *sql.Conn
	cut    cut
	result Result
}

// Run reads the files of all actors once, and a second time what deviates. What
// a message on its way will put right is counted, not reported. Row M11.
func Run(ctx context.Context, o Options) (*Result, error) {
	a := &audit{books: books{files: map[string]string{}, bound: cmp.Or(o.Bound, Bound),
		reading: o.Reading},
		result: Result{Deviations: []Deviation{}, Missing: []string{}, Damaged: []Damage{},
			Warnings: []string{}, Checks: []string{}, LeftOut: []string{},
			Orders: map[string]int64{}}}
	if a.reading == nil {
		a.reading = func(string) {}
	}
	if err := a.find(o.Dirs); err != nil {
		return nil, err
	}
	if err := a.checkPages(ctx); err != nil {
		return nil, err
	}
	if err := a.findSandbox(ctx, o.Dirs); err != nil {
		return nil, err
	}
	if len(a.files) > 0 {
		if err := a.readAll(ctx); err != nil {
			return nil, err
		}
	}
	r := &a.result
	r.OK = len(r.Deviations) == 0 && len(r.Damaged) == 0 && (o.Partial || len(r.Missing) == 0)
	return r, nil
}

// readAll runs everything that is told from the tables, and looks again at what
// deviates.
func (a *audit) readAll(ctx context.Context) error {
	found, err := a.first(ctx)
	if err != nil {
		return err
	}
	kept, err := a.second(ctx, found)
	if err != nil {
		return err
	}
	a.result.Excused += len(found) - len(kept)
	a.result.Deviations = append(a.result.Deviations, kept...)
	return nil
}

// first is one reading of everything. It answers what deviates of orders that
// rest.
func (a *audit) first(ctx context.Context) (found []Deviation, err error) {
	db, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.conn.Close(), db.Close()) }()
	for _, do := range []func(context.Context) error{a.warn, a.countOrders} {
		if err := do(ctx); err != nil {
			return nil, err
		}
	}
	for _, c := range a.rules() {
		if !c.readable(a.files) {
			a.result.LeftOut = append(a.result.LeftOut, c.name)
			continue
		}
		a.result.Checks = append(a.result.Checks, c.name)
		if found, err = a.run(ctx, a.conn, &c, found); err != nil {
			return nil, err
		}
	}
	a.result.Checks = append(a.result.Checks, channels, undelivered)
	a.result.InFlight = a.cut.inFlight(a.files)
	lost, err := a.settle(ctx, a.cut, &found, &a.result.Excused)
	return append(found, lost...), err
}

// second answers which of the deviations are still there. Those told from one
// file alone are exact; the others count only when they are found twice.
func (a *audit) second(ctx context.Context, found []Deviation) (kept []Deviation, err error) {
	if len(found) == 0 {
		return nil, nil
	}
	pause := again
	if slices.ContainsFunc(found, func(d Deviation) bool { return d.Check == undelivered }) {
		pause = resend
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(pause):
	}
	l, err := newLook(ctx, a.books)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	still, err := a.still(ctx, l, found)
	if err != nil {
		return nil, err
	}
	for _, d := range found {
		if exact(d.Check) || still[d.key()] {
			kept = append(kept, d)
		}
	}
	return kept, nil
}

// still are the keys of what the second look finds: of the same orders, and in
// the gateway's books.
func (a *audit) still(ctx context.Context, l *look, found []Deviation) (map[string]bool, error) {
	var seen []Deviation
	orders := ordersOf(found)
	for len(orders) > 0 || seen == nil {
		n := min(len(orders), lookOrders)
		at, err := l.at(ctx, orders[:n])
		if err != nil {
			return nil, err
		}
		seen, orders = append(append(seen, at.found...), Deviation{}), orders[n:]
	}
	for _, c := range a.rules() {
		if !c.gateway() || !slices.ContainsFunc(found, func(d Deviation) bool {
			return d.Check == c.name
		}) {
			continue
		}
		more, err := a.wholly(ctx, &c)
		if err != nil {
			return nil, err
		}
		seen = append(seen, more...)
	}
	still := map[string]bool{}
	for _, d := range seen {
		still[d.key()] = true
	}
	return still, nil
}

// exact tells whether one look is enough, because it reads one file alone.
func exact(name string) bool {
	return slices.Contains(whole[:], name) && !strings.HasPrefix(name, "gateway-")
}

// ordersOf are the orders that deviations name.
func ordersOf(found []Deviation) (orders []string) {
	for _, d := range found {
		if d.Order != "" {
			orders = append(orders, d.Order)
		}
	}
	slices.Sort(orders)
	return slices.Compact(orders)
}

// readable tells whether all files are there that the check needs.
func (c *check) readable(files map[string]string) bool {
	return !slices.ContainsFunc(c.needs, func(actor string) bool { return files[actor] == "" })
}

// Names of the checks that are told from pages and channels.
const (
	pages       = "pages"
	channels    = "channels"
	undelivered = "undelivered"
)

// rules are all that can be told from the files.
func (b *books) rules() []check {
	all := slices.Concat(checks[:], moneyChecks[:])
	if b.sandbox != "" {
		all = append(all, gatewayChecks[:]...)
	}
	return all
}

// run appends what breaks one rule.
func (b *books) run(ctx context.Context, conn *sql.Conn, c *check, found []Deviation) (
	[]Deviation, error) {
	query := strings.ReplaceAll(c.query, "$bound", strconv.FormatInt(b.bound.Nanoseconds(), 10))
	err := each(ctx, conn, func(scan func(...any) error) error {
		d := Deviation{Check: c.name}
		if err := scan(&d.Order, &d.Row, &d.Problem); err != nil {
			return err
		}
		found = append(found, d)
		return nil
	}, query)
	if err != nil {
		return nil, fmt.Errorf("check %s: %w", c.name, err)
	}
	return found, nil
}

// each calls f with a scan function for every row.
func each(ctx context.Context, conn *sql.Conn, f func(scan func(...any) error) error,
	query string, args ...any) error {
	rows, err := conn.QueryContext(ctx, query, args...)
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

// warn lists what operators should look at though it breaks no rule by itself.
func (a *audit) warn(ctx context.Context) error {
	for _, actor := range readOrder() {
		if a.files[actor] == "" {
			continue
		}
		err := each(ctx, a.conn, func(scan func(...any) error) error {
			var text string
			err := scan(&text)
			a.result.Warnings = append(a.result.Warnings, text)
			return err
		}, `SELECT 'dead letter ' || n || ' of `+actor+`: ' || subject || ': ' || error
				FROM "`+actor+`"._dead WHERE state = 'open'
			UNION ALL SELECT * FROM (SELECT 'incident of `+actor+`: ' || kind || ': ' || text
				FROM "`+actor+`"._incident ORDER BY n DESC LIMIT 1000) LIMIT 1000`)
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
	return each(ctx, a.conn, func(scan func(...any) error) error {
		var state string
		var n int64
		err := scan(&state, &n)
		a.result.Orders[state] = n
		return err
	}, `SELECT state, count(*) FROM "order".orders GROUP BY state`)
}

// Checks are the names of all rules, those of the sandbox's books included.
func Checks() []string {
	names := []string{pages, channels, undelivered}
	for _, c := range slices.Concat(checks[:], moneyChecks[:], gatewayChecks[:]) {
		names = append(names, c.name)
	}
	return names
}
