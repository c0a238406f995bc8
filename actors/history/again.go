package history

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/actors"
	"ordo/api"
	"ordo/stores"
)

// chunk is how many messages of other orders are handled together.
const chunk = 512

// again handles an actor's stream again on a new file, up to the order's last
// message, and notes what each of the order's messages sent and wrote.
func (r *reader) again(ctx context.Context, s jetstream.Stream, actor string,
	mine map[uint64]*Message) (err error) {
	info := s.CachedInfo()
	spec := r.spec(actor)
	if info.State.FirstSeq > 1 || !r.sameStream(ctx, actor, api.TimeOf(info.Created)) {
		r.note("what %s wrote is not known: its stream does not begin where its file does", actor)
		return nil
	}
	dir, err := os.MkdirTemp("", "ordo-tx-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, actor+".db")
	e, err := actors.OpenEngine(ctx, spec, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	a := &replay{reader: r, engine: e, created: api.TimeOf(info.Created), path: path,
		scenario: actors.Scenario{Actor: actor, Given: map[string][]map[string]any{}}, mine: mine}
	for seq := range mine {
		a.last = max(a.last, seq)
	}
	if err := scan(ctx, s, a.last, func(d *actors.Delivery, _ nats.Header) error {
		return a.take(ctx, d)
	}); err != nil {
		return err
	}
	if !r.cfg.Export {
		return nil
	}
	return a.export(ctx, spec)
}

func (r *reader) spec(actor string) *actors.Spec {
	i := slices.IndexFunc(r.cfg.Specs, func(s *actors.Spec) bool { return s.Name == actor })
	return r.cfg.Specs[i]
}

// sameStream tells whether the stream is the one that the actor's file is from.
func (r *reader) sameStream(ctx context.Context, actor string, created api.Time) bool {
	if r.files[actor] == "" {
		return true
	}
	same := false
	err := query(ctx, r.files[actor], func(scan func(...any) error) error {
		var at api.Time
		err := scan(&at)
		same = at == created
		return err
	}, `SELECT created FROM _actor`)
	return err == nil && same
}

// replay is an actor that handles its stream again.
type replay struct {
	*reader
	engine   *actors.Engine
	created  api.Time
	path     string
	last     uint64
	waiting  []actors.Delivery
	mine     map[uint64]*Message
	scenario actors.Scenario
	// before are all rows before the order's first message.
	before map[string][]map[string]any
}

// take handles a message: at once when it is the order's, else with others.
func (a *replay) take(ctx context.Context, d *actors.Delivery) error {
	m := a.mine[d.Seq]
	if m == nil {
		if a.waiting = append(a.waiting, *d); len(a.waiting) < chunk {
			return nil
		}
		return a.flush()
	}
	if err := a.flush(); err != nil {
		return err
	}
	if a.cfg.Export && a.before == nil {
		if err := a.look(ctx); err != nil {
			return err
		}
	}
	out, wrote, err := a.engine.Record(a.created, *d)
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
