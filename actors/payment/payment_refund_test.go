package payment_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"ordo/api"
)

// failed has a verified notice come that a refund has failed.
func (b *bench) failed(provider, number string) {
	b.T.Helper()
	var noted api.Noted
	r := b.MustEdge(b.next(), &api.NoteRefund{Provider: provider, Refund: number, Ref: "re_1",
		Reason: "expired_or_canceled_card"})
	if err := json.Unmarshal(r.Value, &noted); err != nil || noted.Result != api.NotedIncident {
		b.T.Errorf("noted %+v, %v", noted, err)
	}
}

// paidOrder is an order that was paid by a page of the provider.
func (b *bench) paidOrder(provider string) (order string) {
	b.T.Helper()
	order = b.collect()
	a := b.open(order, provider, api.ProductPage)
	if got := b.pay(a); got != api.NotedPaid {
		b.T.Fatalf("noted %s", got)
	}
	return order
}

// ACCEPT Y8 Y9: a refund is booked at the gateway's time where it says one.
func TestRefundIsBookedAtTheGatewaysTime(t *testing.T) {
	b := newBench(t)
	order := b.paidOrder(api.PayAlipay)
	for i, at := range []api.Time{api.TimeOf(b.Now.Add(-time.Hour)), 0, -1} {
		number := b.refund(order, i+1, gbp(1))
		before := api.TimeOf(b.Now)
		b.outcome("rfd-"+number, api.RefundOutcome{At: at})
		got := b.log(order)[i+1].At
		if at > 0 && got != at || at <= 0 && got < before {
			t.Errorf("said at %v, booked at %v", at, got)
		}
	}
}

// ACCEPT Y9 Y10
// A refund that fails after it was done is an incident once, and changes nothing
// else: the money is back at the shop, and a person says what becomes of it.
func TestRefundThatFailsLater(t *testing.T) {
	b := newBench(t)
	order := b.paidOrder(api.PayStripe)
	number := b.refund(order, 1, gbp(500))
	b.outcome("rfd-"+number, api.RefundOutcome{Total: gbp(500)})
	b.wantAnswers("done")
	for range 2 {
		b.failed(api.PayStripe, number)
		b.wantAnswers()
		b.wantEffects()
		b.wantKept(order, due-500)
	}
	b.wantIncidents(api.IncidentFailed)
	var list api.PaymentIncidentList
	if r := b.Ask(&api.ListPaymentIncidents{}, &list); r != nil {
		t.Fatal(r)
	}
	i := list.Incidents[0]
	if i.Order != order || i.Amount != gbp(500) || i.TradeNo != number ||
		i.Provider != api.PayStripe || !strings.Contains(i.Text, "re_1") ||
		!strings.Contains(i.Text, "expired_or_canceled_card") {
		t.Errorf("%+v", i)
	}
	if p := b.payment(order); p.Refunded != gbp(500) {
		t.Errorf("%+v", p)
	}
}

// ACCEPT Y9 Y10
// One that is under way is refused by the notice, whatever else is on its way.
func TestRefundThatFailsAtOnce(t *testing.T) {
	b := newBench(t)
	order := b.paidOrder(api.PayStripe)
	number := b.refund(order, 1, gbp(500))
	b.failed(api.PayStripe, number)
	b.wantAnswers("refused")
	b.failed(api.PayStripe, number)
	b.outcome("rfd-"+number, api.RefundOutcome{Refusal: api.Refuse(api.CodeRefundRefused, "failed")})
	b.wantAnswers()
	b.wantIncidents(api.IncidentRefund)
	b.wantKept(order, due)
	b.outcome("rfd-"+number, api.RefundOutcome{}) // it was done all the same?
	b.wantIncidents(api.IncidentRefund, api.IncidentReturned)
	again := b.refund(order, 2, gbp(due))
	b.outcome("rfd-"+again, api.RefundOutcome{})
	b.wantAnswers("done")
}

// Notices about refunds of another shop, or of another provider, change nothing.
func TestRefundThatFailsElsewhere(t *testing.T) {
	b := newBench(t)
	order := b.paidOrder(api.PayAlipay)
	number := b.refund(order, 1, gbp(500))
	b.failed(api.PayStripe, number)
	b.failed(api.PayStripe, "rfd_nobody")
	refused := b.refund(order, 2, gbp(due)) // more than is left: never sent
	b.failed(api.PayAlipay, refused)
	b.wantIncidents(api.IncidentUnknown, api.IncidentUnknown, api.IncidentUnknown)
	b.wantAnswers()
	b.outcome("rfd-"+number, api.RefundOutcome{})
	b.wantAnswers("done")
	for _, m := range []*api.NoteRefund{{}, {Provider: api.PayStripe}, {Provider: "x", Refund: "y"},
		{Provider: api.PayStripe, Refund: strings.Repeat("x", 256)}} {
		if r := b.Edge(b.next(), m); r.Refusal == nil || r.Refusal.Code != api.CodeInvalid {
			t.Errorf("%+v: %+v", m, r)
		}
	}
	if got := b.incidents(); len(got) != 3 {
		t.Errorf("incidents %v", got)
	}
}
