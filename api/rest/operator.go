package rest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"net/http"

	"github.com/go-chi/chi/v5"

	"ordo/actors/audit"
	"ordo/api"
	"ordo/api/origin"
)

// Signals is how a process without the API tells how it is: /livez, /readyz,
// /metrics and /debug/pprof/, as the API has them. Of the configuration it takes
// what they need.
func Signals(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{Config: cfg, log: cfg.Log, adminSum: sha256.Sum256([]byte(cfg.AdminToken)),
		router: chi.NewMux(), closing: make(chan struct{})}
	s.router.NotFound(nothingHere)
	s.router.MethodNotAllowed(s.methodNotAllowed)
	s.signalRoutes()
	return s
}

func (s *Server) signalRoutes() {
	s.router.Get("/livez", s.livez)
	s.router.Get("/readyz", s.readyz)
	s.router.Get("/metrics", s.metrics)
	s.router.Get("/debug/pprof/*", s.profile)
}

func nothingHere(w http.ResponseWriter, _ *http.Request) {
	writeProblem(w, problemOf(api.Refuse(api.CodeNotFound, "there is nothing here")))
}

// health is how the process is.
type health struct {
	OK    bool `json:"ok"`
	Parts any  `json:"parts,omitempty"`
	NATS  any  `json:"nats,omitempty"`
	Audit any  `json:"audit,omitempty"`
}

func (s *Server) livez(w http.ResponseWriter, _ *http.Request) {
	health{OK: s.Live == nil || s.Live()}.write(w)
}

// readyz says whether requests can be served; to the operator also which parts
// are not ready and why, with counts. Its verbose form is for the operator alone.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	verbose, operator := r.URL.Query().Has("verbose") && s.Verbose != nil, s.isOperator(r)
	if verbose && !operator {
		writeProblem(w, problemOf(forOperators("what is verbose")))
		return
	}
	h := health{OK: true}
	if s.Ready != nil {
		h.OK, h.Parts = s.Ready()
	}
	if verbose {
		h.Parts, h.NATS = s.Verbose(r.Context())
	}
	if s.Audit != nil && operator {
		h.Audit = s.Audit()
	}
	if !operator {
		h.Parts = nil // they tell how much the shop sells
	}
	h.write(w)
}

func (h health) write(w http.ResponseWriter) {
	status := http.StatusOK
	if !h.OK {
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	body, err := json.Marshal(h)
	if err != nil {
		body, status = []byte(`{"ok":false}`), http.StatusInternalServerError
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // nobody to tell
}

// metrics is for the operator: it tells how much the shop sells.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.Metrics == nil:
		nothingHere(w, r)
	case s.isOperator(r):
		s.Metrics.ServeHTTP(w, r)
	default:
		writeProblem(w, problemOf(forOperators("what is measured")))
	}
}

// profile is for the admin token alone, from wherever: a profile costs time, and
// tells what the memory holds.
func (s *Server) profile(w http.ResponseWriter, r *http.Request) {
	token, ok := bearer(r.Header)
	switch {
	case s.Profile == nil:
		nothingHere(w, r)
	case ok && s.isAdminToken(token):
		w.Header().Set("Cache-Control", "no-store")
		s.Profile.ServeHTTP(w, r)
	default:
		writeProblem(w, problemOf(api.Refuse(api.CodeUnauthorized,
			"profiles are for the admin token as a Bearer token")))
	}
}

func forOperators(what string) *api.Error {
	return api.Refuse(api.CodeUnauthorized,
		"%s is for this machine, or with the admin token as a Bearer token", what)
}

// isOperator tells whether a request has the admin token, or none and comes from
// this machine.
func (s *Server) isOperator(r *http.Request) bool {
	token, ok := bearer(r.Header)
	return ok && s.isAdminToken(token) || !ok && origin.FromHere(r)
}

// auditFindings are what does not add up now.
type auditFindings struct {
	Items []audit.Deviation `json:"items"`
}

// getAudit is row M11.
func (s *Server) getAudit(context.Context, *none) (*answer[auditFindings], error) {
	found := []audit.Deviation{}
	if s.AuditFound != nil {
		found = s.AuditFound()
	}
	return &answer[auditFindings]{auditFindings{found}}, nil
}
