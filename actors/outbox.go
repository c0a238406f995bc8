package actors

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"ordo/api"
	"ordo/bus"
)

// Carrier is how an Outbox acts on the world: the publisher over NATS, or a
// simulation.
type Carrier interface {
	// Now is the time by which channels rest and messages count as lost.
	Now() time.Time
	// May answers an error while this file may not speak for its actor.
	May() error
	// Publish sends a message on its way. After an error it was not taken; that
	// it was not stored later is said with Outbox.Failed.
	Publish(p *Parcel) error
	// Ask asks a receiver (<actor>.<shard>) what it has committed. Outbox.Heard
	// takes its answer, or nil when there is none.
	Ask(ctx context.Context, receiver string)
	// Later has Outbox.Poll called after publishWait.
	Later()
}

// Parcel is one sending of a message.
type Parcel struct {
	Subject string
	// ID is the message's identity; Again is true when it may have been
	// published before, and the stream must not take it for a repeat.
	ID    string
	Again bool
	// After is, in a file's first epoch but one, the last number of the epoch
	// before; 0 for none.
	After int64
	Cause string
	// Apart is as in Sent.
	Apart bool
	Body  []byte
}

// CommittedReply is a receiver's answer to Carrier.Ask: the last number
// committed, and the stream time up to which it has read.
type CommittedReply struct {
	Number   int64    `json:"number"`
	ReadUpTo api.Time `json:"read_up_to"`
}

// Outbox decides what of an actor's messages is published next, in order on
// each channel: from the batch when it is next, else from the file. A channel
// is published on only after its receiver has been asked what it has
// committed. It has no clock, connection or goroutine of its own. It belongs
// to one goroutine, but for Resend, Failed and Stopped.
type Outbox struct {
	engine *Engine
	via    Carrier
	log    *slog.Logger

	mu       sync.Mutex
	channels map[string]*channel
}

// channel is the one cursor of the messages to one receiver. It belongs to the
// outbox's goroutine, but for what mu guards.
type channel struct {
	receiver string
	// next is the number to publish next; 0 until the receiver was asked.
	next int64
	// fresh is the first number that was never published before.
	fresh int64
	// mark and markedAt are a number and when it had been published.
	mark     int64
	markedAt time.Time
	// asking is true while the receiver is being asked.
	asking bool
	// gone is a number that was to be published and is not in the outbox.
	gone int64
	// stopped says why the channel may not go on; it is also written with mu.
	stopped string

	// Guarded by the outbox's mu: acked is what the receiver has committed
	// by its own word; back, when not 0, is where a resend goes back to; until
	// hold nothing is published; void has the numbers of messages that can
	// never be.
	acked int64
	back  int64
	hold  time.Time
	void  map[int64]bool
}

// NewOutbox makes the outbox of an engine that is being started.
func NewOutbox(e *Engine, via Carrier, log *slog.Logger) *Outbox {
	o := &Outbox{engine: e, via: via, log: log, channels: map[string]*channel{}}
	for receiver, r := range e.Receivers() {
		o.channels[receiver] = &channel{receiver: receiver, fresh: r[0] + 1}
	}
	return o
}

// Hand publishes committed rows that are next on their channels, and reads the
// file for channels that are behind.
func (o *Outbox) Hand(ctx context.Context, rows []Sent) {
	if o.via.May() != nil {
		return // they are in the file
	}
	var behind []*channel
	for i := range rows {
		r := &rows[i]
		c := o.channel(r.Receiver)
		if c.stopped != "" || c.next != r.Number || o.takeBack(c) || o.publish(c, r) != nil {
			if !slices.Contains(behind, c) {
				behind = append(behind, c)
			}
		}
	}
	for _, c := range behind {
		if c.next == 0 {
			o.ask(ctx, c)
		}
		o.catchUp(ctx, c)
	}
}

// Poll asks the receivers of what is not known to be committed, and publishes
// what is due.
func (o *Outbox) Poll(ctx context.Context) {
	o.AskAll(ctx)
	for _, c := range o.all() {
		o.catchUp(ctx, c)
	}
}

// AskAll asks the receivers of everything that is not known to be committed.
func (o *Outbox) AskAll(ctx context.Context) {
	receivers := o.engine.Receivers()
	for _, c := range o.all() {
		if r := receivers[c.receiver]; c.next == 0 || c.next <= r[0] || r[1] < r[0] {
			o.ask(ctx, c)
		}
	}
}

// Heard takes a receiver's answer, nil when there was none, and goes on.
func (o *Outbox) Heard(ctx context.Context, receiver string, r *CommittedReply) {
	c := o.channel(receiver)
	c.asking = false
	if r != nil {
		o.heard(c, r)
		o.catchUp(ctx, c)
	}
}

// Resend takes a receiver's wish to be sent again what follows on the number
// it has committed last. Call Poll afterwards.
func (o *Outbox) Resend(receiver string, last int64) {
	given, ok := o.engine.Receivers()[receiver]
	if !ok || last >= given[0] || last < 0 {
		return
	}
	o.log.Info("resending", "receiver", receiver, "after", last)
	c := o.channel(receiver)
	o.mu.Lock()
	defer o.mu.Unlock()
	c.acked = min(c.acked, last)
	c.goBack(last + 1)
}

// Failed goes back to a message that was not stored, after a rest; one that
// never can be leaves its number to a void one. It answers false for what is
// not a message of a channel.
func (o *Outbox) Failed(identity string, err error) bool {
	id, ok := parseChannelID(identity)
	if !ok || id.sender != o.engine.self {
		return false
	}
	c := o.channel(id.receiver)
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.via.Now().Before(c.hold) { // else it has been logged
		o.log.Warn("publish failed", "msg_id", id.String(), "err", err)
	}
	o.rest(c, id.number, err)
	c.goBack(id.number)
	return true
}

// Stopped tells by receiver why channels do not go on; nil when all do.
func (o *Outbox) Stopped() (why map[string]string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for receiver, c := range o.channels {
		if c.stopped == "" {
			continue
		}
		if why == nil {
			why = map[string]string{}
		}
		why[receiver] = c.stopped
	}
	return why
}

func (o *Outbox) channel(receiver string) *channel {
	o.mu.Lock()
	defer o.mu.Unlock()
	c, ok := o.channels[receiver]
	if !ok {
		c = &channel{receiver: receiver, fresh: 1}
		o.channels[receiver] = c
	}
	return c
}

// all are the channels in the order of their names, so that a simulation can
// be repeated.
func (o *Outbox) all() []*channel {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make([]*channel, 0, len(o.channels))
	for _, c := range o.channels {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *channel) int { return cmp.Compare(a.receiver, b.receiver) })
	return all
}

// takeBack moves the cursor to where a resend goes back to, but never to what
// is committed, which may have left the outbox.
func (o *Outbox) takeBack(c *channel) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.back == 0 {
		return false
	}
	back := max(c.back, c.acked+1)
	c.back = 0
	if back >= c.next {
		return false
	}
	c.next = back
	return true
}

// resting tells whether a channel has to wait: after a failure, or because the
// receiver has not committed the last window.
func (o *Outbox) resting(c *channel) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return c.next > c.acked+ResendWindow || o.via.Now().Before(c.hold)
}

// goBack has a channel published again from a number on. Call it with mu.
func (c *channel) goBack(number int64) {
	if c.back == 0 || number < c.back {
		c.back = number
	}
}

// rest has a channel wait after a message was not published. Call it with mu.
func (o *Outbox) rest(c *channel, number int64, err error) {
	if bus.IsPermanent(err) && !c.void[number] {
		o.log.Error("message can't be published; a void one goes in its place",
			"receiver", c.receiver, "number", number, "err", err)
		if c.void == nil {
			c.void = map[int64]bool{}
		}
		c.void[number] = true
	}
	c.hold = o.via.Now().Add(publishWait)
	o.via.Later()
}

func (o *Outbox) isVoid(c *channel, number int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return c.void[number]
}

func (o *Outbox) publish(c *channel, s *Sent) error {
	p := Parcel{Subject: s.Subject, Again: s.Number < c.fresh, Cause: s.Cause, Apart: s.Apart,
		Body: s.Body}
	p.ID, p.After = o.engine.identity(s)
	if o.isVoid(c, s.Number) {
		actor := strings.TrimSuffix(c.receiver, "."+bus.Shard)
		p.Subject, p.Body = bus.MailboxSubject(actor, api.VerbVoid), []byte("{}")
	}
	if err := o.via.Publish(&p); err != nil {
		o.log.Warn("publish", "subject", p.Subject, "msg_id", p.ID, "err", err)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.rest(c, s.Number, err)
		return err
	}
	c.next = s.Number + 1
	c.fresh = max(c.fresh, c.next)
	return nil
}

// catchUp publishes from the file until the channel's last number, or until
// the window of a resend is full.
func (o *Outbox) catchUp(ctx context.Context, c *channel) {
	for ctx.Err() == nil && c.next > 0 && c.stopped == "" && o.via.May() == nil {
		o.takeBack(c)
		if c.next > o.engine.Receivers()[c.receiver][0] {
			return
		}
		if o.resting(c) {
			o.via.Later()
			return
		}
		rows, err := o.engine.Resend(c.receiver, c.next-1)
		if err != nil {
			o.log.Error("outbox can't be read", "receiver", c.receiver, "next", c.next, "err", err)
			return
		}
		if len(rows) == 0 || rows[0].Number != c.next {
			// A late failure or request; if not, the receiver says so.
			c.gone, c.next = c.next, 0
			o.ask(ctx, c)
			return
		}
		for i := range rows {
			if o.publish(c, &rows[i]) != nil {
				return
			}
		}
	}
}

func (o *Outbox) stop(c *channel, err error) {
	o.mu.Lock()
	c.stopped = err.Error()
	o.mu.Unlock()
	o.log.Error("channel stopped", "receiver", c.receiver, "err", err)
}

// ask asks a receiver what it has committed, unless it is being asked.
func (o *Outbox) ask(ctx context.Context, c *channel) {
	if c.asking || c.stopped != "" || ctx.Err() != nil {
		return
	}
	c.asking = true
	o.via.Ask(ctx, c.receiver)
}

// heard takes a receiver's answer, and goes back when something published long
// enough ago is not among what it has committed.
func (o *Outbox) heard(c *channel, r *CommittedReply) {
	if err := o.engine.Committed(c.receiver, r.Number); err != nil {
		o.stop(c, err)
		return
	}
	o.mu.Lock()
	c.acked = r.Number
	o.mu.Unlock()
	switch {
	case c.next == 0 && c.gone == r.Number+1:
		o.stop(c, fmt.Errorf("number %d is needed and no longer in the outbox", c.gone))
	case c.next == 0:
		c.next = r.Number + 1
	case r.Number < c.mark && r.ReadUpTo > api.TimeOf(c.markedAt.Add(lostAfter)):
		o.log.Warn("messages lost; resending", "receiver", c.receiver, "after", r.Number)
		c.next, c.mark = r.Number+1, 0
	}
	c.gone = 0
	if r.Number >= c.mark {
		c.mark, c.markedAt = c.next-1, o.via.Now()
	}
}
