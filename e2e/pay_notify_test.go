package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ordo/api"
)

// later is delay_ms of a notify that is not to come while the test runs.
const later = 600_000

// accepted tells whether so many notices were answered, all with success.
func accepted(answers []string, n int) bool {
	return len(answers) == n && slices.Equal(answers, slices.Repeat([]string{"success"}, n))
}

// unmoved checks that an order was paid once and nothing came back.
func unmoved(t *testing.T, s *shopper, g *till, a *api.Attempt, units int64) {
	t.Helper()
	o := s.order(a.Order)
	sku := s.p.sku(o.Lines[0].SKU)
	if log := s.p.payLog(o.ID); o.State != api.OrderPaid || len(log) != 1 ||
		!slices.Equal(log, g.about(a.ID)) || sku.Stock != units || sku.Locked != 0 ||
		len(s.p.incidents(a.ID)) != 0 {
		t.Errorf("order %+v, pay log %q, gateway %q, stock %+v, incidents %v", o, log,
			g.about(a.ID), sku, s.p.incidents(a.ID))
	}
	var w api.Wallet
	s.must("GET", "/v1/wallet", nil, &w)
	if w.Points != o.Points || o.Points == 0 {
		t.Errorf("%d points, of %d", w.Points, o.Points)
	}
}

// One order, its notice once, twice, or twenty at once. ACCEPT Y4
func tryNotices(t *testing.T, p *process) {
	g := p.till()
	for _, n := range []int{1, 2, 20} {
		s := p.shopper()
		a := s.opens(s.buy(p.onSale(1000, 10), 1).ID, api.ProductPage)
		// The gateway sends the news of the payment itself as often, at once.
		if g.takes(&a, "times", n) == "" {
			t.Fatal("not paid")
		}
		s.await(a.Order, api.OrderPaid)
		more := g.steer("notify", "out_trade_no", a.ID, "times", n)
		if !accepted(more.Answers, n) {
			t.Errorf("%d notices: %q", n, more.Answers)
		}
		p.fulfilled(a.Order)
		eventually(t, "no notice is left to be delivered", func() bool {
			return len(g.steer("deliveries", "out_trade_no", a.ID).Deliveries) == 0
		})
		unmoved(t, s, g, &a, 9)
	}
}

// Notices overtake each other, and a finished trade is told of at the end; the
// order is paid once. ACCEPT Y4
func tryOutOfOrder(t *testing.T, p *process) {
	s, g := p.shopper(), p.till()
	a := s.opens(s.buy(p.onSale(1000, 10), 1).ID, api.ProductPage)
	if g.takes(&a, "delay_ms", later) == "" {
		t.Fatal("not paid")
	}
	say := func(status string) {
		s := g.steer("notify", "out_trade_no", a.ID, "trade_status", status, "times", 3)
		if !accepted(s.Answers, 3) {
			t.Errorf("%s: %+v", status, s)
		}
	}
	say("WAIT_BUYER_PAY")
	say("TRADE_SUCCESS")
	say("WAIT_BUYER_PAY")
	if s.await(a.Order, api.OrderPaid); g.steer("finish", "out_trade_no", a.ID).Code != "" {
		t.Error("the trade is not finished")
	}
	say("") // as it is
	say("TRADE_SUCCESS")
	say("WAIT_BUYER_PAY")
	p.fulfilled(a.Order)
	unmoved(t, s, g, &a, 9)
	refusedRefund(t, s, g, &a)
}

// refusedRefund asks for a refund of a finished trade, which the gateway
// refuses: nothing goes back, and the units can be asked for again. ACCEPT Y9
func refusedRefund(t *testing.T, s *shopper, g *till, a *api.Attempt) {
	t.Helper()
	p := s.p
	before := s.books(s.order(a.Order).Lines[0].SKU)
	var r api.Refund
	p.admin().must("POST", "/admin/v1/orders/"+a.Order+"/refunds", refundBody(nil), &r)
	eventually(t, "the refund has failed", func() bool {
		p.admin().must("GET", "/admin/v1/refunds/"+r.ID, nil, &r)
		return r.State == api.RefundFailed
	})
	if r.Problem == nil || r.Problem.Code != api.CodeRefundRefused || len(g.about(a.ID)) != 1 ||
		len(p.payLog(a.Order)) != 1 || p.incidents(a.ID)[api.IncidentRefund] != 1 {
		t.Errorf("refund %+v, statement %q, incidents %v", r, g.about(a.ID), p.incidents(a.ID))
	}
	if after := s.books(s.order(a.Order).Lines[0].SKU); after != before {
		t.Errorf("changed:\n%s\nwas\n%s", after, before)
	}
}

// Money that comes on the link of an order that was cancelled goes back.
// ACCEPT E2 E4 Y4
func tryAfterCancel(t *testing.T, p *process) {
	s, g := p.shopper(), p.till()
	sku := p.onSale(1000, 10)
	before := s.holdings(sku)
	o := s.buy(sku, 1)
	a := s.opens(o.ID, api.ProductPage) // and nobody looks at it
	s.must("POST", "/v1/orders/"+o.ID+"/cancel", nil, &o)
	if o.State != api.OrderCancelled {
		t.Fatalf("order: %+v", o)
	}
	s.problem("POST", "/v1/orders/"+o.ID+"/payments", map[string]any{}, 409, api.CodeNotPayable)
	trade := g.takes(&a, "times", 20)
	if trade == "" {
		t.Fatal("the gateway did not take the money")
	}
	s.sentBack(g, &a, trade)
	if got := g.steer("notify", "out_trade_no", a.ID, "trade_status", "TRADE_SUCCESS", "times",
		20); !accepted(got.Answers, 20) {
		t.Errorf("told again: %q", got.Answers)
	}
	s.sentBack(g, &a, trade)
	s.restored(sku, before)
	if rows := p.ledger(sku); len(rows) != 3 {
		t.Errorf("ledger: %+v", rows)
	}
}

// sentBack waits until money that came too late has gone back, once, and is
// recorded.
func (s *shopper) sentBack(g *till, a *api.Attempt, trade string) {
	s.t.Helper()
	var rows []string
	eventually(s.t, "the money is sent back", func() bool {
		rows = g.about(a.ID)
		return len(rows) == 2 && slices.Equal(rows, s.p.payLog(a.Order))
	})
	if !strings.HasPrefix(rows[0], "pay "+a.ID+" "+trade+" ") ||
		!strings.HasPrefix(rows[1], "refund "+a.ID+" "+trade+" rfd_") {
		s.t.Errorf("statement: %q", rows)
	}
	if got := s.p.incidents(a.ID); len(got) != 1 || got[api.IncidentLate] != 1 {
		s.t.Errorf("incidents: %v", got)
	}
	if o := s.order(a.Order); o.State != api.OrderCancelled || o.PaidAt != 0 || o.Points != 0 {
		s.t.Errorf("order: %+v", o)
	}
}

// What is told of a payment after it was refunded changes nothing. ACCEPT Y4 Y9
func tryAfterRefund(t *testing.T, p *process) {
	s, g := p.shopper(), p.till()
	sku := p.onSale(1000, 10)
	o, a := s.bought(g, sku, 2)
	for i, quantities := range []map[int]int64{{0: 1}, {}} {
		s.refunds(o.ID, quantities)
		want := g.about(a.ID)
		if len(want) != 2+i {
			t.Errorf("statement: %q", want)
		}
		for _, status := range []string{"", "TRADE_SUCCESS", "WAIT_BUYER_PAY"} {
			if said := g.steer("notify", "out_trade_no", a.ID, "trade_status", status, "times",
				20); !accepted(said.Answers, 20) {
				t.Errorf("%q: %q", status, said.Answers)
			}
		}
		if log := p.payLog(o.ID); !slices.Equal(log, want) || !slices.Equal(g.about(a.ID), want) {
			t.Errorf("pay log %q, statement %q, want %q", log, g.about(a.ID), want)
		}
	}
	if now := s.order(o.ID); now.State != api.OrderPaid || now.Refunded != gbp(2000) ||
		len(p.incidents(a.ID)) != 0 || p.sku(sku).Stock != 10 {
		t.Errorf("order %+v, incidents %v, stock %+v", now, p.incidents(a.ID), p.sku(sku))
	}
}

// Notices that nobody signed, or that do not fit, never pay, and are recorded.
// ACCEPT Y3
func tryForged(t *testing.T, p *process) {
	s, g := p.shopper(), p.till()
	a := s.opens(s.buy(p.onSale(1000, 10), 1).ID, api.ProductPage)
	g.steer("notify", "url", a.Link.URL, "delay_ms", later) // opens the trade
	forgeries := []string{"signature", "altered", "status", "unsigned", "sign_type", "repeated",
		"extra", "app_id", "seller_id"}
	before := p.forged()
	for _, kind := range forgeries {
		said := g.steer("notify", "out_trade_no", a.ID, "forge", kind)
		if len(said.Answers) != 1 || !strings.HasPrefix(said.Answers[0], "error: status 400") {
			t.Errorf("%s: %+v", kind, said)
		}
	}
	if n := p.forged() - before; n != int64(len(forgeries)) {
		t.Errorf("%d of %d forgeries were recorded", n, len(forgeries))
	}
	// These were signed by the gateway, and are about something else.
	for kind, incident := range map[string]string{"amount": api.IncidentAmount,
		"out_trade_no": api.IncidentUnknown} {
		said := g.steer("notify", "out_trade_no", a.ID, "forge", kind, "times", 2)
		if !slices.Equal(said.Answers, []string{"fail", "fail"}) {
			t.Errorf("%s: %+v", kind, said)
		}
		about := a.ID
		if kind == "out_trade_no" {
			about = "1" + a.ID[1:]
		}
		if got := p.incidents(about); got[incident] != 1 {
			t.Errorf("%s: incidents %v", kind, got)
		}
	}
	if o := s.order(a.Order); o.State != api.OrderPlaced || len(p.payLog(o.ID)) != 0 ||
		s.payment(o.ID).Attempts[0].State != api.AttemptOpen {
		t.Errorf("order: %+v", o)
	}
	// The true notice is believed all the same.
	if g.takes(&a) == "" {
		t.Error("not paid")
	}
	s.await(a.Order, api.OrderPaid)
	if rows := p.payLog(a.Order); len(rows) != 1 || fmt.Sprint(rows) != fmt.Sprint(g.about(a.ID)) {
		t.Errorf("pay log: %q", rows)
	}
}

// forged is how many forged notices were counted.
func (p *process) forged() int64 {
	p.t.Helper()
	var list api.PaymentIncidentList
	p.admin().must("GET", "/admin/v1/incidents?kind=forged&limit=1", nil, &list)
	return list.Forged
}
