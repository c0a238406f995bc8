package e2e

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ordo/api"
)

// A gateway that answers nonsense, nothing, or an error, or whose answer gets
// lost, decides nothing: the payment stays open and the shop serves; what was
// unknown is asked again and comes to its end, once. ACCEPT Y8 Y9
func TestPayGatewayFaults(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data).ready()
	g, s := p.till(), p.shopper()
	sku := p.onSale(1000, 100)
	var all []*faulty
	for _, mode := range []string{"garbage", "html", "500", "unsigned", "forged", "unavailable",
		"system-error", "lost-answer"} {
		f := s.faulty(g, sku)
		g.fails(mode, forEver, "precreate", "close", "refund")
		f.begin()
		f.failed(mode)
		g.fails("", 0, "precreate", "close", "refund")
		// The gateway answers others meanwhile.
		s.opens(s.buy(sku, 1).ID, api.ProductQR)
		all = append(all, f)
	}
	hung := s.faulty(g, sku)
	g.fails("hang", 1, "precreate", "close", "refund")
	hung.begin()
	s.pays(g, s.buy(sku, 1).ID) // and the shop serves
	for _, f := range append(all, hung) {
		f.ends()
	}
	p.endsEven(g, data)
}

// faulty are three orders that need the gateway: one for a code to be scanned,
// one for its trade to be closed, and one for a refund.
type faulty struct {
	*shopper
	g *till
	// code is to be paid by a code, whose attempt has codeID; codes gets what
	// the shopper is told.
	code   api.Order
	codeID string
	codes  chan api.Attempt
	// looked is an attempt that is looked at, back one that is paid.
	looked, back api.Attempt
	refund       api.Refund
}

func (s *shopper) faulty(g *till, sku string) *faulty {
	s.t.Helper()
	f := &faulty{shopper: s, g: g, code: s.buy(sku, 1), codes: make(chan api.Attempt, 1)}
	f.looked = s.opens(s.buy(sku, 1).ID, api.ProductPage)
	browse(s.t, http.MethodGet, f.looked.Link.URL, nil)
	_, f.back = s.bought(g, sku, 2)
	return f
}

// begin has the shop call the gateway for all three. A code is waited for.
func (f *faulty) begin() {
	f.t.Helper()
	path := "/v1/orders/" + f.code.ID + "/payments"
	go func() {
		var a api.Attempt
		_, data, err := f.call("POST", path, map[string]any{"product": "qr"})
		if err != nil || len(data) == 0 {
			f.t.Errorf("code: %v %s", err, data)
		} else {
			a = decode[api.Attempt](f.t, data)
		}
		f.codes <- a
	}()
	f.must("POST", "/v1/orders/"+f.looked.Order+"/cancel", nil, nil)
	f.p.admin().must("POST", "/admin/v1/orders/"+f.back.Order+"/refunds",
		refundBody(map[int]int64{0: 1}), &f.refund)
	eventually(f.t, "the attempt", func() bool {
		now := f.anyPayment()
		return len(now.Attempts) == 1
	})
	f.codeID = f.anyPayment().Attempts[0].ID
}

func (f *faulty) anyPayment() (p api.Payment) {
	f.t.Helper()
	f.must("GET", "/v1/orders/"+f.code.ID+"/payments", nil, &p)
	return p
}

// failed waits until all three calls have failed once, and looks at what the
// shop makes of it.
func (f *faulty) failed(mode string) {
	f.t.Helper()
	for _, effect := range []string{"open-" + f.codeID, "cls-" + f.looked.ID, "rfd-" + f.refund.ID} {
		eventually(f.t, mode+": a failed try of "+effect, func() bool {
			for line := range strings.Lines(f.p.log.String()) {
				if strings.Contains(line, `"effect failed"`) && strings.Contains(line, effect) {
					return true
				}
			}
			return false
		})
	}
	if now := f.anyPayment(); now.State != api.PaymentOpen ||
		now.Attempts[0].State != api.AttemptOpen || payLink(&now.Attempts[0]) != "" {
		f.t.Errorf("%s: payment %+v", mode, now)
	}
	var r api.Refund
	f.p.admin().must("GET", "/admin/v1/refunds/"+f.refund.ID, nil, &r)
	if r.State != api.RefundRunning || len(f.p.payLog(f.back.Order)) != 1 {
		f.t.Errorf("%s: refund %+v, pay log %q", mode, r, f.p.payLog(f.back.Order))
	}
}

// ends waits until the three have come to their end.
func (f *faulty) ends() {
	f.t.Helper()
	a := <-f.codes
	eventually(f.t, "the code", func() bool {
		a = f.anyPayment().Attempts[0]
		return a.Link.QRCode != ""
	})
	if a.ID != f.codeID || f.g.takes(&a) == "" {
		f.t.Errorf("code: %+v", a)
	}
	f.await(f.code.ID, api.OrderPaid)
	eventually(f.t, "the trade is closed", func() bool {
		return f.g.steer("deliveries", "out_trade_no", f.looked.ID).TradeStatus == "TRADE_CLOSED"
	})
	if r := f.p.refunded(f.refund.ID); r.Money != gbp(1000) {
		f.t.Errorf("refund: %+v", r)
	}
	if rows := f.g.about(f.back.ID); len(rows) != 2 ||
		!strings.Contains(rows[1], " "+f.refund.ID+" 10.00") {
		f.t.Errorf("statement: %q", rows)
	}
	if now := f.order(f.looked.Order); now.State != api.OrderCancelled {
		f.t.Errorf("order: %+v", now)
	}
}

// The notices of some payments are forged on their way, so the shop has to
// ask, and the answers to that are bad at first: an answer without a good
// signature pays nothing. ACCEPT Y8 Y3
func TestPayBadAnswers(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data, "--pay-query", "1s").ready()
	g, s := p.till(), p.shopper()
	sku := p.onSale(1000, 10)
	var all []api.Attempt
	for _, mode := range []string{"unsigned", "forged", "garbage"} {
		g.fails(mode, forEver, "query")
		a := s.opens(s.buy(sku, 1).ID, api.ProductPage)
		if g.takes(&a, "forge", "signature", "times", 3) == "" {
			t.Fatal("not paid")
		}
		eventually(t, mode+": a failed try", func() bool {
			_, found := p.log.find("qry-" + a.ID)
			return found
		})
		if o := s.order(a.Order); o.State != api.OrderPlaced || len(p.payLog(o.ID)) != 0 {
			t.Errorf("%s: order %+v", mode, o)
		}
		g.fails("", 0, "query")
		all = append(all, a)
	}
	for _, a := range all {
		if o := s.await(a.Order, api.OrderPaid); o.Attempt != a.ID {
			t.Errorf("order: %+v", o)
		}
		p.fulfilled(a.Order)
	}
	p.endsEven(g, data)
}

// The news of a payment overtakes the shop's own knowledge of the code that
// was paid, because the answer with the code was lost. ACCEPT Y4 Y9
func TestPayBeforeOwnCommit(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data).ready()
	g, s := p.till(), p.shopper()
	sku := p.onSale(1000, 10)
	g.fails("lost-answer", forEver, "precreate")
	f := s.faulty(g, sku)
	f.begin()
	eventually(t, "the gateway has the code", func() bool {
		return g.steer("deliveries", "out_trade_no", f.codeID).TradeStatus != ""
	})
	if said := g.steer("pay", "out_trade_no", f.codeID, "times", 20); said.Code != "" {
		t.Fatalf("not paid: %+v", said)
	}
	o := s.await(f.code.ID, api.OrderPaid)
	g.fails("", 0, "precreate")
	<-f.codes
	p.fulfilled(o.ID)
	// The shop asks for the code again, which is not given for a paid trade.
	payments := crashDB(t, data, "payment")
	eventually(t, "no work is left", func() bool {
		return crashCount(t, payments, `SELECT count(*) FROM _effect WHERE state = 'open'`) == 0
	})
	now := f.anyPayment()
	if a := now.Attempts[0]; o.Attempt != f.codeID || now.State != api.PaymentPaid ||
		a.State != api.AttemptPaid || a.TradeNo != o.TradeNo || len(p.payLog(o.ID)) != 1 {
		t.Errorf("order %+v, payment %+v", o, now)
	}
	p.endsEven(g, data)
}

// gateway is `ordo sandbox`, a gateway that lives on when the shop does not.
type gateway struct {
	*till
	p *process
	// flags are those of a shop that is paid there.
	flags []string
}

// serveGateway runs a gateway for the shop that is to listen at addr.
func serveGateway(t *testing.T, addr string) *gateway {
	t.Helper()
	dir, at := t.TempDir(), crashFreeAddr(t)
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	public := [2]string{}
	for i, name := range []string{"app-public.pem", "gateway-public.pem"} {
		block, _ := pem.Decode(keys[i])
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		public[i] = write(name, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	const app, seller = "2021000000000007", "2088000000000007"
	g := &gateway{till: tillAt(t, "http://"+at)}
	g.p = start(t, "--log-format", "json", "sandbox", "--http", at, "--data",
		filepath.Join(dir, "data"), "--app-id", app, "--seller-id", seller, "--app-public-key",
		public[0], "--gateway-key", write("gateway.pem", keys[1]), "--notify-factor", "1000",
		"--currency", "GBP")
	g.flags = []string{"--alipay-gateway", "http://" + at + "/gateway.do", "--alipay-app-id", app,
		"--alipay-seller-id", seller, "--alipay-key", write("app.pem", keys[0]),
		"--alipay-public-key", public[1], "--public-url", "http://" + addr}
	eventually(t, "the gateway", func() bool {
		_, _, err := g.call("GET", "/statement.csv", nil)
		return err == nil
	})
	return g
}

// The shop is killed again and again between the gateway's answer and its own
// commit: while payments come in, and while the answers to refunds get lost.
// The gateway lives on. Every payment is known in the end, and every refund is
// made once. ACCEPT Y4 Y5 Y9 M4
func TestPayKilled(t *testing.T) {
	t.Parallel()
	const rounds, orders = 3, 16
	data, addr := t.TempDir(), crashFreeAddr(t)
	g := serveGateway(t, addr)
	run := func() *process { return crashServe(t, addr, data, g.flags...) }
	p := run()
	s := p.shopper()
	sku := p.onSale(1000, rounds*orders)
	var paid, refunds []string
	for range rounds {
		var attempts [orders]api.Attempt
		for i := range attempts {
			attempts[i] = s.opens(s.buy(sku, 1).ID, api.ProductPage)
		}
		// The shop dies when half of them have been paid; the gateway goes on.
		half := make(chan struct{}, orders)
		done := make(chan struct{})
		go func() {
			defer close(done)
			crowd(4, orders, func(i int) {
				if g.takes(&attempts[i]) == "" {
					t.Errorf("the gateway did not take the money of %s", attempts[i].ID)
				}
				half <- struct{}{}
			})
		}()
		for range orders / 2 {
			<-half
		}
		p.kill()
		<-done
		p = run()
		for i := range attempts {
			s.await(attempts[i].Order, api.OrderPaid)
			paid = append(paid, attempts[i].Order)
		}
		refunds = append(refunds, killedAtRefund(p, g, paid[len(paid)-4:])...)
		p = run()
	}
	for _, id := range refunds {
		p.refunded(id)
	}
	for _, id := range paid {
		p.fulfilled(id)
		if rows := p.payLog(id); len(rows) < 1 || len(rows) > 2 {
			t.Errorf("pay log of %s: %q", id, rows)
		}
	}
	made := slices.DeleteFunc(g.statement(),
		func(r string) bool { return strings.HasPrefix(r, "pay") })
	if len(made) != len(refunds) || len(refunds) != rounds*4 {
		t.Errorf("%d refunds were asked for, made are %q", len(refunds), made)
	}
	want := fmt.Sprintf("%d in stock", len(refunds))
	eventually(t, want, func() bool {
		now := p.sku(sku)
		return fmt.Sprintf("%d in stock", now.Stock) == want && now.Locked == 0
	})
	p.endsEven(g.till, data)
}

// killedAtRefund has the gateway refund orders while all its answers get lost,
// and then kills the shop, which does not know what became of them.
func killedAtRefund(p *process, g *gateway, orders []string) (ids []string) {
	p.t.Helper()
	g.fails("lost-answer", forEver, "refund", "fastpay.refund.query")
	before := len(g.statement())
	for _, id := range orders {
		var r api.Refund
		p.admin().must("POST", "/admin/v1/orders/"+id+"/refunds", refundBody(nil), &r)
		ids = append(ids, r.ID)
	}
	eventually(p.t, "the gateway has refunded", func() bool {
		return len(g.statement()) == before+len(orders)
	})
	p.kill()
	g.fails("", 0, "refund", "fastpay.refund.query")
	return ids
}
