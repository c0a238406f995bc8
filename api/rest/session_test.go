package rest_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"ordo/api"
	"ordo/api/rest"
)

// ACCEPT U4: a session stands for the admin token where operators work, and nowhere
// else; it ends, begins no other one, and is not good with another admin token.
func TestOperatorSessions(t *testing.T) {
	var cfg rest.Config
	s := newShop(t, func(c *rest.Config) { cfg = *c })
	begin := func() *shopper {
		made := decode[struct {
			Token   string   `json:"token"`
			Expires api.Time `json:"expires_at"`
		}](s.admin("POST", "/admin/v1/session", nil).want(201))
		if left := time.Until(made.Expires.Std()); left > 12*time.Hour || left < 11*time.Hour {
			t.Errorf("it lives for %v", left)
		}
		return &shopper{shop: s, token: made.Token}
	}
	one, other := begin(), begin()
	one.call("GET", "/admin/v1/transactions", nil).want(200)
	one.call("GET", "/admin/v1/stock/ledger?sku=mug", nil).want(200)
	one.call("GET", "/v1/me", nil).refused(401, api.CodeUnauthorized)
	one.call("GET", "/v1/cart", nil).refused(401, api.CodeUnauthorized)
	one.call("POST", "/admin/v1/session", nil).refused(403, api.CodeForbidden)
	s.shopper("ann@example.com").call("POST", "/admin/v1/session", nil).
		refused(403, api.CodeForbidden)
	s.admin("DELETE", "/admin/v1/session", nil).refused(422, api.CodeInvalid)
	one.call("DELETE", "/admin/v1/session", nil).want(204)
	one.call("GET", "/admin/v1/transactions", nil).refused(401, api.CodeUnauthorized)
	other.call("GET", "/admin/v1/transactions", nil).want(200)

	support := s.userWith(object{"email": "sam@example.com", "role": api.RoleSupport})
	support.call("POST", "/admin/v1/session", nil).refused(403, api.CodeForbidden)
	support.call("DELETE", "/admin/v1/session", nil).want(204)
	support.call("GET", "/v1/me", nil).refused(401, api.CodeUnauthorized)

	cfg.AdminToken += "x"
	h, err := rest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/admin/v1/transactions", nil)
	r.Header.Set("Authorization", "Bearer "+other.token)
	if h.ServeHTTP(w, r); w.Code != 401 {
		t.Errorf("with another admin token: status %d", w.Code)
	}
}
