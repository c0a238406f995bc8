package payment_test

import (
	"math/rand/v2"
	"testing"

	"ordo/actors/actorstest"
	"ordo/api"
)

// ACCEPT E2: a payment races the expiry of its order 1,000 times, with the
// gateway's word on the close in between. Each order hears once that it was
// paid or that it was closed, and what came too late goes back.
func TestPayRacesExpiry(t *testing.T) {
	b := newBench(t)
	r := rand.New(rand.NewPCG(3, 4))
	ends := map[string]int{}
	for range 1000 {
		order := b.collect()
		a := b.page(order)
		answers := 0
		count := func() { answers += len(actorstest.Sent[api.StepResult](b.Actor)) }
		state, asked, paid := api.TradeWaiting, false, r.IntN(5) > 0
		moves := []func(){
			func() { b.close(order, r.IntN(3) == 0); count(); asked = true },
			func() {
				if paid && state == api.TradeWaiting {
					state = api.TradePaid
					b.pay(a)
					count()
				}
			},
			func() {
				if !asked {
					return
				}
				if state == api.TradeWaiting {
					state = api.TradeClosed // the gateway's own decision
				}
				b.outcome("cls-"+a.ID, b.trade(a, state))
				count()
			},
		}
		for _, i := range r.Perm(len(moves)) {
			moves[i]()
		}
		for range 2 { // what was too early is done, and all is told again
			for _, move := range moves {
				move()
			}
		}
		if answers != 1 {
			t.Fatalf("order %s was answered %d times", order, answers)
		}
		end := b.payment(order).State
		ends[end+" "+state]++
		for _, e := range b.log(order) {
			if e.Kind == api.BookPay && end == api.PaymentClosed {
				ends["late"]++
			}
		}
		if (end == api.PaymentPaid) != (state == api.TradePaid) && end != api.PaymentClosed {
			t.Fatalf("the payment is %s, the trade %s", end, state)
		}
	}
	late := 0
	for _, kind := range allIncidents(b) {
		if kind == api.IncidentLate {
			late++
		}
	}
	if ends["paid paid"] == 0 || ends["closed closed"] == 0 || late == 0 || late != ends["late"] {
		t.Errorf("ends %v, %d late", ends, late)
	}
	t.Logf("ends %v", ends)
}

// allIncidents are the kinds of all incidents over all pages.
func allIncidents(b *bench) (kinds []string) {
	b.T.Helper()
	q := api.ListPaymentIncidents{Page: api.Page{Limit: api.MaxPage}}
	for {
		var list api.PaymentIncidentList
		if r := b.Ask(&q, &list); r != nil {
			b.T.Fatal(r)
		}
		for _, i := range list.Incidents {
			kinds = append(kinds, i.Kind)
		}
		if q.Cursor = list.Next; q.Cursor == "" {
			return kinds
		}
	}
}
