package actors

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
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

// sendersByVerb are the senders of all verbs but void and those that nobody handles:
// an older release may have sent them.
func (e *Engine) sendersByVerb() map[string][]string {
	m := map[string][]string{api.VerbTick: {e.Spec.Name}, api.VerbOutcome: nil,
		api.VerbRetryDead: nil, api.VerbDismissDead: nil}
	for _, c := range e.Spec.Commands {
		m[c.Verb] = c.Senders
	}
	return m
}

// tick announces open effects again, forgets old ones and sweeps the domain's
// deadlines.
func (e *Engine) tick(tx *Tx) error {
	more, err := announceDue(tx)
	if err != nil {
		return err
	}
	forgot, err := forgetDone(tx)
	if err != nil {
		return err
	}
	more = more || forgot
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
		api.EndpointResult:  builtin[api.GetResult, api.Result](getResult),
		api.EndpointDead:    builtin[api.ListLetters, api.LetterList](listLetters),
		api.EndpointEffects: builtin[api.ListEffects, api.EffectList](listEffects),
		api.EndpointKnown:   builtin[api.GetSteps, api.FoundList](e.knownSteps),
	}
	for name, q := range m {
		q.Name, q.Description = name, builtinDescriptions[name]
		m[name] = q
	}
	for _, q := range e.Spec.Queries {
		m[q.Name] = q
	}
	return m
}

// builtinDescriptions are those of the endpoints that every actor has.
var builtinDescriptions = map[string]string{
	api.EndpointResult:  "What became of a message from an edge, by its id.",
	api.EndpointDead:    "Messages that could not be handled.",
	api.EndpointEffects: "Work for the world outside, of an order, or all that is open.",
	api.EndpointKnown:   "What the actor has done and undone for an order.",
	api.EndpointStatus:  "How the actor is.",
	api.EndpointSchema:  "JSON Schema of a subject of the actor; all subjects without one.",
}

func builtin[Q, R any](answer func(v *View, body []byte) (any, error)) Endpoint {
	return Endpoint{Query: reflect.TypeFor[Q](), Reply: reflect.TypeFor[R](), answer: answer}
}

// Endpoints are all that an actor of the spec answers, for documents.
func (s *Spec) Endpoints() []Endpoint {
	e := &Engine{Spec: s}
	all := slices.Collect(maps.Values(e.endpoints()))
	all = append(all,
		Endpoint{Name: api.EndpointStatus, Description: builtinDescriptions[api.EndpointStatus],
			Reply: reflect.TypeFor[api.ActorStatus]()},
		Endpoint{Name: api.EndpointSchema, Description: builtinDescriptions[api.EndpointSchema],
			Query: reflect.TypeFor[api.GetSchema]()})
	slices.SortFunc(all, func(a, b Endpoint) int { return strings.Compare(a.Name, b.Name) })
	return all
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
