// Package page is what the shop's pages and the console have in common:
// templates with a layout around them, assets that browsers keep, cookies that no
// script reads, forms that only who has seen a page can send, and where a browser
// may be sent on to. It knows nothing of what a page shows.
package page

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"strings"
	"time"
)

// assetAge is how long browsers keep what never changes under its name.
const assetAge = 365 * 24 * time.Hour

// Site is a set of pages with a look of their own.
type Site struct {
	// Files has the directories templates and assets.
	Files fs.FS
	// Root begins the addresses of all pages; empty for those of the whole host.
	Root string
	// Policy is the Content-Security-Policy of all answers.
	Policy string
	// SameSite says with which requests of other sites cookies go along.
	SameSite http.SameSite
	// Secure is true when browsers come by HTTPS: then no cookie goes over
	// anything else.
	Secure bool

	version string
}

// Load reads the assets. It must be called first.
func (s *Site) Load() error {
	sum := fnv.New64a()
	names, err := fs.Glob(s.Files, "assets/*")
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := fs.ReadFile(s.Files, name)
		if err != nil {
			return err
		}
		sum.Write(text)
	}
	s.version = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// Asset is the address of an asset, which changes with any of them.
func (s *Site) Asset(name string) string { return s.Root + "/assets/" + s.version + "/" + name }

// AssetPattern is where ServeAsset is to be bound.
func (s *Site) AssetPattern() string { return "GET " + s.Root + "/assets/{version}/{name}" }

// ServeAsset answers with an asset; false when it is none, and nothing is
// answered.
func (s *Site) ServeAsset(w http.ResponseWriter, r *http.Request) bool {
	name := r.PathValue("name")
	text, err := fs.ReadFile(s.Files, "assets/"+path.Base(name))
	if err != nil || r.PathValue("version") != s.version {
		return false
	}
	h := w.Header()
	h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d, immutable", int(assetAge.Seconds())))
	h.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(text))
	return true
}

// Templates reads all pages by their names, each with the layout around it.
func (s *Site) Templates(funcs template.FuncMap) (map[string]*template.Template, error) {
	layout, err := template.New("").Funcs(funcs).
		ParseFS(s.Files, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(s.Files, "templates/*.html")
	if err != nil {
		return nil, err
	}
	pages := map[string]*template.Template{}
	for _, name := range names {
		page, err := layout.Clone()
		if err == nil {
			page, err = page.ParseFS(s.Files, name)
		}
		if err != nil {
			return nil, err
		}
		pages[strings.TrimSuffix(path.Base(name), ".html")] = page
	}
	delete(pages, "layout")
	delete(pages, "parts")
	return pages, nil
}

// Show answers with a page, all of it or an error.
func Show(w http.ResponseWriter, status int, t *template.Template, data any) error {
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "layout", data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the visitor may have gone
	return nil
}

// Headers sets those that every answer has. Pages are each visitor's own and
// never kept.
func (s *Site) Headers(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", s.Policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// Catch, when it is deferred, answers a panic with the page that fail shows.
func Catch(log *slog.Logger, r *http.Request, fail func()) {
	switch p := recover(); p {
	case nil:
	case http.ErrAbortHandler:
		panic(p)
	default:
		log.Error("page failed", "path", r.URL.Path, "err", fmt.Sprint(p),
			"stack", string(debug.Stack()))
		fail()
	}
}

// OwnPath is to when it is an address of the site, and else its first page: what
// a browser is sent on to may have been written by anybody.
func (s *Site) OwnPath(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" ||
		strings.HasPrefix(u.Path, "//") || strings.ContainsAny(u.Path, "\\\r\n\t") ||
		!strings.HasPrefix(u.Path, "/") || !strings.HasPrefix(path.Clean(u.Path)+"/", s.Root+"/") {
		return s.Root + "/"
	}
	u.Fragment = ""
	return Address(u.EscapedPath(), u.Query())
}

// Address is a path with a query, if there is one.
func Address(path string, q url.Values) string {
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// GoTo sends the browser on to a page of the site.
func (s *Site) GoTo(w http.ResponseWriter, to string) {
	w.Header().Set("Location", s.OwnPath(to))
	w.WriteHeader(http.StatusSeeOther)
}

// Noted is the address of a page of the site that says what was done.
func (s *Site) Noted(to, note string) string {
	u, err := url.Parse(s.OwnPath(to))
	if err != nil {
		return s.Root + "/"
	}
	q := u.Query()
	q.Set("note", note)
	return Address(u.EscapedPath(), q)
}

// Next is the address of the page that follows in a list, by the list's cursor;
// empty where there is none.
func Next(r *http.Request, cursor string) string {
	if cursor == "" {
		return ""
	}
	q := r.URL.Query()
	q.Del("note")
	q.Set("cursor", cursor)
	return Address(r.URL.EscapedPath(), q)
}
