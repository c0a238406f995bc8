package payment

import (
	"fmt"

	"ordo/actors"
	"ordo/api"
)

// regain has a payment be paid with what paid its order, which this file has
// lost: it came out of a backup, and the messages since are lost as well. The
// attempt is made again if it is not known; then it is as if the gateway said so.
// The order and the journal, which know of it, take it as a repeat.
func regain(tx *actors.Tx, order string, p *api.Paid) error {
	if _, err := tx.Exec(`INSERT INTO attempt (id, order_id, provider, product, amount, currency,
		state, opened_at, expires_at, closed_at) VALUES (?, ?, ?, '', ?, ?, 'closed', ?, ?, ?)
		ON CONFLICT (id) DO NOTHING`, p.Attempt, order, p.Provider, p.Amount.Amount,
		p.Amount.Currency, p.PaidAt, p.PaidAt, tx.Now()); err != nil {
		return err
	}
	a, err := load(tx, p.Attempt)
	if err != nil || a.captured > 0 { // then nothing was lost
		return err
	}
	if err := a.canHavePaid(order, p); err != nil {
		return err
	}
	_, err = captured(tx, a, &api.Trade{Provider: p.Provider, Attempt: a.ID, TradeNo: p.TradeNo,
		State: api.TradePaid, Amount: p.Amount, PaidAt: p.PaidAt})
	return err
}

// canHavePaid refuses what does not fit the attempt or its payment.
func (a *attempt) canHavePaid(order string, p *api.Paid) error {
	if a.Order != order || a.Provider != p.Provider || a.Amount != p.Amount {
		return fmt.Errorf("attempt %s of %s at %s can't have paid order %s with %s at %s", a.ID,
			a.Amount, a.Provider, order, p.Amount, p.Provider)
	}
	if a.payState == api.PaymentClosed {
		return fmt.Errorf("the payment of order %s, which was paid, is closed", order)
	}
	return nil
}

// regainOpen has an open payment be paid before a part of it is refunded: only an
// order that is paid asks for that.
func regainOpen(tx *actors.Tx, m *api.RefundPayment) error {
	if m.Paid == nil {
		return nil // from an older order actor
	}
	var open bool
	err := tx.Row(`SELECT EXISTS (SELECT 1 FROM payment
		WHERE order_id = ? AND state IN ('open', 'closing'))`, m.Order).Scan(&open)
	if err != nil || !open {
		return err
	}
	return regain(tx, m.Order, m.Paid)
}
