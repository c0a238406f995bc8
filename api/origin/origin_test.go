package origin_test

import (
	"net/http/httptest"
	"testing"

	"ordo/api/origin"
)

func TestFromHere(t *testing.T) {
	for from, want := range map[string]bool{"127.0.0.1:5": true, "127.8.0.1:5": true, "[::1]:5": true,
		"[::ffff:127.0.0.1]:5": true, "192.0.2.1:5": false, "[2001:db8::1]:5": false, "": false,
		"127.0.0.1": false, "[::ffff:192.0.2.1]:5": false} {
		r := httptest.NewRequest("GET", "http://127.0.0.1:8080/", nil)
		if r.RemoteAddr = from; origin.FromHere(r) != want {
			t.Errorf("%q: %v", from, !want)
		}
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
			"Forwarded", "X-Real-IP", "Via", "CF-Connecting-IP", "True-Client-IP"} {
			proxied := r.Clone(t.Context())
			if proxied.Header.Set(name, "127.0.0.1"); origin.FromHere(proxied) {
				t.Errorf("%q by a proxy that sets %s", from, name)
			}
		}
	}
}

// A name that somebody else's DNS has made 127.0.0.1 is not this machine.
func TestFromHereByName(t *testing.T) {
	for host, want := range map[string]bool{"127.0.0.1": true, "127.0.0.1:8080": true,
		"localhost:8080": true, "LOCALHOST": true, "[::1]:8080": true, "[::1]": true,
		"127.8.8.8:80": true, "[::ffff:127.0.0.1]:80": true, "": false, "evil.example:8080": false,
		"localhost.evil.example": false, "127.0.0.1.evil.example:80": false, "192.0.2.1": false,
		"0.0.0.0:8080": false} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Host = "127.0.0.1:5", host
		if origin.FromHere(r) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}
