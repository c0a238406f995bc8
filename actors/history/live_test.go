package history_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/actors/history"
	"ordo/api"
	"ordo/bus"
)

// streams is a NATS server with the shop's streams.
type streams struct {
	t    *testing.T
	js   jetstream.JetStream
	edge *bus.Edge
}

func newStreams(t *testing.T) *streams {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	server, err := bus.StartServer(bus.ServerConfig{Dir: t.TempDir(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	nc, err := bus.Connect(server, "", "test", log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := bus.NewJetStream(nc, func(*nats.Msg, error) {})
	if err == nil {
		err = bus.Setup(t.Context(), js, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &streams{t, js, bus.NewEdge(nc, js)}
	t.Cleanup(func() { _ = s.edge.Close() })
	return s
}

// put stores a message and answers its time.
func (s *streams) put(actor, verb, id, body string) api.Time {
	s.t.Helper()
	ack, err := s.js.PublishMsg(s.t.Context(), &nats.Msg{Subject: bus.MailboxSubject(actor, verb),
		Data:   []byte(body),
		Header: nats.Header{jetstream.MsgIDHeader: {id}, bus.HeaderCause: {"because-" + id}}})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.at(actor, ack.Sequence)
}

func (s *streams) at(actor string, seq uint64) api.Time {
	s.t.Helper()
	stream, err := s.js.Stream(s.t.Context(), bus.MailboxStream(actor))
	if err != nil {
		s.t.Fatal(err)
	}
	m, err := stream.GetMsg(s.t.Context(), seq)
	if err != nil {
		s.t.Fatal(err)
	}
	return api.TimeOf(m.Time)
}

// names are the ids that messages about the order have in them.
var names = []string{"ord_1", "pay_1"}

// live are the ids of the messages that clues lead to.
func (s *streams) live(clues ...history.Clue) (ids, notes []string) {
	s.t.Helper()
	all, notes := history.Live(s.t.Context(), s.edge, &history.Sought{Names: names, Clues: clues})
	for _, m := range all {
		ids = append(ids, m.ID)
	}
	return ids, notes
}

// ACCEPT M7: messages about an order are found by the times of those that were
// handled, and from there on; each once, and what is missing is said.
func TestLive(t *testing.T) {
	s := newStreams(t)
	for i := range 30 {
		s.put("goods", "reserve", fmt.Sprint("before-", i), `{"order":"ord_0"}`)
	}
	asked := s.put("order", "submit", "submit-ord_1", `{"order":"ord_1"}`)
	s.put("goods", "reserve", "order.0.E.goods.0.1", `{"order":"ord_1","step":"goods.reserve"}`)
	s.put("goods", "release", "order.0.E.goods.0.2", `{"order":"ord_1","step":"goods.reserve"}`)
	answered := s.put("order", "step-result", "goods.0.E.order.0.1", `{"order":"ord_1"}`)
	opened := s.put("payment", "open", "open-1", `{"id":"pay_1"}`)
	clues := []history.Clue{{Actor: "order", At: answered}, {Actor: "order", At: asked},
		{Actor: "order", At: asked}, {Actor: "goods", At: asked, Verb: "reserve"},
		{Actor: "goods", At: asked, Verb: "release"}, {Actor: "payment", At: opened},
		{Actor: "payment"}}
	all, notes := history.Live(t.Context(), s.edge, &history.Sought{Names: names, Clues: clues})
	want := []string{"submit-ord_1", "order.0.E.goods.0.1", "order.0.E.goods.0.2",
		"goods.0.E.order.0.1", "open-1"}
	if len(all) != len(want) || len(notes) > 0 {
		t.Fatalf("%d messages, notes %q", len(all), notes)
	}
	for i, m := range all {
		if m.ID != want[i] || m.Stream != bus.MailboxStream(m.Actor) || m.Seq == 0 ||
			m.Cause != "because-"+want[i] {
			t.Errorf("message %d: %+v", i, m)
		}
	}
	if m := all[1]; m.From != "order" || m.Subject != "ordo.goods.0.reserve" {
		t.Errorf("%+v", m)
	}
	if all[0].From != "edge" {
		t.Errorf("%+v", all[0])
	}
	// Asked for twice, it is found twice.
	again := s.put("goods", "reserve", "order.0.E.goods.0.3", `{"order":"ord_1"}`)
	if ids, notes := s.live(clues[3], history.Clue{Actor: "goods", At: again, Verb: "reserve"}); len(
		notes) > 0 || !slices.Equal(ids, []string{"order.0.E.goods.0.1", "order.0.E.goods.0.3"}) {
		t.Errorf("found %q, notes %q", ids, notes)
	}
	if ids, notes := s.live(history.Clue{Actor: "order", At: answered.Add(time.Hour)}); len(ids) > 0 ||
		len(notes) != 1 || !strings.Contains(notes[0], "1 messages of the order were not found") {
		t.Errorf("found %q, notes %q", ids, notes)
	}
}

// What a stream has dropped, and what is further on than is looked, is a note.
func TestLiveSaysWhatIsMissing(t *testing.T) {
	s := newStreams(t)
	first := s.put("goods", "reserve", "m-1", `{"order":"ord_1"}`)
	for i := range 5000 {
		if _, err := bus.Publish(s.js, bus.MailboxSubject("goods", "reserve"), fmt.Sprint("other-", i),
			nil, []byte(`{"order":"ord_0"}`)); err != nil {
			t.Fatal(err)
		}
	}
	<-s.js.PublishAsyncComplete()
	stream, err := s.js.Stream(t.Context(), "GOODS")
	if err == nil {
		err = stream.Purge(t.Context(), jetstream.WithPurgeSequence(10))
	}
	if err != nil {
		t.Fatal(err)
	}
	if ids, notes := s.live(history.Clue{Actor: "goods", At: first}); len(ids) > 0 || len(notes) != 1 ||
		!strings.HasPrefix(notes[0], "the stream of goods begins with message 10;") {
		t.Errorf("found %q, notes %q", ids, notes)
	}
	ids, notes := s.live(history.Clue{Actor: "goods", At: first, Verb: "reserve"})
	if len(ids) > 0 || len(notes) != 1 || !strings.Contains(notes[0], "of goods") &&
		!strings.Contains(notes[0], "to goods") {
		t.Errorf("found %q, notes %q", ids, notes)
	}
	var many []history.Clue
	for i := range 300 {
		many = append(many, history.Clue{Actor: "coupon", At: first.Add(time.Duration(i))})
	}
	if _, notes := s.live(many...); len(notes) == 0 ||
		!strings.Contains(strings.Join(notes, "; "), "only the first 200 of 300 moments") {
		t.Errorf("notes %q", notes)
	}
}

// In a long stream a message is looked up by when what caused it was handled, and
// where that is not told, or is told wrongly, it is looked for one by one.
func TestLiveLooksUp(t *testing.T) {
	s := newStreams(t)
	const total, mine = 9000, 7000
	at := s.put("goods", "reserve", "m-0", `{"n":0}`)
	body := func(n int) string {
		if n == mine {
			return fmt.Sprintf(`{"n":%d,"order":"ord_1"}`, n)
		}
		return fmt.Sprintf(`{"n":%d}`, n)
	}
	for n := 1; n < total; n++ {
		if _, err := bus.Publish(s.js, bus.MailboxSubject("goods", "reserve"), fmt.Sprint("m-", n),
			nil, []byte(body(n))); err != nil {
			t.Fatal(err)
		}
	}
	<-s.js.PublishAsyncComplete()
	asked := 0
	// Message n was sent because of what was handled n ns after the first one; so
	// was what is looked for, which was stored long after.
	when := func(_ context.Context, m *bus.Message) api.Time {
		asked++
		var of struct{ N int64 }
		if err := json.Unmarshal(m.Data, &of); err != nil {
			t.Error(err)
		}
		return at.Add(time.Duration(of.N))
	}
	for name, c := range map[string]struct {
		asked func(context.Context, *bus.Message) api.Time
		found bool
	}{
		"told":     {when, true},
		"not told": {nil, false},
		"unknown":  {func(context.Context, *bus.Message) api.Time { return 0 }, false},
		"wrongly":  {func(context.Context, *bus.Message) api.Time { return 1 }, false},
	} {
		clue := history.Clue{Actor: "goods", At: at.Add(mine), Verb: "reserve"}
		all, notes := history.Live(t.Context(), s.edge, &history.Sought{Names: names,
			Clues: []history.Clue{clue}, Asked: c.asked})
		if found := len(all) == 1 && all[0].ID == fmt.Sprint("m-", mine); found != c.found ||
			found == (len(notes) > 0) {
			t.Errorf("%s: %d messages, notes %q", name, len(all), notes)
		}
	}
	if asked == 0 || asked > 30 {
		t.Errorf("it was asked of %d messages", asked)
	}
}
