package order

import (
	"encoding/json"
	"fmt"

	"ordo/actors"
	"ordo/api"
)

// lack notes on the order's lines what a participant could not deliver: units
// that were gone when they were paid, or seats of a full course. What was
// refused as a whole, the step shows.
func (o *order) lack(m *api.StepResult) (lacks bool, err error) {
	if len(m.Data) == 0 {
		return false, nil
	}
	switch m.Name {
	case stepSell:
		var d api.Sold
		if err := json.Unmarshal(m.Data, &d); err != nil {
			return false, fmt.Errorf("sold: %w", err)
		}
		o.note(d.Short, func(l *api.LineSnapshot) *int64 { return &l.Short })
		return len(d.Short) > 0, nil
	case stepEnrol:
		var d api.Enrolled
		if err := json.Unmarshal(m.Data, &d); err != nil {
			return false, fmt.Errorf("enrolled: %w", err)
		}
		o.note(d.Refused, func(l *api.LineSnapshot) *int64 { return &l.NoSeat })
		return len(d.Refused) > 0, nil
	}
	return false, nil
}

// note writes units to a field of their lines, the last lines of a SKU first.
func (o *order) note(units []api.CartTake, field func(*api.LineSnapshot) *int64) {
	for _, t := range units {
		for i := len(o.Lines) - 1; i >= 0 && t.Quantity > 0; i-- {
			if l := &o.Lines[i]; l.SKU == t.SKU {
				n := min(t.Quantity, l.Quantity)
				*field(l) = n
				t.Quantity -= n
				o.changed = true
			}
		}
	}
}

// lacking are the units by SKU that were not delivered and that no refund has
// reserved, by whomever it was asked for, and how many of them were never in the
// stock. Units of a SKU are alike, so every refund of it is first one of these.
func (o *order) lacking() (left, short map[string]int64) {
	left, short = map[string]int64{}, map[string]int64{}
	for i := range o.Lines {
		l := &o.Lines[i]
		left[l.SKU] += max(l.Short, l.NoSeat) - l.Refunded
		short[l.SKU] += l.Short - l.Refunded
	}
	return left, short
}

// cover refunds the units that the order could not be given, as far as no
// refund has them: when they turn out to lack, and when a refund that had them
// ends without money. Rows C6, L1.
func cover(tx *actors.Tx, o *order) error {
	r := &api.Refund{ID: tx.NewID(api.PrefixRefund), By: api.ByShop, DecidedBy: api.ByShop,
		Reason: "no seat in the course"}
	left, short := o.lacking()
	for i := len(o.Lines) - 1; i >= 0; i-- {
		l := &o.Lines[i]
		n := min(left[l.SKU], l.Quantity-l.Refunded)
		if n < 1 {
			continue
		}
		left[l.SKU] -= n
		unsold := min(n, max(0, short[l.SKU]))
		short[l.SKU] -= n
		if unsold > 0 {
			r.Reason = "sold out"
			r.Lines = append(r.Lines,
				api.RefundLine{Line: i, SKU: l.SKU, Quantity: unsold, Keep: true})
		}
		if n > unsold {
			r.Lines = append(r.Lines, api.RefundLine{Line: i, SKU: l.SKU, Quantity: n - unsold})
		}
	}
	if len(r.Lines) == 0 {
		return save(tx, o)
	}
	return beginRefund(tx, o, r)
}
