package actors

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"

	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

//go:embed schema.sql
var runtimeSchema string

// errCareful asks for the batch to be run again with a savepoint a message.
var errCareful = errors.New("run the batch with savepoints")

// errClosed answers queries after Close.
var errClosed = errors.New("actors: the file is closed")

// Anchor is where an actor stands in its stream: the stream's created-time,
// and sequence number, time and id of the last message handled. Only a stream
// in which all four match may be continued at Seq+1.
type Anchor struct {
	Created api.Time
	Seq     uint64
	At      api.Time
	ID      string
}

// Engine is an actor without its transport: the database, the handlers and the
// knowledge of what was handled and sent. Apply is called by one goroutine;
// Ask by any number.
type Engine struct {
	Spec *Spec
	file *stores.File
	w    *stores.Conn
	// readers holds the idle read connections; it is closed by Close.
	readers chan *stores.Conn
	closed  sync.Once
	verbs   map[string]func(tx *Tx, body []byte) error
	// senders are the actors that send a verb; what is not in it all of them may.
	senders map[string][]string
	queries map[string]Endpoint

	self   string // <actor>.<shard>
	steps  string // reads what knownSteps answers
	random func() string
	// mu guards what follows; Apply changes state when a batch is committed.
	mu sync.Mutex
	// committing is the time spent in COMMIT, ns.
	committing atomic.Int64

	owner, epoch string
	state        state
	// watched has every message noted in Output.Seen; set before the first one.
	watched bool
	// cutting is a cut that the next batch will record; only the writer sets it.
	cutting *Cut
}

// state mirrors the runtime's tables.
type state struct {
	now     api.Time
	anchor  Anchor
	config  json.RawMessage
	in      map[string]inbound
	out     map[string]*outbound
	oldest  api.Time // time of the oldest edge remembered
	retired map[string]bool
	// cut is the number of the last cut, hard of the last one that is not a
	// dead letter.
	cut, hard int64
}

// inbound is what is known of one sender.
type inbound struct {
	epoch  string
	number int64
}

// OpenEngine opens the actor's file at path, makes or migrates its tables and
// loads what it knows.
func OpenEngine(ctx context.Context, spec *Spec, path string) (*Engine, error) {
	file, err := stores.Open(path)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, spec, file); err != nil {
		file.Close()
		return nil, fmt.Errorf("actors: open %s: %w", spec.Name, err)
	}
	e, err := OpenEngineOn(spec, file, rand.Text)
	if err != nil {
		file.Close()
	}
	return e, err
}

// OpenEngineOn is OpenEngine on an open file that has the tables already, and
// is left open after an error. random answers texts that nobody else has, of 10
// characters or more, for the file's owner and epoch.
func OpenEngineOn(spec *Spec, file *stores.File, random func() string) (*Engine, error) {
	e := &Engine{Spec: spec, file: file, w: file.W, self: bus.Address(spec.Name), random: random,
		readers: make(chan *stores.Conn, len(file.R))}
	e.steps = `SELECT step, occurrence, state FROM (` + spec.StepsIn("main") + `)
		WHERE order_id = +? LIMIT +?`
	if err := e.open(); err != nil {
		return nil, fmt.Errorf("actors: open %s: %w", spec.Name, err)
	}
	return e, nil
}

func migrate(ctx context.Context, spec *Spec, file *stores.File) error {
	more, err := runtimeMigrations()
	if err != nil {
		return err
	}
	if err := file.Migrate(ctx, "runtime", runtimeSchema, more); err != nil {
		return err
	}
	return file.Migrate(ctx, spec.Name, spec.Schema, spec.Migrations)
}

func (e *Engine) open() error {
	if _, err := e.w.Exec(`INSERT INTO _actor (one, owner, epoch) VALUES (1, ?, ?)
		ON CONFLICT DO NOTHING`, e.random(), e.random()[:10]); err != nil {
		return err
	}
	if err := e.checkRules(); err != nil {
		return err
	}
	for _, c := range e.file.R {
		e.readers <- c
	}
	e.verbs, e.senders, e.queries = e.handlers(), e.sendersByVerb(), e.endpoints()
	return e.load()
}

// Owner is the random id of the file.
func (e *Engine) Owner() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.owner
}

// Anchor is where the actor stands in its stream.
func (e *Engine) Anchor() Anchor {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state.anchor
}

// Now is the newest stream time handled.
func (e *Engine) Now() api.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state.now
}

// Close waits for the queries that are running and closes the file; later ones
// are faults. No Apply may be running.
func (e *Engine) Close() (err error) {
	e.closed.Do(func() {
		for range cap(e.readers) {
			<-e.readers
		}
		close(e.readers)
		err = e.file.Close()
	})
	return err
}

// load reads the runtime's tables into the state.
func (e *Engine) load() error {
	s := state{in: map[string]inbound{}, out: map[string]*outbound{}, retired: map[string]bool{}}
	var seq int64
	var config, owner, epoch string
	if err := e.w.Row(`SELECT owner, epoch, now, created, seq, at, msg_id, config FROM _actor`).
		Scan(&owner, &epoch, &s.now, &s.anchor.Created, &seq, &s.anchor.At, &s.anchor.ID,
			&config); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	s.anchor.Seq, s.config = uint64(seq), json.RawMessage(config)
	if err := e.w.Each(func(r Row) error {
		var sender, epoch string
		var number, retired int64
		if err := r.Scan(&sender, &epoch, &number, &retired); err != nil {
			return err
		}
		if retired != 0 {
			s.retired[sender+"."+epoch] = true
		} else {
			s.in[sender] = inbound{epoch, number}
		}
		return nil
	}, `SELECT sender, epoch, number, retired FROM _in`); err != nil {
		return err
	}
	if err := e.loadOutbound(&s); err != nil {
		return err
	}
	if err := e.w.Row(`SELECT coalesce(max(n), 0), coalesce(max(n) FILTER (WHERE reason <> ?), 0)
		FROM _cut`, CutDead).Scan(&s.cut, &s.hard); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if err := e.w.Row(`SELECT coalesce(min(at), 0) FROM (SELECT at FROM _edge ORDER BY n LIMIT 1)`).
		Scan(&s.oldest); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	e.mu.Lock()
	e.state, e.owner, e.epoch = s, owner, epoch
	e.mu.Unlock()
	return nil
}

// Ask answers a query by name from committed state. An *api.Error is the
// endpoint's refusal; any other error is a fault.
func (e *Engine) Ask(name string, body []byte) (answer any, err error) {
	err = e.query(name, func(v *View, q *Endpoint) (err error) {
		answer, err = q.answer(v, body)
		return err
	})
	return answer, err
}

// AskInto is Ask for a caller in the same process: q is the query itself, and
// the answer is put into a pointer.
func (e *Engine) AskInto(name string, q, into any) error {
	return e.query(name, func(v *View, endpoint *Endpoint) error {
		var answer any
		var ok bool
		var err error
		if endpoint.direct != nil {
			answer, ok, err = endpoint.direct(v, q)
		}
		if !ok {
			answer, err = endpoint.answer(v, api.Raw(q))
		}
		if err != nil {
			return err
		}
		return put(into, answer)
	})
}

// put puts an answer into a pointer.
func put(into, answer any) error {
	if assign(into, answer) {
		return nil
	}
	if raw, ok := into.(*json.RawMessage); ok {
		*raw = api.Raw(answer)
		return nil
	}
	return json.Unmarshal(api.Raw(answer), into)
}

// assign copies an answer, or what it points to, when the types are the same.
func assign(into, answer any) bool {
	dst, src := reflect.ValueOf(into).Elem(), reflect.Indirect(reflect.ValueOf(answer))
	if !src.IsValid() || dst.Type() != src.Type() {
		return false
	}
	dst.Set(src)
	return true
}

// query runs one endpoint on a view of its own.
func (e *Engine) query(name string, run func(v *View, q *Endpoint) error) error {
	q, ok := e.queries[name]
	if !ok {
		return api.Refuse(api.CodeNotFound, "actor %s has no query %q", e.Spec.Name, name)
	}
	return e.read(func(v *View) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("query %s: panic: %v", name, p)
			}
		}()
		return run(v, &q)
	})
}

// read calls fn with a view of one moment.
func (e *Engine) read(fn func(v *View) error) error {
	c, ok := <-e.readers
	if !ok {
		return errClosed
	}
	defer func() { e.readers <- c }()
	if err := c.Begin("BEGIN"); err != nil {
		return err
	}
	err := fn(&View{c})
	if _, cerr := c.Exec("COMMIT"); cerr != nil && err == nil {
		err = cerr
	}
	return err
}

// NewEpoch makes this file a new owner: its numbers go on under a new epoch. It
// is a cut.
func (e *Engine) NewEpoch(reason CutReason, text string) error {
	if err := e.write(func() error {
		if _, err := e.w.Exec(`UPDATE _actor SET owner = ?`, e.random()); err != nil {
			return err
		}
		return e.beginEpoch(reason, text)
	}); err != nil {
		return err
	}
	return e.load()
}

// beginEpoch has the numbers go on under a new epoch, inside of write.
func (e *Engine) beginEpoch(reason CutReason, text string) error {
	if _, err := e.w.Exec(`UPDATE _out SET after = number`); err != nil {
		return err
	}
	if _, err := e.w.Exec(`UPDATE _actor SET epoch = ?`, e.random()[:10]); err != nil {
		return err
	}
	return e.writeCut(reason, text)
}

// View is committed state, read in one transaction. It is good only inside of
// the call that got it.
type View struct{ *stores.Conn }

// Row is one row of a result.
type Row = stores.Row

// ErrNoRows is what Row.Scan answers when there is no row.
var ErrNoRows = stores.ErrNoRows
