package journal

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"ordo/actors"
	"ordo/api"
)

// waits are the times before each try of a delivery, from the one before, as
// Standard Webhooks 1.0 suggests; with the last one a delivery has failed.
var waits = [...]time.Duration{0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute,
	2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}

const (
	// restAfter failures in a row an endpoint is tried once in restTime, until
	// one try succeeds: the breaker.
	restAfter = 10
	restTime  = time.Minute
	// giveUpAfter failures in a row, over giveUpTime at least, an endpoint is
	// disabled.
	giveUpAfter = 2 * len(waits)
	giveUpTime  = 5 * 24 * time.Hour
	// maxRetryAfter is how long a receiver may ask to be left alone.
	maxRetryAfter = 24 * time.Hour
	// MaxWaiting is how many deliveries may wait for an endpoint; the next sweep
	// disables one that has more.
	MaxWaiting = 100_000
)

const statusGone = 410

// announce sends an event that was just kept to all who want it.
func announce(tx *actors.Tx, id string, e *api.Event) error {
	var all wanted
	if err := tx.Config(&all); err != nil {
		return err
	}
	for i := range all.Webhooks {
		w := &all.Webhooks[i]
		if !w.has(e.Type) {
			continue
		}
		if err := deliver(tx, w.ID, id, false); err != nil {
			return err
		}
		if err := dispatch(tx, w.ID); err != nil {
			return err
		}
	}
	return nil
}

// deliver has an event sent to an endpoint. Its webhook-id is made of both, so
// that a replay has the same, also when the log is gone. One that was there and
// was not delivered, or with again was, is sent anew, and one that waits for its
// next try waits no longer.
func deliver(tx *actors.Tx, webhook, event string, again bool) error {
	_, err := tx.Exec(`
		INSERT INTO delivery (id, webhook, type, order_id, entry, state, next_try, at)
		SELECT ?1, ?2, type, order_id, seq, 'pending', ?3, ?3 FROM entry WHERE id = ?4
		ON CONFLICT (id) DO UPDATE SET state = 'pending', round = 0, ended = 0,
			next_try = iif(state = 'pending', min(next_try, ?3), ?3)
			WHERE state IN ('pending', 'failed', 'skipped') OR ?5 AND state = 'delivered'`,
		api.DeriveID(api.PrefixDelivery, time.Unix(0, 0), event+"/"+webhook), webhook, tx.Now(),
		event, again)
	return err
}

// dispatch begins the tries of an endpoint that are due, as many as may be under
// way: so that an endpoint that hangs keeps no worker from the others.
func dispatch(tx *actors.Tx, webhook string) error {
	room, err := roomOf(tx, webhook)
	if err != nil || room <= 0 {
		return err
	}
	var due []api.WebhookTry
	if err := tx.Each(func(r actors.Row) error {
		var t api.WebhookTry
		err := r.Scan(&t.Delivery, &t.Number)
		due = append(due, t)
		return err
	}, `SELECT id, tries + 1 FROM delivery WHERE webhook = +? AND state = 'pending'
		AND next_try <= ? ORDER BY next_try, n LIMIT +?`, webhook, tx.Now(), room); err != nil {
		return err
	}
	for _, t := range due {
		if _, err := tx.Exec(`UPDATE delivery SET state = 'sending', tries = ? WHERE id = ?`,
			t.Number, t.Delivery); err != nil {
			return err
		}
		id := t.Delivery + "-" + strconv.Itoa(t.Number)
		if err := tx.Begin(api.EffectWebhook, id, &t); err != nil {
			return err
		}
	}
	return nil
}

// roomOf is how many more tries of an endpoint may begin. A test does not wait
// until the endpoint has rested: an admin wants to know. It is first in the line,
// due since ever.
func roomOf(tx *actors.Tx, webhook string) (int, error) {
	var state string
	var failures, under, tests int
	var rest api.Time
	err := tx.Row(`SELECT state, failures, rest_until, (SELECT count(*) FROM delivery d
			WHERE d.webhook = w.id AND d.state = 'sending'), (SELECT count(*) FROM delivery d
			WHERE d.webhook = w.id AND d.state = 'pending' AND d.next_try = 0)
		FROM webhook w WHERE id = ?`, webhook).Scan(&state, &failures, &rest, &under, &tests)
	room := api.WebhookWindow - under
	switch {
	case err != nil:
		return 0, err
	case state != enabled:
		return 0, nil
	case tx.Now() < rest:
		return min(room, tests), nil
	case failures >= restAfter:
		return min(room, max(tests, 1-under)), nil
	}
	return room, nil
}

// sendDue is told by the timer of a try that comes soon.
func sendDue(tx *actors.Tx, m *api.SendWebhooks) error {
	if _, err := find(tx, m.ID); err != nil {
		return err
	}
	return dispatch(tx, m.ID)
}

// deliveryTail are the columns of a delivery after its number.
const deliveryTail = `, id, webhook, type, order_id, entry, state, tries, next_try, at, ended,
	status, error FROM delivery `

// scanDelivery reads a delivery and its number. When the next try is, is known
// while one waits for it.
func scanDelivery(r actors.Row, n *int64) (*api.Delivery, error) {
	d := &api.Delivery{}
	err := r.Scan(n, &d.ID, &d.Webhook, &d.Type, &d.Order, &d.Event, &d.State, &d.Tries, &d.NextTry,
		&d.Created, &d.Ended, &d.Status, &d.Error)
	if d.State != api.DeliveryPending {
		d.NextTry = 0
	}
	return d, err
}

// underWay is a delivery with a try that has ended; wanted is false when nothing
// is sent to its endpoint any more.
type underWay struct {
	n, round     int64
	id, webhook  string
	test, wanted bool
}

// tried takes what became of a try. One of a delivery that is gone, or was
// answered before, is nothing.
func tried(tx *actors.Tx, o *api.Outcome) error {
	if err := tx.Forget(o.Effect); err != nil {
		return err
	}
	var out api.WebhookOutcome
	if err := json.Unmarshal(o.Data, &out); err != nil {
		return fmt.Errorf("outcome of %s: %w", o.Effect, err)
	}
	d := &underWay{}
	var number string
	d.id, number, _ = strings.Cut(o.Effect, "-")
	err := tx.Row(`SELECT d.n, d.round, d.webhook, d.entry = 0, w.state = 'enabled'
		FROM delivery d JOIN webhook w ON w.id = d.webhook
		WHERE d.id = ? AND d.state = 'sending' AND d.tries = CAST(? AS INTEGER)`, d.id, number).
		Scan(&d.n, &d.round, &d.webhook, &d.test, &d.wanted)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := record(tx, d, number, &out); err != nil {
		return err
	}
	return dispatch(tx, d.webhook)
}

// record writes a try down and decides how the delivery goes on.
func record(tx *actors.Tx, d *underWay, number string, out *api.WebhookOutcome) error {
	if out.Withdrawn {
		return d.withdraw(tx)
	}
	if _, err := tx.Exec(`
		INSERT INTO delivery_try (delivery, number, at, outcome)
		VALUES (?, CAST(? AS INTEGER), ?,
			?)`, d.n, number, tx.Now(), string(api.Raw(out))); err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE delivery SET status = ?, error = ? WHERE n = ?`,
		out.Status, out.Error, d.n); err != nil {
		return err
	}
	switch {
	case out.Status >= 200 && out.Status < 300:
		return d.succeed(tx)
	case out.Status == statusGone:
		if err := d.end(tx, api.DeliveryFailed); err != nil {
			return err
		}
		return giveUp(tx, d.webhook, api.WebhookGone)
	}
	if err := d.retry(tx, out); err != nil {
		return err
	}
	return countFailure(tx, d.webhook)
}

func (d *underWay) end(tx *actors.Tx, state string) error {
	_, err := tx.Exec(`UPDATE delivery SET state = ?, ended = ? WHERE n = ?`, state, tx.Now(), d.n)
	return err
}

// withdraw ends a delivery of which the worker was told that it is not to be
// sent. One that is wanted comes again in a while: a journal that was restored
// does not know yet what it will have begun when it has caught up.
func (d *underWay) withdraw(tx *actors.Tx) error {
	if !d.wanted {
		return d.end(tx, api.DeliverySkipped)
	}
	return d.later(tx, int(d.round), waits[1])
}

// later has a delivery wait for its next try.
func (d *underWay) later(tx *actors.Tx, round int, wait time.Duration) error {
	_, err := tx.Exec(`UPDATE delivery SET state = 'pending', round = ?, next_try = ?
		WHERE n = ?`, round, tx.Now().Add(wait), d.n)
	return err
}

func (d *underWay) succeed(tx *actors.Tx) error {
	if err := d.end(tx, api.DeliveryDelivered); err != nil {
		return err
	}
	_, err := tx.Exec(`UPDATE webhook SET failures = 0, failing_since = 0, rest_until = 0
		WHERE id = ? AND failures > 0`, d.webhook)
	return err
}

// retry has a delivery wait for its next try, unless that was the last one. A
// test has one.
func (d *underWay) retry(tx *actors.Tx, out *api.WebhookOutcome) error {
	round := int(d.round) + 1
	if d.test || round >= len(waits) {
		return d.end(tx, api.DeliveryFailed)
	}
	asked := min(max(out.RetryAfter, 0), int64(maxRetryAfter/time.Second))
	wait := max(wait(d.id, round), time.Duration(asked)*time.Second)
	if err := d.later(tx, round, wait); err != nil || wait > waits[1] {
		return err // a sweep is early enough for a long one
	}
	return tx.SendAfter(api.EffectWebhook, wait, fmt.Sprintf("due-%s-%d", d.id, tx.Now()),
		&api.SendWebhooks{ID: d.webhook})
}

// wait is the time before the try after so many of a round. The long ones are
// up to a tenth longer, by the delivery, so that what failed together does not
// come together.
func wait(id string, round int) time.Duration {
	d := waits[round]
	if d < time.Minute {
		return d
	}
	h := fnv.New32a()
	h.Write([]byte(id))
	return d + d/10*time.Duration(h.Sum32()%1000)/1000
}

// countFailure has an endpoint rest that fails often, and disables one that has
// failed for days.
func countFailure(tx *actors.Tx, webhook string) error {
	var failures int
	var since api.Time
	if err := tx.Row(`UPDATE webhook SET failures = failures + 1,
			failing_since = iif(failing_since = 0, ?1, failing_since),
			rest_until = iif(failures + 1 >= ?2, ?3, rest_until)
		WHERE id = ?4 RETURNING failures, failing_since`,
		tx.Now(), restAfter, tx.Now().Add(restTime), webhook).Scan(&failures, &since); err != nil {
		return err
	}
	if failures < giveUpAfter || tx.Now() < since.Add(giveUpTime) {
		return nil
	}
	return giveUp(tx, webhook, api.WebhookFailing)
}

// giveUp disables an endpoint that is enabled, for an operator to see: each time,
// so the incident says when.
func giveUp(tx *actors.Tx, webhook, why string) error {
	var state string
	if err := tx.Row(`SELECT state FROM webhook WHERE id = ?`, webhook).Scan(&state); err != nil ||
		state != enabled {
		return err
	}
	if err := disable(tx, webhook, why); err != nil {
		return err
	}
	return tx.Incident("webhook", fmt.Sprintf("webhook %s was disabled at %s: %s", webhook,
		tx.Now().Std().UTC().Format(time.RFC3339), why))
}
