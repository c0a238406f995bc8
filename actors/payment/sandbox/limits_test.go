package sandbox_test

import (
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ordo/actors/payment/alipay"
)

// change runs a statement on the state of a gateway that is closed.
func (b *bench) change(query string, args ...any) {
	b.t.Helper()
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(filepath.Join(b.cfg.Dir, "sandbox.db")))
	b.must(err)
	defer db.Close()
	_, err = db.Exec(query, args...)
	b.must(err)
}

// stuck is a caller that reads the header and nothing more.
type stuck struct {
	*httptest.ResponseRecorder
	began, release chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	select {
	case s.began <- struct{}{}:
	default:
	}
	<-s.release
	return s.ResponseRecorder.Write(b)
}

// ACCEPT Y5 Y8
// A statement of several pages is whole and in order, and a caller that stops
// reading holds up neither payments nor other statements.
func TestStatementComesInPages(t *testing.T) {
	const many = 2500
	b := newBench(t, nil)
	b.close()
	b.change(`WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ?1)
		INSERT INTO trade (n, out_trade_no, status, amount, refunded, subject, passback, notify_url,
			return_url, created, expires, paid)
		SELECT n, 'T' || n, 'TRADE_SUCCESS', 100, 1, 's', '', '', '', ?2 + n / 7, ?2 + ?1, ?2 + n / 7
		FROM i`, many, start.UnixNano()-many)
	b.change(`INSERT INTO refund (trade, out_request_no, amount, reason, at)
		SELECT n, 'R' || n, 1, '', paid / 2 FROM trade`)
	b.open()
	w := &stuck{httptest.NewRecorder(), make(chan struct{}, 1), make(chan struct{})}
	over := make(chan struct{})
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/statement.csv", nil)
	r.RemoteAddr = "127.0.0.1:1"
	go func() {
		defer close(over)
		b.g.ServeHTTP(w, r)
	}()
	<-w.began
	b.pass(time.Second)
	b.pay("A1")
	b.notified()
	_, body, _ := b.do(http.MethodGet, b.server.URL+"/statement.csv", nil)
	want := map[string]bool{"A1": true}
	for _, line := range readStatement(t, body) {
		want[line[1]+line[3]] = true
	}
	if len(want) != 2*many+1 {
		t.Errorf("%d lines of %d", len(want), 2*many+1)
	}
	close(w.release)
	<-over
	lines := readStatement(t, w.Body.String())
	if w.Code != http.StatusOK || len(lines) != 2*many || strings.Contains(w.Body.String(), "A1") {
		t.Errorf("status %d, %d lines of %d", w.Code, len(lines), 2*many)
	}
	for _, part := range [][][]string{lines[:many], lines[many:]} {
		if !slices.IsSortedFunc(part, func(x, y []string) int {
			at, err1 := time.Parse(time.RFC3339, x[6])
			next, err2 := time.Parse(time.RFC3339, y[6])
			b.must(errors.Join(err1, err2))
			return at.Compare(next)
		}) ||
			part[0][0] != part[many-1][0] {
			t.Error("not in order of time")
		}
	}
}

// readStatement is a statement without its header.
func readStatement(t *testing.T, body string) [][]string {
	t.Helper()
	lines, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil || len(lines) == 0 {
		t.Fatalf("%d lines: %v", len(lines), err)
	}
	return lines[1:]
}

// ACCEPT Y5
func TestDelayedNotifiesAreLimited(t *testing.T) {
	b := newBench(t, nil)
	b.pay("A1")
	b.notified()
	const later = `{"action":"notify","out_trade_no":"A1","times":1000,"delay_ms":600000}`
	for range 64 {
		b.ok(later)
	}
	if c := b.control(later); c.status != http.StatusTooManyRequests ||
		c.Code != "TOO_MANY_DELAYED_NOTIFIES" {
		t.Errorf("one more: %+v", c)
	}
	b.ok(`{"action":"notify","out_trade_no":"A1"}`) // at once it can be had
	b.notified()
	b.close() // ends them
	b.open()
	b.ok(`{"action":"notify","out_trade_no":"A1","delay_ms":1}`)
	b.notified()
}

// ACCEPT Y5
func TestAHangingHostLeavesRoomForOthers(t *testing.T) {
	b := newBench(t, nil)
	release := make(chan struct{})
	b.shop.answers(func(int, http.ResponseWriter) { <-release })
	defer close(release)
	for i := range 130 {
		b.pay(fmt.Sprint("A", i))
	}
	other := newShop(t)
	account := b.account()
	account.NotifyURL = other.URL
	client, err := alipay.New(account)
	b.must(err)
	link, err := client.PagePay(b.payment("B1"))
	b.must(err)
	b.ok(`{"action":"pay","url":%q}`, link)
	select {
	case <-other.got:
	case <-time.After(patience):
		t.Error("a host that hangs keeps others from being notified")
	}
	if n := b.shop.count(); n != 64 {
		t.Errorf("%d deliveries to one host at once", n)
	}
}

// ACCEPT Y5
// The last delivery is sent again when the gateway was stopped, or crashed, in
// the middle of it.
func TestTheLastDeliveryOutlivesAStop(t *testing.T) {
	b := newBench(t, nil)
	hang := make(chan struct{})
	b.shop.answers(func(n int, w http.ResponseWriter) {
		if n == 8 {
			<-hang
		}
		fmt.Fprint(w, "fail")
	})
	b.pay("A1")
	left := func() []struct{} { return make([]struct{}, len(b.ok(deliveriesOfA1).Deliveries)) }
	for i, gap := range documented {
		b.eventually("the delivery is written down", func() bool {
			all := b.ok(deliveriesOfA1).Deliveries
			return len(all) == 1 && all[0].Tries == i+1 && all[0].Answer == "fail"
		})
		b.pass(gap)
	}
	b.eventually("the last one begins", func() bool { return b.shop.count() == 8 })
	b.close()
	close(hang)
	b.shop.answers(nil)
	b.open()
	b.eventually("it is sent again", func() bool { return b.shop.count() == 9 && len(left()) == 0 })

	b.shop.answers(func(_ int, w http.ResponseWriter) { fmt.Fprint(w, "fail") })
	b.ok(`{"action":"finish","out_trade_no":"A1"}`)
	b.eventually("the delivery is written down", func() bool {
		all := b.ok(deliveriesOfA1).Deliveries
		return len(all) == 1 && all[0].Answer == "fail"
	})
	b.close()
	b.change(`UPDATE notify SET tries = 8`)
	b.shop.answers(nil)
	b.open()
	b.pass(time.Hour)
	b.eventually("it is sent again", func() bool { return b.shop.count() == 11 && len(left()) == 0 })
}

const deliveriesOfA1 = `{"action":"deliveries","out_trade_no":"A1"}`

// Quiet ends deliveries alone, and none is spent on it.
func TestQuietEndsDeliveries(t *testing.T) {
	b := newBench(t, nil)
	hang := make(chan struct{})
	b.shop.answers(func(int, http.ResponseWriter) { <-hang })
	b.pay("A1")
	b.eventually("it begins", func() bool { return b.shop.count() == 1 })
	b.g.Quiet()
	close(hang)
	b.pay("A2") // still served
	for _, no := range []string{"A1", "A2"} {
		all := b.ok(`{"action":"deliveries","out_trade_no":%q}`, no).Deliveries
		if len(all) != 1 || all[0].Tries != 0 {
			t.Errorf("%s has %+v", no, all)
		}
	}
	if c := b.control(`{"action":"notify","out_trade_no":"A1","delay_ms":1}`); c.status != 429 {
		t.Errorf("a notify later: %+v", c)
	}
	b.shop.answers(nil)
	b.close()
	b.open()
	b.eventually("both are sent", func() bool { return b.shop.count() == 3 })
}

// ACCEPT Y1 Y5
func TestTimeoutExpressOfTheDay(t *testing.T) {
	for began, left := range map[time.Duration]time.Duration{
		0:                       12*time.Hour + 55*time.Minute + 55*time.Second, // 11:04:05 there
		12*time.Hour + 56*60e9:  23*time.Hour + 59*time.Minute + 55*time.Second, // 00:00:05
		-11*time.Hour - 4*60e9:  24*time.Hour - 5*time.Second,                   // 00:00:05 as well
		-11*time.Hour - 245*1e9: 24 * time.Hour,                                 // midnight begins a day
	} {
		b := newBench(t, nil)
		b.pass(began)
		p := params(alipay.MethodPagePay,
			`{"out_trade_no":"T1","total_amount":"1.00","subject":"s","timeout_express":"1c"}`)
		b.cashier(b.server.URL + "/gateway.do?" + b.signed(p).Encode())
		b.pass(left - time.Nanosecond)
		b.wantStatus("T1", alipay.WaitBuyerPay)
		b.pass(time.Nanosecond)
		b.wantStatus("T1", alipay.TradeClosed)
	}
}

// ACCEPT Y1 Y5
func TestNumbersMayBeNumbers(t *testing.T) {
	b := newBench(t, nil)
	const no = "20260102030405060708"
	call := func(method, biz string) map[string]string {
		_, inner := b.post(nil, b.signed(params(method, biz)))
		return inner
	}
	got := call(alipay.MethodPrecreate, `{"out_trade_no":`+no+`,"total_amount":1.10,"subject":"s"}`)
	if got["code"] != alipay.CodeSuccess || got["out_trade_no"] != no {
		t.Fatalf("%v", got)
	}
	b.ok(`{"action":"pay","url":%q}`, got["qr_code"])
	refund := `{"out_trade_no":` + no + `,"refund_amount":1,"out_request_no":7}`
	first := call(alipay.MethodRefund, refund)
	b.pass(time.Hour)
	again := call(alipay.MethodRefund, refund)
	if first["fund_change"] != "Y" || again["fund_change"] != "N" || first["gmt_refund_pay"] == "" ||
		again["gmt_refund_pay"] != first["gmt_refund_pay"] {
		t.Errorf("%v, then %v", first, again)
	}
	state, err := b.client.RefundQuery(context.Background(), alipay.Refund{OutTradeNo: no, OutRequestNo: "7"})
	if b.must(err); !state.Done || state.Amount != gbp(100) {
		t.Errorf("%+v", state)
	}
	for _, biz := range []string{`{"out_trade_no":[1]}`, `{"out_trade_no":true}`,
		`{"out_trade_no":1.5e3}`, `{"out_trade_no":{}}`} {
		if got := call(alipay.MethodQuery, biz); got["code"] == alipay.CodeSuccess {
			t.Errorf("%s: %v", biz, got)
		}
	}
}
