package rest

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"ordo/api"
	"ordo/stores"
)

func (s *Server) checkoutRoutes() {
	route(s, s.op("make-checkout", "POST /v1/checkouts", users,
		"Everything a checkout page shows, and the token to submit it once"), s.makeCheckout)
}

type checkoutInput struct{ Body checkoutRequest }

// checkoutRequest names the entry: buy-now with a SKU, or the selected lines
// of the cart. Row F1.
type checkoutRequest struct {
	From     string `json:"from,omitempty" enum:"cart" doc:"cart for the selected lines of the cart."`
	SKU      string `json:"sku,omitempty" maxLength:"64" doc:"The SKU to buy now."`
	Quantity int64  `json:"quantity,omitempty" minimum:"1" maximum:"1000000" doc:"1 if not said."`
}

// checkoutPage is row F2.
type checkoutPage struct {
	// Token is submitted with the order, once. It is minted here, never at the
	// click.
	Token   string         `json:"token"`
	Expires api.Time       `json:"expires_at"`
	Lines   []checkoutLine `json:"lines"`
	// Addresses are all of the user's, the default first.
	Addresses []api.Address `json:"addresses"`
	// Coupons are those that can be used, the largest amount first.
	Coupons    []api.Coupon `json:"coupons"`
	Balance    api.Money    `json:"balance"`
	PayMethods []string     `json:"pay_methods"`
	// Total is what the goods cost, before a coupon.
	Total api.Money `json:"total"`
}

type checkoutLine struct {
	SKU      string            `json:"sku"`
	Product  string            `json:"product"`
	Name     string            `json:"name"`
	Options  map[string]string `json:"options,omitempty"`
	Picture  string            `json:"picture,omitempty"`
	Quantity int64             `json:"quantity"`
	// Price is per unit, Total for the line.
	Price api.Money `json:"price"`
	Total api.Money `json:"total"`
	// Available is how many units can be ordered now.
	Available int64 `json:"available"`
}

// makeCheckout asks for everything at once, but for what depends on prices.
func (s *Server) makeCheckout(ctx context.Context, in *checkoutInput) (
	*created[checkoutPage], error) {
	user := callerOf(ctx).User
	wanted, err := s.wanted(ctx, user, &in.Body)
	if err != nil {
		return nil, err
	}
	page := checkoutPage{Token: api.NewID(api.PrefixCheckout), Total: s.money(0)}
	var addresses api.AddressList
	var wallet api.Wallet
	if err := together(
		func() (err error) { page.Lines, err = s.price(ctx, wanted); return err },
		func() error { return s.Edge.Ask(ctx, &api.ListAddresses{User: user}, &addresses) },
		func() error { return s.Edge.Ask(ctx, s.walletOf(user), &wallet) },
	); err != nil {
		return nil, err
	}
	if err := page.add(); err != nil {
		return nil, err
	}
	now := api.TimeOf(time.Now())
	page.Expires = now.Add(s.CheckoutTTL)
	var coupons api.CouponList
	if err := together(
		func() error {
			return s.Checkouts.Create(ctx, page.Token, page.keep(user, in.Body.From != "", now))
		},
		func() error {
			return s.Edge.Ask(ctx,
				&api.ListCoupons{User: user, UsableFor: &page.Total, At: now}, &coupons)
		},
	); err != nil {
		return nil, err
	}
	page.Addresses, page.Coupons = addresses.Addresses, coupons.Coupons
	page.Balance, page.PayMethods = wallet.Balance, s.PayMethods
	if wallet.Balance.Amount > 0 || page.Total.Amount == 0 {
		page.PayMethods = append([]string{api.PayBalance}, s.PayMethods...)
	}
	return &created[checkoutPage]{http.StatusCreated, page}, nil
}

// wanted are the lines that the shopper wants to order.
func (s *Server) wanted(ctx context.Context, user string, r *checkoutRequest) (
	[]api.ReserveLine, error) {
	if (r.From == "") == (r.SKU == "") {
		return nil, api.Refuse(api.CodeInvalid, "say either from or sku").At("from")
	}
	if r.From == "" {
		return []api.ReserveLine{{SKU: r.SKU, Quantity: max(r.Quantity, 1)}}, nil
	}
	cart, err := s.Carts.Get(ctx, user)
	if err != nil {
		return nil, err
	}
	var lines []api.ReserveLine
	for _, l := range cart.Lines {
		if l.Selected {
			lines = append(lines, api.ReserveLine{SKU: l.SKU, Quantity: l.Quantity})
		}
	}
	if len(lines) == 0 {
		return nil, api.Refuse(api.CodeInvalid, "nothing in the cart is selected").At("from")
	}
	return lines, nil
}

// price asks for what the lines cost. A SKU that can't be bought refuses the
// checkout; one that is short does not, because the order decides that.
func (s *Server) price(ctx context.Context, wanted []api.ReserveLine) ([]checkoutLine, error) {
	ids := make([]string, len(wanted))
	for i, w := range wanted {
		ids[i] = w.SKU
	}
	skus, err := s.skus(ctx, ids)
	if err != nil {
		return nil, err
	}
	lines := make([]checkoutLine, len(wanted))
	for i, w := range wanted {
		sku, refusal := onSale(skus, w.SKU)
		if refusal != nil {
			return nil, refusal.At(fmt.Sprintf("lines[%d].sku", i))
		}
		total, err := api.LineTotal(sku.Price.Amount, w.Quantity)
		if err != nil {
			return nil, err
		}
		lines[i] = checkoutLine{SKU: sku.ID, Product: sku.Product, Name: sku.Name,
			Options: sku.Options, Picture: sku.Picture, Quantity: w.Quantity, Price: sku.Price,
			Total:     api.Money{Amount: total, Currency: sku.Price.Currency},
			Available: sku.Available()}
	}
	return lines, nil
}

// add sums up the lines.
func (p *checkoutPage) add() error {
	for _, l := range p.Lines {
		if l.Price.Currency != p.Total.Currency {
			return fmt.Errorf("rest: SKU %s is priced in %s", l.SKU, l.Price.Currency)
		}
		p.Total.Amount += l.Total.Amount
	}
	if p.Total.Amount > api.MaxAmount {
		return api.Refuse(api.CodeInvalid, "this is too much for one order").At("quantity")
	}
	return nil
}

// keep is what is kept of the page under its token.
func (p *checkoutPage) keep(user string, fromCart bool, now api.Time) stores.Checkout {
	c := stores.Checkout{User: user, FromCart: fromCart, Created: now, Expires: p.Expires,
		Lines: make([]api.ReserveLine, len(p.Lines))}
	for i, l := range p.Lines {
		c.Lines[i] = api.ReserveLine{SKU: l.SKU, Quantity: l.Quantity, Price: l.Price}
	}
	return c
}

// together runs all at once, waits for all, and returns the first error in
// their order. A panic beside the request's own goroutine becomes an error,
// because it would end the process.
func together(all ...func() error) error {
	errs := make([]error, len(all))
	var wait sync.WaitGroup
	for i, f := range all[1:] {
		wait.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					errs[i+1] = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
				}
			}()
			errs[i+1] = f()
		})
	}
	errs[0] = all[0]()
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
