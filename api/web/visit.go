package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"ordo/api"
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
	secure(w.Header())
	v := &visit{s: s, w: w, r: r, form: url.Values{}}
	v.session, v.guest = v.cookie(cookieSession), v.cookie(cookieGuest)
	v.tongue = s.chooseTongue(v.cookie(cookieTongue), r.Header.Get("Accept-Language"))
	if v.key = v.cookie(cookieForm); len(v.key) != len(rand.Text()) {
		v.key = rand.Text()
		v.setCookie(cookieForm, v.key, 0)
	}
	return v
}

// cookieName binds cookies to this host where that is possible, so that no
// other one of the same domain can set them.
func (s *Server) cookieName(name string) string {
	if s.Secure {
		return "__Host-" + name
	}
	return name
}

func (v *visit) cookie(name string) string {
	c, err := v.r.Cookie(v.s.cookieName(name))
	if err != nil {
		return ""
	}
	return c.Value
}

// setCookie sets a cookie for so long; 0 until the browser is closed, and less
// to remove it.
func (v *visit) setCookie(name, value string, age time.Duration) {
	c := &http.Cookie{Name: v.s.cookieName(name), Value: value, Path: "/", HttpOnly: true,
		SameSite: http.SameSiteLaxMode, Secure: v.s.Secure, MaxAge: int(age.Seconds())}
	http.SetCookie(v.w, c)
}

func (v *visit) dropCookie(name string) { v.setCookie(name, "", -time.Second) }

// formToken is what a form of this visitor's pages must bring with it: only who
// has seen one of them can know it, and it ends with the session.
func (v *visit) formToken() string {
	mac := hmac.New(sha256.New, []byte(v.key))
	mac.Write([]byte(v.session))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// readForm reads what is posted, and refuses what no page of this visitor sent.
func (v *visit) readForm() error {
	if v.r.Method != http.MethodPost {
		return nil
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, MaxForm)
	if err := v.r.ParseForm(); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return &problem{Status: http.StatusRequestEntityTooLarge, Code: api.CodeTooLarge}
		}
		return &problem{Status: http.StatusBadRequest, Code: api.CodeInvalid}
	}
	v.form = v.r.PostForm
	if !hmac.Equal([]byte(v.form.Get("csrf")), []byte(v.formToken())) {
		return &problem{Status: http.StatusForbidden, Code: codeForm}
	}
	return nil
}

// codeForm is the one refusal that the pages make themselves.
const codeForm api.Code = "form"

// value is a field as it was written, without space around it.
func (v *visit) value(name string) string { return strings.TrimSpace(v.form.Get(name)) }

// here is the address of the page, as a form may send the browser back to.
func (v *visit) here() string {
	if v.r.Method != http.MethodGet {
		return ownPath(v.r.URL.Path)
	}
	q := v.r.URL.Query()
	q.Del("note")
	return address(v.r.URL.EscapedPath(), q)
}

// address is a path with a query, if there is one.
func address(path string, q url.Values) string {
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// ownPath is to when it is an address within the shop, and else the start
// page: what a browser is sent on to may have been written by anybody.
func ownPath(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" ||
		!strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") ||
		strings.ContainsAny(u.Path, "\\\r\n\t") {
		return "/"
	}
	u.Fragment = ""
	return address(u.EscapedPath(), u.Query())
}

// goTo sends the browser on to a page of the shop.
func (v *visit) goTo(to string) error {
	v.w.Header().Set("Location", ownPath(to))
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// goNoted is goTo a page that says what was done.
func (v *visit) goNoted(to, note string) error {
	u, err := url.Parse(ownPath(to))
	if err != nil {
		return v.goTo("/")
	}
	q := u.Query()
	q.Set("note", note)
	return v.goTo(address(u.EscapedPath(), q))
}

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
