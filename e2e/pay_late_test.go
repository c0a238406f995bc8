package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"ordo/api"
)

// Orders that are not paid in time: with a trade that somebody looked at, with
// a link that nobody opened, with money that came in time. ACCEPT E1 E2
func TestPayLate(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data, "--expiry", "3s", "--pay-margin", "1s", "--pay-query", "1s").ready()
	g, s := p.till(), p.shopper()
	sku := p.onSale(1000, 10)
	before := s.holdings(sku)
	opened := s.opens(s.buy(sku, 1).ID, api.ProductPage)
	browse(t, http.MethodGet, opened.Link.URL, nil)
	unopened := s.opens(s.buy(sku, 1).ID, api.ProductPage)
	code := s.opens(s.buy(sku, 1).ID, api.ProductQR)
	never := s.buy(sku, 1) // nobody tried to pay
	for _, id := range []string{opened.Order, unopened.Order, code.Order, never.ID} {
		o := s.await(id, api.OrderCancelled)
		if o.Reason.Code != api.CodeTimeout || o.ClosedAt < o.ExpiresAt || o.PaidAt != 0 {
			t.Errorf("order: %+v, reason %v", o, o.Reason)
		}
		s.problem("POST", "/v1/orders/"+id+"/payments", map[string]any{}, 409, api.CodeNotPayable)
	}
	// While nobody has opened the link, the gateway can't close anything: the
	// order is let go only when the link is over for certain.
	if o := s.order(unopened.Order); o.ClosedAt < o.ExpiresAt.Add(time.Second) {
		t.Errorf("let go %s after its deadline", o.ClosedAt.Std().Sub(o.ExpiresAt.Std()))
	}
	for _, a := range []api.Attempt{opened, unopened, code} {
		if taken := g.takes(&a); taken != "" || len(g.about(a.ID)) != 0 {
			t.Errorf("the gateway took money for %s", a.ID)
		}
		if now := s.payment(a.Order); now.State != api.PaymentClosed ||
			now.Attempts[0].State != api.AttemptClosed {
			t.Errorf("payment: %+v", now)
		}
	}
	if said := g.steer("pay", "out_trade_no", opened.ID); said.TradeStatus != "TRADE_CLOSED" {
		t.Errorf("the trade is %+v", said)
	}
	s.restored(sku, before)
	p.inTime(g, s, sku)
	p.afterExpiry(g, s, sku)
	p.endsEven(g, data)
}

// inTime pays in time, but the notice is slow: the order waits for the
// gateway's word before it is given up, and is paid.
func (p *process) inTime(g *till, s *shopper, sku string) {
	p.t.Helper()
	a := s.opens(s.buy(sku, 1).ID, api.ProductPage)
	if g.takes(&a, "delay_ms", later) == "" {
		p.t.Fatal("not paid")
	}
	s.await(a.Order, api.OrderPaid)
	p.fulfilled(a.Order)
	if rows := g.about(a.ID); len(rows) != 1 || p.sku(sku).Stock != 9 {
		p.t.Errorf("statement %q, stock %+v", rows, p.sku(sku))
	}
}

// afterExpiry pays in time while the shop does not get to know of it: the
// order is cancelled, and the money goes back when the notice comes at last.
func (p *process) afterExpiry(g *till, s *shopper, sku string) {
	p.t.Helper()
	g.fails("500", forEver, "query", "close")
	a := s.opens(s.buy(sku, 1).ID, api.ProductPage)
	trade := g.takes(&a, "delay_ms", later)
	if trade == "" {
		p.t.Fatal("not paid")
	}
	s.await(a.Order, api.OrderCancelled)
	g.fails("", 0, "query", "close")
	said := g.steer("notify", "out_trade_no", a.ID, "times", 20)
	if !accepted(said.Answers, 20) {
		p.t.Errorf("answers: %q", said.Answers)
	}
	s.sentBack(g, &a, trade)
	eventually(p.t, "stock is free", func() bool {
		now := p.sku(sku)
		return now.Stock == 9 && now.Locked == 0
	})
}

// opensInTime is opens for an order that may be over: on a busy machine it was
// placed late.
func (s *shopper) opensInTime(a *api.Attempt) bool {
	s.t.Helper()
	status, data, err := s.call("POST", "/v1/orders/"+a.Order+"/payments",
		map[string]any{"product": api.ProductPage})
	if err == nil && status == http.StatusConflict &&
		decode[refusal](s.t, data).Code == api.CodeNotPayable {
		return false
	}
	if err != nil || status/100 != 2 {
		s.t.Errorf("order %s: status %d, %v: %s", a.Order, status, err, data)
		return false
	}
	*a = decode[api.Attempt](s.t, data)
	return true
}

// Three hundred orders are paid around their deadline, some also cancelled at
// that moment: each is paid and delivered, or cancelled and costs nothing.
// ACCEPT E2 E4 Y4
func TestPayExpiryRace(t *testing.T) {
	t.Parallel()
	const users, each = 30, 10
	data := t.TempDir()
	p := serve(t, data, "--expiry", "4s", "--pay-margin", "1s", "--pay-query", "1s").ready()
	g, all := p.till(), p.shoppers(users)
	sku := p.onSale(1000, users*each)
	attempts := make([]api.Attempt, users*each)
	crowd(100, len(attempts), func(i int) {
		s := all[i/each]
		a := &attempts[i]
		a.Order = s.buy(sku, 1).ID
		if !s.opensInTime(a) {
			return
		}
		if i%2 == 0 { // the trade exists before, unless a busy machine is late
			page := http.Header{"Accept": {"text/html"}}
			if _, _, err := (&client{t: t}).send(page, "GET", a.Link.URL, nil); err != nil {
				t.Error(err)
			}
		}
		// The gateway's deadline has whole seconds; from its last moments to
		// after the shop's own, and the notice comes at once or is late.
		limit := a.ExpiresAt.Std().Truncate(time.Second)
		<-time.After(time.Until(limit.Add(time.Duration(i%7-5) * 60 * time.Millisecond)))
		var cancel sync.WaitGroup
		if i%5 == 0 {
			cancel.Go(func() {
				if _, _, err := s.call("POST", "/v1/orders/"+a.Order+"/cancel", nil); err != nil {
					t.Error(err)
				}
			})
		}
		g.takes(a, "delay_ms", i%3*500)
		cancel.Wait()
	})
	paid := 0
	for i := range attempts {
		a := &attempts[i]
		s := all[i/each]
		var o api.Order
		eventually(t, "every order is decided", func() bool {
			o = s.order(a.Order)
			return o.State == api.OrderPaid || o.State == api.OrderCancelled
		})
		var rows []string
		eventually(t, "who is not served gets the money back", func() bool {
			rows = p.payLog(o.ID)
			return o.State == api.OrderPaid || len(rows)%2 == 0
		})
		switch {
		case o.State == api.OrderPaid && len(rows) == 1:
			paid++
		case o.State == api.OrderPaid || len(rows) > 2 ||
			len(rows) == 2 && !strings.HasPrefix(rows[1], "refund "+a.ID):
			t.Errorf("order is %s, pay log %q", o.State, rows)
		}
	}
	t.Logf("%d of %d were paid", paid, len(attempts))
	want := fmt.Sprintf("%d left, 0 locked", users*each-paid)
	eventually(t, want, func() bool {
		now := p.sku(sku)
		return fmt.Sprintf("%d left, %d locked", now.Stock, now.Locked) == want
	})
	if paid == 0 || paid == len(attempts) {
		t.Errorf("%d of %d were paid: there was no race", paid, len(attempts))
	}
	p.endsEven(g, data)
}
