package page

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"time"

	"ordo/api"
	"ordo/api/web/call"
)

// CodeForm is the refusal of a form that no page of this visitor has.
const CodeForm api.Code = "form"

// cookieName binds cookies to the host where that is possible, so that no other
// one of the same domain can set them.
func (s *Site) cookieName(name string) string {
	switch {
	case s.Secure && s.Root == "":
		return "__Host-" + name
	case s.Secure:
		return "__Secure-" + name
	}
	return name
}

// Cookie is the value of a cookie; empty without it.
func (s *Site) Cookie(r *http.Request, name string) string {
	c, err := r.Cookie(s.cookieName(name))
	if err != nil {
		return ""
	}
	return c.Value
}

// SetCookie sets a cookie for so long; 0 until the browser is closed, and less to
// remove it. No script can read it.
func (s *Site) SetCookie(w http.ResponseWriter, name, value string, age time.Duration) {
	c := &http.Cookie{Name: s.cookieName(name), Value: value, Path: s.Root, HttpOnly: true,
		SameSite: s.SameSite, Secure: s.Secure, MaxAge: int(age.Seconds())}
	if c.Path == "" {
		c.Path = "/"
	}
	http.SetCookie(w, c)
}

// Key is what makes a browser's forms its own, from the cookie of that name, which
// is set where it lacks.
func (s *Site) Key(w http.ResponseWriter, r *http.Request, cookie string) string {
	key := s.Cookie(r, cookie)
	if len(key) != len(rand.Text()) {
		key = rand.Text()
		s.SetCookie(w, cookie, key, 0)
	}
	return key
}

// Token is what a form of a visitor's pages must bring with it: only who has seen
// one of them can know it, and it ends with the session.
func Token(key, session string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(session))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// ReadForm reads what is posted, of at most so many bytes, and refuses what does
// not bring the token. It is empty for other requests.
func ReadForm(w http.ResponseWriter, r *http.Request, most int64, token string) (
	url.Values, error) {
	if r.Method != http.MethodPost {
		return url.Values{}, nil
	}
	r.Body = http.MaxBytesReader(w, r.Body, most)
	if err := r.ParseForm(); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return url.Values{}, &call.Problem{Status: http.StatusRequestEntityTooLarge,
				Code: api.CodeTooLarge, Detail: "The form is too large."}
		}
		return url.Values{}, &call.Problem{Status: http.StatusBadRequest, Code: api.CodeInvalid,
			Detail: "The form can't be read."}
	}
	if !hmac.Equal([]byte(r.PostForm.Get("csrf")), []byte(token)) {
		return r.PostForm, &call.Problem{Status: http.StatusForbidden, Code: CodeForm,
			Detail: "The form is too old, or comes from elsewhere. Load the page again."}
	}
	return r.PostForm, nil
}
