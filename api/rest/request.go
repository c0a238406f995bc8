package rest

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.opentelemetry.io/otel/attribute"

	"ordo/api"
	"ordo/bus/tracing"
)

// Request is one that was answered, for metrics. None of its words come from the
// caller.
type Request struct {
	// Operation is the operation's id, or a word for what is none; Method is one of
	// those that operations have, or "other".
	Operation, Method string
	Status            int
	Took              time.Duration
}

// lookUpWait is how long a traced notice waits to learn whose it is.
const lookUpWait = 250 * time.Millisecond

// begins notes which operation an exchange is, and which order a change is about.
func (x *exchange) begins(ctx huma.Context) {
	op := ctx.Operation()
	x.op, x.route = op.OperationID, op.Path
	if root := tracing.RootOf(ctx.Context()); root != nil && op.Method != http.MethodGet &&
		strings.Contains(op.Path, "/orders/{id}") && checkOrderID(ctx.Param("id")) == nil {
		root.About(ctx.Param("id"))
	}
}

// relate has the trace of a notice be that of its order, which the attempt
// knows.
func (s *Server) relate(ctx context.Context, m api.Message) {
	root := tracing.RootOf(ctx)
	t, ok := m.(*api.NoteTrade)
	if root == nil || !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpWait)
	defer cancel()
	var a api.Attempt
	if err := s.Edge.Ask(ctx, &api.GetAttempt{ID: t.Attempt}, &a); err == nil {
		root.About(a.Order)
	}
}

// tell tells of an exchange that is about to be answered: the log, the metrics,
// the trace.
func (s *Server) tell(x *exchange, root *tracing.Root, started time.Time) {
	q := Request{Operation: x.operation(), Method: "other", Status: cmp.Or(x.status, http.StatusOK),
		Took: time.Since(started)}
	for _, m := range methods {
		if x.r.Method == m {
			q.Method = m
		}
	}
	if s.Requests != nil {
		s.Requests(&q)
	}
	if s.log.Enabled(x.r.Context(), slog.LevelDebug) {
		attrs := []any{"method", x.r.Method, "path", x.r.URL.Path, "status", q.Status, "took",
			q.Took}
		if trace := root.Trace(); trace != "" {
			attrs = append(attrs, "trace", trace)
		}
		s.log.Debug("request", attrs...)
	}
	if root != nil {
		fault := ""
		if q.Status >= http.StatusInternalServerError {
			fault = "status " + strconv.Itoa(q.Status)
		}
		root.End(q.Method+" "+cmp.Or(x.route, q.Operation), fault,
			attribute.String("http.request.method", q.Method),
			attribute.String("http.route", x.route), attribute.String("ordo.operation",
				q.Operation),
			attribute.Int("http.response.status_code", q.Status))
	}
}

// operation is a word for what was asked for, out of few.
func (x *exchange) operation() string {
	path := x.r.URL.Path
	switch {
	case x.op != "":
		return x.op
	case path == "/livez", path == "/readyz", path == "/metrics", path == "/openapi.json":
		return path[1:]
	case strings.HasPrefix(path, "/docs"):
		return "docs"
	case strings.HasPrefix(path, "/debug/"):
		return "profile"
	case strings.HasPrefix(path, "/pay/") && strings.HasSuffix(path, "/notify"):
		return "notify"
	case strings.HasPrefix(path, "/pay/") && strings.HasSuffix(path, "/return"):
		return "return"
	}
	return "none"
}
