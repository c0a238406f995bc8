package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// Sizes of what Find asks for at a time: the first answer is short, since what is
// looked for mostly comes first.
const (
	findFirst = 8
	findMore  = 256
	findBytes = 1 << 20
)

// Find says where in a mailbox's stream to look.
type Find struct {
	// From is the time of the first message to look at, Seq its number where that is
	// known.
	From time.Time
	Seq  uint64
	// Subject is theirs, and may have wildcards; empty for all.
	Subject string
	// Most is how many messages to look at.
	Most int
}

// Find calls do with the messages of an actor's stream from a time on, in order,
// until it answers false, or f.Most have been looked at (cut is true), or the
// stream ends. Nothing is left behind in the stream, no consumer either. ctx
// bounds the time; its end is an error.
func (e *Edge) Find(ctx context.Context, actor string, f Find, do func(*Message) bool) (
	cut bool, err error) {
	p := &finding{js: e.js, stream: MailboxStream(actor), do: do,
		opts: []jetstreamext.GetBatchOpt{jetstreamext.GetBatchStartTime(f.From),
			jetstreamext.GetBatchSubject(cmp.Or(f.Subject, ">")),
			jetstreamext.GetBatchMaxBytes(findBytes)}}
	if f.Seq > 0 {
		p.opts[0] = jetstreamext.GetBatchSeq(f.Seq)
	}
	for size := min(findFirst, f.Most); f.Most > 0; size = min(findMore, f.Most) {
		last, n, more, err := p.page(ctx, size)
		if err != nil {
			return false, fmt.Errorf("bus: find in the stream of %s: %w", actor, err)
		}
		if n == 0 || !more {
			return false, nil
		}
		f.Most -= n
		p.opts[0] = jetstreamext.GetBatchSeq(last + 1)
	}
	return true, nil
}

// finding is a Find under way.
type finding struct {
	js     jetstream.JetStream
	stream string
	do     func(*Message) bool
	// opts say where the next page begins, first of all.
	opts []jetstreamext.GetBatchOpt
}

// page reads some messages, n in all. more is false when do has enough.
func (p *finding) page(ctx context.Context, size int) (last uint64, n int, more bool, err error) {
	batch, err := jetstreamext.GetBatch(ctx, p.js, p.stream, size, p.opts...)
	if err != nil {
		return 0, 0, false, err
	}
	more = true
	for m, err := range batch {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return last, n, false, err
		}
		last, n = m.Sequence, n+1
		more = more && p.do(&Message{Subject: m.Subject, Header: m.Header, Data: m.Data,
			Seq: m.Sequence, At: m.Time.UnixNano()})
	}
	return last, n, more, nil
}

// StreamState is how full a stream is, and how much of it waits.
type StreamState struct {
	Name     string `json:"name"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	MaxBytes int64  `json:"max_bytes"`
	// First is the number of the first message that it still holds.
	First uint64 `json:"first"`
	// Lag counts messages that its consumers have not acknowledged.
	Lag uint64 `json:"lag"`
}

// Streams tells how the streams of the table are: those that can be read, and an
// error for the others.
func (e *Edge) Streams(ctx context.Context) (all []StreamState, err error) {
	actors := map[string]string{}
	for _, actor := range ActorNames() {
		actors[MailboxStream(actor)] = actor
	}
	for _, spec := range Streams() {
		state, failed := e.streamState(ctx, spec.Name, actors[spec.Name])
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("bus: stream %s: %w", spec.Name, failed))
			continue
		}
		all = append(all, state)
	}
	return all, err
}

// streamState tells how one is, which is the mailbox of an actor, if it is one.
func (e *Edge) streamState(ctx context.Context, name, actor string) (state StreamState, err error) {
	s, err := e.js.Stream(ctx, name)
	if err != nil {
		return state, err
	}
	i := s.CachedInfo()
	state = StreamState{Name: name, Messages: i.State.Msgs, Bytes: i.State.Bytes,
		MaxBytes: i.Config.MaxBytes, First: i.State.FirstSeq}
	switch {
	case i.State.Consumers == 0:
	case actor != "":
		state.Lag, err = Pending(ctx, e.js, actor)
	default:
		state.Lag, err = waiting(ctx, s)
	}
	return state, err
}

// waiting counts what all consumers of a stream have not acknowledged.
func waiting(ctx context.Context, s jetstream.Stream) (n uint64, err error) {
	list := s.ListConsumers(ctx)
	for i := range list.Info() {
		n += i.NumPending + uint64(i.NumAckPending)
	}
	return n, list.Err()
}
