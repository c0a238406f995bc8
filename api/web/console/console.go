// Package console is the operators' pages: what becomes of orders, why one is
// stuck, and what can be done about it. It decides who may look from where,
// words, layout and plots. It never decides a rule of the shop and reads no file
// and no stream: it calls the admin API in the same process, as any client does
// over the network.
package console

import (
	"bytes"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"html/template"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"ordo/api"
	"ordo/api/web/call"
)

// Prefix begins the addresses of all pages.
const Prefix = "/console"

// Limits of requests for pages.
const (
	// MaxForm is the largest form, in bytes.
	MaxForm = 64 << 10
	// assetAge is how long browsers keep what never changes under its name.
	assetAge = 365 * 24 * time.Hour
	// loginsPerSecond is how many tries to log in may fail in this process, and ten
	// times as many at once.
	loginsPerSecond = 1
)

//go:embed templates/*.html
var templates embed.FS

//go:embed assets
var assets embed.FS

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
// keeps nothing between requests.
type Server struct {
	Config
	api     call.API
	mux     *http.ServeMux
	pages   map[string]*template.Template
	version string
	logins  *rate.Limiter
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
		logins: rate.NewLimiter(loginsPerSecond, 10*loginsPerSecond)}
	err := s.readAssets()
	if err == nil {
		s.pages, err = s.parsePages()
	}
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	s.routes()
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	if !s.Everywhere && !call.FromHere(r) {
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
	s.mux.HandleFunc("GET "+Prefix+"/assets/{version}/{name}", s.asset)
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
		defer v.catch()
		err := v.readForm()
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

// catch answers a panic with an error page.
func (v *visit) catch() {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler:
		panic(p)
	default:
		v.s.Log.Error("page failed", "path", v.r.URL.Path, "err", fmt.Sprint(p),
			"stack", string(debug.Stack()))
		v.fail(&call.Problem{Status: http.StatusInternalServerError, Code: api.CodeInternal})
	}
}

func notFound() error {
	return &call.Problem{Status: http.StatusNotFound, Code: api.CodeNotFound,
		Detail: "There is nothing here."}
}

// readAssets makes the version under which browsers may keep the assets.
func (s *Server) readAssets() error {
	sum := fnv.New64a()
	entries, err := assets.ReadDir("assets")
	if err != nil {
		return err
	}
	for _, e := range entries {
		text, err := assets.ReadFile("assets/" + e.Name())
		if err != nil {
			return err
		}
		sum.Write(text)
	}
	s.version = hex.EncodeToString(sum.Sum(nil))
	return nil
}

func (s *Server) asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	text, err := assets.ReadFile("assets/" + path.Base(name))
	if err != nil || r.PathValue("version") != s.version {
		s.visit(w, r).fail(notFound())
		return
	}
	w.Header().Set("Cache-Control",
		fmt.Sprintf("private, max-age=%d, immutable", int(assetAge.Seconds())))
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(text))
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
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "layout", p); err != nil {
		return fmt.Errorf("page %s: %w", p.Page, err)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	_, _ = v.w.Write(b.Bytes()) // the visitor may have gone
	return nil
}

// secure sets the headers that every answer has.
func secure(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// parsePages reads all pages, each with the layout around it.
func (s *Server) parsePages() (map[string]*template.Template, error) {
	layout, err := template.New("").Funcs(s.funcs()).
		ParseFS(templates, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, err
	}
	entries, err := templates.ReadDir("templates")
	if err != nil {
		return nil, err
	}
	pages := map[string]*template.Template{}
	for _, e := range entries {
		page, err := layout.Clone()
		if err == nil {
			page, err = page.ParseFS(templates, "templates/"+e.Name())
		}
		if err != nil {
			return nil, err
		}
		pages[strings.TrimSuffix(e.Name(), ".html")] = page
	}
	delete(pages, "layout")
	delete(pages, "parts")
	return pages, nil
}
