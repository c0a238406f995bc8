package goods_test

import (
	"slices"
	"testing"

	"ordo/actors/actorstest"
	"ordo/actors/goods"
	"ordo/api"
)

// ACCEPT C7: a row says who had the stock changed, a new SKU's first one as well;
// orders have no such person.
func TestLedgerSaysWho(t *testing.T) {
	a := actorstest.New(t, goods.Spec())
	a.MustEdge("put", &api.PutProducts{By: "usr_1", Products: []api.Product{{ID: "mug", Name: "Mug",
		SKUs: []api.SKU{sku("mug-1", 850, 10)}}}})
	a.MustEdge("rcv", &api.ReceiveStock{SKU: "mug-1", Quantity: 5, By: "admin"})
	a.MustEdge("adj", &api.AdjustStock{SKU: "mug-1", Difference: -1, Reason: "broken", By: "usr_2"})
	a.From("order", &api.ReserveStock{Step: api.Step{Order: "ord_1", Name: "goods.reserve"},
		User: "usr_3", Lines: []api.ReserveLine{{SKU: "mug-1", Quantity: 1, Price: gbp(850)}}})
	var who []string
	for _, e := range ledger(a, "mug-1") {
		who = append(who, e.Kind+" "+e.By)
	}
	if want := []string{"lock ", "adjust usr_2", "receive admin", "receive usr_1"}; !slices.Equal(who,
		want) {
		t.Errorf("got %q, want %q", who, want)
	}
}
