package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"ordo/api/origin"
)

// configuration looks at what serve is given and can't know to be wrong.
func (d *doctor) configuration(now time.Time) {
	c := d.cmd
	if c.AdminToken != "" {
		if n := len(c.AdminToken); n < minToken {
			d.fail("config.admin-token", "give one that nobody guesses, or none: serve makes one",
				"it has %d characters", n)
		} else {
			d.ok("config.admin-token", "%d characters", n)
		}
	}
	if c.Sandbox && c.Production {
		d.fail("config.sandbox", "leave out one of them: at the sandbox no real money moves",
			"--sandbox and --production")
	}
	d.publicURL()
	if c.TLSCert != "" {
		d.certificateFile(c.TLSCert, now)
	}
}

// publicURL looks at where browsers and providers are sent to.
func (d *doctor) publicURL() {
	text := d.cmd.PublicURL
	if text == "" {
		if d.cmd.Production {
			d.fail("config.public-url", "say it: providers bring their notices there",
				"it is not said")
		}
		return
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "":
		d.fail("config.public-url", "say one that begins with https://", "%q is no URL", text)
	case u.Scheme == "https":
		d.ok("config.public-url", "%s", text)
	case d.cmd.Production || !origin.IsLoopback(u.Hostname()):
		d.fail("config.public-url", "use https: passwords and sessions pass there",
			"%s is not encrypted", text)
	default:
		d.ok("config.public-url", "%s, on this machine alone", text)
	}
}

// certificateFile looks at the certificate that serve is given.
func (d *doctor) certificateFile(path string, now time.Time) {
	text, err := os.ReadFile(path)
	if err != nil {
		d.fail("config.tls-cert", "say the right file", "%v", err)
		return
	}
	block, _ := pem.Decode(text)
	if block == nil {
		d.fail("config.tls-cert", "say a PEM file", "%s has no certificate", path)
		return
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		d.fail("config.tls-cert", "say a PEM file whose first block is the certificate", "%v", err)
		return
	}
	d.judgeExpiry("config.tls-cert", leaf, now)
}

// expirySoon is how long before its end a certificate should have been renewed.
const expirySoon = 14 * 24 * time.Hour

func (d *doctor) judgeExpiry(check string, leaf *x509.Certificate, now time.Time) {
	end := leaf.NotAfter.UTC().Format(time.DateOnly)
	switch {
	case now.After(leaf.NotAfter):
		d.fail(check, "renew it: browsers refuse it", "it ended on %s", end)
	case now.Before(leaf.NotBefore):
		d.fail(check, "look at the clock, or wait", "it begins on %s",
			leaf.NotBefore.UTC().Format(time.DateOnly))
	case leaf.NotAfter.Sub(now) < expirySoon:
		d.warn(check, "renew it", "it ends on %s", end)
	default:
		d.ok(check, "it ends on %s", end)
	}
}

// server looks at a running shop, if one is named.
func (d *doctor) server(ctx context.Context, now time.Time) {
	if d.cmd.Server == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	// Whom the certificate convinces is looked at below; a bad one does not keep
	// the rest from being seen. No secret is sent.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		strings.TrimSuffix(d.cmd.Server, "/")+"/readyz", nil)
	if err != nil {
		d.fail("server.ready", "say the right URL", "%v", err)
		return
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		d.fail("server.ready", "start it, or look at the URL and the proxy", "%v", err)
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxReady))
	if err != nil {
		d.fail("server.ready", "look at the proxy", "%v", err)
		return
	}
	d.judgeReady(res.StatusCode, body)
	if res.TLS != nil {
		d.certificate(res.TLS.PeerCertificates, req.URL.Hostname(), now)
	}
}

// maxReady bounds the body of /readyz, in bytes.
const maxReady = 1 << 20

// judgeReady names the parts that are not ready.
func (d *doctor) judgeReady(status int, body []byte) {
	var said struct {
		OK    bool `json:"ok"`
		Parts []struct {
			Actor string `json:"actor"`
			Ready bool   `json:"ready"`
			Fault string `json:"fault"`
		} `json:"parts"`
	}
	err := json.Unmarshal(body, &said)
	switch {
	case status == http.StatusOK && err == nil && said.OK:
		d.ok("server.ready", "all parts are ready")
		return
	case err != nil || status != http.StatusServiceUnavailable:
		d.fail("server.ready", "is it an ordo shop? look at the URL and the proxy",
			"/readyz answers %d",
			status)
		return
	}
	named := false
	for _, p := range said.Parts {
		if !p.Ready {
			named = true
			d.fail("server.ready", "look at its log; it goes on by itself when the cause is gone",
				"%s is not ready: %s", p.Actor, or(p.Fault, "it is starting"))
		}
	}
	if !named {
		d.fail("server.ready", "look at its log and, on its machine, at /readyz: it is starting, "+
			"stopping, or has lost NATS", "it is not ready")
	}
}

// certificate looks at what the server shows to browsers.
func (d *doctor) certificate(chain []*x509.Certificate, host string, now time.Time) {
	d.judgeExpiry("server.certificate", chain[0], now)
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	// Its end has been judged; a time at which it is good leaves the rest.
	at := chain[0].NotBefore.Add(chain[0].NotAfter.Sub(chain[0].NotBefore) / 2)
	if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: host, Intermediates: between,
		CurrentTime: at}); err != nil {
		d.fail("server.trust",
			"use one of a known authority for this name, with all certificates in "+
				"between", "browsers refuse it: %v", err)
		return
	}
	d.ok("server.trust", "browsers take it for %s", host)
}
