package journal

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"ordo/actors"
	"ordo/api"
)

const columns = `SELECT seq, id, type, order_id, user, data, at FROM entry `

// statement is a list in the order of an index, from a place on.
func statement(q *api.ListJournal, at int64) (string, []any) {
	from, order := `WHERE seq > ?1 `, `ORDER BY seq LIMIT +?2`
	if q.Newest {
		from, order = `WHERE seq < ?1 `, `ORDER BY seq DESC LIMIT +?2`
	}
	args := []any{at, q.Size() + 1}
	switch {
	case q.Order != "":
		return columns + from + `AND order_id = +?3 AND (?4 = '' OR type = +?4) ` + order,
			append(args, q.Order, q.Type)
	case q.Type != "":
		return columns + from + `AND type = +?3 ` + order, append(args, q.Type)
	}
	return columns + from + order, args
}

func listJournal(v *actors.View, q *api.ListJournal) (*api.Journal, error) {
	at, err := parseCursor(q.Cursor, q.Newest)
	if err != nil {
		return nil, err
	}
	size := q.Size()
	list := &api.Journal{Entries: make([]api.JournalEntry, 0, size)}
	query, args := statement(q, at)
	err = v.Each(func(r actors.Row) error {
		if len(list.Entries) == size {
			list.Next = strconv.FormatInt(list.Entries[size-1].Seq, 10)
			return nil
		}
		e, err := scanEntry(r)
		list.Entries = append(list.Entries, e)
		return err
	}, query, args...)
	return list, err
}

func scanEntry(r actors.Row) (e api.JournalEntry, err error) {
	var data sql.NullString
	err = r.Scan(&e.Seq, &e.ID, &e.Type, &e.Order, &e.User, &data, &e.At)
	if data.Valid {
		e.Data = json.RawMessage(data.String)
	}
	return e, err
}

// parseCursor reads the Seq of the last entry of the page before; without one it
// is where the list begins.
func parseCursor(s string, newest bool) (int64, error) {
	switch {
	case s == "" && newest:
		return math.MaxInt64, nil
	case s == "":
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, api.Refuse(api.CodeInvalid, "this is not a cursor").At("cursor")
	}
	return n, nil
}

func listWebhooks(v *actors.View, _ *api.ListWebhooks) (*api.WebhookList, error) {
	list := &api.WebhookList{Webhooks: []api.Webhook{}}
	err := v.Each(func(r actors.Row) error {
		h, err := scanHook(r)
		if err == nil {
			list.Webhooks = append(list.Webhooks, h.Webhook)
		}
		return err
	}, hookColumns+`WHERE state <> 'deleted' ORDER BY n`)
	return list, err
}

func getWebhook(v *actors.View, q *api.GetWebhook) (*api.Webhook, error) {
	h, err := found(v.Row(hookColumns+`WHERE id = ? AND state <> 'deleted'`, q.ID))
	if err != nil {
		return nil, err
	}
	return &h.Webhook, nil
}

// The lists of deliveries, each in the order of an index.
const (
	olderDeliveries = `WHERE n < ?1 AND webhook = +?2 AND (?3 = '' OR state = ?3)
		AND (?4 = '' OR type = ?4) `
	deliveriesOf = `SELECT n` + deliveryTail + olderDeliveries + `ORDER BY n DESC LIMIT +?5`
	// few of a million are not delivered
	undelivered = `SELECT n` + deliveryTail + `INDEXED BY delivery_undelivered ` +
		olderDeliveries + `AND state IN ('failed', 'skipped') ORDER BY n DESC LIMIT +?5`
	deliveryOrder = `SELECT n` + deliveryTail + olderDeliveries +
		`AND order_id = +?6 ORDER BY n DESC LIMIT +?5`
)

func listDeliveries(v *actors.View, q *api.ListDeliveries) (*api.DeliveryList, error) {
	if _, err := getWebhook(v, &api.GetWebhook{ID: q.Webhook}); err != nil {
		return nil, err
	}
	before, err := parseCursor(q.Cursor, true)
	if err != nil {
		return nil, err
	}
	size := q.Size()
	query, args := deliveriesOf, []any{before, q.Webhook, q.State, q.Type, size + 1}
	switch {
	case q.Order != "":
		query, args = deliveryOrder, append(args, q.Order)
	case q.State == api.DeliveryFailed || q.State == api.DeliverySkipped:
		query = undelivered
	}
	list, last := &api.DeliveryList{Deliveries: []api.Delivery{}}, int64(0)
	err = v.Each(func(r actors.Row) error {
		if len(list.Deliveries) == size {
			list.Next = strconv.FormatInt(last, 10)
			return nil
		}
		d, err := scanDelivery(r, &last)
		list.Deliveries = append(list.Deliveries, *d)
		return err
	}, query, args...)
	return list, err
}

func getDelivery(v *actors.View, q *api.GetDelivery) (*api.DeliveryDetail, error) {
	var n int64
	d, err := scanDelivery(v.Row(`SELECT n`+deliveryTail+`WHERE id = ? AND webhook = ?`,
		q.ID, q.Webhook), &n)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, api.Refuse(api.CodeNotFound, "there is no such delivery")
	}
	if err != nil {
		return nil, err
	}
	detail := &api.DeliveryDetail{Delivery: *d, Attempts: []api.DeliveryTry{}}
	if detail.Payload, err = payload(v, d); err != nil {
		return nil, err
	}
	return detail, v.Each(func(r actors.Row) error {
		var t api.DeliveryTry
		var outcome string
		if err := r.Scan(&t.Number, &t.At, &outcome); err != nil {
			return err
		}
		err := json.Unmarshal([]byte(outcome), &t.WebhookOutcome)
		detail.Attempts = append(detail.Attempts, t)
		return err
	}, `SELECT number, at, outcome FROM delivery_try WHERE delivery = +? ORDER BY number DESC
		LIMIT +?`, n, api.MaxPage)
}

// getCall refuses what is not to be sent any more, such as a try that was
// answered, or one to an endpoint that was disabled meanwhile.
func getCall(v *actors.View, q *api.GetWebhookCall) (*api.WebhookCall, error) {
	c, d := &api.WebhookCall{}, &api.Delivery{}
	err := v.Row(`SELECT d.webhook, d.type, d.order_id, d.entry, d.at, w.url, w.secret,
		w.old_secret,
			w.old_until
		FROM delivery d JOIN webhook w ON w.id = d.webhook
		WHERE d.id = +? AND d.state = 'sending' AND d.tries = +? AND w.state = 'enabled'`,
		q.Delivery, q.Number).Scan(&d.Webhook, &d.Type, &d.Order, &d.Event, &d.Created, &c.URL,
		&c.Secret, &c.OldSecret, &c.OldUntil)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, api.Refuse(api.CodeNotFound, "this is not to be sent")
	}
	if err == nil {
		c.Payload, err = payload(v, d)
	}
	return c, err
}

// payload is what is sent of a delivery, always the same.
func payload(v *actors.View, d *api.Delivery) (p api.WebhookPayload, err error) {
	if d.Event == 0 {
		return api.WebhookPayload{Type: d.Type, Timestamp: d.Created,
			Data: api.WebhookData{Webhook: d.Webhook}}, nil
	}
	e, err := scanEntry(v.Row(columns+`WHERE seq = ?`, d.Event))
	if err != nil {
		return p, fmt.Errorf("event %d: %w", d.Event, err)
	}
	return Payload(&e), nil
}

// told is what others may know of an event's data. The id is a refund's in
// events about one; a reason is a refusal, or a person's words, which are not
// told.
type told struct {
	ID     string          `json:"id"`
	Reason json.RawMessage `json:"reason"`
	api.WebhookData
}

// Payload is what others are told of an event: of its data nothing but the fields
// of api.WebhookData, so that names, addresses and free text stay here.
func Payload(e *api.JournalEntry) api.WebhookPayload {
	var t told
	// Data of another form has none of the fields.
	_ = json.Unmarshal(e.Data, &t)
	p := api.WebhookPayload{Type: e.Type, Timestamp: e.At, Data: t.WebhookData}
	p.Data.Event, p.Data.Order, p.Data.User, p.Data.Webhook = e.Seq, e.Order, e.User, ""
	if _, err := api.ParseID(api.PrefixRefund, t.ID); err == nil {
		p.Data.Refund = t.ID
	}
	var refusal api.Error
	if json.Unmarshal(t.Reason, &refusal) == nil {
		p.Data.Reason = refusal.Code
	}
	return p
}
