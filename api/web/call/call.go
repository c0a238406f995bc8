// Package call lets pages call the REST API in their own process as a client
// does over the network. It decides nothing: what the API answers is passed on.
package call

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"ordo/api"
)

// Problem is what the API answers that is not a success.
type Problem struct {
	Status int             `json:"status"`
	Code   api.Code        `json:"code"`
	Detail string          `json:"detail"`
	Place  string          `json:"place"`
	Data   json.RawMessage `json:"data"`
	Order  string          `json:"order"`
	// Request finds a fault in the log.
	Request string `json:"request"`
}

// Error implements error.
func (p *Problem) Error() string { return string(p.Code) + ": " + p.Detail }

// Refused is the problem in err's chain, or nil for a fault of the pages.
func Refused(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	return nil
}

// Is tells whether err is a problem with the code.
func Is(err error, code api.Code) bool {
	p := Refused(err)
	return p != nil && p.Code == code
}

// API is the REST API in this process.
type API struct{ http.Handler }

// Call is what is asked of it.
type Call struct {
	Method, Path string
	// Body is sent as JSON; nil for none.
	Body any
	// Header are names and values, one after the other; those without a value are
	// left out.
	Header []string
}

// Do makes a call on behalf of a request for a page, and decodes the answer into
// into, which may be nil. What is not a success is a *Problem.
func (a API) Do(page *http.Request, c Call, into any) error {
	var in io.Reader
	if c.Body != nil {
		in = bytes.NewReader(api.Raw(c.Body))
	}
	r, err := http.NewRequestWithContext(page.Context(), c.Method, c.Path, in)
	if err != nil {
		return fmt.Errorf("web: %w", err)
	}
	Forward(r, page)
	if c.Body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(c.Header); i += 2 {
		if c.Header[i+1] != "" {
			r.Header.Set(c.Header[i], c.Header[i+1])
		}
	}
	w := reply{header: http.Header{}}
	a.ServeHTTP(&w, r)
	if w.status >= http.StatusBadRequest {
		p := &Problem{Status: w.status, Code: api.CodeInternal}
		if err := json.Unmarshal(w.body.Bytes(), p); err != nil {
			return fmt.Errorf("web: %s %s answered %d: %w", c.Method, c.Path, w.status, err)
		}
		return p
	}
	if into == nil || w.body.Len() == 0 {
		return nil
	}
	if err := json.Unmarshal(w.body.Bytes(), into); err != nil {
		return fmt.Errorf("web: %s %s: %w", c.Method, c.Path, err)
	}
	return nil
}

// Forward has a request to the API come from where the page's came from.
func Forward(r, page *http.Request) {
	r.RemoteAddr, r.TLS, r.Host = page.RemoteAddr, page.TLS, page.Host
	if f := page.Header.Values("X-Forwarded-For"); len(f) > 0 {
		r.Header["X-Forwarded-For"] = f
	}
}

// reply takes what the API answers.
type reply struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *reply) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *reply) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *reply) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// SetReadDeadline is for the API, which bounds the reading of a body: this one
// is there already.
func (a *reply) SetReadDeadline(time.Time) error { return nil }
