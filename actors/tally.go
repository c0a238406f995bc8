package actors

import (
	"maps"
	"strings"
	"sync"

	"ordo/bus"
)

// Counts are what an actor has done since the start of its process, as its
// committed batches tell it.
type Counts struct {
	// Repeats are messages that were recognised or out of order and passed over,
	// Gaps the batches in which some were missing, Dead new dead letters.
	Repeats, Gaps, Dead int64
	// Published are messages handed to the stream, Resent those of them that may
	// have been there before, and Unpublished those that it did not take.
	Published, Resent, Unpublished int64
	// Events are those emitted, by type; Steps, what was done of saga steps.
	Events map[string]int64
	Steps  map[StepDone]int64
}

// tally counts what is committed. Names of events and steps come from the
// domains, which have a few.
type tally struct {
	mu     sync.Mutex
	counts Counts
}

func (t *tally) add(out *Output) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &t.counts
	if c.Events == nil {
		c.Events, c.Steps = map[string]int64{}, map[StepDone]int64{}
	}
	c.Repeats += int64(out.Skipped)
	c.Gaps += int64(len(out.Missing))
	c.Dead += int64(len(out.Dead))
	for _, s := range out.Steps {
		c.Steps[s]++
	}
	for i := range out.Sent {
		rest, ok := strings.CutPrefix(out.Sent[i].Subject, bus.EventPrefix)
		if !ok {
			continue
		}
		// <domain>.<past tense>.<order>
		if end := strings.LastIndexByte(rest, '.'); end > 0 {
			c.Events[rest[:end]]++
		}
	}
}

// Counts tells what the actor has done.
func (h *Host) Counts() Counts {
	h.tally.mu.Lock()
	c := h.tally.counts
	c.Events, c.Steps = maps.Clone(c.Events), maps.Clone(c.Steps)
	h.tally.mu.Unlock()
	c.Published, c.Resent = h.pub.sent.Load(), h.pub.again.Load()
	c.Unpublished = h.pub.unsent.Load()
	return c
}
