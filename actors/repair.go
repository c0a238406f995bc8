package actors

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"ordo/bus"
)

// Channels is what a file knows of its channels, and what of that a repair has
// to compare with the files at their other ends.
type Channels struct {
	Actor string
	Epoch string
	// Taken is what it has committed, by sender (<actor>.<shard>).
	Taken map[string]Taken
	// Given is what it has given, by receiver.
	Given map[string]Given
	// Restored is true when the file came out of a backup and no repair has
	// followed.
	Restored bool
}

// Taken is the last number committed of a sender, in its present epoch.
type Taken struct {
	Epoch  string
	Number int64
}

// Given is the last number given to a receiver.
type Given struct {
	Number int64
	// After is the last number of the epoch before.
	After int64
	// Kept is the first number of those that are still in the outbox without a
	// gap up to the last one; Number+1 when there is none.
	Kept int64
}

// Channels reads what a file knows of its channels.
func (e *Engine) Channels() (*Channels, error) {
	c := &Channels{Actor: e.Spec.Name, Epoch: e.epoch, Taken: map[string]Taken{},
		Given: map[string]Given{}}
	e.mu.Lock()
	for sender, in := range e.state.in {
		c.Taken[sender] = Taken{in.epoch, in.number}
	}
	for receiver, o := range e.state.out {
		c.Given[receiver] = Given{o.given, o.after, o.given + 1}
	}
	e.mu.Unlock()
	err := e.read(func(v *View) error {
		if err := v.Each(func(r Row) error {
			var receiver string
			var first, last int64
			if err := r.Scan(&receiver, &first, &last); err != nil {
				return err
			}
			if g := c.Given[receiver]; last+1 == g.Kept {
				g.Kept = first
				c.Given[receiver] = g
			}
			return nil
		}, `SELECT receiver, first, last FROM _sent ORDER BY receiver, first DESC`); err != nil {
			return err
		}
		var reason string
		err := v.Row(`SELECT reason FROM _cut WHERE reason IN (?, ?) ORDER BY n DESC LIMIT 1`,
			CutRestore, CutRepair).Scan(&reason)
		if errors.Is(err, ErrNoRows) {
			return nil
		}
		c.Restored = reason == string(CutRestore)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("actors: channels of %s: %w", c.Actor, err)
	}
	return c, nil
}

// Fix is one thing that is to be done to a channel between two files, so that
// it can go on. Nothing of it is known to the other end by itself.
type Fix struct {
	// Actor is whose file is changed, Other the other end of the channel.
	Actor string `json:"actor"`
	Other string `json:"other"`
	// Kind is one of the Fix constants.
	Kind string `json:"kind"`
	// First and Last are the numbers that it is about.
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

// Kinds of fixes.
const (
	// FixSkip: the receiver has committed numbers that the sender has not given
	// to the messages it knows of. The sender does not give them again. What
	// they said is known to the receiver alone.
	FixSkip = "skip"
	// FixLost: the receiver lacks numbers that the sender has forgotten. The
	// receiver goes on after them. What they said is lost on the way.
	FixLost = "lost"
	// FixEpoch: the receiver would not follow the sender's new epoch, since it
	// has committed more than the epoch says it begins after.
	FixEpoch = "epoch"
)

// String is for people.
func (f *Fix) String() string {
	switch f.Kind {
	case FixSkip:
		return fmt.Sprintf("%s skips numbers %d to %d to %s, which has committed them", f.Actor,
			f.First, f.Last, f.Other)
	case FixLost:
		return fmt.Sprintf("%s goes on without numbers %d to %d of %s, which are in no outbox",
			f.Actor, f.First, f.Last, f.Other)
	}
	return fmt.Sprintf("%s begins an epoch that %s follows after number %d", f.Actor, f.Other, f.Last)
}

// Fixes compares the two ends of all channels of the files at hand.
func Fixes(all []*Channels) (fixes []Fix) {
	for _, s := range all {
		for _, r := range all {
			given, gave := s.Given[bus.Address(r.Actor)]
			taken, took := r.Taken[bus.Address(s.Actor)]
			if !gave {
				given.Kept = 1
			}
			switch {
			case took && taken.Number > given.Number:
				fixes = append(fixes, Fix{s.Actor, r.Actor, FixSkip, given.Number + 1, taken.Number})
			case gave && taken.Number < given.Kept-1:
				fixes = append(fixes, Fix{r.Actor, s.Actor, FixLost, taken.Number + 1, given.Kept - 1})
			case took && taken.Epoch != s.Epoch && taken.Number > given.After:
				fixes = append(fixes, Fix{s.Actor, r.Actor, FixEpoch, given.After + 1, taken.Number})
			}
		}
	}
	return fixes
}

// CatchUp has the file handle what its mailbox holds after its anchor, as its
// actor would, and publishes nothing: what is sent stands in the outbox, with
// the numbers that it had the first time. held is false when the stream does not
// go on from the anchor; then nothing is done.
func (e *Engine) CatchUp(ctx context.Context, h *bus.History) (n int64, held bool, err error) {
	a := e.Anchor()
	held, err = h.Holds(ctx, a.place())
	if err != nil || !held {
		return 0, held, err
	}
	state, err := h.State(ctx)
	if err != nil {
		return 0, held, err
	}
	err = h.Read(ctx, a.Seq+1, state.Last, func(in []bus.Message) (bool, error) {
		batch := make([]Delivery, len(in))
		for i := range in {
			batch[i] = DeliveryOf(&in[i])
		}
		n += int64(len(batch))
		_, err := e.Apply(a.Created, batch)
		return true, err
	})
	return n, held, err
}

// Repair does the fixes that are about this file and has its numbers go on under
// a new epoch. Each fix, and what told says was done besides, is an incident; all
// of it is a cut.
func (e *Engine) Repair(fixes []Fix, told string) error {
	var notes []string
	if told != "" {
		notes = append(notes, told)
	}
	err := e.write(func() error {
		for i := range fixes {
			f := &fixes[i]
			if f.Actor != e.Spec.Name {
				continue
			}
			notes = append(notes, f.String())
			if err := e.fix(f); err != nil {
				return err
			}
		}
		for _, note := range notes {
			if _, err := e.w.Exec(`INSERT INTO _incident (kind, text, at)
				SELECT 'repair', ?, now FROM _actor`, note); err != nil {
				return err
			}
		}
		return e.beginEpoch(CutRepair, strings.Join(notes, "; "))
	})
	if err == nil {
		err = e.load()
	}
	if err != nil {
		return fmt.Errorf("actors: repair %s: %w", e.Spec.Name, err)
	}
	return nil
}

func (e *Engine) fix(f *Fix) (err error) {
	other := bus.Address(f.Other)
	switch f.Kind {
	case FixSkip:
		_, err = e.w.Exec(`INSERT INTO _out (receiver, number, committed) VALUES (?1, ?2, ?2)
			ON CONFLICT DO UPDATE SET number = excluded.number, committed = excluded.committed`,
			other, f.Last)
	case FixLost:
		var n int64
		n, err = e.w.Exec(`UPDATE _in SET number = ? WHERE sender = ? AND retired = 0`, f.Last, other)
		if err == nil && n == 0 {
			_, err = e.w.Exec(`INSERT INTO _in (sender, epoch, number) VALUES (?, ?, ?)`,
				other, lostEpoch, f.Last)
		}
	}
	return err
}

// lostEpoch is the epoch of a sender of which nothing was committed before a
// repair; the one that comes is followed.
const lostEpoch = "repair"
