package order_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ordo/api"
)

// participant stands for goods, coupon or wallet: it takes what it is told in
// order, does and undoes each step once, and may take its time.
type participant struct {
	inbox  []told
	outbox []*api.StepResult
	state  map[string]string
}

// told is a do or an undo of a step.
type told struct {
	api.Step
	undo bool
}

// take handles the oldest message; refuse is what it says to a new do.
func (p *participant) take(m *api.SubmitOrder, refuse bool) {
	t := p.inbox[0]
	p.inbox = p.inbox[1:]
	if t.Name == "payment.collect" {
		p.collect(m, t)
		return
	}
	if t.undo {
		p.state[t.Name] = api.StepUndone
		p.outbox = append(p.outbox, undone(m, t.Name))
		return
	}
	if p.state[t.Name] == "" {
		p.state[t.Name] = api.StepDone
		if refuse {
			p.state[t.Name] = api.StepRefused
		}
	}
	r := result(m, t.Name, nil)
	switch {
	case p.state[t.Name] != api.StepDone:
		r.Refusal = api.Refuse(api.CodeUndone, "no")
	case t.Name == "goods.reserve":
		r.Data = api.Raw(reserved(m))
	case t.Name == "coupon.redeem":
		r.Data = api.Raw(api.Redeemed{Discount: gbp(300)})
	}
	p.outbox = append(p.outbox, r)
}

// collect is what the payment actor does: it answers a do when it is paid, and
// an undo only when it was not.
func (p *participant) collect(m *api.SubmitOrder, t told) {
	switch {
	case !t.undo && p.state[t.Name] == "":
		p.state[t.Name] = api.StepAsked
	case t.undo && p.state[t.Name] == api.StepAsked:
		p.state[t.Name] = api.StepUndone
		p.outbox = append(p.outbox, undone(m, t.Name))
	}
}

// pay has money come for what is collected.
func (w *world) pay() {
	p := w.parts["payment"]
	p.state["payment.collect"] = api.StepDone
	p.outbox = append(p.outbox, result(w.m, "payment.collect", api.Paid{Attempt: "pay_1",
		Provider: api.PayAlipay, TradeNo: "2026", Amount: w.order(w.m).Due,
		PaidAt: api.TimeOf(w.Now)}))
}

// participants are all there are.
var participants = []string{"goods", "coupon", "wallet", "payment", "shipping"}

// world is one order with its participants.
type world struct {
	*bench
	m     *api.SubmitOrder
	parts map[string]*participant
	// sent counts how often each verb was sent to a participant.
	sent map[string]int
}

func newWorld(b *bench, m *api.SubmitOrder) *world {
	w := &world{bench: b, m: m, parts: map[string]*participant{}, sent: map[string]int{}}
	for _, name := range participants {
		w.parts[name] = &participant{state: map[string]string{}}
	}
	return w
}

// deliver puts what the last message had the order actor send into the
// participants' inboxes.
func (w *world) deliver() {
	for _, s := range w.Out.Sent {
		verb := strings.Split(s.Subject, ".")
		p := w.parts[verb[1]]
		if p == nil {
			continue
		}
		var t told
		if err := json.Unmarshal(s.Body, &t.Step); err != nil {
			w.T.Fatal(err)
		}
		if t.Order != w.m.Order {
			continue
		}
		t.undo = slices.Contains([]string{"release", "restore", "return-debit", "close"}, verb[3])
		w.sent[verb[1]+"."+verb[3]]++
		p.inbox = append(p.inbox, t)
	}
	w.Out.Sent = nil
}

// actions are what may happen next, by name.
func (w *world) actions(rt *rapid.T) map[string]func() {
	all := map[string]func(){
		"submit again": func() { w.submit(w.m) },
		"tick":         func() { w.Tick() },
		"wait": func() {
			w.Advance(time.Duration(rapid.IntRange(1, 50).Draw(rt, "seconds")) * time.Second)
		},
		"wait long": func() { w.Advance(16 * time.Minute) },
		"expire": func() {
			w.MustEdge(fmt.Sprintf("expire-%v", w.Now), &api.ExpireOrder{Order: w.m.Order})
		},
		"cancel": func() {
			w.Edge(fmt.Sprintf("cancel-%v", w.Now),
				&api.CancelOrder{Order: w.m.Order, User: w.m.User, By: w.m.User})
		},
	}
	if w.parts["payment"].state["payment.collect"] == api.StepAsked {
		all["payment answers: paid"] = w.pay
	}
	for name, p := range w.parts {
		if len(p.inbox) > 0 {
			all[name+" takes"] = func() { p.take(w.m, rapid.IntRange(0, 5).Draw(rt, "no") == 0) }
			all[name+" takes twice"] = func() {
				p.inbox = append([]told{p.inbox[0]}, p.inbox...)
				p.take(w.m, rapid.IntRange(0, 5).Draw(rt, "no") == 0)
				p.take(w.m, false)
			}
		}
		if len(p.outbox) > 0 {
			all[name+" answers"] = func() {
				w.answer(p.outbox[0])
				p.outbox = p.outbox[1:]
			}
		}
	}
	return all
}

// settle has everybody take and answer all there is.
func (w *world) settle() {
	for again := true; again; {
		again = false
		for _, name := range participants {
			p := w.parts[name]
			for len(p.inbox) > 0 {
				p.take(w.m, false)
			}
			for len(p.outbox) > 0 {
				w.answer(p.outbox[0])
				p.outbox = p.outbox[1:]
				w.deliver()
				again = true
			}
		}
	}
}

// check wants the participants to hold everything for an order that is placed
// or paid, and nothing for any other.
func (w *world) check(rt *rapid.T) {
	o := w.order(w.m)
	held := o.State == api.OrderPlaced || o.State == api.OrderPaid
	undo := map[string]string{"goods.reserve": "goods.release",
		"coupon.redeem": "coupon.restore", "wallet.debit": "wallet.return-debit"}
	for do, undo := range undo {
		name, _, _ := strings.Cut(do, ".")
		state := w.parts[name].state[do]
		if w.sent[do] > 1 || w.sent[undo] > 1 || w.sent[undo] > w.sent[do] {
			rt.Fatalf("sent %v", w.sent)
		}
		wantUndo := !held && w.sent[do] == 1 && state != api.StepRefused
		if held && w.sent[undo] > 0 || wantUndo && w.sent[undo] == 0 ||
			state == api.StepDone && !held {
			rt.Fatalf("the order is %s, %s is %q, sent %v", o.State, do, state, w.sent)
		}
		if held && w.sent[do] == 1 && state != api.StepDone {
			rt.Fatalf("the order is %s, %s is %q", o.State, do, state)
		}
	}
	steps := w.states(w.m)
	money := w.parts["payment"].state["payment.collect"]
	wantMoney := map[string]string{api.OrderPlaced: api.StepAsked, api.OrderPaid: api.StepDone,
		api.OrderCancelled: api.StepUndone}[o.State]
	if money != wantMoney && (money != "" || o.Due.Amount > 0 && o.Decided > 0 &&
		o.State != api.OrderRefused) {
		rt.Fatalf("the order is %s, its payment %q", o.State, money)
	}
	if o.State == api.OrderPlaced {
		steps = strings.Replace(steps, "payment.collect=asked", "", 1)
	}
	if (w.sent["goods.sell"] == 1) != (o.State == api.OrderPaid) {
		rt.Fatalf("the order is %s, sent %v", o.State, w.sent)
	}
	if o.State == api.OrderPending || o.State == api.OrderClosing ||
		strings.Contains(steps, "asked") || strings.Contains(steps, "undoing") {
		rt.Fatalf("the order is %s with steps %s", o.State, steps)
	}
}

// ACCEPT S2 S7 S8 E1 E3 E4: whatever the order of answers, repeats, refusals,
// deadlines and cancels, in the end either everything is held for an order that
// is placed or paid, or nothing is held; every do that may have run is undone
// once.
func TestAnyInterleaving(t *testing.T) {
	b := newBench(t)
	ends := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		m := b.draft()
		if rapid.Bool().Draw(rt, "coupon") {
			m.Coupon, m.Total = "cpn_1", gbp(2200)
		}
		m.Balance = gbp(rapid.SampledFrom([]int64{0, 200, m.Total.Amount}).Draw(rt, "balance"))
		w := newWorld(b, m)
		w.submit(m)
		w.deliver()
		for range rapid.IntRange(0, 25).Draw(rt, "actions") {
			all := w.actions(rt)
			names := []string{}
			for name := range all {
				// Answers are likelier than interruptions.
				names = append(names, name)
				if strings.Contains(name, "takes") || strings.Contains(name, "answers") {
					names = append(names, name, name, name)
				}
			}
			slices.Sort(names)
			all[rapid.SampledFrom(names).Draw(rt, "action")]()
			w.deliver()
		}
		w.settle()
		if o := w.order(m); o.State == api.OrderPlaced && rapid.Bool().Draw(rt, "let it expire") {
			w.Now = o.ExpiresAt.Std()
			w.Tick()
			w.deliver()
			w.settle()
		}
		w.check(rt)
		ends[w.order(m).State]++
	})
	if !t.Failed() && len(ends) < 4 {
		t.Errorf("the runs ended only in %v", ends)
	}
}

// ACCEPT S8: a do that answers after its undo was asked for is recorded, but
// changes nothing, whether it was done or refused.
func TestLateAnswer(t *testing.T) {
	for _, late := range []any{nil, api.Refuse(api.CodeUndone, "undone before")} {
		b := newBench(t)
		m := b.full()
		b.submit(m)
		b.reserve(m)
		b.answer(result(m, "coupon.redeem", api.Refuse(api.CodeCouponUsed, "used")))
		for range 2 {
			b.answer(result(m, "wallet.debit", late))
			b.wantSent()
			b.wantStates(m, "goods.reserve=undoing coupon.redeem=refused wallet.debit=undoing")
		}
		for range 2 {
			b.answer(undone(m, "wallet.debit"))
			b.answer(undone(m, "goods.reserve"))
			b.wantSent()
		}
		b.answer(result(m, "wallet.debit", late))
		b.wantStates(m, "goods.reserve=undone coupon.redeem=refused wallet.debit=undone")
		b.wantReason(m, api.OrderRefused, api.CodeCouponUsed)
		var list api.StepList
		if refusal := b.Ask(&api.GetSteps{Order: m.Order}, &list); refusal != nil {
			t.Fatal(refusal)
		}
		if s := list.Steps[2]; s.AnsweredAt != api.TimeOf(b.Now) || s.Attempts != 1 ||
			(s.Refusal != nil) != (late != nil) {
			t.Errorf("late step is %+v", s)
		}
	}
}
