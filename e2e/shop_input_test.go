package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ordo/api"
	"ordo/api/rest"
)

// bad is a request that must be refused, with where it is wrong.
type bad struct {
	method, path string
	body         any
	status       int
	code         api.Code
	place        string
}

// raw is a body that is sent as it is.
func raw(s string) []byte { return []byte(s) }

// orderMistakes are what a shopper may send to checkout and order; o is an
// order, and sku is on sale for 10.00.
func orderMistakes(s *shopper, o *api.Order, sku string) []bad {
	const invalid = api.CodeInvalid
	// The first submit of a token binds it, good or bad.
	change := func(field string, v any) map[string]any {
		m := decode[map[string]any](s.t, api.Raw(s.checkout(sku, 1)))
		m[field] = v
		return m
	}
	return []bad{
		{"POST", "/v1/checkouts", map[string]any{}, 422, invalid, "from"},
		{"POST", "/v1/checkouts", map[string]any{"from": "cart", "sku": sku}, 422, invalid, "from"},
		{"POST", "/v1/checkouts", map[string]any{"from": "attic"}, 422, invalid, "from"},
		{"POST", "/v1/checkouts", checkoutBody("nothing", 1), 422, api.CodeUnknownSKU, "lines[0].sku"},
		{"POST", "/v1/checkouts", checkoutBody(sku, -3), 422, invalid, "quantity"},
		{"POST", "/v1/orders", change("address_id", "adr_0"), 422, invalid, "address_id"},
		{"POST", "/v1/orders", change("pay_method", "shells"), 422, invalid, "pay_method"},
		{"POST", "/v1/orders", change("pay_method", "wechat"), 422, invalid, "pay_method"},
		{"POST", "/v1/orders", change("channel", "fax"), 422, invalid, "channel"},
		{"POST", "/v1/orders", change("lines", []any{}), 422, invalid, "lines"},
		{"POST", "/v1/orders", change("lines", []any{map[string]any{"sku": sku, "quantity": 2}}), 422,
			invalid, "lines[0]"},
		{"POST", "/v1/orders", change("lines", []any{map[string]any{"sku": sku, "quantity": -1}}), 422,
			invalid, "lines[0].quantity"},
		{"POST", "/v1/orders", change("total", gbp(-1)), 422, invalid, "total.amount"},
		{"POST", "/v1/orders", change("total", "10.00"), 422, invalid, "total"},
		{"POST", "/v1/orders", change("total", api.Money{Amount: 1000, Currency: "USD"}),
			422, invalid, "total.currency"},
		{"POST", "/v1/orders", change("balance", gbp(-1)), 422, invalid, "balance.amount"},
		{"POST", "/v1/orders", change("balance", gbp(1<<60)), 422, invalid, "balance.amount"},
		{"POST", "/v1/orders", change("user", s.id), 422, invalid, "user"},
		{"GET", "/v1/orders?cursor=x", nil, 422, invalid, "cursor"},
		{"GET", "/v1/orders?cursor=-1", nil, 422, invalid, "cursor"},
		{"GET", "/v1/orders?limit=0", nil, 422, invalid, "limit"},
		{"GET", "/v1/orders?limit=201", nil, 422, invalid, "limit"},
		{"GET", "/v1/orders?limit=x", nil, 422, invalid, "limit"},
		{"GET", "/v1/orders?state=lost", nil, 422, invalid, "state"},
		{"GET", "/v1/orders/nothing", nil, 404, api.CodeNotFound, ""},
		{"GET", "/v1/orders/%3E", nil, 404, api.CodeNotFound, ""},
		{"GET", "/v1/orders/nothing/events", nil, 404, api.CodeNotFound, ""},
		{"POST", "/v1/orders/nothing/cancel", nil, 404, api.CodeNotFound, ""},
		{"POST", "/v1/orders/" + o.ID + "/cancel", map[string]any{"reason": strings.Repeat("x", 501)},
			422, invalid, "reason"},
	}
}

// cartMistakes are what a shopper may send to the cart, and every kind of body
// that is not what it should be.
func cartMistakes(sku string) []bad {
	const invalid = api.CodeInvalid
	line := "/v1/cart/lines/" + sku
	return []bad{
		{"POST", "/v1/cart/lines", raw(`{"sku":`), 400, invalid, ""},
		{"POST", "/v1/cart/lines", raw(`[]`), 422, invalid, ""},
		{"POST", "/v1/cart/lines", raw(`null`), 422, invalid, ""},
		{"POST", "/v1/cart/lines", raw(``), 400, invalid, ""},
		{"POST", "/v1/cart/lines", raw("{\"sku\":\"\xff\",\"quantity\":1}"), 422,
			api.CodeUnknownSKU, "sku"},
		{"POST", "/v1/cart/lines", raw("{\"sku\":\"\x00\",\"quantity\":1}"), 400, invalid, ""},
		{"POST", "/v1/cart/lines", raw(`{"sku":"` + sku + `","quantity":1}{}`), 400, invalid, ""},
		{"POST", "/v1/cart/lines", raw(`{"sku":"` + sku + `","quantity":1,"price":0}`), 422, invalid,
			"price"},
		{"POST", "/v1/cart/lines", raw(`{"sku":7,"quantity":1}`), 422, invalid, "sku"},
		{"POST", "/v1/cart/lines", raw(`{"sku":"` + sku + `","quantity":"1"}`), 422, invalid,
			"quantity"},
		{"POST", "/v1/cart/lines", raw(`{"sku":"` + sku + `","quantity":1.5}`), 422, invalid,
			"quantity"},
		{"POST", "/v1/cart/lines", raw(`{"sku":"` + sku + `","quantity":1e300}`), 422, invalid,
			"quantity"},
		{"POST", "/v1/cart/lines", raw(`{"sku":"` + sku + `","quantity":9223372036854775808}`), 422,
			invalid, "quantity"},
		{"POST", "/v1/cart/lines", raw(`{"sku":"` + sku + `","quantity":1e400}`), 422, invalid,
			"quantity"},
		{"POST", "/v1/cart/lines", raw(`{"sku":"` + sku + `","quantity":1e2}`), 422, invalid,
			"quantity"},
		{"POST", "/v1/cart/lines", raw(`{"SKU":"` + sku + `","quantity":1}`), 422, invalid, "SKU"},
		{"POST", "/v1/cart/lines", raw(`{"sku":"` + sku + `","quantity":1,"quantity":2}`), 422,
			invalid, "quantity"},
		{"POST", "/v1/cart/lines", checkoutBody(sku, 0), 422, invalid, "quantity"},
		{"POST", "/v1/cart/lines", checkoutBody(sku, -1), 422, invalid, "quantity"},
		{"POST", "/v1/cart/lines", checkoutBody(sku, api.MaxQuantity+1), 422, invalid, "quantity"},
		{"POST", "/v1/cart/lines", checkoutBody("nothing", 1), 422, api.CodeUnknownSKU, "sku"},
		{"POST", "/v1/cart/lines", map[string]any{"quantity": 1}, 422, invalid, "sku"},
		{"PUT", line, map[string]any{}, 422, invalid, ""},
		{"PUT", line, map[string]any{"quantity": -5}, 422, invalid, "quantity"},
		{"PUT", line, map[string]any{"selected": "yes"}, 422, invalid, "selected"},
		{"PUT", "/v1/cart/lines/nothing", map[string]any{"quantity": 1}, 404, api.CodeNotFound, "sku"},
	}
}

// accountMistakes are what a shopper may send elsewhere.
func accountMistakes(s *shopper) []bad {
	const invalid = api.CodeInvalid
	address := func(field string, v any) map[string]any {
		m := addressBody(sender)
		m[field] = v
		return m
	}
	return []bad{
		{"POST", "/v1/addresses", address("name", ""), 422, invalid, "name"},
		{"POST", "/v1/addresses", address("phone", "1"), 422, invalid, "phone"},
		{"POST", "/v1/addresses", address("lines", []string{}), 422, invalid, "lines"},
		{"POST", "/v1/addresses", address("lines", []string{"1", "2", "3", "4", "5", "6"}), 422,
			invalid, "lines"},
		{"POST", "/v1/addresses", address("lines", []string{"1", "\n"}), 422, invalid, "lines[1]"},
		{"POST", "/v1/addresses", address("country", "England"), 422, invalid, "country"},
		{"POST", "/v1/addresses", address("id", s.address), 422, invalid, "id"},
		{"PUT", "/v1/addresses/nothing", addressBody(sender), 404, api.CodeNotFound, ""},
		{"PUT", "/v1/addresses/" + s.address, address("city", strings.Repeat("x", 101)), 422, invalid,
			"city"},
		{"DELETE", "/v1/addresses/nothing", nil, 404, api.CodeNotFound, "address"},
		{"POST", "/v1/addresses/nothing/default", nil, 404, api.CodeNotFound, ""},
		{"GET", "/v1/wallet/entries?unit=%27", nil, 422, invalid, "unit"},
		{"GET", "/v1/wallet/entries?cursor=x", nil, 422, invalid, "cursor"},
		{"GET", "/v1/coupons?cursor=x", nil, 422, invalid, "cursor"},
		{"POST", "/v1/me/password", map[string]any{"old_password": "x", "new_password": "short"}, 422,
			invalid, "new_password"},
		{"GET", "/v1/products?limit=-1", nil, 422, invalid, "limit"},
		{"GET", "/v1/products?search=" + strings.Repeat("x", 201), nil, 422, invalid, "search"},
		{"GET", "/v1/nothing", nil, 404, api.CodeNotFound, ""},
		{"PATCH", "/v1/cart", nil, 405, api.CodeNotFound, ""},
	}
}

// visitorMistakes need no session.
func visitorMistakes() []bad {
	const invalid = api.CodeInvalid
	account := func(email, password string) map[string]any {
		return map[string]any{"email": email, "password": password}
	}
	return []bad{
		{"POST", "/v1/register", account("x", "correct horse"), 422, invalid, "email"},
		{"POST", "/v1/register", account("no at sign", "correct horse"), 422, invalid, "email"},
		{"POST", "/v1/register", account(newEmail(), "short"), 422, invalid, "password"},
		{"POST", "/v1/register", account(newEmail(), strings.Repeat("x", 201)), 422, invalid,
			"password"},
		{"POST", "/v1/register", map[string]any{"email": newEmail(), "password": "correct horse",
			"role": "admin"}, 422, invalid, "role"},
		{"POST", "/v1/login", raw(`{"email":{}}`), 422, invalid, "email"},
		{"POST", "/v1/login", raw(`no JSON`), 400, invalid, ""},
	}
}

// adminMistakes are what an admin may send.
func adminMistakes(s *shopper, sku string) []bad {
	const invalid = api.CodeInvalid
	stock := func(field string, n any) map[string]any {
		return map[string]any{"sku": sku, field: n, "reason": "x"}
	}
	coupon := func(field string, v any) map[string]any {
		c := map[string]any{"user": s.id, "name": "x", "amount": gbp(1),
			"valid_from": "2020-01-01T00:00:00Z", "valid_until": "2030-01-01T00:00:00Z"}
		c[field] = v
		return map[string]any{"coupons": []any{c}}
	}
	credit := func(field string, v any) map[string]any {
		c := map[string]any{"user": s.id, "amount": gbp(1), "reason": "x"}
		c[field] = v
		return c
	}
	user := func(field string, v any) map[string]any {
		u := map[string]any{"email": newEmail()}
		u[field] = v
		return map[string]any{"users": []any{u}}
	}
	const at = "coupons[0]."
	return []bad{
		{"POST", "/admin/v1/stock/receive", stock("quantity", 0), 422, invalid, "quantity"},
		{"POST", "/admin/v1/stock/receive", stock("quantity", -1), 422, invalid, "quantity"},
		{"POST", "/admin/v1/stock/receive", stock("quantity", api.MaxQuantity+1), 422, invalid,
			"quantity"},
		{"POST", "/admin/v1/stock/receive", map[string]any{"sku": "nothing", "quantity": 1}, 422,
			api.CodeUnknownSKU, "sku"},
		{"POST", "/admin/v1/stock/adjust", stock("difference", 0), 422, invalid, "difference"},
		{"POST", "/admin/v1/stock/adjust", map[string]any{"sku": sku, "difference": 1, "reason": ""},
			422, invalid, "reason"},
		{"GET", "/admin/v1/stock/ledger", nil, 422, invalid, "sku"},
		{"GET", "/admin/v1/stock/ledger?sku=nothing", nil, 404, api.CodeNotFound, "sku"},
		{"GET", "/admin/v1/stock/ledger?sku=" + sku + "&cursor=x", nil, 422, invalid, "cursor"},
		{"POST", "/admin/v1/coupons", map[string]any{"coupons": []any{}}, 422, invalid, "coupons"},
		{"POST", "/admin/v1/coupons", coupon("amount", gbp(0)), 422, invalid, at + "amount.amount"},
		{"POST", "/admin/v1/coupons", coupon("amount", gbp(-1)), 422, invalid, at + "amount.amount"},
		{"POST", "/admin/v1/coupons", coupon("amount", api.Money{Amount: 1, Currency: "gbp"}), 422,
			invalid, at + "amount.currency"},
		{"POST", "/admin/v1/coupons", coupon("amount", api.Money{Amount: 1, Currency: "USD"}), 422,
			invalid, at + "amount.currency"},
		{"POST", "/admin/v1/coupons", coupon("user", "usr_nobody"), 404, api.CodeNotFound, at + "user"},
		{"POST", "/admin/v1/coupons", coupon("minimum", gbp(-1)), 422, invalid, at + "minimum.amount"},
		{"POST", "/admin/v1/coupons", coupon("valid_until", "2019-01-01T00:00:00Z"), 422, invalid,
			at + "valid_until"},
		{"POST", "/admin/v1/coupons", coupon("valid_until", "soon"), 422, invalid, at + "valid_until"},
		{"POST", "/admin/v1/coupons", coupon("id", "cpn_1"), 422, invalid, at + "id"},
		{"POST", "/admin/v1/coupons", coupon("user", ""), 422, invalid, at + "user"},
		{"POST", "/admin/v1/wallets/credit", credit("amount", gbp(0)), 422, invalid, "amount.amount"},
		{"POST", "/admin/v1/wallets/credit", credit("amount", gbp(1<<60)), 422, invalid,
			"amount.amount"},
		{"POST", "/admin/v1/wallets/credit", credit("amount", 5), 422, invalid, "amount"},
		{"POST", "/admin/v1/wallets/credit", credit("user", "shop:issued"), 404, api.CodeNotFound,
			"user"},
		{"POST", "/admin/v1/wallets/credit", credit("amount", api.Money{Amount: 1, Currency: "USD"}),
			422, invalid, "amount.currency"},
		{"POST", "/admin/v1/wallets/credit", credit("reason", ""), 422, invalid, "reason"},
		{"POST", "/admin/v1/users", user("role", "king"), 422, invalid, "users[0].role"},
		{"POST", "/admin/v1/users", user("email", "nobody"), 422, invalid, "users[0].email"},
		{"POST", "/admin/v1/users", user("id", "usr_\u00e9"), 422, invalid, "users[0].id"},
		{"GET", "/admin/v1/orders/nothing", nil, 404, api.CodeNotFound, ""},
		{"GET", "/admin/v1/orders/nothing/steps", nil, 404, api.CodeNotFound, ""},
		{"POST", "/admin/v1/orders/nothing/cancel", map[string]any{"reason": "x"}, 404,
			api.CodeNotFound, ""},
		{"GET", "/admin/v1/dead?actor=nobody", nil, 404, api.CodeNotFound, "actor"},
		{"GET", "/admin/v1/dead?actor=order.0.%3E", nil, 404, api.CodeNotFound, "actor"},
		{"POST", "/admin/v1/dead/order/1/retry", map[string]any{"reason": "x"}, 404,
			api.CodeNotFound, ""},
		{"POST", "/admin/v1/dead/order/1/retry", map[string]any{"reason": ""}, 422, invalid, "reason"},
		{"POST", "/admin/v1/dead/order/0/retry", map[string]any{"reason": "x"}, 422, invalid, "n"},
		{"POST", "/admin/v1/dead/order/1/eat", map[string]any{"reason": "x"}, 422, invalid, "what"},
		{"GET", "/admin/v1/journal?cursor=x", nil, 422, invalid, "cursor"},
		{"GET", "/admin/v1/journal?limit=1000", nil, 422, invalid, "limit"},
	}
}

// Bad input is refused with a code and its place, and changes nothing.
func tryBadInput(t *testing.T, p *process) {
	s := p.shopper()
	sku := p.onSale(1000, 10)
	s.give(gbp(500))
	s.coupon(100, 0)
	s.add(sku, 1)
	o := s.buy(sku, 1)
	mistakes := slices.Concat(cartMistakes(sku), orderMistakes(s, &o, sku), accountMistakes(s))
	before := s.books(sku)
	check := func(c *client, all []bad) {
		t.Helper()
		for _, b := range all {
			r := c.problem(b.method, b.path, b.body, b.status, b.code)
			if r.Place != b.place || r.Detail == "" {
				t.Errorf("%s %s %s: place %q, want %q: %+v", b.method, b.path, shown(b.body), r.Place,
					b.place, r)
			}
		}
	}
	check(s.client, mistakes)
	check(p.as(""), visitorMistakes())
	check(p.admin(), adminMistakes(s, sku))
	if after := s.books(sku); after != before {
		t.Errorf("changed:\n%s\nwas\n%s", after, before)
	}
}

func shown(body any) string {
	if b, ok := body.([]byte); ok {
		return string(b)
	}
	return string(api.Raw(body))
}

// ACCEPT C8
func tryBadCSV(t *testing.T, p *process) {
	sku, fresh := p.onSale(1000, 10), api.NewID("sku")
	s := p.shopper()
	before := s.books(sku)
	const header = "sku,spu,name,price,stock\n"
	good := fresh + ",P,Good,1.00,5\n" + sku + ",P-" + sku + ",Renamed,2.00,5\n"
	for _, c := range []struct {
		csv   string
		row   int
		place string
	}{
		{"sku,spu,name\n" + good, 1, "price"},
		{"sku,spu,name,price,stock,colour\n" + good, 1, "colour"},
		{header + good + "X,P,Bad,1.001,1\n", 4, "price"},
		{header + good + "X,P,Bad,-1,1\n", 4, "price"},
		{header + good + "X,P,Bad,1e3,1\n", 4, "price"},
		{header + good + "X,P,Bad,99999999999999,1\n", 4, "price"},
		{header + good + "X,P,Bad,1,-1\n", 4, "stock"},
		{header + good + "X,P,Bad,1,1.5\n", 4, "stock"},
		{header + good + "X,P,Bad,1,99999999999999999999\n", 4, "stock"},
		{header + good + "X,P,,1,1\n", 4, "name"},
		{header + good + "\"X\"\"\",P,Bad,1,1\n", 4, "sku"},
		{header + good + ",P,Bad,1,1\n", 4, "sku"},
		{header + good + fresh + ",P,Twice,1,1\n", 4, "sku"},
		{header + good + "X,P,Bad,1\n", 4, ""},
		{header + good + "X,P,\"Bad,1,1\n", 4, ""},
	} {
		r := p.admin().problem("POST", "/admin/v1/products:import", c.csv, 422, api.CodeInvalid)
		rows := decode[[]rest.RowError](t, r.Data)
		at := strings.TrimSuffix("rows["+strconv.Itoa(c.row)+"]."+c.place, ".")
		if len(rows) != 1 || rows[0].Row != c.row || rows[0].Place != c.place || r.Place != at {
			t.Errorf("%q: %+v at %s, want row %d %s", c.csv, rows, r.Place, c.row, c.place)
		}
	}
	// A SKU that belongs to another product shows only in the database.
	p.admin().problem("POST", "/admin/v1/products:import", header+sku+",Q,Stolen,1,1\n", 422,
		api.CodeInvalid)
	p.as("").problem("GET", "/v1/skus/"+fresh, nil, 404, api.CodeNotFound)
	if after := s.books(sku); after != before {
		t.Errorf("changed:\n%s\nwas\n%s", after, before)
	}
	p.admin().problem("POST", "/admin/v1/products:import", "", 400, api.CodeInvalid)
	many := header + strings.Repeat("X,P,Bad,free,1\n", 500)
	r := p.admin().problem("POST", "/admin/v1/products:import", many, 422, api.CodeInvalid)
	if rows := decode[[]rest.RowError](t, r.Data); len(rows) != 100 {
		t.Errorf("%d errors", len(rows))
	}
}

// Bodies over their limits are refused before they are read whole.
func tryLargeBodies(t *testing.T, p *process) {
	s := p.shopper()
	sku := p.onSale(1000, 10)
	before := s.books(sku)
	large := bytes.Repeat([]byte(" "), rest.MaxBody+1)
	copy(large, `{"sku":"`+sku+`","quantity":1}`)
	s.problem("POST", "/v1/cart/lines", large, 413, api.CodeTooLarge)
	s.problem("POST", "/v1/orders", large, 413, api.CodeTooLarge)
	p.as("").problem("POST", "/v1/login", large, 413, api.CodeTooLarge)
	p.admin().problem("POST", "/admin/v1/stock/receive", large, 413, api.CodeTooLarge)
	p.admin().problem("POST", "/admin/v1/products:import",
		"sku,spu,name,price\n"+strings.Repeat("x", rest.MaxImport), 413, api.CodeTooLarge)
	// As large as allowed is fine.
	s.must("POST", "/v1/cart/lines", large[:rest.MaxBody], nil)
	s.must("DELETE", "/v1/cart", nil, nil)
	if after := s.books(sku); after != before {
		t.Errorf("changed:\n%s\nwas\n%s", after, before)
	}
}

// operation is one of the API, as its own documentation lists it.
type operation struct {
	method, path string
	parameters   []string
}

func (p *process) operations() (all []operation) {
	p.t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name, In string }
		}
	}
	p.as("").must("GET", "/openapi.json", nil, &doc)
	for path, methods := range doc.Paths {
		for method, op := range methods {
			o := operation{method: strings.ToUpper(method), path: path}
			for _, q := range op.Parameters {
				if q.In == "query" {
					o.parameters = append(o.parameters, q.Name)
				}
			}
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b operation) int {
		return strings.Compare(a.path+" "+a.method, b.path+" "+b.method)
	})
	return all
}

// garbage makes requests that nobody would write.
type garbage struct{ *rand.Rand }

func (g garbage) text() string {
	words := []string{"", "x", "*", ">", ".", "..", "%00", "\u00e9\u2028", "' OR 1=1 --", "null", "-1",
		"ord_01ARZ3NDEKTSV4RRFFQ69G5FAV", "chk_01ARZ3NDEKTSV4RRFFQ69G5FAV", "2019-01-01T00:00:00Z",
		"9223372036854775808", "1e400", strings.Repeat("A", 5000), "\x00\x01", "GBP", "cart", "a/b"}
	return words[g.IntN(len(words))]
}

// value is JSON of any kind, nested a little.
func (g garbage) value(depth int) any {
	names := []string{"sku", "quantity", "token", "address_id", "total", "amount", "currency", "lines",
		"users", "coupons", "email", "password", "id", "user", "reason", "valid_from", "balance", "from"}
	switch n := g.IntN(10); {
	case n < 4 && depth < 3:
		m := map[string]any{}
		for range g.IntN(6) {
			m[names[g.IntN(len(names))]] = g.value(depth + 1)
		}
		return m
	case n < 5 && depth < 3:
		return []any{g.value(depth + 1), g.value(depth + 1)}
	case n < 7:
		return g.text()
	case n < 8:
		return json.Number([]string{"0", "-1", "1.5", "1e19", "9223372036854775807"}[g.IntN(5)])
	}
	return []any{nil, true, 1, -1 << 63}[g.IntN(4)]
}

func (g garbage) body() []byte {
	b := api.Raw(g.value(0))
	switch g.IntN(6) {
	case 0:
		return b[:g.IntN(len(b)+1)]
	case 1:
		b = slices.Clone(b)
		b[g.IntN(len(b))] = byte(g.IntN(256))
	case 2:
		return bytes.Repeat([]byte("["), 20_000)
	}
	return b
}

// tryGarbage sends garbage to every operation: no 5xx, and the shop lives.
func tryGarbage(t *testing.T, p *process) {
	s := p.shopper()
	sku := p.onSale(1000, 10)
	stock := p.sku(sku)
	seed := rand.Uint64()
	g := garbage{rand.New(rand.NewPCG(seed, 0))}
	clients := []*client{s.client, p.admin(), p.as(""), p.as("x")}
	ops := p.operations()
	if len(ops) < 40 {
		t.Fatalf("%d operations", len(ops))
	}
	for _, op := range ops {
		for i := range 30 {
			path := g.fill(op)
			// The session must live on.
			c := clients[i%len(clients)]
			if op.path == "/v1/logout" && c == s.client {
				continue
			}
			body := g.body()
			status, data, err := c.call(op.method, path, body)
			if err != nil || status >= http.StatusInternalServerError || status < 200 {
				t.Errorf("seed %d: %s %s %.200s: %d %v %s", seed, op.method, path, body, status, err, data)
			}
		}
	}
	if now := p.sku(sku); fmt.Sprint(now) != fmt.Sprint(stock) {
		t.Errorf("stock: %+v, was %+v", now, stock)
	}
	s.buy(sku, 1)
}

// fill makes an address of an operation's path.
func (g garbage) fill(op operation) string {
	parts := strings.Split(op.path, "/")
	for i, part := range parts {
		if strings.HasPrefix(part, "{") {
			parts[i] = escape(g.text())
		}
	}
	path := strings.Join(parts, "/")
	path += "?"
	for _, name := range op.parameters {
		if g.IntN(2) == 0 {
			path += name + "=" + escape(g.text()) + "&"
		}
	}
	return path
}

// escape makes any text a part of an address.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
