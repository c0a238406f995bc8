package actors

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

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
	more, err := announceDue(tx)
	if err != nil {
		return err
	}
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

func (e *Engine) endpoints() map[string]Endpoint {
	m := map[string]Endpoint{
		api.EndpointResult: {api.EndpointResult,
			"What became of a message from an edge, by its id.", getResult, nil},
		api.EndpointDead: {api.EndpointDead,
			"Messages that could not be handled.", listLetters, nil},
		api.EndpointEffects: {api.EndpointEffects,
			"Work for the world outside, of an order, or all that is open.", listEffects, nil},
		api.EndpointKnown: {api.EndpointKnown,
			"What the actor has done and undone for an order.", e.knownSteps, nil},
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
