package actors_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
)

// A file that takes over waits until the old one can't commit any more; the old
// one, still running, leaves the mailbox alone and does not answer. ACCEPT M6
func TestTakeOverFromALiveOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(senderSpec("order"))
	old := w.start(receiverSpec())
	w.mustDo("order", "one", &goSend{0, 5})
	eventually(t, "5 notes", func() bool { return len(w.notes()) == 5 })
	stop := make(chan struct{})
	accepted := make(chan int)
	go func() { // an order is accepted by one owner or the other
		n := 0
		defer func() { accepted <- n }()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if w.do("goods", fmt.Sprintf("edge-%d", i), &note{Sender: "edge", N: i}) == nil {
				n++
			}
		}
	}()
	cfg := w.config("elsewhere")
	cfg.TakeOver = true
	started := time.Now()
	again := w.host(receiverSpec(), cfg)
	if took := time.Since(started); took < 9*time.Second {
		t.Errorf("the new owner did not wait for the old one: %s", took)
	}
	eventually(t, "the old owner stops", func() bool { return old.Status().Fault != "" })
	eventually(t, "the new owner is ready", func() bool { return again.Status().Ready })
	w.mustDo("order", "two", &goSend{5, 5})
	close(stop)
	n := <-accepted
	eventually(t, "all notes", func() bool { return len(w.notes()) >= 10+n })
	wantNotes(t, order(w.notes(), "order"), []string{"order"}, 10)
	batches := again.Status().Batches
	for i := range 50 {
		w.mustDo("goods", fmt.Sprintf("after-%d", i), &note{Sender: "after", N: i})
	}
	if s := old.Status(); s.Ready || again.Status().Batches == batches {
		t.Errorf("the old owner: %+v", s)
	}
	if err := old.Close(); err != nil {
		t.Error(err)
	}
}

// order are the notes of one sender.
func order(all []note, sender string) (some []note) {
	for _, n := range all {
		if n.Sender == sender {
			some = append(some, n)
		}
	}
	return some
}

// The leases alone are lost: they are made again, by who owned the actors.
func TestLeasesDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.start(receiverSpec())
	w.mustDo("goods", "a", &note{Sender: "x", N: 0})
	if err := w.js.DeleteKeyValue(t.Context(), bus.BucketOwner); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lease is missed", func() bool {
		_ = w.do("goods", fmt.Sprintf("poke-%d", time.Now().UnixNano()), &note{Sender: "poke"})
		_, err := w.js.KeyValue(t.Context(), bus.BucketOwner)
		return err == nil
	})
	eventually(t, "ready", func() bool { return h.Status().Ready })
	w.mustDo("goods", "b", &note{Sender: "x", N: 1})
	wantNotes(t, order(w.notes(), "x"), []string{"x"}, 2)
}

// What anybody may publish does not stop an actor. ACCEPT M5
func TestOddMessages(t *testing.T) {
	w := newWorld(t)
	w.start(receiverSpec())
	subject := bus.MailboxSubject("goods", "note")
	for _, m := range []*nats.Msg{
		{Subject: subject},
		{Subject: subject, Header: nats.Header{"Status": {"100"}}},
		{Subject: subject, Header: nats.Header{"Status": {"100"}, "Nats-Last-Consumer": {"9999"}}},
		{Subject: subject, Header: nats.Header{jetstream.MsgIDHeader: {"a b\tc"}}},
		{Subject: subject, Header: nats.Header{jetstream.MsgIDHeader: {"*.>"}}, Data: []byte("{}")},
		{Subject: subject, Header: nats.Header{jetstream.MsgIDHeader: {"a.b.c.goods.0.7"}}},
		{Subject: subject, Header: nats.Header{jetstream.MsgIDHeader: {"....goods.0.1"}}},
		{Subject: subject, Header: nats.Header{jetstream.MsgIDHeader: {" .0.e.goods.0.9"}}},
		{Subject: subject, Header: nats.Header{jetstream.MsgIDHeader: {"~"}}},
		{Subject: subject, Header: nats.Header{jetstream.MsgIDHeader: {strings.Repeat("x", 9000)}}},
		{Subject: bus.MailboxSubject("goods", "nothing"),
			Header: nats.Header{jetstream.MsgIDHeader: {"n"}}, Data: []byte{0xff, 0, '"'}},
	} {
		if _, err := w.js.PublishMsg(t.Context(), m); err != nil {
			t.Fatalf("%v: %v", m.Header, err)
		}
	}
	for i := range 3 {
		w.mustDo("goods", fmt.Sprintf("good-%d", i), &note{Sender: "x", N: i})
	}
	wantNotes(t, order(w.notes(), "x"), []string{"x"}, 3)
}

// Timers that nobody could forward do not hold up those behind them.
// ACCEPT E1 M5
func TestOddTimers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	due := time.Now().Format(time.RFC3339Nano)
	for i, h := range []nats.Header{
		{},
		{bus.HeaderDue: {due}},
		{bus.HeaderDue: {"soon"}, bus.HeaderTo: {"ordo.goods.0.note"}},
		{bus.HeaderDue: {due}, bus.HeaderTo: {"ordo.order.0.submit"}},
		{bus.HeaderDue: {due}, bus.HeaderTo: {"ordo.goods.0.a.b"}},
		{bus.HeaderDue: {due}, bus.HeaderTo: {"ordo.goods.0."}},
		{bus.HeaderDue: {due}, bus.HeaderTo: {"$JS.API.STREAM.DELETE.GOODS"}},
	} {
		h.Set(jetstream.MsgIDHeader, fmt.Sprintf("odd-%d", i))
		if _, err := w.js.PublishMsg(t.Context(), &nats.Msg{Header: h, Data: []byte("{}"),
			Subject: bus.TimerSubject("goods", "test-1s")}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		if err := bus.PublishTimer(w.js, "goods", bus.Timer{Class: "test-1s", Verb: "note",
			Due: api.TimeOf(time.Now()), ID: fmt.Sprintf("t-%d", i),
			Body: api.Raw(&note{Sender: "timer", N: i})}); err != nil {
			t.Fatal(err)
		}
	}
	w.start(receiverSpec())
	eventually(t, "the timers behind", func() bool { return len(order(w.notes(), "timer")) == 5 })
}
