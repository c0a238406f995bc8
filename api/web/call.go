package web

import (
	"net/http"
	"slices"

	"ordo/api"
	"ordo/api/web/call"
)

// problem is what the API answers that is not a success.
type problem = call.Problem

// refused is the problem in err's chain, or nil for a fault of the pages.
func refused(err error) *problem { return call.Refused(err) }

// ofForm is the problem in err's chain that is for the form that was sent, to be
// shown with it: not that nobody is logged in, one of other codes, nor a fault.
func ofForm(err error, but ...api.Code) *problem {
	p := refused(err)
	if p == nil || p.Code == api.CodeUnauthorized || slices.Contains(but, p.Code) ||
		p.Status >= http.StatusInternalServerError {
		return nil
	}
	return p
}

// is tells whether err is a problem with the code.
func is(err error, code api.Code) bool { return call.Is(err, code) }

// get asks the API.
func (v *visit) get(path string, into any) error {
	return v.call(http.MethodGet, path, nil, into)
}

// post sends something to the API; a body may be nil.
func (v *visit) post(path string, body, into any, header ...string) error {
	return v.call(http.MethodPost, path, body, into, header...)
}

// call sends a request to the API as this visitor, with more headers by name
// and value. What is not a success is a *problem.
func (v *visit) call(method, path string, body, into any, header ...string) error {
	return call.API{Handler: v.s.API}.Do(v.r, call.Call{Method: method, Path: path, Body: body,
		Header: append(v.signature(), header...)}, into)
}

// signature are the headers by which a request to the API comes from this
// visitor.
func (v *visit) signature() []string {
	if v.session != "" {
		return []string{"Authorization", "Bearer " + v.session}
	}
	return []string{"Ordo-Guest", v.guest}
}
