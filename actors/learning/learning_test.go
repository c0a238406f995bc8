package learning_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/actors/learning"
	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

func course(sku string, seats int64) api.Course {
	return api.Course{SKU: sku, Title: "The " + sku, Seats: seats}
}

// given is an actor with courses. Every test ends with its books checked.
func given(t *testing.T, courses ...api.Course) *actorstest.Actor {
	t.Helper()
	a := actorstest.New(t, learning.Spec())
	t.Cleanup(func() { wantInvariants(a) })
	put(a, courses...)
	return a
}

func put(a *actorstest.Actor, courses ...api.Course) {
	a.T.Helper()
	a.MustEdge(fmt.Sprintf("put-%d", a.Now.UnixNano()), &api.PutCourses{Courses: courses})
}

// wantInvariants checks that counts and rows agree, whatever was done.
func wantInvariants(a *actorstest.Actor) {
	a.T.Helper()
	db, err := stores.OpenReadOnly(a.Path)
	if err != nil {
		a.T.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRow(`SELECT count(*) FROM course c WHERE seats >= 0 AND enrolled > seats
		OR enrolled <> (SELECT count(*) FROM enrolment WHERE sku = c.sku AND state = 'enrolled')
		OR waiting <> (SELECT count(*) FROM enrolment WHERE sku = c.sku AND state = 'waiting')`).
		Scan(&n); err != nil || n != 0 {
		a.T.Errorf("%d courses do not add up (%v)", n, err)
	}
}

// user is the student who has the order.
func user(order string) string { return "usr_" + order }

func takes(lines ...string) (all []api.CartTake) {
	for _, sku := range lines {
		all = append(all, api.CartTake{SKU: sku, Quantity: 1})
	}
	return all
}

func enrolment(order string, lines ...api.CartTake) *api.Enrol {
	return &api.Enrol{Step: api.Step{Order: order, Name: "learning.enrol"}, User: user(order),
		Lines: lines}
}

func withdrawal(order string, occurrence int, lines ...api.CartTake) *api.Withdraw {
	return &api.Withdraw{Step: api.Step{Order: order, Name: "learning.withdraw",
		Occurrence: occurrence}, User: user(order), Lines: lines}
}

// enrol answers the units that were refused.
func enrol(a *actorstest.Actor, m *api.Enrol) []api.CartTake {
	a.T.Helper()
	a.From("order", m)
	return answered(a, m.Step).Refused
}

func withdraw(a *actorstest.Actor, m *api.Withdraw) {
	a.T.Helper()
	a.From("order", m)
	answered(a, m.Step)
}

// answered is the Data of the answer to the step.
func answered(a *actorstest.Actor, s api.Step) (data api.Enrolled) {
	a.T.Helper()
	r := actorstest.Only[api.StepResult](a)
	if r.Step != s || r.Undo || r.Refusal != nil {
		a.T.Fatalf("answer %+v to step %+v", r, s)
	}
	if s.Name == "learning.enrol" {
		if err := json.Unmarshal(r.Data, &data); err != nil {
			a.T.Fatal(err)
		}
	}
	return data
}

// told are the events of the last message, as "type order sku", and checks
// that each is about the order, its user and the course.
func told(a *actorstest.Actor) (all []string) {
	a.T.Helper()
	for _, e := range actorstest.Events(a) {
		var d api.Enrolment
		if err := json.Unmarshal(e.Data, &d); err != nil {
			a.T.Fatal(err)
		}
		if d.Order != e.Order || d.User != e.User || d.Title != "The "+d.SKU ||
			e.User != user(e.Order) || "learning."+d.State != e.Type || d.At == 0 {
			a.T.Errorf("event %+v with data %+v", e, d)
		}
		all = append(all, e.Type+" "+e.Order+" "+d.SKU)
	}
	return all
}

func wantTold(a *actorstest.Actor, want ...string) {
	a.T.Helper()
	if got := told(a); !slices.Equal(got, want) {
		a.T.Errorf("told %q, want %q", got, want)
	}
}

func wantCourse(a *actorstest.Actor, sku string, enrolled, waiting int64) {
	a.T.Helper()
	var c api.Course
	if r := a.Ask(&api.GetCourse{SKU: sku}, &c); r != nil {
		a.T.Fatal(r)
	}
	if c.Enrolled != enrolled || c.Waiting != waiting {
		a.T.Errorf("%s has %d enrolled and %d waiting, want %d and %d", sku, c.Enrolled, c.Waiting,
			enrolled, waiting)
	}
}

// places are all enrolments of a query, read page by page.
func places(a *actorstest.Actor, q api.ListEnrolments) (all []api.Enrolment) {
	a.T.Helper()
	for range 1000 {
		var page api.EnrolmentList
		if r := a.Ask(&q, &page); r != nil {
			a.T.Fatal(r)
		}
		if page.Enrolments == nil || len(page.Enrolments) > q.Size() {
			a.T.Fatalf("a page of %d (nil: %t)", len(page.Enrolments), page.Enrolments == nil)
		}
		all = append(all, page.Enrolments...)
		if q.Cursor = page.Next; q.Cursor == "" {
			return all
		}
	}
	a.T.Fatal("the list does not end")
	return nil
}

// wantState checks an order's place in a course.
func wantState(a *actorstest.Actor, order, sku, state string) {
	a.T.Helper()
	got := places(a, api.ListEnrolments{User: user(order), SKU: sku})
	if len(got) != 1 || got[0].Order != order || got[0].State != state ||
		(got[0].Ended != 0) != (state == api.EnrolmentWithdrawn) {
		a.T.Errorf("%s in %s: %+v, want %s", order, sku, got, state)
	}
}

// ACCEPT L1
func TestFiftyPaidOrdersOfThirtySeats(t *testing.T) {
	for _, c := range []struct {
		whenFull         string
		waiting, refused int64
	}{{"", 20, 0}, {api.FullWait, 20, 0}, {api.FullRefund, 0, 20}} {
		t.Run("when full: "+c.whenFull, func(t *testing.T) {
			a := given(t, course("go", 30))
			if c.whenFull != "" {
				a.MustEdge("configure", &api.ConfigureLearning{WhenFull: c.whenFull})
			}
			refused := int64(0)
			for i := range 50 {
				order := fmt.Sprintf("ord_%02d", i)
				lines := enrol(a, enrolment(order, takes("go")...))
				refused += int64(len(lines))
				switch {
				case i < 30:
					wantTold(a, "learning.enrolled "+order+" go")
				case c.refused == 0:
					wantTold(a, "learning.waiting "+order+" go")
				default:
					wantTold(a)
				}
				if i < 30 && lines != nil || i >= 30 && c.refused > 0 &&
					!slices.Equal(lines, takes("go")) {
					t.Errorf("order %d: refused %+v", i, lines)
				}
			}
			if refused != c.refused {
				t.Errorf("%d refused, want %d", refused, c.refused)
			}
			wantCourse(a, "go", 30, c.waiting)
		})
	}
}

// ACCEPT L1
func TestAFreedSeatGoesToTheFirstWhoWaits(t *testing.T) {
	a := given(t, course("go", 2))
	for _, order := range []string{"ord_1", "ord_2", "ord_3", "ord_4", "ord_5"} {
		enrol(a, enrolment(order, takes("go")...))
	}
	withdraw(a, withdrawal("ord_2", 1, takes("go")...))
	wantTold(a, "learning.withdrawn ord_2 go", "learning.enrolled ord_3 go")
	withdraw(a, withdrawal("ord_4", 1, takes("go")...)) // only waited
	wantTold(a, "learning.withdrawn ord_4 go")
	wantCourse(a, "go", 2, 1)
	withdraw(a, withdrawal("ord_1", 1, takes("go")...))
	wantTold(a, "learning.withdrawn ord_1 go", "learning.enrolled ord_5 go")
	withdraw(a, withdrawal("ord_3", 1, takes("go")...))
	wantTold(a, "learning.withdrawn ord_3 go")
	wantState(a, "ord_5", "go", api.EnrolmentEnrolled)
	wantState(a, "ord_3", "go", api.EnrolmentWithdrawn)
	wantCourse(a, "go", 1, 0)
}

// ACCEPT L1
func TestOneEnrolmentAUserAndCourse(t *testing.T) {
	a := given(t, course("go", 9), course("c", 9))
	// Twice in one order, and more than one unit.
	got := enrol(a, enrolment("ord_1", api.CartTake{SKU: "go", Quantity: 2}, takes("c")[0],
		takes("go")[0], api.CartTake{SKU: "none", Quantity: 4}))
	want := []api.CartTake{{SKU: "go", Quantity: 2}, {SKU: "none", Quantity: 4}}
	if !slices.Equal(got, want) {
		t.Errorf("refused %+v, want %+v", got, want)
	}
	wantTold(a, "learning.enrolled ord_1 go", "learning.enrolled ord_1 c")

	again := enrolment("ord_2", takes("go")...)
	again.User = user("ord_1")
	if got := enrol(a, again); !slices.Equal(got, takes("go")) {
		t.Errorf("a second order: refused %+v", got)
	}
	wantTold(a)
	// The refund of the order that was refused must not end the enrolment of
	// the one before.
	refund := withdrawal("ord_2", 1, api.CartTake{SKU: "go", Quantity: 9})
	refund.User = user("ord_1")
	withdraw(a, refund)
	wantTold(a)
	wantState(a, "ord_1", "go", api.EnrolmentEnrolled)
	wantCourse(a, "go", 1, 0)
}

// ACCEPT L1 Y9
func TestAPlaceEndsWithTheLastUnitOfItsOrder(t *testing.T) {
	a := given(t, course("go", 9))
	enrol(a, enrolment("ord_1", api.CartTake{SKU: "go", Quantity: 3}))
	withdraw(a, withdrawal("ord_1", 1, api.CartTake{SKU: "go", Quantity: 2})) // those refused
	wantTold(a)
	wantState(a, "ord_1", "go", api.EnrolmentEnrolled)
	withdraw(a, withdrawal("ord_1", 2, takes("go")...))
	wantTold(a, "learning.withdrawn ord_1 go")
	withdraw(a, withdrawal("ord_1", 3, takes("go")...))
	wantTold(a)

	// Who has withdrawn may come back with a new order, at the end of the list.
	enrol(a, enrolment("ord_2", takes("go")...))
	back := enrolment("ord_3", takes("go")...)
	back.User = user("ord_1")
	a.From("order", back)
	if got := answered(a, back.Step).Refused; got != nil {
		t.Errorf("refused %+v", got)
	}
	list := places(a, api.ListEnrolments{SKU: "go"})
	if len(list) != 2 || list[0].Order != "ord_3" || list[0].Ended != 0 ||
		list[0].State != api.EnrolmentEnrolled {
		t.Errorf("enrolments %+v", list)
	}
	wantCourse(a, "go", 2, 0)
}

// ACCEPT L1 S2 S8
func TestStepsToldTwiceAreDoneOnce(t *testing.T) {
	a := given(t, course("go", 1))
	withdraw(a, withdrawal("ord_1", 1, takes("go", "none")...)) // of nothing
	wantTold(a)
	for range 2 {
		if got := enrol(a, enrolment("ord_1", takes("go", "none")...)); !slices.Equal(got,
			takes("none")) {
			t.Errorf("refused %+v", got)
		}
	}
	wantTold(a)
	enrol(a, enrolment("ord_2", takes("go")...))
	wantCourse(a, "go", 1, 1)
	withdraw(a, withdrawal("ord_1", 2, takes("go")...))
	withdraw(a, withdrawal("ord_1", 2, takes("go")...))
	wantTold(a)
	wantCourse(a, "go", 1, 0)
	wantState(a, "ord_2", "go", api.EnrolmentEnrolled)
	enrol(a, enrolment("ord_3"))
	enrol(a, enrolment("ord_4", api.CartTake{SKU: "go"}, api.CartTake{SKU: "go", Quantity: -1}))
	wantCourse(a, "go", 1, 0)
}

// ACCEPT L1
func TestMoreSeatsLetInThoseWhoWait(t *testing.T) {
	const students = 2500
	a := given(t, course("go", 0), course("c", 0))
	number := int64(0)
	enrolAll := func(orders ...string) {
		in := make([]actors.Delivery, len(orders))
		for i, order := range orders {
			number++
			in[i] = actors.Delivery{Subject: bus.MailboxSubject("learning", "enrol"),
				ID: a.ChannelID("order", number), Body: api.Raw(enrolment(order, takes("go")...))}
		}
		a.Apply(in...)
	}
	orders := make([]string, students)
	for i := range orders {
		orders[i] = fmt.Sprintf("ord_%04d", i)
	}
	enrolAll(orders...)
	wantCourse(a, "go", 0, students)

	put(a, course("c", 5), course("go", students+1))
	got := told(a)
	wantCourse(a, "go", 1000, 1500)
	// Who comes now takes nobody's seat, but the one that is left over.
	enrolAll("ord_last", "ord_late")
	wantTold(a, "learning.enrolled ord_last go", "learning.waiting ord_late go")
	wantCourse(a, "go", 1001, 1501)
	for a.Tick(); len(actorstest.Events(a)) > 0; a.Tick() {
		got = append(got, told(a)...)
	}
	wantCourse(a, "go", students+1, 1)
	wantState(a, "ord_late", "go", api.EnrolmentWaiting)
	if len(got) != students || !slices.IsSorted(got) {
		t.Errorf("%d let in, sorted: %t", len(got), slices.IsSorted(got))
	}
	put(a, course("go", api.NoSeatLimit))
	wantTold(a, "learning.enrolled ord_late go")
	enrolAll("ord_more")
	wantCourse(a, "go", students+3, 0)
}

// Random orders, refunds and changes of seats keep to a model: a list of who
// has a place, of whom the first ones have the seats.
//
// ACCEPT L1
func TestRandomOrdersKeepTheOrderOfPayment(t *testing.T) {
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 1))
		a := given(t, course("go", 3))
		seats, last := 3, map[string]int{} // who has had an enrolment: the last order
		var line []string                  // orders with a place, in the order of payment
		for n := range 150 {
			u := fmt.Sprint("u", random.IntN(12))
			switch order := fmt.Sprintf("ord_%s_%d", u, n); random.IntN(5) {
			case 0, 1:
				m := enrolment(order, takes("go")...)
				m.User = u
				has := slices.ContainsFunc(line, func(o string) bool {
					return strings.HasPrefix(o, "ord_"+u+"_")
				})
				if got := enrol(a, m); (got != nil) != has {
					t.Fatalf("seed %d: %s refused %v, has a place: %t", seed, order, got, has)
				}
				if !has {
					line, last[u] = append(line, order), n
				}
			case 2, 3:
				order = fmt.Sprintf("ord_%s_%d", u, last[u])
				m := withdrawal(order, n, takes("go")...)
				m.User = u
				withdraw(a, m)
				line = slices.DeleteFunc(line, func(o string) bool { return o == order })
			default:
				seats = max(min(seats, len(line)), random.IntN(7))
				put(a, course("go", int64(seats)))
			}
			want := map[string]string{}
			for i, order := range line {
				want[order] = api.EnrolmentEnrolled
				if i >= seats {
					want[order] = api.EnrolmentWaiting
				}
			}
			got := map[string]string{}
			for _, e := range places(a, api.ListEnrolments{SKU: "go"}) {
				if e.State != api.EnrolmentWithdrawn {
					got[e.Order] = e.State
				}
			}
			if !maps.Equal(got, want) {
				t.Fatalf("seed %d, step %d: places %v, want %v", seed, n, got, want)
			}
		}
	}
}
