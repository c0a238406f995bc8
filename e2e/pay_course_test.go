package e2e

import (
	"fmt"
	"testing"

	"ordo/api"
)

// courseOf puts a course on sale with so many seats and answers its SKU.
func (p *process) courseOf(seats int) string {
	p.t.Helper()
	id := api.NewID("course")
	p.admin().must("POST", "/admin/v1/courses:import?price=50.00",
		fmt.Sprintf("section_id,course,title,seats,section\n%s,C-%s,Logic,%d,A01\n", id, id, seats), nil)
	return id
}

// payCourse has many shoppers pay for a course at once, and waits until each
// has a place or the money back. It answers the orders by state of the place;
// "" is none.
func (p *process) payCourse(sku string, n int) (orders map[string][]api.Attempt, all []*shopper) {
	p.t.Helper()
	g := p.till()
	all = p.shoppers(n)
	attempts := make([]api.Attempt, n)
	crowd(8, n, func(i int) {
		attempts[i] = all[i].opens(all[i].buy(sku, 1).ID, api.ProductPage)
		if g.takes(&attempts[i]) == "" {
			p.t.Errorf("attempt %s was not paid", attempts[i].ID)
		}
	})
	orders = map[string][]api.Attempt{}
	for i, s := range all {
		order := attempts[i].Order
		s.await(order, api.OrderPaid)
		eventually(p.t, "a place or the money back", func() bool {
			return p.steps(order)["learning.enrol"] == api.StepDone && s.noRefundOpen(order)
		})
		state := s.place(sku)
		orders[state] = append(orders[state], attempts[i])
	}
	return orders, all
}

// place is the state of a shopper's place in a course.
func (s *shopper) place(sku string) string {
	s.t.Helper()
	for _, e := range pages[api.Enrolment](s.client, "/v1/enrolments") {
		if e.SKU == sku {
			return e.State
		}
	}
	return ""
}

func (p *process) course(sku string) (c api.Course) {
	p.t.Helper()
	p.as("").must("GET", "/v1/courses/"+sku, nil, &c)
	return c
}

// Fifty pay for a course of thirty seats: thirty are enrolled and twenty wait.
// Who leaves lets the first of them in. ACCEPT L1 C6
func trySeats(t *testing.T, p *process) {
	const seats, students = 30, 50
	sku := p.courseOf(seats)
	places, all := p.payCourse(sku, students)
	in, waiting := places[api.EnrolmentEnrolled], places[api.EnrolmentWaiting]
	if len(in) != seats || len(waiting) != students-seats {
		t.Fatalf("%d enrolled, %d wait", len(in), len(waiting))
	}
	list := pages[api.Enrolment](p.admin(), "/admin/v1/courses/"+sku+"/enrolments")
	first := api.Enrolment{}
	for _, e := range list { // newest first
		if e.State == api.EnrolmentWaiting {
			first = e
		}
	}
	gone := in[0]
	p.refundAll(gone.Order)
	for _, s := range all {
		if s.id == first.User {
			eventually(t, "the first who waits is let in", func() bool {
				return s.place(sku) == api.EnrolmentEnrolled
			})
		}
		if s.id == gone.User && s.place(sku) != api.EnrolmentWithdrawn {
			t.Errorf("who left is %s", s.place(sku))
		}
	}
	// Who waits and gives up lets nobody in.
	for _, a := range waiting {
		if a.Order != first.Order {
			p.refundAll(a.Order)
			break
		}
	}
	if c := p.course(sku); c.Enrolled != seats || c.Waiting != students-seats-2 || c.Seats != seats {
		t.Errorf("course: %+v", c)
	}
	// A student has one place, and a second order for it is refunded.
	for _, s := range all {
		if s.id == in[1].User {
			s.twice(sku)
		}
	}
}

// refundAll refunds an order as support.
func (p *process) refundAll(order string) {
	p.t.Helper()
	var r api.Refund
	p.admin().must("POST", "/admin/v1/orders/"+order+"/refunds", refundBody(nil), &r)
	p.refunded(r.ID)
}

// twice buys a course again.
func (s *shopper) twice(sku string) {
	s.t.Helper()
	o, a := s.bought(s.p.till(), sku, 1)
	eventually(s.t, "the second place is refunded", func() bool {
		list := pages[api.Refund](s.client, "/v1/orders/"+o.ID+"/refunds")
		return len(list) == 1 && list[0].State == api.RefundDone && list[0].By == api.ByShop
	})
	if s.place(sku) != api.EnrolmentEnrolled || len(s.p.till().about(a.ID)) != 2 {
		s.t.Errorf("place: %s", s.place(sku))
	}
}

// In a shop that has nobody wait, those who find no seat get their money back,
// and goods that nobody says to have received count as received in time.
// ACCEPT L1 C6 L3
func TestCourseSeats(t *testing.T) {
	t.Parallel()
	const seats, students = 30, 50
	data := t.TempDir()
	p := serve(t, data, "--course-full", "refund", "--auto-receive", "1s").ready()
	sku := p.courseOf(seats)
	places, all := p.payCourse(sku, students)
	if len(places[api.EnrolmentEnrolled]) != seats || len(places[""]) != students-seats {
		t.Fatalf("%d enrolled, %d have none", len(places[api.EnrolmentEnrolled]), len(places[""]))
	}
	for state, want := range map[string]int{api.EnrolmentEnrolled: 1, "": 2} {
		for _, a := range places[state] {
			if rows := p.payLog(a.Order); len(rows) != want {
				t.Errorf("%q: pay log %q", state, rows)
			}
		}
	}
	if c := p.course(sku); c.Enrolled != seats || c.Waiting != 0 {
		t.Errorf("course: %+v", c)
	}
	// A seat that is given back is for the next who buys it.
	p.refundAll(places[api.EnrolmentEnrolled][0].Order)
	for _, s := range all {
		if s.id == places[""][0].User {
			s.bought(p.till(), sku, 1)
			eventually(t, "a free seat is given to who buys it", func() bool {
				return s.place(sku) == api.EnrolmentEnrolled
			})
		}
	}
	parcel, _ := all[0].bought(p.till(), p.onSale(100, 1), 1)
	p.admin().must("POST", "/admin/v1/orders/"+parcel.ID+"/ship",
		map[string]string{"carrier": "Royal Mail", "tracking": "RM1"}, nil)
	eventually(t, "received in time", func() bool {
		var now api.Shipment
		all[0].must("GET", "/v1/orders/"+parcel.ID+"/shipment", nil, &now)
		return now.State == api.ShipmentReceived && now.Received >= now.Shipped.Add(1e9)
	})
	p.endsEven(p.till(), data)
}
