// Package actorstest runs one actor on a real SQLite file with a clock of its
// own and no NATS: given messages, when a message comes, then these messages
// leave and these answers are given.
package actorstest

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ordo/actors"
	"ordo/api"
	"ordo/bus"
)

// Actor is an actor under test.
type Actor struct {
	T      testing.TB
	Engine *actors.Engine
	// Now is the stream time of the next message; every message moves it on
	// by a millisecond.
	Now time.Time
	// Out is what the last message left.
	Out *actors.Output

	// Path of the database file.
	Path string

	spec    *actors.Spec
	seq     uint64
	numbers map[string]int64
}

// Start is the stream time of the first message.
var Start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// New opens the actor on a file in the test's directory.
func New(t testing.TB, spec *actors.Spec) *Actor {
	t.Helper()
	a := &Actor{T: t, Now: Start, spec: spec, numbers: map[string]int64{},
		Path: filepath.Join(t.TempDir(), spec.Name+".db")}
	a.open()
	t.Cleanup(func() { a.Engine.Close() })
	return a
}

func (a *Actor) open() {
	a.T.Helper()
	e, err := actors.OpenEngine(a.T.Context(), a.spec, a.Path)
	if err != nil {
		a.T.Fatalf("open %s: %v", a.spec.Name, err)
	}
	a.Engine = e
}

// Restart closes the file and opens it again.
func (a *Actor) Restart() {
	a.T.Helper()
	if err := a.Engine.Close(); err != nil {
		a.T.Fatalf("close: %v", err)
	}
	a.open()
}

// Advance moves the stream's time on.
func (a *Actor) Advance(d time.Duration) { a.Now = a.Now.Add(d) }

// Edge has a message come from an edge under an id and returns what became of
// it.
func (a *Actor) Edge(id string, m api.Message) api.Result {
	a.T.Helper()
	a.deliver(id, m.Route().Verb, m)
	return a.result(id)
}

// MustEdge is Edge for a message that must not be refused.
func (a *Actor) MustEdge(id string, m api.Message) api.Result {
	a.T.Helper()
	r := a.Edge(id, m)
	if r.Refusal != nil {
		a.T.Fatalf("%s was refused: %v", id, r.Refusal)
	}
	return r
}

// From has a message come on the numbered channel of another actor.
func (a *Actor) From(sender string, m api.Message) {
	a.T.Helper()
	a.numbers[sender]++
	a.deliver(a.ChannelID(sender, a.numbers[sender]), m.Route().Verb, m)
}

// ChannelID is the identity of a message from another actor.
func (a *Actor) ChannelID(sender string, number int64) string {
	return fmt.Sprintf("%s.test.%s.%d", bus.Address(sender), bus.Address(a.spec.Name), number)
}

// Event has events come on the channel of another actor, in one batch.
func (a *Actor) Event(sender string, events ...api.Event) {
	a.T.Helper()
	in := make([]actors.Delivery, len(events))
	for i := range events {
		e := &events[i]
		a.numbers[sender]++
		in[i] = actors.Delivery{Subject: bus.EventSubject(e.Type, e.Order),
			ID: a.ChannelID(sender, a.numbers[sender]), Body: api.Raw(e)}
	}
	a.Apply(in...)
}

// Tick has the actor sweep its deadlines.
func (a *Actor) Tick() {
	a.T.Helper()
	a.deliver(fmt.Sprintf("tick-%d", a.seq), api.VerbTick, struct{}{})
}

func (a *Actor) deliver(id, verb string, m any) {
	a.T.Helper()
	a.Apply(actors.Delivery{Subject: bus.MailboxSubject(a.spec.Name, verb), ID: id,
		Body: api.Raw(m)})
}

// Apply hands deliveries to the actor as one batch, with the next sequence
// numbers and times.
func (a *Actor) Apply(in ...actors.Delivery) {
	a.T.Helper()
	for i := range in {
		a.seq++
		a.Now = a.Now.Add(time.Millisecond)
		in[i].Seq, in[i].At = a.seq, api.TimeOf(a.Now)
	}
	out, err := a.Engine.Apply(api.TimeOf(Start), in)
	if err != nil {
		a.T.Fatalf("apply: %v", err)
	}
	for i := range out.Dead {
		a.T.Logf("dead letter: %s: %s", out.Dead[i].Subject, out.Dead[i].Error)
	}
	a.Out = out
}

func (a *Actor) result(id string) (r api.Result) {
	a.T.Helper()
	a.ask(api.EndpointResult, &api.GetResult{ID: id}, &r)
	return r
}

// Ask asks the actor into answer, which must be a pointer, and returns the
// refusal, if any.
func (a *Actor) Ask(q api.Query, answer any) *api.Error {
	a.T.Helper()
	return a.ask(q.Endpoint().Verb, q, answer)
}

func (a *Actor) ask(name string, q, answer any) *api.Error {
	a.T.Helper()
	got, err := a.Engine.Ask(name, api.Raw(q))
	if refusal := api.AsError(err); refusal != nil {
		return refusal
	}
	if err != nil {
		a.T.Fatalf("ask %s: %v", name, err)
	}
	if err := json.Unmarshal(api.Raw(got), answer); err != nil {
		a.T.Fatalf("ask %s: %v", name, err)
	}
	return nil
}

// Sent are the messages of type M that the last message had the actor send, in
// order.
func Sent[M any, P interface {
	*M
	api.Message
}](a *Actor) []M {
	a.T.Helper()
	var all []M
	r := P(new(M)).Route()
	for _, s := range a.Out.Sent {
		if s.Subject == bus.MailboxSubject(r.Actor, r.Verb) {
			all = append(all, decode[M](a, s.Body))
		}
	}
	return all
}

// Only is the one message of type M that the last message had the actor send.
func Only[M any, P interface {
	*M
	api.Message
}](a *Actor) M {
	a.T.Helper()
	all := Sent[M, P](a)
	if len(all) != 1 {
		a.T.Fatalf("sent %d messages of type %T, want 1; all: %s", len(all), *new(M), a.Subjects())
	}
	return all[0]
}

// Events are the events that the last message had the actor emit.
func Events(a *Actor) []api.Event {
	a.T.Helper()
	var all []api.Event
	for _, s := range a.Out.Sent {
		if strings.HasPrefix(s.Subject, bus.EventPrefix) {
			all = append(all, decode[api.Event](a, s.Body))
		}
	}
	return all
}

// Subjects lists where the messages of the last message went.
func (a *Actor) Subjects() []string {
	var all []string
	for _, s := range a.Out.Sent {
		all = append(all, s.Subject)
	}
	return all
}

func decode[M any](a *Actor, body []byte) M {
	a.T.Helper()
	var m M
	if err := json.Unmarshal(body, &m); err != nil {
		a.T.Fatalf("decode %T: %v", m, err)
	}
	return m
}
