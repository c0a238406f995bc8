package journal

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"ordo/actors"
	"ordo/api"
)

// States of an endpoint. One that is deleted is there until its log is gone.
const (
	enabled  = "enabled"
	disabled = "disabled"
	deleted  = "deleted"
)

// oldSecretTime is how long the secret before a rotation signs as well.
const oldSecretTime = 24 * time.Hour

// wanted are the enabled endpoints and their types of events, as the actor's
// configuration, so that an event nobody wants costs no statement.
type wanted struct {
	Webhooks []want `json:"webhooks,omitempty"`
}

// want is one endpoint; no types are all of them.
type want struct {
	ID    string   `json:"id"`
	Types []string `json:"types,omitempty"`
}

func (w *want) has(typ string) bool {
	return api.IsWebhookType(typ) && (len(w.Types) == 0 || slices.Contains(w.Types, typ))
}

// wants writes down which endpoints want what, after a change of them.
func wants(tx *actors.Tx) error {
	var all wanted
	if err := tx.Each(func(r actors.Row) error {
		var w want
		var types string
		if err := r.Scan(&w.ID, &types); err != nil {
			return err
		}
		all.Webhooks = append(all.Webhooks, w)
		return json.Unmarshal([]byte(types), &all.Webhooks[len(all.Webhooks)-1].Types)
	}, `SELECT id, types FROM webhook WHERE state = 'enabled' ORDER BY n`); err != nil {
		return err
	}
	if len(all.Webhooks) == 0 {
		return tx.Configure(nil)
	}
	return tx.Configure(&all)
}

// hook is an endpoint with what its owner does not see.
type hook struct {
	api.Webhook
	state                   string
	rest                    api.Time
	replayNext, replayLast  int64
	replayAll               bool
	secret, oldSecret, typs string
}

const hookColumns = `SELECT id, url, description, types, secret, old_secret, old_until, state, why,
	since, created, failures, failing_since, rest_until, replay_next, replay_last, replay_all
	FROM webhook `

func scanHook(r actors.Row) (*hook, error) {
	h := &hook{}
	err := r.Scan(&h.ID, &h.URL, &h.Description, &h.typs, &h.secret, &h.oldSecret,
		&h.OldSecretUntil, &h.state, &h.Why, &h.Since, &h.Created, &h.Failures, &h.FailingSince,
		&h.rest, &h.replayNext, &h.replayLast, &h.replayAll)
	if err != nil {
		return nil, err
	}
	h.Enabled = h.state == enabled
	if h.replayNext > 0 {
		h.Replaying = h.replayLast - h.replayNext + 1
	}
	if err := json.Unmarshal([]byte(h.typs), &h.Types); err != nil {
		return nil, fmt.Errorf("webhook %s: types: %w", h.ID, err)
	}
	return h, nil
}

// find reads an endpoint; CodeNotFound when there is none.
func find(tx *actors.Tx, id string) (*hook, error) {
	return found(tx.Row(hookColumns+`WHERE id = ? AND state <> 'deleted'`, id))
}

func found(r actors.Row) (*hook, error) {
	h, err := scanHook(r)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, api.Refuse(api.CodeNotFound, "there is no such webhook")
	}
	return h, err
}

// sending is find for what needs an endpoint that is enabled.
func sending(tx *actors.Tx, id string) (*hook, error) {
	h, err := find(tx, id)
	if err == nil && !h.Enabled {
		return nil, api.Refuse(api.CodeWebhookOff, "the webhook is disabled: %s", h.Why)
	}
	return h, err
}

// reply answers with the endpoint as it is now.
func reply(tx *actors.Tx, id string) error {
	h, err := find(tx, id)
	if err != nil {
		return err
	}
	return tx.Reply(&h.Webhook)
}

// check checks what an endpoint is.
func check(url, description string, types []string) error {
	switch {
	case !api.IsWebhookURL(url):
		return invalid("url", "this is no http or https address")
	case !api.IsText(description, api.MaxWebhookText):
		return invalid("description", "one line of at most %d characters", api.MaxWebhookText)
	}
	for i, typ := range types {
		if place := fmt.Sprintf("types[%d]", i); !api.IsWebhookType(typ) {
			return invalid(place, "there are no events of this type for others")
		} else if slices.Contains(types[:i], typ) {
			return invalid(place, "the type comes twice")
		}
	}
	return nil
}

func invalid(place, format string, args ...any) *api.Error {
	return api.Refuse(api.CodeInvalid, format, args...).At(place)
}

// typesJSON is how types are stored.
func typesJSON(types []string) string {
	if len(types) == 0 {
		return "[]"
	}
	return string(api.Raw(types))
}

func createWebhook(tx *actors.Tx, m *api.CreateWebhook) error {
	if _, err := api.ParseID(api.PrefixWebhook, m.ID); err != nil {
		return err
	}
	if err := check(m.URL, m.Description, m.Types); err != nil {
		return err
	}
	if !api.IsWebhookSecret(m.Secret) {
		return invalid("secret", "this is not a secret")
	}
	var have, same int64
	if err := tx.Row(`SELECT count(*) FILTER (WHERE state <> 'deleted'),
		count(*) FILTER (WHERE id = ?) FROM webhook`, m.ID).Scan(&have, &same); err != nil {
		return err
	}
	switch {
	case same > 0:
		return invalid("id", "this webhook is there already")
	case have >= api.MaxWebhooks:
		return api.Refuse(api.CodeLimitExceeded, "a shop has at most %d webhooks", api.MaxWebhooks)
	}
	if _, err := tx.Exec(`INSERT INTO webhook (id, url, description, types, secret, state, since,
		created) VALUES (?1, ?2, ?3, ?4, ?5, 'enabled', ?6, ?6)`,
		m.ID, m.URL, m.Description, typesJSON(m.Types), m.Secret, tx.Now()); err != nil {
		return err
	}
	return changed(tx, m.ID)
}

// changed ends what has changed an endpoint: it has it known, sends what may be
// sent now and answers.
func changed(tx *actors.Tx, id string) error {
	if err := wants(tx); err != nil {
		return err
	}
	if err := dispatch(tx, id); err != nil {
		return err
	}
	return reply(tx, id)
}

func changeWebhook(tx *actors.Tx, m *api.ChangeWebhook) error {
	if err := check(m.URL, m.Description, m.Types); err != nil {
		return err
	}
	h, err := find(tx, m.ID)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE webhook SET url = ?, description = ?, types = ? WHERE id = ?`,
		m.URL, m.Description, typesJSON(m.Types), m.ID); err != nil {
		return err
	}
	if m.URL != h.URL {
		if err := startAnew(tx, m.ID); err != nil {
			return err
		}
	}
	if m.Enabled != h.Enabled {
		if err := turn(tx, m.ID, m.Enabled); err != nil {
			return err
		}
	}
	return changed(tx, m.ID)
}

// turn enables or disables an endpoint at an admin's word.
func turn(tx *actors.Tx, id string, on bool) error {
	if on {
		return enable(tx, id)
	}
	return disable(tx, id, api.WebhookByAdmin)
}

func enable(tx *actors.Tx, id string) error {
	if _, err := tx.Exec(`UPDATE webhook SET state = 'enabled', why = '', since = ?
		WHERE id = ?`, tx.Now(), id); err != nil {
		return err
	}
	return startAnew(tx, id)
}

// startAnew forgets what failed before: it does not count at another address, nor
// once an admin has enabled the endpoint.
func startAnew(tx *actors.Tx, id string) error {
	_, err := tx.Exec(`UPDATE webhook SET failures = 0, failing_since = 0, rest_until = 0
		WHERE id = ?`, id)
	return err
}

// disable ends sending. What waits is skipped by the sweep, and a replay ends.
func disable(tx *actors.Tx, id, why string) error {
	if _, err := tx.Exec(`UPDATE webhook SET state = 'disabled', why = ?, since = ?,
		replay_next = 0 WHERE id = ?`, why, tx.Now(), id); err != nil {
		return err
	}
	return wants(tx)
}

func deleteWebhook(tx *actors.Tx, m *api.DeleteWebhook) error {
	if _, err := find(tx, m.ID); err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE webhook SET state = 'deleted', secret = '', old_secret = '',
		replay_next = 0 WHERE id = ?`, m.ID); err != nil {
		return err
	}
	return wants(tx)
}

func rotateWebhook(tx *actors.Tx, m *api.RotateWebhook) error {
	if !api.IsWebhookSecret(m.Secret) {
		return invalid("secret", "this is not a secret")
	}
	if _, err := find(tx, m.ID); err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE webhook SET old_secret = secret, old_until = ?, secret = ?
		WHERE id = ?`, tx.Now().Add(oldSecretTime), m.Secret, m.ID); err != nil {
		return err
	}
	return reply(tx, m.ID)
}

// testWebhook sends an event that there was none of, in one try.
func testWebhook(tx *actors.Tx, m *api.TestWebhook) error {
	if _, err := sending(tx, m.ID); err != nil {
		return err
	}
	id := tx.NewID(api.PrefixDelivery)
	if _, err := tx.Exec(`INSERT INTO delivery (id, webhook, type, order_id, entry, state,
		next_try, at) VALUES (?, ?, ?, '', 0, 'pending', 0, ?)`,
		id, m.ID, api.WebhookTest, tx.Now()); err != nil {
		return err
	}
	if err := dispatch(tx, m.ID); err != nil {
		return err
	}
	var n int64
	d, err := scanDelivery(tx.Row(`SELECT n`+deliveryTail+`WHERE id = ?`, id), &n)
	if err != nil {
		return err
	}
	return tx.Reply(d)
}

// replayWebhook sends one delivery again, or begins to look through the journal
// for what the endpoint has not got.
func replayWebhook(tx *actors.Tx, m *api.ReplayWebhook) error {
	h, err := sending(tx, m.ID)
	if err != nil {
		return err
	}
	if m.Delivery != "" {
		err = replayOne(tx, m)
	} else {
		err = replaySince(tx, h, m)
	}
	if err != nil {
		return err
	}
	if err := dispatch(tx, m.ID); err != nil {
		return err
	}
	return reply(tx, m.ID)
}

// replayOne does nothing to a delivery that has a try under way.
func replayOne(tx *actors.Tx, m *api.ReplayWebhook) error {
	n, err := tx.Exec(`UPDATE delivery SET state = 'pending', round = 0, ended = 0,
			next_try = iif(state = 'pending', min(next_try, ?1), ?1)
		WHERE id = ?2 AND webhook = ?3 AND state <> 'sending'`, tx.Now(), m.Delivery, m.ID)
	if err != nil || n > 0 {
		return err
	}
	var known int64
	if err := tx.Row(`SELECT count(*) FROM delivery WHERE id = ? AND webhook = ?`,
		m.Delivery, m.ID).Scan(&known); err != nil {
		return err
	}
	if known == 0 {
		return api.Refuse(api.CodeNotFound, "there is no such delivery").At("delivery")
	}
	return nil
}

// replaySince replaces a replay that is under way.
func replaySince(tx *actors.Tx, h *hook, m *api.ReplayWebhook) error {
	if m.Since <= 0 {
		return invalid("since", "a time is needed")
	}
	first, last, err := entriesSince(tx, m.Since)
	if err != nil {
		return err
	}
	if first > last {
		first = 0
	}
	if _, err := tx.Exec(`UPDATE webhook SET replay_next = ?, replay_last = ?, replay_all = ?
		WHERE id = ?`, first, last, m.All, m.ID); err != nil {
		return err
	}
	h.replayNext, h.replayLast, h.replayAll = first, last, m.All
	_, err = replayPart(tx, h)
	return err
}

// entriesSince finds the first event that is not older than a time, and the last
// one. The times of entries grow with their numbers, so halving finds it.
func entriesSince(tx *actors.Tx, since api.Time) (first, last int64, err error) {
	if err := tx.Row(`SELECT coalesce(max(seq), 0) FROM entry`).Scan(&last); err != nil {
		return 0, 0, err
	}
	first = 1
	for end := last + 1; first < end; {
		middle, at := first+(end-first)/2, api.Time(0)
		if err := tx.Row(`SELECT at FROM entry WHERE seq >= ? ORDER BY seq LIMIT 1`, middle).
			Scan(&at); err != nil {
			return 0, 0, err
		}
		if at < since {
			first = middle + 1
		} else {
			end = middle
		}
	}
	return first, last, nil
}
