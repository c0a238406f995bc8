package rest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v83/webhook"

	"ordo/actors/payment/gateway"
	"ordo/actors/payment/stripe"
	"ordo/api"
	"ordo/api/rest"
)

const stripeSecret = "whsec_test"

// withStripe gives the edge an account at Stripe that is never called.
func withStripe(c *rest.Config) {
	g, err := gateway.NewStripe(stripe.Config{SecretKey: "sk_test_1", WebhookSecret: stripeSecret,
		SuccessURL: "https://shop.example/", CancelURL: "https://shop.example/"})
	if err != nil {
		panic(err)
	}
	c.Gateways = gateway.New(map[string]gateway.Gateway{api.PayStripe: g})
}

// ACCEPT Y3 Y10
// Stripe is to repeat what may be taken later, and nothing else; what it says
// that does not fit is recorded.
func TestStripeIsAnsweredByStatus(t *testing.T) {
	s := newShop(t, withStripe)
	event := func(kind, object string) string {
		return fmt.Sprintf(`{"object":"event","id":"evt_1","type":%q,"created":%d,"livemode":false,`+
			`"data":{"object":%s}}`, kind, time.Now().Unix(), object)
	}
	session := func(amount int64) string {
		return event(stripe.EventCompleted, fmt.Sprintf(`{"object":"checkout.session","id":"cs_1",
			"client_reference_id":%q,"mode":"payment","status":"complete","payment_status":"paid",
			"amount_total":%d,"currency":"gbp","payment_intent":"pi_1"}`,
			api.NewID(api.PrefixPayment), amount))
	}
	failed := event(stripe.EventRefundFailed, fmt.Sprintf(`{"object":"refund","id":"re_1","amount":5,
		"currency":"gbp","status":"failed","metadata":{"ordo_refund":%q}}`, api.NewID(api.PrefixRefund)))
	tell := func(body, secret string) int {
		p := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: []byte(body),
			Secret: secret, Timestamp: time.Now()})
		r, err := http.NewRequest("POST", s.url+"/pay/stripe/notify", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Stripe-Signature", p.Header)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for _, c := range []struct {
		name, body, secret string
		status             int
	}{
		{"nothing to the shop", event("charge.refunded", `{}`), stripeSecret, 200},
		{"forged", session(500), "whsec_other", 400},
		{"no such attempt", session(500), stripeSecret, 200},
		{"no such refund", failed, stripeSecret, 200},
		{"what nobody can take", session(api.MaxAmount + 1), stripeSecret, 400},
	} {
		if status := tell(c.body, c.secret); status != c.status {
			t.Errorf("%s: %d", c.name, status)
		}
	}
	kinds := map[string]int{}
	for _, i := range decode[api.PaymentIncidentList](s.admin("GET", "/admin/v1/incidents", nil).
		want(200)).Incidents {
		kinds[i.Kind]++
	}
	if kinds[api.IncidentForged] != 2 || kinds[api.IncidentUnknown] != 2 || len(kinds) != 2 {
		t.Errorf("incidents are %v", kinds)
	}
}

// ACCEPT Y2
// Whoever waits for the link of an attempt that another one has replaced is told
// so, rather than to ask again.
func TestAttemptIsReplacedWhileItsLinkIsAwaited(t *testing.T) {
	s := newShop(t, func(c *rest.Config) {
		withStripe(c)
		to := c.Gateways.Get(api.PayStripe)
		withAlipay(c)
		c.Gateways = gateway.New(map[string]gateway.Gateway{api.PayStripe: to,
			api.PayAlipay: c.Gateways.Get(api.PayAlipay)})
	})
	ann := s.shopper("ann@example.com")
	o := ann.placed(ann.call("POST", "/v1/orders?wait=10s", ann.order(ann.buyNow("mug", 1))))
	path := "/v1/orders/" + o.ID + "/payments"
	first := make(chan *reply, 1)
	go func() { first <- ann.call("POST", path, object{"provider": api.PayStripe}) }()
	ann.until(func() *reply {
		r := ann.call("GET", path, nil)
		if r.status == 200 && len(decode[api.Payment](r).Attempts) == 0 {
			r.status = 404
		}
		return r
	}, 200)
	ann.call("POST", path, object{"provider": api.PayAlipay}).want(201)
	(<-first).refused(409, api.CodeNotPayable)
}
