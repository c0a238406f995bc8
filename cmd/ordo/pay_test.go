package main

import (
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestPayFlags(t *testing.T) {
	good := func() PayFlags {
		f := PayFlags{AlipayGateway: "https://openapi.alipay.com/gateway.do",
			StripeURL: "https://api.stripe.com"}
		f.setDefaults()
		return f
	}
	f := good()
	if err := f.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil func(*PayFlags)
		says  string
	}{
		"sandbox in production": {func(f *PayFlags) { f.Sandbox, f.Production = true, true },
			"--production"},
		"no way to the shop": {func(f *PayFlags) {
			f.Production, f.StripeKey, f.StripeSecret = true, "sk_1", "whsec_1"
		}, "--public-url"},
		"two gateways": {func(f *PayFlags) { f.Sandbox, f.AlipayAppID = true, "1" },
			"--alipay-app-id"},
		"no keys":       {func(f *PayFlags) { f.AlipayAppID = "1" }, "--alipay-key"},
		"stripe alone":  {func(f *PayFlags) { f.StripeKey = "sk_1" }, "--stripe-secret"},
		"webhook alone": {func(f *PayFlags) { f.StripeSecret = "whsec_1" }, "--stripe-key"},
		"factor":        {func(f *PayFlags) { f.SandboxFactor = -1 }, "--sandbox-factor"},
		"public url":    {func(f *PayFlags) { f.PublicURL = "shop.example" }, "--public-url"},
		"gateway url":   {func(f *PayFlags) { f.AlipayGateway = "ftp://x/y" }, "--alipay-gateway"},
		"margin":        {func(f *PayFlags) { f.PayMargin = -time.Second }, "pay-margin"},
		"query":         {func(f *PayFlags) { f.PayQuery = time.Millisecond }, "pay-query"},
		"points":        {func(f *PayFlags) { f.PointsPer = -1 }, "points-per"},
		"refund time":   {func(f *PayFlags) { f.RefundTime = -1 }, "refund-time"},
		"auto receive":  {func(f *PayFlags) { f.AutoReceive = 0 }, "auto-receive"},
	} {
		f := good()
		c.spoil(&f)
		if err := f.Validate(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want something about %s", name, err, c.says)
		}
	}
}

// The sandbox's keys are made once; a file that is no key is never replaced.
func TestKeptKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.pem")
	made, err := keptKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := keptKey(path)
	if err != nil || !made.Equal(again) {
		t.Errorf("another key the second time: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("not a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keptKey(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a bad key file: %v", err)
	}
}

func TestReachable(t *testing.T) {
	for shop, want := range map[string]string{
		"": "", "http://127.0.0.1:80": "http://127.0.0.1:80",
		"http://0.0.0.0:8080": "http://127.0.0.1:8080", "https://[::]:443": "https://127.0.0.1:443",
		"http://shop.example:1": "http://shop.example:1",
	} {
		if got := reachable(shop); got != want {
			t.Errorf("%s: %s, want %s", shop, got, want)
		}
	}
}

// A connection to a provider that is dead, though nobody has closed it, fails one
// call: the next one makes another.
func TestPayClientLeavesDeadConnections(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	l := &deafListener{Listener: s.Listener}
	s.Listener, s.EnableHTTP2 = l, true
	s.StartTLS()
	defer s.Close()
	trust := x509.NewCertPool()
	trust.AddCert(s.Certificate())
	client := payClient(trust)
	defer client.CloseIdleConnections()
	for i, deaf := range []bool{false, true, false} {
		l.deaf.Store(deaf)
		resp, err := client.Post(s.URL, "text/plain", strings.NewReader("pay"))
		if (err != nil) != deaf {
			t.Errorf("call %d: %v", i, err)
		}
		if err == nil {
			if resp.Body.Close(); resp.ProtoMajor != 2 {
				t.Errorf("call %d by %s", i, resp.Proto)
			}
		}
	}
}

// deafListener has connections that hear nothing any more once they were used
// while it is deaf.
type deafListener struct {
	net.Listener
	deaf atomic.Bool
}

func (l *deafListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &deafConn{c, l}, err
}

type deafConn struct {
	net.Conn
	of *deafListener
}

func (c *deafConn) Read(b []byte) (n int, err error) {
	if n, err = c.Conn.Read(b); c.of.deaf.Load() {
		for err == nil {
			_, err = c.Conn.Read(b)
		}
		return 0, err
	}
	return n, err
}
