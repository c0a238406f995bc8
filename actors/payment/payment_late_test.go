package payment_test

import (
	"testing"
	"time"

	"ordo/api"
)

// Money that somebody took back at the gateway before the shop heard of it pays
// nothing, in whatever order the news come; the shopper may pay again.
func TestGoneBeforeItWasKnown(t *testing.T) {
	b := newBench(t)
	a := b.page(b.collect())
	gone := b.trade(a, api.TradeClosed)
	gone.Refunded = gbp(due)
	if got := b.notice(gone); got != api.NotedClosed {
		t.Errorf("a trade that was refunded whole is %s", got)
	}
	for range 2 {
		if got := b.pay(a); got != api.NotedIncident {
			t.Errorf("its late news of money is %s", got)
		}
	}
	b.wantAnswers()
	b.want(a.Order, api.PaymentOpen)
	b.wantIncidents(api.IncidentReturned)
	if got := b.pay(b.page(a.Order)); got != api.NotedPaid {
		t.Errorf("a second attempt is %s", got)
	}
	b.want(a.Order, api.PaymentPaid)
}

// Late money whose refund the gateway refused is settled when a person has sent
// it back there: by the gateway's notice, or by the outcome of a repeat.
func TestLateMoneyIsSentBackByAPerson(t *testing.T) {
	for name, tell := range map[string]func(b *bench, a api.Attempt, effect string){
		"notice": func(b *bench, a api.Attempt, _ string) {
			gone := b.trade(a, api.TradeClosed)
			gone.Refunded = gbp(due)
			b.notice(gone)
			b.notice(gone)
		},
		"outcome": func(b *bench, _ api.Attempt, effect string) {
			b.outcome(effect, api.RefundOutcome{Total: gbp(due)})
		},
	} {
		b := newBench(t)
		order := b.collect()
		a := b.page(order)
		b.close(order, true)
		b.pay(a)
		effect, _ := b.call()
		b.outcome(effect, api.RefundOutcome{Refusal: api.Refuse("ACQ.TRADE_STATUS_ERROR", "no")})
		b.wantKept(order, due)
		less := b.trade(a, api.TradePaid)
		less.Refunded = gbp(due - 1)
		b.notice(less) // not all of it
		b.wantKept(order, due)
		tell(b, a, effect)
		b.wantKept(order, 0)
		if log := b.log(order); len(log) != 2 || log[1].Kind != api.BookRefund ||
			log[1].Amount != gbp(due) {
			t.Errorf("%s: the log is %+v", name, log)
		}
		b.wantAnswers()
	}
}

// What does not fit ends no queries: the money may still come.
func TestAMisfitIsAskedAboutAgain(t *testing.T) {
	b := newBench(t)
	a := b.page(b.collect())
	for i, id := range []string{"qry-" + a.ID + "-1", "qry-" + a.ID + "-2"} {
		b.Advance(time.Hour / 2)
		b.Tick()
		b.wantEffects(id)
		odd := b.trade(a, api.TradePaid)
		odd.Amount = gbp(due - 1 - int64(i))
		b.outcome(id, odd)
	}
	b.Advance(time.Hour / 2)
	b.Tick()
	b.wantEffects("qry-" + a.ID + "-3")
	b.outcome("qry-"+a.ID+"-3", b.trade(a, api.TradePaid))
	b.want(a.Order, api.PaymentPaid)
}
