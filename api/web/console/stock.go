package console

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strconv"

	"ordo/api"
	"ordo/api/web/call"
	"ordo/api/web/page"
)

// stock is the page of a SKU's stock, or of the goods to choose from.
type stock struct {
	Word string
	// SKU is nil where the word is none's id.
	SKU    *api.SKU
	Ledger []api.StockEntry
	Next   string
	// Admin is true for who may see the ledger and change the stock.
	Admin bool
	// Products are those whose names have the words.
	Products []api.Product
	// Key makes the change that the page asks for one, however often it is sent.
	Key           string
	Units, Reason string
}

func (v *visit) showStock() error { return v.stockPage(http.StatusOK, nil) }

func (v *visit) stockPage(status int, bad []string) error {
	d := stock{Word: v.query("sku"), Key: rand.Text(), Units: v.value("units"),
		Reason: v.value("reason")}
	page := view{Page: "stock", Title: "Stock", Bad: bad, D: &d}
	var sku api.SKU
	err := error(notFound())
	if d.Word != "" {
		err = v.getShop("/v1/skus/"+url.PathEscape(d.Word), &sku)
	}
	switch {
	case err == nil:
		d.SKU = &sku
		err = v.readLedger(&d)
	case call.Is(err, api.CodeNotFound), call.Is(err, api.CodeInvalid):
		err = v.findGoods(&d)
	}
	if err != nil {
		return err
	}
	return v.show(status, page)
}

// readLedger is row C7. Supporters may not see it.
func (v *visit) readLedger(d *stock) error {
	var list api.StockLedger
	err := v.list("/stock/ledger", url.Values{"sku": {d.SKU.ID}}, &list)
	if call.Is(err, api.CodeForbidden) {
		return nil
	}
	if err != nil {
		return err
	}
	d.Admin, d.Ledger, d.Next = true, list.Entries, page.Next(v.r, list.Next)
	return nil
}

// findGoods looks for goods on sale by the words of their names.
func (v *visit) findGoods(d *stock) error {
	var list api.ProductList
	ask := url.Values{"limit": {strconv.Itoa(pageSize)}}
	if d.Word != "" {
		ask.Set("search", d.Word)
	}
	if cursor := v.query("cursor"); cursor != "" {
		ask.Set("cursor", cursor)
	}
	if err := v.getShop(page.Address("/v1/products", ask), &list); err != nil {
		return err
	}
	d.Products = list.Products
	if list.Next != "" {
		d.Next = link("stock", "sku", d.Word, "cursor", list.Next)
	}
	return nil
}

// getShop asks the part of the API that is everybody's.
func (v *visit) getShop(path string, into any) error {
	return v.s.api.Do(v.r, call.Call{Method: http.MethodGet, Path: path}, into)
}

// changeStock receives units, or corrects their number. Row C8.
func (v *visit) changeStock() error {
	units, ok := v.number("units")
	if !ok {
		return v.stockPage(http.StatusUnprocessableEntity,
			[]string{"Units: write a whole number, such as 40 or -2."})
	}
	sku := v.query("sku")
	body := map[string]any{"sku": sku, "reason": v.value("reason")}
	a := action{Call: call.Call{Method: http.MethodPost, Path: "/stock/" + v.value("action"),
		Body: body, Header: []string{"Idempotency-Key", v.value("key")}}}
	count := number(units) + " units"
	switch v.value("action") {
	case "receive":
		body["quantity"] = units
		a.Ask, a.Yes = "Did "+count+" of "+sku+" come into the house?", "Yes, receive them"
	case "adjust":
		body["difference"] = units
		a.Ask, a.Yes = "Change the stock of "+sku+" by "+count+"?", "Yes, adjust it"
	default:
		return notFound()
	}
	done, err := v.do(&a, v.stockPage)
	if !done {
		return err
	}
	return v.goNoted(v.here(), "stock")
}
