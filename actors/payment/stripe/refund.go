package stripe

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"ordo/api"
)

// metaRefund is the metadata key under which a refund carries the shop's
// number, by which it is found again after the idempotency key has been
// forgotten.
const metaRefund = "ordo_refund"

// MaxRefunds is the most refunds of one payment that are read.
const MaxRefunds = 1000

// maxReason is the longest reason, in characters: Stripe's limit of a value
// in the metadata.
const maxReason = 500

// The states of a refund.
const (
	RefundSucceeded = "succeeded"
	// RefundPending: the bank has not answered.
	RefundPending = "pending"
	// RefundAction: the shopper has to say where the money is to go.
	RefundAction   = "requires_action"
	RefundFailed   = "failed"
	RefundCanceled = "canceled"
)

// Refund is one refund of a payment.
type Refund struct {
	// ID is Stripe's number, re_….
	ID string
	// PaymentIntent is the payment, pi_….
	PaymentIntent string
	// Number is the shop's; "" for one that was made on Stripe's pages.
	Number string
	Amount api.Money
	// Status is one of the Refund constants, or a word that is not known here.
	Status string
	// At is when it was made.
	At api.Time
	// Failure is Stripe's word for why it failed.
	Failure string
}

// Over says that the money did not go back and never will.
func (r *Refund) Over() bool { return r.Status == RefundFailed || r.Status == RefundCanceled }

// Refund sends an amount of a payment back under the shop's number, which is the
// one idempotency key that is ever used for it: under one number money goes back
// once within a day, however many ask, and who asks again looks through Refunds
// first. A fault that Stripe answers stays with the key for that day, and what
// it made may show late; a second key could send a part back twice, so the refund
// waits until Stripe has forgotten the first, which is a day at least.
func (c *Client) Refund(ctx context.Context, r Refund, reason string) (*Refund, error) {
	if err := checkID("pi_", r.PaymentIntent, "payment_intent"); err != nil {
		return nil, err
	}
	if !plainKey(r.Number) {
		return nil, api.Refuse(api.CodeInvalid, "must be 1 to %d letters", maxID).At("refund")
	}
	amount, _, err := toStripe(r.Amount)
	if err != nil {
		return nil, err
	}
	form := url.Values{
		"payment_intent":               {r.PaymentIntent},
		"amount":                       {strconv.FormatInt(amount, 10)},
		"metadata[" + metaRefund + "]": {r.Number},
	}
	if reason != "" {
		form.Set("metadata[reason]", clip(reason))
	}
	var w wireRefund
	if err := c.post(ctx, "/v1/refunds", r.Number, form, &w); err != nil {
		return nil, err
	}
	done, err := w.refund()
	if err == nil && !done.is(&r) {
		err = fmt.Errorf("asked for %s over %s, told about %.64q over %s", r.Number, r.Amount,
			done.Number, done.Amount)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return done, nil
}

// is tells whether two are the same refund, as far as the shop asks for it.
func (r *Refund) is(asked *Refund) bool {
	return r.PaymentIntent == asked.PaymentIntent && r.Number == asked.Number &&
		r.Amount == asked.Amount
}

// Refunds are all refunds of a payment, newest first, also those that failed.
// It answers ErrUnknown when there are more than MaxRefunds.
func (c *Client) Refunds(ctx context.Context, paymentIntent string) ([]Refund, error) {
	if err := checkID("pi_", paymentIntent, "payment_intent"); err != nil {
		return nil, err
	}
	query := url.Values{"payment_intent": {paymentIntent}, "limit": {"100"}}
	var list []Refund
	for len(list) < MaxRefunds {
		var page struct {
			Object string       `json:"object"`
			Data   []wireRefund `json:"data"`
			More   bool         `json:"has_more"`
		}
		if err := c.get(ctx, "/v1/refunds", query, &page); err != nil {
			return nil, err
		}
		if page.Object != "list" || page.More && len(page.Data) == 0 {
			return nil, fmt.Errorf("%w: %w: not a list of refunds", ErrUnknown, ErrMalformed)
		}
		for i := range page.Data {
			r, err := page.Data[i].refundOf(paymentIntent)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
			}
			list = append(list, *r)
		}
		if !page.More {
			return list, nil
		}
		query.Set("starting_after", list[len(list)-1].ID)
	}
	return nil, fmt.Errorf("%w: more than %d refunds of %s", ErrUnknown, MaxRefunds, paymentIntent)
}

// refundOf is a refund that must be one of a payment.
func (w *wireRefund) refundOf(paymentIntent string) (*Refund, error) {
	r, err := w.refund()
	if err == nil && r.PaymentIntent != paymentIntent {
		err = fmt.Errorf("%w: the refund is of %.64q", ErrMalformed, r.PaymentIntent)
	}
	return r, err
}

// wireRefund is a refund as Stripe writes it.
type wireRefund struct {
	Object        string            `json:"object"`
	ID            string            `json:"id"`
	PaymentIntent wireIntent        `json:"payment_intent"`
	Amount        int64             `json:"amount"`
	Currency      string            `json:"currency"`
	Status        string            `json:"status"`
	Created       int64             `json:"created"`
	Failure       string            `json:"failure_reason"`
	Metadata      map[string]string `json:"metadata"`
}

func (w *wireRefund) refund() (*Refund, error) {
	amount, err := fromStripe(w.Amount, w.Currency)
	if w.Object != "refund" || w.ID == "" || w.Status == "" || err != nil {
		return nil, fmt.Errorf("%w: not a refund: %.20q %.64q", ErrMalformed, w.Object, w.ID)
	}
	return &Refund{ID: w.ID, PaymentIntent: w.PaymentIntent.ID, Number: w.Metadata[metaRefund],
		Amount: amount, Status: w.Status, At: unix(w.Created), Failure: w.Failure}, nil
}

// clip is the beginning of a reason.
func clip(s string) string {
	if r := []rune(s); len(r) > maxReason {
		return string(r[:maxReason])
	}
	return s
}
