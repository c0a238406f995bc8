package wallet_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ordo/actors/actorstest"
	"ordo/actors/wallet"
	"ordo/api"
)

const ann, bob = "usr_ann", "usr_bob"

func gbp(n int64) api.Money    { return api.Money{Amount: n, Currency: "GBP"} }
func points(n int64) api.Money { return api.Money{Amount: n, Currency: api.UnitPoint} }

func credit(user string, amount api.Money) *api.Credit {
	return &api.Credit{User: user, Amount: amount, Reason: "goodwill"}
}

// given is a wallet actor in which Ann holds an amount.
func given(t *testing.T, amount api.Money) *actorstest.Actor {
	t.Helper()
	a := actorstest.New(t, wallet.Spec())
	a.MustEdge("given", credit(ann, amount))
	return a
}

// ACCEPT U3: the user's entry says who gave it; what an order takes has nobody.
func TestCreditedBy(t *testing.T) {
	a := actorstest.New(t, wallet.Spec())
	c := credit(ann, gbp(500))
	c.By = "usr_9"
	a.MustEdge("given", c)
	debit(a, "ord_1", ann, gbp(100))
	var list api.WalletEntryList
	if r := a.Ask(&api.ListWalletEntries{User: ann, Unit: "GBP"}, &list); r != nil ||
		len(list.Entries) != 2 || list.Entries[0].By != "" || list.Entries[1].By != "usr_9" {
		t.Errorf("%v, entries %+v", r, list.Entries)
	}
	c.By = strings.Repeat("x", api.MaxBy+1)
	if r := a.Edge("bad", c).Refusal; r == nil || r.Code != api.CodeInvalid || r.Place != "by" {
		t.Errorf("refused with %v", r)
	}
}

func step(order string, occurrence int) api.Step {
	return api.Step{Order: order, Name: "wallet.debit", Occurrence: occurrence}
}

func debit(a *actorstest.Actor, order, user string, amount api.Money) api.StepResult {
	a.T.Helper()
	a.From("order", &api.Debit{Step: step(order, 0), User: user, Amount: amount})
	return answer(a, order)
}

func giveBack(a *actorstest.Actor, order string) {
	a.T.Helper()
	a.From("order", &api.ReturnDebit{Step: step(order, 0)})
	if r := answer(a, order); !r.Undo || r.Refusal != nil {
		a.T.Fatalf("return answered %+v", r)
	}
}

func answer(a *actorstest.Actor, order string) api.StepResult {
	a.T.Helper()
	r := actorstest.Only[api.StepResult](a)
	if r.Step != step(order, 0) {
		a.T.Fatalf("answer to %+v, want %+v", r.Step, step(order, 0))
	}
	return r
}

func wantDone(t *testing.T, r api.StepResult) {
	t.Helper()
	if r.Refusal != nil {
		t.Fatalf("refused: %v", r.Refusal)
	}
}

func wantTooLow(t *testing.T, place string, r *api.Error, left api.Money) {
	t.Helper()
	var data api.BalanceLeft
	if r == nil || r.Code != api.CodeBalanceTooLow || r.Place != place {
		t.Fatalf("answered %v, want %s", r, api.CodeBalanceTooLow)
	}
	if err := json.Unmarshal(r.Data, &data); err != nil || data.Balance != left {
		t.Fatalf("data %s, want a balance of %v", r.Data, left)
	}
}

func wantHolds(a *actorstest.Actor, user string, balance, points int64) {
	a.T.Helper()
	var got api.Wallet
	if r := a.Ask(&api.GetWallet{User: user, Currency: "GBP"}, &got); r != nil {
		a.T.Fatalf("wallet: %v", r)
	}
	if want := (api.Wallet{User: user, Balance: gbp(balance), Points: points}); got != want {
		a.T.Fatalf("holds %+v, want %+v", got, want)
	}
}

// entries reads every page of a list.
func entries(a *actorstest.Actor, q *api.ListWalletEntries) (all []api.WalletEntry) {
	a.T.Helper()
	for range 1000 {
		var page api.WalletEntryList
		if r := a.Ask(q, &page); r != nil {
			a.T.Fatalf("entries: %v", r)
		}
		if page.Entries == nil || len(page.Entries) > q.Size() {
			a.T.Fatalf("page of %d entries (nil: %t)", len(page.Entries), page.Entries == nil)
		}
		all = append(all, page.Entries...)
		if q.Cursor = page.Next; q.Cursor == "" {
			return all
		}
	}
	a.T.Fatal("the list does not end")
	return nil
}

// open opens the actor's file beside the actor, to look at what no query
// shows.
func open(a *actorstest.Actor) *sql.DB {
	a.T.Helper()
	db, err := sql.Open("sqlite", a.Path)
	if err != nil {
		a.T.Fatal(err)
	}
	a.T.Cleanup(func() { db.Close() })
	return db
}

// wantBalanced checks the ledger as an auditor would.
func wantBalanced(a *actorstest.Actor) {
	a.T.Helper()
	db := open(a)
	for rule, query := range map[string]string{
		"a unit sums to zero": `SELECT count(*) FROM
			(SELECT 1 FROM entry GROUP BY unit HAVING sum(amount) <> 0)`,
		"a transfer is two entries, of a user and the shop, that sum to zero": `SELECT count(*) FROM
			(SELECT 1 FROM entry GROUP BY transfer HAVING count(*) <> 2 OR sum(amount) <> 0
				OR sum(owner GLOB 'shop:*') <> 1 OR count(DISTINCT unit) <> 1)`,
		"an account is the sum of its entries": `SELECT count(*) FROM account a WHERE balance
			<> (SELECT sum(amount) FROM entry e WHERE e.owner = a.owner AND e.unit = a.unit)`,
		"entries of users have accounts": `SELECT count(*) FROM entry e WHERE owner NOT GLOB 'shop:*'
			AND NOT EXISTS (SELECT 1 FROM account a WHERE a.owner = e.owner AND a.unit = e.unit)`,
		"an entry follows the one before": `SELECT count(*) FROM (SELECT balance, amount,
				lag(balance, 1, 0) OVER (PARTITION BY owner, unit ORDER BY seq) AS before
				FROM entry WHERE balance IS NOT NULL)
			WHERE balance <> before + amount`,
	} {
		var broken int
		if err := db.QueryRow(query).Scan(&broken); err != nil || broken != 0 {
			a.T.Errorf("%s: broken %d times (%v)", rule, broken, err)
		}
	}
}

// ACCEPT U3
func TestCredit(t *testing.T) {
	a := given(t, gbp(1000))
	a.MustEdge("points", credit(ann, points(70)))
	r := a.MustEdge("less", credit(ann, gbp(-400)))
	var e api.WalletEntry
	if err := json.Unmarshal(r.Value, &e); err != nil || e.Amount != gbp(-400) ||
		e.Balance != gbp(600) || e.Seq == 0 || e.Kind != api.EntryCredit || e.Reason != "goodwill" {
		t.Fatalf("outcome %s (%v)", r.Value, err)
	}
	a.MustEdge("less", credit(ann, gbp(-400))) // told again
	wantHolds(a, ann, 600, 70)
	if got := entries(a, &api.ListWalletEntries{User: ann, Unit: "GBP"}); got[0] != e {
		t.Fatalf("newest entry %+v, outcome %+v", got[0], e)
	}
	wantTooLow(t, "amount", a.Edge("too much", credit(ann, gbp(-601))).Refusal, gbp(600))
	wantTooLow(t, "amount", a.Edge("points too", credit(ann, points(-71))).Refusal, points(70))
	wantTooLow(t, "amount", a.Edge("none", credit(bob, gbp(-1))).Refusal, gbp(0))
	owed := api.Money{Amount: -1, Currency: "EUR"}
	wantTooLow(t, "amount", a.Edge("none in euro", credit(ann, owed)).
		Refusal, api.Money{Currency: "EUR"})
	a.MustEdge("all", credit(ann, gbp(-600)))
	wantHolds(a, ann, 0, 70)
	wantHolds(a, bob, 0, 0)
	wantBalanced(a)
}

func TestCreditRefused(t *testing.T) {
	long := strings.Repeat("é", wallet.MaxReason)
	for _, c := range []struct {
		place  string
		change func(m *api.Credit)
	}{
		{"user", func(m *api.Credit) { m.User = "" }},
		{"user", func(m *api.Credit) { m.User = wallet.ShopSales }},
		{"user", func(m *api.Credit) { m.User = "\x00" }},
		{"user", func(m *api.Credit) { m.User = strings.Repeat("u", wallet.MaxUser+1) }},
		{"amount.amount", func(m *api.Credit) { m.Amount.Amount = 0 }},
		{"amount.amount", func(m *api.Credit) { m.Amount.Amount = api.MaxAmount + 1 }},
		{"amount.amount", func(m *api.Credit) { m.Amount.Amount = -1 << 63 }},
		{"amount.amount", func(m *api.Credit) { m.Amount.Amount = api.MaxAmount }}, // above it in all
		{"amount.currency", func(m *api.Credit) { m.Amount.Currency = "" }},
		{"amount.currency", func(m *api.Credit) { m.Amount.Currency = "point" }},
		{"amount.currency", func(m *api.Credit) { m.Amount.Currency = "G\x00P" }},
		{"reason", func(m *api.Credit) { m.Reason = "" }},
		{"reason", func(m *api.Credit) { m.Reason = long + "x" }},
	} {
		a := given(t, gbp(1))
		m := credit(ann, gbp(5))
		c.change(m)
		r := a.Edge("bad", m).Refusal
		if r == nil || r.Code != api.CodeInvalid || r.Place != c.place || len(a.Out.Dead) != 0 {
			t.Errorf("%+v: %v", m, r)
		}
		wantHolds(a, ann, 1, 0)
	}
	a := given(t, gbp(1))
	m := credit(ann, gbp(api.MaxAmount-1))
	m.Reason = long
	a.MustEdge("as much as allowed", m)
	wantHolds(a, ann, api.MaxAmount, 0)
}

// ACCEPT S6
func TestDebit(t *testing.T) {
	a := given(t, gbp(1000))
	wantDone(t, debit(a, "ord_1", ann, gbp(400)))
	wantDone(t, debit(a, "ord_1", ann, gbp(400))) // told again
	wantHolds(a, ann, 600, 0)
	wantTooLow(t, "balance", debit(a, "ord_2", ann, gbp(601)).Refusal, gbp(600))
	wantTooLow(t, "balance", debit(a, "ord_3", bob, gbp(1)).Refusal, gbp(0))
	wantTooLow(t, "balance", debit(a, "ord_4", wallet.ShopIssued, gbp(1)).Refusal, gbp(0))
	euro := api.Money{Amount: 1, Currency: "EUR"}
	wantTooLow(t, "balance", debit(a, "ord_5", ann, euro).Refusal, api.Money{Currency: "EUR"})
	wantDone(t, debit(a, "ord_6", ann, gbp(600))) // the last penny
	wantHolds(a, ann, 0, 0)
	a.MustEdge("more", credit(ann, gbp(5000)))
	wantTooLow(t, "balance", debit(a, "ord_2", ann, gbp(601)).Refusal, gbp(600)) // the answer stays
	wantHolds(a, ann, 5000, 0)
	wantBalanced(a)
}

// ACCEPT S6
func TestDebitOfNoAmount(t *testing.T) {
	a := given(t, gbp(1000))
	a.MustEdge("points", credit(ann, points(70)))
	for i, amount := range []api.Money{gbp(0), gbp(-5), gbp(-1 << 63), gbp(api.MaxAmount + 1),
		points(5), {Amount: 5}} {
		r := debit(a, fmt.Sprintf("ord_%d", i), ann, amount)
		if r.Refusal == nil || r.Refusal.Code != api.CodeInvalid || r.Refusal.Place != "balance" {
			t.Errorf("%v: %v", amount, r.Refusal)
		}
	}
	wantHolds(a, ann, 1000, 70)
}

// ACCEPT S6 S8
func TestReturn(t *testing.T) {
	a := given(t, gbp(1000))
	wantDone(t, debit(a, "ord_1", ann, gbp(400)))
	wantDone(t, debit(a, "ord_2", ann, gbp(100)))
	a.Restart()
	giveBack(a, "ord_1")
	giveBack(a, "ord_1") // told again
	wantHolds(a, ann, 900, 0)
	late := debit(a, "ord_1", ann, gbp(400))
	if late.Refusal == nil || late.Refusal.Code != api.CodeUndone {
		t.Fatalf("a debit told after its return: %+v", late)
	}

	giveBack(a, "ord_3") // overtakes its debit
	late = debit(a, "ord_3", ann, gbp(1))
	if late.Refusal == nil || late.Refusal.Code != api.CodeUndone {
		t.Fatalf("a debit overtaken by its return: %+v", late)
	}

	wantTooLow(t, "balance", debit(a, "ord_4", ann, gbp(901)).Refusal, gbp(900))
	giveBack(a, "ord_4") // nothing was taken
	wantHolds(a, ann, 900, 0)
	wantBalanced(a)
}

// ACCEPT S6
// What an order took fits back into an account that was filled up meanwhile.
func TestReturnToFullAccount(t *testing.T) {
	a := given(t, gbp(api.MaxAmount))
	wantDone(t, debit(a, "ord_1", ann, gbp(400)))
	a.MustEdge("fill", credit(ann, gbp(400)))
	giveBack(a, "ord_1")
	wantHolds(a, ann, api.MaxAmount+400, 0)
	wantBalanced(a)
}

// ACCEPT S8
func TestOccurrencesAreApart(t *testing.T) {
	a := given(t, gbp(1000))
	for n, amount := range []int64{100, 30} {
		a.From("order", &api.Debit{Step: step("ord_1", n), User: ann, Amount: gbp(amount)})
	}
	a.From("order", &api.ReturnDebit{Step: step("ord_1", 1)})
	wantHolds(a, ann, 900, 0)
	wantBalanced(a)
}

// ACCEPT U3
func TestEntries(t *testing.T) {
	a := given(t, gbp(1000))
	a.MustEdge("points", credit(ann, points(70)))
	a.MustEdge("bob", credit(bob, gbp(1)))
	wantDone(t, debit(a, "ord_1", ann, gbp(400)))
	giveBack(a, "ord_1")
	type row struct {
		amount, balance     int64
		kind, order, reason string
	}
	want := []row{{400, 1000, "return", "ord_1", ""}, {-400, 600, "debit", "ord_1", ""},
		{1000, 1000, "credit", "", "goodwill"}}
	for _, limit := range []int{0, 1, 2, 3} {
		var got []row
		transfers := map[string]bool{}
		q := &api.ListWalletEntries{User: ann, Unit: "GBP", Page: api.Page{Limit: limit}}
		for _, e := range entries(a, q) {
			if e.Amount.Currency != "GBP" || e.Balance.Currency != "GBP" || e.At == 0 {
				t.Errorf("entry %+v", e)
			}
			transfers[e.Transfer] = true
			got = append(got, row{e.Amount.Amount, e.Balance.Amount, e.Kind, e.Order, e.Reason})
		}
		if !slices.Equal(got, want) || len(transfers) != 3 {
			t.Errorf("pages of %d: %+v (%d transfers)", limit, got, len(transfers))
		}
	}
	got := entries(a, &api.ListWalletEntries{User: ann, Unit: api.UnitPoint})
	if len(got) != 1 || got[0].Amount != points(70) {
		t.Errorf("points: %+v", got)
	}
	if got := entries(a, &api.ListWalletEntries{User: "usr_eve", Unit: "GBP"}); len(got) != 0 {
		t.Errorf("nobody's entries: %+v", got)
	}
}

func TestQueriesRefused(t *testing.T) {
	a := given(t, gbp(1))
	for _, c := range []struct {
		place string
		q     api.Query
	}{
		{"currency", &api.GetWallet{User: ann}},
		{"currency", &api.GetWallet{User: ann, Currency: api.UnitPoint}},
		{"unit", &api.ListWalletEntries{User: ann}},
		{"cursor", &api.ListWalletEntries{User: ann, Unit: "GBP", Page: api.Page{Cursor: "x"}}},
		{"cursor", &api.ListWalletEntries{User: ann, Unit: "GBP", Page: api.Page{Cursor: "0"}}},
	} {
		r := a.Ask(c.q, &struct{}{})
		if r == nil || r.Code != api.CodeInvalid || r.Place != c.place {
			t.Errorf("%+v: %v", c.q, r)
		}
	}
}

// ACCEPT U3 S6 S8
// After a random sequence of credits, debits and returns, told again and in
// any order, the ledger adds up and everyone holds what a sum in memory says.
func TestRandomTransfers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	a := given(t, gbp(300))
	users, held := []string{ann, bob, "usr_cid"}, map[string]map[string]int64{}
	for _, u := range users {
		held[u] = map[string]int64{}
	}
	held[ann]["GBP"] = 300
	const orders = 80
	var asked, got, undone [orders]bool
	for i := range 1000 {
		o := rnd.IntN(orders)
		order, user, amount := fmt.Sprintf("ord_%d", o), users[o%3], int64(o%7*20+10)
		switch rnd.IntN(4) {
		case 0:
			giveBack(a, order)
			if got[o] && !undone[o] {
				held[user]["GBP"] += amount
			}
			undone[o] = true
		case 1:
			unit, n := []string{"GBP", api.UnitPoint}[rnd.IntN(2)], int64(rnd.IntN(80)-35)
			r := a.Edge(fmt.Sprintf("credit-%d", i), credit(user, api.Money{Amount: n, Currency: unit}))
			if want := n != 0 && held[user][unit]+n >= 0; want != (r.Refusal == nil) {
				t.Fatalf("%s holds %d %s, credit of %d: %v", user, held[user][unit], unit, n, r.Refusal)
			} else if want {
				held[user][unit] += n
			}
		default:
			want := got[o] && !undone[o]
			if !asked[o] && !undone[o] {
				if want = held[user]["GBP"] >= amount; want {
					held[user]["GBP"] -= amount
				}
				got[o] = want
			}
			if r := debit(a, order, user, gbp(amount)); want != (r.Refusal == nil) {
				t.Fatalf("%s holds %v, debit of %d: %v", user, held[user], amount, r.Refusal)
			}
			asked[o] = true
		}
	}
	for _, u := range users {
		wantHolds(a, u, held[u]["GBP"], held[u][api.UnitPoint])
	}
	wantBalanced(a)
}

// ACCEPT U3
// The tables themselves refuse what no handler may do.
func TestTablesRefuse(t *testing.T) {
	a := given(t, gbp(100))
	wantDone(t, debit(a, "ord_1", ann, gbp(40)))
	db := open(a)
	const copied = `INSERT INTO entry (owner, unit, transfer, amount, balance, kind, order_id,
		occurrence, reason, at) SELECT owner, unit, `
	const from = `FROM entry WHERE order_id = 'ord_1'`
	if _, err := db.Exec(copied + `transfer, -40, 20, kind, 'ord_2', 0, '', at ` + from +
		` AND 1 = 0`); err != nil {
		t.Fatalf("the statements that follow are wrong: %v", err)
	}
	for _, statement := range []string{
		`UPDATE account SET balance = -1`,
		`UPDATE entry SET amount = amount + 1`,
		`DELETE FROM entry`,
		`INSERT INTO account (owner, unit, balance) VALUES ('shop:sales', 'GBP', 0)`,
		copied + `transfer, -90, -30, kind, 'ord_2', 0, '', at ` + from,          // below zero
		copied + `transfer, -40, 20, kind, order_id, occurrence, '', at ` + from, // the step again
		copied + `transfer, -40, NULL, kind, NULL, NULL, '', at ` + from,         // without a balance
	} {
		if _, err := db.Exec(statement); err == nil {
			t.Errorf("allowed: %s", statement)
		}
	}
	wantHolds(a, ann, 60, 0)
	wantBalanced(a)
}
