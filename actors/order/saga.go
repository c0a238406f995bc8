package order

import (
	"cmp"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"ordo/actors"
	"ordo/api"
)

// sweepBytes is about how much JSON of lines one sweep takes on.
const sweepBytes = 8 << 20

// maxEvent is the most JSON of an order that an event carries, in bytes.
const maxEvent = api.MaxMessage - 4<<10

// stepResult takes a participant's answer and goes on with the order.
func stepResult(tx *actors.Tx, m *api.StepResult) error {
	i := stepNamed(m.Name)
	switch {
	case i < 0:
		return fmt.Errorf("there is no step %q", m.Name)
	case m.Undo:
		return undone(tx, m)
	case m.Name == stepCollect:
		return collected(tx, m)
	}
	first, err := answered(tx, m)
	if err != nil || !first {
		return err
	}
	switch steps[i].phase {
	case fulfil:
		return fulfilled(tx, m)
	case recall:
		return recalled(tx, m)
	case repay:
		return repaid(tx, m)
	case giveBack:
		return gaveBack(tx, m)
	}
	return placing(tx, &steps[i], m)
}

// placing takes the answer to a step of an order that is being placed.
func placing(tx *actors.Tx, s *step, m *api.StepResult) error {
	o, err := load(tx, m.Order)
	if err != nil {
		return err
	}
	if o.State != api.OrderPending {
		return redone(tx, o, m)
	}
	refusal := m.Refusal
	if refusal == nil && s.done != nil {
		if err := s.done(o, m.Data); err != nil {
			if refusal = api.AsError(err); refusal == nil {
				return err
			}
		}
	}
	if refusal != nil {
		return end(tx, o, api.OrderRefused, refusal)
	}
	return advance(tx, o, s.phase)
}

// answered records the answer to a do and tells whether it is the first one.
// One that comes after the undo was asked for, or again, changes nothing else.
func answered(tx *actors.Tx, m *api.StepResult) (first bool, err error) {
	state := api.StepDone
	if m.Refusal != nil {
		state = api.StepRefused
	}
	refusal := jsonOrNull(m.Refusal)
	n, err := tx.Exec(`UPDATE steps SET state = ?, answered_at = ?, refusal = ?
		WHERE order_id = ? AND name = ? AND occurrence = ? AND state = 'asked'`,
		state, tx.Now(), refusal, m.Order, m.Name, m.Occurrence)
	if err != nil || n > 0 {
		return n > 0, err
	}
	n, err = tx.Exec(`UPDATE steps SET answered_at = ?, refusal = ?
		WHERE order_id = ? AND name = ? AND occurrence = ?`,
		tx.Now(), refusal, m.Order, m.Name, m.Occurrence)
	if err == nil && n == 0 {
		return false, neverAsked(tx, m, "step")
	}
	return false, err
}

// neverAsked is the fault that the answer to a step is which no order asked for.
func neverAsked(tx *actors.Tx, m *api.StepResult, what string) error {
	is, err := known(tx, m.Order)
	if err == nil && is {
		err = fmt.Errorf("%s %s of order %q was never asked for", what, m.Name, m.Order)
	}
	return err
}

// undone records the answer to an undo. Nobody waits for it, because the
// shopper was told when it was asked for, but for that of the payment, after
// which the rest is undone. Row E2.
func undone(tx *actors.Tx, m *api.StepResult) error {
	if m.Refusal != nil {
		return fmt.Errorf("undo of %s of order %s was refused: %w", m.Name, m.Order, m.Refusal)
	}
	n, err := tx.Exec(`UPDATE steps SET state = 'undone', answered_at = ?
		WHERE order_id = ? AND name = ? AND occurrence = ? AND state IN ('undoing', 'undone')`,
		tx.Now(), m.Order, m.Name, m.Occurrence)
	if err != nil {
		return err
	}
	if n == 0 {
		return neverAsked(tx, m, "undo of")
	}
	if m.Name != stepCollect {
		return nil
	}
	o, err := load(tx, m.Order)
	if err != nil || o.State != api.OrderClosing {
		return err
	}
	return end(tx, o, api.OrderCancelled, o.Reason)
}

// collected takes the payment of an order. The payment actor answers that it
// was paid or that it was closed, never both, so an order that is closing may
// still be paid. Rows E2, Y6.
func collected(tx *actors.Tx, m *api.StepResult) error {
	if m.Refusal != nil {
		return fmt.Errorf("the payment of order %s was refused: %w", m.Order, m.Refusal)
	}
	n, err := tx.Exec(`UPDATE steps SET state = 'done', answered_at = ?
		WHERE order_id = ? AND name = ? AND occurrence = 0 AND state IN ('asked', 'undoing')`,
		tx.Now(), m.Order, m.Name)
	if err != nil || n == 0 {
		return err
	}
	o, err := load(tx, m.Order)
	if err != nil {
		return err
	}
	if o.State != api.OrderPlaced && o.State != api.OrderClosing {
		return fmt.Errorf("order %s is %s and was paid", m.Order, o.State)
	}
	var p api.Paid
	if err := json.Unmarshal(m.Data, &p); err != nil {
		return fmt.Errorf("payment: %w", err)
	}
	if p.Amount != o.Due {
		return fmt.Errorf("order %s was paid with %s, not %s", m.Order, p.Amount, o.Due)
	}
	o.Attempt, o.Provider, o.TradeNo = p.Attempt, p.Provider, p.TradeNo
	o.PaidAt = cmp.Or(p.PaidAt, tx.Now())
	return paid(tx, o)
}

// fulfilled has what a participant could not deliver refunded, and goes on with
// refunds that waited for its answer. Rows C6, L1.
func fulfilled(tx *actors.Tx, m *api.StepResult) error {
	o, err := load(tx, m.Order)
	if err != nil {
		return err
	}
	lacks, err := o.lack(m)
	if err == nil && lacks {
		err = cover(tx, o)
	}
	if err != nil {
		return err
	}
	return resume(tx, o)
}

// advance asks for the next phase that the order needs, when all steps of the
// phase before are done, or decides the order when there is none left.
func advance(tx *actors.Tx, o *order, done phase) error {
	if o.asked > 0 {
		return nil
	}
	for p := done + 1; p < collect; p++ {
		n, err := ask(tx, o, p)
		if err != nil {
			return err
		}
		if n > 0 {
			_, err = tx.Exec(`UPDATE orders SET lines = ? WHERE n = ?`,
				string(api.Raw(o.Lines)), o.n)
			return err
		}
	}
	return place(tx, o)
}

// ask asks for all steps of a phase that the order, or the refund at hand,
// needs, and answers how many they are.
func ask(tx *actors.Tx, o *order, p phase) (n int, err error) {
	occurrence := 0
	if o.refund != nil {
		occurrence = o.refund.Number
	}
	for i := range steps {
		s := &steps[i]
		if s.phase != p || !s.used(o) {
			continue
		}
		fresh, err := tx.Exec(`INSERT INTO steps (order_id, name, occurrence, state, attempts,
			asked_at) VALUES (?, ?, ?, 'asked', 1, ?) ON CONFLICT DO NOTHING`, o.ID, s.name,
			occurrence, tx.Now())
		if err != nil {
			return n, err
		}
		if fresh == 0 { // what came before was asked for once more
			var open bool
			if err := tx.Row(`SELECT state = 'asked' FROM steps WHERE order_id = ? AND name = ?
				AND occurrence = ?`, o.ID, s.name, occurrence).Scan(&open); err != nil {
				return n, err
			}
			if open {
				n++
			}
			continue
		}
		n++
		m := s.do(o, api.Step{Order: o.ID, Name: s.name, Occurrence: occurrence})
		if err := tx.Send(m); err != nil {
			return n, err
		}
	}
	return n, nil
}

// place decides an order for which everything is held: it waits for payment,
// unless there is nothing left to pay. Row S11.
func place(tx *actors.Tx, o *order) error {
	o.State, o.Decided = api.OrderPlaced, tx.Now()
	if o.Due.Amount == 0 {
		o.PaidAt = tx.Now()
		return paid(tx, o)
	}
	wait := time.Duration(o.expiry) * time.Second
	o.ExpiresAt = tx.Now().Add(wait)
	o.deadline = o.ExpiresAt
	if err := save(tx, o); err != nil {
		return err
	}
	if err := tx.SendAfter("expiry", wait, "expire-"+o.ID,
		&api.ExpireOrder{Order: o.ID}); err != nil {
		return err
	}
	if _, err := ask(tx, o, collect); err != nil {
		return err
	}
	if err := emptyCart(tx, o); err != nil {
		return err
	}
	return tell(tx, o, api.EventOrderPlaced)
}

// paid has an order that is paid in full fulfilled. Rows Y6, L2.
func paid(tx *actors.Tx, o *order) error {
	c, err := configured(tx)
	if err != nil {
		return err
	}
	if c.PointsPer > 0 {
		o.Points = o.Total.Amount / c.PointsPer
	}
	covered := o.State == api.OrderPlaced && o.ExpiresAt == 0
	o.State, o.Reason, o.deadline = api.OrderPaid, nil, 0
	if err := save(tx, o); err != nil {
		return err
	}
	if _, err := ask(tx, o, fulfil); err != nil {
		return err
	}
	if covered {
		if err := emptyCart(tx, o); err != nil {
			return err
		}
	}
	return tell(tx, o, api.EventOrderPaid)
}

// emptyCart has what was ordered leave the cart. The effect's id keeps it from
// happening twice. Row K3.
func emptyCart(tx *actors.Tx, o *order) error {
	if !o.fromCart {
		return nil
	}
	r := api.RemoveFromCart{Order: o.ID, User: o.User, Lines: make([]api.CartTake, len(o.Lines))}
	for i, l := range o.Lines {
		r.Lines[i] = api.CartTake{SKU: l.SKU, Quantity: l.Quantity}
	}
	return tx.Begin(api.EffectCartRemove, "cart-"+o.ID, &r)
}

// end refuses or cancels an order and undoes every step that has run or may
// have. One that waits for payment goes through closePayment before.
func end(tx *actors.Tx, o *order, state string, reason *api.Error) error {
	o.State, o.Reason, o.deadline = state, reason, 0
	event := api.EventOrderCancelled
	if state == api.OrderRefused {
		o.Decided, event = tx.Now(), api.EventOrderRefused
	} else {
		o.ClosedAt = tx.Now()
	}
	if err := save(tx, o); err != nil {
		return err
	}
	if err := undoAll(tx, o); err != nil {
		return err
	}
	return tell(tx, o, event)
}

// closePayment has a placed order cancelled once nobody can pay it any more:
// the payment actor's answer is that it is closed, or that it was paid. Row E2.
func closePayment(tx *actors.Tx, o *order, reason *api.Error) error {
	o.State, o.Reason, o.deadline = api.OrderClosing, reason, 0
	if err := save(tx, o); err != nil {
		return err
	}
	s := &steps[stepNamed(stepCollect)]
	if _, err := tx.Exec(`UPDATE steps SET state = 'undoing', undo_at = ?
		WHERE order_id = ? AND name = ? AND occurrence = 0`, tx.Now(), o.ID, s.name); err != nil {
		return err
	}
	if err := tx.Send(s.undo(o, api.Step{Order: o.ID, Name: s.name})); err != nil {
		return err
	}
	return tx.Wake(o.ID, &o.Order)
}

// undoAll asks for the undo of every step that was asked for and not refused,
// the last one first. Participants undo what they did, and remember what they
// have not done yet as not to be done. Row S8.
func undoAll(tx *actors.Tx, o *order) error {
	var ran []int
	if err := tx.Each(func(r actors.Row) error {
		var name string
		err := r.Scan(&name)
		ran = append(ran, stepNamed(name))
		return err
	}, `UPDATE steps SET state = 'undoing', undo_at = ? WHERE order_id = ? AND occurrence = 0
		AND state IN ('asked', 'done') RETURNING name`, tx.Now(), o.ID); err != nil {
		return err
	}
	slices.Sort(ran)
	for _, i := range slices.Backward(ran) {
		if i < 0 || steps[i].undo == nil {
			return fmt.Errorf("order %s has a step that can't be undone", o.ID)
		}
		s := api.Step{Order: o.ID, Name: steps[i].name}
		if err := tx.Send(steps[i].undo(o, s)); err != nil {
			return err
		}
	}
	return nil
}

// tell wakes whoever waits for the order and records the fact. An order too
// large for a message is recorded without its lines; the query has them.
func tell(tx *actors.Tx, o *order, event string) error {
	data := api.Raw(&o.Order)
	if err := tx.Wake(o.ID, data); err != nil {
		return err
	}
	if len(data) > maxEvent {
		small := o.Order
		small.Lines = nil
		data = api.Raw(&small)
	}
	return tx.Emit(api.Event{Type: event, Order: o.ID, User: o.User, Data: data})
}

// expire cancels an order that was not paid in time. A timer may be up to a
// second early, and is then set again for the rest. Row E1.
func expire(tx *actors.Tx, m *api.ExpireOrder) error {
	var state string
	var at api.Time
	err := tx.Row(`SELECT state, expires_at FROM orders WHERE id = ?`, m.Order).Scan(&state, &at)
	if errors.Is(err, sql.ErrNoRows) || err == nil && state != api.OrderPlaced {
		return nil
	}
	if err != nil {
		return err
	}
	if rest := time.Duration(at - tx.Now()); rest > 0 {
		// Timers of a class have one delay, so that is whole seconds.
		rest = (rest + time.Second - 1).Truncate(time.Second)
		id := fmt.Sprintf("expire-%s-%d", m.Order, tx.Now())
		return tx.SendAfter("expiry", rest, id, m)
	}
	o, err := load(tx, m.Order)
	if err != nil {
		return err
	}
	return overdue(tx, o)
}

// overdue ends an order that has passed its deadline, whichever it was.
func overdue(tx *actors.Tx, o *order) error {
	if o.State == api.OrderPending {
		return end(tx, o, api.OrderRefused,
			api.Refuse(api.CodeTimeout, "the order could not be decided in time"))
	}
	return closePayment(tx, o, api.Refuse(api.CodeTimeout, "not paid in time"))
}

// sweep ends the orders that have passed their deadlines, the oldest first. It
// is what deadlines rely on; timers are only more punctual. Rows S7, E1.
func sweep(tx *actors.Tx) (more bool, err error) {
	var ids []string
	bytes := 0
	if err := tx.Each(func(r actors.Row) error {
		var id string
		var size int
		if more = len(ids) == actors.SweepLimit || bytes > sweepBytes; more {
			return nil
		}
		err := r.Scan(&id, &size)
		ids, bytes = append(ids, id), bytes+size
		return err
	}, `SELECT id, length(lines) FROM orders WHERE deadline <= ? ORDER BY deadline LIMIT +?`,
		tx.Now(), actors.SweepLimit+1); err != nil {
		return false, err
	}
	for _, id := range ids {
		o, err := load(tx, id)
		if err != nil {
			return false, err
		}
		if err := overdue(tx, o); err != nil {
			return false, err
		}
	}
	return more, fold(tx)
}
