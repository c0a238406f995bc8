package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/bus"
)

// found are the sequence numbers that Find gives, as long as do wants more.
func found(t *testing.T, e *bus.Edge, q bus.Find, stop uint64) (all []uint64, cut bool) {
	t.Helper()
	cut, err := e.Find(t.Context(), "goods", q, func(m *bus.Message) bool {
		all = append(all, m.Seq)
		if m.At == 0 || m.Subject == "" || bus.Identity(m.Header) != fmt.Sprint("m-", m.Seq) ||
			string(m.Data) != fmt.Sprint("m-", m.Seq) {
			t.Errorf("message %+v", m)
		}
		return m.Seq != stop
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, cut
}

// ACCEPT M7: messages are found in a stream from a time on, by subject, without
// those that are gone, and no more than asked for; no consumer is left behind.
func TestFind(t *testing.T) {
	n := newNet(t)
	e := n.edge()
	const total = 700 // several pages
	for i := 1; i <= total; i++ {
		verb := []string{"even", "odd"}[i%2]
		id := fmt.Sprint("m-", i)
		if _, err := bus.Publish(n.js, bus.MailboxSubject("goods", verb), id, nil,
			[]byte(id)); err != nil {
			t.Fatal(err)
		}
	}
	<-n.js.PublishAsyncComplete()
	if err := n.stream("GOODS").DeleteMsg(t.Context(), 402); err != nil {
		t.Fatal(err)
	}
	from := n.message("GOODS", 401).Time
	if all, cut := found(t, e, bus.Find{From: from, Most: 1}, 0); !cut ||
		!slices.Equal(all, []uint64{401}) {
		t.Errorf("at a time: %v, %v", all, cut)
	}
	if all, cut := found(t, e, bus.Find{From: from.Add(1), Most: 2}, 0); !cut ||
		!slices.Equal(all, []uint64{403, 404}) {
		t.Errorf("after a time: %v, %v", all, cut)
	}
	all, cut := found(t, e, bus.Find{From: from, Most: 1000,
		Subject: bus.MailboxSubject("goods", "even")}, 0)
	if cut || len(all) != 149 || all[0] != 404 || all[148] != total {
		t.Errorf("by subject: %v, %v", all, cut)
	}
	if all, cut := found(t, e, bus.Find{Seq: 402, Most: 2}, 0); !cut ||
		!slices.Equal(all, []uint64{403, 404}) {
		t.Errorf("from a number on: %v, %v", all, cut)
	}
	if all, cut := found(t, e, bus.Find{From: time.Unix(0, 0), Most: total}, 600); cut ||
		len(all) < 599 || all[0] != 1 {
		t.Errorf("until one: %d, %v", len(all), cut)
	}
	if all, cut := found(t, e, bus.Find{From: time.Now().Add(time.Hour), Most: 5}, 0); cut ||
		len(all) != 0 {
		t.Errorf("in an hour: %v, %v", all, cut)
	}
	if n := n.state("GOODS").Consumers; n != 0 {
		t.Errorf("%d consumers are left", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Find(ctx, "goods", bus.Find{Most: 5}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

// ACCEPT M7: how full the streams are, and what waits in them.
func TestStreams(t *testing.T) {
	n := newNet(t)
	e := n.edge()
	n.fill(1, 5)
	if _, err := n.js.CreateOrUpdateConsumer(t.Context(), bus.StreamEffects, jetstream.ConsumerConfig{
		Durable: "effect-order-cart", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	n.effect("fx-1", 1)
	n.effect("fx-2", 1)
	<-n.js.PublishAsyncComplete()
	all, err := e.Streams(t.Context())
	if err != nil || len(all) != len(bus.Streams()) {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, s := range all {
		want := map[string][2]uint64{"GOODS": {5, 0}, bus.StreamEffects: {2, 2}}[s.Name]
		if s.Messages != want[0] || s.Lag != want[1] || s.MaxBytes == 0 || want[0] > 0 && s.Bytes == 0 {
			t.Errorf("stream %+v, want %v", s, want)
		}
	}
}
