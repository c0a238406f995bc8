package webhook_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"ordo/actors/journal/webhook"
	"ordo/api"
)

// A connection of HTTP/2 that is dead, though nobody has closed it, fails one try:
// the next one makes another.
func TestDeadConnectionIsNotKept(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	address, dead := lossy(t, s.Listener.Addr().String())
	sender := webhook.New(webhook.Config{Ask: journal(call("https://"+address), nil), Insecure: true})
	defer sender.Close()
	answer := func() api.WebhookOutcome {
		out, err := sender.Do(t.Context(), effect())
		if err != nil {
			t.Fatal(err)
		}
		return *out.(*api.WebhookOutcome)
	}
	if out := answer(); out.Answer != "HTTP/2.0" {
		t.Fatalf("outcome %+v", out)
	}
	dead.Store(true)
	if out := answer(); out.Error == "" {
		t.Fatalf("the connection is not dead: %+v", out)
	}
	dead.Store(false)
	if out := answer(); out.Status != http.StatusOK {
		t.Errorf("the next try: %+v", out)
	}
}

// lossy leads to a server. What comes on a connection while it is dead is lost, and
// so is all that comes after it.
func lossy(t *testing.T, server string) (address string, dead *atomic.Bool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	dead = new(atomic.Bool)
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				in.Close()
				continue
			}
			t.Cleanup(func() { in.Close() })
			go pass(out, in, dead)
			go func() { _, _ = io.Copy(in, out) }()
		}
	}()
	return l.Addr().String(), dead
}

// pass copies until the connection is dead, and swallows then.
func pass(to io.WriteCloser, from io.Reader, dead *atomic.Bool) {
	defer to.Close()
	b := make([]byte, 4<<10)
	for n, err := from.Read(b); err == nil; n, err = from.Read(b) {
		if dead.Load() {
			_, _ = io.Copy(io.Discard, from)
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}
