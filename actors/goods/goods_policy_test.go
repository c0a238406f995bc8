package goods_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/actors/goods"
	"ordo/api"
	"ordo/bus"
)

// policy is the stock policy of each SKU that store makes.
var policy = map[string]string{"locked": api.PolicyOrder, "late": api.PolicyPayment,
	"endless": api.PolicyNone}

// product has one SKU a policy, at 5 each.
func product(units int64) api.Product {
	p := api.Product{ID: "p", Name: "P"}
	for _, id := range []string{"endless", "late", "locked"} {
		s := sku(id, 5, units)
		s.Policy = policy[id]
		p.SKUs = append(p.SKUs, s)
	}
	return p
}

// store is an actor with so many units of one SKU a policy; endless has none.
func store(t testing.TB, units int64) *actorstest.Actor {
	a := actorstest.New(t, goods.Spec())
	put(a, product(units))
	return a
}

// change puts the store's product again with one SKU changed.
func change(a *actorstest.Actor, id string, f func(s *api.SKU)) {
	a.T.Helper()
	p := product(0)
	for i := range p.SKUs {
		if p.SKUs[i].ID == id {
			f(&p.SKUs[i])
		}
	}
	put(a, p)
}

// sold sells what an order has reserved and is what was short of it.
func sold(a *actorstest.Actor, order string) []api.CartTake {
	a.T.Helper()
	var s api.Sold
	if err := json.Unmarshal(done(a, sell(order)).Data, &s); err != nil {
		a.T.Fatalf("the answer to sell: %v", err)
	}
	return s.Short
}

func take(id string, n int64) []api.CartTake { return []api.CartTake{{SKU: id, Quantity: n}} }

// wantWhole checks the tables as an auditor would.
func wantWhole(a *actorstest.Actor) {
	a.T.Helper()
	db, err := sql.Open("sqlite", a.Path)
	if err != nil {
		a.T.Fatal(err)
	}
	defer db.Close()
	const line = `(SELECT h.order_id AS id, h.user_id, h.state, j.value ->> 'sku' AS sku,
		coalesce(j.value ->> 'policy', '') AS policy, j.value ->> 'quantity' AS quantity,
		coalesce(j.value ->> 'short', 0) AS short, coalesce(j.value ->> 'returned', 0) AS returned,
		coalesce(j.value ->> 'kept', 0) AS kept, coalesce(j.value ->> 'void', 0) AS void,
		coalesce(j.value ->> 'counted', 0) AS counted FROM hold h, json_each(h.lines) j)`
	for rule, query := range map[string]string{
		"stock is the sum of its ledger": `SELECT sku, stock AS a, locked AS b, 0 AS c FROM stock
			UNION ALL SELECT sku, -stock, -locked, 0 FROM ledger`,
		"locked are the open holds": `SELECT sku, locked AS a, 0 AS b, 0 AS c FROM stock
			UNION ALL SELECT sku, -quantity, 0, 0 FROM ` + line + `
				WHERE state = 'held' AND policy = ''`,
		"the ledger of an order is what its hold says": `SELECT cause || sku AS sku, locked AS a,
				iif(kind = 'sell', -stock, 0) AS b, iif(kind = 'return', stock, 0) AS c FROM ledger
				WHERE kind NOT IN ('receive', 'adjust')
			UNION ALL SELECT id || sku, -quantity, 0, 0 FROM ` + line + `
				WHERE state = 'held' AND policy = ''
			UNION ALL SELECT id || sku, 0, short - quantity, kept - returned FROM ` + line + `
				WHERE state = 'sold' AND policy <> 'none'`,
		"taken is what users hold or have bought": `SELECT sku || user_id AS sku, units AS a,
				0 AS b, 0 AS c FROM taken
			UNION ALL SELECT sku || user_id, short + returned - quantity, 0, 0 FROM ` + line + `
				WHERE counted`,
		"no more comes back than was sold": `SELECT sku, 1 AS a, 0 AS b, 0 AS c FROM ` + line + `
			WHERE short < 0 OR returned NOT BETWEEN kept AND quantity - short OR kept < 0
				OR void NOT BETWEEN 0 AND short OR state = 'held' AND (short OR returned OR void)`,
	} {
		query = `SELECT count(*) FROM (SELECT 1 FROM (` + query + `)
			GROUP BY sku HAVING (sum(a), sum(b), sum(c)) <> (0, 0, 0))`
		var broken int
		if err := db.QueryRow(query).Scan(&broken); err != nil || broken != 0 {
			a.T.Errorf("%s: broken %d times (%v)", rule, broken, err)
		}
	}
}

// ACCEPT C2 C6
func TestKindAndPolicyAreKept(t *testing.T) {
	a := store(t, 5)
	for id, want := range policy {
		if s := stock(a, id); s.Policy != want || s.Kind != api.KindPhysical {
			t.Errorf("got %+v", s)
		}
	}
	for _, kind := range []string{api.KindCourse, api.KindDigital, api.KindPhysical} {
		change(a, "late", func(s *api.SKU) { s.Kind, s.Policy = kind, api.PolicyNone })
		if s := stock(a, "late"); s.Kind != kind || s.Policy != api.PolicyNone {
			t.Errorf("got %+v", s)
		}
		var got api.Reserved
		r := done(a, reserve("o-"+kind, line("late", 1, 5), line("locked", 1, 5)))
		if err := json.Unmarshal(r.Data, &got); err != nil || len(got.Lines) != 2 ||
			got.Lines[0].Kind != kind || got.Lines[1].Kind != api.KindPhysical {
			t.Errorf("snapshots %s (%v), want kind %q", r.Data, err, kind)
		}
	}
	wantWhole(a)
}

// ACCEPT C6 C7
func TestPolicyPaymentTakesAtPayment(t *testing.T) {
	a := store(t, 3)
	done(a, reserve("o1", line("late", 2, 5)))
	done(a, reserve("o2", line("late", 3, 5))) // the same units: first paid, first served
	done(a, reserve("o3", line("late", 1, 5), line("locked", 3, 5)))
	done(a, reserve("o4", line("late", 1, 5)))
	wantStock(a, "late", 3, 0)
	r := refused(a, api.CodeOutOfStock, reserve("o5", line("late", 4, 5)))
	wantData(t, r, []api.Shortage{{SKU: "late", Wanted: 4, Left: 3}})

	if short := sold(a, "o1"); short != nil {
		t.Errorf("o1 is short of %v", short)
	}
	wantStock(a, "late", 1, 0)
	for range 2 { // told again
		if short := sold(a, "o2"); !reflect.DeepEqual(short, take("late", 2)) {
			t.Errorf("o2 is short of %v, want 2", short)
		}
		a.Restart()
	}
	wantStock(a, "late", 0, 0)
	if short := sold(a, "o3"); !reflect.DeepEqual(short, take("late", 1)) {
		t.Errorf("o3 is short of %v, want 1", short)
	}
	wantStock(a, "locked", 0, 0)
	done(a, release("o4"))
	refused(a, api.CodeNotFound, sell("o4"))
	refused(a, api.CodeOutOfStock, reserve("o6", line("late", 1, 5)))
	rows := ledger(a, "late")
	if len(rows) != 3 || rows[0].Kind != api.LedgerSell || rows[0].Stock != -1 ||
		rows[0].Locked != 0 || rows[0].Cause != "o2" {
		t.Errorf("ledger %+v", rows)
	}
	wantWhole(a)
}

// ACCEPT C6
func TestFiftyPayForThirty(t *testing.T) {
	a := store(t, 30)
	for i := range 50 {
		done(a, reserve(fmt.Sprint("o", i), line("late", 1, 5)))
	}
	var in []actors.Delivery
	for i := range 50 { // one batch, so that all see the same commit
		in = append(in, actors.Delivery{Subject: bus.MailboxSubject("goods", "sell"),
			ID: a.ChannelID("order", int64(50+i+1)), Body: api.Raw(sell(fmt.Sprint("o", i)))})
	}
	a.Apply(in...)
	got := map[string]int{}
	for _, r := range actorstest.Sent[api.StepResult](a) {
		got[string(r.Data)]++
	}
	want := map[string]int{`{}`: 30, `{"short":[{"sku":"late","quantity":1}]}`: 20}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("answers %v, want %v", got, want)
	}
	wantStock(a, "late", 0, 0)
	wantWhole(a)
}

// ACCEPT C6
func TestPolicyNoneKeepsNoStock(t *testing.T) {
	a := store(t, 5)
	if s := stock(a, "endless"); s.Stock != 0 || s.Available() != api.MaxQuantity {
		t.Errorf("got %+v with %d available", s, s.Available())
	}
	if s := stock(a, "late"); s.Available() != 5 {
		t.Errorf("got %+v with %d available", s, s.Available())
	}
	done(a, reserve("o1", line("endless", api.MaxQuantity, 5), line("endless", 7, 5)))
	done(a, reserve("o2", line("endless", 1, 5)))
	done(a, release("o2"))
	if short := sold(a, "o1"); short != nil {
		t.Errorf("short of %v", short)
	}
	done(a, giveBack("o1", 1, back("endless", 2)))
	refused(a, api.CodePriceChanged, reserve("o3", line("endless", 1, 6)))
	if rows := ledger(a, "endless"); len(rows) != 0 {
		t.Errorf("ledger %+v", rows)
	}
	wantWhole(a)
}

// ACCEPT C6 C9
func TestLimitsCountWhenReserved(t *testing.T) {
	for id := range policy {
		t.Run(id, func(t *testing.T) {
			a := store(t, 3)
			change(a, id, func(s *api.SKU) { s.MaxPerUser, s.MaxPerOrder = 3, 2 })
			left := func(order string, wanted, want int64) {
				t.Helper()
				r := refused(a, api.CodeLimitExceeded, reserve(order, line(id, wanted, 5)))
				wantData(t, r, []api.Shortage{{SKU: id, Wanted: wanted, Left: want}})
			}
			left("o1", 3, 2)
			done(a, reserve("o2", line(id, 2, 5)))
			left("o3", 2, 1)
			done(a, release("o2"))
			done(a, reserve("o4", line(id, 2, 5)))
			done(a, reserve("o5", line(id, 1, 5)))
			sold(a, "o4")
			left("o6", 1, 0)
			done(a, giveBack("o4", 1, keep(id, 1))) // gone, but not the user's any more
			left("o7", 2, 1)
			wantWhole(a)
		})
	}
}

// ACCEPT C6 C9
func TestShortUnitsDoNotCountAsBought(t *testing.T) {
	a := store(t, 4)
	change(a, "late", func(s *api.SKU) { s.MaxPerUser = 4 })
	done(a, reserve("o1", line("late", 4, 5)))
	a.MustEdge("adj", &api.AdjustStock{SKU: "late", Difference: -3, Reason: "count"})
	if short := sold(a, "o1"); !reflect.DeepEqual(short, take("late", 3)) {
		t.Fatalf("short of %v, want 3", short)
	}
	a.MustEdge("rcv", &api.ReceiveStock{SKU: "late", Quantity: 9})
	r := refused(a, api.CodeLimitExceeded, reserve("o2", line("late", 4, 5)))
	wantData(t, r, []api.Shortage{{SKU: "late", Wanted: 4, Left: 3}})
	done(a, giveBack("o1", 1, keep("late", 3))) // the shop refunds them
	refused(a, api.CodeLimitExceeded, reserve("o3", line("late", 4, 5)))
	done(a, reserve("o4", line("late", 3, 5)))
	wantStock(a, "late", 9, 0)
	wantWhole(a)
}

// ACCEPT C6
// What is reserved keeps the policy that it was reserved under.
func TestPolicyChangesUnderOpenHolds(t *testing.T) {
	for id, was := range policy {
		for _, now := range policy {
			if was == now {
				continue
			}
			t.Run(fmt.Sprintf("%q to %q", was, now), func(t *testing.T) {
				a := store(t, 5)
				before, locked := stock(a, id).Stock, int64(0)
				if was == api.PolicyOrder {
					locked = 2
				}
				done(a, reserve("o1", line(id, 2, 5)))
				done(a, reserve("o2", line(id, 2, 5)))
				change(a, id, func(s *api.SKU) { s.Policy = now })
				wantStock(a, id, before, 2*locked)
				done(a, release("o1"))
				wantStock(a, id, before, locked)
				if short := sold(a, "o2"); short != nil {
					t.Errorf("short of %v", short)
				}
				after := before
				if was != api.PolicyNone {
					after -= 2
				}
				wantStock(a, id, after, 0)
				done(a, giveBack("o2", 1, back(id, 2)))
				wantStock(a, id, before, 0)
				ledger(a, id)
				wantWhole(a)
			})
		}
	}
}
