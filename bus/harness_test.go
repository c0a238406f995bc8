package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/bus"
)

// net is an embedded server with the table's streams and a connection to it.
type net struct {
	t      *testing.T
	dir    string
	server *bus.Server
	nc     *nats.Conn
	js     jetstream.JetStream
}

// bare is a server without streams.
func bare(t *testing.T) *net {
	t.Helper()
	n := &net{t: t, dir: t.TempDir()}
	n.begin()
	return n
}

// begin starts the server and connects to it.
func (n *net) begin() {
	n.t.Helper()
	n.serve("")
	n.nc = n.connect("test")
	js, err := bus.NewJetStream(n.nc, func(*nats.Msg, error) {})
	if err != nil {
		n.t.Fatal(err)
	}
	n.js = js
}

// again starts the server again.
func (n *net) again() {
	n.t.Helper()
	n.nc.Close()
	n.server.Shutdown()
	n.begin()
}

func newNet(t *testing.T) *net {
	t.Helper()
	n := bare(t)
	if err := bus.Setup(t.Context(), n.js, 0); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *net) serve(listen string) {
	n.t.Helper()
	s, err := bus.StartServer(bus.ServerConfig{Dir: n.dir, Listen: listen, Log: quiet()})
	if err != nil {
		n.t.Fatal(err)
	}
	n.server = s
	n.t.Cleanup(s.Shutdown)
}

func (n *net) connect(name string) *nats.Conn {
	n.t.Helper()
	nc, err := bus.Connect(n.server, "", name, quiet())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(nc.Close)
	return nc
}

func (n *net) stream(name string) jetstream.Stream {
	n.t.Helper()
	s, err := n.js.Stream(n.t.Context(), name)
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

// state is what a stream holds now.
func (n *net) state(name string) jetstream.StreamState {
	n.t.Helper()
	return n.stream(name).CachedInfo().State
}

// message is what a stream has at a number.
func (n *net) message(stream string, seq uint64) *jetstream.RawStreamMsg {
	n.t.Helper()
	m, err := n.stream(stream).GetMsg(n.t.Context(), seq)
	if err != nil {
		n.t.Fatal(err)
	}
	return m
}

// consumer is the state of a durable consumer; nil while there is none.
func (n *net) consumer(stream, name string) *jetstream.ConsumerInfo {
	n.t.Helper()
	c, err := n.js.Consumer(n.t.Context(), stream, name)
	if errors.Is(err, jetstream.ErrNotPullConsumer) {
		p, err := n.js.PushConsumer(n.t.Context(), stream, name)
		if err != nil {
			n.t.Fatal(err)
		}
		return p.CachedInfo()
	}
	if err != nil {
		return nil
	}
	return c.CachedInfo()
}

// fill publishes messages m-<from> to m-<to> to goods, one by one, so that no
// two have the same time.
func (n *net) fill(from, to int) {
	n.t.Helper()
	for i := from; i <= to; i++ {
		n.put(bus.MailboxSubject("goods", "note"), fmt.Sprintf("m-%d", i), nil,
			fmt.Appendf(nil, `{"n":%d}`, i))
	}
}

// put publishes a message and waits until it is stored.
func (n *net) put(subject, id string, h nats.Header, body []byte) *jetstream.PubAck {
	n.t.Helper()
	f, err := bus.Publish(n.js, subject, id, h, body)
	if err != nil {
		n.t.Fatal(err)
	}
	select {
	case ack := <-f.Ok():
		return ack
	case err := <-f.Err():
		n.t.Fatalf("%s: %v", id, err)
	case <-time.After(10 * time.Second):
		n.t.Fatalf("%s: no answer", id)
	}
	return nil
}

func quiet() *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.DiscardHandler)
}

// eventually polls until ok answers true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		<-tick.C
	}
}

// within is a context that ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
