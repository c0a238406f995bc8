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
		r := httptest.NewRequest("GET", "/", nil)
		if r.RemoteAddr = from; origin.FromHere(r) != want {
			t.Errorf("%q: %v", from, !want)
		}
		for _, name := range []string{"X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"} {
			proxied := r.Clone(t.Context())
			if proxied.Header.Set(name, "127.0.0.1"); origin.FromHere(proxied) {
				t.Errorf("%q by a proxy that sets %s", from, name)
			}
		}
	}
}

func TestClient(t *testing.T) {
	for _, c := range []struct{ from, said, want string }{
		{"192.0.2.1:5", "", "192.0.2.1"},
		{"192.0.2.1:5", "198.51.100.7", "192.0.2.1"},
		{"[::ffff:192.0.2.1]:5", "", "192.0.2.1"},
		{"[2001:db8::1:2]:5", "", "2001:db8::/64"},
		{"[2001:db8::3:4]:5", "", "2001:db8::/64"},
		{"127.0.0.1:5", "", "127.0.0.1"},
		{"127.0.0.1:5", "198.51.100.7", "198.51.100.7"},
		{"127.0.0.1:5", "203.0.113.1, 198.51.100.7", "198.51.100.7"},
		{"[::1]:5", "203.0.113.1,2001:db8::9", "2001:db8::/64"},
		{"127.0.0.1:5", "nobody", "127.0.0.1"},
		{"pipe", "", "pipe"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if r.RemoteAddr = c.from; c.said != "" {
			r.Header.Set("X-Forwarded-For", c.said)
		}
		if got := origin.Client(r); got != c.want {
			t.Errorf("%s, said %q: %q, want %q", c.from, c.said, got, c.want)
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "127.0.0.1:5"
	r.Header["X-Forwarded-For"] = []string{"203.0.113.1", "198.51.100.7"}
	if got := origin.Client(r); got != "198.51.100.7" {
		t.Errorf("of two headers: %q", got)
	}
}
