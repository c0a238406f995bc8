//go:build browser

package e2e

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"ordo/api"
)

// deskWidth is the width of a window on a desk.
const deskWidth = 1280

// desk is look, and pictures of how the page looks on a desk.
func (b *browser) desk(name string) {
	b.t.Helper()
	b.look(name)
	for _, scheme := range []string{"light", "dark"} {
		b.width(deskWidth, scheme)
		if n := js[int64](b, `document.documentElement.scrollWidth`); n > deskWidth {
			b.t.Errorf("%s: %d pixels wide in a window of %d", name, n, deskWidth)
		}
		b.picture(fmt.Sprintf("%02d-%s-desk-%s.png", b.n, name, scheme))
	}
	b.width(phoneWidth, "light")
}

// An operator with a keyboard finds an order that is stuck, sees why, and mends it;
// the first page shows by itself what happens, and no page complains.
// ACCEPT P10 M7 M5
func TestConsoleBrowser(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data, "--submit-deadline", "10m").ready()
	s := p.shopper()
	sku := p.onSale(1000, 90)
	paid, attempt := s.bought(p.till(), sku, 2)
	p.fulfilled(paid.ID)
	refund := s.asks(paid.ID, map[int]int64{0: 1})
	p.till().steer("notify", "out_trade_no", attempt.ID, "forge", "amount")
	b := p.browser()
	b.run(chromedp.Navigate(p.url + "/console/"))
	b.shows("Admin token")
	b.desk("login")
	b.enter("Admin token", adminToken)
	b.key(kb.Enter)
	b.shows("Orders by state")
	b.act(`window.still = true`)
	ruleOf(t, data, "goods", `CREATE TRIGGER broken BEFORE INSERT ON hold
		BEGIN SELECT RAISE(ABORT, 'broken as planned'); END`)
	var o api.Order
	s.must("POST", "/v1/orders?wait=0", s.checkout(sku, 2), &o)
	b.shows("Orders that are stuck")
	if !js[bool](b, `window.still === true`) {
		t.Error("the page was loaded again")
	}
	b.desk("overview")
	b.mend(&o, func() { ruleOf(t, data, "goods", `DROP TRIGGER broken`) })
	s.await(o.ID, api.OrderCancelled)
	for _, page := range [][2]string{{"transactions", "/transactions"}, {"stock", "/stock"},
		{"sku", "/stock?sku=" + sku}, {"payments", "/payments"},
		{"payment", "/payments?order=" + paid.ID}, {"incidents", "/payments/incidents"},
		{"paylog", "/payments/log"}, {"refunds", "/refunds"}, {"refund", "/refunds/" + refund.ID},
		{"order-refunds", "/refunds?order=" + paid.ID}, {"audit", "/audit"},
		{"journal", "/journal?order=" + paid.ID}, {"search", "/search"},
		{"paid", "/transactions/" + paid.ID}} {
		b.run(chromedp.Navigate(p.url + "/console" + page[1]))
		b.shows("REST API")
		b.desk(page[0])
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.errs {
		t.Errorf("in the console: %s", text)
	}
}

// mend goes from the first page to an order that is stuck, tries it again too early,
// and then by its dead letter, and cancels it.
func (b *browser) mend(o *api.Order, cure func()) {
	t := b.t
	t.Helper()
	b.press(o.ID)
	b.shows("Why it does not go on")
	b.shows("goods could not handle the message reserve")
	b.desk("stuck")
	b.enter("Reason", "hope")
	b.press("Retry")
	b.shows("Ask again for every step")
	if at := js[string](b, `document.activeElement.id`); at != "confirm" {
		t.Errorf("the focus is at %q and not at the question", at)
	}
	b.desk("confirm")
	b.press("Yes, retry")
	b.shows("failed again, and stay open: 1")
	cure()
	b.press("Dead letters")
	b.shows("goods 1")
	b.desk("dead")
	b.press("goods 1")
	b.shows("broken as planned")
	b.desk("letter")
	b.press("Retry")
	b.enter("Reason", "mended")
	b.press("Retry")
	b.shows("Have the actor handle")
	b.press("Yes, retry")
	b.shows("handled again")
	b.press(o.ID)
	b.shows("placed")
	b.enter("Reason", "asked for by phone")
	b.press("Cancel order")
	b.shows("Cancel the order, and give back")
	b.press("Yes, cancel")
	b.shows("cancelled")
	b.desk("cancelled")
}
