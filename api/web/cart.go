package web

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"ordo/api"
)

// cart is the cart as the API shows it.
type cart struct {
	Lines []cartLine `json:"lines"`
	Total api.Money  `json:"total"`
}

type cartLine struct {
	SKU         string            `json:"sku"`
	Quantity    int64             `json:"quantity"`
	Selected    bool              `json:"selected"`
	Product     string            `json:"product"`
	Name        string            `json:"name"`
	Options     map[string]string `json:"options"`
	Picture     string            `json:"picture"`
	Price       api.Money         `json:"price"`
	Seen        api.Money         `json:"seen"`
	PriceChange int64             `json:"price_change"`
	Total       api.Money         `json:"total"`
	OnSale      bool              `json:"on_sale"`
	Available   int64             `json:"available"`
	Enough      bool              `json:"enough"`
}

// Empty tells that nothing is in it.
func (c *cart) Empty() bool { return len(c.Lines) == 0 }

// Ready tells that something in it is selected.
func (c *cart) Ready() bool {
	for _, l := range c.Lines {
		if l.Selected {
			return true
		}
	}
	return false
}

// readCart is the visitor's cart, which is empty for a new one.
func (v *visit) readCart() (c cart, err error) {
	c.Total.Currency = v.s.Currency
	if v.session == "" && v.guest == "" {
		return c, nil
	}
	err = v.get("/v1/cart", &c)
	if v.session == "" && is(err, api.CodeInvalid) {
		// The id is not the shop's any more; the next line gets a new one.
		v.dropCookie(cookieGuest)
		err = nil
	}
	return c, err
}

// countCart is how many units are in the cart; 0 where that is not known, which
// keeps nobody from the page.
func (v *visit) countCart() int64 {
	var n struct{ Units int64 }
	if v.session == "" && v.guest == "" || v.get("/v1/cart/count", &n) != nil {
		return 0
	}
	return n.Units
}

// showCart is row K2.
func (v *visit) showCart() error { return v.cartPage(http.StatusOK, nil) }

func (v *visit) cartPage(status int, bad []mistake) error {
	c, err := v.readCart()
	if err != nil {
		return err
	}
	return v.show(status,
		view{Page: "cart", Title: v.tongue.text("cart.title"), Errors: bad, D: &c})
}

// addToCart adds to the user's cart, or to that of a guest, who gets an id at
// the first line. Row K4.
func (v *visit) addToCart(sku string, quantity int64) error {
	line := map[string]any{"sku": sku, "quantity": quantity}
	if v.session == "" && v.guest == "" {
		if err := v.newGuest(); err != nil {
			return err
		}
	}
	err := v.post("/v1/cart/lines", line, nil)
	if p := refused(err); p != nil && p.Place == "Ordo-Guest" {
		if err := v.newGuest(); err != nil {
			return err
		}
		err = v.post("/v1/cart/lines", line, nil)
	}
	return err
}

func (v *visit) newGuest() error {
	var made struct {
		Guest string `json:"guest"`
	}
	v.guest = ""
	if err := v.post("/v1/guests", nil, &made); err != nil {
		return err
	}
	v.guest = made.Guest
	v.setCookie(cookieGuest, made.Guest, guestAge)
	return nil
}

// Names of the cart's fields begin with these, and end with the SKU.
const (
	quantityField = "q."
	selectedField = "s."
	removeAction  = "remove "
)

// changeCart is a button of the cart's page: what was changed on it is kept,
// and then the browser stays or goes on to the checkout.
func (v *visit) changeCart() error {
	action := v.value("action")
	if sku, ok := strings.CutPrefix(action, removeAction); ok {
		err := v.call(http.MethodDelete, "/v1/cart/lines/"+url.PathEscape(sku), nil, nil)
		if err != nil {
			return err
		}
		return v.goNoted("/cart", "removed")
	}
	c, err := v.readCart()
	if err != nil {
		return err
	}
	var bad []mistake
	for i := range c.Lines {
		wrong, err := v.changeLine(i, &c.Lines[i])
		if err != nil {
			return err
		}
		bad = append(bad, wrong...)
	}
	if len(bad) > 0 {
		return v.cartPage(http.StatusUnprocessableEntity, bad)
	}
	if action == "checkout" {
		return v.goTo("/checkout?from=cart")
	}
	return v.goNoted("/cart", "updated")
}

// changeLine brings what the form says of a line to the cart, if it is another
// thing than what the cart has.
func (v *visit) changeLine(i int, l *cartLine) ([]mistake, error) {
	field := quantityField + l.SKU
	if !v.form.Has(field) {
		return nil, nil // it was not on the page
	}
	n, bad := v.quantity(field)
	if len(bad) > 0 {
		bad[0].Field = "q" + strconv.Itoa(i)
		return bad, nil
	}
	selected := v.form.Has(selectedField + l.SKU)
	if n == l.Quantity && selected == l.Selected {
		return nil, nil
	}
	err := v.call(http.MethodPut, "/v1/cart/lines/"+url.PathEscape(l.SKU),
		map[string]any{"quantity": n, "selected": selected}, nil)
	if is(err, api.CodeNotFound) {
		return nil, nil // removed in another window
	}
	return nil, err
}
