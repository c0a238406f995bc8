package order

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ordo/actors"
	"ordo/api"
)

// maxRefunds is the most refunds an order may have, denied ones included. Stripe
// lists no more than 1,000 when it is asked about one.
const maxRefunds = 500

// askRefund reserves units of a paid order for a refund. Support's is granted
// at once, a shopper's when it is asked for in time. Row Y9.
func askRefund(tx *actors.Tx, m *api.AskRefund) error {
	if err := checkAsk(m); err != nil {
		return err
	}
	if known, err := loadRefund(tx, m.ID); err == nil || !errors.Is(err, sql.ErrNoRows) {
		return askedAgain(tx, m, known, err)
	}
	o, err := load(tx, m.Order)
	if errors.Is(err, sql.ErrNoRows) || err == nil && m.User != "" && m.User != o.User {
		return noOrder(m.Order)
	}
	if err != nil {
		return err
	}
	if o.State != api.OrderPaid || o.refunds >= maxRefunds {
		return api.Refuse(api.CodeNotRefundable, "the order is %s and has %d refunds", o.State,
			o.refunds)
	}
	lines, err := o.wantedBack(m.Lines)
	if err != nil {
		return err
	}
	mark(lines, m.Keep, m.Returned)
	c, err := configured(tx)
	if err != nil {
		return err
	}
	r := &api.Refund{ID: m.ID, By: m.By, Reason: strings.TrimSpace(m.Reason), Lines: lines}
	inTime := tx.Now() < o.PaidAt.Add(time.Duration(c.RefundSeconds)*time.Second)
	if m.User != "" && !inTime {
		return keepAsked(tx, o, r)
	}
	r.DecidedBy = m.By
	if m.User != "" {
		r.DecidedBy = api.ByShop
	}
	if err := beginRefund(tx, o, r); err != nil {
		return err
	}
	return tx.Reply(r)
}

func askedAgain(tx *actors.Tx, m *api.AskRefund, known *api.Refund, err error) error {
	if err != nil {
		return err
	}
	if known.Order != m.Order || m.User != "" && known.User != m.User {
		return api.Refuse(api.CodeIDReused, "the refund %s is another one", m.ID).At("id")
	}
	return tx.Reply(known)
}

func keepAsked(tx *actors.Tx, o *order, r *api.Refund) error {
	if err := insertRefund(tx, o, r, api.RefundAsked); err != nil {
		return err
	}
	if err := save(tx, o); err != nil {
		return err
	}
	if err := tellRefund(tx, r, api.EventRefundAsked); err != nil {
		return err
	}
	return tx.Reply(r)
}

func checkAsk(m *api.AskRefund) error {
	if _, err := api.ParseID(api.PrefixRefund, m.ID); err != nil {
		return api.AsError(err).At("id")
	}
	if len(m.Lines) > api.MaxLines {
		return api.Refuse(api.CodeTooLarge, "more than %d lines", api.MaxLines).At("lines")
	}
	least := 0
	if m.User == "" {
		least = 1
	}
	return errors.Join(
		length("by", m.By, 1, 64),
		length("reason", strings.TrimSpace(m.Reason), least, 500))
}

// wantedBack are the lines that a refund is asked for; all that is left when
// none are named.
func (o *order) wantedBack(asked []api.RefundLine) ([]api.RefundLine, error) {
	if len(asked) == 0 {
		if !o.left() {
			return nil, api.Refuse(api.CodeRefundTooMuch, "nothing is left to refund")
		}
		return o.rest(), nil
	}
	lines := slices.Clone(asked)
	for i := range lines {
		lines[i].Recalled = 0 // only the shipping actor knows
	}
	var short []api.Shortage
	taken := map[int]int64{}
	for i := range lines {
		w := &lines[i]
		if err := o.checkWanted(w, fmt.Sprintf("lines[%d]", i)); err != nil {
			return nil, err
		}
		l := &o.Lines[w.Line]
		if left := l.Quantity - l.Refunded - taken[w.Line]; w.Quantity > left {
			short = append(short, api.Shortage{SKU: l.SKU, Wanted: w.Quantity, Left: left})
		}
		taken[w.Line] += w.Quantity
	}
	if short != nil {
		return nil, api.Refuse(api.CodeRefundTooMuch, "%d lines have fewer units left",
			len(short)).At("lines").With(short)
	}
	return lines, nil
}

func (o *order) checkWanted(w *api.RefundLine, at string) error {
	switch {
	case w.Line < 0 || w.Line >= len(o.Lines):
		return invalid(at+".line", "the order has %d lines", len(o.Lines))
	case w.SKU != "" && w.SKU != o.Lines[w.Line].SKU:
		return invalid(at+".sku", "line %d is %s", w.Line, o.Lines[w.Line].SKU)
	case w.Quantity < 1 || w.Quantity > api.MaxQuantity:
		return invalid(at+".quantity", "must be 1 to %d", api.MaxQuantity)
	}
	return nil
}

// rest are all units that no refund has reserved.
func (o *order) rest() (lines []api.RefundLine) {
	for i, l := range o.Lines {
		if n := l.Quantity - l.Refunded; n > 0 {
			lines = append(lines, api.RefundLine{Line: i, SKU: l.SKU, Quantity: n})
		}
	}
	return lines
}

// beginRefund reserves a refund that is granted and starts it.
func beginRefund(tx *actors.Tx, o *order, r *api.Refund) error {
	r.Decided = tx.Now()
	if err := insertRefund(tx, o, r, api.RefundRunning); err != nil {
		return err
	}
	if err := save(tx, o); err != nil {
		return err
	}
	return proceed(tx, o, r, recall)
}

// proceed asks for the first phase from p on that has steps for the refund which
// have not been answered, and ends the refund when there is none. Where a step is
// to be taken back that has not been answered itself, the refund waits until
// resume.
func proceed(tx *actors.Tx, o *order, r *api.Refund, p phase) error {
	o.refund = r
	for ; p <= giveBack; p++ {
		if early, err := tooEarly(tx, o, p); err != nil || early {
			return err
		}
		if n, err := ask(tx, o, p); err != nil || n > 0 {
			return err
		}
	}
	return finish(tx, o, r)
}

// tooEarly tells whether a phase takes back what has not been answered yet.
func tooEarly(tx *actors.Tx, o *order, p phase) (early bool, err error) {
	for i := range steps {
		s := &steps[i]
		if s.phase != p || s.after == "" || !s.used(o) {
			continue
		}
		if err = tx.Row(`SELECT EXISTS (SELECT 1 FROM steps WHERE order_id = ? AND name = ?
			AND occurrence = 0 AND state = 'asked')`, o.ID, s.after).Scan(&early); err != nil ||
			early {
			return early, err
		}
	}
	return false, nil
}

// resume goes on with the refunds of an order that proceed left waiting.
func resume(tx *actors.Tx, o *order) error {
	if o.refunds == 0 {
		return nil
	}
	var waiting []*api.Refund
	if err := tx.Each(func(row actors.Row) error {
		r, _, err := scanRefund(row)
		waiting = append(waiting, r)
		return err
	}, selectRefund+`WHERE order_id = +? AND state = 'running' AND NOT EXISTS (
		SELECT 1 FROM steps s WHERE s.order_id = refund.order_id
			AND s.occurrence = refund.number AND s.state = 'asked') ORDER BY number`,
		o.ID); err != nil {
		return err
	}
	for _, r := range waiting {
		if err := proceed(tx, o, r, recall); err != nil {
			return err
		}
	}
	return nil
}

// decideRefund is support's word on a refund that was asked for.
func decideRefund(tx *actors.Tx, m *api.DecideRefund) error {
	if err := errors.Join(length("by", m.By, 1, 64), length("note", m.Note, 0, 500)); err != nil {
		return err
	}
	r, err := loadRefund(tx, m.Refund)
	if errors.Is(err, sql.ErrNoRows) {
		return noRefund(m.Refund)
	}
	if err != nil {
		return err
	}
	if r.State != api.RefundAsked {
		if m.Grant != (r.State == api.RefundDenied) {
			return tx.Reply(r)
		}
		return api.Refuse(api.CodeNotRefundable, "the refund is %s", r.State)
	}
	r.DecidedBy, r.Note, r.Decided = m.By, strings.TrimSpace(m.Note), tx.Now()
	o, err := load(tx, r.Order)
	if err != nil {
		return err
	}
	if !m.Grant {
		return errors.Join(giveUp(tx, o, r, api.RefundDenied), cover(tx, o), tx.Reply(r))
	}
	r.State = api.RefundRunning
	mark(r.Lines, m.Keep, m.Returned)
	if err := errors.Join(saveRefund(tx, r), saveRefundLines(tx, r)); err != nil {
		return err
	}
	if err := proceed(tx, o, r, recall); err != nil {
		return err
	}
	return tx.Reply(r)
}

// mark says of all lines what becomes of their units.
func mark(lines []api.RefundLine, keep, returned bool) {
	for i := range lines {
		lines[i].Keep = lines[i].Keep || keep
		lines[i].Returned = lines[i].Returned || returned
	}
}

// giveUp ends a refund of which nothing goes back, and frees its units.
func giveUp(tx *actors.Tx, o *order, r *api.Refund, state string) error {
	o.release(r)
	r.State, r.Ended = state, tx.Now()
	event := api.EventRefundDenied
	if state == api.RefundFailed {
		event = api.EventRefundFailed
	}
	return errors.Join(save(tx, o), saveRefund(tx, r), tellRefund(tx, r, event))
}

// refundOf reads the refund that a step belongs to, with its order.
func refundOf(tx *actors.Tx, m *api.StepResult) (*order, *api.Refund, error) {
	r, _, err := scanRefund(tx.Row(selectRefund+`WHERE order_id = ? AND number = ?`, m.Order,
		m.Occurrence))
	if err != nil {
		return nil, nil, fmt.Errorf("refund %d of order %s: %w", m.Occurrence, m.Order, err)
	}
	o, err := load(tx, m.Order)
	return o, r, err
}

// recalled takes what did not leave with the parcel, and goes on to the money.
func recalled(tx *actors.Tx, m *api.StepResult) error {
	o, r, err := refundOf(tx, m)
	if err != nil || r.State != api.RefundRunning {
		return err // it was asked for once more
	}
	var d api.Recalled
	if len(m.Data) > 0 {
		if err := json.Unmarshal(m.Data, &d); err != nil {
			return fmt.Errorf("recalled: %w", err)
		}
	}
	o.noteRecalled(r, d.Lines)
	if err := saveRefundLines(tx, r); err != nil {
		return err
	}
	return proceed(tx, o, r, repay)
}

// putBack has a parcel get back what was kept for a refund that failed.
func putBack(tx *actors.Tx, o *order, r *api.Refund) error {
	o.refund = r
	if len(o.recalled()) == 0 {
		return nil
	}
	if _, err := tx.Exec(`UPDATE steps SET state = 'undoing', undo_at = ?
		WHERE order_id = ? AND name = ? AND occurrence = ?`, tx.Now(), o.ID, stepRecall,
		r.Number); err != nil {
		return err
	}
	return tx.Send(steps[stepNamed(stepRecall)].undo(o,
		api.Step{Order: o.ID, Name: stepRecall, Occurrence: r.Number}))
}

// repaid goes on when the money has gone back; a gateway's no ends the refund.
func repaid(tx *actors.Tx, m *api.StepResult) error {
	o, r, err := refundOf(tx, m)
	if err != nil {
		return err
	}
	if r.State != api.RefundRunning {
		return nil // it was asked for once more
	}
	if m.Refusal != nil {
		var late bool
		if err := tx.Row(`SELECT EXISTS (SELECT 1 FROM steps WHERE order_id = ? AND name = ?
			AND occurrence = ?)`, m.Order, stepReturn, m.Occurrence).Scan(&late); err != nil {
			return err
		}
		if late { // asked for once more, after the rest has gone back
			return fmt.Errorf("refund %s is refused after it was made: %w", r.ID, m.Refusal)
		}
		r.Problem = m.Refusal
		err := errors.Join(putBack(tx, o, r), giveUp(tx, o, r, api.RefundFailed))
		if err == nil && r.By != api.ByShop { // else the gateway would be asked for ever
			err = cover(tx, o)
		}
		return err
	}
	return proceed(tx, o, r, recall)
}

// gaveBack ends the refund when all its steps are done. The order's coupon is
// open again when nothing is left of the order.
func gaveBack(tx *actors.Tx, m *api.StepResult) error {
	if m.Refusal != nil {
		return fmt.Errorf("%s of order %s was refused: %w", m.Name, m.Order, m.Refusal)
	}
	o, r, err := refundOf(tx, m)
	if err != nil || r.State != api.RefundRunning {
		return err // it was asked for once more
	}
	return finish(tx, o, r)
}

// finish ends a refund of which no step is open.
func finish(tx *actors.Tx, o *order, r *api.Refund) error {
	var waiting bool
	err := tx.Row(`SELECT EXISTS (SELECT 1 FROM steps WHERE order_id = +? AND occurrence = +?
		AND state = 'asked')`, o.ID, r.Number).Scan(&waiting)
	if err != nil || waiting {
		return err
	}
	r.State, r.Ended = api.RefundDone, tx.Now()
	if r.Coupon, err = o.couponBack(tx, r); err != nil {
		return err
	}
	if err := saveRefund(tx, r); err != nil {
		return err
	}
	if r.Coupon != "" {
		if err := restoreCoupon(tx, o); err != nil {
			return err
		}
	}
	if err := tx.Wake(o.ID, &o.Order); err != nil {
		return err
	}
	return tellRefund(tx, r, api.EventOrderRefunded)
}

// couponBack is the order's coupon when r was the last of it to be refunded.
func (o *order) couponBack(tx *actors.Tx, r *api.Refund) (string, error) {
	if o.Coupon == "" || o.left() {
		return "", nil
	}
	var open bool
	err := tx.Row(`SELECT EXISTS (SELECT 1 FROM refund WHERE order_id = +? AND id <> +?
		AND state IN ('asked', 'running'))`, o.ID, r.ID).Scan(&open)
	if err != nil || open {
		return "", err
	}
	return o.Coupon, nil
}

// restoreCoupon undoes the redemption.
func restoreCoupon(tx *actors.Tx, o *order) error {
	if _, err := tx.Exec(`UPDATE steps SET state = 'undoing', undo_at = ?
		WHERE order_id = ? AND name = ? AND occurrence = 0`, tx.Now(), o.ID,
		stepRedeem); err != nil {
		return err
	}
	return tx.Send(&api.RestoreCoupon{Step: api.Step{Order: o.ID, Name: stepRedeem}})
}

func tellRefund(tx *actors.Tx, r *api.Refund, event string) error {
	data := api.Raw(r)
	if len(data) > maxEvent {
		small := *r
		small.Lines = nil
		data = api.Raw(&small)
	}
	return tx.Emit(api.Event{Type: event, Order: r.Order, User: r.User, Data: data})
}

// insertRefund reserves the refund's units and writes it.
func insertRefund(tx *actors.Tx, o *order, r *api.Refund, state string) error {
	o.reserve(r)
	o.refunds++
	r.Order, r.User, r.Number, r.State, r.Asked = o.ID, o.User, o.refunds, state, tx.Now()
	return writeRefund(tx, r)
}

// writeRefund writes a new refund.
func writeRefund(tx *actors.Tx, r *api.Refund) error {
	_, err := tx.Exec(`INSERT INTO refund (id, order_id, user, number, state, currency, money,
		balance, points, asked_by, reason, decided_by, asked, decided, lines)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.ID, r.Order, r.User, r.Number, r.State, r.Amount.Currency, r.Money.Amount,
		r.Balance.Amount, r.Points, r.By, r.Reason, r.DecidedBy, r.Asked, r.Decided,
		string(api.Raw(r.Lines)))
	return err
}

// saveRefund writes all that changes in a refund's life.
func saveRefund(tx *actors.Tx, r *api.Refund) error {
	_, err := tx.Exec(`UPDATE refund SET state = ?, coupon = ?, decided_by = ?, note = ?,
		problem = ?, decided = ?, ended = ? WHERE id = ?`,
		r.State, r.Coupon, r.DecidedBy, r.Note, jsonOrNull(r.Problem), r.Decided, r.Ended, r.ID)
	return err
}

// saveRefundLines writes what has become of a refund's lines.
func saveRefundLines(tx *actors.Tx, r *api.Refund) error {
	_, err := tx.Exec(`UPDATE refund SET lines = ? WHERE id = ?`, string(api.Raw(r.Lines)), r.ID)
	return err
}

const selectRefund = `SELECT n, id, order_id, user, number, state, currency, money, balance, points,
	coupon, asked_by, reason, decided_by, note, problem, asked, decided, ended, lines FROM refund `

func loadRefund(tx *actors.Tx, id string) (*api.Refund, error) {
	r, _, err := scanRefund(tx.Row(selectRefund+`WHERE id = ?`, id))
	return r, err
}

// scanRefund reads a row of selectRefund and its n.
func scanRefund(row actors.Row) (r *api.Refund, n int64, err error) {
	r = &api.Refund{}
	var currency, lines string
	var problem sql.NullString
	if err := row.Scan(&n, &r.ID, &r.Order, &r.User, &r.Number, &r.State, &currency,
		&r.Money.Amount, &r.Balance.Amount, &r.Points, &r.Coupon, &r.By, &r.Reason, &r.DecidedBy,
		&r.Note, &problem, &r.Asked, &r.Decided, &r.Ended, &lines); err != nil {
		return nil, 0, err
	}
	r.Amount.Amount = r.Money.Amount + r.Balance.Amount
	r.Amount.Currency, r.Money.Currency, r.Balance.Currency = currency, currency, currency
	if err := json.Unmarshal([]byte(lines), &r.Lines); err != nil {
		return nil, 0, fmt.Errorf("stored lines: %w", err)
	}
	return r, n, decodeRefusal(problem, &r.Problem)
}

func noRefund(id string) *api.Error {
	return api.Refuse(api.CodeNotFound, "there is no refund %q", id)
}
