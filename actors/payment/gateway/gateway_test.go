package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ordo/actors/payment/gateway"
	"ordo/api"
)

// at is the tests' time.
var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// attempt is an attempt that may be paid for 15 minutes.
func attempt(provider, product string, amount api.Money) api.Attempt {
	return api.Attempt{ID: api.DeriveID(api.PrefixPayment, at, provider+product),
		Order: api.DeriveID(api.PrefixOrder, at, "order"), Provider: provider, Product: product,
		Amount: amount, State: api.AttemptOpen, OpenedAt: api.TimeOf(at),
		ExpiresAt: api.TimeOf(at.Add(15 * time.Minute))}
}

// tradeIn is the trade that a notice tells of, nil for none.
func tradeIn(m api.Message) *api.Trade {
	if m, ok := m.(*api.NoteTrade); ok {
		return &m.Trade
	}
	return nil
}

func effect(name string, c api.GatewayCall) *api.Effect {
	return &api.Effect{ID: "x", Name: name, Attempt: 1, Body: api.Raw(c)}
}

// scripted is a provider that does what a test says when it is asked.
type scripted struct {
	gateway.Gateway
	query  func() (*api.Trade, error)
	refund func() (api.RefundOutcome, error)
	asked  int
}

func (s *scripted) Query(context.Context, *api.Attempt) (*api.Trade, error) {
	s.asked++
	return s.query()
}

func (s *scripted) Refund(context.Context, *api.GatewayCall) (api.RefundOutcome, error) {
	return s.refund()
}

func (s *scripted) Open(context.Context, *api.Attempt) (api.Link, error) {
	return api.Link{}, api.Refuse(api.CodeNotPayable, "no")
}

// ACCEPT Y7
func TestBreakerRestsAfterTenFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errDown := errors.New("down")
		p := &scripted{query: func() (*api.Trade, error) { return nil, errDown }}
		other := &scripted{query: func() (*api.Trade, error) { return &api.Trade{}, nil }}
		g := gateway.New(map[string]gateway.Gateway{"a": p, "b": other})
		ask := func(name string) error {
			_, err := g.Do(t.Context(), effect(api.EffectPayQuery,
				api.GatewayCall{Attempt: api.Attempt{Provider: name}}))
			return err
		}
		for range 10 {
			if err := ask("a"); !errors.Is(err, errDown) {
				t.Fatal(err)
			}
		}
		for range 5 {
			if err := ask("a"); !errors.Is(err, gateway.ErrBroken) || p.asked != 10 {
				t.Fatalf("asked %d times: %v", p.asked, err)
			}
		}
		if err := ask("b"); err != nil {
			t.Errorf("the other provider rests too: %v", err)
		}
		<-time.After(10 * time.Second)
		p.query = func() (*api.Trade, error) { panic("a bug") }
		for range 5 { // a panic is a failure, and gives its turn back
			func() {
				defer func() { _ = recover() }()
				_ = ask("a")
			}()
			<-time.After(10 * time.Second)
		}
		if p.asked != 15 {
			t.Errorf("after a rest it was asked %d times", p.asked-10)
		}
		p.query = func() (*api.Trade, error) { return &api.Trade{State: api.TradePaid}, nil }
		for range 20 {
			if err := ask("a"); err != nil {
				t.Fatalf("it is well again: %v", err)
			}
		}
	})
}

// ACCEPT Y9
func TestAnswersAreNoFailures(t *testing.T) {
	p := &scripted{refund: func() (api.RefundOutcome, error) {
		return api.RefundOutcome{}, fmt.Errorf("%w: the bank is slow", gateway.ErrPending)
	}}
	g := gateway.New(map[string]gateway.Gateway{"a": p})
	call := api.GatewayCall{Attempt: api.Attempt{Provider: "a"}}
	for range 30 {
		out, err := g.Do(t.Context(), effect(api.EffectPayRefund, call))
		if out != nil || !errors.Is(err, gateway.ErrPending) {
			t.Fatalf("%v, %v", out, err)
		}
	}
	p.refund = func() (api.RefundOutcome, error) {
		return api.RefundOutcome{}, fmt.Errorf("by the bank: %w", api.Refuse(api.CodeRefundRefused, "no"))
	}
	for range 30 {
		out, err := g.Do(t.Context(), effect(api.EffectPayRefund, call))
		if o, ok := out.(*api.RefundOutcome); err != nil || !ok || o.Refusal == nil ||
			o.Refusal.Code != api.CodeRefundRefused {
			t.Fatalf("%v, %v", out, err)
		}
		out, err = g.Do(t.Context(), effect(api.EffectPayOpen, call))
		if o, ok := out.(*api.Opened); err != nil || !ok || o.Refusal == nil ||
			o.Refusal.Code != api.CodeNotPayable {
			t.Fatalf("%v, %v", out, err)
		}
	}
}

// ACCEPT Y9
func TestUnknownIsNoOutcome(t *testing.T) {
	p := &scripted{query: func() (*api.Trade, error) {
		return nil, api.Refuse(api.CodeInvalid, "a query can't be refused")
	}}
	g := gateway.New(map[string]gateway.Gateway{"a": p})
	call := api.GatewayCall{Attempt: api.Attempt{Provider: "a"}}
	for name, e := range map[string]*api.Effect{
		"a refused query":     effect(api.EffectPayQuery, call),
		"another effect":      effect("pay-twice", call),
		"another provider":    effect(api.EffectPayQuery, api.GatewayCall{}),
		"no body":             {Name: api.EffectPayQuery},
		"a body that is text": {Name: api.EffectPayQuery, Body: json.RawMessage(`"x"`)},
	} {
		if out, err := g.Do(t.Context(), e); out != nil || err == nil {
			t.Errorf("%s: %v", name, out)
		}
	}
	if g.Get("a") != gateway.Gateway(p) || g.Get("b") != nil {
		t.Error("another provider is got")
	}
}

// ACCEPT Y3
func TestIncidentTextIsCut(t *testing.T) {
	i := gateway.Incident("a", api.IncidentForged, &api.Trade{Attempt: "pay_1", TradeNo: "7"},
		errors.New(strings.Repeat("坏", 2000)))
	if len([]rune(i.Text)) != 500 || i.Attempt != "pay_1" || i.TradeNo != "7" || i.Provider != "a" {
		t.Errorf("%+v", i)
	}
}
