package order_test

import (
	"strings"
	"testing"

	"ordo/actors/actorstest"
	"ordo/api"
)

// again has a repair ask for a step of the first refund once more.
func (b *bench) again(m *api.SubmitOrder, name string) {
	b.T.Helper()
	b.MustEdge("settle-"+name, &api.SettleOrder{Order: m.Order,
		Found: []api.FoundStep{{Name: name, Occurrence: 1}}})
}

// ACCEPT P9 Y9: a refund of which a repair asks for a step once more ends when
// all have answered, in whatever order.
func TestRefundOfWhichAStepIsAskedAgain(t *testing.T) {
	for _, c := range []struct {
		name  string
		first bool // answered before the rest
	}{{"shipping.cancel", false}, {"shipping.cancel", true}, {"payment.refund", false},
		{"payment.refund", true}} {
		b := newBench(t)
		b.configure(0)
		m := b.paid()
		id := b.support(m)
		b.recalled(m, 1, take("coat", 1))
		b.answer(&api.StepResult{Step: api.Step{Order: m.Order, Name: "payment.refund", Occurrence: 1}})
		rest := b.asked()
		b.again(m, c.name)
		say := func() {
			if c.name == "shipping.cancel" {
				b.recalled(m, 1, take("coat", 1))
			} else {
				b.answer(&api.StepResult{Step: api.Step{Order: m.Order, Name: c.name, Occurrence: 1}})
			}
		}
		if c.first {
			say()
		}
		for _, s := range rest {
			b.answer(&api.StepResult{Step: s})
		}
		if !c.first {
			if r := b.refund(id); r.State != api.RefundRunning {
				t.Errorf("%s: %s before it was answered", c.name, r.State)
			}
			say()
		}
		if r := b.refund(id); r.State != api.RefundDone {
			t.Errorf("%s, first %t: the refund is %s", c.name, c.first, r.State)
		}
	}
}

// A recall that is made once more says anew what had not left.
func TestRecallAskedAgain(t *testing.T) {
	b := newBench(t)
	b.configure(0)
	m := b.paid()
	b.support(m)
	b.recalled(m, 1, take("coat", 2), take("hat", 1))
	b.again(m, "shipping.cancel")
	b.recalled(m, 1) // it has left since
	b.answer(&api.StepResult{Step: api.Step{Order: m.Order, Name: "payment.refund", Occurrence: 1}})
	b.wantReturned(api.ReturnLine{SKU: "coat", Quantity: 2, Keep: true},
		api.ReturnLine{SKU: "hat", Quantity: 1, Keep: true})
}

// The gateway's no to what has been refunded is a fault: what went back can't be
// asked for again.
func TestRefusalAfterTheRest(t *testing.T) {
	b := newBench(t)
	b.configure(0)
	m := b.paid()
	id := b.support(m)
	b.recalled(m, 1)
	done := &api.StepResult{Step: api.Step{Order: m.Order, Name: "payment.refund", Occurrence: 1}}
	b.answer(done)
	b.again(m, "payment.refund")
	done.Refusal = api.Refuse(api.CodeRefundRefused, "no")
	b.From("payment", done)
	if len(b.Out.Dead) != 1 || b.refund(id).State != api.RefundRunning {
		t.Errorf("%d dead letters, the refund is %s", len(b.Out.Dead), b.refund(id).State)
	}
}

// However many lines a refund has, what goes back into the parcel fits into a
// message.
func TestRestoreOfManyLines(t *testing.T) {
	b := newBench(t)
	m := b.draft()
	m.Lines = []api.ReserveLine{{SKU: "coat", Quantity: api.MaxLines, Price: gbp(100)}}
	m.Coupon, m.Balance, m.Total = "", api.Money{}, gbp(100*api.MaxLines)
	b.submit(m)
	r := reserved(m)
	r.Lines[0].Name = strings.Repeat("外", 200)
	b.answer(result(m, "goods.reserve", r))
	b.pay(m)
	b.answerAll(nil)
	var lines []api.RefundLine
	for range api.MaxLines {
		lines = append(lines, api.RefundLine{Line: 0, Quantity: 1})
	}
	id := b.support(m, lines...)
	b.recalled(m, 1, take("coat", api.MaxLines))
	b.From("payment", &api.StepResult{Step: api.Step{Order: m.Order, Name: "payment.refund",
		Occurrence: 1}, Refusal: api.Refuse(api.CodeRefundRefused, "no")})
	if len(b.Out.Dead) != 0 || b.refund(id).State != api.RefundFailed {
		t.Fatalf("%d dead letters, the refund is %s", len(b.Out.Dead), b.refund(id).State)
	}
	if back := actorstest.Only[api.RestoreShipment](b.Actor).Lines; len(back) != 1 ||
		back[0].Quantity != api.MaxLines {
		t.Errorf("restores %d lines", len(back))
	}
}
