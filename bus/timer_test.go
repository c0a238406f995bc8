package bus_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
)

// timers forwards the timers of an actor until the test ends.
func (n *net) timers(actor string) *bus.Timers {
	timers := bus.NewTimers(n.js, actor, bus.TimerWatch{}, quiet())
	n.t.Cleanup(timers.Close)
	return timers
}

func (n *net) timer(class, id string, due time.Time) {
	n.t.Helper()
	if err := bus.PublishTimer(n.js, "order", bus.Timer{Class: class, Due: api.TimeOf(due), ID: id,
		Verb: "expire", Body: []byte(`{"order":"` + id + `"}`)}); err != nil {
		n.t.Fatal(err)
	}
}

// stored waits until a stream has held count messages, in all.
func (n *net) stored(stream string, count uint64) {
	n.t.Helper()
	eventually(n.t, fmt.Sprintf("%d messages in %s", count, stream), func() bool {
		return n.state(stream).LastSeq >= count
	})
}

// wantDone waits until a consumer has dealt with count messages for good.
func (n *net) wantDone(stream, consumer string, count uint64) {
	n.t.Helper()
	eventually(n.t, consumer+" has nothing left", func() bool {
		c := n.consumer(stream, consumer)
		return c != nil && c.NumAckPending == 0 && c.NumPending == 0 && c.AckFloor.Stream >= count
	})
}

// A timer comes to its mailbox when it is due and not before, under its own id
// and with its body. ACCEPT E1
func TestTimersForwardWhenDue(t *testing.T) {
	n := newNet(t)
	begin := time.Now()
	due := map[string]time.Time{"past": begin.Add(-time.Hour), "now": begin,
		"soon": begin.Add(700 * time.Millisecond), "later": begin.Add(1300 * time.Millisecond)}
	timers := n.timers("order")
	timers.Ensure("expiry-1s")
	timers.Ensure("expiry-1s")
	for id, at := range due {
		n.timer("expiry-1s", id, at)
	}
	n.stored("ORDER", 4)
	var ids []string
	for seq := uint64(1); seq <= 4; seq++ {
		m := n.message("ORDER", seq)
		id := bus.Identity(m.Header)
		ids = append(ids, id)
		if m.Time.Before(due[id]) {
			t.Errorf("%s came at %s, due at %s", id, m.Time, due[id])
		}
		if m.Subject != bus.MailboxSubject("order", "expire") ||
			string(m.Data) != `{"order":"`+id+`"}` || m.Header.Get(bus.HeaderDue) != "" {
			t.Errorf("%s came as %s %s %v", id, m.Subject, m.Data, m.Header)
		}
	}
	if slices.Sort(ids[:2]); !slices.Equal(ids, []string{"now", "past", "soon", "later"}) {
		t.Errorf("they came as %v", ids)
	}
	n.wantDone(bus.StreamTimers, "timer-order-expiry-1s", 4)
}

// However many wait, only a window of them is under way; another class does
// not wait behind them.
func TestTimersWaitInAWindow(t *testing.T) {
	const window, more = 1024, 100
	n := newNet(t)
	far := time.Now().Add(time.Hour)
	for i := range window + more {
		n.timer("expiry-3600s", fmt.Sprintf("far-%d", i), far)
	}
	n.stored(bus.StreamTimers, window+more)
	timers := n.timers("order")
	if err := timers.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a full window", func() bool {
		c := n.consumer(bus.StreamTimers, "timer-order-expiry-3600s")
		if c != nil && c.NumAckPending > window {
			t.Fatalf("%d under way, the window is %d", c.NumAckPending, window)
		}
		return c != nil && c.NumAckPending == window && c.NumPending == more
	})
	n.timer("submit-1s", "near", time.Now())
	timers.Ensure("submit-1s")
	n.stored("ORDER", 1)
	if id := bus.Identity(n.message("ORDER", 1).Header); id != "near" {
		t.Errorf("%s came, want near", id)
	}
	if c := n.consumer(bus.StreamTimers, "timer-order-expiry-3600s"); c.Config.Description == "" {
		t.Error("the consumer has no description")
	}
}

// Many processes forward the same timers: each comes once. ACCEPT E3
func TestTimersOfManyProcesses(t *testing.T) {
	const total = 300
	n := newNet(t)
	for range 3 {
		n.timers("order").Ensure("expiry-1s")
	}
	due := time.Now().Add(500 * time.Millisecond)
	for i := range total {
		n.timer("expiry-1s", fmt.Sprintf("t-%d", i), due)
	}
	n.wantDone(bus.StreamTimers, "timer-order-expiry-1s", total)
	if got := n.state("ORDER").LastSeq; got != total {
		t.Errorf("%d came, want %d", got, total)
	}
}

// A closed one forwards nothing; the next process goes on where it stopped.
func TestTimersAfterARestart(t *testing.T) {
	n := newNet(t)
	first := n.timers("order")
	first.Ensure("expiry-1s")
	n.timer("expiry-1s", "a", time.Now())
	n.wantDone(bus.StreamTimers, "timer-order-expiry-1s", 1)
	first.Close()
	first.Ensure("expiry-2s")
	n.timer("expiry-1s", "b", time.Now())
	n.timer("expiry-2s", "c", time.Now())
	n.stored(bus.StreamTimers, 3)
	if got := n.state("ORDER").LastSeq; got != 1 {
		t.Errorf("%d messages after the end, want 1", got)
	}
	if err := n.timers("order").Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.stored("ORDER", 3)
}

// The consumer of a class that nobody asks any more ends by itself, when none of its
// messages is left; one that is gone while it is asked comes back.
func TestTimersConsumerEnds(t *testing.T) {
	n := newNet(t)
	const name = "timer-order-expiry-1s"
	// A release before this one made it to stay.
	if _, err := n.js.CreateConsumer(t.Context(), bus.StreamTimers, jetstream.ConsumerConfig{
		Durable: name, FilterSubject: bus.TimerSubject("order", "expiry-1s"),
		AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	n.timers("order").Ensure("expiry-1s")
	kept := n.stream(bus.StreamTimers).CachedInfo().Config.MaxAge
	ends := func() bool {
		c := n.consumer(bus.StreamTimers, name)
		return c != nil && c.Config.InactiveThreshold > kept
	}
	eventually(t, "a consumer that ends", ends)
	if err := n.js.DeleteConsumer(t.Context(), bus.StreamTimers, name); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the consumer again", ends)
	n.timer("expiry-1s", "a", time.Now())
	n.stored("ORDER", 1)
}

// What is no timer, or one to another actor, is thrown away and stops nothing.
func TestTimersThatAreNone(t *testing.T) {
	n := newNet(t)
	due := time.Now().UTC().Format(time.RFC3339Nano)
	for i, h := range []nats.Header{
		nil,
		{bus.HeaderDue: {"tomorrow"}, bus.HeaderTo: {bus.MailboxSubject("order", "expire")}},
		{bus.HeaderDue: {due}},
		{bus.HeaderDue: {due}, bus.HeaderTo: {bus.MailboxSubject("wallet", "credit")}},
		{bus.HeaderDue: {due}, bus.HeaderTo: {bus.MailboxSubject("order", "")}},
		{bus.HeaderDue: {due}, bus.HeaderTo: {bus.MailboxSubject("order", "a.b")}},
		{bus.HeaderDue: {due}, bus.HeaderTo: {bus.MailboxSubject("order", "a b")}},
		{bus.HeaderDue: {due}, bus.HeaderTo: {bus.DeadSubject("order")}},
	} {
		n.put(bus.TimerSubject("order", "expiry-1s"), fmt.Sprintf("bad-%d", i), h, []byte(`{}`))
	}
	n.timer("expiry-1s", "good", time.Now())
	n.timers("order").Ensure("expiry-1s")
	n.wantDone(bus.StreamTimers, "timer-order-expiry-1s", 9)
	if s := n.state("ORDER"); s.Msgs != 1 || bus.Identity(n.message("ORDER", 1).Header) != "good" {
		t.Errorf("%d messages, want the good one alone", s.Msgs)
	}
	for _, stream := range []string{"WALLET", bus.StreamDead} {
		if got := n.state(stream).Msgs; got != 0 {
			t.Errorf("%d messages in %s", got, stream)
		}
	}
}
