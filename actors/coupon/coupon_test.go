package coupon_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ordo/actors/actorstest"
	"ordo/actors/coupon"
	"ordo/api"
)

const ann, bob = "usr_ann", "usr_bob"

func gbp(n int64) api.Money { return api.Money{Amount: n, Currency: "GBP"} }

// id is the nth coupon id; ids of one moment sort by n here.
func id(n int) string { return fmt.Sprintf("cpn_01J%023d", n) }

// a coupon of Ann, 5.00 off 20.00 or more, valid for the day after Start.
func annsCoupon(n int) api.Coupon {
	return api.Coupon{ID: id(n), User: ann, Name: "Welcome", Amount: gbp(500), Minimum: gbp(2000),
		ValidFrom:  api.TimeOf(actorstest.Start),
		ValidUntil: api.TimeOf(actorstest.Start.Add(24 * time.Hour))}
}

func given(t *testing.T, coupons ...api.Coupon) *actorstest.Actor {
	t.Helper()
	a := actorstest.New(t, coupon.Spec())
	a.MustEdge("issue", &api.IssueCoupons{Coupons: coupons})
	return a
}

// A coupon says who issued it.
func TestIssuedBy(t *testing.T) {
	a := actorstest.New(t, coupon.Spec())
	c := annsCoupon(1)
	c.By = "usr_other" // only the message's counts
	a.MustEdge("issue", &api.IssueCoupons{Coupons: []api.Coupon{c}, By: "usr_9"})
	var list api.CouponList
	if r := a.Ask(&api.ListCoupons{User: ann}, &list); r != nil || len(list.Coupons) != 1 ||
		list.Coupons[0].By != "usr_9" {
		t.Errorf("%v, coupons %+v", r, list.Coupons)
	}
	r := a.Edge("bad", &api.IssueCoupons{Coupons: []api.Coupon{annsCoupon(2)},
		By: strings.Repeat("x", api.MaxBy+1)}).Refusal
	if r == nil || r.Code != api.CodeInvalid || r.Place != "by" {
		t.Errorf("refused with %v", r)
	}
}

func step(order string) api.Step { return api.Step{Order: order, Name: "coupon.redeem"} }

func redeem(a *actorstest.Actor, order, user, id string, subtotal api.Money) api.StepResult {
	a.T.Helper()
	a.From("order", &api.RedeemCoupon{Step: step(order), User: user, Coupon: id,
		Subtotal: subtotal})
	return answer(a, order)
}

func restore(a *actorstest.Actor, order string) {
	a.T.Helper()
	a.From("order", &api.RestoreCoupon{Step: step(order)})
	if r := answer(a, order); !r.Undo || r.Refusal != nil {
		a.T.Fatalf("restore answered %+v", r)
	}
}

func answer(a *actorstest.Actor, order string) api.StepResult {
	a.T.Helper()
	r := actorstest.Only[api.StepResult](a)
	if r.Step != step(order) {
		a.T.Fatalf("answer to %+v, want %+v", r.Step, step(order))
	}
	return r
}

func wantDiscount(t *testing.T, r api.StepResult, want api.Money) {
	t.Helper()
	var got api.Redeemed
	if r.Refusal != nil {
		t.Fatalf("refused: %v", r.Refusal)
	}
	if err := json.Unmarshal(r.Data, &got); err != nil || got.Discount != want {
		t.Fatalf("discount %v (%v), want %v", got.Discount, err, want)
	}
}

func wantRefused(t *testing.T, r api.StepResult, want api.Code) {
	t.Helper()
	if r.Refusal == nil || r.Refusal.Code != want {
		t.Fatalf("answered %+v, want refusal %s", r, want)
	}
}

// usedBy is the order that uses Ann's nth coupon, empty when it is open.
func usedBy(a *actorstest.Actor, n int) string {
	a.T.Helper()
	for _, c := range all(a, &api.ListCoupons{User: ann}) {
		if c.ID == id(n) {
			if (c.State == api.CouponUsed) != (c.Order != "") {
				a.T.Fatalf("state %s with order %q", c.State, c.Order)
			}
			return c.Order
		}
	}
	a.T.Fatalf("coupon %d is gone", n)
	return ""
}

// all reads every page of a list.
func all(a *actorstest.Actor, q *api.ListCoupons) (coupons []api.Coupon) {
	a.T.Helper()
	for range 1000 {
		var page api.CouponList
		if refusal := a.Ask(q, &page); refusal != nil {
			a.T.Fatalf("list: %v", refusal)
		}
		if page.Coupons == nil || len(page.Coupons) > q.Size() {
			a.T.Fatalf("page of %d coupons (nil: %t)", len(page.Coupons), page.Coupons == nil)
		}
		coupons = append(coupons, page.Coupons...)
		if q.Cursor = page.Next; q.Cursor == "" {
			return coupons
		}
	}
	a.T.Fatal("the list does not end")
	return nil
}

// ACCEPT S5
func TestRedeem(t *testing.T) {
	// The redeem is the second message and handled at Start + 2 ms.
	now := api.TimeOf(actorstest.Start).Add(2 * time.Millisecond)
	for _, c := range []struct {
		name     string
		change   func(c *api.Coupon)
		user, id string
		subtotal api.Money
		want     api.Code
		discount int64
	}{
		{name: "counts", discount: 500},
		{name: "minimum reached exactly", subtotal: gbp(2000), discount: 500},
		{name: "minimum missed by a penny", subtotal: gbp(1999), want: api.CodeCouponMinimum},
		{name: "never more than the goods", subtotal: gbp(300), discount: 300,
			change: func(c *api.Coupon) { c.Minimum = api.Money{} }},
		{name: "nothing off nothing", subtotal: gbp(0), discount: 0,
			change: func(c *api.Coupon) { c.Minimum = gbp(0) }},
		{name: "another user's", user: bob, want: api.CodeCouponUnknown},
		{name: "no such coupon", id: id(9), want: api.CodeCouponUnknown},
		{name: "other currency", subtotal: api.Money{Amount: 9000, Currency: "EUR"},
			want: api.CodeCouponNotValid},
		{name: "valid from now", discount: 500, change: func(c *api.Coupon) { c.ValidFrom = now }},
		{name: "valid from the next moment", want: api.CodeCouponNotValid,
			change: func(c *api.Coupon) { c.ValidFrom = now + 1 }},
		{name: "valid until the next moment", discount: 500,
			change: func(c *api.Coupon) { c.ValidUntil = now + 1 }},
		{name: "valid until now", want: api.CodeCouponNotValid,
			change: func(c *api.Coupon) { c.ValidUntil = now }},
		{name: "negative subtotal", subtotal: gbp(-1), want: api.CodeInvalid},
		{name: "absurd subtotal", subtotal: gbp(api.MaxAmount + 1), want: api.CodeInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			cp := annsCoupon(1)
			if c.change != nil {
				c.change(&cp)
			}
			if c.user == "" {
				c.user = ann
			}
			if c.id == "" {
				c.id = cp.ID
			}
			if c.subtotal == (api.Money{}) {
				c.subtotal = gbp(5000)
			}
			a := given(t, cp)
			r := redeem(a, "ord_1", c.user, c.id, c.subtotal)
			if c.want == "" {
				wantDiscount(t, r, gbp(c.discount))
				if by := usedBy(a, 1); by != "ord_1" {
					t.Fatalf("used by %q", by)
				}
				return
			}
			wantRefused(t, r, c.want)
			if by := usedBy(a, 1); by != "" {
				t.Fatalf("a refused coupon is used by %q", by)
			}
		})
	}
}

// ACCEPT S5
func TestUsedOnce(t *testing.T) {
	a := given(t, annsCoupon(1))
	wantDiscount(t, redeem(a, "ord_1", ann, id(1), gbp(5000)), gbp(500))
	wantRefused(t, redeem(a, "ord_2", ann, id(1), gbp(5000)), api.CodeCouponUsed)
	wantDiscount(t, redeem(a, "ord_1", ann, id(1), gbp(5000)), gbp(500))
	a.Restart()
	wantRefused(t, redeem(a, "ord_3", ann, id(1), gbp(5000)), api.CodeCouponUsed)

	restore(a, "ord_2") // was refused: opens nothing
	if by := usedBy(a, 1); by != "ord_1" {
		t.Fatalf("used by %q after another order's undo", by)
	}
	restore(a, "ord_1")
	wantDiscount(t, redeem(a, "ord_4", ann, id(1), gbp(5000)), gbp(500))
	restore(a, "ord_1") // told again: ord_4 keeps it
	if by := usedBy(a, 1); by != "ord_4" {
		t.Fatalf("used by %q after an undo told again", by)
	}
}

// ACCEPT S5 Y9
// The undo of an order that was paid, and then refunded as a whole, comes weeks
// after its do; partial refunds before it left the coupon alone.
func TestRestoreAfterRefund(t *testing.T) {
	long := annsCoupon(2)
	long.ValidUntil = long.ValidUntil.Add(30 * 24 * time.Hour)
	a := given(t, annsCoupon(1), long)
	wantDiscount(t, redeem(a, "ord_1", ann, id(1), gbp(5000)), gbp(500))
	wantDiscount(t, redeem(a, "ord_2", ann, id(2), gbp(5000)), gbp(500))
	a.Advance(20 * 24 * time.Hour)
	a.Restart()
	a.From("order", &api.RestoreCoupon{Step: api.Step{Order: "ord_2", Name: "coupon.redeem",
		Occurrence: 1}}) // no step of this order
	if by := usedBy(a, 2); by != "ord_2" {
		t.Fatalf("used by %q", by)
	}
	for range 2 { // told again
		restore(a, "ord_1")
		restore(a, "ord_2")
		if one, two := usedBy(a, 1), usedBy(a, 2); one != "" || two != "" {
			t.Fatalf("used by %q and %q", one, two)
		}
	}
	wantRefused(t, redeem(a, "ord_2", ann, id(2), gbp(5000)), api.CodeUndone)
	wantRefused(t, redeem(a, "ord_3", ann, id(1), gbp(5000)), api.CodeCouponNotValid) // too late
	wantDiscount(t, redeem(a, "ord_4", ann, id(2), gbp(5000)), gbp(500))
	restore(a, "ord_2") // told once more: ord_4 keeps it
	if by := usedBy(a, 2); by != "ord_4" {
		t.Fatalf("used by %q", by)
	}
}

// ACCEPT S8
func TestUndoBeforeDo(t *testing.T) {
	a := given(t, annsCoupon(1))
	restore(a, "ord_1")
	wantRefused(t, redeem(a, "ord_1", ann, id(1), gbp(5000)), api.CodeUndone)
	if by := usedBy(a, 1); by != "" {
		t.Fatalf("used by %q", by)
	}
	wantDiscount(t, redeem(a, "ord_2", ann, id(1), gbp(5000)), gbp(500))
}

// ACCEPT S5 S8
// Random dos and undos, told in any order and again, keep to the rule: a
// coupon is used by exactly the order whose do was done and not undone, and an
// order gets an open coupon when it asks for the first time.
func TestRandomSteps(t *testing.T) {
	const coupons, orders = 4, 60
	rnd := rand.New(rand.NewPCG(1, 2))
	var issued []api.Coupon
	for n := range coupons {
		issued = append(issued, annsCoupon(n))
	}
	a := given(t, issued...)
	var user [coupons]string            // who uses it
	var got, undone, asked [orders]bool // by order; order o asks for coupon o % coupons
	for range 800 {
		o := rnd.IntN(orders)
		order, n := fmt.Sprintf("ord_%d", o), o%coupons
		if rnd.IntN(3) == 0 {
			restore(a, order)
			if user[n] == order {
				user[n] = ""
			}
			undone[o] = true
			continue
		}
		want := got[o]
		if !asked[o] {
			want = user[n] == ""
		}
		want = want && !undone[o]
		r := redeem(a, order, ann, id(n), gbp(5000))
		if (r.Refusal == nil) != want {
			t.Fatalf("%s asked for coupon %d of %q: %v", order, n, user[n], r.Refusal)
		}
		if want {
			user[n] = order
		}
		asked[o], got[o] = true, want
	}
	for n := range coupons {
		if by := usedBy(a, n); by != user[n] {
			t.Errorf("coupon %d is used by %q, want %q", n, by, user[n])
		}
	}
}

func TestIssueRefused(t *testing.T) {
	set := func(change func(c *api.Coupon)) []api.Coupon {
		c := annsCoupon(3)
		change(&c)
		return []api.Coupon{annsCoupon(2), c}
	}
	for _, c := range []struct {
		place string
		code  api.Code
		list  []api.Coupon
	}{
		{"coupons", api.CodeInvalid, nil},
		{"coupons", api.CodeTooLarge, make([]api.Coupon, coupon.MaxIssue+1)},
		{"coupons[1].id", api.CodeIDReused, []api.Coupon{annsCoupon(2), annsCoupon(1)}},
		{"coupons[1].id", api.CodeIDReused,
			set(func(c *api.Coupon) { c.ID, c.User = id(1), bob })},
		{"coupons[1].id", api.CodeInvalid, []api.Coupon{annsCoupon(2), annsCoupon(2)}},
		{"coupons[1].id", api.CodeInvalid, set(func(c *api.Coupon) { c.ID = "cpn_1" })},
		{"coupons[1].user", api.CodeInvalid, set(func(c *api.Coupon) { c.User = "" })},
		{"coupons[1].user", api.CodeInvalid, set(func(c *api.Coupon) { c.User = "a\x00b" })},
		{"coupons[1].user", api.CodeInvalid,
			set(func(c *api.Coupon) { c.User = strings.Repeat("u", 65) })},
		{"coupons[1].name", api.CodeInvalid, set(func(c *api.Coupon) { c.Name = " " })},
		{"coupons[1].name", api.CodeInvalid, set(func(c *api.Coupon) { c.Name = "\x00x" })},
		{"coupons[1].name", api.CodeInvalid,
			set(func(c *api.Coupon) { c.Name = strings.Repeat("é", 101) })},
		{"coupons[1].amount.amount", api.CodeInvalid,
			set(func(c *api.Coupon) { c.Amount.Amount = 0 })},
		{"coupons[1].amount.amount", api.CodeInvalid,
			set(func(c *api.Coupon) { c.Amount.Amount = api.MaxAmount + 1 })},
		{"coupons[1].amount.currency", api.CodeInvalid,
			set(func(c *api.Coupon) { c.Amount.Currency = "gbp" })},
		{"coupons[1].minimum.amount", api.CodeInvalid,
			set(func(c *api.Coupon) { c.Minimum.Amount = -1 })},
		{"coupons[1].minimum.currency", api.CodeInvalid,
			set(func(c *api.Coupon) { c.Minimum.Currency = "EUR" })},
		{"coupons[1].valid_from", api.CodeInvalid,
			set(func(c *api.Coupon) { c.ValidFrom = -1 })},
		{"coupons[1].valid_until", api.CodeInvalid,
			set(func(c *api.Coupon) { c.ValidUntil = c.ValidFrom })},
	} {
		a := given(t, annsCoupon(1))
		r := a.Edge("bad", &api.IssueCoupons{Coupons: c.list}).Refusal
		if r == nil || r.Code != c.code || r.Place != c.place {
			t.Errorf("%s: %v, want %s", c.place, r, c.code)
		}
		if got := all(a, &api.ListCoupons{User: ann}); len(got) != 1 || len(a.Out.Dead) != 0 {
			t.Errorf("%s: %d coupons, %d dead letters", c.place, len(got), len(a.Out.Dead))
		}
	}
}

func TestIssueAsManyAsAllowed(t *testing.T) {
	var coupons []api.Coupon
	for n := range coupon.MaxIssue {
		c := annsCoupon(n)
		c.Name, c.State, c.Order = strings.Repeat("é", 100), api.CouponUsed, "ord_1"
		coupons = append(coupons, c)
	}
	a := given(t, coupons...)
	got := all(a, &api.ListCoupons{User: ann, Page: api.Page{Limit: api.MaxPage}})
	if len(got) != coupon.MaxIssue || got[0].State != api.CouponOpen || got[0].Order != "" {
		t.Fatalf("%d coupons, first %+v", len(got), got[0])
	}
}

// ACCEPT F2
func TestLists(t *testing.T) {
	var coupons []api.Coupon
	for n := range 9 {
		coupons = append(coupons, annsCoupon(n))
	}
	coupons[1].Amount = gbp(700)
	coupons[2].Amount = gbp(900)
	coupons[3].User = bob
	coupons[4].Minimum = gbp(5001)
	coupons[5].ValidFrom++
	coupons[6].ValidUntil = coupons[6].ValidFrom + 1
	coupons[7].Amount.Currency, coupons[7].Minimum.Currency = "EUR", "EUR"
	a := given(t, coupons...)
	wantDiscount(t, redeem(a, "ord_1", ann, id(2), gbp(5000)), gbp(900))

	subtotal, start := gbp(5000), api.TimeOf(actorstest.Start)
	for _, c := range []struct {
		name string
		q    api.ListCoupons
		want []int
	}{
		{"newest first", api.ListCoupons{User: ann}, []int{8, 7, 6, 5, 4, 2, 1, 0}},
		{"usable, largest first", api.ListCoupons{User: ann, UsableFor: &subtotal, At: start},
			[]int{1, 8, 6, 0}},
		{"usable later", api.ListCoupons{User: ann, UsableFor: &subtotal, At: start + 1},
			[]int{1, 8, 5, 0}},
		{"usable too late", api.ListCoupons{User: ann, UsableFor: &subtotal,
			At: start.Add(24 * time.Hour)}, nil},
		{"nobody's", api.ListCoupons{User: "usr_eve"}, nil},
	} {
		for _, limit := range []int{0, 1, 2, 3, 4} {
			q := c.q
			q.Limit = limit
			var got, want []string
			for _, cp := range all(a, &q) {
				got = append(got, cp.ID)
			}
			for _, n := range c.want {
				want = append(want, id(n))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, pages of %d: %v, want %v", c.name, limit, got, want)
			}
		}
	}
}

func TestListRefused(t *testing.T) {
	a := given(t, annsCoupon(1))
	subtotal, start := gbp(5000), api.TimeOf(actorstest.Start)
	for _, c := range []struct {
		place string
		q     api.ListCoupons
	}{
		{"cursor", api.ListCoupons{User: ann, Page: api.Page{Cursor: "x"}}},
		{"cursor", api.ListCoupons{User: ann, Page: api.Page{Cursor: "500." + id(1)}}},
		{"cursor", api.ListCoupons{User: ann, Page: api.Page{Cursor: id(1)},
			UsableFor: &subtotal, At: start}},
		{"cursor", api.ListCoupons{User: ann, Page: api.Page{Cursor: "1.x"},
			UsableFor: &subtotal, At: start}},
		{"at", api.ListCoupons{User: ann, UsableFor: &subtotal}},
	} {
		r := a.Ask(&c.q, &api.CouponList{})
		if r == nil || r.Code != api.CodeInvalid || r.Place != c.place {
			t.Errorf("%+v: %v", c.q, r)
		}
	}
}
