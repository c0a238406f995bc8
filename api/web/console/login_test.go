package console_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"ordo/api/web/console"
)

var hiddenToken = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// What is known of who has tried is bounded: so many others later it is forgotten.
func TestTriesAreForgotten(t *testing.T) {
	refuse := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"status":401,"code":"unauthorized"}`)) // nobody to tell
	}
	s, err := console.New(console.Config{API: http.HandlerFunc(refuse), Everywhere: true})
	if err != nil {
		t.Fatal(err)
	}
	page := httptest.NewRecorder()
	s.ServeHTTP(page, httptest.NewRequest("GET", "/console/login", nil))
	form := url.Values{"csrf": {hiddenToken.FindStringSubmatch(page.Body.String())[1]},
		"token": {"adm_guess"}}.Encode()
	try := func(from string) int {
		r := httptest.NewRequest("POST", "/console/login", strings.NewReader(form))
		r.RemoteAddr = from
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for _, c := range page.Result().Cookies() {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	const first = "192.0.2.1:5"
	status := 0
	for n := 0; n < 1000 && status != http.StatusTooManyRequests; n++ {
		if status = try(first); status != http.StatusForbidden && n < 10 {
			t.Fatalf("try %d: status %d", n, status)
		}
	}
	if status != http.StatusTooManyRequests {
		t.Fatalf("a thousand tries: status %d", status)
	}
	for n := range 2 * 4096 {
		if status := try(fmt.Sprintf("10.0.%d.%d:5", n>>8, n&255)); status != 403 {
			t.Fatalf("address %d: status %d", n, status)
		}
	}
	for n := range 10 {
		if status := try(first); status != http.StatusForbidden {
			t.Errorf("try %d of who is forgotten: status %d", n, status)
		}
	}
}
