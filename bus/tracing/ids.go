package tracing

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// Header carries a message's place in its trace, as W3C Trace Context has it.
const Header = "traceparent"

// Place is a span in a trace.
type Place struct {
	Trace trace.TraceID
	Span  trace.SpanID
}

// IsZero tells whether it is no place at all.
func (p Place) IsZero() bool { return p == Place{} }

// String is the value of Header; empty for no place.
func (p Place) String() string {
	if p.IsZero() {
		return ""
	}
	return "00-" + p.Trace.String() + "-" + p.Span.String() + "-01"
}

// Parse reads the value of Header; no place for one that can't be read.
func Parse(traceparent string) Place {
	var p Place
	// version-trace-span-flags; a later version may go on after that.
	if len(traceparent) < 55 || traceparent[2] != '-' || traceparent[35] != '-' ||
		traceparent[52] != '-' || traceparent[:2] == "ff" {
		return Place{}
	}
	_, terr := hex.Decode(p.Trace[:], []byte(traceparent[3:35]))
	_, serr := hex.Decode(p.Span[:], []byte(traceparent[36:52]))
	if terr != nil || serr != nil || !p.Trace.IsValid() || !p.Span.IsValid() {
		return Place{}
	}
	return p
}

// OfOrder is the trace of all that is about an order: made of its id, so that
// every process knows it, also after days and restarts.
func OfOrder(order string) trace.TraceID {
	sum := sha256.Sum256([]byte("ordo order " + order))
	return trace.TraceID(sum[:16])
}

// What a span is, which its id is made of.
const (
	Publish = "publish"
	Handle  = "handle"
	Commit  = "commit"
	Effect  = "effect"
	Timer   = "timer"
)

// SpanOf is the id of a span about a message: what is done with it, by whom,
// and the message's identity. A repeat has the same.
func SpanOf(kind, actor, id string) trace.SpanID {
	if strings.Contains(id, ".") {
		actor = "" // an identity on a channel says who gets it
	}
	sum := sha256.Sum256([]byte(kind + " " + actor + " " + id))
	return trace.SpanID(sum[:8])
}

// fresh is a place that nobody else has; it need not be a secret.
func fresh() (p Place) {
	binary.BigEndian.PutUint64(p.Trace[:8], rand.Uint64())
	binary.BigEndian.PutUint64(p.Trace[8:], rand.Uint64())
	binary.BigEndian.PutUint64(p.Span[:], rand.Uint64()|1)
	return p
}

var orderField = []byte(`"order":"ord_`)

// maxOrder is the longest id of an order that is looked for, in bytes.
const maxOrder = 64

// Order finds the order that a message is about: the first field of that name,
// at any depth. Empty for none. A text can't have it, as its quotes are escaped.
func Order(body []byte) string {
	_, rest, ok := bytes.Cut(body, orderField)
	if !ok {
		return ""
	}
	end := bytes.IndexByte(rest[:min(len(rest), maxOrder)], '"')
	if end < 0 {
		return ""
	}
	return "ord_" + string(rest[:end])
}
