package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus/failpoint"
	"ordo/bus/tracing"
)

// Limits of effects.
const (
	// EffectTimeout is how long one try of an effect may take, if its worker says
	// nothing else.
	EffectTimeout = 10 * time.Second
	// EffectTries is how often the first announcement of an effect is tried,
	// within about a minute and a half; later ones, by the actor's sweep, are
	// tried once each.
	EffectTries = 5
	// effectDelay and maxEffectDelay are the first and the longest time
	// between two tries.
	effectDelay    = 5 * time.Second
	maxEffectDelay = 10 * time.Minute
	// effectGrace is how long after its time a try counts as lost with its worker:
	// what is left for reporting it.
	effectGrace = 15 * time.Second
	// effectWindow is how many effects of a name are under way or wait for
	// their next try; the others wait undelivered behind them.
	effectWindow = 4096
)

// EffectDelay is how long to wait after the n-th failed try of an effect: 5 s,
// 10 s, 20 s and so on to 10 minutes, and up to a quarter more by its id, so
// that what failed together is not tried again together.
func EffectDelay(id string, n int) time.Duration {
	d := maxEffectDelay
	if n < 8 {
		d = min(d, effectDelay<<max(n-1, 0))
	}
	h := fnv.New32a()
	h.Write([]byte(id))
	return d + d/4*time.Duration(h.Sum32()%1000)/1000
}

// Worker does the effects of one name for one actor.
type Worker struct {
	Actor string
	Name  string
	// Parallel is how many tries run side by side, in no order; 0 means 1.
	Parallel int
	// Timeout is how long one try may take; 0 means EffectTimeout.
	Timeout time.Duration
	// Do does one try, within Timeout. After an error the effect is
	// tried again after EffectDelay, for ever; what it returns without one is
	// the effect's final outcome.
	Do func(ctx context.Context, e *api.Effect) (data any, err error)
	// Done, when not nil, hears what came of each try, and how long it took.
	Done func(err error, took time.Duration)
	// Trace records spans; nil records none.
	Trace *tracing.Tracer
}

// EffectID is the identity of the message that announces a try of an effect.
func EffectID(actor string, e *api.Effect) string {
	return fmt.Sprintf("eff-%s-%s-%d", actor, e.ID, e.Attempt)
}

// Announcement is how a try of an effect is announced.
type Announcement struct {
	// Anew is for when the stream may know of it and the worker that took it may
	// be gone.
	Anew bool
	// Span is that of the publishing; nil for none.
	Span *tracing.Span
}

// PublishEffect announces a try of an effect to its workers.
func PublishEffect(js jetstream.JetStream, actor string, e *api.Effect, how Announcement) error {
	id := EffectID(actor, e)
	if how.Anew {
		id = Fresh(id)
	}
	_, err := Publish(js, EffectSubject(actor, e.Name), id, how.Span.Carry(nil), api.Raw(e))
	return err
}

// Work does the effects of a worker until ctx ends and the tries under way have
// stopped. Any number of processes may run it; a try may be done more than
// once.
func Work(ctx context.Context, js jetstream.JetStream, w Worker, log *slog.Logger) {
	log = log.With("actor", w.Actor, "effects", w.Name)
	retry(ctx, log, "effects "+w.Name, func() error {
		c, err := js.CreateOrUpdateConsumer(ctx, StreamEffects, jetstream.ConsumerConfig{
			Durable:       "effect-" + w.Actor + "-" + w.Name,
			FilterSubject: EffectSubject(w.Actor, w.Name),
			Description: "Calls of " + w.Name + " for " + w.Actor + "; one that failed is " +
				"redelivered after a pause.",
			Metadata:  metadata(KindEffects, w.Actor),
			AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: effectWindow,
			InactiveThreshold: unasked,
			MaxDeliver:        EffectTries, AckWait: w.timeout() + effectGrace,
		})
		if err != nil {
			return err
		}
		return w.run(ctx, js, c, log)
	})
}

// run fetches as many messages as tries may begin, until an error or the end of
// ctx, and then waits for those under way.
func (w *Worker) run(ctx context.Context, js jetstream.JetStream, c jetstream.Consumer,
	log *slog.Logger) error {
	var tries sync.WaitGroup
	defer tries.Wait()
	free := make(chan struct{}, max(w.Parallel, 1))
	for range cap(free) {
		free <- struct{}{}
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-free: // one is free; it is taken again below
			free <- struct{}{}
		}
		if err := fetch(ctx, c, len(free), func(m jetstream.Msg) error {
			<-free
			tries.Go(func() {
				defer func() { free <- struct{}{} }()
				w.try(ctx, js, m, log)
			})
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// try does one try and says how the stream is to go on with the message. When
// that does not get through, the message comes again effectGrace after its time.
func (w *Worker) try(ctx context.Context, js jetstream.JetStream, m jetstream.Msg,
	log *slog.Logger) {
	var e api.Effect
	if err := json.Unmarshal(m.Data(), &e); err != nil {
		log.Error("effect can't be read", "subject", m.Subject(), "err", err)
		_ = m.Term()
		return
	}
	o := api.Outcome{Effect: e.ID, Attempt: e.Attempt, Final: true}
	data, span, err := w.watched(ctx, m, &e)
	if err == nil {
		failpoint.At("effect-answered", w.Actor)
		if data != nil {
			o.Data = api.Raw(data)
		}
		if err = w.report(js, &o, m, span); err == nil {
			return
		}
	}
	if ctx.Err() != nil { // broken off
		_ = m.Nak()
		return
	}
	w.reportFailed(js, &e, m, err)
	again := w.again(m, &e)
	args := []any{"effect", e.ID, "attempt", e.Attempt, "again", again, "err", err}
	if at := span.Place(); !at.IsZero() {
		args = append(args, "trace", at.Trace.String())
	}
	log.Warn("effect failed", args...)
	if again > 0 {
		_ = m.NakWithDelay(again)
	} else {
		_ = m.Ack() // the actor's sweep announces the next try
	}
}

// again is after how long the stream delivers a failed try's message again; 0
// for never.
func (w *Worker) again(m jetstream.Msg, e *api.Effect) time.Duration {
	meta, err := m.Metadata()
	if err != nil || e.Attempt > 1 || meta.NumDelivered >= EffectTries {
		return 0
	}
	return EffectDelay(e.ID, int(meta.NumDelivered))
}

// watched is do, with its span and its time told.
func (w *Worker) watched(ctx context.Context, m jetstream.Msg, e *api.Effect) (data any,
	span *tracing.Span, err error) {
	began := time.Now()
	if at := tracing.Parse(m.Headers().Get(tracing.Header)); !at.IsZero() {
		tries := uint64(1)
		if meta, err := m.Metadata(); err == nil {
			tries = meta.NumDelivered
		}
		id := fmt.Sprintf("%s-%d", EffectID(w.Actor, e), tries)
		span = w.Trace.Start(tracing.Span{Name: tracing.Effect + " " + e.Name,
			At: tracing.Place{Trace: at.Trace, Span: tracing.SpanOf(tracing.Effect, w.Actor,
				id)},
			Parent: at.Span, Attributes: tracing.About(e.ID, tracing.Order(e.Body))})
	}
	if data, err = w.do(ctx, e); err != nil && span != nil {
		span.Fault = "failed; the log says why"
	}
	span.End()
	if w.Done != nil {
		w.Done(err, time.Since(began))
	}
	return data, span, err
}
func (w *Worker) timeout() time.Duration { return cmp.Or(w.Timeout, EffectTimeout) }

// do calls Do within its time. A panic is an error.
func (w *Worker) do(ctx context.Context, e *api.Effect) (data any, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout())
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return w.Do(ctx, e)
}

// report publishes an outcome to the actor and acks the try's message once it
// is stored.
func (w *Worker) report(js jetstream.JetStream, o *api.Outcome, m jetstream.Msg,
	span *tracing.Span) error {
	body := api.Raw(o)
	f, err := Publish(js, MailboxSubject(w.Actor, api.VerbOutcome),
		fmt.Sprintf("out-%s-%d-%s", o.Effect, o.Attempt, hash(body)), span.Carry(nil), body)
	if err != nil {
		return err
	}
	return stored(f, m)
}

// reportFailed tells the actor why a try failed, for people to see: a best effort.
func (w *Worker) reportFailed(js jetstream.JetStream, e *api.Effect, m jetstream.Msg, cause error) {
	o := api.Outcome{Effect: e.ID, Attempt: e.Attempt}
	o.Error, _, _ = strings.Cut(cause.Error(), "\n")
	o.Error = strings.ToValidUTF8(o.Error[:min(len(o.Error), api.MaxOutcomeError)], "")
	tries := uint64(0)
	if meta, err := m.Metadata(); err == nil {
		tries = meta.NumDelivered
	}
	_, _ = Publish(js, MailboxSubject(w.Actor, api.VerbOutcome),
		fmt.Sprintf("out-%s-%d-failed-%d", o.Effect, o.Attempt, tries), nil, api.Raw(&o))
}

// fetch hands waiting messages to handle, size at most, one by one.
func fetch(ctx context.Context, c jetstream.Consumer, size int,
	handle func(jetstream.Msg) error) error {
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	batch, err := c.Fetch(size, jetstream.FetchContext(ctx))
	if err != nil {
		return err
	}
	for m := range batch.Messages() {
		if err := handle(m); err != nil {
			return err
		}
	}
	if err := batch.Error(); err != nil && ctx.Err() == nil && !errors.Is(err, nats.ErrTimeout) {
		return err
	}
	return nil
}
