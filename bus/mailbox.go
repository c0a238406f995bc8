package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Limits of a mailbox's consumer.
const (
	// MaxAckPending is the most messages that are delivered and not committed.
	MaxAckPending = 4096
	// heartbeat is how often an idle consumer shows that it is alive.
	heartbeat = time.Second
	// silence is how long nothing may arrive, heartbeats included.
	silence = 4 * heartbeat
	// mailboxQueue holds what has arrived and is not yet handled, heartbeats
	// included; it never fills, because MaxAckPending is less.
	mailboxQueue = 4 * MaxAckPending
)

// Message is one delivery out of a mailbox.
type Message struct {
	Subject string
	Header  nats.Header
	Data    []byte
	// Seq is the stream's number, At its time in ns.
	Seq uint64
	At  int64

	consumerSeq uint64
	pending     uint64 // messages after it, where History has read it
	reply       string
}

// ErrBreak is returned by Receive when the deliveries are no longer known to
// be without a gap: call Seek and go on.
var ErrBreak = errors.New("bus: the deliveries were interrupted")

// Mailbox receives one actor's stream in order. It belongs to one goroutine.
type Mailbox struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	stream string
	name   string
	in     chan *nats.Msg
	mu     sync.Mutex // guards sub and closed: Close may be called by others
	sub    *nats.Subscription
	closed bool

	created  int64     // of the stream sought last
	want     uint64    // stream sequence asked for by the last Seek
	last     uint64    // consumer sequence received last; 0 until 1 has come
	sought   time.Time // when
	heard    time.Time // when anything arrived
	lastSeq  uint64    // stream sequence received last
	caughtUp time.Time // when the stream was seen to hold nothing newer
	status   chan nats.Status
	timer    *time.Timer
}

// OpenMailbox opens an actor's mailbox. Call Seek before Receive.
func OpenMailbox(nc *nats.Conn, js jetstream.JetStream, actor string) *Mailbox {
	m := &Mailbox{nc: nc, js: js, stream: MailboxStream(actor), name: actor + "-" + Shard,
		in: make(chan *nats.Msg, mailboxQueue), timer: time.NewTimer(heartbeat)}
	m.status = nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING)
	return m
}

// listen takes deliveries. The first Seek calls it only after the reset: a new
// consumer with a listener would begin at once, and again after the reset, with
// the same numbers.
func (m *Mailbox) listen() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sub != nil || m.closed {
		return nil
	}
	sub, err := m.nc.ChanSubscribe(m.deliverSubject(), m.in)
	m.sub = sub
	return err
}

func (m *Mailbox) actor() string { return strings.TrimSuffix(m.name, "-"+Shard) }

func (m *Mailbox) deliverSubject() string { return "ordo.deliver." + m.name }

// Close ends the deliveries. Unlike the rest it may be called by any goroutine.
func (m *Mailbox) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.nc.RemoveStatusListener(m.status)
	if m.sub == nil || !m.sub.IsValid() {
		return nil // never sought, or closed before
	}
	return m.sub.Unsubscribe()
}

// Seek places the consumer behind an actor's place. cut is true when the
// stream no longer tells what the actor has handled (made anew, cut short,
// a hole at its place): then it starts at the first message newer than the
// place's time less memory.
func (m *Mailbox) Seek(ctx context.Context, p Place, memory time.Duration) (cut bool, err error) {
	stream, err := m.js.Stream(ctx, m.stream)
	if err != nil {
		return false, fmt.Errorf("bus: seek %s: %w", m.stream, err)
	}
	info := stream.CachedInfo()
	m.created = info.Created.UnixNano()
	if m.want, cut, err = p.Next(ctx, streamView{stream}, memory); err != nil {
		return cut, fmt.Errorf("bus: seek %s: %w", m.stream, err)
	}
	if err := m.ensureConsumer(ctx); err != nil {
		return cut, fmt.Errorf("bus: seek %s: %w", m.stream, err)
	}
	m.drop()
	if _, err := m.js.ResetConsumerToSequence(ctx, m.stream, m.name, m.want); err != nil {
		return cut, fmt.Errorf("bus: seek %s: %w", m.stream, err)
	}
	m.last, m.sought, m.heard, m.lastSeq = 0, time.Now(), time.Now(), m.want-1
	m.caughtUp = time.Time{}
	if err := m.listen(); err != nil {
		return cut, fmt.Errorf("bus: seek %s: %w", m.stream, err)
	}
	return cut, nil
}

func (m *Mailbox) ensureConsumer(ctx context.Context) error {
	_, err := m.js.CreateOrUpdatePushConsumer(ctx, m.stream, jetstream.ConsumerConfig{
		Durable: m.name, Metadata: metadata(KindMailbox, m.actor()),
		Description: "Where the actor " + m.actor() + " is: all up to the ack floor is committed " +
			"in its file.",
		DeliverSubject: m.deliverSubject(), DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckAllPolicy, AckWait: 10 * time.Minute, MaxDeliver: -1,
		MaxAckPending: MaxAckPending, IdleHeartbeat: heartbeat,
	})
	return err
}

// drop forgets what has arrived and was not handled.
func (m *Mailbox) drop() {
	for {
		select {
		case <-m.in:
		default:
			return
		}
	}
}

// Receive appends the messages that are waiting to buf, max at most, and
// waits for the first one until ctx ends (ctx.Err()) or a second passes
// (nothing, nil). With linger it also waits for more, so that a busy mailbox
// is committed in few large batches. ErrBreak: the deliveries are no longer in
// sequence.
func (m *Mailbox) Receive(ctx context.Context, buf []Message, max int, linger time.Duration) (
	[]Message, error) {
	m.timer.Reset(heartbeat)
	select {
	case <-ctx.Done():
		return buf, ctx.Err()
	case s := <-m.status:
		return buf, fmt.Errorf("%w: connection %s", ErrBreak, s)
	case <-m.timer.C:
		return buf, m.idle(ctx)
	case msg := <-m.in:
		var err error
		if buf, err = m.take(buf, msg); err != nil {
			return buf, err
		}
	}
	if linger > 0 {
		m.timer.Reset(linger)
	}
	for len(buf) < max {
		select {
		case msg := <-m.in:
			var err error
			if buf, err = m.take(buf, msg); err != nil {
				return buf, err
			}
			continue
		default:
		}
		if linger == 0 {
			return buf, nil
		}
		select {
		case msg := <-m.in:
			var err error
			if buf, err = m.take(buf, msg); err != nil {
				return buf, err
			}
		case <-m.timer.C:
			linger = 0
		}
	}
	return buf, nil
}

// idle looks for deliveries that were lost while nothing arrives.
func (m *Mailbox) idle(ctx context.Context) error {
	if time.Since(m.heard) > silence {
		return fmt.Errorf("%w: nothing heard from the consumer", ErrBreak)
	}
	if m.last > 0 || time.Since(m.sought) < 2*time.Second {
		return nil
	}
	c, err := m.js.PushConsumer(ctx, m.stream, m.name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBreak, err)
	}
	if i := c.CachedInfo(); i.NumPending > 0 || i.NumAckPending > 0 {
		return fmt.Errorf("%w: the first message after a reset did not arrive", ErrBreak)
	}
	m.sought = time.Now()
	return nil
}

func (m *Mailbox) take(buf []Message, msg *nats.Msg) ([]Message, error) {
	m.heard = time.Now()
	d := Message{Subject: msg.Subject, Header: msg.Header, Data: msg.Data, reply: msg.Reply}
	if !d.parse(msg.Reply, m.stream, m.name) {
		// Only a heartbeat is not to be acked; a message may have any header.
		if len(msg.Data) == 0 && msg.Header.Get("Status") == "100" && !IsAnswer(msg.Header) {
			return buf, m.beat(msg.Header)
		}
		return buf, nil
	}
	switch {
	case m.last == 0 && (d.consumerSeq != 1 || d.Seq < m.want):
		return buf, nil // from before the reset
	case d.consumerSeq != m.last+1 || d.Seq <= m.lastSeq:
		return buf, fmt.Errorf("%w: consumer sequence %d after %d", ErrBreak, d.consumerSeq, m.last)
	}
	m.last, m.lastSeq = d.consumerSeq, d.Seq
	return append(buf, d), nil
}

// beat checks an idle heartbeat against what has arrived.
func (m *Mailbox) beat(h nats.Header) error {
	seen, err := strconv.ParseUint(h.Get("Nats-Last-Consumer"), 10, 64)
	if err != nil {
		return nil
	}
	if seen > m.last && (m.last > 0 || time.Since(m.sought) > 2*heartbeat) {
		return fmt.Errorf("%w: %d delivered, %d arrived", ErrBreak, seen, m.last)
	}
	if seen == m.last {
		m.caughtUp = time.Now()
	}
	return nil
}

// CaughtUp is when the stream was last seen to hold nothing that has not been
// received; zero when it may.
func (m *Mailbox) CaughtUp() time.Time { return m.caughtUp }

// Created is the created-time of the stream, in ns.
func (m *Mailbox) Created() int64 { return m.created }

// Ack lets the consumer go on; it is flow control only.
func (m *Mailbox) Ack(msg *Message) error { return m.nc.Publish(msg.reply, nil) }

// parse reads the place of a delivery out of its ack subject:
// $JS.ACK.<stream>.<consumer>.<tries>.<seq>.<consumer seq>.<time>.<pending>,
// or with <domain>.<account> before the stream and a token at the end. It is false
// for a delivery of another stream or consumer: whoever may make one may have it
// deliver to any subject.
func (d *Message) parse(reply, stream, consumer string) bool {
	rest, ok := strings.CutPrefix(reply, "$JS.ACK.")
	if !ok {
		return false
	}
	var t [12]string
	n := 0
	for ; n < len(t); n++ {
		var more bool
		if t[n], rest, more = strings.Cut(rest, "."); !more {
			n++
			break
		}
	}
	at := 3
	if n > 7 {
		at = 5
	}
	if n < at+3 || t[at-3] != stream || t[at-2] != consumer {
		return false
	}
	seq, err1 := strconv.ParseUint(t[at], 10, 64)
	cseq, err2 := strconv.ParseUint(t[at+1], 10, 64)
	ns, err3 := strconv.ParseInt(t[at+2], 10, 64)
	d.Seq, d.consumerSeq, d.At = seq, cseq, ns
	return err1 == nil && err2 == nil && err3 == nil
}
