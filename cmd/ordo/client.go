package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ordo/api"
)

// patience is how long a call that may be repeated is tried while the shop
// does not answer, for example because it is being started again.
const patience = 2 * time.Minute

// maxAnswer bounds an answer's body, in bytes.
const maxAnswer = 128 << 20

// errUnreachable marks a call that got no answer: it may have been done or
// not.
var errUnreachable = errors.New("the shop does not answer")

// client speaks to the REST API of a shop over kept connections.
type client struct {
	base string
	http *http.Client
}

// request is one call of the API.
type request struct {
	Method, Path string
	// Token is the bearer: a session or the admin token.
	Token string
	// Key is the Idempotency-Key, if any.
	Key string
	// Body is sent as JSON; a []byte as CSV.
	Body any
	// Repeat allows to send it again when no answer came, or a 503.
	Repeat bool
}

// problem is an answer that says no. Its codes are those of api.
type problem struct {
	Status int      `json:"status"`
	Code   api.Code `json:"code"`
	Title  string   `json:"title"`
	Detail string   `json:"detail"`
	Place  string   `json:"place"`
	// Order is the order that was refused, when there is one.
	Order string          `json:"order"`
	Data  json.RawMessage `json:"data"`

	retryAfter time.Duration
}

// Error implements error.
func (p *problem) Error() string {
	s := fmt.Sprintf("%d %s: %s", p.Status, p.Code, or(p.Detail, p.Title))
	if p.Place != "" {
		s += " (" + p.Place + ")"
	}
	if len(p.Data) > 0 && len(p.Data) < 2000 {
		s += " " + string(p.Data)
	}
	return s
}

func newClient(base string, connections int) *client {
	t := &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections,
		IdleConnTimeout: time.Minute, DisableCompression: true}
	return &client{base: strings.TrimSuffix(base, "/"),
		http: &http.Client{Transport: t, Timeout: 30 * time.Second}}
}

// do makes a call and decodes the answer into out, which may be nil. A refusal
// comes back as a *problem, a call without an answer as errUnreachable.
func (c *client) do(ctx context.Context, r request, out any) error {
	deadline := time.Now().Add(patience)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := c.once(ctx, &r, out)
		wait, again := tryAgain(err, pause)
		if !r.Repeat || !again || time.Now().Add(wait).After(deadline) {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// errUndecided marks a change of which it is not known whether it was made.
var errUndecided = errors.New("it may have been done")

// undecided says how to go on after a call of which that is not known.
func undecided(err error, key string) error {
	if p := asProblem(err); p != nil && p.Status < http.StatusInternalServerError {
		return err
	}
	return fmt.Errorf("%w; %w: the same once more, with --key %s, does it once", err, errUndecided,
		key)
}

// tryAgain tells whether a call may go through later, and when.
func tryAgain(err error, pause time.Duration) (time.Duration, bool) {
	if errors.Is(err, errUnreachable) {
		return pause, true
	}
	p := asProblem(err)
	if p == nil || p.Status != http.StatusServiceUnavailable &&
		p.Status != http.StatusTooManyRequests {
		return 0, false
	}
	return max(pause, min(p.retryAfter, 5*time.Second)), true
}

func (c *client) once(ctx context.Context, r *request, out any) error {
	body, err := c.raw(ctx, r)
	if err != nil || out == nil || len(body) == 0 {
		return err
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s %s: answer: %w", r.Method, r.Path, err)
	}
	return nil
}

// raw makes a call once and answers the body, which may be of any form.
func (c *client) raw(ctx context.Context, r *request) ([]byte, error) {
	req, err := c.request(ctx, r)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		return nil, fmt.Errorf("%s %s: the answer is longer than %d bytes", r.Method, r.Path,
			maxAnswer)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	if res.StatusCode >= 300 {
		return nil, readProblem(res, body)
	}
	return body, nil
}

func (c *client) request(ctx context.Context, r *request) (*http.Request, error) {
	var body io.Reader
	contentType := ""
	switch b := r.Body.(type) {
	case nil:
	case []byte:
		body, contentType = bytes.NewReader(b), "text/csv"
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
		}
		body, contentType = bytes.NewReader(data), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, c.base+r.Path, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if r.Token != "" {
		req.Header.Set("Authorization", "Bearer "+r.Token)
	}
	if r.Key != "" {
		req.Header.Set("Idempotency-Key", r.Key)
	}
	return req, nil
}

func readProblem(res *http.Response, body []byte) error {
	p := &problem{}
	if err := json.Unmarshal(body, p); err != nil || p.Code == "" {
		p.Detail = strings.TrimSpace(string(body[:min(len(body), 200)]))
		p.Code = api.CodeInternal
	}
	p.Status = res.StatusCode
	if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
		p.retryAfter = time.Duration(n) * time.Second
	}
	return p
}

// asProblem is the refusal in err's chain, or nil.
func asProblem(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	return nil
}

// refusedWith tells whether err is a refusal with the code.
func refusedWith(err error, code api.Code) bool {
	p := asProblem(err)
	return p != nil && p.Code == code
}

// waitReady asks /readyz until the shop is ready.
func (c *client) waitReady(ctx context.Context, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		err := c.once(ctx, &request{Method: "GET", Path: "/readyz"}, nil)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the shop is not ready after %v: %w", limit, err)
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// sleep waits, or returns ctx's error when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
