package bus

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus/tracing"
)

// How an edge waits and asks.
const (
	// pollEvery is how often a waiting edge asks, in case a wake-up got lost.
	pollEvery = 250 * time.Millisecond
	// publishEvery is how often it publishes again while it waits.
	publishEvery = 2 * time.Second
	// askTimeout is how long a query may take.
	askTimeout = 5 * time.Second
	// maxMessageID is the longest message id of an edge, in bytes.
	maxMessageID = 200
)

// ErrPending says that the deciding actor has not committed yet. The same
// message id may be sent again.
var ErrPending = errors.New("bus: not decided yet")

// Edge is how a process that is not an actor talks to actors: the REST API,
// the command line, a gateway's notify. It is safe for concurrent use.
type Edge struct {
	nc *nats.Conn
	js jetstream.JetStream

	sub   *nats.Subscription
	mu    sync.Mutex
	wait  map[string]map[*Watch]struct{}
	local map[string]Ask
	load  *load
	reach *reach
}

// Ask answers a query of one actor by its endpoint's name into a pointer.
type Ask func(name string, q, into any) error

// NewEdge makes an edge on a connection. Close it after use.
func NewEdge(nc *nats.Conn, js jetstream.JetStream) *Edge {
	return &Edge{nc: nc, js: js, wait: map[string]map[*Watch]struct{}{}, local: map[string]Ask{},
		load: watchLoad(js), reach: watchReach(nc)}
}

// Listen hears the wake-ups of actors in other processes. Without it only
// those count that Notify brings, and what asking finds.
func (e *Edge) Listen() error {
	sub, err := e.nc.Subscribe(WakePrefix+">", func(m *nats.Msg) {
		e.Notify(strings.TrimPrefix(m.Subject, WakePrefix), m.Data)
	})
	if err != nil {
		return fmt.Errorf("bus: edge: %w", err)
	}
	e.sub = sub
	return nil
}

// Attach has an actor of the same process asked without the way over NATS.
func (e *Edge) Attach(actor string, ask Ask) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.local[actor] = ask
}

// Detach ends Attach, before the actor is closed.
func (e *Edge) Detach(actor string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.local, actor)
}

// Close ends the edge's subscription; its connection stays open.
func (e *Edge) Close() error {
	e.load.close()
	e.reach.close()
	if e.sub == nil {
		return nil
	}
	return e.sub.Unsubscribe()
}

// Connected tells whether the edge reaches NATS.
func (e *Edge) Connected() bool { return e.nc.IsConnected() }

// Watch gets the wake-ups of one key.
type Watch struct {
	// C carries the newest wake-up's body; older ones not yet read are dropped.
	C   <-chan []byte
	c   chan []byte
	key string
	e   *Edge
}

// Watch begins to watch a key. Stop it after use.
func (e *Edge) Watch(key string) *Watch {
	c := make(chan []byte, 1)
	w := &Watch{C: c, c: c, key: key, e: e}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.wait[key] == nil {
		e.wait[key] = map[*Watch]struct{}{}
	}
	e.wait[key][w] = struct{}{}
	return w
}

// Stop ends the watch.
func (w *Watch) Stop() {
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	delete(w.e.wait[w.key], w)
	if len(w.e.wait[w.key]) == 0 {
		delete(w.e.wait, w.key)
	}
}

// Notify brings a wake-up to those who watch its key.
func (e *Edge) Notify(key string, body []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for w := range e.wait[key] {
		select {
		case <-w.c:
		default:
		}
		w.c <- body
	}
}

// Do publishes a message to its actor under a message id, waits until the
// actor has committed it and decodes the outcome into value, which may be nil.
// A refusal is an *api.Error. Told again with the same id it runs nothing twice
// and answers the same; with another body it answers CodeIDReused. CodeBusy:
// the mailbox is too far behind. ErrPending: ctx ended first. CodeUnavailable:
// NATS is away; whether the message was stored is not known, and the same id
// may be sent again.
func (e *Edge) Do(ctx context.Context, id string, m api.Message, value any) error {
	return e.DoVerb(ctx, m.Route(), id, m, value)
}

// DoVerb is Do for a verb that the runtime gives to every actor.
func (e *Edge) DoVerb(ctx context.Context, to api.Route, id string, m, value any) error {
	if err := checkID(id); err != nil {
		return err
	}
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("bus: %s: %w", to.Verb, err)
	}
	if len(body) > api.MaxMessage {
		return api.Refuse(api.CodeTooLarge, "the message has %d bytes, the limit is %d",
			len(body), api.MaxMessage)
	}
	if e.load.behind(to.Actor) {
		return api.Refuse(api.CodeBusy, "the shop is too far behind; try again later")
	}
	w := e.Watch(id)
	defer w.Stop()
	result, err := e.await(ctx, w, to, body)
	if err != nil {
		return err
	}
	return decodeResult(result, body, value)
}

func decodeResult(r *api.Result, body []byte, value any) error {
	if sum := sha256.Sum256(body); !bytes.Equal(r.Hash, sum[:]) {
		return api.Refuse(api.CodeIDReused, "this id was used before with another body")
	}
	if r.Refusal != nil {
		return r.Refusal
	}
	if value == nil || r.Value == nil {
		return nil
	}
	if err := json.Unmarshal(r.Value, value); err != nil {
		return fmt.Errorf("bus: outcome: %w", err)
	}
	return nil
}

// await publishes and waits for the result: by wake-up, and by asking.
func (e *Edge) await(ctx context.Context, w *Watch, to api.Route, body []byte) (
	*api.Result, error) {
	id, subject, lost := w.key, MailboxSubject(to.Actor, to.Verb), e.reach.lost()
	span := tracing.RootOf(ctx).Sends(to.Actor, to.Verb, id)
	_, failed := Publish(e.js, subject, id, span.Carry(nil), body)
	span.End()
	published := time.Now()
	poll := time.NewTimer(pollEvery)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			if failed != nil {
				return nil, unavailable(failed)
			}
			return nil, fmt.Errorf("%w: %s: %w", ErrPending, id, ctx.Err())
		case <-lost:
			return nil, unavailable(errLost)
		case data := <-w.C:
			var r api.Result
			if err := json.Unmarshal(data, &r); err != nil {
				return nil, fmt.Errorf("bus: wake-up of %s: %w", id, err)
			}
			return &r, nil
		case <-poll.C:
		}
		poll.Reset(pollEvery)
		if r := e.result(ctx, to.Actor, id); r != nil {
			return r, nil
		}
		if failed != nil || time.Since(published) >= publishEvery {
			_, failed = Publish(e.js, subject, Fresh(id), span.Carry(nil), body)
			published = time.Now()
		}
	}
}

// result asks what became of a message; nil when it is not known.
func (e *Edge) result(ctx context.Context, actor, id string) *api.Result {
	var r api.Result
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := e.AskActor(ctx, api.Route{Actor: actor, Verb: api.EndpointResult},
		&api.GetResult{ID: id}, &r); err != nil {
		return nil
	}
	return &r
}

// Ask asks an actor about its committed state. A refusal is an *api.Error;
// CodeUnavailable: the actor does not answer.
func (e *Edge) Ask(ctx context.Context, q api.Query, answer any) error {
	return e.AskActor(ctx, q.Endpoint(), q, answer)
}

// AskActor is Ask for an endpoint that the runtime gives to every actor.
func (e *Edge) AskActor(ctx context.Context, to api.Route, q, answer any) error {
	e.mu.Lock()
	ask := e.local[to.Actor]
	e.mu.Unlock()
	if ask != nil {
		return ask(to.Verb, q, answer)
	}
	body, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("bus: ask %s.%s: %w", to.Actor, to.Verb, err)
	}
	up, done := e.reach.bound(ctx)
	defer done()
	limited, cancel := context.WithTimeout(up, askTimeout)
	defer cancel()
	m, err := e.nc.RequestWithContext(limited, QuerySubject(to.Actor, to.Verb), body)
	if context.Cause(up) == errLost {
		err = errLost
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("bus: ask %s.%s: %w", to.Actor, to.Verb, err)
	}
	if err != nil {
		return unavailable(fmt.Errorf("ask %s.%s: %w", to.Actor, to.Verb, err))
	}
	if m.Header.Get("Nats-Service-Error-Code") != "" {
		var refusal api.Error
		if err := json.Unmarshal(m.Data, &refusal); err != nil || refusal.Code == "" {
			return fmt.Errorf("bus: ask %s.%s: %s", to.Actor, to.Verb,
				m.Header.Get("Nats-Service-Error"))
		}
		return &refusal
	}
	if err := json.Unmarshal(m.Data, answer); err != nil {
		return fmt.Errorf("bus: ask %s.%s: %w", to.Actor, to.Verb, err)
	}
	return nil
}

func unavailable(err error) error {
	return api.Refuse(api.CodeUnavailable, "the shop's actors can't be reached now: %v", err)
}

// idLetters are what message ids are made of.
const idLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_:"

func checkID(id string) error {
	if id == "" || len(id) > maxMessageID {
		return api.Refuse(api.CodeInvalid, "a message id has 1 to %d bytes", maxMessageID)
	}
	if strings.Trim(id, idLetters) != "" {
		return api.Refuse(api.CodeInvalid, "a message id has letters, digits, -, _ and :")
	}
	return nil
}
