package payment

import (
	"errors"
	"fmt"
	"time"

	"ordo/actors"
	"ordo/api"
)

const (
	// maxSetting bounds the settings, in seconds.
	maxSetting = 24 * 3600
	// maxUser is the longest user id, in bytes.
	maxUser = 64
	// maxBackoff is the longest time between two queries about an open attempt.
	maxBackoff = 10 * time.Minute
	// maxWaiting is how long after its time limit a trade is asked about that
	// the gateway still has waiting.
	maxWaiting = 24 * time.Hour
)

// configure sets the rules for what is opened, asked and closed from now on.
func configure(tx *actors.Tx, m *api.ConfigurePayments) error {
	switch {
	case m.MarginSeconds < 0 || m.MarginSeconds > maxSetting:
		return invalid("margin_seconds", "must be 0 to %d", maxSetting)
	case m.QuerySeconds < 1 || m.QuerySeconds > maxSetting:
		return invalid("query_seconds", "must be 1 to %d", maxSetting)
	}
	return tx.Configure(m)
}

// collect has an order's amount paid from now on. Told again, or after the
// close, it changes nothing.
func collect(tx *actors.Tx, m *api.CollectPayment) error {
	n, err := tx.Exec(`INSERT INTO payment
		(order_id, user, step, occurrence, state, amount, currency, expires_at)
		VALUES (?, ?, ?, ?, 'open', ?, ?, ?) ON CONFLICT (order_id) DO NOTHING`,
		m.Order, m.User, m.Name, m.Occurrence, m.Amount.Amount, m.Amount.Currency, m.ExpiresAt)
	switch {
	case err != nil:
		return err
	case m.Paid != nil:
		return regain(tx, m.Order, m.Paid)
	case n > 0 || !m.Again:
		return nil
	}
	return answerAgain(tx, m.Step)
}

// answerAgain tells the order once more what its payment came to, if it is
// decided: paid by the attempt's first trade, or closed.
func answerAgain(tx *actors.Tx, step api.Step) error {
	var state string
	var p api.Paid
	err := tx.Row(`SELECT p.state, p.attempt, coalesce(a.provider, ''), coalesce(a.trade_no, ''),
		p.amount, p.currency, coalesce(a.paid_at, 0)
		FROM payment p LEFT JOIN attempt a ON a.id = p.attempt WHERE p.order_id = +?`, step.Order).
		Scan(&state, &p.Attempt, &p.Provider, &p.TradeNo, &p.Amount.Amount, &p.Amount.Currency,
			&p.PaidAt)
	switch {
	case err != nil:
		return err
	case state == api.PaymentPaid:
		return tx.Send(&api.StepResult{Step: step, Data: api.Raw(&p)})
	case state == api.PaymentClosed:
		return tx.Send(&api.StepResult{Step: step, Undo: true})
	}
	return nil
}

// openAttempt gives the shopper the open attempt, or a new one. Row Y2.
func openAttempt(tx *actors.Tx, m *api.OpenAttempt) error {
	if err := checkOpen(m); err != nil {
		return err
	}
	a := &attempt{Attempt: api.Attempt{ID: m.ID, Order: m.Order, User: m.User,
		Provider: m.Provider, Product: m.Product, State: api.AttemptOpen, OpenedAt: tx.Now()}}
	var tries int
	var current string
	err := tx.Row(`SELECT state, amount, currency, expires_at,
		(SELECT count(*) FROM attempt WHERE order_id = ?1),
		coalesce((SELECT id FROM attempt WHERE order_id = ?1 AND state = 'open'), '')
		FROM payment WHERE order_id = ?1 AND user = ?2`, m.Order, m.User).
		Scan(&a.payState, &a.Amount.Amount, &a.Amount.Currency, &a.ExpiresAt, &tries, &current)
	if errors.Is(err, actors.ErrNoRows) {
		return api.Refuse(api.CodeNotFound, "there is no payment of order %.64s",
			m.Order).At("order")
	}
	if err != nil {
		return err
	}
	if a.payState != api.PaymentOpen || tx.Now() >= a.ExpiresAt {
		return api.Refuse(api.CodeNotPayable, "the payment is %s, and was to be made before %s",
			a.payState, a.ExpiresAt.Std().Format(time.RFC3339)).At("order")
	}
	if current != "" {
		old, err := load(tx, current)
		if err != nil {
			return err
		}
		if old.Provider == m.Provider && old.Product == m.Product {
			return tx.Reply(&old.Attempt)
		}
		return replace(tx, old, a, tries)
	}
	return begin(tx, a, tries)
}

func checkOpen(m *api.OpenAttempt) error {
	if _, err := api.ParseID(api.PrefixPayment, m.ID); err != nil {
		return api.AsError(err).At("id")
	}
	switch {
	case m.Order == "":
		return invalid("order", "needs an order's id")
	case m.User == "" || len(m.User) > maxUser:
		return invalid("user", "needs a user's id")
	}
	if err := checkProvider(m.Provider); err != nil {
		return err
	}
	switch m.Product {
	case api.ProductPage:
		return nil
	case api.ProductApp, api.ProductQR:
		if m.Provider == api.PayAlipay {
			return nil
		}
	}
	return invalid("product", "is not a product of %s", m.Provider)
}

// replace begins an attempt in the place of the open one. Money that comes on
// either pays the order.
func replace(tx *actors.Tx, old, a *attempt, tries int) error {
	if tries >= api.MaxAttempts {
		return tooMany()
	}
	if err := closeAttempt(tx, old); err != nil {
		return err
	}
	return begin(tx, a, tries)
}

func tooMany() error {
	return api.Refuse(api.CodeLimitExceeded, "the order had %d attempts",
		api.MaxAttempts).At("order")
}

// begin writes a new attempt, and has the gateway open it where only that knows
// the link.
func begin(tx *actors.Tx, a *attempt, tries int) error {
	if tries >= api.MaxAttempts {
		return tooMany()
	}
	c, err := configured(tx)
	if err != nil {
		return err
	}
	look := tx.Now().Add(seconds(c.QuerySeconds))
	if a.remoteUnknown() {
		look = 0 // until it is open there
	}
	n, err := tx.Exec(`INSERT INTO attempt (id, order_id, provider, product, amount, currency,
		state, opened_at, expires_at, next_query) VALUES (?, ?, ?, ?, ?, ?, 'open', ?, ?, ?)
		ON CONFLICT (id) DO NOTHING`, a.ID, a.Order, a.Provider, a.Product, a.Amount.Amount,
		a.Amount.Currency, a.OpenedAt, a.ExpiresAt, look)
	if err != nil {
		return err
	}
	if n == 0 {
		return api.Refuse(api.CodeIDReused, "attempt %s is over or another order's", a.ID).At("id")
	}
	if a.remoteUnknown() {
		if err := tx.Begin(api.EffectPayOpen, openEffect+a.ID,
			&api.GatewayCall{Attempt: a.Attempt}); err != nil {
			return err
		}
	}
	return tx.Reply(&a.Attempt)
}

// opened takes the link of an attempt, or the gateway's no. What is not wanted
// any more by then is closed. The first link stays: a gateway that is asked
// again, because a process ended before its answer was noted, may give another
// one, or say no to a trade that is paid or closed by then.
func opened(tx *actors.Tx, o *api.Outcome) error {
	r, err := decode[api.Opened](o)
	if err != nil {
		return err
	}
	a, err := load(tx, attemptOf(o.Effect))
	if err != nil {
		return fmt.Errorf("outcome of %s: %w", o.Effect, err)
	}
	if !a.remoteUnknown() {
		return nil
	}
	if r.Refusal != nil {
		return notOpened(tx, a, r.Refusal)
	}
	c, err := configured(tx)
	if err != nil {
		return err
	}
	a.Link = r.Link
	if _, err := tx.Exec(`UPDATE attempt SET link = ?1,
		next_query = iif(state = 'open', ?2, next_query) WHERE id = ?3`,
		string(api.Raw(&a.Link)), tx.Now().Add(seconds(c.QuerySeconds)), a.ID); err != nil {
		return err
	}
	if a.State == api.AttemptClosed || a.payState == api.PaymentClosing {
		if err := askClose(tx, a); err != nil {
			return err
		}
	}
	return tx.Wake(a.ID, &a.Attempt)
}

// notOpened ends an attempt that the gateway did not open. Row Y7.
func notOpened(tx *actors.Tx, a *attempt, problem *api.Error) error {
	a.Problem = problem
	last := a.State == api.AttemptOpen && a.payState == api.PaymentClosing
	if a.State == api.AttemptOpen {
		a.State, a.ClosedAt = api.AttemptClosed, tx.Now()
	}
	if _, err := tx.Exec(`UPDATE attempt SET state = ?, closed_at = ?, problem = ?, next_query = 0
		WHERE id = ?`, a.State, a.ClosedAt, string(api.Raw(problem)), a.ID); err != nil {
		return err
	}
	if last {
		if err := shut(tx, a.Order); err != nil {
			return err
		}
	}
	return tx.Wake(a.ID, &a.Attempt)
}

// closeAttempt ends an attempt here, and has its trade closed at the gateway.
func closeAttempt(tx *actors.Tx, a *attempt) error {
	if _, err := tx.Exec(`UPDATE attempt SET state = 'closed', closed_at = ?
		WHERE id = ? AND state = 'open'`, tx.Now(), a.ID); err != nil {
		return err
	}
	a.State, a.ClosedAt = api.AttemptClosed, tx.Now()
	return askClose(tx, a)
}

// askClose has the gateway close a trade, once. One that is still being opened
// there is closed when that is known, by opened.
func askClose(tx *actors.Tx, a *attempt) error {
	if a.remoteUnknown() {
		return nil
	}
	return tx.Begin(api.EffectPayClose, closeEffect+a.ID, &api.GatewayCall{Attempt: a.Attempt})
}

// closeOpen closes the open attempt of an order, if there is one.
func closeOpen(tx *actors.Tx, order string) error {
	a, err := loadOpen(tx, order)
	if err != nil || a == nil {
		return err
	}
	return closeAttempt(tx, a)
}

// loadOpen reads the open attempt of an order; nil when there is none.
func loadOpen(tx *actors.Tx, order string) (*attempt, error) {
	var id string
	err := tx.Row(`SELECT id FROM attempt WHERE order_id = ? AND state = 'open'`, order).Scan(&id)
	if errors.Is(err, actors.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return load(tx, id)
}

// closePayment ends a payment that was not made: at once, or when the gateway's
// trade is closed or its time and a margin are over. Row E2.
func closePayment(tx *actors.Tx, m *api.ClosePayment) error {
	var state string
	var expires api.Time
	err := tx.Row(`SELECT state, expires_at FROM payment WHERE order_id = ?`, m.Order).
		Scan(&state, &expires)
	if errors.Is(err, actors.ErrNoRows) {
		return closeUnknown(tx, m)
	}
	if err != nil {
		return err
	}
	if state == api.PaymentPaid || state == api.PaymentClosed {
		return answerClose(tx, m)
	}
	open, err := loadOpen(tx, m.Order)
	if err != nil {
		return err
	}
	c, err := configured(tx)
	if err != nil {
		return err
	}
	deadline := max(expires, tx.Now()).Add(seconds(c.MarginSeconds))
	if m.AtOnce || open == nil || deadline <= tx.Now() {
		return shut(tx, m.Order)
	}
	if state == api.PaymentClosing {
		return nil
	}
	return closeBy(tx, open, deadline, seconds(c.MarginSeconds))
}

// answerClose answers for a payment that was decided, and told of, before.
func answerClose(tx *actors.Tx, m *api.ClosePayment) error {
	if m.Again {
		return answerAgain(tx, m.Step)
	}
	return nil
}

// closeBy has the gateway close the open attempt, and the payment wait for that
// until a deadline. Delays are few, because each is a class of its own; one that
// is longer than the margin, before the time limit, is left to the sweep.
func closeBy(tx *actors.Tx, open *attempt, deadline api.Time, margin time.Duration) error {
	if _, err := tx.Exec(`UPDATE payment SET state = 'closing', release_at = ? WHERE order_id = ?`,
		deadline, open.Order); err != nil {
		return err
	}
	if err := askClose(tx, open); err != nil {
		return err
	}
	wait := time.Duration(deadline - tx.Now())
	if wait > margin {
		return nil
	}
	return tx.SendAfter("release", wait, "release-"+open.Order,
		&api.ReleasePayment{Order: open.Order})
}

// closeUnknown keeps a payment from being collected after its close.
func closeUnknown(tx *actors.Tx, m *api.ClosePayment) error {
	if _, err := tx.Exec(`INSERT INTO payment
		(order_id, user, step, occurrence, state, amount, currency, expires_at)
		VALUES (?, '', ?, ?, 'closed', 0, '', 0)`, m.Order, m.Name, m.Occurrence); err != nil {
		return err
	}
	return tx.Send(&api.StepResult{Step: m.Step, Undo: true})
}

// shut ends a payment that was not made and answers the order. What still comes
// is refunded.
func shut(tx *actors.Tx, order string) error {
	step := api.Step{Order: order}
	if err := tx.Row(`UPDATE payment SET state = 'closed', release_at = 0
		WHERE order_id = ? RETURNING step, occurrence`, order).
		Scan(&step.Name, &step.Occurrence); err != nil {
		return err
	}
	if err := closeOpen(tx, order); err != nil {
		return err
	}
	return tx.Send(&api.StepResult{Step: step, Undo: true})
}

// release ends a closing payment whose time is over. The timer may come early
// or late; then the sweep does it, or has.
func release(tx *actors.Tx, m *api.ReleasePayment) error {
	var due bool
	err := tx.Row(`SELECT release_at <= ? FROM payment WHERE order_id = ? AND state = 'closing'`,
		tx.Now(), m.Order).Scan(&due)
	if errors.Is(err, actors.ErrNoRows) || err == nil && !due {
		return nil
	}
	if err != nil {
		return err
	}
	return shut(tx, m.Order)
}

// sweep ends closing payments whose time is over and asks about attempts whose
// turn it is. Rows E2, Y8.
func sweep(tx *actors.Tx) (more bool, err error) {
	due, err := ids(tx, `SELECT order_id FROM payment INDEXED BY payment_release
		WHERE state = 'closing' AND release_at <= ? ORDER BY release_at LIMIT +?`,
		actors.SweepLimit)
	if err != nil {
		return false, err
	}
	for _, order := range due {
		if err := shut(tx, order); err != nil {
			return false, err
		}
	}
	left := actors.SweepLimit - len(due)
	turns, err := ids(tx, `SELECT id FROM attempt
		WHERE next_query > 0 AND next_query <= ? ORDER BY next_query LIMIT +?`, left)
	for i := 0; err == nil && i < len(turns); i++ {
		err = look(tx, turns[i])
	}
	return len(turns) == left, err
}

// ids reads the ids of a list that ends now, at most limit.
func ids(tx *actors.Tx, query string, limit int) (all []string, err error) {
	err = tx.Each(func(r actors.Row) error {
		var id string
		err := r.Scan(&id)
		all = append(all, id)
		return err
	}, query, tx.Now(), limit)
	return all, err
}

// look has the gateway asked about an attempt. While it is, no other query
// begins.
func look(tx *actors.Tx, id string) error {
	a, err := load(tx, id)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE attempt SET queries = queries + 1, queried_at = ?, next_query = 0
		WHERE id = ?`, tx.Now(), id); err != nil {
		return err
	}
	return tx.Begin(api.EffectPayQuery, fmt.Sprintf("%s%s-%d", queryEffect, id, a.queries+1),
		&api.GatewayCall{Attempt: a.Attempt})
}

// lookAgain has the gateway asked later about a trade that was not decided when
// it was asked, at asked or after.
func lookAgain(tx *actors.Tx, a *attempt, state string, asked api.Time) error {
	c, err := configured(tx)
	if err != nil {
		return err
	}
	first, margin := seconds(c.QuerySeconds), seconds(c.MarginSeconds)
	wait := min(max(first, maxBackoff), first<<min(a.queries, 10))
	limit := a.ExpiresAt.Add(margin) // from then on the gateway takes nothing
	var next api.Time
	switch {
	case a.State == api.AttemptOpen && a.payState == api.PaymentOpen:
		next = tx.Now().Add(wait)
	case a.State == api.AttemptOpen: // closing: a few times until the release
		next = max(tx.Now(), a.ExpiresAt).Add(max(first, margin/4))
	case asked < limit: // closed here, but the link was still good then
		next = max(tx.Now(), limit)
	case state == api.TradeWaiting && tx.Now() < limit.Add(maxWaiting):
		next = tx.Now().Add(wait)
	}
	_, err = tx.Exec(`UPDATE attempt SET next_query = ? WHERE id = ?`, next, a.ID)
	return err
}
