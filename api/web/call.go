package web

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

// problem is what the API answers that is not a success.
type problem struct {
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
func (p *problem) Error() string { return string(p.Code) + ": " + p.Detail }

// refused is the problem in err's chain, or nil for a fault of the pages.
func refused(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	return nil
}

// is tells whether err is a problem with the code.
func is(err error, code api.Code) bool {
	p := refused(err)
	return p != nil && p.Code == code
}

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
	var in io.Reader
	if body != nil {
		in = bytes.NewReader(api.Raw(body))
	}
	r, err := http.NewRequestWithContext(v.r.Context(), method, path, in)
	if err != nil {
		return fmt.Errorf("web: %w", err)
	}
	v.sign(r)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i+1] != "" {
			r.Header.Set(header[i], header[i+1])
		}
	}
	a := reply{header: http.Header{}}
	v.s.API.ServeHTTP(&a, r)
	if a.status >= http.StatusBadRequest {
		p := &problem{Status: a.status, Code: api.CodeInternal}
		if err := json.Unmarshal(a.body.Bytes(), p); err != nil {
			return fmt.Errorf("web: %s %s answered %d: %w", method, path, a.status, err)
		}
		return p
	}
	if into == nil || a.body.Len() == 0 {
		return nil
	}
	if err := json.Unmarshal(a.body.Bytes(), into); err != nil {
		return fmt.Errorf("web: %s %s: %w", method, path, err)
	}
	return nil
}

// sign has a request to the API come from this visitor.
func (v *visit) sign(r *http.Request) {
	r.RemoteAddr = v.r.RemoteAddr
	r.TLS = v.r.TLS
	r.Host = v.r.Host
	if f := v.r.Header.Values("X-Forwarded-For"); len(f) > 0 {
		r.Header["X-Forwarded-For"] = f
	}
	if v.session != "" {
		r.Header.Set("Authorization", "Bearer "+v.session)
	} else if v.guest != "" {
		r.Header.Set("Ordo-Guest", v.guest)
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
