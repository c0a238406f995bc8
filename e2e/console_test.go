package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"ordo/api"
)

// operator is a person who has logged in to the console.
func (p *process) operator() *person {
	p.t.Helper()
	return p.person("en").visit("/console/").sees(200, "Log in").
		fill("Admin token", adminToken).press("Log in").sees(200, "Overview")
}

// TestConsole runs one shop and what operators do with its console, side by side.
// ACCEPT P10 M7
func TestConsole(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data).ready()
	t.Run("cases", func(t *testing.T) {
		for _, c := range []struct {
			name string
			try  func(*testing.T, *process)
		}{
			{"login", func(t *testing.T, p *process) { tryConsoleLogin(t, p, data) }},
			{"forged", tryConsoleForged}, {"elsewhere", tryConsoleElsewhere},
			{"stock", tryConsoleStock}, {"money", tryConsoleMoney}, {"refunds", tryConsoleRefunds},
			{"search", tryConsoleSearch}, {"cancel", tryConsoleCancel},
			{"overview", tryConsoleOverview},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.try(t, p.at(t))
			})
		}
	})
	p.endsEven(p.till(), data)
}

// Only the admin token, and sessions of support and admins, lead in; what support
// may not do is not there.
// ACCEPT U4
func tryConsoleLogin(t *testing.T, p *process, data string) {
	w := p.person("en").visit("/console/stock?sku=x").sees(200, "Log in")
	if w.at.Path != "/console/login" || w.at.Query().Get("next") != "/console/stock?sku=x" {
		t.Errorf("at %s", w.at)
	}
	w.fill("Admin token", "adm_wrong").press("Log in").sees(403, "may not look in here")
	email := mail()
	shopper := p.register(email, "correct horse")
	w.fill("E-mail", email).fill("Password", "wrong").press("Log in").sees(403, "is wrong")
	w.fill("Password", "correct horse").press("Log in").sees(403, "may not look in here")
	w.visit("/console/").sees(200, "Log in")
	if _, err := fileOf(t, data, "user").Exec(`UPDATE user SET role = 'support' WHERE id = ?`,
		shopper.id); err != nil {
		t.Fatal(err)
	}
	sku := p.onSale(1000, 7)
	w.visit("/console/stock?sku="+sku).fill("E-mail", email).fill("Password", "correct horse").
		press("Log in").sees(200, "In the house", "7", "Admins see the ledger").lacks("Receive")
	_, to, form := w.visit("/console/").form("Log out")
	form.Set("action", "receive")
	form.Set("units", "5")
	form.Set("reason", "mine")
	form.Set("confirmed", "yes")
	w.send(http.MethodPost, w.url+"/console/stock?sku="+sku, form).sees(403, "forbidden")
	p.wantStock(sku, 7)
	session := w.consoleCookie()
	w.send(http.MethodPost, to, form).sees(200, "Log in")
	w.visit("/console/").sees(200, "Log in")
	if status, _, _ := p.as(session).call("GET", "/admin/v1/transactions", nil); status != 401 {
		t.Errorf("the session is still good: %d", status)
	}
}

func (w *person) consoleCookie() string {
	w.t.Helper()
	base, err := url.Parse(w.url + "/console/")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range w.http.Jar.Cookies(base) {
		if c.Name == "ordo-console" {
			return c.Value
		}
	}
	w.t.Fatal("there is no cookie of the console")
	return ""
}

// A form that was not made for this operator changes nothing, and a browser is
// sent on within the console alone.
func tryConsoleForged(t *testing.T, p *process) {
	w := p.operator()
	_, _, good := w.form("Log out")
	_, _, foreign := p.person("en").visit("/console/login").form("Log in")
	sku := p.onSale(1000, 7)
	for name, token := range map[string]string{"missing": "", "made up": "x",
		"foreign": foreign.Get("csrf"), "without its last": good.Get("csrf")[1:]} {
		form := url.Values{"csrf": {token}, "action": {"adjust"}, "units": {"-7"}, "reason": {"x"},
			"confirmed": {"yes"}}
		for _, path := range []string{"/stock?sku=" + sku, "/dead/order/1", "/refunds/rfd_1",
			"/refunds?order=ord_1", "/transactions/ord_1", "/logout", "/login"} {
			if w.send(http.MethodPost, w.url+"/console"+path, form); w.status != http.StatusForbidden {
				t.Errorf("%s token to %s: status %d", name, path, w.status)
			}
		}
	}
	p.wantStock(sku, 7)
	large := url.Values{"csrf": {good.Get("csrf")}, "x": {strings.Repeat("x", 65<<10)}}
	w.send(http.MethodPost, w.url+"/console/stock", large).sees(413)
	for _, next := range []string{"https://evil.example/", "//evil.example", "/", "/console/../cart",
		"/console/%2e%2e/cart", "/consolex", "/console/\r\nx: y", "/console/\\evil.example"} {
		in := p.person("en").visit("/console/login?next="+url.QueryEscape(next)).
			fill("Admin token", adminToken).press("Log in").sees(200)
		if in.at.Path != "/console/" {
			t.Errorf("next %q leads to %s", next, in.at)
		}
	}
	session := w.consoleCookie()
	if session == adminToken || !strings.HasPrefix(session, "ses_") {
		t.Errorf("the cookie is %q", session)
	}
	w.follow("Overview")
	_, to, form := w.form("Log out")
	w.send(http.MethodPost, to, form).sees(200, "Log in")
	if status, _, _ := p.as(session).call("GET", "/admin/v1/transactions", nil); status != 401 {
		t.Errorf("the session is still good: %d", status)
	}
	for _, c := range setCookies(t, w.url+"/console/login") {
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/console" {
			t.Errorf("cookie %s", c.Raw)
		}
	}
}

// The console is for this machine, and a proxy is not this machine.
func tryConsoleElsewhere(t *testing.T, p *process) {
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"} {
		resp, body, err := p.as("").send(http.Header{name: {"203.0.113.9"}}, "GET", "/console/login", nil)
		if err != nil || resp.StatusCode != http.StatusForbidden ||
			strings.Contains(string(body), "token") {
			t.Errorf("%s: %v %v %s", name, resp, err, body)
		}
	}
	w := p.operator()
	for _, path := range []string{"/console/nothing", "/console/assets/old/console.js",
		"/console/dead/order/99", "/console/dead/nobody/1", "/console/refunds/rfd_none",
		"/console/transactions/ord_none", "/console/payments?order=ord_none"} {
		w.visit(path).sees(404, "not_found")
	}
	for _, path := range []string{"/console/refunds?state=x", "/console/journal?cursor=x",
		"/console/dead?actor=order&cursor=x", "/console/payments?state=x",
		"/console/transactions?older=x"} {
		w.visit(path)
		if w.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: status %d", path, w.status)
		}
	}
}

// ACCEPT C7 C8: an admin finds goods, receives units, corrects their number, and
// sees the ledger; a second click on the same page changes nothing more.
func tryConsoleStock(t *testing.T, p *process) {
	w := p.operator()
	id, name := p.hoodies("20.00", "10")
	sku := id + "-M-Red"
	w.follow("Stock").fill("SKU, or words", name).press("Show").sees(200, sku, "20.00 GBP").
		follow(sku).sees(200, "In the house", "10", "Ledger", "receive")
	w.fill("Units", "x").fill("Reason", "delivery").press("Receive").sees(422, "write a whole number")
	w.fill("Units", "5").fill("Reason", "").press("Receive").sees(422, "A reason is needed")
	w.fill("Units", "0").fill("Reason", "delivery 17").press("Receive").
		sees(200, "Did 0 units").press("Yes, receive them").sees(422, "invalid")
	w.fill("Units", "5").press("Receive").sees(200, "Did 5 units of "+sku+" come into the house?").
		follow("No").fill("Units", "5").fill("Reason", "delivery 17").press("Receive")
	p.wantStock(sku, 10)
	_, to, form := w.form("Yes, receive them")
	w.press("Yes, receive them").sees(200, "The stock is changed", "15", "delivery 17", "admin delivery 17")
	w.send(http.MethodPost, to, form)
	p.wantStock(sku, 15)
	w.visit("/console/stock?sku="+sku).fill("Units", "-20").fill("Reason", "count").press("Adjust").
		press("Yes, adjust it").sees(409, "out_of_stock")
	w.fill("Units", "-2").press("Adjust").press("Yes, adjust it").
		sees(200, "The stock is changed", "13")
	p.wantStock(sku, 13)
}

// ACCEPT Y3 L4: operators see what is owed and came, money that moved, and
// what is wrong with it.
func tryConsoleMoney(t *testing.T, p *process) {
	w := p.operator()
	s := p.shopper()
	o, a := s.bought(p.till(), p.onSale(2000, 5), 1)
	p.fulfilled(o.ID)
	w.visit("/console/payments").sees(200, o.ID, "paid")
	w.follow("attempts of "+o.ID).sees(200, a.ID, "alipay page", "20.00 GBP", "in")
	w.visit("/console/payments?state=closed").lacks(o.ID)
	w.visit("/console/payments/log").sees(200, o.ID, "20.00 GBP")
	p.till().steer("notify", "out_trade_no", a.ID, "forge", "amount")
	eventually(t, "an incident", func() bool { return p.incidents(a.ID)[api.IncidentAmount] == 1 })
	w.follow("Incidents").fill("Kind", api.IncidentAmount).press("Filter").
		sees(200, o.ID, "a notice of another amount or currency")
	w.visit("/console/journal?order="+o.ID).sees(200, api.EventOrderPlaced, api.EventOrderPaid,
		api.EventPaymentPaid, o.ID)
	for _, secret := range []string{"Ada", sender.Phone, sender.City} {
		w.lacks(secret)
	}
	w.visit("/console/journal").sees(200, "order.").fill("Event", api.EventPaymentPaid).
		press("Filter").sees(200, o.ID).lacks(api.EventOrderPlaced + " ord_")
	w.visit("/console/audit").sees(200, "deviations")
}

// ACCEPT Y9: support decides refunds that were asked for, and refunds without
// being asked.
func tryConsoleRefunds(t *testing.T, p *process) {
	w := p.operator()
	s := p.shopper()
	o, _ := s.bought(p.till(), p.onSale(1500, 5), 3)
	p.fulfilled(o.ID)
	first, second := s.asks(o.ID, map[int]int64{0: 1}), s.asks(o.ID, map[int]int64{0: 1})
	w.visit("/console/").follow("Refunds").sees(200, first.ID, second.ID, "15.00 GBP").
		follow(first.ID).sees(200, "asked", o.ID, o.Lines[0].Name)
	w.press("Grant").sees(422, "A reason is needed")
	w.fill("Reason", "as promised").press("Grant").sees(200, "Send the money back?").
		press("Yes, grant it").sees(200, "Granted", "as promised").until("done")
	w.visit("/console/refunds/"+second.ID).fill("Reason", "worn").press("Deny").
		press("Yes, deny it").sees(200, "Denied", "denied", "worn").lacks("Decide it")
	w.visit("/console/refunds?order="+o.ID).sees(200, first.ID, "3 ordered", "1 refunded").
		fill(o.Lines[0].Name, "9").fill("Reason", "torn").press("Refund").
		sees(200, "Refund 9 units").press("Yes, refund them").sees(409, "refund_too_much")
	w.fill(o.Lines[0].Name, "0").press("Refund").sees(422, "Enter how many units")
	w.fill(o.Lines[0].Name, "2").fill("Into the stock goes", "nothing").press("Refund")
	_, to, form := w.form("Yes, refund them")
	w.press("Yes, refund them").sees(200, "The refund is under way")
	w.send(http.MethodPost, to, form)
	s.refunded(o.ID, 2)
	w.visit("/console/refunds?order="+o.ID).sees(200, "torn").lacks("Refund this order")
}

// ACCEPT M7: the search leads to the page that a number or an address is about.
func tryConsoleSearch(t *testing.T, p *process) {
	w := p.operator()
	s := p.shopper()
	sku := p.onSale(2000, 5)
	o, a := s.bought(p.till(), sku, 1)
	email := mail()
	user := p.register(email, "correct horse")
	for word, want := range map[string]string{o.ID: "/console/transactions/" + o.ID,
		a.ID: "/console/transactions/" + o.ID, o.TradeNo: "/console/transactions/" + o.ID,
		sku: "/console/stock?sku=" + sku, s.id: "/console/transactions?user=" + s.id,
		strings.ToUpper(email): "/console/transactions?user=" + user.id} {
		w.visit("/console/").fill("Order, user", word).press("Find").sees(200)
		if got := w.at.RequestURI(); got != want {
			t.Errorf("%q leads to %s, want %s", word, got, want)
		}
	}
	w.fill("Order, user", "blue <b>thing</b>").press("Find").
		sees(404, "Nothing is known by", "blue <b>thing</b>")
	w.fill("Order, user", "").press("Find").sees(200, "Write an order's id")
	w.visit("/console/transactions/" + o.ID)
	for _, path := range []string{"dead", "stock", "payments", "payments/log", "payments/incidents",
		"refunds", "audit", "journal"} {
		w.visit("/console/" + path).sees(200)
	}
	if n := w.tourOf("/console"); n < 25 {
		t.Errorf("only %d pages", n)
	}
}

// ACCEPT E4 M7: an operator cancels an order, after being asked.
func tryConsoleCancel(t *testing.T, p *process) {
	w := p.operator()
	s := p.shopper()
	sku := p.onSale(2000, 5)
	o := s.buy(sku, 2)
	w.visit("/console/transactions?user="+s.id).follow(o.ID).sees(200, "payment", "placed")
	for _, secret := range []string{"Ada", sender.Phone, sender.City} {
		w.lacks(secret)
	}
	w.press("Cancel order").sees(422, "A reason is needed")
	w.fill("Reason", "asked for by phone").press("Cancel order").sees(200, "asked for by phone")
	if got := s.order(o.ID); got.State != api.OrderPlaced {
		t.Errorf("cancelled before it was confirmed: %s", got.State)
	}
	w.press("Yes, cancel").sees(200).until("cancelled")
	s.await(o.ID, api.OrderCancelled)
	w.lacks("Cancel order").fill("Reason", "again").press("Retry").press("Yes, retry").
		sees(409, "nothing_to_retry")
}

// The overview counts orders, and draws them for eyes and ears; the plots can be
// of up to a day.
// ACCEPT M7 P10
func tryConsoleOverview(t *testing.T, p *process) {
	s := p.shopper()
	s.buy(p.onSale(2000, 5), 1)
	w := p.operator().sees(200, "Orders by state", "Actors", "journal", "Streams", "EVENTS", "adds up")
	again := ""
	for m := range all(w.page, "meta") {
		again += attr(m, "http-equiv") + attr(m, "content")
	}
	if !strings.Contains(again, "refresh3") || find(w.page, "noscript") == nil {
		t.Errorf("without JavaScript the page does not look again: %q", again)
	}
	plots := 0
	for svg := range all(w.page, "svg") {
		plots++
		said := textOf(byID(w.page, attr(svg, "aria-labelledby")))
		if !strings.Contains(said, "orders from") {
			t.Errorf("plot %d is said %q", plots, said)
		}
		if d := attr(find(svg, "path"), "d"); plots <= 2 && !strings.HasPrefix(d, "M") {
			t.Errorf("plot %d draws %q", plots, d)
		}
	}
	tables := 0
	for f := range all(w.page, "figure") {
		if n := find(f, "details"); n != nil && find(n, "table") != nil {
			tables++
		}
	}
	if plots != 4 || tables != plots {
		t.Errorf("%d plots and %d tables", plots, tables)
	}
	w.follow("24 h").sees(200, "The last 24 h")
	w.visit("/console/?minutes=7").sees(200, "The last 3 h")
}
