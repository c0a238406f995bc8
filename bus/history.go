package bus

import (
	"context"
	"fmt"
	"sort"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// historyFetch is how many messages of a stream are asked for at a time, and
// historyWait how long an answer may take.
const (
	historyFetch = 512
	historyWait  = 10 * time.Second
)

// History reads what a mailbox's stream still holds, beside the actor's own
// consumer.
type History struct {
	js     jetstream.JetStream
	stream string
}

// HistoryState is what a stream holds and may hold.
type HistoryState struct {
	// Created is the stream's created-time, ns.
	Created int64
	// First and Last are sequence numbers; First is 1 while nothing has been
	// dropped, and Last+1 in an empty stream.
	First, Last uint64
	// FirstTime is the time of the first message.
	FirstTime time.Time
	// Bytes are in it, of MaxBytes; MaxAge is how old a message gets.
	Bytes, MaxBytes int64
	MaxAge          time.Duration
}

// OpenHistory reads an actor's mailbox.
func OpenHistory(js jetstream.JetStream, actor string) *History {
	return &History{js, MailboxStream(actor)}
}

// State tells what the stream holds. jetstream.ErrStreamNotFound: there is none.
func (h *History) State(ctx context.Context) (HistoryState, error) {
	s, err := h.js.Stream(ctx, h.stream)
	if err != nil {
		return HistoryState{}, fmt.Errorf("bus: history %s: %w", h.stream, err)
	}
	i := s.CachedInfo()
	return HistoryState{Created: i.Created.UnixNano(), First: max(i.State.FirstSeq, 1),
		Last: i.State.LastSeq, FirstTime: i.State.FirstTime, Bytes: int64(i.State.Bytes),
		MaxBytes: i.Config.MaxBytes, MaxAge: i.Config.MaxAge}, nil
}

// Holds tells whether the stream still has the message of a place.
func (h *History) Holds(ctx context.Context, p Place) (bool, error) {
	s, err := h.js.Stream(ctx, h.stream)
	if err != nil {
		return false, fmt.Errorf("bus: history %s: %w", h.stream, err)
	}
	held, err := p.in(ctx, streamView{s})
	if err != nil {
		return false, fmt.Errorf("bus: history %s: %w", h.stream, err)
	}
	return held, nil
}

// Read calls do with the messages from one sequence number to another, in
// order. Numbers that the stream does not hold are left out. It ends early,
// without an error, when do answers false.
func (h *History) Read(ctx context.Context, from, to uint64,
	do func([]Message) (bool, error)) (err error) {
	state, err := h.State(ctx)
	if err != nil || from > to || state.Last < from {
		return err
	}
	to = min(to, state.Last)
	c, err := h.js.CreateConsumer(ctx, h.stream, jetstream.ConsumerConfig{
		Description:   "Reads the history of the mailbox once.",
		Metadata:      metadata(KindReader, ""),
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1),
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return fmt.Errorf("bus: history %s: %w", h.stream, err)
	}
	defer func() {
		// Not deleted, it ends by itself in a minute.
		_ = h.js.DeleteConsumer(context.WithoutCancel(ctx), h.stream, c.CachedInfo().Name)
	}()
	pending := c.CachedInfo().NumPending
	for next := from; pending > 0; {
		batch, err := h.fetch(ctx, c, int(min(pending, historyFetch, to-next+1)))
		if err != nil {
			return fmt.Errorf("bus: history %s: %w", h.stream, err)
		}
		if len(batch) == 0 { // retention may have dropped what was pending
			if pending, err = h.left(ctx, c, pending); err != nil {
				return fmt.Errorf("bus: history %s: %w", h.stream, err)
			}
			continue
		}
		pending = batch[len(batch)-1].pending
		n := sort.Search(len(batch), func(i int) bool { return batch[i].Seq > to })
		if n > 0 {
			if more, err := do(batch[:n]); err != nil || !more {
				return err
			}
		}
		if n < len(batch) || batch[n-1].Seq == to {
			return nil
		}
		next = batch[n-1].Seq + 1
	}
	return nil
}

// fetch reads the next n messages, or fewer when they do not come in time.
func (h *History) fetch(ctx context.Context, c jetstream.Consumer, n int) ([]Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	got, err := c.Fetch(n, jetstream.FetchMaxWait(historyWait))
	if err != nil {
		return nil, err
	}
	all := make([]Message, 0, n)
	for msg := range got.Messages() {
		m, err := msg.Metadata()
		if err != nil {
			return nil, err
		}
		all = append(all, Message{Subject: msg.Subject(), Header: msg.Headers(), Data: msg.Data(),
			Seq: m.Sequence.Stream, At: m.Timestamp.UnixNano(), pending: m.NumPending})
	}
	return all, got.Error()
}

// left asks what is pending after nothing came. What was and did not come is an
// error.
func (h *History) left(ctx context.Context, c jetstream.Consumer, before uint64) (uint64, error) {
	i, err := c.Info(ctx)
	if err != nil {
		return 0, err
	}
	if i.NumPending >= before {
		return 0, fmt.Errorf("%d messages do not come", i.NumPending)
	}
	return i.NumPending, nil
}
