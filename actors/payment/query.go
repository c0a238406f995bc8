package payment

import (
	"errors"
	"math"
	"strconv"

	"ordo/actors"
	"ordo/api"
)

const paymentColumns = `order_id, user, state, amount, currency, expires_at, refunded`

func scanPayment(r actors.Row) (p api.Payment, err error) {
	err = r.Scan(&p.Order, &p.User, &p.State, &p.Amount.Amount, &p.Amount.Currency, &p.ExpiresAt,
		&p.Refunded.Amount)
	p.Refunded.Currency = p.Amount.Currency
	return p, err
}

// getPayment answers what an order is owed with all its attempts.
func getPayment(v *actors.View, q *api.GetPayment) (*api.Payment, error) {
	p, err := scanPayment(v.Row(`SELECT `+paymentColumns+` FROM payment WHERE order_id = ?`,
		q.Order))
	if errors.Is(err, actors.ErrNoRows) || err == nil && q.User != "" && q.User != p.User {
		return nil, api.Refuse(api.CodeNotFound, "there is no payment of order %.64s", q.Order).
			At("order")
	}
	if err != nil {
		return nil, err
	}
	p.Attempts = []api.Attempt{} // at most api.MaxAttempts
	err = v.Each(func(r actors.Row) error {
		var a api.Attempt
		err := scanAttempt(r, &a)
		p.Attempts = append(p.Attempts, a)
		return err
	}, `SELECT `+attemptColumns+` FROM attempt a JOIN payment p ON p.order_id = a.order_id
		WHERE a.order_id = +? ORDER BY a.opened_at, a.id`, q.Order)
	return &p, err
}

// getAttempt answers one attempt.
func getAttempt(v *actors.View, q *api.GetAttempt) (*api.Attempt, error) {
	a := &api.Attempt{}
	err := scanAttempt(v.Row(`SELECT `+attemptColumns+` FROM attempt a
		JOIN payment p ON p.order_id = a.order_id WHERE a.id = +?`, q.ID), a)
	if errors.Is(err, actors.ErrNoRows) {
		return nil, api.Refuse(api.CodeNotFound, "there is no attempt %.64s", q.ID).At("id")
	}
	return a, err
}

// lastOrder comes after every id of an order.
const lastOrder = "~"

// listPayments answers payments by their orders' ids, which begin with a time,
// backwards.
func listPayments(v *actors.View, q *api.ListPayments) (*api.PaymentList, error) {
	before := lastOrder
	if q.Cursor != "" {
		if _, err := api.ParseID(api.PrefixOrder, q.Cursor); err != nil {
			return nil, noCursor()
		}
		before = q.Cursor
	}
	query, args := `SELECT `+paymentColumns+` FROM payment WHERE order_id < ?
		ORDER BY order_id DESC LIMIT +?`, []any{before, q.Size() + 1}
	if q.State != "" {
		query, args = `SELECT `+paymentColumns+` FROM payment WHERE order_id < ? AND state = +?
			ORDER BY order_id DESC LIMIT +?`, []any{before, q.State, q.Size() + 1}
	}
	list := &api.PaymentList{Payments: []api.Payment{}}
	err := v.Each(func(r actors.Row) error {
		p, err := scanPayment(r)
		list.Payments = append(list.Payments, p)
		return err
	}, query, args...)
	if len(list.Payments) > q.Size() {
		list.Payments = list.Payments[:q.Size()]
		list.Next = list.Payments[q.Size()-1].Order
	}
	return list, err
}

const incidentColumns = `seq, kind, provider, attempt, order_id, trade_no, amount, currency,
	text, at`

// listIncidents answers incidents by kind.
func listIncidents(v *actors.View, q *api.ListPaymentIncidents) (*api.PaymentIncidentList, error) {
	before, err := cursor(q.Cursor, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	list := &api.PaymentIncidentList{Incidents: []api.PaymentIncident{}}
	if err := v.Row(`SELECT coalesce((SELECT n FROM forged), 0)`).Scan(&list.Forged); err != nil {
		return nil, err
	}
	query, args := `SELECT `+incidentColumns+` FROM incident WHERE seq < ?
		ORDER BY seq DESC LIMIT +?`, []any{before, q.Size() + 1}
	if q.Kind != "" {
		query, args = `SELECT `+incidentColumns+` FROM incident WHERE seq < ? AND kind = +?
			ORDER BY seq DESC LIMIT +?`, []any{before, q.Kind, q.Size() + 1}
	}
	err = v.Each(func(r actors.Row) error {
		var i api.PaymentIncident
		err := r.Scan(&i.Seq, &i.Kind, &i.Provider, &i.Attempt, &i.Order, &i.TradeNo,
			&i.Amount.Amount, &i.Amount.Currency, &i.Text, &i.At)
		list.Incidents = append(list.Incidents, i)
		return err
	}, query, args...)
	if len(list.Incidents) > q.Size() {
		list.Incidents = list.Incidents[:q.Size()]
		list.Next = strconv.FormatInt(list.Incidents[q.Size()-1].Seq, 10)
	}
	return list, err
}

const logColumns = `seq, kind, provider, order_id, attempt, trade_no, refund, amount, currency, at`

func scanEntry(r actors.Row) (e api.PayLogEntry, err error) {
	err = r.Scan(&e.Seq, &e.Kind, &e.Provider, &e.Order, &e.Attempt, &e.TradeNo, &e.Refund,
		&e.Amount.Amount, &e.Amount.Currency, &e.At)
	return e, err
}

// findTrade looks by the index that keeps the numbers unique, which has them by
// kind and provider.
func findTrade(v *actors.View, q *api.FindTrade) (*api.PayLogEntry, error) {
	e, err := scanEntry(v.Row(`SELECT `+logColumns+` FROM log WHERE kind IN ('pay', 'refund')
		AND provider IN ('alipay', 'stripe') AND iif(kind = 'pay', trade_no, refund) = +?
		ORDER BY seq LIMIT 1`, q.Number))
	if errors.Is(err, actors.ErrNoRows) {
		return nil, api.Refuse(api.CodeNotFound, "no money moved under the number %.64s", q.Number).
			At("number")
	}
	return &e, err
}

// listLog answers the pay log, of one order or all. Row Y8.
func listLog(v *actors.View, q *api.ListPayLog) (*api.PayLog, error) {
	at, err := cursor(q.Cursor, 0)
	from, order := `seq > ?1`, `seq`
	if q.Newest {
		at, err = cursor(q.Cursor, math.MaxInt64)
		from, order = `seq < ?1`, `seq DESC`
	}
	if err != nil {
		return nil, err
	}
	args := []any{at, q.Size() + 1}
	if q.Order != "" {
		from += ` AND order_id = +?3`
		args = append(args, q.Order)
	}
	list := &api.PayLog{Entries: []api.PayLogEntry{}}
	err = v.Each(func(r actors.Row) error {
		e, err := scanEntry(r)
		list.Entries = append(list.Entries, e)
		return err
	}, `SELECT `+logColumns+` FROM log WHERE `+from+` ORDER BY `+order+` LIMIT +?2`, args...)
	if len(list.Entries) > q.Size() {
		list.Entries = list.Entries[:q.Size()]
		list.Next = strconv.FormatInt(list.Entries[q.Size()-1].Seq, 10)
	}
	return list, err
}

// cursor is the place that a page begins after, or start for the first one.
func cursor(s string, start int64) (int64, error) {
	if s == "" {
		return start, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, noCursor()
	}
	return n, nil
}

func noCursor() error { return invalid("cursor", "this is not the next of a list") }
