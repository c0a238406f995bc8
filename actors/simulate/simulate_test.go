package simulate_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"ordo/actors/simulate"
)

// seedsFrom are the seeds to run: SEEDS of them from FROM on, both from the
// environment; few without.
func seedsFrom(t *testing.T, few uint64) (from, n uint64) {
	t.Helper()
	read := func(name string, otherwise uint64) uint64 {
		text := os.Getenv(name)
		if text == "" {
			return otherwise
		}
		v, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return v
	}
	return read("FROM", 0), read("SEEDS", few)
}

func templates(t *testing.T) simulate.Templates {
	t.Helper()
	all, err := simulate.NewTemplates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// run runs seeds on all processors, until one breaks a rule, and gives what
// each came to.
func run(t *testing.T, from, n uint64, each func(seed uint64, r *simulate.Result)) {
	t.Helper()
	all := templates(t)
	var next atomic.Uint64
	var broken atomic.Bool
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !broken.Load() {
				seed := from + next.Add(1) - 1
				if seed >= from+n {
					return
				}
				r := simulate.Run(all, simulate.Options{Seed: seed})
				if r.Broken != nil {
					broken.Store(true)
				}
				mu.Lock()
				each(seed, &r)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// enough is how many seeds meet every fault and every end.
const enough = 1000

// No schedule breaks a rule, and every kind of fault is met. A seed that does is
// told as a story. ACCEPT M2 M3 M4 M6 M9 M10 S2 S5 S6 S7 S8 E1 E2 E3 Y4 Y6 Y9
func TestSchedules(t *testing.T) {
	from, n := seedsFrom(t, 4)
	hits, ends := map[string]int{}, map[string]int{}
	run(t, from, n, func(seed uint64, r *simulate.Result) {
		for name, k := range r.Hits {
			hits[name] += k
		}
		for name, k := range r.Ends {
			ends[name] += k
		}
		if r.Broken != nil {
			text, _ := story(t, seed, r, ruleOf)
			t.Errorf("seed %d: %v\n%s", seed, r.Broken, text)
		}
	})
	t.Logf("%d seeds; orders ended as %v", n, ends)
	for _, name := range simulate.FaultNames() {
		t.Logf("%6d  %s", hits[name], name)
		if n >= enough && hits[name] == 0 {
			t.Errorf("no seed met: %s", name)
		}
	}
	for _, name := range []string{"paid", "cancelled timeout", "cancelled cancelled",
		"refused timeout", "refused out_of_stock", "refused price_changed", "refused coupon_used",
		"refused balance_too_low", "refund done", "refund denied", "refund failed"} {
		if n >= enough && ends[name] == 0 {
			t.Errorf("no order ended as: %s", name)
		}
	}
}

// A seed gives the same run to the byte, in this process and in another.
func TestSeedsRepeat(t *testing.T) {
	const seeds = 2
	all := templates(t)
	if os.Getenv("HASHES") != "" { // the other process
		for seed := range uint64(seeds) {
			r := simulate.Run(all, simulate.Options{Seed: seed})
			fmt.Printf("hash %d %x\n", seed, r.Hash)
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	other := exec.Command(self, "-test.run=^TestSeedsRepeat$")
	other.Env = append(os.Environ(), "HASHES=1")
	printed, err := other.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	seen := map[[32]byte]bool{}
	for seed := range uint64(seeds) {
		one := simulate.Run(all, simulate.Options{Seed: seed})
		two := simulate.Run(templates(t), simulate.Options{Seed: seed})
		if !bytes.Equal(one.Story, two.Story) || one.Hash != two.Hash {
			t.Errorf("seed %d tells two stories", seed)
		}
		if !bytes.Contains(printed, fmt.Appendf(nil, "hash %d %x\n", seed, one.Hash)) {
			t.Errorf("seed %d tells another story in another process:\n%s", seed, printed)
		}
		seen[one.Hash] = true
	}
	if len(seen) != seeds {
		t.Errorf("%d seeds told %d stories", seeds, len(seen))
	}
}

// TestStory prints the story of the seed FROM, as it is.
func TestStory(t *testing.T) {
	from, _ := seedsFrom(t, 1)
	r := simulate.Run(templates(t), simulate.Options{Seed: from})
	t.Logf("seed %d: %v\n%s", from, r.Broken, r.Story)
	if len(r.Story) == 0 {
		t.Error("nothing happened")
	}
}
