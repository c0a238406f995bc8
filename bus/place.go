package bus

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Place is where an actor stands in its stream.
type Place struct {
	// Created is the stream's created-time, in ns.
	Created int64
	// Seq, At (ns) and ID belong to the last message handled; Seq 0: none.
	Seq uint64
	At  int64
	ID  string
}

// StreamView is what has to be known of a stream to go on in it: JetStream's, or
// a simulation's.
type StreamView interface {
	// Created is when the stream was made, in ns.
	Created() int64
	// Bounds are the first and the last sequence number, and the time of the
	// first message, in ns.
	Bounds() (first, last uint64, at int64)
	// At is the message at a sequence number; nil when there is none. Not being
	// able to look is an error.
	At(ctx context.Context, seq uint64) (*Entry, error)
	// From is the first message at a sequence number or after it; nil when there
	// is none.
	From(ctx context.Context, seq uint64) (*Entry, error)
}

// Entry is one message of a StreamView.
type Entry struct {
	Seq uint64
	// At is its time in ns, ID its identity.
	At int64
	ID string
}

// Next is the sequence number to go on at behind a place. cut is true when the
// stream no longer tells what the actor has handled (made anew, cut short, a
// hole at its place): then it is that of the first message newer than the
// place's time less memory.
func (p Place) Next(ctx context.Context, h StreamView, memory time.Duration) (
	seq uint64, cut bool, err error) {
	held, err := p.in(ctx, h)
	if err != nil || held {
		return p.Seq + 1, false, err
	}
	seq, err = firstAfter(ctx, h, p.At-memory.Nanoseconds())
	return seq, p.Seq != 0, err
}

// in tells whether the stream has at the place the message that was there.
func (p Place) in(ctx context.Context, h StreamView) (bool, error) {
	if p.Seq == 0 || h.Created() != p.Created {
		return false, nil
	}
	e, err := h.At(ctx, p.Seq)
	return err == nil && e != nil && e.At == p.At && e.ID == p.ID, err
}

// firstAfter finds the first sequence number with a time above ns.
func firstAfter(ctx context.Context, h StreamView, ns int64) (uint64, error) {
	first, last, at := h.Bounds()
	lo, hi := max(first, 1), last+1
	if ns <= 0 || at > ns {
		return lo, nil
	}
	for lo < hi {
		mid := lo + (hi-lo)/2
		e, err := h.From(ctx, mid)
		switch {
		case err != nil:
			return 0, err
		case e == nil || e.At > ns:
			hi = mid
		default:
			lo = e.Seq + 1
		}
	}
	return lo, nil
}

// history is a stream of JetStream as it was looked up last.
type streamView struct{ jetstream.Stream }

func (h streamView) Created() int64 { return h.CachedInfo().Created.UnixNano() }

func (h streamView) Bounds() (first, last uint64, at int64) {
	s := h.CachedInfo().State
	return s.FirstSeq, s.LastSeq, s.FirstTime.UnixNano()
}

func (h streamView) At(ctx context.Context, seq uint64) (*Entry, error) {
	return h.get(ctx, seq)
}

func (h streamView) From(ctx context.Context, seq uint64) (*Entry, error) {
	e, err := h.get(ctx, seq, jetstream.WithGetMsgSubject(">"))
	// What is damaged has no time; one that follows will do as well.
	for ; err == nil && e != nil && e.At == 0; seq++ {
		e, err = h.get(ctx, seq+1, jetstream.WithGetMsgSubject(">"))
	}
	return e, err
}

func (h streamView) get(ctx context.Context, seq uint64, opts ...jetstream.GetMsgOpt) (*Entry,
	error) {
	m, err := h.GetMsg(ctx, seq, opts...)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, nil
	case isUnreadable(err):
		return &Entry{Seq: seq}, nil
	case err != nil:
		return nil, err
	}
	return &Entry{Seq: m.Sequence, At: m.Time.UnixNano(), ID: Identity(m.Header)}, nil
}

// isUnreadable tells that a message can't be read because its headers are damaged:
// the server adds to them what the client misses. nats.go has no error of its own for
// it.
func isUnreadable(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	return text == "nats: response should have headers" ||
		strings.HasPrefix(text, "nats: missing ") && strings.HasSuffix(text, " header") ||
		strings.HasPrefix(text, "nats: invalid ") && strings.Contains(text, " header ")
}
