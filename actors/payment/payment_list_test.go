package payment_test

import (
	"reflect"
	"testing"

	"ordo/api"
)

// ACCEPT Y8 U4: lists come in pages that leave nothing out; another's payment
// is not found.
func TestLists(t *testing.T) {
	b := newBench(t)
	var want []string
	for i := range 5 {
		order := b.collect()
		want = append([]string{order}, want...)
		if i > 0 {
			b.pay(b.page(order))
		}
	}
	list := func(state string) (got []string) {
		q := api.ListPayments{State: state, Page: api.Page{Limit: 2}}
		for ok := true; ok; ok = q.Cursor != "" {
			var page api.PaymentList
			if r := b.Ask(&q, &page); r != nil {
				t.Fatal(r)
			}
			for _, p := range page.Payments {
				got = append(got, p.Order)
			}
			q.Cursor = page.Next
		}
		return got
	}
	if got := list(""); !reflect.DeepEqual(got, want) {
		t.Errorf("payments %v, want %v", got, want)
	}
	if got := list(api.PaymentPaid); !reflect.DeepEqual(got, want[:4]) {
		t.Errorf("paid ones %v, want %v", got, want[:4])
	}
	if got := list(api.PaymentClosing); got != nil {
		t.Errorf("closing ones %v", got)
	}
	var log api.PayLog
	if r := b.Ask(&api.ListPayLog{Page: api.Page{Limit: 3}}, &log); r != nil || log.Next != "3" {
		t.Errorf("the log goes on at %q: %v", log.Next, r)
	}
	if r := b.Ask(&api.ListPayLog{Page: api.Page{Cursor: log.Next}}, &log); r != nil ||
		len(log.Entries) != 1 || log.Entries[0].Order != want[0] {
		t.Errorf("then %+v", log)
	}
	if r := b.Ask(&api.ListPayLog{Page: api.Page{Limit: 3}, Newest: true}, &log); r != nil ||
		log.Next != "2" || log.Entries[0].Order != want[0] {
		t.Errorf("the newest are %+v: %v", log, r)
	}
	if r := b.Ask(&api.ListPayLog{Page: api.Page{Cursor: "2"}, Newest: true}, &log); r != nil ||
		len(log.Entries) != 1 || log.Entries[0].Order != want[3] {
		t.Errorf("before them %+v: %v", log, r)
	}
	var e api.PayLogEntry
	if r := b.Ask(&api.FindTrade{Number: log.Entries[0].TradeNo}, &e); r != nil ||
		e.Order != want[3] {
		t.Errorf("by its trade number %+v: %v", e, r)
	}
	if r := b.Ask(&api.FindTrade{Number: "T0"}, nil); r == nil || r.Code != api.CodeNotFound {
		t.Errorf("an unknown number: %v", r)
	}
	if r := b.Ask(&api.GetPayment{Order: want[0], User: "usr_2"}, nil); r == nil ||
		r.Code != api.CodeNotFound {
		t.Errorf("another's payment: %v", r)
	}
	if r := b.Ask(&api.GetAttempt{ID: "pay_x"}, nil); r == nil || r.Code != api.CodeNotFound {
		t.Errorf("an unknown attempt: %v", r)
	}
	bad := api.Page{Cursor: "x"}
	for _, q := range []api.Query{&api.ListPayments{Page: bad}, &api.ListPayLog{Page: bad},
		&api.ListPaymentIncidents{Page: bad}} {
		if r := b.Ask(q, nil); r == nil || r.Code != api.CodeInvalid || r.Place != "cursor" {
			t.Errorf("%T with a bad cursor: %v", q, r)
		}
	}
}
