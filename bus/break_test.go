package bus_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/bus"
)

// deliver has the mailbox of goods given a delivery with these numbers: by a
// consumer in the place of its own, whose deliveries before it went elsewhere. It
// leaves none behind.
func (n *net) deliver(seq, consumerSeq int) {
	n.t.Helper()
	to := n.consumer("GOODS", "goods-0").Config.DeliverSubject
	n.unread()
	n.fill(1, seq) // those that are there are duplicates
	elsewhere, err := n.nc.SubscribeSync("elsewhere")
	if err != nil {
		n.t.Fatal(err)
	}
	cfg := jetstream.ConsumerConfig{Durable: "goods-0", DeliverSubject: "elsewhere",
		AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: consumerSeq - 1,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   uint64(seq - consumerSeq + 1)}
	if consumerSeq > 1 {
		if _, err := n.js.CreatePushConsumer(n.t.Context(), "GOODS", cfg); err != nil {
			n.t.Fatal(err)
		}
	}
	for range consumerSeq - 1 {
		if _, err := elsewhere.NextMsg(10 * time.Second); err != nil {
			n.t.Fatal(err)
		}
	}
	if err := elsewhere.Unsubscribe(); err != nil {
		n.t.Fatal(err)
	}
	cfg.DeliverSubject, cfg.MaxAckPending = to, consumerSeq
	// Its deliveries may go elsewhere once nobody listens where they went.
	eventually(n.t, "the stray consumer's new subject", func() bool {
		_, err := n.js.CreateOrUpdatePushConsumer(n.t.Context(), "GOODS", cfg)
		return err == nil
	})
	eventually(n.t, "the stray delivery", func() bool {
		return n.consumer("GOODS", "goods-0").Delivered.Consumer >= uint64(consumerSeq)
	})
	n.unread()
}

// unread removes the consumer of goods.
func (n *net) unread() {
	n.t.Helper()
	if err := n.js.DeleteConsumer(n.t.Context(), "GOODS", "goods-0"); err != nil {
		n.t.Fatal(err)
	}
}

func (n *net) send(m *nats.Msg) {
	n.t.Helper()
	if err := n.nc.PublishMsg(m); err != nil {
		n.t.Fatal(err)
	}
	if err := n.nc.Flush(); err != nil {
		n.t.Fatal(err)
	}
}

// wantBreak receives until ErrBreak.
func wantBreak(t *testing.T, m *bus.Mailbox, why string) {
	t.Helper()
	var got []bus.Message
	ctx := within(t, 20*time.Second)
	for {
		var err error
		got, err = m.Receive(ctx, got, 100, 0)
		if errors.Is(err, bus.ErrBreak) && strings.Contains(err.Error(), why) {
			break
		}
		if err != nil {
			t.Fatalf("got %v, want a break: %s", err, why)
		}
	}
	if len(got) != 0 {
		t.Errorf("%d messages before the break", len(got))
	}
}

// A delivery is missing, comes twice, or goes back: the mailbox says so, hands
// out nothing of it, and after Seek nothing is lost. ACCEPT M4
func TestBreakInTheSequence(t *testing.T) {
	for name, d := range map[string]struct{ seq, consumerSeq int }{
		"one missing":         {5, 5},
		"many missing":        {40, 40},
		"again":               {3, 3},
		"an old one":          {1, 1},
		"newer, number again": {4, 3},
		"newer, from anew":    {4, 1},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNet(t)
			m := n.filled(3)
			n.deliver(d.seq, d.consumerSeq)
			wantBreak(t, m, "consumer sequence")
			n.fill(4, 5)
			seek(t, m, n.place(3), forever)
			wantIDs(t, receive(t, m, 2), 4)
		})
	}
}

// A message that the server delivers again has the next number, and is not the
// next message.
func TestBreakByRedelivery(t *testing.T) {
	n := newNet(t)
	m := n.filled(3)
	nak := fmt.Sprintf("$JS.ACK.GOODS.goods-0.1.3.3.%d.0", n.place(3).At)
	n.send(&nats.Msg{Subject: nak, Data: []byte("-NAK")})
	wantBreak(t, m, "consumer sequence 4 after 3")
	n.fill(4, 4)
	seek(t, m, n.place(3), forever)
	wantIDs(t, receive(t, m, 1), 4)
}

// Somebody else resets the consumer.
func TestBreakByAnotherReset(t *testing.T) {
	n := newNet(t)
	m := n.filled(5)
	if _, err := n.js.ResetConsumerToSequence(t.Context(), "GOODS", "goods-0", 2); err != nil {
		t.Fatal(err)
	}
	wantBreak(t, m, "consumer sequence 1 after 5")
	seek(t, m, n.place(3), forever)
	wantIDs(t, receive(t, m, 2), 4)
}

// Until the first delivery after a reset has come, all others are from before
// it.
func TestDeliveriesFromBeforeTheReset(t *testing.T) {
	for _, d := range []struct{ seq, consumerSeq int }{{4, 1}, {6, 6}, {6, 2}, {5, 2}} {
		n := newNet(t)
		m := n.filled(5)
		seek(t, m, n.place(5), forever)
		own := n.consumer("GOODS", "goods-0").Config
		n.deliver(d.seq, d.consumerSeq)
		own.DeliverPolicy, own.OptStartSeq = jetstream.DeliverByStartSequencePolicy, 6
		if _, err := n.js.CreatePushConsumer(t.Context(), "GOODS", own); err != nil {
			t.Fatal(err)
		}
		n.fill(6, 7)
		wantIDs(t, receive(t, m, 2), 6)
	}
}

// A heartbeat tells of a delivery that never arrived.
func TestBreakByHeartbeat(t *testing.T) {
	n := newNet(t)
	m := n.filled(3)
	to := n.consumer("GOODS", "goods-0").Config.DeliverSubject
	n.send(&nats.Msg{Subject: to, Header: nats.Header{"Status": {"100"},
		"Nats-Last-Consumer": {"4"}}})
	wantBreak(t, m, "4 delivered, 3 arrived")
	seek(t, m, n.place(2), forever)
	wantIDs(t, receive(t, m, 1), 3)
}

// Not every message that looks odd is a heartbeat, and not all that arrives is
// a delivery.
func TestOddMessages(t *testing.T) {
	n := newNet(t)
	m := n.mailbox()
	seek(t, m, bus.Place{}, forever)
	to := n.consumer("GOODS", "goods-0").Config.DeliverSubject
	for _, odd := range []*nats.Msg{
		{Header: nats.Header{"Status": {"100"}}},
		{Header: nats.Header{"Status": {"100"}, "Nats-Last-Consumer": {"x"}}},
		{Header: nats.Header{"Status": {"409"}}},
		{Data: []byte("hello")},
		{Reply: "_INBOX.1", Data: []byte("x")},
	} {
		odd.Subject = to
		n.send(odd)
	}
	n.put(bus.MailboxSubject("goods", "note"), "m-1", nats.Header{"Status": {"100"},
		"Nats-Last-Consumer": {"77"}}, nil)
	n.fill(2, 2)
	wantIDs(t, receive(t, m, 2), 1)
}

// Whoever may make a consumer of any stream may have it deliver to any subject, a
// mailbox's too, and the words of its messages are theirs. They are no messages of
// the mailbox: they neither end its sequence nor are the first one after a reset.
func TestForeignDeliveries(t *testing.T) {
	n := newNet(t)
	m := n.filled(1)
	to := n.consumer("GOODS", "goods-0").Config.DeliverSubject
	foreign := bus.TimerSubject("learning", "reserve")
	for i := range 6 {
		n.put(foreign, fmt.Sprintf("forged-%d", i), nil, []byte(`{}`))
	}
	deliver := func(name string, from uint64) {
		t.Helper()
		if _, err := n.js.CreatePushConsumer(t.Context(), bus.StreamTimers,
			jetstream.ConsumerConfig{Name: name, DeliverSubject: to, FilterSubject: foreign,
				AckPolicy:     jetstream.AckNonePolicy,
				DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "deliveries", func() bool {
			return n.consumer(bus.StreamTimers, name).Delivered.Stream == 6
		})
	}
	deliver("in-sequence", 1)
	// Nor is an answer of JetStream's a heartbeat, whatever it says.
	beat := nats.NewMsg(bus.MailboxSubject("wallet", "beat"))
	beat.Header = nats.Header{"Status": {"100"}, "Nats-Last-Consumer": {"1000000"}}
	stored, err := n.js.PublishMsg(t.Context(), beat)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.nc.PublishRequest("$JS.API.DIRECT.GET."+stored.Stream, to,
		fmt.Appendf(nil, `{"seq":%d}`, stored.Sequence)); err != nil {
		t.Fatal(err)
	}
	n.fill(2, 2)
	wantIDs(t, receive(t, m, 1), 2)
	seek(t, m, n.place(2), forever)
	deliver("after-a-reset", 4)
	n.fill(3, 3)
	wantIDs(t, receive(t, m, 1), 3)
}

// The consumer is deleted underneath: its silence is a break, and Seek makes
// it again.
func TestBreakBySilence(t *testing.T) {
	t.Parallel()
	n := newNet(t)
	m := n.filled(3)
	n.unread()
	n.fill(4, 5)
	wantBreak(t, m, "nothing heard")
	if seek(t, m, n.place(3), forever) {
		t.Error("the place matches, and the actor was cut off")
	}
	wantIDs(t, receive(t, m, 2), 4)
}

// After a reset the first delivery gets lost: waiting for it would be for
// ever.
func TestBreakWhenTheFirstIsLost(t *testing.T) {
	t.Parallel()
	n := newNet(t)
	m := n.mailbox()
	seek(t, m, bus.Place{}, forever)
	if _, err := n.js.PauseConsumer(t.Context(), "GOODS", "goods-0",
		time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	n.fill(1, 1)
	wantBreak(t, m, "did not arrive")
	seek(t, m, bus.Place{}, forever)
	if _, err := n.js.ResumeConsumer(t.Context(), "GOODS", "goods-0"); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, receive(t, m, 1), 1)
}

// Deliveries may be lost while a connection is away.
func TestBreakByReconnect(t *testing.T) {
	n := newNet(t)
	nc := n.connect("mailbox")
	m := bus.OpenMailbox(nc, n.js, "goods")
	t.Cleanup(func() { _ = m.Close() })
	seek(t, m, bus.Place{}, forever)
	n.fill(1, 3)
	receive(t, m, 3)
	if err := nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	wantBreak(t, m, "connection")
	eventually(t, "connected again", nc.IsConnected)
	n.fill(4, 5)
	// Whatever the reconnect still announces, seeking again gets through it.
	var got []bus.Message
	var err error
	eventually(t, "the rest", func() bool {
		if len(got) == 0 {
			seek(t, m, n.place(3), forever)
		}
		if got, err = m.Receive(t.Context(), got, 2, 0); err != nil {
			got = nil
		}
		return len(got) == 2
	})
	wantIDs(t, got, 4)
}
