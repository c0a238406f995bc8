package simulate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ordo/actors"
	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

// What a host's clock does.
const (
	pollEvery = 2 * time.Second
	tickEvery = 30 * time.Second
	rest      = 200 * time.Millisecond
	askEvery  = 2 * time.Second
)

// errCrashed ends what a process was doing.
var errCrashed = errors.New("crashed")

// backup is a database as it once was.
type backup struct {
	image []byte
	lines int
	// numbers are the last ones that were given to each receiver.
	numbers map[string][2]int64
}

// actor is one actor with its process and its mailbox. What it does with the
// engine's output is what actors.Host does.
type actor struct {
	w      *world
	name   string
	spec   *actors.Spec
	image  []byte // the template
	file   *stores.File
	engine *actors.Engine
	outbox *actors.Outbox
	stream *stream

	up bool
	// life counts the processes.
	life int
	// broken has the mailbox sought again; next is the next to be delivered.
	broken bool
	next   uint64
	paused int64
	// readUpTo is as Host has it.
	readUpTo api.Time
	asked    map[string]int64
	// announced is true once the open effects have been announced.
	announced bool
	ticks     int
	ticked    int64
	polled    int64
	// budget is how many publishes there are before the process ends; -1 for no
	// end.
	budget   int
	handed   []actors.Sent
	takeOver bool
	// backups could be restored and fed from the stream; first is one that is
	// kept whatever happens to the stream.
	backups []backup
	first   *backup
	damages int // of its stream's messages
	commits int
}

// open starts the process.
func (a *actor) open() {
	w := a.w
	a.life++
	first := a.file == nil
	if first {
		var err error
		a.file, err = stores.OpenMemory(a.image)
		w.must(err)
	}
	engine, err := actors.OpenEngineOn(a.spec, a.file, w.text)
	w.must(err)
	if first || a.takeOver {
		w.must(engine.NewEpoch(actors.CutTakeOver, "simulated"))
		if !first {
			w.say(a.name, "starts under a new epoch")
		}
	} else {
		w.say(a.name, "starts")
	}
	a.engine, a.up, a.takeOver = engine, true, false
	a.outbox = actors.NewOutbox(engine, a, w.quiet)
	a.broken, a.announced, a.budget, a.handed = true, false, -1, nil
	a.asked, a.readUpTo = map[string]int64{}, 0
	a.ticked, a.polled = w.now, w.now
	a.outbox.AskAll(w.ctx)
	a.tick()
}

// crash ends the process. What it has sent may arrive in part.
func (a *actor) crash(why string) {
	if !a.up {
		return
	}
	w := a.w
	if why != "" {
		w.say(a.name, "crashes %s", why)
	}
	w.must(a.file.W.Rollback())
	a.up, a.engine, a.outbox, a.handed = false, nil, nil, nil
	a.life++
	for _, l := range w.links {
		if l.owner == a && len(l.queue) > 0 {
			l.queue = l.queue[:w.n(len(l.queue)+1)]
		}
	}
}

// rollBack sets the file back to an earlier time that the stream still tells
// everything since, and feeds it from there before it speaks to anyone, as a
// rebuild does. The oracle sees to it that it says the same again.
func (a *actor) rollBack() {
	w := a.w
	if !a.up || a.broken || len(a.backups) == 0 || !w.fault(rolledBack, 1) {
		return
	}
	b, until := a.backups[w.n(len(a.backups))], a.engine.Anchor().Seq
	a.crash("to be set back")
	w.say(a.name, "the file is set back to line %d", b.lines)
	w.must(a.file.Restore(b.image))
	w.oracle.reread(a)
	engine, err := actors.OpenEngineOn(a.spec, a.file, w.text)
	w.must(err)
	a.engine = engine
	a.next = engine.Anchor().Seq + 1
	for a.next <= until {
		if in := a.upTo(until, 1+w.n(20)); len(in) > 0 {
			_, err := a.apply(in)
			w.must(err)
		}
	}
	a.engine = nil
}

// upTo are the next messages, so many at most and up to a place.
func (a *actor) upTo(last uint64, most int) (in []actors.Delivery) {
	for ; a.next <= last && len(in) < most; a.next++ {
		if m := &a.stream.messages[a.next-1]; !m.gone {
			in = append(in, m.Delivery)
		}
	}
	return in
}

// keepBackup takes one now and then.
func (a *actor) keepBackup() {
	if a.commits++; a.commits%16 != 5 || a.w.calm {
		return
	}
	image, err := a.file.Image()
	a.w.must(err)
	b := backup{image, a.w.lines, a.engine.Receivers()}
	a.backups = append(a.backups, b)
	if len(a.backups) > 3 {
		a.backups = a.backups[1:]
	}
	if a.first == nil && a.commits > 16 {
		a.first = &b
	}
}

// loseOne makes a hole in the stream.
func (a *actor) loseOne() {
	w, s := a.w, a.stream
	if len(s.messages) < 2 || !w.fault(hole, 2) {
		return
	}
	m := &s.messages[w.n(len(s.messages))]
	if m.gone {
		return
	}
	w.say("broker", "loses %s to %s", w.brief(m.ID), a.name)
	m.gone, a.backups = true, nil
}

// damageOne takes the first bytes of a message, as a flipped bit in the length of its
// headers does.
func (a *actor) damageOne() {
	w, s := a.w, a.stream
	if len(s.messages) == 0 || !w.fault(damaged, 2) {
		return
	}
	m := &s.messages[w.n(len(s.messages))]
	if m.gone || len(m.Body) == 0 {
		return
	}
	a.damages++
	w.say("broker", "damages %s to %s", w.brief(m.ID), a.name)
	m.Body, a.backups = m.Body[1+w.n(len(m.Body)):], nil
}

// clock does what is due by the clock.
func (a *actor) clock() {
	w := a.w
	if !a.up {
		return
	}
	if w.now-a.polled >= int64(pollEvery) {
		a.polled = w.now
		a.outbox.Poll(w.ctx)
	}
	if w.now-a.ticked >= int64(tickEvery) && (a.spec.Tick != nil || !w.calm) {
		a.ticked = w.now
		a.tick()
	}
}

// tick has the actor sweep its deadlines.
func (a *actor) tick() {
	a.ticks++
	a.w.send(a.name, a, parcel{id: fmt.Sprintf("tick-%s-%d", a.name, a.ticks),
		Delivery: actors.Delivery{Subject: bus.MailboxSubject(a.name, api.VerbTick),
			ID: fmt.Sprintf("tick-%s-%d", a.name, a.ticks), Body: []byte("{}")}})
}

// work has the actor take up to so many messages, and tells whether there was
// anything to do.
func (a *actor) work(most int) bool {
	w := a.w
	if !a.up {
		a.open()
		return true
	}
	if a.paused > w.now && !w.calm {
		return false
	}
	if len(a.handed) > 0 {
		rows := a.handed
		a.handed = nil
		a.outbox.Hand(w.ctx, rows)
		return true
	}
	if a.broken {
		a.seek()
	}
	in := a.upTo(uint64(len(a.stream.messages)), most)
	if len(in) == 0 {
		a.readUpTo = w.time()
		return false
	}
	if w.fault(poisoned, 60) {
		a.poison(in[0])
		a.next = in[0].Seq + 1
		return true
	}
	a.take(in)
	return true
}

// seek goes on behind the last message handled.
func (a *actor) seek() {
	w := a.w
	p := a.engine.Anchor()
	next, cut, err := bus.Place{Created: int64(p.Created), Seq: p.Seq, At: int64(p.At), ID: p.ID}.
		Next(w.ctx, a.stream, actors.EdgeMemory-time.Hour)
	w.must(err)
	if cut {
		w.say(a.name, "reads its stream again from %d, because it has changed", next)
		a.backups = nil
	}
	a.next, a.broken = next, false
	open, err := a.engine.OpenEffects()
	w.must(err)
	a.publishEffects(open, !a.announced)
	a.announced = true
}

// take commits a batch and does what it leaves to be done, unless the process
// ends on the way.
func (a *actor) take(in []actors.Delivery) {
	w := a.w
	if w.fault(crashBefore, 60) {
		a.crash("before the transaction")
		return
	}
	breaks, dies := a.breakStore()
	out, err := a.apply(in)
	a.file.W.Fail = nil
	broke := *breaks > 0
	if err != nil && !broke {
		w.broken("fault", "%s: %v", a.name, err)
	}
	if broke {
		w.hits[dies]++
	}
	switch {
	case broke && dies == crashIn:
		a.crash("in the transaction")
		return
	case w.fault(crashAfterCommit, 60):
		a.crash("after the commit")
		return
	case len(out.Sent) > 1 && w.fault(crashBetween, 30):
		a.budget = w.n(len(out.Sent))
	}
	a.after(out)
	a.endOfBatch(err)
}

// endOfBatch has the process end once more, or pause after a fault.
func (a *actor) endOfBatch(err error) {
	w := a.w
	switch {
	case a.budget >= 0:
		a.crash("between two publishes")
	case w.fault(crashAfterPublish, 60):
		a.crash("before the ack")
	case err != nil:
		w.say(a.name, "can't write: %v", err)
		a.broken = true // Host seeks after a pause
	}
}

// breakStore has a statement fail that is still to come, which one is left to
// chance: breaks counts them. A crash fails all further ones.
func (a *actor) breakStore() (breaks *int, dies fault) {
	w := a.w
	breaks, dies = new(int), crashIn
	if !w.may(crashIn) || w.may(diskFull) && w.odds(2) {
		dies = diskFull
	}
	if !w.may(dies) || !w.odds(25) {
		return breaks, dies
	}
	left := w.n(40)
	a.file.W.Fail = func(query string) error {
		if left--; left >= 0 || query == "ROLLBACK" || dies == diskFull && *breaks > 0 {
			return nil
		}
		*breaks++
		return stores.ErrFull
	}
	return breaks, dies
}

// apply gives a batch to the engine, with the oracle on both sides.
func (a *actor) apply(in []actors.Delivery) (*actors.Output, error) {
	w := a.w
	w.oracle.arrives(a, in)
	before := w.oracle.lasts(a, in)
	out, err := a.engine.Apply(api.Time(a.stream.created), in)
	if err == nil {
		a.readUpTo = in[len(in)-1].At
	}
	a.file.W.Fail = nil
	a.tellBatch(in, out)
	w.oracle.committed(a, in, out, before, err)
	a.keepBackup()
	return out, err
}

// tellBatch writes what a batch was; ticks that did nothing are left out.
func (a *actor) tellBatch(in []actors.Delivery, out *actors.Output) {
	var list strings.Builder
	for i := range in {
		if strings.HasPrefix(in[i].ID, "tick-") {
			continue
		}
		list.WriteByte(' ')
		list.WriteString(a.w.briefMessage(&in[i]))
	}
	if list.Len() > 0 || len(out.Sent) > 0 {
		a.w.say(a.name, "takes%s: %d done, %d skipped, %d sent", list.String(), out.Handled,
			out.Skipped, len(out.Sent))
	}
}

// poison has one message fail until it is a dead letter.
func (a *actor) poison(d actors.Delivery) {
	w := a.w
	runs, panics := 0, w.odds(2)
	a.file.W.Fail = func(query string) error {
		if query == "BEGIN IMMEDIATE" {
			runs++
		}
		// Fast, careful, four more alone; then it is buried.
		if runs > 6 || isRuntimes(query) {
			return nil
		}
		if panics {
			panic("poisoned")
		}
		return errors.New("poisoned")
	}
	w.oracle.poisoned[d.ID] = true
	w.say(a.name, "can't handle %s", w.briefMessage(&d))
	out, err := a.apply([]actors.Delivery{d})
	w.must(err)
	a.backups = nil
	a.after(out)
}

// isRuntimes tells whether a statement is the runtime's and not a handler's.
func isRuntimes(query string) bool {
	for _, word := range [...]string{"BEGIN", "ROLLBACK", "SAVEPOINT", "COMMIT", "_actor", "_in",
		"_out", "_sent", "_edge", "_dead"} {
		if strings.Contains(query, word) {
			return true
		}
	}
	return false
}

// after does what a committed batch leaves to be done outside.
func (a *actor) after(out *actors.Output) {
	w := a.w
	if w.fault(publisherLags, 8) {
		a.handed = append(a.handed, out.Sent...)
	} else {
		rows := append(a.handed, out.Sent...)
		a.handed = nil
		a.outbox.Hand(w.ctx, rows)
	}
	for _, m := range out.Missing {
		a.askAgain(m)
	}
	for _, t := range out.Timers {
		if time.Duration(int64(t.Due)-w.now) > bus.MaxTimer {
			continue // the sweep will find it
		}
		w.send(a.name, a, parcel{id: t.ID, due: int64(t.Due), Delivery: actors.Delivery{
			Subject: "ordo.timer." + a.name + "." + t.Verb, ID: t.ID, Body: t.Body}})
	}
	a.publishEffects(out.Effects, false)
}

func (a *actor) publishEffects(effects []api.Effect, anew bool) {
	for i := range effects {
		e := &effects[i]
		id := fmt.Sprintf("eff-%s-%s-%d", a.name, e.ID, e.Attempt)
		p := parcel{id: id, Delivery: actors.Delivery{ID: id,
			Subject: bus.EffectSubject(a.name, e.Name), Body: api.Raw(e)}}
		if anew {
			p.id += "~" + a.w.text()
		}
		a.w.send(a.name, a, p)
	}
}

// askAgain asks a sender to go back, once a channel in 2 s.
func (a *actor) askAgain(m actors.Missing) {
	w := a.w
	if at, ok := a.asked[m.Sender]; ok && w.now-at < int64(askEvery) {
		return
	}
	a.asked[m.Sender] = w.now
	w.say(a.name, "asks %s for what follows on %d", m.Sender, m.Last)
	if w.fault(coreLost, 8) {
		return
	}
	sender := w.named[strings.TrimSuffix(m.Sender, "."+bus.Shard)]
	receiver, last := bus.Address(a.name), m.Last
	w.at(time.Duration(w.n(50))*time.Millisecond, sender, func() {
		sender.outbox.Resend(receiver, last)
		sender.outbox.Poll(w.ctx)
	})
}

// place is where a receiver stands on a channel, or a message belongs.
type place struct {
	epoch  string
	number int64
}

// channelOf reads the sender and the place of a message between actors.
func channelOf(id string) (sender string, at place, ok bool) {
	p := strings.Split(id, ".")
	if len(p) != 6 {
		return "", place{}, false
	}
	n, err := strconv.ParseInt(p[5], 10, 64)
	return p[0] + "." + p[1], place{p[2], n}, err == nil
}
