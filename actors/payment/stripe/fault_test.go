package stripe_test

import (
	"errors"
	"net/http"
	"testing"

	"ordo/actors/payment/stripe"
)

// ACCEPT Y9 Y10
// A fault that Stripe answers stays with its key for a day. A session is asked
// for under another key, since a second one harms nobody; a refund has one key for
// good.
func TestFaultsStayWithTheirKeys(t *testing.T) {
	s, c := account(t)
	faulty, keys := map[string]bool{}, map[string]int{}
	s.Through = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		key := r.Header.Get("Idempotency-Key")
		keys[key]++
		if !faulty[key] {
			next.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write([]byte(`{"error":{"type":"api_error","message":"sorry"}}`))
	}
	faulty["pay_1"] = true
	session, err := c.Open(t.Context(), checkout("pay_1", 1999, "GBP"))
	if err != nil || session.Attempt != "pay_1" || keys["pay_1"] != 1 {
		t.Fatalf("%+v, %v", session, err)
	}
	if again, err := c.Open(t.Context(), checkout("pay_1", 1999, "GBP")); err != nil ||
		again.ID != session.ID {
		t.Errorf("again: %+v, %v", again, err)
	}
	// A proxy's fault says nothing of Stripe's.
	before := len(keys)
	s.Through = func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		keys[r.Header.Get("Idempotency-Key")]++
		w.WriteHeader(http.StatusBadGateway)
	}
	if _, err := c.Open(t.Context(), checkout("pay_2", 1999, "GBP")); !errors.Is(err,
		stripe.ErrUnknown) || len(keys) != before+1 {
		t.Errorf("%v, keys %v", err, keys)
	}
}
