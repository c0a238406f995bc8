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
