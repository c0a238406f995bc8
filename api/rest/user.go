package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"ordo/api"
	"ordo/stores"
)

func (s *Server) userRoutes() {
	route(s, s.op("register", "POST /v1/register", anybody, "Make an account and log in"),
		s.register)
	route(s, s.op("login", "POST /v1/login", anybody, "Log in"), s.login)
	route(s, s.op("make-guest", "POST /v1/guests", anybody, "Mint a guest id"), s.makeGuest)
	route(s, s.op("logout", "POST /v1/logout", users, "End the session"), s.logout)
	route(s, s.op("get-me", "GET /v1/me", users, "The account"), s.getMe)
	route(s, s.op("change-password", "POST /v1/me/password", users,
		"Set a new password and end all other sessions"), s.changePassword)
	route(s, s.op("list-addresses", "GET /v1/addresses", users,
		"The address book, the default first"), s.listAddresses)
	route(s, s.op("make-address", "POST /v1/addresses", users, "Add an address"), s.makeAddress)
	route(s, s.op("put-address", "PUT /v1/addresses/{id}", users, "Change an address"),
		s.putAddress)
	route(s, s.op("delete-address", "DELETE /v1/addresses/{id}", users, "Remove an address"),
		s.deleteAddress)
	route(s, s.op("make-address-default", "POST /v1/addresses/{id}/default", users,
		"Make an address the default"), s.makeAddressDefault)
}

// login answers. Row U1.
type loggedIn struct {
	// Token is the session's.
	Token   string   `json:"token"`
	Expires api.Time `json:"expires_at"`
	User    api.User `json:"user"`
	// CartMerged is true when the guest's cart was merged into the user's.
	CartMerged bool `json:"cart_merged,omitempty"`
}

type registerInput struct {
	Idempotent
	Guest string `header:"Ordo-Guest" maxLength:"64" doc:"Whose cart to take over."`
	Body  registration
}

type registration struct {
	Email    string `json:"email" minLength:"3" maxLength:"254"`
	Password string `json:"password" minLength:"8" maxLength:"200"`
	Name     string `json:"name,omitempty" maxLength:"100"`
}

// register makes an account. With an idempotency key everything random is
// derived from the key, so that the repeated message is the same.
func (s *Server) register(ctx context.Context, in *registerInput) (*created[loggedIn], error) {
	m := &api.RegisterUser{ID: api.NewID(api.PrefixUser), Email: foldEmail(in.Body.Email),
		Name: strings.TrimSpace(in.Body.Name), Role: api.RoleShopper}
	if err := checkLoginGuest(in.Guest); err != nil {
		return nil, err
	}
	var salt []byte
	if in.Key != "" {
		sum := sha256.Sum256([]byte("ordo register\x00" + m.Email + "\x00" + in.Key))
		salt = sum[:saltBytes]
		m.ID = api.DeriveID(api.PrefixUser, time.Unix(0, 0), hex.EncodeToString(sum[:]))
	}
	var err error
	if m.PasswordHash, err = s.hashing.hash(ctx, in.Body.Password, salt); err != nil {
		return nil, err
	}
	var user api.User
	if err := s.do(ctx, in.messageID(ctx, "register"), m, &user); err != nil {
		return nil, err
	}
	out, err := s.begin(ctx, user, in.Guest)
	if err != nil {
		return nil, err
	}
	return &created[loggedIn]{http.StatusCreated, *out}, nil
}

type loginInput struct {
	Guest string `header:"Ordo-Guest" maxLength:"64" doc:"Whose cart to take over."`
	Body  credentials
}

type credentials struct {
	Email    string `json:"email" maxLength:"254"`
	Password string `json:"password" maxLength:"200"`
}

// login checks a password. It takes as long and answers the same when there
// is no such user.
func (s *Server) login(ctx context.Context, in *loginInput) (*answer[loggedIn], error) {
	if err := checkLoginGuest(in.Guest); err != nil {
		return nil, err
	}
	var known api.Account
	err := s.Edge.Ask(ctx, &api.GetUser{Email: foldEmail(in.Body.Email)}, &known)
	if refusal := api.AsError(err); refusal != nil && (refusal.Code == api.CodeNotFound ||
		refusal.Code == api.CodeInvalid) {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	ok, err := s.hashing.verify(ctx, in.Body.Password, known.PasswordHash)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, api.Refuse(api.CodeBadLogin, "no user has this e-mail address and password")
	}
	out, err := s.begin(ctx, known.User, in.Guest)
	if err != nil {
		return nil, err
	}
	return &answer[loggedIn]{*out}, nil
}

// begin begins a session and merges the guest's cart, if there is one. A cart
// that can't be merged now does not keep anybody from logging in: it stays
// where it is, for the next login. Nor does an id that is not the shop's own
// any more, as after the loss of all carts. Row K4.
func (s *Server) begin(ctx context.Context, user api.User, guest string) (*loggedIn, error) {
	out := loggedIn{User: user}
	if guest != "" {
		err := s.Carts.CheckGuest(ctx, guest)
		if err == nil {
			_, err = s.Carts.Merge(ctx, guest, user.ID)
		}
		if err != nil {
			s.log.Warn("guest cart not merged", "user", user.ID, "err", err)
		}
		out.CartMerged = err == nil
	}
	token, sess, err := s.Sessions.Create(ctx, user.ID, user.Role)
	out.Token, out.Expires = token, sess.Expires
	return &out, err
}

func checkLoginGuest(guest string) error {
	if guest != "" && !stores.IsGuest(guest) {
		return notAGuest()
	}
	return nil
}

func foldEmail(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

type guestMade struct {
	// Guest is sent in the header Ordo-Guest; who knows it has the cart.
	Guest string `json:"guest"`
}

// makeGuest mints a guest id. How many there are is limited, because each may
// have a cart and nobody is asked who they are.
func (s *Server) makeGuest(ctx context.Context, _ *none) (*created[guestMade], error) {
	if !s.guests.Allow() {
		return nil, api.Refuse(api.CodeBusy, "too many guests at once; try again")
	}
	id, err := s.Carts.MintGuest(ctx)
	return &created[guestMade]{http.StatusCreated, guestMade{id}}, err
}

// logout ends the session for good: it is committed by the user actor before
// it is answered, so that not even a power loss revives it.
func (s *Server) logout(ctx context.Context, _ *none) (*none, error) {
	who := callerOf(ctx)
	m := &api.EndSession{User: who.User, Session: stores.SessionHash(who.Token),
		Until: who.Session.Expires}
	if err := s.do(ctx, "logout-"+m.Session, m, nil); err != nil {
		return nil, err
	}
	s.Sessions.Revoke(api.Revocation{User: m.User, Session: m.Session})
	if err := s.Sessions.End(ctx, who.Token); err != nil {
		s.log.Warn("session ended but not deleted", "user", who.User, "err", err)
	}
	return nil, nil
}

func (s *Server) getMe(ctx context.Context, _ *none) (*answer[api.User], error) {
	known, err := s.account(ctx)
	if err != nil {
		return nil, err
	}
	return &answer[api.User]{known.User}, nil
}

func (s *Server) account(ctx context.Context) (known api.Account, err error) {
	err = s.Edge.Ask(ctx, &api.GetUser{ID: callerOf(ctx).User}, &known)
	return known, err
}

type passwordInput struct {
	Body struct {
		Old string `json:"old_password" maxLength:"200"`
		New string `json:"new_password" minLength:"8" maxLength:"200"`
	}
}

// changePassword ends all sessions of the user, this one included, and begins
// a new one.
func (s *Server) changePassword(ctx context.Context, in *passwordInput) (
	*answer[loggedIn], error) {
	known, err := s.account(ctx)
	if err != nil {
		return nil, err
	}
	ok, err := s.hashing.verify(ctx, in.Body.Old, known.PasswordHash)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, api.Refuse(api.CodeBadLogin, "this is not the password").At("old_password")
	}
	ended, err := s.writePassword(ctx, known.ID, in.Body.New)
	if err != nil {
		return nil, err
	}
	// This session began before, whatever the two clocks say.
	s.Sessions.Revoke(api.Revocation{User: known.ID,
		Before: max(ended.Before, callerOf(ctx).Session.Started+1)})
	out, err := s.begin(ctx, known.User, "")
	if err != nil {
		return nil, err
	}
	return &answer[loggedIn]{*out}, nil
}

// writePassword has a user's password changed, and answers which sessions that ends.
func (s *Server) writePassword(ctx context.Context, user, password string) (ended api.Revocation,
	err error) {
	hash, err := s.hashing.hash(ctx, password, nil)
	if err == nil {
		err = s.do(ctx, api.NewID("password"),
			&api.ChangePassword{User: user, PasswordHash: hash}, &ended)
	}
	return ended, err
}

func (s *Server) listAddresses(ctx context.Context, _ *none) (
	*answer[passed[api.AddressList]], error) {
	return pass[api.AddressList](ctx, s, &api.ListAddresses{User: callerOf(ctx).User})
}

// addressFields are an address as its owner writes it.
type addressFields struct {
	Name     string   `json:"name" minLength:"1" maxLength:"100" doc:"The consignee."`
	Phone    string   `json:"phone" minLength:"3" maxLength:"30"`
	Lines    []string `json:"lines" minItems:"1" maxItems:"5" doc:"Street and number."`
	City     string   `json:"city" minLength:"1" maxLength:"100"`
	Postcode string   `json:"postcode,omitempty" maxLength:"20"`
	Country  string   `json:"country" pattern:"^[A-Z]{2}$" doc:"An ISO 3166 alpha-2 code."`
	Default  bool     `json:"default,omitempty" doc:"Takes the default from the others."`
}

func (f *addressFields) address(id string) api.Address {
	return api.Address{ID: id, Name: f.Name, Phone: f.Phone, Lines: f.Lines, City: f.City,
		Postcode: f.Postcode, Country: f.Country, Default: f.Default}
}

type makeAddressInput struct {
	Idempotent
	Body addressFields
}

func (s *Server) makeAddress(ctx context.Context, in *makeAddressInput) (
	*created[api.Address], error) {
	out, err := s.saveAddress(ctx, in.messageID(ctx, "address"), in.Body.address(""))
	if err != nil {
		return nil, err
	}
	return &created[api.Address]{http.StatusCreated, *out}, nil
}

func (s *Server) saveAddress(ctx context.Context, id string, a api.Address) (
	*api.Address, error) {
	m, saved := &api.SaveAddress{User: callerOf(ctx).User, Address: a}, a
	err := s.do(ctx, id, m, &saved)
	if refusal := api.AsError(err); refusal != nil {
		// What is the message's address is the whole body here.
		refusal.Place = strings.TrimPrefix(refusal.Place, "address.")
	}
	return &saved, err
}

type putAddressInput struct {
	ByID
	Body addressFields
}

// putAddress changes an address that the user has; it never makes one.
func (s *Server) putAddress(ctx context.Context, in *putAddressInput) (
	*answer[api.Address], error) {
	if _, err := s.address(ctx, in.ID); err != nil {
		return nil, err
	}
	out, err := s.saveAddress(ctx, api.NewID("address"), in.Body.address(in.ID))
	if err != nil {
		return nil, err
	}
	return &answer[api.Address]{*out}, nil
}

func (s *Server) deleteAddress(ctx context.Context, in *ByID) (*none, error) {
	m := &api.DeleteAddress{User: callerOf(ctx).User, Address: in.ID}
	return nil, s.do(ctx, api.NewID("address"), m, nil)
}

func (s *Server) makeAddressDefault(ctx context.Context, in *ByID) (
	*answer[api.Address], error) {
	a, err := s.address(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	a.Default = true
	out, err := s.saveAddress(ctx, api.NewID("address"), a)
	if err != nil {
		return nil, err
	}
	return &answer[api.Address]{*out}, nil
}

// address is one of the caller's addresses, or CodeNotFound.
func (s *Server) address(ctx context.Context, id string) (api.Address, error) {
	var list api.AddressList
	if err := s.Edge.Ask(ctx, &api.ListAddresses{User: callerOf(ctx).User}, &list); err != nil {
		return api.Address{}, err
	}
	for _, a := range list.Addresses {
		if a.ID == id {
			return a, nil
		}
	}
	return api.Address{}, api.Refuse(api.CodeNotFound, "you have no such address")
}
