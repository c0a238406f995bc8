package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/actors"
	"ordo/bus"
)

// readStreams reads the messages about the order in all mailboxes, and has them
// handled again.
func (r *reader) readStreams(ctx context.Context) error {
	if r.cfg.JS == nil {
		r.note("there are no streams: what came from edges, and what was written, is not known")
		return nil
	}
	for _, actor := range bus.ActorNames() {
		h := bus.OpenHistory(r.cfg.JS, actor)
		mine, err := r.find(ctx, h, actor)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			r.note("the stream of %s is not there", actor)
			continue
		}
		if err != nil {
			return fmt.Errorf("stream of %s: %w", actor, err)
		}
		if len(mine) == 0 || !r.cfg.Rows {
			continue
		}
		if err := r.again(ctx, h, actor, mine); err != nil {
			return fmt.Errorf("%s again: %w", actor, err)
		}
	}
	return nil
}

// find reads the messages about the order. It answers them by their place.
func (r *reader) find(ctx context.Context, h *bus.History, actor string) (
	mine map[uint64]*Message, err error) {
	state, err := h.State(ctx)
	if err != nil {
		return nil, err
	}
	if state.First > 1 {
		r.note("the stream of %s begins with message %d; what came before is not there any more",
			actor, state.First)
	}
	mine = map[uint64]*Message{}
	err = h.Read(ctx, state.First, state.Last, func(in []bus.Message) (bool, error) {
		for i := range in {
			if d := actors.DeliveryOf(&in[i]); r.about(&d) {
				r.take(actor, &in[i], &d, mine)
			}
		}
		return true, nil
	})
	return mine, err
}

// take notes a message about the order.
func (r *reader) take(actor string, in *bus.Message, d *actors.Delivery, mine map[uint64]*Message) {
	from, number := sender(d.ID)
	k := key(actor, from, number, d.ID)
	m := r.byID[k]
	if m == nil {
		m = &Message{Actor: actor, From: from, number: number, Body: asJSON(d.Body)}
		r.byID[k] = m
	}
	if m.Copies++; m.Copies > 1 {
		return // a repeat, which the actor has recognised
	}
	m.ID, m.Subject, m.At, m.Seq, m.after = d.ID, d.Subject, d.At, d.Seq, d.After
	m.Stream, m.Cause = bus.MailboxStream(actor), in.Header.Get(bus.HeaderCause)
	mine[d.Seq] = m
}

// about tells whether a message is about the order.
func (r *reader) about(d *actors.Delivery) bool {
	for _, token := range r.tokens {
		if bytes.Contains(d.Body, token) || strings.Contains(d.Subject, string(token)) ||
			strings.Contains(d.ID, string(token)) {
			return true
		}
	}
	return false
}

// sender reads the sender and the number of an identity; edge and 0 for others.
func sender(id string) (from string, number int64) {
	p := strings.Split(id, ".")
	if len(p) != 6 {
		return "edge", 0
	}
	n, err := strconv.ParseInt(p[5], 10, 64)
	if err != nil {
		return "edge", 0
	}
	return p[0], n
}
