package order_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"ordo/actors/actorstest"
	"ordo/actors/order"
	"ordo/api"
)

func gbp(n int64) api.Money { return api.Money{Amount: n, Currency: "GBP"} }

// bench is an order actor and the submissions made to it.
type bench struct {
	*actorstest.Actor
	minted int
}

func newBench(t testing.TB) *bench {
	t.Helper()
	return &bench{Actor: actorstest.New(t, order.Spec())}
}

// draft is a submission of 2 × 1000 + 1 × 500 that nobody has sent yet.
func (b *bench) draft() *api.SubmitOrder {
	b.T.Helper()
	b.minted++
	token := api.DeriveID(api.PrefixCheckout, actorstest.Start, fmt.Sprint(b.minted))
	id, err := api.OrderID(token)
	if err != nil {
		b.T.Fatal(err)
	}
	return &api.SubmitOrder{
		Order: id, Token: token, User: "usr_1", BodyHash: strings.Repeat("ab", 32),
		Lines: []api.ReserveLine{
			{SKU: "coat", Quantity: 2, Price: gbp(1000)},
			{SKU: "hat", Quantity: 1, Price: gbp(500)},
		},
		Address: api.Address{ID: "adr_1", Name: "Ann", Phone: "0123", Lines: []string{"1 High St"},
			City: "York", Country: "GB"},
		Balance: gbp(0), Total: gbp(2500), PayMethod: api.PayAlipay, Channel: api.ChannelWeb,
	}
}

// full is a draft with a coupon of 300 and 200 from the wallet.
func (b *bench) full() *api.SubmitOrder {
	m := b.draft()
	m.Coupon, m.Total, m.Balance = "cpn_1", gbp(2200), gbp(200)
	return m
}

func (b *bench) submit(m *api.SubmitOrder) {
	b.T.Helper()
	b.MustEdge("submit-"+m.Order, m)
}

// reserved is what goods finds for the lines of the submission.
func reserved(m *api.SubmitOrder) api.Reserved {
	var r api.Reserved
	for _, l := range m.Lines {
		r.Lines = append(r.Lines, api.LineSnapshot{SKU: l.SKU, Product: "p-" + l.SKU,
			Name: "A " + l.SKU, Options: map[string]string{"size": "M"}, Price: l.Price,
			Quantity: l.Quantity})
	}
	return r
}

// result is the answer of the step's participant with data, nil or a refusal.
func result(m *api.SubmitOrder, step string, data any) *api.StepResult {
	r := &api.StepResult{Step: api.Step{Order: m.Order, Name: step}}
	if refusal, ok := data.(*api.Error); ok {
		r.Refusal = refusal
	} else if data != nil {
		r.Data = api.Raw(data)
	}
	return r
}

func undone(m *api.SubmitOrder, step string) *api.StepResult {
	return &api.StepResult{Step: api.Step{Order: m.Order, Name: step}, Undo: true}
}

// answer has a participant say it, and must not end as a dead letter.
func (b *bench) answer(r *api.StepResult) {
	b.T.Helper()
	participant, _, _ := strings.Cut(r.Name, ".")
	b.From(participant, r)
	if len(b.Out.Dead) > 0 {
		b.T.Fatalf("%s became a dead letter: %s", r.Name, b.Out.Dead[0].Error)
	}
}

func (b *bench) reserve(m *api.SubmitOrder) {
	b.T.Helper()
	b.answer(result(m, "goods.reserve", reserved(m)))
}

func (b *bench) redeem(m *api.SubmitOrder) {
	b.T.Helper()
	b.answer(result(m, "coupon.redeem", api.Redeemed{Discount: gbp(300)}))
}

func (b *bench) debit(m *api.SubmitOrder) {
	b.T.Helper()
	b.answer(result(m, "wallet.debit", nil))
}

// closed has the payment actor say that nobody can pay any more.
func (b *bench) closed(m *api.SubmitOrder) {
	b.T.Helper()
	b.answer(undone(m, "payment.collect"))
}

// pay has the payment actor say that the order's due was paid.
func (b *bench) pay(m *api.SubmitOrder) {
	b.T.Helper()
	b.answer(result(m, "payment.collect", api.Paid{Attempt: "pay_1", Provider: api.PayAlipay,
		TradeNo: "2026", Amount: b.order(m).Due, PaidAt: api.TimeOf(b.Now)}))
}

// placed submits a draft and holds its stock.
func (b *bench) placed() *api.SubmitOrder {
	b.T.Helper()
	m := b.draft()
	b.submit(m)
	b.reserve(m)
	b.wantState(m, api.OrderPlaced)
	return m
}

func (b *bench) order(m *api.SubmitOrder) api.Order {
	b.T.Helper()
	var o api.Order
	if refusal := b.Ask(&api.GetOrder{ID: m.Order}, &o); refusal != nil {
		b.T.Fatal(refusal)
	}
	return o
}

func (b *bench) wantState(m *api.SubmitOrder, state string) api.Order {
	b.T.Helper()
	o := b.order(m)
	if o.State != state {
		b.T.Fatalf("order is %s (%v), want %s", o.State, o.Reason, state)
	}
	return o
}

func (b *bench) wantReason(m *api.SubmitOrder, state string, code api.Code) api.Order {
	b.T.Helper()
	o := b.wantState(m, state)
	if o.Reason == nil || o.Reason.Code != code {
		b.T.Fatalf("reason is %v, want %s", o.Reason, code)
	}
	return o
}

// wantSent compares where the last message's messages went, events as their
// types.
func (b *bench) wantSent(want ...string) {
	b.T.Helper()
	got := []string{}
	for _, s := range b.Subjects() {
		p := strings.Split(s, ".")
		if p[1] == "event" {
			got = append(got, p[2]+"."+p[3])
		} else {
			got = append(got, p[1]+"/"+p[3])
		}
	}
	if !reflect.DeepEqual(got, append([]string{}, want...)) {
		b.T.Fatalf("sent %v, want %v", got, want)
	}
}

// wantWoken wants the order's waiters to have got its state.
func (b *bench) wantWoken(m *api.SubmitOrder, state string) {
	b.T.Helper()
	for _, w := range b.Out.Wakes {
		if w.Key != m.Order {
			continue
		}
		var o api.Order
		if err := json.Unmarshal(w.Body, &o); err != nil || o.State != state {
			b.T.Fatalf("woken with %s, want state %s", w.Body, state)
		}
		if now := b.order(m); !reflect.DeepEqual(o, now) {
			b.T.Fatalf("woken with %+v, the order is %+v", o, now)
		}
		return
	}
	b.T.Fatalf("nobody was woken for %s", m.Order)
}

// states are the states of the order's steps, in the order in which they began.
func (b *bench) states(m *api.SubmitOrder) string {
	b.T.Helper()
	var list api.StepList
	if refusal := b.Ask(&api.GetSteps{Order: m.Order}, &list); refusal != nil {
		b.T.Fatal(refusal)
	}
	var all []string
	for _, s := range list.Steps {
		all = append(all, s.Name+"="+s.State)
	}
	return strings.Join(all, " ")
}

func (b *bench) wantStates(m *api.SubmitOrder, want string) {
	b.T.Helper()
	if got := b.states(m); got != want {
		b.T.Fatalf("steps are %s\nwant      %s", got, want)
	}
}

// ACCEPT S1 S4 E1: submit holds the stock first, then the order waits for
// payment with snapshots, amounts and a deadline.
func TestPlaced(t *testing.T) {
	b := newBench(t)
	m := b.draft()
	b.submit(m)
	b.wantSent("goods/reserve")
	r := actorstest.Only[api.ReserveStock](b.Actor)
	if want := (api.ReserveStock{Step: api.Step{Order: m.Order, Name: "goods.reserve"},
		User: m.User, Lines: m.Lines}); !reflect.DeepEqual(r, want) {
		t.Fatalf("asked for %+v, want %+v", r, want)
	}
	if o := b.wantState(m, api.OrderPending); o.Final() || len(o.Lines) != 2 {
		t.Fatalf("pending order is %+v", o)
	}

	b.reserve(m)
	b.wantSent("payment/collect", "order.placed")
	b.wantWoken(m, api.OrderPlaced)
	o := b.order(m)
	now := api.TimeOf(b.Now)
	if o.Decided != now || o.ExpiresAt != now.Add(15*time.Minute) || o.PaidAt != 0 {
		t.Errorf("times of %+v, now %v", o, now)
	}
	if o.Lines[0].Name != "A coat" || o.Lines[1].Options["size"] != "M" ||
		!reflect.DeepEqual(o.Address, m.Address) || o.PayMethod != m.PayMethod ||
		o.Channel != m.Channel || o.Subtotal != gbp(2500) || o.Due != gbp(2500) {
		t.Errorf("order is %+v", o)
	}
	if e := actorstest.Events(b.Actor)[0]; e.User != m.User || e.Order != m.Order {
		t.Errorf("event is %+v", e)
	}
	if timer := b.Out.Timers; len(timer) != 1 || timer[0].Class != "expiry-900s" ||
		timer[0].Due != o.ExpiresAt || timer[0].ID != "expire-"+m.Order {
		t.Errorf("timers are %+v", timer)
	}
	if len(b.Out.Effects) != 0 {
		t.Errorf("a bought-now order touches the cart: %+v", b.Out.Effects)
	}
	b.reserve(m)
	b.wantSent()
}

// ACCEPT S4 S10 M7: coupon and wallet are asked in parallel once the stock is
// held, in any order of their answers, each told twice.
func TestParallelSteps(t *testing.T) {
	for _, couponFirst := range []bool{true, false} {
		b := newBench(t)
		m := b.full()
		b.submit(m)
		b.reserve(m)
		b.wantSent("coupon/redeem", "wallet/debit")
		c := actorstest.Only[api.RedeemCoupon](b.Actor)
		if c.Coupon != "cpn_1" || c.User != m.User || c.Subtotal != gbp(2500) {
			t.Fatalf("coupon was asked %+v", c)
		}
		if d := actorstest.Only[api.Debit](b.Actor); d.Amount != gbp(200) || d.User != m.User {
			t.Fatalf("wallet was asked %+v", d)
		}
		b.reserve(m)
		b.wantSent()
		first, second := b.redeem, b.debit
		if !couponFirst {
			first, second = second, first
		}
		first(m)
		b.wantSent()
		first(m)
		b.wantState(m, api.OrderPending)
		second(m)
		b.wantSent("payment/collect", "order.placed")
		second(m)
		b.wantSent()
		o := b.wantState(m, api.OrderPlaced)
		if o.Discount != gbp(300) || o.Due != gbp(2000) || o.Balance != gbp(200) ||
			o.Lines[0].Discount != 240 || o.Lines[1].Discount != 60 {
			t.Errorf("order is %+v", o)
		}
		b.wantStates(m, "goods.reserve=done coupon.redeem=done wallet.debit=done "+
			"payment.collect=asked")
	}
}

// ACCEPT S11: an order that coupon and balance cover is paid at once, its
// stock is sold, and no deadline ends it.
func TestPaidAtOnce(t *testing.T) {
	b := newBench(t)
	m := b.full()
	m.Balance, m.PayMethod = m.Total, api.PayBalance
	b.submit(m)
	b.reserve(m)
	b.redeem(m)
	b.debit(m)
	b.wantSent("goods/sell", "shipping/create", "order.paid")
	b.wantWoken(m, api.OrderPaid)
	if s := actorstest.Only[api.SellStock](b.Actor); s.Name != "goods.sell" {
		t.Errorf("asked to sell as %+v", s)
	}
	if o := b.order(m); o.PaidAt != api.TimeOf(b.Now) || o.ExpiresAt != 0 {
		t.Errorf("order is %+v", o)
	}
	if len(b.Out.Timers) != 0 {
		t.Errorf("timers are %+v", b.Out.Timers)
	}
	for range 2 {
		b.answer(result(m, "goods.sell", nil))
		b.wantSent()
	}
	b.Advance(40 * 24 * time.Hour)
	b.Tick()
	b.MustEdge("expire-"+m.Order, &api.ExpireOrder{Order: m.Order})
	b.wantSent()
	b.wantState(m, api.OrderPaid)
	r := b.Edge("cancel", &api.CancelOrder{Order: m.Order, User: m.User, By: m.User})
	if r.Refusal == nil || r.Refusal.Code != api.CodeNotCancellable {
		t.Errorf("cancel of a paid order: %v", r.Refusal)
	}
	b.wantStates(m, "goods.reserve=done coupon.redeem=done wallet.debit=done goods.sell=done "+
		"shipping.create=asked")
}

// ACCEPT K3: what was ordered leaves the cart when the order is placed or paid,
// and not before.
func TestCartIsEmptied(t *testing.T) {
	for _, balance := range []int64{0, 2500} {
		b := newBench(t)
		m := b.draft()
		m.FromCart, m.Balance = true, gbp(balance)
		b.submit(m)
		if len(b.Out.Effects) != 0 {
			t.Fatal("the cart is emptied before the order is decided")
		}
		b.reserve(m)
		if balance > 0 {
			b.debit(m)
		}
		if len(b.Out.Effects) != 1 {
			t.Fatalf("effects are %+v", b.Out.Effects)
		}
		e := b.Out.Effects[0]
		var got api.RemoveFromCart
		if err := json.Unmarshal(e.Body, &got); err != nil {
			t.Fatal(err)
		}
		want := api.RemoveFromCart{Order: m.Order, User: m.User,
			Lines: []api.CartTake{{SKU: "coat", Quantity: 2}, {SKU: "hat", Quantity: 1}}}
		if e.Name != "cart-remove" || e.ID != "cart-"+m.Order || !reflect.DeepEqual(got, want) {
			t.Errorf("effect is %+v %+v", e, got)
		}
	}
}

// ACCEPT S2: the same submission is one order, within the memory of edge
// messages and after it; another one under the same token changes nothing.
func TestSubmittedAgain(t *testing.T) {
	b := newBench(t)
	m := b.placed()
	before := b.order(m)
	b.submit(m)
	b.wantSent()
	b.MustEdge("submit-again", m)
	b.wantSent()
	b.Advance(7 * 24 * time.Hour)
	b.submit(m)
	b.wantSent()
	other := *m
	other.BodyHash = strings.Repeat("cd", 32)
	other.Lines = other.Lines[:1]
	other.Total = gbp(2000)
	r := b.Edge("submit-other", &other)
	if r.Refusal == nil || r.Refusal.Code != api.CodeTokenReused {
		t.Errorf("another body under the token: %v", r.Refusal)
	}
	if after := b.order(m); !reflect.DeepEqual(before, after) {
		t.Errorf("the order changed from %+v to %+v", before, after)
	}
	var s api.Submission
	if refusal := b.Ask(&api.GetSubmission{ID: m.Order}, &s); refusal != nil ||
		s.BodyHash != m.BodyHash || s.User != m.User || s.Order.ID != m.Order {
		t.Errorf("submission is %+v, %v", s, refusal)
	}
}

// ACCEPT S3 S5 S6: a refusal of any step undoes what ran or may have run, the
// last first, and the order says why at once.
func TestRefusedStep(t *testing.T) {
	no := func(c api.Code) *api.Error { return api.Refuse(c, "no").With([]string{"why"}) }
	cases := []struct {
		name   string
		answer []string
		refuse string
		code   api.Code
		undo   []string
		states string
	}{
		{"stock", nil, "goods.reserve", api.CodeOutOfStock, nil, "goods.reserve=refused"},
		{"coupon", []string{"goods.reserve"}, "coupon.redeem", api.CodeCouponUsed,
			[]string{"wallet/return-debit", "goods/release"},
			"goods.reserve=undoing coupon.redeem=refused wallet.debit=undoing"},
		{"coupon last", []string{"goods.reserve", "wallet.debit"}, "coupon.redeem",
			api.CodeCouponMinimum, []string{"wallet/return-debit", "goods/release"},
			"goods.reserve=undoing coupon.redeem=refused wallet.debit=undoing"},
		{"wallet", []string{"goods.reserve", "coupon.redeem"}, "wallet.debit",
			api.CodeBalanceTooLow, []string{"coupon/restore", "goods/release"},
			"goods.reserve=undoing coupon.redeem=undoing wallet.debit=refused"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			m := b.full()
			m.FromCart = true
			b.submit(m)
			answers := map[string]func(*api.SubmitOrder){"goods.reserve": b.reserve,
				"coupon.redeem": b.redeem, "wallet.debit": b.debit}
			for _, s := range c.answer {
				answers[s](m)
			}
			b.answer(result(m, c.refuse, no(c.code)))
			b.wantSent(append(c.undo, "order.refused")...)
			b.wantWoken(m, api.OrderRefused)
			if len(b.Out.Effects) != 0 {
				t.Error("a refused order empties the cart")
			}
			o := b.wantReason(m, api.OrderRefused, c.code)
			if o.Decided != api.TimeOf(b.Now) || string(o.Reason.Data) != `["why"]` {
				t.Errorf("order is %+v", o)
			}
			b.answer(result(m, c.refuse, no(c.code)))
			b.wantSent()
			b.wantStates(m, c.states)
		})
	}
}

// ACCEPT S3: a coupon whose discount is not what the shopper saw refuses the
// order, and everything is undone, the coupon too.
func TestTotalChangedByCoupon(t *testing.T) {
	for _, discount := range []int64{299, 301, 0} {
		b := newBench(t)
		m := b.full()
		b.submit(m)
		b.reserve(m)
		b.answer(result(m, "coupon.redeem", api.Redeemed{Discount: gbp(discount)}))
		b.wantSent("wallet/return-debit", "coupon/restore", "goods/release", "order.refused")
		o := b.wantReason(m, api.OrderRefused, api.CodePriceChanged)
		var changes []api.PriceChange
		if err := json.Unmarshal(o.Reason.Data, &changes); err != nil {
			t.Fatal(err)
		}
		want := []api.PriceChange{{Seen: gbp(2200), Now: gbp(2500 - discount)}}
		if !reflect.DeepEqual(changes, want) {
			t.Errorf("changes are %+v, want %+v", changes, want)
		}
	}
}
