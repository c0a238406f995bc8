package order

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"ordo/actors"
	"ordo/api"
)

// settleOrder brings an order and its participants together again, after files were
// restored to different moments and the messages between them are lost. What
// was asked for is asked for again, which participants answer as they did; what
// they have lost they do again; what they did for an order that is over, or that
// this file does not know, they undo.
func settleOrder(tx *actors.Tx, m *api.SettleOrder) error {
	if err := checkSettle(m); err != nil {
		return err
	}
	o, err := load(tx, m.Order)
	if errors.Is(err, sql.ErrNoRows) {
		return errors.Join(settleUnknown(tx, m), tellSettled(tx, m, ""))
	}
	if err != nil {
		return err
	}
	o.again = true
	// In the order of the steps, so that a participant has them in order too.
	for i := range steps {
		for _, f := range m.Found {
			if f.Name != steps[i].name {
				continue
			}
			if err := settleStep(tx, o, &steps[i], f); err != nil {
				return err
			}
		}
	}
	if m.Untold == "order."+o.State {
		if err := tell(tx, o, m.Untold); err != nil {
			return err
		}
	}
	return tellSettled(tx, m, o.User)
}

// tellSettled has the journal keep that a person settled the order.
func tellSettled(tx *actors.Tx, m *api.SettleOrder, user string) error {
	if m.By == "" {
		return nil
	}
	return tx.Emit(api.Event{Type: api.EventOrderSettled, Order: m.Order, User: user,
		Data: api.Raw(&api.Intervention{By: m.By, Reason: m.Reason, Found: m.Found})})
}

func checkSettle(m *api.SettleOrder) error {
	if err := errors.Join(length("order", m.Order, 1, 64), length("by", m.By, 0, 64),
		length("reason", m.Reason, 0, 500)); err != nil {
		return err
	}
	if len(m.Found) > api.MaxFound {
		return invalid("found", "must be %d at most", api.MaxFound)
	}
	for i, f := range m.Found {
		if stepNamed(f.Name) < 0 {
			return invalid(fmt.Sprintf("found[%d].step", i), "there is no step %q", f.Name)
		}
	}
	return nil
}

func checkRemake(m *api.RemakeOrder) error {
	o := &m.Order
	if err := length("order.id", o.ID, 1, 64); err != nil {
		return err
	}
	switch {
	case len(o.Lines) == 0 || len(o.Lines) > api.MaxLines:
		return invalid("order.lines", "must be 1 to %d", api.MaxLines)
	case o.State != api.OrderPaid && (o.State != api.OrderPlaced || o.ExpiresAt == 0 ||
		len(m.Refunds) > 0):
		return invalid("order.state", "can't be %q, so and with %d refunds", o.State,
			len(m.Refunds))
	}
	for i := range m.Refunds {
		if err := checkRefund(o, i, &m.Refunds[i]); err != nil {
			return err
		}
	}
	return nil
}

func checkRefund(o *api.Order, i int, r *api.Refund) error {
	at := fmt.Sprintf("refunds[%d].", i)
	switch {
	case r.Order != o.ID || r.Number != i+1:
		return invalid(at+"number", "is another one's")
	case r.State == api.RefundRunning:
		return invalid(at+"state", "nobody knows how far it has come")
	}
	for _, l := range r.Lines {
		if l.Line < 0 || l.Line >= len(o.Lines) {
			return invalid(at+"lines", "the order has %d lines", len(o.Lines))
		}
	}
	return nil
}

// remake makes an order again that this file has lost. All its steps are asked
// for once more, which participants answer as they did, or do if they have not;
// so a placed order that was paid meanwhile becomes paid. Its token is lost too:
// who submits it again is told of the order that it became.
func remake(tx *actors.Tx, m *api.RemakeOrder) error {
	if err := checkRemake(m); err != nil {
		return err
	}
	if is, err := known(tx, m.Order.ID); is || err != nil {
		return err
	}
	c, err := configured(tx)
	if err != nil {
		return err
	}
	o := &order{Order: m.Order, expiry: c.ExpirySeconds, deadline: tx.Now(), again: true}
	o.State = api.OrderPending
	o.Refunded = api.Money{Currency: o.Total.Currency}
	if _, err := insert(tx, o, "lost-"+o.ID); err != nil {
		return err
	}
	if err := tx.Row(`SELECT n FROM orders WHERE id = ?`, o.ID).Scan(&o.n); err != nil {
		return err
	}
	if o.State, o.deadline = m.Order.State, 0; o.State == api.OrderPlaced {
		o.deadline = o.ExpiresAt
	}
	for i := range m.Refunds {
		if err := remakeRefund(tx, o, &m.Refunds[i]); err != nil {
			return err
		}
	}
	o.refund = nil
	couponBack := slices.ContainsFunc(m.Refunds, func(r api.Refund) bool { return r.Coupon != "" })
	if err := errors.Join(save(tx, o), remakeSteps(tx, o, couponBack)); err != nil {
		return err
	}
	return tx.Wake(o.ID, &o.Order)
}

// remakeSteps writes and asks for the steps of an order itself.
func remakeSteps(tx *actors.Tx, o *order, couponBack bool) error {
	last := collect
	if o.State == api.OrderPaid {
		last = fulfil
	}
	for i := range steps {
		s := &steps[i]
		if s.phase > last || !s.used(o) {
			continue
		}
		state := api.StepAsked
		switch {
		case s.phase == collect && o.State == api.OrderPaid:
			state = api.StepDone
		case s.name == stepRedeem && couponBack:
			state = api.StepUndone
		}
		if err := remakeStep(tx, o, s, state, nil); err != nil {
			return err
		}
	}
	return nil
}

// remakeStep writes a step of the order, or of the refund at hand, that this file
// has lost, and asks for it when its state is that.
func remakeStep(tx *actors.Tx, o *order, s *step, state string, problem *api.Error) error {
	of := api.Step{Order: o.ID, Name: s.name}
	if o.refund != nil {
		of.Occurrence = o.refund.Number
	}
	var answered api.Time
	if state != api.StepAsked {
		answered = tx.Now()
	}
	if _, err := tx.Exec(`INSERT INTO steps (order_id, name, occurrence, state, attempts,
		asked_at, answered_at, refusal) VALUES (?, ?, ?, ?, 1, ?, ?, ?)`, o.ID, s.name,
		of.Occurrence, state, tx.Now(), answered, jsonOrNull(problem)); err != nil {
		return err
	}
	if state != api.StepAsked {
		return nil
	}
	return tx.Send(s.do(o, of))
}

// remakeRefund writes a refund that this file has lost, with the parts that were
// told of it, and the steps that it had.
func remakeRefund(tx *actors.Tx, o *order, r *api.Refund) error {
	o.refund, o.refunds = r, r.Number
	if r.State == api.RefundAsked || r.State == api.RefundDone {
		o.take(r)
	}
	if err := errors.Join(writeRefund(tx, r), saveRefund(tx, r)); err != nil {
		return err
	}
	if r.State != api.RefundDone && r.State != api.RefundFailed {
		return nil
	}
	last, money := giveBack, api.StepDone
	recalled := api.StepDone
	if r.State == api.RefundFailed {
		last, money = repay, api.StepRefused
		if len(o.recalled()) > 0 {
			recalled = api.StepUndone
		}
	}
	for i := range steps {
		s, state, problem := &steps[i], api.StepDone, (*api.Error)(nil)
		if s.phase < recall || s.phase > last || !s.used(o) {
			continue
		}
		switch s.phase {
		case recall:
			state = recalled
		case repay:
			state, problem = money, r.Problem
		}
		if err := remakeStep(tx, o, s, state, problem); err != nil {
			return err
		}
	}
	return nil
}

// settleUnknown has the steps undone of an order that this file has not.
func settleUnknown(tx *actors.Tx, m *api.SettleOrder) error {
	for _, f := range m.Found {
		s := &steps[stepNamed(f.Name)]
		if s.phase > collect {
			continue // repair leaves orders alone that have come further
		}
		if err := tx.Send(s.undo(&order{atOnce: true, again: true}, api.Step{Order: m.Order,
			Name: f.Name, Occurrence: f.Occurrence})); err != nil {
			return err
		}
	}
	return nil
}

// settleStep compares what the order's row says with what the participant's
// does.
func settleStep(tx *actors.Tx, o *order, s *step, f api.FoundStep) error {
	var own string
	err := tx.Row(`SELECT state FROM steps WHERE order_id = ? AND name = ? AND occurrence = ?`,
		o.ID, f.Name, f.Occurrence).Scan(&own)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	over := o.State == api.OrderRefused || o.State == api.OrderCancelled
	switch {
	case s.phase == collect && own == api.StepDone:
		return tellPaid(tx, o, s)
	case own == api.StepAsked && f.State == api.StepUndone, // it was to end, and is not known to
		own == api.StepDone && f.State != "" && f.State != api.StepDone:
		return withdraw(tx, o)
	case own == api.StepAsked, own == api.StepDone && f.State == "":
		return redo(tx, o, s, f.Occurrence)
	case own == api.StepUndoing, own != "" && f.State == api.StepDone:
		return undoAgain(tx, o, s, f.Occurrence)
	case own == "" && f.State == api.StepDone && over:
		if _, err := tx.Exec(`INSERT INTO steps (order_id, name, occurrence, state, attempts,
			asked_at) VALUES (?, ?, ?, 'undoing', 0, ?)`, o.ID, f.Name, f.Occurrence,
			tx.Now()); err != nil {
			return err
		}
		return undoAgain(tx, o, s, f.Occurrence)
	}
	return nil
}

// tellPaid tells the payment actor what has paid the order, so that it can't be
// paid a second time.
func tellPaid(tx *actors.Tx, o *order, s *step) error {
	return tx.Send(&api.CollectPayment{Step: api.Step{Order: o.ID, Name: s.name}, User: o.User,
		Amount: o.Due, ExpiresAt: o.ExpiresAt, Paid: o.paidWith()})
}

// paidWith is what has paid the order.
func (o *order) paidWith() *api.Paid {
	return &api.Paid{Attempt: o.Attempt, Provider: o.Provider, TradeNo: o.TradeNo, Amount: o.Due,
		PaidAt: o.PaidAt}
}

// withdraw ends an order of which a participant has undone a step.
func withdraw(tx *actors.Tx, o *order) error {
	reason := api.Refuse(api.CodeCancelled, "a part of the order was undone before a repair").
		With(api.Cancellation{By: api.ByShop})
	switch o.State {
	case api.OrderPending:
		return end(tx, o, api.OrderRefused, reason)
	case api.OrderPlaced:
		o.atOnce = true
		return closePayment(tx, o, reason)
	}
	return nil // paid: the audit tells
}

// takeRefund has the order's steps be those of a refund, or of the order itself
// for occurrence 0.
func takeRefund(tx *actors.Tx, o *order, occurrence int) (err error) {
	o.refund = nil
	if occurrence == 0 {
		return nil
	}
	if o.refund, _, err = scanRefund(tx.Row(selectRefund+`WHERE order_id = ? AND number = ?`, o.ID,
		occurrence)); err != nil {
		return fmt.Errorf("refund %d of order %s: %w", occurrence, o.ID, err)
	}
	return nil
}

// redo asks for a step once more.
func redo(tx *actors.Tx, o *order, s *step, occurrence int) error {
	if err := takeRefund(tx, o, occurrence); err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE steps SET state = 'asked', attempts = attempts + 1
		WHERE order_id = ? AND name = ? AND occurrence = ?`, o.ID, s.name, occurrence); err != nil {
		return err
	}
	return tx.Send(s.do(o, api.Step{Order: o.ID, Name: s.name, Occurrence: occurrence}))
}

// undoAgain asks for the undo of a step once more.
func undoAgain(tx *actors.Tx, o *order, s *step, occurrence int) error {
	if s.undo == nil {
		return nil
	}
	if err := takeRefund(tx, o, occurrence); err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE steps SET state = 'undoing', attempts = attempts + 1,
		undo_at = iif(state = 'undoing', undo_at, ?)
		WHERE order_id = ? AND name = ? AND occurrence = ?`, tx.Now(), o.ID, s.name,
		occurrence); err != nil {
		return err
	}
	return tx.Send(s.undo(o, api.Step{Order: o.ID, Name: s.name, Occurrence: occurrence}))
}

// redone takes the answer to a hold or debit that was asked for once more. An
// order that can't have it any more is cancelled, and refunded when it is paid.
func redone(tx *actors.Tx, o *order, m *api.StepResult) error {
	switch {
	case m.Refusal == nil:
		return nil
	case o.State == api.OrderPlaced:
		o.atOnce = true
		return closePayment(tx, o, m.Refusal)
	case o.State == api.OrderPaid && m.Name == steps[0].name:
		all := make([]api.CartTake, len(o.Lines))
		for i, l := range o.Lines {
			all[i] = api.CartTake{SKU: l.SKU, Quantity: l.Quantity}
		}
		o.note(all, func(l *api.LineSnapshot) *int64 { return &l.Short })
		return cover(tx, o)
	}
	return nil // the step shows it, and the audit tells
}

// known tells whether this file has the order. An answer about another one is
// of before a restore.
func known(tx *actors.Tx, order string) (bool, error) {
	var is bool
	err := tx.Row(`SELECT EXISTS (SELECT 1 FROM orders WHERE id = ?)`, order).Scan(&is)
	return is, err
}
