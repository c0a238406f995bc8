package stripe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"ordo/api"
)

// How long a session may be open: Stripe takes an expires_at of 30 minutes to
// 24 hours from now, by its own clock, which may differ by skew.
const (
	minOpen = 30 * time.Minute
	maxOpen = 24 * time.Hour
	skew    = time.Minute
)

// maxAttempt is the longest attempt id, in bytes; maxName that of a name, in
// characters.
const (
	maxAttempt = 200 // Stripe's limit of client_reference_id
	maxName    = 250
)

// metaAttempt is the metadata key under which a session and its payment carry
// the attempt, for people who look at Stripe's pages.
const metaAttempt = "ordo_attempt"

// The states of a session, and of its payment. Events have the same words.
const (
	StatusOpen     = "open"
	StatusComplete = "complete"
	StatusExpired  = "expired"

	PaymentPaid   = "paid"
	PaymentUnpaid = "unpaid"
)

// Checkout is what one attempt asks the shopper for.
type Checkout struct {
	// Attempt is the shop's number, and the idempotency key: the same Checkout
	// opens one session, however often within a day it is asked for.
	Attempt string
	// Name is what the shopper reads, 1 to 250 characters.
	Name string
	// Amount is above zero.
	Amount api.Money
	// OpenedAt and ExpiresAt bound the time to pay. Stripe keeps a session
	// open for 30 minutes at least, so it outlives ExpiresAt and has to be
	// expired by a call; for 24 hours at most, so it may end before it.
	OpenedAt, ExpiresAt api.Time
}

// Session is a Checkout Session as Stripe says it is.
type Session struct {
	// ID is Stripe's number, cs_….
	ID string
	// Attempt is the shop's, as it was given; "" for a session that somebody
	// else made in the same account.
	Attempt string
	// URL is the page where it is paid; only an open session has one.
	URL string
	// Status and PaymentStatus are of the Status and Payment constants.
	Status, PaymentStatus string
	// Amount is the whole session's.
	Amount api.Money
	// PaymentIntent is the number of the payment, pi_…, once there is one.
	PaymentIntent string
	// Failed says that a payment which takes days was not made in the end.
	Failed bool
	// PaidAt is when it was paid and Refunded what went back since; both are
	// known only to Client.Session.
	PaidAt   api.Time
	Refunded api.Money
}

// Paid says that the money came.
func (s *Session) Paid() bool { return s.PaymentStatus == PaymentPaid }

// Over says that the money has not come and never will.
func (s *Session) Over() bool {
	return !s.Paid() && (s.Status == StatusExpired || s.Failed)
}

// Open makes a session. It answers CodeNotPayable when the time to pay is
// over, CodeInvalid for what is out of its limits, an *Error for Stripe's no
// and ErrUnknown for anything else. A session whose URL nobody was told can't
// be paid, so one that is lost with an answer does no harm.
func (c *Client) Open(ctx context.Context, k Checkout) (*Session, error) {
	form, err := c.checkoutForm(k)
	if err != nil {
		return nil, err
	}
	var w wireSession
	err = c.post(ctx, "/v1/checkout/sessions", k.Attempt, form, &w)
	if errors.Is(err, errFault) {
		err = c.post(ctx, "/v1/checkout/sessions", c.again(k.Attempt), form, &w)
	}
	if err != nil {
		return nil, err
	}
	s, err := w.session()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if s.Attempt != k.Attempt || s.Amount != k.Amount || !isPage(s.URL) {
		return nil, fmt.Errorf("%w: asked for %s over %s, got %.64q over %s at %.64q", ErrUnknown,
			k.Attempt, k.Amount, s.Attempt, s.Amount, s.URL)
	}
	return s, nil
}

func isPage(s string) bool {
	_, err := parseURL(s)
	return err == nil
}

// checkoutForm is the parameters of a new session. They depend on nothing but
// k, since Stripe refuses other parameters under the same key.
func (c *Client) checkoutForm(k Checkout) (url.Values, error) {
	amount, currency, err := toStripe(k.Amount)
	if err != nil {
		return nil, err
	}
	switch {
	case k.Attempt == "" || len(k.Attempt) > maxAttempt || !plainKey(k.Attempt):
		return nil, api.Refuse(api.CodeInvalid, "must be 1 to %d letters", maxAttempt).At("attempt")
	case strings.TrimSpace(k.Name) == "" || len([]rune(k.Name)) > maxName:
		return nil, api.Refuse(api.CodeInvalid, "must be 1 to %d characters", maxName).At("name")
	case k.OpenedAt <= 0 || k.ExpiresAt <= k.OpenedAt:
		return nil, api.Refuse(api.CodeInvalid, "must be after the opening").At("expires_at")
	case api.TimeOf(c.cfg.Now()) >= k.ExpiresAt:
		return nil, api.Refuse(api.CodeNotPayable, "the time to pay is over")
	}
	meta := "metadata[" + metaAttempt + "]"
	return url.Values{
		"mode":                                   {"payment"},
		"client_reference_id":                    {k.Attempt},
		meta:                                     {k.Attempt},
		"line_items[0][quantity]":                {"1"},
		"line_items[0][price_data][currency]":    {currency},
		"line_items[0][price_data][unit_amount]": {strconv.FormatInt(amount, 10)},
		"line_items[0][price_data][product_data][name]":      {k.Name},
		"payment_intent_data[metadata][" + metaAttempt + "]": {k.Attempt},
		"success_url": {c.cfg.SuccessURL},
		"cancel_url":  {c.cfg.CancelURL},
		"expires_at":  {strconv.FormatInt(expiry(k).Std().Unix(), 10)},
	}, nil
}

// expiry is when a session ends by itself: late enough that Stripe takes it
// at every try within the time to pay, and within what it takes at the first.
func expiry(k Checkout) api.Time {
	return min(k.ExpiresAt.Add(minOpen+skew), k.OpenedAt.Add(maxOpen-skew))
}

// Session asks for a session by its id. It answers an *Error with CodeMissing
// when the account has none, and ErrUnknown when nothing was learnt.
func (c *Client) Session(ctx context.Context, id string) (*Session, error) {
	if err := checkID("cs_", id, "session"); err != nil {
		return nil, err
	}
	var w wireSession
	err := c.get(ctx, "/v1/checkout/sessions/"+id,
		url.Values{"expand[]": {"payment_intent.latest_charge"}}, &w)
	if err != nil {
		return nil, err
	}
	s, err := w.session()
	if err == nil && s.ID != id {
		err = fmt.Errorf("asked about %s, told about %.64q", id, s.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return s, nil
}

// Expire ends an open session: nobody can pay it any more. Stripe answers an
// *Error for one that is not open, which may have been paid.
func (c *Client) Expire(ctx context.Context, id string) error {
	if err := checkID("cs_", id, "session"); err != nil {
		return err
	}
	var w wireSession
	return c.post(ctx, "/v1/checkout/sessions/"+id+"/expire", "", nil, &w)
}

// wireSession is a session as Stripe writes it.
type wireSession struct {
	Object        string            `json:"object"`
	ID            string            `json:"id"`
	Reference     string            `json:"client_reference_id"`
	Metadata      map[string]string `json:"metadata"`
	Mode          string            `json:"mode"`
	URL           string            `json:"url"`
	Status        string            `json:"status"`
	PaymentStatus string            `json:"payment_status"`
	AmountTotal   int64             `json:"amount_total"`
	Currency      string            `json:"currency"`
	PaymentIntent wireIntent        `json:"payment_intent"`
}

// wireIntent is a payment, of which Stripe writes the id alone or everything.
type wireIntent struct {
	ID     string     `json:"id"`
	Status string     `json:"status"`
	Charge wireCharge `json:"latest_charge"`
}

// wireCharge is a payment's last try.
type wireCharge struct {
	ID       string `json:"id"`
	Created  int64  `json:"created"`
	Refunded int64  `json:"amount_refunded"`
}

// UnmarshalJSON reads an id or an object.
func (w *wireIntent) UnmarshalJSON(text []byte) error {
	type object wireIntent
	return idOrObject(text, &w.ID, (*object)(w))
}

// UnmarshalJSON reads an id or an object.
func (w *wireCharge) UnmarshalJSON(text []byte) error {
	type object wireCharge
	return idOrObject(text, &w.ID, (*object)(w))
}

func idOrObject(text []byte, id *string, object any) error {
	if bytes.HasPrefix(text, []byte(`"`)) {
		return json.Unmarshal(text, id)
	}
	return json.Unmarshal(text, object)
}

// session is what a session says, or ErrMalformed.
func (w *wireSession) session() (*Session, error) {
	if w.Object != "checkout.session" || checkID("cs_", w.ID, "id") != nil {
		return nil, fmt.Errorf("%w: not a session: %.20q %.64q", ErrMalformed, w.Object, w.ID)
	}
	s := &Session{ID: w.ID, Attempt: w.Reference, URL: w.URL, Status: w.Status,
		PaymentStatus: w.PaymentStatus, PaymentIntent: w.PaymentIntent.ID}
	if s.Attempt == "" {
		s.Attempt = w.Metadata[metaAttempt]
	}
	if meta := w.Metadata[metaAttempt]; meta != "" && meta != s.Attempt {
		return nil,
			fmt.Errorf("%w: made for %.64q and sent with %.64q", ErrMalformed, meta, s.Attempt)
	}
	if s.Attempt == "" || w.Mode != "payment" {
		s.Attempt = ""
		return s, nil
	}
	var err, also error
	s.Amount, err = fromStripe(w.AmountTotal, w.Currency)
	s.Refunded, also = fromStripe(w.PaymentIntent.Charge.Refunded, w.Currency)
	if err = errors.Join(err, also); err != nil {
		return nil, err
	}
	if err := s.judge(w); err != nil {
		return nil, fmt.Errorf("%w: a session that is %.20q and %.20q with payment %.64q",
			ErrMalformed, s.Status, s.PaymentStatus, s.PaymentIntent)
	}
	return s, nil
}

// judge tells when a session was paid, or whether its payment has failed.
func (s *Session) judge(w *wireSession) error {
	if s.Status != StatusOpen && s.Status != StatusComplete && s.Status != StatusExpired {
		return ErrMalformed
	}
	if s.Paid() {
		s.PaidAt = unix(w.PaymentIntent.Charge.Created)
		return checkID("pi_", s.PaymentIntent, "payment_intent")
	}
	// A bank may take days, during which it is "processing".
	status := w.PaymentIntent.Status
	s.Failed = s.Status == StatusComplete &&
		(status == "requires_payment_method" || status == "canceled")
	return nil
}

// unix is the time of a number of seconds since 1970; 0 for one out of range.
func unix(seconds int64) api.Time {
	if seconds <= 0 || seconds > 1<<33 {
		return 0
	}
	return api.TimeOf(time.Unix(seconds, 0))
}
