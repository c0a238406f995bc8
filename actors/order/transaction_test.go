package order_test

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/actors/order"
	"ordo/api"
)

func (b *bench) transactions(q api.ListTransactions) api.TransactionList {
	b.T.Helper()
	var list api.TransactionList
	if refusal := b.Ask(&q, &list); refusal != nil {
		b.T.Fatal(refusal)
	}
	return list
}

// listed are the ids that a list answers, page by page.
func (b *bench) listed(q api.ListTransactions) (ids []string) {
	b.T.Helper()
	for {
		list := b.transactions(q)
		for _, t := range list.Transactions {
			ids = append(ids, t.Order)
		}
		if q.Cursor = list.Next; q.Cursor == "" {
			return ids
		}
	}
}

// ACCEPT M7: orders are found by state, user, SKU, time, and by what they wait
// for.
func TestListTransactions(t *testing.T) {
	b := newBench(t)
	placed := b.placed()
	pending := b.draft()
	pending.User, pending.Lines[0].SKU = "usr_2", "boot"
	b.submit(pending)
	between := api.TimeOf(b.Now) + 1
	cancelled := b.placed()
	b.MustEdge("cancel", &api.CancelOrder{Order: cancelled.Order, By: "usr_1", Reason: "no"})
	now := api.TimeOf(b.Now)
	for _, c := range []struct {
		about string
		q     api.ListTransactions
		want  []*api.SubmitOrder
	}{
		{"all", api.ListTransactions{}, []*api.SubmitOrder{cancelled, pending, placed}},
		{"a state", api.ListTransactions{State: api.OrderPlaced}, []*api.SubmitOrder{placed}},
		{"a user", api.ListTransactions{User: "usr_1"}, []*api.SubmitOrder{cancelled, placed}},
		{"a SKU", api.ListTransactions{SKU: "boot"}, []*api.SubmitOrder{pending}},
		{"a SKU of another user", api.ListTransactions{SKU: "boot", User: "usr_1"}, nil},
		{"a SKU of many", api.ListTransactions{SKU: "hat", State: api.OrderClosing},
			[]*api.SubmitOrder{cancelled}},
		{"before", api.ListTransactions{Before: between}, []*api.SubmitOrder{pending, placed}},
		{"before all", api.ListTransactions{Before: 1}, nil},
		{"stuck", api.ListTransactions{Stuck: true, Now: now}, []*api.SubmitOrder{cancelled, pending}},
		{"stuck of a user", api.ListTransactions{Stuck: true, User: "usr_2"},
			[]*api.SubmitOrder{pending}},
		{"stuck with a SKU", api.ListTransactions{Stuck: true, SKU: "boot"},
			[]*api.SubmitOrder{pending}},
		{"stuck for long", api.ListTransactions{Stuck: true, Before: between},
			[]*api.SubmitOrder{pending}},
		{"overdue", api.ListTransactions{Stuck: true, Now: now.Add(17 * time.Minute)},
			[]*api.SubmitOrder{cancelled, pending, placed}},
	} {
		var want []string
		for _, m := range c.want {
			want = append(want, m.Order)
		}
		if c.q.Stuck { // by ids, which are those of tokens of one moment here, and then overdue ones
			late := want[min(len(want), 2):]
			want = want[:min(len(want), 2)]
			slices.Sort(want)
			slices.Reverse(want)
			want = append(want, late...)
		}
		if got := b.listed(c.q); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", c.about, got, want)
		}
		c.q.Limit = 1
		if got := b.listed(c.q); !slices.Equal(got, want) {
			t.Errorf("%s, one by one: got %q, want %q", c.about, got, want)
		}
	}
	first := b.transactions(api.ListTransactions{State: api.OrderClosing}).Transactions[0]
	if first.Reason == nil || first.Reason.Message != "no" || first.Total != gbp(2500) ||
		first.Due != gbp(2500) || len(first.Waits) != 1 || first.Waits[0].Verb != "close" ||
		first.Waits[0].Since() <= first.Waits[0].AskedAt {
		t.Errorf("the closing one is %+v", first)
	}
	if refusal := b.Ask(&api.ListTransactions{Page: api.Page{Cursor: "x"}},
		&api.TransactionList{}); refusal == nil || refusal.Place != "cursor" {
		t.Errorf("a bad cursor is answered with %v", refusal)
	}
	if refusal := b.Ask(&api.ListTransactions{Page: api.Page{Cursor: "late:1:x"}, Stuck: true,
		Now: now}, &api.TransactionList{}); refusal == nil || refusal.Place != "cursor" {
		t.Errorf("a bad cursor of overdue orders is answered with %v", refusal)
	}
}

// ACCEPT M7: however many orders are overdue, all of them are listed, each once,
// and after those with unanswered steps.
func TestManyOverdue(t *testing.T) {
	b := newBench(t)
	const total = 6000
	b.fill(total)
	late := b.rows(`SELECT count(*) FROM orders WHERE state = 'placed'`)
	stuck := b.rows(`SELECT count(*) FROM orders WHERE state = 'pending'`)
	if late < 1200 {
		t.Fatalf("only %d are overdue", late)
	}
	now := api.TimeOf(b.Now.Add(time.Hour))
	for _, limit := range []int{0, 7, api.MaxPage} {
		got := b.listed(api.ListTransactions{Page: api.Page{Limit: limit}, Stuck: true, Now: now})
		once := slices.Compact(slices.Sorted(slices.Values(got)))
		if len(got) != stuck+late || len(once) != len(got) {
			t.Errorf("by %d: %d are listed, %d of them once, want %d", limit, len(got), len(once),
				stuck+late)
		}
	}
	rare := api.ListTransactions{Stuck: true, Now: now, SKU: "sku-5991"}
	if got := b.listed(rare); !slices.Equal(got, []string{"ord_00005992"}) {
		t.Errorf("the last one: %q", got)
	}
	fresh := api.ListTransactions{Stuck: true, Now: now, Before: api.TimeOf(b.Now.Add(time.Minute))}
	if got := b.listed(fresh); len(got) != stuck {
		t.Errorf("%d are said to wait for as long, want %d", len(got), stuck)
	}
}

// Orders that were made again are numbered late, and listed by when they were
// submitted all the same.
func TestListOfRemadeOrders(t *testing.T) {
	b := newBench(t)
	old := b.placed()
	remake := func(created time.Time) string {
		id := api.NewID(api.PrefixOrder)
		var o api.Order
		if refusal := b.Ask(&api.GetOrder{ID: old.Order}, &o); refusal != nil {
			t.Fatal(refusal)
		}
		o.ID, o.Created = id, api.TimeOf(created)
		b.MustEdge("remake-"+id, &api.RemakeOrder{Order: o})
		return id
	}
	start := b.Now
	b.Advance(time.Hour)
	// Two in the middle of the numbers, where a search by halves looks first.
	first, second := remake(start.Add(-time.Hour)), remake(start.Add(30*time.Minute))
	young := b.draft()
	b.submit(young)
	last := remake(start.Add(time.Minute))
	for name, c := range map[string]struct {
		before time.Time
		want   []string
	}{
		"long ago":        {start.Add(-30 * time.Minute), []string{first}},
		"before the half": {start.Add(20 * time.Minute), []string{last, first, old.Order}},
		"before the last": {start.Add(50 * time.Minute), []string{last, second, first, old.Order}},
		"all": {b.Now.Add(time.Hour),
			[]string{last, young.Order, second, first, old.Order}},
	} {
		q := api.ListTransactions{Before: api.TimeOf(c.before)}
		for _, q.Limit = range []int{0, 1} {
			if got := b.listed(q); !slices.Equal(got, c.want) {
				t.Errorf("%s, by %d: got %q, want %q", name, q.Limit, got, c.want)
			}
		}
	}
}

// What no index has is looked for among so many orders at a time.
func TestListLooksAtSoMany(t *testing.T) {
	b := newBench(t)
	m := b.draft()
	m.Lines[0].SKU = "sku-0"
	b.submit(m)
	b.reserve(m)
	b.MustEdge("cancel", &api.CancelOrder{Order: m.Order, By: "usr_1", User: "usr_1"})
	b.fill(api.MaxExamined + 500)
	q := api.ListTransactions{SKU: "sku-0", State: api.OrderClosing}
	list := b.transactions(q)
	if len(list.Transactions) != 0 || list.Next == "" {
		t.Errorf("%d orders, next %q, want none and more", len(list.Transactions), list.Next)
	}
	if got := b.listed(q); !slices.Equal(got, []string{m.Order}) {
		t.Errorf("found %q", got)
	}
	late := api.ListTransactions{Stuck: true, Now: api.TimeOf(b.Now.Add(time.Hour)), User: "usr_1"}
	if got := b.listed(late); !slices.Equal(got, []string{m.Order}) {
		t.Errorf("stuck: %q", got)
	}
}

// ACCEPT M7: what is not answered is asked for again, and the journal keeps who
// wanted it.
func TestRetry(t *testing.T) {
	b := newBench(t)
	m := b.full()
	b.submit(m)
	b.reserve(m)
	again := &api.RetryOrder{Order: m.Order, By: "usr_9", Reason: " they were down "}
	b.MustEdge("retry-1", again)
	b.wantSent("coupon/redeem", "wallet/debit", "order.retried")
	e := actorstest.Events(b.Actor)[0]
	if want := string(api.Raw(&api.Intervention{By: "usr_9", Reason: "they were down",
		Steps: []string{"coupon.redeem", "wallet.debit"}})); e.Type != api.EventOrderRetried ||
		e.Order != m.Order || e.User != m.User || string(e.Data) != want {
		t.Errorf("event %s: %s", e.Type, e.Data)
	}
	// Both askings are answered; the second answer changes nothing.
	for range 2 {
		b.redeem(m)
		b.debit(m)
	}
	b.wantState(m, api.OrderPlaced)
	b.MustEdge("cancel", &api.CancelOrder{Order: m.Order, User: "usr_1", By: "usr_1"})
	b.MustEdge("retry-2", again)
	if c := actorstest.Only[api.ClosePayment](b.Actor); !c.AtOnce || !c.Again {
		t.Errorf("asked to close the payment with %+v", c)
	}
	b.closed(m)
	b.MustEdge("retry-3", again) // all three undos, the last step's first
	b.wantSent("wallet/return-debit", "coupon/restore", "goods/release", "order.retried")
	for _, step := range []string{"wallet.debit", "coupon.redeem", "goods.reserve"} {
		b.answer(undone(m, step))
	}
	for id, c := range map[string]struct {
		m    *api.RetryOrder
		code api.Code
	}{
		"nothing left":  {again, api.CodeNothingToRetry},
		"no such order": {&api.RetryOrder{Order: "ord_x", By: "a", Reason: "b"}, api.CodeNotFound},
		"nobody":        {&api.RetryOrder{Order: m.Order, Reason: "b"}, api.CodeInvalid},
		"no reason":     {&api.RetryOrder{Order: m.Order, By: "a", Reason: " "}, api.CodeInvalid},
	} {
		if r := b.Edge(strings.ReplaceAll(id, " ", "-"), c.m); r.Refusal == nil ||
			r.Refusal.Code != c.code {
			t.Errorf("%s: %v", id, r.Refusal)
		}
	}
}

// A refund's step is asked for again as the refund's.
func TestRetryOfARefund(t *testing.T) {
	b := newBench(t)
	m := b.placed()
	b.pay(m)
	b.answerAll(nil)
	refund := api.NewID(api.PrefixRefund)
	b.MustEdge("refund", &api.AskRefund{ID: refund, Order: m.Order, By: "usr_9", Reason: "torn"})
	b.answer(&api.StepResult{Step: api.Step{Order: m.Order, Name: "shipping.cancel", Occurrence: 1}})
	b.MustEdge("retry", &api.RetryOrder{Order: m.Order, By: "usr_9", Reason: "slow"})
	if p := actorstest.Only[api.RefundPayment](b.Actor); p.Refund != refund || p.Occurrence != 1 ||
		p.Amount != gbp(2500) || !p.Again {
		t.Errorf("asked for %+v", p)
	}
}

// A settling by a person is kept in the journal.
func TestSettleIsKept(t *testing.T) {
	b := newBench(t)
	m := b.placed()
	found := []api.FoundStep{{Name: "goods.reserve"}}
	b.MustEdge("settle", &api.SettleOrder{Order: m.Order, Found: found, By: "usr_9", Reason: "odd"})
	e := actorstest.Events(b.Actor)[0]
	if want := string(api.Raw(&api.Intervention{By: "usr_9", Reason: "odd", Found: found})); e.Type !=
		api.EventOrderSettled || string(e.Data) != want {
		t.Errorf("event %s: %s", e.Type, e.Data)
	}
	b.MustEdge("repair", &api.SettleOrder{Order: m.Order, Found: found})
	if all := actorstest.Events(b.Actor); len(all) != 0 {
		t.Errorf("a repair told %+v", all)
	}
}

func (b *bench) tally(q api.GetTally) api.Tally {
	b.T.Helper()
	var got api.Tally
	if refusal := b.Ask(&q, &got); refusal != nil {
		b.T.Fatal(refusal)
	}
	return got
}

// ACCEPT M7: every change of state is counted in its minute, once, and what is
// long ago still counts.
func TestTally(t *testing.T) {
	b := newBench(t)
	b.placed()
	m := b.placed()
	b.Advance(2 * time.Minute)
	b.pay(m)
	want := fmt.Sprint(api.Tally{States: map[string]int64{"placed": 1, "paid": 1},
		Minutes: []api.TallyMinute{
			{At: api.TimeOf(actorstest.Start), Entered: map[string]int64{"pending": 2, "placed": 2}},
			{At: api.TimeOf(actorstest.Start.Add(2 * time.Minute)),
				Entered: map[string]int64{"paid": 1}}}})
	if got := fmt.Sprint(b.tally(api.GetTally{Minutes: 5})); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := b.tally(api.GetTally{Minutes: 2}); len(got.Minutes) != 1 {
		t.Errorf("two minutes are %+v", got.Minutes)
	}
	b.Advance(30 * time.Hour) // the other one expires meanwhile, and all of it is folded
	b.Tick()
	b.Tick()
	now := api.TimeOf(b.Now)
	got := b.tally(api.GetTally{Minutes: api.MaxTally, Until: now})
	if fmt.Sprint(got.States) != fmt.Sprint(map[string]int64{"closing": 1, "paid": 1}) ||
		len(got.Minutes) != 1 {
		t.Errorf("after a day %+v", got)
	}
	if n := b.rows(`SELECT count(*) FROM tally WHERE minute > 0`); n != 1 {
		t.Errorf("%d minutes are kept", n)
	}
	if refusal := b.Ask(&api.GetTally{Minutes: api.MaxTally + 1}, &got); refusal == nil ||
		refusal.Place != "minutes" {
		t.Errorf("too many minutes are answered with %v", refusal)
	}
}

// sql opens the actor's file beside it.
func (b *bench) sql() *sql.DB {
	b.T.Helper()
	db, err := sql.Open("sqlite", "file:"+b.Path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		b.T.Fatal(err)
	}
	b.T.Cleanup(func() { _ = db.Close() })
	return db
}

func (b *bench) rows(query string) (n int) {
	b.T.Helper()
	if err := b.sql().QueryRow(query).Scan(&n); err != nil {
		b.T.Fatal(err)
	}
	return n
}

// fill puts orders into the file past the actor: each with three steps, every
// hundredth with one that is not answered.
func (b *bench) fill(n int) {
	b.T.Helper()
	db := b.sql()
	for _, query := range []string{`
		WITH RECURSIVE c (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM c WHERE i < $n)
		INSERT INTO orders (id, token, user, body_hash, state, deadline, expiry, currency, subtotal,
			discount, total, balance, coupon, pay_method, channel, from_cart, created, expires_at,
			paid_at, reason, address, lines)
		SELECT printf('ord_%08d', i), 'chk_' || i, 'usr_' || i, 'h', s,
			iif(s IN ('pending', 'placed'), $now + 900000000000, NULL), 900, 'GBP', 1000, 0, 1000, 0,
			'', 'alipay', 'web', 0, $now + i, 1, iif(s = 'paid', $now, 0),
			iif(s IN ('refused', 'cancelled'), '{"code":"timeout","message":"late"}', NULL), '{}',
			'[{"sku":"sku-0","price":{"amount":1000,"currency":"GBP"},"quantity":1}]'
		FROM (SELECT i, CASE WHEN i % 100 = 0 THEN 'pending' WHEN i % 10 < 3 THEN 'placed'
			WHEN i % 10 < 8 THEN 'paid' WHEN i % 10 = 8 THEN 'refused' ELSE 'cancelled' END AS s FROM c)`,
		`INSERT OR IGNORE INTO order_sku SELECT 'sku-0', n FROM orders`,
		`INSERT INTO order_sku SELECT 'sku-' || n, n FROM orders`,
		`INSERT INTO steps (order_id, name, occurrence, state, attempts, asked_at)
			SELECT id, 'goods.reserve', 0, iif(state = 'pending', 'asked', 'done'), 1, created
			FROM orders WHERE body_hash = 'h'`,
		`INSERT INTO steps (order_id, name, occurrence, state, attempts, asked_at)
			SELECT id, 'payment.collect', 0, iif(state = 'placed', 'asked', 'done'), 1, created
			FROM orders WHERE body_hash = 'h' AND state <> 'pending'`,
		`INSERT INTO tally SELECT 28000000 + n % 1500, '', state, count(*) FROM orders GROUP BY 1, 3`,
	} {
		query = strings.NewReplacer("$now", fmt.Sprint(int64(api.TimeOf(b.Now))), "$n",
			fmt.Sprint(n)).Replace(query)
		if _, err := db.Exec(query); err != nil {
			b.T.Fatalf("%s: %v", query, err)
		}
	}
}

// No list reads the table of orders, or of steps, from one end to the other.
func TestListsDoNotScan(t *testing.T) {
	b := newBench(t)
	db := b.sql()
	for name, query := range order.ListQueries {
		args := strings.Count(query, "?")
		for n := range args {
			if strings.Contains(query, fmt.Sprint("?", n+1)) {
				args = n + 1 // numbered ones are used more than once
			}
		}
		rows, err := db.Query("EXPLAIN QUERY PLAN "+query, make([]any, args)...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, detail)
			if strings.HasPrefix(detail, "SCAN") && !strings.Contains(detail, "tally") &&
				!strings.HasPrefix(detail, "SCAN (") || strings.Contains(detail, "ORDER BY") &&
				!strings.Contains(name, "tally") && name != "minutes" && name != "remade" {
				t.Errorf("%s: %s", name, detail)
			}
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
		t.Log(name, plan)
	}
}

// A file that the version before has written gets the tables, filled from its
// orders.
func TestUpgrade(t *testing.T) {
	b := newBench(t)
	m := b.placed()
	other := b.placed()
	b.MustEdge("cancel", &api.CancelOrder{Order: other.Order, User: "usr_1", By: "usr_1"})
	if err := b.Engine.Close(); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{`DROP INDEX steps_open`, `ALTER TABLE steps DROP COLUMN undo_at`,
		`DROP TABLE order_sku`, `DROP TABLE tally`, `DELETE FROM _order_version WHERE version_id = 2`} {
		if _, err := b.sql().Exec(query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	e, err := actors.OpenEngine(t.Context(), order.Spec(), b.Path)
	if err != nil {
		t.Fatal(err)
	}
	b.Engine = e
	if got := b.tally(api.GetTally{Minutes: 5}); fmt.Sprint(got.States) !=
		fmt.Sprint(map[string]int64{"placed": 1, "closing": 1}) || len(got.Minutes) != 0 {
		t.Errorf("tally %+v", got)
	}
	if got := b.listed(api.ListTransactions{SKU: "hat"}); !slices.Equal(got,
		[]string{other.Order, m.Order}) {
		t.Errorf("orders with a hat: %q", got)
	}
	if got := b.listed(api.ListTransactions{Stuck: true}); !slices.Equal(got, []string{other.Order}) {
		t.Errorf("stuck: %q", got)
	}
	b.pay(m)
	if got := b.tally(api.GetTally{}); got.States["paid"] != 1 || got.States["placed"] != 0 {
		t.Errorf("tally %+v", got)
	}
}

// BenchmarkTransactions asks for lists and tallies in a file with 100,000 orders.
func BenchmarkTransactions(t *testing.B) {
	b := newBench(t)
	b.fill(100_000)
	now := api.TimeOf(b.Now).Add(time.Hour)
	page := api.Page{Limit: api.MaxPage}
	for _, c := range []struct {
		name string
		q    api.Query
	}{
		{"all", &api.ListTransactions{Page: page}},
		{"before", &api.ListTransactions{Page: page, Before: api.TimeOf(b.Now).Add(50_000)}},
		{"state", &api.ListTransactions{Page: page, State: api.OrderRefused}},
		{"user", &api.ListTransactions{Page: page, User: "usr_77"}},
		{"sku", &api.ListTransactions{Page: page, SKU: "sku-77"}},
		{"sku-of-all", &api.ListTransactions{Page: page, SKU: "sku-0"}},
		{"sku-and-rare-state", &api.ListTransactions{Page: page, SKU: "sku-0", State: api.OrderClosing}},
		{"sku-and-user", &api.ListTransactions{Page: page, SKU: "sku-0", User: "usr_77"}},
		{"stuck", &api.ListTransactions{Page: page, Stuck: true, Now: now}},
		{"stuck-overdue", &api.ListTransactions{Page: page, Stuck: true, Now: now.Add(time.Hour)}},
		{"stuck-rare", &api.ListTransactions{Page: page, Stuck: true, State: api.OrderClosing,
			Now: now.Add(time.Hour)}},
		{"tally", &api.GetTally{Minutes: api.MaxTally}},
	} {
		t.Run(c.name, func(t *testing.B) {
			for t.Loop() {
				if _, err := b.Engine.Ask(c.q.Endpoint().Verb, api.Raw(c.q)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
