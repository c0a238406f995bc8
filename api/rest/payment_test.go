package rest_test

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"ordo/actors/payment"
	"ordo/actors/payment/alipay"
	"ordo/actors/payment/gateway"
	"ordo/api"
	"ordo/api/rest"
)

// payKey is the key of both sides, made once because that takes long.
var payKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// withAlipay gives the edge an account at a gateway that is never called.
func withAlipay(c *rest.Config) {
	g, err := gateway.NewAlipay(alipay.Config{Gateway: "http://127.0.0.1:1/gateway.do", AppID: "app",
		SellerID: "seller", PrivateKey: payKey(), AlipayPublicKey: &payKey().PublicKey,
		NotifyURL: "http://127.0.0.1:1/n", ReturnURL: "http://127.0.0.1:1/r", Currency: "GBP"})
	if err != nil {
		panic(err)
	}
	c.Gateways = gateway.New(map[string]gateway.Gateway{api.PayAlipay: g})
}

// payPage is an attempt to pay an order by a page.
func (u *shopper) payPage(order string) api.Attempt {
	u.t.Helper()
	return decode[api.Attempt](u.call("POST", "/v1/orders/"+order+"/payments", nil).want(201))
}

// notice is the body of a notice that the gateway signed, of which fields may
// be changed before.
func (s *shop) notice(a api.Attempt, change map[string]string) string {
	s.t.Helper()
	now := alipay.FormatTime(api.TimeOf(time.Now()))
	p := alipay.Params{"app_id": "app", "seller_id": "seller", "out_trade_no": a.ID,
		"trade_no": "2026" + a.ID[4:], "trade_status": "TRADE_SUCCESS",
		"total_amount": alipay.FormatAmount(a.Amount), "gmt_payment": now, "notify_time": now,
		"notify_id": "n1", "charset": "utf-8", "version": "1.0", "notify_type": "trade_status_sync"}
	for name, v := range change {
		p[name] = v
	}
	form, err := alipay.SignNotify(payKey(), p)
	if err != nil {
		s.t.Fatal(err)
	}
	return form.Encode()
}

// post posts a notice, and answers status and body.
func (s *shop) post(path, body string) (int, string) {
	s.t.Helper()
	resp, err := http.Post(s.url+path, "application/x-www-form-urlencoded", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text := make([]byte, 512)
	n, _ := resp.Body.Read(text) // an answer is short
	return resp.StatusCode, string(text[:n])
}

// paidOrder is an order of n mugs that was paid, and its attempt.
func (u *shopper) paidOrder(n int) (api.Order, api.Attempt) {
	u.t.Helper()
	o := u.placed(u.call("POST", "/v1/orders?wait=10s", u.order(u.buyNow("mug", n))))
	a := u.payPage(o.ID)
	if status, text := u.post("/pay/alipay/notify", u.notice(a, nil)); status != 200 ||
		text != "success" {
		u.t.Fatalf("notice: %d %s", status, text)
	}
	o = decode[api.Order](u.call("GET", "/v1/orders/"+o.ID+"?wait=10s&known=placed", nil).want(200))
	if o.State != api.OrderPaid || o.Attempt != a.ID || o.TradeNo == "" {
		u.t.Fatalf("order is %+v", o)
	}
	return o, a
}

// ACCEPT Y2 Y3 Y4 U4
func TestPay(t *testing.T) {
	s := newShop(t, withAlipay)
	ann, bob := s.shopper("ann@example.com"), s.shopper("bob@example.com")
	o := ann.placed(ann.call("POST", "/v1/orders?wait=10s", ann.order(ann.buyNow("mug", 2))))
	path := "/v1/orders/" + o.ID + "/payments"
	a := ann.payPage(o.ID)
	if again := ann.payPage(o.ID); again.ID != a.ID || again.Link != a.Link ||
		!strings.Contains(a.Link.URL, "sign=") {
		t.Errorf("the second click gives %+v, not %+v", again, a)
	}
	app := decode[api.Attempt](ann.call("POST", path, object{"product": "app"}).want(201))
	if app.ID == a.ID || app.Link.OrderString == "" {
		t.Errorf("by app: %+v", app)
	}
	bob.call("POST", path, nil).want(404)
	bob.call("GET", path, nil).want(404)
	ann.call("POST", path, object{"provider": "stripe"}).refused(422, api.CodeInvalid)
	ann.call("POST", path, object{"product": "cash"}).want(422)
	ann.call("POST", "/v1/orders/ord_1/payments", nil).want(404)

	// Money on the attempt that was replaced pays all the same, once.
	for range 3 {
		if status, text := s.post("/pay/alipay/notify", s.notice(a, nil)); text != "success" {
			t.Fatalf("%d %s", status, text)
		}
	}
	ann.until(func() *reply { return ann.call("GET", "/v1/orders/"+o.ID+"/shipment", nil) }, 200)
	ann.call("POST", path, nil).refused(409, api.CodeNotPayable)
	p := decode[api.Payment](ann.call("GET", path, nil).want(200))
	if p.State != api.PaymentPaid || len(p.Attempts) != 2 || p.Amount != gbp(2000) {
		t.Errorf("payment is %+v", p)
	}
	log := decode[api.PayLog](s.admin("GET", "/admin/v1/paylog?order="+o.ID, nil).want(200))
	if len(log.Entries) != 1 || log.Entries[0].Amount != gbp(2000) {
		t.Errorf("log is %+v", log)
	}
	if list := decode[api.PaymentList](s.admin("GET", "/admin/v1/payments?state=paid", nil).
		want(200)); len(list.Payments) != 1 {
		t.Errorf("payments are %+v", list)
	}
	if status, _ := s.post("/pay/alipay/return", ""); status != 405 {
		t.Errorf("a posted return: %d", status)
	}
}

// ACCEPT Y3: what is forged, foreign, too long or about other money is refused,
// recorded, and pays nothing.
func TestNoticesRefused(t *testing.T) {
	s := newShop(t, withAlipay)
	ann := s.shopper("ann@example.com")
	o := ann.placed(ann.call("POST", "/v1/orders?wait=10s", ann.order(ann.buyNow("mug", 1))))
	a := ann.payPage(o.ID)
	other := a
	other.ID = api.NewID(api.PrefixPayment)
	good := s.notice(a, nil)
	for name, c := range map[string]struct {
		body   string
		status int
		text   string
	}{
		"altered":        {strings.Replace(good, "total_amount=10.00", "total_amount=10.01", 1), 400, "fail"},
		"unsigned":       {"out_trade_no=" + a.ID, 400, "fail"},
		"repeated field": {good + "&trade_status=TRADE_SUCCESS", 400, "fail"},
		"empty":          {"", 400, "fail"},
		"foreign app":    {s.notice(a, map[string]string{"app_id": "x"}), 400, "fail"},
		"foreign seller": {s.notice(a, map[string]string{"seller_id": "x"}), 400, "fail"},
		"other amount":   {s.notice(a, map[string]string{"total_amount": "9.99"}), 200, "fail"},
		"unknown order":  {s.notice(other, nil), 200, "fail"},
		"long":           {good + "&x=" + strings.Repeat("x", gateway.MaxNotice), 413, ""},
	} {
		status, text := s.post("/pay/alipay/notify", c.body)
		if status != c.status || c.text != "" && text != c.text {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	for _, provider := range []string{"stripe", "x"} {
		if status, _ := s.post("/pay/"+provider+"/notify", good); status != 404 {
			t.Errorf("%s: %d", provider, status)
		}
	}
	kinds := map[string]int{}
	for _, i := range decode[api.PaymentIncidentList](s.admin("GET", "/admin/v1/incidents", nil).
		want(200)).Incidents {
		kinds[i.Kind]++
	}
	if kinds[api.IncidentForged] != 6 || kinds[api.IncidentAmount] != 1 ||
		kinds[api.IncidentUnknown] != 1 {
		t.Errorf("incidents are %v", kinds)
	}
	if o := decode[api.Order](ann.call("GET", "/v1/orders/"+o.ID, nil).want(200)); o.State !=
		api.OrderPlaced {
		t.Errorf("order is %s", o.State)
	}
}

// ACCEPT Y4: without the payment actor a notice is not accepted, and comes
// again.
func TestNoticeWithoutActor(t *testing.T) {
	s := newShop(t, withAlipay)
	ann := s.shopper("ann@example.com")
	o := ann.placed(ann.call("POST", "/v1/orders?wait=10s", ann.order(ann.buyNow("mug", 1))))
	a := ann.payPage(o.ID)
	s.stop("payment")
	done := make(chan string, 1)
	go func() {
		status, text := s.post("/pay/alipay/notify", s.notice(a, nil))
		done <- fmt.Sprint(status, " ", text)
	}()
	s.start(payment.Spec())
	// Accepted after all, or to come again: never lost.
	if got := <-done; got != "200 success" && !strings.HasPrefix(got, "503 ") {
		t.Errorf("answered %s", got)
	}
	if _, text := s.post("/pay/alipay/notify", s.notice(a, nil)); text != "success" {
		t.Errorf("told again: %s", text)
	}
}
