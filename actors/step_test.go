package actors_test

import (
	"fmt"
	"testing"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/api"
)

var step = api.Step{Order: "ord_1", Name: "goods.probe"}

// result is the one answer to the order actor.
func result(a *actorstest.Actor) string {
	a.T.Helper()
	r := actorstest.Only[api.StepResult](a)
	if r.Step.Order != step.Order || r.Step.Name != step.Name {
		a.T.Errorf("the answer is to %+v", r.Step)
	}
	text := "done"
	if r.Undo {
		text = "undone"
	}
	if r.Refusal != nil {
		text = string(r.Refusal.Code) + " " + r.Refusal.Place + string(r.Refusal.Data)
	}
	return text + string(r.Data)
}

// Each do and each undo has its effect once, in whatever order they come and
// however often they are told; the answer is always the first one. ACCEPT S8
func TestSteps(t *testing.T) {
	do := &stepDo{step, act{Write: []int{1}, Send: []int{7}}}
	plain := &stepDo{step, act{}}
	refused := &stepDo{step, act{Write: []int{1}, Send: []int{7}, Refuse: true}}
	refusedFirst := &stepDo{step, act{Refuse: true}}
	undo := &stepUndo{step, act{Write: []int{2}}}
	type told struct {
		m    api.Message
		want string
	}
	for name, c := range map[string]struct {
		told []told
		rows []int
	}{
		"done once": {[]told{{do, "done[1]"}, {do, "done[1]"}, {do, "done[1]"}}, []int{1}},
		"no data":   {[]told{{plain, "done"}, {plain, "done"}}, nil},
		"refused":   {[]told{{refused, "invalid refuse[1]"}, {refused, "invalid refuse[1]"}}, nil},
		"refused, then another": {[]told{{refusedFirst, "invalid refusenull"},
			{do, "invalid refusenull"}}, nil},
		"undone once": {[]told{{do, "done[1]"}, {undo, "undone"}, {undo, "undone"}}, []int{1, 2}},
		"undo of nothing, then the late do": {[]told{{undo, "undone"}, {do, "undone before"},
			{undo, "undone"}, {do, "undone before"}}, nil},
		"do after the undo": {[]told{{do, "done[1]"}, {undo, "undone"}, {do, "undone before"}},
			[]int{1, 2}},
		"undo of a refusal": {[]told{{refused, "invalid refuse[1]"}, {undo, "undone"},
			{do, "undone before"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, restart := range []bool{false, true} {
				a := actorstest.New(t, probeSpec())
				for i, told := range c.told {
					want := told.want
					if want == "undone before" {
						want = string(api.CodeUndone) + " "
					}
					if a.From("order", told.m); result(a) != want {
						t.Errorf("answer %d: got %s, want %s", i, result(a), want)
					}
					if restart {
						a.Restart()
					}
				}
				wantRows(a, c.rows...)
				wantCounts(a, map[string]int{"_step": 1, "_dead": 0})
			}
		})
	}
}

// What a step sends leaves with its answer, before it; a refused step sends
// nothing but its refusal, and opens no effect.
func TestStepsAndWhatTheySend(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	all := act{Send: []int{7, 8}, Begin: "fx", Remind: "later", Wake: "key"}
	a.From("order", &stepDo{step, all})
	if n := len(a.Out.Sent); n != 3 || len(a.Out.Effects) != 1 || len(a.Out.Timers) != 1 ||
		len(a.Out.Wakes) != 1 || a.Out.Sent[2].Receiver != "order.0" || a.Out.Sent[2].Number != 1 {
		t.Errorf("left: %+v", a.Out)
	}
	refused := all
	refused.Begin, refused.Refuse = "fx-2", true
	other := step
	other.Occurrence = 1
	a.From("order", &stepDo{other, refused})
	if len(a.Out.Sent) != 1 || len(a.Out.Effects)+len(a.Out.Timers)+len(a.Out.Wakes) != 0 {
		t.Errorf("a refused step left: %+v", a.Out)
	}
	r := actorstest.Only[api.StepResult](a)
	wantRefusal(t, "step", r.Refusal, api.CodeInvalid)
	if r.Occurrence != 1 {
		t.Errorf("the answer is to %+v", r.Step)
	}
	wantCounts(a, map[string]int{"_effect": 1, "_step": 2})
}

// Orders, steps and occurrences are apart.
func TestStepsAreApart(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	n := 0
	for _, order := range []string{"ord_1", "ord_2"} {
		for _, name := range []string{"goods.probe", "goods.other"} {
			for occurrence := range 3 {
				n++
				s := api.Step{Order: order, Name: name, Occurrence: occurrence}
				a.From("order", &stepDo{s, act{Write: []int{n}}})
				r := actorstest.Only[api.StepResult](a)
				if r.Step != s || string(r.Data) != fmt.Sprintf("[%d]", n) {
					t.Errorf("%+v was answered %+v", s, r)
				}
			}
		}
	}
	wantCounts(a, map[string]int{"_step": n, "probe": n})
}

// Many steps in one batch, some refused after they wrote, are as those told
// one by one.
func TestStepsInOneBatch(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	var in []actors.Delivery
	for i := range 30 {
		s := api.Step{Order: fmt.Sprintf("ord_%d", i), Name: "goods.probe"}
		in = append(in, channel(int64(i+1), &stepDo{s, act{Write: []int{i}, Refuse: i%3 == 0}}))
	}
	a.Apply(in...)
	results := actorstest.Sent[api.StepResult](a)
	if len(results) != 30 || len(a.Out.Sent) != 30 {
		t.Fatalf("%d answers among %d messages", len(results), len(a.Out.Sent))
	}
	for i, r := range results {
		if refused := r.Refusal != nil; refused != (i%3 == 0) ||
			r.Order != fmt.Sprintf("ord_%d", i) {
			t.Errorf("answer %d: %+v", i, r)
		}
	}
	wantCounts(a, map[string]int{"probe": 20, "_step": 30, "_dead": 0})
}

// A fault or a panic in a step or its undo does nothing and becomes a dead
// letter; the step may be told again. ACCEPT M5 S8
func TestStepsThatFault(t *testing.T) {
	for name, bad := range map[string]act{
		"fault":           {Write: []int{1}, Send: []int{7}, Fault: true},
		"panic":           {Write: []int{1}, Send: []int{7}, Panic: true},
		"constraint":      {Write: []int{1, 1}},
		"message too big": {Write: []int{1}, Send: []int{1}, Size: api.MaxMessage},
	} {
		t.Run(name, func(t *testing.T) {
			a := actorstest.New(t, probeSpec())
			a.From("order", &stepDo{step, bad})
			if len(a.Out.Sent) != 0 || len(a.Out.Dead) != 1 {
				t.Errorf("left: %+v", a.Out)
			}
			wantCounts(a, map[string]int{"_step": 0, "probe": 0, "_dead": 1})
			a.From("order", &stepDo{step, act{Write: []int{5}}})
			if got := result(a); got != "done[5]" {
				t.Errorf("got %s", got)
			}
			a.From("order", &stepUndo{step, bad})
			wantCounts(a, map[string]int{"probe": 1, "_dead": 2})
			a.From("order", &stepUndo{step, act{Write: []int{6}}})
			if got := result(a); got != "undone" {
				t.Errorf("got %s", got)
			}
			wantRows(a, 5, 6)
		})
	}
	t.Run("an undo that refuses", func(t *testing.T) {
		a := actorstest.New(t, probeSpec())
		a.From("order", &stepDo{step, act{Write: []int{5}}})
		a.From("order", &stepUndo{step, act{Write: []int{6}, Refuse: true}})
		if len(a.Out.Dead) != 1 || len(a.Out.Sent) != 0 {
			t.Errorf("left: %+v", a.Out)
		}
		wantRows(a, 5)
	})
}
