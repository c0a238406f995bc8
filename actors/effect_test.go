package actors_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/api"
	"ordo/bus"
)

// outcome is a worker's report.
type outcome struct{ api.Outcome }

func (*outcome) Route() api.Route { return api.Route{Actor: "goods", Verb: api.VerbOutcome} }

// final is a final outcome, under an id of its own.
func final(a *actorstest.Actor, id, effect, data string) {
	a.T.Helper()
	a.MustEdge(id, &outcome{api.Outcome{Effect: effect, Attempt: 1, Final: true,
		Data: json.RawMessage(data)}})
}

// attempts are the effects that the last batch announced.
func attempts(a *actorstest.Actor) string {
	s := ""
	for _, f := range a.Out.Effects {
		s += fmt.Sprintf("%s %s %d %s;", f.Name, f.ID, f.Attempt, f.Body)
	}
	return s
}

// ACCEPT M4: an effect is announced at once and, while it is open, again and
// again, ever more seldom; after a restart as before.
func TestEffectIsAnnouncedUntilItIsDone(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	a.MustEdge("m-1", &act{Write: []int{1}, Begin: "fx"})
	if got := attempts(a); got != "probe fx 1 [1];" {
		t.Errorf("announced %q", got)
	}
	a.Restart()
	var last time.Duration
	for attempt := 2; attempt < 9; attempt++ {
		began := a.Now
		for a.Tick(); len(a.Out.Effects) == 0; a.Tick() {
			if a.Advance(30 * time.Second); a.Now.Sub(began) > time.Hour {
				t.Fatal("not announced for an hour")
			}
		}
		if got, want := attempts(a), fmt.Sprintf("probe fx %d [1];", attempt); got != want {
			t.Errorf("announced %q, want %q", got, want)
		}
		wait := a.Now.Sub(began)
		if lo := bus.EffectDelay("fx", bus.EffectTries+attempt-2); wait < lo ||
			wait > lo+31*time.Second {
			t.Errorf("attempt %d after %s, want after %s", attempt, wait, lo)
		}
		if wait < last {
			t.Errorf("attempt %d after %s, the one before after %s", attempt, wait, last)
		}
		last = wait
	}
	if last > 14*time.Minute {
		t.Errorf("the last attempt is %s after the one before", last)
	}
	final(a, "o-1", "fx", `[5]`)
	a.Advance(time.Hour)
	if a.Tick(); len(a.Out.Effects) != 0 {
		t.Errorf("announced %q though it is done", attempts(a))
	}
}

// An effect is begun once, whoever begins it again; one that is done is not
// begun again.
func TestEffectOnce(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	a.MustEdge("m-1", &act{Begin: "fx"})
	for i, m := range []*act{{Begin: "fx"}, {Begin: "fx", After: time.Minute}, {Begin: "fx"}} {
		if a.MustEdge(fmt.Sprintf("again-%d", i), m); len(a.Out.Effects) != 0 {
			t.Errorf("announced %q again", attempts(a))
		}
		if i == 1 {
			final(a, "o-1", "fx", `1`)
		}
	}
	wantCounts(a, map[string]int{"_effect": 1})
}

// The first final outcome counts and has its handler called; the same again is
// nothing, another one an incident. ACCEPT Y9
func TestOutcomes(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	a.MustEdge("m-1", &act{Begin: "fx"})
	a.MustEdge("o-unknown", &outcome{api.Outcome{Effect: "fx", Attempt: 1}}) // not final
	final(a, "o-nobody", "nobody", `1`)
	if len(a.Out.Sent) != 0 {
		t.Errorf("sent %v", a.Subjects())
	}
	final(a, "o-1", "fx", `7`)
	if got := actorstest.Only[parcel](a); got.N != 1 || string(got.Text) != "7" {
		t.Errorf("the handler got %+v", got)
	}
	for i, o := range []struct {
		data      string
		incidents int
	}{{`7`, 0}, {`8`, 1}, {`7`, 1}, {`null`, 1}} {
		if final(a, fmt.Sprintf("again-%d", i), "fx", o.data); len(a.Out.Sent) != 0 {
			t.Errorf("outcome %d was handled again", i)
		}
		wantCounts(a, map[string]int{"_incident": o.incidents})
	}
	var state, data string
	if err := file(a).QueryRow(`SELECT state, outcome FROM _effect`).Scan(&state, &data); err != nil ||
		state != "closed" || data != `7` {
		t.Errorf("the effect is %s with %s, %v", state, data, err)
	}
	wantCounts(a, map[string]int{"_dead": 0})
}

// What an outcome's handler can't handle leaves the effect open, to be tried
// again. ACCEPT M5
func TestOutcomeThatFaults(t *testing.T) {
	spec := probeSpec()
	spec.Outcomes["probe"] = func(_ *actors.Tx, o *api.Outcome) error {
		return fmt.Errorf("can't take %s", o.Data)
	}
	a := actorstest.New(t, spec)
	a.MustEdge("m-1", &act{Begin: "fx"})
	r := a.Edge("o-1", &outcome{api.Outcome{Effect: "fx", Final: true, Data: []byte(`1`)}})
	wantRefusal(t, "outcome", r.Refusal, api.CodeInternal)
	if open, err := a.Engine.OpenEffects(); err != nil || len(open) != 1 {
		t.Errorf("open: %+v, %v", open, err)
	}
	wantCounts(a, map[string]int{"_dead": 1})
	r = a.Edge("o-2", &rawMessage{api.VerbOutcome, `[`})
	wantRefusal(t, "no JSON", r.Refusal, api.CodeInternal)
}

// Effects without a handler are just closed.
func TestOutcomeWithoutAHandler(t *testing.T) {
	spec := probeSpec()
	spec.Outcomes = nil
	a := actorstest.New(t, spec)
	a.MustEdge("m-1", &act{Begin: "fx"})
	if final(a, "o-1", "fx", `1`); len(a.Out.Sent) != 0 {
		t.Errorf("sent %v", a.Subjects())
	}
	if open, err := a.Engine.OpenEffects(); err != nil || len(open) != 0 {
		t.Errorf("open: %+v, %v", open, err)
	}
}

// A tick handles so many effects and no more, and sends itself the next one.
func TestTickGoesOn(t *testing.T) {
	const total = actors.SweepLimit + 10
	spec := probeSpec()
	spec.Tick = func(*actors.Tx) (bool, error) { return false, nil }
	a := actorstest.New(t, spec)
	var in []actors.Delivery
	for i := range total {
		in = append(in, edge(fmt.Sprintf("m-%d", i), &act{Begin: fmt.Sprintf("fx-%d", i)}))
	}
	a.Apply(in...)
	if n := len(a.Out.Effects); n != total {
		t.Errorf("%d announced, want %d", n, total)
	}
	a.Advance(time.Hour)
	a.Tick()
	if n, to := len(a.Out.Effects), a.Subjects(); n != actors.SweepLimit || len(to) != 1 ||
		to[0] != "ordo.goods.0."+api.VerbTick || a.Out.Sent[0].Receiver != "goods.0" {
		t.Errorf("%d announced, sent %v", n, to)
	}
	a.Tick()
	if n := len(a.Out.Effects); n != total-actors.SweepLimit || len(a.Out.Sent) != 0 {
		t.Errorf("%d announced, sent %v", n, a.Subjects())
	}
}

// The domain's own sweep is called again at once while it says that there is
// more, and its fault is not the end of ticks.
func TestTickOfADomain(t *testing.T) {
	left, faults := 3, 0
	spec := probeSpec()
	spec.Tick = func(tx *actors.Tx) (bool, error) {
		if faults > 0 {
			return false, fmt.Errorf("as asked")
		}
		left--
		_, err := tx.Exec(`INSERT INTO probe (n, at, id) VALUES (?, ?, '')`, left, tx.Now())
		return left > 0, err
	}
	a := actorstest.New(t, spec)
	for _, want := range []int{1, 1, 0} {
		if a.Tick(); len(a.Out.Sent) != want {
			t.Errorf("sent %v, want %d ticks", a.Subjects(), want)
		}
	}
	wantRows(a, 0, 1, 2)
	faults = 1
	if a.Tick(); len(a.Out.Dead) != 1 {
		t.Errorf("left %+v", a.Out)
	}
	faults, left = 0, 10
	a.Tick()
	wantRows(a, 0, 1, 2, 9)
}

// A timer says when it is due and what comes back; its class is named with its
// delay in whole seconds, never too short. ACCEPT E1
func TestSendAfter(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	for delay, class := range map[time.Duration]string{15 * time.Minute: "probe-900s",
		time.Second: "probe-1s", 1500 * time.Millisecond: "probe-2s", time.Nanosecond: "probe-1s",
		0: "probe-0s", 3 * time.Hour: "probe-10800s"} {
		a.MustEdge("m-"+class+delay.String(), &act{Remind: "id-1", After: delay})
		if len(a.Out.Timers) != 1 {
			t.Fatalf("timers %+v", a.Out.Timers)
		}
		timer := a.Out.Timers[0]
		if timer.Class != class || timer.Due != api.TimeOf(a.Now).Add(delay) || timer.ID != "id-1" ||
			timer.Verb != "act" || string(timer.Body) != `{}` {
			t.Errorf("after %s: %+v", delay, timer)
		}
	}
	if a.MustEdge("none", &act{}); len(a.Out.Timers) != 0 {
		t.Errorf("timers %+v", a.Out.Timers)
	}
}

// An effect that is done is known for as long as its outcome may come again, and
// then forgotten; open ones never are. A tick forgets SweepLimit of them at most
// and has the next one come.
func TestDoneEffectsAreForgotten(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	a.MustEdge("m-1", &act{Begin: "fx"})
	a.MustEdge("m-2", &act{Begin: "open"})
	a.Advance(time.Hour)
	final(a, "o-1", "fx", `7`)
	a.Advance(actors.EffectMemory - time.Minute)
	a.Tick()
	final(a, "o-2", "fx", `8`)
	wantCounts(a, map[string]int{"_effect": 2, "_incident": 1})
	a.Advance(time.Minute)
	a.Tick()
	wantCounts(a, map[string]int{"_effect": 1})
	final(a, "o-3", "fx", `9`) // whoever comes then is nobody
	wantCounts(a, map[string]int{"_effect": 1, "_incident": 1, "_dead": 0})

	for i := range actors.SweepLimit + 1 {
		id := fmt.Sprint("many-", i)
		a.MustEdge("m-"+id, &act{Begin: id})
		final(a, "o-"+id, id, `1`)
	}
	a.Advance(actors.EffectMemory)
	a.Tick()
	wantCounts(a, map[string]int{"_effect": 2})
	if got := a.Subjects(); len(got) != 1 || got[0] != bus.MailboxSubject("goods", api.VerbTick) {
		t.Errorf("sent to %v", got)
	}
	a.Tick()
	wantCounts(a, map[string]int{"_effect": 1})
}
