package order_test

import (
	"testing"

	"ordo/actors/actorstest"
	"ordo/api"
)

// short has goods answer that units could not be had when they were paid.
func (b *bench) short(m *api.SubmitOrder, units ...api.CartTake) {
	b.T.Helper()
	b.answer(result(m, "goods.sell", api.Sold{Short: units}))
}

// packed is a paid order whose parcel is made; goods has not answered yet.
func (b *bench) packed() *api.SubmitOrder {
	b.T.Helper()
	m := b.placed()
	b.pay(m)
	b.answer(result(m, "shipping.create", nil))
	return m
}

// asks has the shopper ask for a refund, which waits for support.
func (b *bench) asks(m *api.SubmitOrder, lines ...api.RefundLine) string {
	b.T.Helper()
	id := b.refundID()
	b.MustEdge(id, &api.AskRefund{ID: id, Order: m.Order, User: m.User, By: m.User, Lines: lines})
	return id
}

// shopRefund is the refund that the last message began by itself.
func (b *bench) shopRefund(m *api.SubmitOrder) api.Refund {
	b.T.Helper()
	var list api.RefundList
	if refusal := b.Ask(&api.ListRefunds{Order: m.Order}, &list); refusal != nil {
		b.T.Fatal(refusal)
	}
	r := list.Refunds[0]
	if c := actorstest.Only[api.CancelShipment](b.Actor); c.Occurrence != r.Number ||
		r.By != api.ByShop || r.Reason != "sold out" {
		b.T.Errorf("refund %+v, recalls %+v", r, c)
	}
	return r
}

// ACCEPT C6 Y9: units that could not be had are refunded once, by whichever
// refund of the SKU there is; when that ends without money, by the shop.
func TestLackingUnitsAreRefundedOnce(t *testing.T) {
	refused := map[string]any{"payment.refund": api.Refuse(api.CodeRefundRefused, "no")}
	one := api.RefundLine{Line: 0, Quantity: 1}
	t.Run("asked for, then denied", func(t *testing.T) {
		b := newBench(t)
		m := b.packed()
		id := b.asks(m, one)
		b.short(m, take("coat", 1))
		b.wantSent()
		b.MustEdge("deny", &api.DecideRefund{Refund: id, By: "usr_sup"})
		if r := b.shopRefund(m); len(r.Lines) != 1 || r.Lines[0].Quantity != 1 || !r.Lines[0].Keep {
			t.Errorf("refund is %+v", r)
		}
	})
	t.Run("asked for, then granted", func(t *testing.T) {
		b := newBench(t)
		m := b.packed()
		id := b.asks(m, one)
		b.short(m, take("coat", 1))
		b.MustEdge("grant", &api.DecideRefund{Refund: id, By: "usr_sup", Grant: true})
		b.answerAll(nil)
		if o := b.order(m); o.Lines[0].Refunded != 1 || o.Lines[0].Short != 1 {
			t.Errorf("order is %+v", o)
		}
		var list api.RefundList
		if b.Ask(&api.ListRefunds{Order: m.Order}, &list); len(list.Refunds) != 1 ||
			list.Refunds[0].State != api.RefundDone {
			t.Errorf("refunds are %+v", list.Refunds)
		}
	})
	t.Run("gone and without a seat", func(t *testing.T) {
		for _, sellFirst := range []bool{true, false} {
			b := newBench(t)
			m := b.draft()
			m.Lines = []api.ReserveLine{{SKU: "go", Quantity: 3, Price: gbp(1000)}}
			m.Coupon, m.Balance, m.Total = "", api.Money{}, gbp(3000)
			b.submit(m)
			r := reserved(m)
			r.Lines[0].Kind = api.KindCourse
			b.answer(result(m, "goods.reserve", r))
			b.pay(m)
			sell := result(m, "goods.sell", api.Sold{Short: []api.CartTake{take("go", 1)}})
			enrol := result(m, "learning.enrol", api.Enrolled{Refused: []api.CartTake{take("go", 2)}})
			if sellFirst {
				b.answer(sell)
				b.answer(enrol)
			} else {
				b.answer(enrol)
				b.answer(sell)
			}
			var list api.RefundList
			b.Ask(&api.ListRefunds{Order: m.Order}, &list)
			units, kept := int64(0), int64(0)
			for _, r := range list.Refunds {
				for _, l := range r.Lines {
					if units += l.Quantity; l.Keep {
						kept += l.Quantity
					}
				}
			}
			// What was short counts first, so the one that was there is not kept.
			if units != 2 || kept > 1 {
				t.Errorf("sold first %t: %d refunded, %d kept", sellFirst, units, kept)
			}
		}
	})
	t.Run("running, then refused by the gateway", func(t *testing.T) {
		b := newBench(t)
		m := b.packed()
		b.support(m, one)
		ask := b.asked() // before goods has answered
		b.short(m, take("coat", 1))
		b.wantSent()
		b.answer(&api.StepResult{Step: ask[0]})
		b.answer(&api.StepResult{Step: b.asked()[0], Refusal: api.Refuse(api.CodeRefundRefused, "no")})
		r := b.shopRefund(m)
		// The shop's own is not tried for ever; the order shows what it owes.
		b.answerAll(refused)
		if r = b.refund(r.ID); r.State != api.RefundFailed {
			t.Errorf("refund is %+v", r)
		}
		b.wantSent("order.refund-failed")
		if o := b.order(m); o.Lines[0].Refunded != 0 || o.Lines[0].Short != 1 {
			t.Errorf("order is %+v", o)
		}
	})
	t.Run("refunded before it was known", func(t *testing.T) {
		b := newBench(t)
		m := b.packed()
		b.support(m, one)
		b.short(m, take("coat", 1))
		b.wantSent()
		if o := b.order(m); o.Lines[0].Refunded != 1 {
			t.Errorf("order is %+v", o)
		}
	})
	t.Run("more than was refunded", func(t *testing.T) {
		b := newBench(t)
		m := b.packed()
		b.support(m, one)
		b.short(m, take("coat", 2), take("hat", 1))
		if r := b.shopRefund(m); len(r.Lines) != 2 || r.Lines[1].Quantity != 1 {
			t.Errorf("refund is %+v", r)
		}
	})
}

// A refund takes back what participants did only after they have said so: one
// whose message could not be handled does it later. ACCEPT S8 M5
func TestRefundWaitsForFulfilment(t *testing.T) {
	b := newBench(t)
	b.configure(0)
	m := b.placed()
	b.pay(m)
	id := b.support(m)
	b.wantSent()
	b.answer(result(m, "wallet.grant", nil))
	b.wantSent()
	b.answer(result(m, "shipping.create", nil))
	b.wantSent("shipping/cancel")
	b.recalled(m, 1, take("coat", 2), take("hat", 1))
	b.wantSent("payment/refund")
	b.answer(&api.StepResult{Step: api.Step{Order: m.Order, Name: "payment.refund", Occurrence: 1}})
	b.wantSent() // goods has not sold yet
	b.answer(result(m, "shipping.create", nil))
	b.wantSent() // told again
	if r := b.refund(id); r.State != api.RefundRunning {
		t.Errorf("refund is %+v", r)
	}
	b.answer(result(m, "goods.sell", nil))
	b.answerAll(nil)
	if r := b.refund(id); r.State != api.RefundDone {
		t.Errorf("refund is %+v", r)
	}
}

// The most refunds of an order, and the next one.
func TestRefundsOfAnOrderAreLimited(t *testing.T) {
	b := newBench(t)
	m := b.draft()
	m.Lines = []api.ReserveLine{{SKU: "nail", Quantity: 1000, Price: gbp(1)}}
	m.Coupon, m.Balance, m.Total = "", api.Money{}, gbp(1000)
	b.submit(m)
	b.reserve(m)
	b.pay(m)
	nail := api.RefundLine{Line: 0, Quantity: 1}
	for range 500 {
		id := b.asks(m, nail)
		b.MustEdge("deny-"+id, &api.DecideRefund{Refund: id, By: "s"})
	}
	id := b.refundID()
	r := b.Edge(id, &api.AskRefund{ID: id, Order: m.Order, By: "s", Reason: "r",
		Lines: []api.RefundLine{nail}})
	if r.Refusal == nil || r.Refusal.Code != api.CodeNotRefundable {
		t.Errorf("the 501st: %v", r.Refusal)
	}
}
