package order

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"ordo/actors"
	"ordo/api"
)

// maxStuck is the most orders that one answer looks at among those that wait, and
// among those that are overdue.
const maxStuck = 500

// OverdueAfter is how long after its deadline an order that is still placed is
// stuck.
const OverdueAfter = time.Minute

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
	txSKU = `SELECT ` + transactionColumns +
		`, TRUE FROM order_sku k CROSS JOIN orders o ON o.n = k.n
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
	// txOverdue walks the orders that are still placed after their deadline, the
	// longest first, but for those that txOpen has.
	txOverdue = `SELECT ` + transactionColumns + `, ?1 = '' OR EXISTS (
			SELECT 1 FROM order_sku k WHERE k.sku = +?1 AND k.n = o.n)
		FROM orders o WHERE deadline >= ?2 AND deadline <= ?4 AND (deadline > ?2 OR n > ?5)
			AND +state = 'placed' AND NOT EXISTS (SELECT 1 FROM steps s INDEXED BY steps_open
				WHERE s.order_id = o.id AND s.state IN ('asked', 'undoing')
					AND NOT (s.name = 'payment.collect' AND s.state = 'asked'))
		ORDER BY deadline, n LIMIT +?3`
	txSince = `SELECT n, created FROM orders WHERE n >= ? AND token NOT GLOB 'lost-*'
		ORDER BY n LIMIT 1`
	// txRemade looks up, by their tokens, the orders that were made again: they are
	// numbered by then, and were created earlier.
	txRemade = `SELECT ` + transactionColumns + `, ?1 = '' OR EXISTS (
			SELECT 1 FROM order_sku k WHERE k.sku = +?1 AND k.n = o.n)
		FROM orders o WHERE token GLOB 'lost-*' AND +n < ?2 AND +n >= ?4 AND created < ?5
		ORDER BY n DESC LIMIT +?3`
	txLast = `SELECT coalesce(max(n), 0) FROM orders`
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
	if f.has && (p.q.State == "" || f.State == p.q.State) && (p.q.User == "" ||
		f.User == p.q.User) {
		p.list.Transactions = append(p.list.Transactions, f.Transaction)
	}
}

func (p *transactions) full() bool { return len(p.list.Transactions) == p.q.Size() }

// errFull ends a reading.
var errFull = errors.New("the page is full")

// walk takes orders that a query finds, looks at so many, and says where to go on:
// at the place of the last one, or at start before the first. more is true when
// there may be others.
func (p *transactions) walk(most int, start string, place func(*found) string, query string,
	args ...any) (more bool, err error) {
	looked := 0
	err = p.v.Each(func(r actors.Row) error {
		if p.full() || looked == most {
			p.list.Next, more = start, true
			return errFull
		}
		f, err := scanFound(r)
		if err != nil {
			return err
		}
		p.take(&f)
		start, looked = place(&f), looked+1
		return nil
	}, query, args...)
	if errors.Is(err, errFull) {
		err = nil
	}
	return more, err
}

// byNumber is the place of an order in a list by the order of submission.
func byNumber(f *found) string { return strconv.FormatInt(f.n, 10) }

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
		more, err := p.walk(api.MaxExamined, "", byNumber, txRemade, p.q.SKU, before,
			api.MaxExamined+1, bound, p.q.Before)
		if more || err != nil {
			return err
		}
		before = min(before, bound)
	}
	query, args := p.query(before)
	_, err = p.walk(api.MaxExamined, strconv.FormatInt(before, 10), byNumber, query, args...)
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
// after it, those that were made again aside. The others are numbered as time
// goes, so no index is needed.
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
		err := v.Row(txSince, mid).Scan(&n, &created)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return 0, err
		}
		if err != nil || created >= at {
			hi = mid
		} else {
			lo = n + 1
		}
	}
	return lo, nil
}

// latePrefix begins the cursor of overdue orders: the deadline and the number of
// the last one looked at follow.
const latePrefix = "late:"

// stuck fills the page with orders that wait for an answer, by their ids, which
// are the page's cursor, and then with those that are overdue.
func (p *transactions) stuck() error {
	if late, ok := strings.CutPrefix(p.q.Cursor, latePrefix); ok {
		return p.overdue(late)
	}
	more, err := p.unanswered(cmp.Or(p.q.Cursor, "~"))
	if more || err != nil {
		return err
	}
	return p.overdue("0:0")
}

// unanswered takes orders before an id that wait for an answer.
func (p *transactions) unanswered(before string) (more bool, err error) {
	waiting, err := p.waiting(before)
	if err != nil {
		return false, err
	}
	for i, w := range waiting {
		if i > 0 && (p.full() || i == maxStuck) {
			p.list.Next = waiting[i-1].id
			return true, nil
		}
		if p.q.Before > 0 && w.since >= p.q.Before {
			continue
		}
		f, err := scanFound(p.v.Row(txOne, p.q.SKU, w.id))
		if errors.Is(err, sql.ErrNoRows) {
			continue // of before a restore
		}
		if err != nil {
			return false, err
		}
		p.take(&f)
	}
	return false, nil
}

// open is an order that waits for an answer.
type open struct {
	id    string
	since api.Time
}

// waiting are orders before an id that wait for an answer, and one more than are
// looked at.
func (p *transactions) waiting(before string) (all []open, err error) {
	err = p.v.Each(func(r actors.Row) error {
		var o open
		err := r.Scan(&o.id, &o.since)
		all = append(all, o)
		return err
	}, txOpen, before, maxStuck+1)
	return all, err
}

// overdue takes orders that are still placed after their deadline, from a place in
// their list on, which is a deadline and a number.
func (p *transactions) overdue(after string) error {
	at, n, _ := strings.Cut(after, ":")
	deadline, errAt := strconv.ParseInt(at, 10, 64)
	number, errN := strconv.ParseInt(n, 10, 64)
	if errAt != nil || errN != nil {
		return invalid("cursor", "must be a next of an earlier page")
	}
	if p.q.Now == 0 {
		return nil
	}
	until := p.q.Now.Add(-OverdueAfter)
	if p.q.Before > 0 {
		until = min(until, p.q.Before-1)
	}
	_, err := p.walk(maxStuck, latePrefix+after, func(f *found) string {
		return fmt.Sprintf("%s%d:%d", latePrefix, f.Deadline, f.n)
	}, txOverdue, p.q.SKU, deadline, maxStuck+1, until, number)
	return err
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
