package actorstest

import (
	"os"
	"testing"

	"ordo/actors"
)

// RunScenario plays a recorded scenario and fails the test where the actor does
// something else than it says.
func RunScenario(t testing.TB, spec *actors.Spec, s *actors.Scenario) {
	t.Helper()
	got, err := s.Play(t.Context(), spec, t.TempDir())
	if err != nil {
		t.Error(err)
		return
	}
	if text := s.Differs(got); text != "" {
		t.Errorf("%s: %s", s.Actor, text)
	}
}

// RunScenarios plays all scenarios of a file that `ordo tx show --export` has
// written, by the specs of their actors.
func RunScenarios(t testing.TB, path string, specs []*actors.Spec) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all, err := actors.ReadScenarios(text)
	if err != nil || len(all) == 0 {
		t.Fatalf("%s: %d scenarios, %v", path, len(all), err)
	}
	for i := range all {
		for _, spec := range specs {
			if spec.Name == all[i].Actor {
				RunScenario(t, spec, &all[i])
			}
		}
	}
}
