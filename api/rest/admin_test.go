package rest_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
)

// ACCEPT P7: what moves money or stock happens once for a key.
func TestIdempotencyKeys(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	s.credit(u.id, 500, "k").want(200)
	if w := decode[api.Wallet](s.credit(u.id, 500, "k").want(200)); w.Balance != gbp(500) {
		t.Errorf("wallet %+v", w)
	}
	s.credit(u.id, 600, "k").refused(422, api.CodeIDReused)
	for range 2 {
		s.admin("POST", "/admin/v1/stock/receive", object{"sku": "mug", "quantity": 5},
			"Idempotency-Key", "r").want(204)
		s.admin("POST", "/admin/v1/stock/adjust",
			object{"sku": "mug", "difference": -1, "reason": "broken"},
			"Idempotency-Key", "a").want(204)
	}
	if n := s.available("mug"); n != 104 {
		t.Errorf("%d mugs", n)
	}
	s.admin("POST", "/admin/v1/stock/receive", object{"sku": "none", "quantity": 5}).
		refused(422, api.CodeUnknownSKU)
	list := decode[api.StockLedger](s.admin("GET", "/admin/v1/stock/ledger?sku=mug", nil).want(200))
	if len(list.Entries) != 3 || list.Entries[0].Kind != api.LedgerAdjust ||
		slices.ContainsFunc(list.Entries, func(e api.StockEntry) bool { return e.By != "admin" }) {
		t.Errorf("ledger %+v", list)
	}
	entries := decode[api.WalletEntryList](u.call("GET", "/v1/wallet/entries", nil).want(200))
	if len(entries.Entries) != 1 || entries.Entries[0].Balance != gbp(500) ||
		entries.Entries[0].By != "admin" {
		t.Errorf("entries %+v", entries)
	}
	u.call("GET", "/v1/wallet/entries?unit=POINT", nil).want(200)
}

// A list of users that is sent again gives the same users.
func TestMakeUsers(t *testing.T) {
	s := newShop(t)
	var list []object
	for i := range 40 {
		list = append(list, object{"email": fmt.Sprintf("u%d@example.com", i)})
	}
	list = append(list, object{"id": "usr_given", "email": "given@example.com"})
	make := func() []struct{ ID, Email, Token string } {
		return decode[struct {
			Items []struct{ ID, Email, Token string }
		}](s.admin("POST", "/admin/v1/users", object{"users": list}).want(201)).Items
	}
	a, b := make(), make()
	for i := range a {
		if a[i].ID != b[i].ID || a[i].Token == b[i].Token || a[i].Email != list[i]["email"] {
			t.Fatalf("user %d: %+v and %+v", i, a[i], b[i])
		}
	}
	if a[40].ID != "usr_given" {
		t.Errorf("id %s", a[40].ID)
	}
	u := &shopper{shop: s, token: a[7].Token}
	if me := decode[api.User](u.call("GET", "/v1/me", nil).want(200)); me.Email != a[7].Email {
		t.Errorf("me %+v", me)
	}
	u.call("POST", "/admin/v1/users", object{"users": list}).refused(403, api.CodeForbidden)
	u.call("GET", "/admin/v1/orders", nil).refused(403, api.CodeForbidden)
}

// Supporters and admins are made without a password. An admin sets one, and then they
// log in as everybody does; what began before has ended.
func TestSetPassword(t *testing.T) {
	s := newShop(t)
	sam := s.userWith(object{"email": "sam@example.com", "role": api.RoleSupport})
	ann, body := s.shopper("ann@example.com"), object{"new_password": "battery staple"}
	path := "/admin/v1/users/" + sam.id + "/password"
	sam.call("PUT", path, body).refused(403, api.CodeForbidden)
	s.admin("PUT", path, object{"new_password": "short"}).refused(422, api.CodeInvalid)
	s.admin("PUT", "/admin/v1/users/usr_none/password", body).refused(404, api.CodeNotFound)
	s.admin("PUT", "/admin/v1/users/"+ann.id+"/password", body).refused(403, api.CodeForbidden)
	ann.call("GET", "/v1/me", nil).want(200)
	s.admin("PUT", "/admin/v1/users/Sam@example.com/password", body).want(204)
	sam.call("GET", "/admin/v1/orders", nil).refused(401, api.CodeUnauthorized)
	login := object{"email": "sam@example.com", "password": "battery staple"}
	sam.token = decode[session](s.send("POST", "/v1/login", login).want(200)).Token
	sam.call("GET", "/admin/v1/orders", nil).want(200)
}

// ACCEPT C8: what is exported can be imported, and changes nothing.
func TestImportExport(t *testing.T) {
	s := newShop(t)
	bad := s.admin("POST", "/admin/v1/products:import",
		"sku,spu,name,price\nnew,new,New,1.00\nmug,mug,Mug,free\n").refused(422, api.CodeInvalid)
	if bad.Place != "rows[3].price" {
		t.Errorf("place %q", bad.Place)
	}
	s.send("GET", "/v1/products/new", nil).refused(404, api.CodeNotFound)
	var b strings.Builder
	b.WriteString("sku,spu,name,price,stock,categories,option:size,attribute:fabric\n")
	for i := range 450 {
		fmt.Fprintf(&b, "s-%03d,p-%03d,Thing %d,%d.99,1,All/Things,M,wool\n", i, i/2, i, i)
	}
	r := s.admin("POST", "/admin/v1/products:import", b.String(), "Idempotency-Key", "i").want(200)
	if got := decode[map[string]int](r); got["products"] != 225 || got["skus"] != 450 {
		t.Errorf("imported %v", got)
	}
	first := s.admin("GET", "/admin/v1/products:export", nil).want(200)
	if n := strings.Count(string(first.body), "\n"); n != 1+450+2 {
		t.Errorf("%d rows exported", n)
	}
	s.admin("POST", "/admin/v1/products:import", string(first.body)).want(200)
	second := s.admin("GET", "/admin/v1/products:export", nil).want(200)
	if string(first.body) != string(second.body) {
		t.Error("the export changed by its import")
	}
}

// ACCEPT C3
func TestCatalogue(t *testing.T) {
	s := newShop(t)
	var b strings.Builder
	b.WriteString("sku,spu,name,price,categories\n")
	for i := range 5 {
		fmt.Fprintf(&b, "s%d,p%d,Blue thing %d,1.00,All/Things\n", i, i, i)
	}
	b.WriteString("a b,p/q,Odd one,1.00,Odd\n")
	s.admin("POST", "/admin/v1/products:import", b.String()).want(200)
	var ids []string
	path := "/v1/products?search=blue&category=All&limit=2"
	for cursor := ""; ; {
		list := decode[api.ProductList](s.send("GET", path+"&cursor="+url.QueryEscape(cursor),
			nil).want(200))
		for _, p := range list.Products {
			ids = append(ids, p.ID)
		}
		if cursor = list.Next; cursor == "" {
			break
		}
	}
	if got := strings.Join(ids, " "); got != "p0 p1 p2 p3 p4" {
		t.Errorf("products %q", got)
	}
	// Ids may need escaping in an address.
	if p := decode[api.Product](s.send("GET", "/v1/products/p%2Fq", nil).want(200)); p.SKUs[0].
		ID != "a b" {
		t.Errorf("product %+v", p)
	}
	s.send("GET", "/v1/skus/a%20b", nil).want(200)
	s.send("GET", "/v1/skus/none", nil).refused(404, api.CodeNotFound)
}

// ACCEPT M5 L4: dead letters and the journal can be looked at.
func TestSupportViews(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	id := u.placed(u.call("POST", "/v1/orders", u.order(u.buyNow("mug", 1)))).ID
	s.until(func() *reply {
		r := s.admin("GET", "/admin/v1/journal?type=order.placed&order="+id, nil).want(200)
		if len(decode[api.Journal](r).Entries) == 0 {
			r.status = 0
		}
		return r
	}, 200)
	if list := decode[api.LetterList](s.admin("GET", "/admin/v1/dead?actor=goods", nil).
		want(200)); len(list.Letters) != 0 {
		t.Errorf("dead letters %+v", list)
	}
	why := object{"reason": "a try"}
	s.admin("GET", "/admin/v1/dead/goods/1", nil).refused(404, api.CodeNotFound)
	s.admin("POST", "/admin/v1/dead/goods/1/retry", why).refused(404, api.CodeNotFound)
	s.admin("POST", "/admin/v1/dead/none/1/dismiss", why).refused(404, api.CodeNotFound)
	if p := s.admin("POST", "/admin/v1/dead/goods/1/dismiss", object{"reason": ""}).
		refused(422, api.CodeInvalid); p.Place != "reason" {
		t.Errorf("place %q", p.Place)
	}
	if found := decode[struct{ Items []any }](s.admin("GET", "/admin/v1/audit", nil).
		want(200)); found.Items == nil || len(found.Items) != 0 {
		t.Errorf("deviations %+v", found)
	}
	s.admin("GET", "/admin/v1/orders/"+id, nil).want(200)
}

func TestCouponsAreIssuedOnce(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	body := object{"coupons": []object{{"user": u.id, "name": "Welcome", "amount": gbp(100),
		"minimum": gbp(0), "valid_from": "2026-01-01T00:00:00Z",
		"valid_until": "2126-01-01T00:00:00+02:00"}}}
	for range 2 {
		s.admin("POST", "/admin/v1/coupons", body, "Idempotency-Key", "c").want(201)
	}
	list := decode[api.CouponList](u.call("GET", "/v1/coupons", nil).want(200))
	if len(list.Coupons) != 1 || list.Coupons[0].State != api.CouponOpen {
		t.Errorf("coupons %+v", list)
	}
}

// Money and coupons are in the shop's currency, and for users that it has.
func TestCreditsAndCouponsAreChecked(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	usd := api.Money{Amount: 5, Currency: "USD"}
	credit := func(user string, m api.Money) *reply {
		return s.admin("POST", "/admin/v1/wallets/credit",
			object{"user": user, "amount": m, "reason": "gift"})
	}
	coupon := func(user string, amount, minimum api.Money) object {
		return object{"user": user, "name": "Welcome", "amount": amount, "minimum": minimum,
			"valid_from": "2026-01-01T00:00:00Z", "valid_until": "2126-01-01T00:00:00Z"}
	}
	issue := func(second object) *reply {
		return s.admin("POST", "/admin/v1/coupons",
			object{"coupons": []object{coupon(u.id, gbp(1), gbp(0)), second}})
	}
	for _, c := range []struct {
		r      *reply
		status int
		code   api.Code
		place  string
	}{
		{credit(u.id, usd), 422, api.CodeInvalid, "amount.currency"},
		{credit(u.id, api.Money{Amount: 5, Currency: "gbp"}), 422, api.CodeInvalid, "amount.currency"},
		{credit("usr_nobody", gbp(5)), 404, api.CodeNotFound, "user"},
		{credit("ann@example.com", gbp(5)), 404, api.CodeNotFound, "user"},
		{credit("shop:issued", gbp(5)), 404, api.CodeNotFound, "user"},
		{issue(coupon(u.id, usd, gbp(0))), 422, api.CodeInvalid, "coupons[1].amount.currency"},
		{issue(coupon(u.id, api.Money{Amount: 5, Currency: api.UnitPoint}, gbp(0))), 422,
			api.CodeInvalid, "coupons[1].amount.currency"},
		{issue(coupon(u.id, gbp(5), usd)), 422, api.CodeInvalid, "coupons[1].minimum.currency"},
		{issue(coupon("usr_nobody", gbp(5), gbp(0))), 404, api.CodeNotFound, "coupons[1].user"},
	} {
		if p := c.r.refused(c.status, c.code); p.Place != c.place {
			t.Errorf("place %q, want %q", p.Place, c.place)
		}
	}
	credit(u.id, api.Money{Amount: 7, Currency: api.UnitPoint}).want(200)
	issue(coupon(u.id, gbp(5), api.Money{})).want(201)
	w := decode[api.Wallet](u.call("GET", "/v1/wallet", nil).want(200))
	list := decode[api.CouponList](u.call("GET", "/v1/coupons", nil).want(200))
	if w.Points != 7 || w.Balance != gbp(0) || len(list.Coupons) != 2 {
		t.Errorf("wallet %+v, coupons %+v", w, list)
	}
}

// ACCEPT M5: dead letters come in pages.
func TestPagesOfDeadLetters(t *testing.T) {
	s := newShop(t)
	const letters = 5
	for i := range letters {
		if _, err := s.js.Publish(t.Context(), bus.MailboxSubject("coupon", "issue"),
			[]byte(`"no coupon"`), jetstream.WithMsgID(fmt.Sprint("dead-", i))); err != nil {
			t.Fatal(err)
		}
	}
	path := "/admin/v1/dead?actor=coupon"
	s.until(func() *reply {
		r := s.admin("GET", path, nil).want(200)
		if len(decode[api.LetterList](r).Letters) < letters {
			r.status = 0
		}
		return r
	}, 200)
	var seen []int64
	for cursor := ""; ; {
		list := decode[api.LetterList](s.admin("GET", path+"&limit=2&cursor="+cursor, nil).want(200))
		for _, l := range list.Letters {
			seen = append(seen, l.N)
		}
		if cursor = list.Next; cursor == "" || len(seen) > letters {
			break
		}
	}
	if !slices.Equal(seen, []int64{5, 4, 3, 2, 1}) {
		t.Errorf("letters %v", seen)
	}
	if p := s.admin("GET", path+"&cursor=x", nil).refused(422, api.CodeInvalid); p.Place != "cursor" {
		t.Errorf("place %q", p.Place)
	}
}
