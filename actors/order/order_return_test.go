package order_test

import (
	"reflect"
	"testing"

	"ordo/actors/actorstest"
	"ordo/api"
)

// recalled has the shipping actor answer which units had not left.
func (b *bench) recalled(m *api.SubmitOrder, refund int, took ...api.CartTake) {
	b.T.Helper()
	b.answer(&api.StepResult{Step: api.Step{Order: m.Order, Name: "shipping.cancel",
		Occurrence: refund}, Data: api.Raw(api.Recalled{Lines: took})})
}

func take(sku string, n int64) api.CartTake { return api.CartTake{SKU: sku, Quantity: n} }

func (b *bench) wantReturned(want ...api.ReturnLine) {
	b.T.Helper()
	if got := actorstest.Only[api.ReturnStock](b.Actor).Lines; !reflect.DeepEqual(got, want) {
		b.T.Errorf("returned %+v, want %+v", got, want)
	}
}

// ACCEPT Y9 L3: of goods that are shipped only those go into the stock that
// had not left, or of which support says that they have come back.
func TestOnlyWhatIsHereIsSoldAgain(t *testing.T) {
	keep := func(sku string, n int64) api.ReturnLine {
		return api.ReturnLine{SKU: sku, Quantity: n, Keep: true}
	}
	here := func(sku string, n int64) api.ReturnLine {
		return api.ReturnLine{SKU: sku, Quantity: n}
	}
	for _, c := range []struct {
		name string
		ask  api.AskRefund
		took []api.CartTake
		want []api.ReturnLine
	}{
		{"all has left", api.AskRefund{}, nil, []api.ReturnLine{keep("coat", 2), keep("hat", 1)}},
		{"some has left", api.AskRefund{}, []api.CartTake{take("coat", 1)},
			[]api.ReturnLine{here("coat", 1), keep("coat", 1), keep("hat", 1)}},
		{"all has come back", api.AskRefund{Returned: true}, nil,
			[]api.ReturnLine{here("coat", 2), here("hat", 1)}},
		{"one has come back", api.AskRefund{Lines: []api.RefundLine{{Line: 0, Quantity: 1,
			Returned: true}, {Line: 1, Quantity: 1}}}, nil,
			[]api.ReturnLine{here("coat", 1), keep("hat", 1)}},
		{"none is sold again", api.AskRefund{Keep: true}, []api.CartTake{take("coat", 2)},
			[]api.ReturnLine{keep("coat", 2), keep("hat", 1)}},
		{"what is kept comes last", api.AskRefund{Lines: []api.RefundLine{{Line: 0, Quantity: 1,
			Keep: true}, {Line: 0, Quantity: 1}}}, []api.CartTake{take("coat", 1)},
			[]api.ReturnLine{keep("coat", 1), here("coat", 1)}},
		{"nobody says what was recalled but the actor", api.AskRefund{Lines: []api.RefundLine{
			{Line: 0, Quantity: 1, Recalled: 1}}}, nil, []api.ReturnLine{keep("coat", 1)}},
	} {
		b := newBench(t)
		b.configure(0)
		m := b.paid()
		c.ask.ID, c.ask.Order, c.ask.By, c.ask.Reason = b.refundID(), m.Order, "usr_sup", "torn"
		b.MustEdge(c.ask.ID, &c.ask)
		b.wantSent("shipping/cancel")
		b.recalled(m, 1, c.took...)
		b.answer(&api.StepResult{Step: api.Step{Order: m.Order, Name: "payment.refund",
			Occurrence: 1}})
		if b.T.Log(c.name); len(b.Out.Dead) > 0 {
			t.Error(b.Out.Dead)
		}
		b.wantReturned(c.want...)
	}
}

// Support says what has become of the units when it grants what was asked for.
func TestGrantSaysWhatCameBack(t *testing.T) {
	b := newBench(t)
	b.configure(0)
	m := b.paid()
	id := b.refundID()
	b.MustEdge(id, &api.AskRefund{ID: id, Order: m.Order, User: m.User, By: m.User})
	b.MustEdge("grant", &api.DecideRefund{Refund: id, By: "usr_sup", Grant: true, Returned: true})
	b.recalled(m, 1)
	b.answer(&api.StepResult{Step: api.Step{Order: m.Order, Name: "payment.refund", Occurrence: 1}})
	b.wantReturned(api.ReturnLine{SKU: "coat", Quantity: 2}, api.ReturnLine{SKU: "hat", Quantity: 1})
}

// ACCEPT Y9 L3: when the gateway refuses, what was kept back is shipped again.
func TestFailedRefundRestoresTheShipment(t *testing.T) {
	b := newBench(t)
	b.configure(0)
	m := b.paid()
	b.support(m)
	b.recalled(m, 1, take("coat", 1))
	no := &api.StepResult{Step: api.Step{Order: m.Order, Name: "payment.refund", Occurrence: 1},
		Refusal: api.Refuse(api.CodeRefundRefused, "no")}
	b.answer(no)
	b.wantSent("shipping/restore", "order.refund-failed")
	if r := actorstest.Only[api.RestoreShipment](b.Actor); r.Occurrence != 1 ||
		!reflect.DeepEqual(r.Lines, []api.ShipLine{{SKU: "coat", Name: b.order(m).Lines[0].Name,
			Quantity: 1}}) {
		t.Errorf("restores %+v", r)
	}
	b.answer(&api.StepResult{Step: api.Step{Order: m.Order, Name: "shipping.cancel",
		Occurrence: 1}, Undo: true})
	b.wantSent()
	b.answer(no)
	b.wantSent()
}
