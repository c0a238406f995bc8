package actors

import (
	"context"

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
}

// Gauges reads them: from the file, and from the stream, which may be away.
func (h *Host) Gauges(ctx context.Context) (g Gauges, err error) {
	err = h.engine.read(func(v *View) error {
		return v.Row(`SELECT (SELECT count(*) FROM _dead WHERE state = 'open'),
			(SELECT count(*) FROM _effect WHERE state = 'open'),
			(SELECT count(*) FROM _incident)`).Scan(&g.Dead, &g.Effects, &g.Incidents)
	})
	if err != nil {
		return g, err
	}
	g.Pending, err = bus.Pending(ctx, h.js, h.spec.Name)
	return g, err
}
