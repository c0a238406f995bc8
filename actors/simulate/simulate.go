// Package simulate runs the whole shop in one thread under seeded faults: the
// real handlers on real SQLite in memory, the runtime's own engine, outbox and
// way of going on in a stream, and models of JetStream, of the payment gateways
// and of shoppers. Time is virtual, and all that is left to chance is drawn from
// a seed, so that a seed gives the same run to the byte.
//
// A run has three parts. First everything that can go wrong does, and after
// each step it is checked that nothing false has happened. Then the world is
// calm, and everything that began has to come to an end and add up. Last, where
// the seed says so, a file is put back that is too old, which must stop what it
// sends and nothing else.
//
// The package never decides what the shop does: it drives what decides.
package simulate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"ordo/actors"
	"ordo/actors/coupon"
	"ordo/actors/goods"
	"ordo/actors/journal"
	"ordo/actors/learning"
	"ordo/actors/order"
	"ordo/actors/payment"
	"ordo/actors/shipping"
	"ordo/actors/user"
	"ordo/actors/wallet"
	"ordo/api"
	"ordo/stores"
)

// Steps is how many steps the first part of a run has.
const Steps = 500

// start is the virtual time at which every run begins.
var start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// specs are the actors of the shop.
func specs() []*actors.Spec {
	return []*actors.Spec{order.Spec(), goods.Spec(), coupon.Spec(), wallet.Spec(),
		payment.Spec(), learning.Spec(), shipping.Spec(), user.Spec(), journal.Spec()}
}

// Templates are images of the actors' empty databases, migrated once.
type Templates map[string][]byte

// NewTemplates makes the databases of all actors.
func NewTemplates(ctx context.Context) (Templates, error) {
	dir, err := os.MkdirTemp("", "simulate")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	t := Templates{}
	for _, spec := range specs() {
		t[spec.Name], err = template(ctx, spec, filepath.Join(dir, spec.Name+".db"))
		if err != nil {
			return nil, fmt.Errorf("simulate: template of %s: %w", spec.Name, err)
		}
	}
	return t, nil
}

func template(ctx context.Context, spec *actors.Spec, path string) ([]byte, error) {
	e, err := actors.OpenEngine(ctx, spec, path)
	if err != nil {
		return nil, err
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	f, err := stores.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Image()
}

// Options say how a run goes.
type Options struct {
	Seed uint64
	// Steps of the first part; 0 means Steps.
	Steps int
	// Skip, when not nil, leaves steps of the first part out. Each step draws
	// from a source of its own, so that the others stay what they were.
	Skip func(step int) bool
}

// Result is what a run came to.
type Result struct {
	// Story is the log of all that happened, a numbered line an event.
	Story []byte
	// Hash is the SHA-256 of the story.
	Hash [32]byte
	// Hits counts the faults that were met, by their names.
	Hits map[string]int
	// Ends counts the orders by state and reason, and refunds by state.
	Ends map[string]int
	// Steps are the steps of the first part that were come to.
	Steps int
	// Broken is the rule that did not hold; nil when all did.
	Broken *Violation
}

// Violation is a rule of the shop or the runtime that did not hold.
type Violation struct {
	// Rule is its short name, Text what was found.
	Rule, Text string
}

// Error implements error.
func (v *Violation) Error() string { return v.Rule + ": " + v.Text }

// Run runs one schedule.
func Run(t Templates, o Options) (r Result) {
	w := newWorld(t, o)
	defer w.close()
	r.Hits, r.Ends = map[string]int{}, map[string]int{}
	func() {
		defer func() {
			if p := recover(); p != nil {
				v, ok := p.(*Violation)
				if !ok {
					panic(p)
				}
				r.Broken = v
				w.say("BROKEN", "%s", v)
			}
		}()
		w.open()
		w.storm()
		w.settle()
		w.checkEnd(r.Ends)
		w.restoreTooOld()
	}()
	for f := range faultCount {
		if w.hits[f] > 0 {
			r.Hits[faultNames[f]] = w.hits[f]
		}
	}
	r.Steps, r.Story, r.Hash = w.reached, w.log.Bytes(), sha256.Sum256(w.log.Bytes())
	return r
}

// world is everything there is.
type world struct {
	Options
	ctx context.Context
	// rng is the source of the step at hand.
	rng  *rand.Rand
	now  int64 // ns
	on   [faultCount]bool
	hits [faultCount]int
	// reached is how many steps of the first part there were; calm ends all
	// faults.
	reached int
	calm    bool
	log     bytes.Buffer
	lines   int
	quiet   *slog.Logger

	actors  []*actor
	named   map[string]*actor
	links   []*link
	later   []event
	timers  []*timer
	effects []*effect
	window  map[string]int64 // of timers and effects, by message id
	synced  int64            // when streams were synced last
	gateway gatewayModel
	shop    shop
	oracle  oracle
}

// event is something that happens at a time, unless its actor's process has
// ended until then.
type event struct {
	at     int64
	a      *actor
	life   int
	happen func()
}

func newWorld(t Templates, o Options) *world {
	if o.Steps == 0 {
		o.Steps = Steps
	}
	w := &world{Options: o, ctx: context.Background(), now: start.UnixNano(),
		named: map[string]*actor{}, window: map[string]int64{},
		quiet: slog.New(slog.DiscardHandler)}
	w.gateway.trades = map[string]*trade{}
	w.oracle = newOracle(w)
	w.reseed(-1)
	most := [...]int{1, 4, 7, 9}[w.rng.IntN(4)] // of ten
	for f := range faultCount {
		w.on[f] = w.rng.IntN(10) < most
	}
	for _, spec := range specs() {
		a := &actor{w: w, name: spec.Name, spec: spec, image: t[spec.Name],
			stream: newStream(w.now)}
		w.actors = append(w.actors, a)
		w.named[spec.Name] = a
	}
	return w
}

func (w *world) close() {
	for _, a := range w.actors {
		if a.file != nil {
			// In memory: there is nothing to be lost.
			_ = a.file.Close()
		}
	}
}

// reseed gives a step its own source of chance.
func (w *world) reseed(step int) {
	w.rng = rand.New(rand.NewPCG(w.Seed, uint64(step)+1<<32))
}

// n draws a number below k.
func (w *world) n(k int) int { return w.rng.IntN(k) }

// odds draws true once in k.
func (w *world) odds(k int) bool { return w.rng.IntN(k) == 0 }

// fault draws whether a fault happens, once in k where it is switched on, and
// counts it.
func (w *world) fault(f fault, k int) bool {
	if !w.may(f) || !w.odds(k) {
		return false
	}
	w.hits[f]++
	return true
}

// may tells whether a fault may happen at all.
func (w *world) may(f fault) bool { return w.on[f] && !w.calm }

// text is one that nobody else has.
func (w *world) text() string { return fmt.Sprintf("%020d", w.rng.Uint64()) }

func (w *world) time() api.Time { return api.Time(w.now) }

// say writes a line of the story.
func (w *world) say(who, format string, args ...any) {
	w.lines++
	fmt.Fprintf(&w.log, "%5d %12s  %-9s ", w.lines,
		time.Duration(w.now-start.UnixNano()).Round(time.Millisecond), who)
	fmt.Fprintf(&w.log, format, args...)
	w.log.WriteByte('\n')
}

// broken ends the run.
func (w *world) broken(rule, format string, args ...any) {
	panic(&Violation{rule, fmt.Sprintf(format, args...)})
}

// must ends the run when the simulation itself can't go on.
func (w *world) must(err error) {
	if err != nil {
		w.broken("simulation", "%v", err)
	}
}

// at has something happen later.
func (w *world) at(after time.Duration, a *actor, happen func()) {
	e := event{at: w.now + int64(after), a: a, happen: happen}
	if a != nil {
		e.life = a.life
	}
	w.later = append(w.later, e)
}

// pass lets time go by, and what is due happen.
func (w *world) pass(d time.Duration) {
	w.now += int64(d)
	if w.now-w.synced >= int64(time.Second) {
		w.sync()
	}
	due := w.later
	w.later = nil
	for _, e := range due {
		switch {
		case e.a != nil && (e.life != e.a.life || !e.a.up):
		case e.at <= w.now:
			e.happen()
		default:
			w.later = append(w.later, e)
		}
	}
	w.forwardTimers()
	for _, a := range w.actors {
		a.clock()
	}
}

// storm is the first part of a run.
func (w *world) storm() {
	day := w.n(3 * w.Steps) // in every third run, after which outboxes forget
	for step := range w.Steps {
		w.reached = step + 1
		if w.Skip != nil && w.Skip(step) {
			continue
		}
		w.reseed(step)
		w.step()
		if step == day {
			w.say("world", "a day goes by")
			w.pass(actors.OutboxAge + time.Hour)
		}
		if step%50 == 49 {
			w.checkAnswers(8)
		}
	}
}

// step is one thing that happens.
func (w *world) step() {
	w.pass(time.Duration(w.n(20)) * time.Millisecond)
	switch d := w.n(100); {
	case d < 34:
		w.actorsWork()
	case d < 58:
		w.network(1 + w.n(8))
	case d < 67:
		w.edges(1 + w.n(6))
	case d < 80:
		w.shopper()
	case d < 82:
		w.admin()
	case d < 89:
		w.worker()
	case d < 92:
		w.notices()
	case d < 97:
		w.wait()
	default:
		w.disaster()
	}
}

// wait lets some time go by.
func (w *world) wait() {
	d := time.Duration(1+w.n(1500)) * time.Millisecond
	switch w.n(24) {
	case 0, 1, 2, 3, 4:
		d = time.Duration(2+w.n(8)) * time.Second
	case 5, 6:
		d = time.Duration(20+w.n(50)) * time.Second
	case 7:
		d = time.Duration(3+w.n(15)) * time.Minute
	}
	w.pass(d)
}

// actorsWork has some that have something to do take a batch each.
func (w *world) actorsWork() {
	left, first := 1+w.n(3), w.n(len(w.actors))
	for i := range w.actors {
		a := w.actors[(first+i)%len(w.actors)]
		if a.work(1 + w.n(1+w.n(12))) {
			if left--; left == 0 {
				return
			}
		}
	}
}
