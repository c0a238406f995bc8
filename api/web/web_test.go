package web_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"ordo/api"
	"ordo/api/web"
)

// table is messages.go: the words of each key, in the order of languages.
func table(t *testing.T) map[string][]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "messages.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		pair, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		list, ok := pair.Value.(*ast.CompositeLit)
		if !ok {
			return true
		}
		key := text(t, pair.Key)
		if all[key] != nil {
			t.Errorf("%q comes twice", key)
		}
		for _, e := range list.Elts {
			all[key] = append(all[key], text(t, e))
		}
		return true
	})
	if len(all) < 200 {
		t.Fatalf("only %d messages", len(all))
	}
	return all
}

// text is the value of a string, or of strings that are added.
func text(t *testing.T, e ast.Expr) string {
	t.Helper()
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		if err != nil {
			t.Fatal(err)
		}
		return s
	case *ast.BinaryExpr:
		return text(t, e.X) + text(t, e.Y)
	}
	t.Fatalf("%T is no text", e)
	return ""
}

var verb = regexp.MustCompile(`%[a-z]`)

// ACCEPT P10
// Both languages have every message, with the same arguments.
func TestMessagesAreComplete(t *testing.T) {
	for key, m := range table(t) {
		if len(m) != 2 || m[0] == "" || m[1] == "" {
			t.Errorf("%s: %q", key, m)
			continue
		}
		if a, b := verb.FindAllString(m[0], -1), verb.FindAllString(m[1], -1); strings.Join(a, "") !=
			strings.Join(b, "") {
			t.Errorf("%s: arguments %q and %q", key, a, b)
		}
		if m[0] == m[1] {
			t.Errorf("%s is not translated: %q", key, m[0])
		}
	}
}

// used are the ways in which pages and code name a message by all of its key.
var used = regexp.MustCompile(`(?:\bt |text\(|title := |title, )"([a-z0-9_.]+)"`)

// Every message that a page or the code names is there, and so is one for every
// code of the API and every state that a page shows.
func TestMessagesAreThere(t *testing.T) {
	messages := table(t)
	want := func(where, key string) {
		t.Helper()
		if messages[key] == nil {
			t.Errorf("%s: there is no message %q", where, key)
		}
	}
	pages, err := filepath.Glob("templates/*.html")
	if err != nil {
		t.Fatal(err)
	}
	code, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range append(pages, code...) {
		for _, m := range used.FindAllStringSubmatch(read(t, name), -1) {
			if !strings.HasSuffix(m[1], ".") {
				found++
				want(name, m[1])
			}
		}
	}
	if found < 150 {
		t.Errorf("only %d messages are named", found)
	}
	for prefix, constants := range map[string]string{"code.": "Code", "state.": "Order",
		"state.say.": "Order", "refund.state.": "Refund", "enrolment.": "Enrolment",
		"entry.": "Entry", "coupon.": "Coupon", "pay.": "Pay"} {
		for _, value := range values(t, constants) {
			want(constants, prefix+value)
		}
	}
	for _, m := range regexp.MustCompile(`"([a-z]+)": true`).
		FindAllStringSubmatch(read(t, "messages.go"), -1) {
		want("notes", "note."+m[1])
	}
	for _, m := range regexp.MustCompile(`\{Name: "([a-z0-9_]+)", Type`).
		FindAllStringSubmatch(read(t, "user.go"), -1) {
		want("fields", "field."+m[1])
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// values are those of package api's constants whose names begin so and go on
// with a capital letter; codes are all values of that type.
func values(t *testing.T, prefix string) (all []string) {
	t.Helper()
	files, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	constant := regexp.MustCompile(`(?m)^\s*(?:const )?` + prefix +
		`[A-Z]\w+(?: +Code)? += "([a-z_]+)"`)
	for _, name := range files {
		for _, m := range constant.FindAllStringSubmatch(read(t, name), -1) {
			all = append(all, m[1])
		}
	}
	if len(all) < 2 {
		t.Fatalf("only %d constants %s", len(all), prefix)
	}
	return all
}

// shop answers as an API whose one SKU has a price.
type shop struct{ price api.Money }

func (s shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/v1/products/x":
		_, _ = w.Write(api.Raw(api.Product{ID: "x", Name: `<b>"X" & co</b>`, SKUs: []api.SKU{
			{ID: "x-1", Product: "x", Name: "X", Price: s.price, Stock: 1,
				Picture: "javascript:alert(1)", Options: map[string]string{"<i>": "'\">"}}}}))
	case "/v1/products/panic":
		panic("lost")
	default:
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, "<html>not ours</html>")
	}
}

func page(t testing.TB, h http.Handler, path, language string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Accept-Language", language)
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func pages(t testing.TB, price api.Money) *web.Server {
	t.Helper()
	s, err := web.New(web.Config{API: shop{price}, Currency: "GBP"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Money is written as its currency is in the language, exactly.
func TestMoney(t *testing.T) {
	for _, c := range []struct {
		amount           int64
		currency, en, zh string
	}{
		{123450, "GBP", ">£1,234.50<", ">£1,234.50<"},
		{5, "EUR", ">€0.05<", ">€0.05<"},
		{100000000, "CNY", ">CN¥1,000,000.00<", ">￥1,000,000.00<"},
		{1234, "JPY", ">¥1,234<", ">JP¥1,234<"},
		{1234567, "KWD", ">KWD\u00a01,234.567<", ">KWD\u00a01,234.567<"},
		{-99900, "USD", ">−$999.00<", ">−US$999.00<"},
		{-100000, "USD", ">−$1,000.00<", ">−US$1,000.00<"},
		{api.MaxAmount, "GBP", ">£10,000,000,000.00<", ">£10,000,000,000.00<"},
	} {
		s := pages(t, api.Money{Amount: c.amount, Currency: c.currency})
		for language, want := range map[string]string{"en": c.en, "zh": c.zh} {
			if status, body := page(t, s, "/products/x", language); status != 200 ||
				!strings.Contains(body, want) {
				t.Errorf("%d %s in %s: %d, not %q:\n%s", c.amount, c.currency, language, status, want,
					regexp.MustCompile(`class="price.*`).FindString(body))
			}
		}
	}
}

// What comes from the catalogue is text, and leads nowhere.
func TestPagesEscape(t *testing.T) {
	_, body := page(t, pages(t, api.Money{Amount: 1, Currency: "GBP"}), "/products/x", "en")
	for _, bad := range []string{"<b>", "<i>", "javascript:", `value="'">`} {
		if strings.Contains(body, bad) {
			t.Errorf("the page has %q:\n%s", bad, body)
		}
	}
}

// A fault of the API, of whatever kind, is a page with its status.
func TestFaultsArePages(t *testing.T) {
	s := pages(t, api.Money{Amount: 1, Currency: "GBP"})
	for _, path := range []string{"/", "/products/panic", "/courses"} {
		if status, body := page(t, s, path, "en"); status != http.StatusInternalServerError ||
			!strings.Contains(body, "Something went wrong in the shop") ||
			strings.Contains(body, "not ours") || strings.Contains(body, "lost") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if _, err := web.New(web.Config{Currency: "GBP"}); err == nil {
		t.Error("pages without an API")
	}
}

// BenchmarkPage is what a page costs beside the API's answers.
func BenchmarkPage(b *testing.B) {
	s := pages(b, api.Money{Amount: 1, Currency: "GBP"})
	for b.Loop() {
		if status, _ := page(b, s, "/products/x", "en"); status != 200 {
			b.Fatal(status)
		}
	}
}
