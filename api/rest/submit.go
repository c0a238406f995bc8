package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"ordo/api"
	"ordo/bus"
	"ordo/bus/tracing"
	"ordo/stores"
)

// minSubmit is how long a submit waits for its commit even if the shopper does
// not want to wait at all.
const minSubmit = time.Second

type submitInput struct {
	Waiting
	Body submission
}

// submission is what the shopper clicked. Row S1.
type submission struct {
	Token   string `json:"token" minLength:"1" maxLength:"64"`
	Address string `json:"address_id" minLength:"1" maxLength:"64"`
	// Lines, when given, must be the checkout's.
	Lines     []submittedLine `json:"lines,omitempty" maxItems:"2000"`
	Coupon    string          `json:"coupon,omitempty" maxLength:"64"`
	Balance   *api.Money      `json:"balance,omitempty" doc:"How much to take from the balance."`
	PayMethod string          `json:"pay_method" minLength:"1" maxLength:"32"`
	Channel   string          `json:"channel" enum:"web,app"`
	Total     api.Money       `json:"total" doc:"What the shopper saw: the goods less the coupon."`
}

type submittedLine struct {
	SKU      string     `json:"sku" minLength:"1" maxLength:"64"`
	Quantity int64      `json:"quantity" minimum:"1" maximum:"1000000"`
	Price    *api.Money `json:"price,omitempty"`
}

// hash tells bodies apart that mean something else; spaces and the order of
// fields do not count.
func (b *submission) hash() string {
	sum := sha256.Sum256(api.Raw(b))
	return hex.EncodeToString(sum[:])
}

// submitted answers a submit.
type submitted struct {
	Status     int
	Location   string `header:"Location"`
	RetryAfter string `header:"Retry-After"`
	Body       passed[api.Order]
}

// attempt is one submit on its way.
type attempt struct {
	user, order, hash string
	wait              time.Duration
	body              *submission
	// sent is the message that became of it; nil before the token is claimed.
	sent *api.SubmitOrder
}

// submitOrder makes one order of a checkout token, however often and by
// however many it is sent. In this order: the claim binds the token to the
// body for good; the message is published under an id derived from the token,
// so that the order actor handles it once; whoever comes again, after a crash
// in between or after a week, publishes the same or finds the order there.
// Rows S2, S9.
func (s *Server) submitOrder(ctx context.Context, in *submitInput) (*submitted, error) {
	wait, err := in.parse(defaultWait)
	if err != nil {
		return nil, err
	}
	order, err := api.OrderID(in.Body.Token)
	if err != nil {
		return nil, err
	}
	tracing.RootOf(ctx).About(order)
	if in.Body.Balance == nil {
		zero := s.money(0)
		in.Body.Balance = &zero
	}
	a := attempt{user: callerOf(ctx).User, order: order, hash: in.Body.hash(), wait: wait,
		body: &in.Body}
	if m := in.Body.PayMethod; m != api.PayBalance && !slices.Contains(s.PayMethods, m) {
		// Offered the first time, perhaps.
		return s.again(ctx, a, api.Refuse(api.CodeInvalid, "%q is not offered as a way to pay", m).
			At("pay_method"))
	}
	address, err := s.address(ctx, in.Body.Address)
	if is(err, api.CodeNotFound) {
		// Removed since the first time, perhaps.
		return s.again(ctx, a,
			api.Refuse(api.CodeInvalid, "you have no such address").At("address_id"))
	}
	if err != nil {
		return nil, err
	}
	page, err := s.Checkouts.Claim(ctx, a.user, in.Body.Token, order, a.hash)
	if is(err, api.CodeTokenUnknown) {
		return s.again(ctx, a, err)
	}
	if err != nil {
		return nil, err
	}
	if err := in.Body.sameLines(page.Lines); err != nil {
		return nil, s.unclaim(ctx, &a, err)
	}
	a.sent = a.message(&page, address)
	return s.publish(ctx, a)
}

// unclaim frees the token of a body that never became an order, and passes
// why. If it fails the token stays bound, and a new checkout is needed.
func (s *Server) unclaim(ctx context.Context, a *attempt, why error) error {
	if err := s.Checkouts.Unclaim(ctx, a.user, a.body.Token, a.hash); err != nil {
		s.log.Warn("token stays claimed", "order", a.order, "err", err)
	}
	return why
}

// is tells whether err is a refusal with the code.
func is(err error, code api.Code) bool {
	refusal := api.AsError(err)
	return refusal != nil && refusal.Code == code
}

// sameLines refuses lines that are not those of the checkout.
func (b *submission) sameLines(want []api.ReserveLine) error {
	if b.Lines == nil {
		return nil
	}
	if len(b.Lines) != len(want) {
		return api.Refuse(api.CodeInvalid, "the checkout has %d lines; make a new one", len(want)).
			At("lines")
	}
	for i, l := range b.Lines {
		w := want[i]
		if l.SKU != w.SKU || l.Quantity != w.Quantity || l.Price != nil && *l.Price != w.Price {
			return api.Refuse(api.CodeInvalid, "this is not the checkout's line; make a new one").
				At(fmt.Sprintf("lines[%d]", i))
		}
	}
	return nil
}

func (a *attempt) message(page *stores.Checkout, address api.Address) *api.SubmitOrder {
	b := a.body
	return &api.SubmitOrder{Order: a.order, Token: b.Token, User: a.user, BodyHash: a.hash,
		Lines: page.Lines, Address: address, Coupon: b.Coupon, Balance: *b.Balance, Total: b.Total,
		PayMethod: b.PayMethod, Channel: b.Channel, FromCart: page.FromCart}
}

// publish hands the order over and waits for its decision. The watch begins
// before, because the decision may come before the commit of the submit is
// known here.
func (s *Server) publish(ctx context.Context, a attempt) (*submitted, error) {
	w := s.Edge.Watch(a.order)
	defer w.Stop()
	began := time.Now()
	commit, cancel := context.WithTimeout(ctx, max(a.wait, minSubmit))
	defer cancel()
	err := s.do(commit, "submit-"+a.order+"-"+a.hash[:16], a.sent, nil)
	switch {
	case is(err, api.CodeIDReused):
		// Sent before with another address in the book, or another body.
		return s.again(ctx, a, api.Refuse(api.CodeTokenReused,
			"this checkout was submitted before with another content").At("token"))
	case errors.Is(err, bus.ErrPending):
		return a.answer(s, nil)
	case is(err, api.CodeBusy) || is(err, api.CodeUnavailable) || is(err, api.CodeInternal):
		return nil, err
	case api.AsError(err) != nil:
		return nil, s.unclaim(ctx, &a, err)
	case err != nil:
		return nil, err
	}
	o, err := s.await(ctx, w, nil, waitFor{order: a.order, user: a.user, mine: true,
		wait: max(0, a.wait-time.Since(began)), until: (*seen).decided})
	if err != nil && !unreachable(err) {
		return nil, err
	}
	return a.answer(s, o)
}

// again answers with the order that this very body became before; unless there
// is one, with otherwise. Another user's token is answered like an unknown one.
func (s *Server) again(ctx context.Context, a attempt, otherwise error) (*submitted, error) {
	var known struct {
		User     string            `json:"user"`
		BodyHash string            `json:"body_hash"`
		Order    passed[api.Order] `json:"order"`
	}
	err := s.Edge.Ask(ctx, &api.GetSubmission{ID: a.order}, &known)
	if is(err, api.CodeNotFound) || err == nil && known.User != a.user {
		return nil, otherwise
	}
	if err != nil {
		return nil, err
	}
	if known.BodyHash != a.hash {
		return nil, api.Refuse(api.CodeTokenReused,
			"this checkout was submitted before with another content").At("token")
	}
	w := s.Edge.Watch(a.order)
	defer w.Stop()
	o, err := readOrder(known.Order.JSON)
	if err != nil {
		return nil, err
	}
	o, err = s.await(ctx, w, o, waitFor{order: a.order, user: a.user, mine: true, wait: a.wait,
		until: (*seen).decided})
	if err != nil && !unreachable(err) {
		return nil, err
	}
	return a.answer(s, o)
}

// answer is 201 for an order that came to be, the refusal's problem for one
// that did not, and 202 with where to look for one that is not decided.
func (a *attempt) answer(s *Server, o *seen) (*submitted, error) {
	out := &submitted{Status: http.StatusCreated, Location: "/v1/orders/" + a.order}
	switch {
	case o == nil || !o.decided():
		out.Status, out.RetryAfter = http.StatusAccepted, "1"
		if o == nil {
			o = &seen{raw: api.Raw(a.pending(s))}
		}
	case o.State == api.OrderRefused:
		reason := o.Reason
		if reason == nil {
			reason = api.Refuse(api.CodeUndone, "the order was refused")
		}
		p := problemOf(reason)
		p.Order = a.order
		return nil, p
	}
	out.Body.JSON = o.raw
	return out, nil
}

// pending is the order as far as it is known before the order actor knows it:
// as the checkout shows it.
func (a *attempt) pending(s *Server) *api.Order {
	m := a.sent
	o := &api.Order{ID: a.order, User: a.user, State: api.OrderPending,
		Lines: make([]api.LineSnapshot, len(m.Lines)), Address: m.Address, Total: m.Total,
		Balance: m.Balance, Coupon: m.Coupon, PayMethod: m.PayMethod, Channel: m.Channel,
		Subtotal: s.money(0)}
	for i, l := range m.Lines {
		o.Lines[i] = api.LineSnapshot{SKU: l.SKU, Price: l.Price, Quantity: l.Quantity}
		// The checkout was refused if this is too much.
		o.Subtotal.Amount += l.Price.Amount * l.Quantity
	}
	o.Discount = s.money(o.Subtotal.Amount - m.Total.Amount)
	o.Due = s.money(m.Total.Amount - m.Balance.Amount)
	return o
}
