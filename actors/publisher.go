package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
)

// How the publisher works.
const (
	// confirmEvery is how often receivers are asked what they have committed.
	confirmEvery = 2 * time.Second
	// confirmWait is how long an answer may take.
	confirmWait = time.Second
	// lostAfter is how much newer than a publish the receiver's reading must
	// be before the message counts as lost.
	lostAfter = 5 * time.Second
	// handBatches is how many batches wait to be published; more are read
	// from the file later.
	handBatches = 256
	publishWait = 200 * time.Millisecond
)

// resendRequest is a receiver's wish for a sender to go back.
type resendRequest struct {
	Receiver string `json:"receiver"`
	Epoch    string `json:"epoch"`
	Last     int64  `json:"last"`
}

// confirmRequest asks a receiver what it has committed of a sender.
type confirmRequest struct {
	Sender string `json:"sender"`
}

// confirmReply is the last number committed, and the stream time up to which
// the receiver has read.
type confirmReply struct {
	Number   int64    `json:"number"`
	ReadUpTo api.Time `json:"read_up_to"`
}

// publisher publishes the rows of the outbox, in order on each channel: from
// the batch when it is next, else from the file. A channel is published on
// only after its receiver has been asked what it has committed.
type publisher struct {
	engine *Engine
	nc     *nats.Conn
	js     jetstream.JetStream
	log    *slog.Logger
	in     chan []Sent
	// poke has the publisher look at its channels.
	poke chan struct{}
	subs []*nats.Subscription

	mu       sync.Mutex
	channels map[string]*channel
}

// channel is the one cursor of the messages to one receiver.
type channel struct {
	receiver string
	// next is the number to publish next; 0 until the receiver was asked.
	next int64
	// fresh is the first number that was never published before.
	fresh int64
	// back, when not 0, is where a resend goes back to.
	back int64
	// mark and markedAt are a number and when it had been published.
	mark     int64
	markedAt time.Time
	// stopped says why the channel may not go on.
	stopped string
}

func newPublisher(e *Engine, nc *nats.Conn, js jetstream.JetStream, log *slog.Logger) *publisher {
	p := &publisher{engine: e, nc: nc, js: js, log: log, in: make(chan []Sent, handBatches),
		poke: make(chan struct{}, 1), channels: map[string]*channel{}}
	for receiver, r := range e.Receivers() {
		p.channels[receiver] = &channel{receiver: receiver, fresh: r[0] + 1}
	}
	return p
}

// listen takes receivers' wishes to resend, and their news of being up.
func (p *publisher) listen() error {
	for subject, handle := range map[string]nats.MsgHandler{
		bus.ResendSubject(p.engine.self): p.resend,
		bus.UpSubject:                    func(*nats.Msg) { p.wake() },
	} {
		sub, err := p.nc.Subscribe(subject, handle)
		if err != nil {
			return fmt.Errorf("actors: publisher: %w", err)
		}
		p.subs = append(p.subs, sub)
	}
	return nil
}

func (p *publisher) close() {
	for _, s := range p.subs {
		// The connection is closed next.
		_ = s.Unsubscribe()
	}
}

// hand gives committed rows to the publisher. When it is far behind they are
// dropped here and read from the file later.
func (p *publisher) hand(rows []Sent) {
	if len(rows) == 0 {
		return
	}
	select {
	case p.in <- rows:
	default:
		p.wake()
	}
}

func (p *publisher) wake() {
	select {
	case p.poke <- struct{}{}:
	default:
	}
}

func (p *publisher) run(ctx context.Context) {
	p.confirmAll(ctx)
	ticker := time.NewTicker(confirmEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			p.drain()
			return
		case rows := <-p.in:
			p.publishRows(ctx, rows)
			continue
		case <-p.poke:
		case <-ticker.C:
		}
		p.confirmAll(ctx)
		p.catchUpAll(ctx)
	}
}

// drain publishes what was handed over before the end; the file has it anyway.
func (p *publisher) drain() {
	for {
		select {
		case rows := <-p.in:
			p.publishRows(context.Background(), rows)
		default:
			_ = p.nc.FlushTimeout(time.Second)
			return
		}
	}
}

// publishRows publishes rows that are next on their channels, and reads the
// file for channels that are behind.
func (p *publisher) publishRows(ctx context.Context, rows []Sent) {
	var behind map[string]bool
	for i := range rows {
		r := &rows[i]
		c := p.channel(r.Receiver)
		if c.next == 0 && c.stopped == "" {
			p.confirm(ctx, c)
		}
		if c.next != r.Number || p.takeBack(c) || p.publish(c, r) != nil {
			if behind == nil {
				behind = map[string]bool{}
			}
			behind[r.Receiver] = true
		}
	}
	for receiver := range behind {
		p.catchUp(ctx, p.channel(receiver))
	}
}

func (p *publisher) channel(receiver string) *channel {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.channels[receiver]
	if !ok {
		c = &channel{receiver: receiver, fresh: 1}
		p.channels[receiver] = c
	}
	return c
}

func (p *publisher) all() []*channel {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*channel, 0, len(p.channels))
	for _, c := range p.channels {
		all = append(all, c)
	}
	return all
}

// takeBack moves the cursor to where a resend goes back to.
func (p *publisher) takeBack(c *channel) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.back == 0 || c.back >= c.next {
		c.back = 0
		return false
	}
	c.next, c.back = c.back, 0
	return true
}

// goBack has a channel published again from a number on.
func (p *publisher) goBack(c *channel, number int64) {
	p.mu.Lock()
	if c.next != 0 && (c.back == 0 || number < c.back) {
		c.back = number
	}
	p.mu.Unlock()
	p.wake()
}

func (p *publisher) resend(m *nats.Msg) {
	var r resendRequest
	if err := json.Unmarshal(m.Data, &r); err != nil {
		p.log.Warn("resend request can't be read", "err", err)
		return
	}
	given, ok := p.engine.Receivers()[r.Receiver]
	if !ok || r.Last >= given[0] || r.Last < 0 {
		return
	}
	p.log.Info("resending", "receiver", r.Receiver, "after", r.Last)
	p.goBack(p.channel(r.Receiver), r.Last+1)
}

// failed goes back to a message that was not stored; one that never can be
// leaves its number to a void one.
func (p *publisher) failed(m *nats.Msg, err error) {
	c, ok := parseChannelID(bus.Identity(m.Header))
	if !ok {
		return
	}
	if !bus.IsPermanent(err) {
		p.goBack(p.channel(c.receiver), c.number)
		return
	}
	p.log.Error("message can't be published; a void one goes in its place", "msg_id", c.String(),
		"err", err)
	actor := c.receiver[:len(c.receiver)-len(bus.Shard)-1]
	if _, err := bus.Publish(p.js, bus.MailboxSubject(actor, api.VerbVoid), bus.Fresh(c.String()),
		nil, []byte("{}")); err != nil {
		p.goBack(p.channel(c.receiver), c.number)
	}
}

func (p *publisher) publish(c *channel, s *Sent) error {
	id, after := p.engine.identity(s)
	header := make(nats.Header, 3)
	header[bus.HeaderCause] = []string{s.Cause}
	if after > 0 {
		header[bus.HeaderAfter] = []string{strconv.FormatInt(after, 10)}
	}
	if s.Number < c.fresh {
		id = bus.Fresh(id)
	}
	if _, err := bus.Publish(p.js, s.Subject, id, header, s.Body); err != nil {
		p.log.Warn("publish", "subject", s.Subject, "msg_id", id, "err", err)
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.next = s.Number + 1
	c.fresh = max(c.fresh, c.next)
	return nil
}

// catchUpAll publishes from the file what is behind on every channel.
func (p *publisher) catchUpAll(ctx context.Context) {
	for _, c := range p.all() {
		p.catchUp(ctx, c)
	}
}

// catchUp publishes from the file until the channel's last number, or until
// the window of a resend is full.
func (p *publisher) catchUp(ctx context.Context, c *channel) {
	for ctx.Err() == nil && c.next > 0 && c.stopped == "" {
		p.takeBack(c)
		given := p.engine.Receivers()[c.receiver]
		if c.next > given[0] || c.next > given[1]+ResendWindow {
			return
		}
		rows, err := p.engine.Resend(c.receiver, c.next-1)
		if err != nil || len(rows) == 0 {
			p.log.Error("outbox can't be read", "receiver", c.receiver, "next", c.next, "err", err)
			return
		}
		if rows[0].Number != c.next {
			p.stop(c, fmt.Errorf("number %d is asked for and no longer in the outbox", c.next))
			return
		}
		for i := range rows {
			if p.publish(c, &rows[i]) != nil {
				sleep(ctx, publishWait)
				return
			}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (p *publisher) stop(c *channel, err error) {
	p.mu.Lock()
	c.stopped = err.Error()
	p.mu.Unlock()
	p.log.Error("channel stopped", "receiver", c.receiver, "err", err)
}

// confirmAll asks the receivers of everything that is not known to be
// committed.
func (p *publisher) confirmAll(ctx context.Context) {
	var wg sync.WaitGroup
	receivers := p.engine.Receivers()
	for _, c := range p.all() {
		r := receivers[c.receiver]
		if c.stopped == "" && (c.next == 0 || r[1] < r[0]) {
			wg.Go(func() { p.confirm(ctx, c) })
		}
	}
	wg.Wait()
}

// confirm asks a receiver what it has committed, and goes back when something
// published long enough ago is not among it.
func (p *publisher) confirm(ctx context.Context, c *channel) {
	ctx, cancel := context.WithTimeout(ctx, confirmWait)
	defer cancel()
	m, err := p.nc.RequestWithContext(ctx, bus.CommittedSubject(c.receiver),
		api.Raw(&confirmRequest{Sender: p.engine.self}))
	if err != nil {
		if !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, context.Canceled) {
			p.log.Debug("receiver does not answer", "receiver", c.receiver, "err", err)
		}
		return
	}
	var r confirmReply
	if err := json.Unmarshal(m.Data, &r); err != nil {
		p.log.Warn("receiver's answer can't be read", "receiver", c.receiver, "err", err)
		return
	}
	if err := p.engine.Committed(c.receiver, r.Number); err != nil {
		p.stop(c, err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case c.next == 0:
		c.next = r.Number + 1
	case r.Number < c.mark && r.ReadUpTo > api.TimeOf(c.markedAt.Add(lostAfter)):
		p.log.Warn("messages lost; resending", "receiver", c.receiver, "after", r.Number)
		c.next, c.mark = r.Number+1, 0
	}
	if r.Number >= c.mark {
		c.mark, c.markedAt = c.next-1, time.Now()
	}
}
