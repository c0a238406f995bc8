package e2e

import (
	"net/http"
	"strings"
	"testing"

	"ordo/api"
)

// From the first page it is two clicks to why an order is stuck: the number of
// stuck orders or the order in the list there, and the order. Then it is mended.
// ACCEPT M7 M5 P10
func TestConsoleStuck(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data, "--submit-deadline", "10m").ready()
	s := p.shopper()
	sku := p.onSale(1000, 9)
	ruleOf(t, data, "goods", `CREATE TRIGGER broken BEFORE INSERT ON hold
		BEGIN SELECT RAISE(ABORT, 'broken as planned'); END`)
	var o api.Order
	s.must("POST", "/v1/orders?wait=0", s.checkout(sku, 2), &o)
	w := p.operator().until("Orders that are stuck")
	w.follow(o.ID).until("goods could not handle the message reserve").
		sees(200, "broken as planned", "goods.reserve", "nats request")
	w.visit("/console/").until("Dead letters").follow("1").sees(200, o.ID)
	w.visit("/console/dead").sees(200, "goods 1", "reserve", o.ID, "broken as planned").
		follow("goods 1").sees(200, "open", sku)
	w.fill("Reason", "hope").press("Retry").press("Yes, retry").sees(409, "failed again")
	ruleOf(t, data, "goods", `DROP TRIGGER broken`)
	w.fill("Reason", "mended").press("Retry")
	_, to, form := w.form("Yes, retry")
	w.press("Yes, retry").sees(200, "handled again", "retried", "mended").lacks("What can be done")
	w.send(http.MethodPost, to, form).sees(404, "not_found")
	s.await(o.ID, api.OrderPlaced)
	w.visit("/console/dead").lacks("goods 1")
	w.visit("/console/dead?actor=goods&state=").sees(200, "goods 1", "retried")
	w.visit("/console/transactions/"+o.ID).sees(200, "placed").lacks("failed again")
	p.endsEven(p.till(), data)
}

// A shop whose stock is away says so, and other pages still work.
// ACCEPT M6 M7
func TestConsoleActorDown(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--only", everyBut("goods"), "--console", "everywhere")
	resp, body, err := p.as("").send(http.Header{"X-Forwarded-For": {"203.0.113.9"}}, "GET",
		"/console/login", nil)
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("everywhere: %v %v %s", resp, err, body)
	}
	w := p.operator()
	w.sees(200, "goods", "down", "does not answer")
	w.visit("/console/dead").sees(200, "goods does not answer")
	w.visit("/console/stock").sees(503, "unavailable")
	w.visit("/console/refunds").sees(200, "none")
	w.visit("/console/audit").sees(200, "Audit")
}

// With the order actor killed, an order's page says so, and shows what the journal,
// the participants and the streams know; the command line as well.
// ACCEPT M6 M7
func TestConsoleWithoutOrderActor(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--only", everyBut("order")).ready()
	orders := serve(t, t.TempDir(), "--only", "order", "--no-api", "--nats", p.nats)
	eventually(t, "the order actor", func() bool {
		status, _, _ := p.admin().call("GET", "/admin/v1/transactions", nil)
		return status == http.StatusOK
	})
	o := p.shopper().buy(p.onSale(1000, 9), 1)
	w := p.operator()
	path := "/console/transactions/" + o.ID
	w.visit(path).until("collect").sees(200, "waits for its payment")
	orders.kill()
	const why = "unknown: order does not answer"
	w.visit("/console/").sees(200, why+" (orders by state, dead letters, stuck orders)")
	w.fill("Order, user", o.ID).press("Find").sees(200, "the order actor does not answer", why,
		"as the journal was told of it at", "What participants have done", "payment.collect",
		"goods.reserve", "submit").lacks("not handled yet")
	if w.at.Path != path {
		t.Errorf("the search leads to %s", w.at)
	}
	w.fill("Reason", "hope").press("Settle with participants").
		sees(200, "Other dead letters are "+why).press("Yes, settle").
		sees(503, "order does not answer", "goods.reserve")
	if code, out := p.tx("show", o.ID); code != 0 || !strings.Contains(out, "note: "+why) ||
		!strings.Contains(out, "BECAME") || !strings.Contains(out, "  "+why+"\n") ||
		!strings.Contains(out, "FOUND AT PARTICIPANTS") || !strings.Contains(out, "  do: start it") {
		t.Errorf("show: exit %d: %s", code, out)
	}
}

// Where the console is off there is nothing, and with HTTPS its cookies go over
// nothing else.
func TestConsoleSettings(t *testing.T) {
	t.Parallel()
	off := serve(t, t.TempDir(), "--console", "off").ready()
	off.person("en").visit("/console/").sees(404, "There is no such page")
	p := serve(t, t.TempDir(), "--public-url", "https://shop.example").ready()
	for _, c := range setCookies(t, p.url+"/console/login") {
		if !c.Secure || !strings.HasPrefix(c.Name, "__Secure-") || c.Domain != "" {
			t.Errorf("cookie %s", c.Raw)
		}
	}
}

// Who guesses has few tries, and who logs in as often as he likes has all of them.
// Nobody else has fewer tries for it, behind the same proxy or not.
func TestConsoleTries(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--console", "everywhere").ready()
	for range 15 {
		p.operator()
	}
	w := p.person("en")
	w.from = "198.51.100.7"
	w.visit("/console/login")
	tries := 0
	for ; tries < 100 && w.status != http.StatusTooManyRequests; tries++ {
		w.fill("Admin token", "adm_guess").press("Log in")
	}
	w.sees(429, "Too many tries")
	if tries < 10 || tries > 60 {
		t.Errorf("%d tries", tries)
	}
	w.visit("/console/").sees(200, "Log in")
	p.operator()
	other := p.person("en")
	other.from = "198.51.100.8"
	other.visit("/console/").fill("Admin token", adminToken).press("Log in").sees(200, "Overview")
}
