package sandbox_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"ordo/actors/payment/alipay"
	"ordo/actors/payment/sandbox"
	"ordo/api"
)

// documented are the times between the 8 deliveries.
var documented = []time.Duration{4 * time.Minute, 10 * time.Minute, 10 * time.Minute, time.Hour,
	2 * time.Hour, 6 * time.Hour, 15 * time.Hour}

// ACCEPT Y5
func TestEightDeliveriesOnTheSchedule(t *testing.T) {
	elsewhere := newShop(t)
	// None of these is exactly "success" with status 200.
	wrong := []func(w http.ResponseWriter){
		func(w http.ResponseWriter) {},
		func(w http.ResponseWriter) { fmt.Fprint(w, "SUCCESS") },
		func(w http.ResponseWriter) { fmt.Fprint(w, "success\n") },
		func(w http.ResponseWriter) { fmt.Fprint(w, strings.Repeat("success", 10_000)) },
		func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, "success")
		},
		func(w http.ResponseWriter) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(http.StatusTemporaryRedirect)
			fmt.Fprint(w, "success")
		},
		func(w http.ResponseWriter) { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter) { fmt.Fprint(w, "fail") },
	}
	for _, factor := range []float64{1, 1000} {
		t.Run(fmt.Sprint(factor), func(t *testing.T) {
			b := newBench(t, func(c *sandbox.Config) { c.NotifyFactor = factor })
			b.shop.answers(func(n int, w http.ResponseWriter) { wrong[n-1](w) })
			b.pay("A1")
			var id string
			for i, gap := range documented {
				next := api.TimeOf(b.now()).Add(time.Duration(float64(gap) / factor))
				b.eventually("the next delivery is written down", func() bool {
					left := b.ok(`{"action":"deliveries","out_trade_no":"A1"}`).Deliveries
					return b.shop.count() == i+1 && len(left) == 1 && left[0].Tries == i+1 &&
						left[0].Next == next
				})
				n, err := alipay.ParseNotify(&keys()[1].PublicKey, "GBP", b.lastBody())
				b.must(err)
				if id == "" {
					id = n.NotifyID
				}
				if n.NotifyID != id || !n.Paid() {
					t.Errorf("delivery %d: %+v", i+1, n)
				}
				b.pass(time.Duration(next - api.TimeOf(b.now())))
			}
			b.eventually("the last delivery is over", func() bool {
				return b.shop.count() == 8 &&
					len(b.ok(`{"action":"deliveries","out_trade_no":"A1"}`).Deliveries) == 0
			})
		})
	}
	if elsewhere.count() > 0 {
		t.Error("a redirect was followed")
	}
}

// lastBody is the newest notify's.
func (b *bench) lastBody() []byte {
	b.shop.lock.Lock()
	defer b.shop.lock.Unlock()
	return b.shop.bodies[len(b.shop.bodies)-1]
}

// ACCEPT Y5
func TestDeliveriesEndWithSuccess(t *testing.T) {
	b := newBench(t, nil)
	b.shop.answers(func(n int, w http.ResponseWriter) {
		if n == 3 {
			fmt.Fprint(w, "success")
		}
	})
	b.pay("A1")
	for i := range 3 {
		b.notified()
		b.eventually("the delivery is written down", func() bool {
			left := b.ok(`{"action":"deliveries","out_trade_no":"A1"}`).Deliveries
			return i == 2 && len(left) == 0 || i < 2 && len(left) == 1 && left[0].Answer == ""
		})
		b.pass(15 * time.Minute)
	}
	if b.shop.count() != 3 {
		t.Errorf("%d deliveries", b.shop.count())
	}
}

// ACCEPT Y5 Y4
func TestControlSendsTheSameNotifyManyTimes(t *testing.T) {
	b := newBench(t, nil)
	b.pay("A1")
	first := b.notified()
	c := b.ok(`{"action":"notify","out_trade_no":"A1","times":20}`)
	if len(c.Answers) != 20 {
		t.Fatalf("%+v", c)
	}
	for _, answer := range c.Answers {
		if n := b.notified(); answer != "success" || !n.Paid() || n.TradeNo != first.TradeNo {
			t.Errorf("%q to %+v", answer, n)
		}
	}
	if c = b.ok(`{"action":"notify","out_trade_no":"A1","times":2,"delay_ms":1}`); c.Answers != nil {
		t.Errorf("it waited for %+v", c.Answers)
	}
	b.notified()
	b.notified()
	_, err := b.refund("R1", 8888)
	b.must(err)
	b.notified()
	b.ok(`{"action":"notify","out_trade_no":"A1"}`)
	if n := b.notified(); n.Status != alipay.TradeClosed || n.RefundFee != gbp(8888) {
		t.Errorf("after the refund: %+v", n)
	}
	b.ok(`{"action":"notify","out_trade_no":"A1","trade_status":"TRADE_SUCCESS"}`)
	if n := b.notified(); !n.Paid() {
		t.Errorf("a late copy of the first one: %+v", n)
	}
}

// ACCEPT Y5
func TestControlPutsAPaymentsNotifyOff(t *testing.T) {
	b := newBench(t, nil)
	b.ok(`{"action":"pay","url":%q,"delay_ms":60000,"times":3}`, b.link("A1"))
	b.wantStatus("A1", alipay.TradeSuccess)
	if left := b.ok(`{"action":"deliveries","out_trade_no":"A1"}`).Deliveries; len(left) != 3 ||
		left[0].Tries != 0 || left[0].Next.Std() != start.Add(time.Minute) {
		t.Fatalf("%+v", left)
	}
	b.pass(time.Minute)
	for range 3 {
		b.notified()
	}
}

// ACCEPT Y5 Y3
func TestForgedNotifies(t *testing.T) {
	b := newBench(t, nil)
	b.cashier(b.link("A1"))
	want := b.client.Expect("A1", gbp(8888))
	for _, c := range []struct {
		forge string
		err   error // of reading it, or else of comparing it
	}{
		{`"signature"`, alipay.ErrSignature}, {`true`, alipay.ErrSignature},
		{`"unsigned"`, alipay.ErrSignature}, {`"sign_type"`, alipay.ErrSignature},
		{`"altered"`, alipay.ErrSignature}, {`"status"`, alipay.ErrSignature},
		{`"extra"`, alipay.ErrSignature}, {`"repeated"`, alipay.ErrMalformed},
		{`"oversize"`, alipay.ErrMalformed}, {`"amount"`, alipay.ErrForeign},
		{`"app_id"`, alipay.ErrForeign}, {`"seller_id"`, alipay.ErrForeign},
		{`"out_trade_no"`, alipay.ErrForeign}, {`"trade_no"`, nil}, {`false`, nil},
	} {
		b.ok(`{"action":"notify","out_trade_no":"A1","forge":%s}`, c.forge)
		body := b.body()
		n, err := b.client.ParseNotify(body)
		if err == nil {
			err = n.Check(want)
		}
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v", c.forge, err)
		}
		// Though nobody has paid, a forger says so.
		claims := strings.Contains(string(body), "trade_status=TRADE_")
		if claims == (c.forge == "false") {
			t.Errorf("%s: %s", c.forge, body)
		}
	}
	b.wantStatus("A1", alipay.WaitBuyerPay)
	b.ok(`{"action":"pay","out_trade_no":"A1","forge":"signature"}`)
	if _, err := b.client.ParseNotify(b.body()); !errors.Is(err, alipay.ErrSignature) {
		t.Errorf("a payment with a forged notify: %v", err)
	}
}

// ACCEPT Y5
func TestOnlyAllowedHostsAreNotified(t *testing.T) {
	for _, c := range []struct {
		name  string
		hosts []string
		// notify replaces the shop's notify URL; %s is its port.
		notify string
		sent   bool
	}{
		{"loopback", nil, "http://127.0.0.1:%s/", true},
		{"a name of loopback", nil, "http://localhost:%s/", true},
		{"a documentation address", nil, "http://192.0.2.1:%s/", false},
		{"another name of this host", nil, "http://0.0.0.0:%s/", false},
		{"a link-local address", nil, "http://169.254.169.254:%s/", false},
		{"an allowed prefix", []string{"0.0.0.0/32"}, "http://0.0.0.0:%s/", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, func(cfg *sandbox.Config) { cfg.NotifyHosts = c.hosts })
			u, err := url.Parse(b.shop.URL)
			b.must(err)
			p := params(alipay.MethodPagePay, goodBiz)
			p["notify_url"] = fmt.Sprintf(c.notify, u.Port())
			link := b.server.URL + "/gateway.do?" + b.signed(p).Encode()
			b.ok(`{"action":"pay","url":%q}`, link)
			// A host that is not allowed is given up at once.
			b.eventually("the delivery is over", func() bool {
				return len(b.ok(`{"action":"deliveries","out_trade_no":"B1"}`).Deliveries) == 0
			})
			if sent := b.shop.count() > 0; sent != c.sent {
				t.Errorf("sent is %t", sent)
			}
		})
	}
}

// ACCEPT Y5
func TestControlIsForThisMachine(t *testing.T) {
	b := newBench(t, nil)
	for name, c := range map[string]struct {
		change func(r *http.Request)
		want   int
	}{
		"from here": {func(r *http.Request) {}, 200},
		"by name":   {func(r *http.Request) { r.Host = "localhost:8090" }, 200},
		"from far":  {func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1" }, 403},
		"by a proxy of another kind": {func(r *http.Request) { r.Header.Set("X-Real-IP", "192.0.2.1") },
			403},
		"by proxy":  {func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") }, 403},
		"by a page": {func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, 403},
		"cross site": {func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		}, 403},
		"rebound name": {func(r *http.Request) { r.Host = "evil.example:8090" }, 403},
	} {
		r := httptest.NewRequest(http.MethodPost, "/control",
			strings.NewReader(`{"action":"fault","method":"alipay.trade.query","mode":""}`))
		r.RemoteAddr, r.Host = "127.0.0.1:1", "127.0.0.1:8090"
		c.change(r)
		w := httptest.NewRecorder()
		if b.g.ServeHTTP(w, r); w.Code != c.want {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	off := newBench(t, func(c *sandbox.Config) { c.Control = false })
	if status, _, _ := off.do(http.MethodPost, off.server.URL+"/control", nil); status != 404 {
		t.Errorf("switched off: %d", status)
	}
}

// ACCEPT Y5
func TestControlRefusesWhatItDoesNotKnow(t *testing.T) {
	b := newBench(t, nil)
	for body, want := range map[string]int{
		``: 400, `[]`: 400, `{}`: 400, `{"action":"steal"}`: 400, `{"action":"pay","more":1}`: 400,
		`{"action":"pay","out_trade_no":"A1"} {}`:                           400,
		`{"action":"pay","out_trade_no":"A1"}`:                              404,
		`{"action":"notify","out_trade_no":"A1"}`:                           404,
		`{"action":"notify","out_trade_no":"A1","times":1001}`:              400,
		`{"action":"notify","out_trade_no":"A1","times":-1}`:                400,
		`{"action":"notify","out_trade_no":"A1","delay_ms":600001}`:         400,
		`{"action":"notify","out_trade_no":"A1","forge":"x"}`:               400,
		`{"action":"notify","out_trade_no":"A1","trade_status":"x"}`:        400,
		`{"action":"fault","method":"x","mode":"500"}`:                      400,
		`{"action":"fault","method":"alipay.trade.query","mode":"x"}`:       400,
		`{"action":"pay","url":"http://127.0.0.1/other"}`:                   409,
		`{"action":"pay","url":"http://127.0.0.1/cashier/1-x"}`:             404,
		`{"action":"pay","url":"?method=alipay.trade.page.pay"}`:            409,
		`{"action":"pay","url":"http://[::1"}`:                              409,
		`{"action":"pay","url":"method=alipay.trade.query&out_trade_no=A"}`: 409,
	} {
		if c := b.control(body); c.status != want {
			t.Errorf("%s: %+v", body, c)
		}
	}
	order, err := b.client.AppPay(b.payment("A1"))
	b.must(err)
	c := b.control(fmt.Sprintf(`{"action":"pay","url":%q,"out_trade_no":"A2"}`, order))
	if c.status != http.StatusConflict {
		t.Errorf("a link of another trade: %+v", c)
	}
	c = b.ok(`{"action":"pay","url":%q,"out_trade_no":"A1"}`, order)
	if c.TradeStatus != alipay.TradeSuccess {
		t.Errorf("an app's order: %+v", c)
	}
}
