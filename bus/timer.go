package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
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
	_, err := Publish(js, TimerSubject(actor, t.Class), t.ID, nats.Header{
		HeaderDue: {t.Due.Std().Format(time.RFC3339Nano)},
		HeaderTo:  {MailboxSubject(actor, t.Verb)},
	}, t.Body)
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
}

// Timers forwards the due timers of one actor to its mailbox. Any number of
// processes may run it.
type Timers struct {
	js    jetstream.JetStream
	actor string
	log   *slog.Logger

	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	mu      sync.Mutex
	classes map[string]bool
}

// NewTimers starts forwarding the classes that the stream holds; Ensure adds
// new ones. Close it after use.
func NewTimers(js jetstream.JetStream, actor string, log *slog.Logger) *Timers {
	t := &Timers{js: js, actor: actor, log: log, classes: map[string]bool{}}
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
			AckWait: 30 * time.Second,
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
	if err != nil {
		t.log.Error("timer without a due time", "actor", t.actor, "subject", m.Subject(), "err",
			err)
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
	f, err := Publish(t.js, to, Identity(h), nil, m.Data())
	if err != nil {
		return err
	}
	return stored(f, m)
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
