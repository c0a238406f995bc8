package tracing

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Root is the span of what nothing in the shop has caused: a request. A nil one
// is none.
type Root struct {
	tracer *Tracer
	began  time.Time
	link   Place

	mu    sync.Mutex
	at    Place
	order string
}

type rootKey struct{}

// Begin begins the span of a request, in a trace of its own; the caller's
// traceparent is linked, and does not decide whether it is recorded. The context
// is for what the request does.
func (t *Tracer) Begin(ctx context.Context, traceparent string) (context.Context, *Root) {
	if t == nil {
		return ctx, nil
	}
	r := &Root{tracer: t, began: time.Now(), link: Parse(traceparent), at: fresh()}
	return context.WithValue(ctx, rootKey{}, r), r
}

// RootOf is the request that a context belongs to, or nil.
func RootOf(ctx context.Context) *Root {
	r, _ := ctx.Value(rootKey{}).(*Root)
	return r
}

// About says which order the request is about: its span is in the order's trace.
// It comes before the request publishes anything.
func (r *Root) About(order string) {
	if r == nil || order == "" || len(order) > maxOrder {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.order, r.at.Trace = order, OfOrder(order)
}

// Trace is the id of the trace in the log; empty for one that is not recorded.
func (r *Root) Trace() string {
	if r == nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.tracer.Wants(r.at.Trace) {
		return ""
	}
	return r.at.Trace.String()
}

// Sends begins the span of publishing a message to an actor.
func (r *Root) Sends(actor, verb, id string) *Span {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	at, order := r.at, r.order
	r.mu.Unlock()
	if !r.tracer.Wants(at.Trace) {
		return nil
	}
	return r.tracer.sends(Sending{Actor: actor, Verb: verb, ID: id, Order: order}, at)
}

// Sending is the publishing of a message.
type Sending struct {
	// Actor gets it, under Verb and the identity ID.
	Actor, Verb, ID string
	// Order is whom it is about; empty for none.
	Order string
	// Sender and Cause name the message about the same order that caused it: who
	// handled it, and its identity; empty for none.
	Sender, Cause string
}

// Sends begins the span of publishing a message in the trace of its order.
func (t *Tracer) Sends(s Sending) *Span {
	if t == nil || s.Order == "" {
		return nil
	}
	at := Place{Trace: OfOrder(s.Order)}
	if !t.Wants(at.Trace) {
		return nil
	}
	if s.Cause != "" {
		at.Span = SpanOf(Handle, s.Sender, s.Cause)
	}
	return t.sends(s, at)
}

// sends is Sends because of what stands at cause.
func (t *Tracer) sends(s Sending, cause Place) *Span {
	return t.Start(Span{Name: Publish + " " + s.Actor + "." + s.Verb, Kind: trace.SpanKindProducer,
		At: Place{cause.Trace, SpanOf(Publish, s.Actor, s.ID)}, Parent: cause.Span,
		Attributes: About(s.ID, s.Order)})
}

// About are the attributes of a message: its id, and the order that it is about
// if there is one.
func About(id, order string) []attribute.KeyValue {
	list := append(make([]attribute.KeyValue, 0, 8), attribute.String("messaging.message.id", id))
	if order != "" {
		list = append(list, attribute.String("ordo.order", order))
	}
	return list
}

// End records the request's span under a name; a fault makes it a failed one.
func (r *Root) End(name, fault string, attributes ...attribute.KeyValue) {
	if r == nil {
		return
	}
	r.mu.Lock()
	at, order := r.at, r.order
	r.mu.Unlock()
	if order != "" {
		attributes = append(attributes, attribute.String("ordo.order", order))
	}
	r.tracer.Start(Span{Name: name, Kind: trace.SpanKindServer, At: at, Link: r.link,
		Began: r.began, Attributes: attributes, Fault: fault}).End()
}
