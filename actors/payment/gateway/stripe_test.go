package gateway_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v83/webhook"

	"ordo/actors/payment/gateway"
	"ordo/actors/payment/stripe"
	"ordo/actors/payment/stripe/stripetest"
	"ordo/api"
)

var pounds = api.Money{Amount: 1999, Currency: "GBP"}

const secret = "whsec_5f2a"

// till is a shop's account at Stripe, and an attempt there.
type till struct {
	*stripetest.Server
	pay *gateway.Stripe
	all *gateway.Gateways
	a   api.Attempt
	now time.Time // of both
}

func newTill(t *testing.T) *till {
	t.Helper()
	s := &till{a: attempt(api.PayStripe, api.ProductPage, pounds), now: at}
	now := func() time.Time { return s.now }
	s.Server = stripetest.New(now)
	t.Cleanup(s.Close)
	var err error
	s.pay, err = gateway.NewStripe(stripe.Config{API: s.URL, SecretKey: stripetest.Key,
		WebhookSecret: secret, SuccessURL: "https://shop.example/pay/stripe/return",
		CancelURL: "https://shop.example/pay/stripe/return", Now: now})
	if err != nil {
		t.Fatal(err)
	}
	s.all = gateway.New(map[string]gateway.Gateway{api.PayStripe: s.pay})
	return s
}

// open opens the attempt, as the payment actor would keep it.
func (s *till) open(t *testing.T) {
	t.Helper()
	out, err := s.all.Do(t.Context(), effect(api.EffectPayOpen, api.GatewayCall{Attempt: s.a}))
	o, ok := out.(*api.Opened)
	if err != nil || !ok || o.Refusal != nil || o.Link.URL == "" || o.Link.Ref == "" {
		t.Fatalf("%+v, %v", out, err)
	}
	s.a.Link = o.Link
}

// settle opens the attempt and has it paid.
func (s *till) settle(t *testing.T) {
	t.Helper()
	s.open(t)
	if err := s.Pay(s.a.Link.Ref, false); err != nil {
		t.Fatal(err)
	}
	s.a.TradeNo = s.trade(t, api.EffectPayQuery).TradeNo
}

// trade is the outcome of a query or a close.
func (s *till) trade(t *testing.T, name string) *api.Trade {
	t.Helper()
	out, err := s.all.Do(t.Context(), effect(name, api.GatewayCall{Attempt: s.a}))
	got, ok := out.(*api.Trade)
	if err != nil || !ok || got.Provider != api.PayStripe || got.Attempt != s.a.ID ||
		got.Amount != s.a.Amount {
		t.Fatalf("%s: %+v, %v", name, out, err)
	}
	return got
}

// refund refunds an amount; the outcome is nil while it is not known.
func (s *till) refund(t *testing.T, number string, amount int64) *api.RefundOutcome {
	t.Helper()
	out, err := s.all.Do(t.Context(), effect(api.EffectPayRefund, api.GatewayCall{Attempt: s.a,
		Refund: number, RefundAmount: api.Money{Amount: amount, Currency: "GBP"}, Reason: "too big"}))
	if err != nil && out != nil || err == nil && out == nil {
		t.Fatalf("%+v, %v", out, err)
	}
	got, _ := out.(*api.RefundOutcome)
	return got
}

// ACCEPT Y10 Y2 Y7
func TestStripeAttemptIsPaid(t *testing.T) {
	s := newTill(t)
	if got := s.trade(t, api.EffectPayQuery); got.State != api.TradeNone {
		t.Errorf("before it is opened: %+v", got)
	}
	s.open(t)
	first := s.a.Link
	if s.open(t); s.a.Link != first {
		t.Errorf("opened twice: %+v", s.a.Link)
	}
	if got := s.trade(t, api.EffectPayQuery); got.State != api.TradeWaiting || got.TradeNo != "" {
		t.Errorf("%+v", got)
	}
	if err := s.Pay(first.Ref, false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{api.EffectPayQuery, api.EffectPayClose, api.EffectPayQuery} {
		if got := s.trade(t, name); got.State != api.TradePaid || got.PaidAt != api.TimeOf(at) ||
			got.TradeNo == "" || got.Ref != first.Ref || got.Refunded.Amount != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if _, err := s.pay.Link(&s.a); api.AsError(err) == nil {
		t.Errorf("a link without asking: %v", err)
	}
}

// ACCEPT Y10 E2
func TestStripeAttemptIsClosed(t *testing.T) {
	s := newTill(t)
	s.open(t)
	for range 3 {
		if got := s.trade(t, api.EffectPayClose); got.State != api.TradeClosed || got.TradeNo != "" {
			t.Errorf("%+v", got)
		}
	}
	if err := s.Pay(s.a.Link.Ref, false); err == nil {
		t.Error("a closed attempt is paid")
	}
	late := newTill(t)
	late.open(t)
	if err := late.Pay(late.a.Link.Ref, true); err != nil {
		t.Fatal(err)
	}
	if got := late.trade(t, api.EffectPayClose); got.State != api.TradeWaiting {
		t.Errorf("the bank may still pay: %+v", got)
	}
	late.Settle(late.a.Link.Ref, false)
	if got := late.trade(t, api.EffectPayQuery); got.State != api.TradeClosed {
		t.Errorf("the bank did not pay: %+v", got)
	}
	late.a.Link.Ref = "cs_test_other"
	if got := late.trade(t, api.EffectPayClose); got.State != api.TradeNone {
		t.Errorf("another account's: %+v", got)
	}
}

// ACCEPT Y10
func TestStripeRefusesToOpen(t *testing.T) {
	for name, change := range map[string]func(*api.Attempt){
		"too much":         func(a *api.Attempt) { a.Amount.Amount = 1e9 },
		"no such product":  func(a *api.Attempt) { a.Product = api.ProductQR },
		"the time is over": func(a *api.Attempt) { a.OpenedAt, a.ExpiresAt = 1, 2 },
	} {
		s := newTill(t)
		change(&s.a)
		out, err := s.all.Do(t.Context(), effect(api.EffectPayOpen, api.GatewayCall{Attempt: s.a}))
		if o, ok := out.(*api.Opened); err != nil || !ok || o.Refusal == nil ||
			o.Link != (api.Link{}) {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
	if _, err := gateway.NewStripe(stripe.Config{}); err == nil {
		t.Error("an account without keys")
	}
}

// ACCEPT Y9 Y10
func TestStripeRefunds(t *testing.T) {
	s := newTill(t)
	s.settle(t)
	for range 3 {
		if got := s.refund(t, "rfd_1", 500); got == nil || got.Refusal != nil || got.At == 0 ||
			got.Total.Amount != 500 {
			t.Fatalf("%+v", got)
		}
		s.ForgetKeys() // a day later it is still one refund
	}
	if got := s.refund(t, "rfd_2", 1499); got == nil || got.Refusal != nil ||
		got.Total.Amount != 1999 {
		t.Errorf("%+v", got)
	}
	for number, amount := range map[string]int64{"rfd_3": 1, "rfd_1": 501} {
		if got := s.refund(t, number, amount); got == nil || got.Refusal == nil ||
			got.Refusal.Code != api.CodeRefundRefused {
			t.Errorf("%s: %+v", number, got)
		}
	}
	if n, sum := s.Refunds(); n != 2 || sum != 1999 {
		t.Errorf("%d refunds of %d", n, sum)
	}
	if got := s.trade(t, api.EffectPayQuery); got.Refunded.Amount != 1999 ||
		got.State != api.TradePaid {
		t.Errorf("%+v", got)
	}
}

// ACCEPT Y9 Y10
func TestStripeRefundsThatTakeTime(t *testing.T) {
	for status, refused := range map[string]bool{"succeeded": false, "failed": true,
		"canceled": true} {
		s := newTill(t)
		s.settle(t)
		s.RefundStatus = "pending"
		for range 12 { // and the breaker stays out of it
			if got := s.refund(t, "rfd_1", 500); got != nil {
				t.Fatalf("%+v", got)
			}
		}
		s.SettleRefunds("requires_action")
		if got := s.refund(t, "rfd_1", 500); got != nil {
			t.Errorf("%+v", got)
		}
		s.SettleRefunds(status)
		got := s.refund(t, "rfd_1", 500)
		if got == nil || (got.Refusal != nil) != refused || refused == (got.Total.Amount == 500) {
			t.Errorf("%s: %+v", status, got)
		}
		if n, _ := s.Refunds(); n != 1 {
			t.Errorf("%d refunds", n)
		}
	}
}

// ACCEPT Y9 Y10
func TestStripeRefundWhoseAnswerIsLost(t *testing.T) {
	for _, forget := range []bool{false, true} {
		s := newTill(t)
		s.settle(t)
		s.Through = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodPost {
				next.ServeHTTP(httptest.NewRecorder(), r)
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			next.ServeHTTP(w, r)
		}
		if got := s.refund(t, "rfd_1", 500); got != nil {
			t.Fatalf("believed: %+v", got)
		}
		s.Through = nil
		if forget {
			s.ForgetKeys()
		}
		if got := s.refund(t, "rfd_1", 500); got == nil || got.Refusal != nil || got.At == 0 ||
			got.Total.Amount != 500 {
			t.Errorf("%+v", got)
		}
		if n, sum := s.Refunds(); n != 1 || sum != 500 {
			t.Errorf("%d refunds of %d", n, sum)
		}
	}
}

// ACCEPT Y9 Y10
func TestStripeRefusalIsAskedAboutBeforeItIsBelieved(t *testing.T) {
	refuse := func(body string) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodPost { // it is carried out all the same
				next.ServeHTTP(httptest.NewRecorder(), r)
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(body))
				return
			}
			next.ServeHTTP(w, r)
		}
	}
	s := newTill(t)
	s.settle(t)
	s.Through = refuse(`{"error":{"type":"invalid_request_error","message":"no"}}`)
	if got := s.refund(t, "rfd_1", 500); got == nil || got.Refusal != nil {
		t.Errorf("%+v", got)
	}
	s.Through = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost {
			next = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"error":{"type":"invalid_request_error",` +
					`"code":"balance_insufficient"}}`))
			})
		}
		next.ServeHTTP(w, r)
	}
	if got := s.refund(t, "rfd_2", 500); got != nil {
		t.Errorf("the account may be full tomorrow: %+v", got)
	}
	s.Through, s.a.TradeNo = nil, "pi_other"
	if got := s.refund(t, "rfd_3", 500); got != nil {
		t.Errorf("another account's payment: %+v", got)
	}
	s.a.TradeNo = "2026"
	if got := s.refund(t, "rfd_4", 500); got == nil || got.Refusal == nil {
		t.Errorf("no payment of Stripe's: %+v", got)
	}
}

// ACCEPT Y10
func TestStripeThatIsIllSaysNothing(t *testing.T) {
	for _, status := range []int{200, 302, 400, 401, 403, 409, 429, 500, 503} {
		s := newTill(t)
		s.settle(t)
		s.Through = func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte("<html>"))
		}
		for _, name := range []string{api.EffectPayOpen, api.EffectPayQuery, api.EffectPayClose,
			api.EffectPayRefund} {
			out, err := s.all.Do(t.Context(), effect(name, api.GatewayCall{Attempt: s.a,
				Refund: "rfd_1", RefundAmount: pounds}))
			if out != nil || !errors.Is(err, stripe.ErrUnknown) || errors.Is(err, gateway.ErrPending) {
				t.Errorf("%d: %s: %+v, %v", status, name, out, err)
			}
		}
	}
	// An answer about another attempt's session is none.
	s := newTill(t)
	s.open(t)
	s.a.ID = api.DeriveID(api.PrefixPayment, at, "another")
	out, err := s.all.Do(t.Context(), effect(api.EffectPayClose, api.GatewayCall{Attempt: s.a}))
	if out != nil || !errors.Is(err, stripe.ErrUnknown) {
		t.Errorf("%+v, %v", out, err)
	}
}

// tell is a notice that Stripe's own library has signed.
func (s *till) tell(body []byte, key string) (*api.Trade, *api.PaymentIncident) {
	p := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: body, Secret: key,
		Timestamp: at})
	told, incident := s.pay.Notice(http.Header{"Stripe-Signature": {p.Header}}, body)
	return tradeIn(told), incident
}

// ACCEPT Y10 Y3
func TestStripeNotices(t *testing.T) {
	s := newTill(t)
	s.settle(t)
	trade, incident := s.tell(s.Event(stripe.EventCompleted, s.a.Link.Ref, nil), secret)
	if incident != nil || trade == nil || trade.State != api.TradePaid || trade.Amount != pounds ||
		trade.Attempt != s.a.ID || trade.TradeNo != s.a.TradeNo || trade.Ref != s.a.Link.Ref ||
		trade.PaidAt != api.TimeOf(at) {
		t.Errorf("%+v, %+v", trade, incident)
	}
	again, _ := s.tell(s.Event(stripe.EventCompleted, s.a.Link.Ref, nil), secret)
	if again == nil || *again != *trade {
		t.Errorf("the same fact is told as %+v", again)
	}
	unpaid := map[string]any{"payment_status": "unpaid"}
	ended := map[string]any{"payment_status": "unpaid", "status": "expired"}
	cart := map[string]any{"client_reference_id": "cart-7", "metadata": nil}
	nobody := map[string]any{"client_reference_id": nil, "metadata": nil}
	for name, c := range map[string]struct {
		kind   string
		change map[string]any
		want   string
	}{
		"failed later":  {stripe.EventAsyncFailed, unpaid, api.TradeClosed},
		"expired":       {stripe.EventExpired, ended, api.TradeClosed},
		"paid later":    {stripe.EventAsyncPaid, nil, api.TradePaid},
		"not paid yet":  {stripe.EventCompleted, unpaid, ""},
		"another event": {"charge.refunded", nil, ""},
		"another sale":  {stripe.EventCompleted, cart, ""},
		"a donation":    {stripe.EventCompleted, nobody, ""},
		"a membership":  {stripe.EventCompleted, map[string]any{"mode": "subscription"}, ""},
	} {
		got, incident := s.tell(s.Event(c.kind, s.a.Link.Ref, c.change), secret)
		if incident != nil || (got == nil) != (c.want == "") || got != nil && got.State != c.want {
			t.Errorf("%s: %+v, %+v", name, got, incident)
		}
	}
	if s.pay.Accepted() == "" {
		t.Error("nothing is answered")
	}
}

// ACCEPT Y10 Y3
func TestStripeNoticesThatAreForged(t *testing.T) {
	s := newTill(t)
	s.settle(t)
	paid := s.Event(stripe.EventCompleted, s.a.Link.Ref, nil)
	with := func(extra string) []byte { return append([]byte(extra), paid[1:]...) }
	for name, c := range map[string]struct {
		body []byte
		key  string
	}{
		"another secret":  {paid, "whsec_other"},
		"another account": {with(`{"account":"acct_7",`), secret},
		"two attempts": {s.Event(stripe.EventCompleted, s.a.Link.Ref,
			map[string]any{"client_reference_id": "pay_1"}), secret},
		"no payment": {s.Event(stripe.EventCompleted, s.a.Link.Ref,
			map[string]any{"payment_intent": nil}), secret},
		"nothing": {nil, secret},
	} {
		trade, incident := s.tell(c.body, c.key)
		if trade != nil || incident == nil || incident.Kind != api.IncidentForged ||
			incident.Provider != api.PayStripe {
			t.Errorf("%s: %+v, %+v", name, trade, incident)
		}
	}
	if told, incident := s.pay.Notice(http.Header{}, paid); told != nil || incident == nil {
		t.Errorf("unsigned: %+v", told)
	}
	// A test payment in a shop that takes real money, and the other way round.
	live, err := gateway.NewStripe(stripe.Config{SecretKey: "sk_live_1", WebhookSecret: secret,
		SuccessURL: "https://shop.example/", CancelURL: "https://shop.example/",
		Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	s.pay = live
	if trade, incident := s.tell(paid, secret); trade != nil || incident == nil {
		t.Errorf("play money: %+v", trade)
	}
}

// ACCEPT Y9 Y10
// A refund of the shop that has failed is told on; others are not.
func TestStripeRefundThatFails(t *testing.T) {
	s := newTill(t)
	s.settle(t)
	number := api.DeriveID(api.PrefixRefund, at, "refund")
	if got := s.refund(t, number, 500); got == nil || got.Refusal != nil {
		t.Fatalf("%+v", got)
	}
	hear := func(body []byte, key string) (api.Message, *api.PaymentIncident) {
		p := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: body, Secret: key,
			Timestamp: at})
		return s.pay.Notice(http.Header{"Stripe-Signature": {p.Header}}, body)
	}
	failed := map[string]any{"status": "failed", "failure_reason": "lost_or_stolen_card"}
	for _, kind := range []string{stripe.EventRefundFailed, stripe.EventRefundUpdated,
		stripe.EventChargeRefund} {
		told, incident := hear(s.RefundEvent(kind, number, failed), secret)
		m, ok := told.(*api.NoteRefund)
		if incident != nil || !ok || m.Provider != api.PayStripe || m.Refund != number ||
			m.Reason != "lost_or_stolen_card" || !strings.HasPrefix(m.Ref, "re_") {
			t.Errorf("%s: %+v, %+v", kind, told, incident)
		}
	}
	told, _ := hear(s.RefundEvent(stripe.EventRefundUpdated, number,
		map[string]any{"status": "canceled"}), secret)
	if m, ok := told.(*api.NoteRefund); !ok || m.Reason != "canceled" {
		t.Errorf("%+v", told)
	}
	for name, change := range map[string]map[string]any{
		"done":              nil,
		"pending":           {"status": "pending"},
		"made in a console": {"status": "failed", "metadata": nil},
		"of another system": {"status": "failed", "metadata": map[string]any{"ordo_refund": "7"}},
		"of a bare charge": {"status": "failed", "metadata": nil, "payment_intent": nil,
			"currency": "xxx"},
	} {
		told, incident := hear(s.RefundEvent(stripe.EventRefundUpdated, number, change), secret)
		if told != nil || incident != nil {
			t.Errorf("%s: %+v, %+v", name, told, incident)
		}
	}
	gift := map[string]any{"status": "failed", "object": "gift"}
	for name, c := range map[string]struct {
		body []byte
		key  string
	}{
		"another secret": {s.RefundEvent(stripe.EventRefundFailed, number, failed), "whsec_other"},
		"no refund":      {s.RefundEvent(stripe.EventRefundFailed, number, gift), secret},
		"another account": {append([]byte(`{"account":"acct_7",`),
			s.RefundEvent(stripe.EventRefundFailed, number, failed)[1:]...), secret},
	} {
		told, incident := hear(c.body, c.key)
		if told != nil || incident == nil || incident.Kind != api.IncidentForged {
			t.Errorf("%s: %+v, %+v", name, told, incident)
		}
	}
}
