package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ordo/api"
	"ordo/bus"
)

// split is a shop whose stock actor is a process of its own.
type split struct {
	t *testing.T
	// front has all the other actors, the API and the NATS server.
	front *process
	goods *process
	// frontData and goodsData are their directories.
	frontData, goodsData string
}

// serveSplit starts both processes.
func serveSplit(t *testing.T, args ...string) *split {
	t.Helper()
	s := &split{t: t, frontData: t.TempDir(), goodsData: t.TempDir()}
	s.front = serve(t, s.frontData, append([]string{"--only", everyBut("goods")}, args...)...).ready()
	s.startGoods()
	return s
}

// everyBut lists all actors but one, for --only.
func everyBut(actor string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(bus.ActorNames()),
		func(name string) bool { return name == actor }), ",")
}

func (s *split) startGoods() {
	s.t.Helper()
	s.goods = serve(s.t, s.goodsData, "--only", "goods", "--no-api", "--nats", s.front.nats)
}

func (s *split) stopGoods() {
	s.t.Helper()
	if code := s.goods.stop(); code != 0 {
		s.t.Errorf("goods: exit code %d", code)
	}
}

// stop ends both and audits their books together.
func (s *split) stop() {
	s.t.Helper()
	s.stopGoods()
	if code := s.front.stop(); code != 0 {
		s.t.Errorf("exit code %d", code)
	}
	auditClean(s.t, s.frontData, s.goodsData)
}

// TestGoodsDown takes the stock actor away while orders come in.
// ACCEPT S7 S9 M6
func TestGoodsDown(t *testing.T) {
	t.Parallel()
	both := serveSplit(t)
	p := both.front
	s := p.shopper()
	sku := p.onSale(1000, 10)
	s.give(gbp(100))
	s.add(sku, 2)
	body := s.checkout("", 0).using(s.coupon(50, 0), 50, 100)
	both.stopGoods()

	resp, data, err := s.send(nil, "POST", "/v1/orders?wait=300ms", body)
	if err != nil || resp.StatusCode != http.StatusAccepted {
		t.Fatalf("order: %v %v %s", resp, err, data)
	}
	o := decode[api.Order](t, data)
	if o.State != api.OrderPending || resp.Header.Get("Location") != "/v1/orders/"+o.ID ||
		resp.Header.Get("Retry-After") == "" {
		t.Errorf("order %+v, header %v", o, resp.Header)
	}
	// The same token again is the same order; another SKU can't be looked at.
	again, data, err := s.send(nil, "POST", "/v1/orders?wait=0", body)
	if err != nil || again.StatusCode != http.StatusAccepted || decode[api.Order](t, data).ID != o.ID {
		t.Errorf("again: %v %v %s", again, err, data)
	}
	resp, data, err = s.send(nil, "GET", "/v1/skus/"+sku, nil)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable ||
		resp.Header.Get("Retry-After") == "" {
		t.Errorf("SKU: %v %v %s", resp, err, data)
	}
	events, err := s.follow(o.ID)
	if err != nil {
		t.Fatal(err)
	}
	if first := <-events; first.name != api.OrderPending {
		t.Errorf("first event: %+v", first)
	}
	both.startGoods()
	if second := <-events; second.name != api.OrderPlaced || second.order.Balance != gbp(100) {
		t.Errorf("second event: %+v", second)
	}
	if o = s.submit(body); o.State != api.OrderPlaced || p.sku(sku).Locked != 2 {
		t.Errorf("order: %+v, stock %+v", o, p.sku(sku))
	}
	s.must("POST", "/v1/orders/"+o.ID+"/cancel", nil, nil)
	last := <-events
	for last.name == api.OrderClosing {
		last = <-events
	}
	if last.name != api.OrderCancelled {
		t.Errorf("last event: %+v", last)
	}
	eventually(t, "stock given back", func() bool { return p.sku(sku).Locked == 0 })
	both.stop()
}

// TestSubmitDeadline keeps the stock actor away until an order has been given
// up. When it is back, it must not hold anything for it. ACCEPT S7 S8
func TestSubmitDeadline(t *testing.T) {
	t.Parallel()
	both := serveSplit(t, "--submit-deadline", "2s")
	p := both.front
	s := p.shopper()
	sku := p.onSale(1000, 10)
	s.give(gbp(100))
	coupon := s.coupon(50, 0)
	s.add(sku, 2)
	body, other := s.checkout("", 0).using(coupon, 50, 100), s.checkout(sku, 3)
	before := s.holdings(sku)
	both.stopGoods()

	began := time.Now()
	r := s.problem("POST", "/v1/orders?wait=10", body, 409, api.CodeTimeout)
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("given up after %s", took)
	}
	o := s.order(r.Order)
	if o.State != api.OrderRefused || o.Reason.Code != api.CodeTimeout ||
		o.Decided.Std().Sub(o.Created.Std()) < 2*time.Second {
		t.Errorf("order: %+v", o)
	}
	// One more is cancelled by its shopper while nobody can answer.
	resp, data, err := s.send(nil, "POST", "/v1/orders?wait=0", other)
	if err != nil || resp.StatusCode != http.StatusAccepted {
		t.Fatalf("order: %v %v %s", resp, err, data)
	}
	cancelled := decode[api.Order](t, data).ID
	s.must("POST", "/v1/orders/"+cancelled+"/cancel", nil, nil)

	both.startGoods()
	for _, id := range []string{o.ID, cancelled} {
		eventually(t, "undone steps", func() bool {
			return p.steps(id)["goods.reserve"] == api.StepUndone
		})
	}
	// Each was locked and unlocked, or never touched; nothing is held.
	var locked int64
	for _, e := range p.ledger(sku) {
		locked += e.Locked
	}
	if after := s.holdings(sku); after != before || locked != 0 {
		t.Errorf("changed:\n%s\nwas\n%s", after, before)
	}
	eventually(t, "the refusal in the journal", func() bool {
		return slices.Equal(p.journal(o.ID), []string{api.EventOrderRefused})
	})
	// The coupon and the balance are good for the next order.
	if o := s.submit(s.checkout(sku, 1).using(coupon, 50, 100)); o.Due != gbp(850) {
		t.Errorf("order: %+v", o)
	}
	both.stop()
}
