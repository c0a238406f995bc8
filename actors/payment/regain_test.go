package payment_test

import (
	"testing"
	"time"

	"ordo/actors/actorstest"
	"ordo/api"
)

// ACCEPT P9: a payment whose file has lost what paid its order is paid again by
// what the order says, once, and refunds go to that; nothing can be paid a second
// time.
func TestRegain(t *testing.T) {
	for _, c := range []struct {
		name string
		// before makes what the file knows of the order, and answers the attempt
		// that has paid it.
		before func(b *bench, order string) api.Attempt
		// effects are how many begin, incidents what is recorded.
		effects   int
		incidents []string
	}{
		{"unknown", func(b *bench, order string) api.Attempt { return b.lostAttempt(order) }, 0, nil},
		{"no attempt", func(b *bench, order string) api.Attempt {
			b.collectOf(order, nil)
			return b.lostAttempt(order)
		}, 0, nil},
		{"its attempt is open", func(b *bench, order string) api.Attempt {
			b.collectOf(order, nil)
			return b.page(order)
		}, 0, nil},
		{"another is open", func(b *bench, order string) api.Attempt {
			b.collectOf(order, nil)
			b.page(order)
			return b.lostAttempt(order)
		}, 1, nil},
		{"another has paid", func(b *bench, order string) api.Attempt {
			b.collectOf(order, nil)
			b.pay(b.page(order))
			return b.lostAttempt(order)
		}, 1, []string{api.IncidentDouble}},
	} {
		b := newBench(t)
		order := b.id(api.PrefixOrder)
		a := c.before(b, order)
		paid := &api.Paid{Attempt: a.ID, Provider: a.Provider, TradeNo: "2026lost", Amount: gbp(due),
			PaidAt: api.TimeOf(b.Now)}
		b.collectOf(order, paid)
		answers := []string{"done"} // which the order knows
		if c.incidents != nil {
			answers = nil
		}
		b.wantAnswers(answers...)
		if e := actorstest.Events(b.Actor); len(e) != 1 || e[0].ID != "pay/alipay/2026lost" {
			t.Errorf("%s: told %+v", c.name, e)
		}
		if n := len(b.Out.Effects); n != c.effects {
			t.Errorf("%s: began %d effects, want %d", c.name, n, c.effects)
		}
		b.collectOf(order, paid)
		b.wantAnswers()
		b.wantEffects()
		b.want(order, api.PaymentPaid)
		if got := b.incidents(); len(got) != len(c.incidents) {
			t.Errorf("%s: incidents %v", c.name, got)
		}
		if r := b.Edge(b.next(), b.click(order, api.PayAlipay, api.ProductQR)); r.Refusal == nil ||
			r.Refusal.Code != api.CodeNotPayable {
			t.Errorf("%s: may be paid again: %+v", c.name, r)
		}
		b.From("order", &api.RefundPayment{Step: api.Step{Order: order, Name: "payment.refund",
			Occurrence: 1}, Refund: b.id(api.PrefixRefund), Amount: gbp(due)})
		_, call := b.call()
		if double := len(c.incidents) > 0; (call.Attempt.ID == a.ID) == double {
			t.Errorf("%s: refunds %+v", c.name, call.Attempt)
		}
	}
}

// A refund that comes first says it as well: what was sent before a repair is
// sent again in its order.
func TestRegainByRefund(t *testing.T) {
	b := newBench(t)
	order := b.collect()
	b.page(order)
	lost := b.lostAttempt(order)
	b.From("order", &api.RefundPayment{Step: api.Step{Order: order, Name: "payment.refund",
		Occurrence: 1}, Refund: b.id(api.PrefixRefund), Amount: gbp(due), Paid: &api.Paid{
		Attempt: lost.ID, Provider: lost.Provider, TradeNo: "2026lost", Amount: gbp(due),
		PaidAt: api.TimeOf(b.Now)}})
	b.wantAnswers("done")
	b.want(order, api.PaymentPaid)
	if n := len(b.Out.Effects); n != 2 { // the open attempt is closed
		t.Errorf("began %d effects", n)
	}
}

// What can't be is a fault and changes nothing.
func TestRegainRefused(t *testing.T) {
	b := newBench(t)
	order, other := b.collect(), b.collect()
	a := b.page(order)
	paid := api.Paid{Attempt: a.ID, Provider: a.Provider, TradeNo: "2026lost", Amount: gbp(due),
		PaidAt: api.TimeOf(b.Now)}
	b.dies(other, paid)
	wrong := paid
	wrong.Amount = gbp(due + 1)
	b.dies(order, wrong)
	wrong = paid
	wrong.Provider = api.PayStripe
	b.dies(order, wrong)
	b.want(order, api.PaymentOpen)
	b.close(other, true)
	wrong = paid
	wrong.Attempt = b.id(api.PrefixPayment)
	b.dies(other, wrong)
	b.want(other, api.PaymentClosed)
}

// lostAttempt is one that the file does not know.
func (b *bench) lostAttempt(order string) api.Attempt {
	return api.Attempt{ID: b.id(api.PrefixPayment), Order: order, Provider: api.PayAlipay}
}

// collectOf has an order's amount collected, or says what has paid it.
func (b *bench) collectOf(order string, paid *api.Paid) {
	b.T.Helper()
	b.From("order", &api.CollectPayment{Step: step(order), User: "usr_1", Amount: gbp(due),
		ExpiresAt: api.TimeOf(b.Now.Add(15 * time.Minute)), Paid: paid})
	if len(b.Out.Dead) > 0 {
		b.T.Fatal(b.Out.Dead[0].Error)
	}
}

// dies checks that an order can't be said to be paid so.
func (b *bench) dies(order string, paid api.Paid) {
	b.T.Helper()
	b.From("order", &api.CollectPayment{Step: step(order), User: "usr_1", Amount: gbp(due),
		ExpiresAt: api.TimeOf(b.Now.Add(15 * time.Minute)), Paid: &paid})
	if len(b.Out.Dead) != 1 || len(actorstest.Sent[api.StepResult](b.Actor)) != 0 {
		b.T.Errorf("%+v was taken", paid)
	}
}
