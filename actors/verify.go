package actors

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"ordo/bus"
	"ordo/stores"
)

// Verdicts of a verification.
const (
	// VerdictEqual: the rebuilt file has the same rows.
	VerdictEqual = "equal"
	// VerdictDiffers: a row differs.
	VerdictDiffers = "differs"
	// VerdictHole: the stream has lost a message that the file was made of.
	VerdictHole = "hole"
	// VerdictUnknown: there is nothing to rebuild the file from.
	VerdictUnknown = "unknown"
)

// Verification is what came of comparing a file with what its stream tells.
type Verification struct {
	Actor   string `json:"actor"`
	Verdict string `json:"verdict"`
	// Snapshot is the file that the rebuilding began with; empty for the
	// beginning of the stream.
	Snapshot string `json:"snapshot,omitempty"`
	// From and To are the messages that were handled anew, and how many.
	From     uint64 `json:"from,omitempty"`
	To       uint64 `json:"to,omitempty"`
	Messages int64  `json:"messages"`
	// Tables and Rows were compared.
	Tables int   `json:"tables"`
	Rows   int64 `json:"rows"`
	// Difference is the first one; nil for none.
	Difference *Difference `json:"difference,omitempty"`
	Hole       *Hole       `json:"hole,omitempty"`
	// Why is what is unknown.
	Why string `json:"why,omitempty"`
}

// Verify rebuilds an actor's file in the directory temp, which should be empty,
// from the stream and its snapshots, and compares every table but the runtime's
// own state of sending, and all that the file defines: triggers and indexes too. The file may be in
// use: it is compared as it is now, in a copy. The rebuilding begins as early as it can, to prove
// as much as it can. An error is a fault that says nothing about the file.
func Verify(ctx context.Context, spec *Spec, file string, h *bus.History, temp string) (
	*Verification, error) {
	v := &Verification{Actor: spec.Name}
	live := filepath.Join(temp, "live.db")
	if err := stores.Snapshot(ctx, file, live, 0); err != nil {
		return nil, err
	}
	standing, err := ReadStanding(ctx, live)
	if err != nil {
		return nil, err
	}
	snapshots, err := Snapshots(ctx, file)
	if err != nil {
		return nil, err
	}
	t := &Target{Spec: spec, Live: standing, Seq: standing.Anchor.Seq}
	starts, err := t.starts(ctx, h, snapshots)
	if errors.Is(err, ErrNoStart) {
		v.Verdict, v.Why = VerdictUnknown, err.Error()
		return v, nil
	}
	if err != nil {
		return nil, err
	}
	rebuilt := filepath.Join(temp, "rebuilt.db")
	r, err := t.rebuildFirst(ctx, h, starts, rebuilt)
	if err != nil {
		return nil, err
	}
	if r.From != nil {
		v.Snapshot = r.From.Path
	}
	v.From, v.To, v.Messages, v.Hole = r.start()+1, t.Seq, r.Messages, r.Hole
	if r.Hole != nil {
		v.Verdict = VerdictHole
		return v, nil
	}
	empty := filepath.Join(temp, "empty.db")
	if err := makeEmpty(ctx, spec, empty); err != nil {
		return nil, err
	}
	if err := v.compare(ctx, live, empty, (*comparison).schema); err != nil || v.Difference != nil {
		return v, err
	}
	return v, v.compare(ctx, live, rebuilt, (*comparison).run)
}

// makeEmpty makes a file that has the tables of a spec and no rows: what a
// snapshot has lost of them was lost before it.
func makeEmpty(ctx context.Context, spec *Spec, path string) error {
	e, err := OpenEngine(ctx, spec, path)
	if err != nil {
		return err
	}
	return e.Close()
}

// rebuildFirst rebuilds from the first start whose messages retention does not
// take away meanwhile.
func (t *Target) rebuildFirst(ctx context.Context, h *bus.History, starts []*Snapshot,
	path string) (*Rebuilding, error) {
	for i, from := range starts {
		r, err := t.rebuild(ctx, h, from, path)
		if err != nil {
			return nil, err
		}
		state, err := h.State(ctx)
		if err != nil {
			return nil, err
		}
		if r.Hole == nil || r.Hole.Last+1 != state.First || i == len(starts)-1 {
			return r, nil
		}
		if err := removeFile(path); err != nil {
			return nil, err
		}
	}
	return nil, ErrNoStart
}

// compare takes a comparison of two files as the verdict.
func (v *Verification) compare(ctx context.Context, live, other string,
	how func(*comparison, context.Context) (*Difference, error)) error {
	c, err := openComparison(ctx, live, other)
	if err != nil {
		return err
	}
	v.Difference, err = how(c, ctx)
	v.Tables, v.Rows = c.tables, c.rows
	if err = errors.Join(err, c.close()); err != nil {
		return fmt.Errorf("actors: verify %s: %w", v.Actor, err)
	}
	v.Verdict = VerdictEqual
	if v.Difference != nil {
		v.Verdict = VerdictDiffers
	}
	return nil
}
