package rest

import (
	"context"
	"net/http"

	"ordo/actors/audit"
	"ordo/api"
	"ordo/api/origin"
)

// metrics is for the operator: it tells how much the shop sells.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	switch token, ok := bearer(r.Header); {
	case s.Metrics == nil:
		writeProblem(w, problemOf(api.Refuse(api.CodeNotFound, "there is nothing here")))
	case ok && s.isAdminToken(token), !ok && origin.FromHere(r):
		s.Metrics.ServeHTTP(w, r)
	default:
		writeProblem(w, problemOf(api.Refuse(api.CodeUnauthorized,
			"metrics are for this machine, or with the admin token as a Bearer token")))
	}
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
