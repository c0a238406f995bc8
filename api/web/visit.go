package web

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"ordo/api"
	"ordo/api/web/page"
)

// Cookies. None of them can be read by a script, and none comes along with a
// form of another site.
const (
	cookieSession = "ordo-session"
	cookieGuest   = "ordo-guest"
	cookieForm    = "ordo-form"
	cookieTongue  = "ordo-language"
	cookiePaying  = "ordo-paying"
	// guestAge is how long a guest's cart is kept at most.
	guestAge = 3 * 24 * time.Hour
	// tongueAge is how long a chosen language is remembered.
	tongueAge = 365 * 24 * time.Hour
	// payingAge is how long a visit to a provider may take.
	payingAge = time.Hour
)

// visit is one request for a page, and who sends it.
type visit struct {
	s      *Server
	w      http.ResponseWriter
	r      *http.Request
	tongue *tongue
	// session is the token of who has logged in, guest the id of who has a cart
	// without that.
	session, guest string
	// key makes this browser's forms its own.
	key string
	// form is what was posted.
	form url.Values
}

func (s *Server) visit(w http.ResponseWriter, r *http.Request) *visit {
	s.site.Headers(w.Header())
	w.Header().Set("Vary", "Cookie, Accept-Language")
	v := &visit{s: s, w: w, r: r, form: url.Values{}, key: s.site.Key(w, r, cookieForm)}
	v.session, v.guest = v.cookie(cookieSession), v.cookie(cookieGuest)
	v.tongue = s.chooseTongue(v.cookie(cookieTongue), r.Header.Get("Accept-Language"))
	return v
}

func (v *visit) cookie(name string) string { return v.s.site.Cookie(v.r, name) }

func (v *visit) setCookie(name, value string, age time.Duration) {
	v.s.site.SetCookie(v.w, name, value, age)
}

func (v *visit) dropCookie(name string) { v.setCookie(name, "", -time.Second) }

// formToken is what every form of this visitor's pages brings with it.
func (v *visit) formToken() string { return page.Token(v.key, v.session) }

// value is a field as it was written, without space around it.
func (v *visit) value(name string) string { return strings.TrimSpace(v.form.Get(name)) }

// here is the address of the page, as a form may send the browser back to.
func (v *visit) here() string {
	if v.r.Method != http.MethodGet {
		return v.s.site.OwnPath(v.r.URL.Path)
	}
	q := v.r.URL.Query()
	q.Del("note")
	return page.Address(v.r.URL.EscapedPath(), q)
}

// goTo sends the browser on to a page of the shop.
func (v *visit) goTo(to string) error {
	v.s.site.GoTo(v.w, to)
	return nil
}

// goNoted is goTo a page that says what was done.
func (v *visit) goNoted(to, note string) error { return v.goTo(v.s.site.Noted(to, note)) }

// mustLogin is the answer to who has to log in first.
func mustLogin() error {
	return &problem{Status: http.StatusUnauthorized, Code: api.CodeUnauthorized}
}

// needUser refuses who has not logged in, before anything is asked.
func (v *visit) needUser() error {
	if v.session == "" {
		return mustLogin()
	}
	return nil
}

// fail answers with what went wrong: the page to log in, or one that says what
// it was, with the status that the API has for it.
func (v *visit) fail(err error) {
	p := refused(err)
	if p == nil {
		v.s.Log.Error("page failed", "path", v.r.URL.Path, "err", err)
		p = refused(fault())
	}
	if p.Code == api.CodeUnauthorized {
		if v.session != "" {
			v.dropCookie(cookieSession)
		}
		_ = v.goTo("/login?" + url.Values{"next": {v.here()}}.Encode()) // never fails
		return
	}
	title := v.tongue.code(p.Code)
	if err := v.show(p.Status, view{Page: "error", Title: title, D: v.explain(p)}); err != nil {
		v.s.Log.Error("page failed", "path", v.r.URL.Path, "err", err)
		http.Error(v.w, title, p.Status)
	}
}

func (v *visit) chooseLanguage() error {
	code := v.value("language")
	for _, t := range v.s.tongues {
		if t.Code == code {
			v.setCookie(cookieTongue, code, tongueAge)
		}
	}
	return v.goTo(v.form.Get("next"))
}
