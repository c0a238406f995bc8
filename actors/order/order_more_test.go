package order_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/api"
)

// ACCEPT S7: an order whose step never answers is refused at the submit
// deadline, in every stage of it, and what may have run is undone; before the
// deadline it waits and completes.
func TestSubmitDeadline(t *testing.T) {
	b := newBench(t)
	early, half := b.draft(), b.full()
	b.submit(early)
	b.submit(half)
	b.reserve(half)
	b.Advance(58 * time.Second)
	b.Tick()
	b.wantSent()
	waited := b.draft()
	b.submit(waited)
	b.Advance(3 * time.Second)
	b.Tick()
	b.wantSent("goods/release", "order.refused",
		"wallet/return-debit", "coupon/restore", "goods/release", "order.refused")
	b.wantWoken(half, api.OrderRefused)
	for _, m := range []*api.SubmitOrder{early, half} {
		b.wantReason(m, api.OrderRefused, api.CodeTimeout)
	}
	b.Tick()
	b.wantSent()
	b.reserve(early)
	b.wantSent()
	b.wantReason(early, api.OrderRefused, api.CodeTimeout)
	b.reserve(waited)
	b.wantState(waited, api.OrderPlaced)
}

// ACCEPT E1 E3: the timer ends a placed order at its deadline, once; early it
// is set again, and for orders in another state it does nothing.
func TestExpiryTimer(t *testing.T) {
	b := newBench(t)
	m := b.placed()
	first := b.Out.Timers[0]
	b.Advance(15*time.Minute - 1500*time.Millisecond)
	b.MustEdge("expire-"+m.Order, &api.ExpireOrder{Order: m.Order})
	b.wantSent()
	b.wantState(m, api.OrderPlaced)
	again := b.Out.Timers
	if len(again) != 1 || again[0].ID == first.ID || again[0].Class != "expiry-2s" ||
		again[0].Due < first.Due || !strings.Contains(string(again[0].Body), m.Order) {
		t.Fatalf("timers are %+v", again)
	}
	b.Now = again[0].Due.Std()
	b.Restart()
	b.MustEdge(again[0].ID, &api.ExpireOrder{Order: m.Order})
	b.wantSent("payment/close")
	if c := actorstest.Only[api.ClosePayment](b.Actor); c.AtOnce {
		t.Error("an expired payment is closed without asking the gateway")
	}
	b.wantWoken(m, api.OrderClosing)
	b.wantReason(m, api.OrderClosing, api.CodeTimeout)
	b.closed(m)
	b.wantSent("goods/release", "order.cancelled")
	b.wantWoken(m, api.OrderCancelled)
	o := b.wantReason(m, api.OrderCancelled, api.CodeTimeout)
	if o.ClosedAt != api.TimeOf(b.Now) || o.Decided == 0 || o.Reason.Message != "not paid in time" {
		t.Errorf("order is %+v", o)
	}
	b.MustEdge("expire-once-more", &api.ExpireOrder{Order: m.Order})
	b.wantSent()
	b.MustEdge("expire-unknown", &api.ExpireOrder{Order: "ord_none"})
	b.wantSent()
	pending := b.draft()
	b.submit(pending)
	b.MustEdge("expire-pending", &api.ExpireOrder{Order: pending.Order})
	b.wantState(pending, api.OrderPending)
}

// ACCEPT E1 E3: the sweep ends placed orders whose timer got lost, at most
// SweepLimit a time, and asks to be called again.
func TestExpirySweep(t *testing.T) {
	b := newBench(t)
	var submits, results []actors.Delivery
	for range actors.SweepLimit + 1 {
		m := b.draft()
		r := result(m, "goods.reserve", reserved(m))
		submits = append(submits, actors.Delivery{ID: "submit-" + m.Order,
			Subject: "ordo.order.0.submit", Body: api.Raw(m)})
		results = append(results, actors.Delivery{ID: "result-" + m.Order,
			Subject: "ordo.order.0.step-result", Body: api.Raw(r)})
	}
	b.Apply(submits...)
	b.Apply(results...)
	b.Advance(time.Minute)
	last := b.placed()
	b.Advance(15*time.Minute - 30*time.Second)
	b.Tick()
	count := func() int { return len(actorstest.Sent[api.ClosePayment](b.Actor)) }
	more := func() bool { return strings.HasSuffix(b.Subjects()[len(b.Subjects())-1], ".tick") }
	if count() != actors.SweepLimit || !more() {
		t.Fatalf("the first sweep ended %d orders, more: %v", count(), more())
	}
	b.Tick()
	if count() != 1 || more() {
		t.Fatalf("the second sweep ended %d orders, more: %v", count(), more())
	}
	b.wantState(last, api.OrderPlaced)
	b.Advance(30 * time.Second)
	b.Tick()
	b.wantReason(last, api.OrderClosing, api.CodeTimeout)
}

// ACCEPT E4 U4: the owner cancels without a reason, support with one, nobody
// another's; a second cancel finds the same order.
func TestCancel(t *testing.T) {
	b := newBench(t)
	m := b.placed()
	for i, c := range []struct {
		m     api.CancelOrder
		code  api.Code
		place string
	}{
		{api.CancelOrder{Order: m.Order, User: "usr_2", By: "usr_2"}, api.CodeNotFound, ""},
		{api.CancelOrder{Order: "ord_none", User: "usr_1", By: "usr_1"}, api.CodeNotFound, ""},
		{api.CancelOrder{Order: m.Order, By: "usr_sup"}, api.CodeInvalid, "reason"},
		{api.CancelOrder{Order: m.Order, By: "usr_sup", Reason: " \n"}, api.CodeInvalid, "reason"},
		{api.CancelOrder{Order: m.Order, User: m.User}, api.CodeInvalid, "by"},
		{api.CancelOrder{Order: m.Order, User: m.User, By: m.User,
			Reason: strings.Repeat("x", 501)}, api.CodeInvalid, "reason"},
	} {
		r := b.Edge(fmt.Sprintf("bad-%d", i), &c.m)
		if r.Refusal == nil || r.Refusal.Code != c.code || r.Refusal.Place != c.place {
			t.Errorf("%+v: %v, want %s at %q", c.m, r.Refusal, c.code, c.place)
		}
		b.wantSent()
	}
	b.wantState(m, api.OrderPlaced)

	mine := &api.CancelOrder{Order: m.Order, User: m.User, By: m.User}
	r := b.MustEdge("cancel-1", mine)
	b.wantSent("payment/close")
	if c := actorstest.Only[api.ClosePayment](b.Actor); !c.AtOnce {
		t.Error("a cancel waits for the gateway")
	}
	o := b.wantReason(m, api.OrderClosing, api.CodeCancelled)
	if want := string(api.Raw(&o)); string(r.Value) != want {
		t.Errorf("outcome is %s, want %s", r.Value, want)
	}
	again := b.MustEdge("cancel-2", mine)
	b.wantSent()
	if string(again.Value) != string(r.Value) {
		t.Errorf("second cancel answers %s", again.Value)
	}
	b.closed(m)
	b.wantSent("goods/release", "order.cancelled")
	b.wantWoken(m, api.OrderCancelled)
	if o = b.wantReason(m, api.OrderCancelled, api.CodeCancelled); o.ClosedAt == 0 {
		t.Errorf("order is %+v", o)
	}

	m = b.full()
	b.submit(m)
	b.reserve(m)
	b.MustEdge("cancel-3", &api.CancelOrder{Order: m.Order, By: "usr_sup", Reason: "fraud"})
	b.wantSent("wallet/return-debit", "coupon/restore", "goods/release", "order.cancelled")
	o = b.wantReason(m, api.OrderCancelled, api.CodeCancelled)
	if o.Reason.Message != "fraud" || string(o.Reason.Data) != `{"by":"usr_sup"}` {
		t.Errorf("reason is %+v", o.Reason)
	}
	b.redeem(m)
	b.debit(m)
	b.wantSent()

	m = b.draft()
	b.submit(m)
	b.answer(result(m, "goods.reserve", api.Refuse(api.CodeOutOfStock, "gone")))
	r = b.Edge("cancel-4", &api.CancelOrder{Order: m.Order, User: m.User, By: m.User})
	if r.Refusal == nil || r.Refusal.Code != api.CodeNotCancellable {
		t.Errorf("cancel of a refused order: %v", r.Refusal)
	}
}

// badSubmit spoils a good submission, which is then refused so.
type badSubmit struct {
	code  api.Code
	place string
	spoil func(*api.SubmitOrder)
}

func badSubmits() []badSubmit {
	long := strings.Repeat("é", 65)
	return []badSubmit{
		{api.CodeTokenUnknown, "token", func(m *api.SubmitOrder) { m.Token = "chk_1" }},
		{api.CodeTokenUnknown, "token", func(m *api.SubmitOrder) { m.Order = "ord_1" }},
		{api.CodeInvalid, "user", func(m *api.SubmitOrder) { m.User = "" }},
		{api.CodeInvalid, "user", func(m *api.SubmitOrder) { m.User = long }},
		{api.CodeInvalid, "body_hash", func(m *api.SubmitOrder) { m.BodyHash = "abc" }},
		{api.CodeInvalid, "body_hash", func(m *api.SubmitOrder) { m.BodyHash = long[:64] }},
		{api.CodeInvalid, "channel", func(m *api.SubmitOrder) { m.Channel = "fax" }},
		{api.CodeInvalid, "coupon", func(m *api.SubmitOrder) { m.Coupon = long }},
		{api.CodeInvalid, "lines", func(m *api.SubmitOrder) { m.Lines = nil }},
		{api.CodeInvalid, "lines", func(m *api.SubmitOrder) {
			m.Lines = make([]api.ReserveLine, api.MaxLines+1)
		}},
		{api.CodeInvalid, "lines[1].sku", func(m *api.SubmitOrder) { m.Lines[1].SKU = "" }},
		{api.CodeInvalid, "lines[0].sku", func(m *api.SubmitOrder) { m.Lines[0].SKU = long }},
		{api.CodeInvalid, "lines[0].quantity", func(m *api.SubmitOrder) {
			m.Lines[0].Quantity = 0
		}},
		{api.CodeInvalid, "lines[0].quantity", func(m *api.SubmitOrder) {
			m.Lines[0].Quantity = -1
		}},
		{api.CodeInvalid, "lines[0].quantity", func(m *api.SubmitOrder) {
			m.Lines[0].Quantity = api.MaxQuantity + 1
		}},
		{api.CodeInvalid, "lines[0].price.currency", func(m *api.SubmitOrder) {
			m.Lines[0].Price.Currency = "EUR"
		}},
		{api.CodeInvalid, "lines[0].price.amount", func(m *api.SubmitOrder) {
			m.Lines[0].Price.Amount = -1
		}},
		{api.CodeInvalid, "lines[0]", func(m *api.SubmitOrder) {
			m.Lines[0].Price.Amount = api.MaxAmount
		}},
		{api.CodeInvalid, "lines", func(m *api.SubmitOrder) {
			m.Lines[0].Price.Amount, m.Lines[1].Price.Amount = api.MaxAmount/2, 1
		}},
		{api.CodeLimitExceeded, "lines", func(m *api.SubmitOrder) {
			m.Lines[0].Quantity, m.Total = 5, gbp(5500)
		}},
		{api.CodePriceChanged, "total", func(m *api.SubmitOrder) { m.Total.Amount-- }},
		{api.CodeInvalid, "total", func(m *api.SubmitOrder) { m.Coupon, m.Total = "c", gbp(2501) }},
		{api.CodeInvalid, "total.amount", func(m *api.SubmitOrder) {
			m.Coupon, m.Total = "c", gbp(-1)
		}},
		{api.CodeInvalid, "total.currency", func(m *api.SubmitOrder) { m.Total.Currency = "" }},
		{api.CodeInvalid, "balance", func(m *api.SubmitOrder) { m.Balance = gbp(2501) }},
		{api.CodeInvalid, "balance.amount", func(m *api.SubmitOrder) { m.Balance = gbp(-1) }},
		{api.CodeInvalid, "balance.currency", func(m *api.SubmitOrder) {
			m.Balance.Currency = "X"
		}},
		{api.CodeInvalid, "pay_method", func(m *api.SubmitOrder) { m.PayMethod = "" }},
		{api.CodeInvalid, "pay_method", func(m *api.SubmitOrder) { m.PayMethod = api.PayBalance }},
		{api.CodeInvalid, "address.lines", func(m *api.SubmitOrder) { m.Address.Lines = nil }},
		{api.CodeInvalid, "address.lines[0]", func(m *api.SubmitOrder) { m.Address.Lines[0] = "" }},
		{api.CodeInvalid, "address.name", func(m *api.SubmitOrder) { m.Address.Name = "" }},
		{api.CodeInvalid, "address.phone", func(m *api.SubmitOrder) { m.Address.Phone = "1" }},
		{api.CodeInvalid, "address.city", func(m *api.SubmitOrder) { m.Address.City = "" }},
		{api.CodeInvalid, "address.country", func(m *api.SubmitOrder) { m.Address.Country = "gb" }},
	}
}

// ACCEPT S1 S3 C9: a malformed submission is refused with its place, and makes
// no order.
func TestSubmitRefused(t *testing.T) {
	b := newBench(t)
	b.MustEdge("configure", &api.ConfigureOrders{Currency: "GBP", ExpirySeconds: 60,
		SubmitSeconds: 60, MaxUnits: 5})
	for i, c := range badSubmits() {
		m := b.draft()
		c.spoil(m)
		r := b.Edge(fmt.Sprintf("bad-%d", i), m)
		if r.Refusal == nil || r.Refusal.Code != c.code || r.Refusal.Place != c.place {
			t.Errorf("case %d: %v, want %s at %s", i, r.Refusal, c.code, c.place)
		}
		b.wantSent()
	}
	var list api.OrderList
	if refusal := b.Ask(&api.ListOrders{}, &list); refusal != nil || len(list.Orders) != 0 {
		t.Errorf("orders are %+v, %v", list, refusal)
	}
}

// Configuration counts for orders submitted afterwards, and bad ones change
// nothing.
func TestConfigure(t *testing.T) {
	b := newBench(t)
	before := b.draft()
	b.submit(before)
	good := api.ConfigureOrders{Currency: "EUR", ExpirySeconds: 5, SubmitSeconds: 2}
	b.MustEdge("good", &good)
	for i, c := range []struct {
		place string
		spoil func(*api.ConfigureOrders)
	}{
		{"currency", func(c *api.ConfigureOrders) { c.Currency = "eur" }},
		{"currency", func(c *api.ConfigureOrders) { c.Currency = "" }},
		{"expiry_seconds", func(c *api.ConfigureOrders) { c.ExpirySeconds = 0 }},
		{"expiry_seconds", func(c *api.ConfigureOrders) { c.ExpirySeconds = 30*86400 + 1 }},
		{"submit_seconds", func(c *api.ConfigureOrders) { c.SubmitSeconds = 0 }},
		{"submit_seconds", func(c *api.ConfigureOrders) { c.SubmitSeconds = 86401 }},
		{"max_units", func(c *api.ConfigureOrders) { c.MaxUnits = -1 }},
	} {
		bad := good
		c.spoil(&bad)
		r := b.Edge(fmt.Sprintf("bad-%d", i), &bad)
		if r.Refusal == nil || r.Refusal.Code != api.CodeInvalid || r.Refusal.Place != c.place {
			t.Errorf("case %d: %v, want %s", i, r.Refusal, c.place)
		}
	}
	if r := b.Edge("pounds", b.draft()); r.Refusal == nil {
		t.Error("an order in another currency was taken")
	}
	b.reserve(before)
	if o := b.order(before); o.ExpiresAt != o.Decided.Add(900*time.Second) {
		t.Errorf("an order submitted before expires at %v", o.ExpiresAt.Std())
	}
	m := b.draft()
	m.Total.Currency, m.Balance = "EUR", api.Money{}
	for i := range m.Lines {
		m.Lines[i].Price.Currency = "EUR"
	}
	b.submit(m)
	b.reserve(m)
	if o := b.wantState(m, api.OrderPlaced); o.ExpiresAt != o.Decided.Add(5*time.Second) {
		t.Errorf("order is %+v", o)
	}
}

// ACCEPT M5: an answer that makes no sense is a dead letter and leaves the
// order as it was, for the deadline to end.
func TestNonsenseAnswers(t *testing.T) {
	b := newBench(t)
	m := b.draft()
	b.submit(m)
	fewer, dearer := reserved(m), reserved(m)
	fewer.Lines = fewer.Lines[:1]
	dearer.Lines[1].Price = gbp(501)
	stray := result(m, "goods.reserve", reserved(m))
	stray.Occurrence = 1
	refusedUndo := undone(m, "goods.reserve")
	refusedUndo.Refusal = api.Refuse(api.CodeInvalid, "no")
	for i, r := range []*api.StepResult{
		result(m, "goods.reserve", fewer), result(m, "goods.reserve", dearer),
		result(m, "goods.reserve", nil), result(m, "goods.reserve", "text"),
		result(m, "goods.gift", nil), result(m, "coupon.redeem", nil), stray,
		undone(m, "goods.reserve"), undone(m, "wallet.debit"), refusedUndo,
	} {
		b.From("goods", r)
		if len(b.Out.Dead) != 1 || len(b.Out.Sent) != 0 {
			t.Errorf("case %d is not a dead letter", i)
		}
	}
	b.wantStates(m, "goods.reserve=asked")
	b.wantState(m, api.OrderPending)
	b.Advance(time.Hour)
	b.Tick()
	b.wantSent("goods/release", "order.refused")
}

// ACCEPT S10: the lines' discounts add up to the order's exactly, none is
// negative or more than its line, for any amounts up to the largest.
func TestAllocation(t *testing.T) {
	b := newBench(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := b.draft()
		n := rapid.IntRange(1, 12).Draw(rt, "lines")
		m.Lines = make([]api.ReserveLine, n)
		var subtotal int64
		for i := range m.Lines {
			price := rapid.Int64Range(0, api.MaxAmount/int64(n)).Draw(rt, "price")
			quantity := rapid.Int64Range(1, 3).Draw(rt, "quantity")
			price /= quantity
			m.Lines[i] = api.ReserveLine{SKU: fmt.Sprint(i), Quantity: quantity, Price: gbp(price)}
			subtotal += price * quantity
		}
		discount := rapid.Int64Range(0, subtotal).Draw(rt, "discount")
		m.Coupon, m.Total = "cpn", gbp(subtotal-discount)
		b.submit(m)
		b.reserve(m)
		b.answer(result(m, "coupon.redeem", api.Redeemed{Discount: gbp(discount)}))
		o := b.order(m)
		var sum int64
		for _, l := range o.Lines {
			sum += l.Discount
			if l.Discount < 0 || l.Discount > l.Price.Amount*l.Quantity {
				rt.Errorf("line %+v", l)
			}
		}
		if sum != discount || o.Discount != gbp(discount) || o.State == api.OrderPending {
			rt.Errorf("the parts are %d of %d in %+v", sum, discount, o)
		}
	})
}

// ACCEPT U4: lists are narrowed by owner and state, newest first, in pages that
// leave nothing out; another's order is not found.
func TestQueries(t *testing.T) {
	b := newBench(t)
	var want []string
	for i := range 7 {
		m := b.draft()
		m.User = fmt.Sprintf("usr_%d", i%2)
		b.submit(m)
		if i > 2 {
			b.reserve(m)
		}
		want = append([]string{m.Order}, want...)
	}
	pages := func(q api.ListOrders) (ids []string) {
		q.Limit = 2
		for {
			var list api.OrderList
			if refusal := b.Ask(&q, &list); refusal != nil || len(list.Orders) > 2 {
				t.Fatal(refusal, len(list.Orders))
			}
			for _, o := range list.Orders {
				ids = append(ids, o.ID)
			}
			if q.Cursor = list.Next; q.Cursor == "" {
				return ids
			}
		}
	}
	for _, c := range []struct {
		q    api.ListOrders
		want []string
	}{
		{api.ListOrders{}, want},
		{api.ListOrders{User: "usr_0"}, []string{want[0], want[2], want[4], want[6]}},
		{api.ListOrders{State: api.OrderPending}, want[4:]},
		{api.ListOrders{State: api.OrderPlaced}, want[:4]},
		{api.ListOrders{User: "usr_1", State: api.OrderPlaced}, []string{want[1], want[3]}},
		{api.ListOrders{User: "usr_9"}, nil},
	} {
		if got := pages(c.q); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.q, got, c.want)
		}
	}
	var o api.Order
	for _, q := range []api.Query{
		&api.GetOrder{ID: "ord_none"}, &api.GetOrder{ID: want[0], User: "usr_1"},
		&api.GetSubmission{ID: "ord_none"}, &api.GetSteps{Order: "ord_none"},
	} {
		if refusal := b.Ask(q, &o); refusal == nil || refusal.Code != api.CodeNotFound {
			t.Errorf("%T: %v", q, refusal)
		}
	}
	if refusal := b.Ask(&api.GetOrder{ID: want[0], User: "usr_0"}, &o); refusal != nil {
		t.Error(refusal)
	}
	for _, cursor := range []string{"x", "-1", "0", "99999999999999999999"} {
		q := &api.ListOrders{Page: api.Page{Cursor: cursor}}
		if refusal := b.Ask(q, &o); refusal == nil || refusal.Place != "cursor" {
			t.Errorf("cursor %q: %v", cursor, refusal)
		}
	}
}

// An order of the most lines, with long names, gets through: its event leaves
// the lines out, and a page of such orders is short.
func TestLargeOrder(t *testing.T) {
	b := newBench(t)
	for range 6 {
		m := b.draft()
		m.Lines = make([]api.ReserveLine, api.MaxLines)
		for i := range m.Lines {
			m.Lines[i] = api.ReserveLine{SKU: fmt.Sprint(i), Quantity: 1, Price: gbp(1)}
		}
		m.Total = gbp(api.MaxLines)
		b.submit(m)
		r := reserved(m)
		for i := range r.Lines {
			r.Lines[i].Name = strings.Repeat("n", 130)
		}
		b.answer(result(m, "goods.reserve", r))
		var small api.Order
		if err := json.Unmarshal(actorstest.Events(b.Actor)[0].Data, &small); err != nil {
			t.Fatal(err)
		}
		if small.ID != m.Order || len(small.Lines) != 0 {
			t.Errorf("the event has %d lines", len(small.Lines))
		}
		b.wantWoken(m, api.OrderPlaced)
	}
	var first, second api.OrderList
	if refusal := b.Ask(&api.ListOrders{}, &first); refusal != nil || first.Next == "" {
		t.Fatal(refusal, first.Next)
	}
	q := &api.ListOrders{Page: api.Page{Cursor: first.Next}}
	if refusal := b.Ask(q, &second); refusal != nil {
		t.Fatal(refusal)
	}
	if n := len(first.Orders) + len(second.Orders); n != 6 || len(first.Orders) < 2 {
		t.Errorf("pages of %d and %d", len(first.Orders), len(second.Orders))
	}
}
