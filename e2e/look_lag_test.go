package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jsm.go"
	"github.com/nats-io/nats.go"

	"ordo/api"
	"ordo/bus"
)

// manager is what the nats command line tool asks through.
func (p *process) manager() *jsm.Manager {
	p.t.Helper()
	m, err := jsm.New(p.connect(), jsm.WithTimeout(10*time.Second))
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

// report is what `nats consumer report` shows of an actor's consumer.
type report struct {
	floor, unacked, pending uint64
}

func reportOf(t *testing.T, m *jsm.Manager, actor string) report {
	t.Helper()
	c, err := m.LoadConsumer(bus.MailboxStream(actor), actor+"-0")
	if err != nil {
		t.Fatal(err)
	}
	state, err := c.LatestState()
	if err != nil {
		t.Fatal(err)
	}
	return report{state.AckFloor.Stream, uint64(state.NumAckPending), state.NumPending}
}

// committed is the sequence number of the last message that an actor's file has.
func committed(t *testing.T, data, actor string) (seq uint64) {
	t.Helper()
	if err := fileOf(t, data, actor).QueryRow(`SELECT seq FROM _actor`).Scan(&seq); err != nil {
		t.Fatal(err)
	}
	return seq
}

// ACCEPT P5
// What the command line tool reports of an actor's consumer is what its file has
// committed: at work, while it is down, and after it has come back from a kill.
func TestConsumerReportsAreTrue(t *testing.T) {
	t.Parallel()
	s := serveSplit(t)
	m, ann := s.front.manager(), s.front.shopper()
	sku := s.front.onSale(1000, 100)
	for range 5 {
		ann.buy(sku, 1)
	}
	holds := func(what string) {
		t.Helper()
		var r report
		eventually(t, what, func() bool {
			r = reportOf(t, m, "goods")
			return r.unacked+r.pending == 0 && r.floor == committed(t, s.goodsData, "goods")
		})
		stream, err := m.LoadStream("GOODS")
		if err != nil {
			t.Fatal(err)
		}
		if state, err := stream.State(); err != nil || state.LastSeq < r.floor {
			t.Errorf("%s: the stream ends at %d, the floor is %d, %v", what, state.LastSeq, r.floor, err)
		}
	}
	holds("all is committed")
	neverAhead(s, m, sku)
	holds("all is committed again")

	s.stopGoods()
	before := reportOf(t, m, "goods")
	if before.floor != committed(t, s.goodsData, "goods") {
		t.Errorf("stopped: the floor is %d, the file has %d", before.floor,
			committed(t, s.goodsData, "goods"))
	}
	nc := s.front.connect()
	const waiting = 7
	for i := range waiting {
		msg := nats.NewMsg(bus.MailboxSubject("goods", "receive-stock"))
		msg.Header.Set(nats.MsgIdHdr, fmt.Sprint("by-hand-", i))
		msg.Data = api.Raw(&api.ReceiveStock{SKU: sku, Quantity: 1})
		if _, err := nc.RequestMsg(msg, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	// The server counts what is pending a moment after it has stored it.
	eventually(t, "what waits is pending", func() bool {
		r := reportOf(t, m, "goods")
		return r.floor == before.floor &&
			r.unacked+r.pending == before.unacked+before.pending+waiting
	})
	s.startGoods()
	holds("what waited is committed")
	s.goods.kill()
	s.startGoods()
	holds("killed and back")
	s.stop()
}

// neverAhead gives goods much to do, and looks all the while whether the ack floor
// is ahead of what the file has committed: a kill would lose what lies between.
func neverAhead(s *split, m *jsm.Manager, sku string) {
	s.t.Helper()
	const messages = 10000
	js, err := s.front.connect().JetStream(nats.PublishAsyncMaxPending(messages))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range messages {
		msg := nats.NewMsg(bus.MailboxSubject("goods", "receive-stock"))
		msg.Header.Set(nats.MsgIdHdr, fmt.Sprint("load-", i))
		msg.Data = api.Raw(&api.ReceiveStock{SKU: sku, Quantity: 1})
		if _, err := js.PublishMsgAsync(msg); err != nil {
			s.t.Fatal(err)
		}
	}
	eventually(s.t, "all is committed", func() bool {
		r := reportOf(s.t, m, "goods")
		if has := committed(s.t, s.goodsData, "goods"); r.floor > has {
			s.t.Errorf("the ack floor is %d, the file has %d", r.floor, has)
		}
		return js.PublishAsyncPending() == 0 && r.unacked+r.pending == 0
	})
}

// ACCEPT P5
// Streams, buckets and durable consumers say in their metadata what they are, and
// of whom; nothing is there that no table names.
func tryMetadata(t *testing.T, p *process) {
	streams, _, _, err := p.manager().Streams(nil)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, s := range streams {
		kind := s.Metadata()["ordo.kind"]
		kinds[kind]++
		if s.IsKVBucket() != (kind == bus.KindBucket) || s.Metadata()["ordo.version"] == "" {
			t.Errorf("%s: %v", s.Name(), s.Metadata())
		}
		if kind == bus.KindMailbox && s.Name() != bus.MailboxStream(s.Metadata()["ordo.actor"]) {
			t.Errorf("%s: %v", s.Name(), s.Metadata())
		}
		if _, _, err := s.EachConsumer(func(c *jsm.Consumer) {
			if !c.IsDurable() {
				return
			}
			of := c.Metadata()["ordo.actor"]
			if c.Metadata()["ordo.kind"] == "" || !strings.Contains(c.Name(), of) ||
				!strings.Contains(c.Description(), of) {
				t.Errorf("%s of %s: %q %v", c.Name(), s.Name(), c.Description(), c.Metadata())
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	for kind, n := range map[string]int{bus.KindMailbox: 8, bus.KindEvents: 1, bus.KindTimers: 1,
		bus.KindEffects: 1, bus.KindDead: 1, bus.KindBucket: 5} {
		if kinds[kind] != n {
			t.Errorf("%d streams are of the kind %s, not %d", kinds[kind], kind, n)
		}
	}
}
