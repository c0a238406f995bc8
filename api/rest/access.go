package rest

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"ordo/api"
	"ordo/stores"
)

// access says who may call an operation. Rows U1, U4.
type access int

const (
	// anybody needs no session.
	anybody access = iota
	// visitors have a session or a guest id.
	visitors
	// users have a session.
	users
	// support has a session with the role support or admin, or the admin token.
	support
	// admins have a session with the role admin, or the admin token.
	admins
)

// guestHeader carries the id of a visitor who has not logged in.
const guestHeader = "Ordo-Guest"

// adminName stands for the bearer of the admin token, who has no account.
const adminName = "admin"

// caller is who sends a request.
type caller struct {
	// User is the user's id, or adminName.
	User string
	// Guest is set when there is no session.
	Guest string
	Role  string
	// Token is the session's, and Session what it opens.
	Token   string
	Session stores.Session
}

// owner is whose cart the caller uses.
func (c *caller) owner() string {
	if c.Guest != "" {
		return c.Guest
	}
	return c.User
}

// callerOf is who sends the request that a handler's context belongs to.
func callerOf(ctx context.Context) *caller { return &exchangeOf(ctx).who }

// guard lets a request pass when its caller may.
func (s *Server) guard(who access) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		x := exchangeOf(ctx.Context())
		x.begins(ctx)
		x.Header()["Cache-Control"] = noStore
		if err := s.admit(ctx.Context(), x, who); err != nil {
			_, w := humachi.Unwrap(ctx)
			writeProblem(w, s.problem(ctx.Context(), err))
			return
		}
		next(ctx)
	}
}

var noStore = []string{"no-store"}

func (s *Server) admit(ctx context.Context, x *exchange, who access) error {
	if who == anybody {
		return nil
	}
	token, ok := bearer(x.r.Header)
	if !ok {
		return s.admitGuest(ctx, x, who)
	}
	if who >= support && s.isAdminToken(token) {
		x.who = caller{User: adminName, Role: api.RoleAdmin}
		return nil
	}
	sess, err := s.Sessions.Get(ctx, token)
	if err != nil {
		return err
	}
	x.who = caller{User: sess.User, Role: sess.Role, Token: token, Session: sess}
	if sess.Operator != "" && (who < support || sess.Operator != s.operator) {
		return api.Refuse(api.CodeUnauthorized, "the session is not good for this")
	}
	if !slices.Contains(rolesFor(who), sess.Role) {
		return api.Refuse(api.CodeForbidden, "a %s may not do this", sess.Role)
	}
	return nil
}

// admitGuest is for those who send no token: visitors may be guests.
func (s *Server) admitGuest(ctx context.Context, x *exchange, who access) error {
	guest := x.r.Header.Get(guestHeader)
	if who != visitors || guest == "" {
		return api.Refuse(api.CodeUnauthorized, "log in and send the session as a Bearer token")
	}
	x.who.Guest = guest
	return s.checkGuest(ctx, guest)
}

func rolesFor(who access) []string {
	switch who {
	case admins:
		return []string{api.RoleAdmin}
	case support:
		return []string{api.RoleAdmin, api.RoleSupport}
	}
	return []string{api.RoleAdmin, api.RoleSupport, api.RoleShopper}
}

// isAdminToken compares hashes, so that neither content nor length shows in
// the time it takes. No token is the admin token of a shop that has none.
func (s *Server) isAdminToken(token string) bool {
	sum := sha256.Sum256([]byte(token))
	return s.AdminToken != "" && subtle.ConstantTimeCompare(sum[:], s.adminSum[:]) == 1
}

func bearer(h http.Header) (string, bool) {
	scheme, token, _ := strings.Cut(h.Get("Authorization"), " ")
	return token, strings.EqualFold(scheme, "bearer") && token != ""
}

// checkGuest refuses an id that the shop has not minted, so that nobody has
// more carts than ids were asked for.
func (s *Server) checkGuest(ctx context.Context, id string) error {
	if !stores.IsGuest(id) {
		return notAGuest()
	}
	err := s.Carts.CheckGuest(ctx, id)
	if is(err, api.CodeInvalid) {
		return notAGuest()
	}
	return err
}

func notAGuest() error {
	return api.Refuse(api.CodeInvalid, "this is not a guest id of the shop").At(guestHeader)
}

// Idempotent is the header by which a repeated request is recognised; embed it
// in the input of what must not happen twice. Row P7.
type Idempotent struct {
	// Key is the caller's own, up to 200 characters; empty for none.
	Key string `header:"Idempotency-Key" maxLength:"200" doc:"With the same key it happens once."`
}

// messageID is the id of the message that a request becomes: derived from the
// caller and the idempotency key when there is one, else fresh.
func (i *Idempotent) messageID(ctx context.Context, prefix string) string {
	if i.Key == "" {
		return api.NewID(prefix)
	}
	who := callerOf(ctx).User
	if who == "" {
		who = "anybody"
	}
	sum := sha256.Sum256([]byte(i.Key))
	return "idem-" + who + "-" + hex.EncodeToString(sum[:])
}
