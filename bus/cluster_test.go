package bus_test

import (
	"fmt"
	stdnet "net"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/bus"
)

// cluster runs three servers that know each other, and connects to one.
func cluster(t *testing.T) jetstream.JetStream {
	t.Helper()
	var routes []*url.URL
	var ports []int
	for range 3 {
		l, err := stdnet.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, l.Addr().(*stdnet.TCPAddr).Port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var one *server.Server
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{ServerName: fmt.Sprint("n", i), NoSigs: true,
			Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(),
			Routes:  routes,
			Cluster: server.ClusterOpts{Name: "shop", Host: "127.0.0.1", Port: port}})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		one = s
	}
	nc, err := nats.Connect(one.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := bus.NewJetStream(nc, func(*nats.Msg, error) {})
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// ACCEPT P6
// In a cluster of three, setup keeps every stream and bucket on three servers
// when it is told to, and a later setup leaves that as it is.
func TestSetupInACluster(t *testing.T) {
	js := cluster(t)
	setup := func(replicas int) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			err := bus.Setup(t.Context(), js, replicas)
			if err == nil {
				return
			}
			if time.Now().After(deadline) { // no leader yet, or a stream still moves
				t.Fatal(err)
			}
			<-tick.C
		}
	}
	want := func(name string, replicas int) {
		t.Helper()
		s, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if n := s.CachedInfo().Config.Replicas; n != replicas {
			t.Errorf("%s has %d replicas, not %d", name, n, replicas)
		}
	}
	setup(3)
	for _, s := range bus.Streams() {
		want(s.Name, 3)
	}
	for _, b := range bus.Buckets() {
		want("KV_"+b.Name, 3)
	}
	s, err := js.Stream(t.Context(), "ORDER")
	if err != nil {
		t.Fatal(err)
	}
	older := s.CachedInfo().Config
	older.Metadata, older.Description = map[string]string{versionKey: "1"}, "of version 1"
	if _, err := js.UpdateStream(t.Context(), older); err != nil {
		t.Fatal(err)
	}
	setup(0)
	want("ORDER", 3)
	if err := bus.Check(t.Context(), js); err != nil {
		t.Error(err)
	}
	setup(1)
	want("ORDER", 1)
}
