package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"ordo/api"
)

// Bad input about payments and refunds is refused with a code and its place,
// and changes nothing.
func tryPayBadInput(t *testing.T, p *process) {
	s, g := p.shopper(), p.till()
	sku := p.onSale(1000, 10)
	open := s.buy(sku, 1)
	paid, a := s.bought(g, sku, 2)
	over := s.buy(sku, 1)
	s.must("POST", "/v1/orders/"+over.ID+"/cancel", nil, nil)
	eventually(t, "the cancelled order holds nothing", func() bool { return p.sku(sku).Locked == 1 })
	nobody := "/v1/orders/" + api.NewID(api.PrefixOrder)
	at := func(o api.Order) string { return "/v1/orders/" + o.ID }
	line := func(fields string) []byte { return raw(`{"lines":[{` + fields + `}]}`) }
	const invalid = api.CodeInvalid
	before := s.books(sku) + strings.Join(g.about(a.ID), "\n")
	for _, b := range []bad{
		{"POST", at(paid) + "/payments", raw(`{}`), 409, api.CodeNotPayable, "order"},
		{"POST", at(over) + "/payments", raw(`{}`), 409, api.CodeNotPayable, "order"},
		{"POST", at(open) + "/payments", raw(`{"provider":"stripe"}`), 422, invalid, "provider"},
		{"POST", at(open) + "/payments", raw(`{"provider":"cash"}`), 422, invalid, "provider"},
		{"POST", at(open) + "/payments", raw(`{"product":"fax"}`), 422, invalid, "product"},
		{"POST", at(open) + "/payments", raw(`{"amount":1}`), 422, invalid, "amount"},
		{"POST", at(open) + "/payments", raw(`[]`), 422, invalid, ""},
		{"POST", at(open) + "/payments", raw(`{"product":`), 400, invalid, ""},
		{"POST", nobody + "/payments", raw(`{}`), 404, api.CodeNotFound, ""},
		{"POST", "/v1/orders/nothing/payments", raw(`{}`), 404, api.CodeNotFound, ""},
		{"GET", nobody + "/payments", nil, 404, api.CodeNotFound, ""},
		{"POST", at(open) + "/refunds", raw(`{}`), 409, api.CodeNotRefundable, ""},
		{"POST", at(over) + "/refunds", raw(`{}`), 409, api.CodeNotRefundable, ""},
		{"POST", nobody + "/refunds", raw(`{}`), 404, api.CodeNotFound, ""},
		{"POST", at(paid) + "/refunds", line(`"line":0,"quantity":3`), 409, api.CodeRefundTooMuch,
			"lines"},
		{"POST", at(paid) + "/refunds", raw(`{"lines":[{"line":0,"quantity":1},
			{"line":0,"quantity":2}]}`), 409, api.CodeRefundTooMuch, "lines"},
		{"POST", at(paid) + "/refunds", line(`"line":0,"quantity":0`), 422, invalid,
			"lines[0].quantity"},
		{"POST", at(paid) + "/refunds", line(`"line":0,"quantity":-1`), 422, invalid,
			"lines[0].quantity"},
		{"POST", at(paid) + "/refunds", line(`"line":0,"quantity":9223372036854775807`), 422, invalid,
			"lines[0].quantity"},
		{"POST", at(paid) + "/refunds", line(`"line":1,"quantity":1`), 422, invalid, "lines[0].line"},
		{"POST", at(paid) + "/refunds", line(`"line":-1,"quantity":1`), 422, invalid, "lines[0].line"},
		{"POST", at(paid) + "/refunds", line(`"line":0,"quantity":1,"sku":"other"`), 422, invalid,
			"lines[0].sku"},
		{"POST", at(paid) + "/refunds", line(`"line":0,"quantity":1,"amount":100000`), 422, invalid,
			"lines[0].amount"},
		{"POST", at(paid) + "/refunds", map[string]any{"reason": strings.Repeat("x", 501)}, 422,
			invalid, "reason"},
		{"POST", at(open) + "/receive", nil, 404, api.CodeNotFound, ""},
		{"POST", at(paid) + "/receive", nil, 409, api.CodeNotShippable, ""},
		{"GET", nobody + "/shipment", nil, 404, api.CodeNotFound, ""},
		{"GET", "/v1/enrolments?cursor=x", nil, 422, invalid, "cursor"},
		{"GET", "/v1/courses/nothing", nil, 404, api.CodeNotFound, ""},
	} {
		r := s.problem(b.method, b.path, b.body, b.status, b.code)
		if r.Place != b.place && b.place != "" || r.Detail == "" {
			t.Errorf("%s %s %s: place %q, want %q: %+v", b.method, b.path, shown(b.body), r.Place,
				b.place, r)
		}
	}
	badForSupport(p, at(paid))
	if after := s.books(sku) + strings.Join(g.about(a.ID), "\n"); after != before {
		t.Errorf("changed:\n%s\nwas\n%s", after, before)
	}
}

// badForSupport is what support may send about an order that is paid.
func badForSupport(p *process, paid string) {
	p.t.Helper()
	const invalid = api.CodeInvalid
	for _, b := range []bad{
		{"POST", "/admin" + paid + "/refunds", raw(`{}`), 422, invalid, "reason"},
		{"POST", "/admin" + paid + "/refunds", raw(`{"reason":"  "}`), 422, invalid, "reason"},
		{"POST", "/admin/v1/refunds/nothing/grant", nil, 404, api.CodeNotFound, ""},
		{"GET", "/admin/v1/refunds/nothing", nil, 404, api.CodeNotFound, ""},
		{"GET", "/admin/v1/refunds?state=lost", nil, 422, invalid, "state"},
		{"GET", "/admin/v1/payments?state=lost", nil, 422, invalid, "state"},
		{"GET", "/admin/v1/paylog?cursor=x", nil, 422, invalid, "cursor"},
		{"GET", "/admin/v1/incidents?limit=0", nil, 422, invalid, "limit"},
		{"POST", "/admin" + paid + "/ship", raw(`{"carrier":"","tracking":"1"}`), 422, invalid,
			"carrier"},
		{"POST", "/admin" + paid + "/ship", raw(`{"carrier":"x"}`), 422, invalid, "tracking"},
		{"POST", "/admin/v1/courses:import", "course,title,seats\nA,B,1\n", 422, invalid, ""},
		{"POST", "/admin/v1/courses:import?price=1", "section_id,course,title,seats\nA,B,C,-1\n", 422,
			invalid, "rows[2].seats"},
		{"POST", "/admin/v1/courses:import?price=1", "section_id,course,title,seats\nA,B,C,1\nA,B,C,1\n",
			422, invalid, "rows[3].section_id"},
	} {
		r := p.admin().problem(b.method, b.path, b.body, b.status, b.code)
		if r.Place != b.place && b.place != "" {
			p.t.Errorf("%s %s %s: place %q, want %q: %+v", b.method, b.path, shown(b.body), r.Place,
				b.place, r)
		}
	}
}

// What is posted where gateways notify, and is no notice, is refused; bodies
// have a limit. ACCEPT Y3
func tryBadNotices(t *testing.T, p *process) {
	g, path := p.till(), p.url+"/pay/alipay/notify"
	s := p.shopper()
	a := s.opens(s.buy(p.onSale(1000, 10), 1).ID, api.ProductPage)
	post := func(to, kind, body string) int {
		resp, err := http.Post(to, kind, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	const form = "application/x-www-form-urlencoded"
	fields := url.Values{"out_trade_no": {a.ID}, "trade_status": {"TRADE_SUCCESS"},
		"total_amount": {"10.00"}, "trade_no": {"1"}, "sign": {"AAAA"}, "sign_type": {"RSA2"}}.Encode()
	for _, c := range []struct {
		to, kind, body string
		want           int
	}{
		{path, form, strings.Repeat("x", 64<<10+1), 413},
		{path, form, "body=" + strings.Repeat("x", 1<<20), 413},
		{path, form, strings.Repeat("x", 64<<10), 400},
		{path, form, "", 400},
		{path, form, "%zz", 400},
		{path, form, "\x00\xff", 400},
		{path, "application/json", `{"trade_status":"TRADE_SUCCESS"}`, 400},
		{path, form, fields, 400},
		// Fields in the URL are nobody's.
		{path + "?" + fields, form, "", 400},
		{p.url + "/pay/wechat/notify", form, fields, 404},
		{p.url + "/pay/stripe/notify", form, fields, 404},
		{p.url + "/pay//notify", form, fields, 404},
	} {
		if got := post(c.to, c.kind, c.body); got != c.want {
			t.Errorf("%s with %d bytes: status %d, want %d", c.to, len(c.body), got, c.want)
		}
	}
	for _, get := range []string{path, path + "?" + fields} {
		if status, data, err := p.as("").call("GET", strings.TrimPrefix(get, p.url), nil); err != nil ||
			status != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: %d %v %s", get, status, err, data)
		}
	}
	said := g.steer("notify", "url", a.Link.URL, "forge", "oversize")
	if len(said.Answers) != 1 || !strings.Contains(said.Answers[0], "status 413") {
		t.Errorf("oversize: %+v", said)
	}
	if o := s.order(a.Order); o.State != api.OrderPlaced || len(g.about(a.ID)) != 0 ||
		len(p.payLog(o.ID)) != 0 {
		t.Errorf("order: %+v", o)
	}
}

// Nobody sees or pays what is another's; what support may do, shoppers may
// not. ACCEPT U4
func tryPayStrangers(t *testing.T, p *process) {
	s, stranger := p.shopper(), p.shopper()
	sku := p.onSale(1000, 10)
	open := s.buy(sku, 1)
	paid, _ := s.bought(p.till(), sku, 1)
	before := s.books(sku)
	for _, o := range []string{open.ID, paid.ID} {
		path := "/v1/orders/" + o
		for _, b := range []bad{
			{"POST", path + "/payments", raw(`{}`), 404, api.CodeNotFound, ""},
			{"POST", path + "/payments", raw(`{"provider":"alipay"}`), 404, api.CodeNotFound, ""},
			{"GET", path + "/payments", nil, 404, api.CodeNotFound, ""},
			{"POST", path + "/refunds", raw(`{}`), 404, api.CodeNotFound, ""},
			{"GET", path + "/refunds", nil, 404, api.CodeNotFound, ""},
			{"GET", path + "/shipment", nil, 404, api.CodeNotFound, ""},
			{"POST", path + "/receive", nil, 404, api.CodeNotFound, ""},
			{"GET", "/admin" + path + "/payments", nil, 403, api.CodeForbidden, ""},
			{"POST", "/admin" + path + "/refunds", refundBody(nil), 403, api.CodeForbidden, ""},
			{"POST", "/admin" + path + "/ship", raw(`{"carrier":"x","tracking":"y"}`), 403,
				api.CodeForbidden, ""},
		} {
			stranger.problem(b.method, b.path, b.body, b.status, b.code)
			p.as("").problem(b.method, b.path, b.body, 401, api.CodeUnauthorized)
		}
	}
	for _, path := range []string{"/admin/v1/payments", "/admin/v1/paylog", "/admin/v1/incidents",
		"/admin/v1/refunds", "/admin/v1/shipments", "/admin/v1/courses/x/enrolments"} {
		stranger.problem("GET", path, nil, 403, api.CodeForbidden)
	}
	p.users(1, api.RoleSupport)[0].problem("POST", "/admin/v1/courses:import",
		"section_id,course,title,seats\nA,B,C,1\n", 403, api.CodeForbidden)
	if after := s.books(sku); after != before {
		t.Errorf("changed:\n%s\nwas\n%s", after, before)
	}
}
