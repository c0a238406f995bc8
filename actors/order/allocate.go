package order

import (
	"math/bits"

	"ordo/api"
)

// share is floor(whole × part / of), with a product of 128 bits. part must not
// be more than of; of 0 gives 0.
func share(whole, part, of int64) int64 {
	if of <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(whole), uint64(part))
	q, _ := bits.Div64(hi, lo, uint64(of))
	return int64(q)
}

// allocate spreads the order's discount over its lines in proportion to what
// they cost, so that the parts add up to it exactly: up to each line goes the
// discount of all lines so far, rounded down. The lines must cost subtotal
// together, and discount must not be more. Row S10.
func allocate(lines []api.LineSnapshot, subtotal, discount int64) {
	var cost, before int64
	for i := range lines {
		cost += lines[i].Price.Amount * lines[i].Quantity
		upTo := share(discount, cost, subtotal)
		lines[i].Discount = upTo - before
		before = upTo
	}
}

// worth is what the first n units of a line come to, with the line's discount
// spread over its units in the same way. Row S10.
func worth(l *api.LineSnapshot, n int64) int64 {
	return l.Price.Amount*n - share(l.Discount, n, l.Quantity)
}

// reserve takes units of the order's lines for a refund and sets its amounts:
// the difference between what all units refunded so far and now come to, and
// what has been reserved for those before. So the amounts of all refunds of a
// line add up to it exactly, in whatever groups and though some were denied
// meanwhile; the same goes for their parts of balance, money and points. The
// lines of r must be left in the order.
func (o *order) reserve(r *api.Refund) {
	var amount int64
	for i := range r.Lines {
		w := &r.Lines[i]
		l := &o.Lines[w.Line]
		w.SKU = l.SKU
		l.Refunded += w.Quantity
		w.Amount = max(0, worth(l, l.Refunded)-l.RefundedAmount)
		l.RefundedAmount += w.Amount
		amount += w.Amount
	}
	o.changed = true
	o.Refunded.Amount += amount
	backMoney := o.Refunded.Amount - amount - o.backBalance
	balance := share(o.Balance.Amount, o.Refunded.Amount, o.Total.Amount) - o.backBalance
	balance = min(max(balance, 0, amount-(o.Due.Amount-backMoney)),
		amount, o.Balance.Amount-o.backBalance)
	r.Points = max(0, share(o.Points, o.Refunded.Amount, o.Total.Amount)-o.backPoints)
	r.Amount = api.Money{Amount: amount, Currency: o.Total.Currency}
	r.Balance = api.Money{Amount: balance, Currency: o.Total.Currency}
	r.Money = api.Money{Amount: amount - balance, Currency: o.Total.Currency}
	o.backBalance += balance
	o.backPoints += r.Points
}

// take reserves a refund's units with the parts that it was given before.
func (o *order) take(r *api.Refund) {
	for i := range r.Lines {
		w := &r.Lines[i]
		l := &o.Lines[w.Line]
		l.Refunded += w.Quantity
		l.RefundedAmount += w.Amount
	}
	o.changed = true
	o.Refunded.Amount += r.Amount.Amount
	o.backBalance += r.Balance.Amount
	o.backPoints += r.Points
}

// release takes back what reserve did, because nothing goes back after all.
func (o *order) release(r *api.Refund) {
	for i := range r.Lines {
		w := &r.Lines[i]
		l := &o.Lines[w.Line]
		l.Refunded -= w.Quantity
		l.RefundedAmount -= w.Amount
	}
	o.changed = true
	o.Refunded.Amount -= r.Amount.Amount
	o.backBalance -= r.Balance.Amount
	o.backPoints -= r.Points
}

// left tells whether there are units that no refund has reserved.
func (o *order) left() bool {
	for i := range o.Lines {
		if o.Lines[i].Refunded < o.Lines[i].Quantity {
			return true
		}
	}
	return false
}

// refunded are the units of the refund at hand that are of one kind.
func (o *order) refunded(kind string) (lines []api.CartTake) {
	for _, w := range o.refund.Lines {
		if o.Lines[w.Line].Kind == kind {
			lines = append(lines, api.CartTake{SKU: w.SKU, Quantity: w.Quantity})
		}
	}
	return lines
}

// noteRecalled spreads the units that did not leave over the refund's lines,
// those that are to go back into the stock first.
func (o *order) noteRecalled(r *api.Refund, took []api.CartTake) {
	left := make(map[string]int64, len(took))
	for _, t := range took {
		left[t.SKU] += t.Quantity
	}
	for _, keep := range []bool{false, true} {
		for i := range r.Lines {
			w := &r.Lines[i]
			if w.Keep != keep || o.Lines[w.Line].Kind != api.KindPhysical {
				continue
			}
			w.Recalled = min(left[w.SKU], w.Quantity)
			left[w.SKU] -= w.Recalled
		}
	}
}

// toRecall are the units of the refund at hand that may not have left.
func (o *order) toRecall() (lines []api.RecallLine) {
	for _, w := range o.refund.Lines {
		if o.Lines[w.Line].Kind == api.KindPhysical {
			lines = append(lines, api.RecallLine{SKU: w.SKU, Quantity: w.Quantity,
				Returned: w.Returned})
		}
	}
	return lines
}

// recalled are the units that the refund at hand has kept from leaving, by line
// of the order.
func (o *order) recalled() (lines []api.ShipLine) {
	units := make([]int64, len(o.Lines))
	for _, w := range o.refund.Lines {
		units[w.Line] += w.Recalled
	}
	for i, n := range units {
		if n > 0 {
			lines = append(lines, api.ShipLine{SKU: o.Lines[i].SKU, Name: o.Lines[i].Name,
				Quantity: n})
		}
	}
	return lines
}

// returned are the units of the refund at hand. Of goods that are shipped only
// those go into the stock that have not left, or have come back.
func (o *order) returned() (lines []api.ReturnLine) {
	for _, w := range o.refund.Lines {
		here := w.Quantity
		switch {
		case w.Keep:
			here = 0
		case o.Lines[w.Line].Kind == api.KindPhysical && !w.Returned:
			here = w.Recalled
		}
		if here > 0 {
			lines = append(lines, api.ReturnLine{SKU: w.SKU, Quantity: here})
		}
		if gone := w.Quantity - here; gone > 0 {
			lines = append(lines, api.ReturnLine{SKU: w.SKU, Quantity: gone, Keep: true})
		}
	}
	return lines
}
