package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// ACCEPT Y9 Y10
// Stripe answers a fault, which stays with the key, and does not list what the
// call made all the same until later: money goes back once, also when the next
// tries come in other ten minutes. What it did not make is made once the key is
// forgotten.
func TestStripeRefundThatWasAnsweredAFault(t *testing.T) {
	for _, made := range []bool{true, false} {
		s := newTill(t)
		s.settle(t)
		keys, hidden := map[string]bool{}, true
		s.Through = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			switch key := r.Header.Get("Idempotency-Key"); {
			case r.Method == http.MethodPost && hidden:
				if made && !keys[key] {
					next.ServeHTTP(httptest.NewRecorder(), r)
				}
				keys[key] = true
				w.WriteHeader(http.StatusInternalServerError)
				_, _ = w.Write([]byte(`{"error":{"type":"api_error","message":"sorry"}}`))
			case r.URL.Path == "/v1/refunds" && r.Method == http.MethodGet && hidden:
				_, _ = w.Write([]byte(`{"object":"list","data":[],"has_more":false}`))
			default:
				next.ServeHTTP(w, r)
			}
		}
		for range 3 {
			if got := s.refund(t, "rfd_1", 500); got != nil {
				t.Errorf("believed: %+v", got)
			}
			s.now = s.now.Add(10 * time.Minute)
		}
		if len(keys) != 1 || !keys["rfd_1"] {
			t.Errorf("it was asked for under the keys %v", keys)
		}
		hidden = false
		s.ForgetKeys()
		if got := s.refund(t, "rfd_1", 500); got == nil || got.Refusal != nil || got.Total.Amount != 500 {
			t.Errorf("%+v", got)
		}
		if n, sum := s.Refunds(); n != 1 || sum != 500 {
			t.Errorf("made by the faulty call %v: %d refunds of %d", made, n, sum)
		}
	}
}
