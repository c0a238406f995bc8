package simulate_test

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"ordo/actors/simulate"
	"ordo/api"
)

// mutantSeeds is within how many seeds a planted bug must be caught.
const mutantSeeds = 2000

// mutantList says what is planted where.
//
//go:embed testdata/mutants.diff
var mutantList string

// mutantFile is api/mutant.go of the build with the planted bugs.
const mutantFile = `package api

import "os"

// Mutant is the planted bug that is alive.
var Mutant = os.Getenv("MUTANT")

// MutantIs is SQL for whether a planted bug is alive.
func MutantIs(name string) string {
	if Mutant == name {
		return "TRUE"
	}
	return "FALSE"
}

// MutantAdds is 1 when a planted bug is alive, else 0.
func MutantAdds(name string) int64 {
	if Mutant == name {
		return 1
	}
	return 0
}
`

// mutant is a planted bug.
type mutant struct {
	name string
	// what is what the bug does.
	what    string
	changes []change
}

// change is lines of a file that become others.
type change struct{ file, old, new string }

// readMutants reads the list.
func readMutants(t *testing.T) (all []mutant) {
	t.Helper()
	for _, text := range strings.Split(mutantList, "\n== ")[1:] {
		name, text, _ := strings.Cut(text, "\n")
		what, text, _ := strings.Cut(text, "\n")
		m := mutant{name: name, what: what}
		for line := range strings.Lines(text) {
			rest := line[1:]
			var c *change
			if n := len(m.changes); n > 0 {
				c = &m.changes[n-1]
			}
			switch line[0] {
			case '\n':
			case '-':
				c.old += rest
			case '+':
				c.new += rest
			case ' ':
				c.old += rest
				c.new += rest
			default:
				m.changes = append(m.changes, change{file: strings.TrimSpace(line)})
			}
		}
		if len(m.changes) == 0 {
			t.Fatalf("%s changes nothing", name)
		}
		all = append(all, m)
	}
	if len(all) < 20 {
		t.Fatalf("only %d bugs", len(all))
	}
	return all
}

// overlay writes the changed files and the list of them for go build.
func overlay(t *testing.T, all []mutant) string {
	t.Helper()
	texts := map[string]string{"api/mutant.go": mutantFile}
	for _, m := range all {
		for _, c := range m.changes {
			if _, ok := texts[c.file]; !ok {
				b, err := os.ReadFile(filepath.Join("../..", c.file))
				if err != nil {
					t.Fatal(err)
				}
				texts[c.file] = string(b)
			}
			if n := strings.Count("\n"+texts[c.file], "\n"+c.old); n != 1 {
				t.Errorf("%s: its place stands %d times in %s; plant it anew:\n%s", m.name, n, c.file,
					c.old)
			}
			texts[c.file] = strings.Replace("\n"+texts[c.file], "\n"+c.old, "\n"+c.new, 1)[1:]
		}
	}
	dir := t.TempDir()
	replace := map[string]string{}
	for file, text := range texts {
		path := filepath.Join(dir, strings.ReplaceAll(file, "/", "-"))
		at, err := filepath.Abs(filepath.Join("../..", file))
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		replace[at] = path
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, api.Raw(map[string]any{"Replace": replace}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every planted bug is caught, so the checks are not blind. MUTANTS is all, or
// the name of one.
func TestMutants(t *testing.T) {
	all, only := readMutants(t), os.Getenv("MUTANTS")
	changed := overlay(t, all)
	if only == "" {
		t.Log("the bugs can be planted; make mutants does")
		return
	}
	binary := filepath.Join(t.TempDir(), "mutants.test")
	build := exec.Command("go", "test", "-c", "-overlay", changed, "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all = append([]mutant{{name: "none"}}, all...)
	lines := make([]string, len(all))
	var wg sync.WaitGroup
	free := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, m := range all {
		if only != "all" && only != m.name {
			continue
		}
		wg.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			lines[i] = hunt(t, binary, m)
		})
	}
	wg.Wait()
	t.Logf("\n%s", strings.Join(lines, ""))
}

// hunt looks for the first seed that catches a bug, and says which.
func hunt(t *testing.T, binary string, m mutant) string {
	c := exec.Command(binary, "-test.run=^TestHunt$", "-test.v")
	c.Env = append(os.Environ(), "MUTANT="+m.name)
	out, err := c.CombinedOutput()
	found := ""
	for line := range strings.Lines(string(out)) {
		if text, ok := strings.CutPrefix(line, "caught "); ok {
			found = text
		}
	}
	switch {
	case err != nil:
		t.Errorf("%s: %v\n%s", m.name, err, out)
	case m.name == "none" && found != "":
		t.Errorf("without a bug: %s", found)
	case m.name == "none":
		found = "nothing to be caught\n"
	case found == "":
		t.Errorf("%s is not caught within %d seeds: %s", m.name, mutantSeeds, m.what)
	}
	return fmt.Sprintf("%-26s %s", m.name, found)
}

// TestHunt runs in the build with the bugs: it stops at the first seed that
// breaks a rule.
func TestHunt(t *testing.T) {
	name := os.Getenv("MUTANT")
	if name == "" {
		t.Log("runs in the build of TestMutants")
		return
	}
	seeds := uint64(mutantSeeds)
	if name == "none" {
		seeds = 50
	}
	all := templates(t)
	for seed := range seeds {
		r := simulate.Run(all, simulate.Options{Seed: seed})
		if r.Broken != nil {
			fmt.Printf("caught by seed %d: %.100s\n", seed,
				strings.ReplaceAll(r.Broken.Error(), "\n", " "))
			return
		}
	}
}
