package actors

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"ordo/api"
	"ordo/stores"
)

// Scenario is what one actor had and did: given these rows, when these messages
// come, then those leave and those rows change. It runs without the shop that it
// was recorded in.
type Scenario struct {
	Actor string `json:"actor"`
	// Config is the actor's configuration, Now the time it had come to.
	Config json.RawMessage `json:"config"`
	Now    api.Time        `json:"now"`
	// Given are rows by table, a value for each column.
	Given map[string][]map[string]any `json:"given"`
	When  []Moment                    `json:"when"`
}

// Moment is one message of a scenario and what followed from it.
type Moment struct {
	ID      string          `json:"id"`
	Subject string          `json:"subject"`
	At      api.Time        `json:"at"`
	Body    json.RawMessage `json:"body"`
	// Sends are the messages that left, in order, Wrote the rows that changed.
	Sends []Departure     `json:"sends"`
	Wrote []stores.Change `json:"wrote"`
	// Dead is true when it became a dead letter.
	Dead bool `json:"dead,omitempty"`
}

// Departure is a message that left an actor.
type Departure struct {
	Subject string          `json:"subject"`
	Body    json.RawMessage `json:"body"`
}

// ReadScenarios reads scenarios from their JSON form, a list of them.
func ReadScenarios(text []byte) (all []Scenario, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber() // times in nanoseconds do not fit into a float
	dec.DisallowUnknownFields()
	if err := dec.Decode(&all); err != nil {
		return nil, fmt.Errorf("actors: scenario: %w", err)
	}
	return all, nil
}

// Play runs a scenario's messages on a new file in dir and answers what
// followed from each, as it should stand in the scenario.
func (s *Scenario) Play(ctx context.Context, spec *Spec, dir string) (got []Moment, err error) {
	if spec.Name != s.Actor {
		return nil, fmt.Errorf("actors: scenario of %s for %s", s.Actor, spec.Name)
	}
	e, err := OpenEngine(ctx, spec, filepath.Join(dir, spec.Name+".db"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if err := s.fill(e); err != nil {
		return nil, fmt.Errorf("actors: scenario: given: %w", err)
	}
	for i := range s.When {
		m := s.When[i]
		// What other orders sent in between is left out of the channel.
		if c, ok := parseChannelID(m.ID); ok {
			e.state.in[c.sender] = inbound{c.epoch, c.number - 1}
		}
		out, wrote, err := e.Record(s.Now, Delivery{Subject: m.Subject, ID: m.ID,
			Seq: uint64(i + 1), At: m.At, Body: compact(m.Body)})
		if err != nil {
			return nil, fmt.Errorf("actors: scenario: message %s: %w", m.ID, err)
		}
		m.Sends, m.Wrote, m.Dead = departures(out.Sent), plain(wrote), len(out.Dead) > 0
		got = append(got, m)
	}
	return got, nil
}

// compact is a body as it was before somebody read and indented it.
func compact(body json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, body) != nil {
		return body
	}
	return b.Bytes()
}

func departures(sent []Sent) []Departure {
	all := []Departure{}
	for _, s := range sent {
		all = append(all, Departure{s.Subject, s.Body})
	}
	return all
}

// plain leaves the place of a dead letter's panic out, which changes with the
// program.
func plain(wrote []stores.Change) []stores.Change {
	for _, c := range wrote {
		if text, ok := c.New["error"].(string); ok && c.Table == "_dead" {
			c.New["error"], _, _ = strings.Cut(text, "\n")
		}
	}
	return slices.Clip(append([]stores.Change{}, wrote...))
}

// Differs says where what followed is not what a scenario says; empty when it
// is.
func (s *Scenario) Differs(got []Moment) string {
	for i := range s.When {
		want := &s.When[i]
		if i >= len(got) {
			return fmt.Sprintf("message %s was not handled", want.ID)
		}
		for _, part := range []struct {
			name      string
			want, got any
		}{{"sends", want.Sends, got[i].Sends}, {"wrote", want.Wrote, got[i].Wrote},
			{"dead", want.Dead, got[i].Dead}} {
			if !sameJSON(part.want, part.got) {
				return fmt.Sprintf("message %d, %s %s: %s: want %s, got %s", i, want.ID,
					want.Subject, part.name, api.Raw(part.want), api.Raw(part.got))
			}
		}
	}
	return ""
}

// sameJSON compares by value: neither the order of names nor how a number is
// held counts.
func sameJSON(a, b any) bool { return reflect.DeepEqual(decoded(a), decoded(b)) }

func decoded(v any) (out any) {
	dec := json.NewDecoder(bytes.NewReader(api.Raw(v)))
	dec.UseNumber()
	if err := dec.Decode(&out); err != nil {
		return err
	}
	return out
}

// fill writes the given rows as they are: triggers, which would count them
// again, are away meanwhile.
func (s *Scenario) fill(e *Engine) error {
	triggers := map[string]string{}
	if err := e.w.Each(func(r Row) error {
		var name, text string
		err := r.Scan(&name, &text)
		triggers[name] = text
		return err
	}, `SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'`); err != nil {
		return err
	}
	statements := []string{"PRAGMA foreign_keys = OFF"}
	for name := range triggers {
		statements = append(statements, `DROP TRIGGER "`+name+`"`)
	}
	if err := runAll(e.w, statements); err != nil {
		return err
	}
	for table, rows := range s.Given {
		for _, row := range rows {
			if err := insert(e.w, table, row); err != nil {
				return fmt.Errorf("%s: %w", table, err)
			}
		}
	}
	statements = []string{"PRAGMA foreign_keys = ON"}
	for _, text := range triggers {
		statements = append(statements, text)
	}
	if err := runAll(e.w, statements); err != nil {
		return err
	}
	if _, err := e.w.Exec(`UPDATE _actor SET now = ?, config = ?`, s.Now,
		string(s.Config)); err != nil {
		return err
	}
	return e.load()
}

func runAll(c *stores.Conn, statements []string) error {
	for _, text := range statements {
		if _, err := c.Exec(text); err != nil {
			return err
		}
	}
	return nil
}

func insert(c *stores.Conn, table string, row map[string]any) error {
	var names, marks []string
	var args []any
	for name, value := range row {
		if n, ok := value.(json.Number); ok {
			i, err := n.Int64()
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			value = i
		}
		names, marks, args = append(names, `"`+name+`"`), append(marks, "?"), append(args, value)
	}
	_, err := c.Exec(`INSERT OR IGNORE INTO "`+table+`" (`+strings.Join(names, ", ")+`) VALUES (`+
		strings.Join(marks, ", ")+`)`, args...)
	return err
}
