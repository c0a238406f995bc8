package e2e

import (
	"encoding/json"
	"math"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"ordo/api"
)

// metric is the value of one series of /metrics; NaN when it is not there.
func (p *process) metric(series string) float64 {
	p.t.Helper()
	for _, line := range p.metrics() {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(rest, 64)
			if err != nil {
				p.t.Errorf("%q: %v", line, err)
			}
			return v
		}
	}
	return math.NaN()
}

// ACCEPT P4
// What was done is counted: requests, orders, steps, calls of the gateway. No
// message carries a trace that was not asked for.
func TestMetricsOfAShop(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir()).ready()
	s, g := p.shopper(), p.till()
	sku := p.onSale(100, 2)
	o, _ := s.bought(g, sku, 1)
	p.refunds(s, o.ID)
	s.buy(sku, 1)
	b := s.checkout(sku, 500)
	if status, data, err := s.call("POST", "/v1/orders?wait=10", b); err != nil ||
		status != http.StatusConflict {
		t.Errorf("%d %v %s", status, err, data)
	}
	for series, want := range map[string]float64{
		`ordo_orders{state="placed"}`: 1, `ordo_orders{state="paid"}`: 1,
		`ordo_orders{state="refused"}`:                                                                  1,
		`ordo_events_total{actor="order",event="order.placed"}`:                                         2,
		`ordo_events_total{actor="order",event="order.paid"}`:                                           1,
		`ordo_events_total{actor="order",event="order.refused"}`:                                        1,
		`ordo_steps_total{actor="goods",outcome="done",step="goods.reserve"}`:                           2,
		`ordo_steps_total{actor="goods",outcome="refused",step="goods.reserve"}`:                        1,
		`ordo_steps_total{actor="goods",outcome="done",step="goods.return"}`:                            1,
		`ordo_steps_total{actor="wallet",outcome="done",step="wallet.grant"}`:                           1,
		`ordo_http_request_duration_seconds_count{method="POST",operation="submit-order",status="2xx"}`: 2,
		`ordo_http_request_duration_seconds_count{method="POST",operation="submit-order",status="4xx"}`: 1,
		`ordo_http_request_duration_seconds_count{method="POST",operation="notify",status="2xx"}`:       2,
		`ordo_effect_duration_seconds_count{actor="payment",effect="pay-refund",outcome="answered"}`:    1,
		`ordo_timers_pending{actor="order",class="expiry-900s"}`:                                        2,
		`ordo_gateway_breaker{provider="alipay",state="closed"}`:                                        1,
		`ordo_gateway_breaker{provider="alipay",state="open"}`:                                          0,
		`ordo_actor_new_dead_letters_total{actor="order"}`:                                              0,
		`ordo_nats_connected`: 1,
	} {
		eventually(t, series+" "+strconv.FormatFloat(want, 'g', -1, 64), func() bool {
			return p.metric(series) == want
		})
	}
	problems, err := promlint.New(strings.NewReader(strings.Join(p.metrics(), "\n"))).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	for _, at := range traceparents(t, p, "GOODS", "ordo.goods.0.reserve") {
		if !at.IsZero() {
			t.Errorf("a message carries %s", at)
		}
	}
}

// refunds has an order refunded as a whole.
func (p *process) refunds(s *shopper, order string) { s.t.Helper(); s.refunds(order, nil) }

// ACCEPT P4
// What is verbose tells how each actor gets on, to the operator alone. An actor
// that is stuck without a fault shows by its canary.
func TestReadyVerbose(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir()).ready()
	p.shopper().buy(p.onSale(100, 1), 1)
	type part struct {
		Actor  string
		Ready  bool
		Lag    *uint64
		Canary *float64 `json:"canary_age_s"`
		Took   float64  `json:"canary_took_s"`
		Oldest *float64 `json:"oldest_unconfirmed_s"`
		Unread string
	}
	type verbose struct {
		OK    bool
		Parts []part
		NATS  *struct {
			Connected bool
			Streams   int
			Fault     string
		}
	}
	var v verbose
	ticked := func() bool {
		p.as("").must("GET", "/readyz?verbose", nil, &v)
		return !slices.ContainsFunc(v.Parts, func(a part) bool { return a.Took == 0 })
	}
	eventually(t, "every actor has committed a tick", ticked)
	if !v.OK || len(v.Parts) != 9 || v.NATS == nil || !v.NATS.Connected || v.NATS.Fault != "" ||
		v.NATS.Streams != 12 {
		t.Errorf("%+v", v)
	}
	for _, a := range v.Parts {
		if !a.Ready || a.Lag == nil || a.Canary == nil || *a.Canary > 60 || a.Oldest == nil ||
			a.Unread != "" {
			t.Errorf("%+v", a)
		}
	}
	js, err := jetstream.New(p.connect())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.PauseConsumer(within(t, 10*time.Second), "GOODS", "goods-0",
		time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the canary of a stuck actor", func() bool {
		p.as("").must("GET", "/readyz?verbose", nil, &v)
		stuck := 0
		for _, a := range v.Parts {
			if *a.Canary > 3 && a.Ready {
				stuck++
				if a.Actor != "goods" || *a.Lag == 0 {
					stuck = -9
				}
			}
		}
		return stuck == 1
	})
	req, err := http.NewRequestWithContext(t.Context(), "GET", p.url+"/readyz?verbose", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", "192.0.2.1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger gets %d", resp.StatusCode)
	}
}

// ACCEPT P4
// The profiler stands behind the admin token on the API's address, when it is
// configured, and its profiles are bounded. A process of actors alone has an
// address of its own for what it tells.
func TestSignalsAddress(t *testing.T) {
	t.Parallel()
	n, addr := newCrashNATS(t), crashFreeAddr(t)
	serve(t, t.TempDir(), "--nats", n.url, "--only", "goods", "--no-api", "--signals", addr,
		"--admin-pprof")
	p := (&process{t: t, url: "http://" + addr}).ready()
	if v := p.metric(`ordo_actor_ready{actor="goods"}`); v != 1 {
		t.Errorf("ready: %v", v)
	}
	for path, want := range map[string]int{"/livez": 200, "/readyz?verbose": 200, "/v1/products": 404,
		"/debug/pprof/": 401, "/debug/pprof/cmdline": 401} {
		if status, body := fetch(p.url + path); status != want {
			t.Errorf("%s: %d %.200s", path, status, body)
		}
	}
	for path, want := range map[string]int{"/goroutine?debug=1": 200, "/profile?seconds=1": 200,
		"/profile?seconds=31": 422, "/trace?seconds=6": 422, "/heap?seconds=-1": 422, "/cmdline": 404} {
		status, data, err := p.admin().call("GET", "/debug/pprof"+path, nil)
		if err != nil || status != want {
			t.Errorf("%s: %d %v %.200s", path, status, err, data)
		}
	}
}

// dashboard is what the test reads of the dashboard file.
type dashboard struct {
	Title         string
	SchemaVersion int
	Panels        []struct {
		Type, Title string
		Targets     []struct{ Expr string }
	}
}

// metricName finds the metrics that an expression asks for.
var metricName = regexp.MustCompile(`\b(?:ordo|go|process)_[a-z0-9_]+\b`)

// ACCEPT P4
// Every metric that the dashboard shows and the guide wants alerts on is served
// by a shop that has done something of each.
func TestDashboardAndAlerts(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := serve(t, t.TempDir(), "--otlp", c.url, "--expiry", "1s", "--pay-margin", "0s",
		"--audit-every", "50ms").ready()
	s, sku := p.shopper(), p.onSale(100, 5)
	s.add(sku, 1)
	s.await(s.submit(s.checkout("", 0)).ID, api.OrderCancelled)
	eventually(t, "the audit has gone round", func() bool {
		return p.metric("ordo_audit_pass_age_seconds") >= 0 && p.metric("ordo_timer_lateness_seconds_count"+
			`{actor="order"}`) > 0 && p.metric(`ordo_effect_duration_seconds_count{actor="order",`+
			`effect="cart-remove",outcome="answered"}`) == 1
	})
	served := map[string]bool{}
	for _, line := range p.metrics() {
		served[metricName.FindString(line)] = true
	}
	text, err := os.ReadFile("../docs/grafana-ordo.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	rows, exprs := []string{}, []string{}
	for _, panel := range d.Panels {
		if panel.Type == "row" {
			rows = append(rows, panel.Title)
		} else if len(panel.Targets) == 0 {
			t.Errorf("panel %q shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			exprs = append(exprs, target.Expr)
		}
	}
	if want := []string{"Orders", "Actors", "Payment", "HTTP", "Audit", "Go"}; d.SchemaVersion < 39 ||
		!slices.Equal(rows, want) {
		t.Errorf("schema %d, rows %v", d.SchemaVersion, rows)
	}
	guide, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, signals, _ := strings.Cut(string(guide), "\n## Signals\n")
	signals, _, _ = strings.Cut(signals, "\n## ")
	asked := 0
	for _, expr := range append(exprs, signals) {
		for _, name := range metricName.FindAllString(expr, -1) {
			asked++
			if !served[name] && !strings.HasSuffix(name, "_") {
				t.Errorf("no metric %s", name)
			}
		}
	}
	if asked < 60 {
		t.Errorf("only %d metrics are asked for", asked)
	}
}
