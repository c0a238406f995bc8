package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ordo/actors/payment/alipay"
	"ordo/actors/payment/gateway"
	"ordo/api"
)

var yuan = api.Money{Amount: 8888, Currency: "CNY"}

func pem(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile("../alipay/testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// bank is Alipay's side: it answers each method with the inner object that
// stands there, signed, with $out in it replaced by the trade and $no by the
// refund that was asked about.
type bank struct {
	*httptest.Server
	says  map[string]string
	raw   http.HandlerFunc // answers instead, when not nil
	calls []string
	now   time.Time
	pay   *gateway.Alipay
	all   *gateway.Gateways
}

func newBank(t *testing.T, says map[string]string) *bank {
	t.Helper()
	key, err := alipay.ParsePrivateKey(pem(t, "alipay_private_pkcs8.pem"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bank{says: says, now: at.Add(-time.Minute)}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.FormValue("method")
		b.calls = append(b.calls, strings.TrimPrefix(method, "alipay.trade."))
		if b.raw != nil {
			b.raw(w, r)
			return
		}
		var biz struct {
			Out string `json:"out_trade_no"`
			No  string `json:"out_request_no"`
			Of  string `json:"trade_no"`
		}
		if err := json.Unmarshal([]byte(r.FormValue("biz_content")), &biz); err != nil {
			t.Error(err)
		}
		if biz.No != "" && biz.Of != paidAttempt().TradeNo {
			t.Errorf("%s of the trade %q", method, biz.Of)
		}
		inner := strings.NewReplacer("$out", biz.Out, "$no", biz.No).Replace(b.says[method])
		body, err := alipay.EnvelopeSigned(key, method, []byte(inner))
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(b.Close)
	own, err := alipay.ParsePrivateKey(pem(t, "app_private_pkcs8.pem"))
	if err != nil {
		t.Fatal(err)
	}
	b.pay, err = gateway.NewAlipay(alipay.Config{Gateway: b.URL + "/gateway.do", AppID: "2021",
		SellerID: "2088", PrivateKey: own, AlipayPublicKey: &key.PublicKey,
		NotifyURL: "https://shop.example/pay/alipay/notify",
		ReturnURL: "https://shop.example/pay/alipay/return",
		Now:       func() time.Time { return b.now }})
	if err != nil {
		t.Fatal(err)
	}
	b.now = at // a process that is a minute old
	b.all = gateway.New(map[string]gateway.Gateway{api.PayAlipay: b.pay})
	return b
}

// do does an effect about an attempt and a refund of 20.00.
func (b *bank) do(ctx context.Context, name string) (any, error) {
	return b.all.Do(ctx, effect(name, api.GatewayCall{
		Attempt: paidAttempt(), Refund: "rfd_1",
		RefundAmount: api.Money{Amount: 2000, Currency: "CNY"}}))
}

// paidAttempt is one whose trade the gateway has numbered.
func paidAttempt() api.Attempt {
	a := attempt(api.PayAlipay, api.ProductQR, yuan)
	a.TradeNo = "2026"
	return a
}

const (
	trade = `{"code":"10000","out_trade_no":"$out","trade_no":"2026","total_amount":"88.88",` +
		`"send_pay_date":"2026-03-01 20:00:05","trade_status":"`
	no      = `{"code":"40004","sub_msg":"no","sub_code":"`
	noTrade = no + `ACQ.TRADE_NOT_EXIST"}`
	unknown = no + `ACQ.SYSTEM_ERROR"}`
)

// ACCEPT Y1 Y8
func TestAlipayQuery(t *testing.T) {
	for inner, want := range map[string]string{
		noTrade:                       api.TradeNone,
		trade + `WAIT_BUYER_PAY"}`:    api.TradeWaiting,
		trade + `TRADE_SUCCESS"}`:     api.TradePaid,
		trade + `TRADE_FINISHED"}`:    api.TradePaid,
		trade + `TRADE_CLOSED"}`:      api.TradeClosed,
		unknown:                       "",
		no + `ACQ.ACCESS_FORBIDDEN"}`: "",
		trade + `PAID_PERHAPS"}`:      "",
		strings.Replace(trade, "2026", "", 1) + `TRADE_SUCCESS"}`: "",
		`{"code":"20000","sub_code":"isp.unknow-error"}`:          "",
	} {
		b := newBank(t, map[string]string{alipay.MethodQuery: inner})
		out, err := b.do(t.Context(), api.EffectPayQuery)
		if want == "" {
			if err == nil || out != nil {
				t.Errorf("%s: %+v, %v", inner, out, err)
			}
			continue
		}
		got, ok := out.(*api.Trade)
		if err != nil || !ok || got.State != want || got.Provider != api.PayAlipay ||
			got.Attempt != attempt(api.PayAlipay, api.ProductQR, yuan).ID || got.Amount != yuan {
			t.Errorf("%s: %+v, %v", inner, out, err)
		}
		if gone := want == api.TradeClosed; gone != (got.Refunded == yuan) {
			t.Errorf("of a paid trade that is closed all went back: %+v", got)
		}
		if want == api.TradePaid && (got.TradeNo != "2026" ||
			got.PaidAt != api.TimeOf(at.Add(5*time.Second))) {
			t.Errorf("%+v", got)
		}
	}
}

// An authentic no is an answer: it does not have the provider left alone.
func TestAlipayRefusalsAreNoFailures(t *testing.T) {
	b := newBank(t, map[string]string{alipay.MethodQuery: no + `ACQ.INVALID_PARAMETER"}`})
	for range 30 {
		if out, err := b.do(t.Context(), api.EffectPayQuery); err == nil || out != nil ||
			errors.Is(err, gateway.ErrBroken) {
			t.Fatalf("%+v, %v", out, err)
		}
	}
}

// ACCEPT Y1 E2
func TestAlipayClose(t *testing.T) {
	const closed = `{"code":"10000","out_trade_no":"$out","trade_no":"2026"}`
	for name, c := range map[string]struct{ close, query, want string }{
		"a waiting one": {closed, trade + `TRADE_CLOSED"}`, api.TradeClosed},
		"a paid one": {no + `ACQ.TRADE_STATUS_ERROR"}`, trade + `TRADE_SUCCESS"}`,
			api.TradePaid},
		"paid before the close": {closed, trade + `TRADE_SUCCESS"}`, api.TradePaid},
		"never opened":          {noTrade, noTrade, api.TradeNone},
		"not closed":            {no + `ACQ.REASON_X"}`, trade + `WAIT_BUYER_PAY"}`, api.TradeWaiting},
		"unknown":               {unknown, trade + `TRADE_CLOSED"}`, ""},
		"then unknown":          {closed, unknown, ""},
	} {
		b := newBank(t, map[string]string{alipay.MethodClose: c.close, alipay.MethodQuery: c.query})
		out, err := b.do(t.Context(), api.EffectPayClose)
		got, _ := out.(*api.Trade)
		if c.want == "" && (err == nil || out != nil) ||
			c.want != "" && (err != nil || got == nil || got.State != c.want) {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
}

// ACCEPT Y1 Y9
func TestAlipayRefund(t *testing.T) {
	const (
		changed = `{"code":"10000","out_trade_no":"$out","fund_change":"Y","refund_fee":"50.00",` +
			`"gmt_refund_pay":"2026-03-01 20:00:05"}`
		same = `{"code":"10000","out_trade_no":"$out","fund_change":"N","refund_fee":"50.00"}`
		is   = `{"code":"10000","out_trade_no":"$out","out_request_no":"$no",`
		done = is + `"refund_status":"REFUND_SUCCESS","refund_amount":"20.00",` +
			`"gmt_refund_pay":"2026-03-01 20:00:05"}`
		less    = is + `"refund_status":"REFUND_SUCCESS","refund_amount":"10.00"}`
		nothing = `{"code":"10000"}`
		final   = no + `ACQ.TRADE_HAS_FINISHED"}`
	)
	for name, c := range map[string]struct {
		refund, query string
		want          string // done, refused or unknown
		total         int64
	}{
		"money moves":           {changed, "", "done", 5000},
		"it had moved":          {same, done, "done", 5000},
		"not yet":               {same, nothing, "unknown", 0},
		"accepted, unknown":     {same, unknown, "unknown", 0},
		"accepted, no trade":    {same, noTrade, "unknown", 0},
		"refused":               {final, nothing, "refused", 0},
		"refused, no refund":    {final, no + `ACQ.REFUND_NOT_EXIST"}`, "refused", 0},
		"refused but done":      {final, done, "done", 0},
		"another amount":        {final, less, "refused", 0},
		"refused, then unknown": {final, unknown, "unknown", 0},
		"frozen":                {no + `ACQ.REASON_TRADE_BEEN_FREEZEN"}`, nothing, "unknown", 0},
		"the account is empty":  {no + `ACQ.SELLER_BALANCE_NOT_ENOUGH"}`, nothing, "unknown", 0},
		"no such trade":         {noTrade, noTrade, "unknown", 0},
		"a wrong key": {`{"code":"40002","sub_code":"isv.invalid-signature"}`,
			`{"code":"40002","sub_code":"isv.invalid-signature"}`, "unknown", 0},
		"unknown": {unknown, done, "unknown", 0},
	} {
		b := newBank(t, map[string]string{alipay.MethodRefund: c.refund,
			alipay.MethodRefundQuery: c.query})
		out, err := b.do(t.Context(), api.EffectPayRefund)
		got, ok := out.(*api.RefundOutcome)
		switch c.want {
		case "unknown":
			ok = err != nil && out == nil
		case "refused":
			ok = ok && err == nil && got.Refusal != nil && got.Refusal.Code == api.CodeRefundRefused
		default:
			ok = ok && err == nil && got.Refusal == nil && got.Total.Amount == c.total &&
				got.At == api.TimeOf(at.Add(5*time.Second))
		}
		if !ok {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
		// A refusal and an unchanged answer are asked about; nothing else is.
		asks := c.refund != changed && c.refund != unknown
		if asks != slices.Contains(b.calls, "fastpay.refund.query") {
			t.Errorf("%s: called %v", name, b.calls)
		}
	}
}

// A no to a refund says nothing while a try before may still be under way: one
// of this process that had no answer, or of the process before. ACCEPT Y9
func TestAlipayRefusalIsBelievedLater(t *testing.T) {
	b := newBank(t, map[string]string{
		alipay.MethodRefund:      no + `ACQ.TRADE_HAS_FINISHED"}`,
		alipay.MethodRefundQuery: `{"code":"10000"}`})
	try := func(after time.Duration, believed bool) {
		t.Helper()
		b.now = b.now.Add(after)
		out, err := b.do(t.Context(), api.EffectPayRefund)
		if r, ok := out.(*api.RefundOutcome); believed != (err == nil && ok && r.Refusal != nil) ||
			!believed && !errors.Is(err, gateway.ErrPending) {
			t.Errorf("after %s: %+v, %v", after, out, err)
		}
	}
	b.now = at.Add(-time.Minute) // as it starts
	try(0, false)
	try(9*time.Second, false)
	try(time.Second, true)
	b.raw = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	b.now = b.now.Add(time.Hour)
	if _, err := b.do(t.Context(), api.EffectPayRefund); err == nil ||
		errors.Is(err, gateway.ErrPending) {
		t.Errorf("no answer: %v", err)
	}
	b.raw = nil
	try(5*time.Second, false)
	try(5*time.Second, true)

	// Of two tries at once neither is believed.
	b.now = b.now.Add(time.Hour)
	var once sync.Once
	b.raw = func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() {
			b.raw = nil
			try(0, false)
		})
		w.WriteHeader(http.StatusBadGateway)
	}
	if _, err := b.do(t.Context(), api.EffectPayRefund); err == nil {
		t.Error("the first try has had an answer")
	}
}

// ACCEPT Y1 Y2
func TestAlipayLinks(t *testing.T) {
	b := newBank(t, map[string]string{alipay.MethodPrecreate: `{"code":"10000",` +
		`"out_trade_no":"$out","qr_code":"https://qr.example/$out"}`})
	page, app := attempt(api.PayAlipay, api.ProductPage, yuan), attempt(api.PayAlipay,
		api.ProductApp, yuan)
	for range 3 {
		l, err := b.pay.Link(&page)
		if again, _ := b.pay.Link(&page); err != nil || l != again ||
			!strings.HasPrefix(l.URL, b.URL+"/gateway.do?") {
			t.Errorf("%+v, %v", l, err)
		}
		if l, err := b.pay.Link(&app); err != nil || l.OrderString == "" || l.URL != "" {
			t.Errorf("%+v, %v", l, err)
		}
		if l, err := b.pay.Open(t.Context(), &page); err != nil || l.URL == "" {
			t.Errorf("%+v, %v", l, err)
		}
	}
	if len(b.calls) != 0 {
		t.Errorf("a signed link is asked for: %v", b.calls)
	}
	qr := attempt(api.PayAlipay, api.ProductQR, yuan)
	if _, err := b.pay.Link(&qr); api.AsError(err) == nil {
		t.Errorf("a code without asking: %v", err)
	}
	out, err := b.do(t.Context(), api.EffectPayOpen)
	if o, ok := out.(*api.Opened); err != nil || !ok || o.Refusal != nil ||
		o.Link.QRCode != "https://qr.example/"+qr.ID {
		t.Errorf("%+v, %v", out, err)
	}
	b.says[alipay.MethodPrecreate] = `{"code":"10000","out_trade_no":"$out"}`
	if out, err := b.do(t.Context(), api.EffectPayOpen); err == nil {
		t.Errorf("no code: %+v", out)
	}
	b.says[alipay.MethodPrecreate] = `{"code":"40002","sub_code":"isv.invalid-signature"}`
	if out, err := b.do(t.Context(), api.EffectPayOpen); !errors.Is(err, gateway.ErrPending) {
		t.Errorf("a wrong key is final: %+v, %v", out, err)
	}
	b.says[alipay.MethodPrecreate] = no + `ACQ.TRADE_HAS_CLOSE"}`
	out, err = b.do(t.Context(), api.EffectPayOpen)
	if o, ok := out.(*api.Opened); err != nil || !ok || o.Refusal == nil ||
		o.Refusal.Code != api.CodeNotPayable || o.Link != (api.Link{}) {
		t.Errorf("%+v, %v", out, err)
	}
}

// ACCEPT Y1 Y9
func TestAlipayThatIsIllSaysNothing(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	plain := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, raw := range map[string]http.HandlerFunc{
		"garbage": plain(200, "\x00\xff{"),
		"HTML":    plain(200, "<html>Sign in to the Wi-Fi</html>"),
		"nothing": plain(200, ""),
		"a fault": plain(500, "{}"),
		"unsigned": func(w http.ResponseWriter, r *http.Request) {
			name := strings.ReplaceAll(r.FormValue("method"), ".", "_")
			_, _ = fmt.Fprintf(w, `{"%s_response":{"code":"10000","trade_status":"TRADE_SUCCESS",`+
				`"total_amount":"88.88","fund_change":"Y","refund_fee":"20.00"}}`, name)
		},
		"signed by another": func(w http.ResponseWriter, r *http.Request) {
			key, err := alipay.ParsePrivateKey(pem(t, "app_private_pkcs8.pem"))
			if err != nil {
				t.Error(err)
			}
			body, err := alipay.EnvelopeSigned(key, r.FormValue("method"), []byte(noTrade))
			if err != nil {
				t.Error(err)
			}
			_, _ = w.Write(body)
		},
		"silence": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-release:
			}
		},
	} {
		for _, name2 := range []string{api.EffectPayOpen, api.EffectPayQuery, api.EffectPayClose,
			api.EffectPayRefund} {
			b := newBank(t, nil)
			b.raw = raw
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if name == "silence" {
				ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
			}
			if out, err := b.do(ctx, name2); err == nil || out != nil || api.AsError(err) != nil {
				t.Errorf("%s: %s: %+v, %v", name, name2, out, err)
			}
			cancel()
		}
	}
}

// ACCEPT Y3
func TestAlipayNotices(t *testing.T) {
	b := newBank(t, nil)
	key, err := alipay.ParsePrivateKey(pem(t, "alipay_private_pkcs8.pem"))
	if err != nil {
		t.Fatal(err)
	}
	notice := func(change alipay.Params) []byte {
		p := alipay.Params{"app_id": "2021", "seller_id": "2088", "out_trade_no": "pay_1",
			"trade_no": "2026", "trade_status": "TRADE_SUCCESS", "total_amount": "88.88",
			"gmt_payment": "2026-03-01 20:00:05", "charset": "utf-8"}
		maps.Copy(p, change)
		form, err := alipay.SignNotify(key, p)
		if err != nil {
			t.Fatal(err)
		}
		return []byte(form.Encode())
	}
	for status, want := range map[string]string{"TRADE_SUCCESS": api.TradePaid,
		"TRADE_FINISHED": api.TradePaid, "TRADE_CLOSED": api.TradeClosed,
		"WAIT_BUYER_PAY": api.TradeWaiting, "TRADE_PENDING": api.TradeWaiting} {
		told, incident := b.pay.Notice(nil, notice(alipay.Params{"trade_status": status,
			"refund_fee": "20.00"}))
		got := tradeIn(told)
		if incident != nil || got.State != want || got.Attempt != "pay_1" || got.TradeNo != "2026" ||
			got.Amount != yuan || got.Refunded.Amount != 2000 || got.Provider != api.PayAlipay ||
			got.PaidAt != api.TimeOf(at.Add(5*time.Second)) {
			t.Errorf("%s: %+v, %+v", status, got, incident)
		}
	}
	for name, body := range map[string][]byte{
		"a foreign app":    notice(alipay.Params{"app_id": "2022"}),
		"a foreign seller": notice(alipay.Params{"seller_id": "2089"}),
		"no app":           notice(alipay.Params{"app_id": ""}),
		"altered":          append(notice(nil), "&total_amount=0.01"...),
		"no number":        notice(alipay.Params{"trade_no": ""}),
		"unsigned":         []byte("app_id=2021&seller_id=2088&trade_status=TRADE_SUCCESS"),
		"nothing":          nil,
	} {
		got, incident := b.pay.Notice(nil, body)
		if got != nil || incident == nil || incident.Kind != api.IncidentForged ||
			incident.Provider != api.PayAlipay || incident.Text == "" {
			t.Errorf("%s: %+v, %+v", name, got, incident)
		}
	}
	if b.pay.Accepted() != "success" {
		t.Error(b.pay.Accepted())
	}
	if _, err := gateway.NewAlipay(alipay.Config{}); err == nil {
		t.Error("an account without keys")
	}
}
