package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus/tracing"
)

// Limits of timers.
const (
	// MaxTimer is the longest delay that is kept as a delayed redelivery; a
	// longer one is left to the actor's sweep.
	MaxTimer = time.Hour
	// timerWindow is how many messages of a class wait as delayed
	// redeliveries; the others wait undelivered behind them.
	timerWindow = 1024
	// fetchWait is how long one fetch waits for messages.
	fetchWait = 2 * time.Second
	fetchSize = 256
	// forwardWait is how long a publish may take to be stored.
	forwardWait = 5 * time.Second
)

// PublishTimer publishes a message that comes back to the actor's mailbox when
// it is due, under its own id.
func PublishTimer(js jetstream.JetStream, actor string, t Timer) error {
	_, err := Publish(js, TimerSubject(actor, t.Class), t.ID, t.Span.Carry(nats.Header{
		HeaderDue: {t.Due.Std().Format(time.RFC3339Nano)},
		HeaderTo:  {MailboxSubject(actor, t.Verb)},
	}), t.Body)
	return err
}

// Timer is a message to come back later.
type Timer struct {
	// Class is <name>-<seconds>s; all timers of a class have that delay, so
	// that its subject is in the order of deadlines.
	Class string
	Due   api.Time
	ID    string
	Verb  string
	Body  []byte
	// Cause is the identity of the message that set it, if that is about the same
	// order, and Span that of its publishing; for traces, and not sent.
	Cause string
	Span  *tracing.Span
}

// TimerWatch is who looks at timers; the zero value is nobody.
type TimerWatch struct {
	// Late hears how long after its deadline a timer was forwarded.
	Late func(time.Duration)
	// Trace records spans.
	Trace *tracing.Tracer
}

// Timers forwards the due timers of one actor to its mailbox. Any number of
// processes may run it.
type Timers struct {
	js    jetstream.JetStream
	actor string
	watch TimerWatch
	log   *slog.Logger

	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	mu      sync.Mutex
	classes map[string]bool
}

// NewTimers starts forwarding the classes that the stream holds; Ensure adds
// new ones. Close it after use.
func NewTimers(js jetstream.JetStream, actor string, watch TimerWatch, log *slog.Logger) *Timers {
	t := &Timers{js: js, actor: actor, watch: watch, log: log, classes: map[string]bool{}}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// Load starts forwarding the classes that the stream holds.
func (t *Timers) Load(ctx context.Context) error {
	s, err := t.js.Stream(ctx, StreamTimers)
	if err != nil {
		return fmt.Errorf("bus: timers: %w", err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(TimerSubject(t.actor, ">")))
	if err != nil {
		return fmt.Errorf("bus: timers: %w", err)
	}
	for subject := range info.State.Subjects {
		t.Ensure(strings.TrimPrefix(subject, TimerSubject(t.actor, "")))
	}
	return nil
}

// Ensure has the timers of a class forwarded.
func (t *Timers) Ensure(class string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.classes[class] || t.ctx.Err() != nil {
		return
	}
	t.classes[class] = true
	t.wg.Go(func() { t.run(class) })
}

// Close stops forwarding.
func (t *Timers) Close() {
	t.mu.Lock()
	t.cancel()
	t.mu.Unlock()
	t.wg.Wait()
}

func (t *Timers) run(class string) {
	retry(t.ctx, t.log, "timers "+class, func() error {
		c, err := t.js.CreateOrUpdateConsumer(t.ctx, StreamTimers, jetstream.ConsumerConfig{
			Durable: "timer-" + t.actor + "-" + class, FilterSubject: TimerSubject(t.actor, class),
			Description: "Timers of " + t.actor + " that wait " + class + "; those not yet due " +
				"are unacknowledged or pending, and redelivered when they are.",
			Metadata:  metadata(KindTimers, t.actor),
			AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: timerWindow, MaxDeliver: -1,
			AckWait: 30 * time.Second, InactiveThreshold: unasked,
		})
		if err != nil {
			return err
		}
		for t.ctx.Err() == nil {
			if err := fetch(t.ctx, c, fetchSize, t.forward); err != nil {
				return err
			}
		}
		return nil
	})
}

// forward sends what is due to its mailbox and the rest back for as long as it
// must wait.
func (t *Timers) forward(m jetstream.Msg) error {
	h := m.Headers()
	due, err := time.Parse(time.RFC3339Nano, h.Get(HeaderDue))
	if err != nil || !json.Valid(m.Data()) {
		t.log.Error("timer can't be read; it is left to the sweep", "actor", t.actor, "subject",
			m.Subject(), "err", err)
		return m.Term()
	}
	if left := time.Until(due); left > 0 {
		return m.NakWithDelay(left)
	}
	to := h.Get(HeaderTo)
	verb, ok := strings.CutPrefix(to, MailboxSubject(t.actor, ""))
	if !ok || verb == "" || strings.ContainsAny(verb, ". \t") {
		t.log.Error("timer to elsewhere", "actor", t.actor, "subject", m.Subject(), "to", to)
		return m.Term()
	}
	span := t.span(h, verb, due)
	f, err := Publish(t.js, to, Identity(h), span.Carry(nil), m.Data())
	if err == nil {
		err = stored(f, m)
	}
	if err != nil {
		return err
	}
	if t.watch.Late != nil {
		t.watch.Late(time.Since(due))
	}
	span.End()
	return nil
}

// span is that of a timer's message: from its deadline until it is forwarded.
func (t *Timers) span(h nats.Header, verb string, due time.Time) *tracing.Span {
	at := tracing.Parse(h.Get(tracing.Header))
	if at.IsZero() {
		return nil
	}
	id := Identity(h)
	return t.watch.Trace.Start(tracing.Span{Name: tracing.Timer + " " + t.actor + "." + verb,
		At:     tracing.Place{Trace: at.Trace, Span: tracing.SpanOf(tracing.Timer, t.actor, id)},
		Parent: at.Span, Began: due, Attributes: tracing.About(id, "")})
}

// Pending counts the timers of the classes known here that have not been
// forwarded, by class.
func (t *Timers) Pending(ctx context.Context) (map[string]uint64, error) {
	t.mu.Lock()
	classes := slices.Collect(maps.Keys(t.classes))
	t.mu.Unlock()
	pending := make(map[string]uint64, len(classes))
	for _, class := range classes {
		c, err := t.js.Consumer(ctx, StreamTimers, "timer-"+t.actor+"-"+class)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue // it is about to be made
		}
		if err != nil {
			return nil, fmt.Errorf("bus: timers of %s: %w", t.actor, err)
		}
		info := c.CachedInfo()
		pending[class] = info.NumPending + uint64(info.NumAckPending)
	}
	return pending, nil
}

// stored acks m when f is stored.
func stored(f jetstream.PubAckFuture, m jetstream.Msg) error {
	select {
	case <-f.Ok():
		return m.Ack()
	case err := <-f.Err():
		return err
	case <-time.After(forwardWait):
		return errors.New("bus: no answer to a publish")
	}
}

// retry runs work until ctx ends, with a pause after each error.
func retry(ctx context.Context, log *slog.Logger, what string, work func() error) {
	const pause = 500 * time.Millisecond
	for ctx.Err() == nil {
		if err := work(); err != nil && ctx.Err() == nil {
			log.Warn(what+" interrupted", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}
