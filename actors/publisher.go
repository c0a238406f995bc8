package actors

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
	"ordo/bus/failpoint"
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
	// publishWait is how long a channel rests after a failure, and until a
	// receiver is asked again that has not committed the last window.
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
// only after its receiver has been asked what it has committed; nobody waits
// for the answer.
type publisher struct {
	engine *Engine
	nc     *nats.Conn
	js     jetstream.JetStream
	log    *slog.Logger
	// may answers an error while this file may not speak for its actor.
	may func() error
	in  chan []Sent
	// poke has the publisher look at its channels; later is true while it is
	// going to be poked.
	poke  chan struct{}
	later atomic.Bool
	// answers are what receivers have committed.
	answers chan answer
	asks    sync.WaitGroup
	subs    []*nats.Subscription

	mu       sync.Mutex
	channels map[string]*channel
}

// answer is a receiver's, nil when there was none.
type answer struct {
	c     *channel
	reply *confirmReply
}

// channel is the one cursor of the messages to one receiver. It belongs to the
// publisher's goroutine, but for what mu guards.
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

	// Guarded by the publisher's mu: acked is what the receiver has committed
	// by its own word; back, when not 0, is where a resend goes back to; until
	// hold nothing is published; void has the numbers of messages that can
	// never be.
	acked int64
	back  int64
	hold  time.Time
	void  map[int64]bool
}

func newPublisher(e *Engine, nc *nats.Conn, js jetstream.JetStream, log *slog.Logger) *publisher {
	p := &publisher{engine: e, nc: nc, js: js, log: log, in: make(chan []Sent, handBatches),
		may:  func() error { return nil },
		poke: make(chan struct{}, 1), answers: make(chan answer), channels: map[string]*channel{}}
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

// wakeLater is wake after a rest.
func (p *publisher) wakeLater() {
	if p.later.CompareAndSwap(false, true) {
		time.AfterFunc(publishWait, func() {
			p.later.Store(false)
			p.wake()
		})
	}
}

func (p *publisher) run(ctx context.Context) {
	defer p.asks.Wait()
	p.askAll(ctx)
	ticker := time.NewTicker(confirmEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			p.drain(ctx)
			return
		case rows := <-p.in:
			p.publishRows(ctx, rows)
			continue
		case a := <-p.answers:
			a.c.asking = false
			if a.reply != nil {
				p.heard(a.c, a.reply)
				p.catchUp(ctx, a.c)
			}
			continue
		case <-p.poke:
		case <-ticker.C:
		}
		p.askAll(ctx)
		for _, c := range p.all() {
			p.catchUp(ctx, c)
		}
	}
}

// drain publishes what was handed over before the end and is next; the file
// has the rest.
func (p *publisher) drain(ctx context.Context) {
	for {
		select {
		case rows := <-p.in:
			p.publishRows(ctx, rows)
		default:
			_ = p.nc.FlushTimeout(time.Second)
			return
		}
	}
}

// publishRows publishes rows that are next on their channels, and reads the
// file for channels that are behind.
func (p *publisher) publishRows(ctx context.Context, rows []Sent) {
	if p.may() != nil {
		return // they are in the file
	}
	var behind map[string]*channel
	for i := range rows {
		r := &rows[i]
		c := p.channel(r.Receiver)
		if c.stopped != "" || c.next != r.Number || p.takeBack(c) || p.publish(c, r) != nil {
			if behind == nil {
				behind = map[string]*channel{}
			}
			behind[r.Receiver] = c
		}
	}
	for _, c := range behind {
		if c.next == 0 {
			p.ask(ctx, c)
		}
		p.catchUp(ctx, c)
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

// takeBack moves the cursor to where a resend goes back to, but never to what
// is committed, which may have left the outbox.
func (p *publisher) takeBack(c *channel) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
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
func (p *publisher) resting(c *channel) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.next > c.acked+ResendWindow || time.Now().Before(c.hold)
}

// goBack has a channel published again from a number on. Call it with mu.
func (c *channel) goBack(number int64) {
	if c.back == 0 || number < c.back {
		c.back = number
	}
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
	c := p.channel(r.Receiver)
	p.mu.Lock()
	c.acked = min(c.acked, r.Last)
	c.goBack(r.Last + 1)
	p.mu.Unlock()
	p.wake()
}

// failed goes back to a message that was not stored, after a rest; one that
// never can be leaves its number to a void one. It answers false for what is
// not a message of a channel.
func (p *publisher) failed(m *nats.Msg, err error) bool {
	id, ok := parseChannelID(bus.Identity(m.Header))
	if !ok || id.sender != p.engine.self {
		return false
	}
	c := p.channel(id.receiver)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !time.Now().Before(c.hold) { // else it has been logged
		p.log.Warn("publish failed", "subject", m.Subject, "msg_id", id.String(), "err", err)
	}
	p.rest(c, id.number, err)
	c.goBack(id.number)
	return true
}

// rest has a channel wait after a message was not published. Call it with mu.
func (p *publisher) rest(c *channel, number int64, err error) {
	if bus.IsPermanent(err) && !c.void[number] {
		p.log.Error("message can't be published; a void one goes in its place",
			"receiver", c.receiver, "number", number, "err", err)
		if c.void == nil {
			c.void = map[int64]bool{}
		}
		c.void[number] = true
	}
	c.hold = time.Now().Add(publishWait)
	p.wakeLater()
}

func (p *publisher) isVoid(c *channel, number int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.void[number]
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
	subject, body := s.Subject, s.Body
	if p.isVoid(c, s.Number) {
		actor := strings.TrimSuffix(c.receiver, "."+bus.Shard)
		subject, body = bus.MailboxSubject(actor, api.VerbVoid), []byte("{}")
	}
	failpoint.At("before-publish", p.engine.Spec.Name)
	if _, err := bus.Publish(p.js, subject, id, header, body); err != nil {
		p.log.Warn("publish", "subject", subject, "msg_id", id, "err", err)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.rest(c, s.Number, err)
		return err
	}
	failpoint.At("after-publish", p.engine.Spec.Name)
	c.next = s.Number + 1
	c.fresh = max(c.fresh, c.next)
	return nil
}

// catchUp publishes from the file until the channel's last number, or until
// the window of a resend is full.
func (p *publisher) catchUp(ctx context.Context, c *channel) {
	for ctx.Err() == nil && c.next > 0 && c.stopped == "" && p.may() == nil {
		p.takeBack(c)
		if c.next > p.engine.Receivers()[c.receiver][0] {
			return
		}
		if p.resting(c) {
			p.wakeLater()
			return
		}
		rows, err := p.engine.Resend(c.receiver, c.next-1)
		if err != nil {
			p.log.Error("outbox can't be read", "receiver", c.receiver, "next", c.next, "err", err)
			return
		}
		if len(rows) == 0 || rows[0].Number != c.next {
			// A late failure or request; if not, the receiver says so.
			c.gone, c.next = c.next, 0
			p.ask(ctx, c)
			return
		}
		for i := range rows {
			if p.publish(c, &rows[i]) != nil {
				return
			}
		}
	}
}

func (p *publisher) stop(c *channel, err error) {
	p.mu.Lock()
	c.stopped = err.Error()
	p.mu.Unlock()
	p.log.Error("channel stopped", "receiver", c.receiver, "err", err)
}

// stopped tells by receiver why channels do not go on; nil when all do.
func (p *publisher) stopped() (why map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for receiver, c := range p.channels {
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

// askAll asks the receivers of everything that is not known to be committed.
func (p *publisher) askAll(ctx context.Context) {
	receivers := p.engine.Receivers()
	for _, c := range p.all() {
		if r := receivers[c.receiver]; c.next == 0 || c.next <= r[0] || r[1] < r[0] {
			p.ask(ctx, c)
		}
	}
}

// ask asks a receiver what it has committed.
func (p *publisher) ask(ctx context.Context, c *channel) {
	if c.asking || c.stopped != "" || ctx.Err() != nil {
		return
	}
	c.asking = true
	p.asks.Go(func() {
		a := answer{c: c}
		limited, cancel := context.WithTimeout(ctx, confirmWait)
		defer cancel()
		m, err := p.nc.RequestWithContext(limited, bus.CommittedSubject(c.receiver),
			api.Raw(&confirmRequest{Sender: p.engine.self}))
		if err == nil {
			a.reply = new(confirmReply)
			err = json.Unmarshal(m.Data, a.reply)
		}
		if err != nil || a.reply.Number < 0 {
			a.reply = nil
			p.log.Debug("receiver does not answer", "receiver", c.receiver, "err", err)
		}
		select {
		case p.answers <- a:
		case <-ctx.Done():
		}
	})
}

// heard takes a receiver's answer, and goes back when something published long
// enough ago is not among what it has committed.
func (p *publisher) heard(c *channel, r *confirmReply) {
	failpoint.At("before-mark", p.engine.Spec.Name)
	if err := p.engine.Committed(c.receiver, r.Number); err != nil {
		p.stop(c, err)
		return
	}
	p.mu.Lock()
	c.acked = r.Number
	p.mu.Unlock()
	switch {
	case c.next == 0 && c.gone == r.Number+1:
		p.stop(c, fmt.Errorf("number %d is needed and no longer in the outbox", c.gone))
	case c.next == 0:
		c.next = r.Number + 1
	case r.Number < c.mark && r.ReadUpTo > api.TimeOf(c.markedAt.Add(lostAfter)):
		p.log.Warn("messages lost; resending", "receiver", c.receiver, "after", r.Number)
		c.next, c.mark = r.Number+1, 0
	}
	c.gone = 0
	if r.Number >= c.mark {
		c.mark, c.markedAt = c.next-1, time.Now()
	}
}
