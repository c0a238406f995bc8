package actors

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"ordo/api"
)

func (e *Engine) handlers() map[string]func(*Tx, []byte) error {
	m := map[string]func(*Tx, []byte) error{
		api.VerbTick:        func(tx *Tx, _ []byte) error { return e.tick(tx) },
		api.VerbOutcome:     e.outcome,
		api.VerbVoid:        func(*Tx, []byte) error { return nil },
		api.VerbRetryDead:   e.retryDead,
		api.VerbDismissDead: e.dismissDead,
	}
	for _, c := range e.Spec.Commands {
		m[c.Verb] = c.handle
	}
	if e.Spec.Events != nil {
		m["event"] = func(tx *Tx, body []byte) error {
			var ev api.Event
			if err := json.Unmarshal(body, &ev); err != nil {
				return fmt.Errorf("decode event: %w", err)
			}
			return e.Spec.Events(tx, tx.in.ID, &ev)
		}
	}
	return m
}

// tick announces open effects again and sweeps the domain's deadlines.
func (e *Engine) tick(tx *Tx) error {
	n := 0
	if err := tx.Each(func(r Row) error {
		var f api.Effect
		var body string
		if err := r.Scan(&f.ID, &f.Name, &f.Attempt, &body); err != nil {
			return err
		}
		f.Attempt, f.Body = f.Attempt+1, json.RawMessage(body)
		tx.acts.effects = append(tx.acts.effects, f)
		n++
		return nil
	}, `SELECT id, name, attempts, body FROM _effect WHERE state = 'open' AND next_try <= ?
		ORDER BY next_try LIMIT +?`, tx.now, SweepLimit); err != nil {
		return err
	}
	for _, f := range tx.acts.effects {
		if _, err := tx.Exec(`UPDATE _effect SET attempts = ?, next_try = ? WHERE id = ?`,
			f.Attempt, tx.now.Add(effectRetry), f.ID); err != nil {
			return err
		}
	}
	more := n == SweepLimit
	if e.Spec.Tick != nil {
		again, err := e.Spec.Tick(tx)
		if err != nil {
			return err
		}
		more = more || again
	}
	if more {
		return tx.send(e.Spec.Name, mailboxSubject(e.Spec.Name, api.VerbTick), struct{}{})
	}
	return nil
}

// outcome closes an effect at its first final outcome. A second, different one
// is an incident.
func (e *Engine) outcome(tx *Tx, body []byte) error {
	var o api.Outcome
	if err := json.Unmarshal(body, &o); err != nil {
		return fmt.Errorf("decode outcome: %w", err)
	}
	var name, state string
	var known sql.NullString
	err := tx.Row(`SELECT name, state, outcome FROM _effect WHERE id = ?`, o.Effect).
		Scan(&name, &state, &known)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !o.Final {
		return nil
	}
	if err != nil {
		return err
	}
	if state == "closed" {
		if known.String != string(o.Data) {
			return tx.b.incident("effect", "effect "+o.Effect+" has a second, different outcome")
		}
		return nil
	}
	if _, err := tx.Exec(`UPDATE _effect SET state = 'closed', outcome = ? WHERE id = ?`,
		string(o.Data), o.Effect); err != nil {
		return err
	}
	if handle := e.Spec.Outcomes[name]; handle != nil {
		return handle(tx, &o)
	}
	return nil
}

// retryDead sends a dead letter to this actor again, as a new message.
func (e *Engine) retryDead(tx *Tx, body []byte) error {
	subject, old, err := e.settleDead(tx, body, "retried")
	if err != nil {
		return err
	}
	return tx.send(e.Spec.Name, subject, json.RawMessage(old))
}

func (e *Engine) dismissDead(tx *Tx, body []byte) error {
	_, _, err := e.settleDead(tx, body, "dismissed")
	return err
}

func (e *Engine) settleDead(tx *Tx, body []byte, state string) (subject, old string, err error) {
	var ref api.LetterRef
	if err := json.Unmarshal(body, &ref); err != nil {
		return "", "", api.Refuse(api.CodeInvalid, "dead letter: %v", err)
	}
	err = tx.Row(`SELECT subject, body FROM _dead WHERE n = ? AND state = 'open'`, ref.N).
		Scan(&subject, &old)
	if errors.Is(err, sql.ErrNoRows) {
		return "", "", api.Refuse(api.CodeNotFound, "there is no open dead letter %d", ref.N)
	}
	if err != nil {
		return "", "", err
	}
	if state == "retried" && !json.Valid([]byte(old)) {
		return "", "", api.Refuse(api.CodeInvalid, "dead letter %d is not JSON; dismiss it", ref.N)
	}
	_, err = tx.Exec(`UPDATE _dead SET state = ? WHERE n = ?`, state, ref.N)
	return subject, old, err
}

func (e *Engine) endpoints() map[string]Endpoint {
	m := map[string]Endpoint{
		api.EndpointResult: {api.EndpointResult, "What became of a message from an edge, by its id.", getResult, nil},
		api.EndpointDead:   {api.EndpointDead, "Messages that could not be handled.", listLetters, nil},
	}
	for _, q := range e.Spec.Queries {
		m[q.Name] = q
	}
	return m
}

func getResult(v *View, body []byte) (any, error) {
	var q api.GetResult
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, api.Refuse(api.CodeInvalid, "query: %v", err)
	}
	var r api.Result
	var refusal, value sql.NullString
	err := v.Row(`SELECT hash, refusal, value FROM _edge WHERE id = ?`, q.ID).
		Scan(&r.Hash, &refusal, &value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, api.Refuse(api.CodeNotFound, "no message %s has been handled", q.ID)
	}
	r.Refusal, r.Value = decodeRefusal(refusal), rawOrNil(value)
	return &r, err
}

func decodeRefusal(s sql.NullString) *api.Error {
	if !s.Valid {
		return nil
	}
	var e api.Error
	if err := json.Unmarshal([]byte(s.String), &e); err != nil {
		return api.Refuse(api.CodeInternal, "stored refusal: %v", err)
	}
	return &e
}

func listLetters(v *View, body []byte) (any, error) {
	var q api.ListLetters
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, api.Refuse(api.CodeInvalid, "query: %v", err)
	}
	list := api.LetterList{Letters: []api.Letter{}}
	err := v.Each(func(r Row) error {
		var l api.Letter
		var text string
		if err := r.Scan(&l.N, &l.ID, &l.Subject, &text, &l.Error, &l.Attempts, &l.At,
			&l.State); err != nil {
			return err
		}
		l.Body = jsonOrText([]byte(text))
		l.Error, _, _ = strings.Cut(l.Error, "\n")
		list.Letters = append(list.Letters, l)
		return nil
	}, `SELECT n, id, subject, body, error, attempts, at, state FROM _dead
		WHERE ?1 = '' OR state = ?1 ORDER BY n DESC LIMIT +?2`, q.State, q.Size())
	return list, err
}
