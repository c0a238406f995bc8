package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
	"ordo/bus/failpoint"
)

// How a hosted actor works.
const (
	// MaxBatch is the most messages committed together.
	MaxBatch = 512
	// linger is how long a batch waits for more messages after its first one,
	// when the batch before it had more than lingerFrom: a busy actor saves
	// commits, an idle one answers at once.
	linger     = 2 * time.Millisecond
	lingerFrom = 8
	// tickEvery is how often deadlines are swept: at every half minute.
	tickEvery = 30 * time.Second
	// maxAhead is how far a message's time may be ahead of both the actor's
	// last one and the owner's clock.
	maxAhead = 5 * time.Minute
	// faultPause is the time between two tries after a fault of the store.
	faultPause = 500 * time.Millisecond
)

// HostConfig says where an actor runs.
type HostConfig struct {
	// Dir holds the actors' files, <name>.db each.
	Dir string
	// Connect opens a connection of the actor's own.
	Connect func(name string) (*nats.Conn, error)
	// Edge, when not nil, is an edge in the same process: it asks the actor
	// and hears it without the way over NATS.
	Edge *bus.Edge
	// TakeOver lets this file become the owner though another one was.
	TakeOver bool
	// TickEvery, when not zero, replaces the half minute between sweeps; for
	// tests.
	TickEvery time.Duration
	Log       *slog.Logger
}

// Host runs one actor: it feeds its engine from the mailbox, publishes what it
// sends, serves its queries, forwards its timers and keeps its lease.
type Host struct {
	cfg  HostConfig
	spec *Spec
	log  *slog.Logger

	engine  *Engine
	nc      *nats.Conn
	js      jetstream.JetStream
	mailbox *bus.Mailbox
	pub     *publisher
	timers  *bus.Timers
	lease   *lease
	queries *server
	snaps   *snapshots

	cancel context.CancelFunc
	wg     sync.WaitGroup
	// readUpTo is the stream time (ns) up to which everything is committed.
	readUpTo atomic.Int64
	ready    atomic.Bool
	fault    atomic.Value // string
	// halt is why no more messages are taken; nil while they are.
	halt    atomic.Pointer[error]
	batches atomic.Int64
	busy    atomic.Int64 // ns in Apply
	handled atomic.Int64
	asked   map[string]time.Time
	// faulty is true from a fault of the store until a batch is committed.
	faulty bool
	// announced is true once the open effects have been announced.
	announced bool
}

// Start opens the actor's file and runs it until Close. It answers an error
// when the file is held or owned by another, or damaged, or when NATS or the
// streams stay away for half a minute; later that only keeps the actor from
// being ready.
func Start(ctx context.Context, spec *Spec, cfg HostConfig) (*Host, error) {
	h := &Host{cfg: cfg, spec: spec, log: cfg.Log.With("actor", spec.Name),
		asked: map[string]time.Time{}}
	if h.cfg.TickEvery == 0 {
		h.cfg.TickEvery = tickEvery
	}
	h.fault.Store("starting")
	if err := h.open(ctx); err != nil {
		h.release()
		return nil, fmt.Errorf("actors: start %s: %w", spec.Name, err)
	}
	run, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	h.wg.Go(func() { pprof.Do(run, pprof.Labels("publisher", spec.Name), h.pub.run) })
	h.wg.Go(func() { h.lease.run(run) })
	h.wg.Go(func() { h.tick(run) })
	h.wg.Go(func() { pprof.Do(run, pprof.Labels("snapshots", spec.Name), h.snaps.run) })
	// The labels let a CPU profile tell the actors apart.
	h.wg.Go(func() { pprof.Do(run, pprof.Labels("actor", spec.Name), h.run) })
	if cfg.Edge != nil {
		cfg.Edge.Attach(spec.Name, h.askLocal)
	}
	return h, nil
}

func (h *Host) open(ctx context.Context) (err error) {
	path := filepath.Join(h.cfg.Dir, h.spec.Name+".db")
	if h.engine, err = OpenEngine(ctx, h.spec, path); err != nil {
		return err
	}
	if h.nc, err = h.cfg.Connect("ordo-" + h.spec.Name); err != nil {
		return err
	}
	if h.js, err = bus.NewJetStream(h.nc, h.publishFailed); err != nil {
		return err
	}
	h.pub = newPublisher(h.engine, h.nc, h.js, h.log)
	h.timers = bus.NewTimers(h.js, h.spec.Name, h.log)
	h.snaps = newSnapshots(h)
	if h.lease, err = takeLease(ctx, h); err != nil {
		return err
	}
	h.pub.may = h.lease.check
	if h.queries, err = serveQueries(h); err != nil {
		return err
	}
	h.mailbox = bus.OpenMailbox(h.nc, h.js, h.spec.Name)
	if err := h.pub.listen(); err != nil {
		return err
	}
	// Whoever asks from now on is heard; if not in time, a little later.
	_ = h.nc.FlushTimeout(time.Second)
	return nil
}

// disown stops taking messages and answering queries, because another file
// owns the actor now.
func (h *Host) disown(err error) {
	h.notReady(err)
	h.log.Error("the actor has stopped", "err", err)
	if err := h.mailbox.Close(); err != nil {
		h.log.Warn("mailbox not closed", "err", err)
	}
	if h.cfg.Edge != nil {
		h.cfg.Edge.Detach(h.spec.Name)
	}
	if err := h.queries.close(); err != nil {
		h.log.Warn("queries not stopped", "err", err)
	}
}

// publishFailed has the publisher send again what was not stored.
func (h *Host) publishFailed(m *nats.Msg, err error) {
	if h.pub == nil || !h.pub.failed(m, err) {
		h.log.Warn("publish failed", "subject", m.Subject, "msg_id", bus.Identity(m.Header),
			"err", err)
	}
}

// Close finishes the batch at hand, gives the lease back and closes the file.
func (h *Host) Close() error {
	h.ready.Store(false)
	if h.cfg.Edge != nil {
		h.cfg.Edge.Detach(h.spec.Name)
	}
	h.cancel()
	h.wg.Wait()
	return h.release()
}

// release closes what is open, the other way round than open.
func (h *Host) release() error {
	var errs []error
	if h.mailbox != nil {
		errs = append(errs, h.mailbox.Close())
	}
	if h.queries != nil {
		errs = append(errs, h.queries.close())
	}
	if h.timers != nil {
		h.timers.Close()
	}
	if h.pub != nil {
		h.pub.close()
	}
	if h.lease != nil {
		h.lease.release()
	}
	if h.nc != nil {
		h.nc.Close()
	}
	if h.engine != nil {
		errs = append(errs, h.engine.Close())
	}
	return errors.Join(errs...)
}

// Status is what readiness shows of an actor.
type Status struct {
	Actor string `json:"actor"`
	Ready bool   `json:"ready"`
	// Fault says why it is not ready.
	Fault string `json:"fault,omitempty"`
	// Now is the newest stream time handled.
	Now api.Time `json:"now"`
	// Unconfirmed counts messages sent that their receivers have not been seen
	// to commit.
	Unconfirmed int64 `json:"unconfirmed"`
	// Stopped says by receiver why nothing is sent there any more.
	Stopped map[string]string `json:"stopped,omitempty"`
	// Messages, Batches and Statements count since the start: what was
	// handled, in how many commits, with how many SQL statements.
	Messages   int64 `json:"messages"`
	Batches    int64 `json:"batches"`
	Statements int64 `json:"statements"`
	// BusyMicros and CommitMicros are the time spent on batches, and the part
	// of it in COMMIT, with its fsync.
	BusyMicros   int64 `json:"busy_us"`
	CommitMicros int64 `json:"commit_us"`
}

// Status tells how the actor is.
func (h *Host) Status() Status {
	s := Status{Actor: h.spec.Name, Ready: h.ready.Load() && h.halted() == nil, Now: h.engine.Now(),
		Messages: h.handled.Load(), Batches: h.batches.Load(),
		Statements: h.engine.w.Statements.Load(), BusyMicros: h.busy.Load() / 1000,
		CommitMicros: h.engine.committing.Load() / 1000, Stopped: h.pub.outbox.Stopped()}
	if !s.Ready {
		s.Fault, _ = h.fault.Load().(string)
	}
	for _, r := range h.engine.Receivers() {
		s.Unconfirmed += r[0] - r[1]
	}
	return s
}

func (h *Host) notReady(err error) {
	h.fault.Store(err.Error())
	h.ready.Store(false)
}

// run feeds the engine until ctx ends: seek, then batch after batch. A break in
// the deliveries seeks again; a fault of the store seeks again after a pause,
// for ever, or until another file owns the actor, whose consumer must be left
// alone.
func (h *Host) run(ctx context.Context) {
	for ctx.Err() == nil && !h.lease.lost.Load() {
		if h.halted() != nil {
			<-ctx.Done() // only a new start checks the file as a whole
			return
		}
		err := h.seek(ctx)
		if err == nil {
			if !h.faulty {
				h.ready.Store(true)
			}
			h.announce()
			err = h.loop(ctx)
		}
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, bus.ErrBreak):
			h.log.Info("mailbox interrupted", "err", err)
		default:
			h.pause(ctx, err)
			if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, errNotRenewed) {
				h.setup(ctx) // the streams or the leases may be gone
			}
		}
	}
	if h.lease.lost.Load() {
		h.notReady(ErrOwned)
	}
}

// setup makes the streams anew where they have been lost, if this process may.
func (h *Host) setup(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := bus.Setup(ctx, h.js); err != nil {
		h.log.Warn("streams not made", "err", err)
	}
}

func (h *Host) pause(ctx context.Context, err error) {
	h.failed(err)
	h.log.Warn("fault", "err", err)
	select {
	case <-ctx.Done():
	case <-time.After(faultPause):
	}
}

func (h *Host) seek(ctx context.Context) error {
	if err := h.halted(); err != nil {
		return err
	}
	ctx, cancel := h.whileConnected(ctx, 10*time.Second)
	defer cancel()
	a := h.engine.Anchor()
	cut, err := h.mailbox.Seek(ctx, a.place(), EdgeMemory-time.Hour)
	if err != nil {
		return err
	}
	if cut {
		h.log.Warn("the stream does not hold the message handled last; reading it again",
			"seq", a.Seq, "msg_id", a.ID)
		h.engine.cutNext(CutAnchor, fmt.Sprintf("the stream does not hold message %d, %s", a.Seq,
			a.ID))
	}
	return h.timers.Load(ctx)
}

// loop commits batch after batch until an error, which it always returns.
func (h *Host) loop(ctx context.Context) error {
	var in []bus.Message
	var batch []Delivery
	for {
		var err error
		wait := time.Duration(0)
		if len(batch) > lingerFrom {
			wait = linger
		}
		if in, err = h.mailbox.Receive(ctx, in[:0], MaxBatch, wait); err != nil {
			return err
		}
		if len(in) == 0 {
			batch = batch[:0]
			if t := h.mailbox.CaughtUp(); !t.IsZero() {
				h.healed()
				h.readUpTo.Store(t.UnixNano())
			}
			continue
		}
		batch = batch[:0]
		for i := range in {
			batch = append(batch, DeliveryOf(&in[i]))
		}
		if err := h.commit(batch); err != nil {
			return err
		}
		h.healed()
		last := &in[len(in)-1]
		h.readUpTo.Store(last.At)
		failpoint.At("before-ack", h.spec.Name)
		if err := h.mailbox.Ack(last); err != nil {
			return fmt.Errorf("%w: ack: %w", bus.ErrBreak, err)
		}
	}
}

// commit handles one batch and does what it leaves to be done outside.
func (h *Host) commit(batch []Delivery) error {
	if err := errors.Join(h.halted(), h.checkTimes(batch)); err != nil {
		return err
	}
	if err := h.lease.check(); err != nil {
		return err
	}
	failpoint.At("before-tx", h.spec.Name)
	began := time.Now()
	out, err := h.engine.Apply(api.Time(h.mailbox.Created()), batch)
	h.busy.Add(time.Since(began).Nanoseconds())
	if lerr := h.lease.check(); lerr != nil {
		// It took too long. Nobody may act on a commit that another owner does
		// not know of; if there is none, the file has everything.
		return errors.Join(lerr, err)
	}
	if out != nil {
		h.batches.Add(1)
		h.handled.Add(int64(out.Handled))
		failpoint.At("after-commit", h.spec.Name)
		h.after(out)
	}
	return err
}

// after does what a committed batch leaves to be done outside: best efforts,
// but for the outbox.
func (h *Host) after(out *Output) {
	h.pub.hand(out.Sent)
	for _, w := range out.Wakes {
		if h.cfg.Edge != nil {
			h.cfg.Edge.Notify(w.Key, w.Body)
		}
		// A wake-up may get lost: who waits also asks.
		_ = h.nc.Publish(bus.WakeSubject(w.Key), w.Body)
	}
	for _, m := range out.Missing {
		h.askAgain(m)
	}
	for _, t := range out.Timers {
		if time.Until(t.Due.Std()) > bus.MaxTimer {
			continue // the sweep will find it
		}
		h.timers.Ensure(t.Class)
		if err := bus.PublishTimer(h.js, h.spec.Name, t); err != nil {
			h.log.Warn("timer left to the sweep", "msg_id", t.ID, "err", err)
		}
	}
	h.publishEffects(out.Effects, false)
	for i := range out.Dead {
		l := &out.Dead[i]
		h.log.Error("dead letter", "subject", l.Subject, "msg_id", l.ID, "err", l.Error)
		id := fmt.Sprintf("dead-%s-%d", h.spec.Name, l.N)
		if _, err := bus.Publish(h.js, bus.DeadSubject(h.spec.Name), id, nil, api.Raw(l)); err != nil {
			h.log.Warn("dead letter not announced", "msg_id", l.ID, "err", err)
		}
	}
}

// announce publishes open effects again whose last announcement may be lost
// with the stream's tail; the stream knows most of them. At the start they are
// published anew, because the worker that had them may have ended with the
// process before, and the stream would wait long for it.
func (h *Host) announce() {
	open, err := h.engine.OpenEffects()
	if err != nil {
		h.log.Warn("open effects left to the sweep", "err", err)
	}
	h.publishEffects(open, !h.announced)
	h.announced = true
}

func (h *Host) publishEffects(effects []api.Effect, anew bool) {
	for i := range effects {
		if err := bus.PublishEffect(h.js, h.spec.Name, &effects[i], anew); err != nil {
			h.log.Warn("effect left to the sweep", "effect", effects[i].ID, "err", err)
		}
	}
}

// checkTimes stops the actor before a message from a clock that runs far
// ahead, which would end every deadline at once.
func (h *Host) checkTimes(batch []Delivery) error {
	limit := max(h.engine.Now(), api.TimeOf(time.Now())).Add(maxAhead)
	for i := range batch {
		if batch[i].At > limit {
			return fmt.Errorf("message %s has the time %s, far ahead of the clock",
				batch[i].ID, batch[i].At.Std())
		}
	}
	return nil
}

// askAgain asks a sender to go back, once a channel in 2 s.
func (h *Host) askAgain(m Missing) {
	if time.Since(h.asked[m.Sender]) < 2*time.Second {
		return
	}
	h.asked[m.Sender] = time.Now()
	h.log.Info("asking for missing messages", "sender", m.Sender, "after", m.Last)
	body := api.Raw(&resendRequest{Receiver: h.engine.self, Epoch: m.Epoch, Last: m.Last})
	// Asked again at the next message of the channel if this gets lost.
	_ = h.nc.Publish(bus.ResendSubject(m.Sender), body)
}

// tick has the actor sweep its deadlines at every half minute, and once at the
// start. Only the owner sends ticks, and their ids are this process's: by the
// clock, one that steps back would have them taken for repeats.
func (h *Host) tick(ctx context.Context) {
	for n := 1; ; n++ {
		if _, err := bus.Publish(h.js, bus.MailboxSubject(h.spec.Name, api.VerbTick),
			fmt.Sprintf("tick-%s-%s-%d", h.spec.Name, h.lease.instance, n), nil,
			[]byte("{}")); err != nil {
			h.log.Warn("tick", "err", err)
		}
		now := time.Now()
		select {
		case <-ctx.Done():
			return
		case <-time.After(now.Truncate(h.cfg.TickEvery).Add(h.cfg.TickEvery).Sub(now)):
		}
	}
}
