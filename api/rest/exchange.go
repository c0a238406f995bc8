package rest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"ordo/api"
)

// exchange is one request and its answer. It holds the answer back until it is
// complete, so that it has a length and a panic can still become a 500; a
// stream is passed on as it is written. It lives no longer than the handler.
type exchange struct {
	w      http.ResponseWriter
	r      *http.Request
	status int
	answer []byte
	// head is true for a HEAD request: it is answered like a GET, but for the
	// body.
	head bool
	// streaming is true once the answer is passed on as it is written.
	streaming bool
	who       caller
	// broken is why the request's body could not be read to its end.
	broken error
	// op and route are the operation's id and its path; empty for none.
	op, route string
	// deadline is true while one is set for reading the body.
	deadline bool
}

type exchangeKey struct{}

// exchangeOf is the exchange a handler's context belongs to, or nil.
func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// maxKept is the largest answer buffer that is kept for the next request.
const maxKept = 64 << 10

// begin makes the exchange of a request; end it.
func begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := exchanges.Get().(*exchange)
	*x = exchange{w: w, answer: x.answer[:0]}
	x.r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	if r.Method == http.MethodHead {
		x.head, x.r.Method = true, http.MethodGet
	}
	if r.Body != nil && r.Body != http.NoBody {
		x.r.Body = requestBody{x, r.Body}
		x.boundBody()
	}
	return x
}

// boundBody bounds the time until the body is there. Whoever answers later than
// that calls bodyRead first. A writer that has no deadlines, as tests have, is
// read from memory.
func (x *exchange) boundBody() {
	if x.r.Body != nil && x.r.Body != http.NoBody {
		_ = x.SetReadDeadline(time.Now().Add(bodyTimeout))
	}
}

// end sends what was held back. What is left of the body net/http reads then.
func (x *exchange) end() {
	x.boundBody()
	if !x.streaming {
		x.send()
	}
	if cap(x.answer) > maxKept {
		x.answer = nil
	}
	kept := x.answer
	*x = exchange{answer: kept}
	exchanges.Put(x)
}

func (x *exchange) send() {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	if !x.streaming && len(x.answer) > 0 {
		x.w.Header()["Content-Length"] = []string{strconv.Itoa(len(x.answer))}
	}
	x.w.WriteHeader(x.status)
	if len(x.answer) > 0 && !x.head {
		// The caller may be gone; there is nobody to tell.
		_, _ = x.w.Write(x.answer)
	}
}

// Header implements http.ResponseWriter.
func (x *exchange) Header() http.Header { return x.w.Header() }

// WriteHeader implements http.ResponseWriter.
func (x *exchange) WriteHeader(status int) { x.status = status }

// Write implements http.ResponseWriter.
func (x *exchange) Write(b []byte) (int, error) {
	if x.streaming {
		return x.w.Write(b)
	}
	x.answer = append(x.answer, b...)
	return len(b), nil
}

// restart drops what was held back; false when the answer has begun.
func (x *exchange) restart() bool {
	if x.streaming {
		return false
	}
	clear(x.w.Header())
	x.status, x.answer = 0, x.answer[:0]
	return true
}

// stream sends what was held back and passes on the rest as it is written.
func (x *exchange) stream() *http.ResponseController {
	x.streaming = true
	x.send()
	return http.NewResponseController(x.w)
}

// SetReadDeadline bounds the reading of the body.
func (x *exchange) SetReadDeadline(t time.Time) error {
	x.deadline = true
	return http.NewResponseController(x.w).SetReadDeadline(t)
}

// bodyRead lifts the deadline for the body, which would otherwise cancel a
// request that waits longer than that, and tells whether the body broke off.
func (x *exchange) bodyRead() error {
	if x.deadline {
		x.deadline = false
		if err := http.NewResponseController(x.w).SetReadDeadline(time.Time{}); err != nil &&
			!errors.Is(err, http.ErrNotSupported) {
			return err
		}
	}
	if x.broken != nil {
		return api.Refuse(api.CodeInvalid, "the body broke off")
	}
	return nil
}

// requestBody reads a request's body; one that breaks off just ends, because
// that is the caller's mistake and no fault, and is told by bodyRead.
type requestBody struct {
	x    *exchange
	body io.ReadCloser
}

// Read implements io.Reader.
func (b requestBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	var timeout net.Error
	if err == nil || err == io.EOF || errors.As(err, &timeout) && timeout.Timeout() {
		return n, err
	}
	b.x.broken = err
	return n, io.EOF
}

// Close implements io.Closer.
func (b requestBody) Close() error { return b.body.Close() }
