package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"ordo/actors"
	"ordo/api"
	"ordo/bus"
)

// mark is a command that the test's actor keeps, or refuses when N is negative.
type mark struct {
	N    int    `json:"n"`
	Fill string `json:"fill,omitempty"`
}

func (*mark) Route() api.Route { return api.Route{Actor: "goods", Verb: "mark"} }

// marked asks for the sum of what was kept.
type marked struct {
	Least int `json:"least"`
}

func (*marked) Endpoint() api.Route { return api.Route{Actor: "goods", Verb: "marked"} }

func markSpec() *actors.Spec {
	return &actors.Spec{Name: "goods", Version: "1.0.0", Description: "Keeps marks.",
		Schema: `CREATE TABLE mark (at INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT;`,
		Commands: []actors.Command{actors.On(func(tx *actors.Tx, m *mark) error {
			if m.N < 0 {
				return api.Refuse(api.CodeInvalid, "must not be negative").At("n").With(m.N)
			}
			if _, err := tx.Exec(`INSERT INTO mark (n) VALUES (?)`, m.N); err != nil {
				return err
			}
			return tx.Reply(m.N * 10)
		})},
		Queries: []actors.Endpoint{actors.Answer("The sum.",
			func(v *actors.View, q *marked) (sum int, err error) {
				err = v.Each(func(r actors.Row) error { return r.Scan(&sum) },
					`SELECT coalesce(sum(n), 0) FROM mark`)
				if err == nil && sum < q.Least {
					err = api.Refuse(api.CodeNotFound, "only %d", sum).At("least")
				}
				return sum, err
			})}}
}

// actor starts the test's actor.
func (n *net) actor() {
	n.t.Helper()
	h, err := actors.Start(n.t.Context(), markSpec(), actors.HostConfig{Dir: n.t.TempDir(),
		Log: quiet(), TickEvery: time.Hour,
		Connect: func(name string) (*nats.Conn, error) {
			return bus.Connect(n.server, "", name, quiet())
		}})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = h.Close() })
}

func (n *net) edge() *bus.Edge {
	e := bus.NewEdge(n.nc, n.js)
	n.t.Cleanup(func() { _ = e.Close() })
	return e
}

// listening is an edge that hears wake-ups.
func (n *net) listening() *bus.Edge {
	n.t.Helper()
	e := n.edge()
	if err := e.Listen(); err != nil {
		n.t.Fatal(err)
	}
	return e
}

func wantCode(t *testing.T, what string, err error, code api.Code) *api.Error {
	t.Helper()
	e := api.AsError(err)
	if e == nil || e.Code != code {
		t.Fatalf("%s: got %v, want %s", what, err, code)
	}
	return e
}

// A command is answered with its outcome, again and again, and ran once; the
// same id with another body is refused. ACCEPT S2 M2
func TestDo(t *testing.T) {
	n := newNet(t)
	n.actor()
	e := n.listening()
	ctx := within(t, 30*time.Second)
	for range 3 {
		var got int
		if err := e.Do(ctx, "a", &mark{N: 4}, &got); err != nil || got != 40 {
			t.Errorf("got %d, %v, want 40", got, err)
		}
	}
	if err := e.Do(ctx, "a", &mark{N: 4}, nil); err != nil {
		t.Errorf("without a value: %v", err)
	}
	wantCode(t, "another body", e.Do(ctx, "a", &mark{N: 5}, nil), api.CodeIDReused)
	for range 2 {
		got := wantCode(t, "refused", e.Do(ctx, "b", &mark{N: -1}, nil), api.CodeInvalid)
		if got.Place != "n" || string(got.Data) != "-1" {
			t.Errorf("got %+v", got)
		}
	}
	wantCode(t, "a refusal's id with another body", e.Do(ctx, "b", &mark{N: 1}, nil),
		api.CodeIDReused)
	var text string
	if err := e.Do(ctx, "c", &mark{N: 1}, &text); err == nil || api.AsError(err) != nil {
		t.Errorf("an outcome of another form: got %v, want a fault", err)
	}
	var sum int
	if err := e.Ask(ctx, &marked{}, &sum); err != nil || sum != 5 {
		t.Errorf("the sum is %d, %v, want 5", sum, err)
	}
}

// Fifty callers of one command get one answer, with and without wake-ups.
// ACCEPT S2
func TestDoAtOnce(t *testing.T) {
	n := newNet(t)
	n.actor()
	edges := []*bus.Edge{n.listening(), n.edge()}
	ctx := within(t, 30*time.Second)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			var got int
			if err := edges[i%2].Do(ctx, "same", &mark{N: 7}, &got); err != nil || got != 70 {
				t.Errorf("caller %d: got %d, %v, want 70", i, got, err)
			}
		})
	}
	wg.Wait()
	var sum int
	if err := edges[0].Ask(ctx, &marked{}, &sum); err != nil || sum != 7 {
		t.Errorf("the sum is %d, %v, want 7", sum, err)
	}
}

// Nobody decides: the caller hears that, and the same id is decided later.
// ACCEPT S7 S9
func TestDoPending(t *testing.T) {
	n := newNet(t)
	e := n.listening()
	err := e.Do(within(t, 400*time.Millisecond), "a", &mark{N: 4}, nil)
	if !errors.Is(err, bus.ErrPending) || !errors.Is(err, context.DeadlineExceeded) ||
		api.AsError(err) != nil {
		t.Errorf("got %v, want %v", err, bus.ErrPending)
	}
	n.actor()
	var got int
	if err := e.Do(within(t, 30*time.Second), "a", &mark{N: 4}, &got); err != nil || got != 40 {
		t.Errorf("got %d, %v, want 40", got, err)
	}
	var sum int
	if err := e.Ask(t.Context(), &marked{}, &sum); err != nil || sum != 4 {
		t.Errorf("the sum is %d, %v, want 4", sum, err)
	}
}

// A message that got lost before it was stored is published again.
func TestDoPublishesAgain(t *testing.T) {
	n := bare(t)
	e := n.listening()
	lost, err := n.nc.SubscribeSync(bus.MailboxSubject("goods", "mark"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx := within(t, 30*time.Second)
	go func() { done <- e.Do(ctx, "a", &mark{N: 4}, nil) }()
	if _, err := lost.NextMsg(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := bus.Setup(t.Context(), n.js, 0); err != nil {
		t.Fatal(err)
	}
	n.actor()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Without NATS the answer is a refusal that says so, also for what is under way,
// long before it would give up; and all goes on when NATS is back.
func TestDoUnavailable(t *testing.T) {
	t.Parallel()
	n := &net{t: t, dir: t.TempDir()}
	n.serve("127.0.0.1:0")
	listen := strings.TrimPrefix(n.server.URL(), "nats://")
	nc, err := bus.Connect(nil, n.server.URL(), "edge", quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	n.nc = nc
	if n.js, err = bus.NewJetStream(nc, func(*nats.Msg, error) {}); err != nil {
		t.Fatal(err)
	}
	if err := bus.Setup(t.Context(), n.js, 0); err != nil {
		t.Fatal(err)
	}
	e := n.listening()
	ctx := within(t, time.Minute)
	asked, err := nc.SubscribeSync(bus.QuerySubject("goods", "marked"))
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 2)
	go func() { errs <- e.Do(ctx, "a", &mark{N: 4}, nil) }()
	go func() { errs <- e.Ask(ctx, &marked{}, new(int)) }()
	if _, err := asked.NextMsg(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	n.stored("GOODS", 1)
	n.server.Shutdown()
	for i, err := range []error{<-errs, <-errs, e.Do(ctx, "b", &mark{N: 4}, nil),
		e.Ask(ctx, &marked{}, new(int))} {
		got := wantCode(t, "without NATS", err, api.CodeUnavailable)
		if i < 2 && !strings.Contains(got.Message, "connection to NATS is lost") {
			t.Errorf("under way: got %s", got.Message)
		}
		if e.Connected() || ctx.Err() != nil {
			t.Errorf("connected: %v, ended: %v", e.Connected(), ctx.Err())
		}
	}
	if err := asked.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	n.serve(listen)
	n.actor()
	eventually(t, "decided", func() bool {
		var got int
		return e.Do(ctx, "a", &mark{N: 4}, &got) == nil && got == 40
	})
}

// What no actor could take is refused before it is sent.
func TestDoRefusesBeforeItSends(t *testing.T) {
	n := newNet(t)
	e := n.edge()
	for _, id := range []string{"", "a b", "a.b", "a>", "a*", "a~b", "ä", "a\x00", "a\n", "a/b",
		strings.Repeat("a", 201)} {
		wantCode(t, fmt.Sprintf("%q", id), e.Do(t.Context(), id, &mark{}, nil), api.CodeInvalid)
	}
	large := &mark{Fill: strings.Repeat("x", api.MaxMessage)}
	wantCode(t, "large", e.Do(t.Context(), "a", large, nil), api.CodeTooLarge)
	if err := e.DoVerb(t.Context(), large.Route(), "a", make(chan int), nil); err == nil ||
		api.AsError(err) != nil {
		t.Errorf("no JSON: got %v, want a fault", err)
	}
	if got := n.state("GOODS").LastSeq; got != 0 {
		t.Errorf("%d messages were sent", got)
	}
	for _, id := range []string{"a", "0", "A-Z_z:9", strings.Repeat("a", 200)} {
		err := e.DoVerb(within(t, 10*time.Millisecond), large.Route(), id, &mark{}, nil)
		if !errors.Is(err, bus.ErrPending) {
			t.Errorf("%s: got %v, want %v", id, err, bus.ErrPending)
		}
	}
}

// A mailbox that is nearly full of what its actor has not handled takes no
// more from edges, until the actor has caught up.
func TestDoBusy(t *testing.T) {
	n := newNet(t)
	m := n.mailbox()
	seek(t, m, bus.Place{}, forever)
	c := n.stream("GOODS").CachedInfo().Config
	c.MaxBytes = 100 << 10
	if _, err := n.js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	e := n.edge()
	body := []byte(`"` + strings.Repeat("x", 1000) + `"`)
	for i := range 85 {
		n.put(bus.MailboxSubject("goods", "note"), fmt.Sprintf("m-%d", i), nil, body)
	}
	// The id is the same, so that asking adds nothing to the stream.
	do := func() error { return e.Do(within(t, 20*time.Millisecond), "a", &mark{}, nil) }
	eventually(t, "busy", func() bool {
		refusal := api.AsError(do())
		return refusal != nil && refusal.Code == api.CodeBusy
	})
	got := receive(t, m, int(n.state("GOODS").LastSeq))
	if err := m.Ack(&got[len(got)-1]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no longer busy", func() bool { return errors.Is(do(), bus.ErrPending) })
}
