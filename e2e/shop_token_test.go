package e2e

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"

	"ordo/api"
)

// ACCEPT S2
func tryTokenFifty(t *testing.T, p *process) {
	s := p.shopper()
	sku := p.onSale(1000, 100)
	s.give(gbp(1000))
	body := s.checkout(sku, 1).using(s.coupon(100, 0), 100, 10)
	const clients = 50
	var got [clients]struct {
		status int
		order  api.Order
		err    error
	}
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			<-start
			status, data, err := s.call("POST", "/v1/orders?wait=10", body)
			if err == nil {
				err = json.Unmarshal(data, &got[i].order)
			}
			got[i].status, got[i].err = status, err
		})
	}
	close(start)
	wg.Wait()
	for i := range got {
		g := &got[i]
		if g.err != nil || g.status != http.StatusCreated || g.order.ID != got[0].order.ID ||
			g.order.State != api.OrderPlaced {
			t.Errorf("client %d: %d %v %+v", i, g.status, g.err, g.order)
		}
	}
	once(s, sku)
}

// once checks that the shopper has one order, of one unit, with one debit.
func once(s *shopper, sku string) {
	s.t.Helper()
	var orders api.OrderList
	var entries api.WalletEntryList
	s.must("GET", "/v1/orders", nil, &orders)
	s.must("GET", "/v1/wallet/entries", nil, &entries)
	if n := s.p.sku(sku).Locked; n != 1 || len(s.p.ledger(sku)) != 2 || len(orders.Orders) != 1 ||
		len(entries.Entries) != 2 {
		s.t.Errorf("%d locked, ledger %+v, orders %+v, entries %+v", n, s.p.ledger(sku),
			orders.Orders, entries.Entries)
	}
}

// ACCEPT S2
func tryTokenAgain(t *testing.T, p *process) {
	s := p.shopper()
	sku := p.onSale(1000, 100)
	s.give(gbp(1000))
	body := s.checkout(sku, 1).using("", 0, 10)
	first := s.submit(body)
	same := func(why string) {
		t.Helper()
		if o := s.submit(body); o.ID != first.ID || o.Address.City != "London" {
			t.Errorf("%s: %+v, was %+v", why, o, first)
		}
	}
	same("at once")
	other := *body
	other.Channel = api.ChannelApp
	s.problem("POST", "/v1/orders", &other, 422, api.CodeTokenReused)
	moved := addressBody(sender)
	moved["city"] = "Leeds"
	s.must("PUT", "/v1/addresses/"+s.address, moved, nil)
	same("with an address that has changed")
	s.must("DELETE", "/v1/addresses/"+s.address, nil, nil)
	same("with an address that is gone")
	s.problem("POST", "/v1/orders", &other, 422, api.CodeTokenReused)
	p.reprice(sku, 2000, 0)
	same("at another price")
	once(s, sku)
	s.must("POST", "/v1/orders/"+first.ID+"/cancel", nil, nil)
	if o := s.submit(body); o.ID != first.ID || o.State != api.OrderCancelled {
		t.Errorf("after it was cancelled: %+v", o)
	}
}

// ACCEPT S2 U4
func tryTokenForeign(t *testing.T, p *process) {
	s, stranger := p.shopper(), p.shopper()
	sku := p.onSale(1000, 100)
	body := s.checkout(sku, 1)
	foreign := *body
	foreign.Address = stranger.address
	before, others := s.books(sku), stranger.books(sku)
	try := func() {
		t.Helper()
		stranger.problem("POST", "/v1/orders", &foreign, 404, api.CodeTokenUnknown)
		for _, token := range []string{api.NewID(api.PrefixCheckout), "chk_1", "x", "*", "chk_>",
			"ord_" + body.Token[4:], body.Token + "0"} {
			forged := *body
			forged.Token = token
			s.problem("POST", "/v1/orders", &forged, 404, api.CodeTokenUnknown)
		}
	}
	try()
	if s.books(sku) != before || stranger.books(sku) != others {
		t.Errorf("changed:\n%s\nwas\n%s", s.books(sku), before)
	}
	// Nobody has used up the owner's token, and nobody learns what became of it.
	o := s.submit(body)
	try()
	stranger.problem("GET", "/v1/orders/"+o.ID, nil, 404, api.CodeNotFound)
	if len(p.ledger(sku)) != 2 {
		t.Errorf("ledger: %+v", p.ledger(sku))
	}
}
