package actors_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/actors"
	"ordo/api"
	"ordo/bus"
)

// goSend has a test actor send Count messages to goods, numbered from From.
type goSend struct {
	From, Count int
}

func (*goSend) Route() api.Route { return api.Route{Actor: "order", Verb: "go-send"} }

// note is what they send: it is kept in the order in which it was handled.
type note struct {
	Sender string
	N      int
	Panic  bool
}

func (*note) Route() api.Route { return api.Route{Actor: "goods", Verb: "note"} }

type listNotes struct{}

func (*listNotes) Endpoint() api.Route { return api.Route{Actor: "goods", Verb: "notes"} }

// remind has the actor send itself a note on a timer.
type remind struct {
	N     int
	After time.Duration
}

func (*remind) Route() api.Route { return api.Route{Actor: "goods", Verb: "remind"} }

func senderSpec(name string) *actors.Spec {
	return &actors.Spec{Name: name, Version: "1.0.0", Description: "Sends notes.",
		Schema: `CREATE TABLE sent (n INTEGER PRIMARY KEY) STRICT;`,
		Commands: []actors.Command{actors.On(func(tx *actors.Tx, m *goSend) error {
			for i := range m.Count {
				if _, err := tx.Exec(`INSERT INTO sent (n) VALUES (?)`, m.From+i); err != nil {
					return err
				}
				if err := tx.Send(&note{Sender: name, N: m.From + i}); err != nil {
					return err
				}
			}
			return tx.Reply(m.Count)
		})}}
}

func receiverSpec() *actors.Spec {
	return &actors.Spec{Name: "goods", Version: "1.0.0", Description: "Keeps notes.",
		Schema: `CREATE TABLE note (at INTEGER PRIMARY KEY, sender TEXT NOT NULL, n INTEGER NOT NULL)
			STRICT;`,
		Commands: []actors.Command{
			actors.On(func(tx *actors.Tx, m *note) error {
				if _, err := tx.Exec(`INSERT INTO note (sender, n) VALUES (?, ?)`,
					m.Sender, m.N); err != nil {
					return err
				}
				if m.Panic {
					panic("as asked")
				}
				return nil
			}).From(probeSenders...),
			actors.On(func(tx *actors.Tx, m *remind) error {
				return tx.SendAfter("test", m.After, fmt.Sprintf("remind-%d", m.N),
					&note{Sender: "timer", N: m.N})
			}),
		},
		Queries: []actors.Endpoint{actors.Answer("All notes.",
			func(v *actors.View, _ *listNotes) ([]note, error) {
				all := []note{}
				err := v.Each(func(r actors.Row) error {
					var n note
					all = append(all, n)
					return r.Scan(&all[len(all)-1].Sender, &all[len(all)-1].N)
				}, `SELECT sender, n FROM note ORDER BY at`)
				return all, err
			})}}
}

// world is a NATS server that can be stopped, and actors on it.
type world struct {
	t      *testing.T
	dir    string
	listen string
	server *bus.Server
	edge   *bus.Edge
	js     jetstream.JetStream
	hosts  []*actors.Host
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir(), listen: "127.0.0.1:0"}
	w.startServer()
	w.listen = strings.TrimPrefix(w.server.URL(), "nats://")
	t.Cleanup(func() { w.server.Shutdown() })
	nc := w.connect("edge")
	var err error
	if w.js, err = bus.NewJetStream(nc, func(*nats.Msg, error) {}); err != nil {
		t.Fatal(err)
	}
	if err := bus.Setup(t.Context(), w.js, 0); err != nil {
		t.Fatal(err)
	}
	w.edge = bus.NewEdge(nc, w.js)
	if err := w.edge.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.edge.Close() })
	return w
}

func (w *world) startServer() {
	w.t.Helper()
	s, err := bus.StartServer(bus.ServerConfig{Dir: filepath.Join(w.dir, "nats"), Listen: w.listen,
		Log: quiet()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.server = s
}

func quiet() *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.DiscardHandler)
}

func (w *world) connect(name string) *nats.Conn {
	w.t.Helper()
	nc, err := bus.Connect(nil, "nats://"+w.listen, name, quiet())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(nc.Close)
	return nc
}

func (w *world) config(dir string) actors.HostConfig {
	return actors.HostConfig{Dir: filepath.Join(w.dir, dir), Log: quiet(),
		TickEvery: time.Second,
		Connect: func(name string) (*nats.Conn, error) {
			return bus.Connect(nil, "nats://"+w.listen, name, quiet())
		}}
}

func (w *world) start(spec *actors.Spec) *actors.Host {
	w.t.Helper()
	return w.host(spec, w.config("actors"))
}

func (w *world) host(spec *actors.Spec, cfg actors.HostConfig) *actors.Host {
	w.t.Helper()
	h, err := actors.Start(w.t.Context(), spec, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.hosts = append(w.hosts, h)
	w.t.Cleanup(func() { _ = h.Close() })
	return h
}

// do sends an edge message and waits until it is committed.
func (w *world) do(to, id string, m api.Message) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	return w.edge.DoVerb(ctx, api.Route{Actor: to, Verb: m.Route().Verb}, id, m, nil)
}

func (w *world) mustDo(to, id string, m api.Message) {
	w.t.Helper()
	if err := w.do(to, id, m); err != nil {
		w.t.Fatalf("%s: %v", id, err)
	}
}

// eventually polls until ok answers true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		<-tick.C
	}
}

func (w *world) notes() []note {
	var all []note
	if err := w.edge.Ask(w.t.Context(), &listNotes{}, &all); err != nil {
		w.t.Logf("notes: %v", err)
	}
	return all
}

// wantNotes checks that each sender's notes 0 to n-1 were handled once and in
// order.
func wantNotes(t *testing.T, all []note, senders []string, n int) {
	t.Helper()
	next := map[string]int{}
	for _, got := range all {
		if got.N != next[got.Sender] {
			t.Fatalf("%s: note %d where %d was next", got.Sender, got.N, next[got.Sender])
		}
		next[got.Sender]++
	}
	for _, s := range senders {
		if next[s] != n {
			t.Errorf("%s: %d notes, want %d", s, next[s], n)
		}
	}
}

// Two senders into one mailbox, with losses in the middle and at the end:
// nothing is missing, nothing twice, the order is kept. ACCEPT M1 M2 M3 M4
func TestLossesInTheMiddle(t *testing.T) {
	const n, lost = 3000, 300
	w := newWorld(t)
	w.start(senderSpec("order"))
	w.start(senderSpec("coupon"))
	receiver, err := actors.Start(t.Context(), receiverSpec(), w.config("actors"))
	if err != nil {
		t.Fatal(err)
	}
	w.mustDo("order", "first-order", &goSend{0, 10})
	w.mustDo("coupon", "first-coupon", &goSend{0, 10})
	eventually(t, "20 notes", func() bool { return len(w.notes()) == 20 })
	if err := receiver.Close(); err != nil {
		t.Fatal(err)
	}
	for i := 10; i < n; i += 10 {
		w.mustDo("order", fmt.Sprintf("order-%d", i), &goSend{i, 10})
		w.mustDo("coupon", fmt.Sprintf("coupon-%d", i), &goSend{i, 10})
	}
	stream, err := w.js.Stream(t.Context(), "GOODS")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all published", func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Msgs >= 2*n
	})
	last := stream.CachedInfo().State.LastSeq
	rng := rand.New(rand.NewPCG(1, 2))
	for range lost {
		_ = stream.DeleteMsg(t.Context(), 1+rng.Uint64N(last)) // some are hit twice
	}
	for seq := last - 50; seq <= last; seq++ {
		_ = stream.DeleteMsg(t.Context(), seq)
	}
	w.start(receiverSpec())
	eventually(t, "all notes", func() bool { return len(w.notes()) >= 2*n })
	wantNotes(t, w.notes(), []string{"order", "coupon"}, n)
}

// NATS is stopped and its whole directory deleted while the actors go on.
// ACCEPT M4 M9
func TestStreamsDeletedUnderneath(t *testing.T) {
	w := newWorld(t)
	w.start(senderSpec("order"))
	w.start(receiverSpec())
	total := 0
	for round := range 3 {
		for i := range 20 {
			w.mustDo("order", fmt.Sprintf("r%d-%d", round, i), &goSend{total, 10})
			total += 10
		}
		w.server.Shutdown()
		if err := os.RemoveAll(filepath.Join(w.dir, "nats")); err != nil {
			t.Fatal(err)
		}
		w.startServer()
	}
	eventually(t, "an edge message after the loss", func() bool {
		return w.do("order", "last", &goSend{total, 10}) == nil
	})
	total += 10
	eventually(t, "all notes", func() bool { return len(w.notes()) >= total })
	wantNotes(t, w.notes(), []string{"order"}, total)
}

// An edge message told again and again runs once and answers the same; with
// another body it is refused. ACCEPT S2 M2
func TestEdgeMessageOnce(t *testing.T) {
	w := newWorld(t)
	w.start(senderSpec("order"))
	w.start(receiverSpec())
	for range 5 {
		w.mustDo("order", "same", &goSend{0, 3})
	}
	err := w.do("order", "same", &goSend{0, 4})
	if e := api.AsError(err); e == nil || e.Code != api.CodeIDReused {
		t.Errorf("another body: got %v, want %s", err, api.CodeIDReused)
	}
	w.mustDo("order", "other", &goSend{3, 1})
	eventually(t, "4 notes", func() bool { return len(w.notes()) >= 4 })
	wantNotes(t, w.notes(), []string{"order"}, 4)
}

// A message that panics becomes a dead letter, what it wrote is gone, and the
// actor goes on with the messages around it. ACCEPT M5
func TestDeadLetter(t *testing.T) {
	w := newWorld(t)
	w.start(receiverSpec())
	w.mustDo("goods", "a", &note{Sender: "x", N: 0})
	err := w.do("goods", "b", &note{Sender: "bad", N: 1, Panic: true})
	if e := api.AsError(err); e == nil || e.Code != api.CodeInternal {
		t.Fatalf("got %v, want %s", err, api.CodeInternal)
	}
	w.mustDo("goods", "c", &note{Sender: "x", N: 1})
	wantNotes(t, w.notes(), []string{"x"}, 2)
	var dead api.LetterList
	if err := w.edge.AskActor(t.Context(), api.Route{Actor: "goods", Verb: api.EndpointDead},
		&api.ListLetters{}, &dead); err != nil {
		t.Fatal(err)
	}
	if len(dead.Letters) != 1 || dead.Letters[0].ID != "b" ||
		!strings.Contains(dead.Letters[0].Error, "as asked") {
		t.Fatalf("dead letters: %+v", dead.Letters)
	}
	ref := &api.LetterRef{N: dead.Letters[0].N}
	to := api.Route{Actor: "goods", Verb: api.VerbRetryDead}
	var state string
	if err := w.edge.DoVerb(t.Context(), to, "retry-1", ref, &state); err != nil || state != "open" {
		t.Fatalf("the retry came to %q, %v", state, err)
	}
	if err := w.edge.AskActor(t.Context(), api.Route{Actor: "goods", Verb: api.EndpointDead},
		&api.ListLetters{State: "open"}, &dead); err != nil || len(dead.Letters) != 1 ||
		dead.Letters[0].ID != "b" || dead.Letters[0].Attempts != 10 {
		t.Errorf("dead letters: %+v, %v", dead.Letters, err)
	}
}

// Another file does not become an actor's owner unless told to. ACCEPT M6
func TestSecondOwnerRefused(t *testing.T) {
	w := newWorld(t)
	w.start(senderSpec("order"))
	h := w.start(receiverSpec())
	w.mustDo("order", "one", &goSend{0, 5})
	eventually(t, "5 notes", func() bool { return len(w.notes()) == 5 })
	if _, err := actors.Start(t.Context(), receiverSpec(), w.config("actors")); err == nil {
		t.Error("the same file was opened twice")
	}
	if _, err := actors.Start(t.Context(), receiverSpec(), w.config("elsewhere")); err == nil ||
		!strings.Contains(err.Error(), "another database file") {
		t.Errorf("another file became the owner: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := actors.Start(t.Context(), receiverSpec(), w.config("elsewhere")); err == nil {
		t.Error("an empty file became the owner after the first one stopped")
	}
	again := w.start(receiverSpec())
	eventually(t, "ready again", func() bool { return again.Status().Ready })
	w.mustDo("order", "two", &goSend{5, 5})
	eventually(t, "10 notes", func() bool { return len(w.notes()) == 10 })
}

// Timers come back when they are due, though more wait than the window of
// delayed redeliveries holds. ACCEPT E1 E3
func TestTimersBeyondTheWindow(t *testing.T) {
	const n = 2000
	w := newWorld(t)
	w.start(receiverSpec())
	for i := range n {
		body := api.Raw(&remind{N: i, After: 2 * time.Second})
		if _, err := bus.Publish(w.js, bus.MailboxSubject("goods", "remind"),
			fmt.Sprintf("r-%d", i), nil, body); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all timers", func() bool { return len(w.notes()) >= n })
	seen := map[int]bool{}
	for _, got := range w.notes() {
		if seen[got.N] {
			t.Fatalf("timer %d came twice", got.N)
		}
		seen[got.N] = true
	}
	if len(seen) != n {
		t.Errorf("%d timers came, want %d", len(seen), n)
	}
}

// An actor sweeps at every start, however soon it follows the one before.
// ACCEPT E3
func TestSweepAtTheStart(t *testing.T) {
	w := newWorld(t)
	var sweeps atomic.Int64
	spec := receiverSpec()
	spec.Tick = func(*actors.Tx) (bool, error) {
		sweeps.Add(1)
		return false, nil
	}
	cfg := w.config("actors")
	cfg.TickEvery = time.Hour
	for n := range int64(3) {
		h := w.host(spec, cfg)
		eventually(t, "a sweep", func() bool { return sweeps.Load() > n })
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// An effect whose announcement got lost, with its process or with the stream, is
// announced again at the next start. ACCEPT M4 M9
func TestLostEffect(t *testing.T) {
	w := newWorld(t)
	spec := receiverSpec()
	spec.Commands = append(spec.Commands, actors.On(func(tx *actors.Tx, m *act) error {
		return tx.Begin("probe", m.Begin, m)
	}))
	cfg := w.config("actors")
	cfg.TickEvery = time.Hour
	h := w.host(spec, cfg)
	w.mustDo("goods", "m-1", &act{Begin: "fx"})
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.js.DeleteStream(t.Context(), bus.StreamEffects); err != nil {
		t.Fatal(err)
	}
	if err := bus.Setup(t.Context(), w.js, 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan *api.Effect, 1)
	w.host(spec, cfg)
	bus.Work(ctx, w.js, bus.Worker{Actor: "goods", Name: "probe",
		Do: func(_ context.Context, e *api.Effect) (any, error) {
			defer cancel()
			done <- e
			return nil, nil
		}}, quiet())
	select {
	case e := <-done:
		if e.ID != "fx" || e.Attempt != 1 {
			t.Errorf("got %+v", e)
		}
	default:
		t.Error("the effect was not announced")
	}
}
