package sandbox_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ordo/actors/payment/alipay"
	"ordo/api"
)

// params are a good request of a method.
func params(method, biz string) alipay.Params {
	return alipay.Params{"method": method, "app_id": appID, "charset": "utf-8", "version": "1.0",
		"sign_type": "RSA2", "timestamp": "2026-01-02 03:04:05", "biz_content": biz}
}

func (b *bench) signed(p alipay.Params) url.Values {
	b.t.Helper()
	sign, err := alipay.Sign(keys()[0], alipay.SignString(p, "sign"))
	b.must(err)
	values := p.Values()
	values.Set("sign", sign)
	return values
}

// post sends a form to the gateway and returns its inner object after checking
// the envelope: the result first, then its signature.
func (b *bench) post(query, form url.Values) (name string, inner map[string]string) {
	b.t.Helper()
	w, err := http.PostForm(b.server.URL+"/gateway.do?"+query.Encode(), form)
	b.must(err)
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	b.must(err)
	d := json.NewDecoder(strings.NewReader(string(body)))
	var raw json.RawMessage
	var second, sign string
	_, err = d.Token()
	b.must(err)
	first, err := d.Token()
	b.must(err)
	b.must(d.Decode(&raw))
	for _, into := range []*string{&second, &sign} {
		token, err := d.Token()
		b.must(err)
		*into = fmt.Sprint(token)
	}
	if second != "sign" || w.StatusCode != http.StatusOK {
		b.t.Fatalf("not an envelope: %d %s", w.StatusCode, body)
	}
	b.must(alipay.Verify(&keys()[1].PublicKey, string(raw), sign))
	b.must(json.Unmarshal(raw, &inner))
	return fmt.Sprint(first), inner
}

const goodBiz = `{"out_trade_no":"B1","total_amount":"1.00","subject":"s"}`

// refusals are requests that are refused before or because of what they ask.
var refusals = []struct {
	name   string
	method string
	biz    string
	change func(v url.Values) // after signing
	before func(p alipay.Params)
	code   string
	sub    string
}{
	{name: "no method", change: func(v url.Values) { v.Del("method") },
		code: "40001", sub: "isv.missing-method"},
	{name: "no app", change: func(v url.Values) { v.Del("app_id") },
		code: "40001", sub: "isv.missing-app-id"},
	{name: "no signature", change: func(v url.Values) { v.Del("sign") },
		code: "40001", sub: "isv.missing-signature"},
	{name: "no signature type", change: func(v url.Values) { v.Del("sign_type") },
		code: "40001", sub: "isv.missing-signature-type"},
	{name: "no timestamp", change: func(v url.Values) { v.Del("timestamp") },
		code: "40001", sub: "isv.missing-timestamp"},
	{name: "unknown method", method: "alipay.trade.create",
		code: "40002", sub: "isv.invalid-method"},
	{name: "a method that is no name", method: `x":{},"y`,
		code: "40002", sub: "isv.invalid-method"},
	{name: "a long method", method: strings.Repeat("x", 129),
		code: "40002", sub: "isv.invalid-method"},
	{name: "another app", before: func(p alipay.Params) { p["app_id"] = "2021000000000002" },
		code: "40002", sub: "isv.invalid-app-id"},
	{name: "RSA", before: func(p alipay.Params) { p["sign_type"] = "RSA" },
		code: "40002", sub: "isv.invalid-signature-type"},
	{name: "altered", change: func(v url.Values) { v.Set("biz_content", "{}") },
		code: "40002", sub: "isv.invalid-signature"},
	{name: "an unsigned parameter", change: func(v url.Values) { v.Set("extra", "1") },
		code: "40002", sub: "isv.invalid-signature"},
	{name: "two values", change: func(v url.Values) { v.Add("charset", "gbk") },
		code: "40002", sub: "isv.invalid-parameter"},
	{name: "not base64", change: func(v url.Values) { v.Set("sign", "%%") },
		code: "40002", sub: "isv.invalid-signature"},
	{name: "gbk", before: func(p alipay.Params) { p["charset"] = "gbk" },
		code: "40002", sub: "isv.invalid-charset"},
	{name: "XML", before: func(p alipay.Params) { p["format"] = "xml" },
		code: "40002", sub: "isv.invalid-format"},
	{name: "bad timestamp", before: func(p alipay.Params) { p["timestamp"] = "yesterday" },
		code: "40002", sub: "isv.invalid-timestamp"},
	{name: "not JSON", biz: `{"out_trade_no":`, code: "40002", sub: "isv.invalid-parameter"},
	{name: "a list", biz: `[]`, code: "40002", sub: "isv.invalid-parameter"},
	{name: "bad notify URL", before: func(p alipay.Params) { p["notify_url"] = "file:///etc/passwd" },
		code: "40002", sub: "isv.invalid-parameter"},
	{name: "null", biz: `null`, code: "40004", sub: "ACQ.INVALID_PARAMETER"},
	{name: "bad number", biz: `{"out_trade_no":"a b","total_amount":"1","subject":"s"}`,
		code: "40004", sub: "ACQ.INVALID_PARAMETER"},
	{name: "no subject", biz: `{"out_trade_no":"B1","total_amount":"1"}`,
		code: "40004", sub: "ACQ.INVALID_PARAMETER"},
	{name: "nothing to pay", biz: `{"out_trade_no":"B1","total_amount":"0.00","subject":"s"}`,
		code: "40004", sub: "ACQ.INVALID_PARAMETER"},
	{name: "thirds of a penny", biz: `{"out_trade_no":"B1","total_amount":0.333,"subject":"s"}`,
		code: "40004", sub: "ACQ.INVALID_PARAMETER"},
	{name: "too much", biz: `{"out_trade_no":"B1","total_amount":"100000000.01","subject":"s"}`,
		code: "40004", sub: "ACQ.TOTAL_FEE_EXCEED"},
	{name: "bad limit", biz: `{"out_trade_no":"B1","total_amount":1,"subject":"s","time_expire":"x"}`,
		code: "40004", sub: "ACQ.INVALID_PARAMETER"},
	{name: "limit over",
		biz:  `{"out_trade_no":"B1","total_amount":1,"subject":"s","time_expire":"2025-01-01 00:00"}`,
		code: "40004", sub: "ACQ.TRADE_HAS_CLOSE"},
	{name: "no trade to query", method: alipay.MethodQuery, biz: `{"out_trade_no":"NOPE"}`,
		code: "40004", sub: "ACQ.TRADE_NOT_EXIST"},
	{name: "no such trade number", method: alipay.MethodQuery, biz: `{"trade_no":"20260102"}`,
		code: "40004", sub: "ACQ.TRADE_NOT_EXIST"},
	{name: "a trade number of letters", method: alipay.MethodQuery, biz: `{"trade_no":"x"}`,
		code: "40004", sub: "ACQ.TRADE_NOT_EXIST"},
	{name: "no number to query", method: alipay.MethodQuery, biz: `{}`,
		code: "40004", sub: "ACQ.INVALID_PARAMETER"},
	{name: "no trade to close", method: alipay.MethodClose, biz: `{"out_trade_no":"NOPE"}`,
		code: "40004", sub: "ACQ.TRADE_NOT_EXIST"},
	{name: "no trade to refund", method: alipay.MethodRefund,
		biz:  `{"out_trade_no":"NOPE","refund_amount":"1.00","out_request_no":"R"}`,
		code: "40004", sub: "ACQ.TRADE_NOT_EXIST"},
	{name: "no amount to refund", method: alipay.MethodRefund, biz: `{"out_trade_no":"NOPE"}`,
		code: "40004", sub: "ACQ.INVALID_PARAMETER"},
	{name: "no refund number", method: alipay.MethodRefundQuery, biz: `{"out_trade_no":"NOPE"}`,
		code: "40004", sub: "ACQ.INVALID_PARAMETER"},
	{name: "no trade of a refund", method: alipay.MethodRefundQuery,
		biz:  `{"out_trade_no":"NOPE","out_request_no":"R"}`,
		code: "40004", sub: "ACQ.TRADE_NOT_EXIST"},
	{name: "page pay by a program", method: alipay.MethodPagePay, biz: `{}`,
		code: "40004", sub: "ACQ.INVALID_PARAMETER"},
}

// ACCEPT Y5 Y1
func TestEveryRefusalIsASignedEnvelope(t *testing.T) {
	b := newBench(t, nil)
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			method, biz := c.method, c.biz
			if method == "" {
				method = alipay.MethodPrecreate
			}
			if biz == "" {
				biz = goodBiz
			}
			p := params(method, biz)
			if c.before != nil {
				c.before(p)
			}
			values := b.signed(p)
			if c.change != nil {
				c.change(values)
			}
			want := strings.ReplaceAll(method, ".", "_") + "_response"
			if values.Get("method") == "" || len(method) > 128 || strings.Contains(method, ":") {
				want = "error_response"
			}
			name, inner := b.post(nil, values)
			if name != want || inner["code"] != c.code || inner["sub_code"] != c.sub ||
				inner["msg"] == "" || inner["sub_msg"] == "" {
				t.Errorf("%s: %v", name, inner)
			}
		})
	}
	b.wantStatus("B1", "")
}

// ACCEPT Y5 Y1
func TestRequestMayComeInQueryAndBodyWithMoreThanDocumented(t *testing.T) {
	b := newBench(t, nil)
	p := params(alipay.MethodPrecreate, goodBiz)
	p["alipay_sdk"], p["empty"] = "some-client-1.0", ""
	query := b.signed(p)
	form := url.Values{"biz_content": query["biz_content"], "alipay_sdk": query["alipay_sdk"]}
	query.Del("biz_content")
	query.Del("alipay_sdk")
	if _, inner := b.post(query, form); inner["code"] != "10000" || inner["qr_code"] == "" {
		t.Errorf("%v", inner)
	}
	get := b.signed(params(alipay.MethodQuery, `{"out_trade_no":"B1"}`))
	status, body, _ := b.do(http.MethodGet, b.server.URL+"/gateway.do?"+get.Encode(), nil)
	if status != http.StatusOK || !strings.Contains(body, alipay.SubTradeNotExist) {
		t.Errorf("by GET: %d %s", status, body)
	}
}

// ACCEPT Y5
func TestBodiesAreLimited(t *testing.T) {
	b := newBench(t, nil)
	big := strings.Repeat("x", 64<<10)
	for _, c := range []struct {
		path, kind, body string
		want             int
	}{
		{"/gateway.do", "application/x-www-form-urlencoded", "biz_content=" + big, 413},
		{"/gateway.do", "application/json", `{}`, 415},
		{"/gateway.do", "multipart/form-data; boundary=x", `--x--`, 415},
		{"/gateway.do", "application/x-www-form-urlencoded", "%zz", 400},
		{"/cashier/1-a", "application/x-www-form-urlencoded", "token=" + big, 413},
		{"/control", "application/json", `{"action":"` + big + `"}`, 413},
		{"/nothing", "application/json", `{}`, 404},
	} {
		w, err := http.Post(b.server.URL+c.path, c.kind, strings.NewReader(c.body))
		b.must(err)
		w.Body.Close()
		if w.StatusCode != c.want {
			t.Errorf("%s %s %.20s: %d, not %d", c.path, c.kind, c.body, w.StatusCode, c.want)
		}
	}
}

// refund is a refund of trade A1.
func (b *bench) refund(no string, amount int64) (alipay.Refunded, error) {
	return b.client.Refund(context.Background(), alipay.Refund{OutTradeNo: "A1", OutRequestNo: no,
		Amount: gbp(amount), Reason: "returned"})
}

// ACCEPT Y5 Y9
func TestRefundsAddUpAndRepeat(t *testing.T) {
	b := newBench(t, nil)
	b.cashier(b.link("A1"))
	if _, err := b.refund("R1", 100); sub(err) != alipay.SubTradeStatus {
		t.Errorf("before it was paid: %v", err)
	}
	b.ok(`{"action":"pay","out_trade_no":"A1"}`)
	b.notified()
	for i, c := range []struct {
		no      string
		amount  int64
		changed bool
		total   int64
		sub     string
		event   alipay.TradeStatus // of the notify
	}{
		{no: "R1", amount: 888, changed: true, total: 888, event: alipay.TradeSuccess},
		{no: "R1", amount: 888, total: 888},
		{no: "R1", amount: 889, sub: "ACQ.DISCORDANT_REPEAT_REQUEST"},
		{no: "R2", amount: 8001, sub: "ACQ.REASON_TRADE_REFUND_FEE_ERR"},
		{no: "R3", amount: 3000, changed: true, total: 3888, event: alipay.TradeSuccess},
		{no: "R1", amount: 888, total: 3888},
		{no: "R4", amount: 5000, changed: true, total: 8888, event: alipay.TradeClosed},
		{no: "R4", amount: 5000, total: 8888},
		{no: "R5", amount: 1, sub: "ACQ.REASON_TRADE_REFUND_FEE_ERR"},
	} {
		done, err := b.refund(c.no, c.amount)
		if sub(err) != c.sub || err == nil && (done.Changed != c.changed || done.Total != gbp(c.total)) {
			t.Errorf("refund %d: %+v, %v", i, done, err)
		}
		if c.event == "" {
			continue
		}
		n := b.notified()
		if n.Status != c.event || n.RefundFee != gbp(c.total) || n.OutBizNo != c.no || n.Paid() ||
			!n.EverPaid() || n.RefundedAt == 0 {
			t.Errorf("refund %d notifies %+v", i, n)
		}
		b.wantStatus("A1", c.event)
	}
	state, err := b.client.RefundQuery(t.Context(), alipay.Refund{OutTradeNo: "A1", OutRequestNo: "R3"})
	if b.must(err); !state.Done || state.Amount != gbp(3000) || state.At != api.TimeOf(start) {
		t.Errorf("the refund query says %+v", state)
	}
	if state, err = b.client.RefundQuery(t.Context(), alipay.Refund{OutTradeNo: "A1", OutRequestNo: "R2"}); err != nil || state.Done {
		t.Errorf("of a refund that was refused it says %+v, %v", state, err)
	}
}

// ACCEPT Y5 Y9
func TestRefundWithoutANumberIsOfEverything(t *testing.T) {
	b := newBench(t, nil)
	b.pay("A1")
	for _, c := range []struct{ amount, sub, change string }{
		{"10.00", "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", ""}, {"88.88", "", "Y"}, {"88.88", "", "N"},
	} {
		_, inner := b.post(nil, b.signed(params(alipay.MethodRefund,
			`{"out_trade_no":"A1","refund_amount":`+c.amount+`}`)))
		if inner["sub_code"] != c.sub || inner["fund_change"] != c.change {
			t.Errorf("%s: %v", c.amount, inner)
		}
	}
	b.wantStatus("A1", alipay.TradeClosed)
}

// ACCEPT Y5 Y9
func TestTwentyEqualRefundsAtOnceMoveMoneyOnce(t *testing.T) {
	b := newBench(t, nil)
	b.pay("A1")
	var changed atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			done, err := b.refund("R1", 5000)
			if err != nil || done.Total != gbp(5000) {
				t.Errorf("%+v, %v", done, err)
			}
			if done.Changed {
				changed.Add(1)
			}
		})
	}
	wg.Wait()
	if changed.Load() != 1 {
		t.Errorf("money moved %d times", changed.Load())
	}
}

// ACCEPT Y5
func TestStateOnlyMovesForward(t *testing.T) {
	b := newBench(t, nil)
	b.pay("A1")
	b.notified()
	finished := b.ok(`{"action":"finish","out_trade_no":"A1"}`)
	if finished.TradeStatus != alipay.TradeFinished || b.notified().Status != alipay.TradeFinished {
		t.Errorf("finish: %+v", finished)
	}
	for _, action := range []string{"pay", "decline", "close", "finish"} {
		c := b.control(`{"action":"` + action + `","out_trade_no":"A1"}`)
		if c.status != http.StatusConflict || c.TradeStatus != alipay.TradeFinished {
			t.Errorf("%s of a finished trade: %+v", action, c)
		}
	}
	if _, err := b.refund("R1", 1); sub(err) != "ACQ.TRADE_HAS_FINISHED" {
		t.Errorf("refund of a finished trade: %v", err)
	}
	b.cashier(b.link("A2"))
	b.must(b.client.Close(t.Context(), "A2"))
	if n := b.notified(); !n.Closed() {
		t.Errorf("close notifies %+v", n)
	}
	if err := b.client.Close(t.Context(), "A2"); sub(err) != alipay.SubTradeStatus {
		t.Errorf("close of a closed trade: %v", err)
	}
	if c := b.control(`{"action":"pay","out_trade_no":"A2"}`); c.Code != alipay.SubTradeClosed {
		t.Errorf("pay of a closed trade: %+v", c)
	}
}

// ACCEPT Y5
func TestFaults(t *testing.T) {
	b := newBench(t, nil)
	b.pay("A1")
	var total int64
	for i, c := range []struct {
		mode string
		done bool // although the caller does not learn it
	}{
		{"garbage", false}, {"html", false}, {"500", false}, {"unavailable", false},
		{"system-error", false}, {"unsigned", true}, {"forged", true}, {"lost-answer", true},
	} {
		b.ok(`{"action":"fault","method":"alipay.trade.refund","mode":%q,"times":2}`, c.mode)
		no := fmt.Sprintf("R%d", i)
		for range 2 {
			if _, err := b.refund(no, 100); !errors.Is(err, alipay.ErrUnknown) {
				t.Errorf("%s: %v", c.mode, err)
			}
		}
		state, err := b.client.RefundQuery(t.Context(), alipay.Refund{OutTradeNo: "A1", OutRequestNo: no})
		if b.must(err); state.Done != c.done {
			t.Errorf("%s: done is %t", c.mode, state.Done)
		}
		again, err := b.refund(no, 100)
		total += 100
		if b.must(err); again.Changed == c.done || again.Total != gbp(total) {
			t.Errorf("%s, again: %+v", c.mode, again)
		}
	}
}

// ACCEPT Y5
func TestLostAnswersOfLinks(t *testing.T) {
	b := newBench(t, nil)
	b.ok(`{"action":"fault","method":"alipay.trade.page.pay","mode":"lost-answer"}`)
	status, _, location := b.do(http.MethodGet, b.link("A1"), nil)
	if status != http.StatusInternalServerError || location != "" {
		t.Errorf("%d %s", status, location)
	}
	b.wantStatus("A1", alipay.WaitBuyerPay)
}

// ACCEPT Y5
func TestHangingCalls(t *testing.T) {
	b := newBench(t, nil)
	client := b.watchedClient()
	hang := func(ctx context.Context) chan error {
		b.ok(`{"action":"fault","method":"alipay.trade.query","mode":"hang"}`)
		failed := make(chan error, 1)
		go func() {
			_, err := client.Query(ctx, "A1")
			failed <- err
		}()
		<-b.entered
		return failed
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed := hang(ctx)
	cancel() // the caller gives up
	<-b.exited
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	failed = hang(t.Context())
	b.close() // the gateway ends
	<-b.exited
	if err := <-failed; !errors.Is(err, alipay.ErrUnknown) {
		t.Errorf("%v", err)
	}
}

// ACCEPT Y5 Y8
func TestStatementListsWhatMoved(t *testing.T) {
	b := newBench(t, nil)
	b.pay("A1")
	b.cashier(b.link("A2")) // not paid, so not listed
	b.pass(24 * time.Hour)
	_, err := b.refund("R1", 888)
	b.must(err)
	trade, err := b.client.Query(t.Context(), "A1")
	b.must(err)
	head := []string{"kind", "out_trade_no", "trade_no", "out_request_no", "amount", "currency",
		"time"}
	pay := []string{"pay", "A1", trade.TradeNo, "", "88.88", "GBP", "2026-01-02T03:04:05Z"}
	refund := []string{"refund", "A1", trade.TradeNo, "R1", "8.88", "GBP", "2026-01-03T03:04:05Z"}
	for _, c := range []struct {
		query string
		want  [][]string
	}{
		{"", [][]string{head, pay, refund}},
		{"?from=2026-01-02&to=2026-01-03", [][]string{head, pay}},
		{"?from=2026-01-03T03:04:05Z", [][]string{head, refund}},
		{"?to=2026-01-02T03:04:05Z", [][]string{head}},
	} {
		status, body, _ := b.do(http.MethodGet, b.server.URL+"/statement.csv"+c.query, nil)
		got, err := csv.NewReader(strings.NewReader(body)).ReadAll()
		if status != http.StatusOK || err != nil || !slices.EqualFunc(got, c.want, slices.Equal) {
			t.Errorf("%s: %d %v %v", c.query, status, got, err)
		}
	}
	status, _, _ := b.do(http.MethodGet, b.server.URL+"/statement.csv?from=x", nil)
	if status != http.StatusBadRequest {
		t.Errorf("a bad date: %d", status)
	}
}
