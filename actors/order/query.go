package order

import (
	"cmp"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"ordo/actors"
	"ordo/api"
)

// maxListed is how much JSON of lines one page of orders carries, in bytes,
// so that it fits into one answer.
const maxListed = 2 << 20

// columns are those that scan reads.
const columns = `n, id, user, body_hash, state, deadline, expiry, currency, subtotal, discount,
	total, balance, coupon, pay_method, channel, from_cart, created, decided, expires_at, paid_at,
	closed_at, attempt, provider, trade_no, points, refunds, refunded, back_balance, back_points,
	reason, address, lines`

// selectOrder also counts the steps that have not answered yet.
const selectOrder = `SELECT ` + columns + `, (SELECT count(*) FROM steps
	WHERE order_id = orders.id AND occurrence = 0 AND state = 'asked')
	FROM orders WHERE id = ?`

// load reads an order to change it; sql.ErrNoRows when there is none.
func load(tx *actors.Tx, id string) (*order, error) {
	o, _, err := scan(tx.Row(selectOrder, id))
	return o, err
}

// scan reads a row of columns and the count of steps asked for. It also
// answers how many bytes of JSON the lines are.
func scan(r actors.Row) (o *order, size int, err error) {
	o = &order{}
	var deadline sql.NullInt64
	var reason sql.NullString
	var currency, address, lines string
	if err := r.Scan(&o.n, &o.ID, &o.User, &o.bodyHash, &o.State, &deadline, &o.expiry,
		&currency, &o.Subtotal.Amount, &o.Discount.Amount, &o.Total.Amount, &o.Balance.Amount,
		&o.Coupon, &o.PayMethod, &o.Channel, &o.fromCart, &o.Created, &o.Decided, &o.ExpiresAt,
		&o.PaidAt, &o.ClosedAt, &o.Attempt, &o.Provider, &o.TradeNo, &o.Points, &o.refunds,
		&o.Refunded.Amount, &o.backBalance, &o.backPoints, &reason, &address, &lines,
		&o.asked); err != nil {
		return nil, 0, err
	}
	o.was, o.deadline = o.State, api.Time(deadline.Int64)
	o.Due.Amount = o.Total.Amount - o.Balance.Amount
	for _, m := range []*api.Money{&o.Subtotal, &o.Discount, &o.Total, &o.Balance, &o.Due,
		&o.Refunded} {
		m.Currency = currency
	}
	if err := decodeRefusal(reason, &o.Reason); err != nil {
		return nil, 0, err
	}
	if err := json.Unmarshal([]byte(address), &o.Address); err != nil {
		return nil, 0, fmt.Errorf("stored address: %w", err)
	}
	if err := json.Unmarshal([]byte(lines), &o.Lines); err != nil {
		return nil, 0, fmt.Errorf("stored lines: %w", err)
	}
	return o, len(lines), nil
}

// insert writes a new order and tells whether it is new.
func insert(tx *actors.Tx, o *order, token string) (fresh bool, err error) {
	err = tx.Row(`INSERT INTO orders (id, token, user, body_hash, state, deadline, expiry,
		currency, subtotal, discount, total, balance, coupon, pay_method, channel, from_cart,
		created, address, lines)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
		RETURNING n`, o.ID, token, o.User, o.bodyHash, o.State, o.deadline, o.expiry,
		o.Subtotal.Currency,
		o.Subtotal.Amount, o.Discount.Amount, o.Total.Amount, o.Balance.Amount, o.Coupon,
		o.PayMethod, o.Channel, o.fromCart, o.Created, string(api.Raw(&o.Address)),
		string(api.Raw(o.Lines))).Scan(&o.n)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for i := range o.Lines {
		if _, err := tx.Exec(`INSERT INTO order_sku (sku, n) VALUES (?, ?) ON CONFLICT DO NOTHING`,
			o.Lines[i].SKU, o.n); err != nil {
			return true, err
		}
	}
	return true, count(tx, o)
}

// save writes all that changes in an order's life.
func save(tx *actors.Tx, o *order) error {
	deadline := sql.NullInt64{Int64: int64(o.deadline), Valid: o.deadline > 0}
	lines := sql.NullString{Valid: o.changed}
	if o.changed {
		lines.String, o.changed = string(api.Raw(o.Lines)), false
	}
	_, err := tx.Exec(`UPDATE orders SET state = ?, deadline = ?, decided = ?, expires_at = ?,
		paid_at = ?, closed_at = ?, attempt = ?, provider = ?, trade_no = ?, points = ?,
		refunds = ?, refunded = ?, back_balance = ?, back_points = ?, reason = ?,
		lines = coalesce(?, lines) WHERE n = ?`,
		o.State, deadline, o.Decided, o.ExpiresAt, o.PaidAt, o.ClosedAt, o.Attempt, o.Provider,
		o.TradeNo, o.Points, o.refunds, o.Refunded.Amount, o.backBalance, o.backPoints,
		jsonOrNull(o.Reason), lines, o.n)
	if err != nil {
		return err
	}
	return count(tx, o)
}

func jsonOrNull(e *api.Error) sql.NullString {
	if e == nil {
		return sql.NullString{}
	}
	return sql.NullString{String: string(api.Raw(e)), Valid: true}
}

func decodeRefusal(s sql.NullString, into **api.Error) error {
	if !s.Valid {
		return nil
	}
	if err := json.Unmarshal([]byte(s.String), into); err != nil {
		return fmt.Errorf("stored refusal: %w", err)
	}
	return nil
}

func noOrder(id string) *api.Error {
	return api.Refuse(api.CodeNotFound, "there is no order %q", id)
}

// find reads an order; CodeNotFound when there is none.
func find(v *actors.View, id string) (*order, error) {
	o, _, err := scan(v.Row(selectOrder, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noOrder(id)
	}
	return o, err
}

func getOrder(v *actors.View, q *api.GetOrder) (*api.Order, error) {
	o, err := find(v, q.ID)
	if err != nil {
		return nil, err
	}
	if q.User != "" && q.User != o.User {
		return nil, noOrder(q.ID)
	}
	return &o.Order, nil
}

func getSubmission(v *actors.View, q *api.GetSubmission) (*api.Submission, error) {
	o, err := find(v, q.ID)
	if err != nil {
		return nil, err
	}
	return &api.Submission{User: o.User, BodyHash: o.bodyHash, Order: o.Order}, nil
}

// Lists of orders before a place, newest first. The sign keeps a user's orders
// from being looked for among all in a state.
const (
	listAll  = `SELECT ` + columns + `, 0 FROM orders WHERE n < ? ORDER BY n DESC LIMIT +?`
	listUser = `SELECT ` + columns + `, 0 FROM orders WHERE user = +? AND n < ?
		ORDER BY n DESC LIMIT +?`
	listState = `SELECT ` + columns + `, 0 FROM orders WHERE state = +? AND n < ?
		ORDER BY n DESC LIMIT +?`
	listUserState = `SELECT ` + columns + `, 0 FROM orders WHERE user = +? AND +state = +? AND n < ?
		ORDER BY n DESC LIMIT +?`
)

func listOrders(v *actors.View, q *api.ListOrders) (*api.OrderList, error) {
	before, err := cursor(q.Cursor)
	if err != nil {
		return nil, err
	}
	query, args := listAll, []any{}
	switch {
	case q.User != "" && q.State != "":
		query, args = listUserState, []any{q.User, q.State}
	case q.User != "":
		query, args = listUser, []any{q.User}
	case q.State != "":
		query, args = listState, []any{q.State}
	}
	list := &api.OrderList{Orders: []api.Order{}}
	last, bytes := int64(0), 0
	err = v.Each(func(r actors.Row) error {
		if list.Next != "" {
			return nil
		}
		o, size, err := scan(r)
		if err != nil {
			return err
		}
		bytes += size
		if len(list.Orders) == q.Size() || len(list.Orders) > 0 && bytes > maxListed {
			list.Next = strconv.FormatInt(last, 10)
			return nil
		}
		list.Orders, last = append(list.Orders, o.Order), o.n
		return nil
	}, query, append(args, before, q.Size()+1)...)
	return list, err
}

// cursor is the place that a page ends before.
func cursor(s string) (int64, error) {
	if s == "" {
		return math.MaxInt64, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return 0, invalid("cursor", "%q is not the Next of a page", s)
	}
	return n, nil
}

func getSteps(v *actors.View, q *api.GetSteps) (*api.StepList, error) {
	all, err := readSteps(v, q.Order, allSteps)
	if err == nil && len(all) == 0 {
		return nil, noOrder(q.Order)
	}
	return &api.StepList{Steps: all}, err
}

// Which steps of an order readSteps reads.
const (
	allSteps = `SELECT name, occurrence, state, attempts, asked_at, undo_at, answered_at, refusal
		FROM steps WHERE order_id = +?`
	openSteps = allSteps + ` AND state IN ('asked', 'undoing')`
)

// readSteps reads steps of an order in the order in which they began.
func readSteps(v *actors.View, order, query string) ([]api.StepView, error) {
	all := []api.StepView{}
	err := v.Each(func(r actors.Row) error {
		s := api.StepView{Step: api.Step{Order: order}}
		var refusal sql.NullString
		if err := r.Scan(&s.Name, &s.Occurrence, &s.State, &s.Attempts, &s.AskedAt, &s.UndoAt,
			&s.AnsweredAt, &refusal); err != nil {
			return err
		}
		s.Verb = verbOf(&s)
		all = append(all, s)
		return decodeRefusal(refusal, &all[len(all)-1].Refusal)
	}, query, order)
	slices.SortStableFunc(all, func(a, b api.StepView) int {
		return cmp.Or(cmp.Compare(a.AskedAt, b.AskedAt),
			cmp.Compare(stepNamed(a.Name), stepNamed(b.Name)))
	})
	return all, err
}

// verbOf is the participant's message that a step sent last.
func verbOf(s *api.StepView) string {
	_, verb, _ := strings.Cut(s.Name, ".")
	i := stepNamed(s.Name)
	if i < 0 || steps[i].undo == nil || s.State != api.StepUndoing && s.State != api.StepUndone {
		return verb
	}
	return steps[i].undo(&order{refund: &api.Refund{}}, s.Step).Route().Verb
}

func getRefund(v *actors.View, q *api.GetRefund) (*api.Refund, error) {
	r, _, err := scanRefund(v.Row(selectRefund+`WHERE id = ?`, q.ID))
	if errors.Is(err, sql.ErrNoRows) || err == nil && q.User != "" && q.User != r.User {
		return nil, noRefund(q.ID)
	}
	return r, err
}

// Lists of refunds before a place, newest first. The sign keeps one of several
// conditions from being looked up in an index that is worse.
const (
	refundsAll   = selectRefund + `WHERE n < ? ORDER BY n DESC LIMIT +?`
	refundsOrder = selectRefund + `WHERE order_id = +? AND (+user = ?2 OR ?2 = '')
		AND (+state = ?3 OR ?3 = '') AND n < ?4 ORDER BY n DESC LIMIT +?5`
	refundsUser = selectRefund + `WHERE user = +?2 AND (+state = ?3 OR ?3 = '') AND n < ?4
		ORDER BY n DESC LIMIT +?5`
	refundsState = selectRefund + `WHERE +state = ?3 AND n < ?4 ORDER BY n DESC LIMIT +?5`
)

func listRefunds(v *actors.View, q *api.ListRefunds) (*api.RefundList, error) {
	before, err := cursor(q.Cursor)
	if err != nil {
		return nil, err
	}
	query, args := refundsState, []any{q.Order, q.User, q.State, before, q.Size() + 1}
	switch {
	case q.Order != "":
		query = refundsOrder
	case q.User != "":
		query = refundsUser
	case q.State == "":
		query, args = refundsAll, args[3:]
	}
	list := &api.RefundList{Refunds: []api.Refund{}}
	var last int64
	err = v.Each(func(row actors.Row) error {
		r, n, err := scanRefund(row)
		if err != nil {
			return err
		}
		if len(list.Refunds) == q.Size() {
			list.Next = cmp.Or(list.Next, fmt.Sprint(last))
			return nil
		}
		list.Refunds, last = append(list.Refunds, *r), n
		return nil
	}, query, args...)
	return list, err
}
