// Package stripe speaks the part of Stripe's API that a shop needs: Checkout
// Sessions, refunds, and signed webhooks. It decides whether an answer or an
// event is authentic and what it says: a fact, a refusal, or nothing. It never
// decides whether an order is paid: that is the payment actor's.
//
// The API is described at https://docs.stripe.com/api. What Stripe answers is
// believed because it comes over TLS with the account's key; what it posts is
// believed because it is signed.
package stripe

import (
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

	"ordo/api"
)

const (
	// DefaultAPI is where Stripe's API is.
	DefaultAPI = "https://api.stripe.com"
	// Version is the version of the API that all calls ask for. Events have
	// that of the webhook endpoint; what is read of them is the same in all.
	Version = "2025-10-29.clover"
	// DefaultTimeout bounds one call when Config.HTTP is nil; the context of a
	// call may end it sooner.
	DefaultTimeout = 10 * time.Second
	// MaxAnswer is the longest answer that is read, in bytes.
	MaxAnswer = 1 << 20
)

// maxID is the longest id of an object at Stripe, and of an idempotency key,
// in bytes.
const maxID = 255

// ErrUnknown says that the outcome of a call is not known: no answer, one that
// is not Stripe's, or one that says so itself (a lock, a limit, a fault, a key
// that is not accepted). The call may have been carried out. Whoever gets it
// changes no state and asks again.
var ErrUnknown = errors.New("stripe: the outcome is unknown")

// ErrMalformed says that an answer or an event does not have the form that the
// API gives it.
var ErrMalformed = errors.New("stripe: malformed")

// Codes of refusals that a caller acts on.
const (
	// CodeMissing: the account has no such object.
	CodeMissing = "resource_missing"
	// CodeRefunded: the charge has been refunded in full.
	CodeRefunded = "charge_already_refunded"
	// CodeBalance: the account holds too little at present.
	CodeBalance = "balance_insufficient"
)

// Error is Stripe's refusal of a request, which was not carried out.
type Error struct {
	// Status is the HTTP status: 400, 402 or 404.
	Status int `json:"-"`
	// Type is "invalid_request_error" or "card_error".
	Type string `json:"type"`
	// Code says what was wrong, for example CodeRefunded; often empty.
	Code string `json:"code"`
	// Message says it for a person.
	Message string `json:"message"`
	// Param is the parameter that it is about, if any.
	Param string `json:"param"`
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("stripe: refused: %d %.64s %.64s (%.200s)", e.Status, e.Code, e.Param,
		e.Message)
}

// final says whether Stripe surely did not carry the request out and will not
// when it is repeated. A wrong key (401, 403), another request under the same
// idempotency key, locks, limits and faults leave that open.
func (e *Error) final() bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusPaymentRequired, http.StatusNotFound:
	default:
		return false
	}
	switch e.Code {
	case "lock_timeout", "rate_limit", "idempotency_key_in_use":
		return false
	}
	return e.Type == "invalid_request_error" || e.Type == "card_error"
}

// Config is a merchant's account at Stripe. A key of the test mode makes it
// the account's sandbox, and nothing else changes.
type Config struct {
	// API is the base URL without a path; "" means DefaultAPI. It must be
	// https, or http on this machine, since the key is sent along.
	API string
	// SecretKey is the account's secret or restricted key (sk_…, rk_…).
	SecretKey string
	// WebhookSecret is the webhook endpoint's signing secret (whsec_…).
	WebhookSecret string
	// SuccessURL and CancelURL are where the browser goes after the payment,
	// and after the shopper turns back. Both only show.
	SuccessURL, CancelURL string
	// HTTP sends the calls; nil means a client with DefaultTimeout. Redirects
	// are never followed.
	HTTP *http.Client
	// Now is the clock for the age of events and for expiry; nil means
	// time.Now.
	Now func() time.Time
}

// Client calls Stripe in the name of one merchant. It is safe for concurrent
// use and keeps no state.
type Client struct {
	cfg Config
}

// New checks cfg and makes a client. It sends nothing.
func New(cfg Config) (*Client, error) {
	if cfg.API == "" {
		cfg.API = DefaultAPI
	}
	cfg.API = strings.TrimSuffix(cfg.API, "/")
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	client := http.Client{Timeout: DefaultTimeout}
	if cfg.HTTP != nil {
		client = *cfg.HTTP
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}
	cfg.HTTP = &client
	return &Client{cfg}, nil
}

func (cfg *Config) check() error {
	if !plainKey(cfg.SecretKey) || !plainKey(cfg.WebhookSecret) {
		return errors.New("stripe: the secret key and the webhook's signing secret are needed")
	}
	base, err := parseURL(cfg.API)
	if err != nil {
		return err
	}
	if base.Path != "" || base.RawQuery != "" || base.Scheme != "https" && !isLocal(base) {
		return fmt.Errorf("stripe: the API's URL %.200q is not https://HOST, nor http on this "+
			"machine", cfg.API)
	}
	for _, s := range []string{cfg.SuccessURL, cfg.CancelURL} {
		if _, err := parseURL(s); err != nil {
			return err
		}
	}
	return nil
}

// Live says whether the account's key moves real money.
func (c *Client) Live() bool {
	return strings.HasPrefix(c.cfg.SecretKey, "sk_live_") ||
		strings.HasPrefix(c.cfg.SecretKey, "rk_live_")
}

// plainKey says whether s could be a key: it goes into a header.
func plainKey(s string) bool {
	return s != "" && len(s) <= maxID && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~'
	})
}

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return nil, fmt.Errorf("stripe: %.200q is not a plain http or https URL", s)
	}
	return u, nil
}

// isLocal says whether a URL leads to this machine.
func isLocal(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// checkID answers CodeInvalid unless id could be Stripe's id of an object of
// that kind: it goes into a path.
func checkID(kind, id, place string) error {
	const letters = "0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if !strings.HasPrefix(id, kind) || len(id) == len(kind) || len(id) > maxID ||
		strings.Trim(id, letters) != "" {
		return api.Refuse(api.CodeInvalid, "%.64q is not an id %s…", id, kind).At(place)
	}
	return nil
}

// get asks for an object or a list and reads it into result.
func (c *Client) get(ctx context.Context, path string, query url.Values, result any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.cfg.API+path, nil)
	if err != nil {
		return fmt.Errorf("stripe: %w", err)
	}
	return c.send(req, result)
}

// post has Stripe do something, once for a key: a repetition under the same
// key within a day gets the answer of the first. Later it is done again.
func (c *Client) post(ctx context.Context, path, key string, form url.Values, result any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.cfg.API+path,
		strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("stripe: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	return c.send(req, result)
}

// errFault says that Stripe itself answered a fault, beside ErrUnknown.
var errFault = errors.New("a fault of Stripe's")

// keyTime is how long a key of a session serves that was made because of a fault.
const keyTime = 10 * time.Minute

// again is what to post under after a fault was answered: Stripe keeps that
// answer with the key for a day. It is for what may be there twice, as a session
// that nobody was told of may; never for a refund.
func (c *Client) again(key string) string {
	return key + "-" + strconv.FormatInt(c.cfg.Now().Unix()/int64(keyTime/time.Second), 10)
}

// send sends req and reads a 200 into result. What is not a 200 is an *Error
// when it is final, and ErrUnknown otherwise.
func (c *Client) send(req *http.Request, result any) error {
	req.Header.Set("Authorization", "Bearer "+c.cfg.SecretKey)
	req.Header.Set("Stripe-Version", Version)
	req.Header.Set("Accept", "application/json")
	status, body, err := c.exchange(req)
	if err != nil {
		return fmt.Errorf("%w: %s %s: %w", ErrUnknown, req.Method, req.URL.Path, err)
	}
	if status == http.StatusOK {
		if err := json.Unmarshal(body, result); err != nil {
			return fmt.Errorf("%w: %s %s: %w", ErrUnknown, req.Method, req.URL.Path, err)
		}
		return nil
	}
	var answer struct {
		Error Error `json:"error"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return fmt.Errorf("%w: %s %s: status %d", ErrUnknown, req.Method, req.URL.Path, status)
	}
	answer.Error.Status = status
	if answer.Error.final() {
		return &answer.Error
	}
	err = fmt.Errorf("%w: %s %s: status %d %.64s %.64s (%.200s)", ErrUnknown, req.Method,
		req.URL.Path, status, answer.Error.Type, answer.Error.Code, answer.Error.Message)
	if status >= http.StatusInternalServerError && answer.Error.Type == "api_error" {
		err = fmt.Errorf("%w: %w", errFault, err)
	}
	return err
}

// exchange sends req and reads at most MaxAnswer bytes.
func (c *Client) exchange(req *http.Request) (status int, body []byte, err error) {
	resp, err := c.cfg.HTTP.Do(req)
	if err != nil {
		var sent *url.Error // says the URL, which the caller does as well
		if errors.As(err, &sent) {
			err = sent.Err
		}
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	if err == nil && len(body) > MaxAnswer {
		err = fmt.Errorf("%w: the answer is over %d bytes", ErrMalformed, MaxAnswer)
	}
	return resp.StatusCode, body, err
}
