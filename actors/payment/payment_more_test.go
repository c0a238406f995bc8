package payment_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/api"
	"ordo/bus"
)

// ACCEPT E2: a payment without an open attempt is closed at once, once; one
// that was paid is left alone; a close before the collect keeps it closed.
func TestCloseWithoutTrade(t *testing.T) {
	b := newBench(t)
	order := b.collect()
	b.close(order, false)
	b.wantAnswers("undone")
	if r := actorstest.Only[api.StepResult](b.Actor); r.Step != step(order) {
		t.Errorf("answered %+v", r)
	}
	b.want(order, api.PaymentClosed)
	b.close(order, true)
	b.wantAnswers()
	paid := b.collect()
	b.pay(b.page(paid))
	for _, atOnce := range []bool{false, true} {
		b.close(paid, atOnce)
		b.wantAnswers()
	}
	b.want(paid, api.PaymentPaid)

	early := b.id(api.PrefixOrder)
	b.close(early, true)
	b.wantAnswers("undone")
	b.From("order", &api.CollectPayment{Step: step(early), User: "usr_1", Amount: gbp(due),
		ExpiresAt: api.TimeOf(b.Now.Add(time.Hour))})
	b.wantAnswers()
	b.want(early, api.PaymentClosed)
	b.close(early, true)
	b.wantAnswers()
}

// expire collects an order, opens a trade and closes the payment at its time
// limit.
func (b *bench) expire() (order string, a api.Attempt) {
	b.T.Helper()
	order = b.collect()
	a = b.page(order)
	b.Advance(15 * time.Minute)
	b.close(order, false)
	b.wantAnswers()
	b.wantEffects("cls-" + a.ID)
	b.want(order, api.PaymentClosing)
	return order, a
}

// ACCEPT E2: at expiry the trade is closed first; its outcome, or the money,
// decides, and the other changes nothing.
func TestExpiry(t *testing.T) {
	b := newBench(t)
	order, a := b.expire()
	if r := b.Edge(b.next(), b.click(order, a.Provider, a.Product)); r.Refusal == nil ||
		r.Refusal.Code != api.CodeNotPayable {
		t.Errorf("opened while closing: %+v", r)
	}
	b.outcome("cls-"+a.ID, b.trade(a, api.TradeClosed))
	b.wantAnswers("undone")
	b.want(order, api.PaymentClosed)
	if got := b.pay(a); got != api.NotedRefunded {
		t.Errorf("late money is %s", got)
	}

	order, a = b.expire()
	b.outcome("cls-"+a.ID, b.trade(a, api.TradePaid))
	b.wantAnswers("done")
	b.want(order, api.PaymentPaid)

	order, a = b.expire()
	if got := b.pay(a); got != api.NotedPaid {
		t.Errorf("money while closing is %s", got)
	}
	b.wantAnswers("done")
	b.outcome("cls-"+a.ID, b.trade(a, api.TradeClosed))
	b.wantAnswers()
	b.want(order, api.PaymentPaid)
	b.Advance(time.Hour)
	b.Tick()
	b.wantAnswers()
}

// ACCEPT E2: what becomes of replaced attempts does not end a closing payment
// whose open one may still be paid.
func TestReplacedWhileClosing(t *testing.T) {
	b := newBench(t)
	order := b.collect()
	page := b.page(order)
	qr := b.open(order, api.PayAlipay, api.ProductQR)
	app := b.open(order, api.PayAlipay, api.ProductApp)
	b.close(order, false)
	b.wantEffects("cls-" + app.ID)
	if len(b.Out.Timers) != 0 {
		t.Errorf("a timer of a class of its own: %+v", b.Out.Timers)
	}
	b.outcome("cls-"+page.ID, b.trade(page, api.TradeClosed))
	b.wantAnswers()
	b.outcome("open-"+qr.ID, api.Opened{Refusal: api.Refuse("ACQ.NO", "no")})
	b.wantAnswers()
	b.want(order, api.PaymentClosing)
	b.close(order, false)
	b.wantAnswers()
	b.close(order, true)
	b.wantAnswers("undone")
	if a := b.attempt(app.ID); a.State != api.AttemptClosed || a.ClosedAt == 0 {
		t.Errorf("the attempt is %+v", a)
	}
}

// ACCEPT E2: a trade that does not exist may still be paid by its link until
// its time and the margin are over; the timer releases, or the sweep.
func TestRelease(t *testing.T) {
	for name, outcome := range map[string]string{"none": api.TradeNone, "unknown": ""} {
		b := newBench(t)
		order, a := b.expire()
		if len(b.Out.Timers) != 1 || b.Out.Timers[0].Class != "release-60s" {
			t.Errorf("%s: timers %+v", name, b.Out.Timers)
		}
		if outcome != "" {
			b.outcome("cls-"+a.ID, b.trade(a, outcome))
			b.wantAnswers()
		}
		b.MustEdge("early", &api.ReleasePayment{Order: order})
		b.wantAnswers()
		b.Advance(30 * time.Second)
		b.Tick() // asks, in case money has come
		b.wantEffects("qry-" + a.ID + "-1")
		b.want(order, api.PaymentClosing)
		b.Advance(30 * time.Second)
		if outcome == "" {
			b.Tick()
		} else {
			b.MustEdge("release", &api.ReleasePayment{Order: order})
		}
		b.wantAnswers("undone")
		b.want(order, api.PaymentClosed)
		b.MustEdge("again", &api.ReleasePayment{Order: order})
		b.wantAnswers()
		b.outcome("qry-"+a.ID+"-1", b.trade(a, api.TradePaid))
		b.wantAnswers()
		b.wantEffects(b.backEffect(a))
		b.want(order, api.PaymentClosed)
	}
}

// backEffect is the effect that sends late money of an attempt back.
func (b *bench) backEffect(a api.Attempt) string {
	return "rfd-" + api.DeriveID(api.PrefixRefund, a.OpenedAt.Std(),
		"late/"+a.Provider+"/"+a.ID+"/"+b.trade(a, api.TradePaid).TradeNo)
}

// ACCEPT Y4 E2: money after a cancel is booked, refunded once and reported; the
// gateway's TRADE_CLOSED after it changes nothing.
func TestLatePayment(t *testing.T) {
	b := newBench(t)
	order := b.collect()
	a := b.page(order)
	b.close(order, true)
	b.wantAnswers("undone")
	b.wantEffects("cls-" + a.ID)
	b.outcome("cls-"+a.ID, b.trade(a, api.TradeNone))
	if got := b.pay(a); got != api.NotedRefunded {
		t.Errorf("noted %s", got)
	}
	b.wantAnswers()
	effect, c := b.call()
	if effect != b.backEffect(a) || c.RefundAmount != gbp(due) || c.Attempt.ID != a.ID ||
		"rfd-"+c.Refund != effect || c.Attempt.TradeNo == "" {
		t.Errorf("%s calls with %+v", effect, c)
	}
	if got := b.eventTypes(); !reflect.DeepEqual(got, []string{api.EventPaymentLate}) {
		t.Errorf("emitted %v", got)
	}
	if got := b.pay(a); got != api.NotedRefunded {
		t.Errorf("again: %s", got)
	}
	b.wantEffects()
	b.outcome(effect, api.RefundOutcome{Total: gbp(due)})
	if got := b.eventTypes(); !reflect.DeepEqual(got, []string{api.EventPaymentRefunded}) {
		t.Errorf("emitted %v", got)
	}
	b.wantAnswers()
	gone := b.trade(a, api.TradeClosed)
	gone.Refunded = gbp(due)
	if got := b.notice(gone); got != api.NotedNothing {
		t.Errorf("closed after the refund: %s", got)
	}
	b.wantKept(order, 0)
	b.wantIncidents(api.IncidentLate)
	if p := b.payment(order); p.State != api.PaymentClosed || p.Refunded != gbp(0) {
		t.Errorf("the payment is %+v", p)
	}
}

// ACCEPT Y4: an order that is paid twice, on two attempts or by two trades,
// gives the second one back; a trade belongs to one attempt.
func TestDoublePayment(t *testing.T) {
	b := newBench(t)
	order := b.collect()
	first := b.page(order)
	second := b.open(order, api.PayAlipay, api.ProductApp)
	b.pay(first)
	b.wantAnswers("done")
	b.wantEffects("cls-" + second.ID)
	b.outcome("cls-"+second.ID, b.trade(second, api.TradePaid))
	b.wantAnswers()
	b.wantEffects(b.backEffect(second))
	other := b.trade(first, api.TradePaid)
	other.TradeNo = "another"
	for range 2 {
		if got := b.notice(other); got != api.NotedRefunded {
			t.Errorf("a second trade is %s", got)
		}
	}
	b.wantEffects()
	if got := b.pay(first); got != api.NotedPaid {
		t.Errorf("the first trade again is %s", got)
	}
	b.wantIncidents(api.IncidentDouble, api.IncidentTrade)
	b.wantKept(order, 3*due) // until the refunds are done
	third := b.trade(b.page(b.collect()), api.TradePaid)
	third.TradeNo = "another"
	if got := b.notice(third); got != api.NotedIncident {
		t.Errorf("another attempt's trade is %s", got)
	}
	b.wantAnswers()
}

// ACCEPT Y4: a refund that nobody asked for is reported once.
func TestUnknownRefund(t *testing.T) {
	b := newBench(t)
	a := b.page(b.collect())
	b.pay(a)
	some := b.trade(a, api.TradePaid)
	some.Refunded = gbp(100)
	b.notice(some)
	b.notice(some)
	gone := b.trade(a, api.TradeClosed)
	gone.Refunded = gbp(due)
	b.notice(gone)
	b.wantIncidents(api.IncidentReturned, api.IncidentReturned)
	b.want(a.Order, api.PaymentPaid)
}

// ACCEPT Y8: an open attempt is asked about after 15 s, then twice as long each
// time, to 10 minutes; one query at a time; none when it is decided.
func TestQueryBackoff(t *testing.T) {
	b := newBench(t)
	b.MustEdge("rules", &api.ConfigurePayments{MarginSeconds: 120, QuerySeconds: 15})
	order := b.id(api.PrefixOrder)
	b.From("order", &api.CollectPayment{Step: step(order), User: "usr_1", Amount: gbp(due),
		ExpiresAt: api.TimeOf(b.Now.Add(2 * time.Hour))})
	a := b.page(order)
	for i, wait := range []int{15, 30, 60, 120, 240, 480, 600, 600} {
		b.Advance(time.Duration(wait)*time.Second - 20*time.Millisecond)
		b.Tick()
		b.wantEffects()
		b.Advance(20 * time.Millisecond)
		b.Tick()
		id := fmt.Sprintf("qry-%s-%d", a.ID, i+1)
		b.wantEffects(id)
		b.Advance(time.Second)
		b.Tick()
		b.wantEffects() // while one is under way
		state := []string{api.TradeNone, api.TradeWaiting}[i%2]
		b.outcome(id, b.trade(a, state))
		b.wantAnswers()
	}
	b.close(order, true) // the link is good for a while
	b.outcome("cls-"+a.ID, b.trade(a, api.TradeNone))
	b.Advance(2 * time.Hour)
	b.Tick()
	b.wantEffects("qry-" + a.ID + "-9")
	b.outcome("qry-"+a.ID+"-9", b.trade(a, api.TradeNone))
	b.Advance(48 * time.Hour)
	b.Tick()
	b.wantEffects() // nothing can come any more
}

// ACCEPT Y7 Y8: a trade that the gateway closed lets the shopper try again.
func TestClosedByGateway(t *testing.T) {
	b := newBench(t)
	order := b.collect()
	a := b.page(order)
	if got := b.notice(b.trade(a, api.TradeWaiting)); got != api.NotedNothing {
		t.Errorf("a waiting trade is %s", got)
	}
	for range 2 {
		if got := b.notice(b.trade(a, api.TradeClosed)); got != api.NotedClosed {
			t.Errorf("a closed trade is %s", got)
		}
		b.wantAnswers()
	}
	b.want(order, api.PaymentOpen)
	if again := b.page(order); again.ID == a.ID {
		t.Error("the closed attempt was given again")
	}
	if got := b.pay(a); got != api.NotedPaid { // an older notice, out of order
		t.Errorf("money on the closed trade is %s", got)
	}
	b.wantAnswers("done")
	b.wantKept(order, due)
}

const orderReason = "too small"

func (b *bench) refund(order string, n int, amount api.Money) (number string) {
	b.T.Helper()
	number = fmt.Sprintf("rfd_%s_%d", order[4:], n)
	b.From("order", &api.RefundPayment{Step: api.Step{Order: order, Name: "payment.refund",
		Occurrence: n}, Refund: number, Amount: amount, Reason: orderReason})
	return number
}

// ACCEPT Y9: refunds reserve, are done once each and never exceed what was
// paid; one that the gateway refuses frees what it reserved.
func TestRefunds(t *testing.T) {
	b := newBench(t)
	order := b.collect()
	a := b.page(order)
	b.refund(order, 1, gbp(1))
	b.wantAnswers("refused") // nothing was paid
	b.pay(a)
	first := b.refund(order, 2, gbp(1500))
	b.wantAnswers()
	if id, c := b.call(); id != "rfd-"+first || c.Refund != first || c.RefundAmount != gbp(1500) ||
		c.Reason != orderReason || c.Attempt.TradeNo != "2026"+a.ID {
		t.Errorf("%s of %+v", id, c)
	}
	b.refund(order, 2, gbp(1500))
	b.wantAnswers()
	b.wantEffects()
	for n, amount := range map[int]api.Money{3: gbp(701), 4: gbp(0), 5: gbp(-1),
		6: {Amount: 1, Currency: "EUR"}} {
		b.refund(order, n, amount)
		b.wantAnswers("refused")
		r := actorstest.Only[api.StepResult](b.Actor)
		if r.Refusal.Code != api.CodeRefundRefused || r.Occurrence != n {
			t.Errorf("refund of %s: %+v", amount, r)
		}
		b.wantEffects()
	}
	b.outcome("rfd-"+first, api.RefundOutcome{Total: gbp(1500)})
	b.wantAnswers("done")
	b.outcome("rfd-"+first, api.RefundOutcome{Total: gbp(1600)}) // told again, later
	b.wantAnswers()
	second := b.refund(order, 7, gbp(700))
	b.outcome("rfd-"+second, api.RefundOutcome{Refusal: api.Refuse("ACQ.SELLER_BALANCE_NOT_ENOUGH",
		"the seller has no money")})
	b.wantAnswers("refused")
	b.outcome("rfd-"+second, api.RefundOutcome{})
	b.wantAnswers()
	b.wantKept(order, due-1500)
	third := b.refund(order, 8, gbp(700))
	b.outcome("rfd-"+third, api.RefundOutcome{Total: gbp(due)})
	b.wantAnswers("done")
	if got := b.eventTypes(); !reflect.DeepEqual(got, []string{api.EventPaymentRefunded}) {
		t.Errorf("emitted %v", got)
	}
	if p := b.payment(order); p.Refunded != gbp(due) || p.State != api.PaymentPaid {
		t.Errorf("the payment is %+v", p)
	}
	b.wantKept(order, 0)
	b.wantIncidents(api.IncidentRefund, api.IncidentReturned) // a no, and then it was done
	b.refund(order, 8, gbp(699))                              // the number is another refund's
	if len(b.Out.Dead) != 1 {
		t.Error("another refund under a known number was taken")
	}
}

// ACCEPT Y3: forged notices are kept one by one up to a limit and then counted;
// what they say is cut to size.
func TestForged(t *testing.T) {
	b := newBench(t)
	long := strings.Repeat("ü", 600)
	forged := func(kind string) *api.NoteIncident {
		return &api.NoteIncident{PaymentIncident: api.PaymentIncident{Kind: kind,
			Provider: "alipay", Attempt: long, Text: long, Amount: api.Money{Currency: long}}}
	}
	if r := b.Edge(b.next(), forged("late_payment")); r.Refusal == nil || r.Refusal.Place != "kind" {
		t.Errorf("another kind: %+v", r.Refusal)
	}
	const more = 25
	all := make([]actors.Delivery, api.MaxIncidents+more)
	for i := range all {
		all[i] = actors.Delivery{Subject: bus.MailboxSubject("payment", "incident"), ID: b.next(),
			Body: api.Raw(forged(api.IncidentForged))}
	}
	b.Apply(all...)
	seen := 0
	var list api.PaymentIncidentList
	q := api.ListPaymentIncidents{Kind: api.IncidentForged, Page: api.Page{Limit: api.MaxPage}}
	for ok := true; ok; ok = q.Cursor != "" {
		list = api.PaymentIncidentList{}
		if r := b.Ask(&q, &list); r != nil {
			t.Fatal(r)
		}
		seen, q.Cursor = seen+len(list.Incidents), list.Next
	}
	if seen != api.MaxIncidents || list.Forged != api.MaxIncidents+more {
		t.Errorf("%d are kept and %d counted", seen, list.Forged)
	}
	if n := len([]rune(list.Incidents[0].Text)); n != 500 {
		t.Errorf("a text has %d characters", n)
	}
}

// Settings out of their limits are refused and change nothing.
func TestConfigure(t *testing.T) {
	b := newBench(t)
	for place, m := range map[string]api.ConfigurePayments{
		"margin_seconds": {MarginSeconds: -1, QuerySeconds: 1},
		"query_seconds":  {MarginSeconds: 1, QuerySeconds: 0},
	} {
		if r := b.Edge(b.next(), &m); r.Refusal == nil || r.Refusal.Place != place {
			t.Errorf("%s: %+v", place, r.Refusal)
		}
	}
	b.MustEdge("rules", &api.ConfigurePayments{QuerySeconds: 24 * 3600})
	order := b.collect()
	b.page(order)
	b.Advance(time.Hour)
	b.Tick()
	b.wantEffects()
	b.close(order, false) // without a margin it ends at the time limit
	b.wantAnswers("undone")
}
