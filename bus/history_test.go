package bus_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/bus"
)

// read is the sequence numbers that a history has in a range.
func read(t *testing.T, h *bus.History, from, to uint64) (all []uint64) {
	t.Helper()
	err := h.Read(t.Context(), from, to, func(in []bus.Message) (bool, error) {
		for _, m := range in {
			if want := fmt.Sprintf("m-%d", m.Seq); bus.Identity(m.Header) != want || m.At == 0 ||
				m.Subject != "ordo.goods.0.note" || string(m.Data) != want {
				t.Errorf("message %d: %+v", m.Seq, m)
			}
			all = append(all, m.Seq)
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// ACCEPT M10: a stream is read from one number to another, without the messages
// that it has lost, and not beyond; whoever reads may stop.
func TestHistory(t *testing.T) {
	n := newNet(t)
	h := bus.OpenHistory(n.js, "goods")
	if got := read(t, h, 1, 10); got != nil {
		t.Errorf("of an empty stream: %v", got)
	}
	const total = 1500 // several fetches
	for i := 1; i <= total; i++ {
		id := fmt.Sprintf("m-%d", i)
		if _, err := bus.Publish(n.js, bus.MailboxSubject("goods", "note"), id, nil,
			[]byte(id)); err != nil {
			t.Fatal(err)
		}
	}
	<-n.js.PublishAsyncComplete()
	for _, seq := range []uint64{1, 700, 701, total} {
		if err := n.stream("GOODS").DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	s, err := h.State(t.Context())
	if err != nil || s.First != 2 || s.Last != total || s.MaxBytes != bus.MailboxBytes ||
		s.FirstTime.IsZero() || s.Created == 0 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, c := range []struct {
		from, to    uint64
		count       int
		first, last uint64
	}{{1, total, total - 4, 2, total - 1}, {1, 9999, total - 4, 2, total - 1}, {5, 5, 1, 5, 5},
		{699, 702, 2, 699, 702}, {700, 701, 0, 0, 0}, {total, total, 0, 0, 0}, {9, 8, 0, 0, 0},
		{513, 1024, 510, 513, 1024}} {
		got := read(t, h, c.from, c.to)
		if len(got) != c.count || c.count > 0 && (got[0] != c.first || got[len(got)-1] != c.last) ||
			!slices.IsSorted(got) {
			t.Errorf("%d to %d: %d messages, want %d", c.from, c.to, len(got), c.count)
		}
	}
	calls := 0
	if err := h.Read(t.Context(), 1, total, func([]bus.Message) (bool, error) {
		calls++
		return false, nil
	}); err != nil || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
	bad := errors.New("no")
	if err := h.Read(t.Context(), 1, total, func([]bus.Message) (bool, error) {
		return true, bad
	}); !errors.Is(err, bad) {
		t.Errorf("%v", err)
	}
	if _, err := bus.OpenHistory(n.js, "goat").State(t.Context()); !errors.Is(err,
		jetstream.ErrStreamNotFound) {
		t.Errorf("a stream that is not there: %v", err)
	}
}
