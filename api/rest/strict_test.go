package rest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ordo/api"
	"ordo/api/rest"
)

// Names have one spelling and come once, whole numbers are written as such,
// and whatever is wrong is named where it stands.
func TestBodiesAreReadStrictly(t *testing.T) {
	s := alone(t, nil)
	const credit, coupons, receive = "/admin/v1/wallets/credit", "/admin/v1/coupons",
		"/admin/v1/stock/receive"
	money := func(n string) string {
		return `{"user":"u","reason":"r","amount":{"currency":"GBP","amount":` + n + `}}`
	}
	for _, c := range []struct{ name, path, body, place string }{
		{"unknown", credit, `{"user":"u","reason":"r","amount":{"amount":1,"currency":"GBP","x":1}}`,
			"amount.x"},
		{"case", credit, `{"User":"u","reason":"r","amount":{"amount":1,"currency":"GBP"}}`, "User"},
		{"case and right", credit, `{"user":"u","USER":"v","reason":"r","amount":{"amount":1,` +
			`"currency":"GBP"}}`, "USER"},
		{"fold", receive, `{"s\u212Au":"mug","quantity":1}`, "s\u212Au"},
		{"nested case", credit, `{"user":"u","reason":"r","amount":{"Amount":1,"currency":"GBP"}}`,
			"amount.Amount"},
		{"twice", credit, `{"user":"u","reason":"r","user":"v","amount":{"amount":1,` +
			`"currency":"GBP"}}`, "user"},
		{"escaped twice", credit, `{"user":"u","reason":"r","\u0075ser":"v","amount":{"amount":1,` +
			`"currency":"GBP"}}`, "user"},
		{"nested twice", coupons, `{"coupons":[{"user":"u","name":"n","amount":{"amount":1,"amount":` +
			`2,"currency":"GBP"},"valid_from":null,"valid_until":null}]}`, "coupons[0].amount.amount"},
		{"missing", credit, `{"user":"u","amount":{"amount":1,"currency":"GBP"}}`, "reason"},
		{"nested missing", credit, `{"user":"u","reason":"r","amount":{"amount":1}}`,
			"amount.currency"},
		{"many unknown", receive, `{"d":1,"c":1,"b":1,"a":1,"sku":"mug"}`, "a"},
		{"too large", credit, money("1e400"), "amount.amount"},
		{"too small", credit, money("-1e400"), "amount.amount"},
		{"exponent", credit, money("1e3"), "amount.amount"},
		{"point", credit, money("1.0"), "amount.amount"},
		{"large exponent", credit, money("-1e300"), "amount.amount"},
		{"over 64 bits", credit, money("9223372036854775808"), "amount.amount"},
		{"year", coupons, `{"coupons":[{"user":"u","name":"n","amount":{"amount":1,"currency":"GBP"},` +
			`"valid_from":"0001-01-01T00:00:00Z","valid_until":null}]}`, "coupons[0].valid_from"},
		{"fraction", credit, money("1.5"), "amount.amount"},
		{"elsewhere", receive, `{"sku":"a","quantity":1e400}`, "quantity"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := call(t, s, "POST", c.path, c.body, "Authorization", "Bearer "+adminToken)
			p := r.refused(422, api.CodeInvalid)
			if p.Place != c.place || strings.Contains(string(r.body), `\u0000`) {
				t.Errorf("place %q, want %q: %s", p.Place, c.place, r.body)
			}
			if strings.Contains(c.name, "twice") && !strings.Contains(p.Detail, "twice") {
				t.Errorf("detail %q", p.Detail)
			}
		})
	}
}

// Depth and length are limited, and what is at the limit is read.
func TestLimitsOfABody(t *testing.T) {
	s := alone(t, nil)
	login := func(body string) *reply { return call(t, s, "POST", "/v1/login", body) }
	login(strings.Repeat("[", 500_000)).refused(400, api.CodeInvalid)
	login(strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)).refused(400, api.CodeInvalid)
	login(strings.Repeat("[", 9000)+strings.Repeat("]", 9000)).refused(422, api.CodeInvalid)
	for path, limit := range map[string]string{"/v1/login": "1048576 bytes",
		"/admin/v1/products:import": "8388608 bytes"} {
		r := call(t, s, "POST", path, strings.Repeat(" ", rest.MaxImport+1), "Authorization",
			"Bearer "+adminToken)
		if p := r.refused(413, api.CodeTooLarge); !strings.Contains(p.Detail, limit) {
			t.Errorf("detail %q", p.Detail)
		}
	}
	atLimit := `{"email":7,"password":"x"}`
	login(atLimit+strings.Repeat(" ", rest.MaxBody-len(atLimit))).refused(422, api.CodeInvalid)
	login(atLimit+strings.Repeat(" ", rest.MaxBody-len(atLimit)+1)).refused(413, api.CodeTooLarge)
}

// FuzzBody: no body is a fault, whatever is in it.
func FuzzBody(f *testing.F) {
	s, err := rest.New(rest.Config{Currency: "GBP", AdminToken: adminToken})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	for _, seed := range []string{``, `{}`, `null`, `[1,2,{"a":[]}]`, `{"sku":"\ud800","quantity":1e9}`,
		"{\"sku\":\"\xff\\\"\",\"difference\" : -0.0 ,\"reason\":\"\"}", `{"":{"":""}} `, `"a`,
		`{"sku":"a","difference":0,"reason":"x","a":{"a":1,"a":2,"a":3}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		// A difference of 0 is refused before anybody is asked.
		if strings.ContainsAny(body, "123456789") {
			return
		}
		r := call(t, s, "POST", "/admin/v1/stock/adjust", body, "Authorization", "Bearer "+adminToken)
		if r.status != 400 && r.status != 422 {
			t.Errorf("%q: %d %s", body, r.status, r.body)
		}
	})
}

// HEAD is answered as GET is, without the body.
func TestHead(t *testing.T) {
	s := alone(t, nil)
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	ask := func(method, path string) (*http.Response, []byte) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, web.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, body
	}
	for _, path := range []string{"/livez", "/readyz", "/openapi.json", "/docs/", "/v1/me",
		"/v1/orders/x/events", "/v1/products?limit=no", "/v1/nothing", "/v1/login"} {
		get, body := ask("GET", path)
		head, none := ask("HEAD", path)
		if head.StatusCode != get.StatusCode || len(none) > 0 || len(body) == 0 ||
			head.ContentLength != get.ContentLength ||
			head.Header.Get("Content-Type") != get.Header.Get("Content-Type") {
			t.Errorf("%s: %d with %d of %d bytes, as GET %d with %d", path, head.StatusCode, len(none),
				head.ContentLength, get.StatusCode, get.ContentLength)
		}
	}
	if r := call(t, s, "HEAD", "/livez", nil).want(200); len(r.body) > 0 {
		t.Errorf("body %q", r.body)
	}
}
