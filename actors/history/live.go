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
	// maxScanned is the most messages between a step's being asked for and the
	// message that asks for it.
	maxScanned = 4000
	// maxTimes is the most times that are looked up.
	maxTimes = 200
	// liveLimit is how long one stream may take.
	liveLimit = 200 * time.Millisecond
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

// Live reads messages about an order from the streams of a running shop: those at
// the times that its actors have noted, and those sent because of them. names are
// the ids that the messages have in their bodies. Notes say what could not be
// read, and why. Streams are read side by side, each in bounded time.
func Live(ctx context.Context, edge *bus.Edge, names []string, clues []Clue) (
	all []*Message, notes []string) {
	byActor := map[string][]Clue{}
	for _, c := range clues {
		if c.At > 0 {
			byActor[c.Actor] = append(byActor[c.Actor], c)
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for actor, clues := range byActor {
		wg.Go(func() {
			s := &search{edge: edge, actor: actor, names: names, found: map[uint64]*Message{}}
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
	edge  *bus.Edge
	actor string
	names []string
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
	q := bus.Find{From: c.At.Std(), Most: 1}
	if c.Verb != "" {
		q = bus.Find{From: c.At.Std().Add(-skew), Most: maxScanned,
			Subject: bus.MailboxSubject(s.actor, c.Verb)}
	}
	cut, err := s.edge.Find(ctx, s.actor, q, func(m *bus.Message) bool {
		if s.found[m.Seq] != nil && c.Verb != "" {
			return true // of an earlier clue
		}
		if ok = s.about(m); ok {
			s.take(m)
		}
		return !ok
	})
	if cut && !ok && c.Verb != "" {
		s.note("%s was not found among %d messages to %s after %s", c.Verb, maxScanned, s.actor,
			c.At.Std().UTC().Format(time.RFC3339))
		return true, nil // noted
	}
	return ok, err
}

func (s *search) about(m *bus.Message) bool {
	id := bus.Identity(m.Header)
	return slices.ContainsFunc(s.names, func(name string) bool {
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
