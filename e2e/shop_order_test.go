package e2e

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"ordo/api"
)

// ACCEPT S1 S4 S5 S6 S10 K3 C4 C7 U3 L4
func tryPlaced(t *testing.T, p *process) {
	s := p.shopper()
	a, b, other := p.onSale(1000, 10), p.onSale(333, 5), p.onSale(5, 5)
	s.give(gbp(5000))
	coupon := s.coupon(500, 2000)
	s.add(a, 3)
	s.add(b, 2)
	s.add(other, 1)
	s.must("PUT", "/v1/cart/lines/"+other, map[string]any{"selected": false}, nil)
	body := s.checkout("", 0).using(coupon, 500, 1200)
	body.Channel = api.ChannelApp
	// Between checkout and submit one more unit went into the cart.
	s.add(a, 1)
	o := s.submit(body)

	if o.State != api.OrderPlaced || o.Subtotal != gbp(3666) || o.Discount != gbp(500) ||
		o.Total != gbp(3166) || o.Balance != gbp(1200) || o.Due != gbp(1966) {
		t.Errorf("amounts of %s: %s %s %s %s %s", o.State, o.Subtotal, o.Discount, o.Total,
			o.Balance, o.Due)
	}
	wait := o.ExpiresAt.Std().Sub(o.Decided.Std())
	if o.PayMethod != api.PayAlipay || o.Channel != api.ChannelApp || o.Coupon != coupon ||
		o.User != s.id || o.PaidAt != 0 || wait != 15*time.Minute {
		t.Errorf("order: %+v", o)
	}
	want := []api.LineSnapshot{
		{SKU: a, Product: "P-" + a, Name: "Goods " + a, Options: map[string]string{"size": "M"},
			Price: gbp(1000), Quantity: 3, Discount: 409},
		{SKU: b, Product: "P-" + b, Name: "Goods " + b, Options: map[string]string{"size": "M"},
			Price: gbp(333), Quantity: 2, Discount: 91}}
	if !reflect.DeepEqual(o.Lines, want) {
		t.Errorf("lines:\n%+v\nwant\n%+v", o.Lines, want)
	}
	checkTaken(t, s, &o, coupon)
	snapshotStays(s, o, a)
}

// checkTaken checks what the placed order took, in every book.
func checkTaken(t *testing.T, s *shopper, o *api.Order, coupon string) {
	p, a, b := s.p, o.Lines[0].SKU, o.Lines[1].SKU
	for id, n := range map[string]int64{a: 3, b: 2} {
		sku, rows := p.sku(id), p.ledger(id)
		if sku.Locked != n || len(rows) != 2 || rows[0].Kind != api.LedgerLock ||
			rows[0].Locked != n || rows[0].Stock != 0 || rows[0].Cause != o.ID {
			t.Errorf("stock %+v, ledger %+v", sku, rows)
		}
	}
	var coupons api.CouponList
	s.must("GET", "/v1/coupons", nil, &coupons)
	if c := coupons.Coupons; len(c) != 1 || c[0].ID != coupon || c[0].State != api.CouponUsed ||
		c[0].Order != o.ID {
		t.Errorf("coupons: %+v", c)
	}
	var entries api.WalletEntryList
	s.must("GET", "/v1/wallet/entries", nil, &entries)
	if e := entries.Entries; len(e) != 2 || e[0].Kind != api.EntryDebit || e[0].Order != o.ID ||
		e[0].Amount != gbp(-1200) || e[0].Balance != gbp(3800) {
		t.Errorf("entries: %+v", e)
	}
	eventually(t, "the order in the journal", func() bool {
		return slices.Equal(p.journal(o.ID), []string{api.EventOrderPlaced})
	})
	for name, state := range p.steps(o.ID) {
		if want := map[bool]string{true: api.StepAsked, false: api.StepDone}; state !=
			want[name == "payment.collect"] {
			t.Errorf("step %s is %s", name, state)
		}
	}
	eventually(t, "what was ordered leaves the cart", func() bool {
		v := s.cart()
		left := v.quantities()
		return len(left) == 2 && left[a] == 1 && left[b] == 0
	})
}

// snapshotStays checks that an order does not follow what it was made from.
func snapshotStays(s *shopper, o api.Order, sku string) {
	s.t.Helper()
	s.p.reprice(sku, 99999, 0)
	moved := addressBody(sender)
	moved["city"] = "Leeds"
	s.must("PUT", "/v1/addresses/"+s.address, moved, nil)
	if now := s.order(o.ID); !reflect.DeepEqual(now, o) || now.Address.City != "London" {
		s.t.Errorf("order changed:\n%+v\nwas\n%+v", now, o)
	}
}

// ACCEPT S5 S6 S8 C5
func tryUsedCoupon(t *testing.T, p *process) {
	s := p.shopper()
	sku := p.onSale(2000, 10)
	s.give(gbp(1000))
	coupon := s.coupon(300, 0)
	s.submit(s.checkout(sku, 1).using(coupon, 300, 100))
	s.add(sku, 4)
	body := s.checkout("", 0).using(coupon, 300, 700)
	before := s.holdings(sku)
	r := s.problem("POST", "/v1/orders?wait=10", body, 409, api.CodeCouponUsed)
	o := s.order(r.Order)
	if o.State != api.OrderRefused || o.Reason == nil || o.Reason.Code != api.CodeCouponUsed ||
		o.Reason.Place != "coupon" || r.Place != "coupon" {
		t.Errorf("order: %+v", o)
	}
	s.restored(sku, before)
	eventually(t, "undone steps", func() bool {
		steps := p.steps(o.ID)
		return steps["goods.reserve"] == api.StepUndone && steps["wallet.debit"] == api.StepUndone &&
			steps["coupon.redeem"] == api.StepRefused
	})
	if rows := p.ledger(sku); rows[0].Kind != api.LedgerUnlock || rows[0].Locked != -4 ||
		rows[0].Cause != o.ID {
		t.Errorf("ledger: %+v", rows[0])
	}
	eventually(t, "the refusal in the journal", func() bool {
		return slices.Equal(p.journal(o.ID), []string{api.EventOrderRefused})
	})
}

// ACCEPT C4 C5
func tryShort(t *testing.T, p *process) {
	s := p.shopper()
	s.give(gbp(1000))
	coupon := s.coupon(100, 0)
	few, none, enough := p.onSale(10, 999), p.onSale(10, 0), p.onSale(10, 1000)
	for _, sku := range []string{few, none, enough} {
		s.add(sku, 1000)
	}
	body := s.checkout("", 0).using(coupon, 100, 500)
	before := s.holdings(enough)
	r := s.problem("POST", "/v1/orders?wait=10", body, 409, api.CodeOutOfStock)
	short := decode[[]api.Shortage](t, r.Data)
	if want := []api.Shortage{{SKU: few, Wanted: 1000, Left: 999},
		{SKU: none, Wanted: 1000, Left: 0}}; !slices.Equal(short, want) {
		t.Errorf("short: %+v, want %+v", short, want)
	}
	// There was nothing to undo.
	if after := s.holdings(enough); after != before || len(p.ledger(few)) != 1 ||
		len(p.ledger(enough)) != 1 {
		t.Errorf("changed:\n%s\nwas\n%s", after, before)
	}
	if o := s.order(r.Order); o.State != api.OrderRefused || len(p.steps(o.ID)) != 1 {
		t.Errorf("order: %+v", o)
	}
}

// ACCEPT S3
func tryPriceChanged(t *testing.T, p *process) {
	s := p.shopper()
	same, dear := p.onSale(500, 10), p.onSale(700, 10)
	s.add(same, 1)
	s.add(dear, 2)
	body := s.checkout("", 0)
	p.reprice(dear, 750, 0)
	before := s.holdings(dear)
	r := s.problem("POST", "/v1/orders?wait=10", body, 409, api.CodePriceChanged)
	changes := decode[[]api.PriceChange](t, r.Data)
	if want := []api.PriceChange{{SKU: dear, Seen: gbp(700), Now: gbp(750)}}; !slices.Equal(changes,
		want) {
		t.Errorf("changes: %+v, want %+v", changes, want)
	}
	if after := s.holdings(dear); after != before || len(p.ledger(dear)) != 1 ||
		len(p.ledger(same)) != 1 {
		t.Errorf("changed:\n%s\nwas\n%s", after, before)
	}
	if o := s.submit(s.checkout("", 0)); o.Total != gbp(2000) {
		t.Errorf("a new checkout costs %s", o.Total)
	}
}

// ACCEPT S3
func tryTotalChanged(t *testing.T, p *process) {
	s := p.shopper()
	sku := p.onSale(500, 10)
	coupon := s.coupon(200, 0)
	before := s.books(sku)
	body := s.checkout(sku, 2)
	body.Total = gbp(999)
	if r := s.problem("POST", "/v1/orders", body, 409, api.CodePriceChanged); r.Order != "" ||
		r.Place != "total" {
		t.Errorf("refusal: %+v", r)
	}
	if after := s.books(sku); after != before {
		t.Errorf("changed:\n%s\nwas\n%s", after, before)
	}
	// The coupon takes off less than the shopper was shown.
	held := s.holdings(sku)
	r := s.problem("POST", "/v1/orders?wait=10", s.checkout(sku, 2).using(coupon, 300, 0), 409,
		api.CodePriceChanged)
	changes := decode[[]api.PriceChange](t, r.Data)
	if want := []api.PriceChange{{Seen: gbp(700), Now: gbp(800)}}; !slices.Equal(changes, want) {
		t.Errorf("changes: %+v, want %+v", changes, want)
	}
	s.restored(sku, held)
}

// ACCEPT S6
func tryBalance(t *testing.T, p *process) {
	s := p.shopper()
	sku := p.onSale(1000, 10)
	s.give(gbp(399))
	coupon := s.coupon(200, 0)
	before := s.holdings(sku)
	r := s.problem("POST", "/v1/orders?wait=10", s.checkout(sku, 1).using(coupon, 200, 400), 409,
		api.CodeBalanceTooLow)
	if left := decode[api.BalanceLeft](t, r.Data); left.Balance != gbp(399) {
		t.Errorf("left: %+v", left)
	}
	s.restored(sku, before)
	if o := s.submit(s.checkout(sku, 1).using(coupon, 200, 399)); o.Due != gbp(401) {
		t.Errorf("due: %s", o.Due)
	}
}

// ACCEPT S5
func tryCoupons(t *testing.T, p *process) {
	s, stranger := p.shopper(), p.shopper()
	sku := p.onSale(1000, 100)
	s.give(gbp(100))
	now := time.Now()
	cases := []struct {
		name, coupon string
		status       int
		code         api.Code
	}{
		{"minimum", s.coupon(100, 1001), 422, api.CodeCouponMinimum},
		{"over", s.couponAt(100, 0, now.Add(-time.Hour), now.Add(-time.Second)), 409,
			api.CodeCouponNotValid},
		{"to come", s.couponAt(100, 0, now.Add(time.Hour), now.Add(2*time.Hour)), 409,
			api.CodeCouponNotValid},
		{"another's", stranger.coupon(100, 0), 422, api.CodeCouponUnknown},
		{"nobody's", api.NewID(api.PrefixCoupon), 422, api.CodeCouponUnknown},
	}
	before := s.holdings(sku)
	for _, c := range cases {
		r := s.problem("POST", "/v1/orders?wait=10", s.checkout(sku, 1).using(c.coupon, 100, 50),
			c.status, c.code)
		if r.Place != "coupon" {
			t.Errorf("%s: %+v", c.name, r)
		}
		s.restored(sku, before)
	}
}

// ACCEPT S11
func tryCovered(t *testing.T, p *process) {
	s := p.shopper()
	sku := p.onSale(1000, 3)
	s.give(gbp(800))
	body := s.checkout(sku, 1).using(s.coupon(300, 0), 300, 700)
	body.PayMethod = api.PayBalance
	o := s.submit(body)
	if o.State != api.OrderPaid || o.PaidAt == 0 || o.ExpiresAt != 0 || o.Due != gbp(0) {
		t.Errorf("order: %+v", o)
	}
	eventually(t, "stock sold", func() bool { s := p.sku(sku); return s.Stock == 2 && s.Locked == 0 })
	s.problem("POST", "/v1/orders/"+o.ID+"/cancel", nil, 409, api.CodeNotCancellable)
	eventually(t, "the payment in the journal", func() bool {
		return slices.Contains(p.journal(o.ID), api.EventOrderPaid)
	})
	// The balance alone does not cover this one.
	body = s.checkout(sku, 1).using("", 0, 100)
	body.PayMethod = api.PayBalance
	if r := s.problem("POST", "/v1/orders", body, 422, api.CodeInvalid); r.Place != "pay_method" {
		t.Errorf("refusal: %+v", r)
	}
}

// ACCEPT S10
func tryAllocation(t *testing.T, p *process) {
	s := p.shopper()
	prices := []int64{333, 1, 99999, 7, 0, 250}
	var subtotal int64
	for i, price := range prices {
		s.add(p.onSale(price, 10), int64(i+1))
		subtotal += price * int64(i+1)
	}
	o := s.submit(s.checkout("", 0).using(s.coupon(1001, 0), 1001, 0))
	var sum int64
	for _, l := range o.Lines {
		sum += l.Discount
		if l.Discount < 0 || l.Discount > l.Price.Amount*l.Quantity {
			t.Errorf("line %+v", l)
		}
	}
	if sum != 1001 || o.Discount != gbp(1001) || o.Total != gbp(subtotal-1001) {
		t.Errorf("discounts add up to %d of %s", sum, o.Discount)
	}
}
