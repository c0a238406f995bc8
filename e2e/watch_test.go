package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	books "ordo/actors/audit"
)

// watched is what /readyz says of the audit.
type watched struct {
	status int
	OK     bool
	Audit  books.Report
}

func (p *process) watched() (w watched) {
	p.t.Helper()
	status, body, err := (&client{p.t, p.url, ""}).call("GET", "/readyz", nil)
	if err == nil {
		err = json.Unmarshal(body, &w)
	}
	if err != nil {
		p.t.Fatalf("readyz: %v: %s", err, body)
	}
	w.status = status
	return w
}

// metrics are the lines of /metrics.
func (p *process) metrics() []string {
	p.t.Helper()
	status, body, err := (&client{p.t, p.url, ""}).call("GET", "/metrics", nil)
	if err != nil || status != http.StatusOK {
		p.t.Fatalf("metrics: %d %v %s", status, err, body)
	}
	return strings.Split(string(body), "\n")
}

// ACCEPT M11: the books of a running shop are audited all the time. What does
// not add up shows in readiness, metrics, log and admin API, and does not end
// the shop.
func TestWatch(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data, "--audit-every", "50ms").ready()
	m := p.shopper().buysMixed()
	m.refunds(m.o.ID, map[int]int64{0: 1})
	from := p.watched().Audit.Rounds
	eventually(t, "rounds", func() bool { return p.watched().Audit.Rounds > from+2 })
	if w := p.watched(); !w.OK || !w.Audit.OK || w.Audit.Orders == 0 || w.Audit.Error != "" ||
		w.Audit.PassedAt == 0 || len(w.Audit.LeftOut) != 0 {
		t.Errorf("%+v", w)
	}
	for _, want := range []string{"ordo_audit_ok 1", `ordo_audit_deviations{check="coupons-used"} 0`,
		`ordo_actor_ready{actor="goods"} 1`, `ordo_actor_dead_letters{actor="order"} 0`,
		`ordo_actor_effects_open{actor="payment"} 0`, `ordo_actor_unconfirmed{actor="user"} 0`} {
		eventually(t, want, func() bool { return slices.Contains(p.metrics(), want) })
	}
	for _, name := range []string{"ordo_audit_round_age_seconds", "ordo_actor_lag{",
		"ordo_audit_round_duration_seconds", "ordo_actor_batches_total{"} {
		if !slices.ContainsFunc(p.metrics(), func(l string) bool { return strings.HasPrefix(l, name) }) {
			t.Errorf("no metric %s", name)
		}
	}
	wantForOperators(t, p)

	rule(t, data, `UPDATE coupon SET order_id = 'ord_unknown' WHERE order_id = '`+m.o.ID+`'`)
	eventually(t, "the deviation", func() bool { return !p.watched().Audit.OK })
	if w := p.watched(); !w.OK || w.status != http.StatusOK {
		t.Errorf("the shop is down: %+v", w)
	}
	patiently(t, "the metric", func() bool {
		return slices.Contains(p.metrics(), `ordo_audit_deviations{check="coupons-used"} 1`)
	})
	var found struct{ Items []books.Deviation }
	patiently(t, "both ends", func() bool {
		p.admin().must("GET", "/admin/v1/audit", nil, &found)
		return len(found.Items) >= 2
	})
	if d := found.Items[0]; d.Check != "coupons" || d.Order != m.o.ID || d.Row == "" {
		t.Errorf("%+v", found)
	}
	if _, ok := p.log.find(`"msg":"deviation"`); !ok {
		t.Error("the log does not say it")
	}
	rule(t, data, `UPDATE coupon SET order_id = '`+m.o.ID+`' WHERE order_id = 'ord_unknown'`)
	eventually(t, "it is gone", func() bool { return p.watched().Audit.OK })
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	auditClean(t, data)
}

// patiently is eventually for what the audit comes to in its turn: it rests 99
// times as long as it works, and works slowly on a busy machine.
func patiently(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.After(5 * time.Minute); !ok(); {
		select {
		case <-end:
			t.Fatalf("not within five minutes: %s", what)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// wantForOperators checks that only the operator gets metrics.
func wantForOperators(t *testing.T, p *process) {
	t.Helper()
	for _, c := range []struct {
		name, value string
		status      int
	}{
		{"X-Forwarded-For", "192.0.2.1", 401}, {"Authorization", "Bearer wrong", 401},
		{"Authorization", "Bearer " + adminToken, 200}, {"Accept", "text/plain", 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", p.url+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(c.name, c.value)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status ||
			strings.Contains(string(body), "ordo_") != (c.status == 200) {
			t.Errorf("%s %s: %d %v", c.name, c.value, resp.StatusCode, err)
		}
	}
}
