package order

import (
	"cmp"
	"database/sql"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"ordo/actors"
	"ordo/api"
)

// maxStuck is the most orders that one answer looks at among those that wait.
const maxStuck = 500

// overdueAfter is how long after its deadline an order that is still placed is
// stuck.
const overdueAfter = time.Minute

// transactionColumns are those of an order that a list shows: none on the pages
// of long lines.
const transactionColumns = `o.n, o.id, o.user, o.state, o.currency, o.total, o.balance, o.refunded,
	o.created, coalesce(o.deadline, 0), o.reason`

// Lists of transactions before a place, newest first. Each looks one condition up
// and leaves the others to be checked for MaxExamined orders, user before SKU
// before state. The sign keeps SQLite from choosing another one.
const (
	txAll = `SELECT ` + transactionColumns + `, TRUE FROM orders o WHERE n < ?2 AND ?1 = ?1
		ORDER BY n DESC LIMIT +?3`
	txUser = `SELECT ` + transactionColumns + `, ?1 = '' OR EXISTS (
			SELECT 1 FROM order_sku k WHERE k.sku = +?1 AND k.n = o.n)
		FROM orders o WHERE user = +?4 AND n < ?2 ORDER BY n DESC LIMIT +?3`
	txSKU = `SELECT ` + transactionColumns + `, TRUE FROM order_sku k CROSS JOIN orders o ON o.n = k.n
		WHERE k.sku = +?1 AND k.n < ?2 ORDER BY k.n DESC LIMIT +?3`
	txState = `SELECT ` + transactionColumns + `, TRUE FROM orders o
		WHERE state = +?4 AND n < ?2 AND ?1 = ?1 ORDER BY n DESC LIMIT +?3`
	txOne = `SELECT ` + transactionColumns + `, ?1 = '' OR EXISTS (
			SELECT 1 FROM order_sku k WHERE k.sku = +?1 AND k.n = o.n)
		FROM orders o WHERE id = +?2`
	// txOpen walks the orders with unanswered steps, by id, which is by the time
	// at which their checkout was opened.
	txOpen = `SELECT order_id, min(max(asked_at, undo_at)) FROM steps
		INDEXED BY steps_open WHERE order_id < ? AND state IN ('asked', 'undoing')
			AND NOT (name = 'payment.collect' AND state = 'asked')
		GROUP BY order_id ORDER BY order_id DESC LIMIT +?`
	txOverdue = `SELECT id, deadline FROM orders WHERE deadline <= ? AND +state = 'placed'
		ORDER BY deadline LIMIT +?`
	txSince = `SELECT n, created FROM orders WHERE n >= ? ORDER BY n LIMIT 1`
	txLast  = `SELECT coalesce(max(n), 0) FROM orders`
)

// transactions is a page that is being filled.
type transactions struct {
	v    *actors.View
	q    *api.ListTransactions
	list api.TransactionList
}

func listTransactions(v *actors.View, q *api.ListTransactions) (*api.TransactionList, error) {
	p := &transactions{v: v, q: q, list: api.TransactionList{Transactions: []api.Transaction{}}}
	var err error
	if q.Stuck {
		err = p.stuck()
	} else {
		err = p.submitted()
	}
	if err != nil {
		return nil, err
	}
	for i := range p.list.Transactions {
		t := &p.list.Transactions[i]
		if t.Waits, err = readSteps(v, t.Order, openSteps); err != nil {
			return nil, err
		}
	}
	return &p.list, nil
}

// found is an order that a list came by.
type found struct {
	api.Transaction
	n int64
	// has is false when the order has not the SKU.
	has bool
}

func scanFound(r actors.Row) (f found, err error) {
	var currency string
	var balance int64
	var reason sql.NullString
	if err := r.Scan(&f.n, &f.Order, &f.User, &f.State, &currency, &f.Total.Amount, &balance,
		&f.Refunded.Amount, &f.Created, &f.Deadline, &reason, &f.has); err != nil {
		return f, err
	}
	f.Due.Amount = f.Total.Amount - balance
	f.Total.Currency, f.Due.Currency, f.Refunded.Currency = currency, currency, currency
	return f, decodeRefusal(reason, &f.Reason)
}

// take puts an order on the page, if it is one of those asked for.
func (p *transactions) take(f *found) {
	if f.has && (p.q.State == "" || f.State == p.q.State) && (p.q.User == "" || f.User == p.q.User) {
		p.list.Transactions = append(p.list.Transactions, f.Transaction)
	}
}

func (p *transactions) full() bool { return len(p.list.Transactions) == p.q.Size() }

// errFull ends a reading.
var errFull = errors.New("the page is full")

// submitted fills the page by the order of submission. Its cursor is the last
// number looked at.
func (p *transactions) submitted() error {
	before, err := cursor(p.q.Cursor)
	if err != nil {
		return err
	}
	if p.q.Before > 0 {
		bound, err := firstSince(p.v, p.q.Before)
		if err != nil {
			return err
		}
		before = min(before, bound)
	}
	query, args := p.query(before)
	last, looked := int64(0), 0
	err = p.v.Each(func(r actors.Row) error {
		if p.full() || looked == api.MaxExamined {
			p.list.Next = strconv.FormatInt(last, 10)
			return errFull
		}
		f, err := scanFound(r)
		if err != nil {
			return err
		}
		p.take(&f)
		last, looked = f.n, looked+1
		return nil
	}, query, args...)
	if errors.Is(err, errFull) {
		err = nil
	}
	return err
}

// query is the statement that looks up the condition which narrows the list most.
func (p *transactions) query(before int64) (query string, args []any) {
	args = []any{p.q.SKU, before, api.MaxExamined + 1}
	switch {
	case p.q.User != "":
		return txUser, append(args, p.q.User)
	case p.q.SKU != "":
		return txSKU, args
	case p.q.State != "":
		return txState, append(args, p.q.State)
	}
	return txAll, args
}

// firstSince is the number of the first order that was submitted at a time or
// after it. Orders are numbered as time goes, so no index is needed.
func firstSince(v *actors.View, at api.Time) (int64, error) {
	var last int64
	if err := v.Row(txLast).Scan(&last); err != nil {
		return 0, err
	}
	lo, hi := int64(1), last+1
	for lo < hi {
		mid := lo + (hi-lo)/2
		var n int64
		var created api.Time
		if err := v.Row(txSince, mid).Scan(&n, &created); err != nil {
			return 0, err
		}
		if created >= at {
			hi = mid
		} else {
			lo = n + 1
		}
	}
	return lo, nil
}

// open is an order that waits for an answer, or for the end of its deadline.
type open struct {
	id    string
	since api.Time
}

// stuck fills the page by order ids, which is the page's cursor.
func (p *transactions) stuck() error {
	waiting, err := p.waiting(cmp.Or(p.q.Cursor, "~"))
	if err != nil {
		return err
	}
	for i, w := range waiting {
		if i > 0 && (p.full() || i >= maxStuck) {
			p.list.Next = waiting[i-1].id
			return nil
		}
		if p.q.Before > 0 && w.since >= p.q.Before {
			continue
		}
		f, err := scanFound(p.v.Row(txOne, p.q.SKU, w.id))
		if errors.Is(err, sql.ErrNoRows) {
			continue // of before a restore
		}
		if err != nil {
			return err
		}
		p.take(&f)
	}
	return nil
}

// waiting are the orders before an id that wait for an answer, or are overdue: of
// these the longest, when there are more than maxStuck.
func (p *transactions) waiting(before string) ([]open, error) {
	all, err := p.open(txOpen, before, maxStuck+1)
	if err != nil || p.q.Now == 0 {
		return all, err
	}
	late, err := p.open(txOverdue, p.q.Now.Add(-overdueAfter), maxStuck)
	return mergeOpen(all, late, before, len(all) > maxStuck), err
}

// open reads orders with the time since which they wait.
func (p *transactions) open(query string, from any, limit int) (all []open, err error) {
	err = p.v.Each(func(r actors.Row) error {
		var o open
		err := r.Scan(&o.id, &o.since)
		all = append(all, o)
		return err
	}, query, from, limit)
	return all, err
}

// mergeOpen adds overdue orders to those that wait, in the order of the list.
// When more wait than were read, those beyond come with a later page.
func mergeOpen(waiting, late []open, before string, more bool) []open {
	end := ""
	if more {
		end = waiting[len(waiting)-1].id
	}
	for _, o := range late {
		if o.id < before && o.id > end {
			waiting = append(waiting, o)
		}
	}
	slices.SortStableFunc(waiting, func(a, b open) int { return strings.Compare(b.id, a.id) })
	return slices.CompactFunc(waiting, func(a, b open) bool { return a.id == b.id })
}

// retry asks again for what an order waits for: its steps from the first on, and
// their undo from the last on.
func retry(tx *actors.Tx, m *api.RetryOrder) error {
	if err := errors.Join(length("by", m.By, 1, 64),
		length("reason", strings.TrimSpace(m.Reason), 1, 500)); err != nil {
		return err
	}
	o, err := load(tx, m.Order)
	if errors.Is(err, sql.ErrNoRows) {
		return noOrder(m.Order)
	}
	if err != nil {
		return err
	}
	open, err := readSteps(&actors.View{Conn: tx.Conn}, o.ID, openSteps)
	if err != nil {
		return err
	}
	if len(open) == 0 {
		return api.Refuse(api.CodeNothingToRetry, "all steps of the order have been answered")
	}
	asked := api.Retried{}
	if asked.Steps, err = askAgain(tx, o, open); err != nil {
		return err
	}
	if err := tx.Emit(api.Event{Type: api.EventOrderRetried, Order: o.ID, User: o.User,
		Data: api.Raw(&api.Intervention{By: m.By, Reason: strings.TrimSpace(m.Reason),
			Steps: asked.Steps})}); err != nil {
		return err
	}
	return tx.Reply(&asked)
}

// askAgain asks for open steps once more, and answers their names.
func askAgain(tx *actors.Tx, o *order, open []api.StepView) (names []string, err error) {
	o.again = true
	o.atOnce = o.Reason != nil && o.Reason.Code == api.CodeCancelled
	slices.SortStableFunc(open, func(a, b api.StepView) int { return placeOf(&a) - placeOf(&b) })
	for i := range open {
		w := &open[i]
		again := redo
		if w.State == api.StepUndoing {
			again = undoAgain
		}
		if err := again(tx, o, &steps[stepNamed(w.Name)], w.Occurrence); err != nil {
			return nil, err
		}
		names = append(names, w.Name)
	}
	return names, nil
}

// placeOf is where a step's turn is when all are asked for again.
func placeOf(s *api.StepView) int {
	if s.State == api.StepUndoing {
		return math.MaxInt32 - stepNamed(s.Name)
	}
	return stepNamed(s.Name)
}
