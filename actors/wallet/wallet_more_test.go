package wallet_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"ordo/actors/actorstest"
	"ordo/actors/wallet"
	"ordo/api"
)

func grant(order, user string, n int64) *api.GrantPoints {
	return &api.GrantPoints{Step: api.Step{Order: order, Name: "wallet.grant"}, User: user, Points: n}
}

func revoke(order string, refund int, user string, n int64) *api.RevokePoints {
	return &api.RevokePoints{Step: api.Step{Order: order, Name: "wallet.revoke", Occurrence: refund},
		User: user, Points: n}
}

func refund(order string, refund int, user string, amount api.Money) *api.RefundBalance {
	return &api.RefundBalance{Step: api.Step{Order: order, Name: "wallet.refund", Occurrence: refund},
		User: user, Amount: amount}
}

// done has the order actor say what may not be refused, and is the answer.
func done(a *actorstest.Actor, m api.Message) api.StepResult {
	a.T.Helper()
	a.From("order", m)
	r := actorstest.Only[api.StepResult](a)
	wantDone(a.T.(*testing.T), r)
	return r
}

// faulty has the order actor say what is a fault of its own.
func faulty(a *actorstest.Actor, m api.Message) {
	a.T.Helper()
	a.From("order", m)
	if len(a.Out.Dead) != 1 || len(a.Out.Sent) != 0 {
		a.T.Errorf("%+v: %d dead letters, sent %v", m, len(a.Out.Dead), a.Subjects())
	}
}

// revoked revokes points and is how many were taken.
func revoked(a *actorstest.Actor, m *api.RevokePoints) int64 {
	a.T.Helper()
	var got api.Revoked
	if r := done(a, m); json.Unmarshal(r.Data, &got) != nil {
		a.T.Fatalf("answered %+v", r)
	}
	return got.Points
}

// ACCEPT L2
func TestGrant(t *testing.T) {
	a := given(t, points(70))
	for range 2 { // told again
		if r := done(a, grant("ord_1", ann, 30)); r.Name != "wallet.grant" || r.Order != "ord_1" {
			t.Errorf("answered %+v", r)
		}
		a.Restart()
	}
	done(a, grant("ord_2", bob, 5)) // who had no account
	wantHolds(a, ann, 0, 100)
	wantHolds(a, bob, 0, 5)
	e := entries(a, &api.ListWalletEntries{User: ann, Unit: api.UnitPoint})
	if len(e) != 2 || e[0].Kind != api.EntryGrant || e[0].Order != "ord_1" ||
		e[0].Amount != points(30) || e[0].Balance != points(100) {
		t.Errorf("entries %+v", e)
	}
	a.MustEdge("fill", credit(bob, points(api.MaxAmount-5)))
	done(a, grant("ord_3", bob, api.MaxAmount)) // what was earned always fits
	wantHolds(a, bob, 0, 2*api.MaxAmount)
	wantBalanced(a)
}

// ACCEPT L2
func TestRevoke(t *testing.T) {
	a := given(t, gbp(500))
	done(a, grant("ord_1", ann, 30))
	done(a, grant("ord_2", ann, 20))
	for i, c := range []struct{ points, want, left int64 }{
		{0, 0, 50}, {12, 12, 38}, {38, 38, 0}, {1, 0, 0},
	} {
		for range 2 { // told again
			if got := revoked(a, revoke("ord_1", i+1, ann, c.points)); got != c.want {
				t.Errorf("took %d of %d points, want %d", got, c.points, c.want)
			}
		}
		wantHolds(a, ann, 500, c.left)
	}
	done(a, grant("ord_3", ann, 8))
	a.MustEdge("spent", credit(ann, points(-5)))
	if got := revoked(a, revoke("ord_3", 1, ann, 8)); got != 3 {
		t.Errorf("took %d of the 3 points that are left", got)
	}
	if got := revoked(a, revoke("ord_4", 1, bob, 8)); got != 0 {
		t.Errorf("took %d points of who has no account", got)
	}
	if got := revoked(a, revoke("ord_3", 2, ann, 1<<63-1)); got != 0 {
		t.Errorf("took %d points of none", got)
	}
	a.Restart()
	a.MustEdge("more", credit(ann, points(9)))
	if got := revoked(a, revoke("ord_3", 1, ann, 8)); got != 3 {
		t.Errorf("told again, it took %d points, want the answer that was given", got)
	}
	wantHolds(a, ann, 500, 9)
	wantBalanced(a)
}

// ACCEPT Y9
func TestRefund(t *testing.T) {
	a := given(t, gbp(1000))
	wantDone(t, debit(a, "ord_1", ann, gbp(400)))
	wantDone(t, debit(a, "ord_2", ann, gbp(100)))
	for range 2 { // told again
		done(a, refund("ord_1", 1, ann, gbp(150)))
		a.Restart()
	}
	wantHolds(a, ann, 650, 0)
	faulty(a, refund("ord_1", 2, ann, gbp(251)))
	done(a, refund("ord_1", 3, ann, gbp(249)))
	done(a, refund("ord_1", 4, ann, gbp(1)))
	faulty(a, refund("ord_1", 5, ann, gbp(1)))
	wantHolds(a, ann, 900, 0)
	e := entries(a, &api.ListWalletEntries{User: ann, Unit: "GBP"})
	if e[0].Kind != api.EntryRefund || e[0].Order != "ord_1" || e[0].Amount != gbp(1) {
		t.Errorf("newest entry %+v", e[0])
	}
	a.MustEdge("fill", credit(ann, gbp(api.MaxAmount-900)))
	done(a, refund("ord_2", 1, ann, gbp(100))) // what was taken always fits back in
	wantHolds(a, ann, api.MaxAmount+100, 0)
	wantBalanced(a)
}

// ACCEPT Y9
// An order that was cancelled has nothing to refund, and one of which a part
// was refunded is not cancelled.
func TestRefundAndReturnExcludeEachOther(t *testing.T) {
	a := given(t, gbp(1000))
	wantDone(t, debit(a, "ord_1", ann, gbp(400)))
	giveBack(a, "ord_1")
	faulty(a, refund("ord_1", 1, ann, gbp(1)))
	wantDone(t, debit(a, "ord_2", ann, gbp(400)))
	done(a, refund("ord_2", 1, ann, gbp(1)))
	faulty(a, &api.ReturnDebit{Step: step("ord_2", 0)})
	wantHolds(a, ann, 601, 0)
	wantBalanced(a)
}

// ACCEPT L2 Y9
// What can't be meant is a fault of the sender and changes nothing.
func TestFaultyGrantsAndRefunds(t *testing.T) {
	a := given(t, gbp(1000))
	wantDone(t, debit(a, "ord_1", ann, gbp(400)))
	done(a, grant("ord_1", ann, 30))
	for _, m := range []api.Message{
		grant("ord_2", ann, 0), grant("ord_2", ann, -1), grant("ord_2", ann, api.MaxAmount+1),
		grant("ord_2", "", 1), grant("ord_2", wallet.ShopIssued, 1),
		revoke("ord_1", 1, ann, -1), revoke("ord_1", 1, ann, -1<<63),
		refund("ord_1", 1, ann, gbp(0)), refund("ord_1", 1, ann, gbp(-1)),
		refund("ord_1", 1, ann, gbp(-1<<63)), refund("ord_1", 1, ann, gbp(1<<63-1)),
		refund("ord_1", 1, ann, points(1)), refund("ord_1", 1, ann, api.Money{Amount: 1}),
		refund("ord_1", 1, ann, api.Money{Amount: 1, Currency: "EUR"}),
		refund("ord_1", 1, bob, gbp(1)), refund("ord_2", 1, ann, gbp(1)), refund("", 1, ann, gbp(1)),
		refund("ord_1", 1, wallet.ShopSales, gbp(1)),
	} {
		faulty(a, m)
	}
	wantHolds(a, ann, 600, 30)
	done(a, refund("ord_1", 1, ann, gbp(400))) // the fault was not remembered as an answer
	wantHolds(a, ann, 1000, 30)
	wantBalanced(a)
}

// ACCEPT U3 L2 Y9
func TestTablesRefuseWrongKinds(t *testing.T) {
	a := given(t, gbp(100))
	db := open(a)
	const insert = `INSERT INTO entry (owner, unit, transfer, amount, balance, kind, order_id,
		occurrence, reason, at) VALUES ('usr_ann', '%s', 't', %d, 500, '%s', 'ord_1', 0, '', 1)`
	for _, c := range []struct {
		unit   string
		amount int64
		kind   string
	}{
		{"POINT", -5, "grant"}, {"GBP", 5, "grant"}, {"POINT", 5, "revoke"}, {"GBP", -5, "revoke"},
		{"GBP", -5, "refund"}, {"POINT", 5, "refund"}, {"GBP", 5, "debit"}, {"GBP", -5, "return"},
		{"POINT", -5, "debit"}, {"GBP", 5, "gift"}, {"POINT", 0, "grant"},
	} {
		if _, err := db.Exec(fmt.Sprintf(insert, c.unit, c.amount, c.kind)); err == nil {
			t.Errorf("allowed: %+v", c)
		}
	}
	if _, err := db.Exec(fmt.Sprintf(insert, "POINT", 5, "grant")); err != nil {
		t.Errorf("the statement is wrong: %v", err)
	}
}

// ACCEPT U3 L2 Y9
// After random debits, refunds, grants and revokes, told again and in any
// order, the ledger adds up and everyone holds what a sum in memory says.
func TestRandomRefunds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	a := given(t, gbp(5000))
	a.MustEdge("bob", credit(bob, gbp(5000)))
	users := []string{ann, bob}
	const orders = 40
	type book struct {
		money, points map[string]int64
		left          [orders]int64
		told          map[string]int64 // answers by step
	}
	b := book{map[string]int64{ann: 5000, bob: 5000}, map[string]int64{}, [orders]int64{},
		map[string]int64{}}
	for range 800 {
		o, n, amount := rnd.IntN(orders), rnd.IntN(5), rnd.Int64N(60)+1
		order, user, kind := fmt.Sprintf("ord_%d", o), users[o%2], rnd.IntN(4)
		key := fmt.Sprint(kind, order, n)
		switch kind {
		case 0:
			wantDone(t, debit(a, order, user, gbp(100)))
			if key = "debit" + order; b.told[key] == 0 {
				b.told[key], b.left[o] = 1, 100
				b.money[user] -= 100
			}
		case 1:
			m := refund(order, n, user, gbp(amount))
			if b.told[key] == 0 && amount > b.left[o] {
				faulty(a, m)
				break
			}
			done(a, m)
			if b.told[key] == 0 {
				b.told[key] = 1
				b.left[o] -= amount
				b.money[user] += amount
			}
		case 2:
			done(a, grant(order, user, amount))
			if key = "grant" + order; b.told[key] == 0 {
				b.told[key] = 1
				b.points[user] += amount
			}
		case 3:
			want, told := b.told[key]
			if !told {
				want = min(amount, b.points[user])
				b.told[key] = want
				b.points[user] -= want
			}
			if got := revoked(a, revoke(order, n, user, amount)); got != want {
				t.Fatalf("took %d of %d points, want %d", got, amount, want)
			}
		}
	}
	for _, u := range users {
		wantHolds(a, u, b.money[u], b.points[u])
	}
	wantBalanced(a)
}
