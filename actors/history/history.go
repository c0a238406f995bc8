// Package history tells the life of one order from what the actors' files and
// the streams still have: every message about it, what each actor sent and wrote
// because of it, and what became of its steps. It decides what belongs to an
// order; it reads only, and what it handles again it handles on a file of its
// own.
package history

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/actors"
	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

// Config says where the order's shop is.
type Config struct {
	// Data are data directories, which may be in use.
	Data []string
	// JS has the shop's streams; nil when they can't be reached.
	JS jetstream.JetStream
	// Specs are all domains.
	Specs []*actors.Spec
	// Rows is true when the messages shall be handled again, to tell what each
	// wrote; Export when that shall become scenarios.
	Rows, Export bool
}

// Life is all that is known of an order.
type Life struct {
	Order string `json:"order"`
	State string `json:"state"`
	// Steps are what was asked of whom.
	Steps []Step `json:"steps"`
	// Messages are in the order in which they were handled.
	Messages []*Message `json:"messages"`
	// Notes say what is not known, and why.
	Notes []string `json:"notes"`
	// Scenarios are those of Export.
	Scenarios []actors.Scenario `json:"-"`
}

// Step is a step of the order or of one of its refunds.
type Step struct {
	Name       string          `json:"name"`
	Occurrence int             `json:"occurrence"`
	State      string          `json:"state"`
	Attempts   int             `json:"attempts"`
	AskedAt    api.Time        `json:"asked_at"`
	AnsweredAt api.Time        `json:"answered_at,omitzero"`
	Refusal    json.RawMessage `json:"refusal,omitempty"`
}

// Message is a message to an actor about the order.
type Message struct {
	// Actor got it, From sent it: an actor, or edge.
	Actor string `json:"actor"`
	From  string `json:"from"`
	ID    string `json:"id"`
	// Cause is the id of the message that it was sent because of.
	Cause   string `json:"cause,omitempty"`
	Subject string `json:"subject"`
	// At is its time in the stream, or that of its sending where the stream does
	// not hold it any more; Seq is its place there, 0 then.
	At     api.Time        `json:"at"`
	Stream string          `json:"stream,omitempty"`
	Seq    uint64          `json:"seq,omitempty"`
	Body   json.RawMessage `json:"body,omitempty"`
	// Copies counts how often the stream has it.
	Copies int `json:"copies,omitempty"`
	// Handled is true once the actor has committed it.
	Handled bool `json:"handled"`
	// Outcome is what an edge was answered.
	Outcome string `json:"outcome,omitempty"`
	// Dead names the dead letter that it became.
	Dead string `json:"dead,omitempty"`
	// Sent and Wrote are what followed when it was handled again; nil when it
	// was not.
	Sent  []actors.Departure `json:"sent,omitempty"`
	Wrote []stores.Change    `json:"wrote,omitempty"`

	number int64
	after  int64
}

// reader collects a life.
type reader struct {
	cfg   Config
	files map[string]string
	life  *Life
	// tokens are the order's id and those of its attempts and refunds.
	tokens [][]byte
	// byID are the messages by actor and identity; those known by channel and
	// number alone have no epoch.
	byID map[string]*Message
}

// ErrNoFiles is returned by Read when no actor has a file in the directories.
var ErrNoFiles = errors.New("there are no actors' files")

// Read reads an order's life. It answers fs.ErrNotExist when no file knows the
// order, and ErrNoFiles when there are none.
func Read(ctx context.Context, order string, cfg Config) (*Life, error) {
	r := &reader{cfg: cfg, files: map[string]string{}, byID: map[string]*Message{},
		life: &Life{Order: order, Steps: []Step{}, Messages: []*Message{}, Notes: []string{}}}
	if r.findFiles(); len(r.files) == 0 {
		return nil, fmt.Errorf("history: %w in %v", ErrNoFiles, cfg.Data)
	}
	if err := r.readOrder(ctx); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	if err := r.readOutboxes(ctx); err != nil {
		return nil, err
	}
	if err := r.readStreams(ctx); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	for actor := range r.files {
		if err := r.readOutcomes(ctx, actor); err != nil {
			return nil, fmt.Errorf("history: %s: %w", actor, err)
		}
	}
	r.sort()
	if len(r.life.Messages) == 0 && r.life.State == "" {
		return nil, fmt.Errorf("history: order %s: %w", order, fs.ErrNotExist)
	}
	return r.life, nil
}

// findFiles finds the actors' files.
func (r *reader) findFiles() {
	for _, actor := range bus.ActorNames() {
		for _, dir := range r.cfg.Data {
			path := filepath.Join(dir, "actors", actor+".db")
			if _, err := os.Stat(path); err == nil {
				r.files[actor] = path
			}
		}
	}
}

func (r *reader) readOutboxes(ctx context.Context) error {
	for _, actor := range bus.ActorNames() {
		if r.files[actor] == "" {
			r.note("the file of %s is not there", actor)
			continue
		}
		if err := r.readOutbox(ctx, actor); err != nil {
			return fmt.Errorf("history: %s: %w", actor, err)
		}
	}
	return nil
}

func (r *reader) note(format string, args ...any) {
	r.life.Notes = append(r.life.Notes, fmt.Sprintf(format, args...))
}

func (r *reader) sort() {
	for _, m := range r.byID {
		r.life.Messages = append(r.life.Messages, m)
	}
	slices.SortFunc(r.life.Messages, func(a, b *Message) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Actor, b.Actor),
			cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.number, b.number))
	})
}

// query calls f for every row that a file answers.
func query(ctx context.Context, path string, f func(scan func(...any) error) error, text string,
	args ...any) (err error) {
	db, err := stores.OpenReadOnly(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// readOrder reads state and steps, and under which other ids the order goes.
func (r *reader) readOrder(ctx context.Context) error {
	order := r.life.Order
	r.tokens = [][]byte{[]byte(order)}
	token := func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		r.tokens = append(r.tokens, []byte(id))
		return err
	}
	if path := r.files["order"]; path != "" {
		if err := query(ctx, path, func(scan func(...any) error) error {
			return scan(&r.life.State)
		}, `SELECT state FROM orders WHERE id = ?`, order); err != nil {
			return err
		}
		if err := query(ctx, path, func(scan func(...any) error) error {
			var s Step
			var refusal sql.NullString
			err := scan(&s.Name, &s.Occurrence, &s.State, &s.Attempts, &s.AskedAt, &s.AnsweredAt,
				&refusal)
			if refusal.Valid {
				s.Refusal = json.RawMessage(refusal.String)
			}
			r.life.Steps = append(r.life.Steps, s)
			return err
		}, `SELECT name, occurrence, state, attempts, asked_at, answered_at, refusal FROM steps
			WHERE order_id = ? ORDER BY asked_at, name`, order); err != nil {
			return err
		}
		if err := query(ctx, path, token, `SELECT id FROM refund WHERE order_id = ?`,
			order); err != nil {
			return err
		}
	}
	if path := r.files["payment"]; path != "" {
		return query(ctx, path, token, `SELECT id FROM attempt WHERE order_id = ?1
			UNION SELECT number FROM refund WHERE order_id = ?1`, order)
	}
	return nil
}

// key tells messages apart: by channel and number, which an outbox knows, or by
// the edge's id.
func key(actor, from string, number int64, id string) string {
	if number > 0 {
		id = fmt.Sprint(number)
	}
	return actor + " " + from + " " + id
}

// readOutbox reads what an actor has sent about the order and still keeps.
func (r *reader) readOutbox(ctx context.Context, from string) error {
	return query(ctx, r.files[from], func(scan func(...any) error) error {
		m := &Message{From: from}
		var receiver, cause, body string
		if err := scan(&receiver, &m.number, &m.Subject, &cause, &body, &m.At); err != nil {
			return err
		}
		m.Actor, _, _ = strings.Cut(receiver, ".")
		m.Body, m.Cause = json.RawMessage(body), cause
		m.ID = fmt.Sprintf("%s.?.%s.%d", bus.Address(from), receiver, m.number)
		r.byID[key(m.Actor, from, m.number, "")] = m
		return nil
	}, `SELECT s.receiver, s.first + m.key, m.value ->> 'subject',
			coalesce(m.value ->> 'cause', ''), m.value -> 'body', s.at
		FROM _sent s, json_each(s.messages) m
		WHERE instr(s.messages, ?1) > 0 AND instr(m.value, ?1) > 0`, r.life.Order)
}

// readOutcomes reads how far an actor has come, what it answered edges, and its
// dead letters.
func (r *reader) readOutcomes(ctx context.Context, actor string) error {
	last := map[string]int64{}
	if err := query(ctx, r.files[actor], func(scan func(...any) error) error {
		var sender string
		var n int64
		err := scan(&sender, &n)
		sender, _, _ = strings.Cut(sender, ".")
		last[sender] = n
		return err
	}, `SELECT sender, max(number) FROM _in WHERE retired = 0 GROUP BY sender`); err != nil {
		return err
	}
	letters := map[string]string{}
	if err := query(ctx, r.files[actor], func(scan func(...any) error) error {
		var id, text string
		err := scan(&id, &text)
		letters[id] = text
		return err
	}, `SELECT id, n || ' ' || state || ': ' || error FROM _dead`); err != nil {
		return err
	}
	for _, m := range r.byID {
		if m.Actor != actor {
			continue
		}
		m.Dead, _, _ = strings.Cut(letters[m.ID], "\n")
		if m.number > 0 {
			m.Handled = m.number <= last[m.From]
			continue
		}
		if err := query(ctx, r.files[actor], func(scan func(...any) error) error {
			m.Handled = true
			return scan(&m.Outcome)
		}, `SELECT coalesce('refused: ' || refusal, value, 'done') FROM _edge WHERE id = ?`,
			m.ID); err != nil {
			return err
		}
	}
	return nil
}
