package order_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ordo/actors/actorstest"
	"ordo/api"
)

// answerAll has the participants do all steps that the last message asked for,
// and so on until nothing is asked any more. What is in say is answered
// instead of a plain done, by the step's name.
func (b *bench) answerAll(say map[string]any) {
	b.T.Helper()
	for queue := b.asked(); len(queue) > 0; {
		s := queue[0]
		queue = queue[1:]
		r := &api.StepResult{Step: s}
		switch v := say[s.Name].(type) {
		case nil:
		case *api.Error:
			r.Refusal = v
		default:
			r.Data = api.Raw(v)
		}
		b.answer(r)
		queue = append(queue, b.asked()...)
	}
}

// asked are the steps that the last message asked for; undone ones are
// answered at once.
func (b *bench) asked() (list []api.Step) {
	for _, s := range actorstest.Sent[api.SellStock](b.Actor) {
		list = append(list, s.Step)
	}
	for _, s := range actorstest.Sent[api.GrantPoints](b.Actor) {
		list = append(list, s.Step)
	}
	for _, s := range actorstest.Sent[api.Enrol](b.Actor) {
		list = append(list, s.Step)
	}
	for _, s := range actorstest.Sent[api.CreateShipment](b.Actor) {
		list = append(list, s.Step)
	}
	for _, s := range actorstest.Sent[api.RefundPayment](b.Actor) {
		list = append(list, s.Step)
	}
	for _, s := range actorstest.Sent[api.RefundBalance](b.Actor) {
		list = append(list, s.Step)
	}
	for _, s := range actorstest.Sent[api.RevokePoints](b.Actor) {
		list = append(list, s.Step)
	}
	for _, s := range actorstest.Sent[api.Withdraw](b.Actor) {
		list = append(list, s.Step)
	}
	for _, s := range actorstest.Sent[api.CancelShipment](b.Actor) {
		list = append(list, s.Step)
	}
	for _, s := range actorstest.Sent[api.ReturnStock](b.Actor) {
		list = append(list, s.Step)
	}
	return list
}

// configure sets 1 point a pound and the time in which refunds are granted.
func (b *bench) configure(refund time.Duration) {
	b.T.Helper()
	b.MustEdge(fmt.Sprint("configure-", refund, b.Now), &api.ConfigureOrders{Currency: "GBP",
		ExpirySeconds: 900, SubmitSeconds: 60, PointsPer: 100,
		RefundSeconds: int64(refund.Seconds())})
}

// paid has a full order with a coupon, balance and money paid and fulfilled.
func (b *bench) paid() *api.SubmitOrder {
	b.T.Helper()
	m := b.full()
	b.submit(m)
	b.reserve(m)
	b.redeem(m)
	b.debit(m)
	b.pay(m)
	b.answerAll(nil)
	b.wantState(m, api.OrderPaid)
	return m
}

func (b *bench) refundID() string {
	b.minted++
	return api.DeriveID(api.PrefixRefund, actorstest.Start, fmt.Sprint(b.minted))
}

// support asks for a refund as support does, which is granted at once.
func (b *bench) support(m *api.SubmitOrder, lines ...api.RefundLine) string {
	b.T.Helper()
	id := b.refundID()
	b.MustEdge(id, &api.AskRefund{ID: id, Order: m.Order, By: "usr_sup", Reason: "torn",
		Lines: lines})
	return id
}

func (b *bench) refund(id string) api.Refund {
	b.T.Helper()
	var r api.Refund
	if refusal := b.Ask(&api.GetRefund{ID: id}, &r); refusal != nil {
		b.T.Fatal(refusal)
	}
	return r
}

// ACCEPT Y6 L2 L3: money that comes has the order fulfilled: stock, points and
// shipment, and the order says which payment it was.
func TestPaidByMoney(t *testing.T) {
	b := newBench(t)
	b.configure(0)
	m := b.full()
	b.submit(m)
	b.reserve(m)
	b.redeem(m)
	b.debit(m)
	if c := actorstest.Only[api.CollectPayment](b.Actor); c.Amount != gbp(2000) ||
		c.User != m.User || c.ExpiresAt != b.order(m).ExpiresAt {
		t.Errorf("collects %+v", c)
	}
	b.pay(m)
	b.wantSent("goods/sell", "wallet/grant", "shipping/create", "order.paid")
	b.wantWoken(m, api.OrderPaid)
	if p := actorstest.Only[api.GrantPoints](b.Actor); p.Points != 22 || p.User != m.User {
		t.Errorf("grants %+v", p)
	}
	if s := actorstest.Only[api.CreateShipment](b.Actor); len(s.Lines) != 2 ||
		!reflect.DeepEqual(s.Address, m.Address) || s.Lines[0].Quantity != 2 {
		t.Errorf("ships %+v", s)
	}
	o := b.order(m)
	if o.TradeNo != "2026" || o.Attempt != "pay_1" || o.PaidAt == 0 || o.Points != 22 {
		t.Errorf("order is %+v", o)
	}
	b.pay(m)
	b.wantSent()
	b.MustEdge("expire", &api.ExpireOrder{Order: m.Order})
	b.wantSent()
	r := b.Edge("cancel", &api.CancelOrder{Order: m.Order, User: m.User, By: m.User})
	if r.Refusal == nil || r.Refusal.Code != api.CodeNotCancellable {
		t.Errorf("cancel of a paid order: %v", r.Refusal)
	}
}

// ACCEPT E2: an order that is closing is paid after all when the payment actor
// says so, and then nothing is undone.
func TestPaidWhileClosing(t *testing.T) {
	b := newBench(t)
	m := b.placed()
	b.Now = b.order(m).ExpiresAt.Std()
	b.Tick()
	b.wantState(m, api.OrderClosing)
	b.pay(m)
	b.wantSent("goods/sell", "shipping/create", "order.paid")
	if o := b.wantState(m, api.OrderPaid); o.Reason != nil {
		t.Errorf("order is %+v", o)
	}
}

// ACCEPT E4 E2: a cancel that the payment wins is kept in the journal, with who
// wanted it and why; the end of the time to pay is not.
func TestCancelFailed(t *testing.T) {
	b := newBench(t)
	m := b.placed()
	b.MustEdge("cancel", &api.CancelOrder{Order: m.Order, By: "usr_sup", Reason: "wrong price"})
	b.wantState(m, api.OrderClosing)
	b.pay(m)
	b.wantSent("order.cancel-failed", "goods/sell", "shipping/create", "order.paid")
	e := actorstest.Events(b.Actor)[0]
	if got := (&api.JournalEntry{Event: e}).Intervention(); got.By != "usr_sup" ||
		got.Reason != "wrong price" || e.Order != m.Order || e.User != m.User {
		t.Errorf("the event is %+v, %s", e, e.Data)
	}
	if o := b.wantState(m, api.OrderPaid); o.Reason != nil {
		t.Errorf("order is %+v", o)
	}
}

// A payment of another amount is a fault, and pays nothing.
func TestPaidWithAnotherAmount(t *testing.T) {
	b := newBench(t)
	m := b.placed()
	b.From("payment", result(m, "payment.collect", api.Paid{Amount: gbp(1)}))
	if len(b.Out.Dead) != 1 {
		t.Errorf("%d dead letters", len(b.Out.Dead))
	}
	b.wantState(m, api.OrderPlaced)
}

// ACCEPT Y9 L2: a whole refund gives back money first, then everything else,
// and opens the coupon again.
func TestWholeRefund(t *testing.T) {
	b := newBench(t)
	b.configure(0)
	m := b.paid()
	id := b.support(m)
	b.wantSent("shipping/cancel")
	b.recalled(m, 1, take("coat", 2), take("hat", 1))
	b.wantSent("payment/refund")
	if p := actorstest.Only[api.RefundPayment](b.Actor); p.Amount != gbp(2000) ||
		p.Refund != id || p.Occurrence != 1 || p.Reason != "torn" {
		t.Errorf("refunds %+v", p)
	}
	b.answer(&api.StepResult{Step: api.Step{Order: m.Order, Name: "payment.refund", Occurrence: 1}})
	b.wantSent("wallet/refund", "wallet/revoke", "goods/return")
	b.wantReturned(api.ReturnLine{SKU: "coat", Quantity: 2}, api.ReturnLine{SKU: "hat", Quantity: 1})
	if r := b.refund(id); r.State != api.RefundRunning {
		t.Errorf("refund is %+v", r)
	}
	b.answerAll(nil)
	b.wantSent("coupon/restore", "order.refunded")
	b.answer(undone(m, "coupon.redeem"))
	r := b.refund(id)
	if r.State != api.RefundDone || r.Amount != gbp(2200) || r.Money != gbp(2000) ||
		r.Balance != gbp(200) || r.Points != 22 || r.Coupon != "cpn_1" || r.Ended == 0 {
		t.Errorf("refund is %+v", r)
	}
	if o := b.wantState(m, api.OrderPaid); o.Refunded != gbp(2200) {
		t.Errorf("order is %+v", o)
	}
	e := b.Edge("again", &api.AskRefund{ID: b.refundID(), Order: m.Order, By: "s", Reason: "x"})
	if e.Refusal == nil || e.Refusal.Code != api.CodeRefundTooMuch {
		t.Errorf("a refund of nothing: %v", e.Refusal)
	}
}

// ACCEPT Y9: the gateway's no leaves everything as it was, and the units can
// be refunded again.
func TestRefundRefusedByGateway(t *testing.T) {
	b := newBench(t)
	b.configure(0)
	m := b.paid()
	before := b.order(m)
	id := b.support(m)
	b.answerAll(map[string]any{"payment.refund": api.Refuse(api.CodeRefundRefused, "no")})
	b.wantSent("order.refund-failed")
	if r := b.refund(id); r.State != api.RefundFailed || r.Problem == nil {
		t.Errorf("refund is %+v", r)
	}
	if o := b.order(m); !reflect.DeepEqual(o, before) {
		t.Errorf("order is %+v, was %+v", o, before)
	}
	again := b.support(m)
	b.answerAll(nil)
	if r := b.refund(again); r.State != api.RefundDone || r.Number != 2 || r.Amount != gbp(2200) {
		t.Errorf("refund is %+v", r)
	}
}

// ACCEPT Y9 U4: a shopper's refund is granted at once within the time, and
// waits for support after it.
func TestShopperAsks(t *testing.T) {
	b := newBench(t)
	b.configure(time.Hour)
	m := b.paid()
	ask := func(lines ...api.RefundLine) api.Refund {
		id := b.refundID()
		b.MustEdge(id, &api.AskRefund{ID: id, Order: m.Order, User: m.User, By: m.User,
			Lines: lines})
		return b.refund(id)
	}
	if r := ask(api.RefundLine{Line: 1, Quantity: 1}); r.State != api.RefundRunning ||
		r.DecidedBy != api.ByShop || r.Lines[0].SKU != "hat" {
		t.Errorf("in time: %+v", r)
	}
	b.answerAll(nil)
	b.Advance(time.Hour)
	one, two := ask(api.RefundLine{Line: 0, Quantity: 1}), ask(api.RefundLine{Line: 0, Quantity: 1})
	b.wantSent("order.refund-asked")
	if one.State != api.RefundAsked || two.State != api.RefundAsked {
		t.Errorf("late: %+v, %+v", one, two)
	}
	b.MustEdge("deny", &api.DecideRefund{Refund: one.ID, By: "usr_sup", Note: "worn"})
	b.wantSent("order.refund-denied")
	b.MustEdge("deny-2", &api.DecideRefund{Refund: one.ID, By: "usr_sup"})
	b.wantSent()
	e := b.Edge("grant-denied", &api.DecideRefund{Refund: one.ID, By: "usr_sup", Grant: true})
	if e.Refusal == nil || e.Refusal.Code != api.CodeNotRefundable {
		t.Errorf("grant after deny: %v", e.Refusal)
	}
	b.MustEdge("grant", &api.DecideRefund{Refund: two.ID, By: "usr_sup", Grant: true})
	b.wantSent("shipping/cancel")
	b.answerAll(nil)
	if r := b.refund(two.ID); r.State != api.RefundDone || r.DecidedBy != "usr_sup" {
		t.Errorf("granted: %+v", r)
	}
	// The hat and the second coat; the first one is free again.
	if o := b.order(m); o.Refunded.Amount != 440+b.refund(two.ID).Amount.Amount {
		t.Errorf("order has refunded %s", o.Refunded)
	}
	if r := ask(); len(r.Lines) != 1 || r.Lines[0].Quantity != 1 {
		t.Errorf("the rest is %+v", r)
	}
}

// ACCEPT C6 L1: what could not be had when it was paid is refunded by the shop.
func TestLackingIsRefunded(t *testing.T) {
	b := newBench(t)
	m := b.packed()
	sell := result(m, "goods.sell", api.Sold{Short: []api.CartTake{{SKU: "coat", Quantity: 1}}})
	b.answer(sell)
	b.wantSent("shipping/cancel")
	b.recalled(m, 1, take("coat", 1))
	b.wantSent("payment/refund")
	p := actorstest.Only[api.RefundPayment](b.Actor)
	if p.Amount != gbp(1000) || p.Occurrence != 1 {
		t.Errorf("refunds %+v", p)
	}
	b.answer(sell)
	b.wantSent()
	if r := b.refund(p.Refund); r.By != api.ByShop || r.Reason != "sold out" {
		t.Errorf("refund is %+v", r)
	}
}

func TestBadRefunds(t *testing.T) {
	b := newBench(t)
	m, placed := b.paid(), b.placed()
	many := make([]api.RefundLine, api.MaxLines+1)
	known := b.support(m, api.RefundLine{Line: 1, Quantity: 1})
	before := b.order(m)
	for i, c := range []struct {
		m     api.AskRefund
		code  api.Code
		place string
	}{
		{api.AskRefund{ID: "rfd_1"}, api.CodeInvalid, "id"},
		{api.AskRefund{Order: "ord_none"}, api.CodeNotFound, ""},
		{api.AskRefund{User: "usr_2"}, api.CodeNotFound, ""},
		{api.AskRefund{Order: placed.Order}, api.CodeNotRefundable, ""},
		{api.AskRefund{Reason: " "}, api.CodeInvalid, "reason"},
		{api.AskRefund{Reason: strings.Repeat("x", 501)}, api.CodeInvalid, "reason"},
		{api.AskRefund{By: strings.Repeat("x", 65)}, api.CodeInvalid, "by"},
		{api.AskRefund{Lines: many}, api.CodeTooLarge, "lines"},
		{api.AskRefund{ID: known, Order: placed.Order}, api.CodeIDReused, "id"},
		{api.AskRefund{Lines: []api.RefundLine{{Line: 2, Quantity: 1}}}, api.CodeInvalid,
			"lines[0].line"},
		{api.AskRefund{Lines: []api.RefundLine{{Line: -1, Quantity: 1}}}, api.CodeInvalid,
			"lines[0].line"},
		{api.AskRefund{Lines: []api.RefundLine{{SKU: "hat", Quantity: 1}}}, api.CodeInvalid,
			"lines[0].sku"},
		{api.AskRefund{Lines: []api.RefundLine{{Quantity: 0}}}, api.CodeInvalid,
			"lines[0].quantity"},
		{api.AskRefund{Lines: []api.RefundLine{{Quantity: 3}}}, api.CodeRefundTooMuch, "lines"},
		{api.AskRefund{Lines: []api.RefundLine{{Quantity: 2}, {Quantity: 1}}},
			api.CodeRefundTooMuch, "lines"},
		{api.AskRefund{Lines: []api.RefundLine{{Line: 1, Quantity: 1}}}, api.CodeRefundTooMuch,
			"lines"},
	} {
		if c.m.ID == "" {
			c.m.ID = b.refundID()
		}
		if c.m.Order == "" {
			c.m.Order = m.Order
		}
		if c.m.By == "" {
			c.m.By = "usr_sup"
		}
		if c.m.Reason == "" {
			c.m.Reason = "because"
		}
		e := b.Edge(fmt.Sprint("bad-", i), &c.m)
		if e.Refusal == nil || e.Refusal.Code != c.code || e.Refusal.Place != c.place {
			t.Errorf("%+v: %v, want %s at %q", c.m, e.Refusal, c.code, c.place)
		}
		b.wantSent()
	}
	if o := b.order(m); !reflect.DeepEqual(o, before) {
		t.Errorf("order is %+v, was %+v", o, before)
	}
	e := b.Edge("none", &api.DecideRefund{Refund: "rfd_none", By: "s"})
	if e.Refusal == nil || e.Refusal.Code != api.CodeNotFound {
		t.Errorf("deciding nothing: %v", e.Refusal)
	}
	var list api.RefundList
	if b.Ask(&api.ListRefunds{Order: m.Order}, &list); len(list.Refunds) != 1 ||
		list.Refunds[0].ID != known {
		t.Errorf("refunds are %+v", list)
	}
}

// ACCEPT S10 Y9: whatever the lines, prices and discount, and in whatever
// groups units are refunded, some denied and some refused by the gateway: all
// refunds add up to what was paid, to the unit, and none is negative.
func TestRefundsAddUp(t *testing.T) {
	b := newBench(t)
	b.configure(0)
	rapid.Check(t, func(rt *rapid.T) { b.refundInGroups(rt) })
}

func (b *bench) refundInGroups(rt *rapid.T) {
	m := b.draft()
	m.Lines = nil
	var subtotal int64
	for i := range rapid.IntRange(1, 5).Draw(rt, "lines") {
		l := api.ReserveLine{SKU: fmt.Sprint("s", i), Quantity: rapid.Int64Range(1, 6).Draw(rt, "n"),
			Price: gbp(rapid.SampledFrom([]int64{0, 1, 2, 3, 7, 99, 333, 100_003}).Draw(rt, "price"))}
		m.Lines = append(m.Lines, l)
		subtotal += l.Price.Amount * l.Quantity
	}
	discount := rapid.Int64Range(0, subtotal).Draw(rt, "discount")
	m.Coupon, m.Total = "cpn_1", gbp(subtotal-discount)
	m.Balance = gbp(rapid.Int64Range(0, m.Total.Amount).Draw(rt, "balance"))
	b.submit(m)
	b.reserve(m)
	b.answer(result(m, "coupon.redeem", api.Redeemed{Discount: gbp(discount)}))
	if m.Balance.Amount > 0 {
		b.debit(m)
	}
	if b.order(m).Due.Amount > 0 {
		b.pay(m)
	}
	b.answerAll(nil)
	var money, balance, points int64
	for range 200 {
		o := b.order(m)
		var lines []api.RefundLine
		for i, l := range o.Lines {
			if left := l.Quantity - l.Refunded; left > 0 && rapid.Bool().Draw(rt, "take") {
				lines = append(lines, api.RefundLine{Line: i,
					Quantity: rapid.Int64Range(1, left).Draw(rt, "units")})
			}
		}
		id := b.refundID()
		e := b.Edge(id, &api.AskRefund{ID: id, Order: m.Order, By: "s", Reason: "r", Lines: lines})
		if e.Refusal != nil {
			break // nothing is left
		}
		r := b.refund(id)
		say := map[string]any{}
		if r.Money.Amount > 0 && rapid.IntRange(0, 3).Draw(rt, "refused") == 0 {
			say["payment.refund"] = api.Refuse(api.CodeRefundRefused, "no")
		}
		b.answerAll(say)
		if r = b.refund(id); r.State == api.RefundDone {
			money, balance, points = money+r.Money.Amount, balance+r.Balance.Amount, points+r.Points
		}
		if r.Money.Amount < 0 || r.Balance.Amount < 0 || r.Points < 0 {
			rt.Fatalf("refund is %+v", r)
		}
	}
	o := b.order(m)
	if money != o.Due.Amount || balance != o.Balance.Amount || points != o.Points ||
		o.Refunded != o.Total {
		rt.Fatalf("given back %d, %d and %d points of %+v", money, balance, points, o)
	}
	if steps := b.states(m); !strings.Contains(steps, "coupon.redeem=undoing") {
		rt.Fatalf("the coupon was not given back: %s", steps)
	}
}
