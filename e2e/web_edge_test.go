package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode"

	"ordo/api"
)

// hasHan tells whether a text has a Chinese character.
func hasHan(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Han, r) })
}

// The pages speak the language that the browser asks for, and the one that was
// chosen on them.
// ACCEPT P10
func tryPagesLanguages(t *testing.T, p *process) {
	for accept, zh := range map[string]bool{"zh-CN,zh;q=0.9,en;q=0.5": true, "en;q=0.3,zh-SG": true,
		"de-AT,de;q=0.9": false, "": false, "nonsense;;;": false, "fr,zh;q=0.1": true} {
		w := p.person(accept).visit("/")
		if got := hasHan(textOf(find(w.page, "h1"))); got != zh {
			t.Errorf("%q: Chinese %v", accept, got)
		}
	}
	id, _ := p.hoodies("1234.50", "3")
	w := p.person("en").visit("/products/"+id).sees(200, "£1,234.50", "Add to cart")
	w.press("中文").sees(200, "加入购物车", "£1,234.50")
	if w.at.Path != "/products/"+id || attr(find(w.page, "html"), "lang") != "zh-Hans" {
		t.Errorf("at %s in %v", w.at, find(w.page, "html").Attr)
	}
	w.press("加入购物车").sees(200, "已加入购物车", "去结算")
	w.press("English").sees(200, "Check out").press("Update").sees(200, "Your cart is updated")
}

// Every link of every page leads to a page, in both languages, for visitors
// and for users; no page is without its words.
// ACCEPT P10
func tryPagesTour(t *testing.T, p *process) {
	id, _ := p.hoodies("5.00", "8")
	for _, accept := range []string{"en", "zh"} {
		w := p.person(accept)
		if n := w.visit("/").visit("/register").tour(); n < 8 {
			t.Errorf("only %d pages", n)
		}
		email := mail()
		w.visit("/register")
		button := map[string]string{"en": "Make the account", "zh": "注册"}[accept]
		label := map[string]string{"en": "E-mail", "zh": "电子邮箱"}[accept]
		secret := map[string]string{"en": "Password", "zh": "密码"}[accept]
		w.fill(label, email).fill(secret, "correct horse").press(button).sees(200)
		u := w.user(p)
		var a api.Address
		u.must("POST", "/v1/addresses", addressBody(sender), &a)
		u.address = a.ID
		u.give(gbp(100))
		u.coupon(10, 0)
		u.add(id+"-M-Blue", 1)
		o := u.submit(u.checkout("", 0))
		u.pays(p.till(), o.ID)
		u.await(o.ID, api.OrderPaid)
		u.buy(id+"-S-Red", 1)
		u.add(id+"-M-Red", 2)
		w.visit("/checkout?from=cart").sees(200)
		if n := w.tour(); n < 20 {
			t.Errorf("only %d pages", n)
		}
		for _, path := range []string{"/", "/cart", "/account", "/wallet", "/orders/" + o.ID} {
			w.visit(path)
			if got := hasHan(textOf(find(w.page, "h1"))); got != (accept == "zh") {
				t.Errorf("%s in %s: Chinese %v", path, accept, got)
			}
		}
	}
}

// A form that was not made for this visitor changes nothing, whatever it is.
// ACCEPT P10
func tryPagesForged(t *testing.T, p *process) {
	id, _ := p.hoodies("5.00", "8")
	w := p.buyer(id, "1")
	u := w.user(p)
	_, _, good := w.form("Place the order")
	stranger := p.person("en")
	stranger.visit("/login")
	_, _, foreign := stranger.form("Log in")
	before := p.person("en")
	before.visit("/register")
	_, _, stale := before.form("Make the account")
	before.register(mail())
	for name, token := range map[string]string{"missing": "", "made up": "x",
		"foreign": foreign.Get("csrf"), "without its last": good.Get("csrf")[1:]} {
		form := url.Values{}
		for field := range good {
			form[field] = good[field]
		}
		form.Set("csrf", token)
		form.Set("action", "place")
		for _, path := range []string{"/checkout", "/cart", "/products/" + id, "/account", "/logout",
			"/login", "/register", "/language", "/addresses/new", "/addresses/" + u.id,
			"/orders/" + u.id} {
			if w.send(http.MethodPost, w.url+path, form); w.status != http.StatusForbidden {
				t.Errorf("%s token to %s: status %d", name, path, w.status)
			}
			w.sees(403, "form")
		}
	}
	if before.send(http.MethodPost, w.url+"/logout", stale); before.status != 403 {
		t.Errorf("a form from before the login: status %d", before.status)
	}
	if n := u.orders(); n != 0 {
		t.Errorf("%d orders", n)
	}
	large := url.Values{"csrf": {good.Get("csrf")}, "x": {strings.Repeat("x", 600<<10)}}
	w.send(http.MethodPost, w.url+"/cart", large).sees(413)
	w.visit("/account").sees(200, "Account")
	for _, c := range setCookies(t, w.url+"/") {
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" {
			t.Errorf("cookie %s", c.Raw)
		}
	}
}

// setCookies are the cookies that an address sets in a new browser.
func setCookies(t *testing.T, address string) []*http.Cookie {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if len(resp.Cookies()) == 0 {
		t.Errorf("%s sets no cookie", address)
	}
	return resp.Cookies()
}

// What is another's is not there, on pages as in the API.
// ACCEPT U4
func tryPagesStrangers(t *testing.T, p *process) {
	id, _ := p.hoodies("5.00", "8")
	owner := p.buyer(id, "1").press("Place the order").sees(200, "Thank you")
	order := owner.at.Path
	a := pages[api.Address](owner.user(p).client, "/v1/addresses?")
	w := p.person("en").register(mail())
	// The stream for the script is the API's own answer.
	r, err := w.http.Get(w.url + order + "/events")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 404 || r.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("events: %s %v", r.Status, r.Header)
	}
	for _, path := range []string{order, "/addresses/" + a[0].ID,
		"/products/nothing", "/skus/nothing", "/nothing", "/orders/ord_x"} {
		w.visit(path).sees(404, "There is no such page", "not_found")
	}
	_, _, form := w.visit("/").form("English")
	for _, action := range []string{"pay", "cancel", "refund", "receive"} {
		form.Set("action", action)
		w.send(http.MethodPost, w.url+order, form).sees(404)
	}
	if o := owner.user(p).order(owner.id()); o.State != api.OrderPlaced {
		t.Errorf("the order is %s", o.State)
	}
	// Nobody at all is asked to log in, and then comes back.
	nobody := p.person("en")
	nobody.visit(order).sees(200, "Log in")
	if nobody.at.Query().Get("next") != order {
		t.Errorf("at %s", nobody.at)
	}
}

// Browsers are sent on within the shop alone.
func tryPagesRedirects(t *testing.T, p *process) {
	w := p.person("en").visit("/")
	_, to, form := w.form("English")
	w.http.CheckRedirect = func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}
	for next, want := range map[string]string{
		"/cart": "/cart", "/?search=a+b&category=Men%2FTops": "/?category=Men%2FTops&search=a+b",
		"/orders/ord_1#x": "/orders/ord_1", "": "/", "cart": "/", "//evil.example": "/",
		"https://evil.example/": "/", "/\\evil.example": "/", "/\t/evil.example": "/",
		"///evil.example": "/", "javascript:alert(1)": "/", "/%2f/evil.example": "/",
		"http:/evil.example": "/", "/a\r\nSet-Cookie: a=b": "/", "/%5cevil.example": "/",
		"\\\\evil.example": "/", "/products/a%2Fb": "/products/a%2Fb",
	} {
		form.Set("next", next)
		r, err := w.http.PostForm(to, form)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if got := r.Header.Get("Location"); r.StatusCode != 303 || got != want {
			t.Errorf("next %q: %d to %q, want %q", next, r.StatusCode, got, want)
		}
	}
}

// What is no page's is the API's, for programs; browsers get pages.
func tryPagesPrograms(t *testing.T, p *process) {
	p.as("").problem("GET", "/nothing", nil, 404, api.CodeNotFound)
	p.as("").problem("GET", "/v1/nothing", nil, 404, api.CodeNotFound)
	w := p.person("en").visit("/")
	style := attr(find(w.page, "script"), "src")
	r, err := w.http.Get(w.url + style)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if c := r.Header.Get("Cache-Control"); r.StatusCode != 200 || !strings.Contains(c, "immutable") ||
		!strings.HasPrefix(r.Header.Get("Content-Type"), "text/javascript") {
		t.Errorf("%s: %s %v", style, r.Status, r.Header)
	}
	w.visit("/assets/old/shop.js").sees(404)
	w.visit("/pay/alipay/nothing").sees(404)
}

// With a certificate no cookie goes over anything else.
func TestPagesSecure(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--public-url", "https://shop.example").ready()
	for _, c := range setCookies(t, p.url+"/") {
		if !c.Secure || !strings.HasPrefix(c.Name, "__Host-") || c.Domain != "" {
			t.Errorf("cookie %s", c.Raw)
		}
	}
}
