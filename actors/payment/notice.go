package payment

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"ordo/actors"
	"ordo/api"
)

// Limits of what notices carry, in bytes and, of a text, characters.
const (
	maxNumber = 255
	maxText   = 500
)

// noteTrade takes a gateway's verified notice. Rows Y3, Y4.
func noteTrade(tx *actors.Tx, m *api.NoteTrade) error {
	t := &m.Trade
	if err := checkTrade(t); err != nil {
		return err
	}
	a, err := load(tx, t.Attempt)
	if errors.Is(err, actors.ErrNoRows) {
		if err := report(tx,
			about(t, api.IncidentUnknown, "no such attempt was opened")); err != nil {
			return err
		}
		return tx.Reply(&api.Noted{Result: api.NotedIncident})
	}
	if err != nil {
		return err
	}
	noted, err := observe(tx, a, t)
	if err != nil {
		return err
	}
	return tx.Reply(&api.Noted{Result: noted})
}

func checkTrade(t *api.Trade) error {
	if err := checkProvider(t.Provider); err != nil {
		return err
	}
	switch {
	case t.Attempt == "" || len(t.Attempt) > maxNumber:
		return invalid("attempt", "needs 1 to %d characters", maxNumber)
	case len(t.TradeNo) > maxNumber:
		return invalid("trade_no", "more than %d characters", maxNumber)
	case len(t.Ref) > maxNumber:
		return invalid("ref", "more than %d characters", maxNumber)
	case !isAmount(t.Amount):
		return invalid("amount", "is not an amount of money")
	case !isAmount(t.Refunded):
		return invalid("refunded", "is not an amount of money")
	case t.PaidAt < 0:
		return invalid("paid_at", "is before 1970")
	}
	switch t.State {
	case api.TradeNone, api.TradeWaiting, api.TradePaid, api.TradeClosed:
		return nil
	}
	return invalid("state", "%.20q is not the state of a trade", t.State)
}

func checkProvider(name string) error {
	if name != api.PayAlipay && name != api.PayStripe {
		return invalid("provider", "must be %s or %s", api.PayAlipay, api.PayStripe)
	}
	return nil
}

func isAmount(m api.Money) bool {
	return m.Amount >= 0 && m.Amount <= api.MaxAmount && len(m.Currency) <= 3
}

// queried takes what the gateway says when it is asked about a trade.
func queried(tx *actors.Tx, o *api.Outcome) error {
	a, t, err := heard(tx, o)
	if err != nil || t == nil {
		return err
	}
	return lookAgain(tx, a, t.State, a.queried)
}

// closed takes what the gateway says when it is to close a trade. Since when
// that is true is not known, only that it was after the trade was opened.
func closed(tx *actors.Tx, o *api.Outcome) error {
	a, t, err := heard(tx, o)
	if err != nil || t == nil {
		return err
	}
	return lookAgain(tx, a, t.State, a.OpenedAt)
}

// heard takes an outcome about a trade. It answers the trade only when that is
// not decided.
func heard(tx *actors.Tx, o *api.Outcome) (*attempt, *api.Trade, error) {
	t, err := decode[api.Trade](o)
	if err != nil {
		return nil, nil, err
	}
	t.Attempt = attemptOf(o.Effect)
	a, err := load(tx, t.Attempt)
	if err != nil {
		return nil, nil, fmt.Errorf("outcome of %s: %w", o.Effect, err)
	}
	t.Provider = cmp.Or(t.Provider, a.Provider)
	if err := checkTrade(&t); err != nil {
		return nil, nil, fmt.Errorf("outcome of %s: %s", o.Effect, err)
	}
	noted, err := observe(tx, a, &t)
	open := noted == api.NotedNothing || noted == api.NotedIncident
	if err != nil || !open || a.State == api.AttemptPaid {
		return nil, nil, err
	}
	return a, &t, nil
}

// observe takes what a gateway says about an attempt, by whatever way and in
// whatever order it comes. State only moves forward. Rows E2, Y4.
func observe(tx *actors.Tx, a *attempt, t *api.Trade) (noted string, err error) {
	switch {
	case t.Provider != a.Provider:
		return misfit(tx, a, t, api.IncidentUnknown, "the attempt is with "+a.Provider)
	case t.Amount != a.Amount && (t.State == api.TradePaid || t.Amount.Amount != 0):
		return misfit(tx, a, t, api.IncidentAmount, "the attempt is for "+a.Amount.String())
	}
	switch t.State {
	case api.TradePaid:
		return captured(tx, a, t)
	case api.TradeClosed:
		return ended(tx, a, t)
	}
	return api.NotedNothing, nil
}

// misfit records what does not fit what was asked for; nothing else changes.
func misfit(tx *actors.Tx, a *attempt, t *api.Trade, kind, text string) (string, error) {
	i := about(t, kind, text)
	i.Order = a.Order
	return api.NotedIncident, report(tx, i)
}

// captured takes money that came: it pays the order or goes back.
func captured(tx *actors.Tx, a *attempt, t *api.Trade) (noted string, err error) {
	tradeNo := cmp.Or(t.TradeNo, t.Ref, a.ID)
	if a.captured > 0 && tradeNo == a.TradeNo {
		return a.standing(), compareRefunds(tx, a, t)
	}
	if gone, err := goneBefore(tx, a); err != nil || gone {
		return api.NotedIncident, err
	}
	e := &api.PayLogEntry{Kind: api.BookPay, Provider: a.Provider, Order: a.Order, Attempt: a.ID,
		TradeNo: tradeNo, Amount: a.Amount, At: cmp.Or(t.PaidAt, tx.Now())}
	fresh, err := book(tx, e)
	switch {
	case err != nil:
		return "", err
	case !fresh:
		return knownTrade(tx, a, t, e)
	case a.captured > 0:
		return sendBack(tx, a, e, api.IncidentTrade)
	case a.payState == api.PaymentClosed:
		return sendBack(tx, a, e, api.IncidentLate)
	case a.payState == api.PaymentPaid:
		return sendBack(tx, a, e, api.IncidentDouble)
	}
	return api.NotedPaid, pay(tx, a, e)
}

// goneBefore tells whether the gateway has said before that all of the money of
// an attempt went back, at somebody else's word: then it pays nothing, though
// the news that it came is only heard now. The incident tells of it.
func goneBefore(tx *actors.Tx, a *attempt) (gone bool, err error) {
	if a.captured > 0 || a.State != api.AttemptClosed {
		return false, nil
	}
	err = tx.Row(`SELECT EXISTS (SELECT 1 FROM incident WHERE kind = ? AND provider = ?
		AND attempt = ? AND amount >= ?)`, api.IncidentReturned, a.Provider, a.ID,
		a.Amount.Amount).Scan(&gone)
	return gone, err
}

// standing is what became of the money that was captured first on an attempt.
func (a *attempt) standing() string {
	if a.paidBy == a.ID {
		return api.NotedPaid
	}
	return api.NotedRefunded
}

// knownTrade takes a trade number that was captured before and is not the first
// of this attempt: its second, told again, or another attempt's.
func knownTrade(tx *actors.Tx, a *attempt, t *api.Trade, e *api.PayLogEntry) (string, error) {
	var owner string
	if err := tx.Row(`SELECT attempt FROM log WHERE kind = 'pay' AND provider = ?
		AND iif(kind = 'pay', trade_no, refund) = ?`, e.Provider,
		e.TradeNo).Scan(&owner); err != nil {
		return "", err
	}
	if owner == a.ID {
		return api.NotedRefunded, nil
	}
	return misfit(tx, a, t, api.IncidentTrade, "the trade belongs to attempt "+owner)
}

// pay has the money pay the order and answers it. Row Y6.
func pay(tx *actors.Tx, a *attempt, e *api.PayLogEntry) error {
	if _, err := tx.Exec(`UPDATE payment SET state = 'paid', attempt = ?, release_at = 0
		WHERE order_id = ?`, a.ID, a.Order); err != nil {
		return err
	}
	if a.State != api.AttemptOpen { // then another one may be
		if err := closeOpen(tx, a.Order); err != nil {
			return err
		}
	}
	if err := tx.Send(&api.StepResult{Step: a.step, Data: api.Raw(&api.Paid{Attempt: a.ID,
		Provider: a.Provider, TradeNo: e.TradeNo, Amount: a.Amount, PaidAt: e.At})}); err != nil {
		return err
	}
	return emit(tx, api.EventPaymentPaid, a.User, e)
}

// ended takes a trade that can't be paid any more. One that was captured was
// refunded in full, which changes nothing.
func ended(tx *actors.Tx, a *attempt, t *api.Trade) (noted string, err error) {
	if err := compareRefunds(tx, a, t); err != nil {
		return "", err
	}
	if a.captured > 0 {
		return api.NotedNothing, nil
	}
	if _, err := tx.Exec(`UPDATE attempt SET state = 'closed', next_query = 0,
		closed_at = iif(state = 'open', ?, closed_at) WHERE id = ?`, tx.Now(), a.ID); err != nil {
		return "", err
	}
	if a.State == api.AttemptOpen && a.payState == api.PaymentClosing {
		return api.NotedClosed, shut(tx, a.Order)
	}
	return api.NotedClosed, nil
}

// compareRefunds reports what the gateway has sent back without being asked.
func compareRefunds(tx *actors.Tx, a *attempt, t *api.Trade) error {
	if t.Refunded.Amount <= a.returned {
		return nil
	}
	if settled, err := settleLate(tx, a, t); err != nil || settled {
		return err
	}
	i := about(t, api.IncidentReturned, fmt.Sprintf("the shop knows of refunds of %s",
		api.Money{Amount: a.returned, Currency: a.Amount.Currency}))
	i.Order, i.Amount = a.Order, t.Refunded
	return report(tx, i)
}

// settleLate books money that came too late or twice, whose refund the gateway
// refused, and that a person has sent back there since.
func settleLate(tx *actors.Tx, a *attempt, t *api.Trade) (settled bool, err error) {
	var number string
	err = tx.Row(`SELECT number FROM refund WHERE order_id = ? AND attempt = ? AND trade_no = ?
		AND kind = 'late' AND state = 'refused' AND amount <= ?`, a.Order, a.ID, t.TradeNo,
		t.Refunded.Amount-a.returned).Scan(&number)
	if err != nil {
		if errors.Is(err, actors.ErrNoRows) {
			err = nil
		}
		return false, err
	}
	r, err := loadRefund(tx, number)
	if err != nil {
		return false, err
	}
	if _, err := tx.Exec(`UPDATE attempt SET returned = returned + ? WHERE id = ?`,
		r.amount.Amount, a.ID); err != nil {
		return false, err
	}
	return true, r.done(tx, a, tx.Now())
}

// book writes a row of the pay log, whose trigger counts a capture. It is not
// fresh when it was written before.
func book(tx *actors.Tx, e *api.PayLogEntry) (fresh bool, err error) {
	err = tx.Row(`INSERT INTO log
		(kind, provider, order_id, attempt, trade_no, refund, amount, currency, at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING seq`,
		e.Kind, e.Provider, e.Order, e.Attempt, e.TradeNo, e.Refund, e.Amount.Amount,
		e.Amount.Currency, e.At).Scan(&e.Seq)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// emit tells of money that moved, under the number that the provider gave it.
func emit(tx *actors.Tx, event, user string, e *api.PayLogEntry) error {
	return tx.Emit(api.Event{ID: e.Kind + "/" + e.Provider + "/" + cmp.Or(e.Refund, e.TradeNo),
		Type: event, Order: e.Order, User: user, Data: api.Raw(e)})
}

// about is an incident about a trade.
func about(t *api.Trade, kind, text string) *api.PaymentIncident {
	return &api.PaymentIncident{Kind: kind, Provider: t.Provider, Attempt: t.Attempt,
		TradeNo: t.TradeNo, Amount: t.Amount, Text: text}
}

// report records an incident, unless it is known.
func report(tx *actors.Tx, i *api.PaymentIncident) error {
	_, err := tx.Exec(`INSERT INTO incident
		(kind, provider, attempt, order_id, trade_no, amount, currency, text, at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		i.Kind, i.Provider, i.Attempt, i.Order, i.TradeNo, i.Amount.Amount, i.Amount.Currency,
		clip(i.Text, maxText), tx.Now())
	return err
}

// noteIncident records a forged notice. What it says is not to be believed, so
// it is cut to size rather than refused. Row Y3.
func noteIncident(tx *actors.Tx, m *api.NoteIncident) error {
	if m.Kind != api.IncidentForged {
		return invalid("kind", "must be %s", api.IncidentForged)
	}
	var n int64
	if err := tx.Row(`INSERT INTO forged (one, n) VALUES (1, 1)
		ON CONFLICT DO UPDATE SET n = n + 1 RETURNING n`).Scan(&n); err != nil {
		return err
	}
	if n > api.MaxIncidents {
		return nil
	}
	i := m.PaymentIncident
	i.Provider, i.Attempt = clip(i.Provider, maxNumber), clip(i.Attempt, maxNumber)
	i.Order, i.TradeNo = clip(i.Order, maxNumber), clip(i.TradeNo, maxNumber)
	i.Amount.Currency = clip(i.Amount.Currency, 3)
	return report(tx, &i)
}

// clip is the beginning of a text, at most n characters.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "�")
	count := 0
	for at := range s {
		if count == n {
			return s[:at]
		}
		count++
	}
	return s
}
