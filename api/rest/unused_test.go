package rest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections stay in memory, so that a bubble's
// clock rules them.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { close(p.done); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	server, client := net.Pipe()
	p.conns <- server
	return client
}

// A connection that never sent a byte does not hold a shutdown up, while a
// request in work is finished. The clock is the bubble's.
func TestShutdownDropsUnusedConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		server := alone(t, nil).HTTP("", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			<-release
		}))
		l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }()
		unused, busy := l.dial(), l.dial()
		ask(t, busy, "/")
		synctest.Wait()
		began, over := time.Now(), make(chan error, 1)
		go func() { over <- server.Shutdown(context.Background()) }()
		synctest.Wait()
		if _, err := unused.Read(make([]byte, 1)); err != io.EOF || time.Since(began) > time.Second {
			t.Errorf("an unused connection is still open after %v: %v", time.Since(began), err)
		}
		select {
		case err := <-over:
			t.Errorf("a request in work was not waited for: %v", err)
		default:
		}
		close(release)
		read(t, busy)
		if err := <-over; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the end took %v", took)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

func ask(t *testing.T, c net.Conn, path string) {
	t.Helper()
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Error(err)
	}
}

// read reads an answer and waits for the connection's end.
func read(t *testing.T, c net.Conn) {
	t.Helper()
	text, err := io.ReadAll(c)
	if err != nil || len(text) < 15 || string(text[:15]) != "HTTP/1.1 200 OK" {
		t.Errorf("got %q: %v", text, err)
	}
}

// A request whose body does not come is ended, wherever it goes to and whoever
// would read it. The clock is the bubble's.
func TestBodiesThatDoNotCome(t *testing.T) {
	for _, path := range []string{"/pay/alipay/notify", "/pay/x/notify", "/v1/login", "/nothing",
		"/livez"} {
		synctest.Test(t, func(t *testing.T) {
			server := alone(t, withAlipay).HTTP("", nil)
			l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
			served := make(chan error, 1)
			go func() { served <- server.Serve(l) }()
			c, began := l.dial(), time.Now()
			go func() {
				_, _ = io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"+
					"Content-Type: application/json\r\n\r\n{\"email\":")
			}()
			if _, err := io.Copy(io.Discard, c); err != nil || time.Since(began) > time.Minute {
				t.Errorf("%s: open after %v: %v", path, time.Since(began), err)
			}
			if err := server.Close(); err != nil {
				t.Error(err)
			}
			<-served
		})
	}
}
