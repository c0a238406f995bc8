package e2e

import (
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"ordo/bus/tracing"
)

// collector takes spans as an OpenTelemetry collector does.
type collector struct {
	t   *testing.T
	url string

	mu sync.Mutex
	// spans by their id; one that comes again replaces the first.
	spans map[string]*span
}

// span is one span, and which process sent it.
type span struct {
	*tracepb.Span
	process string
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{t: t, spans: map[string]*span{}}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

// ServeHTTP implements http.Handler.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var in collectorpb.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &in)
	}
	if err != nil || r.URL.Path != "/v1/traces" ||
		r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.t.Errorf("spans: %s %v: %v", r.URL.Path, r.Header, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, from := range in.ResourceSpans {
		process := ""
		for _, a := range from.Resource.Attributes {
			if a.Key == "service.instance.id" {
				process = a.Value.GetStringValue()
			}
		}
		for _, scope := range from.ScopeSpans {
			for _, s := range scope.Spans {
				c.spans[hex.EncodeToString(s.SpanId)] = &span{s, process}
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// about are the spans of an order's trace by id.
func (c *collector) about(order string) map[string]*span {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := tracing.OfOrder(order)
	mine := map[string]*span{}
	for key, s := range c.spans {
		if string(s.TraceId) == string(id[:]) {
			mine[key] = s
		}
	}
	return mine
}

// all are all spans.
func (c *collector) all() []*span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.spans))
}

func (s *span) attribute(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// parent is the id of the span that caused it; empty for a root.
func (s *span) parent() string { return hex.EncodeToString(s.ParentSpanId) }

// way is how a span came about: its name, and those of its causes up to the root.
func way(s *span, trace map[string]*span) string {
	names := []string{s.Name}
	for len(s.ParentSpanId) > 0 {
		next, ok := trace[s.parent()]
		if !ok {
			return strings.Join(append(names, "?"), " < ")
		}
		s = next
		names = append(names, s.Name)
	}
	return strings.Join(names, " < ")
}

// ways are those of all spans of a trace, each once.
func ways(trace map[string]*span) (all []string) {
	for _, s := range trace {
		all = append(all, way(s, trace))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// told is all text of a span.
func (s *span) told() string { return fmt.Sprint(s.Name, s.Attributes, s.Events, s.Status) }
