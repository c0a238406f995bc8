package alipay_test

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"

	"ordo/actors/payment/alipay"
	"ordo/api"
)

// notifyFields are those of the first notify vector, unsigned.
func notifyFields(t testing.TB) alipay.Params {
	t.Helper()
	p := maps.Clone(loadVectors(t, embedded, "notifies.json").Vectors[0].Params)
	delete(p, "sign")
	delete(p, "sign_type")
	return p
}

// notifyBody is a notify of the vectors' gateway with some fields changed; an
// empty one is left out.
func notifyBody(t testing.TB, change alipay.Params) string {
	t.Helper()
	p := notifyFields(t)
	maps.Copy(p, change)
	form, err := alipay.SignNotify(privateKey(t, "alipay_private_pkcs8.pem"), p)
	if err != nil {
		t.Fatal(err)
	}
	return form.Encode()
}

// ACCEPT Y3
func TestNotifyIsRead(t *testing.T) {
	c := newClient(t, "https://gateway.example")
	n, err := c.ParseNotify([]byte(notifyBody(t, alipay.Params{"refund_fee": "20.00",
		"gmt_refund": "2026-01-02 03:10:00.123", "out_biz_no": "RF1"})))
	if err != nil {
		t.Fatal(err)
	}
	if n.AppID != "2021000000000001" || n.SellerID != "2088000000000001" ||
		n.OutTradeNo != tradeNo ||
		n.TradeNo != "2026010222001400000000000001" || n.OutBizNo != "RF1" ||
		n.NotifyID != "2026010200222030511000000000000001" || n.Status != alipay.TradeSuccess {
		t.Errorf("%+v", n)
	}
	if n.Total.String() != "88.88 CNY" || n.RefundFee.String() != "20.00 CNY" {
		t.Errorf("%v, %v", n.Total, n.RefundFee)
	}
	if alipay.FormatTime(n.PaidAt) != "2026-01-02 03:05:10" || n.ClosedAt != 0 ||
		alipay.FormatTime(n.NotifyTime) != "2026-01-02 03:05:11" ||
		alipay.FormatTime(n.RefundedAt) != "2026-01-02 03:10:00" {
		t.Errorf("%+v", n)
	}
	if n.Params["buyer_id"] != "2088000000000099" {
		t.Errorf("other fields: %v", n.Params)
	}
}

// ACCEPT Y3 Y4
func TestWhatANotifySays(t *testing.T) {
	c := newClient(t, "https://gateway.example")
	unpaid := alipay.Params{"gmt_payment": ""}
	refund := alipay.Params{"refund_fee": "20.00", "gmt_refund": "2026-01-02 03:10:00"}
	for _, s := range []struct {
		status   alipay.TradeStatus
		change   alipay.Params
		says     string
		everPaid bool
	}{
		{alipay.TradeSuccess, nil, "paid", true},
		{alipay.TradeFinished, nil, "paid", true},
		{alipay.TradeSuccess, refund, "refund", true},
		{alipay.TradeFinished, refund, "refund", true},
		{alipay.TradeClosed, refund, "refund", true},
		{alipay.TradeClosed, nil, "nothing", true},
		{alipay.TradeClosed, unpaid, "closed", false},
		{alipay.WaitBuyerPay, unpaid, "nothing", false},
		{"TRADE_PENDING", unpaid, "nothing", false},
	} {
		change := alipay.Params{"trade_status": string(s.status)}
		maps.Copy(change, s.change)
		n, err := c.ParseNotify([]byte(notifyBody(t, change)))
		if err != nil {
			t.Fatal(err)
		}
		if got := said(n, nil); got != s.says || n.EverPaid() != s.everPaid {
			t.Errorf("%s %v: %s, ever paid %v", s.status, s.change, got, n.EverPaid())
		}
	}
}

// ACCEPT Y3
func TestNotifiesOfOthers(t *testing.T) {
	c := newClient(t, "https://gateway.example")
	want := c.Expect(tradeNo, api.Money{Amount: 8888, Currency: "CNY"})
	n, err := c.ParseNotify([]byte(notifyBody(t, nil)))
	if err != nil || n.Check(want) != nil {
		t.Fatalf("ours: %v, %v", err, n.Check(want))
	}
	for name, value := range map[string]string{"app_id": "1", "seller_id": "1",
		"out_trade_no": "ORD2", "total_amount": "88.87"} {
		n, err := c.ParseNotify([]byte(notifyBody(t, alipay.Params{name: value})))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Check(want); !errors.Is(err, alipay.ErrForeign) ||
			!strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	want.Amount.Currency = "GBP"
	if err := n.Check(want); !errors.Is(err, alipay.ErrForeign) {
		t.Errorf("another currency: %v", err)
	}
}

// ACCEPT Y3
func TestForgedNotifies(t *testing.T) {
	c := newClient(t, "https://gateway.example")
	good := notifyBody(t, nil)
	if _, err := c.ParseNotify([]byte(good)); err != nil {
		t.Fatal(err)
	}
	resign := func(change alipay.Params, omit ...string) string {
		p := notifyFields(t)
		maps.Copy(p, change)
		sign, err := alipay.Sign(privateKey(t, "alipay_private_pkcs8.pem"),
			alipay.SignString(p, omit...))
		if err != nil {
			t.Fatal(err)
		}
		p["sign"] = sign
		return p.Values().Encode()
	}
	byApp, err := alipay.SignNotify(privateKey(t, "app_private_pkcs8.pem"), notifyFields(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"altered amount": strings.Replace(good, "total_amount=88.88", "total_amount=0.01", 1),
		"altered trade":  strings.Replace(good, tradeNo, "ORD202601020009", 1),
		"added":          good + "&refund_fee=88.88",
		"left out":       strings.Replace(good, "&version=1.0", "", 1),
		"RSA":            resign(alipay.Params{"sign_type": "RSA"}, "sign", "sign_type"),
		"no sign_type":   resign(nil, "sign", "sign_type"),
		"sign_type in":   resign(alipay.Params{"sign_type": "RSA2"}, "sign"),
		"our own key":    byApp.Encode(),
		"unsigned":       notifyFields(t).Values().Encode() + "&sign_type=RSA2",
		"nothing":        "",
		"empty signature": notifyFields(t).Values().Encode() +
			"&sign_type=RSA2&sign=",
	} {
		if n, err := c.ParseNotify([]byte(body)); !errors.Is(err, alipay.ErrSignature) || n != nil {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
}

// The signed text joins names and values, so that a field could be moved into
// its neighbour without breaking the signature.
//
// ACCEPT Y3
func TestFieldsHiddenInOthers(t *testing.T) {
	c := newClient(t, "https://gateway.example")
	body := notifyBody(t, alipay.Params{"refund_fee": "20.00"})
	form, err := url.ParseQuery(body)
	if err != nil {
		t.Fatal(err)
	}
	form.Del("total_amount")
	form.Del("subject")
	form.Set("subject=测试商品 x2&total_amount", "88.88")
	if n, err := c.ParseNotify([]byte(form.Encode())); !errors.Is(err, alipay.ErrMalformed) {
		t.Errorf("a field in a name: %+v, %v", n, err)
	}
	form.Del("subject=测试商品 x2&total_amount")
	form.Set("subject", "测试商品 x2&total_amount=88.88")
	if n, err := c.ParseNotify([]byte(form.Encode())); !errors.Is(err, alipay.ErrMalformed) {
		t.Errorf("a field in a value: %+v, %v", n, err)
	}
}

// ACCEPT Y3
func TestMalformedNotifies(t *testing.T) {
	c := newClient(t, "https://gateway.example")
	good := notifyBody(t, nil)
	many := strings.Builder{}
	for i := range 128 {
		fmt.Fprintf(&many, "&f%d=1", i)
	}
	for name, body := range map[string]string{
		"repeated":       good + "&version=1.0",
		"repeated other": good + "&total_amount=0.01",
		"too long":       good + "&x=" + strings.Repeat("x", alipay.MaxNotify),
		"too many":       good + many.String(),
		"escape":         good + "&x=%zz",
		"semicolon":      good + ";x=1",
		"no name":        good + "&=1",
		"not utf-8":      good + "&x=%ff",
		"gbk":            notifyBody(t, alipay.Params{"charset": "gbk"}),
		"no amount":      notifyBody(t, alipay.Params{"total_amount": ""}),
		"zero":           notifyBody(t, alipay.Params{"total_amount": "0.00"}),
		"below zero":     notifyBody(t, alipay.Params{"total_amount": "-88.88"}),
		"hundredths":     notifyBody(t, alipay.Params{"total_amount": "88.888"}),
		"refund":         notifyBody(t, alipay.Params{"refund_fee": "much"}),
		"time":           notifyBody(t, alipay.Params{"gmt_payment": "yesterday"}),
		"no status":      notifyBody(t, alipay.Params{"trade_status": ""}),
		"no number":      notifyBody(t, alipay.Params{"out_trade_no": ""}),
	} {
		if n, err := c.ParseNotify([]byte(body)); !errors.Is(err, alipay.ErrMalformed) || n != nil {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
	capitals := notifyBody(t, alipay.Params{"charset": "UTF-8"})
	if _, err := c.ParseNotify([]byte(capitals)); err != nil {
		t.Errorf("UTF-8 in capitals: %v", err)
	}
}

// A notify that is accepted is one that the gateway signed, whatever is sent.
func FuzzParseNotify(f *testing.F) {
	for _, v := range loadVectors(f, embedded, "notifies.json").Vectors {
		f.Add([]byte(v.FormBody))
	}
	f.Add([]byte(notifyBody(f, alipay.Params{"refund_fee": "20.00"})))
	f.Add([]byte("a=1&a=2&sign=%"))
	gateway := publicKey(f, "alipay_public.pem")
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := alipay.ParseNotify(gateway, "CNY", body)
		if err != nil {
			known := errors.Is(err, alipay.ErrSignature) || errors.Is(err, alipay.ErrMalformed)
			if n != nil || !known {
				t.Fatalf("%+v, %v", n, err)
			}
			return
		}
		text := alipay.SignString(n.Params, "sign", "sign_type")
		// The gateway may have signed its empty fields too; body is the only
		// one of the vectors that is empty.
		withEmpty := strings.Replace(text, "&buyer_id=", "&body=&buyer_id=", 1)
		sign := n.Params["sign"]
		if !gatewaySigns(t, text, sign) && !gatewaySigns(t, withEmpty, sign) {
			t.Fatalf("believed: %s", body)
		}
		if n.Total.Amount <= 0 || n.OutTradeNo == "" || n.Paid() && n.Closed() {
			t.Fatalf("%+v", n)
		}
	})
}

// An answer is a result or a refusal only when the gateway signed it.
func FuzzAnswer(f *testing.F) {
	for _, v := range loadVectors(f, embedded, "responses.json").Vectors {
		f.Add([]byte(v.RawBody))
	}
	f.Add([]byte(`{"error_response":{"code":"40002"},"sign":"AAAA"}`))
	gateway := publicKey(f, "alipay_public.pem")
	f.Fuzz(func(t *testing.T, body []byte) {
		var result struct {
			Code string `json:"code"`
			Sign string `json:"sign"`
		}
		err := alipay.ParseAnswer(gateway, alipay.MethodQuery, body, &result)
		var refused *alipay.GatewayError
		switch {
		case errors.Is(err, alipay.ErrUnknown):
			if result.Code != "" {
				t.Fatalf("a result and %v", err)
			}
		case err == nil || errors.As(err, &refused):
			if !strings.Contains(string(body), `"sign"`) {
				t.Fatalf("believed without a signature: %s", body)
			}
		default:
			t.Fatalf("neither known nor unknown: %v", err)
		}
	})
}
