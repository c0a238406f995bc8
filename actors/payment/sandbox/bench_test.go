package sandbox_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ordo/actors/payment/alipay"
	"ordo/actors/payment/sandbox"
	"ordo/api"
	"ordo/stores"
)

const (
	appID    = "2021000000000001"
	sellerID = "2088000000000001"
	patience = 20 * time.Second // until a test gives up waiting
)

// keys are those of the app and of the gateway, made once for all tests.
var keys = sync.OnceValue(func() [2]*rsa.PrivateKey {
	var two [2]*rsa.PrivateKey
	for i := range two {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		two[i] = key
	}
	return two
})

// start is when the tests' clock begins.
var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// shop is the merchant's side: it takes notifies and answers them.
type shop struct {
	*httptest.Server
	lock   sync.Mutex
	bodies [][]byte
	got    chan []byte
	reply  func(n int, w http.ResponseWriter) // n counts from 1
}

func newShop(t testing.TB) *shop {
	s := &shop{got: make(chan []byte, 10_000)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.URL.RawQuery != "" ||
			!strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
			t.Errorf("not a notify: %s %s %v %v", r.Method, r.URL, r.Header, err)
		}
		s.lock.Lock()
		s.bodies = append(s.bodies, body)
		n, reply := len(s.bodies), s.reply
		s.lock.Unlock()
		if reply == nil {
			fmt.Fprint(w, "success")
		} else {
			reply(n, w)
		}
		s.got <- body
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *shop) answers(reply func(n int, w http.ResponseWriter)) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.reply = reply
}

func (s *shop) count() int {
	s.lock.Lock()
	defer s.lock.Unlock()
	return len(s.bodies)
}

// bench is a sandbox on a server, with a client of the shop.
type bench struct {
	t      testing.TB
	cfg    sandbox.Config
	g      *sandbox.Gateway
	server *httptest.Server
	shop   *shop
	client *alipay.Client
	clock  *atomic.Int64
	// entered and exited have the calls of /gateway.do, when somebody looks.
	entered, exited chan struct{}
}

func newBench(t testing.TB, change func(*sandbox.Config)) *bench {
	t.Helper()
	b := &bench{t: t, shop: newShop(t), clock: &atomic.Int64{},
		entered: make(chan struct{}), exited: make(chan struct{})}
	b.clock.Store(start.UnixNano())
	b.cfg = sandbox.Config{Dir: t.TempDir(), AppID: appID, SellerID: sellerID, Currency: "GBP",
		AppPublicKey: &keys()[0].PublicKey, GatewayKey: keys()[1], Control: true, Now: b.now}
	if change != nil {
		change(&b.cfg)
	}
	b.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Watched") != "" {
			b.entered <- struct{}{}
			defer func() { b.exited <- struct{}{} }()
		}
		b.g.ServeHTTP(w, r)
	}))
	b.open()
	t.Cleanup(func() {
		b.server.Close()
		b.close()
		b.checkBooks()
	})
	var err error
	b.client, err = alipay.New(b.account())
	b.must(err)
	return b
}

func (b *bench) account() alipay.Config {
	return alipay.Config{Gateway: b.server.URL + "/gateway.do", AppID: appID, SellerID: sellerID,
		PrivateKey: keys()[0], AlipayPublicKey: &keys()[1].PublicKey, Currency: "GBP", Now: b.now,
		NotifyURL: b.shop.URL + "/notify", ReturnURL: b.shop.URL + "/return"}
}

// watched marks the requests that the bench waits for.
type watched struct{}

func (watched) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Watched", "1")
	return http.DefaultTransport.RoundTrip(r)
}

// watchedClient makes calls that wait for entered and exited.
func (b *bench) watchedClient() *alipay.Client {
	b.t.Helper()
	cfg := b.account()
	cfg.HTTP = &http.Client{Transport: watched{}}
	c, err := alipay.New(cfg)
	b.must(err)
	return c
}

func (b *bench) now() time.Time { return time.Unix(0, b.clock.Load()) }

func (b *bench) pass(d time.Duration) { b.clock.Add(int64(d)) }

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) open() {
	b.t.Helper()
	var err error
	b.g, err = sandbox.Open(b.cfg)
	b.must(err)
}

func (b *bench) close() {
	b.t.Helper()
	b.must(b.g.Close())
}

// checkBooks checks at the end of each test what must always hold.
func (b *bench) checkBooks() {
	db, err := stores.OpenReadOnly(filepath.Join(b.cfg.Dir, "sandbox.db"))
	b.must(err)
	defer db.Close()
	var wrong int
	b.must(db.QueryRow(`SELECT count(*) FROM trade t WHERE refunded <> (
		SELECT coalesce(sum(amount), 0) FROM refund r WHERE r.trade = t.n)
		OR (status = 'TRADE_CLOSED' AND paid > 0 AND refunded <> amount)`).Scan(&wrong))
	if wrong > 0 {
		b.t.Errorf("%d trades do not add up", wrong)
	}
}

func gbp(amount int64) api.Money { return api.Money{Amount: amount, Currency: "GBP"} }

func (b *bench) payment(no string) alipay.Payment {
	return alipay.Payment{OutTradeNo: no, Amount: gbp(8888), Subject: "测试 <b>A</b> + 100%",
		At: api.TimeOf(b.now()), Expire: api.TimeOf(b.now().Add(15 * time.Minute))}
}

func (b *bench) link(no string) string {
	b.t.Helper()
	link, err := b.client.PagePay(b.payment(no))
	b.must(err)
	return link
}

// do sends a request as a browser does and does not follow redirects.
func (b *bench) do(method, link string, form url.Values) (status int, body, location string) {
	b.t.Helper()
	r, err := http.NewRequest(method, link, strings.NewReader(form.Encode()))
	b.must(err)
	r.Header.Set("Accept", "text/html,*/*")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w, err := http.DefaultTransport.RoundTrip(r)
	b.must(err)
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	b.must(err)
	if l := w.Header.Get("Location"); strings.HasPrefix(l, "/") {
		return w.StatusCode, string(text), b.server.URL + l
	}
	return w.StatusCode, string(text), w.Header.Get("Location")
}

// cashier opens a signed link and returns the page's address and its token.
func (b *bench) cashier(link string) (address, token string) {
	b.t.Helper()
	status, body, address := b.do(http.MethodGet, link, nil)
	if status != http.StatusFound {
		b.t.Fatalf("the link answers %d %s", status, body)
	}
	status, page, _ := b.do(http.MethodGet, address, nil)
	if status != http.StatusOK {
		b.t.Fatalf("the cashier answers %d", status)
	}
	_, rest, _ := strings.Cut(page, `name="token" value="`)
	token, _, _ = strings.Cut(rest, `"`)
	return address, token
}

// controlled is the answer to a control call.
type controlled struct {
	status      int
	OutTradeNo  string             `json:"out_trade_no"`
	TradeNo     string             `json:"trade_no"`
	TradeStatus alipay.TradeStatus `json:"trade_status"`
	Answers     []string           `json:"answers"`
	Deliveries  []struct {
		Tries  int      `json:"tries"`
		Next   api.Time `json:"next"`
		Answer string   `json:"answer"`
	} `json:"deliveries"`
	Code string `json:"code"`
}

func (b *bench) control(body string) (c controlled) {
	b.t.Helper()
	w, err := http.Post(b.server.URL+"/control", "application/json", strings.NewReader(body))
	b.must(err)
	defer w.Body.Close()
	b.must(json.NewDecoder(w.Body).Decode(&c))
	c.status = w.StatusCode
	return c
}

// ok is control that must work.
func (b *bench) ok(format string, args ...any) controlled {
	b.t.Helper()
	c := b.control(fmt.Sprintf(format, args...))
	if c.status != http.StatusOK {
		b.t.Fatalf("control: %+v", c)
	}
	return c
}

// pay opens the link of a new trade and pays it.
func (b *bench) pay(no string) {
	b.t.Helper()
	b.ok(`{"action":"pay","out_trade_no":%q,"url":%q}`, no, b.link(no))
}

// notified waits for the next notify, which must be authentic.
func (b *bench) notified() *alipay.Notify {
	b.t.Helper()
	n, err := b.client.ParseNotify(b.body())
	b.must(err)
	return n
}

func (b *bench) body() []byte {
	b.t.Helper()
	select {
	case body := <-b.shop.got:
		return body
	case <-time.After(patience):
		b.t.Fatal("no notify came")
		return nil
	}
}

// eventually waits until a condition holds.
func (b *bench) eventually(what string, holds func() bool) {
	b.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-end:
			b.t.Fatalf("never: %s", what)
		}
	}
}

// status is the trade's state; "" when it does not exist.
func (b *bench) status(no string) alipay.TradeStatus {
	b.t.Helper()
	trade, err := b.client.Query(context.Background(), no)
	if sub(err) == alipay.SubTradeNotExist {
		return ""
	}
	b.must(err)
	return trade.Status
}

func (b *bench) wantStatus(no string, want alipay.TradeStatus) {
	b.t.Helper()
	if got := b.status(no); got != want {
		b.t.Fatalf("%s is %q, not %q", no, got, want)
	}
}

// wantRefusedLink opens a link that shows a page with this sub-code.
func (b *bench) wantRefusedLink(link, code string) {
	b.t.Helper()
	status, page, _ := b.do(http.MethodGet, link, nil)
	if status != http.StatusBadRequest || !strings.Contains(page, code) {
		b.t.Errorf("the link answers %d %s, not %s", status, page, code)
	}
}

// sub is the sub-code of an authentic refusal.
func sub(err error) string {
	var refused *alipay.GatewayError
	if errors.As(err, &refused) {
		return refused.SubCode
	}
	return ""
}

// BenchmarkPay opens a signed link, pays it and takes its notify: what one
// order costs here, signatures included.
func BenchmarkPay(b *testing.B) {
	t := newBench(b, nil)
	var links []string
	for i := range b.N {
		links = append(links, t.link(fmt.Sprintf("N%d", i)))
	}
	var next atomic.Int64
	next.Store(-1)
	b.ResetTimer()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1); i < int64(b.N); i = next.Add(1) {
				if c := t.control(fmt.Sprintf(`{"action":"pay","url":%q}`, links[i])); c.status != 200 {
					b.Errorf("%+v", c)
				}
			}
		})
	}
	for range b.N {
		<-t.shop.got
	}
	wg.Wait()
}
