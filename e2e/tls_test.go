package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ordo/api"
)

// certificate makes one for this machine, signed by itself, and answers its
// files and the pool of who trusts it.
func certificate(t *testing.T) (certFile, keyFile string, trust *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, bytes []byte) string {
		path := filepath.Join(dir, name)
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes})
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	trust = x509.NewCertPool()
	trust.AddCert(parsed)
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", private), trust
}

// ACCEPT P6 S9
// An API process with a certificate speaks HTTPS, by HTTP/1.1 and HTTP/2, event
// streams included, and nothing else on its port.
func TestTLS(t *testing.T) {
	t.Parallel() // a heartbeat takes its time
	certFile, keyFile, trust := certificate(t)
	p := serve(t, t.TempDir()).ready()
	s, sku := p.shopper(), p.onSale(100, 10)
	q := serve(t, t.TempDir(), "--nats", p.nats, "--only", "none", "--tls-cert", certFile,
		"--tls-key", keyFile)
	host, ok := strings.CutPrefix(q.url, "https://")
	if !ok {
		t.Fatalf("it serves %s", q.url)
	}
	var streams sync.WaitGroup
	for _, two := range []bool{false, true} {
		web := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: two,
			TLSClientConfig: &tls.Config{RootCAs: trust}}}
		defer web.CloseIdleConnections()
		eventually(t, "readiness", func() bool {
			resp, err := web.Get(q.url + "/readyz")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			return resp.StatusCode == http.StatusOK && (resp.ProtoMajor == 2) == two
		})
		order := s.buy(sku, 1).ID
		streams.Go(func() { tlsStream(s, web, q.url, order) })
	}
	streams.Wait()
	resp, err := http.Get("http://" + host + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP: %s", resp.Status)
	}
	old := &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if conn, err := tls.Dial("tcp", host, old); err == nil {
		conn.Close()
		t.Error("it speaks TLS 1.1")
	}
	if code := q.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// tlsStream watches an order by HTTPS, over a heartbeat, until it is cancelled
// by another way.
func tlsStream(s *shopper, web *http.Client, url, order string) {
	req, err := http.NewRequestWithContext(within(s.t, time.Minute), "GET",
		url+"/v1/orders/"+order+"/events", nil)
	if err != nil {
		s.t.Error(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	resp, err := web.Do(req)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer resp.Body.Close()
	body := bufio.NewReader(resp.Body)
	var seen strings.Builder
	for line := ""; line != ": alive\n"; {
		if line, err = body.ReadString('\n'); err != nil {
			s.t.Errorf("%s: %v after %s", resp.Status, err, &seen)
			return
		}
		seen.WriteString(line)
	}
	if status, data, err := s.call("POST", "/v1/orders/"+order+"/cancel", nil); err != nil ||
		status != http.StatusOK {
		s.t.Errorf("cancel: %d %v %s", status, err, data)
	}
	_, err = io.Copy(&seen, body)
	for _, state := range []string{api.OrderPlaced, api.OrderCancelled} {
		if err != nil || !strings.Contains(seen.String(), "\nevent: "+state+"\n") {
			s.t.Errorf("%s: %v, no event %s in %s", resp.Proto, err, state, &seen)
		}
	}
}

// Files that can't be used end the start before anything is made or served.
func TestTLSFilesAreReadFirst(t *testing.T) {
	t.Parallel()
	certFile, keyFile, _ := certificate(t)
	_, otherKey, _ := certificate(t)
	for _, files := range [][2]string{{certFile, certFile}, {certFile, otherKey},
		{certFile, filepath.Join(t.TempDir(), "none")}, {keyFile, certFile}} {
		data := filepath.Join(t.TempDir(), "data")
		p := start(t, "--log-format", "json", "serve", "--data", data, "--http", "127.0.0.1:0",
			"--nats-listen=", "--tls-cert", files[0], "--tls-key", files[1])
		code := p.wait(30 * time.Second)
		said := p.log.String()
		if code != 2 || strings.Contains(said, "serving") || !strings.Contains(said, "--tls-cert") {
			t.Errorf("%v: exit code %d: %s", files, code, said)
		}
		if _, err := os.Stat(data); !os.IsNotExist(err) {
			t.Error(fmt.Errorf("%v: there is a data directory: %w", files, err))
		}
	}
}
