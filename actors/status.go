package actors

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"ordo/api"
	"ordo/bus"
)

// statusLimit is how long an actor may take to learn its mailbox's lag.
const statusLimit = time.Second

// ActorStatus tells how the actor is, as its endpoint does. What can't be read
// is part of the fault.
func (h *Host) ActorStatus(ctx context.Context) *api.ActorStatus {
	s := h.Status()
	a := &api.ActorStatus{Actor: s.Actor, Ready: s.Ready, Fault: s.Fault, Now: s.Now,
		Unconfirmed: s.Unconfirmed, Stopped: s.Stopped, Messages: s.Messages, Lag: -1}
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	g, err := h.Gauges(ctx)
	a.Dead, a.Effects, a.Incidents = g.Dead, g.Effects, g.Incidents
	if err == nil {
		a.Lag, a.Oldest = int64(g.Pending), g.Oldest
	}
	if err != nil && a.Fault == "" {
		a.Fault = err.Error()
	}
	return a
}

// oldestUnconfirmed is when the oldest message was sent that its receiver has
// not been seen to commit; 0 for none.
func (e *Engine) oldestUnconfirmed() (oldest api.Time, err error) {
	receivers := e.Receivers()
	err = e.read(func(v *View) error {
		for receiver, r := range receivers {
			if r[1] >= r[0] {
				continue
			}
			var at api.Time
			err := v.Row(`SELECT coalesce(min(at), 0) FROM (SELECT at FROM _sent
				WHERE receiver = ?1 AND last > ?2 AND first >= coalesce((SELECT max(first)
					FROM _sent WHERE receiver = ?1 AND first <= ?2 + 1), 0)
				ORDER BY first LIMIT 1)`, receiver, r[1]).Scan(&at)
			if err != nil {
				return err
			}
			if at > 0 && (oldest == 0 || at < oldest) {
				oldest = at
			}
		}
		return nil
	})
	return oldest, err
}

// effectView is what listEffects reads. The order is told as in the index.
const effectView = `SELECT id, name, state, attempts, next_try, failures, error, failed_at, at
	FROM _effect WHERE `

const (
	effectsOf = effectView + `coalesce(body ->> '$.order', body ->> '$.attempt.order', '') = +?
		ORDER BY at, id LIMIT +?`
	effectsOpen = effectView + `state = 'open' ORDER BY next_try LIMIT +?`
)

func listEffects(v *View, body []byte) (any, error) {
	var q api.ListEffects
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, api.Refuse(api.CodeInvalid, "query: %v", err)
	}
	limit := api.Page{Limit: q.Limit}.Size()
	query, args := effectsOpen, []any{limit}
	if q.Order != "" {
		query, args = effectsOf, []any{q.Order, limit}
	}
	list := api.EffectList{Effects: []api.EffectView{}}
	err := v.Each(func(r Row) error {
		var f api.EffectView
		var failed int
		if err := r.Scan(&f.ID, &f.Name, &f.State, &f.Attempts, &f.NextTry, &failed, &f.Error,
			&f.FailedAt, &f.At); err != nil {
			return err
		}
		switch {
		case f.State != "open":
			f.NextTry = 0
		case f.Attempts == 1 && failed > 0 && failed < bus.EffectTries: // the stream's
			f.NextTry = f.FailedAt.Add(bus.EffectDelay(f.ID, failed))
		}
		f.Attempts = max(f.Attempts, failed)
		list.Effects = append(list.Effects, f)
		return nil
	}, query, args...)
	return list, err
}

// ownSteps reads steps where the domain says nothing else.
const ownSteps = `SELECT order_id, step, occurrence, state FROM %[1]s._step`

// StepsIn is the query of Spec.Steps for the database of a name.
func (s *Spec) StepsIn(schema string) string {
	query := s.Steps
	if query == "" {
		query = ownSteps
	}
	return fmt.Sprintf(query, schema)
}

// knownSteps answers what the actor knows of an order's steps.
func (e *Engine) knownSteps(v *View, body []byte) (any, error) {
	var q api.GetSteps
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, api.Refuse(api.CodeInvalid, "query: %v", err)
	}
	list := api.FoundList{Found: []api.FoundStep{}}
	err := v.Each(func(r Row) error {
		var f api.FoundStep
		err := r.Scan(&f.Name, &f.Occurrence, &f.State)
		list.Found = append(list.Found, f)
		return err
	}, e.steps, q.Order, api.MaxFound)
	return list, err
}
