package history

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ordo/api"
	"ordo/bus"
)

// Limits of what Live looks at in one stream.
const (
	// maxNear is the most messages between a step's being asked for and the message
	// that asks for it, before the place is looked up.
	maxNear = 64
	// maxScanned is the most messages that are looked at where it can't be looked up.
	maxScanned = 4000
	// maxTimes is the most times that are looked up.
	maxTimes = 200
	// liveLimit is how long one stream may take.
	liveLimit = 500 * time.Millisecond
	// skew is how far the clocks of the servers that lead two streams may differ.
	skew = 50 * time.Millisecond
)

// Clue is where in the streams a message about an order may be found.
type Clue struct {
	// Actor got the message.
	Actor string
	// At is the message's time, or where Verb is set, that of the message which
	// caused it.
	At api.Time
	// Verb is that of the message, to be looked for from At on; empty for the
	// message at this very time.
	Verb string
}

// Sought is what Live looks for.
type Sought struct {
	// Names are the ids that messages about the order have in their bodies.
	Names []string
	Clues []Clue
	// Asked tells when the message was handled because of which m was sent, 0 where
	// that is not known. A sender's messages of one kind are in the order of these
	// times, so in a long stream the place of one can be looked up. nil for unknown.
	Asked func(ctx context.Context, m *bus.Message) api.Time
}

// Live reads messages about an order from the streams of a running shop: those at
// the times that its actors have noted, and those sent because of them. Notes say
// what could not be read, and why. Streams are read side by side, each in bounded
// time.
func Live(ctx context.Context, edge *bus.Edge, sought *Sought) (all []*Message, notes []string) {
	byActor := map[string][]Clue{}
	for _, c := range sought.Clues {
		if c.At > 0 {
			byActor[c.Actor] = append(byActor[c.Actor], c)
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for actor, clues := range byActor {
		wg.Go(func() {
			s := &search{Sought: sought, edge: edge, actor: actor, found: map[uint64]*Message{}}
			s.run(ctx, clues)
			mu.Lock()
			defer mu.Unlock()
			for _, m := range s.found {
				all = append(all, m)
			}
			notes = append(notes, s.notes...)
		})
	}
	wg.Wait()
	slices.SortFunc(all, func(a, b *Message) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Actor, b.Actor), cmp.Compare(a.Seq,
			b.Seq))
	})
	slices.Sort(notes)
	return all, notes
}

// search looks for messages in one stream.
type search struct {
	*Sought
	edge  *bus.Edge
	actor string
	found map[uint64]*Message
	notes []string
}

func (s *search) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// run looks every clue up, unless an earlier one has found its message.
func (s *search) run(ctx context.Context, clues []Clue) {
	ctx, cancel := context.WithTimeout(ctx, liveLimit)
	defer cancel()
	slices.SortFunc(clues, func(a, b Clue) int {
		return cmp.Or(cmp.Compare(a.At, b.At), strings.Compare(a.Verb, b.Verb))
	})
	clues = slices.Compact(clues)
	if len(clues) > maxTimes {
		s.note("only the first %d of %d moments were looked up in the stream of %s", maxTimes,
			len(clues), s.actor)
		clues = clues[:maxTimes]
	}
	lacking := 0
	for _, c := range clues {
		ok, err := s.look(ctx, c)
		if err != nil {
			s.note("the stream of %s was not read to the end: %v", s.actor, err)
			return
		}
		if !ok {
			lacking++
		}
	}
	if lacking > 0 {
		s.explain(ctx, lacking)
	}
}

// explain notes why messages were not found.
func (s *search) explain(ctx context.Context, lacking int) {
	first := uint64(0)
	// Its first message tells whether the beginning is gone.
	_, err := s.edge.Find(ctx, s.actor, bus.Find{From: time.Unix(0, 0), Most: 1},
		func(m *bus.Message) bool {
			first = m.Seq
			return false
		})
	switch {
	case err != nil:
		s.note("the stream of %s can't be read: %v", s.actor, err)
	case first != 1:
		s.note("the stream of %s begins with message %d; %d messages of the order are not there "+
			"any more", s.actor, first, lacking)
	default:
		s.note("%d messages of the order were not found in the stream of %s", lacking, s.actor)
	}
}

// look follows one clue.
func (s *search) look(ctx context.Context, c Clue) (ok bool, err error) {
	if c.Verb == "" {
		r, err := s.read(ctx, c, bus.Find{From: c.At.Std(), Most: 1})
		return r.ok, err
	}
	r, err := s.read(ctx, c, bus.Find{From: c.At.Std().Add(-skew), Most: maxNear})
	if err != nil || r.ok || !r.cut {
		return r.ok, err
	}
	near := r.last
	from, err := s.place(ctx, c, near)
	if err == nil && from > 0 {
		r, err = s.read(ctx, c, bus.Find{Seq: from, Most: maxNear + 1})
	}
	if err == nil && !r.ok {
		r, err = s.read(ctx, c, bus.Find{Seq: near + 1, Most: maxScanned - maxNear})
	}
	if r.cut && !r.ok {
		s.note("%s was not found among %d messages to %s after %s", c.Verb, maxScanned, s.actor,
			c.At.Std().UTC().Format(time.RFC3339))
		return true, err // noted
	}
	return r.ok, err
}

// reading is what came of reading a part of the stream: whether the message was
// there, the last one looked at, and whether there are more.
type reading struct {
	ok, cut bool
	last    uint64
}

// read looks for a clue's message in a part of the stream.
func (s *search) read(ctx context.Context, c Clue, q bus.Find) (r reading, err error) {
	if c.Verb != "" {
		q.Subject = bus.MailboxSubject(s.actor, c.Verb)
	}
	r.cut, err = s.edge.Find(ctx, s.actor, q, func(m *bus.Message) bool {
		r.last = m.Seq
		if s.found[m.Seq] != nil && c.Verb != "" {
			return true // of an earlier clue
		}
		if r.ok = s.about(m); r.ok {
			s.take(m)
		}
		return !r.ok
	})
	return r, err
}

// place looks up by halves where a clue's message is, after a place in the stream:
// it answers the number after which it is among the next maxNear, or 0 when that
// can't be told.
func (s *search) place(ctx context.Context, c Clue, lo uint64) (uint64, error) {
	if s.Asked == nil {
		return 0, nil
	}
	hi := uint64(0) // not known yet
	for step := uint64(maxNear); hi == 0 || hi > lo+maxNear; step *= 2 {
		at := lo + step
		if hi > 0 {
			at = lo + (hi-lo)/2
		}
		m, err := s.first(ctx, c, at)
		if err != nil {
			return 0, err
		}
		if m == nil {
			hi = at // nothing is there any more
			continue
		}
		switch asked := s.Asked(ctx, m); {
		case asked == 0:
			return 0, nil
		case asked < c.At:
			lo = m.Seq
		default:
			hi = at
		}
	}
	return lo + 1, nil
}

// first is the first message of a clue's kind from a number on; nil for none.
func (s *search) first(ctx context.Context, c Clue, seq uint64) (first *bus.Message, err error) {
	_, err = s.edge.Find(ctx, s.actor, bus.Find{Seq: seq, Most: 1,
		Subject: bus.MailboxSubject(s.actor, c.Verb)}, func(m *bus.Message) bool {
		first = m
		return false
	})
	return first, err
}

func (s *search) about(m *bus.Message) bool {
	id := bus.Identity(m.Header)
	return slices.ContainsFunc(s.Names, func(name string) bool {
		return bytes.Contains(m.Data, []byte(name)) || strings.Contains(m.Subject, name) ||
			strings.Contains(id, name)
	})
}

func (s *search) take(m *bus.Message) {
	id := bus.Identity(m.Header)
	from, number := sender(id)
	s.found[m.Seq] = &Message{Actor: s.actor, From: from, ID: id, Subject: m.Subject,
		Stream: bus.MailboxStream(s.actor), Seq: m.Seq, At: api.Time(m.At), Body: asJSON(m.Data),
		Cause: m.Header.Get(bus.HeaderCause), Copies: 1, number: number}
}
