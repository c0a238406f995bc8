package shipping_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ordo/actors/actorstest"
	"ordo/actors/shipping"
	"ordo/api"
)

const ann = "usr_ann"

var home = api.Address{ID: "adr_1", Name: "Ann Lee", Phone: "+44 20 7946 0000",
	Lines: []string{"1 High Street"}, City: "Leeds", Postcode: "LS1", Country: "GB"}

func line(sku string, quantity int64) api.ShipLine {
	return api.ShipLine{SKU: sku, Name: "The " + sku, Quantity: quantity}
}

func take(sku string, quantity int64) api.CartTake {
	return api.CartTake{SKU: sku, Quantity: quantity}
}

func given(t *testing.T) *actorstest.Actor {
	t.Helper()
	return actorstest.New(t, shipping.Spec())
}

// create has lines shipped, by default a mug and two shirts.
func create(a *actorstest.Actor, order string, lines ...api.ShipLine) {
	a.T.Helper()
	if lines == nil {
		lines = []api.ShipLine{line("mug", 1), line("shirt", 2)}
	}
	s := api.Step{Order: order, Name: "shipping.create"}
	a.From("order", &api.CreateShipment{Step: s, User: ann, Address: home, Lines: lines})
	wantAnswer(a, s)
}

func cancel(a *actorstest.Actor, order string, occurrence int, units ...api.CartTake) {
	a.T.Helper()
	s := api.Step{Order: order, Name: "shipping.cancel", Occurrence: occurrence}
	m := &api.CancelShipment{Step: s}
	for _, u := range units {
		m.Lines = append(m.Lines, api.RecallLine{SKU: u.SKU, Quantity: u.Quantity})
	}
	a.From("order", m)
	wantAnswer(a, s)
}

func wantAnswer(a *actorstest.Actor, s api.Step) {
	a.T.Helper()
	if r := actorstest.Only[api.StepResult](a); r.Step != s || r.Undo || r.Refusal != nil {
		a.T.Fatalf("answer %+v to step %+v", r, s)
	}
}

func dispatch(order string) *api.Ship {
	return &api.Ship{Order: order, Carrier: "Royal Mail", Tracking: "RM1", By: "usr_support"}
}

// shipment is the order's shipment as its owner sees it.
func shipment(a *actorstest.Actor, order string) (s api.Shipment) {
	a.T.Helper()
	if r := a.Ask(&api.GetShipment{Order: order, User: ann}, &s); r != nil {
		a.T.Fatal(r)
	}
	return s
}

func wantState(a *actorstest.Actor, order, state string, lines ...api.ShipLine) {
	a.T.Helper()
	if s := shipment(a, order); s.State != state || !slices.Equal(s.Lines, lines) {
		a.T.Errorf("shipment of %s is %s with %+v, want %s with %+v", order, s.State, s.Lines,
			state, lines)
	}
}

// wantTold checks the events of the last message, each "type order", that they
// tell the shipment as it is now, and that the address is not in them.
func wantTold(a *actorstest.Actor, want ...string) {
	a.T.Helper()
	var got []string
	for _, e := range actorstest.Events(a) {
		got = append(got, e.Type+" "+e.Order)
		if strings.Contains(string(e.Data), "address") || strings.Contains(string(e.Data), "Leeds") {
			a.T.Errorf("the event tells the address: %s", e.Data)
		}
		var told api.Shipment
		if err := json.Unmarshal(e.Data, &told); err != nil {
			a.T.Fatal(err)
		}
		now := shipment(a, e.Order)
		now.Address = api.Address{}
		if e.User != ann || !reflect.DeepEqual(told, now) || "shipping."+told.State != e.Type {
			a.T.Errorf("event %s of %s tells %+v, want %+v", e.Type, e.User, told, now)
		}
	}
	if !slices.Equal(got, want) {
		a.T.Errorf("told %q, want %q", got, want)
	}
}

// outcome is the Shipment that an edge message answered.
func outcome(a *actorstest.Actor, r api.Result) (s api.Shipment) {
	a.T.Helper()
	if err := json.Unmarshal(r.Value, &s); err != nil {
		a.T.Fatalf("outcome %s: %v", r.Value, err)
	}
	return s
}

func wantCode(t *testing.T, what string, r *api.Error, code api.Code, place string) {
	t.Helper()
	if r == nil || r.Code != code || r.Place != place {
		t.Errorf("%s: %v, want %s at %q", what, r, code, place)
	}
}

// ACCEPT L3 Y6
func TestCreateShipReceive(t *testing.T) {
	a := given(t)
	create(a, "ord_1")
	made := api.TimeOf(a.Now)
	wantTold(a, "shipping.created ord_1")
	want := api.Shipment{Order: "ord_1", User: ann, State: api.ShipmentCreated, Address: home,
		Lines: []api.ShipLine{line("mug", 1), line("shirt", 2)}, Created: made}
	if got := shipment(a, "ord_1"); !reflect.DeepEqual(got, want) {
		t.Errorf("created %+v, want %+v", got, want)
	}
	wantCode(t, "received too early", a.Edge("r0", &api.Receive{Order: "ord_1"}).Refusal,
		api.CodeNotShippable, "")

	r := a.MustEdge("s1", dispatch("ord_1"))
	wantTold(a, "shipping.shipped ord_1")
	want.State, want.Carrier, want.Tracking = api.ShipmentShipped, "Royal Mail", "RM1"
	want.Shipped = api.TimeOf(a.Now)
	want.AutoReceive = want.Shipped.Add(14 * 24 * time.Hour)
	if got := outcome(a, r); !reflect.DeepEqual(got, want) {
		t.Errorf("shipped %+v, want %+v", got, want)
	}
	r = a.MustEdge("s2", dispatch("ord_1"))
	wantTold(a)
	if got := outcome(a, r); !reflect.DeepEqual(got, want) {
		t.Errorf("shipped again %+v, want %+v", got, want)
	}
	number, carrier := dispatch("ord_1"), dispatch("ord_1")
	number.Tracking, carrier.Carrier = "RM2", "DHL"
	wantCode(t, "another number", a.Edge("s3", number).Refusal, api.CodeNotShippable, "")
	wantCode(t, "another carrier", a.Edge("s4", carrier).Refusal, api.CodeNotShippable, "")

	wantCode(t, "not the owner", a.Edge("r1", &api.Receive{Order: "ord_1", User: "usr_eve"}).Refusal,
		api.CodeNotFound, "order")
	r = a.MustEdge("r2", &api.Receive{Order: "ord_1", User: ann})
	wantTold(a, "shipping.received ord_1")
	want.State, want.Received = api.ShipmentReceived, api.TimeOf(a.Now)
	if got := outcome(a, r); !reflect.DeepEqual(got, want) {
		t.Errorf("received %+v, want %+v", got, want)
	}
	for i, m := range []api.Message{&api.Receive{Order: "ord_1"}, dispatch("ord_1")} {
		r = a.MustEdge(fmt.Sprint("again", i), m)
		wantTold(a)
		if got := outcome(a, r); !reflect.DeepEqual(got, want) {
			t.Errorf("%T again %+v, want %+v", m, got, want)
		}
	}
	a.Advance(15 * 24 * time.Hour)
	a.Tick()
	wantTold(a)
}

// ACCEPT L3 S2
func TestStepsToldTwiceAreDoneOnce(t *testing.T) {
	a := given(t)
	cancel(a, "ord_1", 1, take("mug", 1)) // of nothing
	wantTold(a)
	create(a, "ord_1")
	wantTold(a, "shipping.created ord_1")
	create(a, "ord_1")
	wantTold(a)
	cancel(a, "ord_1", 2, take("shirt", 1))
	cancel(a, "ord_1", 2, take("shirt", 1))
	wantState(a, "ord_1", api.ShipmentCreated, line("mug", 1), line("shirt", 1))

	create(a, "ord_2", []api.ShipLine{}...)
	for _, lines := range [][]api.ShipLine{{}, {line("mug", 0)}, {line("mug", -1)}} {
		create(a, "ord_2", lines...)
		wantTold(a)
	}
	wantCode(t, "no lines", a.Ask(&api.GetShipment{Order: "ord_2"}, &api.Shipment{}),
		api.CodeNotFound, "order")
}

// ACCEPT L3 Y9
func TestCancelTakesOutWhatHasNotLeft(t *testing.T) {
	for _, c := range []struct {
		name  string
		units []api.CartTake
		want  []api.ShipLine
	}{
		{"some of a line", []api.CartTake{take("shirt", 1)},
			[]api.ShipLine{line("mug", 1), line("shirt", 1), line("mug", 3)}},
		{"a line", []api.CartTake{take("shirt", 2)},
			[]api.ShipLine{line("mug", 1), line("mug", 3)}},
		{"of two lines of a SKU", []api.CartTake{take("mug", 1), take("mug", 1)},
			[]api.ShipLine{line("shirt", 2), line("mug", 2)}},
		{"more than there is", []api.CartTake{take("shirt", 99), take("none", 1)},
			[]api.ShipLine{line("mug", 1), line("mug", 3)}},
		{"nothing", []api.CartTake{take("mug", 0), take("shirt", -1), take("none", 1)},
			[]api.ShipLine{line("mug", 1), line("shirt", 2), line("mug", 3)}},
		{"all", []api.CartTake{take("shirt", 2), take("mug", 4)}, []api.ShipLine{}},
	} {
		a := given(t)
		create(a, "ord_1", line("mug", 1), line("shirt", 2), line("mug", 3))
		cancel(a, "ord_1", 1, c.units...)
		if len(c.want) > 0 {
			wantTold(a)
			wantState(a, "ord_1", api.ShipmentCreated, c.want...)
			a.MustEdge("ship", dispatch("ord_1"))
			cancel(a, "ord_1", 2, take("mug", 9), take("shirt", 9)) // has left
			wantTold(a)
			wantState(a, "ord_1", api.ShipmentShipped, c.want...)
			continue
		}
		wantTold(a, "shipping.cancelled ord_1")
		wantState(a, "ord_1", api.ShipmentCancelled)
		cancel(a, "ord_1", 2, take("mug", 1))
		wantTold(a)
		wantCode(t, c.name, a.Edge("ship", dispatch("ord_1")).Refusal, api.CodeNotShippable, "")
		wantCode(t, c.name, a.Edge("receive", &api.Receive{Order: "ord_1"}).Refusal,
			api.CodeNotShippable, "")
	}
}

// ACCEPT L3
func TestAutoReceive(t *testing.T) {
	a := given(t)
	for _, order := range []string{"ord_1", "ord_2", "ord_3", "ord_4"} {
		create(a, order)
	}
	a.MustEdge("s2", dispatch("ord_2"))
	a.MustEdge("configure", &api.ConfigureShipping{AutoReceiveSeconds: 60})
	a.MustEdge("s1", dispatch("ord_1"))
	a.MustEdge("s3", dispatch("ord_3"))
	a.MustEdge("r3", &api.Receive{Order: "ord_3"})

	a.Now = shipment(a, "ord_1").AutoReceive.Std().Add(-2 * time.Millisecond)
	a.Tick()
	wantTold(a)
	a.Restart()
	a.Tick() // exactly at the deadline
	wantTold(a, "shipping.received ord_1")
	if got := shipment(a, "ord_1"); got.Received != got.AutoReceive {
		t.Errorf("received at %v, want %v", got.Received.Std(), got.AutoReceive.Std())
	}
	a.Advance(13 * 24 * time.Hour)
	a.Tick()
	wantTold(a)
	a.Advance(24 * time.Hour)
	a.Tick()
	wantTold(a, "shipping.received ord_2")
	wantState(a, "ord_4", api.ShipmentCreated, line("mug", 1), line("shirt", 2))
}

// ACCEPT L3
func TestASweepIsBounded(t *testing.T) {
	a := given(t)
	a.MustEdge("configure", &api.ConfigureShipping{AutoReceiveSeconds: 1})
	// Each has a third of what a sweep may have.
	var large []api.ShipLine
	for i := range 1000 {
		l := line(fmt.Sprint("sku-", i), 1)
		l.Name = strings.Repeat("x", 300)
		large = append(large, l)
	}
	const orders = 8
	for i := range orders {
		order := fmt.Sprint("ord_", i)
		create(a, order, large...)
		a.MustEdge("ship-"+order, dispatch(order))
	}
	a.Advance(time.Hour)
	total := 0
	for a.Tick(); len(actorstest.Events(a)) > 0; a.Tick() {
		n := len(actorstest.Events(a))
		again := slices.Contains(a.Subjects(), "ordo.shipping.0.tick")
		if total += n; n > 4 || again != (total < orders) {
			t.Errorf("%d at once, %d in all, again: %t", n, total, again)
		}
	}
	if total != orders {
		t.Errorf("%d received, want %d", total, orders)
	}
	var page api.ShipmentList
	if r := a.Ask(&api.ListShipments{}, &page); r != nil || len(page.Shipments) > 4 ||
		page.Next == "" {
		t.Errorf("%v, a page of %d large shipments, next %q", r, len(page.Shipments), page.Next)
	}
}

// The largest order that a message brings must not be too large to tell.
//
// ACCEPT L3
func TestAnEventAlwaysFitsIntoAMessage(t *testing.T) {
	a := given(t)
	var lines []api.ShipLine
	for i := range api.MaxLines {
		l := line(fmt.Sprint("sku-", i), 1)
		l.Name = strings.Repeat("x", 220)
		lines = append(lines, l)
	}
	size := len(api.Raw(&api.CreateShipment{Lines: lines}))
	if size > api.MaxMessage || size < api.MaxMessage-2<<10 {
		t.Fatalf("the message has %d bytes, which shows nothing", size)
	}
	create(a, "ord_1", lines...)
	m := dispatch("ord_1")
	m.Carrier, m.Tracking = strings.Repeat("<", 100), strings.Repeat("&", 100)
	if s := outcome(a, a.MustEdge("ship", m)); len(s.Lines) != api.MaxLines {
		t.Errorf("%d lines shipped", len(s.Lines))
	}
	if e := actorstest.Events(a); len(e) != 1 || e[0].Type != api.EventShipmentShipped ||
		strings.Contains(string(e[0].Data), "sku-1") {
		t.Errorf("events %.300s", api.Raw(e))
	}
}

// ACCEPT L3
func TestBadInputIsRefused(t *testing.T) {
	a := given(t)
	create(a, "ord_1")
	with := func(change func(m *api.Ship)) api.Message {
		m := dispatch("ord_1")
		change(m)
		return m
	}
	long := strings.Repeat("é", 101)
	for i, c := range []struct {
		m     api.Message
		code  api.Code
		place string
	}{
		{with(func(m *api.Ship) { m.Carrier = "" }), api.CodeInvalid, "carrier"},
		{with(func(m *api.Ship) { m.Carrier = " \t" }), api.CodeInvalid, "carrier"},
		{with(func(m *api.Ship) { m.Carrier = long }), api.CodeInvalid, "carrier"},
		{with(func(m *api.Ship) { m.Tracking = "" }), api.CodeInvalid, "tracking"},
		{with(func(m *api.Ship) { m.Tracking = "a\nb" }), api.CodeInvalid, "tracking"},
		{with(func(m *api.Ship) { m.Tracking = long }), api.CodeInvalid, "tracking"},
		{with(func(m *api.Ship) { m.By = "" }), api.CodeInvalid, "by"},
		{with(func(m *api.Ship) { m.By = long }), api.CodeInvalid, "by"},
		{with(func(m *api.Ship) { m.Order = "" }), api.CodeNotFound, "order"},
		{with(func(m *api.Ship) { m.Order = "ord_2" }), api.CodeNotFound, "order"},
		{&api.Receive{}, api.CodeNotFound, "order"},
		{&api.Receive{Order: "ord_2"}, api.CodeNotFound, "order"},
		{&api.ConfigureShipping{}, api.CodeInvalid, "auto_receive_seconds"},
		{&api.ConfigureShipping{AutoReceiveSeconds: 365*24*3600 + 1}, api.CodeInvalid,
			"auto_receive_seconds"},
	} {
		r := a.Edge(fmt.Sprint("bad-", i), c.m).Refusal
		wantCode(t, string(api.Raw(c.m)), r, c.code, c.place)
		wantTold(a)
	}
	wantState(a, "ord_1", api.ShipmentCreated, line("mug", 1), line("shirt", 2))
	for _, c := range []struct {
		q     api.Query
		code  api.Code
		place string
	}{
		{&api.GetShipment{}, api.CodeNotFound, "order"},
		{&api.GetShipment{Order: "ord_1", User: "usr_eve"}, api.CodeNotFound, "order"},
		{&api.ListShipments{State: "lost"}, api.CodeInvalid, "state"},
		{&api.ListShipments{Page: api.Page{Cursor: "x"}}, api.CodeInvalid, "cursor"},
		{&api.ListShipments{Page: api.Page{Cursor: "-1"}}, api.CodeInvalid, "cursor"},
	} {
		var answer json.RawMessage
		wantCode(t, fmt.Sprintf("%+v", c.q), a.Ask(c.q, &answer), c.code, c.place)
	}
}

// ACCEPT L3
func TestListByState(t *testing.T) {
	a := given(t)
	for i := range 7 {
		order := fmt.Sprint("ord_", i)
		create(a, order)
		switch i % 3 {
		case 1:
			cancel(a, order, 1, take("mug", 1), take("shirt", 2))
		case 2:
			a.MustEdge("ship-"+order, dispatch(order))
		}
	}
	for _, c := range []struct{ state, want string }{
		{"", "0123456"}, {api.ShipmentCreated, "036"}, {api.ShipmentCancelled, "14"},
		{api.ShipmentShipped, "25"}, {api.ShipmentReceived, ""},
	} {
		for limit := range 4 {
			got := ""
			q := api.ListShipments{State: c.state, Page: api.Page{Limit: limit}}
			for range 10 {
				var page api.ShipmentList
				if r := a.Ask(&q, &page); r != nil || page.Shipments == nil ||
					len(page.Shipments) > q.Size() {
					t.Fatalf("%v: %+v", r, page)
				}
				for _, s := range page.Shipments {
					got += strings.TrimPrefix(s.Order, "ord_")
				}
				if q.Cursor = page.Next; q.Cursor == "" {
					break
				}
			}
			if got != c.want {
				t.Errorf("%q, pages of %d: %s, want %s", c.state, limit, got, c.want)
			}
		}
	}
}

// What is left of a shipment and what was taken out of it add up, in whatever
// order refunds and the carrier come.
//
// ACCEPT L3 Y9
func TestRandomRefundsAddUp(t *testing.T) {
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 2))
		a := given(t)
		left := map[string]int64{}
		var lines []api.ShipLine
		for i := range 1 + random.IntN(5) {
			l := line(fmt.Sprint("sku-", i%3), 1+random.Int64N(4))
			lines = append(lines, l)
			left[l.SKU] += l.Quantity
		}
		create(a, "ord_1", lines...)
		shipped := false
		for n := range 12 {
			if random.IntN(8) == 0 {
				shipped = a.Edge(fmt.Sprint("s", n), dispatch("ord_1")).Refusal == nil
			} else {
				u := take(fmt.Sprint("sku-", random.IntN(3)), random.Int64N(4))
				cancel(a, "ord_1", n, u)
				if !shipped {
					left[u.SKU] = max(left[u.SKU]-u.Quantity, 0)
				}
			}
			got := map[string]int64{}
			s := shipment(a, "ord_1")
			for _, l := range s.Lines {
				got[l.SKU] += l.Quantity
			}
			total := int64(0)
			for sku, units := range left {
				if total += units; got[sku] != units {
					t.Fatalf("seed %d, step %d: %s has %d units, want %d", seed, n, sku, got[sku], units)
				}
			}
			if (total == 0) != (s.State == api.ShipmentCancelled) {
				t.Fatalf("seed %d, step %d: %d units and %s", seed, n, total, s.State)
			}
		}
	}
}
