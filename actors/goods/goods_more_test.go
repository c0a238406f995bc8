package goods_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/actors/goods"
	"ordo/api"
	"ordo/bus"
)

func line(id string, quantity, price int64) api.ReserveLine {
	return api.ReserveLine{SKU: id, Quantity: quantity, Price: gbp(price)}
}

func reserveStep(order string) api.Step { return api.Step{Order: order, Name: "goods.reserve"} }

func reserve(order string, lines ...api.ReserveLine) *api.ReserveStock {
	return &api.ReserveStock{Step: reserveStep(order), User: "usr_1", Lines: lines}
}

func release(order string) *api.ReleaseStock {
	return &api.ReleaseStock{Step: reserveStep(order)}
}

func sell(order string) *api.SellStock {
	return &api.SellStock{Step: api.Step{Order: order, Name: "goods.sell"}}
}

// tell has the order actor say something and is the answer to it.
func tell(a *actorstest.Actor, m api.Message) api.StepResult {
	a.T.Helper()
	a.From("order", m)
	if len(a.Out.Dead) > 0 {
		a.T.Fatalf("%T became a dead letter", m)
	}
	return actorstest.Only[api.StepResult](a)
}

// done is tell for what must not be refused.
func done(a *actorstest.Actor, m api.Message) api.StepResult {
	a.T.Helper()
	r := tell(a, m)
	if r.Refusal != nil {
		a.T.Fatalf("%T was refused: %v", m, r.Refusal)
	}
	return r
}

// refused is tell for what must be refused with a code.
func refused(a *actorstest.Actor, code api.Code, m api.Message) *api.Error {
	a.T.Helper()
	r := tell(a, m)
	if r.Refusal == nil || r.Refusal.Code != code {
		a.T.Fatalf("%T: got refusal %v, want %s", m, r.Refusal, code)
	}
	return r.Refusal
}

// wantData checks the data of a refusal.
func wantData[D any](t testing.TB, r *api.Error, want D) {
	t.Helper()
	var got D
	if r == nil || json.Unmarshal(r.Data, &got) != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v with %+v, want %+v", r, got, want)
	}
}

// ACCEPT C4 C7
func TestReserveLocksAndShowsTheLines(t *testing.T) {
	a := shop(t)
	r := done(a, reserve("o1", line("shirt-m", 2, 1999), line("mug-1", 1, 850),
		line("shirt-m", 1, 1999)))
	if r.Step != reserveStep("o1") || r.Undo {
		t.Errorf("answered %+v", r)
	}
	var got api.Reserved
	if err := json.Unmarshal(r.Data, &got); err != nil {
		t.Fatal(err)
	}
	m := shirt().SKUs[0]
	one := api.LineSnapshot{SKU: "shirt-m", Product: "shirt", Name: m.Name, Options: m.Options,
		Picture: m.Picture, Price: gbp(1999), Quantity: 2}
	three := one
	three.Quantity = 1
	want := api.Reserved{Lines: []api.LineSnapshot{one,
		{SKU: "mug-1", Product: "mug", Name: "The mug-1", Price: gbp(850), Quantity: 1}, three}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	wantStock(a, "shirt-m", 5, 3)
	wantStock(a, "mug-1", 10, 1)
	rows := ledger(a, "shirt-m")
	if len(rows) != 2 || rows[0].Kind != api.LedgerLock || rows[0].Locked != 3 ||
		rows[0].Stock != 0 || rows[0].Cause != "o1" {
		t.Errorf("ledger %+v", rows)
	}
}

// ACCEPT C4 P2
func TestLastUnitIsSoldOnce(t *testing.T) {
	a := shop(t)
	var in []actors.Delivery
	for i := range 50 { // one batch, so that all see the same commit
		m := reserve(fmt.Sprint("o", i), line("shirt-l", 1, 2099))
		in = append(in, actors.Delivery{Subject: bus.MailboxSubject("goods", "reserve"),
			ID: a.ChannelID("order", int64(i+1)), Body: api.Raw(m)})
	}
	a.Apply(in...)
	locked := 0
	for _, r := range actorstest.Sent[api.StepResult](a) {
		if r.Refusal == nil {
			locked++
		} else {
			wantData(t, r.Refusal, []api.Shortage{{SKU: "shirt-l", Wanted: 1, Left: 0}})
		}
	}
	if locked != 3 {
		t.Errorf("%d orders got one of 3 units", locked)
	}
	wantStock(a, "shirt-l", 3, 3)
	ledger(a, "shirt-l")
}

// ACCEPT C4
func TestLinesOfOneSKUCountTogether(t *testing.T) {
	a := shop(t)
	r := refused(a, api.CodeOutOfStock,
		reserve("o1", line("shirt-l", 2, 2099), line("mug-1", 1, 850), line("shirt-l", 2, 2099)))
	wantData(t, r, []api.Shortage{{SKU: "shirt-l", Wanted: 4, Left: 3}})
	done(a, reserve("o2", line("shirt-l", 2, 2099), line("shirt-l", 1, 2099)))
	wantStock(a, "shirt-l", 3, 3)
	wantStock(a, "mug-1", 10, 0)
}

// ACCEPT C5
func TestRefusalNamesEveryShortSKUAndLocksNone(t *testing.T) {
	a := shop(t)
	done(a, reserve("o1", line("shirt-m", 1, 1999)))
	r := refused(a, api.CodeOutOfStock, reserve("o2", line("mug-1", 10, 850),
		line("shirt-m", 5, 1999), line("shirt-l", 9, 2099)))
	wantData(t, r, []api.Shortage{{SKU: "shirt-m", Wanted: 5, Left: 4},
		{SKU: "shirt-l", Wanted: 9, Left: 3}})
	wantStock(a, "mug-1", 10, 0)
	wantStock(a, "shirt-m", 5, 1)
}

// ACCEPT S3
func TestChangedPricesAreNamed(t *testing.T) {
	a := shop(t)
	eur := api.Money{Amount: 850, Currency: "EUR"}
	r := refused(a, api.CodePriceChanged, reserve("o1", line("shirt-m", 1, 1),
		line("shirt-l", 1, 2099), api.ReserveLine{SKU: "mug-1", Quantity: 1, Price: eur}))
	wantData(t, r, []api.PriceChange{{SKU: "shirt-m", Seen: gbp(1), Now: gbp(1999)},
		{SKU: "mug-1", Seen: eur, Now: gbp(850)}})
	wantStock(a, "shirt-l", 3, 0)
}

func TestFirstKindOfRefusalWins(t *testing.T) {
	a := shop(t)
	p := shirt()
	p.SKUs[0].OffSale = true
	p.SKUs[1].MaxPerOrder = 4
	put(a, p)
	none, off := line("none", 1, 1), line("shirt-m", 1, 1999)
	price, limit, short := line("mug-1", 1, 1), line("shirt-l", 5, 2099), line("mug-1", 11, 850)
	wantData(t, refused(a, api.CodeUnknownSKU, reserve("o1", short, limit, price, off, none)),
		[]string{"shirt-m", "none"})
	refused(a, api.CodePriceChanged, reserve("o2", short, limit, price))
	wantData(t, refused(a, api.CodeLimitExceeded, reserve("o3", short, limit)),
		[]api.Shortage{{SKU: "shirt-l", Wanted: 5, Left: 4}})
	wantData(t, refused(a, api.CodeOutOfStock, reserve("o4", short, line("shirt-l", 4, 2099))),
		[]api.Shortage{{SKU: "mug-1", Wanted: 11, Left: 10}, {SKU: "shirt-l", Wanted: 4, Left: 3}})
}

// ACCEPT C9
func TestLimitPerOrder(t *testing.T) {
	a := shop(t)
	mug := sku("mug-1", 850, 0)
	mug.MaxPerOrder = 2
	put(a, api.Product{ID: "mug", Name: "Mug", SKUs: []api.SKU{mug}})
	r := refused(a, api.CodeLimitExceeded, reserve("o1", line("mug-1", 1, 850),
		line("mug-1", 2, 850)))
	wantData(t, r, []api.Shortage{{SKU: "mug-1", Wanted: 3, Left: 2}})
	done(a, reserve("o2", line("mug-1", 2, 850)))
	done(a, reserve("o3", line("mug-1", 1, 850), line("mug-1", 1, 850)))
	wantStock(a, "mug-1", 10, 4)
}

// ACCEPT C9
func TestLimitPerUser(t *testing.T) {
	a := shop(t)
	limit := func(n int64) {
		mug := sku("mug-1", 850, 0)
		mug.MaxPerUser = n
		put(a, api.Product{ID: "mug", Name: "Mug", SKUs: []api.SKU{mug}})
	}
	left := func(order string, want int64) {
		t.Helper()
		r := refused(a, api.CodeLimitExceeded, reserve(order, line("mug-1", want+1, 850)))
		wantData(t, r, []api.Shortage{{SKU: "mug-1", Wanted: want + 1, Left: want}})
	}
	done(a, reserve("o0", line("mug-1", 1, 850))) // before there is a limit
	limit(3)
	done(a, reserve("o1", line("mug-1", 2, 850)))
	left("o2", 1)
	done(a, sell("o1")) // bought ones count as well
	left("o3", 1)
	done(a, reserve("o4", line("mug-1", 1, 850)))
	left("o5", 0)
	done(a, release("o4")) // given back
	left("o6", 1)
	done(a, release("o0")) // never counted
	left("o7", 1)
	done(a, release("o1")) // sold ones stay bought
	left("o8", 1)

	done(a, reserve("o9", line("mug-1", 1, 850)))
	limit(0)
	done(a, release("o9")) // counted, though there is no limit any more
	limit(2)
	left("o10", 0)
	other := reserve("o11", line("mug-1", 2, 850))
	other.User = "usr_2"
	done(a, other)
	wantStock(a, "mug-1", 8, 2)
	ledger(a, "mug-1")
}

// ACCEPT S8
func TestReserveToldTwiceLocksOnce(t *testing.T) {
	a := shop(t)
	first := done(a, reserve("o1", line("mug-1", 2, 850)))
	put(a, api.Product{ID: "mug", Name: "Mug", SKUs: []api.SKU{sku("mug-1", 900, 0)}})
	again := done(a, reserve("o1", line("mug-1", 2, 850)))
	if !reflect.DeepEqual(first, again) {
		t.Errorf("first %+v\nagain %+v", first, again)
	}
	wantStock(a, "mug-1", 10, 2)
	refused(a, api.CodeOutOfStock, reserve("o2", line("mug-1", 9, 900)))
	a.MustEdge("more", &api.ReceiveStock{SKU: "mug-1", Quantity: 5})
	refused(a, api.CodeOutOfStock, reserve("o2", line("mug-1", 9, 900)))
	wantStock(a, "mug-1", 15, 2)
}

// ACCEPT S8
func TestReleaseGivesBackOnce(t *testing.T) {
	a := shop(t)
	done(a, reserve("o1", line("mug-1", 2, 850), line("shirt-m", 5, 1999)))
	done(a, reserve("o2", line("mug-1", 3, 850)))
	for range 2 {
		if r := done(a, release("o1")); !r.Undo || r.Step != reserveStep("o1") {
			t.Errorf("answered %+v", r)
		}
		wantStock(a, "mug-1", 10, 3)
		wantStock(a, "shirt-m", 5, 0)
	}
	refused(a, api.CodeUndone, reserve("o1", line("mug-1", 2, 850)))
	rows := ledger(a, "shirt-m")
	if len(rows) != 3 || rows[0].Kind != api.LedgerUnlock || rows[0].Cause != "o1" {
		t.Errorf("ledger %+v", rows)
	}
}

// ACCEPT S8
func TestReleaseBeforeReserveAndOfNothing(t *testing.T) {
	a := shop(t)
	done(a, release("o1"))
	refused(a, api.CodeUndone, reserve("o1", line("mug-1", 2, 850)))
	refused(a, api.CodeOutOfStock, reserve("o2", line("mug-1", 11, 850)))
	done(a, release("o2"))
	done(a, release("o2"))
	refused(a, api.CodeUndone, reserve("o2", line("mug-1", 1, 850)))
	wantStock(a, "mug-1", 10, 0)
	if rows := ledger(a, "mug-1"); len(rows) != 1 {
		t.Errorf("ledger %+v", rows)
	}
}

// ACCEPT C7 S8
func TestSellTakesLockedUnitsOnce(t *testing.T) {
	a := shop(t)
	done(a, reserve("o1", line("mug-1", 2, 850), line("shirt-m", 5, 1999)))
	done(a, reserve("o2", line("mug-1", 3, 850)))
	done(a, sell("o1"))
	done(a, sell("o1"))
	a.Restart()
	if r := done(a, release("o1")); !r.Undo { // late, and harmless
		t.Errorf("answered %+v", r)
	}
	done(a, sell("o1"))
	wantStock(a, "mug-1", 8, 3)
	wantStock(a, "shirt-m", 0, 0)
	rows := ledger(a, "shirt-m")
	if len(rows) != 3 || rows[0].Kind != api.LedgerSell || rows[0].Stock != -5 ||
		rows[0].Locked != -5 || rows[0].Cause != "o1" {
		t.Errorf("ledger %+v", rows)
	}
}

func TestSellOfNothingIsRefused(t *testing.T) {
	a := shop(t)
	refused(a, api.CodeNotFound, sell("o1"))
	done(a, reserve("o2", line("mug-1", 2, 850)))
	done(a, release("o2"))
	refused(a, api.CodeNotFound, sell("o2"))
	wantStock(a, "mug-1", 10, 0)
}

func TestReserveRefusesBadInput(t *testing.T) {
	good := line("mug-1", 1, 850)
	cases := []struct {
		place string
		user  string
		lines []api.ReserveLine
	}{
		{"user", "", []api.ReserveLine{good}},
		{"user", strings.Repeat("u", 65), []api.ReserveLine{good}},
		{"lines", "u", nil},
		{"lines[1].sku", "u", []api.ReserveLine{good, line("", 1, 1)}},
		{"lines[1].sku", "u", []api.ReserveLine{good, line("\xff", 1, 1)}},
		{"lines[1].quantity", "u", []api.ReserveLine{good, line("mug-1", 0, 850)}},
		{"lines[1].quantity", "u", []api.ReserveLine{good, line("mug-1", -1, 850)}},
		{"lines[1].quantity", "u", []api.ReserveLine{good, line("mug-1", 1<<62, 850)}},
		{"lines[1].price", "u", []api.ReserveLine{good, line("mug-1", 1, -1)}},
		{"lines[1].price", "u", []api.ReserveLine{good, {SKU: "mug-1", Quantity: 1}}},
	}
	a := shop(t)
	for i, c := range cases {
		m := reserve(fmt.Sprint("o", i), c.lines...)
		m.User = c.user
		if r := refused(a, api.CodeInvalid, m); r.Place != c.place {
			t.Errorf("case %d: got %v, want a refusal at %s", i, r, c.place)
		}
	}
	m := reserve("many", make([]api.ReserveLine, api.MaxLines+1)...)
	refused(a, api.CodeTooLarge, m)
	wantStock(a, "mug-1", 10, 0)
}

// bulk makes n SKUs in products of 500 and is a reservation of all of them.
func bulk(a *actorstest.Actor, n int, picture string) *api.ReserveStock {
	a.T.Helper()
	m := reserve("bulk")
	for i := 0; i < n; i += 500 {
		p := api.Product{ID: fmt.Sprint("bulk-", i), Name: "Bulk"}
		for j := i; j < min(n, i+500); j++ {
			s := sku(fmt.Sprintf("bulk-sku-%04d", j), 1999, 2)
			s.Picture = picture
			p.SKUs = append(p.SKUs, s)
			m.Lines = append(m.Lines, line(s.ID, 2, 1999))
		}
		put(a, p)
	}
	return m
}

// ACCEPT C5
func TestReserveOf2000Lines(t *testing.T) {
	a := shop(t)
	m := bulk(a, 2000, "https://pictures.example/1234.jpg")
	var got api.Reserved
	if err := json.Unmarshal(done(a, m).Data, &got); err != nil || len(got.Lines) != 2000 {
		t.Fatalf("%d lines, %v", len(got.Lines), err)
	}
	wantStock(a, "bulk-sku-1999", 2, 2)
	m.Order = "again"
	var short []api.Shortage
	r := refused(a, api.CodeOutOfStock, m)
	if err := json.Unmarshal(r.Data, &short); err != nil || len(short) != 2000 {
		t.Errorf("%d short, %v", len(short), err)
	}
	done(a, release("bulk"))
	wantStock(a, "bulk-sku-0000", 2, 0)
	wantStock(a, "bulk-sku-1999", 2, 0)
}

func TestReserveRefusesLinesThatFillAMessage(t *testing.T) {
	a := shop(t)
	m := bulk(a, 2000, "/"+strings.Repeat("p", 400))
	refused(a, api.CodeTooLarge, m)
	wantStock(a, "bulk-sku-0000", 2, 0)
}

// model is what the stock should be, kept in the plainest way.
type model struct {
	units map[string]int64
	holds map[string]map[string]int64 // by order, nil when closed
	sold  map[string]bool
	gone  map[string]bool
	asked map[string]bool // to sell
}

func (m *model) locked(id string) (n int64) {
	for _, h := range m.holds {
		n += h[id]
	}
	return n
}

// reserve tells whether the lines can be locked, and does it.
func (m *model) reserve(order string, lines []api.ReserveLine) bool {
	if m.holds[order] != nil || m.sold[order] {
		return !m.gone[order]
	}
	hold := map[string]int64{}
	for _, l := range lines {
		hold[l.SKU] += l.Quantity
	}
	for id, n := range hold {
		if m.units[id]-m.locked(id) < n {
			m.gone[order] = true // a refusal is for good
		}
	}
	if m.gone[order] {
		return false
	}
	m.holds[order] = hold
	return true
}

func (m *model) sell(order string) {
	if m.asked[order] {
		return // its answer is for good
	}
	m.asked[order] = true
	for id, n := range m.holds[order] {
		m.units[id] -= n
		m.sold[order] = true
	}
	delete(m.holds, order)
}

// ACCEPT C4 C5 C7 S8
func TestRandomHistoriesAddUp(t *testing.T) {
	ids := []string{"a", "b", "c"}
	for seed := range uint64(5) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		a := actorstest.New(t, goods.Spec())
		m := model{map[string]int64{}, map[string]map[string]int64{}, map[string]bool{},
			map[string]bool{}, map[string]bool{}}
		p := api.Product{ID: "p", Name: "P"}
		for _, id := range ids {
			p.SKUs = append(p.SKUs, sku(id, 5, 20))
			m.units[id] = 20
		}
		put(a, p)
		for i := range 200 {
			order, id := fmt.Sprint("o", rnd.IntN(60)), ids[rnd.IntN(3)]
			switch rnd.IntN(6) {
			case 0, 1, 2:
				var lines []api.ReserveLine
				for range 1 + rnd.IntN(4) {
					lines = append(lines, line(ids[rnd.IntN(3)], 1+rnd.Int64N(4), 5))
				}
				if r, ok := tell(a, reserve(order, lines...)), m.reserve(order, lines); (r.Refusal ==
					nil) != ok {
					t.Fatalf("seed %d, step %d: refusal %v, want done %v", seed, i, r.Refusal, ok)
				}
			case 3:
				done(a, release(order))
				delete(m.holds, order)
				m.gone[order] = true
			case 4:
				tell(a, sell(order))
				m.sell(order)
			case 5:
				a.MustEdge(fmt.Sprint("rcv", i), &api.ReceiveStock{SKU: id, Quantity: 3})
				m.units[id] += 3
			}
			for _, id := range ids {
				wantStock(a, id, m.units[id], m.locked(id))
			}
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, i)
			}
		}
		for _, id := range ids {
			ledger(a, id)
		}
	}
}
