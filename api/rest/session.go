package rest

import (
	"context"
	"net/http"
	"time"

	"ordo/api"
	"ordo/stores"
)

// operatorAge is how long a session lasts that stands for the admin token.
const operatorAge = 12 * time.Hour

func (s *Server) sessionRoutes() {
	route(s, s.op("make-session", "POST /admin/v1/session", admins,
		"A session of 12 hours that stands for the admin token, for a browser"), s.makeSession)
	route(s, s.op("end-session", "DELETE /admin/v1/session", support,
		"End the session that is sent"), s.endSession)
}

// operatorOf is what the sessions of an admin token are called by, so that they end
// with it. Nobody can tell the token from it.
func operatorOf(adminToken string) string { return stores.SessionHash("operator " + adminToken) }

// sessionMade is a session's token, and when it ends by itself.
type sessionMade struct {
	Token   string   `json:"token"`
	Expires api.Time `json:"expires_at"`
}

// makeSession is for the admin token alone: a session that began another one would
// never end.
func (s *Server) makeSession(ctx context.Context, _ *none) (*created[sessionMade], error) {
	if callerOf(ctx).Token != "" {
		return nil, api.Refuse(api.CodeForbidden, "only the admin token may do this")
	}
	token, sess, err := s.Sessions.CreateOperator(ctx, adminName, s.operator, operatorAge)
	return &created[sessionMade]{http.StatusCreated, sessionMade{token, sess.Expires}}, err
}

// endSession ends an operator's session in the bucket, where all processes look, and
// a user's as logout does.
func (s *Server) endSession(ctx context.Context, in *none) (*none, error) {
	who := callerOf(ctx)
	switch {
	case who.Token == "":
		return nil, api.Refuse(api.CodeInvalid, "the admin token is not a session")
	case who.Session.Operator != "":
		return nil, s.Sessions.End(ctx, who.Token)
	}
	return s.logout(ctx, in)
}
