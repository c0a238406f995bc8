package rest

import (
	"context"
	"fmt"
	"time"

	"ordo/api"
	"ordo/stores"
)

func (s *Server) cartRoutes() {
	route(s, s.op("get-cart", "GET /v1/cart", visitors,
		"The cart with current prices and availability"), s.getCart)
	route(s, s.op("count-cart", "GET /v1/cart/count", visitors,
		"How much is in the cart, without prices"), s.countCart)
	route(s, s.op("add-cart-line", "POST /v1/cart/lines", visitors,
		"Add units of a SKU to the cart; answers its line alone"), s.addCartLine)
	route(s, s.op("put-cart-line", "PUT /v1/cart/lines/{sku}", visitors,
		"Set a line's quantity, or whether it is selected; answers the line alone"), s.putCartLine)
	route(s, s.op("delete-cart-line", "DELETE /v1/cart/lines/{sku}", visitors,
		"Take a SKU out of the cart"), s.deleteCartLine)
	route(s, s.op("put-cart", "PUT /v1/cart", visitors,
		"Replace the whole cart, all of it or nothing"), s.putCart)
	route(s, s.op("clear-cart", "DELETE /v1/cart", visitors, "Empty the cart"), s.clearCart)
}

// cartView is a cart as it is shown. Row K2.
type cartView struct {
	Lines []cartLineView `json:"lines"`
	// Total is what the selected lines cost now.
	Total api.Money `json:"total"`
}

type cartLineView struct {
	SKU      string            `json:"sku"`
	Quantity int64             `json:"quantity"`
	Selected bool              `json:"selected"`
	Product  string            `json:"product,omitempty"`
	Name     string            `json:"name,omitempty"`
	Options  map[string]string `json:"options,omitempty"`
	Picture  string            `json:"picture,omitempty"`
	// Price is the unit price now, Seen the one when the SKU was added.
	Price api.Money `json:"price"`
	Seen  api.Money `json:"seen"`
	// PriceChange is Price less Seen, in minor units.
	PriceChange int64 `json:"price_change"`
	// Total is what the line costs now.
	Total api.Money `json:"total"`
	// OnSale is false for a SKU that can't be bought any more.
	OnSale bool `json:"on_sale"`
	// Available is how many units can be ordered; Enough, whether they will do.
	Available int64    `json:"available"`
	Enough    bool     `json:"enough"`
	Added     api.Time `json:"added"`
}

func (s *Server) getCart(ctx context.Context, _ *none) (*answer[cartView], error) {
	cart, err := s.Carts.Get(ctx, callerOf(ctx).owner())
	if err != nil {
		return nil, err
	}
	return s.viewCart(ctx, cart)
}

// cartCount is how much is in a cart.
type cartCount struct {
	Lines int   `json:"lines"`
	Units int64 `json:"units"`
}

// countCart asks nobody about SKUs, so that every page can have it.
func (s *Server) countCart(ctx context.Context, _ *none) (*answer[cartCount], error) {
	cart, err := s.Carts.Get(ctx, callerOf(ctx).owner())
	if err != nil {
		return nil, err
	}
	n := cartCount{Lines: len(cart.Lines)}
	for _, l := range cart.Lines {
		n.Units += l.Quantity
	}
	return &answer[cartCount]{n}, nil
}

// viewCart shows a cart with what one query says about all its SKUs.
func (s *Server) viewCart(ctx context.Context, cart stores.Cart) (*answer[cartView], error) {
	var skus map[string]*api.SKU
	if len(cart.Lines) > 0 {
		ids := make([]string, len(cart.Lines))
		for i, l := range cart.Lines {
			ids[i] = l.SKU
		}
		var err error
		if skus, err = s.skus(ctx, ids); err != nil {
			return nil, err
		}
	}
	return s.showCart(cart, skus), nil
}

func (s *Server) showCart(cart stores.Cart, skus map[string]*api.SKU) *answer[cartView] {
	v := cartView{Lines: make([]cartLineView, len(cart.Lines)), Total: s.money(0)}
	for i, l := range cart.Lines {
		v.Lines[i] = s.viewLine(l, skus)
		if l.Selected {
			v.Total.Amount += v.Lines[i].Total.Amount
		}
	}
	return &answer[cartView]{v}
}

// cartChange is what became of one line. It costs a query for one SKU however
// long the cart is; GET /v1/cart shows the rest.
type cartChange struct {
	// Line is null when the SKU is not in the cart any more.
	Line *cartLineView `json:"line"`
	// Count is how many lines the cart has, Selected how many of them go to the
	// checkout.
	Count    int `json:"count"`
	Selected int `json:"selected"`
}

func (s *Server) showChange(cart stores.Cart, sku string,
	skus map[string]*api.SKU) *answer[cartChange] {
	c := cartChange{Count: len(cart.Lines)}
	for _, l := range cart.Lines {
		if l.Selected {
			c.Selected++
		}
		if l.SKU == sku {
			line := s.viewLine(l, skus)
			c.Line = &line
		}
	}
	return &answer[cartChange]{c}
}

func (s *Server) viewLine(l stores.CartLine, skus map[string]*api.SKU) cartLineView {
	v := cartLineView{SKU: l.SKU, Quantity: l.Quantity, Selected: l.Selected, Seen: l.Seen,
		Price: l.Seen, Total: s.money(0), Added: l.Added}
	sku, refusal := onSale(skus, l.SKU)
	if refusal != nil {
		return v
	}
	v.Product, v.Name, v.Options, v.Picture = sku.Product, sku.Name, sku.Options, sku.Picture
	v.Price, v.OnSale, v.Available = sku.Price, true, sku.Available()
	v.Enough = v.Available >= l.Quantity
	if l.Seen.Currency == sku.Price.Currency {
		v.PriceChange = sku.Price.Amount - l.Seen.Amount
	}
	// A line that costs too much to be ordered is shown without a total.
	if n, err := api.LineTotal(sku.Price.Amount, l.Quantity); err == nil {
		v.Total.Amount = n
	}
	return v
}

func (s *Server) money(amount int64) api.Money {
	return api.Money{Amount: amount, Currency: s.Currency}
}

type addLineInput struct {
	Body struct {
		SKU      string `json:"sku" minLength:"1" maxLength:"64"`
		Quantity int64  `json:"quantity" minimum:"1" maximum:"1000000"`
	}
}

// addCartLine is row K1: what is there already grows.
func (s *Server) addCartLine(ctx context.Context, in *addLineInput) (
	*answer[cartChange], error) {
	skus, err := s.skus(ctx, []string{in.Body.SKU})
	if err != nil {
		return nil, err
	}
	sku, refusal := onSale(skus, in.Body.SKU)
	if refusal != nil {
		return nil, refusal.At("sku")
	}
	line := stores.CartLine{SKU: sku.ID, Quantity: in.Body.Quantity, Selected: true,
		Seen: sku.Price, Added: api.TimeOf(time.Now())}
	cart, err := s.changeCart(ctx, func(c *stores.Cart) error { return c.Add(line) })
	if err != nil {
		return nil, err
	}
	return s.showChange(cart, sku.ID, skus), nil
}

func (s *Server) changeCart(ctx context.Context, change func(*stores.Cart) error) (
	stores.Cart, error) {
	return s.Carts.Update(ctx, callerOf(ctx).owner(), change)
}

type putCartInput struct {
	Body struct {
		Lines []putCartLine `json:"lines" nullable:"false" maxItems:"2000"`
	}
}

type putCartLine struct {
	SKU      string `json:"sku" minLength:"1" maxLength:"64"`
	Quantity int64  `json:"quantity" minimum:"1" maximum:"1000000"`
	Selected *bool  `json:"selected,omitempty" doc:"true if not said."`
}

// putCart replaces the cart in one compare-and-set. A SKU that is in the cart
// already keeps the price seen when it was added. Refusals: CodeInvalid for a
// SKU given twice, CodeUnknownSKU with Data []string, all that are not on sale.
// Row K1.
func (s *Server) putCart(ctx context.Context, in *putCartInput) (*answer[cartView], error) {
	skus, err := s.cartSKUs(ctx, in.Body.Lines)
	if err != nil {
		return nil, err
	}
	now := api.TimeOf(time.Now())
	cart, err := s.changeCart(ctx, func(c *stores.Cart) error {
		before := make(map[string]stores.CartLine, len(c.Lines))
		for _, l := range c.Lines {
			before[l.SKU] = l
		}
		c.Lines = make([]stores.CartLine, len(in.Body.Lines))
		for i, l := range in.Body.Lines {
			line := stores.CartLine{SKU: l.SKU, Quantity: l.Quantity,
				Selected: l.Selected == nil || *l.Selected, Seen: skus[l.SKU].Price, Added: now}
			if old, ok := before[l.SKU]; ok {
				line.Seen, line.Added = old.Seen, old.Added
			}
			c.Lines[i] = line
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.showCart(cart, skus), nil
}

// cartSKUs are the SKUs of lines that must all be different and on sale.
func (s *Server) cartSKUs(ctx context.Context, lines []putCartLine) (
	map[string]*api.SKU, error) {
	ids := make([]string, len(lines))
	at := make(map[string]int, len(lines))
	for i, l := range lines {
		if first, twice := at[l.SKU]; twice {
			return nil, api.Refuse(api.CodeInvalid, "the SKU of line %d again", first).
				At(fmt.Sprintf("lines[%d].sku", i))
		}
		ids[i], at[l.SKU] = l.SKU, i
	}
	if len(ids) == 0 {
		return nil, nil
	}
	skus, err := s.skus(ctx, ids)
	if err != nil {
		return nil, err
	}
	var unknown []string
	for _, id := range ids {
		if _, refusal := onSale(skus, id); refusal != nil {
			unknown = append(unknown, id)
		}
	}
	if len(unknown) > 0 {
		return nil, api.Refuse(api.CodeUnknownSKU, "%d SKUs are not on sale", len(unknown)).
			At(fmt.Sprintf("lines[%d].sku", at[unknown[0]])).With(unknown)
	}
	return skus, nil
}

type putLineInput struct {
	SKU  string `path:"sku" minLength:"1" maxLength:"64"`
	Body struct {
		Quantity *int64 `json:"quantity,omitempty" minimum:"1" maximum:"1000000"`
		Selected *bool  `json:"selected,omitempty"`
	}
}

func (s *Server) putCartLine(ctx context.Context, in *putLineInput) (
	*answer[cartChange], error) {
	if in.Body.Quantity == nil && in.Body.Selected == nil {
		return nil, api.Refuse(api.CodeInvalid, "say quantity, selected or both")
	}
	cart, err := s.changeCart(ctx, func(c *stores.Cart) error {
		if in.Body.Quantity != nil {
			if err := c.SetQuantity(in.SKU, *in.Body.Quantity); err != nil {
				return err
			}
		}
		if in.Body.Selected != nil {
			return c.Select(in.SKU, *in.Body.Selected)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	skus, err := s.skus(ctx, []string{in.SKU})
	if err != nil {
		return nil, err
	}
	return s.showChange(cart, in.SKU, skus), nil
}

type lineInput struct {
	SKU string `path:"sku" minLength:"1" maxLength:"64"`
}

func (s *Server) deleteCartLine(ctx context.Context, in *lineInput) (
	*answer[cartChange], error) {
	cart, err := s.changeCart(ctx, func(c *stores.Cart) error {
		c.Remove(in.SKU)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.showChange(cart, in.SKU, nil), nil
}

func (s *Server) clearCart(ctx context.Context, _ *none) (*answer[cartView], error) {
	cart, err := s.changeCart(ctx, func(c *stores.Cart) error {
		c.Clear()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.showCart(cart, nil), nil
}
