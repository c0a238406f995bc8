package alipay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ordo/actors/payment/alipay"
	"ordo/api"
)

const tradeNo = "ORD202601020001"

// at is the time of the recorded requests: 2026-01-02 03:04:05 in GMT+8.
var at = time.Date(2026, 1, 1, 19, 4, 5, 0, time.UTC)

// gateway answers each call with what reply returns, and remembers the last
// request's parameters.
type gateway struct {
	*httptest.Server
	last  atomic.Pointer[url.Values]
	calls atomic.Int32
}

func newGateway(t *testing.T, reply http.HandlerFunc) *gateway {
	t.Helper()
	g := &gateway{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.calls.Add(1)
		if err := r.ParseForm(); err == nil {
			g.last.Store(&r.Form)
		}
		reply(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

// signed answers with inner, signed by the vectors' gateway, for the method
// that was called.
func signed(t *testing.T, inner string) http.HandlerFunc {
	key := privateKey(t, "alipay_private_pkcs8.pem")
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := alipay.EnvelopeSigned(key, r.Form.Get("method"), []byte(inner))
		if err != nil {
			http.Error(w, err.Error(), 500)
		}
		w.Write(body)
	}
}

func config(t *testing.T, gateway string) alipay.Config {
	t.Helper()
	return alipay.Config{
		Gateway:         gateway + "/gateway.do",
		AppID:           "2021000000000001",
		SellerID:        "2088000000000001",
		PrivateKey:      privateKey(t, "app_private_pkcs8.pem"),
		AlipayPublicKey: publicKey(t, "alipay_public.pem"),
		NotifyURL:       "http://127.0.0.1:8080/pay/alipay/notify",
		ReturnURL:       "http://127.0.0.1:8080/pay/alipay/return",
		Now:             func() time.Time { return at },
	}
}

func newClient(t *testing.T, gateway string) *alipay.Client {
	t.Helper()
	c, err := alipay.New(config(t, gateway))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func payment() alipay.Payment {
	return alipay.Payment{OutTradeNo: tradeNo, Subject: "测试商品 x2",
		Amount: api.Money{Amount: 8888, Currency: "CNY"},
		At:     api.TimeOf(at), Expire: api.TimeOf(at.Add(30 * time.Minute))}
}

// ACCEPT Y1
func TestCallsAreSentAsRecorded(t *testing.T) {
	g := newGateway(t, signed(t, `{"code":"20000"}`))
	c, ctx := newClient(t, g.URL), t.Context()
	calls := map[string]func() error{
		alipay.MethodPrecreate: func() error { _, err := c.Precreate(ctx, payment()); return err },
		alipay.MethodQuery:     func() error { _, err := c.Query(ctx, tradeNo); return err },
		alipay.MethodClose:     func() error { return c.Close(ctx, "ORD202601020002") },
		alipay.MethodRefundQuery: func() error {
			_, err := c.RefundQuery(ctx, alipay.Refund{OutTradeNo: tradeNo, OutRequestNo: "RF202601020001"})
			return err
		},
	}
	for _, v := range loadVectors(t, embedded, "requests.json").Vectors {
		call := calls[v.Params["method"]]
		if call == nil {
			continue
		}
		delete(calls, v.Params["method"])
		if err := call(); !errors.Is(err, alipay.ErrUnknown) {
			t.Errorf("%s: %v", v.Name, err)
		}
		if got, want := *g.last.Load(), v.Params.Values(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%v\nwant\n%v", v.Name, got, want)
		}
	}
	if len(calls) != 0 {
		t.Errorf("not recorded: %v", calls)
	}
}

// ACCEPT Y1
func TestPayRequests(t *testing.T) {
	c := newClient(t, "https://gateway.example")
	app := publicKey(t, "app_public.pem")
	p := payment()
	p.Subject = "A/B=C&D \"<x>\" 100%+"
	link, err := c.PagePay(p)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if again, err := c.PagePay(p); err != nil || again != link {
			t.Fatalf("a second click gives another link: %s, %v", again, err)
		}
	}
	form, err := c.PagePayForm(p)
	if err != nil {
		t.Fatal(err)
	}
	order, err := c.AppPay(p)
	if err != nil || strings.Contains(order, "+") {
		t.Fatalf("%s, %v", order, err)
	}
	posted := strings.SplitN(form.Action, "?", 2)[1] + "&" + form.Fields.Values().Encode()
	for method, sent := range map[string]string{
		"FAST_INSTANT_TRADE_PAY":  strings.TrimPrefix(link, "https://gateway.example/gateway.do?"),
		"FAST_INSTANT_TRADE_PAY ": posted,
		"QUICK_MSECURITY_PAY":     order,
	} {
		values, err := url.ParseQuery(sent)
		if err != nil {
			t.Fatal(err)
		}
		got, err := alipay.VerifyRequest(app, values)
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		want := fmt.Sprintf(`{"out_trade_no":"%s","total_amount":"88.88",`+
			`"subject":"A B C D \"<x>\" 100%%+","product_code":"%s",`+
			`"time_expire":"2026-01-02 03:34:05"}`, tradeNo, strings.TrimSpace(method))
		isApp := method == "QUICK_MSECURITY_PAY"
		if got["biz_content"] != want || got["timestamp"] != "2026-01-02 03:04:05" ||
			got["notify_url"] == "" || (got["return_url"] == "") != isApp {
			t.Errorf("%s: %v", method, got)
		}
	}
}

// ACCEPT Y1
func TestPaymentsThatAreNotAsked(t *testing.T) {
	g := newGateway(t, signed(t, `{"code":"10000"}`))
	c, ctx := newClient(t, g.URL), t.Context()
	for place, change := range map[string]func(*alipay.Payment){
		"out_trade_no":  func(p *alipay.Payment) { p.OutTradeNo = "" },
		"out_trade_no ": func(p *alipay.Payment) { p.OutTradeNo = "a&b" },
		"amount":        func(p *alipay.Payment) { p.Amount.Amount = 0 },
		"amount ":       func(p *alipay.Payment) { p.Amount.Amount = alipay.MaxAmount + 1 },
		"currency":      func(p *alipay.Payment) { p.Amount.Currency = "GBP" },
		"subject":       func(p *alipay.Payment) { p.Subject = " " },
		"subject ":      func(p *alipay.Payment) { p.Subject = "\xff" },
		"expire":        func(p *alipay.Payment) { p.Expire = p.At },
		"expire ":       func(p *alipay.Payment) { p.Expire = 0 },
	} {
		p := payment()
		change(&p)
		_, err1 := c.PagePay(p)
		_, err2 := c.PagePayForm(p)
		_, err3 := c.AppPay(p)
		_, err4 := c.Precreate(ctx, p)
		for _, err := range []error{err1, err2, err3, err4} {
			e := api.AsError(err)
			if e == nil || e.Code != api.CodeInvalid || e.Place != strings.TrimSpace(place) {
				t.Errorf("%s: %v", place, err)
			}
		}
	}
	long := strings.Repeat("9", alipay.MaxNo+1)
	_, err1 := c.Query(ctx, long)
	_, err2 := c.RefundQuery(ctx, alipay.Refund{OutTradeNo: tradeNo, OutRequestNo: ""})
	_, err3 := c.Refund(ctx, alipay.Refund{OutTradeNo: tradeNo, OutRequestNo: "1"})
	_, err4 := c.Refund(ctx, alipay.Refund{OutTradeNo: tradeNo, Amount: payment().Amount})
	for i, err := range []error{err1, err2, err3, err4, c.Close(ctx, "a b")} {
		if e := api.AsError(err); e == nil || e.Code != api.CodeInvalid {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if g.calls.Load() != 0 {
		t.Errorf("%d calls were sent", g.calls.Load())
	}
}

// ACCEPT Y1
func TestAnswersThatAreRead(t *testing.T) {
	ctx := t.Context()
	ask := func(inner string) *alipay.Client {
		return newClient(t, newGateway(t, signed(t, "{"+inner+"}")).URL)
	}
	const ok = `"code":"10000","out_trade_no":"ORD202601020001","trade_no":"7"`
	cny := func(n int64) api.Money { return api.Money{Amount: n, Currency: "CNY"} }
	pre, err := ask(ok+`,"qr_code":"https:\/\/qr\/x"`).
		Precreate(ctx, payment())
	if err != nil || pre != (alipay.Precreated{OutTradeNo: tradeNo, QRCode: "https://qr/x"}) {
		t.Errorf("precreate: %+v, %v", pre, err)
	}
	trade, err := ask(ok+`,"trade_status":"TRADE_SUCCESS","total_amount":"88.88",`+
		`"send_pay_date":"2026-01-02 03:04:05"`).
		Query(ctx, tradeNo)
	if err != nil || trade != (alipay.Trade{OutTradeNo: tradeNo, TradeNo: "7",
		Status: alipay.TradeSuccess, Total: cny(8888), PaidAt: api.TimeOf(at)}) {
		t.Errorf("query: %+v, %v", trade, err)
	}
	refund := alipay.Refund{OutTradeNo: tradeNo, OutRequestNo: "RF1", Amount: cny(2000)}
	done, err := ask(ok+`,"fund_change":"Y","refund_fee":"30.00"`).Refund(ctx, refund)
	if err != nil || done != (alipay.Refunded{OutTradeNo: tradeNo, TradeNo: "7", Changed: true,
		Total: cny(3000)}) {
		t.Errorf("refund: %+v, %v", done, err)
	}
	state, err := ask(ok+`,"out_request_no":"RF1","refund_status":"REFUND_SUCCESS",`+
		`"refund_amount":"20.00","gmt_refund_pay":"2026-01-02 03:04:05"`).
		RefundQuery(ctx, refund)
	if err != nil || state != (alipay.RefundState{OutTradeNo: tradeNo, TradeNo: "7",
		OutRequestNo: "RF1", Done: true, Amount: cny(2000), At: api.TimeOf(at)}) {
		t.Errorf("refund query: %+v, %v", state, err)
	}
	state, err = ask(`"code":"10000","msg":"Success"`).RefundQuery(ctx, refund)
	if err != nil || state.Done || state.Amount != cny(0) {
		t.Errorf("a refund that is not known: %+v, %v", state, err)
	}
	if err := ask(ok).Close(ctx, tradeNo); err != nil {
		t.Errorf("close: %v", err)
	}
	var refused *alipay.GatewayError
	err = ask(`"code":"40004","sub_code":"ACQ.TRADE_NOT_EXIST"`).Close(ctx, tradeNo)
	if !errors.As(err, &refused) || refused.SubCode != alipay.SubTradeNotExist ||
		errors.Is(err, alipay.ErrUnknown) {
		t.Errorf("refused: %v", err)
	}
}

// queryAndRefund answers the errors of a query and of a refund of 20.00.
func queryAndRefund(ctx context.Context, c *alipay.Client) []error {
	_, err1 := c.Query(ctx, tradeNo)
	_, err2 := c.Refund(ctx, alipay.Refund{OutTradeNo: tradeNo, OutRequestNo: "RF1",
		Amount: api.Money{Amount: 2000, Currency: "CNY"}})
	return []error{err1, err2, c.Close(ctx, tradeNo)}
}

// ACCEPT Y1 Y9
func TestAuthenticAnswersThatSayNothing(t *testing.T) {
	const ok = `"code":"10000","out_trade_no":"ORD202601020001",`
	for name, inner := range map[string]string{
		"system error":     `{"code":"40004","sub_code":"ACQ.SYSTEM_ERROR"}`,
		"old system error": `{"code":"40004","sub_code":"aop.ACQ.SYSTEM_ERROR"}`,
		"unavailable":      `{"code":"20000","sub_code":"isp.unknow-error"}`,
		"isp":              `{"code":"40004","sub_code":"isp.call-timeout"}`,
		"limited":          `{"code":"40005","sub_code":"isv.app-call-limited"}`,
		"no code":          `{"msg":"Success"}`,
		"new code":         `{"code":"77777"}`,
		"code is a number": `{"code":10000}`,
		"another trade":    `{"code":"10000","out_trade_no":"X","trade_status":"TRADE_SUCCESS"}`,
		"refused another":  `{"code":"40004","sub_code":"ACQ.TRADE_NOT_EXIST","out_trade_no":"X"}`,
	} {
		c := newClient(t, newGateway(t, signed(t, inner)).URL)
		for i, err := range queryAndRefund(t.Context(), c) {
			if !errors.Is(err, alipay.ErrUnknown) || errors.Is(err, alipay.ErrSignature) {
				t.Errorf("%s, call %d: %v", name, i, err)
			}
		}
	}
	for _, inner := range []string{
		`{` + ok + `"trade_status":"TRADE_SUCCESS","total_amount":"x","fund_change":"Y"}`,
		`{` + ok + `"trade_status":"TRADE_SUCCESS","fund_change":"Y","refund_fee":"19.99"}`,
		`{` + ok + `"trade_status":"PAID","total_amount":"1.00","refund_fee":"-1"}`,
		`{` + ok + `"send_pay_date":"today","total_amount":"1.00","refund_fee":"1e9"}`,
	} {
		c := newClient(t, newGateway(t, signed(t, inner)).URL)
		for i, err := range queryAndRefund(t.Context(), c)[:2] {
			if !errors.Is(err, alipay.ErrUnknown) {
				t.Errorf("%s, call %d: %v", inner, i, err)
			}
		}
	}
}

// ACCEPT Y1
func TestAGatewayThatAnswersRubbish(t *testing.T) {
	key := privateKey(t, "alipay_private_pkcs8.pem")
	good, err := alipay.EnvelopeSigned(key, alipay.MethodClose,
		[]byte(`{"code":"10000","out_trade_no":"ORD202601020001"}`))
	if err != nil {
		t.Fatal(err)
	}
	body := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, text) }
	}
	elsewhere := newGateway(t, body(string(good)))
	unsigned, _, _ := strings.Cut(string(good), `,"sign"`)
	for name, reply := range map[string]http.HandlerFunc{
		"nothing":      body(""),
		"html":         body("<html>502</html>"),
		"garbage":      body("\x00\xff\x1f"),
		"unsigned":     body(unsigned + "}"),
		"null":         body(strings.Replace(string(good), `"sign":"`, `"sign":null,"x":"`, 1)),
		"altered":      body(strings.Replace(string(good), "10000", "10001", 1)),
		"trailing":     body(string(good) + string(good)),
		"twice":        body(string(good)[:len(good)-1] + `,"sign":"x"}`),
		"forged first": body(`{"alipay_trade_close_response":{"code":"40004"},` + string(good)[1:]),
		"two results": body(string(good)[:len(good)-1] +
			`,"error_response":{"code":"40004","sub_code":"x"}}`),
		"another method": body(strings.Replace(string(good), "close", "query", 1)),
		"too long":       body(string(good) + strings.Repeat(" ", alipay.MaxAnswer)),
		"deep":           body(strings.Repeat(`{"a":`, 20000)),
		"500": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			w.Write(good)
		},
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"cut": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5000")
			w.Write(good)
		},
		"hang up": func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
	} {
		err := newClient(t, newGateway(t, reply).URL).Close(t.Context(), tradeNo)
		if !errors.Is(err, alipay.ErrUnknown) || strings.Contains(err.Error(), "biz_content") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if elsewhere.calls.Load() != 0 {
		t.Error("a redirect was followed")
	}
	if err := newClient(t, elsewhere.URL).Close(t.Context(), tradeNo); err != nil {
		t.Errorf("the good answer: %v", err)
	}
}

// ACCEPT Y1
func TestAGatewayThatHangs(t *testing.T) {
	release := make(chan struct{})
	g := newGateway(t, func(w http.ResponseWriter, r *http.Request) { <-release })
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	cfg := config(t, g.URL)
	cfg.HTTP = &http.Client{Timeout: 20 * time.Millisecond}
	slow, err := alipay.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := slow.Close(ctx, tradeNo); !errors.Is(err, alipay.ErrUnknown) {
		t.Errorf("time-out: %v", err)
	}
	cancel()
	err = newClient(t, g.URL).Close(ctx, tradeNo)
	if !errors.Is(err, alipay.ErrUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	dead := httptest.NewServer(nil)
	dead.Close()
	err = newClient(t, dead.URL).Close(t.Context(), tradeNo)
	if !errors.Is(err, alipay.ErrUnknown) {
		t.Errorf("nobody there: %v", err)
	}
}

// ACCEPT Y1
func TestConfigsThatAreRefused(t *testing.T) {
	for want, change := range map[string]func(*alipay.Config){
		"app id":     func(c *alipay.Config) { c.AppID = "" },
		"seller id":  func(c *alipay.Config) { c.SellerID = "" },
		"private":    func(c *alipay.Config) { c.PrivateKey = nil },
		"public":     func(c *alipay.Config) { c.AlipayPublicKey = nil },
		"URL":        func(c *alipay.Config) { c.Gateway = "ftp://x/y" },
		"http":       func(c *alipay.Config) { c.Gateway = "" },
		"plain":      func(c *alipay.Config) { c.ReturnURL += "?lang=en" },
		"plain http": func(c *alipay.Config) { c.NotifyURL = "http://me:pw@host/" },
	} {
		cfg := config(t, "https://gateway.example")
		change(&cfg)
		if _, err := alipay.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	cfg := config(t, "https://gateway.example")
	cfg.Currency = "GBP"
	c, err := alipay.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := payment()
	p.Amount.Currency = "GBP"
	if _, err := c.PagePay(p); err != nil {
		t.Errorf("an account in pounds: %v", err)
	}
}

func TestRefundRequest(t *testing.T) {
	g := newGateway(t, signed(t, `{"code":"20000"}`))
	_, err := newClient(t, g.URL).Refund(t.Context(), alipay.Refund{OutTradeNo: tradeNo,
		TradeNo: "7", OutRequestNo: "RF1", Amount: api.Money{Amount: 1, Currency: "CNY"},
		Reason: strings.Repeat("é", 300)})
	if !errors.Is(err, alipay.ErrUnknown) {
		t.Fatal(err)
	}
	p, err := alipay.VerifyRequest(publicKey(t, "app_public.pem"), *g.last.Load())
	if err != nil {
		t.Fatal(err)
	}
	var biz map[string]string
	if err := json.Unmarshal([]byte(p["biz_content"]), &biz); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"out_trade_no": tradeNo, "trade_no": "7", "refund_amount": "0.01",
		"out_request_no": "RF1", "refund_reason": strings.Repeat("é", alipay.MaxSubject)}
	if !reflect.DeepEqual(biz, want) || p["method"] != alipay.MethodRefund {
		t.Errorf("%v", p)
	}
}
