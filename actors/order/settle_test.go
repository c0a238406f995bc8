package order_test

import (
	"fmt"
	"testing"

	"ordo/actors/actorstest"
	"ordo/api"
)

// settle has a repair say what participants' files have of an order's steps, as
// name and state.
func (b *bench) settle(order string, found ...string) {
	b.T.Helper()
	m := &api.SettleOrder{Order: order}
	for i := 0; i < len(found); i += 2 {
		m.Found = append(m.Found, api.FoundStep{Name: found[i], State: found[i+1]})
	}
	b.MustEdge(fmt.Sprintf("settle-%s-%d", order, b.Now.UnixNano()), m)
}

// ACCEPT P9: a step whose answer was lost is asked for again, and so is an undo;
// the answers go on as if they came for the first time.
func TestSettleLostAnswers(t *testing.T) {
	b := newBench(t)
	m := b.full()
	b.submit(m)
	b.settle(m.Order, "goods.reserve", "")
	b.wantSent("goods/reserve")
	b.reserve(m)
	b.wantSent("coupon/redeem", "wallet/debit")
	b.settle(m.Order, "wallet.debit", "done", "coupon.redeem", "done")
	b.wantSent("coupon/redeem", "wallet/debit")
	b.redeem(m)
	b.debit(m)
	b.wantState(m, api.OrderPlaced)
	b.settle(m.Order, "payment.collect", "done")
	if c := actorstest.Only[api.CollectPayment](b.Actor); !c.Again || c.Amount != gbp(2000) {
		t.Errorf("collect %+v", c)
	}
	b.MustEdge("cancel", &api.CancelOrder{Order: m.Order, User: "usr_1", By: "usr_1"})
	b.settle(m.Order, "payment.collect", "undone")
	if c := actorstest.Only[api.ClosePayment](b.Actor); !c.Again {
		t.Errorf("close %+v", c)
	}
	b.closed(m)
	b.settle(m.Order, "goods.reserve", "done", "wallet.debit", "")
	b.wantSent("goods/release", "wallet/return-debit")
	b.answer(undone(m, "goods.reserve"))
	b.wantState(m, api.OrderCancelled)
}

// ACCEPT P9: what a participant has lost of a placed order it does again; an
// order that it can't do again is cancelled.
func TestSettlePlaced(t *testing.T) {
	b := newBench(t)
	m := b.placed()
	b.settle(m.Order, "goods.reserve", "")
	b.wantSent("goods/reserve")
	if r := actorstest.Only[api.ReserveStock](b.Actor); len(r.Lines) != 2 ||
		r.Lines[0].Price != gbp(1000) || r.Lines[0].Quantity != 2 {
		t.Errorf("reserve %+v", r)
	}
	b.reserve(m)
	b.wantSent()
	b.wantState(m, api.OrderPlaced)
	b.settle(m.Order, "goods.reserve", "")
	b.answer(result(m, "goods.reserve", api.Refuse(api.CodeOutOfStock, "gone")))
	b.wantSent("payment/close")
	b.closed(m)
	b.wantReason(m, api.OrderCancelled, api.CodeOutOfStock)

	// A participant that has undone what stands ends the order.
	other := b.placed()
	b.settle(other.Order, "goods.reserve", "undone")
	b.wantSent("payment/close")
	b.closed(other)
	b.wantReason(other, api.OrderCancelled, api.CodeCancelled)
}

// ACCEPT P9: a paid order is held and fulfilled again, in this order; what can't
// be is refunded.
func TestSettlePaid(t *testing.T) {
	b := newBench(t)
	m := b.placed()
	b.pay(m)
	b.answerAll(nil)
	b.settle(m.Order, "shipping.create", "", "goods.sell", "", "goods.reserve", "",
		"payment.collect", "")
	b.wantSent("goods/reserve", "payment/collect", "goods/sell", "shipping/create")
	b.reserve(m)
	b.answer(result(m, "goods.sell", api.Sold{}))
	b.answer(result(m, "shipping.create", nil))
	b.wantSent()
	b.settle(m.Order, "goods.reserve", "", "goods.sell", "")
	b.answer(result(m, "goods.reserve", api.Refuse(api.CodeOutOfStock, "gone")))
	b.wantSent("shipping/cancel")
	b.recalled(m, 1, take("coat", 2), take("hat", 1))
	b.wantSent("payment/refund")
	if r := actorstest.Only[api.RefundPayment](b.Actor); r.Amount != gbp(2500) {
		t.Errorf("refunded %s", r.Amount)
	}
}

// ACCEPT P9: a refund whose steps were lost has them done again, and ends once.
func TestSettleRefund(t *testing.T) {
	b := newBench(t)
	m := b.placed()
	b.pay(m)
	b.answerAll(nil)
	id := b.support(m)
	b.answerAll(nil)
	if r := b.refund(id); r.State != api.RefundDone {
		t.Fatalf("the refund is %s", r.State)
	}
	b.MustEdge("settle-refund", &api.SettleOrder{Order: m.Order, Found: []api.FoundStep{
		{Name: "goods.return", Occurrence: 1}, {Name: "payment.refund", Occurrence: 1}}})
	b.wantSent("payment/refund", "goods/return")
	if r := actorstest.Only[api.RefundPayment](b.Actor); r.Refund != id || !r.Again {
		t.Errorf("%+v", r)
	}
	before := b.refund(id)
	b.answerAll(nil)
	b.wantSent()
	if after := b.refund(id); after.Ended != before.Ended {
		t.Error("the refund has ended twice")
	}
}

// ACCEPT P9: what was done for an order that is over, or that this file does not
// know, is undone; the answers change nothing.
func TestSettleUnknown(t *testing.T) {
	b := newBench(t)
	b.settle("ord_lost", "goods.reserve", "done", "coupon.redeem", "done", "payment.collect", "asked",
		"goods.sell", "")
	b.wantSent("goods/release", "coupon/restore", "payment/close")
	if c := actorstest.Only[api.ClosePayment](b.Actor); !c.AtOnce || !c.Again || c.Order != "ord_lost" {
		t.Errorf("close %+v", c)
	}
	for _, undo := range []bool{false, true} {
		b.From("goods", &api.StepResult{Step: api.Step{Order: "ord_lost", Name: "goods.reserve"},
			Undo: undo})
		if len(b.Out.Dead) != 0 || len(b.Out.Sent) != 0 {
			t.Errorf("an answer about an unknown order: %+v", b.Out)
		}
	}
	m := b.draft()
	b.submit(m)
	b.answer(result(m, "goods.reserve", api.Refuse(api.CodeOutOfStock, "gone")))
	b.settle(m.Order, "wallet.debit", "done", "goods.reserve", "done")
	b.wantSent("goods/release", "wallet/return-debit")
	b.answer(undone(m, "wallet.debit"))
	b.wantState(m, api.OrderRefused)
}

// ACCEPT P9: a decision that the journal lacks is told again, and no other one.
func TestSettleJournal(t *testing.T) {
	b := newBench(t)
	m := b.placed()
	b.MustEdge("settle-1", &api.SettleOrder{Order: m.Order, Untold: "order.paid"})
	b.wantSent()
	b.MustEdge("settle-2", &api.SettleOrder{Order: m.Order, Untold: "order.placed"})
	b.wantSent("order.placed")
	for _, bad := range []*api.SettleOrder{{}, {Order: m.Order,
		Found: []api.FoundStep{{Name: "goods.gift"}}},
		{Order: "many", Found: make([]api.FoundStep, api.MaxFound+1)}} {
		r := b.Edge("bad-"+bad.Order, bad)
		if r.Refusal == nil || r.Refusal.Code != api.CodeInvalid {
			t.Errorf("%+v: %v", bad, r.Refusal)
		}
	}
}
