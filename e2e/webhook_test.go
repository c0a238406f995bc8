package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"ordo/api"
)

// endpoint receives webhooks. It answers what status says, and keeps what came.
type endpoint struct {
	t    testing.TB
	url  string
	hook api.Webhook

	mu     sync.Mutex
	secret string
	// answers are those of the next calls; 200 after them.
	answers []int
	got     []received
}

type received struct {
	id string
	api.WebhookPayload
}

// newEndpoint serves an endpoint; hang, when not nil, is waited for first.
func newEndpoint(t testing.TB, hang <-chan struct{}) *endpoint {
	t.Helper()
	e := &endpoint{t: t}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hang != nil {
			<-hang
		}
		w.WriteHeader(e.take(r))
	}))
	t.Cleanup(s.Close)
	e.url = s.URL
	return e
}

// take keeps a call that is signed as Standard Webhooks says.
func (e *endpoint) take(r *http.Request) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return http.StatusBadRequest // it was killed
	}
	w, err := standardwebhooks.NewWebhook(e.secret)
	if err == nil {
		err = w.Verify(body, r.Header)
	}
	got := received{id: r.Header.Get("Webhook-Id")}
	if err == nil {
		err = json.Unmarshal(body, &got.WebhookPayload)
	}
	if err != nil {
		e.t.Errorf("a call that is not good: %v: %v %s", err, r.Header, body)
	}
	e.got = append(e.got, got)
	status := http.StatusOK
	if len(e.answers) > 0 {
		status, e.answers = e.answers[0], e.answers[1:]
	}
	return status
}

// answer sets the answers of the next calls.
func (e *endpoint) answer(status ...int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answers = status
}

// of are the calls about an order.
func (e *endpoint) of(order string) (all []received) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.got {
		if r.Data.Order == order {
			all = append(all, r)
		}
	}
	return all
}

// hooks makes the endpoint known to the shop.
func (p *process) hooks(e *endpoint, types ...string) {
	p.t.Helper()
	e.mu.Lock() // no call comes before its secret is known
	defer e.mu.Unlock()
	var made struct {
		api.Webhook
		Secret string
	}
	p.admin().must("POST", "/admin/v1/webhooks", map[string]any{"url": e.url, "types": types}, &made)
	if !api.IsWebhookSecret(made.Secret) {
		p.t.Fatalf("made %+v", made)
	}
	e.hook, e.secret = made.Webhook, made.Secret
}

// webhook runs `ordo webhook`.
func (p *process) webhook(args ...string) (code int, out string) {
	p.t.Helper()
	cmd := exec.Command(binary, append(append([]string{"webhook"}, args...), "--server", p.url,
		"--admin-token", adminToken)...)
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		p.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// ACCEPT P8
// Events go to an endpoint, signed, again when it fails, under one webhook-id;
// another that hangs holds up nobody; the log, a replay, a rotation, a test and
// 410 are what they should be.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--webhook-insecure").ready()
	sku, ann := p.onSale(100, 100), p.shopper()
	hang := make(chan struct{})
	slow, quick := newEndpoint(t, hang), newEndpoint(t, nil)
	var open sync.Once
	letGo := func() { open.Do(func() { close(hang) }) }
	t.Cleanup(letGo)
	p.hooks(slow, api.EventOrderPlaced)
	quick.answer(http.StatusInternalServerError)
	p.hooks(quick, api.EventOrderPlaced, api.EventOrderCancelled)
	o := ann.buy(sku, 1)
	eventually(t, "two tries", func() bool { return len(quick.of(o.ID)) == 2 })
	got := quick.of(o.ID)
	if got[0].id == "" || got[0] != got[1] || got[0].Type != api.EventOrderPlaced ||
		got[0].Data.State != api.OrderPlaced || got[0].Data.Total != gbp(100) {
		t.Errorf("received %+v", got)
	}
	for range 2 * api.WebhookWindow {
		id := ann.buy(sku, 1).ID
		ann.must("POST", "/v1/orders/"+id+"/cancel", nil, nil)
		eventually(t, "both events", func() bool { return len(quick.of(id)) == 2 })
	}
	if n := len(slow.of(o.ID)); n != 0 {
		t.Errorf("the endpoint that hangs answered %d times", n)
	}
	letGo()
	eventually(t, "what had hung", func() bool { return len(slow.of(o.ID)) > 0 })
	checkLog(p, quick, got[0].id)
	checkHook(p, quick, ann, sku)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if line, found := p.log.find(quick.secret); found {
		t.Errorf("the log has a secret: %s", line)
	}
}

// checkLog looks at the log of deliveries, as admins and the command line see it.
func checkLog(p *process, e *endpoint, id string) {
	t := p.t
	t.Helper()
	var d api.DeliveryDetail
	path := "/admin/v1/webhooks/" + e.hook.ID + "/deliveries"
	eventually(t, "delivery", func() bool {
		p.admin().must("GET", path+"/"+id, nil, &d)
		return d.State == api.DeliveryDelivered
	})
	if d.Tries != 2 || len(d.Attempts) != 2 || d.Attempts[0].Status != 200 ||
		d.Attempts[1].Status != 500 || d.Payload.Type != api.EventOrderPlaced {
		t.Errorf("delivery %+v", d)
	}
	code, out := p.webhook("deliveries", e.hook.ID, "--order", d.Order)
	if code != 0 || strings.Count(out, "\n") != 2 || !strings.Contains(out, id+"  delivered  2") {
		t.Errorf("deliveries: exit %d: %s", code, out)
	}
	if code, out := p.webhook("ls"); code != 0 || !strings.Contains(out, e.hook.ID+"  enabled  0") {
		t.Errorf("ls: exit %d: %s", code, out)
	}
	before := len(e.of(d.Order))
	if code, out := p.webhook("replay", e.hook.ID, "--delivery", id); code != 0 {
		t.Errorf("replay: exit %d: %s", code, out)
	}
	eventually(t, "replay", func() bool { return len(e.of(d.Order)) == before+1 })
	if all := e.of(d.Order); all[before].id != id {
		t.Errorf("the replay has the id %s, not %s", all[before].id, id)
	}
}

// checkHook rotates the secret, sends a test, and ends with 410 and a replay of
// what was missed.
func checkHook(p *process, e *endpoint, ann *shopper, sku string) {
	t := p.t
	t.Helper()
	var made struct{ Secret string }
	code, out := p.webhook("rotate", e.hook.ID, "--json")
	if err := json.Unmarshal([]byte(out), &made); code != 0 || err != nil || made.Secret == e.secret {
		t.Fatalf("rotate: exit %d: %s", code, out)
	}
	if code, out := p.webhook("test", e.hook.ID); code != 0 || !strings.Contains(out, "webhook.test") {
		t.Errorf("test: exit %d: %s", code, out) // signed with the old secret as well
	}
	e.mu.Lock()
	e.secret = made.Secret
	e.mu.Unlock()
	e.answer(http.StatusGone)
	ann.buy(sku, 1)
	eventually(t, "disabled", func() bool {
		p.admin().must("GET", "/admin/v1/webhooks/"+e.hook.ID, nil, &e.hook)
		return !e.hook.Enabled && e.hook.Why == api.WebhookGone
	})
	missed := ann.buy(sku, 1).ID
	eventually(t, "the event is kept", func() bool { return len(p.journal(missed)) == 1 })
	p.admin().problem("POST", "/admin/v1/webhooks/"+e.hook.ID+"/test", nil, http.StatusConflict,
		api.CodeWebhookOff)
	if code, out := p.webhook("set", e.hook.ID, "--enable"); code != 0 ||
		!strings.Contains(out, "enabled") {
		t.Errorf("set: exit %d: %s", code, out)
	}
	since := e.hook.Since.Std().Format("2006-01-02T15:04:05Z07:00")
	if code, out := p.webhook("replay", e.hook.ID, "--since", since); code != 0 {
		t.Errorf("replay: exit %d: %s", code, out)
	}
	eventually(t, "what was missed", func() bool { return len(e.of(missed)) == 1 })
	if code, out := p.webhook("delete", e.hook.ID); code != 0 {
		t.Errorf("delete: exit %d: %s", code, out)
	}
	p.admin().problem("GET", "/admin/v1/webhooks/"+e.hook.ID, nil, http.StatusNotFound,
		api.CodeNotFound)
}

// ACCEPT P8
// The shop is killed after an endpoint has answered and before that is written
// down: it calls again, under the same webhook-id. It may do so twice: the shop
// announces what is open anew, and the stream redelivers what it has.
func TestWebhookKilledBeforeItIsWrittenDown(t *testing.T) {
	t.Parallel()
	path, err := failpointBinary()
	if err != nil {
		t.Fatal(err)
	}
	data, e := t.TempDir(), newEndpoint(t, nil)
	args := serveArgs(t, data, []string{"--webhook-insecure"})
	p := launch(t, path, []string{"ORDO_FAILPOINT=effect-answered:journal:1"}, args...)
	t.Cleanup(p.kill)
	p.serving().ready()
	p.hooks(e)
	o := p.shopper().buy(p.onSale(100, 1), 1)
	<-p.done
	if n := len(e.of(o.ID)); n != 1 {
		t.Fatalf("%d calls before the kill", n)
	}
	p = serve(t, data, "--webhook-insecure").ready()
	eventually(t, "a second call", func() bool { return len(e.of(o.ID)) >= 2 })
	var list api.DeliveryList
	eventually(t, "delivered", func() bool {
		p.admin().must("GET", "/admin/v1/webhooks/"+e.hook.ID+"/deliveries", nil, &list)
		return len(list.Deliveries) == 1 && list.Deliveries[0].State == api.DeliveryDelivered
	})
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	got := e.of(o.ID)
	for _, call := range got[1:] {
		if call != got[0] {
			t.Errorf("received %+v", got)
		}
	}
	out, err := exec.Command(binary, "verify", "journal", "--data", data).CombinedOutput()
	if err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
}

// ACCEPT P8
// Addresses inside of the shop's network are refused when an endpoint is made,
// and only admins may make one; a repeat with the same key makes one.
func TestWebhooksAreRefused(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir()).ready()
	for _, url := range []string{"http://example.com/", "https://127.0.0.1/", "https://[::1]/",
		"https://169.254.169.254/", "https://2130706433/", "https://a:b@example.com/"} {
		r := p.admin().problem("POST", "/admin/v1/webhooks", map[string]any{"url": url},
			http.StatusUnprocessableEntity, api.CodeInvalid)
		if r.Place != "url" {
			t.Errorf("%s: %+v", url, r)
		}
	}
	support := p.users(1, api.RoleSupport)[0]
	support.problem("GET", "/admin/v1/webhooks", nil, http.StatusForbidden, api.CodeForbidden)
	key := http.Header{"Idempotency-Key": {"hook-1"}}
	body := api.Raw(map[string]any{"url": "https://example.com/", "types": []string{"order.paid"}})
	var made [2]map[string]any
	for i := range made {
		resp, data, err := p.admin().send(key, "POST", "/admin/v1/webhooks", body)
		if err != nil || resp.StatusCode != http.StatusCreated {
			t.Fatalf("%v %s", err, data)
		}
		made[i] = decode[map[string]any](t, data)
	}
	if made[0]["id"] != made[1]["id"] || made[0]["secret"] == nil || made[1]["secret"] != nil {
		t.Errorf("made %v", made)
	}
	var list api.WebhookList
	p.admin().must("GET", "/admin/v1/webhooks", nil, &list)
	if len(list.Webhooks) != 1 || !slices.Equal(list.Webhooks[0].Types, []string{"order.paid"}) {
		t.Errorf("webhooks %+v", list)
	}
	resp, data, err := p.admin().send(key, "POST", "/admin/v1/webhooks",
		api.Raw(map[string]any{"url": "https://example.org/"}))
	if err != nil || resp.StatusCode != http.StatusUnprocessableEntity ||
		!strings.Contains(string(data), string(api.CodeIDReused)) {
		t.Errorf("another body: %v %s", err, data)
	}
}
