package history

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ordo/actors"
	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

// again handles an actor's stream again on a new file, from before the order's
// first message to its last one, and notes what each of the order's messages sent
// and wrote. Messages that the actor has not handled yet are left out.
func (r *reader) again(ctx context.Context, h *bus.History, actor string,
	mine map[uint64]*Message) (err error) {
	if r.files[actor] == "" {
		return nil // noted
	}
	standing, err := actors.ReadStanding(ctx, r.files[actor])
	if err != nil {
		return err
	}
	a := &replay{reader: r, created: standing.Anchor.Created, mine: mine,
		scenario: actors.Scenario{Actor: actor, Given: map[string][]map[string]any{}}}
	if !a.bounds(standing.Anchor.Seq) {
		return nil
	}
	dir, err := os.MkdirTemp("", "ordo-tx-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	a.path = filepath.Join(dir, actor+".db")
	if err := a.begin(ctx, h, standing); err != nil {
		r.note("what %s wrote is not known: %v", actor, err)
		return nil
	}
	if a.engine, err = actors.OpenEngine(ctx, r.spec(actor), a.path); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.engine.Close()) }()
	if err := a.run(ctx, h); err != nil {
		return err
	}
	if !r.cfg.Export {
		return nil
	}
	return a.export(ctx, r.spec(actor))
}

// bounds finds the order's first and last message that was handled, of those up to
// a place; false when there is none.
func (a *replay) bounds(anchor uint64) bool {
	a.first = math.MaxUint64
	for seq := range a.mine {
		if seq <= anchor {
			a.first, a.last = min(a.first, seq), max(a.last, seq)
		}
	}
	return a.last > 0
}

// begin makes the actor's file as it was before the order's first message, from
// the stream or a snapshot.
func (a *replay) begin(ctx context.Context, h *bus.History, live *actors.Standing) error {
	snapshots, err := actors.Snapshots(ctx, a.files[a.scenario.Actor])
	if err != nil {
		return err
	}
	t := actors.Target{Spec: a.spec(a.scenario.Actor), Live: live, Seq: a.first - 1}
	_, err = t.At(ctx, h, snapshots, a.path)
	return err
}

// run handles the stream from the order's first message to its last one, up to a
// hole.
func (a *replay) run(ctx context.Context, h *bus.History) error {
	next := a.first
	if err := h.Read(ctx, a.first, a.last, func(in []bus.Message) (bool, error) {
		for i := range in {
			if in[i].Seq != next {
				return false, nil
			}
			next++
			if err := a.take(ctx, actors.DeliveryOf(&in[i])); err != nil {
				return false, err
			}
		}
		return true, a.flush()
	}); err != nil {
		return err
	}
	if next <= a.last {
		a.note("what %s wrote is not known from message %d on, which the stream does not hold",
			a.scenario.Actor, next)
	}
	return a.flush()
}

func (r *reader) spec(actor string) *actors.Spec {
	i := slices.IndexFunc(r.cfg.Specs, func(s *actors.Spec) bool { return s.Name == actor })
	return r.cfg.Specs[i]
}

// replay is an actor that handles its stream again.
type replay struct {
	*reader
	engine  *actors.Engine
	created api.Time
	path    string
	// first and last are the order's messages that the actor has handled.
	first, last uint64
	waiting     []actors.Delivery
	mine        map[uint64]*Message
	scenario    actors.Scenario
	// before are all rows before the order's first message.
	before map[string][]map[string]any
}

// take handles a message: at once when it is the order's, else with others.
func (a *replay) take(ctx context.Context, d actors.Delivery) error {
	m := a.mine[d.Seq]
	if m == nil {
		a.waiting = append(a.waiting, d)
		return nil
	}
	if err := a.flush(); err != nil {
		return err
	}
	if a.cfg.Export && a.before == nil {
		if err := a.look(ctx); err != nil {
			return err
		}
	}
	out, wrote, err := a.engine.Record(a.created, d)
	if err != nil {
		return err
	}
	m.Wrote, m.Sent = wrote, []actors.Departure{}
	for _, s := range out.Sent {
		m.Sent = append(m.Sent, actors.Departure{Subject: s.Subject, Body: s.Body})
	}
	if out.Handled == 0 {
		return nil
	}
	a.scenario.When = append(a.scenario.When, actors.Moment{ID: d.ID, Subject: d.Subject, At: d.At,
		Body: asJSON(d.Body), Sends: m.Sent, Dead: len(out.Dead) > 0})
	return nil
}

func (a *replay) flush() error {
	if len(a.waiting) == 0 {
		return nil
	}
	_, err := a.engine.Apply(a.created, a.waiting)
	a.waiting = a.waiting[:0]
	return err
}

// look keeps the rows that are there before the order's first message.
func (a *replay) look(ctx context.Context) error {
	a.before = map[string][]map[string]any{}
	if err := query(ctx, a.path, func(scan func(...any) error) error {
		var config string
		err := scan(&a.scenario.Now, &config)
		a.scenario.Config = json.RawMessage(config)
		return err
	}, `SELECT now, config FROM _actor`); err != nil {
		return err
	}
	var tables []string
	if err := query(ctx, a.path, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		tables = append(tables, name)
		return err
	}, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*'
		AND (name NOT GLOB '_*' OR name IN ('_step', '_effect'))`); err != nil {
		return err
	}
	for _, table := range tables {
		rows, err := rowsOf(ctx, a.path, table)
		if err != nil {
			return err
		}
		a.before[table] = rows
	}
	return nil
}

func rowsOf(ctx context.Context, path, table string) (all []map[string]any, err error) {
	db, err := stores.OpenReadOnly(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, `SELECT * FROM "`+table+`"`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		values := make([]any, len(names))
		into := make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := map[string]any{}
		for i, name := range names {
			row[name] = values[i]
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

// export makes a scenario of what the actor did for the order: with the rows
// that the order's messages name, or all of them when those are not enough to
// have the same messages leave.
func (a *replay) export(ctx context.Context, spec *actors.Spec) error {
	if len(a.scenario.When) == 0 {
		return nil
	}
	for _, given := range []map[string][]map[string]any{a.named(), a.before} {
		s := a.scenario
		s.Given = given
		dir, err := os.MkdirTemp("", "ordo-tx-")
		if err != nil {
			return err
		}
		got, err := s.Play(ctx, spec, dir)
		if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
			return err
		}
		if sameSends(a.scenario.When, got) {
			s.When = got
			a.life.Scenarios = append(a.life.Scenarios, s)
			return nil
		}
	}
	a.note("%s is not exported: other messages leave when the order's are handled alone", spec.Name)
	return nil
}

func sameSends(want, got []actors.Moment) bool {
	return slices.EqualFunc(want, got, func(a, b actors.Moment) bool {
		return a.Dead == b.Dead && string(api.Raw(a.Sends)) == string(api.Raw(b.Sends))
	})
}

// named are the rows before that have one of the texts in the order's messages
// as a value, or in those rows.
func (a *replay) named() map[string][]map[string]any {
	texts := map[string]bool{}
	for i := range a.scenario.When {
		collect(texts, a.scenario.When[i].Body)
	}
	given := map[string][]map[string]any{}
	for range 2 { // once more for what those rows refer to
		found := map[string]bool{}
		for table, rows := range a.before {
			given[table] = nil
			for _, row := range rows {
				if names(row, texts) {
					given[table] = append(given[table], row)
					for _, v := range row {
						if s, ok := v.(string); ok {
							found[s] = true
						}
					}
				}
			}
		}
		for s := range found {
			texts[s] = true
		}
	}
	return given
}

func names(row map[string]any, texts map[string]bool) bool {
	for _, v := range row {
		if s, ok := v.(string); ok && len(s) > 3 && texts[s] {
			return true
		}
	}
	return false
}

// collect adds all texts in a JSON value.
func collect(texts map[string]bool, body []byte) {
	var v any
	if json.Unmarshal(body, &v) == nil {
		collectValue(texts, v)
	}
}

func collectValue(texts map[string]bool, v any) {
	switch v := v.(type) {
	case string:
		texts[v] = true
	case []any:
		for _, e := range v {
			collectValue(texts, e)
		}
	case map[string]any:
		for _, e := range v {
			collectValue(texts, e)
		}
	}
}

// asJSON is a body as JSON: itself, or a string of what is none.
func asJSON(b []byte) json.RawMessage {
	if json.Valid(b) {
		return slices.Clone(b)
	}
	return api.Raw(strings.ToValidUTF8(string(b), "?"))
}
