// Package webhook makes the calls of the journal's effect api.EffectWebhook: it
// posts an event to an endpoint of somebody else's, signed after Standard
// Webhooks 1.0. It decides where a call may lead and what counts as an answer;
// it never decides whether a delivery is tried again.
package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"ordo/api"
)

// Limits of a call.
const (
	// Timeout is how long a try may take, with asking the journal what to send.
	Timeout = callTimeout + 10*time.Second
	// Parallel is how many tries run side by side: as many as the journal begins
	// for all endpoints together, so that none of them waits for another.
	Parallel = api.MaxWebhooks * api.WebhookWindow

	// callTimeout is how long an endpoint may take to answer.
	callTimeout = 15 * time.Second
	// MaxBody is the longest body that is sent, in bytes.
	MaxBody = 64 << 10
	// maxRead is how much of an answer is read, so that its connection can be used
	// again, and maxHeader the longest header of one, in bytes.
	maxRead   = 64 << 10
	maxHeader = 64 << 10
	// pingAfter is how long a connection of HTTP/2 is silent before it is asked
	// whether it lives, and pingTimeout how long it may take to answer. Together
	// they are shorter than a call: a connection that is dead fails one, and would
	// fail all that share it.
	pingAfter   = 5 * time.Second
	pingTimeout = 5 * time.Second
)

// Config is what a Sender is made of.
type Config struct {
	// Ask asks the journal.
	Ask func(ctx context.Context, q api.Query, answer any) error
	// Insecure allows http and addresses of private networks, for trying out.
	Insecure bool
	// Resolver finds the addresses of names; nil for the system's.
	Resolver *net.Resolver
	// Version of the shop, for receivers to see.
	Version string
}

// Sender makes the calls. It is safe for concurrent use.
type Sender struct {
	cfg  Config
	http *http.Client
}

// New makes a Sender. Close it after use.
func New(cfg Config) *Sender {
	dialer := &net.Dialer{Timeout: callTimeout, Resolver: cfg.Resolver}
	if !cfg.Insecure {
		dialer.Control = guard.Safe
	}
	return &Sender{cfg: cfg, http: &http.Client{
		Timeout: callTimeout,
		// Where an endpoint sends others, nobody has said that events may go.
		CheckRedirect: func(*http.Request,
			[]*http.Request) error {
			return http.ErrUseLastResponse
		},
		Transport: &http.Transport{
			Proxy: nil, DialContext: dialer.DialContext, TLSHandshakeTimeout: callTimeout,
			MaxIdleConnsPerHost: api.WebhookWindow, MaxIdleConns: Parallel,
			IdleConnTimeout: time.Minute, DisableCompression: true,
			MaxResponseHeaderBytes: maxHeader, ForceAttemptHTTP2: true,
			HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		},
	}}
}

// Close closes the connections that are kept.
func (s *Sender) Close() { s.http.CloseIdleConnections() }

// Do makes one try. Its value is what became of it, an api.WebhookOutcome; an
// error means that nothing is known of it, and that the same try is to be made
// again.
func (s *Sender) Do(ctx context.Context, e *api.Effect) (any, error) {
	var t api.WebhookTry
	if err := json.Unmarshal(e.Body, &t); err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	var c api.WebhookCall
	err := s.cfg.Ask(ctx, &api.GetWebhookCall{WebhookTry: t}, &c)
	if refusal := api.AsError(err); refusal != nil && refusal.Code == api.CodeNotFound {
		return &api.WebhookOutcome{Withdrawn: true}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	began := time.Now()
	out := s.call(ctx, t.Delivery, &c)
	if err := ctx.Err(); out.Status == 0 && err != nil {
		return nil, fmt.Errorf("webhook: broken off: %w", err)
	}
	out.Milliseconds = time.Since(began).Milliseconds()
	return out, nil
}

// call posts and reads the answer.
func (s *Sender) call(ctx context.Context, id string, c *api.WebhookCall) *api.WebhookOutcome {
	req, err := s.request(ctx, id, c, time.Now())
	if err != nil {
		return failed(err)
	}
	res, err := s.http.Do(req)
	if err != nil {
		return failed(err)
	}
	defer res.Body.Close()
	// What was read of an answer that breaks off is enough: its status counts.
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxRead))
	out := &api.WebhookOutcome{Status: res.StatusCode, Answer: text(body, api.MaxWebhookAnswer)}
	if out.Status == http.StatusTooManyRequests || out.Status == http.StatusServiceUnavailable {
		out.RetryAfter = retryAfter(res.Header.Get("Retry-After"), time.Now())
	}
	return out
}

// request is the call, signed. The address is checked again, because it may
// come from a process that allows more.
func (s *Sender) request(ctx context.Context, id string, c *api.WebhookCall, now time.Time) (
	*http.Request, error) {
	if err := CheckURL(c.URL, s.cfg.Insecure); err != nil {
		return nil, err
	}
	body, err := json.Marshal(&c.Payload)
	if err != nil {
		return nil, err
	}
	if len(body) > MaxBody {
		return nil, fmt.Errorf("the body has %d bytes, the limit is %d", len(body), MaxBody)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	signature, err := Sign(id, c, now, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "ordo/"+s.cfg.Version+" (webhooks)")
	req.Header.Set(standardwebhooks.HeaderWebhookID, id)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return req, nil
}

// Sign makes the signature of a body: with the secret and, for a while after a
// rotation, with the one before.
func Sign(id string, c *api.WebhookCall, now time.Time, body []byte) (string, error) {
	secrets := []string{c.Secret}
	if c.OldSecret != "" && api.TimeOf(now) < c.OldUntil {
		secrets = append(secrets, c.OldSecret)
	}
	var all []string
	for _, secret := range secrets {
		w, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return "", errors.New("the secret can't be read") // the error may quote it
		}
		one, err := w.Sign(id, now, body)
		if err != nil {
			return "", err
		}
		all = append(all, one)
	}
	return strings.Join(all, " "), nil
}

// failed is a call without an answer. The address is left out of why: it may
// have a secret of the receiver's in it.
func failed(err error) *api.WebhookOutcome {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return &api.WebhookOutcome{Error: text([]byte(err.Error()), api.MaxWebhookError)}
}

// text is the beginning of what somebody else has written, as one that can be
// stored and shown.
func text(b []byte, limit int) string {
	s := strings.ToValidUTF8(string(b[:min(len(b), limit)]), "")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, s)
}

// retryAfter reads the header of that name, seconds or a date; 0 for none.
func retryAfter(value string, now time.Time) int64 {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		return max(n, 0)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(int64(at.Sub(now).Seconds()), 0)
	}
	return 0
}
