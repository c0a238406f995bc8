package actors

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ordo/api"
	"ordo/bus"
)

// Begin opens an effect: work for the world outside, done by a worker of that
// name and tried again until it has a final outcome. The id is the actor's own
// and is used once; an effect that exists already, or was done within
// EffectMemory, is left alone.
func (tx *Tx) Begin(name, id string, work any) error {
	f := api.Effect{ID: id, Name: name, Attempt: 1}
	opened, err := tx.open(&f, nextTry(id, 1), work)
	if opened {
		tx.acts.effects = append(tx.acts.effects, f)
	}
	return err
}

// open writes a new effect, to be announced after wait; opened is false when it
// exists already.
func (tx *Tx) open(f *api.Effect, wait time.Duration, work any) (opened bool, err error) {
	if f.Body, err = json.Marshal(work); err != nil {
		return false, fmt.Errorf("effect %s: %w", f.Name, err)
	}
	n, err := tx.Exec(`INSERT INTO _effect (id, name, body, state, attempts, next_try, at)
		VALUES (?, ?, ?, 'open', ?, ?, ?) ON CONFLICT DO NOTHING`,
		f.ID, f.Name, string(f.Body), f.Attempt, tx.now.Add(wait), tx.now)
	return n > 0, err
}

// Forget drops an effect that is closed, when the domain keeps what became of
// it. Outcomes that still come are nothing then. Its id must not be used again.
func (tx *Tx) Forget(id string) error {
	_, err := tx.Exec(`DELETE FROM _effect WHERE id = ? AND state = 'closed'`, id)
	return err
}

// nextTry is how long a tick waits with announcing an effect again after its
// n-th announcement: until the stream has done the quick tries of the first.
func nextTry(id string, n int) time.Duration {
	return bus.EffectDelay(id, bus.EffectTries-1+n)
}

// announceDue announces the open effects again whose time has come, SweepLimit
// at most; more is true when there may be more.
func announceDue(tx *Tx) (more bool, err error) {
	err = tx.Each(func(r Row) error {
		f, err := scanEffect(r)
		f.Attempt++
		tx.acts.effects = append(tx.acts.effects, f)
		return err
	}, `SELECT id, name, attempts, body FROM _effect WHERE state = 'open' AND next_try <= ?
		ORDER BY next_try LIMIT +?`, tx.now, SweepLimit)
	if err != nil {
		return false, err
	}
	for _, f := range tx.acts.effects {
		if _, err := tx.Exec(`UPDATE _effect SET attempts = ?, next_try = ? WHERE id = ?`,
			f.Attempt, tx.now.Add(nextTry(f.ID, f.Attempt)), f.ID); err != nil {
			return false, err
		}
	}
	return len(tx.acts.effects) == SweepLimit, nil
}

// forgetDone deletes effects whose outcome can't come again any more, SweepLimit
// at most; more is true when there may be more.
func forgetDone(tx *Tx) (more bool, err error) {
	n, err := tx.Exec(`DELETE FROM _effect WHERE id IN (SELECT id FROM _effect
		WHERE state = 'closed' AND next_try <= ? ORDER BY next_try LIMIT +?)`, tx.now, SweepLimit)
	return n == SweepLimit, err
}

func scanEffect(r Row) (f api.Effect, err error) {
	var body string
	err = r.Scan(&f.ID, &f.Name, &f.Attempt, &body)
	f.Body = json.RawMessage(body)
	return f, err
}

// OpenEffects are open effects that have been announced, SweepLimit at most,
// with their last attempt.
func (e *Engine) OpenEffects() (open []api.Effect, err error) {
	err = e.read(func(v *View) error {
		return v.Each(func(r Row) error {
			f, err := scanEffect(r)
			open = append(open, f)
			return err
		}, `SELECT id, name, attempts, body FROM _effect WHERE state = 'open' AND attempts > 0
			ORDER BY next_try LIMIT +?`, SweepLimit)
	})
	return open, err
}

// failed keeps why a try failed.
func failed(tx *Tx, o *api.Outcome) error {
	text := o.Error[:min(len(o.Error), api.MaxOutcomeError)]
	_, err := tx.Exec(`UPDATE _effect SET failures = failures + 1, error = ?, failed_at = ?
		WHERE id = ? AND state = 'open'`, strings.ToValidUTF8(text, ""), tx.now, o.Effect)
	return err
}

// outcome closes an effect at its first final outcome, from when on next_try is
// when it is forgotten. A second, different one is an incident, unless the domain
// takes it.
func (e *Engine) outcome(tx *Tx, body []byte) error {
	var o api.Outcome
	if err := json.Unmarshal(body, &o); err != nil {
		return fmt.Errorf("decode outcome: %w", err)
	}
	var name, state string
	var known sql.NullString
	err := tx.Row(`SELECT name, state, outcome FROM _effect WHERE id = ?`, o.Effect).
		Scan(&name, &state, &known)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	case !o.Final:
		return failed(tx, &o)
	}
	if state == "closed" {
		if known.String == string(o.Data) {
			return nil
		}
		if !slices.Contains(e.Spec.Again, name) {
			return tx.b.incident("effect", "effect "+o.Effect+" has a second, different outcome")
		}
	}
	if _, err := tx.Exec(`UPDATE _effect SET state = 'closed', outcome = ?, next_try = ?
		WHERE id = ?`, string(o.Data), tx.now.Add(EffectMemory), o.Effect); err != nil {
		return err
	}
	if handle := e.Spec.Outcomes[name]; handle != nil {
		return handle(tx, &o)
	}
	return nil
}
