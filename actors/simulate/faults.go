package simulate

import "time"

// fault is a kind of thing that goes wrong. Each seed has a random part of them
// switched on: few, some, many or nearly all.
type fault int

const (
	crashBefore fault = iota
	crashIn
	diskFull
	crashAfterCommit
	crashBetween
	crashAfterPublish
	crashIdle
	crashWorker
	publishLost
	ackLost
	publishTwice
	overtaken
	shuffled
	windowForgets
	redelivered
	consumerPauses
	publisherLags
	coreLost
	powerCut
	brokerCut
	hole
	damaged
	streamDeleted
	checkoutLost
	timerEarly
	timerLost
	effectLost
	noticeTwice
	noticeLate
	noticeReordered
	noticeLost
	payDeclined
	capturedUnknown
	refundRefused
	refundUnknown
	openRefused
	callUnknown
	poisoned
	letterRetried
	letterDismissed
	takeOver
	rolledBack
	rulesChanged
	restoredTooOld
	faultCount
)

// faultNames say what they are.
var faultNames = [faultCount]string{
	crashBefore:       "crash before the transaction",
	crashIn:           "crash in the transaction",
	diskFull:          "disk full in the transaction",
	crashAfterCommit:  "crash after the commit, before publishing",
	crashBetween:      "crash between two publishes",
	crashAfterPublish: "crash after publishing, before the ack",
	crashIdle:         "crash before the outbox is confirmed",
	crashWorker:       "worker gone between answer and publish",
	publishLost:       "publish lost",
	ackLost:           "publish stored, its ack lost",
	publishTwice:      "publish twice",
	overtaken:         "message overtaken by a later one",
	shuffled:          "messages of one sender out of order",
	windowForgets:     "dedupe window forgets",
	redelivered:       "handled messages delivered again",
	consumerPauses:    "consumer pauses",
	publisherLags:     "publisher lags behind commits",
	coreLost:          "question, answer or resend request lost",
	powerCut:          "power cut of the machine",
	brokerCut:         "power cut of the broker alone",
	hole:              "message missing in the middle",
	damaged:           "message without its first bytes",
	streamDeleted:     "stream deleted",
	checkoutLost:      "checkout lost with the tail of KV",
	timerEarly:        "timer early",
	timerLost:         "timer lost",
	effectLost:        "announcement of an effect lost",
	noticeTwice:       "notice twice",
	noticeLate:        "notice late",
	noticeReordered:   "notices reordered",
	noticeLost:        "notice lost",
	payDeclined:       "payment declined",
	capturedUnknown:   "captured, but the gateway timed out",
	refundRefused:     "refund refused",
	refundUnknown:     "refunded, but the gateway timed out",
	openRefused:       "opening refused",
	callUnknown:       "call to the gateway without an answer",
	poisoned:          "message that can't be handled",
	letterRetried:     "dead letter retried",
	letterDismissed:   "dead letter dismissed",
	takeOver:          "file taken over under a new epoch",
	rolledBack:        "file set back and fed from its stream",
	rulesChanged:      "rules changed",
	restoredTooOld:    "file restored that is older than what it sent",
}

// FaultNames lists all kinds of faults.
func FaultNames() []string { return faultNames[:] }

// disasters are the large things that go wrong.
var disasters = [...]func(w *world, a *actor){
	(*world).crashOne, (*world).cutThePower, (*world).cutTheBroker, (*world).loseOne,
	(*world).damageOne, (*world).deleteStream, (*world).forgetWindow, (*world).redeliver,
	(*world).pauseConsumer, (*world).takeOver, (*world).rollBack, (*world).loseAnnouncement,
	(*world).letters,
}

// disaster has one of them happen, to some actor.
func (w *world) disaster() {
	a := w.actors[w.n(len(w.actors))]
	disasters[w.n(len(disasters))](w, a)
}

func (w *world) crashOne(a *actor) {
	if a.up && w.fault(crashIdle, 1) {
		a.crash("for no reason")
	}
}

func (w *world) cutThePower(*actor) {
	if w.fault(powerCut, 2) {
		w.cutPower()
	}
}

func (w *world) cutTheBroker(*actor) {
	if w.fault(brokerCut, 2) {
		w.cutBroker()
	}
}

func (w *world) loseOne(a *actor) { a.loseOne() }

func (w *world) damageOne(a *actor) { a.damageOne() }

func (w *world) deleteStream(a *actor) {
	if w.fault(streamDeleted, 3) {
		w.say("broker", "the stream of %s is deleted with %d messages", a.name,
			len(a.stream.messages))
		a.stream.remake(w.now)
		a.broken, a.backups = true, nil
	}
}

func (w *world) forgetWindow(*actor) {
	if w.fault(windowForgets, 1) {
		w.forget()
	}
}

func (w *world) redeliver(a *actor) {
	if a.up && a.next > 1 && w.fault(redelivered, 1) {
		a.next -= min(a.next-1, uint64(1+w.n(8)))
		a.backups = nil // a rebuild would see each message once
		w.say("broker", "delivers to %s again from %d", a.name, a.next)
	}
}

func (w *world) pauseConsumer(a *actor) {
	if w.fault(consumerPauses, 1) {
		a.paused = w.now + int64(time.Duration(1+w.n(60))*time.Second)
		w.say("broker", "the consumer of %s pauses", a.name)
	}
}

func (w *world) takeOver(a *actor) {
	if w.fault(takeOver, 1) {
		a.crash("to be taken over")
		a.takeOver, a.backups = true, nil
	}
}

func (w *world) rollBack(a *actor) { a.rollBack() }

func (w *world) letters(*actor) { w.handleLetters(false) }

func (w *world) forget() {
	w.say("broker", "forgets which messages it has stored")
	for _, a := range w.actors {
		clear(a.stream.window)
	}
	clear(w.window)
}

// loseAnnouncement loses a timer or an effect's announcement.
func (w *world) loseAnnouncement(*actor) {
	if len(w.timers) > 0 && w.fault(timerLost, 2) {
		w.timers = append(w.timers[:0], w.timers[1:]...)
		w.say("broker", "loses a timer")
	}
	if len(w.effects) > 0 && w.fault(effectLost, 2) {
		i := w.n(len(w.effects))
		w.say("broker", "loses the announcement of %s", w.brief(w.effects[i].work.ID))
		w.effects = append(w.effects[:i], w.effects[i+1:]...)
	}
}

// cutPower ends all processes and loses what was not synced.
func (w *world) cutPower() {
	w.say("world", "the power fails")
	for _, a := range w.actors {
		a.crash("")
	}
	w.cutTails()
	w.dropLinks(nil)
	w.shop.forgetTail()
}

// cutBroker ends the broker alone; the actors go on.
func (w *world) cutBroker() {
	w.say("broker", "the power of the broker fails")
	w.cutTails()
	w.dropLinks(errGone)
	w.shop.forgetTail()
}
