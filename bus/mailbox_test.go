package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/bus"
)

const forever = 1000 * time.Hour

// mailbox opens the mailbox of goods on a connection of its own.
func (n *net) mailbox() *bus.Mailbox {
	n.t.Helper()
	nc := n.connect("mailbox")
	js, err := bus.NewJetStream(nc, func(*nats.Msg, error) {})
	if err != nil {
		n.t.Fatal(err)
	}
	m := bus.OpenMailbox(nc, js, "goods")
	n.t.Cleanup(func() { _ = m.Close() })
	return m
}

// place is where an actor stands that has handled the message at seq.
func (n *net) place(seq uint64) bus.Place {
	n.t.Helper()
	m := n.message("GOODS", seq)
	return bus.Place{Created: n.stream("GOODS").CachedInfo().Created.UnixNano(), Seq: seq,
		At: m.Time.UnixNano(), ID: bus.Identity(m.Header)}
}

// filled opens the mailbox of goods, publishes m-1 to m-<count> and takes them,
// so that nothing is under way any more.
func (n *net) filled(count int) *bus.Mailbox {
	n.t.Helper()
	m := n.mailbox()
	seek(n.t, m, bus.Place{}, forever)
	n.fill(1, count)
	receive(n.t, m, count)
	return m
}

func seek(t *testing.T, m *bus.Mailbox, p bus.Place, memory time.Duration) (cut bool) {
	t.Helper()
	cut, err := m.Seek(t.Context(), p, memory)
	if err != nil {
		t.Fatal(err)
	}
	return cut
}

// receive takes the next count messages, without acking them.
func receive(t *testing.T, m *bus.Mailbox, count int) []bus.Message {
	t.Helper()
	var got []bus.Message
	ctx := within(t, 30*time.Second)
	for len(got) < count {
		var err error
		if got, err = m.Receive(ctx, got, count, 0); err != nil {
			t.Fatalf("after %d of %d messages: %v", len(got), count, err)
		}
	}
	return got
}

// wantIDs checks that the messages are m-<from>, m-<from+1>, …
func wantIDs(t *testing.T, got []bus.Message, from int) {
	t.Helper()
	for i, m := range got {
		if id, want := bus.Identity(m.Header), fmt.Sprintf("m-%d", from+i); id != want {
			t.Fatalf("message %d is %s, want %s", i, id, want)
		}
	}
}

// wantNoMore checks that nothing comes while the mailbox is alive.
func wantNoMore(t *testing.T, m *bus.Mailbox) {
	t.Helper()
	if got, err := m.Receive(t.Context(), nil, 10, 0); err != nil || len(got) != 0 {
		t.Errorf("got %d more messages, %v", len(got), err)
	}
}

func TestSeekFromScratch(t *testing.T) {
	n := newNet(t)
	m := n.filled(5)
	if seek(t, m, bus.Place{}, forever) {
		t.Error("an actor that has handled nothing was cut off")
	}
	if want := n.stream("GOODS").CachedInfo().Created.UnixNano(); m.Created() != want {
		t.Errorf("created %d, want %d", m.Created(), want)
	}
	got := receive(t, m, 5)
	wantIDs(t, got, 1)
	for i, d := range got {
		seq := uint64(i + 1)
		if raw := n.message("GOODS", seq); d.Seq != seq || d.At != raw.Time.UnixNano() ||
			d.Subject != raw.Subject || string(d.Data) != string(raw.Data) {
			t.Errorf("message %d: %+v, want %+v", seq, d, raw)
		}
	}
	n.fill(6, 6)
	wantIDs(t, receive(t, m, 1), 6)
}

// follow takes count messages as an actor does: after a break it seeks again,
// from the last one it has.
func (n *net) follow(m *bus.Mailbox, p bus.Place, count int) []bus.Message {
	n.t.Helper()
	var got []bus.Message
	ctx := within(n.t, 30*time.Second)
	for len(got) < count {
		var err error
		got, err = m.Receive(ctx, got, count, 0)
		if errors.Is(err, bus.ErrBreak) {
			if len(got) > 0 {
				p = n.place(got[len(got)-1].Seq)
			}
			seek(n.t, m, p, 0)
		} else if err != nil {
			n.t.Fatalf("after %d of %d messages: %v", len(got), count, err)
		}
	}
	return got
}

// The first start: there are messages and no consumer yet, which delivers as
// soon as it is made, and again after the reset.
func TestSeekMakesTheConsumer(t *testing.T) {
	const total = 500
	n := newNet(t)
	n.fill(1, total)
	m := n.mailbox()
	seek(t, m, bus.Place{}, 0)
	got := n.follow(m, bus.Place{}, total)
	wantIDs(t, got, 1)
	if c := n.consumer("GOODS", "goods-0"); c.Config.Description == "" {
		t.Error("the consumer has no description")
	}
}

// What an actor received and did not commit comes again after a restart, in
// order, and what it committed does not. ACCEPT M4
func TestSeekFromAPlace(t *testing.T) {
	n := newNet(t)
	first := n.filled(6)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	second := n.mailbox()
	if seek(t, second, n.place(3), forever) {
		t.Error("the place matches, and the actor was cut off")
	}
	wantIDs(t, receive(t, second, 3), 4)
	n.fill(7, 7)
	wantIDs(t, receive(t, second, 1), 7)
	seek(t, second, n.place(7), forever)
	wantNoMore(t, second)
}

// An ack that a restart did not get to does no harm, and neither does one that
// went too far: the place in the database counts.
func TestSeekBehindTheAck(t *testing.T) {
	n := newNet(t)
	m := n.filled(6)
	seek(t, m, bus.Place{}, forever)
	got := receive(t, m, 6)
	if err := m.Ack(&got[5]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ack", func() bool {
		return n.consumer("GOODS", "goods-0").AckFloor.Stream == 6
	})
	if seek(t, m, n.place(2), forever) {
		t.Error("the place matches, and the actor was cut off")
	}
	wantIDs(t, receive(t, m, 4), 3)
}

// The stream no longer tells what the actor handled up to message 5: it goes
// on with the first message newer than its place's time less the memory.
func TestSeekAfterACut(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(n *net, p *bus.Place)
		// back is the message whose time the memory reaches back to.
		back, want uint64
	}{
		{"another id", func(_ *net, p *bus.Place) { p.ID = "m-4" }, 2, 3},
		{"another id, no memory", func(_ *net, p *bus.Place) { p.ID = "m-4" }, 5, 6},
		{"another id, to the first", func(_ *net, p *bus.Place) { p.ID = "m-4" }, 1, 2},
		{"another time", func(_ *net, p *bus.Place) { p.Created++ }, 4, 5},
		{"past the end", func(_ *net, p *bus.Place) { p.Seq = 1000 }, 3, 4},
		{"the place is a hole", func(n *net, _ *bus.Place) { n.remove(5) }, 3, 4},
		{"holes before it", func(n *net, _ *bus.Place) { n.remove(2, 3, 5) }, 2, 4},
		{"holes after it", func(n *net, _ *bus.Place) { n.remove(5, 6, 7) }, 5, 8},
		{"purged up to it", func(n *net, _ *bus.Place) {
			n.purge(jetstream.WithPurgeSequence(6))
		}, 2, 6},
		{"purged beyond it", func(n *net, _ *bus.Place) {
			n.purge(jetstream.WithPurgeSequence(8))
		}, 5, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet(t)
			m := n.filled(8)
			p := n.place(5)
			memory := time.Duration(p.At - n.place(c.back).At)
			c.spoil(n, &p)
			if !seek(t, m, p, memory) {
				t.Error("the cut was not seen")
			}
			if got := receive(t, m, 1); got[0].Seq != c.want {
				t.Errorf("it goes on with %d, want %d", got[0].Seq, c.want)
			}
		})
	}
}

func (n *net) remove(seqs ...uint64) {
	n.t.Helper()
	for _, seq := range seqs {
		if err := n.stream("GOODS").DeleteMsg(n.t.Context(), seq); err != nil {
			n.t.Fatal(err)
		}
	}
}

func (n *net) purge(opts ...jetstream.StreamPurgeOpt) {
	n.t.Helper()
	if err := n.stream("GOODS").Purge(n.t.Context(), opts...); err != nil {
		n.t.Fatal(err)
	}
}

// The stream was deleted and made anew: its numbers mean other messages now,
// even where one has the same number and id. ACCEPT M9
func TestSeekInAStreamMadeAnew(t *testing.T) {
	n := newNet(t)
	m := n.filled(5)
	p := n.place(3)
	if err := n.js.DeleteStream(t.Context(), "GOODS"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Seek(t.Context(), p, forever); err == nil {
		t.Error("a stream that is not there was sought")
	}
	if err := bus.Setup(t.Context(), n.js, 0); err != nil {
		t.Fatal(err)
	}
	n.fill(1, 4)
	if !seek(t, m, p, 0) {
		t.Error("the cut was not seen")
	}
	wantIDs(t, n.follow(m, p, 4), 1)
	p.Created = n.place(3).Created
	if !seek(t, m, p, forever) {
		t.Error("another time at the place was not seen")
	}
	wantIDs(t, receive(t, m, 4), 1)
}

// Nothing is left in the stream: it goes on with what comes next.
func TestSeekInAnEmptyStream(t *testing.T) {
	n := newNet(t)
	m := n.filled(5)
	p := n.place(5)
	n.purge()
	if !seek(t, m, p, forever) {
		t.Error("the cut was not seen")
	}
	wantNoMore(t, m)
	n.fill(6, 7)
	wantIDs(t, receive(t, m, 2), 6)
}

// A reset in the middle of deliveries: what is under way from before it is
// dropped, and the rest comes once and in order.
func TestReceiveThroughResets(t *testing.T) {
	const total = 2000
	n := newNet(t)
	m := n.filled(total)
	for _, back := range []uint64{100, 1500, 1, 700} {
		if seek(t, m, n.place(back), forever) {
			t.Errorf("cut off at %d", back)
		}
		wantIDs(t, receive(t, m, 300), int(back)+1)
	}
	seek(t, m, n.place(700), forever)
	got := receive(t, m, total-700)
	wantIDs(t, got, 701)
	wantNoMore(t, m)
}

// The consumer stops at MaxAckPending until the actor has committed.
func TestReceiveIsBounded(t *testing.T) {
	const more = 100
	n := newNet(t)
	m := n.mailbox()
	seek(t, m, bus.Place{}, forever)
	for i := 1; i <= bus.MaxAckPending+more; i++ {
		if _, err := bus.Publish(n.js, bus.MailboxSubject("goods", "note"), fmt.Sprintf("m-%d", i),
			nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	got := receive(t, m, bus.MaxAckPending)
	wantIDs(t, got, 1)
	wantNoMore(t, m)
	if err := m.Ack(&got[len(got)-1]); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, receive(t, m, more), bus.MaxAckPending+1)
}

func TestReceiveTakesWhatFits(t *testing.T) {
	n := newNet(t)
	m := n.filled(10)
	seek(t, m, bus.Place{}, forever)
	var got []bus.Message
	for len(got) < 10 {
		batch, err := m.Receive(t.Context(), nil, 4, time.Millisecond)
		if err != nil || len(batch) > 4 {
			t.Fatalf("%d messages, %v, want at most 4", len(batch), err)
		}
		got = append(got, batch...)
	}
	wantIDs(t, got, 1)
}

// With linger, what comes a little later is in the same batch.
func TestReceiveLingers(t *testing.T) {
	n := newNet(t)
	m := n.mailbox()
	seek(t, m, bus.Place{}, forever)
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.fill(1, 3)
	}()
	got, err := m.Receive(t.Context(), nil, 3, 20*time.Second)
	<-done
	if err != nil || len(got) != 3 {
		t.Fatalf("got %d messages, %v, want 3", len(got), err)
	}
	wantIDs(t, got, 1)
}

func TestReceiveEndsWithItsContext(t *testing.T) {
	n := newNet(t)
	m := n.mailbox()
	seek(t, m, bus.Place{}, forever)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := m.Receive(ctx, nil, 1, 0); err != context.Canceled || len(got) != 0 {
		t.Errorf("got %d messages, %v, want %v", len(got), err, context.Canceled)
	}
}

// An actor knows when it has read everything there is.
func TestCaughtUp(t *testing.T) {
	n := newNet(t)
	m := n.filled(3)
	seek(t, m, bus.Place{}, forever)
	got := receive(t, m, 2)
	wantIDs(t, got, 1)
	if !m.CaughtUp().IsZero() {
		t.Error("caught up before all was received")
	}
	begin := time.Now()
	receive(t, m, 1)
	eventually(t, "caught up", func() bool {
		if _, err := m.Receive(t.Context(), nil, 1, 0); err != nil {
			t.Fatal(err)
		}
		return m.CaughtUp().After(begin)
	})
	seek(t, m, n.place(1), forever)
	if !m.CaughtUp().IsZero() {
		t.Error("caught up after going back")
	}
}

// A mailbox that is opened for the first time takes what waits in it, and what
// comes then, without a break.
func TestFirstStart(t *testing.T) {
	const count = 1000
	n := newNet(t)
	for _, actor := range bus.ActorNames() {
		for i := range count {
			if _, err := bus.Publish(n.js, bus.MailboxSubject(actor, "note"),
				fmt.Sprintf("m-%d", i+1), nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		n.stored(bus.MailboxStream(actor), count)
		m := bus.OpenMailbox(n.nc, n.js, actor)
		seek(t, m, bus.Place{}, forever)
		n.put(bus.MailboxSubject(actor, "note"), fmt.Sprintf("m-%d", count+1), nil, nil)
		wantIDs(t, receive(t, m, count+1), 1)
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
