package payment

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"ordo/actors"
	"ordo/api"
)

// Kinds of refunds: a part of an order's payment, which the order asked for, or
// money that came too late or twice.
const (
	kindOrder = "order"
	kindLate  = "late"
)

// refundRow is a refund as it is stored.
type refundRow struct {
	number  string
	step    api.Step
	kind    string
	state   string
	attempt string
	tradeNo string
	amount  api.Money
}

func loadRefund(tx *actors.Tx, number string) (*refundRow, error) {
	r := &refundRow{number: number}
	err := tx.Row(`SELECT order_id, step, occurrence, kind, state, attempt, trade_no, amount,
		currency FROM refund WHERE number = ?`, number).
		Scan(&r.step.Order, &r.step.Name, &r.step.Occurrence, &r.kind, &r.state, &r.attempt,
			&r.tradeNo, &r.amount.Amount, &r.amount.Currency)
	return r, err
}

// insert writes a refund, refused when problem is not nil.
func (r *refundRow) insert(tx *actors.Tx, problem *api.Error) error {
	state, text := "open", any(nil)
	if problem != nil {
		state, text = "refused", string(api.Raw(problem))
	}
	_, err := tx.Exec(`INSERT INTO refund (number, order_id, step, occurrence, kind, state, attempt,
		trade_no, amount, currency, problem, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.number, r.step.Order, r.step.Name, r.step.Occurrence, r.kind, state, r.attempt, r.tradeNo,
		r.amount.Amount, r.amount.Currency, text, tx.Now())
	return err
}

// refund reserves a part of what paid an order and has the gateway send it
// back. Told again, it changes nothing. Row Y9.
func refund(tx *actors.Tx, m *api.RefundPayment) error {
	known, err := loadRefund(tx, m.Refund)
	if err == nil {
		return refundAgain(tx, known, m)
	}
	if !errors.Is(err, actors.ErrNoRows) {
		return err
	}
	if err := regainOpen(tx, m); err != nil {
		return err
	}
	r := &refundRow{number: m.Refund, step: m.Step, kind: kindOrder, amount: m.Amount}
	a, err := reserve(tx, r)
	if refusal := api.AsError(err); refusal != nil {
		if err := r.insert(tx, refusal); err != nil {
			return err
		}
		return tx.Send(&api.StepResult{Step: m.Step, Refusal: refusal})
	}
	if err != nil {
		return err
	}
	r.attempt, r.tradeNo = a.ID, a.TradeNo
	if err := r.insert(tx, nil); err != nil {
		return err
	}
	return r.begin(tx, a, m.Reason)
}

// refundAgain takes a refund that is known.
func refundAgain(tx *actors.Tx, known *refundRow, m *api.RefundPayment) error {
	if known.step != m.Step || known.amount != m.Amount {
		return fmt.Errorf("refund %s of %s came again as %s of order %s", m.Refund,
			known.amount, m.Amount, m.Order)
	}
	if m.Again {
		return answerRefund(tx, known)
	}
	return nil
}

// answerRefund tells the order once more what its refund came to, if it is
// decided.
func answerRefund(tx *actors.Tx, r *refundRow) error {
	switch r.state {
	case "done":
		return tx.Send(&api.StepResult{Step: r.step})
	case "refused":
		var problem string
		if err := tx.Row(`SELECT problem FROM refund WHERE number = ?`, r.number).
			Scan(&problem); err != nil {
			return err
		}
		answer := &api.StepResult{Step: r.step, Refusal: new(api.Error)}
		if err := json.Unmarshal([]byte(problem), answer.Refusal); err != nil {
			return fmt.Errorf("stored refusal: %w", err)
		}
		return tx.Send(answer)
	}
	return nil
}

// reserve takes the amount from what is left of the order's payment, and
// answers the attempt that paid it.
func reserve(tx *actors.Tx, r *refundRow) (*attempt, error) {
	var id string
	err := tx.Row(`UPDATE payment SET refunding = refunding + ?1 WHERE order_id = ?2
		AND state = 'paid' AND currency = ?3 AND ?1 > 0 AND ?1 <= amount - refunding
		RETURNING attempt`, r.amount.Amount, r.step.Order, r.amount.Currency).Scan(&id)
	if errors.Is(err, actors.ErrNoRows) {
		return nil, api.Refuse(api.CodeRefundRefused, "less than %s is left of what was paid",
			r.amount)
	}
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(`UPDATE attempt SET returned = returned + ? WHERE id = ?`,
		r.amount.Amount, id); err != nil {
		return nil, err
	}
	return load(tx, id)
}

// begin has the gateway send the money back.
func (r *refundRow) begin(tx *actors.Tx, a *attempt, reason string) error {
	call := api.GatewayCall{Attempt: a.Attempt, Refund: r.number, RefundAmount: r.amount,
		Reason: reason}
	call.Attempt.TradeNo = r.tradeNo
	return tx.Begin(api.EffectPayRefund, refundEffect+r.number, &call)
}

// sendBack refunds money that came too late or twice, in full. The number is
// made from the trade's, so that it is the same however the news came.
func sendBack(tx *actors.Tx, a *attempt, e *api.PayLogEntry, kind string) (string, error) {
	r := &refundRow{step: api.Step{Order: a.Order}, kind: kindLate, attempt: a.ID,
		tradeNo: e.TradeNo, amount: a.Amount, number: api.DeriveID(api.PrefixRefund,
			a.OpenedAt.Std(), "late/"+a.Provider+"/"+a.ID+"/"+e.TradeNo)}
	if _, err := tx.Exec(`UPDATE attempt SET returned = returned + ? WHERE id = ?`,
		a.Amount.Amount, a.ID); err != nil {
		return "", err
	}
	if err := r.insert(tx, nil); err != nil {
		return "", err
	}
	if err := report(tx, &api.PaymentIncident{Kind: kind, Provider: a.Provider, Attempt: a.ID,
		Order: a.Order, TradeNo: e.TradeNo, Amount: a.Amount,
		Text: "refunded as " + r.number}); err != nil {
		return "", err
	}
	if err := r.begin(tx, a, "paid too late or twice"); err != nil {
		return "", err
	}
	return api.NotedRefunded, emit(tx, api.EventPaymentLate, a.User, e)
}

// refunded takes the final outcome of a refund.
func refunded(tx *actors.Tx, o *api.Outcome) error {
	out, err := decode[api.RefundOutcome](o)
	if err != nil {
		return err
	}
	r, err := loadRefund(tx, strings.TrimPrefix(o.Effect, refundEffect))
	if err != nil {
		return fmt.Errorf("outcome of %s: %w", o.Effect, err)
	}
	a, err := load(tx, r.attempt)
	if err != nil {
		return err
	}
	if r.state != "open" {
		return r.again(tx, a, &out)
	}
	if out.Refusal != nil {
		return r.refuse(tx, a, out.Refusal)
	}
	if err := compareRefunds(tx, a, &api.Trade{Provider: a.Provider, Attempt: a.ID,
		TradeNo: r.tradeNo, Refunded: out.Total}); err != nil {
		return err
	}
	return r.done(tx, a, cmp.Or(max(out.At, 0), tx.Now()))
}

// again takes a further outcome of a refund that is decided. The totals of
// repeated tries differ when there were other refunds between them; money that
// went back after a no, or came back, is for a person to look at.
func (r *refundRow) again(tx *actors.Tx, a *attempt, out *api.RefundOutcome) error {
	i := &api.PaymentIncident{Provider: a.Provider, Attempt: a.ID, Order: a.Order,
		TradeNo: r.number, Amount: r.amount}
	switch {
	case (r.state == "done") == (out.Refusal == nil):
		return nil
	case out.Refusal == nil && r.kind == kindLate:
		_, err := settleLate(tx, a, &api.Trade{TradeNo: r.tradeNo, Refunded: api.Money{
			Amount: a.returned + r.amount.Amount}})
		return err
	case out.Refusal == nil:
		i.Kind, i.Text = api.IncidentReturned, "the refund was refused, and then it was done"
	default:
		i.Kind, i.Text = api.IncidentFailed, "the refund was done, and then it failed: "+
			out.Refusal.Message
	}
	return report(tx, i)
}

// noteRefund takes a notice that a refund has failed. Row Y9.
func noteRefund(tx *actors.Tx, m *api.NoteRefund) error {
	if err := checkProvider(m.Provider); err != nil {
		return err
	}
	if m.Refund == "" || len(m.Refund) > maxNumber {
		return invalid("refund", "needs 1 to %d characters", maxNumber)
	}
	r, err := loadRefund(tx, m.Refund)
	if errors.Is(err, actors.ErrNoRows) || err == nil && r.attempt == "" {
		return noteUnknown(tx, m)
	}
	if err != nil {
		return err
	}
	a, err := load(tx, r.attempt)
	if err != nil {
		return err
	}
	if a.Provider != m.Provider {
		return noteUnknown(tx, m)
	}
	if err := r.failed(tx, a, api.Refuse(api.CodeRefundRefused,
		"refund %.255s has failed: %.255s", m.Ref, m.Reason)); err != nil {
		return err
	}
	return tx.Reply(&api.Noted{Result: api.NotedIncident})
}

// failed takes the news that a refund has failed, which may be decided.
func (r *refundRow) failed(tx *actors.Tx, a *attempt, why *api.Error) error {
	if r.state == "open" {
		return r.refuse(tx, a, why)
	}
	return r.again(tx, a, &api.RefundOutcome{Refusal: why})
}

// noteUnknown records a notice about a refund that was not asked for here.
func noteUnknown(tx *actors.Tx, m *api.NoteRefund) error {
	i := &api.PaymentIncident{Kind: api.IncidentUnknown, Provider: m.Provider, TradeNo: m.Refund,
		Text: "no such refund was asked for, and " + m.Ref + " has failed"}
	if err := report(tx, i); err != nil {
		return err
	}
	return tx.Reply(&api.Noted{Result: api.NotedIncident})
}

// done books money that went back at a time, and answers the order.
func (r *refundRow) done(tx *actors.Tx, a *attempt, at api.Time) error {
	if _, err := tx.Exec(`UPDATE refund SET state = 'done', problem = NULL WHERE number = ?`,
		r.number); err != nil {
		return err
	}
	e := &api.PayLogEntry{Kind: api.BookRefund, Provider: a.Provider, Order: a.Order,
		Attempt: a.ID, TradeNo: r.tradeNo, Refund: r.number, Amount: r.amount, At: at}
	if fresh, err := book(tx, e); err != nil || !fresh {
		return cmp.Or(err, fmt.Errorf("refund %s stands in the log", r.number))
	}
	if err := emit(tx, api.EventPaymentRefunded, a.User, e); err != nil {
		return err
	}
	if r.kind == kindLate {
		return nil
	}
	if _, err := tx.Exec(`UPDATE payment SET refunded = refunded + ? WHERE order_id = ?`,
		r.amount.Amount, a.Order); err != nil {
		return err
	}
	return tx.Send(&api.StepResult{Step: r.step})
}

// refuse frees what was reserved for a refund that the gateway refused, for a
// person to look at, and answers the order.
func (r *refundRow) refuse(tx *actors.Tx, a *attempt, why *api.Error) error {
	if _, err := tx.Exec(`UPDATE refund SET state = 'refused', problem = ? WHERE number = ?`,
		string(api.Raw(why)), r.number); err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE attempt SET returned = returned - ? WHERE id = ?`,
		r.amount.Amount, a.ID); err != nil {
		return err
	}
	if err := report(tx, &api.PaymentIncident{Kind: api.IncidentRefund, Provider: a.Provider,
		Attempt: a.ID, Order: a.Order, TradeNo: r.number, Amount: r.amount,
		Text: why.Error()}); err != nil {
		return err
	}
	if r.kind == kindLate {
		return nil
	}
	if _, err := tx.Exec(`UPDATE payment SET refunding = refunding - ? WHERE order_id = ?`,
		r.amount.Amount, a.Order); err != nil {
		return err
	}
	refusal := &api.Error{Code: api.CodeRefundRefused, Message: why.Message, Data: why.Data}
	return tx.Send(&api.StepResult{Step: r.step, Refusal: refusal})
}
