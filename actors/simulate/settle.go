package simulate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ordo/api"
	"ordo/bus"
)

// waits are how long the calm world waits between two looks at whether all has
// ended: first for what is lost to be noticed, then for deadlines.
var waits = []time.Duration{1, 1, 2, 3, 4, 6, 31, 31, 61, 121, 300, 601, 901, 901, 1801, 3601, 3601,
	7201, 7201, 36000}

// settle is the second part of a run: nothing goes wrong any more, and all that
// began has to end.
func (w *world) settle() {
	w.reseed(-2)
	w.calm = true
	w.say("world", "is calm from here on")
	open := ""
	for _, wait := range waits {
		w.drain()
		if open = w.unsettled(); open == "" {
			return
		}
		w.pass(wait * time.Second)
	}
	w.drain()
	if open = w.unsettled(); open != "" {
		w.broken("liveness", "%s", open)
	}
}

// drain lets everything happen that needs no time, or little.
func (w *world) drain() {
	for range 400 {
		busy := w.workOff()
		for _, r := range slices.Clone(w.shop.requests) {
			busy = w.await(r) || busy
		}
		busy = w.handleLetters(true) || busy
		if !busy && w.soon() > int64(time.Second) {
			return
		}
		w.pass(50 * time.Millisecond)
	}
	w.broken("liveness", "the world does not come to rest")
}

// workOff lets actors, network, workers and notices do all that they have.
func (w *world) workOff() (busy bool) {
	for _, a := range w.actors {
		busy = repeat(func() bool { return a.work(64) }) || busy
	}
	busy = repeat(func() bool { return w.network(64) }) || busy
	busy = repeat(w.worker) || busy
	return repeat(w.notices) || busy
}

// repeat calls do until it has nothing more to do, and tells whether it had.
func repeat(do func() bool) (did bool) {
	for do() {
		did = true
	}
	return did
}

// soon is how long the next thing that happens by itself is away.
func (w *world) soon() int64 {
	soonest := int64(time.Hour)
	for _, e := range w.later {
		if e.a == nil || e.a.up && e.life == e.a.life {
			soonest = min(soonest, e.at-w.now)
		}
	}
	if len(w.shop.requests) > 0 {
		soonest = 0
	}
	return soonest
}

// handleLetters has support retry the dead letters, or dismiss one that
// nothing depends on.
func (w *world) handleLetters(all bool) (any bool) {
	for _, a := range w.actors {
		if !a.up {
			continue
		}
		answer, err := a.engine.Ask(api.EndpointDead, api.Raw(&api.ListLetters{State: "open"}))
		w.must(err)
		for _, l := range answer.(api.LetterList).Letters {
			if !all && !w.odds(3) {
				continue
			}
			any = w.handleLetter(a, &l) || any
		}
	}
	return any
}

func (w *world) handleLetter(a *actor, l *api.Letter) bool {
	body := api.Raw(&api.LetterRef{N: l.N})
	for _, r := range w.shop.requests {
		if r.actor == a.name && string(r.body) == string(body) {
			return false // under way
		}
	}
	w.shop.count++
	id := fmt.Sprintf("retry-%s-%d-%d", a.name, l.N, w.shop.count)
	verb, why := api.VerbRetryDead, letterRetried
	may := strings.HasPrefix(l.ID, "tick-") || strings.HasPrefix(l.ID, "credit-") ||
		strings.HasPrefix(l.ID, "stock-")
	if may && w.odds(2) {
		verb, why, id = api.VerbDismissDead, letterDismissed, "dismiss"+id[5:]
		w.oracle.dismissed[l.ID] = true
	}
	w.hits[why]++
	w.say("support", "has %s %s", w.brief(l.ID), verb)
	a.backups = nil
	w.requestRaw(id, a.name, verb, body, func(r *api.Result) {
		if r.Refusal != nil {
			w.broken("dead letter", "%s of %s was refused: %v", verb, w.brief(l.ID), r.Refusal)
		}
	})
	return true
}

// pending are what may be left in no actor once the world has been calm.
var pending = map[string][][2]string{
	"order": {
		{"order", `SELECT id || ' ' || state FROM orders
			WHERE state IN ('pending', 'placed', 'closing') LIMIT 1`},
		{"step", `SELECT name || ' of ' || order_id || ' ' || state FROM steps
			WHERE state IN ('asked', 'undoing') LIMIT 1`},
		{"refund", `SELECT id || ' ' || state FROM refund WHERE state = 'running' LIMIT 1`},
		{"refund to decide", `SELECT id FROM refund WHERE state = 'asked' LIMIT 1`},
	},
	"payment": {
		{"payment", `SELECT order_id || ' ' || state FROM payment
			WHERE state IN ('open', 'closing') LIMIT 1`},
		{"refund", `SELECT number FROM refund WHERE state = 'open' LIMIT 1`},
		{"attempt to ask about", `SELECT id FROM attempt WHERE next_query > 0 LIMIT 1`},
	},
	"goods": {{"hold", `SELECT order_id FROM hold WHERE state = 'held' LIMIT 1`}},
}

// unsettled names something that has not ended; empty when all has.
func (w *world) unsettled() string {
	if n := len(w.shop.requests); n > 0 {
		return fmt.Sprintf("request %s of %d", w.brief(w.shop.requests[0].id), n)
	}
	if n := len(w.gateway.notices); n > 0 {
		return fmt.Sprintf("%d notices", n)
	}
	for _, a := range w.actors {
		if !a.up {
			continue
		}
		for to, why := range a.outbox.Stopped() {
			return a.name + ": channel to " + to + " stopped: " + why
		}
	}
	for _, a := range w.actors {
		if text := w.unsettledIn(a); text != "" {
			return a.name + ": " + w.brief(text)
		}
	}
	return ""
}

func (w *world) unsettledIn(a *actor) string {
	if !a.up {
		return "is down"
	}
	for _, p := range pending[a.name] {
		var text string
		if a.file.W.Row(p[1]).Scan(&text) != nil {
			continue
		}
		if p[0] == "refund to decide" {
			w.shop.count++
			w.request(fmt.Sprintf("decide-%d", w.shop.count), &api.DecideRefund{Refund: text,
				Grant: w.odds(2), By: support}, nil)
		}
		return p[0] + " " + text
	}
	if n := w.one(a, `SELECT count(*) FROM _effect WHERE state = 'open'`); n > 0 {
		return fmt.Sprintf("%d open effects", n)
	}
	if n := w.one(a, `SELECT count(*) FROM _dead WHERE state = 'open'`); n > 0 {
		return fmt.Sprintf("%d dead letters", n)
	}
	for to, r := range a.engine.Receivers() {
		_, last := w.named[strings.TrimSuffix(to, "."+bus.Shard)].engine.LastOf(bus.Address(a.name))
		if last != r[0] {
			return fmt.Sprintf("%s has committed %d of %d messages", to, last, r[0])
		}
	}
	return ""
}

// restoreTooOld is the third part of a run: a file is restored that is older
// than what its actor has sent. Nobody may take what it says from then on.
func (w *world) restoreTooOld() {
	a := w.named["order"]
	if !w.on[restoredTooOld] || a.first == nil || a.first.numbers["goods.0"][0] == 0 {
		return
	}
	if a.engine.Receivers()["goods.0"][0] <= a.first.numbers["goods.0"][0] {
		return
	}
	w.hits[restoredTooOld]++
	w.say("order", "the file is restored as it was at line %d", a.first.lines)
	goods := w.named["goods"]
	epoch, last := goods.engine.LastOf("order.0")
	w.oracle.setBack = true
	a.crash("to be restored")
	w.must(a.file.Restore(a.first.image))
	a.takeOver = true
	repeat(func() bool { return a.work(64) }) // from its stream, before it asks anyone
	for range 3 {
		w.buy()
	}
	w.network(64)
	repeat(func() bool { return a.work(64) || w.network(64) })
	w.pass(5 * time.Second)
	for range 20 {
		w.network(64)
		goods.work(64)
		w.pass(300 * time.Millisecond)
	}
	if now, n := goods.engine.LastOf("order.0"); now != epoch || n != last {
		w.broken("epoch",
			"goods has committed number %d, and takes %d from a file that knows of %d",
			last, n, a.first.numbers["goods.0"][0])
	}
}
