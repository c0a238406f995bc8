package e2e

import (
	"bytes"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
)

// ACCEPT K1
func tryCartCrowd(t *testing.T, p *process) {
	s := p.shopper()
	const clients, rounds = 20, 10
	shared := p.onSale(100, 1)
	own := make([]string, clients)
	want := map[string]int64{shared: clients * rounds}
	for i := range own {
		own[i] = p.onSale(100, 1)
		want[own[i]] = rounds
	}
	crowd(clients, clients, func(i int) {
		for range rounds {
			for _, sku := range []string{shared, own[i]} {
				status, data, err := s.call("POST", "/v1/cart/lines",
					map[string]any{"sku": sku, "quantity": 1})
				if err != nil || status != http.StatusOK {
					t.Errorf("client %d: %d %v %s", i, status, err, data)
				}
			}
		}
	})
	v := s.cart()
	if got := v.quantities(); !maps.Equal(got, want) {
		t.Errorf("cart: %v, want %v", got, want)
	}
	if v.Total != gbp(100*2*clients*rounds) {
		t.Errorf("total: %s", v.Total)
	}
	// Taking out and putting in at once: no change comes back or gets lost.
	crowd(clients, clients, func(i int) {
		path, body := "/v1/cart/lines/"+own[i], any(nil)
		method := "DELETE"
		if i%2 == 0 {
			method, body = "PUT", map[string]any{"quantity": 77, "selected": false}
		}
		if status, data, err := s.call(method, path, body); err != nil || status/100 != 2 {
			t.Errorf("client %d: %d %v %s", i, status, err, data)
		}
	})
	for i, sku := range own {
		if delete(want, sku); i%2 == 0 {
			want[sku] = 77
		}
	}
	v = s.cart()
	if got := v.quantities(); !maps.Equal(got, want) {
		t.Errorf("cart: %v, want %v", got, want)
	}
}

// ACCEPT K1
func tryCartLines(t *testing.T, p *process) {
	s := p.shopper()
	a, b := p.onSale(100, 10), p.onSale(30, 10)
	s.add(a, 2)
	s.add(b, 1)
	s.add(a, 3)
	if v := s.cart(); len(v.Lines) != 2 || v.Lines[0].Quantity != 5 || !v.Lines[0].Selected ||
		v.Total != gbp(530) || v.Lines[0].Total != gbp(500) {
		t.Errorf("cart: %+v", v)
	}
	s.must("PUT", "/v1/cart/lines/"+a, map[string]any{"quantity": 1}, nil)
	s.must("PUT", "/v1/cart/lines/"+b, map[string]any{"selected": false}, nil)
	if v := s.cart(); v.Lines[0].Quantity != 1 || v.Lines[1].Selected || v.Total != gbp(100) {
		t.Errorf("cart: %+v", v)
	}
	if c := s.checkout("", 0); c.Total != gbp(100) {
		t.Errorf("checkout of what is selected: %+v", c)
	}
	absent := p.onSale(1, 1)
	s.problem("PUT", "/v1/cart/lines/"+absent, map[string]any{"quantity": 1}, 404, api.CodeNotFound)
	s.problem("POST", "/v1/cart/lines", map[string]any{"sku": a, "quantity": api.MaxQuantity}, 422,
		api.CodeLimitExceeded)
	s.must("DELETE", "/v1/cart/lines/"+a, nil, nil)
	s.must("DELETE", "/v1/cart/lines/"+absent, nil, nil)
	if v := s.cart(); len(v.Lines) != 1 || v.Lines[0].SKU != b {
		t.Errorf("cart: %+v", v)
	}
	s.problem("POST", "/v1/checkouts", checkoutBody("", 0), 422, api.CodeInvalid)
	s.must("DELETE", "/v1/cart", nil, nil)
	if v := s.cart(); len(v.Lines) != 0 || v.Total != gbp(0) {
		t.Errorf("cart: %+v", v)
	}
}

// ACCEPT K2
func tryCartPrices(t *testing.T, p *process) {
	s := p.shopper()
	dear, cheap, few := p.onSale(500, 10), p.onSale(500, 10), p.onSale(500, 2)
	s.add(dear, 2)
	s.add(cheap, 2)
	s.add(few, 3)
	p.reprice(dear, 620, 0)
	p.reprice(cheap, 450, 0)
	v := s.cart()
	for i, want := range []struct {
		price, change, available int64
		enough                   bool
	}{{620, 120, 10, true}, {450, -50, 10, true}, {500, 0, 2, false}} {
		l := v.Lines[i]
		if l.Price != gbp(want.price) || l.Seen != gbp(500) || l.PriceChange != want.change ||
			l.Total != gbp(want.price*l.Quantity) || l.Available != want.available ||
			l.Enough != want.enough || !l.OnSale {
			t.Errorf("line %d: %+v, want %+v", i, l, want)
		}
	}
	if v.Total != gbp(2*620+2*450+3*500) {
		t.Errorf("total: %s", v.Total)
	}
}

// guestHeader is how a visitor without a session names the cart.
const guestHeader = "Ordo-Guest"

// ACCEPT K4
func tryCartGuest(t *testing.T, p *process) {
	visitor := p.as("")
	var guest struct{ Guest string }
	visitor.must("POST", "/v1/guests", nil, &guest)
	as := http.Header{guestHeader: {guest.Guest}}
	both, mine, theirs := p.onSale(100, 10), p.onSale(100, 10), p.onSale(100, 10)
	put := func(sku string, n int64) {
		t.Helper()
		resp, data, err := visitor.send(as, "POST", "/v1/cart/lines",
			map[string]any{"sku": sku, "quantity": n})
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("guest's cart: %v %v %s", resp, err, data)
		}
	}
	put(both, 2)
	put(theirs, 1)
	email, password := newEmail(), "correct horse"
	account := p.register(email, password)
	account.add(both, 3)
	account.add(mine, 1)
	for range 2 {
		resp, data, err := visitor.send(as, "POST", "/v1/login",
			map[string]any{"email": email, "password": password})
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("login: %v %v %s", resp, err, data)
		}
		v := account.cart()
		if got, want := v.quantities(), map[string]int64{both: 5, mine: 1, theirs: 1}; !maps.Equal(got,
			want) {
			t.Errorf("merged cart: %v, want %v", got, want)
		}
	}
	_, data, err := visitor.send(as, "GET", "/v1/cart", nil)
	if err != nil {
		t.Fatal(err)
	}
	if left := decode[cartView](t, data); len(left.Lines) != 0 {
		t.Errorf("left with the guest: %+v", left)
	}
	visitor.problem("GET", "/v1/cart", nil, 401, api.CodeUnauthorized)
	resp, data, err := visitor.send(http.Header{guestHeader: {account.id}}, "GET", "/v1/cart", nil)
	if err != nil || resp.StatusCode != 422 {
		t.Errorf("a user's cart as a guest: %v %v %s", resp, err, data)
	}
}

// ACCEPT K3
func tryCartTaken(t *testing.T, p *process) {
	s := p.shopper()
	all, part, kept, now := p.onSale(100, 50), p.onSale(100, 50), p.onSale(100, 50), p.onSale(100, 50)
	for _, sku := range []string{all, part, kept, now} {
		s.add(sku, 4)
	}
	s.must("PUT", "/v1/cart/lines/"+kept, map[string]any{"selected": false}, nil)
	s.must("PUT", "/v1/cart/lines/"+now, map[string]any{"selected": false}, nil)
	body := s.checkout("", 0)
	s.must("PUT", "/v1/cart/lines/"+part, map[string]any{"quantity": 9}, nil)
	o := s.submit(body)
	// Submitted once more, and bought past the cart: neither takes anything.
	s.submit(body)
	s.buy(now, 1)
	want := map[string]int64{part: 5, kept: 4, now: 4}
	eventually(t, "what was ordered leaves the cart", func() bool {
		v := s.cart()
		return v.quantities()[all] == 0
	})
	check := func(when string) {
		t.Helper()
		v := s.cart()
		if got := v.quantities(); !maps.Equal(got, want) {
			t.Errorf("cart %s: %v, want %v", when, got, want)
		}
	}
	check("after the order")
	p.repeatEffect(o.ID)
	check("after the effect came again")
}

// repeatEffect has the worker do the cart's effect of an order once more, as
// after a crash, and waits until it has.
func (p *process) repeatEffect(order string) {
	p.t.Helper()
	js, err := jetstream.New(p.connect())
	if err != nil {
		p.t.Fatal(err)
	}
	ctx := within(p.t, time.Minute)
	effects, err := js.Stream(ctx, bus.StreamEffects)
	if err != nil {
		p.t.Fatal(err)
	}
	var work []byte
	for seq := effects.CachedInfo().State.FirstSeq; ; seq++ {
		m, err := effects.GetMsg(ctx, seq)
		if err != nil {
			p.t.Fatalf("effect of %s: %v", order, err)
		}
		if bytes.Contains(m.Data, []byte(order)) {
			work = m.Data
			break
		}
	}
	ack, err := js.Publish(ctx, bus.EffectSubject("order", "cart-remove"), work)
	if err != nil {
		p.t.Fatal(err)
	}
	worker, err := effects.Consumer(ctx, "effect-order-cart-remove")
	if err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, "the effect done again", func() bool {
		info, err := worker.Info(ctx)
		return err == nil && info.AckFloor.Stream >= ack.Sequence
	})
}
