package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ordo/api"
	"ordo/api/web/page"
)

// checkout is the checkout as the API makes it, with what is chosen on the
// page. Row F2.
type checkout struct {
	Token string `json:"token"`
	Lines []struct {
		SKU       string            `json:"sku"`
		Product   string            `json:"product"`
		Name      string            `json:"name"`
		Options   map[string]string `json:"options"`
		Quantity  int64             `json:"quantity"`
		Price     api.Money         `json:"price"`
		Total     api.Money         `json:"total"`
		Available int64             `json:"available"`
	} `json:"lines"`
	Addresses  []api.Address `json:"addresses"`
	Coupons    []api.Coupon  `json:"coupons"`
	Balance    api.Money     `json:"balance"`
	PayMethods []string      `json:"pay_methods"`
	Goods      api.Money     `json:"total"`

	Wish wish `json:"-"`
	// Discount is what the chosen coupon takes off, Total what is left, Used
	// what the balance pays of it, and Due the rest.
	Discount api.Money `json:"-"`
	Total    api.Money `json:"-"`
	Used     api.Money `json:"-"`
	Due      api.Money `json:"-"`
}

// wish is what a shopper chooses at the checkout.
type wish struct {
	// From and SKU name the entry. Row F1.
	From, SKU, Quantity string
	Address, Coupon     string
	// Balance is an amount as it was written.
	Balance, Pay string
}

// wishFields are the names of the wish's fields on the page and in its address.
func (w *wish) fields() map[string]*string {
	return map[string]*string{"from": &w.From, "sku": &w.SKU, "quantity": &w.Quantity,
		"address": &w.Address, "coupon": &w.Coupon, "balance": &w.Balance, "pay": &w.Pay}
}

func readWish(q url.Values) (w wish) {
	for name, value := range w.fields() {
		*value = strings.TrimSpace(q.Get(name))
	}
	return w
}

// link is the checkout's address with these choices made.
func (w *wish) link() string {
	q := url.Values{}
	for name, value := range w.fields() {
		if *value != "" {
			q.Set(name, *value)
		}
	}
	return page.Address("/checkout", q)
}

// Shown is what makes the total that the page shows.
func (w *wish) Shown() string { return w.Coupon + " " + w.Balance }

// PayMethods that a form offers: the balance is a field of its own.
func (c *checkout) Providers() []string {
	return slices.DeleteFunc(slices.Clone(c.PayMethods),
		func(m string) bool { return m == api.PayBalance })
}

func (v *visit) showCheckout() error {
	if err := v.needUser(); err != nil {
		return err
	}
	return v.checkoutPage(http.StatusOK, readWish(v.r.URL.Query()), nil, nil)
}

// checkoutPage makes a checkout and shows it. The token that it is submitted
// with is made here, with the page, and never at the click.
func (v *visit) checkoutPage(status int, w wish, bad []mistake, p *problem) error {
	ask := map[string]any{}
	if w.SKU != "" {
		n, err := strconv.ParseInt(cmp.Or(w.Quantity, "1"), 10, 64)
		if err != nil {
			return &problem{Status: http.StatusUnprocessableEntity, Code: api.CodeInvalid,
				Place: "quantity"}
		}
		ask["sku"], ask["quantity"] = w.SKU, n
	} else {
		ask["from"] = cmp.Or(w.From, "cart")
	}
	var c checkout
	err := v.post("/v1/checkouts", ask, &c)
	if e := refused(err); e != nil && e.Code == api.CodeInvalid && e.Place == "from" {
		return v.goNoted("/cart", "nothing")
	}
	if err != nil {
		return err
	}
	c.choose(w)
	bad = append(c.count(v), bad...)
	if p != nil {
		bad = append(bad, v.refusedOrder(p, &c)...)
	}
	if len(bad) > 0 && status == http.StatusOK {
		status = http.StatusUnprocessableEntity
	}
	return v.show(status,
		view{Page: "checkout", Title: v.tongue.text("checkout.title"), Errors: bad,
			D: &c})
}

// choose takes over the wishes that can be fulfilled, and the first of all that
// is there for the others.
func (c *checkout) choose(w wish) {
	c.Wish = w
	if !slices.ContainsFunc(c.Addresses, func(a api.Address) bool { return a.ID == w.Address }) {
		c.Wish.Address = ""
		if len(c.Addresses) > 0 {
			c.Wish.Address = c.Addresses[0].ID
		}
	}
	if !slices.ContainsFunc(c.Coupons, func(k api.Coupon) bool { return k.ID == w.Coupon }) {
		c.Wish.Coupon = ""
	}
	if all := c.Providers(); !slices.Contains(all, w.Pay) && len(all) > 0 {
		c.Wish.Pay = all[0]
	}
}

// count is what the choices come to, for the shopper to see. What is charged is
// counted by the order, which refuses another total than the one seen here.
func (c *checkout) count(v *visit) (bad []mistake) {
	c.Total, c.Discount = c.Goods, api.Money{Currency: c.Goods.Currency}
	for _, k := range c.Coupons {
		if k.ID == c.Wish.Coupon {
			c.Discount.Amount = min(k.Amount.Amount, c.Goods.Amount)
		}
	}
	c.Total.Amount -= c.Discount.Amount
	used, err := api.ParseMoney(cmp.Or(c.Wish.Balance, "0"), c.Goods.Currency)
	if err != nil || used.Amount < 0 || used.Amount > c.Balance.Amount {
		used.Amount = 0
		bad = []mistake{{"balance", v.tongue.text("bad.balance")}}
	}
	if used.Amount > c.Total.Amount {
		used.Amount = c.Total.Amount
		c.Wish.Balance, _, _ = strings.Cut(used.String(), " ")
	}
	c.Used, c.Due = used, c.Total
	c.Used.Currency = c.Goods.Currency
	c.Due.Amount -= used.Amount
	return bad
}

// refusedOrder says why an order was refused, with the lines that are meant.
func (v *visit) refusedOrder(p *problem, c *checkout) []mistake {
	names := map[string]string{}
	for _, l := range c.Lines {
		names[l.SKU] = l.Name
		if o := v.tongue.options(l.Options); o != "" {
			names[l.SKU] += " (" + o + ")"
		}
	}
	bad := v.mistakes(p, map[string]string{"address_id": "address", "pay_method": "pay",
		"lines": "lines", "total": "lines", "token": ""})
	for _, line := range v.tongue.details(p.Code, p.Data, names) {
		bad = append(bad, mistake{"lines", line})
	}
	return bad
}

// submitCheckout is a button of the checkout: to see what the choices come to,
// or to place the order. It is placed as it was seen or not at all. Rows S2, S3.
func (v *visit) submitCheckout() error {
	if err := v.needUser(); err != nil {
		return err
	}
	w := readWish(v.form)
	switch {
	case v.value("action") != "place":
		return v.goTo(w.link())
	case w.Shown() != v.form.Get("shown"):
		return v.goNoted(w.link(), "look")
	}
	total, err := strconv.ParseInt(v.value("total"), 10, 64)
	if err != nil {
		return &problem{Status: http.StatusBadRequest, Code: api.CodeInvalid, Place: "total"}
	}
	used, err := api.ParseMoney(cmp.Or(w.Balance, "0"), v.s.Currency)
	if err != nil {
		return v.checkoutPage(http.StatusUnprocessableEntity, w, nil, nil)
	}
	method := w.Pay
	if used.Amount == total {
		method = api.PayBalance
	}
	money := func(n int64) api.Money { return api.Money{Amount: n, Currency: v.s.Currency} }
	body := map[string]any{"token": v.value("token"), "address_id": w.Address,
		"pay_method": method, "channel": api.ChannelWeb, "balance": used, "total": money(total)}
	if w.Coupon != "" {
		body["coupon"] = w.Coupon
	}
	var o api.Order
	err = v.post("/v1/orders?wait=5s", body, &o)
	if p := ofForm(err); p != nil {
		return v.checkoutPage(p.Status, w, nil, p)
	}
	if err != nil {
		return err
	}
	return v.goNoted(pageLink("orders", o.ID), "ordered")
}
