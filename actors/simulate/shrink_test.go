package simulate_test

import (
	"bytes"
	"flag"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ordo/actors/simulate"
)

// shrinkTime is how long rapid looks for a shorter story.
const shrinkTime = "60s"

// ruleOf is the rule that a run has broken, empty for none.
func ruleOf(r *simulate.Result) string {
	if r.Broken == nil {
		return ""
	}
	return r.Broken.Rule
}

// story is the shortest run found that is like a seed's and of which rule says
// the same, as a text: rapid leaves out as many of the seed's steps as it can.
func story(t *testing.T, seed uint64, r *simulate.Result,
	rule func(*simulate.Result) string) (text string, steps int) {
	t.Helper()
	for name, value := range map[string]string{"nofailfile": "true", "shrinktime": shrinkTime} {
		if err := flag.Set("rapid."+name, value); err != nil {
			t.Fatal(err)
		}
	}
	all, best, left := templates(t), r, r.Steps
	known := map[string]bool{} // many draws leave out the same
	stay := map[int]bool{}
	rapid.Check(&quietly{t}, func(rt *rapid.T) {
		skip := skips(rt, r.Steps, stay, len(known) == 0)
		same, ok := known[string(skip)]
		if !ok {
			got := simulate.Run(all, simulate.Options{Seed: seed, Steps: r.Steps,
				Skip: func(step int) bool { return skip[step] == 's' }})
			same = rule(&got) == rule(r)
			known[string(skip)] = same
			if kept := bytes.Count(skip, []byte{'k'}); same && kept < left {
				best, left = &got, kept
			}
		}
		if same {
			rt.Fatalf("%s", rule(r)) // no more, which would differ from run to run
		}
	})
	return fmt.Sprintf("The story with %d of %d steps, the shortest of %d:\n%s", left, r.Steps,
		len(known), best.Story), left
}

// skips draws which steps are left out ('s') and kept ('k'), first in large
// pieces, so that little is tried in vain. What is drawn as 0 is left out: rapid
// tries that first. The first time all are kept, since that is known to break
// the rule, and what is 0 then is noted in stay and kept for good.
func skips(rt *rapid.T, steps int, stay map[int]bool, first bool) []byte {
	skip := bytes.Repeat([]byte{'k'}, steps)
	n := 0
	for _, size := range [...]int{128, 32, 8, 2, 1} {
		for at := 0; at < steps; at += size {
			n++
			if rapid.Uint64().Draw(rt, "keep") != 0 || stay[n] {
				continue
			}
			if first {
				stay[n] = true
				continue
			}
			for i := at; i < min(at+size, steps); i++ {
				skip[i] = 's'
			}
		}
	}
	return skip
}

// quietly keeps rapid's own report, which has a line a draw, from the test's:
// that a rule is broken has been said.
type quietly struct{ testing.TB }

func (*quietly) Logf(string, ...any)   {}
func (*quietly) Log(...any)            {}
func (*quietly) Errorf(string, ...any) {}
func (*quietly) Fatalf(string, ...any) {}
func (*quietly) Error(...any)          {}
func (*quietly) Fatal(...any)          {}
func (*quietly) FailNow()              {}
func (*quietly) Fail()                 {}

// What a run comes to is told as a story of few steps; here, that an order was
// paid.
func TestStoryIsShort(t *testing.T) {
	paid := func(r *simulate.Result) string {
		if r.Ends["paid"] > 0 {
			return "an order is paid"
		}
		return ""
	}
	all := templates(t)
	for seed := uint64(0); ; seed++ {
		r := simulate.Run(all, simulate.Options{Seed: seed, Steps: 60})
		if paid(&r) == "" {
			continue
		}
		text, steps := story(t, seed, &r, paid)
		t.Logf("seed %d: %s", seed, text)
		if steps > r.Steps/3 || !strings.Contains(text, "is paid") {
			t.Errorf("the story of seed %d has %d steps", seed, steps)
		}
		return
	}
}
