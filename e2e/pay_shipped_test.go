package e2e

import (
	"testing"

	"ordo/api"
)

// ships hands the order's parcel to the carrier.
func (p *process) ships(order string) (s api.Shipment) {
	p.t.Helper()
	p.admin().must("POST", "/admin/v1/orders/"+order+"/ship",
		map[string]string{"carrier": "Royal Mail", "tracking": "RM1"}, &s)
	return s
}

// wantStock waits for a SKU's stock.
func (p *process) wantStock(sku string, want int64) {
	p.t.Helper()
	eventually(p.t, "the stock to be right", func() bool { return p.sku(sku).Stock == want })
}

// What is with the customer is not sold again because it is refunded, and what
// is refunded does not leave, however long the gateway takes. ACCEPT Y9 L3
func TestRefundAndShipment(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data).ready()
	s, g := p.shopper(), p.till()
	sku := p.onSale(700, 20)
	o, a := s.bought(g, sku, 5)

	// One unit is refunded while the gateway hangs; the other four leave.
	g.fails("hang", forEver, "refund")
	first := s.asks(o.ID, map[int]int64{0: 1})
	if first.State == api.RefundAsked {
		p.admin().must("POST", "/admin/v1/refunds/"+first.ID+"/grant", nil, nil)
	}
	eventually(t, "the unit to be out of the parcel", func() bool {
		return p.steps(o.ID)["shipping.cancel"] == api.StepDone
	})
	if parcel := p.ships(o.ID); len(parcel.Lines) != 1 || parcel.Lines[0].Quantity != 4 {
		t.Errorf("parcel: %+v", parcel)
	}
	g.fails("", 0, "refund")
	p.refunded(first.ID)
	p.wantStock(sku, 16)

	// Of the four with the customer one is refunded, one comes back, one is
	// asked for and comes back, and one comes back broken.
	s.refunds(o.ID, map[int]int64{0: 1})
	p.wantStock(sku, 16)
	var r api.Refund
	admin := "/admin/v1/orders/" + o.ID + "/refunds"
	back := map[string]any{"reason": "came back", "lines": []map[string]any{
		{"line": 0, "quantity": 1, "returned": true}}}
	p.admin().must("POST", admin, back, &r)
	p.refunded(r.ID)
	p.wantStock(sku, 17)
	asked := s.asks(o.ID, map[int]int64{0: 1})
	p.admin().must("POST", "/admin/v1/refunds/"+asked.ID+"/grant",
		map[string]any{"note": "came back", "returned": true}, nil)
	p.refunded(asked.ID)
	p.wantStock(sku, 18)
	p.admin().must("POST", admin, map[string]any{"reason": "broken", "returned": true,
		"keep": true}, &r)
	p.refunded(r.ID)
	if rows := g.about(a.ID); len(rows) != 6 {
		t.Errorf("statement: %q", rows)
	}
	p.wantStock(sku, 18)
	p.endsEven(g, data)
}
