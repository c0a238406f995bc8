package bus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"ordo/api"
	"ordo/bus"
)

func TestAsk(t *testing.T) {
	n := newNet(t)
	n.actor()
	e := n.edge()
	var sum int
	if err := e.Ask(t.Context(), &marked{}, &sum); err != nil || sum != 0 {
		t.Errorf("got %d, %v, want 0", sum, err)
	}
	got := wantCode(t, "refused", e.Ask(t.Context(), &marked{Least: 1}, &sum), api.CodeNotFound)
	if got.Place != "least" || got.Message != "only 0" {
		t.Errorf("got %+v", got)
	}
	var text string
	if err := e.Ask(t.Context(), &marked{}, &text); err == nil || api.AsError(err) != nil {
		t.Errorf("an answer of another form: got %v, want a fault", err)
	}
	nowhere := api.Route{Actor: "goods", Verb: "nowhere"}
	wantCode(t, "no endpoint", e.AskActor(t.Context(), nowhere, &marked{}, &sum),
		api.CodeUnavailable)
	wantCode(t, "no actor", e.AskActor(t.Context(), api.Route{Actor: "order", Verb: "order"},
		&marked{}, &sum), api.CodeUnavailable)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Ask(ctx, &marked{}, &sum); !errors.Is(err, context.Canceled) ||
		api.AsError(err) != nil {
		t.Errorf("broken off: got %v, want %v", err, context.Canceled)
	}
	if err := e.AskActor(t.Context(), nowhere, make(chan int), &sum); err == nil ||
		api.AsError(err) != nil {
		t.Errorf("no JSON: got %v, want a fault", err)
	}
}

// A fault of the one asked is no refusal.
func TestAskOfAFaultyActor(t *testing.T) {
	n := bare(t)
	for subject, data := range map[string]string{"text": "out of order", "empty": "", "json": "{}"} {
		sub, err := n.nc.Subscribe(bus.QuerySubject("goods", subject), func(m *nats.Msg) {
			_ = m.RespondMsg(&nats.Msg{Data: []byte(data), Header: nats.Header{
				"Nats-Service-Error": {"it broke"}, "Nats-Service-Error-Code": {"500"}}})
		})
		if err != nil {
			t.Fatal(err)
		}
		err = n.edge().AskActor(t.Context(), api.Route{Actor: "goods", Verb: subject},
			&marked{}, new(int))
		if err == nil || api.AsError(err) != nil {
			t.Errorf("%s: got %v, want a fault", subject, err)
		}
		if err := sub.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
	}
}

// An actor of the same process is asked directly, until it is detached.
func TestAttach(t *testing.T) {
	n := newNet(t)
	n.actor()
	e := n.edge()
	var asked string
	e.Attach("goods", func(name string, q, into any) error {
		asked = name
		if q.(*marked).Least > 0 {
			return api.Refuse(api.CodeNotFound, "none")
		}
		*into.(*int) = 77
		return nil
	})
	var sum int
	if err := e.Ask(t.Context(), &marked{}, &sum); err != nil || sum != 77 || asked != "marked" {
		t.Errorf("got %d from %q, %v, want 77 from marked", sum, asked, err)
	}
	wantCode(t, "refused", e.Ask(t.Context(), &marked{Least: 1}, &sum), api.CodeNotFound)
	e.Detach("goods")
	e.Detach("order")
	if err := e.Ask(t.Context(), &marked{}, &sum); err != nil || sum != 0 {
		t.Errorf("detached: got %d, %v, want 0", sum, err)
	}
}

// news is what a watch holds now; empty for nothing.
func news(w *bus.Watch) string {
	select {
	case b := <-w.C:
		return string(b)
	default:
		return ""
	}
}

// Whoever watches a key gets the newest of its news, and of no other key.
func TestWatch(t *testing.T) {
	n := bare(t)
	e := n.edge()
	first, second, other := e.Watch("ord_1"), e.Watch("ord_1"), e.Watch("ord_2")
	e.Notify("ord_1", []byte("a"))
	if a, b, c := news(first), news(second), news(other); a != "a" || b != "a" || c != "" {
		t.Errorf("got %q, %q, %q", a, b, c)
	}
	e.Notify("ord_1", []byte("b"))
	e.Notify("ord_1", []byte("c"))
	if a := news(first); a != "c" {
		t.Errorf("got %q, want the newest, c", a)
	}
	if a := news(first); a != "" {
		t.Errorf("got %q twice", a)
	}
	second.Stop()
	second.Stop()
	e.Notify("ord_1", []byte("d"))
	if a, b := news(first), news(second); a != "d" || b != "c" {
		t.Errorf("got %q, and %q after the stop", a, b)
	}
	first.Stop()
	e.Notify("ord_1", []byte("e"))
	e.Notify("nobody", []byte("f"))
	other.Stop()
	if a, c := news(first), news(other); a != "" || c != "" {
		t.Errorf("got %q and %q after the stop", a, c)
	}
}

// Wake-ups of other processes come over NATS to edges that listen.
func TestListen(t *testing.T) {
	n := bare(t)
	e, deaf := n.listening(), n.edge()
	w, none := e.Watch("ord_1"), deaf.Watch("ord_1")
	defer w.Stop()
	defer none.Stop()
	if err := n.connect("other").Publish(bus.WakeSubject("ord_1"), []byte("placed")); err != nil {
		t.Fatal(err)
	}
	select {
	case b := <-w.C:
		if string(b) != "placed" {
			t.Errorf("got %s", b)
		}
	case <-time.After(10 * time.Second):
		t.Error("the wake-up did not come")
	}
	if got := news(none); got != "" {
		t.Errorf("got %q without listening", got)
	}
}

// A wake-up that can't be read is a fault, and not taken for an answer.
func TestDoWithABrokenWakeUp(t *testing.T) {
	n := newNet(t)
	e := n.edge()
	done := make(chan error, 1)
	ctx := within(t, 20*time.Second)
	go func() { done <- e.Do(ctx, "a", &mark{}, nil) }()
	var err error
	eventually(t, "the caller to end", func() bool {
		e.Notify("a", []byte("{"))
		select {
		case err = <-done:
			return true
		default:
			return false
		}
	})
	if err == nil || api.AsError(err) != nil || errors.Is(err, bus.ErrPending) {
		t.Errorf("got %v, want a fault", err)
	}
}
