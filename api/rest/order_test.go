package rest_test

import (
	"bufio"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"ordo/actors/goods"
	"ordo/actors/order"
	"ordo/api"
	"ordo/api/rest"
)

// ACCEPT F1 F2 S1 S4: buy-now, with everything on the page, to a placed order.
func TestBuyNow(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	s.credit(u.id, 500, "k1").want(200)
	c := s.issue(u.id, 300)
	p := u.buyNow("mug", 2)
	if p.Total != gbp(2000) || len(p.Addresses) != 1 || p.Addresses[0].ID != u.address ||
		len(p.Coupons) != 1 || p.Coupons[0].ID != c || p.Balance != gbp(500) ||
		strings.Join(p.PayMethods, " ") != "balance alipay" || p.Lines[0]["name"] != "Mug" {
		t.Fatalf("page %+v", p)
	}
	body := u.order(p)
	body["coupon"], body["balance"], body["total"] = c, gbp(500), gbp(1700)
	body["lines"] = []object{{"sku": "mug", "quantity": 2, "price": gbp(1000)}}
	o := u.placed(u.call("POST", "/v1/orders", body))
	if o.Subtotal != gbp(2000) || o.Discount != gbp(300) || o.Total != gbp(1700) ||
		o.Balance != gbp(500) || o.Due != gbp(1200) || o.Lines[0].Name != "Mug" ||
		o.Address.City != "London" || o.ExpiresAt == 0 {
		t.Errorf("order %+v", o)
	}
	if list := decode[api.OrderList](u.call("GET", "/v1/orders?state=placed", nil).want(200)); len(
		list.Orders) != 1 || list.Orders[0].ID != o.ID {
		t.Errorf("orders %+v", list)
	}
	if w := decode[api.Wallet](u.call("GET", "/v1/wallet", nil).want(200)); w.Balance != gbp(0) {
		t.Errorf("wallet %+v", w)
	}
	if n := s.available("mug"); n != 98 {
		t.Errorf("%d mugs left", n)
	}
}

// ACCEPT S2: 50 at once, another body, a foreign and a forged token.
func TestSameToken(t *testing.T) {
	s := newShop(t)
	u, other := s.shopper("ann@example.com"), s.shopper("bob@example.com")
	p := u.buyNow("mug", 1)
	body := u.order(p)
	replies := make([]*reply, 50)
	var wait sync.WaitGroup
	for i := range replies {
		wait.Go(func() { replies[i] = u.call("POST", "/v1/orders?wait=10s", body) })
	}
	wait.Wait()
	id := u.placed(replies[0]).ID
	for _, r := range replies {
		if got := u.placed(r).ID; got != id {
			t.Errorf("order %s and %s of one token", id, got)
		}
	}
	if n := s.available("mug"); n != 99 {
		t.Errorf("%d mugs left", n)
	}
	// Spaces and the order of fields are the same body.
	if got := u.placed(u.call("POST", "/v1/orders", body)).ID; got != id {
		t.Error("another order")
	}
	changed := u.order(p)
	changed["channel"] = "app"
	u.call("POST", "/v1/orders", changed).refused(422, api.CodeTokenReused)
	foreign := other.order(p)
	other.call("POST", "/v1/orders", foreign).refused(404, api.CodeTokenUnknown)
	forged := u.order(page{Token: api.NewID(api.PrefixCheckout), Total: p.Total})
	u.call("POST", "/v1/orders", forged).refused(404, api.CodeTokenUnknown)
	forged["token"] = "chk_nonsense"
	u.call("POST", "/v1/orders", forged).refused(404, api.CodeTokenUnknown)
}

// ACCEPT S2: a body that is refused as it stands binds nothing; mended, it is
// taken under the same token.
func TestTokenOutlivesBadBody(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	p := u.buyNow("mug", 1)
	bad := u.order(p)
	bad["pay_method"] = "shells"
	u.call("POST", "/v1/orders", bad).refused(422, api.CodeInvalid)
	bad = u.order(p)
	bad["lines"] = []object{{"sku": "mug", "quantity": 2}}
	u.call("POST", "/v1/orders", bad).refused(422, api.CodeInvalid)
	u.placed(u.call("POST", "/v1/orders", u.order(p)))
	if n := s.available("mug"); n != 99 {
		t.Errorf("%d mugs left", n)
	}
}

// ACCEPT F2 S1: an order is paid in a way that the checkout offered.
func TestPayMethods(t *testing.T) {
	s := newShop(t, func(c *rest.Config) { c.PayMethods = []string{api.PayStripe} })
	u := s.shopper("ann@example.com")
	s.credit(u.id, 2000, "k").want(200)
	p := u.buyNow("mug", 1)
	if strings.Join(p.PayMethods, " ") != "balance stripe" {
		t.Errorf("offered %v", p.PayMethods)
	}
	body := u.order(p) // by Alipay
	if p := u.call("POST", "/v1/orders", body).refused(422, api.CodeInvalid); p.Place != "pay_method" {
		t.Errorf("place %q", p.Place)
	}
	// The token is not bound by what was refused.
	body["pay_method"] = api.PayStripe
	u.placed(u.call("POST", "/v1/orders", body))
	body = u.order(u.buyNow("mug", 1))
	body["pay_method"], body["balance"] = api.PayBalance, gbp(1000)
	o := decode[api.Order](u.call("POST", "/v1/orders", body).want(201))
	if o.State != api.OrderPaid {
		t.Errorf("order %+v", o)
	}
}

// ACCEPT S2: after a week the token is gone from the bucket and the address
// from the book; the order is still the answer.
func TestSameTokenMuchLater(t *testing.T) {
	s := newShop(t)
	u, other := s.shopper("ann@example.com"), s.shopper("bob@example.com")
	p := u.buyNow("mug", 1)
	body := u.order(p)
	id := u.placed(u.call("POST", "/v1/orders", body)).ID
	home2 := object{"name": "Ann", "phone": "020", "lines": []string{"2 Low Road"}, "city": "York",
		"country": "GB"}
	u.call("PUT", "/v1/addresses/"+u.address, home2).want(200)
	o := u.placed(u.call("POST", "/v1/orders", body))
	if o.ID != id || o.Address.City != "London" {
		t.Errorf("order %s to %s", o.ID, o.Address.City)
	}
	if err := s.checkouts.Purge(t.Context(), u.id+"."+p.Token); err != nil {
		t.Fatal(err)
	}
	if got := u.placed(u.call("POST", "/v1/orders", body)).ID; got != id {
		t.Error("another order without the token")
	}
	u.call("DELETE", "/v1/addresses/"+u.address, nil).want(204)
	if got := u.placed(u.call("POST", "/v1/orders", body)).ID; got != id {
		t.Error("another order without the address")
	}
	changed := u.order(p)
	changed["channel"] = "app"
	u.call("POST", "/v1/orders", changed).refused(422, api.CodeTokenReused)
	other.call("POST", "/v1/orders", other.order(p)).refused(404, api.CodeTokenUnknown)
	if n := s.available("mug"); n != 99 {
		t.Errorf("%d mugs left", n)
	}
}

// ACCEPT S2: a crash after the claim and before the message leaves the token
// usable for the same body.
func TestClaimedButNotPublished(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	p := u.buyNow("mug", 1)
	s.stop("order")
	// The claim is made; the order actor does not hear of it in time. What is
	// answered is what the checkout showed.
	o := decode[api.Order](u.call("POST", "/v1/orders?wait=0s", u.order(p)).want(202))
	if o.State != api.OrderPending || o.Subtotal != p.Total || o.Total != p.Total ||
		o.Due != p.Total || o.Discount != gbp(0) || len(o.Lines) != 1 || o.Lines[0].SKU != "mug" ||
		o.Lines[0].Quantity != 1 || o.Lines[0].Price != gbp(1000) || o.Address.City != "London" {
		t.Errorf("order %+v", o)
	}
	s.start(order.Spec())
	id := u.placed(u.call("POST", "/v1/orders?wait=10s", u.order(p))).ID
	if n := s.available("mug"); n != 99 {
		t.Errorf("%d mugs left after order %s", n, id)
	}
}

// ACCEPT S3: the price changes between the page and the click.
func TestPriceChanged(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	p := u.buyNow("mug", 1)
	s.admin("POST", "/admin/v1/products:import",
		"sku,spu,name,price\nmug,mug,Mug,11.00\n").want(200)
	problem := u.call("POST", "/v1/orders", u.order(p)).refused(409, api.CodePriceChanged)
	if !strings.Contains(string(problem.Data), `"mug"`) || problem.Order == "" {
		t.Errorf("problem %+v", problem)
	}
	if n := s.available("mug"); n != 100 {
		t.Errorf("%d mugs left", n)
	}
	// The refused order can be looked at, and the same click is answered so again.
	o := decode[api.Order](u.call("GET", orderPath(problem.Order), nil).want(200))
	if o.State != api.OrderRefused || o.Reason.Code != api.CodePriceChanged {
		t.Errorf("order %+v", o)
	}
	u.call("POST", "/v1/orders", u.order(p)).refused(409, api.CodePriceChanged)
}

func TestRefusedSubmits(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	for _, c := range []struct {
		name, sku string
		n, status int
		change    func(object)
		code      api.Code
		place     string
	}{
		{"short", "shirt-s", 4, 409, func(object) {}, api.CodeOutOfStock, "lines"},
		{"other lines", "mug", 1, 422, func(b object) {
			b["lines"] = []object{{"sku": "mug", "quantity": 2}}
		}, api.CodeInvalid, "lines[0]"},
		{"more lines", "mug", 1, 422, func(b object) {
			b["lines"] = []object{{"sku": "mug", "quantity": 1}, {"sku": "mug", "quantity": 1}}
		}, api.CodeInvalid, "lines"},
		{"no address", "mug", 1, 422, func(b object) { b["address_id"] = "adr_x" }, api.CodeInvalid,
			"address_id"},
		{"pay method", "mug", 1, 422, func(b object) { b["pay_method"] = "shells" },
			api.CodeInvalid, "pay_method"},
		{"not offered", "mug", 1, 422, func(b object) { b["pay_method"] = api.PayStripe },
			api.CodeInvalid, "pay_method"},
		{"not covered", "mug", 1, 422, func(b object) { b["pay_method"] = api.PayBalance },
			api.CodeInvalid, "pay_method"},
		{"coupon", "mug", 1, 422, func(b object) {
			b["coupon"] = api.NewID(api.PrefixCoupon)
			b["total"] = gbp(900)
		}, api.CodeCouponUnknown, "coupon"},
		{"balance", "mug", 1, 409, func(b object) { b["balance"] = gbp(1) }, api.CodeBalanceTooLow,
			"balance"},
		{"wait", "mug", 1, 422, func(b object) { b["extra"] = 1 }, api.CodeInvalid, "extra"},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := u.order(u.buyNow(c.sku, c.n))
			c.change(body)
			p := u.call("POST", "/v1/orders", body).refused(c.status, c.code)
			if c.place != "" && p.Place != c.place {
				t.Errorf("place %q, want %q", p.Place, c.place)
			}
			if p.Order == "" {
				return
			}
			// The order is kept with the same reason.
			o := decode[api.Order](u.call("GET", orderPath(p.Order), nil).want(200))
			if o.Reason == nil || o.Reason.Code != p.Code || o.Reason.Place != p.Place {
				t.Errorf("the order's reason is %+v, the problem %+v", o.Reason, p)
			}
		})
	}
	u.call("POST", "/v1/orders?wait=soon", u.order(u.buyNow("mug", 1))).
		refused(422, api.CodeInvalid)
	s.allFree("mug")
}

// ACCEPT S7 S9: a service is down, so the answer is 202 with where to look;
// when it is back, the long-poll has the decision.
func TestNotDecidedInTime(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	p := u.buyNow("mug", 1)
	s.stop("goods")
	r := u.call("POST", "/v1/orders?wait=300ms", u.order(p)).want(202)
	where := r.header.Get("Location")
	if where == "" || r.header.Get("Retry-After") == "" {
		t.Fatalf("202 without where to look: %v", r.header)
	}
	if o := decode[api.Order](r); o.State != api.OrderPending || where != orderPath(o.ID) {
		t.Errorf("order %+v", o)
	}
	if o := decode[api.Order](u.call("GET", where+"?wait=200ms&known=pending", nil).want(200)); o.
		State != api.OrderPending {
		t.Errorf("state %s", o.State)
	}
	u.call("POST", "/v1/checkouts", object{"sku": "mug"}).refused(503, api.CodeUnavailable)
	var wait sync.WaitGroup
	wait.Go(func() {
		o := decode[api.Order](u.call("GET", where+"?wait=10&known=pending", nil).want(200))
		if o.State != api.OrderPlaced {
			t.Errorf("state %s", o.State)
		}
	})
	s.start(goods.Spec())
	wait.Wait()
}

// watch opens an order's event stream.
func (u *shopper) watch(order string) *http.Response {
	u.t.Helper()
	r, err := http.NewRequestWithContext(u.t.Context(), "GET",
		u.url+orderPath(order, "/events"), nil)
	if err != nil {
		u.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+u.token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { res.Body.Close() })
	return res
}

// One user can't keep all streams from the others.
func TestStreamsOfAUserAreLimited(t *testing.T) {
	s := newShop(t)
	ann, bob := s.shopper("ann@example.com"), s.shopper("bob@example.com")
	mine := ann.placed(ann.call("POST", "/v1/orders", ann.order(ann.buyNow("mug", 1)))).ID
	for range rest.MaxUserStreams {
		if res := ann.watch(mine); res.StatusCode != http.StatusOK {
			t.Fatalf("status %d", res.StatusCode)
		}
	}
	ann.call("GET", orderPath(mine, "/events"), nil).refused(503, api.CodeBusy)
	his := bob.placed(bob.call("POST", "/v1/orders", bob.order(bob.buyNow("mug", 1)))).ID
	if res := bob.watch(his); res.StatusCode != http.StatusOK {
		t.Errorf("another user: status %d", res.StatusCode)
	}
	ann.call("POST", orderPath(mine, "/cancel"), nil).want(200) // ends her streams
	for end := time.Now().Add(time.Minute); ann.watch(mine).StatusCode != http.StatusOK; {
		if time.Now().After(end) {
			t.Fatal("her streams are not free again")
		}
	}
}

// ACCEPT S9: the stream tells every change and ends with the last one.
func TestOrderStream(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	id := u.placed(u.call("POST", "/v1/orders", u.order(u.buyNow("mug", 1)))).ID
	res := u.watch(id)
	if ct := res.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Fatalf("%d %s", res.StatusCode, ct)
	}
	var got []string
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if state, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			if got = append(got, state); len(got) == 1 {
				u.call("POST", orderPath(id, "/cancel"), nil).want(200)
			}
		}
	}
	if len(got) < 2 || got[0] != api.OrderPlaced || got[len(got)-1] != api.OrderCancelled {
		t.Errorf("events %q", got)
	}
}

// ACCEPT E4 U4
func TestCancel(t *testing.T) {
	s := newShop(t)
	u, other := s.shopper("ann@example.com"), s.shopper("bob@example.com")
	support := s.userWith(object{"email": "sue@example.com", "role": "support"})
	mine := u.placed(u.call("POST", "/v1/orders", u.order(u.buyNow("mug", 1)))).ID
	for _, path := range []string{"", "/events"} {
		other.call("GET", orderPath(mine, path), nil).refused(404, api.CodeNotFound)
	}
	other.call("POST", orderPath(mine, "/cancel"), nil).refused(404, api.CodeNotFound)
	other.call("GET", orderPath("*"), nil).refused(404, api.CodeNotFound)
	o := decode[api.Order](u.call("POST", orderPath(mine, "/cancel"),
		object{"reason": "changed my mind"}).want(200))
	if o.State != api.OrderCancelled && o.State != api.OrderClosing {
		t.Errorf("state %s", o.State)
	}
	second := u.placed(u.call("POST", "/v1/orders", u.order(u.buyNow("mug", 1)))).ID
	path := "/admin/v1/orders/" + second
	u.call("POST", path+"/cancel", object{"reason": "x"}).refused(403, api.CodeForbidden)
	support.call("POST", path+"/cancel", object{}).refused(422, api.CodeInvalid)
	support.call("POST", path+"/cancel", object{"reason": "fraud"}).want(200)
	steps := decode[api.StepList](support.call("GET", path+"/steps", nil).want(200))
	if len(steps.Steps) == 0 || steps.Steps[0].Name != "goods.reserve" {
		t.Errorf("steps %+v", steps)
	}
	if list := decode[api.OrderList](support.call("GET",
		"/admin/v1/orders?state=cancelled&user="+u.id, nil).want(200)); len(list.Orders) != 2 {
		t.Errorf("%d orders cancelled", len(list.Orders))
	}
	support.call("POST", "/admin/v1/stock/receive", object{"sku": "mug", "quantity": 1}).
		refused(403, api.CodeForbidden)
	s.allFree("mug")
}

// Without NATS nothing can be decided: 503, which says to try again, and never
// a fault.
func TestNATSAway(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	p := u.buyNow("mug", 1)
	s.server.Shutdown()
	for _, r := range []*reply{
		u.call("GET", "/v1/cart", nil),
		u.call("POST", "/v1/orders?wait=0s", u.order(p)),
		u.call("POST", "/v1/checkouts", object{"sku": "mug"}),
		s.send("GET", "/v1/products", nil),
		s.admin("POST", "/admin/v1/stock/receive", object{"sku": "mug", "quantity": 1}),
	} {
		p := r.refused(503, api.CodeUnavailable)
		if r.header.Get("Retry-After") == "" || strings.Contains(p.Detail, "nats") {
			t.Errorf("%s: %v %+v", r.what, r.header, p)
		}
	}
	// What needs nobody else is still answered.
	s.send("GET", "/livez", nil).want(200)
	s.send("GET", "/openapi.json", nil).want(200)
}
