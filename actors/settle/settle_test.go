package settle_test

import (
	"reflect"
	"strings"
	"testing"

	"ordo/actors/settle"
	"ordo/api"
)

// ACCEPT P9 M7: what order and participant say is a difference, but where both say
// the same, or a payment waits for its gateway.
func TestDiffer(t *testing.T) {
	for _, c := range []struct {
		step, own, found string
		want             bool
		state            string
	}{
		{"goods.reserve", "done", "done", false, ""},
		{"goods.reserve", "done", "", true, ""},
		{"goods.reserve", "done", "undone", true, "undone"},
		{"goods.reserve", "asked", "", true, ""},
		{"goods.reserve", "asked", "done", true, "done"},
		{"goods.reserve", "undoing", "undone", true, "undone"},
		{"goods.reserve", "undone", "done", true, "done"},
		{"goods.reserve", "undone", "undone", false, ""},
		{"goods.reserve", "undone", "", false, ""},
		{"goods.reserve", "refused", "refused", false, ""},
		{"goods.reserve", "refused", "done", true, "done"},
		{"goods.reserve", "", "done", true, "done"},
		{"goods.reserve", "", "undone", false, ""},
		{"payment.collect", "asked", "asked", false, ""},
		{"payment.collect", "asked", "closing", true, "undone"},
		{"payment.collect", "undoing", "closing", false, ""},
		{"payment.collect", "undoing", "asked", true, "asked"},
		{"payment.collect", "", "asked", true, "asked"},
		{"payment.collect", "", "closing", true, "undone"},
		{"payment.refund", "asked", "asked", false, ""},
		{"payment.refund", "asked", "done", true, "done"},
	} {
		d, ok := settle.Differ(c.own, api.FoundStep{Name: c.step, State: c.found})
		if ok != c.want || ok && d.State != c.state {
			t.Errorf("%s is %q by order, %q by its participant: %v, %+v", c.step, c.own, c.found, ok, d)
		}
	}
}

func TestCompare(t *testing.T) {
	view := func(name string, occurrence int, state string) api.StepView {
		return api.StepView{Step: api.Step{Name: name, Occurrence: occurrence}, State: state}
	}
	found := func(name string, occurrence int, state string) api.FoundStep {
		return api.FoundStep{Name: name, Occurrence: occurrence, State: state}
	}
	got := settle.Compare([]api.StepView{view("goods.reserve", 0, "done"),
		view("coupon.redeem", 0, "done"), view("goods.return", 1, "asked")},
		[]api.FoundStep{found("goods.reserve", 0, "done"), found("goods.return", 1, "done"),
			found("goods.return", 2, "done"), found("wallet.debit", 0, "undone")})
	want := []settle.Difference{
		{FoundStep: found("coupon.redeem", 0, ""), Own: "done"},
		{FoundStep: found("goods.return", 1, "done"), Own: "asked"},
		{FoundStep: found("goods.return", 2, "done")}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for i, text := range []string{"coupon.redeem is done by order, not known by coupon",
		"goods.return of refund 1 is asked by order, done by goods",
		"goods.return of refund 2 is not known by order, done by goods"} {
		if got := want[i].String(); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
}

// What messages can't settle is left to a person, with the reason.
func TestCannot(t *testing.T) {
	one := func(name, own, found string) []settle.Difference {
		return []settle.Difference{{FoundStep: api.FoundStep{Name: name, State: found}, Own: own}}
	}
	for _, c := range []struct {
		state string
		all   []settle.Difference
		want  string
	}{
		{"placed", one("goods.reserve", "done", ""), ""},
		{"placed", one("goods.reserve", "done", "undone"), ""},
		{"paid", one("goods.reserve", "done", "undone"), "was undone of a paid order"},
		{"", one("payment.collect", "", "done"), "it is paid, and the order's file does not know it"},
		{"", one("goods.reserve", "", "done"), ""},
		{"", one("shipping.create", "", "done"), "shipping.create was done for it"},
		{"paid", one("payment.collect", "done", ""), ""},
		{"paid", one("payment.collect", "done", "asked"), ""},
		{"paid", one("payment.collect", "done", "undone"), "the payment's file has closed it"},
		{"paid", one("shipping.create", "", "done"), "does not know why"},
		{"placed", nil, ""},
	} {
		if got := settle.Cannot(c.state, c.all); !strings.Contains(got, c.want) ||
			(got == "") != (c.want == "") {
			t.Errorf("%s, %+v: %q, want %q", c.state, c.all, got, c.want)
		}
	}
}
