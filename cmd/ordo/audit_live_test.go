package main

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"ordo/actors/audit"
	"ordo/api"
)

// ACCEPT M11: files are read one after the other, while orders are placed,
// paid, refunded and cancelled between any two of them; none of that is a
// deviation.
func TestAuditOfAShopAtWork(t *testing.T) {
	b, _ := moneyDay.books(t)
	b.open()
	n, excused := 0, 0
	for range 10 {
		r, err := audit.Run(t.Context(), audit.Options{Dirs: []string{b.dir},
			Reading: func(string) { b.step(n); n++ }})
		if err != nil || !r.OK {
			t.Fatalf("deviations of a shop at work: %v %+v", err, r)
		}
		excused += r.Excused
	}
	if excused < 10 {
		t.Errorf("only %d deviations were excused at %d moments", excused, n)
	}
}

// What has gone wrong while the shop is at work is found all the same.
func TestAuditFindsDeviationsOfAShopAtWork(t *testing.T) {
	b, orders := moneyDay.books(t)
	b.open()
	b.engines["wallet"].Close()
	delete(b.engines, "wallet")
	tamper(t, b.dir, "wallet", `UPDATE entry SET amount = amount + 1 WHERE kind = 'refund'`)
	n := 0
	r, err := audit.Run(t.Context(), audit.Options{Dirs: []string{b.dir}, Reading: func(string) {
		order := b.buy(fmt.Sprint("day-", n), "", 0, "A")
		b.edge("cancel-"+order, &api.CancelOrder{Order: order, User: "usr_1", By: "usr_1"})
		n++
	}})
	if err != nil || !slices.ContainsFunc(r.Deviations, func(d audit.Deviation) bool {
		return d.Check == "balance-back" && d.Order == orders["whole"]
	}) {
		t.Errorf("%v %+v", err, r)
	}
	for _, d := range r.Deviations {
		if d.Order != "" && !slices.Contains(slices.Collect(maps.Values(orders)), d.Order) {
			t.Errorf("an order of today deviates: %+v", d)
		}
	}
}

// step is one of the moments in the lives of an order that is refunded, and of one that is
// paid too late.
func (b *books) step(n int) {
	name := fmt.Sprint("day-", n/10)
	paid, late := dayOrder(b, name+"-paid"), dayOrder(b, name+"-late")
	switch n % 10 {
	case 0:
		b.edge("receive-"+name, &api.ReceiveStock{SKU: "A", Quantity: 2, Reason: "more"})
	case 1:
		b.buy(name+"-paid", "", 1, "A")
	case 2:
		b.buy(name+"-late", "", 0, "A")
	case 3:
		b.pay(late, 0)
	case 4:
		b.edge("cancel-"+late, &api.CancelOrder{Order: late, User: "usr_1", By: "usr_1"})
	case 5:
		b.pay(paid, 1)
	case 6:
		b.pay(late, 1)
	case 7:
		b.refund(paid, name+"-back", 0)
	default:
		b.outcomes("running-1")
	}
}

func dayOrder(b *books, name string) string {
	b.t.Helper()
	id, err := api.OrderID(api.DeriveID(api.PrefixCheckout, testStart, name))
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}
