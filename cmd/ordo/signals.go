package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ordo/actors"
	"ordo/actors/payment/gateway"
	"ordo/api/rest"
	"ordo/bus"
	"ordo/bus/tracing"
)

// SignalFlags say what a shop tells of itself, and where.
type SignalFlags struct {
	OTLP       string  `help:"Collector of traces, OTLP over HTTP, with user and password if it asks for them; empty for none." placeholder:"URL"`
	TraceRatio float64 `help:"Part of the orders that are traced." default:"1"`
	NoMetrics  bool    `help:"Serve no /metrics."`
	Signals    string  `help:"Address of /livez, /readyz and /metrics beside the API; empty for none." placeholder:"ADDR"`
	Pprof      string  `help:"Address of the profiler, on loopback; empty for none." placeholder:"ADDR"`
	AdminPprof bool    `help:"Serve the profiler at /debug/pprof/ to the admin token."`
}

// Validate refuses what can't be run.
func (f *SignalFlags) Validate() error {
	errs := []error{checkLoopback("pprof", f.Pprof)}
	if f.Signals != "" {
		errs = append(errs, checkAddr("signals", f.Signals))
	}
	if u, err := url.Parse(f.OTLP); f.OTLP != "" &&
		(err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		// it may hold a password
		errs = append(errs, errors.New("--otlp must be an http or https URL"))
	}
	if !(f.TraceRatio > 0 && f.TraceRatio <= 1) {
		errs = append(errs, fmt.Errorf("--trace-ratio must be above 0 and at most 1, not %v",
			f.TraceRatio))
	}
	return errors.Join(errs...)
}

// startTracing makes the tracer where there is a collector.
func (s *Shop) startTracing() (err error) {
	f := &s.cfg.Signals
	if f.OTLP == "" {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	s.trace, err = tracing.New(tracing.Config{URL: f.OTLP, Ratio: f.TraceRatio, Version: Version,
		Instance: host + "-" + strconv.Itoa(os.Getpid()), Log: s.cfg.Log.With("part", "tracing")})
	return err
}

// startSignals serves what the operator looks at on an address of its own.
func (s *Shop) startSignals() error {
	if s.cfg.Signals.Signals == "" {
		return nil
	}
	if err := s.adminToken(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.cfg.Signals.Signals)
	if err != nil {
		return fmt.Errorf("signals: %w", err)
	}
	s.SignalsURL = "http://" + l.Addr().String()
	told := rest.Signals(s.told())
	s.signals = told.HTTP("", told)
	s.wg.Go(func() {
		if err := s.signals.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.fail(fmt.Errorf("signals: %w", err))
		}
	})
	return nil
}

// told is what an HTTP address tells the operator.
func (s *Shop) told() rest.Config {
	c := rest.Config{AdminToken: s.AdminToken, Ready: s.ready, Verbose: s.verbose,
		Audit: s.auditReport, AuditFound: s.auditFound, Requests: s.meters.request, Trace: s.trace,
		Log: s.cfg.Log, Version: Version}
	if !s.cfg.Signals.NoMetrics {
		c.Metrics = s.metrics()
	}
	if s.cfg.Signals.AdminPprof {
		c.Profile = profiler()
	}
	return c
}

// scrapeLimit is how long it may take to ask all actors how they are.
const scrapeLimit = 2 * time.Second

// verbose is how each actor and NATS are, for the operator.
func (s *Shop) verbose(ctx context.Context) (parts, nats any) {
	ctx, cancel := context.WithTimeout(ctx, scrapeLimit)
	defer cancel()
	all := []any{}
	for _, h := range s.running() {
		all = append(all, h.Health(ctx))
	}
	for name, err := range s.downErrors() {
		all = append(all, actors.Status{Actor: name, Fault: err.Error()})
	}
	return all, s.natsHealth(ctx)
}

// natsHealth is how this process reaches NATS.
type natsHealth struct {
	Connected bool `json:"connected"`
	// Micros is how long a way to the server and back takes.
	Micros     int64  `json:"round_trip_us"`
	Reconnects uint64 `json:"reconnects"`
	Streams    int    `json:"streams"`
	// Fault says what is not there.
	Fault string `json:"fault,omitempty"`
}

func (s *Shop) natsHealth(ctx context.Context) natsHealth {
	h := natsHealth{Connected: s.nc.IsConnected(), Reconnects: s.nc.Stats().Reconnects}
	began := time.Now()
	err := s.nc.FlushWithContext(ctx)
	h.Micros = time.Since(began).Microseconds()
	for _, each := range bus.Streams() {
		if err != nil {
			break
		}
		if _, err = s.js.Stream(ctx, each.Name); err != nil {
			err = fmt.Errorf("stream %s: %w", each.Name, err)
			break
		}
		h.Streams++
	}
	if s.server != nil {
		err = errors.Join(s.server.Fault(), err)
	}
	if err != nil {
		h.Fault = err.Error()
	}
	return h
}

// meters measure what is not read from an actor when it is asked for.
type meters struct {
	requests, effects, late *prometheus.HistogramVec
}

func newMeters() *meters {
	histogram := func(name, help string, from, factor float64, n int,
		labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "ordo_" + name, Help: help,
			Buckets: prometheus.ExponentialBuckets(from, factor, n)}, labels)
	}
	return &meters{
		requests: histogram("http_request_duration_seconds",
			"Requests by operation and class of status.",
			0.001, 2.5, 11, "operation", "method", "status"),
		effects: histogram("effect_duration_seconds", "Tries of effects by what came of them.",
			0.001, 2.5, 11, "actor", "effect", "outcome"),
		late: histogram("timer_lateness_seconds",
			"How long after its deadline a timer was forwarded.",
			0.001, 4, 8, "actor"),
	}
}

func (m *meters) request(r *rest.Request) {
	m.requests.WithLabelValues(r.Operation, r.Method, strconv.Itoa(r.Status/100)+"xx").
		Observe(r.Took.Seconds())
}

// effect measures the tries of one worker.
func (m *meters) effect(actor, name string) func(error, time.Duration) {
	return func(err error, took time.Duration) {
		outcome := "failed"
		switch {
		case err == nil:
			outcome = "answered"
		case errors.Is(err, gateway.ErrPending):
			outcome = "pending"
		case errors.Is(err, gateway.ErrBroken):
			outcome = "not_asked"
		}
		m.effects.WithLabelValues(actor, name, outcome).Observe(took.Seconds())
	}
}

// timer measures how late an actor's timers are.
func (m *meters) timer(actor string) func(time.Duration) {
	late := m.late.WithLabelValues(actor)
	return func(d time.Duration) { late.Observe(max(d, 0).Seconds()) }
}

// work does an actor's effects of one name, seen by meters and traces.
func (s *Shop) work(run context.Context, w bus.Worker) {
	w.Done, w.Trace = s.meters.effect(w.Actor, w.Name), s.trace
	bus.Work(run, s.js, w, s.cfg.Log)
}

// pages measures pages as one operation of that name.
func (m *meters) pages(name string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began, seen := time.Now(), &statusWriter{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(seen, r)
		method := "other"
		if r.Method == http.MethodGet || r.Method == http.MethodPost {
			method = r.Method
		}
		m.request(&rest.Request{Operation: name, Method: method, Status: seen.status,
			Took: time.Since(began)})
	})
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
