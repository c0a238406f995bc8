// Package sandbox is a payment gateway to try a shop with: it speaks Alipay's
// protocol with keys of its own, shows a cashier page where a person pays,
// declines or walks away, and notifies the shop on the gateway's schedule. It
// decides what the gateway knows about a trade. It never moves money, knows
// nothing of the shop's orders, and must not run where real money does.
//
// The protocol is described at https://opendocs.alipay.com/, one page for each
// method and "Asynchronous notification". Rows Y1 and Y5.
package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"ordo/api"
	"ordo/stores"
)

// MaxBody is the longest request body that is read, in bytes.
const MaxBody = 64 << 10

// MaxNotifyFactor bounds how much faster than the gateway's the schedule runs.
const MaxNotifyFactor = 1e9

//go:embed schema.sql
var schema string

// Config says who the sandbox is and whom it serves.
type Config struct {
	// Dir is the directory of the state, sandbox.db; it is made.
	Dir string
	// AppID and SellerID name the one merchant that is served.
	AppID, SellerID string
	// AppPublicKey verifies the merchant's requests.
	AppPublicKey *rsa.PublicKey
	// GatewayKey signs answers, notifies and returns.
	GatewayKey *rsa.PrivateKey
	// NotifyFactor runs the schedule of notifies that many times faster; 0 and
	// 1 are the gateway's own pace, MaxNotifyFactor is the most. Time limits
	// of trades are not scaled.
	NotifyFactor float64
	// NotifyHosts are names, addresses or prefixes (10.0.0.0/8) that may be
	// notified besides loopback.
	NotifyHosts []string
	// RootCAs are trusted by notifies; nil: those of the system.
	RootCAs *x509.CertPool
	// Currency of all amounts; empty: CNY.
	Currency string
	// BaseURL begins the links to the cashier; empty: as the request's Host.
	BaseURL string
	// Control serves POST /control to callers on this machine.
	Control bool
	// Now is the clock of what is recorded; nil: time.Now.
	Now func() time.Time
	// Log takes what goes wrong; nil: nothing is logged.
	Log *slog.Logger
}

// Gateway is a running sandbox; it is safe for any number of callers.
type Gateway struct {
	cfg    Config
	secret []byte // of cashier links and their forms
	mux    *http.ServeMux
	notify *notifier
	faults faults

	file       *stores.File
	jobs       chan job
	writerDone chan struct{}
	queued     bool // the batch has new notifies; the writer's alone
	readLock   sync.Mutex

	run     context.Context
	cancel  context.CancelFunc
	closing sync.Once
	// sending is the time of notifying, wg whoever notifies.
	sending context.Context
	quiet   context.CancelFunc
	wg      sync.WaitGroup
	later   later
}

// Open opens or makes the state in Config.Dir and goes on notifying where it
// was. It answers stores.ErrLocked when another process has the directory.
// Close it after the HTTP server that serves it.
func Open(cfg Config) (*Gateway, error) {
	cfg.setDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	hosts, err := parseHosts(cfg.NotifyHosts)
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	file, err := stores.Open(filepath.Join(cfg.Dir, "sandbox.db"))
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	secret := sha256.Sum256(append([]byte("ordo sandbox cashier"), cfg.GatewayKey.D.Bytes()...))
	g := &Gateway{cfg: cfg, secret: secret[:], file: file, jobs: make(chan job, maxBatch),
		writerDone: make(chan struct{})}
	g.run, g.cancel = context.WithCancel(context.Background())
	g.sending, g.quiet = context.WithCancel(g.run)
	g.notify = newNotifier(g, hosts)
	g.mux = g.routes()
	if err := g.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox: %w", err), file.Close())
	}
	go g.writeAll()
	g.wg.Go(g.notify.dispatch)
	return g, nil
}

func (c *Config) setDefaults() {
	c.Currency = cmp.Or(c.Currency, "CNY")
	c.NotifyFactor = cmp.Or(c.NotifyFactor, 1)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.BaseURL = strings.TrimSuffix(c.BaseURL, "/")
}

// isAccount tells whether an id has 1 to 32 bytes.
func isAccount(id string) bool { return id != "" && len(id) <= 32 }

func (c *Config) check() error {
	switch {
	case c.Dir == "":
		return errors.New("the directory of the state is missing")
	case !isAccount(c.AppID) || !isAccount(c.SellerID):
		return errors.New("app id and seller id are 1 to 32 characters")
	case c.AppPublicKey == nil || c.GatewayKey == nil:
		return errors.New("a key is missing")
	case math.IsNaN(c.NotifyFactor) || c.NotifyFactor <= 0 || c.NotifyFactor > MaxNotifyFactor:
		return fmt.Errorf("the notify factor is above 0 and at most %.0g", MaxNotifyFactor)
	case len(c.Currency) != 3:
		return errors.New("the currency is an ISO 4217 code")
	}
	return nil
}

// prepare migrates the file. A sandbox may lose its last moments at a power
// cut, so it does not wait for the disk at every commit.
func (g *Gateway) prepare() error {
	if err := g.file.Migrate(g.run, "sandbox", schema, nil); err != nil {
		return err
	}
	if _, err := g.file.W.Exec("PRAGMA synchronous=NORMAL"); err != nil {
		return err
	}
	// The last delivery was cut short by a crash: it has not been the last one.
	_, err := g.file.W.Exec("UPDATE notify SET tries = ?1 - 1 WHERE tries >= ?1", maxDeliveries)
	return err
}

// Quiet ends deliveries, which go on at the next Open; everything else is still
// served. Call it before whoever is notified goes away, so that no delivery is
// spent on that.
func (g *Gateway) Quiet() {
	g.quiet()
	g.later.end()
	g.wg.Wait()
	g.notify.client.CloseIdleConnections()
}

// Close ends deliveries as Quiet does, and closes the state.
func (g *Gateway) Close() (err error) {
	g.closing.Do(func() {
		g.Quiet()
		g.cancel()
		<-g.writerDone
		g.readLock.Lock()
		defer g.readLock.Unlock()
		err = g.file.Close()
	})
	return err
}

func (g *Gateway) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /gateway.do", g.serveGateway)
	mux.HandleFunc("POST /gateway.do", g.serveGateway)
	mux.HandleFunc("GET /cashier/{id}", g.showCashier)
	mux.HandleFunc("POST /cashier/{id}", g.useCashier)
	mux.HandleFunc("GET /statement.csv", g.serveStatement)
	if g.cfg.Control {
		mux.HandleFunc("POST /control", g.serveControl)
	}
	return mux
}

// bodyTime is how long a request's body may take to come.
const bodyTime = 15 * time.Second

// body is a request's body that has been read, with what ended it.
type body struct {
	io.Reader
	end error
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = b.end
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error { return nil }

// readBody reads the body within its time. The limit of one that did not come
// stays, for net/http tries to read its rest.
func readBody(w http.ResponseWriter, r *http.Request) io.ReadCloser {
	if r.Body == nil || r.Body == http.NoBody {
		return http.NoBody
	}
	limit := http.NewResponseController(w)
	_ = limit.SetReadDeadline(time.Now().Add(bodyTime)) // a recorder has none
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err == nil {
		_ = limit.SetReadDeadline(time.Time{})
		err = io.EOF
	}
	return &body{bytes.NewReader(text), err}
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = readBody(w, r)
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	g.mux.ServeHTTP(w, r)
}

func (g *Gateway) now() api.Time { return api.TimeOf(g.cfg.Now()) }

// mac is a short proof that a text came from this sandbox.
func (g *Gateway) mac(text string) string {
	h := hmac.New(sha256.New, g.secret)
	h.Write([]byte(text))
	return strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum(nil)[:15]))
}

// base begins the links to the cashier.
func (g *Gateway) base(r *http.Request) string {
	switch {
	case g.cfg.BaseURL != "":
		return g.cfg.BaseURL
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
