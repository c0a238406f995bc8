package console

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"ordo/api"
	"ordo/api/web/call"
	"ordo/api/web/page"
)

// Cookies. None of them can be read by a script, goes along with a request of
// another site, or to another page than the console's.
const (
	cookieToken = "ordo-console"
	cookieForm  = "ordo-console-form"
	// tokenAge is how long a login lasts: as the session that stands for the admin
	// token.
	tokenAge = 12 * time.Hour
)

// visit is one request for a page, and who sends it.
type visit struct {
	s *Server
	w http.ResponseWriter
	r *http.Request
	// token is a session: one that stands for the admin token, or that of an admin
	// or supporter; empty for who has not logged in.
	token string
	// key makes this browser's forms its own.
	key string
	// form is what was posted.
	form url.Values
	// question is what the page asks before something is done.
	question *question
}

func (s *Server) visit(w http.ResponseWriter, r *http.Request) *visit {
	v := &visit{s: s, w: w, r: r, form: url.Values{}, key: s.site.Key(w, r, cookieForm)}
	// Cookies of before had the admin token itself.
	if token := s.site.Cookie(r, cookieToken); strings.HasPrefix(token, "ses_") {
		v.token = token
	}
	return v
}

// formToken is what every form of this visitor's pages brings with it.
func (v *visit) formToken() string { return page.Token(v.key, v.token) }

// value is a field as it was written, without space around it.
func (v *visit) value(name string) string { return strings.TrimSpace(v.form.Get(name)) }

// here is the address of the page, as a form may send the browser back to.
func (v *visit) here() string {
	q := v.r.URL.Query()
	q.Del("note")
	return page.Address(v.r.URL.EscapedPath(), q)
}

// goTo sends the browser on to a page of the console.
func (v *visit) goTo(to string) error {
	v.s.site.GoTo(v.w, to)
	return nil
}

// notes are what a page may say was just done, by the word in its address.
var notes = map[string]string{
	"retried": "Asked for again, or handled again.",
	"retried-some": "Asked for again, or handled again. Dead letters of actors that do not " +
		"answer were not retried.",
	"settled":   "Settled with the participants.",
	"equal":     "Order and participants say the same; nothing was to be settled.",
	"cancelled": "The order is cancelled, or will be once its payment is closed.",
	"dismissed": "Dismissed.",
	"stock":     "The stock is changed.",
	"refunded":  "The refund is under way.",
	"grant":     "Granted: the money is on its way.",
	"deny":      "Denied.",
}

// goNoted is goTo a page that says what was done.
func (v *visit) goNoted(to, note string) error { return v.goTo(v.s.site.Noted(to, note)) }

func mustLogin() error {
	return &call.Problem{Status: http.StatusUnauthorized, Code: api.CodeUnauthorized}
}

// get asks the admin API.
func (v *visit) get(path string, into any) error {
	return v.call(call.Call{Method: http.MethodGet, Path: path}, into)
}

func (v *visit) call(c call.Call, into any) error {
	c.Path = "/admin/v1" + c.Path
	c.Header = append(c.Header, "Authorization", "Bearer "+v.token)
	return v.s.api.Do(v.r, c, into)
}

// fail answers with what went wrong: the page to log in, or one that says what
// it was, with the status that the API has for it.
func (v *visit) fail(err error) {
	p := call.Refused(err)
	if p == nil {
		v.s.Log.Error("page failed", "path", v.r.URL.Path, "err", err)
		p = call.Refused(fault())
	}
	if p.Code == api.CodeUnauthorized {
		if v.token != "" {
			v.s.site.SetCookie(v.w, cookieToken, "", -time.Second)
		}
		_ = v.goTo(Prefix + "/login?" + url.Values{"next": {v.here()}}.Encode()) // never fails
		return
	}
	page := view{Page: "error", Title: http.StatusText(p.Status), D: p}
	if err := v.show(p.Status, page); err != nil {
		v.s.Log.Error("page failed", "path", v.r.URL.Path, "err", err)
		http.Error(v.w, page.Title, p.Status)
	}
}
