package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	"ordo/actors/payment/stripe"
	"ordo/api"
)

// Stripe is the gateway of Stripe, for payments on its Checkout page. Row Y10.
type Stripe struct {
	client *stripe.Client
}

// NewStripe makes the gateway of a merchant's account.
func NewStripe(cfg stripe.Config) (*Stripe, error) {
	c, err := stripe.New(cfg)
	if err != nil {
		return nil, err
	}
	return &Stripe{c}, nil
}

// Link implements Gateway: only Stripe can say it.
func (g *Stripe) Link(*api.Attempt) (api.Link, error) {
	return api.Link{},
		api.Refuse(api.CodeInvalid, "Stripe has to be asked for a link").At("product")
}

// Open implements Gateway: a page, and the session's number as the link's Ref.
func (g *Stripe) Open(ctx context.Context, a *api.Attempt) (api.Link, error) {
	if a.Product != api.ProductPage {
		return api.Link{}, api.Refuse(api.CodeInvalid, "Stripe has a page alone").At("product")
	}
	s, err := g.client.Open(ctx, stripe.Checkout{Attempt: a.ID, Name: "Order " + a.Order,
		Amount: a.Amount, OpenedAt: a.OpenedAt, ExpiresAt: a.ExpiresAt})
	if err != nil {
		return api.Link{}, stripeRefusal(api.CodeNotPayable, err)
	}
	return api.Link{URL: s.URL, Ref: s.ID}, nil
}

// Query implements Gateway.
func (g *Stripe) Query(ctx context.Context, a *api.Attempt) (*api.Trade, error) {
	none := &api.Trade{Provider: api.PayStripe, Attempt: a.ID, State: api.TradeNone,
		Amount: a.Amount}
	if a.Link.Ref == "" {
		return none, nil
	}
	s, err := g.client.Session(ctx, a.Link.Ref)
	var refused *stripe.Error
	switch {
	case errors.As(err, &refused) && refused.Code == stripe.CodeMissing:
		return none, nil
	case err != nil:
		return nil, err
	case s.Attempt != a.ID:
		return nil, fmt.Errorf("%w: session %s is for %.64q, not %s", stripe.ErrUnknown, s.ID,
			s.Attempt, a.ID)
	}
	return tradeOf(s), nil
}

// Close implements Gateway. What Stripe does not expire it is asked about: it
// may have been paid.
func (g *Stripe) Close(ctx context.Context, a *api.Attempt) (*api.Trade, error) {
	if a.Link.Ref != "" {
		err := g.client.Expire(ctx, a.Link.Ref)
		if err != nil && !errors.As(err, new(*stripe.Error)) {
			return nil, err
		}
	}
	return g.Query(ctx, a)
}

// Refund implements Gateway. Stripe forgets an idempotency key after a day, so
// the refund is looked for before it is made; and again before a refusal is
// believed. Row Y9.
func (g *Stripe) Refund(ctx context.Context, c *api.GatewayCall) (api.RefundOutcome, error) {
	var none api.RefundOutcome
	known, total, err := g.refundOf(ctx, c)
	if err != nil {
		return none, stripeLater(err)
	}
	if known != nil {
		return stripeOutcome(known, total, c)
	}
	done, err := g.client.Refund(ctx, stripe.Refund{PaymentIntent: c.Attempt.TradeNo,
		Number: c.Refund, Amount: c.RefundAmount}, c.Reason)
	if err == nil {
		total.Amount += done.Amount.Amount
		return stripeOutcome(done, total, c)
	}
	var refused *stripe.Error
	if !errors.As(err, &refused) {
		return none, err
	}
	known, total, again := g.refundOf(ctx, c)
	switch {
	case again != nil:
		return none, stripeLater(again)
	case known != nil:
		return stripeOutcome(known, total, c)
	case refused.Code == stripe.CodeMissing || refused.Code == stripe.CodeBalance:
		return none, stripeLater(err)
	}
	return none, stripeRefusal(api.CodeRefundRefused, err)
}

// refundOf is the refund with the call's number, nil when there is none, and
// the sum of all refunds of the payment.
func (g *Stripe) refundOf(ctx context.Context, c *api.GatewayCall) (known *stripe.Refund,
	total api.Money, err error) {
	list, err := g.client.Refunds(ctx, c.Attempt.TradeNo)
	total.Currency = c.RefundAmount.Currency
	for i := range list {
		r := &list[i]
		if !r.Over() {
			total.Amount += r.Amount.Amount
		}
		if r.Number == c.Refund && (known == nil || known.Over()) {
			known = r
		}
	}
	return known, total, err
}

// stripeOutcome is that of a refund that is done, the final refusal of one that
// failed, and ErrPending otherwise.
func stripeOutcome(r *stripe.Refund, total api.Money, c *api.GatewayCall) (api.RefundOutcome,
	error) {
	out := api.RefundOutcome{Total: total, At: r.At}
	switch {
	case r.Over():
		return out, api.Refuse(api.CodeRefundRefused, "refund %s is %s", r.ID, r.Status)
	case r.Amount != c.RefundAmount:
		return out, api.Refuse(api.CodeRefundRefused, "Stripe knows the refund with %s, not %s",
			r.Amount, c.RefundAmount)
	case r.Status == stripe.RefundSucceeded:
		return out, nil
	}
	return out, fmt.Errorf("%w: refund %s is %.40q", ErrPending, r.ID, r.Status)
}

// stripeRefusal makes Stripe's final no the shop's; other errors stay.
func stripeRefusal(code api.Code, err error) error {
	var refused *stripe.Error
	if !errors.As(err, &refused) {
		return err
	}
	return api.Refuse(code, "%.64s %.300s", refused.Code, refused.Message)
}

// stripeLater makes a no that may be different another day ErrPending; other
// errors stay.
func stripeLater(err error) error {
	if errors.As(err, new(*stripe.Error)) {
		return fmt.Errorf("%w: %w", ErrPending, err)
	}
	return err
}

// Notice implements Gateway. Events of other things that the account sells are
// nothing to the shop. Row Y3.
func (g *Stripe) Notice(header http.Header, body []byte) (api.Message, *api.PaymentIncident) {
	e, err := g.client.ParseEvent(header, body)
	if err != nil {
		return nil, Incident(api.PayStripe, api.IncidentForged, nil, err)
	}
	if e.Refund != nil {
		return g.failedRefund(e)
	}
	if e.Session == nil {
		return nil, nil
	}
	if _, err := api.ParseID(api.PrefixPayment, e.Session.Attempt); err != nil {
		return nil, nil
	}
	t := tradeOf(e.Session)
	if incident := g.foreign(e, t); incident != nil {
		return nil, incident
	}
	if t.State == api.TradeWaiting {
		return nil, nil
	}
	return &api.NoteTrade{Trade: *t}, nil
}

// failedRefund is an event about a refund of the shop that has failed; others
// are told by asking.
func (g *Stripe) failedRefund(e *stripe.Event) (api.Message, *api.PaymentIncident) {
	r := e.Refund
	if _, err := api.ParseID(api.PrefixRefund, r.Number); err != nil {
		return nil, nil
	}
	t := &api.Trade{TradeNo: r.PaymentIntent, Amount: r.Amount}
	if incident := g.foreign(e, t); incident != nil {
		return nil, incident
	}
	if !r.Over() {
		return nil, nil
	}
	return &api.NoteRefund{Provider: api.PayStripe, Refund: r.Number, Ref: r.ID,
		Reason: cmp.Or(r.Failure, r.Status)}, nil
}

// foreign is the incident of an event of another account, or of play money in a
// shop that takes real money and the other way round.
func (g *Stripe) foreign(e *stripe.Event, t *api.Trade) *api.PaymentIncident {
	if e.Account == "" && e.Live == g.client.Live() {
		return nil
	}
	return Incident(api.PayStripe, api.IncidentForged, t,
		fmt.Errorf("the event is for account %.40q, with real money: %v", e.Account, e.Live))
}

// Accepted implements Gateway. Stripe looks at the status alone.
func (g *Stripe) Accepted() string { return "ok" }

// tradeOf is a session in the shop's words.
func tradeOf(s *stripe.Session) *api.Trade {
	t := &api.Trade{Provider: api.PayStripe, Attempt: s.Attempt, TradeNo: s.PaymentIntent,
		State: api.TradeWaiting, Amount: s.Amount, Refunded: s.Refunded, PaidAt: s.PaidAt,
		Ref: s.ID}
	switch {
	case s.Paid():
		t.State = api.TradePaid
	case s.Over():
		t.State = api.TradeClosed
	}
	return t
}
