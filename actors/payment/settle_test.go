package payment_test

import (
	"testing"
	"time"

	"ordo/actors/actorstest"
	"ordo/api"
)

// ACCEPT P9: what was answered before is answered once more when a repair asks,
// and only then.
func TestAnswersAgain(t *testing.T) {
	b := newBench(t)
	collect := func(order string, again bool) {
		b.From("order", &api.CollectPayment{Step: step(order), User: "usr_1", Amount: gbp(due),
			ExpiresAt: api.TimeOf(b.Now.Add(time.Hour)), Again: again})
	}
	paid := b.collect()
	collect(paid, true)
	b.wantAnswers()
	b.pay(b.page(paid))
	first := actorstest.Only[api.StepResult](b.Actor)
	collect(paid, false)
	b.wantAnswers()
	collect(paid, true)
	b.wantAnswers("done")
	if r := actorstest.Only[api.StepResult](b.Actor); r.Step != first.Step ||
		string(r.Data) != string(first.Data) {
		t.Errorf("answered %s, at first %s", r.Data, first.Data)
	}
	b.From("order", &api.ClosePayment{Step: step(paid), AtOnce: true, Again: true})
	b.wantAnswers("done")
	b.want(paid, api.PaymentPaid)

	closed := b.collect()
	b.close(closed, true)
	b.From("order", &api.ClosePayment{Step: step(closed), AtOnce: true, Again: true})
	b.wantAnswers("undone")
	collect(closed, true)
	b.wantAnswers("undone")
	b.want(closed, api.PaymentClosed)
}

// ACCEPT P9: so is the end of a refund.
func TestRefundAnswersAgain(t *testing.T) {
	for _, refused := range []bool{false, true} {
		b := newBench(t)
		order := b.collect()
		b.pay(b.page(order))
		ask := &api.RefundPayment{Step: api.Step{Order: order, Name: "payment.refund", Occurrence: 1},
			Refund: b.id(api.PrefixRefund), Amount: gbp(due), Again: true}
		if refused {
			ask.Amount = gbp(due + 1)
		}
		b.From("order", ask)
		if !refused {
			b.From("order", ask)
			b.wantAnswers() // it is under way
			b.outcome("rfd-"+ask.Refund, api.RefundOutcome{Total: gbp(due)})
		}
		first := actorstest.Only[api.StepResult](b.Actor)
		b.From("order", ask)
		again := actorstest.Only[api.StepResult](b.Actor)
		if string(api.Raw(&again)) != string(api.Raw(&first)) || (again.Refusal != nil) != refused {
			t.Errorf("answered %s, at first %s", api.Raw(&again), api.Raw(&first))
		}
		ask.Again = false
		b.From("order", ask)
		if len(b.Out.Sent) != 0 {
			t.Errorf("answered without being asked to: %v", b.Subjects())
		}
	}
}
