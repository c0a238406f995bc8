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
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus/failpoint"
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
	// effectAckWait is after how many times its time a try counts as lost with its
	// worker.
	effectAckWait = 3
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
}

// PublishEffect announces a try of an effect to its workers; anew when the
// stream may know of it and the worker that took it may be gone.
func PublishEffect(js jetstream.JetStream, actor string, e *api.Effect, anew bool) error {
	id := fmt.Sprintf("eff-%s-%s-%d", actor, e.ID, e.Attempt)
	if anew {
		id = Fresh(id)
	}
	_, err := Publish(js, EffectSubject(actor, e.Name), id, nil, api.Raw(e))
	return err
}

// Work does the effects of a worker until ctx ends and the tries under way have
// stopped. Any number of processes may run it; a try may be done more than
// once.
func Work(ctx context.Context, js jetstream.JetStream, w Worker, log *slog.Logger) {
	log = log.With("actor", w.Actor, "effects", w.Name)
	retry(ctx, log, "effects "+w.Name, func() error {
		c, err := js.CreateOrUpdateConsumer(ctx, StreamEffects, jetstream.ConsumerConfig{
			Durable: "effect-" + w.Actor + "-" + w.Name, FilterSubject: EffectSubject(w.Actor, w.Name),
			Description: "Workers of " + w.Name + " for " + w.Actor + ".",
			AckPolicy:   jetstream.AckExplicitPolicy, MaxAckPending: effectWindow,
			MaxDeliver: EffectTries, AckWait: effectAckWait * w.timeout(),
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
// that does not get through, the message comes again after effectAckWait.
func (w *Worker) try(ctx context.Context, js jetstream.JetStream, m jetstream.Msg,
	log *slog.Logger) {
	var e api.Effect
	if err := json.Unmarshal(m.Data(), &e); err != nil {
		log.Error("effect can't be read", "subject", m.Subject(), "err", err)
		_ = m.Term()
		return
	}
	o := api.Outcome{Effect: e.ID, Attempt: e.Attempt, Final: true}
	data, err := w.do(ctx, &e)
	if err == nil {
		failpoint.At("effect-answered", w.Actor)
		if data != nil {
			o.Data = api.Raw(data)
		}
		if err = w.report(js, &o, m); err == nil {
			return
		}
	}
	if ctx.Err() != nil { // broken off
		_ = m.Nak()
		return
	}
	again := w.again(m, &e)
	log.Warn("effect failed", "effect", e.ID, "attempt", e.Attempt, "again", again, "err", err)
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
func (w *Worker) report(js jetstream.JetStream, o *api.Outcome, m jetstream.Msg) error {
	body := api.Raw(o)
	f, err := Publish(js, MailboxSubject(w.Actor, api.VerbOutcome),
		fmt.Sprintf("out-%s-%d-%s", o.Effect, o.Attempt, hash(body)), nil, body)
	if err != nil {
		return err
	}
	return stored(f, m)
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
