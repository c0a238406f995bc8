package page_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"ordo/api/web/call"
	"ordo/api/web/page"
)

func TestOwnPath(t *testing.T) {
	shop, console := page.Site{}, page.Site{Root: "/console"}
	for to, want := range map[string][2]string{
		"/cart":                    {"/cart", "/console/"},
		"/console":                 {"/console", "/console"},
		"/console/stock?sku=a+b#x": {"/console/stock?sku=a+b", "/console/stock?sku=a+b"},
		"/consoles":                {"/consoles", "/console/"},
		"/console/../cart":         {"/console/../cart", "/console/"},
		"/console/%2e%2e/cart":     {"/console/%2e%2e/cart", "/console/"},
		"/../console/x":            {"/../console/x", "/../console/x"},
		"//evil.example":           {"/", "/console/"},
		"https://evil.example/":    {"/", "/console/"},
		"/console/\\evil.example":  {"/", "/console/"},
		"/console/\r\nx: y":        {"/", "/console/"},
		"javascript:alert(1)":      {"/", "/console/"},
		"":                         {"/", "/console/"},
	} {
		if got := shop.OwnPath(to); got != want[0] {
			t.Errorf("shop: %q becomes %q, want %q", to, got, want[0])
		}
		if got := console.OwnPath(to); got != want[1] {
			t.Errorf("console: %q becomes %q, want %q", to, got, want[1])
		}
	}
	if got := console.Noted("/console/stock?sku=x", "done"); got != "/console/stock?note=done&sku=x" {
		t.Errorf("noted %q", got)
	}
	r := httptest.NewRequest("GET", "/orders?state=paid&note=x&cursor=1", nil)
	if got := page.Next(r, "2"); got != "/orders?cursor=2&state=paid" || page.Next(r, "") != "" {
		t.Errorf("next %q", got)
	}
}

// A form is good for the browser and the session that it was made for.
func TestReadForm(t *testing.T) {
	token := page.Token("key", "session")
	for name, c := range map[string]struct {
		token, more string
		status      int
	}{
		"its own": {token, "", 0}, "none": {"", "", 403},
		"of another browser": {page.Token("other", "session"), "", 403},
		"of another session": {page.Token("key", ""), "", 403},
		"large":              {token, strings.Repeat("x", 200), 413},
		"not a form":         {token, "&%zz", 400},
	} {
		body := url.Values{"csrf": {c.token}, "a": {"b"}}.Encode() + c.more
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		form, err := page.ReadForm(httptest.NewRecorder(), r, 150, token)
		switch p := call.Refused(err); {
		case c.status == 0 && (err != nil || form.Get("a") != "b"):
			t.Errorf("%s: %v, %v", name, form, err)
		case c.status != 0 && (p == nil || p.Status != c.status):
			t.Errorf("%s: %v, want %d", name, err, c.status)
		}
	}
}

func TestAssets(t *testing.T) {
	files := fstest.MapFS{"assets/a.css": {Data: []byte("a { }")}}
	site := page.Site{Files: files, Root: "/x"}
	if err := site.Load(); err != nil {
		t.Fatal(err)
	}
	old := site.Asset("a.css")
	mux := http.NewServeMux()
	mux.HandleFunc(site.AssetPattern(), func(w http.ResponseWriter, r *http.Request) {
		if !site.ServeAsset(w, r) {
			http.NotFound(w, r)
		}
	})
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w
	}
	if w := get(old); w.Code != 200 || w.Body.String() != "a { }" ||
		!strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
		t.Errorf("%s: %d %v", old, w.Code, w.Header())
	}
	files["assets/a.css"] = &fstest.MapFile{Data: []byte("b { }")}
	if err := site.Load(); err != nil || site.Asset("a.css") == old {
		t.Errorf("a new text has the old address %s: %v", old, err)
	}
	for _, path := range []string{old, site.Asset("b.css")} {
		if w := get(path); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestCookies(t *testing.T) {
	for _, c := range []struct {
		site page.Site
		want string
	}{
		{page.Site{SameSite: http.SameSiteLaxMode}, "a=1; Path=/; HttpOnly; SameSite=Lax"},
		{page.Site{Secure: true, SameSite: http.SameSiteLaxMode},
			"__Host-a=1; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{page.Site{Root: "/x", Secure: true, SameSite: http.SameSiteStrictMode},
			"__Secure-a=1; Path=/x; HttpOnly; Secure; SameSite=Strict"},
	} {
		w := httptest.NewRecorder()
		c.site.SetCookie(w, "a", "1", 0)
		if got := w.Header().Get("Set-Cookie"); got != c.want {
			t.Errorf("%+v sets %q, want %q", c.site, got, c.want)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.AddCookie(w.Result().Cookies()[0])
		if c.site.Cookie(r, "a") != "1" || c.site.Cookie(r, "b") != "" {
			t.Errorf("%+v reads another cookie", c.site)
		}
		made := httptest.NewRecorder()
		key := c.site.Key(made, r, "form")
		r.AddCookie(made.Result().Cookies()[0])
		if c.site.Key(httptest.NewRecorder(), r, "form") != key || key == "" {
			t.Errorf("%+v: the key is another one", c.site)
		}
	}
	w := httptest.NewRecorder()
	(&page.Site{}).SetCookie(w, "a", "", -time.Second)
	if !strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("removed by %q", w.Header())
	}
}
