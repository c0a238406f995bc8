package e2e

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
	"ordo/bus/tracing"
)

// ACCEPT P4
// All that happens to an order is one trace: its submit, its payment, the notice
// of it and a refund over HTTP, each message between actors, each commit, each
// call of the gateway. Each span has the cause that it had, and none tells who
// ordered.
func TestTraceOfAnOrder(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := serve(t, t.TempDir(), "--otlp", c.url).ready()
	m := p.shopper().buysMixed()
	m.refunds(m.o.ID, map[int]int64{0: 1})
	carried := traceparents(t, p, "GOODS", "ordo.goods.0.reserve")
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	trace := c.about(m.o.ID)
	all := ways(trace)
	const submit = "POST /v1/orders"
	const reserve = "publish goods.reserve < handle order.submit < publish order.submit < " + submit
	const placed = "publish payment.collect < handle order.step-result"
	const asked = "handle order.ask-refund < publish order.ask-refund < " +
		"POST /admin/v1/orders/{id}/refunds"
	for _, want := range []string{submit, "handle goods.reserve < " + reserve,
		"commit goods < handle goods.reserve < " + reserve,
		"handle order.step-result < publish order.step-result < handle goods.reserve < " + reserve,
		"handle payment.open < publish payment.open < POST /v1/orders/{id}/payments",
		"handle payment.trade < publish payment.trade < POST notify",
		"publish shipping.cancel < " + asked} {
		if !slices.Contains(all, want) {
			t.Errorf("the trace lacks %s", want)
		}
	}
	for _, begin := range []string{placed, "handle journal.event < publish journal.event < ",
		"effect pay-refund < publish payment.pay-refund < handle payment.refund < ",
		"handle payment.effect-outcome < effect pay-refund < ",
		"effect cart-remove < publish order.cart-remove < handle order.step-result < ",
		"handle goods.return < ", "handle wallet.debit < ", "handle coupon.redeem < "} {
		if !slices.ContainsFunc(all, func(w string) bool { return strings.HasPrefix(w, begin) }) {
			t.Errorf("the trace lacks %s…", begin)
		}
	}
	for _, w := range all {
		if strings.HasSuffix(w, "?") {
			t.Errorf("a cause is missing: %s", w)
		}
	}
	id := tracing.OfOrder(m.o.ID)
	if len(carried) != 1 || carried[0].Trace != id || trace[carried[0].Span.String()] == nil {
		t.Errorf("messages carry %v", carried)
	}
	checkSpans(t, c, m)
	if t.Failed() {
		t.Log(strings.Join(all, "\n"))
	}
}

// checkSpans looks at what spans tell.
func checkSpans(t *testing.T, c *collector, m *mixed) {
	t.Helper()
	id := tracing.OfOrder(m.o.ID)
	outcomes := map[string]string{}
	for _, s := range c.all() {
		if s.attribute("ordo.order") == m.o.ID && string(s.TraceId) != string(id[:]) {
			t.Errorf("another trace has %s", s.told())
		}
		if string(s.TraceId) == string(id[:]) && s.attribute("ordo.step") != "" {
			outcomes[s.attribute("ordo.step")] = s.attribute("ordo.outcome")
		}
		if s.EndTimeUnixNano < s.StartTimeUnixNano || s.Status.GetCode() != 0 {
			t.Errorf("%s", s.told())
		}
		for _, secret := range []string{sender.Name, sender.Phone, sender.Postcode, sender.City,
			"@shop.test", "ses_", "chk_", adminToken} {
			if strings.Contains(s.told(), secret) {
				t.Errorf("a span tells %q: %s", secret, s.told())
			}
		}
	}
	for _, step := range []string{"goods.reserve", "coupon.redeem", "wallet.debit", "goods.return"} {
		if outcomes[step] != "done" {
			t.Errorf("steps %v", outcomes)
		}
	}
}

// traceparents are the headers of all messages of a subject.
func traceparents(t *testing.T, p *process, stream, subject string) (all []tracing.Place) {
	t.Helper()
	js, err := jetstream.New(p.connect())
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 10*time.Second)
	c, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject}})
	if err != nil {
		t.Fatal(err)
	}
	info, err := c.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range info.NumPending {
		m, err := c.Next(jetstream.FetchContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tracing.Parse(m.Headers().Get(tracing.Header)))
	}
	return all
}

// A refusal is an attribute and no error. A caller's own trace is linked, and a
// timer is in the trace of the order that it ends.
func TestTraceOfRefusalAndExpiry(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := serve(t, t.TempDir(), "--otlp", c.url, "--expiry", "1s", "--pay-margin", "0s").ready()
	s := p.shopper()
	sku := p.onSale(100, 1)
	over := s.buy(sku, 1)
	s.await(over.ID, api.OrderCancelled)
	b := s.checkout(sku, 1)
	p.admin().must("POST", "/admin/v1/stock/adjust",
		map[string]any{"sku": sku, "difference": -1, "reason": "lost"}, nil)
	order, err := api.OrderID(b.Token)
	if err != nil {
		t.Fatal(err)
	}
	const theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
	if status := traced(t, p, s, theirs, b); status != http.StatusConflict {
		t.Errorf("status %d", status)
	}
	p.stop()
	expired := ways(c.about(over.ID))
	const timer = "handle order.expire < timer order.expire < publish order.timer < handle order."
	if !slices.ContainsFunc(expired, func(w string) bool { return strings.HasPrefix(w, timer) }) {
		t.Errorf("the trace lacks %s…:\n%s", timer, strings.Join(expired, "\n"))
	}
	linked, refused := false, false
	for _, s := range c.about(order) {
		for _, l := range s.Links {
			linked = linked || s.Name == "POST /v1/orders" &&
				(tracing.Place{Trace: [16]byte(l.TraceId), Span: [8]byte(l.SpanId)}) == tracing.Parse(theirs)
		}
		if s.Status.GetCode() != 0 {
			t.Errorf("an error: %s", s.told())
		}
		refused = refused || s.Name == "handle goods.reserve" && s.attribute("ordo.outcome") == "refused"
	}
	if !linked || !refused {
		t.Errorf("linked %t, refused %t", linked, refused)
	}
}

// traced submits with a traceparent of the caller's own.
func traced(t *testing.T, p *process, s *shopper, traceparent string, b *submission) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", p.url+"/v1/orders?wait=10",
		strings.NewReader(string(api.Raw(b))))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set(tracing.Header, traceparent)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// ACCEPT P4 M4
// An order's trace goes through all processes. The order actor, a process of its
// own, dies after the commit and before it has published anything: what it sends
// after the next start stands where it would have stood.
func TestTraceThroughACrash(t *testing.T) {
	t.Parallel()
	path, err := failpointBinary()
	if err != nil {
		t.Fatal(err)
	}
	c, n, data := newCollector(t), newCrashNATS(t), t.TempDir()
	args := []string{"--nats", n.url, "--only", "order", "--no-api", "--otlp", c.url}
	dying := launch(t, path, []string{"ORDO_FAILPOINT=before-publish:order:1"},
		serveArgs(t, data, args)...)
	t.Cleanup(dying.kill)
	dying.serving()
	others := slices.DeleteFunc(bus.ActorNames(), func(a string) bool { return a == "order" })
	p := serve(t, t.TempDir(), "--nats", n.url, "--only", strings.Join(others, ","), "--otlp",
		c.url).ready()
	p.nats = n.url
	s := p.shopper()
	b := s.checkout(p.onSale(100, 1), 1)
	if _, _, err := s.call("POST", "/v1/orders?wait=0", b); err != nil {
		t.Fatal(err)
	}
	if code := dying.wait(30 * time.Second); code != -1 {
		t.Errorf("exit code %d", code)
	}
	second := serve(t, data, args...)
	o := s.submit(b)
	s.pays(p.till(), o.ID)
	p.fulfilled(o.ID)
	carried := traceparents(t, p, "GOODS", "ordo.goods.0.reserve")
	for _, each := range []*process{second, p} {
		if code := each.stop(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
	trace, id := c.about(o.ID), tracing.OfOrder(o.ID)
	if len(carried) != 1 || carried[0].Trace != id {
		t.Fatalf("the message carries %v", carried)
	}
	published, processes := trace[carried[0].Span.String()], map[string]bool{}
	for _, s := range trace {
		processes[s.process] = true
		// What the process that died had handled may have died with it.
		if w := way(s, trace); strings.HasSuffix(w, "?") &&
			!strings.HasSuffix(w, "publish goods.reserve < ?") {
			t.Errorf("a cause is missing: %s", w)
		}
		if s.Name == "handle goods.reserve" && s.parent() != carried[0].Span.String() {
			t.Errorf("handled because of %s, not of %s", s.parent(), carried[0].Span)
		}
	}
	submit := tracing.SpanOf(tracing.Handle, "order", "submit-"+o.ID+"-"+submitHash(t, p, n.url))
	if published == nil || published.parent() != submit.String() || len(processes) < 2 {
		t.Errorf("published: %v; of processes %v", published, processes)
	}
}

// submitHash is what follows the order in the id of the one submit.
func submitHash(t *testing.T, p *process, url string) string {
	t.Helper()
	nc := (&process{t: t, nats: url}).connect()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	m, err := lastOf(within(t, 10*time.Second), js, "ORDER", "ordo.order.0.submit")
	if err != nil {
		t.Fatal(err)
	}
	id := bus.Identity(m.Header)
	return id[strings.LastIndexByte(id, '-')+1:]
}

func lastOf(ctx context.Context, js jetstream.JetStream, stream, subject string) (
	*jetstream.RawStreamMsg, error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	return s.GetLastMsgForSubject(ctx, subject)
}

// A collector that is not there keeps nobody from ordering: spans are dropped and
// counted, and the log hears of it once.
func TestTraceWithoutACollector(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--otlp", "http://"+crashFreeAddr(t)).ready()
	s, sku := p.shopper(), p.onSale(100, 10)
	for range 3 {
		if o := s.buy(sku, 1); o.State != api.OrderPlaced {
			t.Errorf("order is %s", o.State)
		}
	}
	dropped := func() float64 { return p.metric("ordo_trace_spans_dropped_total") }
	eventually(t, "spans are dropped", func() bool { return dropped() > 0 })
	first := dropped()
	s.buy(sku, 1)
	eventually(t, "more are dropped", func() bool { return dropped() > first })
	if n := strings.Count(p.log.String(), `"msg":"spans dropped"`); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
	if p.metric("ordo_trace_spans_sent_total") != 0 {
		t.Error("somebody took spans")
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// What an order does to another one stands in the other's trace, without a cause
// that is not there. A message that can't be handled is an error in the trace of
// its order, which the log names.
func TestTraceOfAnotherOrder(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := serve(t, t.TempDir(), "--otlp", c.url).ready()
	course, g := p.courseOf(1), p.till()
	first, _ := p.shopper().bought(g, course, 1)
	waits := p.shopper()
	second, _ := waits.bought(g, course, 1)
	p.refundAll(first.ID)
	eventually(t, "who waits is let in", func() bool {
		return waits.place(course) == api.EnrolmentEnrolled &&
			slices.Contains(p.journal(second.ID), api.EventEnrolled)
	})
	js, err := bus.NewJetStream(p.connect(), func(*nats.Msg, error) {})
	if err != nil {
		t.Fatal(err)
	}
	broken := api.NewID(api.PrefixOrder)
	if _, err := bus.Publish(js, "ordo.goods.0.reserve", "broken-1", nil,
		[]byte(`{"order":"`+broken+`","lines":"none"}`)); err != nil {
		t.Fatal(err)
	}
	line := ""
	eventually(t, "a dead letter", func() (ok bool) {
		line, ok = p.log.find(`"msg":"dead letter"`)
		return ok
	})
	if id := tracing.OfOrder(broken).String(); !strings.Contains(line, `"trace":"`+id+`"`) {
		t.Errorf("the trace is not %s: %s", id, line)
	}
	p.stop()
	all := ways(c.about(second.ID))
	if !slices.Contains(all, "handle journal.event < publish journal.event") {
		t.Errorf("the trace lacks the event of another order:\n%s", strings.Join(all, "\n"))
	}
	for _, w := range append(all, ways(c.about(first.ID))...) {
		if strings.HasSuffix(w, "?") {
			t.Errorf("a cause is missing: %s", w)
		}
	}
	failed := c.about(broken)
	for _, s := range failed {
		if s.Name == "handle goods.reserve" && (s.Status.GetMessage() != "dead letter" ||
			s.attribute("ordo.outcome") != "fault") {
			t.Errorf("%s", s.told())
		}
	}
	if len(failed) != 2 { // and its commit
		t.Errorf("%d spans of a message that can't be handled", len(failed))
	}
}
