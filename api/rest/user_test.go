package rest_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"ordo/api"
	"ordo/api/rest"
	"ordo/stores"
)

type session struct {
	Token      string
	User       api.User
	CartMerged bool `json:"cart_merged"`
}

var ann = object{"email": " Ann@Example.com", "password": "correct horse", "name": "Ann"}

// ACCEPT U1
func TestRegisterLoginLogout(t *testing.T) {
	s := newShop(t)
	first := decode[session](s.send("POST", "/v1/register", ann).want(201))
	if first.User.Email != "ann@example.com" || first.User.Role != api.RoleShopper {
		t.Errorf("registered %+v", first.User)
	}
	s.send("POST", "/v1/register", ann).refused(409, api.CodeEmailTaken)
	for _, bad := range []object{
		{"email": "ann@example.com", "password": "wrong horse"},
		{"email": "nobody@example.com", "password": "correct horse"},
		{"email": "", "password": ""},
	} {
		s.send("POST", "/v1/login", bad).refused(401, api.CodeBadLogin)
	}
	second := decode[session](s.send("POST", "/v1/login",
		object{"email": "ANN@example.com", "password": "correct horse"}).want(200))
	u := &shopper{shop: s, token: first.Token}
	if me := decode[api.User](u.call("GET", "/v1/me", nil).want(200)); me != first.User {
		t.Errorf("me %+v", me)
	}
	u.call("POST", "/v1/logout", nil).want(204)
	u.call("GET", "/v1/me", nil).refused(401, api.CodeUnauthorized)
	u.token = second.Token
	u.call("GET", "/v1/me", nil).want(200)
	// The logout is committed by the user actor.
	var ended api.RevocationList
	if err := s.edge.Ask(t.Context(), &api.ListRevocations{}, &ended); err != nil ||
		len(ended.Revocations) != 1 {
		t.Errorf("revocations %+v, %v", ended, err)
	}
	var known api.Account
	if err := s.edge.Ask(t.Context(), &api.GetUser{ID: first.User.ID}, &known); err != nil ||
		!strings.HasPrefix(known.PasswordHash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("password hash %q, %v", known.PasswordHash, err)
	}
}

// ACCEPT U1: a new password ends the other sessions.
func TestChangePassword(t *testing.T) {
	s := newShop(t)
	u := &shopper{shop: s, token: decode[session](s.send("POST", "/v1/register", ann).want(201)).Token}
	old := u.token
	change := object{"old_password": "wrong", "new_password": "battery staple"}
	u.call("POST", "/v1/me/password", change).refused(401, api.CodeBadLogin)
	change["old_password"] = "correct horse"
	u.token = decode[session](u.call("POST", "/v1/me/password", change).want(200)).Token
	u.call("GET", "/v1/me", nil).want(200)
	u.token = old
	u.call("GET", "/v1/me", nil).refused(401, api.CodeUnauthorized)
	s.send("POST", "/v1/login", object{"email": "ann@example.com", "password": "correct horse"}).
		refused(401, api.CodeBadLogin)
	s.send("POST", "/v1/login", object{"email": "ann@example.com", "password": "battery staple"}).
		want(200)
}

// ACCEPT P7: a registration that is sent again is the same one.
func TestRegisterTwiceWithAKey(t *testing.T) {
	s := newShop(t)
	a := decode[session](s.send("POST", "/v1/register", ann, "Idempotency-Key", "k").want(201))
	b := decode[session](s.send("POST", "/v1/register", ann, "Idempotency-Key", "k").want(201))
	if a.User != b.User || a.Token == b.Token {
		t.Errorf("registered %+v and %+v", a, b)
	}
	other := object{"email": "ann@example.com", "password": "another horse", "name": "Ann"}
	s.send("POST", "/v1/register", other, "Idempotency-Key", "k").refused(422, api.CodeIDReused)
}

// ACCEPT U2
func TestAddresses(t *testing.T) {
	s := newShop(t)
	u, other := s.shopper("ann@example.com"), s.shopper("bob@example.com")
	second := decode[api.Address](u.call("POST", "/v1/addresses", home,
		"Idempotency-Key", "a").want(201))
	again := decode[api.Address](u.call("POST", "/v1/addresses", home,
		"Idempotency-Key", "a").want(201))
	if second.ID != again.ID || second.Default {
		t.Errorf("addresses %+v and %+v", second, again)
	}
	if a := decode[api.Address](u.call("POST", "/v1/addresses/"+second.ID+"/default",
		nil).want(200)); !a.Default {
		t.Errorf("address %+v", a)
	}
	list := decode[api.AddressList](u.call("GET", "/v1/addresses", nil).want(200))
	if len(list.Addresses) != 2 || list.Addresses[0].ID != second.ID ||
		list.Addresses[1].Default {
		t.Errorf("addresses %+v", list)
	}
	for _, r := range []*reply{
		other.call("PUT", "/v1/addresses/"+second.ID, home),
		other.call("POST", "/v1/addresses/"+second.ID+"/default", nil),
		other.call("DELETE", "/v1/addresses/"+second.ID, nil),
	} {
		r.refused(404, api.CodeNotFound)
	}
	u.call("DELETE", "/v1/addresses/"+second.ID, nil).want(204)
	bad := object{"name": "", "phone": "1", "lines": []string{}, "city": "x", "country": "uk"}
	p := u.call("POST", "/v1/addresses", bad).refused(422, api.CodeInvalid)
	for _, field := range []string{"name", "phone", "lines", "country"} {
		if !strings.Contains(string(p.Data), `"`+field+`"`) {
			t.Errorf("%s is not named: %s", field, p.Data)
		}
	}
}

// ACCEPT K4
func TestGuestCart(t *testing.T) {
	s := newShop(t)
	s.send("POST", "/v1/register", ann).want(201)
	guest := decode[struct{ Guest string }](s.send("POST", "/v1/guests", nil).want(201)).Guest
	s.send("POST", "/v1/cart/lines", object{"sku": "mug", "quantity": 2}, "Ordo-Guest", guest).
		want(200)
	for _, forged := range []string{"gst_>", api.NewID("gst"), guest[:len(guest)-1], guest + "A"} {
		for _, r := range []*reply{s.send("GET", "/v1/cart", nil, "Ordo-Guest", forged),
			s.send("PUT", "/v1/cart", object{"lines": []object{line("mug", 1)}}, "Ordo-Guest", forged)} {
			if p := r.refused(422, api.CodeInvalid); p.Place != "Ordo-Guest" {
				t.Errorf("place %q", p.Place)
			}
		}
	}
	s.send("GET", "/v1/cart", nil).refused(401, api.CodeUnauthorized)
	login := object{"email": "ann@example.com", "password": "correct horse"}
	in := decode[session](s.send("POST", "/v1/login", login, "Ordo-Guest", guest).want(200))
	if !in.CartMerged {
		t.Error("not merged")
	}
	// Logging in again merges nothing twice.
	s.send("POST", "/v1/login", login, "Ordo-Guest", guest).want(200)
	u := &shopper{shop: s, token: in.Token}
	c := decode[cart](u.call("GET", "/v1/cart", nil).want(200))
	if len(c.Lines) != 1 || c.Lines[0].Quantity != 2 {
		t.Errorf("cart %+v", c)
	}
	if c := decode[cart](s.send("GET", "/v1/cart", nil, "Ordo-Guest", guest).want(200)); len(
		c.Lines) != 0 {
		t.Errorf("guest cart %+v", c)
	}
}

// ACCEPT K1 K4: a guest's cart is small, and an id that the shop does not know
// any more keeps nobody from logging in.
func TestGuestLimits(t *testing.T) {
	s := newShop(t)
	var csv strings.Builder
	csv.WriteString("sku,spu,name,price,stock\n")
	lines := make([]object, stores.MaxGuestLines+1)
	for i := range lines {
		fmt.Fprintf(&csv, "S%d,S%d,Sku,0.01,9\n", i, i)
		lines[i] = line(fmt.Sprintf("S%d", i), 1)
	}
	s.admin("POST", "/admin/v1/products:import", csv.String()).want(200)
	guest := decode[struct{ Guest string }](s.send("POST", "/v1/guests", nil).want(201)).Guest
	put := func(lines []object) *reply {
		return s.send("PUT", "/v1/cart", object{"lines": lines}, "Ordo-Guest", guest)
	}
	put(lines[1:]).want(200)
	add := s.send("POST", "/v1/cart/lines", lines[0], "Ordo-Guest", guest)
	for _, r := range []*reply{put(lines), add} {
		if p := r.refused(422, api.CodeLimitExceeded); p.Place != "lines" {
			t.Errorf("place %q", p.Place)
		}
	}
	s.send("POST", "/v1/register", ann, "Ordo-Guest", "gst_>").refused(422, api.CodeInvalid)
	in := decode[session](s.send("POST", "/v1/register", ann, "Ordo-Guest",
		api.NewID("gst")).want(201))
	if in.CartMerged || in.Token == "" {
		t.Errorf("session %+v", in)
	}
}

// Nobody is asked who they are, so only so many guests come in a second.
func TestGuestsAreMintedSlowly(t *testing.T) {
	s := newShop(t, func(c *rest.Config) { c.GuestsPerSecond = 1 })
	for n := range 1000 {
		r := s.send("POST", "/v1/guests", nil)
		if r.status == 201 {
			continue
		}
		r.refused(503, api.CodeBusy)
		if n < 10 || r.header.Get("Retry-After") == "" {
			t.Errorf("after %d guests: %v", n, r.header)
		}
		return
	}
	t.Error("a thousand guests were minted at one a second")
}

// What is wrong with an address is named as the form has it.
func TestPlacesInAnAddress(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	for place, v := range map[string]any{"lines[1]": []string{"1 High Street", strings.Repeat("x", 201)},
		"city": " ", "name": "Ann\nLee"} {
		bad := maps.Clone(home)
		key, _, _ := strings.Cut(place, "[")
		bad[key] = v
		for _, r := range []*reply{u.call("POST", "/v1/addresses", bad),
			u.call("PUT", "/v1/addresses/"+u.address, bad)} {
			if p := r.refused(422, api.CodeInvalid); p.Place != place {
				t.Errorf("place %q, want %q", p.Place, place)
			}
		}
	}
}
