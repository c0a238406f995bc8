// Package rest is the shop's HTTP edge: it checks who asks and what is asked,
// turns requests into messages and queries, waits for decisions, and turns
// refusals into problems. It decides sessions, HTTP statuses and limits of
// input; it never decides a rule of the shop, and answers a success only after
// the deciding actor has committed.
package rest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/swaggest/swgui/v5emb"
	"golang.org/x/time/rate"

	"ordo/actors/audit"
	"ordo/actors/payment/gateway"
	"ordo/api"
	"ordo/bus"
	"ordo/bus/tracing"
	"ordo/stores"
)

// Limits of requests.
const (
	// MaxBody is the largest body of a request, in bytes.
	MaxBody = 1 << 20
	// MaxImport is the largest CSV file to import, in bytes.
	MaxImport = 8 << 20
	// MaxWait is the longest that a request may wait for a decision.
	MaxWait = 10 * time.Second
	// MaxStreams is the most event streams open at once, and MaxUserStreams
	// those of one user.
	MaxStreams     = 10_000
	MaxUserStreams = 20

	defaultWait     = 5 * time.Second
	guestsPerSecond = 50
	requestTimeout  = 20 * time.Second
	bodyTimeout     = 15 * time.Second
)

// Config is what the edge is made of.
type Config struct {
	// Edge reaches the actors.
	Edge *bus.Edge
	// Sessions, Carts and Checkouts are the edge's own state.
	Sessions  *stores.Sessions
	Carts     *stores.Carts
	Checkouts *stores.Checkouts
	// AdminToken opens /admin/v1 like a session of an admin; empty for none.
	AdminToken string
	// Currency is the only one the shop sells in, an ISO 4217 code.
	Currency string
	// PayMethods are the ways to pay that are offered, beside the balance; nil
	// for Alipay.
	PayMethods []string
	// GuestsPerSecond is how many guest ids this process mints in a second, and
	// ten times as many at once; 0 for 50.
	GuestsPerSecond int
	// WebhookInsecure lets webhooks go to http and to private addresses.
	WebhookInsecure bool
	// Gateways are the payment providers; nil for none.
	Gateways *gateway.Gateways
	// CheckoutTTL is how long a checkout token waits to be submitted; 0 for
	// bus.CheckoutTTL.
	CheckoutTTL time.Duration
	// Ready tells whether requests can be served now, and more for /readyz;
	// nil for always.
	Ready func() (bool, any)
	// Audit tells /readyz what the audit has found, without saying of whom, and
	// AuditFound support of whom; nil for no audit.
	Audit      func() any
	AuditFound func() []audit.Deviation
	// Verbose tells the operator more for /readyz?verbose, and what the process
	// knows of NATS; nil for nothing more than Ready.
	Verbose func(context.Context) (parts, nats any)
	// Metrics serves /metrics to the operator, and Profile /debug/pprof/ to the
	// admin token; nil for none.
	Metrics, Profile http.Handler
	// Requests, when not nil, hears of every request that was answered.
	Requests func(*Request)
	// Trace records spans of requests; nil records none.
	Trace *tracing.Tracer
	// Live tells whether the process is worth keeping; nil for always.
	Live func() bool
	// Log gets faults, and every request at debug level; nil for none.
	Log *slog.Logger
	// Version of the shop, for the documentation.
	Version string
}

// Server is the HTTP edge, an http.Handler. Close it before the parts it is
// made of.
type Server struct {
	Config
	log      *slog.Logger
	adminSum [sha256.Size]byte
	operator string // of sessions begun with the admin token
	router   *chi.Mux
	guests   *rate.Limiter
	forged   *rate.Limiter
	huma     huma.API
	hashing  *hashing
	streams  streams
	closing  chan struct{}
	close    sync.Once
}

// New makes the edge.
func New(cfg Config) (*Server, error) {
	if len(cfg.Currency) != 3 {
		return nil, fmt.Errorf("rest: %q is not a currency", cfg.Currency)
	}
	if cfg.PayMethods == nil {
		cfg.PayMethods = []string{api.PayAlipay}
	}
	if cfg.Gateways == nil {
		cfg.Gateways = gateway.New(nil)
	}
	if cfg.CheckoutTTL == 0 {
		cfg.CheckoutTTL = bus.CheckoutTTL
	}
	if cfg.GuestsPerSecond == 0 {
		cfg.GuestsPerSecond = guestsPerSecond
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{Config: cfg, log: cfg.Log, adminSum: sha256.Sum256([]byte(cfg.AdminToken)),
		operator: operatorOf(cfg.AdminToken), router: chi.NewMux(), hashing: newHashing(),
		closing: make(chan struct{}),
		guests:  rate.NewLimiter(rate.Limit(cfg.GuestsPerSecond), 10*cfg.GuestsPerSecond),
		forged:  rate.NewLimiter(forgedPerSecond, 10*forgedPerSecond)}
	s.huma = huma.NewAPI(s.humaConfig(), humachi.NewAdapter(s.router))
	s.routes()
	return s, s.documents()
}

// Close ends all event streams. It does not wait for them.
func (s *Server) Close() { s.close.Do(func() { close(s.closing) }) }

// HTTP is a server on addr with the edge's limits of time and size. Other
// pages may be served beside the edge by h, which may be nil.
func (s *Server) HTTP(addr string, h http.Handler) *http.Server {
	if h == nil {
		h = s
	}
	srv := &http.Server{Addr: addr, Handler: h, ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout: requestTimeout + bodyTimeout, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	srv.RegisterOnShutdown(s.Close)
	DropUnused(srv)
	return srv
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	ctx, root := s.Trace.Begin(r.Context(), r.Header.Get(tracing.Header))
	if root != nil {
		r = r.WithContext(ctx)
	}
	x := begin(w, r)
	defer x.end()
	defer s.tell(x, root, started)
	defer s.catch(x)
	s.router.ServeHTTP(x, x.r)
}

// catch answers a panic with a 500 that names the request in the log.
func (s *Server) catch(x *exchange) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	p := s.fault(x.r.Context(), fmt.Errorf("panic: %v", v), "stack", string(debug.Stack()))
	if !x.restart() {
		panic(http.ErrAbortHandler)
	}
	writeProblem(x, p)
}

func (s *Server) humaConfig() huma.Config {
	json := huma.Format{Marshal: marshal, Unmarshal: unmarshal}
	c := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{Title: "ordo", Version: s.Version, Description: "Shop, orders and " +
				"payment. Everything that is not a success is an RFC 9457 problem with a stable " +
				"code."},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"session": {Type: "http", Scheme: "bearer",
						Description: "The token that logging in answers."},
					"guest": {Type: "apiKey", In: "header", Name: guestHeader,
						Description: "The id that POST /v1/guests answers."},
					"admin": {Type: "http", Scheme: "bearer",
						Description: "The shop's admin token, or the session of an admin or " +
							"supporter."},
				},
			},
		},
		Formats:       map[string]huma.Format{"application/json": json, "json": json},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{s.translate},
	}
	c.Components.Schemas.RegisterTypeAlias(reflect.TypeFor[api.Time](), reflect.TypeFor[moment]())
	return c
}

// moment is how an api.Time stands in the documentation.
type moment struct{}

// Schema implements huma.SchemaProvider.
func (moment) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString, Format: "date-time", Nullable: true,
		Pattern:            "^(1[7-9]|2[01])[0-9]{2}-", // a Time has nanoseconds and ends in 2262
		PatternDescription: "a year from 1700 to 2199", Description: "RFC 3339; null for never."}
	s.PrecomputeMessages()
	return s
}

func (s *Server) routes() {
	s.router.NotFound(nothingHere)
	s.router.MethodNotAllowed(s.methodNotAllowed)
	s.signalRoutes()
	s.userRoutes()
	s.goodsRoutes()
	s.cartRoutes()
	s.checkoutRoutes()
	s.orderRoutes()
	s.paymentRoutes()
	s.refundRoutes()
	s.shippingRoutes()
	s.learningRoutes()
	s.walletRoutes()
	s.couponRoutes()
	s.adminRoutes()
	s.sessionRoutes()
	s.transactionRoutes()
	s.findRoutes()
	s.webhookRoutes()
}

// methods are all that any operation has.
var methods = [...]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete}

func (s *Server) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	for _, m := range methods {
		if s.router.Match(chi.NewRouteContext(), m, r.URL.Path) {
			w.Header().Add("Allow", m)
			if m == http.MethodGet {
				w.Header().Add("Allow", http.MethodHead)
			}
		}
	}
	const status = http.StatusMethodNotAllowed
	writeProblem(w, &Problem{Title: http.StatusText(status), Status: status,
		Code: api.CodeNotFound, Detail: "this address has no " + r.Method})
}

// documents serves what describes the API. It comes after all routes.
func (s *Server) documents() error {
	// The shape of errors that huma would answer itself; translate replaces them.
	schemas := s.huma.OpenAPI().Components.Schemas.Map()
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	doc, err := json.Marshal(s.huma.OpenAPI())
	if err != nil {
		return fmt.Errorf("rest: openapi: %w", err)
	}
	s.router.Get("/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(doc) // nobody to tell
	})
	pages := v5emb.New("ordo API", "/openapi.json", "/docs/")
	s.router.Get("/docs", http.RedirectHandler("/docs/", http.StatusMovedPermanently).ServeHTTP)
	s.router.Get("/docs/*", pages.ServeHTTP)
	return nil
}

// op describes an operation: its id, its method and path, who may call it, and
// what it does in a few words.
func (s *Server) op(id, pattern string, who access, summary string) huma.Operation {
	method, path, _ := strings.Cut(pattern, " ")
	op := huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary,
		Tags:         []string{tagOf(path)},
		MaxBodyBytes: MaxBody + 1, BodyReadTimeout: bodyTimeout,
		Middlewares: huma.Middlewares{s.guard(who)},
		Responses: map[string]*huma.Response{"default": {Description: "A problem.",
			Content: map[string]*huma.MediaType{problemType: {Schema: s.schema(Problem{})}}}},
	}
	switch who {
	case visitors:
		op.Security = []map[string][]string{{"session": {}}, {"guest": {}}}
	case users:
		op.Security = []map[string][]string{{"session": {}}}
	case support, admins: // a bearer's roles, as OpenAPI 3.1 has them
		op.Security = []map[string][]string{{"admin": rolesFor(who)}}
	}
	return op
}

// tagOf groups operations: by the first word after /v1, or admin.
func tagOf(path string) string {
	words := strings.FieldsFunc(path, func(c rune) bool { return c == '/' || c == ':' })
	if words[0] == "admin" {
		return words[0]
	}
	return words[1]
}

func (s *Server) schema(v any) *huma.Schema {
	return s.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(v), true, "")
}

// route binds an operation to its handler: bounded in time, with every error
// turned into a problem.
func route[I, O any](s *Server, op huma.Operation,
	handle func(context.Context, *I) (*O, error)) {
	huma.Register(s.huma, op, func(ctx context.Context, in *I) (*O, error) {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		err := exchangeOf(ctx).bodyRead()
		var out *O
		if err == nil {
			out, err = handle(ctx, in)
		}
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return out, nil
	})
}

// answer is an answer with a body.
type answer[T any] struct{ Body T }

// created is an answer to what made something.
type created[T any] struct {
	Status int
	Body   T
}

// none is an answer, or an input, without anything in it.
type none struct{}

// ByID is the input of what is about one thing; embed it in an input.
type ByID struct {
	// ID names it.
	ID string `path:"id" minLength:"1" maxLength:"64"`
}

// PageQuery are the query parameters of a list; embed it in an input.
type PageQuery struct {
	// Cursor is the next of the page before.
	Cursor string `query:"cursor" maxLength:"200" doc:"The next of the page before."`
	// Limit is the most items wanted, 1 to api.MaxPage.
	Limit int `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Most items wanted."`
}

func (p *PageQuery) page() api.Page { return api.Page{Cursor: p.Cursor, Limit: p.Limit} }

// passed is the JSON of a T that an actor answered, passed on as it is.
type passed[T any] struct{ JSON json.RawMessage }

// Schema implements huma.SchemaProvider: it is that of T.
func (passed[T]) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, "")
}

// MarshalJSON implements json.Marshaler.
func (p passed[T]) MarshalJSON() ([]byte, error) { return p.JSON.MarshalJSON() }

// UnmarshalJSON implements json.Unmarshaler.
func (p *passed[T]) UnmarshalJSON(b []byte) error { return p.JSON.UnmarshalJSON(b) }

func (p passed[T]) raw() json.RawMessage { return p.JSON }

// pass asks an actor and passes on what it answers, which is a T.
func pass[T any](ctx context.Context, s *Server, q api.Query) (*answer[passed[T]], error) {
	var raw json.RawMessage
	if err := s.Edge.Ask(ctx, q, &raw); err != nil {
		return nil, err
	}
	return &answer[passed[T]]{passed[T]{raw}}, nil
}

// do has an actor do something, and waits until it is committed. Without NATS
// it does not wait for the request's time to be over.
func (s *Server) do(ctx context.Context, id string, m api.Message, value any) error {
	if !s.Edge.Connected() {
		return api.Refuse(api.CodeUnavailable, "not connected to NATS")
	}
	return s.Edge.Do(ctx, id, m, value)
}

// marshal writes an answer; JSON that comes from an actor is not parsed again.
func marshal(w io.Writer, v any) error {
	if p, ok := v.(interface{ raw() json.RawMessage }); ok && len(p.raw()) > 0 {
		_, err := w.Write(p.raw())
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
