package bus_test

import (
	"bytes"
	"errors"
	"math"
	network "net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/bus"
)

// A later sending is another message to JetStream and the same one to the
// receiver. ACCEPT M3
func TestFreshKeepsTheIdentity(t *testing.T) {
	const id = "goods.0.a1b2c3.order.0.17"
	seen := map[string]bool{id: true}
	for range 1000 {
		fresh := bus.Fresh(id)
		if seen[fresh] {
			t.Fatalf("%s came twice", fresh)
		}
		seen[fresh] = true
		if got := bus.Identity(nats.Header{jetstream.MsgIDHeader: {fresh}}); got != id {
			t.Fatalf("%s: got the identity %q, want %q", fresh, got, id)
		}
	}
}

func TestIdentity(t *testing.T) {
	for id, want := range map[string]string{"a": "a", "": "", "a~b": "a", "a~b~c": "a", "~": ""} {
		if got := bus.Identity(nats.Header{jetstream.MsgIDHeader: {id}}); got != want {
			t.Errorf("%q: got %q, want %q", id, got, want)
		}
	}
	if got := bus.Identity(nil); got != "" {
		t.Errorf("no header: got %q", got)
	}
}

func TestAfter(t *testing.T) {
	for v, want := range map[string]int64{"1": 1, "0": 0, "9223372036854775807": math.MaxInt64,
		"9223372036854775808": 0, "": 0, "x": 0, "1.5": 0, " 1": 0} {
		if got := bus.After(nats.Header{bus.HeaderAfter: {v}}); got != want {
			t.Errorf("%q: got %d, want %d", v, got, want)
		}
	}
	for _, h := range []nats.Header{nil, {}, {bus.HeaderAfter: nil}, {bus.HeaderCause: {"1"}}} {
		if got := bus.After(h); got != 0 {
			t.Errorf("%v: got %d, want 0", h, got)
		}
	}
}

func TestPublishTwice(t *testing.T) {
	n := newNet(t)
	subject := bus.MailboxSubject("goods", "note")
	if ack := n.put(subject, "a", nil, nil); ack.Duplicate {
		t.Error("the first sending is a duplicate")
	}
	if ack := n.put(subject, "a", nil, nil); !ack.Duplicate {
		t.Error("the same id was stored twice")
	}
	if ack := n.put(subject, bus.Fresh("a"), nil, nil); ack.Duplicate {
		t.Error("a later sending is a duplicate to JetStream")
	}
	if got := n.state("GOODS").Msgs; got != 2 {
		t.Errorf("%d messages, want 2", got)
	}
}

// A publish that was not stored is reported, with the message.
func TestPublishFailed(t *testing.T) {
	n := bare(t)
	failed := make(chan string, 1)
	js, err := bus.NewJetStream(n.nc, func(m *nats.Msg, _ error) { failed <- m.Subject })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bus.Publish(js, "ordo.goods.0.note", "a", nil, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case subject := <-failed:
		if subject != "ordo.goods.0.note" {
			t.Errorf("got %s", subject)
		}
	case <-time.After(10 * time.Second):
		t.Error("a publish to no stream was not reported")
	}
}

// Only what will fail for ever may be given up.
func TestIsPermanent(t *testing.T) {
	n := bare(t)
	if _, err := n.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SMALL",
		Subjects: []string{"small"}, MaxMsgSize: 100}); err != nil {
		t.Fatal(err)
	}
	publish := func(subject string, size int) error {
		f, err := bus.Publish(n.js, subject, "", nil, bytes.Repeat([]byte("x"), size))
		if err != nil {
			return err
		}
		select {
		case <-f.Ok():
			return nil
		case err := <-f.Err():
			return err
		case <-time.After(10 * time.Second):
			return errors.New("no answer")
		}
	}
	for _, c := range []struct {
		name, subject string
		size          int
		permanent     bool
	}{
		{"over the stream's limit", "small", 1000, true},
		{"over the server's limit", "small", bus.MaxPayload + 1, true},
		{"not a subject", "small stream", 1, true},
		{"no stream", "elsewhere", 1, false},
	} {
		err := publish(c.subject, c.size)
		if err == nil || bus.IsPermanent(err) != c.permanent {
			t.Errorf("%s: got %v, permanent %t, want %t", c.name, err, bus.IsPermanent(err), c.permanent)
		}
	}
	if err := publish("small", 10); err != nil || bus.IsPermanent(nil) {
		t.Errorf("a small one: %v", err)
	}
}

// What was stored is there after a restart of the server.
func TestServerKeepsWhatItStored(t *testing.T) {
	n := newNet(t)
	n.fill(1, 3)
	if url := n.server.URL(); url != "" {
		t.Errorf("a server that does not listen has the URL %s", url)
	}
	n.nc.Close()
	n.server.Shutdown()
	n.serve("127.0.0.1:0")
	if !strings.HasPrefix(n.server.URL(), "nats://127.0.0.1:") {
		t.Errorf("the URL is %q", n.server.URL())
	}
	nc, err := bus.Connect(nil, n.server.URL(), "outside", quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if n.js, err = bus.NewJetStream(nc, func(*nats.Msg, error) {}); err != nil {
		t.Fatal(err)
	}
	if err := bus.Check(t.Context(), n.js); err != nil {
		t.Fatal(err)
	}
	if id := bus.Identity(n.message("GOODS", 3).Header); id != "m-3" {
		t.Errorf("got %s, want m-3", id)
	}
}

// Who can't have its address is told so at once.
func TestServerRefusesAnAddressInUse(t *testing.T) {
	l, err := network.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := bus.StartServer(bus.ServerConfig{Dir: t.TempDir(), Listen: l.Addr().String(),
		Log: quiet()})
	if err == nil {
		s.Shutdown()
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
}

func TestServerRefusesABadAddress(t *testing.T) {
	for _, listen := range []string{"127.0.0.1", "127.0.0.1:x", ":"} {
		s, err := bus.StartServer(bus.ServerConfig{Dir: t.TempDir(), Listen: listen, Log: quiet()})
		if err == nil {
			s.Shutdown()
			t.Errorf("%q was taken", listen)
		}
	}
}
