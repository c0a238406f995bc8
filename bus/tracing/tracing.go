// Package tracing makes the spans of what the shop does, one trace an order.
//
// An order's trace is made of its id, and a span's id of the message that it is
// about. So nothing is kept for it: submit, payment, notices, expiry and refunds
// come to the same trace in every process, and a repeat makes no new span. What
// is about no order has a trace of its own, which its messages carry.
//
// The package decides ids, what is recorded and how it leaves. It never decides
// what the shop does, and nothing waits for it: what does not fit into its queue
// is dropped and counted.
package tracing

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config says where spans go.
type Config struct {
	// URL is of a collector that takes OTLP over HTTP; without a path, /v1/traces.
	// Its user and password are sent as basic authentication.
	URL string
	// Ratio is the part of traces that is recorded, above 0 and at most 1. Orders
	// are chosen by their ids, the same in every process.
	Ratio float64
	// Version is the shop's, and Instance names the process.
	Version, Instance string
	// Log hears once a minute that spans do not get through.
	Log *slog.Logger
}

// Tracer records spans. A nil one records none and costs next to nothing. It is
// safe for concurrent use.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	out      *outlet
	bound    uint64
}

// New makes a tracer that sends to a collector, whether it can be reached or
// not. Close it after use.
func New(cfg Config) (*Tracer, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	opts := []otlptracehttp.Option{otlptracehttp.WithTimeout(exportWait),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true,
			InitialInterval: time.Second, MaxInterval: 2 * time.Second,
			MaxElapsedTime: exportWait})}
	if password, ok := u.User.Password(); ok {
		basic := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
		opts = append(opts, otlptracehttp.WithHeaders(map[string]string{
			"Authorization": "Basic " + basic}))
	}
	u.User = nil // so that no error shows it
	client, err := otlptracehttp.New(context.Background(),
		append(opts, otlptracehttp.WithEndpointURL(u.String()))...)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	t := &Tracer{out: newOutlet(client, cfg.Log), bound: uint64(cfg.Ratio * (1 << 63))}
	t.provider = sdk.NewTracerProvider(sdk.WithSampler(sdk.AlwaysSample()),
		sdk.WithIDGenerator(givenIDs{}), sdk.WithSpanProcessor(t.out),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "ordo"),
			attribute.String("service.version", cfg.Version),
			attribute.String("service.instance.id", cfg.Instance))))
	t.tracer = t.provider.Tracer("ordo")
	return t, nil
}

// Close sends what is waiting, for a few seconds at most.
func (t *Tracer) Close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	return nil
}

// Counts are the spans since the start: sent to the collector, and dropped
// because it did not take them or because too many were waiting.
func (t *Tracer) Counts() (sent, dropped int64) {
	return t.out.sent.Load(), t.out.dropped.Load()
}

// Wants tells whether a trace is recorded: the same everywhere at one ratio.
func (t *Tracer) Wants(id trace.TraceID) bool {
	return t != nil && id.IsValid() && binary.BigEndian.Uint64(id[8:])>>1 < t.bound
}

// Span is one piece of work in a trace. A nil one is of no trace that is
// recorded.
type Span struct {
	Name string
	Kind trace.SpanKind
	// At is its own place, and Parent the span of the same trace that caused it;
	// zero for none.
	At     Place
	Parent trace.SpanID
	// Link is a place in another trace that has to do with it; zero for none.
	Link         Place
	Began, Ended time.Time
	Attributes   []attribute.KeyValue
	// Fault says what went wrong; empty for nothing. Refusals are no faults.
	Fault string

	tracer *Tracer
}

// Start begins a span, when its trace is recorded; else it is nil. End it.
func (t *Tracer) Start(s Span) *Span {
	if !t.Wants(s.At.Trace) {
		return nil
	}
	s.tracer = t
	if s.Began.IsZero() {
		s.Began = time.Now()
	}
	return &s
}

// Place is where the span is; none for a nil one.
func (s *Span) Place() Place {
	if s == nil {
		return Place{}
	}
	return s.At
}

// Add notes more about it.
func (s *Span) Add(attributes ...attribute.KeyValue) {
	if s != nil {
		s.Attributes = append(s.Attributes, attributes...)
	}
}

// Carry puts the span's place into a message's header, which may be nil.
func (s *Span) Carry(h nats.Header) nats.Header {
	if s == nil {
		return h
	}
	if h == nil {
		h = make(nats.Header, 2)
	}
	h[Header] = []string{s.At.String()}
	return h
}

// End records the span; now is its end if none is set.
func (s *Span) End() {
	if s == nil {
		return
	}
	if s.Ended.IsZero() {
		s.Ended = time.Now()
	}
	ctx := context.WithValue(context.Background(), placeKey{}, s.At)
	options := append(make([]trace.SpanStartOption, 0, 4), trace.WithTimestamp(s.Began),
		trace.WithSpanKind(s.Kind), trace.WithAttributes(s.Attributes...))
	if s.Parent.IsValid() {
		ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: s.At.Trace, SpanID: s.Parent, TraceFlags: trace.FlagsSampled}))
	}
	if !s.Link.IsZero() && s.Link.Trace != s.At.Trace {
		options = append(options, trace.WithLinks(trace.Link{
			SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: s.Link.Trace,
				SpanID: s.Link.Span, TraceFlags: trace.FlagsSampled, Remote: true})}))
	}
	_, span := s.tracer.tracer.Start(ctx, s.Name, options...)
	if s.Fault != "" {
		span.SetStatus(codes.Error, s.Fault)
	}
	span.End(trace.WithTimestamp(s.Ended))
}

// placeKey is of the place that a span is to have.
type placeKey struct{}

// givenIDs implements sdk.IDGenerator: the ids are those of the span.
type givenIDs struct{}

// NewIDs implements sdk.IDGenerator.
func (givenIDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	p, _ := ctx.Value(placeKey{}).(Place)
	return p.Trace, p.Span
}

// NewSpanID implements sdk.IDGenerator.
func (givenIDs) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	p, _ := ctx.Value(placeKey{}).(Place)
	return p.Span
}
