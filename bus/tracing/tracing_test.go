package tracing_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"pgregory.net/rapid"

	"ordo/api"
	"ordo/bus/tracing"
)

// What is written as a header is read again; what is no traceparent is no place.
func TestTraceparent(t *testing.T) {
	at := tracing.Place{Trace: tracing.OfOrder("ord_1"),
		Span: tracing.SpanOf(tracing.Publish, "goods", "x")}
	if got := tracing.Parse(at.String()); got != at || at.IsZero() {
		t.Errorf("%s is read as %s", at, got)
	}
	good := at.String()
	if got := tracing.Parse("01" + good[2:] + "-more"); got != at {
		t.Errorf("a later version is read as %s", got)
	}
	for _, bad := range []string{"", good[:54], "ff" + good[2:], strings.Replace(good, "-", "_", 1),
		"00-" + strings.Repeat("0", 32) + good[35:], good[:36] + strings.Repeat("0", 16) + "-01",
		"00-" + strings.Repeat("g", 32) + good[35:]} {
		if got := tracing.Parse(bad); !got.IsZero() || got.String() != "" {
			t.Errorf("%q is read as %s", bad, got)
		}
	}
}

// The order of a message is found wherever it stands, and no text that a shopper
// writes is taken for one.
func TestOrderOfABody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.Just(`"order":"ord_forged"`),
			rapid.Just(`\","order":"ord_forged`)).Draw(t, "text")
		order := api.NewID(api.PrefixOrder)
		step := api.Step{Order: order, Name: "goods.reserve"}
		body := api.Raw(struct {
			Text string
			Deep struct{ api.Step }
		}{text, struct{ api.Step }{step}})
		if got := tracing.Order(body); got != order {
			t.Fatalf("%q in %s", got, body)
		}
		if got := tracing.Order(api.Raw(map[string]string{"text": text})); got != "" {
			t.Fatalf("%q in a text", got)
		}
	})
	for _, body := range []string{"", `"order":"ord_`, `"order":"ord_1`,
		`"order":"ord_` + strings.Repeat("1", 1000) + `"`} {
		if got := tracing.Order([]byte(body)); got != "" {
			t.Errorf("%q in %.40s", got, body)
		}
	}
}

// A message between actors has one span, whoever names it; ids of edges may be
// used at several actors.
func TestSpanIDs(t *testing.T) {
	const channel = "order.0.E1.goods.0.41"
	span := tracing.SpanOf
	if span(tracing.Handle, "a", channel) != span(tracing.Handle, "b", channel) ||
		span(tracing.Handle, "a", "idem-1") == span(tracing.Handle, "b", "idem-1") ||
		span(tracing.Handle, "a", channel) == span(tracing.Publish, "a", channel) {
		t.Error("span ids are not those of messages")
	}
}

// The same orders are chosen in every process, about as many as were asked for.
func TestRatio(t *testing.T) {
	some, same := newTracer(t, "http://127.0.0.1:1", 0.25), newTracer(t, "http://127.0.0.1:1", 0.25)
	chosen := 0
	for range 4000 {
		id := tracing.OfOrder(api.NewID(api.PrefixOrder))
		if some.Wants(id) != same.Wants(id) {
			t.Fatal("two processes choose otherwise")
		}
		if some.Wants(id) {
			chosen++
		}
	}
	if chosen < 800 || chosen > 1200 {
		t.Errorf("%d of 4000", chosen)
	}
	all := newTracer(t, "http://127.0.0.1:1", 1)
	if !all.Wants(trace.TraceID{8: 0xff, 9: 0xff, 10: 0xff, 11: 0xff, 12: 0xff, 13: 0xff, 14: 0xff,
		15: 0xff}) || all.Wants(trace.TraceID{}) || (*tracing.Tracer)(nil).Wants(trace.TraceID{1}) {
		t.Error("all is not all")
	}
}

func newTracer(t *testing.T, url string, ratio float64) *tracing.Tracer {
	t.Helper()
	tr, err := tracing.New(tracing.Config{URL: url, Ratio: ratio, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() }) // with or without a collector
	return tr
}

// A collector that asks who sends is told.
func TestCollectorWithPassword(t *testing.T) {
	told := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		select {
		case told <- user + " " + password:
		default:
		}
	}))
	defer s.Close()
	tr := newTracer(t, strings.Replace(s.URL, "://", "://ann:s%40cret@", 1), 1)
	_, root := tr.Begin(context.Background(), "")
	root.End("test", "")
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-told:
		if got != "ann s@cret" {
			t.Errorf("told %q", got)
		}
	default:
		t.Error("nothing was sent")
	}
}

// A collector that answers nothing holds up nobody: what does not fit into the
// queue is dropped and counted, and every span is counted once.
func TestFullQueue(t *testing.T) {
	stuck := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-stuck
		w.WriteHeader(http.StatusOK)
	}))
	defer s.Close()
	tr := newTracer(t, s.URL, 1)
	const n = tracing.MaxQueue + 1000
	for range n {
		_, root := tr.Begin(context.Background(), "")
		root.End("test", "")
	}
	if sent, dropped := tr.Counts(); sent != 0 || dropped < 1000 {
		t.Errorf("%d sent, %d dropped of %d", sent, dropped, n)
	}
	close(stuck)
	for end := time.After(time.Minute); ; {
		sent, dropped := tr.Counts()
		if sent+dropped == n && sent > 0 {
			return
		}
		select {
		case <-end:
			t.Fatalf("%d sent, %d dropped of %d", sent, dropped, n)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Without a tracer everything may be called, and does nothing.
func TestNoTracer(t *testing.T) {
	var tr *tracing.Tracer
	ctx, root := tr.Begin(t.Context(), "")
	root.About("ord_1")
	root.End("x", "")
	span := tracing.RootOf(ctx).Sends("goods", "reserve", "1")
	span.Add()
	span.End()
	if h := span.Carry(nil); h != nil || root.Trace() != "" || !span.Place().IsZero() {
		t.Errorf("%v %q", h, root.Trace())
	}
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
}
