package actors_test

import (
	"context"
	"fmt"
	"log/slog"
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

// bulk has the sender send one note with a long text, to goods or to coupon.
type bulk struct {
	To   string
	N    int
	Size int
}

func (*bulk) Route() api.Route { return api.Route{Actor: "order", Verb: "bulk"} }

// fat is what bulk sends to goods.
type fat struct {
	note
	Text string
}

// thin is what bulk sends to coupon.
type thin struct{ N int }

func (*thin) Route() api.Route { return api.Route{Actor: "coupon", Verb: "thin"} }

func bulkSpec() *actors.Spec {
	spec := senderSpec("order")
	spec.Commands = append(spec.Commands, actors.On(func(tx *actors.Tx, m *bulk) error {
		if m.To == "coupon" {
			return tx.Send(&thin{m.N})
		}
		return tx.Send(&fat{note{Sender: "order", N: m.N}, strings.Repeat("x", m.Size)})
	}))
	return spec
}

// counter counts log lines.
type counter struct {
	slog.Handler
	lines atomic.Int64
}

func (c *counter) Handle(context.Context, slog.Record) error {
	c.lines.Add(1)
	return nil
}

func (c *counter) Enabled(context.Context, slog.Level) bool { return true }
func (c *counter) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c *counter) WithGroup(string) slog.Handler            { return c }

func (w *world) stream(name string) jetstream.Stream {
	w.t.Helper()
	s, err := w.js.Stream(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// A receiver that hangs does not hold up the messages to others. ACCEPT S7
func TestHungReceiver(t *testing.T) {
	const n = 400
	w := newWorld(t)
	if _, err := w.connect("hung").Subscribe(bus.CommittedSubject("coupon.0"),
		func(*nats.Msg) {}); err != nil { // it takes questions and never answers
		t.Fatal(err)
	}
	w.start(bulkSpec())
	w.start(receiverSpec())
	w.mustDo("order", "c-first", &bulk{To: "coupon"})
	w.mustDo("order", "g-first", &bulk{N: 0})
	eventually(t, "the first note", func() bool { return len(w.notes()) == 1 })
	for i := 1; i < n; i++ {
		id := fmt.Sprintf("c-%d", i)
		if _, err := bus.Publish(w.js, "ordo.order.0.bulk", id, nil,
			api.Raw(&bulk{To: "coupon", N: i})); err != nil {
			t.Fatal(err)
		}
		w.mustDo("order", fmt.Sprintf("g-%d", i), &bulk{N: i})
	}
	// One wait for the hung receiver a message would take minutes.
	eventually(t, "all notes", func() bool { return len(w.notes()) == n })
}

// A backlog of many windows is sent again, once and in order. ACCEPT M4 M9
func TestBacklogDrains(t *testing.T) {
	const n = 4 * actors.ResendWindow
	w := newWorld(t)
	w.start(senderSpec("order"))
	receiver := w.start(receiverSpec())
	w.mustDo("order", "first", &goSend{0, 1})
	eventually(t, "the first note", func() bool { return len(w.notes()) == 1 })
	if err := receiver.Close(); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < n; i += 1000 {
		w.mustDo("order", fmt.Sprintf("s-%d", i), &goSend{i, min(1000, n-i)})
	}
	eventually(t, "all published", func() bool {
		info, err := w.stream("GOODS").Info(t.Context())
		return err == nil && info.State.LastSeq >= n
	})
	if err := w.stream("GOODS").Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.start(receiverSpec())
	eventually(t, "all notes", func() bool { return len(w.notes()) >= n })
	wantNotes(t, w.notes(), []string{"order"}, n)
}

// A late request for what was committed long ago and has left the outbox does
// not stop the channel. ACCEPT M1 M4
func TestLateRequest(t *testing.T) {
	t.Parallel()
	const n = 60 // of 400 KB: more than a channel keeps
	w := newWorld(t)
	w.start(bulkSpec())
	w.start(receiverSpec())
	for i := range n {
		w.mustDo("order", fmt.Sprintf("b-%d", i), &bulk{N: i, Size: 400_000})
		eventually(t, "the note", func() bool { return len(w.notes()) > i })
		if i%20 == 19 { // time to be confirmed, and pruned by the next ones
			eventually(t, "confirmed", func() bool { return w.unconfirmed("order") == 0 })
		}
	}
	nc := w.connect("late")
	for last := range 5 {
		body := fmt.Sprintf(`{"receiver":"goods.0","epoch":"x","last":%d}`, last)
		if err := nc.Publish(bus.ResendSubject("order.0"), []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"", "[]", `{"receiver":"goods.0","last":-1}`,
		`{"receiver":"goods.0","last":99999}`, `{"receiver":"nobody.0"}`} {
		if err := nc.Publish(bus.ResendSubject("order.0"), []byte(bad)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := n; i < n+20; i++ {
		w.mustDo("order", fmt.Sprintf("b-%d", i), &bulk{N: i})
	}
	eventually(t, "notes after the request", func() bool { return len(w.notes()) == n+20 })
	wantNotes(t, w.notes(), []string{"order"}, n+20)
}

// unconfirmed is how many of an actor's messages are not known to be committed.
func (w *world) unconfirmed(actor string) int64 {
	for _, h := range w.hosts {
		if s := h.Status(); s.Actor == actor {
			return s.Unconfirmed
		}
	}
	return -1
}

// A message that the stream never takes leaves its number to a void one; those
// after it arrive in order. ACCEPT M4
func TestMessageThatIsNeverTaken(t *testing.T) {
	w := newWorld(t)
	config := w.stream("GOODS").CachedInfo().Config
	config.MaxMsgSize = 10_000
	if _, err := w.js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	w.start(bulkSpec())
	w.start(receiverSpec())
	for i := range 3 {
		w.mustDo("order", fmt.Sprintf("small-%d", i), &bulk{N: i})
		w.mustDo("order", fmt.Sprintf("large-%d", i), &bulk{N: 99, Size: 20_000})
	}
	for i := 3; i < 50; i++ {
		w.mustDo("order", fmt.Sprintf("small-%d", i), &bulk{N: i})
	}
	eventually(t, "50 notes", func() bool { return len(w.notes()) == 50 })
	wantNotes(t, w.notes(), []string{"order"}, 50)
	eventually(t, "all confirmed", func() bool { return w.unconfirmed("order") == 0 })
}

// While a stream is away its senders rest between tries, and say so in a few
// lines.
func TestStreamAway(t *testing.T) {
	const n = 3000
	w := newWorld(t)
	lines := &counter{}
	cfg := w.config("actors")
	cfg.Log = slog.New(lines)
	w.host(senderSpec("order"), cfg)
	receiver := w.start(receiverSpec())
	w.mustDo("order", "first", &goSend{0, 1})
	eventually(t, "the first note", func() bool { return len(w.notes()) == 1 })
	if err := receiver.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.js.DeleteStream(t.Context(), "GOODS"); err != nil {
		t.Fatal(err)
	}
	w.mustDo("order", "rest", &goSend{1, n - 1})
	end := time.After(3 * time.Second)
	for waiting := true; waiting; {
		select {
		case <-end:
			waiting = false
		case <-time.After(100 * time.Millisecond):
			w.mustDo("order", fmt.Sprintf("tick-%d", time.Now().UnixNano()), &goSend{n, 0})
		}
	}
	if got := lines.lines.Load(); got > 100 {
		t.Errorf("%d log lines in 3 s", got)
	}
	if err := bus.Setup(t.Context(), w.js, 0); err != nil {
		t.Fatal(err)
	}
	w.start(receiverSpec())
	eventually(t, "all notes", func() bool { return len(w.notes()) >= n })
	wantNotes(t, w.notes(), []string{"order"}, n)
}

// A sender whose receiver has committed more than it ever sent stops, and says
// so. ACCEPT M4
func TestSenderOlderThanItsReceiver(t *testing.T) {
	w := newWorld(t)
	if _, err := w.connect("goods").Subscribe(bus.CommittedSubject("goods.0"), func(m *nats.Msg) {
		_ = m.Respond([]byte(`{"number":100}`)) // asked again if it gets lost
	}); err != nil {
		t.Fatal(err)
	}
	h := w.start(senderSpec("order"))
	w.mustDo("order", "one", &goSend{0, 5})
	eventually(t, "the channel stops", func() bool { return h.Status().Stopped["goods.0"] != "" })
	w.mustDo("order", "two", &goSend{5, 5})
	if info, err := w.stream("GOODS").Info(t.Context()); err != nil || info.State.LastSeq != 0 {
		t.Errorf("messages were sent: %+v, %v", info, err)
	}
}
