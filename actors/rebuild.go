package actors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

// ErrNoStart is returned when a file can't be rebuilt, because neither the
// stream nor a snapshot goes back to where it would have to begin.
var ErrNoStart = errors.New("there is nothing to rebuild it from")

// Hole is a run of messages that a stream does not hold, or not as they were.
type Hole struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// String is for people.
func (h Hole) String() string {
	if h.First == h.Last {
		return fmt.Sprintf("message %d is not in the stream, or is damaged", h.First)
	}
	return fmt.Sprintf("messages %d to %d are not in the stream", h.First, h.Last)
}

// Target is what to rebuild: a file as it was after a message.
type Target struct {
	Spec *Spec
	// Live is what the actor's file says of itself.
	Live *Standing
	// Seq is the last message to handle, at most Live's anchor; with Until, the
	// last one of a time up to it.
	Seq   uint64
	Until api.Time
}

// Rebuilding is how a file was rebuilt.
type Rebuilding struct {
	// From is the snapshot that it began with; nil for the stream's beginning.
	From *Snapshot
	// Messages were handled since.
	Messages int64
	// Anchor is where it has come to.
	Anchor Anchor
	// Hole ended it early; nil for none.
	Hole *Hole
}

// start is the sequence number of the last message that was not handled anew.
func (r *Rebuilding) start() uint64 {
	if r.From == nil {
		return 0
	}
	return r.From.Anchor.Seq
}

// starts are the places that a target can be rebuilt from, the earliest first;
// nil stands for the beginning of the stream.
func (t *Target) starts(ctx context.Context, h *bus.History, snapshots []Snapshot) (
	[]*Snapshot, error) {
	live := &t.Live.Anchor
	if t.Live.Rules != t.Spec.Rules() {
		return nil, fmt.Errorf("%w: the file was written by rules %q, this program has %q",
			ErrNoStart, t.Live.Rules, t.Spec.Rules())
	}
	state, err := h.State(ctx)
	if err != nil {
		return nil, err
	}
	if live.Seq == 0 {
		return []*Snapshot{nil}, nil
	}
	if int64(live.Created) != state.Created {
		return nil,
			fmt.Errorf("%w: the stream was made anew after the file's last message", ErrNoStart)
	}
	hard := t.Live.hardCut(t.Seq)
	var all []*Snapshot
	if hard == 0 && state.First == 1 {
		all = append(all, nil)
	}
	for i := range snapshots {
		s := &snapshots[i]
		if !t.leadsTo(s, hard) || s.Anchor.Seq+1 < state.First {
			continue
		}
		held := s.Anchor.Seq+1 == state.First // the message itself has just gone
		if !held {
			if held, err = h.Holds(ctx, s.Anchor.place()); err != nil {
				return nil, err
			}
		}
		if held {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: the stream begins with message %d, the last cut is %s, and "+
			"no snapshot follows it", ErrNoStart, state.First, t.Live.cutText(hard))
	}
	return all, nil
}

// leadsTo tells whether a snapshot is of the same file and stream, from before
// the target, and of after its last hard cut.
func (t *Target) leadsTo(s *Snapshot, hard int64) bool {
	return s.Anchor.Created == t.Live.Anchor.Created && s.Anchor.Seq <= t.Seq &&
		s.lastCut() >= hard && isPrefix(s.Cuts, t.Live.Cuts) &&
		(t.Until <= 0 || s.Now <= t.Until)
}

// isPrefix tells whether a snapshot with these cuts is one of the file with all
// of them.
func isPrefix(some, all []Cut) bool {
	return len(some) <= len(all) && slices.Equal(some, all[:len(some)])
}

func (s *Standing) cutText(n int64) string {
	for _, c := range s.Cuts {
		if c.N == n {
			return fmt.Sprintf("at message %d (%s: %s)", c.Seq, c.Reason, c.Text)
		}
	}
	return "none"
}

// rebuild makes a file at path out of a start and the messages that follow it.
// Nothing of it is published. The file is a new owner's.
func (t *Target) rebuild(ctx context.Context, h *bus.History, from *Snapshot, path string) (
	r *Rebuilding, err error) {
	if from != nil {
		if err := stores.Snapshot(ctx, from.Path, path, 0); err != nil {
			return nil, err
		}
	}
	e, err := OpenEngine(ctx, t.Spec, path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	// Nobody relies on it before it is complete.
	if _, err := e.w.Exec("PRAGMA synchronous=OFF"); err != nil {
		return nil, err
	}
	r = &Rebuilding{From: from}
	if from != nil && e.Anchor() != from.Anchor {
		return nil, fmt.Errorf("actors: snapshot %s has changed", from.Path)
	}
	err = t.replay(ctx, h, e, r)
	r.Anchor = e.Anchor()
	return r, err
}

// replay has the engine handle what follows its start, up to the target or a
// hole.
func (t *Target) replay(ctx context.Context, h *bus.History, e *Engine, r *Rebuilding) error {
	next := r.start() + 1
	over := false
	err := h.Read(ctx, next, t.Seq, func(in []bus.Message) (bool, error) {
		batch := make([]Delivery, 0, len(in))
		for i := range in {
			m := &in[i]
			if over = t.Until > 0 && api.Time(m.At) > t.Until; over {
				break
			}
			if m.Seq != next {
				r.Hole = &Hole{next, m.Seq - 1}
				break
			}
			next++
			batch = append(batch, DeliveryOf(m))
		}
		r.Messages += int64(len(batch))
		out, err := e.Apply(t.Live.Anchor.Created, batch)
		if err == nil && out.Damaged > 0 { // since it was handled, or it would be a cut
			r.Hole = &Hole{out.Damaged, out.Damaged}
		}
		return r.Hole == nil && !over, err
	})
	if err == nil && r.Hole == nil && !over && next <= t.Seq {
		r.Hole = &Hole{next, t.Seq}
	}
	return err
}

// DeliveryOf is a message out of a mailbox as an engine takes it.
func DeliveryOf(m *bus.Message) Delivery {
	return Delivery{Subject: m.Subject, ID: bus.Identity(m.Header), After: bus.After(m.Header),
		Seq: m.Seq, At: api.Time(m.At), Body: m.Data, Answer: bus.IsAnswer(m.Header),
		Trace: traceHeader(m.Header)}
}

// At makes a file at path, which must not exist, with the actor's tables as they
// were after the target's message. It begins with the newest snapshot before it.
// ErrNoStart: the stream and the snapshots do not go back as far, or the target
// lies behind a cut without one.
func (t *Target) At(ctx context.Context, h *bus.History, snapshots []Snapshot, path string) (
	*Rebuilding, error) {
	if t.Seq > t.Live.Anchor.Seq {
		return nil, fmt.Errorf("actors: %s has come to message %d only", t.Spec.Name,
			t.Live.Anchor.Seq)
	}
	starts, err := t.starts(ctx, h, snapshots)
	if err != nil {
		return nil, err
	}
	work := path + ".rebuilding"
	if err := removeFile(work); err != nil {
		return nil, err
	}
	r, err := t.rebuild(ctx, h, starts[len(starts)-1], work)
	if err == nil && r.Hole != nil {
		err = fmt.Errorf("actors: %s can't be told: %s", t.Spec.Name, r.Hole)
	}
	if err == nil {
		err = stores.Snapshot(ctx, work, path, 0)
	}
	return r, errors.Join(err, removeFile(work))
}

// removeFile removes a database file, if it is there, with what stands beside
// it.
func removeFile(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("actors: %w", err)
		}
	}
	return nil
}
