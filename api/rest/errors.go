package rest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
	"ordo/bus/tracing"
)

// statuses is the one table from a refusal's code to the HTTP status. A body
// that is no JSON at all is CodeInvalid too, but with 400.
var statuses = map[api.Code]int{
	api.CodeInvalid:        http.StatusUnprocessableEntity,
	api.CodeNotFound:       http.StatusNotFound,
	api.CodeUnauthorized:   http.StatusUnauthorized,
	api.CodeForbidden:      http.StatusForbidden,
	api.CodeBadLogin:       http.StatusUnauthorized,
	api.CodeEmailTaken:     http.StatusConflict,
	api.CodeIDReused:       http.StatusUnprocessableEntity,
	api.CodeTokenUnknown:   http.StatusNotFound,
	api.CodeTokenReused:    http.StatusUnprocessableEntity,
	api.CodeUnknownSKU:     http.StatusUnprocessableEntity,
	api.CodeOutOfStock:     http.StatusConflict,
	api.CodePriceChanged:   http.StatusConflict,
	api.CodeLimitExceeded:  http.StatusUnprocessableEntity,
	api.CodeCouponUnknown:  http.StatusUnprocessableEntity,
	api.CodeCouponUsed:     http.StatusConflict,
	api.CodeCouponNotValid: http.StatusConflict,
	api.CodeCouponMinimum:  http.StatusUnprocessableEntity,
	api.CodeBalanceTooLow:  http.StatusConflict,
	api.CodeTimeout:        http.StatusConflict,
	api.CodeUndone:         http.StatusConflict,
	api.CodeNotCancellable: http.StatusConflict,
	api.CodeCancelled:      http.StatusConflict,
	api.CodeNotPayable:     http.StatusConflict,
	api.CodeNothingToRetry: http.StatusConflict,
	api.CodeCannotSettle:   http.StatusConflict,
	api.CodeNotRefundable:  http.StatusConflict,
	api.CodeRefundTooMuch:  http.StatusConflict,
	api.CodeRefundRefused:  http.StatusConflict,
	api.CodeNotShippable:   http.StatusConflict,
	api.CodeWebhookOff:     http.StatusConflict,
	api.CodeTooLarge:       http.StatusRequestEntityTooLarge,
	api.CodeBusy:           http.StatusServiceUnavailable,
	api.CodeUnavailable:    http.StatusServiceUnavailable,
	api.CodeInternal:       http.StatusInternalServerError,
}

// Status is the HTTP status of a refusal's code; 422 for one that it does not
// know.
func Status(code api.Code) int {
	return cmp.Or(statuses[code], http.StatusUnprocessableEntity)
}

// HasStatus tells whether the table names a status for the code.
func HasStatus(code api.Code) bool { return statuses[code] != 0 }

// Problem is the body of every answer that is not a success, as RFC 9457 has
// it, with the refusal's stable code.
type Problem struct {
	// Title is the status in words.
	Title string `json:"title" doc:"The HTTP status in words."`
	// Status is the HTTP status.
	Status int `json:"status" doc:"The HTTP status."`
	// Code is one of the api.Code constants.
	Code api.Code `json:"code" doc:"What was refused, in a word that never changes its meaning."`
	// Detail says it for a person.
	Detail string `json:"detail" doc:"What was refused, for a person."`
	// Place is the field or CSV row that is meant.
	Place string `json:"place,omitempty" doc:"The field meant, for example lines[2].quantity."`
	// Data says more, in a form that the code fixes.
	Data json.RawMessage `json:"data,omitempty" doc:"More, in a form that the code fixes."`
	// Order is the order that was refused.
	Order string `json:"order,omitempty" doc:"The order that was refused."`
	// Request finds a fault in the log.
	Request string `json:"request,omitempty" doc:"Finds the fault in the shop's log."`
}

// Error implements error.
func (p *Problem) Error() string { return string(p.Code) + ": " + p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter after RFC 9457.
func (*Problem) ContentType(string) string { return problemType }

// GetHeaders implements huma.HeadersError: when to try again, or how to log in.
func (p *Problem) GetHeaders() http.Header {
	switch p.Status {
	case http.StatusServiceUnavailable:
		return http.Header{"Retry-After": {"1"}}
	case http.StatusUnauthorized:
		return http.Header{"Www-Authenticate": {`Bearer realm="ordo"`}}
	}
	return nil
}

const problemType = "application/problem+json"

// problemOf is the answer to a refusal.
func problemOf(e *api.Error) *Problem {
	status := Status(e.Code)
	return &Problem{Title: http.StatusText(status), Status: status, Code: e.Code,
		Detail: e.Message, Place: e.Place, Data: e.Data}
}

// problem is the answer to an error: a refusal as it is, what is only late or
// out of reach as 503, and everything else as a fault, which it logs.
func (s *Server) problem(ctx context.Context, err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	if refusal := api.AsError(err); refusal != nil {
		if refusal.Code == api.CodeUnavailable {
			// The cause names parts of the shop, which is for its log only.
			s.log.Warn("unavailable", "err", err)
			refusal = api.Refuse(api.CodeUnavailable, "a part of the shop does not answer now")
		}
		return problemOf(refusal)
	}
	if errors.Is(err, bus.ErrPending) {
		return problemOf(api.Refuse(api.CodeUnavailable,
			"this is not decided yet, but may still be done; look before you send it again"))
	}
	if unreachable(err) {
		s.log.Warn("unavailable", "err", err)
		return problemOf(api.Refuse(api.CodeUnavailable, "the shop can't be reached now"))
	}
	return s.fault(ctx, err)
}

// fault logs a fault under a request id and answers the id alone.
func (s *Server) fault(ctx context.Context, err error, attrs ...any) *Problem {
	p := problemOf(api.Refuse(api.CodeInternal, "something went wrong in the shop"))
	p.Request = api.NewID("req")
	attrs = append(attrs, "request", p.Request, "err", err)
	if x := exchangeOf(ctx); x != nil {
		attrs = append(attrs, "method", x.r.Method, "path", x.r.URL.Path)
	}
	if trace := tracing.RootOf(ctx).Trace(); trace != "" {
		attrs = append(attrs, "trace", trace)
	}
	s.log.Error("request failed", attrs...)
	return p
}

// unreachable tells whether an error only says that NATS, or the caller, is
// away or late.
func unreachable(err error) bool {
	for _, known := range []error{context.Canceled, context.DeadlineExceeded,
		nats.ErrTimeout, nats.ErrNoResponders, nats.ErrConnectionClosed, nats.ErrDisconnected,
		nats.ErrConnectionDraining, nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded,
		jetstream.ErrNoStreamResponse, jetstream.ErrJetStreamNotEnabled} {
		if errors.Is(err, known) {
			return true
		}
	}
	var e *jetstream.APIError
	return errors.As(err, &e) && e.Code >= http.StatusInternalServerError
}

// fieldError is one wrong field in the Data of CodeInvalid.
type fieldError struct {
	Place   string `json:"place"`
	Message string `json:"message"`
	// unexpected is true for a field that should not be there.
	unexpected bool
}

// translate turns the errors that huma answers itself into problems. They
// never echo what was sent, which may be a password.
func (s *Server) translate(ctx huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	code := api.CodeInvalid
	switch {
	case e.Status == http.StatusRequestEntityTooLarge:
		code = api.CodeTooLarge
	case e.Status >= http.StatusInternalServerError:
		return s.fault(ctx.Context(), errors.New(e.Detail)), nil
	}
	p := &Problem{Title: http.StatusText(e.Status), Status: e.Status, Code: code, Detail: e.Detail}
	if code == api.CodeTooLarge {
		// huma refuses what has as many bytes as its limit, ours is one less.
		p.Detail = fmt.Sprintf("the body has more than %d bytes", ctx.Operation().MaxBodyBytes-1)
	}
	if fields := fieldErrors(e.Errors); len(fields) > 0 {
		p.Place, p.Detail = fields[0].Place, fields[0].Message
		p.Data = api.Raw(fields)
	}
	return p, nil
}

// fieldErrors lists the wrong fields, first those that should not be there: a
// misspelled field is often why another one is missing.
func fieldErrors(details []*huma.ErrorDetail) (fields []fieldError) {
	for _, d := range details {
		if d != nil {
			fields = append(fields, fieldOf(d))
		}
	}
	slices.SortStableFunc(fields, func(a, b fieldError) int {
		switch {
		case a.unexpected && b.unexpected:
			return strings.Compare(a.Place, b.Place) // they come from a map
		case a.unexpected:
			return -1
		case b.unexpected:
			return 1
		}
		return 0
	})
	return fields[:min(len(fields), maxFieldErrors)]
}

// fieldOf is huma's error with the place of the field that it is about.
func fieldOf(d *huma.ErrorDetail) fieldError {
	f := fieldError{Place: place(d.Location), Message: d.Message,
		unexpected: d.Message == validation.MsgUnexpectedProperty}
	if strings.Contains(d.Location, markTwice) {
		f.Message = "the field comes twice"
	}
	before, after, _ := strings.Cut(validation.MsgExpectedRequiredProperty, "%s")
	name, missing := strings.CutPrefix(d.Message, before)
	if name, ok := strings.CutSuffix(name, after); missing && ok {
		f.Place = strings.TrimPrefix(f.Place+"."+name, ".")
	}
	return f
}

// maxFieldErrors is the most wrong fields that one answer lists.
const maxFieldErrors = 100

// place is the path of a field without where in the request it stands, and
// without the marks of unmarshal.
func place(location string) string {
	location = strings.ReplaceAll(location, markCase, "")
	for _, in := range []string{"body", "query", "path", "header"} {
		if rest, ok := strings.CutPrefix(location, in); ok {
			return strings.TrimPrefix(rest, ".")
		}
	}
	return location
}

// writeProblem answers outside of a huma handler.
func writeProblem(w http.ResponseWriter, p *Problem) {
	for name, values := range p.GetHeaders() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	// The caller may be gone; there is nobody to tell.
	_, _ = w.Write(append(api.Raw(p), '\n'))
}
