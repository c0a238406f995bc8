package actors

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"ordo/api"
	"ordo/bus"
)

// tickPrefix begins the ids of ticks.
const tickPrefix = "tick-"

// canary knows when a tick was last committed: a message that has gone through
// NATS, the mailbox, a handler and a commit, as all others do. So it tells an
// actor that is stuck without a fault from one that has nothing to do, and costs
// no message of its own.
type canary struct {
	at   atomic.Int64 // ns
	took atomic.Int64 // ns
}

// see looks for ticks among what has just been committed.
func (c *canary) see(batch []Delivery) {
	for i := range batch {
		if d := &batch[i]; strings.HasPrefix(d.ID, tickPrefix) {
			now := time.Now().UnixNano()
			c.at.Store(now)
			c.took.Store(max(now-int64(d.At), 0))
		}
	}
}

// tick has the actor sweep its deadlines at every half minute, and once at the
// start. Only the owner sends ticks, and their ids are this process's: by the
// clock, one that steps back would have them taken for repeats.
func (h *Host) tick(ctx context.Context) {
	for n := 1; ; n++ {
		if _, err := bus.Publish(h.js, bus.MailboxSubject(h.spec.Name, api.VerbTick),
			fmt.Sprintf("%s%s-%s-%d", tickPrefix, h.spec.Name, h.lease.instance, n), nil,
			[]byte("{}")); err != nil {
			h.log.Warn("tick", "err", err)
		}
		now := time.Now()
		select {
		case <-ctx.Done():
			return
		case <-time.After(now.Truncate(h.cfg.TickEvery).Add(h.cfg.TickEvery).Sub(now)):
		}
	}
}
