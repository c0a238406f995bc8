package rest

import (
	"context"
	"time"

	"ordo/api"
	"ordo/stores"
)

func (s *Server) cartRoutes() {
	route(s, s.op("get-cart", "GET /v1/cart", visitors,
		"The cart with current prices and availability"), s.getCart)
	route(s, s.op("add-cart-line", "POST /v1/cart/lines", visitors,
		"Add units of a SKU to the cart"), s.addCartLine)
	route(s, s.op("put-cart-line", "PUT /v1/cart/lines/{sku}", visitors,
		"Set a line's quantity, or whether it is selected"), s.putCartLine)
	route(s, s.op("delete-cart-line", "DELETE /v1/cart/lines/{sku}", visitors,
		"Take a SKU out of the cart"), s.deleteCartLine)
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

// viewCart shows a cart with what one query says about all its SKUs.
func (s *Server) viewCart(ctx context.Context, cart stores.Cart) (*answer[cartView], error) {
	v := cartView{Lines: make([]cartLineView, len(cart.Lines)), Total: s.money(0)}
	if len(cart.Lines) == 0 {
		return &answer[cartView]{v}, nil
	}
	ids := make([]string, len(cart.Lines))
	for i, l := range cart.Lines {
		ids[i] = l.SKU
	}
	skus, err := s.skus(ctx, ids)
	if err != nil {
		return nil, err
	}
	for i, l := range cart.Lines {
		v.Lines[i] = s.viewLine(l, skus)
		if l.Selected {
			v.Total.Amount += v.Lines[i].Total.Amount
		}
	}
	return &answer[cartView]{v}, nil
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
func (s *Server) addCartLine(ctx context.Context, in *addLineInput) (*answer[cartView], error) {
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
	return s.changeCart(ctx, func(c *stores.Cart) error { return c.Add(line) })
}

func (s *Server) changeCart(ctx context.Context, change func(*stores.Cart) error) (
	*answer[cartView], error) {
	cart, err := s.Carts.Update(ctx, callerOf(ctx).owner(), change)
	if err != nil {
		return nil, err
	}
	return s.viewCart(ctx, cart)
}

type putLineInput struct {
	SKU  string `path:"sku" minLength:"1" maxLength:"64"`
	Body struct {
		Quantity *int64 `json:"quantity,omitempty" minimum:"1" maximum:"1000000"`
		Selected *bool  `json:"selected,omitempty"`
	}
}

func (s *Server) putCartLine(ctx context.Context, in *putLineInput) (*answer[cartView], error) {
	if in.Body.Quantity == nil && in.Body.Selected == nil {
		return nil, api.Refuse(api.CodeInvalid, "say quantity, selected or both")
	}
	return s.changeCart(ctx, func(c *stores.Cart) error {
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
}

type lineInput struct {
	SKU string `path:"sku" minLength:"1" maxLength:"64"`
}

func (s *Server) deleteCartLine(ctx context.Context, in *lineInput) (*answer[cartView], error) {
	return s.changeCart(ctx, func(c *stores.Cart) error {
		c.Remove(in.SKU)
		return nil
	})
}

func (s *Server) clearCart(ctx context.Context, _ *none) (*answer[cartView], error) {
	return s.changeCart(ctx, func(c *stores.Cart) error {
		c.Clear()
		return nil
	})
}
