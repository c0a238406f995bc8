package actors

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
	"ordo/bus/failpoint"
	"ordo/bus/tracing"
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

// publisher carries the outbox over NATS. Its goroutine owns the outbox;
// nobody waits for a receiver's answer.
type publisher struct {
	engine *Engine
	outbox *Outbox
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
	trace   *tracing.Tracer
	// sent, again and unsent count what was published, what of it once more, and
	// what was not taken or not stored.
	sent, again, unsent atomic.Int64
}

// answer is a receiver's, nil when there was none.
type answer struct {
	receiver string
	reply    *CommittedReply
}

func newPublisher(e *Engine, nc *nats.Conn, js jetstream.JetStream, log *slog.Logger) *publisher {
	p := &publisher{engine: e, nc: nc, js: js, log: log, in: make(chan []Sent, handBatches),
		may:  func() error { return nil },
		poke: make(chan struct{}, 1), answers: make(chan answer)}
	p.outbox = NewOutbox(e, p, log)
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

// Later implements Carrier.
func (p *publisher) Later() {
	if p.later.CompareAndSwap(false, true) {
		time.AfterFunc(publishWait, func() {
			p.later.Store(false)
			p.wake()
		})
	}
}

func (p *publisher) run(ctx context.Context) {
	defer p.asks.Wait()
	p.outbox.AskAll(ctx)
	ticker := time.NewTicker(confirmEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			p.drain(ctx)
			return
		case rows := <-p.in:
			p.outbox.Hand(ctx, rows)
			continue
		case a := <-p.answers:
			if a.reply != nil {
				failpoint.At("before-mark", p.engine.Spec.Name)
			}
			p.outbox.Heard(ctx, a.receiver, a.reply)
			continue
		case <-p.poke:
		case <-ticker.C:
		}
		p.outbox.Poll(ctx)
	}
}

// drain publishes what was handed over before the end and is next; the file
// has the rest.
func (p *publisher) drain(ctx context.Context) {
	for {
		select {
		case rows := <-p.in:
			p.outbox.Hand(ctx, rows)
		default:
			_ = p.nc.FlushTimeout(time.Second)
			return
		}
	}
}

func (p *publisher) resend(m *nats.Msg) {
	var r resendRequest
	if err := json.Unmarshal(m.Data, &r); err != nil {
		p.log.Warn("resend request can't be read", "err", err)
		return
	}
	p.outbox.Resend(r.Receiver, r.Last)
	p.wake()
}

// failed has sent again what was not stored. It answers false for what is not
// a message of a channel.
func (p *publisher) failed(m *nats.Msg, err error) bool {
	p.unsent.Add(1)
	return p.outbox.Failed(bus.Identity(m.Header), err)
}

// Now implements Carrier.
func (p *publisher) Now() time.Time { return time.Now() }

// May implements Carrier.
func (p *publisher) May() error { return p.may() }

// Publish implements Carrier.
func (p *publisher) Publish(m *Parcel) error {
	header := make(nats.Header, 3)
	header[bus.HeaderCause] = []string{m.Cause}
	if m.After > 0 {
		header[bus.HeaderAfter] = []string{strconv.FormatInt(m.After, 10)}
	}
	id := m.ID
	if m.Again {
		id = bus.Fresh(id)
	}
	failpoint.At("before-publish", p.engine.Spec.Name)
	span := p.span(m)
	_, err := bus.Publish(p.js, m.Subject, id, span.Carry(header), m.Body)
	if err != nil {
		p.unsent.Add(1)
		return err
	}
	span.End()
	p.sent.Add(1)
	if m.Again {
		p.again.Add(1)
	}
	failpoint.At("after-publish", p.engine.Spec.Name)
	return nil
}

// Ask implements Carrier.
func (p *publisher) Ask(ctx context.Context, receiver string) {
	p.asks.Go(func() {
		a := answer{receiver: receiver}
		limited, cancel := context.WithTimeout(ctx, confirmWait)
		defer cancel()
		m, err := p.nc.RequestWithContext(limited, bus.CommittedSubject(receiver),
			api.Raw(&confirmRequest{Sender: p.engine.self}))
		if err == nil {
			a.reply = new(CommittedReply)
			err = json.Unmarshal(m.Data, a.reply)
		}
		if err != nil || a.reply.Number < 0 {
			a.reply = nil
			p.log.Debug("receiver does not answer", "receiver", receiver, "err", err)
		}
		select {
		case p.answers <- a:
		case <-ctx.Done():
		}
	})
}
