// Package console is the operators' pages: what becomes of orders, why one is
// stuck, and what can be done about it. It decides who may look from where,
// words, layout and plots. It never decides a rule of the shop and reads no file
// and no stream: it calls the admin API in the same process, as any client does
// over the network.
package console

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"

	"ordo/api"
	"ordo/api/origin"
	"ordo/api/web/call"
	"ordo/api/web/page"
)

// Prefix begins the addresses of all pages.
const Prefix = "/console"

// Limits of requests for pages.
const (
	// MaxForm is the largest form, in bytes.
	MaxForm = 64 << 10
	// loginsPerSecond is how many tries to log in may fail from one address, and ten
	// times as many at once.
	loginsPerSecond = 1
	// maxOrigins is the most addresses that are known to have tried, twice over.
	maxOrigins = 4096
)

//go:embed templates/*.html assets
var files embed.FS

// policy is what a page may load: its own style and script. Nothing inline
// runs, and nobody frames it.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; " +
	"img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Config is what the console is made of.
type Config struct {
	// API is the shop's REST API.
	API http.Handler
	// Everywhere serves other machines as well, and who comes through a proxy.
	Everywhere bool
	// Secure is true when browsers come by HTTPS: then no cookie goes over
	// anything else.
	Secure bool
	// Log gets faults and what operators do; nil for none.
	Log *slog.Logger
}

// Server serves the console, an http.Handler for all addresses under Prefix. It
// keeps nothing between requests but how often logins have failed.
type Server struct {
	Config
	api    call.API
	site   page.Site
	mux    *http.ServeMux
	pages  map[string]*template.Template
	logins origins
}

// New makes the console.
func New(cfg Config) (*Server, error) {
	if cfg.API == nil {
		return nil, errors.New("console: it needs an API")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{Config: cfg, api: call.API{Handler: cfg.API}, mux: http.NewServeMux(),
		site: page.Site{Files: files, Root: Prefix, Policy: policy, Secure: cfg.Secure,
			SameSite: http.SameSiteStrictMode}}
	err := s.site.Load()
	if err == nil {
		s.pages, err = s.site.Templates(s.funcs())
	}
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	s.routes()
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.site.Headers(w.Header())
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	if !s.Everywhere && !origin.FromHere(r) {
		http.Error(w, "The console is for this machine; see --console.", http.StatusForbidden)
		return
	}
	s.mux.ServeHTTP(w, r)
}

func (s *Server) routes() {
	s.page("GET "+Prefix+"/login", (*visit).showLogin, anybody)
	s.page("POST "+Prefix+"/login", (*visit).login, anybody)
	s.page("POST "+Prefix+"/logout", (*visit).logout, anybody)
	s.page("GET "+Prefix+"/{$}", (*visit).showOverview, operators)
	s.page("GET "+Prefix+"/transactions", (*visit).listTransactions, operators)
	s.page("GET "+Prefix+"/transactions/{id}", (*visit).showTransaction, operators)
	s.page("POST "+Prefix+"/transactions/{id}", (*visit).actOnTransaction, operators)
	s.page("GET "+Prefix+"/search", (*visit).search, operators)
	s.page("GET "+Prefix+"/dead", (*visit).listDead, operators)
	s.page("GET "+Prefix+"/dead/{actor}/{n}", (*visit).showLetter, operators)
	s.page("POST "+Prefix+"/dead/{actor}/{n}", (*visit).settleLetter, operators)
	s.page("GET "+Prefix+"/stock", (*visit).showStock, operators)
	s.page("POST "+Prefix+"/stock", (*visit).changeStock, operators)
	s.page("GET "+Prefix+"/payments", (*visit).listPayments, operators)
	s.page("GET "+Prefix+"/payments/log", (*visit).listPayLog, operators)
	s.page("GET "+Prefix+"/payments/incidents", (*visit).listIncidents, operators)
	s.page("GET "+Prefix+"/refunds", (*visit).listRefunds, operators)
	s.page("POST "+Prefix+"/refunds", (*visit).refundOrder, operators)
	s.page("GET "+Prefix+"/refunds/{id}", (*visit).showRefund, operators)
	s.page("POST "+Prefix+"/refunds/{id}", (*visit).decideRefund, operators)
	s.page("GET "+Prefix+"/audit", (*visit).showAudit, operators)
	s.page("GET "+Prefix+"/journal", (*visit).listJournal, operators)
	s.mux.HandleFunc(s.site.AssetPattern(), func(w http.ResponseWriter, r *http.Request) {
		if !s.site.ServeAsset(w, r) {
			s.visit(w, r).fail(notFound())
		}
	})
	s.mux.Handle("GET "+Prefix, http.RedirectHandler(Prefix+"/", http.StatusSeeOther))
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.visit(w, r).fail(notFound())
	})
}

// who may see a page.
type who bool

const (
	anybody   who = false
	operators who = true
)

// page binds a pattern to what makes its page. A form is read, and checked to
// come from a page of this visitor, before anything else is done with it.
func (s *Server) page(pattern string, show func(*visit) error, may who) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v := s.visit(w, r)
		defer page.Catch(s.Log, r, func() { v.fail(fault()) })
		var err error
		v.form, err = page.ReadForm(w, r, MaxForm, v.formToken())
		if err == nil && may == operators && v.token == "" {
			err = mustLogin()
		}
		if err == nil {
			err = show(v)
		}
		if err != nil {
			v.fail(err)
		}
	})
}

// fault is an error that the log tells more of.
func fault() error {
	return &call.Problem{Status: http.StatusInternalServerError, Code: api.CodeInternal,
		Detail: "The page failed; the log says why."}
}

func notFound() error {
	return &call.Problem{Status: http.StatusNotFound, Code: api.CodeNotFound,
		Detail: "There is nothing here."}
}

// view is what a page shows.
type view struct {
	// Page names the template, and Title what the page is about.
	Page, Title string
	// User is true for who has logged in.
	User bool
	// Form is what every form of the page sends with it, Here the page's address.
	Form, Here string
	// Note says what was just done, Bad what went wrong.
	Note string
	Bad  []string
	// Ask is what must be answered before something is done.
	Ask *question
	// Reload is after how many seconds the page looks again; 0 for never.
	Reload int
	// D is the page's own.
	D any
}

// show answers with a page. Pages are never kept.
func (v *visit) show(status int, p view) error {
	p.User, p.Form, p.Here, p.Ask = v.token != "", v.formToken(), v.here(), v.question
	if p.Note == "" {
		p.Note = notes[v.r.URL.Query().Get("note")]
	}
	t := v.s.pages[p.Page]
	if t == nil {
		return fmt.Errorf("there is no page %q", p.Page)
	}
	if err := page.Show(v.w, status, t, p); err != nil {
		return fmt.Errorf("page %s: %w", p.Page, err)
	}
	return nil
}
