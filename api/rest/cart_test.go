package rest_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"ordo/api"
)

type cartLine struct {
	SKU                 string
	Quantity, Available int64
	Selected, Enough    bool
	Price, Seen, Total  api.Money
	PriceChange         int64 `json:"price_change"`
	OnSale              bool  `json:"on_sale"`
	Added               api.Time
}

type cart struct {
	Lines []cartLine
	Total api.Money
}

type cartChange struct {
	Line            *cartLine
	Count, Selected int
}

func line(sku string, n int) object { return object{"sku": sku, "quantity": n} }

func (u *shopper) cart() cart {
	u.t.Helper()
	return decode[cart](u.call("GET", "/v1/cart", nil).want(200))
}

// wantChange checks what a change of one line answers.
func (r *reply) wantChange(count, selected int, sku string, quantity int64) *cartLine {
	r.t.Helper()
	c := decode[cartChange](r.want(200))
	if c.Count != count || c.Selected != selected || (c.Line == nil) != (sku == "") ||
		sku != "" && (c.Line.SKU != sku || c.Line.Quantity != quantity || !c.Line.OnSale) {
		r.t.Fatalf("%s: %s", r.what, r.body)
	}
	return c.Line
}

// ACCEPT K1 K2 F1
func TestCart(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	u.call("POST", "/v1/cart/lines", line("mug", 1)).wantChange(1, 1, "mug", 1)
	if l := u.call("POST", "/v1/cart/lines", line("mug", 1)).wantChange(1, 1, "mug", 2); l.Total !=
		gbp(2000) || l.Available != 100 || !l.Enough {
		t.Errorf("line %+v", l)
	}
	u.call("POST", "/v1/cart/lines", line("shirt-s", 4)).wantChange(2, 2, "shirt-s", 4)
	u.call("POST", "/v1/cart/lines", line("none", 1)).refused(422, api.CodeUnknownSKU)
	s.admin("POST", "/admin/v1/products:import",
		"sku,spu,name,price\nmug,mug,Mug,12.00\n").want(200)
	c := u.cart()
	if len(c.Lines) != 2 || c.Total != gbp(2400+4*2550) {
		t.Fatalf("cart %+v", c)
	}
	if l := c.Lines[0]; l.Quantity != 2 || l.Price != gbp(1200) || l.Seen != gbp(1000) ||
		l.PriceChange != 200 || l.Total != gbp(2400) || l.Available != 100 || !l.Enough {
		t.Errorf("line %+v", l)
	}
	if l := c.Lines[1]; l.Enough || l.Available != 3 {
		t.Errorf("line %+v", l)
	}
	u.call("PUT", "/v1/cart/lines/shirt-s", object{"selected": false}).
		wantChange(2, 1, "shirt-s", 4)
	if l := u.call("PUT", "/v1/cart/lines/mug", object{"quantity": 3}).
		wantChange(2, 1, "mug", 3); l.PriceChange != 200 || l.Total != gbp(3600) {
		t.Errorf("line %+v", l)
	}
	count := u.call("GET", "/v1/cart/count", nil).want(200)
	if n := decode[struct{ Lines, Units int }](count); n.Lines != 2 || n.Units != 7 {
		t.Errorf("count %+v", n)
	}
	u.call("PUT", "/v1/cart/lines/mug", object{}).refused(422, api.CodeInvalid)
	u.call("PUT", "/v1/cart/lines/none", object{"quantity": 3}).refused(404, api.CodeNotFound)
	p := decode[page](u.call("POST", "/v1/checkouts", object{"from": "cart"}).want(201))
	if len(p.Lines) != 1 || p.Lines[0]["sku"] != "mug" || p.Total != gbp(3600) {
		t.Errorf("page %+v", p)
	}
	u.placed(u.call("POST", "/v1/orders", u.order(p)))
	u.call("DELETE", "/v1/cart/lines/mug", nil).wantChange(1, 0, "", 0)
	u.call("POST", "/v1/checkouts", object{"from": "cart"}).refused(422, api.CodeInvalid)
	u.call("POST", "/v1/checkouts", object{"from": "cart", "sku": "mug"}).
		refused(422, api.CodeInvalid)
	u.call("POST", "/v1/checkouts", object{"sku": "none"}).refused(422, api.CodeUnknownSKU)
	if c := decode[cart](u.call("DELETE", "/v1/cart", nil).want(200)); len(c.Lines) != 0 {
		t.Errorf("cart %+v", c)
	}
}

// ACCEPT K1 K2: the whole cart is replaced, and prices are still those seen
// when a SKU came into it.
func TestReplaceCart(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	u.call("POST", "/v1/cart/lines", line("mug", 1)).want(200)
	before := u.cart().Lines[0]
	s.admin("POST", "/admin/v1/products:import",
		"sku,spu,name,price\nmug,mug,Mug,12.00\n").want(200)
	off := line("shirt-s", 2)
	off["selected"] = false
	put := object{"lines": []object{off, line("mug", 7)}}
	c := decode[cart](u.call("PUT", "/v1/cart", put).want(200))
	if len(c.Lines) != 2 || c.Total != gbp(7*1200) {
		t.Fatalf("cart %+v", c)
	}
	if l := c.Lines[0]; l.SKU != "shirt-s" || l.Quantity != 2 || l.Selected || l.Seen != gbp(2550) ||
		!l.OnSale || !l.Enough {
		t.Errorf("line %+v", l)
	}
	if l := c.Lines[1]; l.SKU != "mug" || l.Quantity != 7 || !l.Selected || l.PriceChange != 200 ||
		l.Added != before.Added {
		t.Errorf("line %+v, before %+v", l, before)
	}
	for _, again := range []cart{decode[cart](u.call("PUT", "/v1/cart", put).want(200)), u.cart()} {
		if !slices.Equal(again.Lines, c.Lines) || again.Total != c.Total {
			t.Errorf("cart %+v, want %+v", again, c)
		}
	}
	// What is refused changes nothing.
	for _, bad := range []struct {
		lines []object
		code  api.Code
		place string
	}{
		{[]object{line("mug", 1), line("shirt-s", 1), line("mug", 2)}, api.CodeInvalid, "lines[2].sku"},
		{[]object{line("mug", 1), line("none", 1), line("", 1)}, api.CodeInvalid, "lines[2].sku"},
		{[]object{line("mug", 1), line("no", 1), line("none", 1)}, api.CodeUnknownSKU, "lines[1].sku"},
		{[]object{line("mug", 0)}, api.CodeInvalid, "lines[0].quantity"},
		{[]object{line("mug", api.MaxQuantity+1)}, api.CodeInvalid, "lines[0].quantity"},
		{[]object{{"sku": "mug"}}, api.CodeInvalid, "lines[0]"},
		{make([]object, api.MaxLines+1), api.CodeInvalid, "lines"},
		{nil, api.CodeInvalid, "lines"},
	} {
		p := u.call("PUT", "/v1/cart", object{"lines": bad.lines}).refused(422, bad.code)
		if !strings.HasPrefix(p.Place, bad.place) {
			t.Errorf("place %q, want %s", p.Place, bad.place)
		}
		if bad.code == api.CodeUnknownSKU && string(p.Data) != `["no","none"]` {
			t.Errorf("data %s", p.Data)
		}
	}
	if after := u.cart(); !slices.Equal(after.Lines, c.Lines) {
		t.Errorf("cart %+v, want %+v", after, c)
	}
	c = decode[cart](u.call("PUT", "/v1/cart", object{"lines": []object{}}).want(200))
	if len(c.Lines) != 0 || c.Total != gbp(0) || len(u.cart().Lines) != 0 {
		t.Errorf("cart %+v", c)
	}
}

// ACCEPT K1: carts of api.MaxLines lines, replaced by several at once, are
// always one of those that were put.
func TestReplaceLongCart(t *testing.T) {
	s := newShop(t)
	var csv strings.Builder
	csv.WriteString("sku,spu,name,price,stock\n")
	lines := make([]object, api.MaxLines)
	for i := range lines {
		fmt.Fprintf(&csv, "S%d,S%d,Sku,0.01,9\n", i, i)
	}
	s.admin("POST", "/admin/v1/products:import", csv.String()).want(200)
	u := s.shopper("ann@example.com")
	const writers = 4
	bodies := make([]object, writers)
	for n := range bodies {
		for i := range lines {
			lines[i] = line(fmt.Sprintf("S%d", i), n+1)
		}
		bodies[n] = object{"lines": slices.Clone(lines)}
	}
	var wait sync.WaitGroup
	for n := range writers {
		wait.Go(func() {
			if r := u.call("PUT", "/v1/cart", bodies[n]); r.status != 200 {
				t.Errorf("%d: %.200s", r.status, r.body)
			}
		})
	}
	wait.Wait()
	c := u.cart()
	for _, l := range c.Lines {
		if l.Quantity != c.Lines[0].Quantity {
			t.Fatalf("%s has %d units, the first line %d", l.SKU, l.Quantity, c.Lines[0].Quantity)
		}
	}
	if len(c.Lines) != api.MaxLines || c.Total != gbp(c.Lines[0].Quantity*api.MaxLines) {
		t.Errorf("%d lines, total %v", len(c.Lines), c.Total)
	}
	u.call("POST", "/v1/cart/lines", line("mug", 1)).refused(422, api.CodeLimitExceeded)
	u.call("POST", "/v1/cart/lines", line("S7", 1)).
		wantChange(api.MaxLines, api.MaxLines, "S7", c.Lines[0].Quantity+1)
}
