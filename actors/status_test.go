package actors_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/api"
	"ordo/bus"
)

// Questions that every actor answers.
type (
	listEffects struct{ api.ListEffects }
	knownSteps  struct{ api.GetSteps }
)

func (*listEffects) Endpoint() api.Route {
	return api.Route{Actor: "goods", Verb: api.EndpointEffects}
}

func (*knownSteps) Endpoint() api.Route {
	return api.Route{Actor: "goods", Verb: api.EndpointKnown}
}

// workFor begins an effect about an order.
type workFor struct {
	Order string `json:"order"`
	ID    string `json:"id"`
}

func (*workFor) Route() api.Route { return api.Route{Actor: "goods", Verb: "work-for"} }

func effects(a *actorstest.Actor, q api.ListEffects) []api.EffectView {
	a.T.Helper()
	var list api.EffectList
	if refusal := a.Ask(&listEffects{q}, &list); refusal != nil {
		a.T.Fatal(refusal)
	}
	return list.Effects
}

// ACCEPT M7: of an effect that fails it is known how often, why the last time, and
// when it is tried again; and it is found by its order when it is done.
func TestEffectKeepsItsError(t *testing.T) {
	spec := probeSpec()
	spec.Commands = append(spec.Commands, actors.On(func(tx *actors.Tx, m *workFor) error {
		return tx.Begin("probe", m.ID, m)
	}))
	a := actorstest.New(t, spec)
	for i, order := range []string{"ord_1", "ord_2"} {
		a.MustEdge(fmt.Sprint("m-", i), &workFor{order, fmt.Sprint("fx-", i)})
	}
	begun := api.TimeOf(a.Now)
	fail := func(n int, effect, why string) api.Time {
		a.MustEdge(fmt.Sprint("o-", n), &outcome{api.Outcome{Effect: effect, Attempt: 1, Error: why}})
		return api.TimeOf(a.Now)
	}
	fail(1, "fx-1", "no answer")
	at := fail(2, "fx-1", "the gateway is away")
	fail(3, "nobody", "x")
	want := []api.EffectView{{ID: "fx-1", Name: "probe", State: "open", Attempts: 2, At: begun,
		NextTry: at.Add(bus.EffectDelay("fx-1", 2)), Error: "the gateway is away", FailedAt: at}}
	if got := effects(a, api.ListEffects{Order: "ord_2"}); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := effects(a, api.ListEffects{}); len(got) != 2 {
		t.Errorf("open are %+v", got)
	}
	// The stream's quick tries are over: the actor's sweep is next.
	for n := 4; n < 4+bus.EffectTries; n++ {
		at = fail(n, "fx-1", "still away")
	}
	if got := effects(a, api.ListEffects{Order: "ord_2"})[0]; got.Attempts != 7 ||
		got.NextTry != begun.Add(bus.EffectDelay("fx-1", bus.EffectTries)) {
		t.Errorf("got %+v", got)
	}
	final(a, "o-final", "fx-1", `7`)
	fail(20, "fx-1", "late news")
	want[0].State, want[0].Attempts, want[0].NextTry = "closed", 7, 0
	want[0].Error, want[0].FailedAt = "still away", at
	if got := effects(a, api.ListEffects{Order: "ord_2"}); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := effects(a, api.ListEffects{}); len(got) != 1 || got[0].ID != "fx-0" {
		t.Errorf("open are %+v", got)
	}
}

// What an actor knows of an order's steps is told from the runtime's table, or
// from what the domain says.
func TestKnownSteps(t *testing.T) {
	step := func(order, name string) api.Step { return api.Step{Order: order, Name: name} }
	ask := func(a *actorstest.Actor) (list api.FoundList) {
		t.Helper()
		if refusal := a.Ask(&knownSteps{api.GetSteps{Order: "ord_1"}}, &list); refusal != nil {
			t.Fatal(refusal)
		}
		return list
	}
	a := actorstest.New(t, probeSpec())
	a.From("order", &stepDo{Step: step("ord_1", "goods.a")})
	a.From("order", &stepDo{Step: step("ord_2", "goods.a")})
	a.From("order", &stepUndo{Step: step("ord_1", "goods.b")})
	want := []api.FoundStep{{Name: "goods.a", State: "done"}, {Name: "goods.b", State: "undone"}}
	if got := ask(a); !reflect.DeepEqual(got.Found, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	spec := probeSpec()
	spec.Steps = `SELECT 'ord_' || n AS order_id, 'goods.probe' AS step, 0 AS occurrence,
		'asked' AS state FROM %[1]s.probe`
	a = actorstest.New(t, spec)
	a.MustEdge("m-1", &act{Write: []int{1, 2}})
	want = []api.FoundStep{{Name: "goods.probe", State: "asked"}}
	if got := ask(a); !reflect.DeepEqual(got.Found, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// ACCEPT M7: dead letters are found by what they are about.
func TestLettersContain(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	a.MustEdge("good", &act{})
	a.Edge("bad-ord_1", &act{Fault: true})
	a.Edge("bad-2", &act{Fault: true, Wake: "ord_2"})
	for text, want := range map[string]int{"": 2, "ord_1": 1, "ord_2": 1, "ord_3": 0,
		"ordo.goods": 2} {
		list := letters(a, api.ListLetters{Contains: text, State: "open"})
		if len(list.Letters) != want {
			t.Errorf("%d letters with %q, want %d", len(list.Letters), text, want)
		}
	}
}

// ACCEPT M7: every actor tells how it is, beside its queries and from the same
// process: what waits, what its receivers have not committed, and since when.
func TestActorStatus(t *testing.T) {
	w := newWorld(t)
	h := w.start(senderSpec("order"))
	status := func(actor string) (s api.ActorStatus) {
		t.Helper()
		if err := w.edge.AskActor(t.Context(), api.Route{Actor: actor, Verb: api.EndpointStatus}, nil,
			&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	eventually(t, "ready", func() bool { return status("order").Ready })
	before := api.TimeOf(time.Now())
	w.mustDo("order", "send", &goSend{0, 10}) // nobody is there to get them
	s := status("order")
	if s.Actor != "order" || s.Unconfirmed != 10 || s.Oldest < before ||
		s.Oldest > api.TimeOf(time.Now()) || s.Now < s.Oldest || s.Messages == 0 || s.Fault != "" {
		t.Errorf("status %+v", s)
	}
	if own := h.ActorStatus(t.Context()); own.Unconfirmed != 10 || own.Oldest != s.Oldest {
		t.Errorf("the host says %+v", own)
	}
	w.start(receiverSpec())
	eventually(t, "all confirmed", func() bool {
		s = status("order")
		return s.Unconfirmed == 0 && s.Lag == 0
	})
	if s.Oldest != 0 {
		t.Errorf("status %+v", s)
	}
	w.server.Shutdown()
	if own := h.ActorStatus(t.Context()); own.Lag != -1 || own.Fault == "" {
		t.Errorf("without NATS %+v", own)
	}
}
