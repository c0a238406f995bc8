package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/actors"
	"ordo/actors/audit"
	"ordo/actors/coupon"
	"ordo/actors/goods"
	"ordo/actors/journal"
	"ordo/actors/learning"
	"ordo/actors/order"
	"ordo/actors/payment"
	"ordo/actors/payment/gateway"
	"ordo/actors/payment/sandbox"
	"ordo/actors/shipping"
	"ordo/actors/user"
	"ordo/actors/wallet"
	"ordo/api/rest"
	"ordo/bus"
	"ordo/bus/tracing"
	"ordo/stores"
)

// ShopConfig says what part of a shop a process runs, and where.
type ShopConfig struct {
	// Data is the directory of everything that is kept.
	Data string
	// HTTP is the address of the REST API; port 0 takes a free one.
	HTTP string
	// NATS is the URL of an external cluster; empty: embedded.
	NATS string
	// NATSListen is the address of the embedded server; empty: none.
	NATSListen string
	// Only names the actors to run, those of bus.ActorNames; empty: all; none
	// alone: an API without actors.
	Only []string
	// NoAPI runs actors alone.
	NoAPI bool
	// TakeOver lets this directory's files own their actors though others did.
	TakeOver bool
	// Certificate is for HTTPS; nil for HTTP.
	Certificate *tls.Certificate
	// AdminToken guards the admin API; empty: the one kept in Data, made at
	// the first start.
	AdminToken string
	// Console says whom the operators' pages serve; empty: this machine.
	Console string
	// Currency is the only one the shop sells in; empty: GBP.
	Currency string
	// Expiry is how long an order waits for payment, 0: 15 minutes, and
	// SubmitDeadline for its steps, 0: one minute.
	Expiry, SubmitDeadline time.Duration
	// MaxUnits is the most units in an order; 0: no limit.
	MaxUnits int64
	// TickEvery is the time between two sweeps of deadlines; 0: 30 s.
	TickEvery time.Duration
	// AuditEvery is the time between two rounds of the standing audit, if they
	// are quick; 0: 5 s, below 0: none.
	AuditEvery time.Duration
	Pay        PayFlags
	// WebhookInsecure lets webhooks go to http and to private addresses.
	WebhookInsecure bool
	// Signals say what the process tells of itself.
	Signals SignalFlags
	Log     *slog.Logger
}

// Shop is a running process of a shop.
type Shop struct {
	// URL is where the REST API is; empty without one.
	URL string
	// NATSURL is where the nats CLI connects; empty without a listener.
	NATSURL string
	// SignalsURL is where the operator looks; empty without an address for it.
	SignalsURL string
	AdminToken string
	// NewToken is true when the admin token was made by this start.
	NewToken bool

	cfg    ShopConfig
	lock   *os.File // on the data directory, while NATS is embedded
	server *bus.Server
	nc     *nats.Conn
	js     jetstream.JetStream
	edge   *bus.Edge
	// hosts are the actors that run, down those that could not be started and
	// why; mu guards both.
	mu    sync.Mutex
	hosts []*actors.Host
	down  map[string]error
	// audit is nil where there is nothing to audit; stopAudit ends it. mu guards
	// both.
	audit     *audit.Standing
	stopAudit context.CancelFunc
	// pay are the payment providers, sandbox the one in this process or nil.
	pay     *gateway.Gateways
	sandbox *sandbox.Gateway
	// http, rest and sessions are nil without an API.
	http     *http.Server
	rest     *rest.Server
	sessions *stores.Sessions
	// signals is nil without an address for them, trace without a collector.
	signals *http.Server
	trace   *tracing.Tracer
	meters  *meters
	// draining is true once requests shall go elsewhere.
	draining atomic.Bool

	cancel context.CancelFunc
	wg     sync.WaitGroup
	failed chan error
}

// specs are all domains.
func specs() []*actors.Spec {
	return []*actors.Spec{goods.Spec(), coupon.Spec(), wallet.Spec(), payment.Spec(),
		learning.Spec(), shipping.Spec(), user.Spec(), journal.Spec(), order.Spec()}
}

// StartShop starts what the configuration asks for. The HTTP address answers
// when it returns; /readyz tells when the actors do.
func StartShop(ctx context.Context, cfg ShopConfig) (*Shop, error) {
	cfg.Currency = cmp.Or(cfg.Currency, "GBP")
	cfg.Expiry = cmp.Or(cfg.Expiry, 15*time.Minute)
	cfg.SubmitDeadline = cmp.Or(cfg.SubmitDeadline, time.Minute)
	cfg.Pay.setDefaults()
	s := &Shop{cfg: cfg, meters: newMeters(), failed: make(chan error, 1)}
	var run context.Context
	run, s.cancel = context.WithCancel(context.Background())
	if err := s.start(ctx, run); err != nil {
		return nil, errors.Join(err, s.Close(ctx))
	}
	return s, nil
}

func (s *Shop) start(ctx, run context.Context) error {
	if err := os.MkdirAll(s.cfg.Data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := finishSwaps(s.cfg.Log, s.cfg.Data); err != nil {
		return err
	}
	if err := errors.Join(s.startTracing(), s.connect(ctx)); err != nil {
		return err
	}
	if err := s.startActors(ctx, run); err != nil {
		return err
	}
	s.configureActors(run)
	open := s.gateways
	if !s.cfg.NoAPI {
		open = func() error { return s.startAPI(ctx, run) }
	}
	if err := open(); err != nil {
		return err
	}
	s.startWorkers(run)
	if err := s.startAudit(run); err != nil {
		return err
	}
	return s.startSignals()
}

// startWorkers starts those that do the effects of this process's actors.
func (s *Shop) startWorkers(run context.Context) {
	if s.runs("order") {
		s.wg.Go(func() { s.removeFromCarts(run) })
	}
	if s.runs("payment") {
		s.callProviders(run)
	}
	if s.runs("journal") {
		s.sendWebhooks(run)
	}
}

func (s *Shop) runs(actor string) bool {
	return len(s.cfg.Only) == 0 || slices.Contains(s.cfg.Only, actor)
}

// fail ends the shop with an error that it can't go on after.
func (s *Shop) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// Failed carries the error that a part of the shop can't go on after.
func (s *Shop) Failed() <-chan error { return s.failed }

// Drain says that the shop is not ready any more and serves on for a while, so
// that a load balancer learns of it before the address is closed. It ends when
// a part of the shop can't go on, with its error.
func (s *Shop) Drain(wait time.Duration) error {
	s.draining.Store(true)
	if s.http == nil {
		return nil
	}
	over := time.NewTimer(wait)
	defer over.Stop()
	select {
	case <-over.C:
		return nil
	case err := <-s.failed:
		return err
	}
}

// Close finishes the requests of HTTP, has the actors finish their batches and closes
// everything. It may be called after a start that failed.
func (s *Shop) Close(ctx context.Context) error {
	if s.sandbox != nil {
		s.sandbox.Quiet() // it notifies the address that is about to be closed
	}
	errs := s.closeAPI(ctx)
	s.cancel()
	s.wg.Wait()
	if s.sessions != nil {
		errs = append(errs, s.sessions.Close())
	}
	if s.edge != nil {
		errs = append(errs, s.edge.Close())
	}
	var wg sync.WaitGroup
	closed := make([]error, len(s.hosts))
	for i, h := range s.hosts {
		wg.Go(func() { closed[i] = h.Close() })
	}
	wg.Wait()
	if s.sandbox != nil {
		errs = append(errs, s.sandbox.Close())
	}
	// The last spans are those of the actors' ends.
	if err := s.trace.Close(); err != nil {
		s.cfg.Log.Warn("spans lost", "err", err)
	}
	if s.nc != nil {
		s.nc.Close()
	}
	if s.server != nil {
		s.server.Shutdown()
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(append(errs, closed...)...)
}
