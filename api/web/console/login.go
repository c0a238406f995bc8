package console

import (
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"ordo/api/origin"
	"ordo/api/web/call"
)

// origins count how often logins have failed, by the address that they came from, so
// that nobody keeps others out. The zero value is ready for use by any number of
// goroutines.
type origins struct {
	mu sync.Mutex
	// young and old are two generations; old is dropped when young is full.
	young, old map[string]*rate.Limiter
}

// of is the limit of an address. Who has not tried lately has all tries.
func (o *origins) of(address string) *rate.Limiter {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.young[address]
	if l != nil {
		return l
	}
	if l = o.old[address]; l == nil {
		l = rate.NewLimiter(loginsPerSecond, 10*loginsPerSecond)
	}
	if o.young == nil || len(o.young) == maxOrigins {
		o.young, o.old = map[string]*rate.Limiter{}, o.young
	}
	o.young[address] = l
	return l
}

func (v *visit) showLogin() error { return v.loginPage(http.StatusOK, nil) }

func (v *visit) loginPage(status int, bad []string) error {
	next := v.r.URL.Query().Get("next")
	if v.form.Has("next") {
		next = v.form.Get("next")
	}
	return v.show(status, view{Page: "login", Title: "Log in", Bad: bad,
		D: map[string]string{"Next": v.s.site.OwnPath(next), "Email": v.value("email")}})
}

// login takes the admin token, or the e-mail address and password of an admin or
// a supporter.
func (v *visit) login() error {
	logins := v.s.logins.of(origin.Client(v.r))
	if logins.Tokens() < 1 {
		return v.loginPage(http.StatusTooManyRequests, []string{"Too many tries; wait a moment."})
	}
	wrong := "This token or user may not look in here."
	var made struct{ Token string }
	var err error
	if v.token = v.value("token"); v.token != "" {
		// The browser gets a session in its place, which ends.
		err = v.call(call.Call{Method: http.MethodPost, Path: "/session"}, &made)
	} else {
		err = v.s.api.Do(v.r, call.Call{Method: http.MethodPost, Path: "/v1/login",
			Body: map[string]string{"email": v.value("email"), "password": v.form.Get("password")}},
			&made)
		if p := call.Refused(err); p != nil && p.Status < http.StatusInternalServerError {
			wrong = "E-mail address or password is wrong."
		}
	}
	if v.token = made.Token; err == nil {
		err = v.get("/transactions?limit=1", nil)
	}
	if p := call.Refused(err); p != nil && p.Status < http.StatusInternalServerError {
		v.token = ""
		logins.Allow()
		return v.loginPage(http.StatusForbidden, []string{wrong})
	}
	if err != nil {
		return err
	}
	v.s.site.SetCookie(v.w, cookieToken, v.token, tokenAge)
	v.s.Log.Info("console login", "from", v.r.RemoteAddr)
	return v.goTo(v.form.Get("next"))
}

func (v *visit) logout() error {
	if v.token != "" {
		// If the session can't be ended now, it ends with its time.
		_ = v.call(call.Call{Method: http.MethodDelete, Path: "/session"}, nil)
	}
	v.s.site.SetCookie(v.w, cookieToken, "", -time.Second)
	return v.goTo(Prefix + "/login")
}
