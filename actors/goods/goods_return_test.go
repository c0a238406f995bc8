package goods_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"ordo/actors/actorstest"
	"ordo/api"
)

func back(id string, n int64) api.ReturnLine { return api.ReturnLine{SKU: id, Quantity: n} }

func keep(id string, n int64) api.ReturnLine {
	return api.ReturnLine{SKU: id, Quantity: n, Keep: true}
}

// giveBack returns units of an order by its nth refund.
func giveBack(order string, n int, lines ...api.ReturnLine) *api.ReturnStock {
	return &api.ReturnStock{Step: api.Step{Order: order, Name: "goods.return", Occurrence: n},
		Lines: lines}
}

// bought is a store of so many units each where order o1 has bought 4 of each,
// late being short of one.
func bought(t testing.TB) *actorstest.Actor {
	a := store(t, 4)
	done(a, reserve("o1", line("locked", 1, 5), line("late", 4, 5), line("endless", 4, 5),
		line("locked", 3, 5)))
	a.MustEdge("adj", &api.AdjustStock{SKU: "late", Difference: -1, Reason: "count"})
	if short := sold(a, "o1"); len(short) != 1 || short[0].Quantity != 1 {
		t.Fatalf("short of %v", short)
	}
	wantStock(a, "locked", 0, 0)
	wantStock(a, "late", 0, 0)
	return a
}

// ACCEPT Y9 C7
func TestReturns(t *testing.T) {
	huge := int64(1<<63 - 1)
	for _, c := range []struct {
		name         string
		lines        []api.ReturnLine
		locked, late int64 // units in the stock afterwards
	}{
		{"nothing", nil, 0, 0},
		{"some", []api.ReturnLine{back("locked", 3), back("late", 1), back("endless", 1)}, 3, 0},
		{"all, the short one too", []api.ReturnLine{back("locked", 4), back("late", 4),
			back("endless", 4)}, 4, 3},
		{"kept", []api.ReturnLine{keep("locked", 3), keep("late", 2), keep("endless", 4)}, 0, 0},
		{"the short one by the shop, then the rest", []api.ReturnLine{keep("late", 1),
			back("late", 3)}, 0, 3},
		{"the rest, then the short one", []api.ReturnLine{back("late", 3), keep("late", 1)}, 0, 3},
		{"two kept, one of them short", []api.ReturnLine{keep("late", 2), back("late", 2)}, 0, 2},
		{"kept one by one", []api.ReturnLine{keep("late", 1), keep("late", 1), back("late", 3)}, 0, 2},
		{"lines of one SKU", []api.ReturnLine{back("locked", 1), back("locked", 2),
			keep("locked", 1)}, 3, 0},
		{"more than was sold", []api.ReturnLine{back("locked", 5), back("late", huge),
			keep("locked", 1), back("endless", huge)}, 4, 3},
		{"what it never had", []api.ReturnLine{back("none", 1), back("", 1), back("\xff", 1)}, 0, 0},
		{"no quantity", []api.ReturnLine{back("locked", 0), back("locked", -1), keep("late", -huge),
			back("late", -huge-1), back("locked", 1)}, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := bought(t)
			for range 2 { // told again
				if r := done(a, giveBack("o1", 1, c.lines...)); r.Undo || r.Occurrence != 1 {
					t.Errorf("answered %+v", r)
				}
				a.Restart()
				wantStock(a, "locked", c.locked, 0)
				wantStock(a, "late", c.late, 0)
			}
			if rows := ledger(a, "locked"); c.locked > 0 && (rows[0].Kind != api.LedgerReturn ||
				rows[0].Stock != c.locked || rows[0].Locked != 0 || rows[0].Cause != "o1") {
				t.Errorf("ledger %+v", rows)
			}
			wantWhole(a)
		})
	}
}

// ACCEPT Y9
// Whatever the grouping and order of refunds, the same comes back.
func TestReturnsInAnyGrouping(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		a := bought(t)
		var units []api.ReturnLine // 4 of each, one of late and one of locked kept
		for id := range policy {
			units = append(units, back(id, 1), back(id, 1), back(id, 1))
		}
		units = append(units, keep("late", 1), keep("locked", 1), back("endless", 1))
		rnd.Shuffle(len(units), func(i, j int) { units[i], units[j] = units[j], units[i] })
		for n := 1; len(units) > 0; n++ {
			k := 1 + rnd.IntN(len(units))
			done(a, giveBack("o1", n, units[:k]...))
			units = units[k:]
			wantWhole(a)
		}
		wantStock(a, "late", 3, 0)
		wantStock(a, "locked", 3, 0)
		done(a, giveBack("o1", 99, back("late", 9), back("locked", 9), keep("endless", 9)))
		wantStock(a, "late", 3, 0)
		wantStock(a, "locked", 3, 0)
		wantWhole(a)
	}
}

// ACCEPT Y9
func TestReturnOfWhatIsNotSold(t *testing.T) {
	a := store(t, 5)
	done(a, giveBack("o1", 1, back("locked", 1)))
	done(a, reserve("o2", line("locked", 2, 5)))
	done(a, giveBack("o2", 1, back("locked", 1)))
	wantStock(a, "locked", 5, 2)
	done(a, release("o2"))
	done(a, giveBack("o2", 2, back("locked", 1)))
	wantStock(a, "locked", 5, 0)
	done(a, reserve("o3", line("locked", 2, 5)))
	sold(a, "o3")
	done(a, giveBack("o3", 1, back("locked", 2)))
	done(a, release("o3")) // late, and harmless
	done(a, giveBack("o3", 2, back("locked", 2)))
	wantStock(a, "locked", 5, 0)
	wantWhole(a)
}

// ACCEPT Y9
func TestReturnToFullHouse(t *testing.T) {
	a := bought(t)
	put(a, api.Product{ID: "full", Name: "Full", SKUs: []api.SKU{sku("full", 5, api.MaxStock)}})
	done(a, reserve("o2", line("full", 3, 5)))
	sold(a, "o2")
	a.MustEdge("rcv", &api.ReceiveStock{SKU: "full", Quantity: 2})
	done(a, giveBack("o2", 1, back("full", 2)))
	wantStock(a, "full", api.MaxStock, 0)
	done(a, giveBack("o2", 2, back("full", 1)))
	wantStock(a, "full", api.MaxStock, 0)
	wantWhole(a)
}

func TestReturnOf2000Lines(t *testing.T) {
	a := shop(t)
	m := bulk(a, 2000, "")
	done(a, m)
	sold(a, "bulk")
	var lines []api.ReturnLine
	for _, l := range m.Lines {
		lines = append(lines, back(l.SKU, 1))
	}
	done(a, giveBack("bulk", 1, lines...))
	wantStock(a, "bulk-sku-0000", 1, 0)
	wantStock(a, "bulk-sku-1999", 1, 0)
	wantWhole(a)
}

// ACCEPT C6 C7 S8 Y9
// After random reservations, releases, sales and returns, told again and in
// any order, while policies and stock change, every table adds up.
func TestRandomPoliciesAddUp(t *testing.T) {
	ids := []string{"endless", "late", "locked"}
	policies := []string{api.PolicyOrder, api.PolicyPayment, api.PolicyNone}
	var kinds []string
	for seed := range uint64(5) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		a := store(t, 20)
		for i := range 300 {
			order, id := fmt.Sprint("o", rnd.IntN(60)), ids[rnd.IntN(3)]
			switch rnd.IntN(9) {
			case 0, 1, 2:
				var lines []api.ReserveLine
				for range 1 + rnd.IntN(4) {
					lines = append(lines, line(ids[rnd.IntN(3)], 1+rnd.Int64N(4), 5))
				}
				m := reserve(order, lines...)
				m.User = fmt.Sprint("usr_", rnd.IntN(3))
				tell(a, m)
			case 3:
				done(a, release(order))
			case 4, 5:
				tell(a, sell(order))
			case 6:
				lines := []api.ReturnLine{back(id, rnd.Int64N(4)), keep(ids[rnd.IntN(3)], 1)}
				done(a, giveBack(order, rnd.IntN(4), lines...))
			case 7:
				change(a, id, func(s *api.SKU) {
					s.Policy, s.MaxPerUser = policies[rnd.IntN(3)], 30*rnd.Int64N(2)
				})
			case 8:
				a.Edge(fmt.Sprint("adj", i), &api.AdjustStock{SKU: id, Difference: rnd.Int64N(9) - 3,
					Reason: "count"})
			}
			if i%10 != 9 {
				continue
			}
			if wantWhole(a); t.Failed() {
				t.Fatalf("seed %d, step %d", seed, i)
			}
		}
		for _, id := range ids {
			for _, e := range ledger(a, id) {
				kinds = append(kinds, e.Kind)
			}
		}
	}
	for _, kind := range []string{api.LedgerLock, api.LedgerUnlock, api.LedgerSell,
		api.LedgerReturn, api.LedgerAdjust} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("it never came to %s", kind)
		}
	}
}
