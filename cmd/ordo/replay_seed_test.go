package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/big"
	"net/url"
	"testing"
	"time"

	"ordo/api"
)

// replayed runs a trace of one customer against the shop, and wants all of it
// placed.
func replayed(t *testing.T, a *admin, invoices ...[]invoiceLine) {
	t.Helper()
	r := &replay{admin: a, goods: catalog{}, trace: &trace{}, factor: big.NewRat(1, 1), width: 4}
	for _, sku := range []string{"A", "BANK CHARGES"} {
		r.goods[sku] = catalogRow{SKU: sku, Product: sku, Name: sku, ProductName: sku,
			Variant: "one", Type: "goods", Price: api.Money{Amount: 250, Currency: "GBP"}}
	}
	for i, lines := range invoices {
		r.trace.Invoices = append(r.trace.Invoices, invoice{No: fmt.Sprint(i), Customer: "1",
			Lines: lines})
	}
	got, err := r.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Orders.Placed != len(invoices) || got.Orders.Refused != 0 {
		t.Fatalf("of %d invoices: %+v, refusals %v", len(invoices), got.Orders, got.Refusals)
	}
}

// wantStock checks how much of a SKU replays have received, and that so much
// is held by orders.
func wantStock(t *testing.T, a *admin, sku string, want int64) {
	t.Helper()
	received, err := a.received(t.Context(), sku, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	var s api.SKU
	if err := a.do(t.Context(), request{Method: "GET", Path: "/v1/skus/" + url.PathEscape(sku)},
		&s); err != nil {
		t.Fatal(err)
	}
	if received != want || s.Locked != want {
		t.Errorf("%s: replays received %d, %d are locked; want %d", sku, received, s.Locked, want)
	}
}

// A replay that is run again, or goes further, orders and seeds only what is
// new, whatever else happened to the stock. ACCEPT K1 C7
func TestReplayAgain(t *testing.T) {
	shop, err := StartShop(t.Context(), ShopConfig{Data: t.TempDir(), HTTP: "127.0.0.1:0",
		Pay: demoPay(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := shop.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	a := &admin{newClient(shop.URL, 40), shop.AdminToken}
	// The cart is filled again while the order before leaves it.
	same := []invoiceLine{{"A", 2}, {"BANK CHARGES", 3}}
	trace := [][]invoiceLine{same, same, same, {{"BANK CHARGES", 1}}, same, same, {{"A", 5}}}
	replayed(t, a, trace...)
	wantStock(t, a, "A", 15)
	wantStock(t, a, "BANK CHARGES", 16)
	replayed(t, a, trace...)
	wantStock(t, a, "A", 15)
	wantStock(t, a, "BANK CHARGES", 16)
	// The ledger of A becomes longer than a page.
	if err := parallel(t.Context(), 32, api.MaxPage, func(ctx context.Context, i int) error {
		return a.post(ctx, "/stock/receive", fmt.Sprint("more-", i),
			api.ReceiveStock{SKU: "A", Quantity: 1, Reason: "delivery"}, nil)
	}); err != nil {
		t.Fatal(err)
	}
	replayed(t, a, append(trace, []invoiceLine{{"A", 1}, {"BANK CHARGES", api.MaxQuantity}},
		[]invoiceLine{{"BANK CHARGES", 8}})...)
	wantStock(t, a, "A", 16)
	wantStock(t, a, "BANK CHARGES", api.MaxQuantity+24)
}
