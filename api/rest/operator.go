package rest

import (
	"context"
	"net/http"
	"net/netip"

	"ordo/actors/audit"
	"ordo/api"
)

// metrics is for the operator: it tells how much the shop sells.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	switch token, ok := bearer(r.Header); {
	case s.Metrics == nil:
		writeProblem(w, problemOf(api.Refuse(api.CodeNotFound, "there is nothing here")))
	case ok && s.isAdminToken(token), !ok && fromHere(r):
		s.Metrics.ServeHTTP(w, r)
	default:
		writeProblem(w, problemOf(api.Refuse(api.CodeUnauthorized,
			"metrics are for this machine, or with the admin token as a Bearer token")))
	}
}

// fromHere tells whether a request comes from this machine, and not through a
// proxy on it.
func fromHere(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && from.Addr().Unmap().IsLoopback() &&
		r.Header.Get("X-Forwarded-For") == "" && r.Header.Get("Forwarded") == ""
}

// auditFindings are what does not add up now.
type auditFindings struct {
	Items []audit.Deviation `json:"items"`
}

// getAudit is row M11.
func (s *Server) getAudit(context.Context, *none) (*answer[auditFindings], error) {
	found := []audit.Deviation{}
	if s.AuditFound != nil {
		found = s.AuditFound()
	}
	return &answer[auditFindings]{auditFindings{found}}, nil
}
