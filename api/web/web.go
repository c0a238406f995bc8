// Package web is the shop's pages: HTML for people, in English and Chinese,
// that works without JavaScript. It decides words, layout, cookies and where a
// browser goes next. It never decides a rule of the shop: it calls the REST API
// in the same process, as any client does over the network, and shows what that
// answers.
package web

import (
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"ordo/api"
	"ordo/api/web/page"
)

// Limits of requests for pages.
const (
	// MaxForm is the largest form, in bytes: a cart of api.MaxLines lines.
	MaxForm = 512 << 10
)

//go:embed templates/*.html assets/shop.css assets/shop.js assets/icon.svg
var files embed.FS

// policy is what a page may load: its own style, script and events, and
// pictures of goods. Nothing inline runs, and nobody frames it.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; " +
	"img-src 'self' https:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Config is what the pages are made of.
type Config struct {
	// API is the shop's REST API. Whoever comes with an address that is no
	// page's, and is not a browser, is passed on to it.
	API http.Handler
	// Currency is the only one the shop sells in, an ISO 4217 code.
	Currency string
	// Secure is true when browsers come by HTTPS: then no cookie goes over
	// anything else.
	Secure bool
	// Log gets faults; nil for none.
	Log *slog.Logger
}

// Server serves the pages, an http.Handler. It keeps nothing between requests.
type Server struct {
	Config
	site    page.Site
	mux     *http.ServeMux
	tongues []*tongue
}

// New makes the pages.
func New(cfg Config) (*Server, error) {
	if cfg.API == nil || len(cfg.Currency) != 3 {
		return nil, errors.New("web: pages need an API and a currency")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{Config: cfg, mux: http.NewServeMux(), site: page.Site{Files: files,
		Policy: policy, Secure: cfg.Secure, SameSite: http.SameSiteLaxMode}}
	if err := s.site.Load(); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	for i, tag := range languages {
		t, err := newTongue(i, tag, &s.site)
		if err != nil {
			return nil, err
		}
		s.tongues = append(s.tongues, t)
	}
	s.routes()
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Server) routes() {
	s.page("GET /{$}", (*visit).browse)
	s.page("GET /products/{id}", (*visit).showProduct)
	s.page("POST /products/{id}", (*visit).chooseProduct)
	s.page("GET /skus/{id}", (*visit).findSKU)
	s.page("GET /courses", (*visit).listCourses)
	s.page("GET /enrolments", (*visit).listEnrolments)
	s.page("GET /cart", (*visit).showCart)
	s.page("POST /cart", (*visit).changeCart)
	s.page("GET /checkout", (*visit).showCheckout)
	s.page("POST /checkout", (*visit).submitCheckout)
	s.page("GET /orders", (*visit).listOrders)
	s.page("GET /orders/{id}", (*visit).showOrder)
	s.page("POST /orders/{id}", (*visit).changeOrder)
	s.page("GET /orders/{id}/events", (*visit).watchOrder)
	s.page("GET /pay/{provider}/return", (*visit).returnFromPaying)
	s.page("GET /wallet", (*visit).showWallet)
	s.page("GET /account", (*visit).showAccount)
	s.page("POST /account", (*visit).changePassword)
	s.page("GET /addresses", (*visit).listAddresses)
	s.page("GET /addresses/new", (*visit).showAddress)
	s.page("POST /addresses/new", (*visit).saveAddress)
	s.page("GET /addresses/{id}", (*visit).showAddress)
	s.page("POST /addresses/{id}", (*visit).saveAddress)
	s.page("GET /login", (*visit).showLogin)
	s.page("POST /login", (*visit).login)
	s.page("GET /register", (*visit).showRegister)
	s.page("POST /register", (*visit).register)
	s.page("POST /logout", (*visit).logout)
	s.page("POST /language", (*visit).chooseLanguage)
	s.mux.HandleFunc(s.site.AssetPattern(), func(w http.ResponseWriter, r *http.Request) {
		if !s.site.ServeAsset(w, r) {
			s.visit(w, r).fail(notFound())
		}
	})
	s.mux.HandleFunc("/", s.elsewhere)
}

// page binds a pattern to what makes its page. A form is read, and checked to
// come from a page of this visitor, before anything else is done with it.
func (s *Server) page(pattern string, show func(*visit) error) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v := s.visit(w, r)
		defer page.Catch(s.Log, r, func() { v.fail(fault()) })
		var err error
		v.form, err = page.ReadForm(w, r, MaxForm, v.formToken())
		if err == nil {
			err = show(v)
		}
		if err != nil {
			v.fail(err)
		}
	})
}

// elsewhere is what no page has: a page that says so for people, and the API
// for programs.
func (s *Server) elsewhere(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		s.API.ServeHTTP(w, r)
		return
	}
	s.visit(w, r).fail(notFound())
}

func notFound() error {
	return &problem{Status: http.StatusNotFound, Code: api.CodeNotFound}
}

func fault() error {
	return &problem{Status: http.StatusInternalServerError, Code: api.CodeInternal}
}

// view is what a page shows.
type view struct {
	// Page names the template, and Title what the page is about.
	Page, Title string
	Lang        *tongue
	Tongues     []*tongue
	// User is true for who has logged in.
	User bool
	// Units is how many are in the cart.
	Units int64
	// Form is what every form of the page sends with it.
	Form string
	// Here is the page's own address, to come back to.
	Here string
	// Note says what was just done.
	Note string
	// Errors are what is wrong with the form, each with its field.
	Errors []mistake
	// Reload is after how many seconds a browser without JavaScript looks
	// again; 0 for never.
	Reload int
	// D is the page's own.
	D any
}

// show answers with a page. Pages are each visitor's own and never kept.
func (v *visit) show(status int, p view) error {
	p.Lang, p.Tongues, p.User = v.tongue, v.s.tongues, v.session != ""
	p.Form, p.Here, p.Units = v.formToken(), v.here(), v.countCart()
	if note := v.r.URL.Query().Get("note"); p.Note == "" && notes[note] {
		p.Note = v.tongue.text("note." + note)
	}
	t := v.tongue.pages[p.Page]
	if t == nil {
		return fmt.Errorf("web: there is no page %q", p.Page)
	}
	v.w.Header().Set("Content-Language", v.tongue.Code)
	if err := page.Show(v.w, status, t, p); err != nil {
		return fmt.Errorf("web: page %s: %w", p.Page, err)
	}
	return nil
}
