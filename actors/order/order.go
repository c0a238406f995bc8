// Package order is the coordinator of every order's life: it decides whether
// an order is placed, paid, refused or cancelled, which step is asked for when,
// and what has to be undone. The steps are one table, below.
//
// It never decides what stock, coupons or wallets hold: their actors do, and
// answer. It never waits for them either: an answer is a message, and the
// absence of one is a deadline.
package order

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"math/bits"

	"ordo/actors"
	"ordo/api"
)

//go:embed schema.sql
var schema string

// Spec describes the order actor.
func Spec() *actors.Spec {
	return &actors.Spec{
		Name:        "order",
		Version:     "1.0.0",
		Description: "Coordinates the life of every order.",
		Schema:      schema,
		Commands: []actors.Command{
			actors.On(submit),
			actors.On(stepResult),
			actors.On(expire),
			actors.On(cancel),
			actors.On(configure),
		},
		Queries: []actors.Endpoint{
			actors.Answer("One order by its id.", getOrder),
			actors.Answer("What was submitted under an order id.", getSubmission),
			actors.Answer("Orders by user and state, newest first.", listOrders),
			actors.Answer("The steps of an order with their states.", getSteps),
		},
		Tick: sweep,
	}
}

// Phases of an order, in the order in which they are gone through. The steps
// of one phase run in parallel.
type phase int

const (
	// hold comes first, since most refusals are about stock and prices, and
	// then there is nothing to undo.
	hold phase = iota
	// settle takes what the shopper pays with beside money.
	settle
	// fulfil comes after payment. It decides nothing about the order.
	fulfil
)

// step is what one participant does for an order.
type step struct {
	// name is the participant's verb; it is the same for do and undo.
	name  string
	phase phase
	// used tells whether the order needs the step.
	used func(o *order) bool
	// do asks for the step.
	do func(o *order, s api.Step) api.Message
	// undo asks for it to be undone, whether it has run or not; nil where only
	// a refund takes it back.
	undo func(s api.Step) api.Message
	// done takes what the step found into the order. An *api.Error refuses the
	// order; nil where there is nothing to take.
	done func(o *order, data json.RawMessage) error
}

// steps are all steps of an order. They are undone from the last to the first.
var steps = []step{
	{
		name: "goods.reserve", phase: hold,
		used: func(*order) bool { return true },
		do: func(o *order, s api.Step) api.Message {
			return &api.ReserveStock{Step: s, User: o.User, Lines: o.wanted()}
		},
		undo: func(s api.Step) api.Message { return &api.ReleaseStock{Step: s} },
		done: (*order).takeLines,
	},
	{
		name: "coupon.redeem", phase: settle,
		used: func(o *order) bool { return o.Coupon != "" },
		do: func(o *order, s api.Step) api.Message {
			return &api.RedeemCoupon{Step: s, User: o.User, Coupon: o.Coupon, Subtotal: o.Subtotal}
		},
		undo: func(s api.Step) api.Message { return &api.RestoreCoupon{Step: s} },
		done: (*order).checkDiscount,
	},
	{
		name: "wallet.debit", phase: settle,
		used: func(o *order) bool { return o.Balance.Amount > 0 },
		do: func(o *order, s api.Step) api.Message {
			return &api.Debit{Step: s, User: o.User, Amount: o.Balance}
		},
		undo: func(s api.Step) api.Message { return &api.ReturnDebit{Step: s} },
	},
	{
		name: "goods.sell", phase: fulfil,
		used: func(*order) bool { return true },
		do:   func(_ *order, s api.Step) api.Message { return &api.SellStock{Step: s} },
	},
}

// stepNamed is the step's place in steps, or -1.
func stepNamed(name string) int {
	for i := range steps {
		if steps[i].name == name {
			return i
		}
	}
	return -1
}

// order is an order with what its owner does not see.
type order struct {
	api.Order
	n        int64
	bodyHash string
	// deadline is when Tick has to look at it; 0 for never.
	deadline api.Time
	// expiry is how many seconds it will wait for payment.
	expiry   int64
	fromCart bool
	// asked is how many steps have not answered yet.
	asked int
}

// wanted are the lines as the shopper saw them.
func (o *order) wanted() []api.ReserveLine {
	lines := make([]api.ReserveLine, len(o.Lines))
	for i, l := range o.Lines {
		lines[i] = api.ReserveLine{SKU: l.SKU, Quantity: l.Quantity, Price: l.Price}
	}
	return lines
}

// takeLines takes the snapshots of the lines that were reserved. Other lines
// than those asked for are a fault of the goods actor; the deadline undoes
// them.
func (o *order) takeLines(data json.RawMessage) error {
	var r api.Reserved
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("reserved lines: %w", err)
	}
	if len(r.Lines) != len(o.Lines) {
		return fmt.Errorf("%d lines were reserved, not %d", len(r.Lines), len(o.Lines))
	}
	for i, l := range r.Lines {
		w := o.Lines[i]
		if l.SKU != w.SKU || l.Quantity != w.Quantity || l.Price != w.Price {
			return fmt.Errorf("line %d was reserved as %d × %s at %s",
				i, l.Quantity, l.SKU, l.Price)
		}
	}
	allocate(r.Lines, o.Subtotal.Amount, o.Discount.Amount)
	o.Lines = r.Lines
	return nil
}

// checkDiscount compares the coupon's discount with what the shopper saw.
// Row S3.
func (o *order) checkDiscount(data json.RawMessage) error {
	var r api.Redeemed
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("redeemed discount: %w", err)
	}
	if r.Discount == o.Discount {
		return nil
	}
	now := api.Money{Amount: o.Subtotal.Amount - r.Discount.Amount, Currency: r.Discount.Currency}
	return priceChanged(o.Total, now)
}

func priceChanged(seen, now api.Money) *api.Error {
	return api.Refuse(api.CodePriceChanged, "the total is %s, not %s", now, seen).
		With([]api.PriceChange{{Seen: seen, Now: now}})
}

// allocate spreads the order's discount over its lines in proportion to what
// they cost, so that the parts add up to it exactly: up to each line goes the
// discount of all lines so far, rounded down. The lines must cost subtotal
// together, and discount must not be more. Row S10.
func allocate(lines []api.LineSnapshot, subtotal, discount int64) {
	var cost, before int64
	for i := range lines {
		cost += lines[i].Price.Amount * lines[i].Quantity
		upTo := int64(0)
		if subtotal > 0 {
			hi, lo := bits.Mul64(uint64(discount), uint64(cost))
			q, _ := bits.Div64(hi, lo, uint64(subtotal))
			upTo = int64(q)
		}
		lines[i].Discount = upTo - before
		before = upTo
	}
}
