package e2e

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ordo/api"
)

// TestPay runs one shop and everything that needs no shop of its own, side by
// side. At the end the books of shop and gateway must be the same.
func TestPay(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data).ready()
	t.Run("cases", func(t *testing.T) {
		for _, c := range []struct {
			name string
			try  func(*testing.T, *process)
		}{
			{"wholeWay", tryWholeWay}, {"tenClicks", tryTenClicks}, {"decline", tryDecline},
			{"twoWays", tryTwoWays}, {"app", tryApp},
			{"notices", tryNotices}, {"outOfOrder", tryOutOfOrder}, {"afterCancel", tryAfterCancel},
			{"afterRefund", tryAfterRefund}, {"forged", tryForged},
			{"refundByLine", tryRefundByLine}, {"refundAsked", tryRefundAsked},
			{"refundAgain", tryRefundAgain}, {"shortAtPayment", tryShortAtPayment},
			{"seats", trySeats}, {"badInput", tryPayBadInput}, {"badNotices", tryBadNotices},
			{"strangers", tryPayStrangers},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.try(t, p.at(t))
			})
		}
	})
	p.endsEven(p.till(), data)
}

// A shopper goes the whole way with nothing but a browser: cashier, walking
// away, coming back, paying; then the goods are shipped and received.
// ACCEPT Y3 Y5 Y6 L2 L3 L4
func tryWholeWay(t *testing.T, p *process) {
	s, g := p.shopper(), p.till()
	sku := p.onSale(1250, 10)
	s.give(gbp(1000))
	s.add(sku, 3)
	o := s.submit(s.checkout("", 0).using(s.coupon(300, 0), 300, 450))
	a := s.opens(o.ID, api.ProductPage)
	if o.Due != gbp(3000) || a.Amount != o.Due || a.ExpiresAt != o.ExpiresAt {
		t.Errorf("attempt %+v of %s due", a, o.Due)
	}
	html, at := browse(t, http.MethodGet, a.Link.URL, nil)
	token := formToken.FindStringSubmatch(html)
	if token == nil || !strings.Contains(html, "30.00") || !strings.Contains(html, a.ID) {
		t.Fatalf("cashier at %s: %s", at, html)
	}
	press := func(button string) (string, *url.URL) {
		return browse(t, http.MethodPost, at.String(), url.Values{"token": token[1:],
			"action": {button}})
	}
	press("leave")
	// Where the browser comes back to anybody can open, with any words.
	browse(t, http.MethodGet, p.url+"/pay/alipay/return?out_trade_no="+a.ID+
		"&trade_status=TRADE_SUCCESS&total_amount=30.00&trade_no=1", nil)
	if now := s.order(o.ID); now.State != api.OrderPlaced || len(p.payLog(o.ID)) != 0 {
		t.Errorf("order is %s after a look at a page", now.State)
	}
	if html, at = press("pay"); at.Path != "/pay/alipay/return" || at.Host != host(t, p.url) {
		t.Errorf("after paying the browser is at %s: %s", at, html)
	}
	o = s.await(o.ID, api.OrderPaid)
	trade := g.steer("deliveries", "out_trade_no", a.ID)
	if o.TradeNo == "" || o.TradeNo != trade.TradeNo || o.Attempt != a.ID || o.PaidAt == 0 ||
		o.Provider != api.PayAlipay || o.Points != 34 {
		t.Errorf("order: %+v; trade %+v", o, trade)
	}
	if was := s.payment(o.ID); was.State != api.PaymentPaid || len(was.Attempts) != 1 ||
		was.Attempts[0].TradeNo != o.TradeNo || was.Attempts[0].PaidAt != o.PaidAt {
		t.Errorf("payment: %+v", was)
	}
	checkPaid(t, s, &o, sku)
	ships(t, s, &o)
}

var formToken = regexp.MustCompile(`name="token" value="([^"]+)"`)

func host(t *testing.T, text string) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// checkPaid checks what follows from the payment, in every book.
func checkPaid(t *testing.T, s *shopper, o *api.Order, sku string) {
	t.Helper()
	p := s.p
	if log := p.payLog(o.ID); !slices.Equal(log,
		[]string{"pay " + o.Attempt + " " + o.TradeNo + "  30.00 GBP"}) {
		t.Errorf("pay log: %q", log)
	}
	p.fulfilled(o.ID)
	if steps := p.steps(o.ID); len(steps) != 7 {
		t.Errorf("steps: %v", steps)
	}
	if now := p.sku(sku); now.Stock != 7 || now.Locked != 0 {
		t.Errorf("stock: %+v", now)
	}
	if rows := p.ledger(sku); rows[0].Kind != api.LedgerSell || rows[0].Stock != -3 ||
		rows[0].Cause != o.ID {
		t.Errorf("ledger: %+v", rows[0])
	}
	var w api.Wallet
	s.must("GET", "/v1/wallet", nil, &w)
	points := pages[api.WalletEntry](s.client, "/v1/wallet/entries?unit=POINT")
	if w.Points != 34 || w.Balance != gbp(550) || len(points) != 1 || points[0].Order != o.ID ||
		points[0].Amount.Amount != 34 {
		t.Errorf("wallet %+v, points %+v", w, points)
	}
}

// ships has a shipment go out and arrive.
func ships(t *testing.T, s *shopper, o *api.Order) {
	t.Helper()
	const created, shipped, received = api.EventShipmentCreated, api.EventShipmentShipped,
		api.EventShipmentReceived
	path := "/v1/orders/" + o.ID
	var now api.Shipment
	s.must("GET", path+"/shipment", nil, &now)
	if now.State != api.ShipmentCreated || now.Address.City != sender.City ||
		now.Address.Name != sender.Name || now.Address.Phone != sender.Phone ||
		len(now.Lines) != 1 || now.Lines[0].Quantity != 3 {
		t.Errorf("shipment: %+v", now)
	}
	s.problem("POST", path+"/receive", nil, 409, api.CodeNotShippable)
	support := s.p.users(1, api.RoleSupport)[0]
	parcel := map[string]string{"carrier": "Royal Mail", "tracking": "RM123"}
	for range 2 { // saying it again changes nothing
		support.must("POST", "/admin"+path+"/ship", parcel, &now)
	}
	parcel["tracking"] = "RM124"
	support.problem("POST", "/admin"+path+"/ship", parcel, 409, api.CodeNotShippable)
	if now.State != api.ShipmentShipped || now.Carrier != "Royal Mail" || now.Tracking != "RM123" ||
		now.AutoReceive <= now.Shipped {
		t.Errorf("shipped: %+v", now)
	}
	for range 2 {
		s.must("POST", path+"/receive", nil, &now)
	}
	if now.State != api.ShipmentReceived || now.Received == 0 {
		t.Errorf("received: %+v", now)
	}
	want := []string{api.EventOrderPlaced, api.EventPaymentPaid, api.EventOrderPaid, created, shipped,
		received}
	slices.Sort(want)
	var got []string
	eventually(t, "the journal has it all, once", func() bool {
		got = slices.Sorted(slices.Values(s.p.journal(o.ID)))
		return slices.Equal(got, want)
	})
}

// ACCEPT Y2
func tryTenClicks(t *testing.T, p *process) {
	s, g := p.shopper(), p.till()
	o := s.buy(p.onSale(1000, 10), 1)
	var all [10]api.Attempt
	crowd(len(all), len(all), func(i int) { all[i] = s.opens(o.ID, api.ProductPage) })
	links := map[string]bool{}
	for _, a := range all {
		links[a.ID+" "+a.Link.URL] = true
	}
	if len(links) != 1 {
		t.Fatalf("ten clicks: %v", links)
	}
	crowd(len(all), len(all), func(i int) { browse(t, http.MethodGet, all[i].Link.URL, nil) })
	var taken [10]string
	crowd(len(taken), len(taken), func(i int) { taken[i] = g.takes(&all[i]) })
	o = s.await(o.ID, api.OrderPaid)
	if rows := g.about(all[0].ID); len(rows) != 1 || len(s.payment(o.ID).Attempts) != 1 ||
		!slices.Contains(taken[:], o.TradeNo) {
		t.Errorf("statement %q, taken %q, payment %+v", rows, taken, s.payment(o.ID))
	}
	// Once it is paid, there is nothing to pay.
	s.problem("POST", "/v1/orders/"+o.ID+"/payments", map[string]any{}, 409, api.CodeNotPayable)
}

// A payment that fails at the gateway can be tried again. ACCEPT Y7
func tryDecline(t *testing.T, p *process) {
	s, g := p.shopper(), p.till()
	sku := p.onSale(1000, 10)
	o := s.buy(sku, 2)
	first := s.opens(o.ID, api.ProductPage)
	g.steer("decline", "out_trade_no", first.ID, "url", first.Link.URL)
	eventually(t, "the attempt is closed", func() bool {
		return s.payment(o.ID).Attempts[0].State == api.AttemptClosed
	})
	if now := s.order(o.ID); now.State != api.OrderPlaced || p.sku(sku).Locked != 2 {
		t.Errorf("order: %+v, stock %+v", now, p.sku(sku))
	}
	second := s.pays(g, o.ID)
	if second.ID == first.ID || len(s.payment(o.ID).Attempts) != 2 || g.takes(&first) != "" {
		t.Errorf("payment: %+v", s.payment(o.ID))
	}
}

// A shopper who changes the way to pay has two links, and pays both: the first
// that comes pays the order, the other goes back. ACCEPT Y2 E2
func tryTwoWays(t *testing.T, p *process) {
	s, g := p.shopper(), p.till()
	sku := p.onSale(1000, 10)
	o := s.buy(sku, 1)
	link := s.opens(o.ID, api.ProductPage)
	code := s.opens(o.ID, api.ProductQR)
	if again := s.opens(o.ID, api.ProductQR); again.ID != code.ID ||
		again.Link.QRCode != code.Link.QRCode || code.ID == link.ID {
		t.Errorf("codes: %+v %+v", code, again)
	}
	first, second := g.takes(&link), g.takes(&code)
	o = s.await(o.ID, api.OrderPaid)
	other, now := code, second
	if o.Attempt == code.ID {
		other, now = link, first
	}
	if now != "" { // the shop had not closed it yet
		eventually(t, "the second payment goes back", func() bool {
			return len(g.about(other.ID)) == 2
		})
		if got := p.incidents(other.ID); got[api.IncidentDouble] != 1 {
			t.Errorf("incidents: %v", got)
		}
	}
	if first == "" || now == "" && len(g.about(other.ID)) != 0 {
		t.Errorf("taken %q and %q; %q", first, second, g.statement())
	}
	eventually(t, "sold once", func() bool { n := p.sku(sku); return n.Stock == 9 && n.Locked == 0 })
}

// What the shop's app hands over is paid like any other. ACCEPT Y1
func tryApp(t *testing.T, p *process) {
	s, g := p.shopper(), p.till()
	o := s.buy(p.onSale(1000, 10), 1)
	a := s.opens(o.ID, api.ProductApp)
	if a.Link.OrderString == "" || g.takes(&a) == "" {
		t.Errorf("attempt: %+v", a)
	}
	s.await(o.ID, api.OrderPaid)
}
