// Package order is the coordinator of every order's life: it decides whether
// an order is placed, paid, refused or cancelled, what of it is refunded, which
// step is asked for when, and what has to be undone. The steps are one table,
// below.
//
// It never decides what stock, coupons or wallets hold, or whether money came:
// their actors do, and answer. It never waits for them either: an answer is a
// message, and the absence of one is a deadline.
package order

import (
	"embed"
	"encoding/json"
	"fmt"

	"ordo/actors"
	"ordo/api"
)

//go:embed schema.sql
var schema string

// migrations are the later versions of the tables.
//
//go:embed 0*.sql
var migrations embed.FS

// Spec describes the order actor.
func Spec() *actors.Spec {
	return &actors.Spec{
		Name:        "order",
		Version:     "1.3.0",
		Description: "Coordinates the life of every order.",
		Schema:      schema,
		Migrations:  migrations,
		Commands: []actors.Command{
			actors.On(submit),
			actors.On(stepResult).From("goods", "coupon", "wallet", "payment", "learning",
				"shipping"),
			actors.On(expire),
			actors.On(cancel),
			actors.On(askRefund),
			actors.On(decideRefund),
			actors.On(settleOrder),
			actors.On(remake),
			actors.On(retry),
			actors.On(configure),
		},
		Queries: []actors.Endpoint{
			actors.Answer("One order by its id.", getOrder),
			actors.Answer("What was submitted under an order id.", getSubmission),
			actors.Answer("Orders by user and state, newest first.", listOrders),
			actors.Answer("The steps of an order with their states.", getSteps),
			actors.Answer("Orders by state, user and SKU, and those that are stuck.",
				listTransactions),
			actors.Answer("How many orders are and came into each state.", getTally),
			actors.Answer("One refund by its id.", getRefund),
			actors.Answer("Refunds by order, user and state, newest first.", listRefunds),
		},
		Tick: sweep,
	}
}

// Phases of an order and of a refund, in the order in which they are gone
// through. The steps of one phase run in parallel.
type phase int

var phaseNames = [...]string{"hold", "settle", "collect", "fulfil", "recall", "repay", "give back"}

const (
	// hold comes first, since most refusals are about stock and prices, and
	// then there is nothing to undo.
	hold phase = iota
	// settle takes what the shopper pays with beside money.
	settle
	// collect waits for the money of a placed order.
	collect
	// fulfil comes after payment. It decides nothing about the order; what
	// could not be had is refunded.
	fulfil
	// recall is a refund's first phase: what has not left is kept back before
	// the money goes, so that not both are gone.
	recall
	// repay comes before the rest, because a gateway may refuse it.
	repay
	// giveBack is the rest of a refund, which nobody refuses.
	giveBack
)

// step is what one participant does for an order or a refund.
type step struct {
	// name is the participant's verb; it is the same for do and undo.
	name  string
	phase phase
	// after is the fulfilling step that a refund's step takes back, and which
	// must have been answered: one that became a dead letter is done later.
	// Row S8.
	after string
	// used tells whether the order, or its refund at hand, needs the step.
	used func(o *order) bool
	// do asks for the step.
	do func(o *order, s api.Step) api.Message
	// undo asks for it to be undone, whether it has run or not; nil where only
	// a refund takes it back, or nothing does.
	undo func(o *order, s api.Step) api.Message
	// done takes what a step of hold or settle found into the order. An
	// *api.Error refuses the order; nil where there is nothing to take.
	done func(o *order, data json.RawMessage) error
}

// steps are all steps. They are undone from the last to the first.
var steps = []step{
	{
		name: "goods.reserve", phase: hold,
		used: func(*order) bool { return true },
		do: func(o *order, s api.Step) api.Message {
			return &api.ReserveStock{Step: s, User: o.User, Lines: o.wanted()}
		},
		undo: func(_ *order, s api.Step) api.Message { return &api.ReleaseStock{Step: s} },
		done: (*order).takeLines,
	},
	{
		name: stepRedeem, phase: settle,
		used: func(o *order) bool { return o.Coupon != "" },
		do: func(o *order, s api.Step) api.Message {
			return &api.RedeemCoupon{Step: s, User: o.User, Coupon: o.Coupon, Subtotal: o.Subtotal}
		},
		undo: func(_ *order, s api.Step) api.Message { return &api.RestoreCoupon{Step: s} },
		done: (*order).checkDiscount,
	},
	{
		name: "wallet.debit", phase: settle,
		used: func(o *order) bool { return o.Balance.Amount > 0 },
		do: func(o *order, s api.Step) api.Message {
			return &api.Debit{Step: s, User: o.User, Amount: o.Balance}
		},
		undo: func(_ *order, s api.Step) api.Message { return &api.ReturnDebit{Step: s} },
	},
	{
		name: stepCollect, phase: collect,
		used: func(o *order) bool { return o.Due.Amount > 0 },
		do: func(o *order, s api.Step) api.Message {
			return &api.CollectPayment{Step: s, User: o.User, Amount: o.Due, ExpiresAt: o.ExpiresAt,
				Again: o.again}
		},
		undo: func(o *order, s api.Step) api.Message {
			return &api.ClosePayment{Step: s, AtOnce: o.atOnce, Again: o.again}
		},
	},
	{
		name: stepSell, phase: fulfil,
		used: func(*order) bool { return true },
		do:   func(_ *order, s api.Step) api.Message { return &api.SellStock{Step: s} },
	},
	{
		name: stepGrant, phase: fulfil,
		used: func(o *order) bool { return o.Points > 0 },
		do: func(o *order, s api.Step) api.Message {
			return &api.GrantPoints{Step: s, User: o.User, Points: o.Points}
		},
	},
	{
		name: stepEnrol, phase: fulfil,
		used: func(o *order) bool { return len(o.courses()) > 0 },
		do: func(o *order, s api.Step) api.Message {
			return &api.Enrol{Step: s, User: o.User, Lines: o.courses()}
		},
	},
	{
		name: stepCreate, phase: fulfil,
		used: func(o *order) bool { return len(o.parcels()) > 0 },
		do: func(o *order, s api.Step) api.Message {
			return &api.CreateShipment{Step: s, User: o.User, Address: o.Address,
				Lines: o.parcels()}
		},
	},
	{
		name: stepRecall, phase: recall, after: stepCreate,
		used: func(o *order) bool { return len(o.refunded(api.KindPhysical)) > 0 },
		do: func(o *order, s api.Step) api.Message {
			return &api.CancelShipment{Step: s, Lines: o.toRecall()}
		},
		undo: func(o *order, s api.Step) api.Message {
			return &api.RestoreShipment{Step: s, Lines: o.recalled()}
		},
	},
	{
		name: "payment.refund", phase: repay,
		used: func(o *order) bool { return o.refund.Money.Amount > 0 },
		do: func(o *order, s api.Step) api.Message {
			return &api.RefundPayment{Step: s, Refund: o.refund.ID, Amount: o.refund.Money,
				Reason: o.refund.Reason, Again: o.again, Paid: o.paidWith()}
		},
	},
	{
		name: "wallet.refund", phase: giveBack,
		used: func(o *order) bool { return o.refund.Balance.Amount > 0 },
		do: func(o *order, s api.Step) api.Message {
			return &api.RefundBalance{Step: s, User: o.User, Amount: o.refund.Balance}
		},
	},
	{
		name: "wallet.revoke", phase: giveBack, after: stepGrant,
		used: func(o *order) bool { return o.refund.Points > 0 },
		do: func(o *order, s api.Step) api.Message {
			return &api.RevokePoints{Step: s, User: o.User, Points: o.refund.Points}
		},
	},
	{
		name: "learning.withdraw", phase: giveBack, after: stepEnrol,
		used: func(o *order) bool { return len(o.refunded(api.KindCourse)) > 0 },
		do: func(o *order, s api.Step) api.Message {
			return &api.Withdraw{Step: s, User: o.User, Lines: o.refunded(api.KindCourse)}
		},
	},
	{
		name: stepReturn, phase: giveBack, after: stepSell,
		used: func(*order) bool { return true },
		do: func(o *order, s api.Step) api.Message {
			return &api.ReturnStock{Step: s, Lines: o.returned()}
		},
	},
}

// StepSpec is a row of the table of steps, for documents and rights.
type StepSpec struct {
	// Name is the participant's verb, Phase when it is asked for.
	Name, Phase string
	// After is the fulfilling step that a refund's step takes back; often empty.
	After string
	// Do and Undo are the messages' routes; Undo is empty where nothing undoes it.
	Do, Undo api.Route
}

// Steps lists all steps in the order of the table.
func Steps() []StepSpec {
	none := &order{refund: &api.Refund{}} // a message's route does not depend on the order
	all := make([]StepSpec, len(steps))
	for i, s := range steps {
		all[i] = StepSpec{Name: s.name, Phase: phaseNames[s.phase], After: s.after,
			Do: s.do(none, api.Step{}).Route()}
		if s.undo != nil {
			all[i].Undo = s.undo(none, api.Step{}).Route()
		}
	}
	return all
}

// Steps that are named elsewhere.
const (
	stepCollect = "payment.collect"
	stepSell    = "goods.sell"
	stepGrant   = "wallet.grant"
	stepEnrol   = "learning.enrol"
	stepCreate  = "shipping.create"
	stepRedeem  = "coupon.redeem"
	stepRecall  = "shipping.cancel"
	stepReturn  = "goods.return"
)

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
	n int64
	// was is the state that the file has; empty for a new order.
	was      string
	bodyHash string
	// deadline is when Tick has to look at it; 0 for never.
	deadline api.Time
	// expiry is how many seconds it will wait for payment.
	expiry   int64
	fromCart bool
	// asked is how many steps have not answered yet.
	asked int
	// changed is true when lines have to be written.
	changed bool
	// atOnce has the payment closed without waiting for the gateway.
	atOnce bool
	// again has the payment actor answer though it has before.
	again bool
	// backBalance and backPoints are the parts of Refunded that were balance,
	// and the points taken back with it.
	backBalance, backPoints int64
	// refunds counts the order's refunds.
	refunds int
	// refund is the one at hand; nil outside of its steps.
	refund *api.Refund
}

// courses are the lines for which the user is enrolled.
func (o *order) courses() (lines []api.CartTake) {
	for _, l := range o.Lines {
		if l.Kind == api.KindCourse {
			lines = append(lines, api.CartTake{SKU: l.SKU, Quantity: l.Quantity})
		}
	}
	return lines
}

// parcels are the lines that are shipped.
func (o *order) parcels() (lines []api.ShipLine) {
	for _, l := range o.Lines {
		if l.Kind == api.KindPhysical {
			lines = append(lines, api.ShipLine{SKU: l.SKU, Name: l.Name, Quantity: l.Quantity})
		}
	}
	return lines
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
	o.Lines, o.changed = r.Lines, true
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
