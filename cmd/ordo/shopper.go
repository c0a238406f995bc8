package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"ordo/api"
)

// orderWait is what a submit and a long-poll ask the shop to wait.
const orderWait = "10s"

// shopper is one customer of a trace, who buys one invoice after the other.
// It is used by one goroutine at a time.
type shopper struct {
	admin   *admin
	person  person
	country string
	token   string
	address string
	// before are the orders that the shop had before the run, oldest first;
	// an invoice that is among them is not ordered again.
	before []api.Order
}

// checkoutPage is what POST /v1/checkouts answers, as far as it is used.
type checkoutPage struct {
	Token     string         `json:"token"`
	Lines     []api.CartTake `json:"lines"`
	Addresses []api.Address  `json:"addresses"`
	Total     api.Money      `json:"total"`
}

// buy brings the invoice to a decided order. A refusal before there is an
// order comes back as a *problem.
func (s *shopper) buy(ctx context.Context, inv *invoice) (*api.Order, error) {
	if o := s.takeBefore(inv); o != nil {
		return s.decided(ctx, o)
	}
	// A checkout is lost when the shop loses the newest writes of its key-value
	// store; a few in a row mean something else.
	for range 10 {
		page, err := s.checkout(ctx, inv)
		if err != nil {
			return nil, err
		}
		o, err := s.submit(ctx, page)
		if !refusedWith(err, api.CodeTokenUnknown) {
			return o, err
		}
		if o, err = s.find(ctx, page.Token); err == nil {
			return s.decided(ctx, o)
		} else if !refusedWith(err, api.CodeNotFound) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("invoice %s: every checkout token is unknown", inv.No)
}

// call makes a call as this shopper, with a new session when the old one is
// not known any more.
func (s *shopper) call(ctx context.Context, r request, out any) error {
	for try := 0; ; try++ {
		r.Token = s.token
		err := s.admin.do(ctx, r, out)
		if p := asProblem(err); p == nil || p.Status != http.StatusUnauthorized || try == 3 {
			return err
		}
		made, err := s.admin.users(ctx, []person{s.person})
		if err != nil {
			return err
		}
		s.token = made[0].Token
	}
}

// checkout opens the checkout page with exactly the invoice's lines.
func (s *shopper) checkout(ctx context.Context, inv *invoice) (*checkoutPage, error) {
	deadline := time.Now().Add(patience)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		page, err := s.tryCheckout(ctx, inv)
		switch {
		case err == nil && sameLines(page, inv):
			return page, nil
		case err != nil && !errors.Is(err, errUnreachable) && !emptyCart(err):
			return nil, err
		case time.Now().After(deadline) && err == nil:
			return nil, fmt.Errorf("invoice %s: the checkout has other lines", inv.No)
		case time.Now().After(deadline):
			return nil, err
		}
		// The order before may just be leaving the cart: fill it again.
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

func (s *shopper) tryCheckout(ctx context.Context, inv *invoice) (*checkoutPage, error) {
	from := map[string]any{"from": "cart"}
	if len(inv.Lines) == 1 {
		from = map[string]any{"sku": inv.Lines[0].SKU, "quantity": inv.Lines[0].Quantity}
	} else if err := s.fillCart(ctx, inv); err != nil {
		return nil, err
	}
	page := &checkoutPage{}
	err := s.call(ctx, request{Method: "POST", Path: "/v1/checkouts", Body: from, Repeat: true},
		page)
	if err != nil {
		return nil, err
	}
	return page, s.chooseAddress(ctx, page)
}

// fillCart makes the cart the invoice's lines, whatever it was.
func (s *shopper) fillCart(ctx context.Context, inv *invoice) error {
	lines := make([]api.CartTake, len(inv.Lines))
	for i, l := range inv.Lines {
		lines[i] = api.CartTake{SKU: l.SKU, Quantity: l.Quantity}
	}
	return s.call(ctx, request{Method: "PUT", Path: "/v1/cart", Repeat: true,
		Body: map[string]any{"lines": lines}}, nil)
}

// emptyCart tells whether a checkout found nothing in the cart.
func emptyCart(err error) bool {
	p := asProblem(err)
	return p != nil && p.Code == api.CodeInvalid && p.Place == "from"
}

// sameLines tells whether the checkout is for what the invoice says.
func sameLines(page *checkoutPage, inv *invoice) bool {
	if len(page.Lines) != len(inv.Lines) {
		return false
	}
	for _, l := range page.Lines {
		if !slices.Contains(inv.Lines, invoiceLine{l.SKU, l.Quantity}) {
			return false
		}
	}
	return true
}

// chooseAddress takes the shopper's default address, or makes the first one.
func (s *shopper) chooseAddress(ctx context.Context, page *checkoutPage) error {
	if len(page.Addresses) > 0 {
		s.address = page.Addresses[0].ID
		return nil
	}
	made := api.Address{}
	err := s.call(ctx, request{Method: "POST", Path: "/v1/addresses", Repeat: true,
		Body: map[string]any{"name": s.person.Name, "phone": "+44 20 7946 0000",
			"lines": []string{"1 Trace Street"}, "city": or(s.country, "London"),
			"country": countryCode(s.country)}}, &made)
	s.address = made.ID
	return err
}

// submit sends the order until it is decided. The token makes repeats safe.
func (s *shopper) submit(ctx context.Context, page *checkoutPage) (*api.Order, error) {
	deadline := time.Now().Add(patience)
	for {
		o := &api.Order{}
		err := s.call(ctx,
			request{Method: "POST", Path: "/v1/orders?wait=" + orderWait, Repeat: true,
				Body: map[string]any{"token": page.Token, "address_id": s.address,
					"pay_method": api.PayAlipay, "channel": api.ChannelWeb, "total": page.Total}},
			o)
		switch {
		case err != nil:
			return nil, err
		case o.Final():
			return o, nil
		case time.Now().After(deadline):
			return nil, fmt.Errorf("order %s is not decided after %v", o.ID, patience)
		}
	}
}

// find asks for the order that the token became, for two seconds: the shop may
// just have been started and be behind.
func (s *shopper) find(ctx context.Context, token string) (*api.Order, error) {
	id, err := api.OrderID(token)
	if err != nil {
		return nil, err
	}
	for range 20 {
		o := &api.Order{}
		err = s.call(ctx, request{Method: "GET", Path: "/v1/orders/" + id, Repeat: true}, o)
		if !refusedWith(err, api.CodeNotFound) {
			return o, err
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return nil, err
}

// decided waits until the order is not pending any more.
func (s *shopper) decided(ctx context.Context, o *api.Order) (*api.Order, error) {
	return s.await(ctx, o, api.OrderPending)
}

// loadBefore reads the orders that the shopper has.
func (s *shopper) loadBefore(ctx context.Context) error {
	for cursor := ""; ; {
		var list api.OrderList
		path := fmt.Sprintf("/v1/orders?limit=%d&cursor=%s", api.MaxPage, url.QueryEscape(cursor))
		if err := s.call(ctx, request{Method: "GET", Path: path, Repeat: true}, &list); err != nil {
			return err
		}
		s.before = append(s.before, list.Orders...)
		if cursor = list.Next; cursor == "" {
			slices.Reverse(s.before)
			return nil
		}
	}
}

// takeBefore finds the oldest earlier order with the invoice's lines that no
// other invoice has been matched with.
func (s *shopper) takeBefore(inv *invoice) *api.Order {
	for i := range s.before {
		o := s.before[i]
		page := checkoutPage{}
		for _, l := range o.Lines {
			page.Lines = append(page.Lines, api.CartTake{SKU: l.SKU, Quantity: l.Quantity})
		}
		if sameLines(&page, inv) {
			s.before = slices.Delete(s.before, i, i+1)
			return &o
		}
	}
	return nil
}
