package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"ordo/actors/settle"
	"ordo/api"
)

// remake has orders made again that the order's file does not know: the journal
// has each as it was placed or paid, and its refunds as they ended. Of others
// the participants undo what they did.
func (b *orderBooks) remake(ctx context.Context) error {
	for _, u := range b.found {
		if u.State != "" {
			continue
		}
		var err error
		if u.lost, u.Cannot, err = b.lost(ctx, u); err != nil {
			return fmt.Errorf("order %s: %w", u.Order, err)
		}
		if u.lost == nil {
			continue
		}
		o := &u.lost.Order
		u.Remade = fmt.Sprintf("%s, %d lines, %s, %d refunds", o.State, len(o.Lines), o.Total,
			len(u.lost.Refunds))
		if len(api.Raw(u.message())) > api.MaxMessage-1<<10 {
			u.lost, u.Cannot = nil, "it is too large to be made again by a message"
		}
	}
	return nil
}

// lost is what the journal has of an order that is to be made again: one that
// was placed and may still be paid, or was paid. It answers nil for others, and
// why when it may not be left at that.
func (b *orderBooks) lost(ctx context.Context, u *unsettled) (m *api.RemakeOrder, cannot string,
	err error) {
	if m, err = b.told(ctx, u.Order); err != nil {
		return nil, "", err
	}
	payment, err := b.payment(ctx, u.Order)
	if err != nil {
		return nil, "", err
	}
	if m == nil {
		return nil, u.unknown(payment, "the journal does not"), nil
	}
	if cannot, ok := u.remakeable(m, payment); !ok {
		return nil, cannot, nil
	}
	return m, "", nil
}

// payment is the state of an order's payment; empty when it has none, or there is
// no payments' file.
func (b *orderBooks) payment(ctx context.Context, order string) (state string, err error) {
	if b.files["payment"] == "" {
		return "", nil
	}
	err = b.db.QueryRowContext(ctx, `SELECT state FROM payment.payment WHERE order_id = ?`,
		order).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return state, err
}

// remakeable tells whether an order is to be made again of what the journal has,
// and else why it may not be left at that.
func (u *unsettled) remakeable(m *api.RemakeOrder, payment string) (cannot string, ok bool) {
	over := m.Order.State != api.OrderPaid && m.Order.State != api.OrderPlaced
	ended := m.Order.State == api.OrderPlaced && (payment == api.PaymentClosed ||
		payment == api.PaymentClosing)
	switch {
	case over, ended:
		return u.unknown(payment, "by the journal it is "+m.Order.State), false
	case m.Order.State == api.OrderPaid && m.Order.Due.Amount > 0 && payment != api.PaymentPaid:
		return "by the journal it is paid, and neither the order's file nor the payment's " +
			"knows it: see its trade at the provider", false
	case len(m.Order.Lines) == 0:
		return u.unknown(payment, "the journal has it without its lines"), false
	}
	if number := u.running(m); number > 0 {
		return fmt.Sprintf("refund %d of it had begun, and the journal does not have how it "+
			"ended: see its payment", number), false
	}
	return "", true
}

// unknown says why an order can't be settled that neither is known nor can be
// made again; empty when all that was done for it can be undone.
func (u *unsettled) unknown(payment, because string) string {
	for _, d := range u.Steps {
		if payment == api.PaymentPaid || !settle.Undoable(d.Name) {
			what := d.Name + " was done for it"
			if payment == api.PaymentPaid {
				what = "it is paid"
			}
			return what + ", the order's file does not know it, and " + because +
				": see its payment, and refund it at the provider or restore a newer file of order"
		}
	}
	return ""
}

// running is the number of a refund of which participants have done something and
// the journal does not tell that it ended; 0 for none.
func (u *unsettled) running(m *api.RemakeOrder) int {
	for _, d := range u.Steps {
		n := d.Occurrence
		if n > 0 && (n > len(m.Refunds) || m.Refunds[n-1].State != api.RefundDone &&
			m.Refunds[n-1].State != api.RefundFailed) {
			return n
		}
	}
	for i := range m.Refunds {
		if m.Refunds[i].Number != i+1 {
			return i + 1
		}
	}
	return 0
}

// told reads an order and its refunds from the journal, each as it was told last;
// nil when it has no decision of it.
func (b *orderBooks) told(ctx context.Context, order string) (*api.RemakeOrder, error) {
	if b.files["journal"] == "" {
		return nil, nil
	}
	var m *api.RemakeOrder
	refunds := map[int]api.Refund{}
	err := b.each(ctx, `SELECT type, coalesce(data, '{}') FROM journal.entry
		WHERE order_id = ? AND +type GLOB 'order.*' ORDER BY seq`,
		func(scan func(...any) error) error {
			var event, data string
			if err := scan(&event, &data); err != nil {
				return err
			}
			switch event {
			case api.EventOrderPlaced, api.EventOrderPaid, api.EventOrderRefused,
				api.EventOrderCancelled:
				m = &api.RemakeOrder{}
				return json.Unmarshal([]byte(data), &m.Order)
			case api.EventOrderRefunded, api.EventRefundAsked, api.EventRefundDenied,
				api.EventRefundFailed:
				var r api.Refund
				err := json.Unmarshal([]byte(data), &r)
				refunds[r.Number] = r
				return err
			}
			return nil
		}, order)
	if err != nil || m == nil {
		return nil, err
	}
	for _, r := range refunds {
		m.Refunds = append(m.Refunds, r)
	}
	slices.SortFunc(m.Refunds, func(a, b api.Refund) int { return a.Number - b.Number })
	return m, nil
}
