package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"ordo/actors"
	"ordo/actors/audit"
	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

// shopOrders are the orders of the books as the order actor has them, with their
// refunds.
func (b *books) shopOrders(names map[string]string) map[string]string {
	b.t.Helper()
	all := map[string]string{}
	for name, id := range names {
		var o api.Order
		err := b.engines["order"].AskInto((&api.GetOrder{}).Endpoint().Verb, &api.GetOrder{ID: id}, &o)
		if api.AsError(err) != nil {
			continue
		}
		if err != nil {
			b.t.Fatal(err)
		}
		var refunds api.RefundList
		b.ask(&api.ListRefunds{Order: id}, &refunds)
		slices.SortFunc(refunds.Refunds, func(a, b api.Refund) int { return a.Number - b.Number })
		all[name] = string(api.Raw(&o)) + string(api.Raw(refunds.Refunds))
	}
	return all
}

// repaired has files of different moments repaired, and the order actor handle
// what the repair sends. It answers what the repair says.
func (b *books) repaired() string {
	b.t.Helper()
	files, err := findFiles([]string{b.dir}, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r := &repair{result: repaired{CaughtUp: map[string]int64{}}, files: files,
		engines: map[string]*actors.Engine{}, channels: map[string]*actors.Channels{}}
	if err := r.run(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	if err := r.close(); err != nil {
		b.t.Fatal(err)
	}
	var said strings.Builder
	if err := r.result.print(&said); err != nil {
		b.t.Fatal(err)
	}
	b.open()
	b.edge(fmt.Sprint("rules-", b.seq), &api.ConfigureOrders{Currency: "GBP", ExpirySeconds: 900,
		SubmitSeconds: 60, PointsPer: 100, RefundSeconds: 3600})
	for _, u := range r.result.Orders {
		if u.Cannot == "" {
			b.edge(fmt.Sprint("settle-", u.Order, "-", b.seq), u.message())
		}
	}
	return said.String()
}

// resend has all actors send again what the receivers have not committed.
func (b *books) resend() {
	b.t.Helper()
	for to := range b.engines {
		c, err := b.engines[to].Channels()
		if err != nil {
			b.t.Fatal(err)
		}
		for from, e := range b.engines {
			rows, err := e.Resend(bus.Address(to), c.Taken[bus.Address(from)].Number)
			if err != nil {
				b.t.Fatal(err)
			}
			for i := range rows {
				b.deliver(b.parcel(from, &rows[i]))
			}
		}
	}
}

// ACCEPT P9: an order's file from before all orders. What was placed or paid is
// made again from the journal with its refunds, as it was, and what is missing of
// it follows; the books add up, and the orders go on.
func TestLostOrdersAreMadeAgain(t *testing.T) {
	b := newBooks(t)
	early := b.dir + "/early"
	if err := stores.Snapshot(t.Context(), audit.File(b.dir, "order"), early, 0); err != nil {
		t.Fatal(err)
	}
	orders := b.fillMoney()
	b.outcomes()
	b.refund(orders["part"], "part-3", 1) // nothing of it is left
	b.outcomes()
	b.tick()
	before := b.shopOrders(orders)
	b.close()
	if err := os.Rename(early, audit.File(b.dir, "order")); err != nil {
		t.Fatal(err)
	}
	said := b.repaired()
	for name, id := range orders {
		made := strings.Contains(said, "make again: "+id)
		if over := slices.Contains([]string{"refused", "late", "cancelled", "overdue"}, name); made == over {
			t.Errorf("%s is made again: %v", name, made)
		}
		if _, ok := b.shopOrders(orders)[name]; ok != made {
			t.Errorf("%s is there: %v", name, ok)
		}
	}
	if strings.Contains(said, "CANNOT") || strings.Contains(said, "Street") {
		t.Error(said)
	}
	after := b.shopOrders(orders)
	maps.DeleteFunc(before, func(name, _ string) bool { return after[name] == "" })
	for name := range before {
		if before[name] != after[name] {
			t.Errorf("%s was\n%s\nand is\n%s", name, before[name], after[name])
		}
	}
	if r := b.audit(); !r.OK || r.Excused != 0 { // old answers may be on their way
		t.Errorf("%s\n%+v", said, r)
	}
	b.pay(orders["placed"], 1)
	b.refund(orders["placed"], "placed-1")
	b.refund(orders["running"], "running-2")
	b.outcomes()
	b.tick()
	b.submit("placed", 3, couponID(0), 500) // a late repeat
	if r := b.audit(); !r.OK || r.InFlight != 0 || r.Orders["paid"] != int64(len(after)) {
		t.Errorf("went on: %+v", r)
	}
	b.close()
	if again := b.repaired(); !strings.Contains(again, "nothing to repair") {
		t.Errorf("again: %s", again)
	}
}

// ACCEPT P9: what the journal can't tell of an order that is paid is left to a
// person, with the reason; what is not paid is given up; money that comes in
// between makes the order paid.
func TestLostOrdersThatTheJournalLacks(t *testing.T) {
	b := newBooks(t)
	early := map[string]string{"order": b.dir + "/order", "journal": b.dir + "/journal"}
	keep := func(actor string) {
		t.Helper()
		if err := stores.Snapshot(t.Context(), audit.File(b.dir, actor), early[actor], 0); err != nil {
			t.Fatal(err)
		}
	}
	keep("order")
	b.edge("rules", &api.ConfigureOrders{Currency: "GBP", ExpirySeconds: 900, SubmitSeconds: 60,
		PointsPer: 100, RefundSeconds: 3600})
	orders := b.fill()
	orders["refunding"] = b.buy("refunding", "", 0, "A", "B")
	b.pay(orders["refunding"], 1)
	b.refund(orders["refunding"], "running", 0)
	orders["meanwhile"] = b.buy("meanwhile", "", 0, "A")
	b.pay(orders["meanwhile"], 0)
	keep("journal")
	orders["told late"] = b.buy("told late", "", 0, "A", "B")
	orders["paid late"] = b.buy("paid late", "", 0, "B")
	b.pay(orders["paid late"], 1)
	b.lost["order"] = true // it ends before it hears of the money
	b.pay(orders["meanwhile"], 1)
	b.close()
	for actor, path := range early {
		if err := os.Rename(path, audit.File(b.dir, actor)); err != nil {
			t.Fatal(err)
		}
	}
	b.lost["order"], b.stuck = false, nil
	said := b.repaired()
	b.resend()
	b.close()
	said += b.repaired() // of what was on its way
	for name, want := range map[string]string{
		"placed": "make again: ", "paid": "make again: ", "meanwhile": "make again: ",
		"refunding": "CANNOT: ", "told late": "settle: ", "paid late": "CANNOT: "} {
		if !strings.Contains(said, want+orders[name]) {
			t.Errorf("%s: want %q\n%s", name, want, said)
		}
	}
	for _, why := range []string{"refund 1 of it had begun", "it is paid, the order's file does not " +
		"know it, and the journal does not: see its payment"} {
		if !strings.Contains(said, why) {
			t.Errorf("want %q\n%s", why, said)
		}
	}
	b.tick()
	after := b.shopOrders(orders)
	if names := slices.Sorted(maps.Keys(after)); !slices.Equal(names, []string{"meanwhile", "paid",
		"placed"}) || !strings.Contains(after["meanwhile"], `"state":"paid"`) {
		t.Errorf("there are %v; %s", names, after["meanwhile"])
	}
	var p api.Payment
	b.ask(&api.GetPayment{Order: orders["told late"]}, &p)
	if p.State != api.PaymentClosed {
		t.Errorf("the payment of what is given up is %s", p.State)
	}
	for _, d := range b.audit().Deviations {
		if d.Order != orders["refunding"] && d.Order != orders["paid late"] && d.Check != "undelivered" &&
			!strings.HasPrefix(d.Check, "channel") {
			t.Errorf("%+v", d)
		}
	}
}

// ACCEPT P9: a payments' file from before all orders, whose messages since are
// lost. What was paid is paid again by what the orders say, and what was refunded
// is refunded under its old number, once.
func TestLostPaymentsAreToldAgain(t *testing.T) {
	b := newBooks(t)
	early := b.dir + "/early"
	if err := stores.Snapshot(t.Context(), audit.File(b.dir, "payment"), early, 0); err != nil {
		t.Fatal(err)
	}
	orders := b.fillMoney()
	b.outcomes()
	before := b.shopOrders(orders)
	b.close()
	if err := os.Rename(early, audit.File(b.dir, "payment")); err != nil {
		t.Fatal(err)
	}
	for said := ""; !strings.Contains(said, "nothing to repair"); b.close() {
		if said = b.repaired(); strings.Contains(said, "CANNOT") {
			t.Fatal(said)
		}
		b.resend()
		b.outcomes()
	}
	b.open()
	b.tick()
	if after := b.shopOrders(orders); !maps.Equal(before, after) {
		for name := range before {
			if before[name] != after[name] {
				t.Errorf("%s was\n%s\nand is\n%s", name, before[name], after[name])
			}
		}
	}
	for _, d := range b.audit().Deviations { // money that went back at once is told by the journal alone
		if d.Check != "pay-journal" || d.Order != orders["twice"] && d.Order != orders["overdue"] {
			t.Errorf("%+v", d)
		}
	}
}
