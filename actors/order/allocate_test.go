package order

import (
	"math/rand/v2"
	"testing"

	"ordo/api"
)

// ACCEPT S10 Y9: the parts of 10,000 random orders, refunded unit by unit in
// random groups of which some are taken back, add up to the unit. The test is
// inside of the package because the same through the actor takes long;
// TestRefundsAddUp does that for fewer.
func TestAnyGroupingAddsUp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 10_000 {
		o := randomOrder(r)
		var money, balance, points int64
		for o.left() {
			f := &api.Refund{}
			for i := range o.Lines {
				if left := o.Lines[i].Quantity - o.Lines[i].Refunded; left > 0 && r.IntN(2) == 0 {
					f.Lines = append(f.Lines, api.RefundLine{Line: i, Quantity: 1 + r.Int64N(left)})
				}
			}
			if o.reserve(f); f.Money.Amount < 0 || f.Balance.Amount < 0 || f.Points < 0 ||
				f.Money.Amount+f.Balance.Amount != f.Amount.Amount {
				t.Fatalf("order %d: refund %+v", n, f)
			}
			if r.IntN(4) == 0 {
				o.release(f)
				continue
			}
			money, balance = money+f.Money.Amount, balance+f.Balance.Amount
			points += f.Points
		}
		if money != o.Due.Amount || balance != o.Balance.Amount || points != o.Points ||
			o.Refunded != o.Total {
			t.Fatalf("order %d: gave back %d, %d and %d points of %+v", n, money, balance, points, o)
		}
	}
}

// randomOrder is a paid order with prices from nothing to the most there is.
func randomOrder(r *rand.Rand) *order {
	o := &order{}
	gbp := func(n int64) api.Money { return api.Money{Amount: n, Currency: "GBP"} }
	most := []int64{1, 3, 100, 9_999, api.MaxAmount / 100}[r.IntN(5)]
	var subtotal int64
	for range 1 + r.IntN(8) {
		l := api.LineSnapshot{Quantity: 1 + r.Int64N(9), Price: gbp(r.Int64N(most))}
		o.Lines = append(o.Lines, l)
		subtotal += l.Price.Amount * l.Quantity
	}
	discount := r.Int64N(subtotal + 1)
	o.Subtotal, o.Discount, o.Total = gbp(subtotal), gbp(discount), gbp(subtotal-discount)
	o.Balance = gbp(r.Int64N(o.Total.Amount + 1))
	o.Due = gbp(o.Total.Amount - o.Balance.Amount)
	o.Refunded, o.Points = gbp(0), r.Int64N(o.Total.Amount+1)
	allocate(o.Lines, subtotal, discount)
	return o
}
