// Package gateway is the port to payment providers: what the shop asks of one,
// in the shop's own words, and the work of the payment actor's effects. It
// decides what a provider's answer means: a fact, a final refusal, or nothing
// at all. It never decides whether an order is paid.
package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"ordo/actors/payment/alipay"
	"ordo/actors/payment/stripe"
	"ordo/api"
)

// MaxNotice is the longest notice that is read, in bytes.
const MaxNotice = 64 << 10

// Gateway is a payment provider. Its calls answer a fact or an *api.Error, the
// provider's final refusal; any other error, ErrPending among them, means that
// the outcome is not known, and whoever gets it asks again later and changes
// nothing. All calls may be repeated.
type Gateway interface {
	// Link makes how a shopper pays an attempt without asking the provider,
	// for products that are not api.Remote.
	Link(a *api.Attempt) (api.Link, error)
	// Open asks the provider how a shopper pays.
	Open(ctx context.Context, a *api.Attempt) (api.Link, error)
	// Query asks what became of an attempt.
	Query(ctx context.Context, a *api.Attempt) (*api.Trade, error)
	// Close has the provider take no money for an attempt any more. The answer
	// is the trade as it is afterwards; one that was paid before is api.TradePaid.
	Close(ctx context.Context, a *api.Attempt) (*api.Trade, error)
	// Refund sends money back under the call's number. Its outcome has no
	// Refusal, and of the other fields what the provider says.
	Refund(ctx context.Context, c *api.GatewayCall) (api.RefundOutcome, error)
	// Notice reads what the provider posted: an *api.NoteTrade or an
	// *api.NoteRefund, nil for what does not concern the shop. The incident is
	// not nil for what can't be believed.
	Notice(header http.Header, body []byte) (api.Message, *api.PaymentIncident)
	// Accepted is the whole body that tells the provider that its notice was
	// committed.
	Accepted() string
}

// ErrBroken says that a provider is not asked at present, because it failed
// often lately.
var ErrBroken = errors.New("not asked for a while, after many failures")

// ErrPending says that a provider works and that the outcome is not known yet,
// or may be another one later. It is no failure of the provider.
var ErrPending = errors.New("the outcome is pending")

// breakTry is how many calls must succeed after a provider has rested.
const breakTry = 2

// Guard says when a provider is not asked: after Failures in a row, for Rest; 0
// for 10 and 10 s.
type Guard struct {
	Failures uint
	Rest     time.Duration
}

// Gateways are the providers of a shop, by their api.Pay constant, each behind
// a breaker. Make it with New.
type Gateways struct {
	list map[string]guarded
}

type guarded struct {
	Gateway
	breaker circuitbreaker.CircuitBreaker[any]
}

// New makes the set of a shop's providers, guarded as usual.
func New(list map[string]Gateway) *Gateways { return NewGuarded(list, Guard{}) }

// NewGuarded makes the set of a shop's providers.
func NewGuarded(list map[string]Gateway, by Guard) *Gateways {
	g := &Gateways{list: map[string]guarded{}}
	for name, each := range list {
		g.list[name] = guarded{each, circuitbreaker.NewBuilder[any]().
			WithFailureThreshold(cmp.Or(by.Failures, 10)).WithDelay(cmp.Or(by.Rest,
			10*time.Second)).
			WithSuccessThreshold(breakTry).Build()}
	}
	return g
}

// Breakers tell by provider how its breaker is: closed while it is asked, open
// while it rests, half-open while it is tried.
func (g *Gateways) Breakers() map[string]string {
	states := map[string]string{}
	for name, each := range g.list {
		states[name] = each.breaker.State().String()
	}
	return states
}

// Get is the provider of that name, or nil.
func (g *Gateways) Get(name string) Gateway {
	each, ok := g.list[name]
	if !ok {
		return nil
	}
	return each.Gateway
}

// Do does one try of an effect of the payment actor. Its value is the
// effect's final outcome; after an error nothing is known.
func (g *Gateways) Do(ctx context.Context, e *api.Effect) (any, error) {
	var c api.GatewayCall
	if err := json.Unmarshal(e.Body, &c); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	to, ok := g.list[c.Attempt.Provider]
	if !ok {
		return nil, fmt.Errorf("gateway: the provider %q is not configured", c.Attempt.Provider)
	}
	outcome, err := to.guard(func() (any, error) { return Call(ctx, to, e.Name, &c) })
	if err != nil {
		return nil, fmt.Errorf("gateway: %s: %w", c.Attempt.Provider, err)
	}
	return outcome, nil
}

// guard does a call unless the provider rests, and counts it: what does not
// bring an answer, a panic included, is a failure.
func (to guarded) guard(do func() (any, error)) (outcome any, err error) {
	if !to.breaker.TryAcquirePermit() {
		return nil, ErrBroken
	}
	answered := false
	defer func() {
		if answered {
			to.breaker.RecordSuccess()
		} else {
			to.breaker.RecordFailure()
		}
	}()
	outcome, err = do()
	answered = err == nil || errors.Is(err, ErrPending) ||
		errors.As(err, new(*alipay.GatewayError)) || errors.As(err, new(*stripe.Error))
	return outcome, err
}

// Call makes the call that an effect names. Its value is the effect's final
// outcome, a provider's final refusal among them; after an error nothing is
// known.
func Call(ctx context.Context, to Gateway, name string, c *api.GatewayCall) (any, error) {
	switch name {
	case api.EffectPayOpen:
		link, err := to.Open(ctx, &c.Attempt)
		refusal := api.AsError(err)
		if err != nil && refusal == nil {
			return nil, err
		}
		return &api.Opened{Link: link, Refusal: refusal}, nil
	case api.EffectPayQuery:
		return to.Query(ctx, &c.Attempt)
	case api.EffectPayClose:
		return to.Close(ctx, &c.Attempt)
	case api.EffectPayRefund:
		out, err := to.Refund(ctx, c)
		if out.Refusal = api.AsError(err); err != nil && out.Refusal == nil {
			return nil, err
		}
		return &out, nil
	}
	return nil, fmt.Errorf("there is no effect %q", name)
}

// Incident is a notice that can't be believed, with the beginning of why.
func Incident(provider, kind string, t *api.Trade, why error) *api.PaymentIncident {
	text := why.Error()
	if r := []rune(text); len(r) > maxText {
		text = string(r[:maxText])
	}
	i := &api.PaymentIncident{Kind: kind, Provider: provider, Text: text}
	if t != nil {
		i.Attempt, i.TradeNo, i.Amount = t.Attempt, t.TradeNo, t.Amount
	}
	return i
}

// maxText is the longest text of an incident, in characters.
const maxText = 500
