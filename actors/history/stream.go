package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/actors"
	"ordo/api"
	"ordo/bus"
)

// streamWait is how long a stream may be silent while it is read.
const streamWait = 10 * time.Second

// readStreams reads the messages about the order in all mailboxes, and has them
// handled again.
func (r *reader) readStreams(ctx context.Context) (err error) {
	js, done, err := r.connect()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if js == nil {
		r.note("there are no streams: what came from edges, and what was written, is not known")
		return nil
	}
	for _, actor := range bus.ActorNames() {
		s, err := js.Stream(ctx, bus.MailboxStream(actor))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			r.note("the stream of %s is not there", actor)
			continue
		}
		if err != nil {
			return err
		}
		mine, err := r.find(ctx, s, actor)
		if err != nil {
			return fmt.Errorf("stream of %s: %w", actor, err)
		}
		if len(mine) == 0 || !r.cfg.Rows {
			continue
		}
		if err := r.again(ctx, s, actor, mine); err != nil {
			return fmt.Errorf("%s again: %w", actor, err)
		}
	}
	return nil
}

// connect reaches the shop's NATS, or serves a copy of its streams; nil when
// there are none.
func (r *reader) connect() (js jetstream.JetStream, done func() error, err error) {
	nothing := func() error { return nil }
	if r.cfg.NATS != "" {
		nc, err := nats.Connect(r.cfg.NATS, nats.Name("ordo-tx"))
		if err != nil {
			return nil, nothing, err
		}
		js, err = jetstream.New(nc)
		return js, func() error { nc.Close(); return nil }, err
	}
	dir, err := os.MkdirTemp("", "ordo-tx-")
	if err != nil {
		return nil, nothing, err
	}
	clean := func() error { return os.RemoveAll(dir) }
	found, err := r.copyStreams(dir)
	if err != nil || !found {
		return nil, clean, err
	}
	server, err := bus.StartServer(bus.ServerConfig{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, clean, err
	}
	nc, err := bus.Connect(server, "", "ordo-tx", slog.New(slog.DiscardHandler))
	if err != nil {
		server.Shutdown()
		return nil, clean, err
	}
	done = func() error {
		nc.Close()
		server.Shutdown()
		return clean()
	}
	js, err = jetstream.New(nc)
	return js, done, err
}

// copyStreams copies the mailboxes of a data directory. One in use is as it
// would be after a crash: its last message may be missing.
func (r *reader) copyStreams(to string) (found bool, err error) {
	for _, data := range r.cfg.Data {
		for _, actor := range bus.ActorNames() {
			part := filepath.Join("jetstream", "$G", "streams", bus.MailboxStream(actor))
			from := filepath.Join(data, "nats", part)
			if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				return false, err
			}
			if err := copyDir(filepath.Join(to, part), from); err != nil {
				return false, err
			}
			found = true
		}
	}
	return found, nil
}

// copyDir copies files; those that vanish meanwhile have been dropped.
func copyDir(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o600)
	})
}

// scan calls f with every message of a stream up to a sequence number.
func scan(ctx context.Context, s jetstream.Stream, last uint64, f func(d *actors.Delivery,
	h nats.Header) error) error {
	state := s.CachedInfo().State
	last = min(last, state.LastSeq)
	if state.Msgs == 0 || last < state.FirstSeq {
		return nil
	}
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy, InactiveThreshold: time.Minute})
	if err != nil {
		return err
	}
	for {
		batch, err := c.Fetch(1000, jetstream.FetchMaxWait(streamWait))
		if err != nil {
			return err
		}
		n := 0
		for m := range batch.Messages() {
			n++
			meta, err := m.Metadata()
			if err != nil {
				return err
			}
			if meta.Sequence.Stream > last {
				return nil
			}
			h := m.Headers()
			if err := f(&actors.Delivery{Subject: m.Subject(), ID: bus.Identity(h),
				After: bus.After(h), Seq: meta.Sequence.Stream, At: api.TimeOf(meta.Timestamp),
				Body: m.Data()}, h); err != nil {
				return err
			}
			if meta.Sequence.Stream == last {
				return nil
			}
		}
		if err := batch.Error(); err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("nothing came for %v", streamWait)
		}
	}
}

// find reads the messages about the order. It answers them by their place.
func (r *reader) find(ctx context.Context, s jetstream.Stream, actor string) (
	mine map[uint64]*Message, err error) {
	mine = map[uint64]*Message{}
	err = scan(ctx, s, 1<<62, func(d *actors.Delivery, h nats.Header) error {
		if !r.about(d) {
			return nil
		}
		from, number := sender(d.ID)
		k := key(actor, from, number, d.ID)
		m := r.byID[k]
		if m == nil {
			m = &Message{Actor: actor, From: from, number: number, Body: asJSON(d.Body)}
			r.byID[k] = m
		}
		if m.Copies++; m.Copies > 1 {
			return nil // a repeat, which the actor has recognised
		}
		m.ID, m.Subject, m.At, m.Seq, m.after = d.ID, d.Subject, d.At, d.Seq, d.After
		m.Cause = h.Get(bus.HeaderCause)
		mine[d.Seq] = m
		return nil
	})
	if first := s.CachedInfo().State.FirstSeq; first > 1 {
		r.note("the stream of %s begins with message %d; what came before is not there any more",
			actor, first)
	}
	return mine, err
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
