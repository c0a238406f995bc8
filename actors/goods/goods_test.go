package goods_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/actors/goods"
	"ordo/api"
)

func gbp(amount int64) api.Money { return api.Money{Amount: amount, Currency: "GBP"} }

func sku(id string, price, stock int64) api.SKU {
	return api.SKU{ID: id, Name: "The " + id, Price: gbp(price), Stock: stock}
}

func shirt() api.Product {
	m, l := sku("shirt-m", 1999, 5), sku("shirt-l", 2099, 3)
	m.Options = map[string]string{"size": "M", "colour": "blue"}
	m.Picture = "https://pictures.example/shirt.jpg?w=400&h=300"
	l.Options = map[string]string{"size": "L"}
	return api.Product{ID: "shirt", Name: "Blue Linen Shirt",
		Categories: []string{"Men/Tops/Shirts", "Sale"},
		Attributes: map[string]string{"material": "linen"}, SKUs: []api.SKU{m, l}}
}

// shop is an actor with a shirt in two sizes and a mug.
func shop(t testing.TB) *actorstest.Actor {
	a := actorstest.New(t, goods.Spec())
	put(a, shirt(), api.Product{ID: "mug", Name: "Mug, large", Categories: []string{"Home"},
		SKUs: []api.SKU{sku("mug-1", 850, 10)}})
	return a
}

// put makes products that must not be refused.
func put(a *actorstest.Actor, products ...api.Product) {
	a.T.Helper()
	a.MustEdge(fmt.Sprintf("put-%d", a.Now.UnixNano()), &api.PutProducts{Products: products})
}

// stock is a SKU as it is now.
func stock(a *actorstest.Actor, id string) api.SKU {
	a.T.Helper()
	var list api.SKUList
	if r := a.Ask(&api.GetSKUs{IDs: []string{id}}, &list); r != nil || len(list.SKUs) != 1 {
		a.T.Fatalf("SKU %s: %v, %d found", id, r, len(list.SKUs))
	}
	return list.SKUs[0]
}

// wantStock checks how many units there are and are locked.
func wantStock(a *actorstest.Actor, id string, units, locked int64) {
	a.T.Helper()
	if s := stock(a, id); s.Stock != units || s.Locked != locked {
		a.T.Errorf("%s has %d units and %d locked, want %d and %d", id, s.Stock, s.Locked, units,
			locked)
	}
}

// ledger are all rows of a SKU, newest first, and checks that they add up.
func ledger(a *actorstest.Actor, id string) []api.StockEntry {
	a.T.Helper()
	var all []api.StockEntry
	var units, locked int64
	page := api.Page{Limit: 7}
	for range 1000 { // pages; more would be a circle
		var list api.StockLedger
		if r := a.Ask(&api.ListStockLedger{Page: page, SKU: id}, &list); r != nil {
			a.T.Fatalf("ledger of %s: %v", id, r)
		}
		all = append(all, list.Entries...)
		if page.Cursor = list.Next; page.Cursor == "" {
			break
		}
		if len(list.Entries) != page.Limit {
			a.T.Fatalf("a page of %d rows that is not the last", len(list.Entries))
		}
	}
	for i, e := range all {
		units, locked = units+e.Stock, locked+e.Locked
		if i > 0 && e.Seq >= all[i-1].Seq {
			a.T.Errorf("ledger of %s: row %d comes after row %d", id, e.Seq, all[i-1].Seq)
		}
	}
	if s := stock(a, id); s.Stock != units || s.Locked != locked || locked < 0 || locked > units {
		a.T.Errorf("%s: the ledger adds up to %d units and %d locked, there are %d and %d", id,
			units, locked, s.Stock, s.Locked)
	}
	return all
}

// ACCEPT C1 C2
func TestProductIsKeptWithItsSKUs(t *testing.T) {
	a := shop(t)
	var got api.Product
	if r := a.Ask(&api.GetProduct{ID: "shirt"}, &got); r != nil {
		t.Fatal(r)
	}
	want := shirt()
	for i := range want.SKUs {
		want.SKUs[i].Product = "shirt"
	}
	slices.Reverse(want.SKUs) // by id: shirt-l, shirt-m
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if r := a.Ask(&api.GetProduct{ID: "none"}, &got); r == nil || r.Code != api.CodeNotFound {
		t.Errorf("an unknown product: %v", r)
	}
}

// ACCEPT C1 C7
func TestPutChangesDescriptionsAndNeverStock(t *testing.T) {
	a := shop(t)
	p := shirt()
	p.Name, p.Categories, p.Attributes = "Red Shirt", []string{"Men/Red"}, nil
	p.SKUs = p.SKUs[:1]
	p.SKUs[0].Price, p.SKUs[0].Stock, p.SKUs[0].Locked = gbp(1500), 700, 70
	p.SKUs[0].OffSale, p.SKUs[0].MaxPerOrder = true, 4
	p.SKUs = append(p.SKUs, sku("shirt-xl", 2500, 0))
	put(a, p)

	var got api.Product
	a.Ask(&api.GetProduct{ID: "shirt"}, &got)
	if got.Name != "Red Shirt" || got.Attributes != nil || len(got.SKUs) != 3 {
		t.Errorf("got %+v", got)
	}
	s := stock(a, "shirt-m")
	if s.Price != gbp(1500) || !s.OffSale || s.MaxPerOrder != 4 {
		t.Errorf("got %+v", s)
	}
	wantStock(a, "shirt-m", 5, 0)
	wantStock(a, "shirt-l", 3, 0)
	wantStock(a, "shirt-xl", 0, 0)
	if rows := ledger(a, "shirt-m"); len(rows) != 1 || rows[0].Kind != api.LedgerReceive {
		t.Errorf("ledger %+v", rows)
	}
	if rows := ledger(a, "shirt-xl"); len(rows) != 0 {
		t.Errorf("ledger %+v", rows)
	}
	if got := find(a, api.ListProducts{Category: "Sale"}); len(got) != 0 {
		t.Errorf("it is still in a category that it left: %v", got)
	}
}

func TestPutRefusesAllOfTheMessage(t *testing.T) {
	many := make([]api.SKU, 501)
	for i := range many {
		many[i] = sku(fmt.Sprint("many-", i), 1, 0)
	}
	long := strings.Repeat("é", 201)
	pairs := map[string]string{}
	for i := range 51 {
		pairs[fmt.Sprint(i)] = "x"
	}
	eur := api.Money{Amount: 1, Currency: "EUR"}
	cases := []struct {
		place  string
		code   api.Code
		change func(p *api.Product)
	}{
		{"products[1].id", "", func(p *api.Product) { p.ID = "" }},
		{"products[1].id", "", func(p *api.Product) { p.ID = strings.Repeat("x", 65) }},
		{"products[1].id", "", func(p *api.Product) { p.ID = "a\x00b" }},
		{"products[1].id", "", func(p *api.Product) { p.ID = " a" }},
		{"products[1].id", "", func(p *api.Product) { p.ID = "first" }},
		{"products[1].name", "", func(p *api.Product) { p.Name = " " }},
		{"products[1].name", "", func(p *api.Product) { p.Name = long }},
		{"products[1].name", "", func(p *api.Product) { p.Name = "two\nlines" }},
		{"products[1].categories", "", func(p *api.Product) { p.Categories = make([]string, 21) }},
		{"products[1].categories[1]", "", func(p *api.Product) { p.Categories = []string{"A", "A/"} }},
		{"products[1].categories[0]", "", func(p *api.Product) {
			p.Categories = []string{"1/2/3/4/5/6/7/8/9/10/11"}
		}},
		{"products[1].attributes", "", func(p *api.Product) { p.Attributes = pairs }},
		{"products[1].attributes", "", func(p *api.Product) { p.Attributes = map[string]string{"": ""} }},
		{"products[1].skus[1].id", "", func(p *api.Product) { p.SKUs[1].ID = `"` }},
		{"products[1].skus[1].id", "", func(p *api.Product) { p.SKUs[1].ID = p.SKUs[0].ID }},
		{"products[1].skus[1].id", "", func(p *api.Product) { p.SKUs[1].ID = "first-1" }},
		{"products[1].skus[1].id", "", func(p *api.Product) { p.SKUs[1].ID = "mug-1" }},
		{"products[1].skus[0].product", "", func(p *api.Product) { p.SKUs[0].Product = "mug" }},
		{"products[1].skus[0].name", "", func(p *api.Product) { p.SKUs[0].Name = "" }},
		{"products[1].skus[0].options", "", func(p *api.Product) { p.SKUs[0].Options = pairs }},
		{"products[1].skus[0].picture", "", func(p *api.Product) {
			p.SKUs[0].Picture = "javascript:alert(1)"
		}},
		{"products[1].skus[0].picture", "", func(p *api.Product) {
			p.SKUs[0].Picture = "/" + strings.Repeat("x", 500)
		}},
		{"products[1].skus[0].price", "", func(p *api.Product) { p.SKUs[0].Price.Amount = -1 }},
		{"products[1].skus[0].price", "", func(p *api.Product) {
			p.SKUs[0].Price.Amount = api.MaxAmount + 1
		}},
		{"products[1].skus[0].price", "", func(p *api.Product) { p.SKUs[0].Price.Currency = "gbp" }},
		{"products[1].skus[1].price", "", func(p *api.Product) { p.SKUs[1].Price = eur }},
		{"products[1].skus[0].stock", "", func(p *api.Product) { p.SKUs[0].Stock = -1 }},
		{"products[1].skus[0].stock", "", func(p *api.Product) { p.SKUs[0].Stock = api.MaxStock + 1 }},
		{"products[1].skus[0].max_per_order", "", func(p *api.Product) { p.SKUs[0].MaxPerOrder = -1 }},
		{"products[1].skus[0].max_per_user", "", func(p *api.Product) { p.SKUs[0].MaxPerUser = -1 }},
		{"products[1].skus[0].kind", "", func(p *api.Product) { p.SKUs[0].Kind = "Course" }},
		{"products[1].skus[0].stock_policy", "", func(p *api.Product) { p.SKUs[0].Policy = "order" }},
		{"products", api.CodeTooLarge, func(p *api.Product) { p.SKUs = many }},
		{"products[1].skus", api.CodeTooLarge, func(p *api.Product) {
			p.ID, p.SKUs = "full", many[:1]
		}},
	}
	a := shop(t)
	full := api.Product{ID: "full", Name: "Full", SKUs: make([]api.SKU, 500)}
	for i := range full.SKUs {
		full.SKUs[i] = sku(fmt.Sprint("full-", i), 1, 0)
	}
	put(a, full)
	for i, c := range cases {
		p := api.Product{ID: "second", Name: "Second",
			SKUs: []api.SKU{sku("second-1", 1, 1), sku("second-2", 1, 1)}}
		c.change(&p)
		r := a.Edge(fmt.Sprint("bad-", i), &api.PutProducts{Products: []api.Product{
			{ID: "first", Name: "First", SKUs: []api.SKU{sku("first-1", 1, 1)}}, p}})
		if c.code == "" {
			c.code = api.CodeInvalid
		}
		if r.Refusal == nil || r.Refusal.Code != c.code || r.Refusal.Place != c.place {
			t.Errorf("case %d: got %v, want %s at %s", i, r.Refusal, c.code, c.place)
		}
	}
	if r := a.Edge("none", &api.PutProducts{}).Refusal; r == nil || r.Place != "products" {
		t.Errorf("no products: %v", r)
	}
	if r := a.Edge("201", &api.PutProducts{Products: make([]api.Product, 201)}).Refusal; r == nil ||
		r.Code != api.CodeTooLarge {
		t.Errorf("201 products: %v", r)
	}
	want := []string{"full", "mug", "shirt"}
	if got := find(a, api.ListProducts{}); !reflect.DeepEqual(got, want) {
		t.Errorf("products are %v, want %v", got, want)
	}
}

// ACCEPT C7
func TestReceiveAndAdjust(t *testing.T) {
	a := shop(t)
	a.MustEdge("rcv", &api.ReceiveStock{SKU: "mug-1", Quantity: 5, Reason: "delivery 7"})
	a.Edge("rcv", &api.ReceiveStock{SKU: "mug-1", Quantity: 5, Reason: "delivery 7"})
	a.MustEdge("adj", &api.AdjustStock{SKU: "mug-1", Difference: -2, Reason: "broken", By: "usr_9"})
	wantStock(a, "mug-1", 13, 0)
	rows := ledger(a, "mug-1")
	if len(rows) != 3 {
		t.Fatalf("ledger %+v", rows)
	}
	want := api.StockEntry{Seq: rows[0].Seq, SKU: "mug-1", Kind: api.LedgerAdjust, Stock: -2,
		Cause: "adj", Reason: "broken", By: "usr_9", At: api.TimeOf(actorstest.Start.Add(4 * time.Millisecond))}
	if rows[0] != want {
		t.Errorf("got %+v, want %+v", rows[0], want)
	}
	if rows[1].Cause != "rcv" || rows[1].Stock != 5 || rows[1].Kind != api.LedgerReceive {
		t.Errorf("got %+v", rows[1])
	}
}

func TestReceiveAndAdjustRefuse(t *testing.T) {
	long := strings.Repeat("x", 501)
	cases := []struct {
		code  api.Code
		place string
		m     api.Message
	}{
		{api.CodeUnknownSKU, "sku", &api.ReceiveStock{SKU: "none", Quantity: 1}},
		{api.CodeInvalid, "quantity", &api.ReceiveStock{SKU: "mug-1"}},
		{api.CodeInvalid, "quantity", &api.ReceiveStock{SKU: "mug-1", Quantity: -1}},
		{api.CodeInvalid, "quantity", &api.ReceiveStock{SKU: "mug-1", Quantity: 1_000_001}},
		{api.CodeInvalid, "quantity", &api.ReceiveStock{SKU: "full", Quantity: 1}},
		{api.CodeInvalid, "reason", &api.ReceiveStock{SKU: "mug-1", Quantity: 1, Reason: long}},
		{api.CodeInvalid, "by", &api.ReceiveStock{SKU: "mug-1", Quantity: 1, By: long[:65]}},
		{api.CodeUnknownSKU, "sku", &api.AdjustStock{SKU: "none", Difference: 1, Reason: "x"}},
		{api.CodeInvalid, "difference", &api.AdjustStock{SKU: "mug-1", Reason: "x"}},
		{api.CodeInvalid, "difference", &api.AdjustStock{SKU: "mug-1", Reason: "x",
			Difference: -1 << 63}},
		{api.CodeInvalid, "reason", &api.AdjustStock{SKU: "mug-1", Difference: 1}},
		{api.CodeOutOfStock, "", &api.AdjustStock{SKU: "mug-1", Difference: -7, Reason: "x"}},
	}
	a := shop(t)
	put(a, api.Product{ID: "full", Name: "Full", SKUs: []api.SKU{sku("full", 1, api.MaxStock)}})
	a.From("order", reserve("o1", line("mug-1", 4, 850)))
	for i, c := range cases {
		r := a.Edge(fmt.Sprint("bad-", i), c.m).Refusal
		if r == nil || r.Code != c.code || r.Place != c.place {
			t.Errorf("case %d: got %v, want %s at %s", i, r, c.code, c.place)
		}
	}
	r := a.Edge("low", &api.AdjustStock{SKU: "mug-1", Difference: -8, Reason: "x"}).Refusal
	wantData(t, r, []api.Shortage{{SKU: "mug-1", Wanted: 8, Left: 6}})
	a.MustEdge("all", &api.AdjustStock{SKU: "mug-1", Difference: -6, Reason: "count"})
	wantStock(a, "mug-1", 4, 4)
	wantStock(a, "full", api.MaxStock, 0)
	ledger(a, "mug-1")
}

// ACCEPT C3
func TestGetSKUs(t *testing.T) {
	a := shop(t)
	var list api.SKUList
	if r := a.Ask(&api.GetSKUs{IDs: []string{"shirt-m", "none", "mug-1"}}, &list); r != nil {
		t.Fatal(r)
	}
	if len(list.SKUs) != 2 || list.SKUs[0].ID != "shirt-m" || list.SKUs[1].ID != "mug-1" {
		t.Errorf("got %+v", list.SKUs)
	}
	if got := list.SKUs[0]; got.Price != gbp(1999) || got.Product != "shirt" || got.Available() != 5 {
		t.Errorf("got %+v", got)
	}
	if r := a.Ask(&api.GetSKUs{}, &list); r != nil || list.SKUs == nil || len(list.SKUs) != 0 {
		t.Errorf("no ids: %v, %+v", r, list.SKUs)
	}
	r := a.Ask(&api.GetSKUs{IDs: make([]string, api.MaxLines+1)}, &list)
	if r == nil || r.Code != api.CodeTooLarge {
		t.Errorf("too many ids: %v", r)
	}
}

// find are the ids of all products that a search finds, page by page.
func find(a *actorstest.Actor, q api.ListProducts) (ids []string) {
	a.T.Helper()
	for range 1000 {
		var list api.ProductList
		if r := a.Ask(&q, &list); r != nil {
			a.T.Fatalf("list %+v: %v", q, r)
		}
		if len(list.Products) > q.Size() {
			a.T.Fatalf("a page of %d products, wanted %d", len(list.Products), q.Size())
		}
		for _, p := range list.Products {
			ids = append(ids, p.ID)
		}
		if q.Cursor = list.Next; q.Cursor == "" {
			return ids
		}
	}
	a.T.Fatalf("list %+v goes round in a circle", q)
	return nil
}

// ACCEPT C1 C3
func TestListProducts(t *testing.T) {
	a := actorstest.New(t, goods.Spec())
	put(a,
		api.Product{ID: "a", Name: "Blue Shirt", Categories: []string{"Men/Tops", "Men/Blue"}},
		api.Product{ID: "b", Name: "Ärmel-Shirt blau", Categories: []string{"Men/Tops/Shirts"}},
		api.Product{ID: "c", Name: "Blue Mug 100%", Categories: []string{"Home"}},
		api.Product{ID: "d", Name: "Belt", Categories: []string{"Menswear"}})
	cases := []struct {
		search, category string
		want             []string
	}{
		{"", "", []string{"a", "b", "c", "d"}},
		{"shirt", "", []string{"a", "b"}},
		{" SHIRT  blue ", "", []string{"a"}},
		{"ärmel", "", []string{"b"}},
		{"%", "", []string{"c"}},
		{"_", "", nil},
		{"blue", "Men", []string{"a"}},
		{"", "Men", []string{"a", "b"}},
		{"", "Men/Tops/", []string{"a", "b"}},
		{"", "Men/Tops/Shirts", []string{"b"}},
		{"", "Men/To", nil},
		{"", "' OR 1=1 --", nil},
	}
	for _, c := range cases {
		for _, limit := range []int{0, 1, 3} {
			got := find(a, api.ListProducts{Search: c.search, Category: c.category,
				Page: api.Page{Limit: limit}})
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%q in %q by %d: got %v, want %v", c.search, c.category, limit, got, c.want)
			}
		}
	}
	for i, q := range []api.ListProducts{{Search: strings.Repeat("x", 201)},
		{Search: "1 2 3 4 5 6 7 8 9 10 11"}, {Category: strings.Repeat("x", 201)},
		{Page: api.Page{Cursor: strings.Repeat("x", 65)}}} {
		if r := a.Ask(&q, &api.ProductList{}); r == nil || r.Code != api.CodeInvalid {
			t.Errorf("case %d: %v", i, r)
		}
	}
}

func TestListHidesSKUsOffSale(t *testing.T) {
	a := shop(t)
	p := shirt()
	p.SKUs[0].OffSale = true
	put(a, p)
	var list api.ProductList
	a.Ask(&api.ListProducts{Search: "linen"}, &list)
	if len(list.Products) != 1 || len(list.Products[0].SKUs) != 1 ||
		list.Products[0].SKUs[0].ID != "shirt-l" {
		t.Errorf("got %+v", list.Products)
	}
	if s := stock(a, "shirt-m"); !s.OffSale {
		t.Errorf("got %+v", s)
	}
}

func TestPageOfLargeProductsEndsEarly(t *testing.T) {
	a := actorstest.New(t, goods.Spec())
	var want []string
	for i := range 8 {
		p := api.Product{ID: fmt.Sprint("p", i), Name: "Large"}
		for j := range 400 {
			s := sku(fmt.Sprintf("p%d-%d", i, j), 1, 0)
			s.Name, s.Picture = strings.Repeat("n", 200), "/"+strings.Repeat("p", 450)
			p.SKUs = append(p.SKUs, s)
		}
		put(a, p)
		want = append(want, p.ID)
	}
	var list api.ProductList
	a.Ask(&api.ListProducts{}, &list)
	if n := len(api.Raw(list)); len(list.Products) == 8 || n > 2<<20 {
		t.Errorf("a page of %d products and %d bytes", len(list.Products), n)
	}
	if got := find(a, api.ListProducts{}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

// ACCEPT C7
func TestLedgerRefusesForeignCursors(t *testing.T) {
	a := shop(t)
	for _, cursor := range []string{"x", "-1", "0", "999", "1e3"} {
		q := api.ListStockLedger{SKU: "mug-1", Page: api.Page{Cursor: cursor}}
		if r := a.Ask(&q, &api.StockLedger{}); r == nil || r.Place != "cursor" {
			t.Errorf("cursor %q: %v", cursor, r)
		}
	}
	shirts := ledger(a, "shirt-m")
	q := api.ListStockLedger{SKU: "mug-1", Page: api.Page{Cursor: fmt.Sprint(shirts[0].Seq)}}
	if r := a.Ask(&q, &api.StockLedger{}); r == nil || r.Place != "cursor" {
		t.Errorf("the cursor of another SKU: %v", r)
	}
	if r := a.Ask(&api.ListStockLedger{SKU: "none"}, &api.StockLedger{}); r == nil ||
		r.Code != api.CodeNotFound {
		t.Errorf("an unknown SKU: %v", r)
	}
}

// tamper is a statement that no handler has.
type tamper struct{ SQL string }

func (*tamper) Route() api.Route { return api.Route{Actor: "goods", Verb: "tamper"} }

// ACCEPT C4 C7
func TestDatabaseGuardsStockAndLedger(t *testing.T) {
	spec := goods.Spec()
	spec.Commands = append(spec.Commands, actors.On(func(tx *actors.Tx, m *tamper) error {
		_, err := tx.Exec(m.SQL)
		return err
	}))
	a := actorstest.New(t, spec)
	put(a, shirt())
	row := `INSERT INTO ledger (prev, sku, kind, stock, locked, cause, reason, at) VALUES
		(0, 'shirt-m', 'adjust', %d, %d, '', '', 0)`
	for i, sql := range []string{
		`DELETE FROM ledger`,
		`UPDATE ledger SET stock = 6`,
		`UPDATE stock SET locked = stock + 1`,
		`UPDATE stock SET locked = -1`,
		fmt.Sprintf(row, 0, 6),
		fmt.Sprintf(row, -6, 0),
		fmt.Sprintf(row, 0, -1),
		fmt.Sprintf(row, 0, 0),
		fmt.Sprintf(row, api.MaxStock, 0),
	} {
		a.Edge(fmt.Sprint("tamper-", i), &tamper{sql})
		if len(a.Out.Dead) != 1 {
			t.Errorf("%s was let through", sql)
		}
	}
	a.Edge("fine", &tamper{fmt.Sprintf(row, 2, 0)})
	wantStock(a, "shirt-m", 7, 0)
}
