package actors

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

// Tx is what a handler may do: read and write the actor's own database, send
// messages that leave when it is committed, and ask what time it is in the
// stream. It is good only inside of the handler's call.
type Tx struct {
	*stores.Conn
	b      *batch
	in     *Delivery
	now    api.Time
	ids    int
	writes int
	acts   acts
	// began is when the handler began, and order whom the message is about; in a
	// watched engine alone.
	began time.Time
	order string
}

// acts is what one message has the actor do beside writing.
type acts struct {
	sends   []send
	timers  []bus.Timer
	effects []api.Effect
	wakes   []Wake
	steps   []StepDone
	value   json.RawMessage
}

type send struct {
	receiver string
	subject  string
	body     []byte
	apart    bool
}

// Now is the JetStream time of the message, never less than that of any
// message handled before.
func (tx *Tx) Now() api.Time { return tx.now }

// MessageID is the identity of the message being handled.
func (tx *Tx) MessageID() string { return tx.in.ID }

// NewID derives an id from the message's identity and a counter, so that a
// replay gives the same.
func (tx *Tx) NewID(prefix string) string {
	tx.ids++
	return api.DeriveID(prefix, tx.now.Std(), tx.in.ID+"/"+strconv.Itoa(tx.ids))
}

// Exec runs a statement that writes and returns the number of rows changed.
func (tx *Tx) Exec(query string, args ...any) (int64, error) {
	n, err := tx.Conn.Exec(query, args...)
	if n > 0 || err != nil {
		tx.writes++
	}
	return n, err
}

// Row reads one row; its Scan answers ErrNoRows when there is none. The
// statement may also write, with RETURNING.
func (tx *Tx) Row(query string, args ...any) Row {
	r := tx.Conn.Row(query, args...)
	if !strings.HasPrefix(query, "SELECT") && tx.Found() {
		tx.writes++ // what RETURNING has no row of was not changed
	}
	return r
}

// Each calls scan for every row of the result until it returns an error. The
// statement may also write, with RETURNING.
func (tx *Tx) Each(scan func(Row) error, query string, args ...any) error {
	if !strings.HasPrefix(query, "SELECT") {
		tx.writes++
	}
	return tx.Conn.Each(scan, query, args...)
}

// Send sends a message to the actor that handles it, when and only when this
// one is committed. It arrives exactly once and in the order of sending. A
// message over api.MaxMessage is a fault of the sender.
func (tx *Tx) Send(m api.Message) error {
	r := m.Route()
	return tx.send(r.Actor, mailboxSubject(r.Actor, r.Verb), m)
}

// Emit records a fact about an order with the journal.
func (tx *Tx) Emit(e api.Event) error {
	return tx.send(Journal, eventSubject(e.Type, e.Order), &e)
}

func (tx *Tx) send(receiver, subject string, m any) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("send %s: %w", subject, err)
	}
	if len(body) > api.MaxMessage {
		return fmt.Errorf("send %s: %d bytes are over the limit of %d", subject, len(body),
			api.MaxMessage)
	}
	tx.acts.sends = append(tx.acts.sends, send{receiver: receiver, subject: subject, body: body})
	return nil
}

// SendAfter has a message come back to this actor after a delay, on the timer
// class <name>-<seconds>s. It is a best effort after the commit: a deadline
// also needs a column that Tick sweeps. The id makes repeats recognisable.
func (tx *Tx) SendAfter(name string, delay time.Duration, id string, m api.Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("send after: %w", err)
	}
	tx.acts.timers = append(tx.acts.timers, bus.Timer{
		Class: fmt.Sprintf("%s-%ds", name, int64((delay+time.Second-1)/time.Second)),
		Due:   tx.now.Add(delay), ID: id, Verb: m.Route().Verb, Body: body,
	})
	return nil
}

// Wake tells whoever waits for the key that there is news, with the news. It
// is a best effort: the waiter also asks.
func (tx *Tx) Wake(key string, news any) error {
	body, err := json.Marshal(news)
	if err != nil {
		return fmt.Errorf("wake %s: %w", key, err)
	}
	tx.acts.wakes = append(tx.acts.wakes, Wake{Key: key, Body: body})
	return nil
}

// Reply sets the outcome that the edge which sent the message will read.
func (tx *Tx) Reply(value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("reply: %w", err)
	}
	tx.acts.value = body
	return nil
}

// Configure stores the actor's configuration, which a configure message
// brings, or what a handler must know at every message without a statement.
func (tx *Tx) Configure(config any) error {
	body, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	_, err = tx.Exec(`UPDATE _actor SET config = ?`, string(body))
	tx.b.config = body
	return err
}

// Incident records what an operator must look at, once for the same text among
// the newest ones.
func (tx *Tx) Incident(kind, text string) error {
	tx.writes++
	return tx.b.incident(kind, text)
}

// Config reads what Configure stored into config, which keeps its values where
// nothing was stored.
func (tx *Tx) Config(config any) error {
	if string(tx.b.config) == "null" {
		return nil
	}
	if err := json.Unmarshal(tx.b.config, config); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

// Do does a saga step once and answers the order actor with what do returns:
// data, or a refusal, which rolls back what it wrote. Told again, it sends the
// same answer; told after the undo, it refuses with CodeUndone. Rows S2, S8.
func (tx *Tx) Do(step api.Step, do func() (any, error)) error {
	result := api.StepResult{Step: step}
	var state, refusal, data sql.NullString
	err := tx.Row(`SELECT state, refusal, data FROM _step
		WHERE order_id = ? AND step = ? AND occurrence = ?`,
		step.Order, step.Name, step.Occurrence).Scan(&state, &refusal, &data)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		if err := tx.doFirst(&result, do); err != nil {
			return err
		}
	case err != nil:
		return err
	case state.String == "undone":
		result.Refusal = api.Refuse(api.CodeUndone, "step %s was undone before", step.Name)
	default:
		result.Data = rawOrNil(data)
		if refusal.Valid {
			result.Refusal = new(api.Error)
			if err := json.Unmarshal([]byte(refusal.String), result.Refusal); err != nil {
				return fmt.Errorf("step: stored refusal: %w", err)
			}
		}
	}
	return tx.Send(&result)
}

func (tx *Tx) doFirst(result *api.StepResult, do func() (any, error)) error {
	value, err := tx.attempt(do)
	if err != nil {
		if result.Refusal = api.AsError(err); result.Refusal == nil {
			return err
		}
	}
	state, refusal, data := "done", any(nil), any(nil)
	if result.Refusal != nil {
		state, refusal = "refused", string(api.Raw(result.Refusal))
	} else if value != nil {
		result.Data = api.Raw(value)
		data = string(result.Data)
	}
	_, err = tx.Exec(`INSERT INTO _step (order_id, step, occurrence, state, refusal, data)
		VALUES (?, ?, ?, ?, ?, ?)`, result.Order, result.Name, result.Occurrence, state, refusal,
		data)
	tx.acts.steps = append(tx.acts.steps, StepDone{result.Name, state})
	return err
}

// attempt calls do; when it refuses, what it wrote is rolled back.
func (tx *Tx) attempt(do func() (any, error)) (any, error) {
	writes, mark := tx.writes, tx.acts
	if tx.b.careful {
		if _, err := tx.Conn.Exec("SAVEPOINT attempt"); err != nil {
			return nil, err
		}
	}
	value, err := do()
	if api.AsError(err) == nil {
		return value, err
	}
	tx.acts = mark
	if tx.writes == writes {
		return value, err
	}
	if !tx.b.careful {
		return nil, errCareful
	}
	if _, rerr := tx.Conn.Exec("ROLLBACK TO attempt"); rerr != nil {
		return nil, rerr
	}
	return value, err
}

// Undo undoes a saga step once and answers the order actor. Undoing what was
// never done, or was refused, only records that it may not be done any more.
// undo must not refuse. Row S8.
func (tx *Tx) Undo(step api.Step, undo func() error) error {
	var state string
	err := tx.Row(`SELECT state FROM _step WHERE order_id = ? AND step = ? AND occurrence = ?`,
		step.Order, step.Name, step.Occurrence).Scan(&state)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if state == "done" {
		if err := undo(); err != nil {
			return err
		}
	}
	if state != "undone" {
		if _, err := tx.Exec(`INSERT INTO _step (order_id, step, occurrence, state)
			VALUES (?, ?, ?, 'undone')
			ON CONFLICT DO UPDATE SET state = 'undone', refusal = NULL, data = NULL`,
			step.Order, step.Name, step.Occurrence); err != nil {
			return err
		}
		tx.acts.steps = append(tx.acts.steps, StepDone{step.Name, "undone"})
	}
	return tx.Send(&api.StepResult{Step: step, Undo: true})
}

func rawOrNil(s sql.NullString) json.RawMessage {
	if !s.Valid {
		return nil
	}
	return json.RawMessage(s.String)
}
