package simulate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"ordo/actors"
	"ordo/api"
	"ordo/bus"
)

// oracle knows what was committed and told, from what went by, and says after
// each step whether it fits together.
type oracle struct {
	w *world
	// sent are the bodies that were committed on each channel, by number from 1.
	sent map[string][][]byte
	// names are what orders, attempts and refunds are called in the story, by
	// their ids without the prefix.
	names map[string]string
	// told are the answers to requests, which may not be forgotten.
	told map[string]*api.Result
	// poisoned are messages that were made to fail; dismissed those given up.
	poisoned, dismissed map[string]bool
	// life is what the journal was told of each order; collected how its payment
	// ended.
	life      map[string][]string
	collected map[string]string
	// steps are the first answers of participants.
	steps map[string]string
	// coupons say which order uses each.
	coupons map[string]string
	// short is what goods.sell said it lacked, by order and SKU; seatless what
	// learning.enrol had no place for.
	short, seatless map[string]int64
	// stock is what support received, beside what was there at first; credits
	// what it gave.
	stock, credits map[string]int64
	// cancelled are orders of which a shopper was told that they end.
	cancelled map[string]bool
	// over are the senders' epochs that each receiver has seen end.
	over map[string]map[string]bool
	// setBack is true while a file is older than what was told of it.
	setBack bool
}

func newOracle(w *world) oracle {
	return oracle{w: w, sent: map[string][][]byte{}, names: map[string]string{},
		told: map[string]*api.Result{}, poisoned: map[string]bool{}, dismissed: map[string]bool{},
		life: map[string][]string{}, collected: map[string]string{}, steps: map[string]string{},
		coupons: map[string]string{}, short: map[string]int64{}, seatless: map[string]int64{},
		stock:   map[string]int64{},
		credits: map[string]int64{}, cancelled: map[string]bool{},
		over: map[string]map[string]bool{}}
}

// brief is an id or text with the names that the story has for what it is
// about.
func (w *world) brief(id string) string {
	for at := 0; ; {
		i := strings.IndexByte(id[at:], '_')
		if i < 0 {
			return id
		}
		i += at
		at = i + 1
		if i < 3 || i+27 > len(id) {
			continue
		}
		if name, ok := w.oracle.names[id[i:i+27]]; ok {
			id = id[:i-3] + name + id[i+27:]
			at = i - 3 + len(name)
		}
	}
}

// briefMessage is a message in a few words.
func (w *world) briefMessage(d *actors.Delivery) string {
	verb := d.Subject[strings.LastIndexByte(d.Subject, '.')+1:]
	if strings.HasPrefix(d.Subject, bus.EventPrefix) {
		return w.brief(d.Subject[len(bus.EventPrefix):])
	}
	if sender, at, ok := channelOf(d.ID); ok {
		about := ""
		if i := bytes.Index(d.Body, []byte(`"order":"`)); i >= 0 && i+39 <= len(d.Body) {
			about = " " + w.brief(string(d.Body[i+9:i+39]))
		}
		return fmt.Sprintf("%s#%d %s%s", strings.TrimSuffix(sender, ".0"), at.number, verb, about)
	}
	return w.brief(d.ID)
}

// arrives checks that what comes on a channel is what its sender committed.
func (o *oracle) arrives(a *actor, in []actors.Delivery) {
	for i := range in {
		d := &in[i]
		sender, at, ok := channelOf(d.ID)
		if !ok || o.setBack {
			continue
		}
		n := at.number
		sent := o.sent[sender+">"+bus.Address(a.name)]
		if n > int64(len(sent)) {
			o.w.broken("publish", "%s gets number %d from %s, which has committed %d", a.name, n,
				sender, len(sent))
		}
		if !bytes.Equal(sent[n-1], d.Body) && !isDamaged(d, sent[n-1]) {
			o.w.broken("publish", "%s gets as number %d from %s %s, but %s was committed", a.name,
				n, sender, d.Body, sent[n-1])
		}
	}
}

// isDamaged tells a message that lacks the beginning of what was sent.
func isDamaged(d *actors.Delivery, sent []byte) bool {
	return bytes.HasSuffix(sent, d.Body) && !json.Valid(d.Body)
}

// lasts are where a receiver stands with the senders of a batch.
func (o *oracle) lasts(a *actor, in []actors.Delivery) map[string]place {
	m := map[string]place{}
	for i := range in {
		if sender, _, ok := channelOf(in[i].ID); ok {
			epoch, number := a.engine.LastOf(sender)
			m[sender] = place{epoch, number}
		}
	}
	return m
}

// committed takes what a batch has come to.
func (o *oracle) committed(a *actor, in []actors.Delivery, out *actors.Output,
	before map[string]place, err error) {
	if err == nil {
		o.once(a, in, out, before)
	} else {
		o.reread(a)
	}
	given := a.engine.Receivers()
	for i := range out.Sent {
		s := &out.Sent[i]
		if s.Number > given[s.Receiver][0] {
			o.w.broken("publish", "%s is to publish number %d to %s, and has committed %d", a.name,
				s.Number, s.Receiver, given[s.Receiver][0])
		}
		o.record(a, s)
	}
	for i := range out.Dead {
		if l := &out.Dead[i]; !o.setBack && !o.poisoned[l.ID] &&
			!strings.HasPrefix(l.ID, "retry-") {
			o.w.broken("dead letter", "%s: %s: %.300s", a.name, o.w.brief(l.ID), l.Error)
		}
	}
	o.w.checkActor(a)
}

// once checks that each number was handled once, in order, and nothing of an
// epoch that is over.
func (o *oracle) once(a *actor, in []actors.Delivery, out *actors.Output,
	stands map[string]place) {
	edges, moved := o.follow(a, in, stands)
	if o.setBack {
		return
	}
	for _, sender := range sorted(stands) {
		if epoch, last := a.engine.LastOf(sender); (place{epoch, last}) != stands[sender] {
			o.w.broken("exactly once", "%s stands at number %d of %s.%s, and %v is right", a.name,
				last, sender, epoch, stands[sender])
		}
	}
	if out.Handled > moved+edges || out.Handled < moved {
		o.w.broken("exactly once", "%s handled %d messages; %d were next and %d came from edges",
			a.name, out.Handled, moved, edges)
	}
}

// follow moves on where channels stand, and counts the messages that were next
// and those of edges.
func (o *oracle) follow(a *actor, in []actors.Delivery, stands map[string]place) (edges,
	moved int) {
	for i := range in {
		sender, at, ok := channelOf(in[i].ID)
		last := stands[sender]
		switch {
		case !ok:
			edges++
			continue
		case o.over[a.name][sender+at.epoch]:
			continue
		case last.epoch != "" && at.epoch != last.epoch:
			o.end(a, sender+last.epoch)
			last.epoch = at.epoch
			stands[sender] = last
		}
		if at.number == last.number+1 && json.Valid(in[i].Body) {
			stands[sender] = at
			moved++
		}
	}
	return edges, moved
}

func (o *oracle) end(a *actor, epoch string) {
	if o.over[a.name] == nil {
		o.over[a.name] = map[string]bool{}
	}
	o.over[a.name][epoch] = true
}

// reread takes from an actor's file which epochs are over, when it is not known
// how much of a batch was committed, or the file was set back.
func (o *oracle) reread(a *actor) {
	delete(o.over, a.name)
	o.w.must(a.file.W.Each(func(r actors.Row) error {
		var epoch string
		err := r.Scan(&epoch)
		o.end(a, epoch)
		return err
	}, `SELECT sender || epoch FROM _in WHERE retired = 1`))
}

// record keeps what was committed; a file that was set back says the same
// again.
func (o *oracle) record(a *actor, s *actors.Sent) {
	if o.setBack {
		return
	}
	key := bus.Address(a.name) + ">" + s.Receiver
	sent := o.sent[key]
	switch {
	case s.Number <= int64(len(sent)):
		if !bytes.Equal(sent[s.Number-1], s.Body) {
			o.w.broken("replay", "%s gives number %d to %s again, with %s instead of %s", a.name,
				s.Number, s.Receiver, s.Body, sent[s.Number-1])
		}
		return
	case s.Number > int64(len(sent))+1:
		o.w.broken("publish", "%s gives number %d to %s after %d", a.name, s.Number, s.Receiver,
			len(sent))
	}
	o.sent[key] = append(sent, s.Body)
	switch {
	case strings.HasPrefix(s.Subject, bus.EventPrefix):
		var e api.Event
		o.w.must(json.Unmarshal(s.Body, &e))
		o.hears(&e)
	case strings.HasSuffix(s.Subject, ".step-result"):
		var r api.StepResult
		o.w.must(json.Unmarshal(s.Body, &r))
		o.answers(&r)
	case strings.HasSuffix(s.Subject, ".redeem"):
		var m api.RedeemCoupon
		o.w.must(json.Unmarshal(s.Body, &m))
		o.steps["coupon of "+m.Order] = m.Coupon
	}
}

// next are the events that may follow on an order's last one.
var next = map[string]string{
	"":                      "order.placed order.refused order.paid order.cancelled",
	api.EventOrderPlaced:    "order.paid order.cancelled",
	api.EventOrderPaid:      "",
	api.EventOrderRefused:   "",
	api.EventOrderCancelled: "",
}

// hears takes an event: an order ends once.
func (o *oracle) hears(e *api.Event) {
	if _, ok := next[e.Type]; !ok {
		return
	}
	life := o.life[e.Order]
	last := ""
	if len(life) > 0 {
		last = life[len(life)-1]
	}
	o.w.say("order", "%s is %s", o.w.brief(e.Order), strings.TrimPrefix(e.Type, "order."))
	if !strings.Contains(next[last], e.Type) {
		o.w.broken("one end", "%s was %s and then %s", o.w.brief(e.Order), last, e.Type)
	}
	o.life[e.Order] = append(life, e.Type)
}

// answers takes a participant's answer: the first one counts, and a payment is
// paid or closed, never both. A coupon is used by one order at a time.
func (o *oracle) answers(r *api.StepResult) {
	result := "done"
	switch {
	case r.Undo:
		result = "undone"
	case r.Refusal != nil:
		result = "refused"
	}
	name := fmt.Sprintf("%s of %s %d", r.Name, o.w.brief(r.Order), r.Occurrence)
	if r.Name == "payment.collect" {
		if was := o.collected[r.Order]; was != "" && was != result {
			o.w.broken("paid or closed", "%s was %s and then %s", name, was, result)
		}
		o.collected[r.Order] = result
		return
	}
	if was := o.steps[name]; was != "" && was != result && result == "done" {
		o.w.broken("step", "%s was %s and is then done", name, was)
	}
	o.steps[name] = result
	if r.Name == "coupon.redeem" {
		o.redeems(r, result)
	}
	o.lacks(r)
}

// lacks notes what a participant could not deliver.
func (o *oracle) lacks(r *api.StepResult) {
	switch r.Name {
	case "goods.sell":
		var d api.Sold
		if len(r.Data) > 0 {
			o.w.must(json.Unmarshal(r.Data, &d))
		}
		for _, l := range d.Short {
			o.short[r.Order+l.SKU] += l.Quantity
		}
	case "learning.enrol":
		var d api.Enrolled
		o.w.must(json.Unmarshal(r.Data, &d))
		for _, l := range d.Refused {
			o.seatless[r.Order] += l.Quantity
		}
	}
}

func (o *oracle) redeems(r *api.StepResult, result string) {
	c := o.steps["coupon of "+r.Order]
	by := o.coupons[c]
	switch {
	case result == "done" && by != "" && by != r.Order:
		o.w.broken("coupon", "%s uses a coupon that %s uses", o.w.brief(r.Order), o.w.brief(by))
	case result == "done":
		o.coupons[c] = r.Order
	case result == "undone" && by == r.Order:
		delete(o.coupons, c)
	}
}

// after are the states that a shopper may see after one.
var after = map[string]string{
	"":                 "pending placed paid refused closing cancelled",
	api.OrderPending:   "pending placed paid refused closing cancelled",
	api.OrderPlaced:    "placed paid closing cancelled",
	api.OrderClosing:   "closing paid cancelled",
	api.OrderPaid:      "paid",
	api.OrderRefused:   "refused",
	api.OrderCancelled: "cancelled",
}

// sees checks what a shopper is told of an order.
func (o *oracle) sees(known *anOrder, seen *api.Order) {
	if !strings.Contains(after[known.told], seen.State) {
		o.w.broken("told", "%s was %s and is %s", known.name, known.told, seen.State)
	}
	if o.cancelled[seen.ID] && (seen.State == api.OrderPlaced || seen.State == api.OrderPending) {
		o.w.broken("told", "%s was cancelled and is %s", known.name, seen.State)
	}
}

// one reads a number.
func (w *world) one(a *actor, query string) int64 {
	var n int64
	w.must(a.file.W.Row(query).Scan(&n))
	return n
}

// rules are what must hold in an actor's file after every commit: each query
// counts what breaks it.
var rules = map[string][][2]string{
	"goods": {
		{"locked stock", `SELECT abs((SELECT sum(locked) FROM stock) - (SELECT coalesce(sum(
			j.value ->> 'quantity'), 0) FROM hold, json_each(lines) j WHERE state = 'held'
			AND j.value ->> 'policy' IS NULL))`},
		{"stock ledger", `SELECT count(*) FROM stock s WHERE (stock, locked) IS NOT
			(SELECT coalesce(sum(stock), 0), coalesce(sum(locked), 0) FROM ledger
				WHERE sku = s.sku)`},
	},
	"wallet": {
		{"double entry", `SELECT abs(coalesce(sum(amount), 0)) FROM entry`},
		{"account", `SELECT count(*) FROM account a WHERE balance <> (SELECT coalesce(sum(amount),
			0) FROM entry WHERE owner = a.owner AND unit = a.unit AND balance IS NOT NULL)`},
	},
	"payment": {
		{"captured", `SELECT count(*) FROM attempt a WHERE captured <> (SELECT coalesce(sum(amount),
			0) FROM log WHERE kind = 'pay' AND attempt = a.id)`},
		{"paid by", `SELECT count(*) FROM payment p WHERE state = 'paid' AND amount >
			(SELECT captured FROM attempt WHERE id = p.attempt)`},
	},
	"order": {
		{"refund sums", `SELECT count(*) FROM orders o WHERE refunded <> (SELECT coalesce(sum(
			money + balance), 0) FROM refund WHERE order_id = o.id AND state NOT IN ('denied',
			'failed'))`},
	},
}

// checkActor checks the file that has just changed.
func (w *world) checkActor(a *actor) {
	odd := ` FROM _incident`
	if a.damages > 0 {
		odd += ` WHERE kind != 'damaged'`
	}
	if n := w.one(a, `SELECT count(*)`+odd); n > 0 && !w.oracle.setBack {
		var kind, text string
		w.must(a.file.W.Row(`SELECT kind, text`+odd+` ORDER BY n DESC LIMIT 1`).
			Scan(&kind, &text))
		w.broken("incident", "%s: %s: %s", a.name, kind, w.brief(text))
	}
	for _, r := range rules[a.name] {
		if n := w.one(a, r[1]); n != 0 {
			w.broken(r[0], "%s: %d", a.name, n)
		}
	}
	if a.name == "payment" {
		w.checkMoney(a)
	}
}

// checkMoney compares the newest row of the pay log with what the provider
// knows.
func (w *world) checkMoney(a *actor) {
	var kind, attempt, refund string
	var amount int64
	err := a.file.W.Row(`SELECT kind, attempt, refund, amount FROM log ORDER BY seq DESC LIMIT 1`).
		Scan(&kind, &attempt, &refund, &amount)
	if err != nil {
		return // empty
	}
	t := w.gateway.trades[attempt]
	switch {
	case t == nil || t.captured() == 0:
		w.broken("money", "%s is booked as paid, which it is not", w.brief(attempt))
	case kind == api.BookRefund && t.refunds[refund] != amount:
		w.broken("money", "%s is booked with %d, and %d went back", w.brief(refund), amount,
			t.refunds[refund])
	}
}
