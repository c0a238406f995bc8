package actors

import (
	"context"
	"time"

	"ordo/api"
	"ordo/bus"
)

// Gauges are what an actor has to do and could not do, for metrics.
type Gauges struct {
	// Pending counts messages of the mailbox that are not committed yet.
	Pending uint64
	// Dead counts open dead letters, Effects open effects.
	Dead, Effects int64
	// Incidents counts all there were.
	Incidents int64
	// Oldest is when the oldest message was sent that its receiver has not been
	// seen to commit; 0 without any.
	Oldest api.Time
	// Timers counts those that wait, by class.
	Timers map[string]uint64
}

// Gauges reads them: from the file, and from the stream, which may be away.
func (h *Host) Gauges(ctx context.Context) (g Gauges, err error) {
	err = h.engine.read(func(v *View) error {
		return v.Row(`SELECT (SELECT count(*) FROM _dead WHERE state = 'open'),
			(SELECT count(*) FROM _effect WHERE state = 'open'),
			(SELECT coalesce(max(n), 0) FROM _incident)`).Scan(&g.Dead, &g.Effects, &g.Incidents)
	})
	if err != nil {
		return g, err
	}
	if g.Oldest, err = h.engine.oldestUnconfirmed(); err != nil {
		return g, err
	}
	if g.Pending, err = bus.Pending(ctx, h.js, h.spec.Name); err != nil {
		return g, err
	}
	g.Timers, err = h.timers.Pending(ctx)
	return g, err
}

// Canary tells how long ago a tick was last committed, and how long that one
// took from its storing to its commit; the time since the start and 0 before the
// first.
func (h *Host) Canary() (age, took time.Duration) {
	at := h.canary.at.Load()
	if at == 0 {
		return time.Since(h.started), 0
	}
	return time.Since(time.Unix(0, at)), time.Duration(h.canary.took.Load())
}

// Health is how an actor is, for operators.
type Health struct {
	Status
	// Lag counts messages of the mailbox that are not committed yet.
	Lag uint64 `json:"lag"`
	// OldestSeconds is the age of the oldest message sent that its receiver has not
	// been seen to commit; 0 without any.
	OldestSeconds float64 `json:"oldest_unconfirmed_s"`
	// CanarySeconds is how long ago a tick was last committed, CanaryTook how long
	// it took.
	CanarySeconds float64 `json:"canary_age_s"`
	CanaryTook    float64 `json:"canary_took_s"`
	// Dead counts open dead letters, Effects open effects, Incidents all ever,
	// Timers those that wait, by class.
	Dead      int64             `json:"dead_letters"`
	Effects   int64             `json:"effects_open"`
	Incidents int64             `json:"incidents"`
	Timers    map[string]uint64 `json:"timers,omitempty"`
	// Unread says what of this could not be read.
	Unread string `json:"unread,omitempty"`
}

// Health reads how the actor is.
func (h *Host) Health(ctx context.Context) *Health {
	a := &Health{Status: h.Status()}
	age, took := h.Canary()
	a.CanarySeconds, a.CanaryTook = age.Seconds(), took.Seconds()
	g, err := h.Gauges(ctx)
	if err != nil {
		a.Unread = err.Error()
	}
	a.Lag, a.Dead, a.Effects, a.Incidents, a.Timers = g.Pending, g.Dead, g.Effects, g.Incidents,
		g.Timers
	if g.Oldest != 0 {
		a.OldestSeconds = time.Since(g.Oldest.Std()).Seconds()
	}
	return a
}
