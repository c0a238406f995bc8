package payment_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ordo/actors/actorstest"
	"ordo/api"
)

// gateway stands for both providers: trades by attempt.
type gateway struct {
	trades map[string]*api.Trade
	// notices were sent and may come any number of times, in any order.
	notices []api.Trade
	// refunds are those it has decided on, by number.
	refunds map[string]bool
}

// race is one order in a world where everything may overtake everything.
type race struct {
	*bench
	gateway
	order    string
	attempts []api.Attempt
	effects  []api.Effect
	outcomes []api.Outcome
	// asked are the refunds that the order asked for, by how often they were
	// answered; answers are those to the collect.
	asked   map[int]int
	answers []string
}

func newRace(b *bench) *race {
	w := &race{bench: b, asked: map[int]int{},
		gateway: gateway{trades: map[string]*api.Trade{}, refunds: map[string]bool{}}}
	w.order = b.collect()
	return w
}

// take keeps what the last message had the actor send and begin.
func (w *race) take(rt *rapid.T) {
	if len(w.Out.Dead) > 0 {
		rt.Fatalf("a dead letter: %s: %s", w.Out.Dead[0].Subject, w.Out.Dead[0].Error)
	}
	for _, e := range w.Out.Effects {
		if strings.Contains(string(e.Body), w.order) { // not of an order before
			w.effects = append(w.effects, e)
		}
	}
	for _, r := range actorstest.Sent[api.StepResult](w.Actor) {
		switch {
		case r.Order != w.order:
			rt.Fatalf("an answer to %s", r.Order)
		case r.Name == "payment.refund":
			w.asked[r.Occurrence]++
		default:
			w.answers = append(w.answers, fmt.Sprint("undo ", r.Undo))
		}
	}
	w.Out.Effects, w.Out.Sent = nil, nil
}

// actions are what may happen next, by name.
func (w *race) actions(rt *rapid.T) map[string]func() {
	all := map[string]func(){
		"click":  func() { w.clicks(rt) },
		"cancel": func() { w.close(w.order, true) },
		"close":  func() { w.close(w.order, false) },
		"tick":   w.Tick,
		"wait": func() {
			w.Advance(time.Duration(rapid.IntRange(1, 400).Draw(rt, "seconds")) * time.Second)
		},
		"timer": func() { w.MustEdge(w.next(), &api.ReleasePayment{Order: w.order}) },
		"refund": func() {
			n := len(w.asked) + 1
			w.asked[n] = 0
			w.bench.refund(w.order, n, gbp(rapid.Int64Range(1, due).Draw(rt, "amount")))
		},
	}
	if len(w.attempts) > 0 {
		a := rapid.SampledFrom(w.attempts).Draw(rt, "attempt")
		all["visit"] = func() { w.visit(a, api.TradeWaiting) }
		all["pay"] = func() { w.visit(a, api.TradePaid) }
	}
	if len(w.notices) > 0 {
		n := rapid.SampledFrom(w.notices).Draw(rt, "notice")
		all["notice"] = func() { w.notice(n) }
	}
	if len(w.effects) > 0 {
		all["work"] = func() { w.work(rt, rapid.IntRange(0, len(w.effects)-1).Draw(rt, "effect")) }
	}
	if len(w.outcomes) > 0 {
		o := rapid.SampledFrom(w.outcomes).Draw(rt, "outcome")
		all["outcome"] = func() { w.outcome(o.Effect, o.Data) }
	}
	return all
}

func (w *race) clicks(rt *rapid.T) {
	provider := rapid.SampledFrom([]string{api.PayAlipay, api.PayStripe}).Draw(rt, "provider")
	product := rapid.SampledFrom([]string{api.ProductPage, api.ProductQR}).Draw(rt, "product")
	r := w.Edge(w.next(), w.click(w.order, provider, product))
	var a api.Attempt
	if r.Refusal == nil && json.Unmarshal(r.Value, &a) == nil && w.trades[a.ID] == nil {
		w.attempts = append(w.attempts, a)
		t := w.trade(a, api.TradeNone)
		w.trades[a.ID] = &t
	}
}

// visit has the shopper open the gateway's page, which takes money until the
// attempt's time is over.
func (w *race) visit(a api.Attempt, state string) {
	t := w.trades[a.ID]
	if t.State != api.TradeNone && t.State != api.TradeWaiting ||
		api.TimeOf(w.Now) >= a.ExpiresAt {
		return
	}
	*t = w.trade(a, state)
	w.notices = append(w.notices, *t)
}

// work has a worker do an effect; its outcome is under way then.
func (w *race) work(rt *rapid.T, i int) {
	e := w.effects[i]
	w.effects = slices.Delete(w.effects, i, i+1)
	var c api.GatewayCall
	if err := json.Unmarshal(e.Body, &c); err != nil {
		rt.Fatal(err)
	}
	t := w.trades[c.Attempt.ID]
	var data any = t
	switch e.Name {
	case api.EffectPayOpen:
		data = api.Opened{Link: api.Link{Ref: "of " + c.Attempt.ID}}
	case api.EffectPayClose:
		if t.State == api.TradeWaiting {
			*t = w.trade(c.Attempt, api.TradeClosed)
			w.notices = append(w.notices, *t)
		}
	case api.EffectPayRefund:
		data = w.gateway.refund(rt, t, &c)
	}
	w.outcomes = append(w.outcomes, api.Outcome{Effect: e.ID, Data: api.Raw(data)})
}

// refund decides once on a number, and may refuse where the order asked.
func (g *gateway) refund(rt *rapid.T, t *api.Trade, c *api.GatewayCall) api.RefundOutcome {
	done, known := g.refunds[c.Refund]
	if !known {
		done = c.Reason != orderReason || rapid.IntRange(0, 3).Draw(rt, "no") > 0
		g.refunds[c.Refund] = done
	}
	if !done {
		return api.RefundOutcome{Refusal: api.Refuse("ACQ.NO", "no")}
	}
	if !known {
		t.Refunded = gbp(t.Refunded.Amount + c.RefundAmount.Amount)
		if t.State != api.TradePaid || t.Refunded.Amount > t.Amount.Amount {
			rt.Fatalf("refund %s of %s on %+v", c.Refund, c.RefundAmount, t)
		}
		if t.Refunded == t.Amount {
			t.State = api.TradeClosed
		}
		g.notices = append(g.notices, *t)
	}
	return api.RefundOutcome{Total: t.Refunded}
}

// settle ends the order's time and has everything happen that is under way.
func (w *race) settle(rt *rapid.T) {
	w.Advance(20 * time.Minute)
	w.close(w.order, false)
	w.take(rt)
	for range 8 {
		for len(w.effects) > 0 {
			w.work(rt, 0)
		}
		for _, o := range w.outcomes {
			w.outcome(o.Effect, o.Data)
			w.take(rt)
		}
		w.outcomes = nil
		w.Advance(2 * time.Minute)
		w.Tick()
		w.take(rt)
	}
	for _, n := range w.notices {
		w.notice(n)
		w.take(rt)
	}
	if len(w.effects)+len(w.outcomes) > 0 {
		rt.Fatalf("%d effects and %d outcomes are left", len(w.effects), len(w.outcomes))
	}
}

// check wants one answer to the collect, one to every refund, and the books of
// the gateway and the shop to say the same.
func (w *race) check(rt *rapid.T) {
	p := w.payment(w.order)
	want := "undo true"
	if p.State == api.PaymentPaid {
		want = "undo false"
	}
	if p.State != api.PaymentPaid && p.State != api.PaymentClosed ||
		!slices.Equal(w.answers, []string{want}) {
		rt.Fatalf("the payment is %s, answered %v", p.State, w.answers)
	}
	for n, answers := range w.asked {
		if answers != 1 {
			rt.Fatalf("refund %d has %d answers", n, answers)
		}
	}
	var ours, theirs int64
	for _, e := range w.log(w.order) {
		sign := int64(1)
		if e.Kind == api.BookRefund {
			sign = -1
		}
		ours += sign * e.Amount.Amount
	}
	for _, t := range w.trades {
		if t.State == api.TradePaid || t.Refunded.Amount > 0 {
			theirs += t.Amount.Amount - t.Refunded.Amount
		}
	}
	kept := int64(0)
	if p.State == api.PaymentPaid {
		kept = due - p.Refunded.Amount
	}
	if ours != kept || theirs != kept {
		rt.Fatalf("the %s payment keeps %d, the log says %d, the gateway %d", p.State, kept, ours,
			theirs)
	}
	for _, a := range p.Attempts {
		if a.State == api.AttemptOpen {
			rt.Fatalf("an attempt is open: %+v", a)
		}
	}
}

// ACCEPT E2 Y2 Y4 Y9: whatever the order of clicks, payments, notices, queries,
// closes, deadlines, refunds and repeats, the payment is paid once or closed
// once and says so once, and what came without paying goes back.
func TestAnyInterleaving(t *testing.T) {
	b := newBench(t)
	ends := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		w := newRace(b)
		for range rapid.IntRange(0, 50).Draw(rt, "actions") {
			all := w.actions(rt)
			if rapid.IntRange(0, 7).Draw(rt, "end") > 0 { // else most orders end early
				delete(all, "cancel")
				delete(all, "close")
			}
			name := rapid.SampledFrom(slices.Sorted(maps.Keys(all))).Draw(rt, "action")
			all[name]()
			w.take(rt)
		}
		w.settle(rt)
		w.check(rt)
		ends[w.payment(w.order).State]++
		for _, kind := range w.incidents() {
			ends[kind]++
		}
	})
	for _, want := range []string{api.PaymentPaid, api.PaymentClosed, api.IncidentLate} {
		if ends[want] == 0 {
			t.Errorf("no run had %s: %v", want, ends)
		}
	}
	for _, never := range []string{api.IncidentUnknown, api.IncidentAmount, api.IncidentTrade,
		api.IncidentReturned} {
		if ends[never] > 0 {
			t.Errorf("%d runs had %s", ends[never], never)
		}
	}
}

// ACCEPT Y3: a malformed notice is refused with its place.
func TestBadNotices(t *testing.T) {
	b := newBench(t)
	a := b.page(b.collect())
	for place, change := range map[string]func(*api.Trade){
		"provider": func(m *api.Trade) { m.Provider = "" },
		"attempt":  func(m *api.Trade) { m.Attempt = strings.Repeat("a", 300) },
		"trade_no": func(m *api.Trade) { m.TradeNo = strings.Repeat("1", 300) },
		"ref":      func(m *api.Trade) { m.Ref = strings.Repeat("1", 300) },
		"amount":   func(m *api.Trade) { m.Amount.Amount = -1 },
		"refunded": func(m *api.Trade) { m.Refunded.Amount = api.MaxAmount + 1 },
		"paid_at":  func(m *api.Trade) { m.PaidAt = -1 },
		"state":    func(m *api.Trade) { m.State = "TRADE_SUCCESS" },
	} {
		bad := b.trade(a, api.TradePaid)
		change(&bad)
		r := b.Edge(b.next(), &api.NoteTrade{Trade: bad})
		if r.Refusal == nil || r.Refusal.Code != api.CodeInvalid || r.Refusal.Place != place {
			t.Errorf("%s: %+v", place, r.Refusal)
		}
	}
	b.want(a.Order, api.PaymentOpen)
}

// ACCEPT Y3: what does not fit the attempt is an incident, once, and changes
// nothing.
func TestMisfits(t *testing.T) {
	b := newBench(t)
	order := b.collect()
	a := b.page(order)
	for _, c := range []struct {
		kind   string
		change func(*api.Trade)
	}{
		{api.IncidentAmount, func(m *api.Trade) { m.Amount.Amount-- }},
		{api.IncidentAmount, func(m *api.Trade) { m.Amount.Currency = "EUR" }},
		{api.IncidentAmount, func(m *api.Trade) { m.Amount = api.Money{} }},
		{api.IncidentAmount, func(m *api.Trade) { m.Amount.Amount++; m.State = api.TradeClosed }},
		{api.IncidentUnknown, func(m *api.Trade) { m.Provider = api.PayStripe }},
		{api.IncidentUnknown, func(m *api.Trade) { m.Attempt = "another app's" }},
	} {
		bad := b.trade(a, api.TradePaid)
		c.change(&bad)
		before := b.incidents()
		for range 3 {
			if got := b.notice(bad); got != api.NotedIncident {
				t.Errorf("%+v is noted %s", bad, got)
			}
			b.wantAnswers()
		}
		b.wantIncidents(append(before, c.kind)...)
		b.want(order, api.PaymentOpen)
	}
	if got := b.pay(a); got != api.NotedPaid {
		t.Errorf("then the right one is %s", got)
	}
	b.wantKept(order, due)
}
