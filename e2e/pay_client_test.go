package e2e

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ordo/api"
)

// till is the gateway of a shop, and those who pay there.
type till struct{ *client }

// till is the sandbox in the shop.
func (p *process) till() *till { return tillAt(p.t, p.url+"/sandbox") }

func tillAt(t testing.TB, url string) *till { return &till{&client{t, url, ""}} }

// steered is the answer to a control call.
type steered struct {
	TradeNo     string   `json:"trade_no"`
	TradeStatus string   `json:"trade_status"`
	Answers     []string `json:"answers"`
	Code        string   `json:"code"`
	Deliveries  []struct {
		Tries  int
		Answer string
	} `json:"deliveries"`
}

// steer is a control call with a body of so many names and values; what the
// gateway refuses has a Code.
func (g *till) steer(action string, more ...any) (s steered) {
	g.t.Helper()
	body := map[string]any{"action": action}
	for i := 0; i < len(more); i += 2 {
		body[more[i].(string)] = more[i+1]
	}
	_, data, err := g.call("POST", "/control", body)
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		g.t.Errorf("control %s %v: %v %s", action, more, err, data)
	}
	return s
}

// takes has the shopper open the link of an attempt and pay there, and answers
// the trade's number; "" when the gateway did not take the money.
func (g *till) takes(a *api.Attempt, more ...any) string {
	g.t.Helper()
	s := g.steer("pay", append([]any{"out_trade_no", a.ID, "url", payLink(a)}, more...)...)
	if s.TradeStatus != "TRADE_SUCCESS" || s.Code != "" {
		return ""
	}
	return s.TradeNo
}

// fails has the next calls of a method go wrong; "" for none.
func (g *till) fails(mode string, times int, methods ...string) {
	g.t.Helper()
	for _, method := range methods {
		if s := g.steer("fault", "method", "alipay.trade."+method, "mode", mode, "times",
			times); s.Code != "" {
			g.t.Errorf("fault %s %s: %+v", method, mode, s)
		}
	}
}

// forEver is times of a fault that is taken back.
const forEver = 1_000_000

// statement are the rows of the gateway's books without their times, sorted:
// pay or refund, attempt, trade number, refund number, amount.
func (g *till) statement() (rows []string) {
	g.t.Helper()
	status, data, err := g.call("GET", "/statement.csv", nil)
	if err != nil || status != http.StatusOK {
		g.t.Fatalf("statement: %d %v %s", status, err, data)
	}
	all, err := csv.NewReader(strings.NewReader(string(data))).ReadAll()
	if err != nil || len(all) == 0 {
		g.t.Fatalf("statement: %v %s", err, data)
	}
	for _, r := range all[1:] {
		rows = append(rows, strings.Join(r[:6], " "))
	}
	slices.Sort(rows)
	return rows
}

// about are the rows of the statement about an attempt.
func (g *till) about(attempt string) []string {
	g.t.Helper()
	return slices.DeleteFunc(g.statement(),
		func(row string) bool { return !strings.Contains(row, " "+attempt+" ") })
}

// browse does what a person's browser does, redirects included, and answers
// the page and where it is.
func browse(t testing.TB, method, to string, form url.Values) (html string, at *url.URL) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, to, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %v\n%s", method, to, resp.StatusCode, err, data)
	}
	return string(data), resp.Request.URL
}

// opens opens a payment of an order.
func (s *shopper) opens(order, product string) (a api.Attempt) {
	s.t.Helper()
	s.must("POST", "/v1/orders/"+order+"/payments", map[string]any{"product": product}, &a)
	if a.Order != order || a.State != api.AttemptOpen || payLink(&a) == "" {
		s.t.Errorf("attempt: %+v", a)
	}
	return a
}

// payLink is where a browser opens an attempt.
func payLink(a *api.Attempt) string {
	return a.Link.URL + a.Link.OrderString + a.Link.QRCode
}

// pays pays an order, of which the shop knows afterwards.
func (s *shopper) pays(g *till, order string) api.Attempt {
	s.t.Helper()
	a := s.opens(order, api.ProductPage)
	if g.takes(&a) == "" {
		s.t.Fatalf("the gateway did not take the money for %s", order)
	}
	s.await(order, api.OrderPaid)
	return a
}

// bought is an order that is paid and has all that follows from it.
func (s *shopper) bought(g *till, sku string, n int64) (api.Order, api.Attempt) {
	s.t.Helper()
	a := s.pays(g, s.buy(sku, n).ID)
	s.p.fulfilled(a.Order)
	return s.order(a.Order), a
}

// fulfilled waits until every step of a paid order is done.
func (p *process) fulfilled(order string) {
	p.t.Helper()
	eventually(p.t, "all steps done", func() bool {
		for _, state := range p.steps(order) {
			if state != api.StepDone {
				return false
			}
		}
		return true
	})
}

func (s *shopper) payment(order string) (p api.Payment) {
	s.t.Helper()
	s.must("GET", "/v1/orders/"+order+"/payments", nil, &p)
	return p
}

// asks asks for a refund of quantities by line, as its owner; none for all.
func (s *shopper) asks(order string, quantities map[int]int64) (r api.Refund) {
	s.t.Helper()
	s.must("POST", "/v1/orders/"+order+"/refunds", refundBody(quantities), &r)
	return r
}

// refunds refunds quantities by line as support, and waits until it is done.
func (s *shopper) refunds(order string, quantities map[int]int64) api.Refund {
	s.t.Helper()
	var r api.Refund
	s.p.admin().must("POST", "/admin/v1/orders/"+order+"/refunds", refundBody(quantities), &r)
	return s.p.refunded(r.ID)
}

// refundBody asks for quantities by line.
func refundBody(quantities map[int]int64) map[string]any {
	lines := []map[string]any{}
	for _, i := range slices.Sorted(maps.Keys(quantities)) {
		lines = append(lines, map[string]any{"line": i, "quantity": quantities[i]})
	}
	return map[string]any{"lines": lines, "reason": "broken"}
}

// refunded waits until a refund is done.
func (p *process) refunded(id string) (r api.Refund) {
	p.t.Helper()
	eventually(p.t, "refund "+id+" done", func() bool {
		p.admin().must("GET", "/admin/v1/refunds/"+id, nil, &r)
		return r.State == api.RefundDone
	})
	return r
}

// pages reads all pages of a list.
func pages[T any](c *client, path string) (all []T) {
	c.t.Helper()
	u, err := url.Parse(path)
	if err != nil {
		c.t.Fatal(err)
	}
	for cursor := ""; ; {
		q := u.Query()
		q.Set("limit", "200")
		q.Set("cursor", cursor)
		var list struct {
			Items []T
			Next  string
		}
		c.must("GET", u.Path+"?"+q.Encode(), nil, &list)
		all = append(all, list.Items...)
		if cursor = list.Next; cursor == "" {
			return all
		}
	}
}

// payLog is the pay log of an order as statement has it; of all for "".
func (p *process) payLog(order string) (rows []string) {
	p.t.Helper()
	for _, e := range pages[api.PayLogEntry](p.admin(), "/admin/v1/paylog?order="+order) {
		rows = append(rows, fmt.Sprintf("%s %s %s %s %d.%02d %s", e.Kind, e.Attempt, e.TradeNo,
			e.Refund, e.Amount.Amount/100, e.Amount.Amount%100, e.Amount.Currency))
	}
	slices.Sort(rows)
	return rows
}

// incidents are those about an attempt, by kind.
func (p *process) incidents(attempt string) map[string]int {
	p.t.Helper()
	count := map[string]int{}
	for _, i := range pages[api.PaymentIncident](p.admin(), "/admin/v1/incidents") {
		if i.Attempt == attempt {
			count[i.Kind]++
		}
	}
	return count
}

// settles waits until the gateway's books are the shop's, row by row, and what
// it has is what the paid orders are worth.
// It answers a file with the gateway's statement.
func (p *process) settles(g *till) (statement string) {
	p.t.Helper()
	var theirs, ours []string
	eventually(p.t, "the books of gateway and shop are the same", func() bool {
		theirs, ours = g.statement(), p.payLog("")
		return slices.Equal(theirs, ours)
	})
	var worth, taken int64
	for _, o := range pages[api.Order](p.admin(), "/admin/v1/orders?state=paid") {
		worth += o.Due.Amount
	}
	for _, r := range pages[api.Refund](p.admin(), "/admin/v1/refunds?state=done") {
		worth -= r.Money.Amount
	}
	for _, e := range pages[api.PayLogEntry](p.admin(), "/admin/v1/paylog") {
		if e.Kind == api.BookRefund {
			e.Amount.Amount *= -1
		}
		taken += e.Amount.Amount
	}
	if worth != taken {
		p.t.Errorf("paid orders are worth %d, the gateway has %d", worth, taken)
	}
	_, data, err := g.call("GET", "/statement.csv", nil)
	statement = filepath.Join(p.t.TempDir(), "statement.csv")
	if err := errors.Join(err, os.WriteFile(statement, data, 0o600)); err != nil {
		p.t.Fatal(err)
	}
	return statement
}

// even ends the shop and checks its books, and against a statement. The
// payments are in the first directory.
func (p *process) even(statement string, dirs ...string) {
	p.t.Helper()
	if code := p.stop(); code != 0 {
		p.t.Errorf("exit code %d", code)
	}
	auditClean(p.t, dirs...)
	if out, err := exec.Command(binary, "reconcile", "--data", dirs[0], "--statement",
		statement).CombinedOutput(); err != nil {
		p.t.Errorf("ordo reconcile: %v\n%s", err, out)
	}
}

// endsEven is settles and even.
func (p *process) endsEven(g *till, data string) {
	p.t.Helper()
	p.even(p.settles(g), data)
}
