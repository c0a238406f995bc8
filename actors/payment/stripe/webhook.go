package stripe

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ordo/api"
)

const (
	// SignatureHeader is the header that signs an event:
	// t=SECONDS,v1=HEX[,v1=HEX]….
	SignatureHeader = "Stripe-Signature"
	// Tolerance is how far the time of a signature may be from now, before or
	// after: an older event was played again. Stripe signs each delivery anew.
	Tolerance = 300 * time.Second
	// MaxEvent is the longest body of an event, in bytes.
	MaxEvent = 64 << 10
)

// maxHeader is the longest signature header, in bytes.
const maxHeader = 4 << 10

// ErrSignature says that an event has no signature, one that the secret did
// not make, or an old one. Nothing in it may be believed.
var ErrSignature = errors.New("stripe: the signature is missing, wrong or old")

// The types of events that say something about a session. What is neither of
// these nor about a refund is nothing to the shop.
const (
	EventCompleted   = "checkout.session.completed"
	EventAsyncPaid   = "checkout.session.async_payment_succeeded"
	EventAsyncFailed = "checkout.session.async_payment_failed"
	EventExpired     = "checkout.session.expired"
)

// The types of events that say something about a refund.
const (
	EventRefundFailed  = "refund.failed"
	EventRefundUpdated = "refund.updated"
	// EventChargeRefund is the same as EventRefundUpdated, of older versions.
	EventChargeRefund = "charge.refund.updated"
)

// Event is an authentic message of Stripe.
type Event struct {
	// ID is the same in all deliveries.
	ID string
	// Type is one of the Event constants, or one that is not known here.
	Type string
	// At is when it happened.
	At api.Time
	// Account is the connected account that it is about; "" for the endpoint's
	// own.
	Account string
	// Live says that it is about real money.
	Live bool
	// Session is the session as it was then; nil for other types of events.
	Session *Session
	// Refund is the refund as it was then; nil for other types of events, and
	// for refunds without a number of the shop.
	Refund *Refund
}

// ParseEvent verifies and reads an event: header is the request's, body its
// exact bytes, secret the endpoint's signing secret. It answers ErrSignature
// or ErrMalformed.
func ParseEvent(secret string, header http.Header, body []byte, now time.Time) (*Event, error) {
	if len(body) > MaxEvent {
		return nil, fmt.Errorf("%w: over %d bytes", ErrMalformed, MaxEvent)
	}
	if err := verify(secret, header.Values(SignatureHeader), body, now); err != nil {
		return nil, err
	}
	var w struct {
		Object   string `json:"object"`
		ID       string `json:"id"`
		Type     string `json:"type"`
		Created  int64  `json:"created"`
		Account  string `json:"account"`
		Livemode bool   `json:"livemode"`
		Data     struct {
			Object json.RawMessage `json:"object"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &w); err != nil || w.Object != "event" || w.Type == "" {
		return nil, fmt.Errorf("%w: not an event: %.60q", ErrMalformed, body)
	}
	e := &Event{ID: w.ID, Type: w.Type, At: unix(w.Created), Account: w.Account, Live: w.Livemode}
	switch e.Type {
	case EventCompleted, EventAsyncPaid, EventAsyncFailed, EventExpired:
		return e, e.readSession(w.Data.Object)
	case EventRefundFailed, EventRefundUpdated, EventChargeRefund:
		return e, e.readRefund(w.Data.Object)
	}
	return e, nil
}

// readRefund reads the refund of an event that is authentic.
func (e *Event) readRefund(object []byte) (err error) {
	var r wireRefund
	if err := json.Unmarshal(object, &r); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if r.Metadata[metaRefund] != "" {
		e.Refund, err = r.refund()
	}
	return err
}

// readSession reads the session of an event that is authentic.
func (e *Event) readSession(object []byte) error {
	var s wireSession
	if err := json.Unmarshal(object, &s); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var err error
	if e.Session, err = s.session(); err != nil {
		return err
	}
	e.Session.Failed = e.Session.Failed || e.Type == EventAsyncFailed && !e.Session.Paid()
	if e.Session.Paid() && e.Session.PaidAt == 0 {
		e.Session.PaidAt = e.At
	}
	return nil
}

// ParseEvent is ParseEvent with the account's secret, now.
func (c *Client) ParseEvent(header http.Header, body []byte) (*Event, error) {
	return ParseEvent(c.cfg.WebhookSecret, header, body, c.cfg.Now())
}

// verify answers ErrSignature unless one of the header's v1 signatures is the
// HMAC of "t.body" (https://docs.stripe.com/webhooks, "Verify manually").
// While a secret is being replaced there are several. Other schemes, such as
// v0, are not signatures.
func verify(secret string, headers []string, body []byte, now time.Time) error {
	if secret == "" || len(headers) != 1 || len(headers[0]) > maxHeader {
		return fmt.Errorf("%w: no secret, or %d headers", ErrSignature, len(headers))
	}
	at, signs, err := splitHeader(headers[0])
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || !signed(secret, at, body, signs) {
		return ErrSignature
	}
	if age := now.Unix() - seconds; age > int64(Tolerance/time.Second) ||
		age < -int64(Tolerance/time.Second) {
		return fmt.Errorf("%w: signed %d seconds ago", ErrSignature, age)
	}
	return nil
}

// signed tells whether one of the signatures is that of "t.body".
func signed(secret, at string, body []byte, signs [][]byte) bool {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(at + "."))
	mac.Write(body)
	want, match := mac.Sum(nil), false
	for _, sign := range signs {
		match = hmac.Equal(sign, want) || match
	}
	return match
}

// splitHeader is the time, in digits as they stand there, and the signatures
// of a header. Two times are none: which one is signed is then a matter of
// taste.
func splitHeader(header string) (at string, signs [][]byte, err error) {
	for _, part := range strings.Split(header, ",") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "t":
			if at != "" || !isSeconds(value) {
				return "", nil, fmt.Errorf("%w: the time is %.20q", ErrSignature, value)
			}
			at = value
		case "v1":
			if sign, err := hex.DecodeString(value); err == nil {
				signs = append(signs, sign)
			}
		}
	}
	if at == "" || len(signs) == 0 {
		return "", nil, fmt.Errorf("%w: no time or no v1", ErrSignature)
	}
	return at, signs, nil
}

// isSeconds tells whether a text is digits, few enough for a time.
func isSeconds(s string) bool {
	return s != "" && len(s) <= 12 && strings.Trim(s, "0123456789") == ""
}
