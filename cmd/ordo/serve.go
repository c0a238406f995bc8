package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go"

	"ordo/bus"
)

// ServeCmd runs the shop, or some of its actors.
type ServeCmd struct {
	Data       string `help:"Directory of everything that is kept." default:"ordo-data"`
	HTTP       string `help:"Address of the REST API." default:"127.0.0.1:8080"`
	TLSCert    string `help:"Certificate, for HTTPS." placeholder:"FILE"`
	TLSKey     string `help:"Key of the certificate." placeholder:"FILE"`
	NATS       string `help:"External NATS to join." placeholder:"URL"`
	NATSListen string `help:"Address of the embedded NATS for the nats CLI; empty for none." default:"127.0.0.1:4222"`
	Only       string `help:"Actors to run, comma-separated; none for the API alone." placeholder:"ACTORS"`
	NoAPI      bool   `help:"Run actors alone."`
	TakeOver   bool   `help:"Replace the files that own the actors."`
	AdminToken string `help:"Token of the admin API." placeholder:"TOKEN"`

	Console        string        `help:"Whom the operators' pages at /console serve: loopback, everywhere, or off." enum:"loopback,everywhere,off" default:"loopback"`
	Currency       string        `help:"The shop's currency." default:"GBP"`
	Expiry         time.Duration `help:"How long an order waits for payment." default:"15m"`
	SubmitDeadline time.Duration `help:"How long an order waits for its steps." default:"60s"`
	MaxUnits       int64         `help:"Most units in an order; 0 for no limit." default:"0"`
	TickEvery      time.Duration `help:"Time between sweeps of deadlines." default:"30s"`
	AuditEvery     time.Duration `help:"Time between rounds of the standing audit; 0s for none." default:"5s"`
	Drain          time.Duration `help:"How long to serve on, not ready, after SIGTERM." default:"0s"`
	PayFlags
	WebhookInsecure bool `help:"Let webhooks go to http and to private addresses, to try them out."`
	SignalFlags

	// certificate is what TLSCert and TLSKey hold; nil without them.
	certificate *tls.Certificate
}

// maxAlipayExpiry is the longest time limit of a trade at Alipay, 15 days.
const maxAlipayExpiry = 15 * 24 * time.Hour

// Validate refuses what could not be run, before anything is.
func (c *ServeCmd) Validate() error {
	errs := []error{checkAddr("http", c.HTTP), checkOnly(c.Only, c.NoAPI),
		checkCurrency(c.Currency), within("expiry", c.Expiry, time.Second, 30*24*time.Hour),
		within("submit-deadline", c.SubmitDeadline, time.Second, 24*time.Hour),
		within("max-units", c.MaxUnits, 0, math.MaxInt64),
		within("tick-every", c.TickEvery, 100*time.Millisecond, time.Hour),
		within("audit-every", c.AuditEvery, 0, time.Hour),
		within("drain", c.Drain, 0, time.Hour), c.loadTLS(), c.PayFlags.Validate(),
		c.SignalFlags.Validate()}
	if c.Sandbox && c.NoAPI {
		errs = append(errs,
			errors.New("--sandbox is part of the API: give --no-api an `ordo sandbox`"))
	}
	if c.WebhookInsecure && c.Production {
		errs = append(errs, errors.New("--webhook-insecure is not for --production"))
	}
	if c.AlipayAppID != "" && c.Expiry > maxAlipayExpiry {
		errs = append(errs, fmt.Errorf("--expiry: Alipay's links are good for %s at most",
			maxAlipayExpiry))
	}
	if c.NATSListen != "" {
		errs = append(errs, checkAddr("nats-listen", c.NATSListen))
	}
	if c.NATS != "" {
		_, err := natsServers(c.NATS)
		errs = append(errs, err)
	}
	if c.Data == "" {
		errs = append(errs, errors.New("--data must not be empty"))
	}
	return errors.Join(errs...)
}

// loadTLS reads certificate and key, so that a shop that can't use them does
// not begin to serve.
func (c *ServeCmd) loadTLS() error {
	if c.TLSCert == "" && c.TLSKey == "" {
		return nil
	}
	if c.TLSCert == "" || c.TLSKey == "" {
		return errors.New("--tls-cert and --tls-key go together")
	}
	pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return fmt.Errorf("--tls-cert and --tls-key: %w", err)
	}
	c.certificate = &pair
	return nil
}

func (c *ServeCmd) shop(t *terminal) ShopConfig {
	return ShopConfig{Data: c.Data, HTTP: c.HTTP, NATS: c.NATS, NATSListen: c.NATSListen,
		Only: splitList(c.Only), NoAPI: c.NoAPI, TakeOver: c.TakeOver, Certificate: c.certificate,
		AdminToken: c.AdminToken, Console: c.Console, Currency: c.Currency, Expiry: c.Expiry,
		SubmitDeadline: c.SubmitDeadline, MaxUnits: c.MaxUnits, TickEvery: c.TickEvery,
		AuditEvery: cmp.Or(c.AuditEvery, -1), Pay: c.PayFlags, Signals: c.SignalFlags,
		WebhookInsecure: c.WebhookInsecure, Log: t.Log}
}

// tune sets Go's runtime for actors, unless the environment does. A commit
// blocks in fsync, and Go lets its processor go only after a while: with more
// processors than cores the others go on. Fewer collections of a small heap
// take more memory, about twice the live heap at most.
func tune() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(4 * runtime.NumCPU())
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
}

// Run serves until the context ends or a part can't go on.
func (c *ServeCmd) Run(ctx context.Context, t *terminal) error {
	tune()
	stopPprof, err := startPprof(c.Pprof)
	if err != nil {
		return err
	}
	defer stopPprof()
	shop, err := StartShop(ctx, c.shop(t))
	if err != nil {
		return err
	}
	if shop.NewToken {
		fmt.Fprintln(t.Err, "admin token (kept in the data directory):", shop.AdminToken)
	}
	t.Log.Info("serving", "url", shop.URL, "nats", shop.NATSURL, "signals", shop.SignalsURL,
		"data", c.Data)
	select {
	case <-ctx.Done():
		t.Log.Info("stopping")
		err = shop.Drain(c.Drain)
	case err = <-shop.Failed():
	}
	return errors.Join(err, shop.Close(ctx))
}

// SetupCmd makes the streams and buckets of a shop on an external NATS.
type SetupCmd struct {
	NATS     string `help:"NATS to make them on." required:"" placeholder:"URL"`
	Replicas int    `help:"On how many servers of a cluster each is kept: 1, 3 or 5; 0 leaves those there are as they are." default:"0"`
	JSON     bool   `name:"json" help:"Print what there is as JSON."`
}

// Validate refuses what is not a URL.
func (c *SetupCmd) Validate() error {
	_, err := natsServers(c.NATS)
	if c.Replicas != 0 && (c.Replicas%2 == 0 || c.Replicas > bus.MaxReplicas) {
		err = errors.Join(err, fmt.Errorf("--replicas must be 0, 1, 3 or %d, not %d",
			bus.MaxReplicas,
			c.Replicas))
	}
	return err
}

// Run makes what is missing and changes what is older than this binary's table.
func (c *SetupCmd) Run(ctx context.Context, t *terminal) error {
	nc, err := bus.Connect(nil, c.NATS, "ordo-setup", t.Log)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := awaitNATS(ctx, nc, t.Log); err != nil {
		return err
	}
	js, err := bus.NewJetStream(nc, func(*nats.Msg, error) {})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := bus.Setup(ctx, js, c.Replicas); err != nil {
		return err
	}
	return c.print(t.Out)
}

// print tells of all streams and buckets.
func (c *SetupCmd) print(w io.Writer) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(describeTable())
	}
	for _, s := range bus.Streams() {
		fmt.Fprintf(w, "stream %-8s %s\n", s.Name, s.Description)
	}
	for _, b := range bus.Buckets() {
		fmt.Fprintf(w, "bucket %-8s %s\n", b.Name, b.Description)
	}
	return nil
}

// described is a stream or a bucket with what it is for.
type described struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// madeTable is what setup makes.
type madeTable struct {
	Streams []described `json:"streams"`
	Buckets []described `json:"buckets"`
}

func describeTable() *madeTable {
	all := &madeTable{}
	for _, s := range bus.Streams() {
		all.Streams = append(all.Streams, described{s.Name, s.Description})
	}
	for _, b := range bus.Buckets() {
		all.Buckets = append(all.Buckets, described{b.Name, b.Description})
	}
	return all
}
