package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"ordo/actors/journal/webhook"
	"ordo/api"
)

// key is the secret of the vector that Standard Webhooks publishes.
const key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

var oldKey = api.WebhookSecret([]byte("twenty-four bytes of key"))

// call is what the journal answers for a try to url.
func call(url string) *api.WebhookCall {
	return &api.WebhookCall{URL: url, Secret: key, Payload: api.WebhookPayload{
		Type: api.EventOrderPaid, Timestamp: api.TimeOf(time.Now()),
		Data: api.WebhookData{Event: 7, Order: "ord_1"}}}
}

// journal answers a worker's question.
func journal(c *api.WebhookCall, err error) func(context.Context, api.Query, any) error {
	return func(_ context.Context, q api.Query, answer any) error {
		if err != nil {
			return err
		}
		return json.Unmarshal(api.Raw(c), answer)
	}
}

// try makes one try, on a network that is for trying out unless change says
// otherwise.
func try(t *testing.T, c *api.WebhookCall, change ...func(*webhook.Config)) api.WebhookOutcome {
	t.Helper()
	cfg := webhook.Config{Ask: journal(c, nil), Insecure: true, Version: "1.2.3"}
	for _, f := range change {
		f(&cfg)
	}
	s := webhook.New(cfg)
	defer s.Close()
	out, err := s.Do(t.Context(), effect())
	if err != nil {
		t.Fatal(err)
	}
	return *out.(*api.WebhookOutcome)
}

func effect() *api.Effect {
	return &api.Effect{ID: "msg_1-1", Name: api.EffectWebhook, Attempt: 1,
		Body: api.Raw(&api.WebhookTry{Delivery: "msg_1", Number: 1})}
}

func public(c *webhook.Config) { c.Insecure = false }

// receiver is an endpoint; got is what was posted last.
func receiver(t *testing.T, answer http.HandlerFunc) (url string,
	got func() (http.Header, []byte)) {
	t.Helper()
	var header http.Header
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		body, _ = io.ReadAll(r.Body)
		if answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, func() (http.Header, []byte) { return header, body }
}

// ACCEPT P8
// What is posted verifies by the library of Standard Webhooks, with the secret
// and, after a rotation, with the one before; not with another, and not changed.
func TestSignedAsStandardWebhooks(t *testing.T) {
	url, got := receiver(t, nil)
	c := call(url)
	c.OldSecret, c.OldUntil = oldKey, api.TimeOf(time.Now().Add(time.Hour))
	if out := try(t, c); out.Status != 200 || out.Error != "" {
		t.Fatalf("outcome %+v", out)
	}
	header, body := got()
	for secret, want := range map[string]bool{key: true, oldKey: true,
		api.WebhookSecret(make([]byte, 24)): false} {
		w, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Verify(body, header); (err == nil) != want {
			t.Errorf("%s: %v", secret, err)
		}
		if err := w.Verify(append(body, ' '), header); err == nil {
			t.Error("a changed body verifies")
		}
	}
	if header.Get("Webhook-Id") != "msg_1" || header.Get("Content-Type") != "application/json" ||
		header.Get("User-Agent") != "ordo/1.2.3 (webhooks)" {
		t.Errorf("header %v", header)
	}
	var p api.WebhookPayload
	if err := json.Unmarshal(body, &p); err != nil || p != c.Payload {
		t.Errorf("body %s, %v", body, err)
	}
	// The same by hand, so that the library is not held to itself.
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(key, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, raw)
	mac.Write([]byte("msg_1." + header.Get("Webhook-Timestamp") + "." + string(body)))
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)) + " v1,"
	if sig := header.Get("Webhook-Signature"); !strings.HasPrefix(sig, want) {
		t.Errorf("signature %s, want %s…", sig, want)
	}

	c.OldUntil = api.TimeOf(time.Now().Add(-time.Second))
	try(t, c)
	if header, _ = got(); strings.Contains(header.Get("Webhook-Signature"), " ") {
		t.Errorf("the old secret signs for ever: %v", header)
	}
}

// ACCEPT P8
// The vector that the specification's libraries are held to.
func TestPublishedVector(t *testing.T) {
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	got, err := webhook.Sign("msg_p5jXN8AQM9LWM0D4loKWxJek", &api.WebhookCall{Secret: key},
		time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if err != nil || got != want {
		t.Errorf("signed %s, %v", got, err)
	}
	if _, err := webhook.Sign("x", &api.WebhookCall{Secret: "whsec_!secret"}, time.Now(), nil); err ==
		nil || strings.Contains(err.Error(), "secret!") {
		t.Errorf("a secret that can't be read: %v", err)
	}
}

// What an endpoint answers is told as it is, and bounded.
func TestAnswers(t *testing.T) {
	url, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/ok", http.StatusTemporaryRedirect)
		case "/gone":
			w.WriteHeader(http.StatusGone)
		case "/busy":
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusTooManyRequests)
		case "/later":
			w.Header().Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/broken":
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusInternalServerError)
		case "/long":
			_, _ = io.Copy(w, io.LimitReader(endless{}, 100<<20))
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half\x00\u009b2J \xff")
		}
	})
	for path, want := range map[string]api.WebhookOutcome{
		"/ok": {Status: 200}, "/redirect": {Status: 307}, "/gone": {Status: 410},
		"/busy": {Status: 429, RetryAfter: 120}, "/broken": {Status: 500},
		"/long": {Status: 200, Answer: strings.Repeat("x", api.MaxWebhookAnswer)},
		"/cut":  {Status: 200, Answer: "half2J "},
	} {
		out := try(t, call(url+path))
		if out.Milliseconds = 0; out != want {
			t.Errorf("%s: %+v, want %+v", path, out, want)
		}
	}
	if out := try(t, call(url+"/later")); out.RetryAfter < 3590 || out.RetryAfter > 3600 {
		t.Errorf("asked for a date: %+v", out)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// A try that was broken off, or that the journal did not answer, is not known;
// one that it does not want any more is withdrawn.
func TestWhatIsNotKnown(t *testing.T) {
	hanging := make(chan struct{})
	url, _ := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		close(hanging)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-hanging; cancel() }()
	s := webhook.New(webhook.Config{Ask: journal(call(url), nil), Insecure: true})
	defer s.Close()
	if out, err := s.Do(ctx, effect()); !errors.Is(err, context.Canceled) {
		t.Errorf("broken off: %+v, %v", out, err)
	}
	away := webhook.New(webhook.Config{Ask: journal(nil, api.Refuse(api.CodeUnavailable, "away"))})
	if out, err := away.Do(t.Context(), effect()); err == nil {
		t.Errorf("the journal is away: %+v", out)
	}
	gone := webhook.New(webhook.Config{Ask: journal(nil, api.Refuse(api.CodeNotFound, "no"))})
	out, err := gone.Do(t.Context(), effect())
	if err != nil || *out.(*api.WebhookOutcome) != (api.WebhookOutcome{Withdrawn: true}) {
		t.Errorf("withdrawn: %+v, %v", out, err)
	}
	if out, err := gone.Do(t.Context(), &api.Effect{Body: []byte("[")}); err == nil {
		t.Errorf("no JSON: %+v", out)
	}
}

// A call that gets no answer says why, without the address.
func TestFailuresDoNotTellTheAddress(t *testing.T) {
	url, _ := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		panic(http.ErrAbortHandler)
	})
	out := try(t, call(url+"/?token=geheim"))
	if out.Status != 0 || out.Error == "" || strings.Contains(out.Error, "geheim") {
		t.Errorf("outcome %+v", out)
	}
}

// TestMain names a proxy that there is none of, and who is trusted, before anything
// reads it: it is read once in a process.
func TestMain(m *testing.M) {
	s := httptest.NewTLSServer(nil)
	f, err := os.CreateTemp("", "trusted-*.pem")
	if err == nil {
		err = pem.Encode(f, &pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	}
	s.Close()
	for name, value := range map[string]string{"HTTP_PROXY": "http://127.0.0.1:1",
		"HTTPS_PROXY": "http://127.0.0.1:1", "SSL_CERT_FILE": f.Name()} {
		err = errors.Join(err, os.Setenv(name, value))
	}
	if err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.Remove(f.Name())
	os.Exit(code)
}

// A proxy of the environment is not used: it would be let into the network.
func TestNoProxy(t *testing.T) {
	at, got := receiver(t, nil)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(at, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	out := try(t, call("http://endpoint.example:"+port+"/"), func(c *webhook.Config) {
		c.Resolver = resolver(t, "127.0.0.1")
	})
	if header, _ := got(); header == nil || out.Status != http.StatusOK {
		t.Errorf("outcome %+v", out)
	}
}

// ACCEPT P8
// Addresses that are not of the public internet are refused where they show.
func TestCheckURL(t *testing.T) {
	for _, url := range []string{"https://erp.example.com", "https://erp.example.com:8443/ordo?a=b",
		"https://erp.example.com:1024/", "https://erp.example.com.:443/", "https://1.1.1.1/x",
		"https://[2606:4700:4700::1111]/", "https://münchen.example/"} {
		if err := webhook.CheckURL(url, false); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, url := range append([]string{"", "x", "https://", "https:///x", "ftp://erp.example.com",
		"//erp.example.com", "https://:443/", "http://erp.example.com/",
		"https://ann:pw@erp.example.com/", "https://ann@erp.example.com/",
		"https://erp.example.com/#x", "https://erp.example.com:80/", "https://erp.example.com:22/",
		"https://erp.example.com:70000/", "https://erp.example.com:0/", "https://er p.example.com/",
		"https://localhost/", "https://LOCALHOST./", "https://a.localhost/", "https://intranet/",
		"https://db.local/", "https://metadata.google.internal/", "https://2130706433/",
		"https://0x7f000001/", "https://0177.0.0.1/", "https://127.1/", "https://0x7f.1/",
		"https://a.0x10/", "https://017700000001/", "https://1.2.3.4.5/", "https://[fe80::1%25eth0]/",
		"https://" + strings.Repeat("a", 2100) + ".example.com/"}, private()...) {
		if err := webhook.CheckURL(url, false); api.AsError(err) == nil ||
			api.AsError(err).Code != api.CodeInvalid {
			t.Errorf("%q: %v", url, err)
		}
	}
	for url, ok := range map[string]bool{"http://127.0.0.1:80/": true, "http://localhost/": true,
		"http://ann:pw@127.0.0.1/": false, "gopher://127.0.0.1/": false} {
		if err := webhook.CheckURL(url, true); (err == nil) != ok {
			t.Errorf("insecure: %s: %v", url, err)
		}
	}
}

// privateAddresses are not of the public internet.
var privateAddresses = []string{"127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1",
	"192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192",
	"198.18.0.1", "203.0.113.1", "224.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1",
	"::ffff:10.0.0.1", "::127.0.0.1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1",
	"64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1"}

func private() (urls []string) {
	for _, a := range privateAddresses {
		urls = append(urls, "https://"+net.JoinHostPort(a, "443")+"/")
	}
	return urls
}

// ACCEPT P8
// A public name that leads to a private address is refused when it is called,
// before a byte is sent; a look at the address alone would let it pass.
func TestNamesThatLeadInside(t *testing.T) {
	reached := make(chan struct{}, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
			reached <- struct{}{}
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range privateAddresses {
		names := func(c *webhook.Config) {
			c.Insecure, c.Resolver = false, resolver(t, address)
		}
		out := try(t, call("https://rebind.example.com:"+port+"/"), names)
		if out.Status != 0 || !strings.Contains(out.Error, "prohibited IP address") {
			t.Errorf("%s: %+v", address, out)
		}
	}
	select {
	case <-reached:
		t.Error("a connection was made")
	default:
	}
	// The test can fail: without the guard the connection is made.
	out := try(t, call("https://rebind.example.com:"+port+"/"), func(c *webhook.Config) {
		c.Resolver = resolver(t, "127.0.0.1")
	})
	<-reached
	if strings.Contains(out.Error, "prohibited") {
		t.Errorf("insecure: %+v", out)
	}
	if out := try(t, call("http://127.0.0.1:"+port+"/"), public); out.Status != 0 ||
		!strings.Contains(out.Error, "https") {
		t.Errorf("an address from a process that allows more: %+v", out)
	}
}

// A redirect is not followed, wherever it leads.
func TestRedirectInside(t *testing.T) {
	inside, got := receiver(t, nil)
	url, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inside, http.StatusPermanentRedirect)
	})
	out := try(t, call(url))
	if header, _ := got(); header != nil || out.Status != http.StatusPermanentRedirect {
		t.Errorf("it was followed: %v, %+v", header, out)
	}
}
