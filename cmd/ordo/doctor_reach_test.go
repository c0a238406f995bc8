package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/bus"
)

// natsServer runs a NATS server of the test's own.
func natsServer(t *testing.T, opts *natsd.Options) string {
	t.Helper()
	opts.Host, opts.Port, opts.NoSigs = "127.0.0.1", natsd.RANDOM_PORT, true
	if opts.JetStream {
		opts.StoreDir = t.TempDir()
	}
	s, err := natsd.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return s.Addr().String()
}

// jetStreamAt is a client of JetStream at an address.
func jetStreamAt(t *testing.T, addr string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func lookAtNATS(t *testing.T, url string) *doctor {
	t.Helper()
	d := newDoctor(&DoctorCmd{})
	d.nats(t.Context(), url)
	return d
}

// ACCEPT P4
// A NATS that is not there, has no JetStream, takes too little, lacks a stream or
// has an old one is found, each on a real server.
func TestDoctorSeesNATS(t *testing.T) {
	gone := lookAtNATS(t, "nats://ann:secret@127.0.0.1:1")
	found(t, gone, "nats.server", levelFail)
	if strings.Contains(gone.all[0].Found, "secret") {
		t.Errorf("a password is shown: %+v", gone.all)
	}
	found(t, lookAtNATS(t, natsServer(t, &natsd.Options{})), "nats.jetstream", levelFail)
	small := natsServer(t, &natsd.Options{JetStream: true, MaxPayload: 1 << 20})
	d := lookAtNATS(t, small)
	found(t, d, "nats.max-payload", levelFail)
	found(t, d, "nats.table", levelFail)
	found(t, d, "nats.clock", "")

	addr := natsServer(t, &natsd.Options{JetStream: true, MaxPayload: bus.MaxPayload,
		JetStreamMaxStore: 1 << 40})
	js := jetStreamAt(t, addr)
	if err := bus.Setup(t.Context(), js, 0); err != nil {
		t.Fatal(err)
	}
	d = lookAtNATS(t, addr)
	for _, check := range []string{"nats.server", "nats.max-payload", "nats.account", "nats.table",
		"nats.clock"} {
		found(t, d, check, levelOK)
	}
	s, err := js.Stream(t.Context(), "GOODS")
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Metadata = nil
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), bus.BucketCart); err != nil {
		t.Fatal(err)
	}
	d = lookAtNATS(t, addr)
	found(t, d, "nats.table", levelFail)
	if n := d.count(levelFail); n != 2 {
		t.Errorf("%d failures: %+v", n, d.all)
	}
}

// A user who may not look at streams is told so, once, and not that they are
// missing.
func TestDoctorSeesThatItMayNotLook(t *testing.T) {
	addr := natsServer(t, &natsd.Options{JetStream: true, MaxPayload: bus.MaxPayload,
		Users: []*natsd.User{{Username: "order", Password: "s3c", Permissions: &natsd.Permissions{
			Publish: &natsd.SubjectPermission{Allow: []string{"ordo.>"}}}}}})
	d := newDoctor(&DoctorCmd{})
	d.wait = 400 * time.Millisecond
	d.nats(t.Context(), "nats://order:s3c@"+addr)
	found(t, d, "nats.jetstream", levelWarn)
	found(t, d, "nats.table", levelWarn)
	if d.count(levelFail) > 0 || d.count(levelWarn) != 2 {
		t.Errorf("%+v", d.all)
	}
}

// How streams are synced is seen by a user of the system account.
func TestDoctorSeesTheSyncInterval(t *testing.T) {
	for always, level := range map[bool]string{true: levelWarn, false: levelOK} {
		sys := natsd.NewAccount("SYS")
		opts := &natsd.Options{JetStream: true, MaxPayload: bus.MaxPayload, SyncAlways: always,
			SyncInterval: time.Second, Accounts: []*natsd.Account{sys}, SystemAccount: "SYS",
			Users: []*natsd.User{{Username: "sys", Password: "s3c", Account: sys}}}
		d := lookAtNATS(t, "nats://sys:s3c@"+natsServer(t, opts))
		found(t, d, "nats.sync-interval", level)
		found(t, d, "nats.jetstream", levelFail) // the system account has none
	}
}

// What a server can't be made to be in a test is judged by what it would say.
func TestDoctorJudgesNATS(t *testing.T) {
	account := func(store int64, streams int) func(d *doctor) {
		return func(d *doctor) {
			d.judgeAccount(&jetstream.AccountInfo{Tier: jetstream.Tier{Limits: jetstream.AccountLimits{
				MaxStore: store, MaxStreams: streams}}})
		}
	}
	clock := func(ahead, took time.Duration) func(d *doctor) {
		return func(d *doctor) { d.judgeNATSClock(ahead, took) }
	}
	for _, test := range []struct {
		check, level string
		judge        func(d *doctor)
	}{
		{"nats.server", levelFail, func(d *doctor) { d.judgeNATS("n", "2.9.25", "v2.15.2") }},
		{"nats.server", levelWarn, func(d *doctor) { d.judgeNATS("n", "2.11.4", "v2.15.2") }},
		{"nats.server", levelOK, func(d *doctor) { d.judgeNATS("n", "2.15.2-beta", "v2.15.2") }},
		{"nats.account", levelFail, account(1<<30, -1)},
		{"nats.account", levelFail, account(-1, 3)},
		{"nats.account", levelOK, account(-1, -1)},
		{"nats.clock", levelFail, clock(-6*time.Minute, time.Second)},
		{"nats.clock", levelWarn, clock(2*time.Second, time.Second)},
		{"nats.clock", levelOK, clock(2*time.Second, 3*time.Second)},
		{"nats.sync-interval", levelWarn, func(d *doctor) { d.judgeInterval(2*time.Minute, false) }},
	} {
		d := newDoctor(&DoctorCmd{})
		test.judge(d)
		found(t, d, test.check, test.level)
	}
}

// A shop that runs is found by its data directory, with its NATS and its process.
func TestDoctorSeesAShop(t *testing.T) {
	dir := privateDir(t)
	shop, err := StartShop(t.Context(), ShopConfig{Data: dir, HTTP: "127.0.0.1:0",
		NATSListen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := shop.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if err := newClient(shop.URL, 1).waitReady(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	run([]string{"doctor", "--data", dir, "--server", shop.URL}, &out, &errs) // the code is the machine's
	text := out.String()
	for _, want := range []string{"held by process " + strconv.Itoa(os.Getpid()),
		"runs order, goods, coupon", "9 of 9 actors have files", "all 17 streams and buckets",
		"OK    server.ready"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

// certified makes a certificate that signs itself and is good for a time.
func certified(t *testing.T, from, to time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1),
		NotBefore: from, NotAfter: to, DNSNames: []string{"shop.example"}},
		&x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A certificate that has ended, or soon will, is found at the server that shows
// it and in the file that serve is given.
func TestDoctorSeesCertificates(t *testing.T) {
	now, day := time.Now(), 24*time.Hour
	for _, test := range []struct {
		from, to time.Duration
		level    string
	}{{-20 * day, -day, levelFail}, {-20 * day, 5 * day, levelWarn}, {-20 * day, 90 * day, levelOK},
		{day, 90 * day, levelFail}} {
		pair := certified(t, now.Add(test.from), now.Add(test.to))
		shop := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter,
			_ *http.Request) {
			_, _ = w.Write([]byte(`{"ok":true}`)) // the client tells
		}))
		shop.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		shop.StartTLS()
		path := filepath.Join(t.TempDir(), "cert.pem")
		write(t, path, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE",
			Bytes: pair.Certificate[0]})))
		d := newDoctor(&DoctorCmd{Server: shop.URL, TLSCert: path})
		d.configuration(now)
		d.server(t.Context(), now)
		shop.Close()
		found(t, d, "config.tls-cert", test.level)
		found(t, d, "server.certificate", test.level)
		found(t, d, "server.trust", levelFail) // nobody knows who signed it
		found(t, d, "server.ready", levelOK)
	}
	d := newDoctor(&DoctorCmd{TLSCert: filepath.Join(t.TempDir(), "none")})
	d.configuration(now)
	found(t, d, "config.tls-cert", levelFail)
}

// A server that is not ready, no shop or not there is found, with the parts that
// are not ready.
func TestDoctorSeesWhoIsNotReady(t *testing.T) {
	status, body := 0, ""
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // the client tells
	}))
	for _, test := range []struct {
		status           int
		body, want, fail string
	}{
		{503, `{"ok":false,"parts":[{"actor":"goods","fault":"disk full"},` +
			`{"actor":"user","ready":true}]}`,
			"goods is not ready: disk full", levelFail},
		{503, `{"ok":false}`, "not ready", levelFail},
		{404, `<html>`, "answers 404", levelFail},
		{200, `<html>`, "answers 200", levelFail},
		{200, `{"ok":true}`, "all parts", levelOK},
	} {
		status, body = test.status, test.body
		d := newDoctor(&DoctorCmd{Server: shop.URL})
		d.server(t.Context(), time.Now())
		found(t, d, "server.ready", test.fail)
		if len(d.all) != 1 || !strings.Contains(d.all[0].Found, test.want) {
			t.Errorf("%d: %+v", test.status, d.all)
		}
	}
	shop.Close()
	d := newDoctor(&DoctorCmd{Server: shop.URL})
	d.server(t.Context(), time.Now())
	found(t, d, "server.ready", levelFail)
}

// Settings that serve takes and nobody should run a shop with are found.
func TestDoctorSeesSettings(t *testing.T) {
	for _, test := range []struct {
		cmd          DoctorCmd
		check, level string
	}{
		{DoctorCmd{AdminToken: "secret"}, "config.admin-token", levelFail},
		{DoctorCmd{AdminToken: "adm_ABCDEFGHIJKLMNOP"}, "config.admin-token", levelOK},
		{DoctorCmd{Sandbox: true, Production: true}, "config.sandbox", levelFail},
		{DoctorCmd{Sandbox: true}, "config.sandbox", ""},
		{DoctorCmd{Production: true}, "config.public-url", levelFail},
		{DoctorCmd{}, "config.public-url", ""},
		{DoctorCmd{PublicURL: "shop.example"}, "config.public-url", levelFail},
		{DoctorCmd{PublicURL: "http://shop.example"}, "config.public-url", levelFail},
		{DoctorCmd{PublicURL: "http://127.0.0.1:8080"}, "config.public-url", levelOK},
		{DoctorCmd{PublicURL: "http://localhost", Production: true}, "config.public-url", levelFail},
		{DoctorCmd{PublicURL: "https://shop.example", Production: true}, "config.public-url", levelOK},
	} {
		d := newDoctor(&test.cmd)
		d.configuration(time.Now())
		found(t, d, test.check, test.level)
	}
}
