package simulate

import (
	"context"
	"errors"
	"strings"
	"time"

	"ordo/actors"
	"ordo/api"
	"ordo/bus"
)

// dedupe is how long a stream knows message ids.
const dedupe = 2 * time.Minute

var (
	errGone = errors.New("the broker is gone")
	errLost = errors.New("no answer to a publish")
)

// stored is one message of a stream.
type stored struct {
	actors.Delivery
	// id is the Nats-Msg-Id, with the suffix of a later sending.
	id   string
	gone bool
}

// stream is a model of a JetStream stream. Message i has sequence number i+1.
type stream struct {
	created  int64
	messages []stored
	synced   int
	last     int64
	window   map[string]int64
}

func newStream(now int64) *stream {
	return &stream{created: now, window: map[string]int64{}}
}

// remake makes the stream anew, empty.
func (s *stream) remake(now int64) { *s = *newStream(max(now, s.created+1)) }

// add stores a message, unless its id is known.
func (s *stream) add(now int64, id string, d actors.Delivery) bool {
	if at, ok := s.window[id]; ok && now-at < int64(dedupe) {
		return false
	}
	s.last = max(now, s.last+1)
	d.At, d.Seq = api.Time(s.last), uint64(len(s.messages)+1)
	s.messages = append(s.messages, stored{d, id, false})
	s.window[id] = now
	return true
}

// cut loses a part of what was not synced. The numbers are given again.
func (s *stream) cut(keep int) (lost int) {
	keep += s.synced
	lost = len(s.messages) - keep
	s.messages = s.messages[:keep]
	clear(s.window)
	for _, m := range s.messages {
		s.window[m.id] = int64(m.At)
	}
	return lost
}

// Created implements bus.StreamView.
func (s *stream) Created() int64 { return s.created }

// Bounds implements bus.StreamView.
func (s *stream) Bounds() (first, last uint64, at int64) {
	if len(s.messages) == 0 {
		return 1, 0, 0
	}
	return 1, uint64(len(s.messages)), int64(s.messages[0].At)
}

// At implements bus.StreamView.
func (s *stream) At(_ context.Context, seq uint64) (*bus.Entry, error) {
	if seq == 0 || seq > uint64(len(s.messages)) || s.messages[seq-1].gone {
		return nil, nil
	}
	m := &s.messages[seq-1]
	return &bus.Entry{Seq: seq, At: int64(m.At), ID: m.ID}, nil
}

// From implements bus.StreamView.
func (s *stream) From(ctx context.Context, seq uint64) (*bus.Entry, error) {
	for ; seq <= uint64(len(s.messages)); seq++ {
		if e, err := s.At(ctx, seq); e != nil || err != nil {
			return e, err
		}
	}
	return nil, nil
}

// parcel is a message on its way from one sender to one stream.
type parcel struct {
	id string
	actors.Delivery
	// due is a timer's.
	due  int64
	sent int64
	// life is the sending process's: a take-over waits until what the process
	// before has sent is stored.
	life   int
	failed func(error)
	stored func()
}

// link keeps the messages of one sender to one stream in order; links overtake
// each other.
type link struct {
	from, to string
	queue    []parcel
	// owner is the actor that sends, nil for others.
	owner *actor
}

// Streams beside the mailboxes.
const (
	toTimers  = "TIMERS"
	toEffects = "EFFECTS"
)

func (w *world) link(from, to string, owner *actor) *link {
	for _, l := range w.links {
		if l.from == from && l.to == to {
			return l
		}
	}
	l := &link{from: from, to: to, owner: owner}
	w.links = append(w.links, l)
	return l
}

// send puts a message on its way.
func (w *world) send(from string, owner *actor, p parcel) {
	p.sent = w.now
	if owner != nil {
		p.life = owner.life
	}
	to := toTimers
	switch {
	case strings.HasPrefix(p.Subject, bus.EventPrefix):
		to = actors.Journal
	case strings.HasPrefix(p.Subject, "ordo.effect."):
		to = toEffects
	case !strings.HasPrefix(p.Subject, "ordo.timer."):
		to = strings.Split(p.Subject, ".")[1]
	}
	l := w.link(from, to, owner)
	l.queue = append(l.queue, p)
}

// network has messages of one link arrive.
func (w *world) network(most int) bool {
	if len(w.links) == 0 {
		return false
	}
	first := w.n(len(w.links))
	for i := range w.links {
		l := w.links[(first+i)%len(w.links)]
		if len(l.queue) == 0 {
			continue
		}
		for range min(most, len(l.queue)) {
			if q := l.queue; len(q) > 1 && q[0].life == q[1].life && w.fault(shuffled, 30) {
				q[0], q[1] = q[1], q[0]
			}
			p := l.queue[0]
			l.queue = l.queue[1:]
			w.arrive(l, &p)
		}
		return true
	}
	return false
}

// arrive stores a message, or fails to.
func (w *world) arrive(l *link, p *parcel) {
	fail := func(err error) {
		if p.failed != nil {
			w.at(time.Duration(w.n(10000))*time.Millisecond, l.owner, func() { p.failed(err) })
		}
	}
	if w.fault(publishLost, 25) {
		w.say("network", "loses %s from %s", w.brief(p.ID), l.from)
		fail(errLost)
		return
	}
	for _, other := range w.links {
		if w.may(overtaken) && len(other.queue) > 0 && other.queue[0].sent < p.sent {
			w.hits[overtaken]++
			break
		}
	}
	w.store(l.to, p)
	if w.fault(publishTwice, 25) {
		w.store(l.to, p)
	}
	if w.fault(ackLost, 25) {
		w.say("network", "stores %s from %s, and loses the ack", w.brief(p.ID), l.from)
		fail(errLost)
		return
	}
	if p.stored != nil {
		p.stored()
	}
}

func (w *world) store(to string, p *parcel) {
	switch to {
	case toTimers:
		if w.fresh(p.id) {
			w.timers = append(w.timers, &timer{parcel: *p, stored: w.now})
		}
	case toEffects:
		if w.fresh(p.id) {
			w.effects = append(w.effects, newEffect(w, p))
		}
	default:
		w.named[to].stream.add(w.now, p.id, p.Delivery)
	}
}

// fresh is the dedupe window of timers and effects.
func (w *world) fresh(id string) bool {
	if at, ok := w.window[id]; ok && w.now-at < int64(dedupe) {
		return false
	}
	w.window[id] = w.now
	return true
}

// sync is what the broker does every second.
func (w *world) sync() {
	w.synced = w.now
	for _, a := range w.actors {
		a.stream.synced = len(a.stream.messages)
	}
	w.shop.unsynced = nil
}

// cutTails loses what was not synced.
func (w *world) cutTails() {
	for _, a := range w.actors {
		s := a.stream
		if lost := s.cut(w.n(len(s.messages) - s.synced + 1)); lost > 0 {
			w.say("broker", "loses the last %d messages to %s", lost, a.name)
			a.backups = nil
		}
		a.broken = true
	}
	w.timers = keep(w, w.timers, func(t *timer) int64 { return t.stored })
	w.effects = keep(w, w.effects, func(e *effect) int64 { return e.stored })
	clear(w.window)
}

// keep drops some of what was stored after the last sync.
func keep[T any](w *world, all []T, stored func(T) int64) []T {
	var left []T
	for _, x := range all {
		if stored(x) <= w.synced || w.odds(2) {
			left = append(left, x)
		}
	}
	return left
}

// dropLinks loses what is on its way. Senders hear of it, if err says so, and
// workers always, to whom what is not acked is delivered again.
func (w *world) dropLinks(err error) {
	for _, l := range w.links {
		queue := l.queue
		l.queue = nil
		for i := range queue {
			failed := queue[i].failed
			if failed != nil && (err != nil || l.owner == nil) {
				w.at(0, l.owner, func() { failed(errGone) })
			}
		}
	}
}

// timer is a message that waits in the stream of timers.
type timer struct {
	parcel
	stored int64
}

// forwardTimers sends what is due to its mailbox. A timer is acked once it is
// stored there, so it may come twice.
func (w *world) forwardTimers() {
	all := w.timers
	w.timers = nil
	for _, t := range all {
		early := int64(0)
		if t.due > w.now && t.due-w.now < int64(time.Second) && w.fault(timerEarly, 2) {
			early = int64(time.Second)
		}
		if t.due > w.now+early {
			w.timers = append(w.timers, t)
			continue
		}
		p := t.parcel
		p.Subject = p.Delivery.Subject[len("ordo.timer."):]
		actor, verb, _ := strings.Cut(p.Subject, ".")
		p.Subject = bus.MailboxSubject(actor, verb)
		p.failed = func(error) { w.timers = append(w.timers, t) }
		w.say("timers", "%s is due", w.brief(p.ID))
		w.send("timers", nil, p)
	}
}
