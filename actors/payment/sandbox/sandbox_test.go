package sandbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ordo/actors/payment/alipay"
	"ordo/actors/payment/sandbox"
	"ordo/stores"
)

// ACCEPT Y5 Y1
func TestPersonPaysAtTheCashier(t *testing.T) {
	b := newBench(t, nil)
	link := b.link("A1")
	b.wantStatus("A1", "")
	if err := b.client.Close(t.Context(), "A1"); sub(err) != alipay.SubTradeNotExist {
		t.Errorf("close before the link is opened: %v", err)
	}
	address, token := b.cashier(link)
	b.wantStatus("A1", alipay.WaitBuyerPay)
	for _, bad := range []url.Values{{"action": {"pay"}},
		{"action": {"pay"}, "token": {"x" + token}}} {
		if status, _, _ := b.do(http.MethodPost, address, bad); status != http.StatusForbidden {
			t.Errorf("a form without the page's token: %d", status)
		}
	}
	leave := url.Values{"action": {"leave"}, "token": {token}}
	if status, page, _ := b.do(http.MethodPost, address, leave); status != http.StatusOK ||
		!strings.Contains(page, "walked away") {
		t.Errorf("walking away: %d", status)
	}
	b.wantStatus("A1", alipay.WaitBuyerPay)
	b.pass(time.Minute)
	status, _, back := b.do(http.MethodPost, address, url.Values{"action": {"pay"}, "token": {token}})
	u, err := url.Parse(back)
	if b.must(err); status != http.StatusSeeOther || !strings.HasPrefix(back, b.shop.URL+"/return?") {
		t.Fatalf("after paying: %d %s", status, back)
	}
	seen, err := b.client.ParseReturn(u.RawQuery)
	if b.must(err); seen.OutTradeNo != "A1" || seen.Total != gbp(8888) || seen.AppID != appID {
		t.Errorf("the return says %+v", seen)
	}
	n := b.notified()
	b.must(n.Check(b.client.Expect("A1", gbp(8888))))
	if !n.Paid() || n.TradeNo != seen.TradeNo || n.PaidAt.Std() != start.Add(time.Minute) {
		t.Errorf("the notify says %+v", n)
	}
	trade, err := b.client.Query(t.Context(), "A1")
	if b.must(err); trade.Status != alipay.TradeSuccess || trade.PaidAt != n.PaidAt ||
		trade.TradeNo != n.TradeNo || trade.Total != gbp(8888) {
		t.Errorf("the query says %+v", trade)
	}
	b.wantRefusedLink(link, alipay.SubTradePaid)
	if err := b.client.Close(t.Context(), "A1"); sub(err) != alipay.SubTradeStatus {
		t.Errorf("close of a paid trade: %v", err)
	}
}

// ACCEPT Y5
func TestCashierPageIsPlainAndSafe(t *testing.T) {
	b := newBench(t, nil)
	address, _ := b.cashier(b.link("A1"))
	w, err := http.Get(address)
	b.must(err)
	defer w.Body.Close()
	page, err := io.ReadAll(w.Body)
	b.must(err)
	for _, want := range []string{`lang="en"`, "测试 &lt;b&gt;A&lt;", "88.88 GBP", "A1",
		`value="pay"`, `value="decline"`, `value="leave"`} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the page does not have %s", want)
		}
	}
	if bytes.Contains(page, []byte("<script")) || bytes.Contains(page, []byte("src=")) {
		t.Error("the page loads something")
	}
	csp := w.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") ||
		!strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("Content-Security-Policy: %s", csp)
	}
	for _, id := range []string{"1-abc", "x", address[strings.LastIndex(address, "/")+1:] + "a"} {
		if status, _, _ := b.do(http.MethodGet, b.server.URL+"/cashier/"+id, nil); status != 404 {
			t.Errorf("a guessed link %s: %d", id, status)
		}
	}
}

// ACCEPT Y5
func TestDeclineClosesTheTrade(t *testing.T) {
	b := newBench(t, nil)
	link := b.link("A1")
	address, token := b.cashier(link)
	form := url.Values{"action": {"decline"}, "token": {token}}
	if status, _, to := b.do(http.MethodPost, address, form); status != 303 || to != address {
		t.Errorf("declining: %d %s", status, to)
	}
	if n := b.notified(); !n.Closed() || n.PaidAt != 0 || n.OutTradeNo != "A1" {
		t.Errorf("the notify says %+v", n)
	}
	form.Set("action", "pay")
	b.do(http.MethodPost, address, form)
	b.wantStatus("A1", alipay.TradeClosed)
	b.wantRefusedLink(link, alipay.SubTradeClosed)
}

// ACCEPT Y5 Y1
func TestPrecreatedCodeIsATradeWhenItIsScanned(t *testing.T) {
	b := newBench(t, nil)
	first, err := b.client.Precreate(t.Context(), b.payment("A1"))
	b.must(err)
	again, err := b.client.Precreate(t.Context(), b.payment("A1"))
	if b.must(err); again != first {
		t.Errorf("%+v, then %+v", first, again)
	}
	b.wantStatus("A1", "")
	if status, _, _ := b.do(http.MethodGet, first.QRCode, nil); status != http.StatusOK {
		t.Fatalf("the code answers %d", status)
	}
	b.wantStatus("A1", alipay.WaitBuyerPay)
	other := b.payment("A1")
	other.Amount.Amount++
	if _, err = b.client.Precreate(t.Context(), other); sub(err) != "ACQ.CONTEXT_INCONSISTENT" {
		t.Errorf("another amount: %v", err)
	}
	b.ok(`{"action":"pay","out_trade_no":"A1"}`)
	if _, err = b.client.Precreate(t.Context(), b.payment("A1")); sub(err) != alipay.SubTradePaid {
		t.Errorf("after it was paid: %v", err)
	}
	if _, err = b.client.Precreate(t.Context(), b.payment("A2")); err != nil {
		t.Fatal(err)
	}
	if c := b.ok(`{"action":"pay","out_trade_no":"A2"}`); c.TradeStatus != alipay.TradeSuccess {
		t.Errorf("pay of a code that nobody scanned: %+v", c)
	}
}

// ACCEPT Y5
func TestTradesExpire(t *testing.T) {
	b := newBench(t, nil)
	opened, unopened := b.link("A1"), b.link("A2")
	address, token := b.cashier(opened)
	b.pass(15*time.Minute - time.Nanosecond)
	b.wantStatus("A1", alipay.WaitBuyerPay)
	b.pass(time.Nanosecond)
	// The sweep finds it without anybody asking.
	if n := b.notified(); !n.Closed() || n.OutTradeNo != "A1" {
		t.Errorf("the notify says %+v", n)
	}
	b.wantStatus("A1", alipay.TradeClosed)
	b.wantRefusedLink(opened, "expired")
	b.wantRefusedLink(unopened, "expired")
	b.wantStatus("A2", "")
	b.do(http.MethodPost, address, url.Values{"action": {"pay"}, "token": {token}})
	b.wantStatus("A1", alipay.TradeClosed)
	if _, page, _ := b.do(http.MethodGet, address, nil); !strings.Contains(page, "expired") {
		t.Error("the cashier does not say that the time is over")
	}
}

// ACCEPT Y5
func TestStateOutlivesARestart(t *testing.T) {
	b := newBench(t, nil)
	b.shop.answers(func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
	b.pay("A1")
	before, err := b.client.Query(t.Context(), "A1")
	b.must(err)
	waiting, token := b.cashier(b.link("A2"))
	b.notified()
	if _, err := sandbox.Open(b.cfg); !errors.Is(err, stores.ErrLocked) {
		t.Errorf("a second one on the same directory: %v", err)
	}
	b.close()
	b.open()
	after, err := b.client.Query(t.Context(), "A1")
	if b.must(err); after != before {
		t.Errorf("%+v became %+v", before, after)
	}
	b.shop.answers(nil)
	b.pass(4 * time.Minute)
	if n := b.notified(); n.OutTradeNo != "A1" || !n.Paid() {
		t.Errorf("the notify says %+v", n)
	}
	b.do(http.MethodPost, waiting, url.Values{"action": {"pay"}, "token": {token}})
	b.wantStatus("A2", alipay.TradeSuccess)
}

// ACCEPT Y5 Y2
func TestManyClicksPayOnce(t *testing.T) {
	b := newBench(t, nil)
	link := b.link("A1")
	var paid, refused atomic.Int64
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			switch c := b.control(fmt.Sprintf(`{"action":"pay","url":%q}`, link)); c.status {
			case http.StatusOK:
				paid.Add(1)
			case http.StatusConflict:
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	if paid.Load() != 1 || refused.Load() != 9 {
		t.Errorf("paid %d times, refused %d times", paid.Load(), refused.Load())
	}
	b.notified()
	b.ok(`{"action":"deliveries","out_trade_no":"A1"}`)
	if b.shop.count() != 1 {
		t.Errorf("%d notifies", b.shop.count())
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	good := sandbox.Config{Dir: t.TempDir(), AppID: appID, SellerID: sellerID,
		AppPublicKey: &keys()[0].PublicKey, GatewayKey: keys()[1]}
	for name, change := range map[string]func(*sandbox.Config){
		"no directory":   func(c *sandbox.Config) { c.Dir = "" },
		"no app":         func(c *sandbox.Config) { c.AppID = "" },
		"no seller":      func(c *sandbox.Config) { c.SellerID = "" },
		"no app key":     func(c *sandbox.Config) { c.AppPublicKey = nil },
		"no own key":     func(c *sandbox.Config) { c.GatewayKey = nil },
		"factor below 0": func(c *sandbox.Config) { c.NotifyFactor = -1 },
		"factor too big": func(c *sandbox.Config) { c.NotifyFactor = 2 * sandbox.MaxNotifyFactor },
		"bad currency":   func(c *sandbox.Config) { c.Currency = "POUND" },
		"a URL as host":  func(c *sandbox.Config) { c.NotifyHosts = []string{"http://shop"} },
		"an empty host":  func(c *sandbox.Config) { c.NotifyHosts = []string{""} },
		"too many hosts": func(c *sandbox.Config) { c.NotifyHosts = make([]string, 101) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			change(&cfg)
			if g, err := sandbox.Open(cfg); err == nil {
				t.Error("it opened", g.Close())
			}
		})
	}
}
