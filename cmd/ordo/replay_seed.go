package main

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"

	"ordo/api"
)

// replayReason marks the stock that replays have seeded.
const replayReason = "replay"

// seed puts the catalogue on sale and the stock into the house.
func (r *replay) seed(ctx context.Context) error {
	rows := make([]importSKU, 0, len(r.goods))
	for _, sku := range slices.Sorted(maps.Keys(r.goods)) {
		g := r.goods[sku]
		if g.Price.Amount == 0 {
			continue
		}
		rows = append(rows, importSKU{SKU: g.SKU, Product: g.Product, Name: g.Name,
			ProductName: g.ProductName, Price: g.Price, Stock: r.spare, Categories: g.Type,
			Options: []string{g.Variant}})
	}
	if err := r.admin.importCatalog(ctx, []string{"variant"}, rows); err != nil {
		return err
	}
	stock := r.trace.stock(r.factor)
	skus := slices.Sorted(maps.Keys(stock))
	return parallel(ctx, 32, len(skus), func(ctx context.Context, i int) error {
		return r.admin.seedStock(ctx, skus[i], stock[skus[i]])
	})
}

// seedStock receives what lacks until replays have received so many units of
// the SKU in all, so it may be called again at any time.
func (a *admin) seedStock(ctx context.Context, sku string, wanted int64) error {
	received, err := a.received(ctx, sku, wanted)
	for err == nil && received < wanted {
		n := min(wanted-received, api.MaxQuantity)
		// The place in the row of receipts keeps two replays at once apart.
		key := fmt.Sprintf("replay-%d-%s", received, url.QueryEscape(sku))
		body := api.ReceiveStock{SKU: sku, Quantity: n, Reason: replayReason}
		err = a.post(ctx, "/stock/receive", key, body, nil)
		received += n
	}
	return err
}

// received is how many units of a SKU replays have seeded, as its ledger says.
// It reads no further back than to find enough.
func (a *admin) received(ctx context.Context, sku string, enough int64) (n int64, err error) {
	for cursor := ""; n < enough; {
		var ledger api.StockLedger
		path := fmt.Sprintf("/admin/v1/stock/ledger?sku=%s&limit=%d&cursor=%s",
			url.QueryEscape(sku), api.MaxPage, url.QueryEscape(cursor))
		err := a.do(ctx, request{Method: "GET", Path: path, Token: a.token, Repeat: true}, &ledger)
		if err != nil {
			return 0, fmt.Errorf("stock ledger of %s: %w", sku, err)
		}
		for _, e := range ledger.Entries {
			if e.Kind == api.LedgerReceive && e.Reason == replayReason {
				n += e.Stock
			}
		}
		if cursor = ledger.Next; cursor == "" {
			break
		}
	}
	return n, nil
}
