package stripe_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ordo/actors/payment/stripe"
	"ordo/actors/payment/stripe/stripetest"
	"ordo/api"
)

const secret = "whsec_5f2a"

// at is the tests' time.
var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func config(base string, now func() time.Time) stripe.Config {
	return stripe.Config{API: base, SecretKey: stripetest.Key, WebhookSecret: secret,
		SuccessURL: "https://shop.example/pay/stripe/return",
		CancelURL:  "https://shop.example/pay/stripe/return?cancelled=1", Now: now}
}

func newClient(t *testing.T, base string) *stripe.Client {
	t.Helper()
	c, err := stripe.New(config(base, func() time.Time { return at }))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// account is Stripe's side, and a client of it.
func account(t *testing.T) (*stripetest.Server, *stripe.Client) {
	t.Helper()
	s := stripetest.New(func() time.Time { return at })
	t.Cleanup(s.Close)
	return s, newClient(t, s.URL)
}

func checkout(id string, amount int64, currency string) stripe.Checkout {
	return stripe.Checkout{Attempt: id, Name: "Order 7", OpenedAt: api.TimeOf(at),
		Amount:    api.Money{Amount: amount, Currency: currency},
		ExpiresAt: api.TimeOf(at.Add(15 * time.Minute))}
}

func opened(t *testing.T, c *stripe.Client, k stripe.Checkout) *stripe.Session {
	t.Helper()
	s, err := c.Open(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func session(t *testing.T, c *stripe.Client, id string) *stripe.Session {
	t.Helper()
	s, err := c.Session(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func isRefused(err error, code string) bool {
	var refused *stripe.Error
	return errors.As(err, &refused) && refused.Code == code && !errors.Is(err, stripe.ErrUnknown)
}

// paid is a session that was paid.
func paid(t *testing.T, s *stripetest.Server, c *stripe.Client, k stripe.Checkout) *stripe.Session {
	t.Helper()
	id := opened(t, c, k).ID
	if err := s.Pay(id, false); err != nil {
		t.Fatal(err)
	}
	return session(t, c, id)
}

// ACCEPT Y10 Y2
func TestSessionIsOpenedOnceAndPaid(t *testing.T) {
	s, c := account(t)
	first := opened(t, c, checkout("pay_1", 1999, "GBP"))
	if first.Attempt != "pay_1" || first.Amount.String() != "19.99 GBP" || first.Paid() ||
		first.Over() || first.Status != stripe.StatusOpen || !strings.Contains(first.URL, first.ID) {
		t.Errorf("%+v", first)
	}
	for range 10 {
		if again := opened(t, c, checkout("pay_1", 1999, "GBP")); again.ID != first.ID {
			t.Fatalf("a second session %s", again.ID)
		}
	}
	if other := opened(t, c, checkout("pay_2", 1999, "GBP")); other.ID == first.ID {
		t.Error("two attempts have one session")
	}
	if err := s.Pay(first.ID, false); err != nil {
		t.Fatal(err)
	}
	done := session(t, c, first.ID)
	if !done.Paid() || done.Over() || done.Status != stripe.StatusComplete ||
		!strings.HasPrefix(done.PaymentIntent, "pi_") || done.PaidAt != api.TimeOf(at) ||
		done.Amount != first.Amount || done.Refunded.Amount != 0 {
		t.Errorf("%+v", done)
	}
	if err := c.Expire(t.Context(), first.ID); !isRefused(err, "") {
		t.Errorf("a paid session is expired: %v", err)
	}
}

// ACCEPT Y10 E2
func TestSessionIsExpired(t *testing.T) {
	s, c := account(t)
	id := opened(t, c, checkout("pay_1", 1999, "GBP")).ID
	if err := c.Expire(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := session(t, c, id); !got.Over() || got.Paid() || got.Status != stripe.StatusExpired {
		t.Errorf("%+v", got)
	}
	if err := s.Pay(id, false); err == nil {
		t.Error("an expired session is paid")
	}
	if err := c.Expire(t.Context(), id); !isRefused(err, "") {
		t.Errorf("expired twice: %v", err)
	}
	if _, err := c.Session(t.Context(), "cs_test_none"); !isRefused(err, stripe.CodeMissing) {
		t.Errorf("a session that is not there: %v", err)
	}
}

// ACCEPT Y10
func TestLatePayments(t *testing.T) {
	for _, ok := range []bool{true, false} {
		s, c := account(t)
		id := opened(t, c, checkout("pay_1", 1999, "GBP")).ID
		if err := s.Pay(id, true); err != nil {
			t.Fatal(err)
		}
		if got := session(t, c, id); got.Paid() || got.Over() {
			t.Errorf("the bank has not answered: %+v", got)
		}
		s.Settle(id, ok)
		if got := session(t, c, id); got.Paid() != ok || got.Over() == ok {
			t.Errorf("settled %v: %+v", ok, got)
		}
	}
}

// ACCEPT Y10
func TestExpiryIsWhatStripeTakes(t *testing.T) {
	for name, c := range map[string]struct {
		open, tried time.Duration
		code        api.Code
		refused     bool
	}{
		"a minute to pay":       {open: time.Minute},
		"the last second":       {open: 15 * time.Minute, tried: 15*time.Minute - time.Second},
		"a day to pay":          {open: 24 * time.Hour},
		"a month to pay":        {open: 30 * 24 * time.Hour},
		"the time is over":      {open: time.Minute, tried: time.Minute, code: api.CodeNotPayable},
		"tried for a whole day": {open: 30 * 24 * time.Hour, tried: 24 * time.Hour, refused: true},
	} {
		now := at.Add(c.tried)
		clock := func() time.Time { return now }
		s := stripetest.New(clock)
		t.Cleanup(s.Close)
		client, err := stripe.New(config(s.URL, clock))
		if err != nil {
			t.Fatal(err)
		}
		k := checkout("pay_1", 100, "EUR")
		k.ExpiresAt = k.OpenedAt.Add(c.open)
		_, err = client.Open(t.Context(), k)
		switch refusal := api.AsError(err); {
		case c.code != "" && (refusal == nil || refusal.Code != c.code),
			c.refused && !isRefused(err, ""), c.code == "" && !c.refused && err != nil:
			t.Errorf("%s: %v", name, err)
		}
	}
}

// ACCEPT Y10
func TestAmountsAreInStripesUnits(t *testing.T) {
	var sent atomic.Value
	s, c := account(t)
	s.Through = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if err := r.ParseForm(); err == nil {
			sent.Store(r.Form.Get("line_items[0][price_data][currency]") + " " +
				r.Form.Get("line_items[0][price_data][unit_amount]"))
		}
		next.ServeHTTP(w, r)
	}
	for _, each := range []struct {
		currency string
		amount   int64
		want     string // "" for a refusal here
	}{
		{"GBP", 1999, "gbp 1999"}, {"JPY", 500, "jpy 500"}, {"KRW", 1, "krw 1"},
		{"ISK", 5, "isk 500"}, {"UGX", 5, "ugx 500"}, {"HUF", 1045, "huf 1045"},
		{"KWD", 5120, "kwd 5120"}, {"KWD", 5124, ""}, {"RWF", 500, "rwf 5"}, {"RWF", 501, ""},
		{"POINT", 5, ""}, {"gbp", 5, ""}, {"GBP", 0, ""}, {"GBP", -1, ""},
		{"GBP", api.MaxAmount + 1, ""}, {"", 5, ""},
	} {
		sent.Store("")
		got, err := c.Open(t.Context(), checkout("pay_"+each.currency, each.amount, each.currency))
		if sent.Load() != each.want {
			t.Errorf("%d %s is sent as %q", each.amount, each.currency, sent.Load())
		}
		refusal := api.AsError(err)
		if each.want == "" && (refusal == nil || refusal.Code != api.CodeInvalid) {
			t.Errorf("%d %s: %v", each.amount, each.currency, err)
		}
		if each.want != "" && (err != nil || got.Amount.Amount != each.amount) {
			t.Errorf("%d %s comes back as %+v, %v", each.amount, each.currency, got, err)
		}
	}
	_, err := c.Open(t.Context(), checkout("pay_x", 1e8, "GBP"))
	if !isRefused(err, "amount_too_large") {
		t.Errorf("over Stripe's limit: %v", err)
	}
}

// ACCEPT Y10
func TestOddCheckoutsAreNotSent(t *testing.T) {
	s, c := account(t)
	for name, change := range map[string]func(*stripe.Checkout){
		"no attempt":    func(k *stripe.Checkout) { k.Attempt = "" },
		"two lines":     func(k *stripe.Checkout) { k.Attempt = "a\r\nX: y" },
		"long attempt":  func(k *stripe.Checkout) { k.Attempt = strings.Repeat("a", 201) },
		"no name":       func(k *stripe.Checkout) { k.Name = " " },
		"long name":     func(k *stripe.Checkout) { k.Name = strings.Repeat("ü", 251) },
		"no time":       func(k *stripe.Checkout) { k.OpenedAt = 0 },
		"backward time": func(k *stripe.Checkout) { k.ExpiresAt = k.OpenedAt },
	} {
		k := checkout("pay_1", 100, "GBP")
		change(&k)
		_, err := c.Open(t.Context(), k)
		if refusal := api.AsError(err); refusal == nil || refusal.Code != api.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, id := range []string{"", "cs_", "pi_1", "cs_1/expire", "cs_1?a=b", "cs_../x",
		"cs_" + strings.Repeat("a", 300)} {
		_, err := c.Session(t.Context(), id)
		if api.AsError(err) == nil || api.AsError(c.Expire(t.Context(), id)) == nil {
			t.Errorf("the session %.20q is asked for: %v", id, err)
		}
	}
	if _, err := c.Refunds(t.Context(), "re_1"); api.AsError(err) == nil {
		t.Errorf("refunds of no payment: %v", err)
	}
	for name, r := range map[string]stripe.Refund{
		"no payment": {Number: "ref_1", Amount: api.Money{Amount: 1, Currency: "GBP"}},
		"no number":  {PaymentIntent: "pi_1", Amount: api.Money{Amount: 1, Currency: "GBP"}},
		"no amount":  {PaymentIntent: "pi_1", Number: "ref_1"},
	} {
		if _, err := c.Refund(t.Context(), r, ""); api.AsError(err) == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(s.Calls) != 0 {
		t.Errorf("sent: %v", s.Calls)
	}
}

// ACCEPT Y10 Y9
func TestRefunds(t *testing.T) {
	s, c := account(t)
	pi := paid(t, s, c, checkout("pay_1", 1000, "GBP")).PaymentIntent
	part := func(number string, amount int64) (*stripe.Refund, error) {
		return c.Refund(t.Context(), stripe.Refund{PaymentIntent: pi, Number: number,
			Amount: api.Money{Amount: amount, Currency: "GBP"}}, strings.Repeat("é", 600))
	}
	for range 3 { // again and again under one number
		r, err := part("ref_1", 400)
		if err != nil || r.Status != stripe.RefundSucceeded || r.Over() {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if _, err := part("ref_1", 300); !errors.Is(err, stripe.ErrUnknown) {
		t.Errorf("another amount under the number: %v", err)
	}
	if _, err := part("ref_2", 601); !isRefused(err, "") {
		t.Errorf("more than is left: %v", err)
	}
	if _, err := part("ref_3", 600); err != nil {
		t.Error(err)
	}
	if _, err := part("ref_4", 1); !isRefused(err, stripe.CodeRefunded) {
		t.Errorf("nothing is left: %v", err)
	}
	if n, sum := s.Refunds(); n != 2 || sum != 1000 {
		t.Errorf("%d refunds of %d", n, sum)
	}
	list, err := c.Refunds(t.Context(), pi)
	if err != nil || len(list) != 2 || list[0].Number != "ref_3" || list[1].Number != "ref_1" ||
		list[1].Amount.String() != "4.00 GBP" || list[1].PaymentIntent != pi {
		t.Errorf("%+v, %v", list, err)
	}
	_, err = c.Refund(t.Context(), stripe.Refund{PaymentIntent: "pi_none", Number: "ref_5",
		Amount: api.Money{Amount: 1, Currency: "GBP"}}, "")
	if !isRefused(err, stripe.CodeMissing) {
		t.Errorf("a payment that is not there: %v", err)
	}
	if s := session(t, c, "cs_test_a1000001"); s.Refunded.Amount != 1000 || !s.Paid() {
		t.Errorf("%+v", s)
	}
}

// ACCEPT Y9 Y10
func TestManyRefundsAreReadPageByPage(t *testing.T) {
	s, c := account(t)
	pi := paid(t, s, c, checkout("pay_1", 100_000, "GBP")).PaymentIntent
	for n := range 1001 {
		_, err := c.Refund(t.Context(), stripe.Refund{PaymentIntent: pi, Number: "ref_" +
			strings.Repeat("x", n%200) + string(rune('a'+n/200)),
			Amount: api.Money{Amount: 1, Currency: "GBP"}}, "")
		if err != nil {
			t.Fatal(err)
		}
		if n != 249 && n != 999 {
			continue
		}
		if list, err := c.Refunds(t.Context(), pi); err != nil || len(list) != n+1 {
			t.Errorf("%d of %d, %v", len(list), n+1, err)
		}
	}
	if list, err := c.Refunds(t.Context(), pi); !errors.Is(err, stripe.ErrUnknown) {
		t.Errorf("%d refunds are read, %v", len(list), err)
	}
}

// answering is an API that gives every call the same answer.
func answering(t *testing.T, h http.HandlerFunc) *stripe.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return newClient(t, s.URL)
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://elsewhere.example/")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// ACCEPT Y10
func TestUnreadableAnswersAreUnknown(t *testing.T) {
	const invalid = `{"error":{"type":"invalid_request_error","code":"`
	release := make(chan struct{})
	defer close(release)
	for name, h := range map[string]http.HandlerFunc{
		"a fault":        says(500, `{"error":{"type":"api_error","message":"sorry"}}`),
		"a gateway":      says(502, `<html>Bad Gateway</html>`),
		"a limit":        says(429, invalid+`rate_limit"}}`),
		"a lock":         says(429, invalid+`lock_timeout"}}`),
		"a lock in 400":  says(400, invalid+`lock_timeout"}}`),
		"a key in use":   says(409, invalid+`idempotency_key_in_use"}}`),
		"another body":   says(400, `{"error":{"type":"idempotency_error"}}`),
		"a wrong key":    says(401, invalid+`"}}`),
		"no right":       says(403, invalid+`"}}`),
		"a proxy's 400":  says(400, `<html>Bad Request</html>`),
		"a proxy's 404":  says(404, `{"message":"no route"}`),
		"a redirect":     says(302, ``),
		"HTML":           says(200, `<html>Welcome to the Wi-Fi</html>`),
		"nothing":        says(200, ``),
		"null":           says(200, `null`),
		"an empty one":   says(200, `{}`),
		"a list":         says(200, `[]`),
		"another object": says(200, `{"object":"charge","id":"ch_1","status":"open"}`),
		"a huge one":     says(200, `{"object":"`+strings.Repeat("x", stripe.MaxAnswer)+`"}`),
		"a torn one":     says(200, `{"object":"checkout.session","id":"cs_1`),
		"no currency": says(200, `{"object":"checkout.session","id":"cs_1","mode":"payment",
			"client_reference_id":"pay_1","status":"open","amount_total":100}`),
		"a list without end": says(200, `{"object":"list","data":[],"has_more":true}`),
		"a broken line": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"object":"checkout.session"`)
		},
		"silence": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-release:
			}
		},
	} {
		c := answering(t, h)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if name == "silence" {
			ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
		}
		_, err := c.Open(ctx, checkout("pay_1", 100, "GBP"))
		_, asked := c.Session(ctx, "cs_1")
		_, listed := c.Refunds(ctx, "pi_1")
		_, refunded := c.Refund(ctx, stripe.Refund{PaymentIntent: "pi_1", Number: "ref_1",
			Amount: api.Money{Amount: 1, Currency: "GBP"}}, "")
		cancel()
		for what, err := range map[string]error{"open": err, "session": asked, "refunds": listed,
			"refund": refunded} {
			if !errors.Is(err, stripe.ErrUnknown) || api.AsError(err) != nil ||
				errors.As(err, new(*stripe.Error)) {
				t.Errorf("%s: %s: %v", name, what, err)
			}
			if err != nil && strings.Contains(err.Error(), stripetest.Key) {
				t.Errorf("%s: the error tells the key", name)
			}
		}
	}
}

// ACCEPT Y10
func TestAnswersAboutOtherThingsAreUnknown(t *testing.T) {
	const s = `{"object":"checkout.session","id":"cs_2","mode":"payment","status":"open",
		"payment_status":"unpaid","currency":"gbp","url":"https://x.example/",`
	const r = `{"object":"refund","id":"re_1","currency":"gbp","status":"succeeded",`
	for _, body := range []string{
		s + `"client_reference_id":"pay_2","amount_total":100}`,
		s + `"client_reference_id":"pay_1","amount_total":99}`,
		s + `"client_reference_id":"pay_1","amount_total":100,"url":""}`,
		s + `"client_reference_id":"pay_1","amount_total":100,"url":"javascript:alert(1)"}`,
		s + `"client_reference_id":"pay_1","amount_total":100,"metadata":{"ordo_attempt":"pay_2"}}`,
		s + `"client_reference_id":"pay_1","amount_total":100,"payment_status":"paid"}`,
		r + `"payment_intent":"pi_2","amount":1,"metadata":{"ordo_refund":"ref_1"}}`,
		r + `"payment_intent":"pi_1","amount":2,"metadata":{"ordo_refund":"ref_1"}}`,
		r + `"payment_intent":"pi_1","amount":1,"metadata":{"ordo_refund":"ref_2"}}`,
		r + `"payment_intent":"pi_1","amount":-1,"metadata":{"ordo_refund":"ref_1"}}`,
	} {
		c := answering(t, says(200, body))
		_, err := c.Open(t.Context(), checkout("pay_1", 100, "GBP"))
		if !errors.Is(err, stripe.ErrUnknown) {
			t.Errorf("%s: %v", body, err)
		}
		if _, err := c.Session(t.Context(), "cs_1"); !errors.Is(err, stripe.ErrUnknown) {
			t.Errorf("%s: %v", body, err)
		}
		_, err = c.Refund(t.Context(), stripe.Refund{PaymentIntent: "pi_1", Number: "ref_1",
			Amount: api.Money{Amount: 1, Currency: "GBP"}}, "")
		if !errors.Is(err, stripe.ErrUnknown) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// ACCEPT Y10
func TestCallsCarryKeyAndVersion(t *testing.T) {
	var got atomic.Pointer[http.Request]
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		got.Store(r)
		says(402, `{"error":{"type":"card_error","code":"card_declined","message":"No."}}`)(w, r)
	})
	_, err := c.Open(t.Context(), checkout("pay_1", 100, "GBP"))
	if !isRefused(err, "card_declined") || !strings.Contains(err.Error(), "No.") {
		t.Error(err)
	}
	h := got.Load().Header
	if h.Get("Authorization") != "Bearer "+stripetest.Key ||
		h.Get("Stripe-Version") != stripe.Version || h.Get("Idempotency-Key") != "pay_1" ||
		h.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("%v", h)
	}
}

// ACCEPT Y10
func TestConfigsThatDoNotWork(t *testing.T) {
	for name, change := range map[string]func(*stripe.Config){
		"no key":            func(c *stripe.Config) { c.SecretKey = "" },
		"a broken key":      func(c *stripe.Config) { c.SecretKey = "sk_test\n" },
		"no secret":         func(c *stripe.Config) { c.WebhookSecret = "" },
		"in the clear":      func(c *stripe.Config) { c.API = "http://api.stripe.com" },
		"a path":            func(c *stripe.Config) { c.API = "https://api.stripe.com/v1" },
		"no URL":            func(c *stripe.Config) { c.API = "api.stripe.com" },
		"a password":        func(c *stripe.Config) { c.API = "https://a:b@api.stripe.com" },
		"nowhere to return": func(c *stripe.Config) { c.SuccessURL = "" },
		"a script":          func(c *stripe.Config) { c.CancelURL = "javascript:alert(1)" },
	} {
		cfg := config("https://api.stripe.com", nil)
		change(&cfg)
		if _, err := stripe.New(cfg); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	for key, live := range map[string]bool{"sk_test_1": false, "rk_live_1": true, "sk_live_1": true} {
		cfg := config("", nil)
		cfg.SecretKey = key
		if c, err := stripe.New(cfg); err != nil || c.Live() != live {
			t.Errorf("%s: %v", key, err)
		}
	}
}
