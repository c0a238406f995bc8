package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"ordo/api"
)

// mixed is a paid order of two lines with coupon, balance and money, and how
// everything was before.
type mixed struct {
	*shopper
	g      *till
	o      api.Order
	a      api.Attempt
	coupon string
	// skus are those of the lines, before is what the shopper had.
	skus   [2]string
	before string
}

func (s *shopper) buysMixed() *mixed {
	s.t.Helper()
	m := &mixed{shopper: s, g: s.p.till(), skus: [2]string{s.p.onSale(1000, 10), s.p.onSale(333, 5)}}
	s.give(gbp(5000))
	m.coupon = s.coupon(500, 2000)
	m.before = m.has()
	s.add(m.skus[0], 3)
	s.add(m.skus[1], 2)
	o := s.submit(s.checkout("", 0).using(m.coupon, 500, 1200))
	m.a = s.pays(m.g, o.ID)
	m.o = s.order(o.ID)
	if m.o.Total != gbp(3166) || m.o.Due != gbp(1966) || m.o.Points != 31 {
		s.t.Errorf("order: %+v", m.o)
	}
	s.p.fulfilled(o.ID)
	return m
}

// has is what the shopper and the shop have.
func (m *mixed) has() string {
	m.t.Helper()
	return m.texts("/v1/wallet", "/v1/coupons", "/v1/skus/"+m.skus[0], "/v1/skus/"+m.skus[1])
}

// Refunds in groups of units give back everything that was taken, to the
// penny, and the coupon with the last one. ACCEPT Y9 S10 L2 L3
func tryRefundByLine(t *testing.T, p *process) {
	for _, groups := range [][]map[int]int64{
		{{0: 1}, {0: 1, 1: 1}, {}},
		{{1: 2}, {0: 2}, {0: 1}},
		{{}},
	} {
		m := p.shopper().buysMixed()
		var sum api.Refund
		for i, quantities := range groups {
			last := i == len(groups)-1
			r := m.refunds(m.o.ID, quantities)
			if r.Amount.Amount != r.Money.Amount+r.Balance.Amount || r.Number != i+1 ||
				(r.Coupon != "") != last {
				t.Errorf("refund: %+v", r)
			}
			// 10.00 less a third of 4.09, which is the line's part of 5.00.
			if first := quantities[0] == 1 && i == 0; first && (r.Amount != gbp(864) ||
				r.Balance != gbp(327) || r.Points != 8) {
				t.Errorf("first refund: %+v", r)
			}
			sum.Money.Amount += r.Money.Amount
			sum.Balance.Amount += r.Balance.Amount
			sum.Points += r.Points
			if now := m.order(m.o.ID); now.Refunded.Amount != sum.Money.Amount+sum.Balance.Amount {
				t.Errorf("%s of the order is refunded, not %+v", now.Refunded, sum)
			}
		}
		if sum.Money.Amount != 1966 || sum.Balance.Amount != 1200 || sum.Points != 31 {
			t.Errorf("%v: refunds add up to %+v", groups, sum)
		}
		eventually(t, "everything is as it was:\n"+m.before, func() bool {
			return m.has() == m.before
		})
		rows := m.g.about(m.a.ID)
		if len(rows) != 1+len(groups) || !slices.Equal(rows, p.payLog(m.o.ID)) {
			t.Errorf("statement %q, pay log %q", rows, p.payLog(m.o.ID))
		}
		m.problem("POST", "/v1/orders/"+m.o.ID+"/refunds", refundBody(nil), 409,
			api.CodeRefundTooMuch)
		var now api.Shipment
		m.must("GET", "/v1/orders/"+m.o.ID+"/shipment", nil, &now)
		if now.State != api.ShipmentCancelled || len(now.Lines) != 0 {
			t.Errorf("shipment: %+v", now)
		}
		eventually(t, "the refunds in the journal", func() bool {
			count := map[string]int{}
			for _, event := range p.journal(m.o.ID) {
				count[event]++
			}
			return count[api.EventOrderRefunded] == len(groups) &&
				count[api.EventPaymentRefunded] == len(groups)
		})
	}
}

// Without a time in which the shop grants it, support decides what a shopper
// asks for; what is asked for can't be asked for twice. ACCEPT Y9
func tryRefundAsked(t *testing.T, p *process) {
	m := p.shopper().buysMixed()
	support := p.users(1, api.RoleSupport)[0]
	path := "/v1/orders/" + m.o.ID + "/refunds"
	first := m.asks(m.o.ID, map[int]int64{0: 2, 1: 1})
	if first.State != api.RefundAsked || first.By != m.id || first.Ended != 0 {
		t.Errorf("asked: %+v", first)
	}
	r := m.problem("POST", path, refundBody(map[int]int64{0: 2, 1: 2}), 409, api.CodeRefundTooMuch)
	if short := decode[[]api.Shortage](t, r.Data); !slices.Equal(short, []api.Shortage{
		{SKU: m.skus[0], Wanted: 2, Left: 1}, {SKU: m.skus[1], Wanted: 2, Left: 1}}) {
		t.Errorf("short: %+v", short)
	}
	m.problem("POST", "/admin/v1/refunds/"+first.ID+"/grant", nil, 403, api.CodeForbidden)
	decide := "/admin/v1/refunds/" + first.ID
	for range 2 { // again is the same
		support.must("POST", decide+"/deny", map[string]string{"note": "it was not broken"}, &first)
	}
	if first.State != api.RefundDenied || first.DecidedBy != support.id ||
		first.Note != "it was not broken" {
		t.Errorf("denied: %+v", first)
	}
	support.problem("POST", decide+"/grant", nil, 409, api.CodeNotRefundable)
	if len(m.g.about(m.a.ID)) != 1 || m.order(m.o.ID).Refunded != gbp(0) {
		t.Errorf("order: %+v, statement %q", m.order(m.o.ID), m.g.about(m.a.ID))
	}
	// Its units are free again; many decide at once, and one refund is made.
	second := m.asks(m.o.ID, nil)
	if second.State != api.RefundAsked || second.Amount != gbp(3166) {
		t.Errorf("asked: %+v", second)
	}
	crowd(10, 10, func(int) {
		support.must("POST", "/admin/v1/refunds/"+second.ID+"/grant", nil, nil)
	})
	if r := p.refunded(second.ID); r.DecidedBy != support.id || r.Money != gbp(1966) {
		t.Errorf("granted: %+v", r)
	}
	if len(m.g.about(m.a.ID)) != 2 {
		t.Errorf("statement: %q", m.g.about(m.a.ID))
	}
	eventually(t, "everything is as it was", func() bool { return m.has() == m.before })
	var list api.RefundList
	m.must("GET", path, nil, &list)
	if l := list.Refunds; len(l) != 2 || l[0].ID != second.ID || l[1].ID != first.ID {
		t.Errorf("refunds: %+v", l)
	}
}

// A refund asked for again under its key is the same one, also twenty times at
// once; more than there is never goes back. ACCEPT Y9 P7
func tryRefundAgain(t *testing.T, p *process) {
	s, g := p.shopper(), p.till()
	sku := p.onSale(777, 20)
	o, a := s.bought(g, sku, 10)
	path := "/admin/v1/orders/" + o.ID + "/refunds"
	key := http.Header{"Idempotency-Key": {"refund-" + o.ID}}
	var ids [20]string
	crowd(len(ids), len(ids), func(i int) {
		resp, data, err := p.admin().send(key, "POST", path, refundBody(map[int]int64{0: 1}))
		if err != nil || resp.StatusCode != http.StatusCreated {
			t.Errorf("refund: %v %v %s", resp, err, data)
			return
		}
		ids[i] = decode[api.Refund](t, data).ID
	})
	if t.Failed() || slices.ContainsFunc(ids[:], func(id string) bool { return id != ids[0] }) {
		t.Fatalf("refunds: %q", ids)
	}
	p.refunded(ids[0])
	resp, data, err := p.admin().send(key, "POST", path, refundBody(map[int]int64{0: 2}))
	if err != nil || resp.StatusCode != 422 || !strings.Contains(string(data), "id_reused") {
		t.Errorf("another body under the same key: %v %v %s", resp, err, data)
	}
	// Twenty refunds of one unit, of which nine are left.
	var granted [20]bool
	crowd(len(granted), len(granted), func(i int) {
		status, data, err := p.admin().call("POST", path, refundBody(map[int]int64{0: 1}))
		if err != nil || status != http.StatusCreated && status != http.StatusConflict {
			t.Errorf("refund: %d %v %s", status, err, data)
		}
		granted[i] = status == http.StatusCreated
	})
	n := 0
	for _, ok := range granted {
		if ok {
			n++
		}
	}
	if n != 9 {
		t.Errorf("%d of 9 units were refunded", n)
	}
	eventually(t, "all has gone back", func() bool {
		rows := g.about(a.ID)
		return len(rows) == 11 && slices.Equal(rows, p.payLog(o.ID))
	})
	eventually(t, "all is in stock", func() bool { return p.sku(sku).Stock == 20 })
}

// noRefundOpen tells whether all refunds of an order are done.
func (s *shopper) noRefundOpen(order string) bool {
	s.t.Helper()
	return !slices.ContainsFunc(pages[api.Refund](s.client, "/v1/orders/"+order+"/refunds"),
		func(r api.Refund) bool { return r.State != api.RefundDone })
}

// Units that are taken out of the stock when they are paid may be gone by
// then: who pays too late gets the money back. ACCEPT C6 Y9
func tryShortAtPayment(t *testing.T, p *process) {
	g := p.till()
	sku := api.NewID("sku")
	p.importCSV("sku,spu,name,price,stock,stock_policy", fmt.Sprintf("%s,P-%s,Rare,50.00,3,payment",
		sku, sku))
	all := p.shoppers(5)
	var attempts [5]api.Attempt
	for i, s := range all { // all five can order it
		attempts[i] = s.opens(s.buy(sku, 1).ID, api.ProductPage)
	}
	crowd(5, 5, func(i int) {
		if g.takes(&attempts[i]) == "" {
			t.Error("not paid")
		}
	})
	sold, back := 0, 0
	for i, s := range all {
		a := &attempts[i]
		s.await(a.Order, api.OrderPaid)
		eventually(t, "delivered or refunded", func() bool {
			return p.steps(a.Order)["goods.sell"] == api.StepDone && s.noRefundOpen(a.Order)
		})
		var w api.Wallet
		s.must("GET", "/v1/wallet", nil, &w)
		switch rows := g.about(a.ID); len(rows) {
		case 1:
			sold++
		case 2:
			back++
			list := pages[api.Refund](s.client, "/v1/orders/"+a.Order+"/refunds")
			if r := list[0]; r.By != api.ByShop || r.Money != gbp(5000) || w.Points != 0 {
				t.Errorf("refund %+v, %d points left", r, w.Points)
			}
		default:
			t.Errorf("statement: %q", rows)
		}
	}
	if now := p.sku(sku); sold != 3 || back != 2 || now.Stock != 0 || now.Locked != 0 {
		t.Errorf("%d sold, %d refunded, stock %+v", sold, back, now)
	}
	count := map[string]int64{}
	for _, e := range p.ledger(sku) {
		count[e.Kind] += e.Stock
	}
	if count[api.LedgerSell] != -3 || len(count) != 2 {
		t.Errorf("ledger: %v", count)
	}
}
