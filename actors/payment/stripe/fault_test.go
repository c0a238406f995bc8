package stripe_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"ordo/actors/payment/stripe"
	"ordo/api"
)

// ACCEPT Y9 Y10
// A fault that Stripe answers stays with its key for a day; the next try is
// under another one. What the fault made all the same is found, and what was
// not answered keeps its key.
func TestFaultsStayWithTheirKeys(t *testing.T) {
	s, c := account(t)
	faulty, carriedOut, keys := map[string]bool{}, false, map[string]int{}
	s.Through = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		key := r.Header.Get("Idempotency-Key")
		keys[key]++
		if !faulty[key] {
			next.ServeHTTP(w, r)
			return
		}
		if carriedOut {
			next.ServeHTTP(httptest.NewRecorder(), r)
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
	if err := s.Pay(session.ID, false); err != nil {
		t.Fatal(err)
	}
	paid, err := c.Session(t.Context(), session.ID)
	if err != nil {
		t.Fatal(err)
	}
	refund := func(number string) (*stripe.Refund, error) {
		return c.Refund(t.Context(), stripe.Refund{PaymentIntent: paid.PaymentIntent, Number: number,
			Amount: api.Money{Amount: 100, Currency: "GBP"}}, "")
	}
	faulty["rfd_1"], faulty["rfd_2"] = true, true
	for range 3 {
		if r, err := refund("rfd_1"); err != nil || r.Number != "rfd_1" {
			t.Errorf("%+v, %v", r, err)
		}
	}
	carriedOut = true
	for range 3 {
		if r, err := refund("rfd_2"); err != nil || r.Number != "rfd_2" {
			t.Errorf("made all the same: %+v, %v", r, err)
		}
	}
	if n, sum := s.Refunds(); n != 2 || sum != 200 {
		t.Errorf("%d refunds of %d", n, sum)
	}
	// A proxy's fault says nothing of Stripe's.
	before := len(keys)
	s.Through = func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		keys[r.Header.Get("Idempotency-Key")]++
		w.WriteHeader(http.StatusBadGateway)
	}
	if _, err := refund("rfd_3"); !errors.Is(err, stripe.ErrUnknown) || len(keys) != before+1 {
		t.Errorf("%v, keys %v", err, keys)
	}
}
