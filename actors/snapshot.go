package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ordo/bus"
	"ordo/stores"
)

// Which snapshots are taken and kept.
const (
	// keepSnapshots and keepSnapshotBytes are the most that are kept of an
	// actor; the newest always is.
	keepSnapshots     = 4
	keepSnapshotBytes = 8 << 30
	// snapshotLook is the time between two looks for a cut, historyLook for how
	// near retention has come.
	snapshotLook = time.Second
	historyLook  = 10 * time.Second
	// deadEvery and historyEvery are the least times between snapshots for dead
	// letters and for retention; after any snapshot snapshotRest times what it
	// took goes by as well.
	deadEvery    = time.Minute
	historyEvery = 30 * time.Second
	snapshotRest = 10
	// snapshotPace is how many times as long as it works the copying rests.
	snapshotPace = 1
	// nearShare is the part of what a stream may hold that is left to the newest
	// start of a rebuilding when a new one is due: a quarter.
	nearShare = 4
)

// snapshots takes copies of an actor's file from which it can be rebuilt with
// what follows in its stream: after a cut, and before retention has the newest
// one's place.
type snapshots struct {
	engine  *Engine
	history *bus.History
	// ready tells whether the actor stands in its present stream.
	ready func() bool
	log   *slog.Logger

	kept   []Snapshot // the oldest first
	took   time.Duration
	last   time.Time // when the last one was taken, or failed
	looked time.Time // at the stream
}

func newSnapshots(h *Host) *snapshots {
	return &snapshots{engine: h.engine, history: bus.OpenHistory(h.js, h.spec.Name),
		ready: h.ready.Load, log: h.log}
}

// run looks every second whether a snapshot is due, until ctx ends.
func (s *snapshots) run(ctx context.Context) {
	if err := s.list(ctx); err != nil && ctx.Err() == nil {
		s.log.Warn("snapshots can't be listed", "err", err)
	}
	ticker := time.NewTicker(snapshotLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		why := s.due(ctx)
		if why == "" {
			continue
		}
		began := time.Now()
		err := s.take(ctx)
		s.took, s.last = time.Since(began), time.Now()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.log.Warn("no snapshot", "for", why, "err", err)
			s.took = max(s.took, deadEvery/snapshotRest)
		default:
			n := &s.kept[len(s.kept)-1]
			s.log.Info("snapshot", "for", why, "seq", n.Anchor.Seq, "bytes", n.Bytes,
				"took", s.took.Round(time.Millisecond))
			if err := s.prune(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("old snapshots are kept for now", "err", err)
			}
		}
	}
}

// list finds the snapshots of the file; those of another one that was there
// before are no start for it.
func (s *snapshots) list(ctx context.Context) error {
	live, err := ReadStanding(ctx, s.engine.file.Path)
	if err != nil {
		return err
	}
	all, err := Snapshots(ctx, s.engine.file.Path)
	s.kept = slices.DeleteFunc(all, func(k Snapshot) bool { return !isPrefix(k.Cuts, live.Cuts) })
	return err
}

// due says why a snapshot should be taken; empty for none.
func (s *snapshots) due(ctx context.Context) string {
	cut, hard, pending := s.engine.lastCuts()
	since := time.Since(s.last)
	if pending || !s.ready() || s.engine.Anchor().Seq == 0 || since < snapshotRest*s.took {
		return ""
	}
	var known int64
	if n := len(s.kept); n > 0 {
		known = s.kept[n-1].lastCut()
	}
	switch {
	case hard > known:
		return "cut"
	case cut > known && since > deadEvery:
		return "dead letter"
	case since > historyEvery && time.Since(s.looked) > historyLook:
		s.looked = time.Now()
		return s.retention(ctx, hard)
	}
	return ""
}

// retention says whether the stream is about to drop what follows the newest
// place that a rebuilding can start at.
func (s *snapshots) retention(ctx context.Context, hard int64) string {
	state, err := s.history.State(ctx)
	if err != nil {
		return "" // asked again
	}
	start, at := uint64(0), state.FirstTime
	if n := len(s.kept); n > 0 {
		a := &s.kept[n-1].Anchor
		if int64(a.Created) != state.Created {
			return "" // the seek that follows is a cut
		}
		start, at = a.Seq, a.At.Std()
	} else if hard > 0 {
		return ""
	}
	if start >= state.Last {
		return ""
	}
	if start+1 < state.First {
		return "retention has passed the last one"
	}
	before := float64(start+1-state.First) / float64(state.Last+1-state.First) *
		float64(state.Bytes)
	if state.MaxBytes > 0 &&
		float64(state.MaxBytes-state.Bytes)+before < float64(state.MaxBytes/nearShare) {
		return "retention by size"
	}
	if state.MaxAge > 0 && time.Since(at) > state.MaxAge-state.MaxAge/nearShare {
		return "retention by age"
	}
	return ""
}

// take copies the file.
func (s *snapshots) take(ctx context.Context) error {
	dir := SnapshotDir(s.engine.file.Path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	taken := filepath.Join(dir, "taking.db")
	if err := os.Remove(taken); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := stores.Snapshot(ctx, s.engine.file.Path, taken, snapshotPace); err != nil {
		return err
	}
	standing, err := ReadStanding(ctx, taken)
	if err != nil {
		return err
	}
	n := Snapshot{Standing: *standing, Path: filepath.Join(dir, snapshotName(standing))}
	if err := stores.Publish(taken, n.Path); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	info, err := os.Stat(n.Path)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	n.Bytes = info.Size()
	if len(s.kept) > 0 && s.kept[len(s.kept)-1].Path == n.Path {
		s.kept = s.kept[:len(s.kept)-1]
	}
	s.kept = append(s.kept, n)
	return nil
}

// prune drops snapshots, the oldest first, that are over the limits, or that
// the stream does not go on from any more.
func (s *snapshots) prune(ctx context.Context) error {
	state, err := s.history.State(ctx)
	if err != nil {
		return err
	}
	var bytes int64
	for i := range s.kept {
		bytes += s.kept[i].Bytes
	}
	for len(s.kept) > 1 {
		old := &s.kept[0]
		useful := int64(old.Anchor.Created) == state.Created && old.Anchor.Seq+1 >= state.First
		if useful && len(s.kept) <= keepSnapshots && bytes <= keepSnapshotBytes {
			return nil
		}
		if err := os.Remove(old.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("snapshot: %w", err)
		}
		bytes -= old.Bytes
		s.kept = s.kept[1:]
	}
	return nil
}
