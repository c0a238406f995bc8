package rest_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"ordo/api"
	"ordo/api/rest"
)

const adminToken = "admin-token-of-the-test"

// alone is an edge without a shop behind it: what reaches that would panic.
func alone(t *testing.T, change func(*rest.Config)) *rest.Server {
	t.Helper()
	cfg := rest.Config{Currency: "GBP", AdminToken: adminToken, Version: "1.2.3"}
	if change != nil {
		change(&cfg)
	}
	s, err := rest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// call sends a request; body may be a string or anything with a JSON form.
func call(t testing.TB, h http.Handler, method, path string, body any, header ...string) *reply {
	t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		in = strings.NewReader(string(api.Raw(b)))
	}
	r := httptest.NewRequest(method, path, in)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return &reply{t, method + " " + path, w.Code, w.Header(), w.Body.Bytes()}
}

// reply is an answer under test.
type reply struct {
	t      testing.TB
	what   string
	status int
	header http.Header
	body   []byte
}

func (r *reply) want(status int) *reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%s: %d, want %d: %s", r.what, r.status, status, r.body)
	}
	return r
}

// refused checks that the answer is a well-formed problem.
func (r *reply) refused(status int, code api.Code) *rest.Problem {
	r.t.Helper()
	r.want(status)
	if ct := r.header.Get("Content-Type"); ct != "application/problem+json" {
		r.t.Fatalf("%s: content type %q", r.what, ct)
	}
	var p rest.Problem
	if err := json.Unmarshal(r.body, &p); err != nil {
		r.t.Fatalf("%s: %v: %s", r.what, err, r.body)
	}
	if p.Code != code || p.Status != status || p.Title != http.StatusText(status) ||
		p.Detail == "" {
		r.t.Fatalf("%s: %+v, want code %s", r.what, p, code)
	}
	if n := r.header.Get("Content-Length"); n != strconv.Itoa(len(r.body)) {
		r.t.Errorf("%s: Content-Length %q of %d bytes", r.what, n, len(r.body))
	}
	return &p
}

func decode[T any](r *reply) T {
	r.t.Helper()
	var v T
	if err := json.Unmarshal(r.body, &v); err != nil {
		r.t.Fatalf("%s: %v: %s", r.what, err, r.body)
	}
	return v
}

// allCodes are the values of all constants of type Code in package api.
func allCodes(t *testing.T) []api.Code {
	t.Helper()
	files, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	var codes []api.Code
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || len(v.Values) != 1 {
				return true
			}
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Code" {
				s, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				codes = append(codes, api.Code(s))
			}
			return true
		})
	}
	return codes
}

func TestEveryCodeHasAStatus(t *testing.T) {
	codes := allCodes(t)
	if len(codes) < 25 {
		t.Fatalf("found only %d codes", len(codes))
	}
	for _, c := range codes {
		if !rest.HasStatus(c) {
			t.Errorf("%s has no status", c)
		}
		s := rest.Status(c)
		if s < 400 || s >= 500 && c != api.CodeBusy && c != api.CodeUnavailable &&
			c != api.CodeInternal {
			t.Errorf("%s is %d", c, s)
		}
	}
}

func TestBadInput(t *testing.T) {
	s := alone(t, nil)
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		code                     api.Code
		place                    string
	}{
		{"no JSON", "POST", "/v1/login", `{"email`, 400, api.CodeInvalid, ""},
		{"JSON and more", "POST", "/v1/login", `{"email":"a@b","password":"x"}{}`, 400,
			api.CodeInvalid, ""},
		{"no body", "POST", "/v1/login", ``, 400, api.CodeInvalid, ""},
		{"null", "POST", "/v1/login", `null`, 422, api.CodeInvalid, ""},
		{"a list", "POST", "/v1/login", `[]`, 422, api.CodeInvalid, ""},
		{"unknown field", "POST", "/v1/login", `{"email":"a@b","password":"x","admin":true}`, 422,
			api.CodeInvalid, "admin"},
		{"missing field", "POST", "/v1/login", `{"email":"a@b"}`, 422, api.CodeInvalid, ""},
		{"wrong type", "POST", "/v1/login", `{"email":7,"password":"x"}`, 422, api.CodeInvalid,
			"email"},
		{"too long", "POST", "/v1/login", `{"email":"` + long + `","password":"x"}`, 422,
			api.CodeInvalid, "email"},
		{"short password", "POST", "/v1/register", `{"email":"a@b.c","password":"x"}`, 422,
			api.CodeInvalid, "password"},
		{"bad guest", "POST", "/v1/login", `{"email":"a@b","password":"x"}`, 422, api.CodeInvalid,
			"Ordo-Guest"},
		{"too large", "POST", "/v1/login", `{"email":"` + strings.Repeat("x", rest.MaxBody) + `"}`,
			413, api.CodeTooLarge, ""},
		{"no number", "GET", "/v1/products?limit=many", ``, 422, api.CodeInvalid, "limit"},
		{"out of limits", "GET", "/v1/products?limit=201", ``, 422, api.CodeInvalid, "limit"},
		{"nothing here", "GET", "/v1/nothing", ``, 404, api.CodeNotFound, ""},
		{"no such method", "DELETE", "/v1/login", ``, 405, api.CodeNotFound, ""},
		{"quantity", "POST", "/admin/v1/stock/receive", `{"sku":"a","quantity":0}`, 422,
			api.CodeInvalid, "quantity"},
		{"huge number", "POST", "/admin/v1/stock/receive", `{"sku":"a","quantity":1e99}`, 422,
			api.CodeInvalid, "quantity"},
		{"no difference", "POST", "/admin/v1/stock/adjust",
			`{"sku":"a","difference":0,"reason":"count"}`, 422, api.CodeInvalid, "difference"},
		{"nested", "POST", "/admin/v1/coupons", `{"coupons":[{"user":"u","name":"n",` +
			`"amount":{"amount":1.5,"currency":"GBP"},"valid_from":null,"valid_until":null}]}`, 422,
			api.CodeInvalid, "coupons[0].amount.amount"},
		{"bad time", "POST", "/admin/v1/coupons", `{"coupons":[{"user":"u","name":"n",` +
			`"amount":{"amount":1,"currency":"GBP"},"valid_from":"soon","valid_until":null}]}`, 422,
			api.CodeInvalid, "coupons[0].valid_from"},
		{"actor", "GET", "/admin/v1/dead?actor=*", ``, 404, api.CodeNotFound, "actor"},
		{"what", "POST", "/admin/v1/dead/goods/1/eat", `{"reason":"x"}`, 422, api.CodeInvalid, "what"},
		{"no CSV", "POST", "/admin/v1/products:import", "a,b\n", 422, api.CodeInvalid,
			"rows[1].a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := []string{"Authorization", "Bearer " + adminToken}
			if c.name == "bad guest" {
				header = append(header, "Ordo-Guest", "gst_>")
			}
			if c.name == "no CSV" {
				header = append(header, "Content-Type", "text/csv")
			}
			p := call(t, s, c.method, c.path, c.body, header...).refused(c.status, c.code)
			if c.place != "" && p.Place != c.place {
				t.Errorf("place %q, want %q: %+v", p.Place, c.place, p)
			}
			if strings.Contains(p.Detail, long) {
				t.Error("the answer echoes what was sent")
			}
		})
	}
}

func TestAllowedMethodsAreNamed(t *testing.T) {
	r := call(t, alone(t, nil), "DELETE", "/v1/addresses", nil)
	if got := r.header.Values("Allow"); strings.Join(got, " ") != "GET HEAD POST" {
		t.Errorf("Allow: %q", got)
	}
}

func TestBodyThatBreaksOff(t *testing.T) {
	r := httptest.NewRequest("POST", "/admin/v1/products:import",
		io.MultiReader(strings.NewReader("sku,spu,name,price\na,a,a,1.00\n"), brokenReader{}))
	r.Header.Set("Authorization", "Bearer "+adminToken)
	r.Header.Set("Content-Type", "text/csv")
	w := httptest.NewRecorder()
	alone(t, nil).ServeHTTP(w, r)
	(&reply{t, "import", w.Code, w.Header(), w.Body.Bytes()}).refused(422, api.CodeInvalid)
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// A fault is a 500 that names the request in the log and nothing else.
func TestPanicIsAnswered(t *testing.T) {
	var log strings.Builder
	s := alone(t, func(c *rest.Config) { c.Log = textLog(&log) })
	// There is no shop behind this edge.
	p := call(t, s, "GET", "/v1/products", nil).refused(500, api.CodeInternal)
	if p.Request == "" || !strings.Contains(log.String(), p.Request) {
		t.Errorf("request %q is not in the log: %s", p.Request, &log)
	}
	if !strings.Contains(log.String(), "stack") || strings.Contains(p.Detail, "nil pointer") {
		t.Errorf("answer %q, log %s", p.Detail, &log)
	}
}

// ACCEPT U1 U4: every operation but a few asks who is calling.
func TestOperationsAskWhoCalls(t *testing.T) {
	s := alone(t, nil)
	open := map[string]bool{"register": true, "login": true, "make-guest": true,
		"list-products": true, "list-categories": true, "get-product": true, "get-sku": true,
		"list-courses": true,
		"get-course":   true}
	n := 0
	for _, op := range operations(t, s) {
		if open[op.ID] {
			if op.Security != nil {
				t.Errorf("%s should be open", op.ID)
			}
			continue
		}
		n++
		path := strings.NewReplacer("{id}", "x", "{sku}", "x", "{actor}", "goods", "{n}", "1",
			"{what}", "retry").Replace(op.path)
		r := call(t, s, op.method, path, nil)
		r.refused(401, api.CodeUnauthorized)
		if r.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no WWW-Authenticate", op.ID)
		}
		if len(op.Security) == 0 {
			t.Errorf("%s: the document says that it is open", op.ID)
		}
	}
	if n < 30 {
		t.Errorf("only %d operations", n)
	}
}

type operation struct {
	method, path string
	ID           string                `json:"operationId"`
	Security     []map[string][]string `json:"security"`
}

func operations(t *testing.T, s http.Handler) []operation {
	t.Helper()
	doc := decode[struct {
		OpenAPI string                          `json:"openapi"`
		Paths   map[string]map[string]operation `json:"paths"`
	}](call(t, s, "GET", "/openapi.json", nil).want(200))
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("openapi %q", doc.OpenAPI)
	}
	var all []operation
	for path, methods := range doc.Paths {
		for method, op := range methods {
			op.method, op.path = strings.ToUpper(method), path
			all = append(all, op)
		}
	}
	return all
}

// ACCEPT P3: the document lists every route, and its references lead somewhere.
func TestOpenAPI(t *testing.T) {
	s := alone(t, nil)
	ids := map[string]bool{}
	for _, op := range operations(t, s) {
		if op.ID == "" || ids[op.ID] {
			t.Errorf("%s %s: operation id %q", op.method, op.path, op.ID)
		}
		ids[op.ID] = true
	}
	for _, id := range []string{"register", "login", "logout", "get-me", "change-password",
		"list-addresses", "make-address", "put-address", "delete-address", "make-address-default",
		"get-wallet", "list-wallet-entries", "list-coupons", "list-products",
		"list-categories", "get-product", "get-sku", "make-guest", "get-cart", "count-cart", "put-cart", "add-cart-line", "put-cart-line",
		"delete-cart-line", "clear-cart", "make-checkout", "submit-order", "list-orders",
		"get-order", "watch-order", "cancel-order", "import-products", "export-products",
		"receive-stock", "adjust-stock", "list-stock-ledger", "issue-coupons", "credit-wallet",
		"make-users", "list-all-orders",
		"get-any-order", "list-steps", "cancel-any-order", "list-dead", "get-dead", "settle-dead", "get-audit",
		"list-journal", "make-session", "end-session", "pay-order", "get-payment", "list-payments",
		"get-any-payment",
		"list-pay-log", "list-incidents", "ask-refund", "list-refunds", "list-all-refunds",
		"get-any-refund", "refund-order", "grant-refund", "deny-refund", "get-shipment",
		"list-shipments", "ship-order", "receive-shipment", "list-courses", "get-course",
		"import-courses", "list-enrolments", "list-students",
		"list-transactions", "get-transaction", "retry-transaction", "settle-transaction",
		"get-overview", "find", "get-any-user", "set-password", "list-any-coupons",
		"list-webhooks", "create-webhook", "get-webhook", "change-webhook", "delete-webhook",
		"rotate-webhook", "test-webhook", "replay-webhook", "list-deliveries", "get-delivery",
		"replay-delivery"} {
		if !ids[id] {
			t.Errorf("%s is not in the document", id)
		}
		delete(ids, id)
	}
	if len(ids) > 0 {
		t.Errorf("not expected: %v", ids)
	}
	body := call(t, s, "GET", "/openapi.json", nil).body
	var doc any
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	refs := 0
	walk(doc, func(ref string) {
		refs++
		at := doc
		for _, key := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			at, _ = at.(map[string]any)[key]
		}
		if at == nil {
			t.Errorf("%s leads nowhere", ref)
		}
	})
	if refs == 0 || !strings.Contains(string(body), "1.2.3") {
		t.Errorf("%d references, version missing?", refs)
	}
}

func walk(v any, found func(ref string)) {
	switch v := v.(type) {
	case map[string]any:
		for key, child := range v {
			if s, ok := child.(string); ok && key == "$ref" {
				found(s)
			}
			walk(child, found)
		}
	case []any:
		for _, child := range v {
			walk(child, found)
		}
	}
}

// ACCEPT P3: the page needs nothing from elsewhere.
func TestDocsPageIsOffline(t *testing.T) {
	s := alone(t, nil)
	page := string(call(t, s, "GET", "/docs/", nil).want(200).body)
	parts := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page, -1)
	for _, part := range parts {
		// What is elsewhere is not found here.
		call(t, s, "GET", part[1], nil).want(200)
	}
	if len(parts) < 3 || !strings.Contains(page, "openapi.json") {
		t.Errorf("%d parts: %s", len(parts), page)
	}
}

func TestHealth(t *testing.T) {
	ready, live := false, true
	s := alone(t, func(c *rest.Config) {
		c.Ready = func() (bool, any) { return ready, map[string]string{"goods": "starting"} }
		c.Live = func() bool { return live }
	})
	call(t, s, "GET", "/livez", nil).want(200)
	r := call(t, s, "GET", "/readyz", nil).want(503)
	if r.header.Get("Retry-After") == "" || strings.Contains(string(r.body), "starting") {
		t.Errorf("not ready, to everybody: %v %s", r.header, r.body)
	}
	r = call(t, s, "GET", "/readyz", nil, "Authorization", "Bearer "+adminToken).want(503)
	if !strings.Contains(string(r.body), "starting") {
		t.Errorf("not ready, to an operator: %s", r.body)
	}
	ready, live = true, false
	call(t, s, "GET", "/readyz", nil).want(200)
	call(t, s, "GET", "/livez", nil).want(503)
	call(t, alone(t, nil), "GET", "/readyz", nil).want(200)
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := rest.New(rest.Config{}); err == nil {
		t.Error("an edge without a currency")
	}
}

// Without an admin token nobody is admin by it, not even with an empty one.
func TestNoAdminToken(t *testing.T) {
	s := alone(t, func(c *rest.Config) { c.AdminToken = "" })
	for _, h := range []string{"Bearer ", "Bearer", "", "Basic eDp4"} {
		call(t, s, "GET", "/admin/v1/orders", nil, "Authorization", h).
			refused(401, api.CodeUnauthorized)
	}
}
