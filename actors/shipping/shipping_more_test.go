package shipping_test

import (
	"encoding/json"
	"slices"
	"testing"

	"ordo/actors/actorstest"
	"ordo/api"
)

// restore has a failed refund give back what cancel took out.
func restore(a *actorstest.Actor, order string, occurrence int, lines ...api.ShipLine) {
	a.T.Helper()
	s := api.Step{Order: order, Name: "shipping.cancel", Occurrence: occurrence}
	a.From("order", &api.RestoreShipment{Step: s, Lines: lines})
	if r := actorstest.Only[api.StepResult](a); r.Step != s || !r.Undo || r.Refusal != nil {
		a.T.Fatalf("answer %+v to the undo of %+v", r, s)
	}
}

// wantTook checks what the last cancel has taken out.
func wantTook(a *actorstest.Actor, want ...api.CartTake) {
	a.T.Helper()
	var got api.Recalled
	if data := actorstest.Only[api.StepResult](a).Data; data != nil {
		if err := json.Unmarshal(data, &got); err != nil {
			a.T.Fatal(err)
		}
	}
	if !slices.Equal(got.Lines, want) {
		a.T.Errorf("took out %+v, want %+v", got.Lines, want)
	}
}

// ACCEPT Y9 L3: what a refund takes out does not leave, and goes with the
// shipment again when the refund fails; if that has left, it is unsent, and a
// later refund finds it there.
func TestRestoreAfterAFailedRefund(t *testing.T) {
	mug, shirt := line("mug", 1), line("shirt", 2)
	a := given(t)
	create(a, "ord_1")
	create(a, "ord_0", api.ShipLine{SKU: `"unsent":`, Name: `"unsent":1`, Quantity: 1}) // it is not
	cancel(a, "ord_1", 1, take("shirt", 1))
	wantTook(a, take("shirt", 1))
	cancel(a, "ord_1", 1, take("shirt", 1)) // told twice
	wantTook(a, take("shirt", 1))
	wantState(a, "ord_1", api.ShipmentCreated, mug, line("shirt", 1))
	restore(a, "ord_1", 1, line("shirt", 1))
	restore(a, "ord_1", 1, line("shirt", 1))
	wantTold(a)
	wantState(a, "ord_1", api.ShipmentCreated, mug, shirt)

	cancel(a, "ord_1", 2, take("shirt", 2), take("mug", 1))
	wantTook(a, take("mug", 1), take("shirt", 2))
	wantState(a, "ord_1", api.ShipmentCancelled)
	restore(a, "ord_1", 2, mug, shirt)
	wantTold(a, "shipping.created ord_1")
	wantState(a, "ord_1", api.ShipmentCreated, mug, shirt)

	cancel(a, "ord_1", 3, take("shirt", 2))
	a.MustEdge("ship", dispatch("ord_1"))
	restore(a, "ord_1", 3, shirt)
	unsent := shirt
	unsent.Quantity, unsent.Unsent = 0, 2
	wantState(a, "ord_1", api.ShipmentShipped, mug, unsent)
	wantUnsent(a, "", "ord_1")
	wantUnsent(a, api.ShipmentShipped, "ord_1")
	wantUnsent(a, api.ShipmentReceived)
	sent := api.Step{Order: "ord_1", Name: "shipping.cancel", Occurrence: 9}
	a.From("order", &api.CancelShipment{Step: sent, Lines: []api.RecallLine{
		{SKU: "shirt", Quantity: 1, Returned: true}}}) // that is not the one to be sent
	wantTook(a)
	cancel(a, "ord_1", 4, take("shirt", 1), take("mug", 1))
	wantTook(a, take("shirt", 1))
	unsent.Unsent = 1
	wantState(a, "ord_1", api.ShipmentShipped, mug, unsent)
	cancel(a, "ord_1", 5, take("shirt", 2))
	wantTook(a, take("shirt", 1))
	wantState(a, "ord_1", api.ShipmentShipped, mug)
	wantUnsent(a, "")
}

// wantUnsent checks the list of shipments that have units to be sent.
func wantUnsent(a *actorstest.Actor, state string, orders ...string) {
	a.T.Helper()
	var list api.ShipmentList
	if r := a.Ask(&api.ListShipments{State: state, Unsent: true}, &list); r != nil {
		a.T.Fatal(r)
	}
	var got []string
	for _, p := range list.Shipments {
		got = append(got, p.Order)
	}
	if !slices.Equal(got, orders) {
		a.T.Errorf("unsent are %v, want %v", got, orders)
	}
}
