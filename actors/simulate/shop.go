package simulate

import (
	"fmt"
	"time"

	"ordo/actors"
	"ordo/api"
	"ordo/bus"
)

// users are the shoppers.
var users = []string{"usr_ann", "usr_bob", "usr_cem"}

const support = "usr_sue"

// ware is a SKU of the simulated shop.
type ware struct {
	api.SKU
	seats int64
}

func gbp(n int64) api.Money { return api.Money{Amount: n, Currency: "GBP"} }

// wares are few of each, so that shoppers get into each other's way.
var wares = []ware{
	{SKU: api.SKU{ID: "mug", Name: "Mug", Price: gbp(500), Stock: 4}},
	{SKU: api.SKU{ID: "tee", Name: "Tee", Price: gbp(1999), Stock: 3, MaxPerUser: 3}},
	{SKU: api.SKU{ID: "poster", Name: "Poster", Price: gbp(700), Stock: 2,
		Policy: api.PolicyPayment}},
	{SKU: api.SKU{ID: "ebook", Name: "E-book", Price: gbp(333), Kind: api.KindDigital,
		Policy: api.PolicyNone}},
	{SKU: api.SKU{ID: "course", Name: "Course", Price: gbp(9900), Kind: api.KindCourse,
		Policy: api.PolicyNone}, seats: 2},
}

// request is a message from an edge that waits for its answer.
type request struct {
	id, actor, verb string
	body            []byte
	sends           int
	next            int64
	answered        func(*api.Result)
}

// anOrder is what a shopper knows of an order.
type anOrder struct {
	*api.SubmitOrder
	name string
	// bodies are the contents submitted under the token, by their hash.
	bodies map[string]*api.SubmitOrder
	// accepted and refused say what was answered to bodies.
	accepted, refused map[string]bool
	// told is the state that was seen last.
	told     string
	tries    int
	attempts []*api.Attempt
	refunds  []string
}

// shop is what shoppers and support know, and want.
type shop struct {
	requests []*request
	orders   []*anOrder
	refunds  []string
	prices   map[string]int64
	stale    map[string]int64
	coupons  []api.Coupon
	// checkouts says which body claimed a token; unsynced are the newest.
	checkouts map[string]string
	unsynced  []string
	seats     int64
	count     int
	lost      bool
}

func (s *shop) find(order string) *anOrder {
	for _, o := range s.orders {
		if o.Order == order {
			return o
		}
	}
	return nil
}

// forgetTail loses the newest claims of checkouts.
func (s *shop) forgetTail() {
	for _, token := range s.unsynced {
		delete(s.checkouts, token)
		s.lost = true
	}
	s.unsynced = nil
}

// open sets the shop up, in calm.
func (w *world) open() {
	s := &w.shop
	w.calm = true
	s.prices, s.stale, s.checkouts = map[string]int64{}, map[string]int64{}, map[string]string{}
	for _, a := range w.actors {
		a.open()
	}
	product := api.Product{ID: "all", Name: "All"}
	for _, x := range wares {
		product.SKUs = append(product.SKUs, x.SKU)
		s.prices[x.ID], s.stale[x.ID] = x.Price.Amount, x.Price.Amount
		w.oracle.stock[x.ID] = x.Stock
	}
	w.configure()
	w.request("setup-goods", &api.PutProducts{Products: []api.Product{product}}, nil)
	w.putCourses(2)
	for i, u := range users {
		w.credit(u, int64(2000+w.n(6000)))
		for j := range 2 {
			s.coupons = append(s.coupons, api.Coupon{User: u, Name: "Off", Amount: gbp(500),
				ID:      api.DeriveID(api.PrefixCoupon, start, fmt.Sprintf("%d/%d", i, j)),
				Minimum: gbp(int64(j) * 2000), ValidUntil: api.TimeOf(start.Add(48 * time.Hour))})
		}
	}
	w.request("setup-coupons", &api.IssueCoupons{Coupons: s.coupons}, nil)
	w.drain()
	if len(s.requests) > 0 {
		w.broken("simulation", "%d requests of the setup have no answer", len(s.requests))
	}
	w.calm = false
}

// configure sets random rules.
func (w *world) configure() {
	w.shop.count++
	n := w.shop.count
	pick := func(all ...int64) int64 { return all[w.n(len(all))] }
	o := &api.ConfigureOrders{Currency: "GBP", ExpirySeconds: pick(60, 300, 900),
		SubmitSeconds: pick(20, 60, 120), MaxUnits: pick(0, 8), PointsPer: pick(0, 100),
		RefundSeconds: pick(0, 60, 86400)}
	p := &api.ConfigurePayments{MarginSeconds: pick(0, 10, 60), QuerySeconds: pick(2, 15)}
	l := &api.ConfigureLearning{WhenFull: api.FullWait}
	if w.odds(2) {
		l.WhenFull = api.FullRefund
	}
	w.request(fmt.Sprintf("rules-order-%d", n), o, nil)
	w.request(fmt.Sprintf("rules-payment-%d", n), p, nil)
	w.request(fmt.Sprintf("rules-learning-%d", n), l, nil)
	w.request(fmt.Sprintf("rules-shipping-%d", n),
		&api.ConfigureShipping{AutoReceiveSeconds: pick(60, 86400)}, nil)
}

func (w *world) putCourses(seats int64) {
	w.shop.count++
	w.shop.seats = seats
	w.request(fmt.Sprintf("courses-%d", w.shop.count), &api.PutCourses{Courses: []api.Course{
		{SKU: "course", Title: "Course", Seats: seats}}}, nil)
}

func (w *world) credit(u string, amount int64) {
	w.shop.count++
	w.request(fmt.Sprintf("credit-%d", w.shop.count), &api.Credit{User: u, Amount: gbp(amount),
		Reason: "welcome"}, func(r *api.Result) {
		if r.Refusal == nil {
			w.oracle.credits[u] += amount
		}
	})
}

// request has an edge send a message until its answer is known, which is then
// given to answered. The same id again is the same request.
func (w *world) request(id string, m api.Message, answered func(*api.Result)) {
	r := m.Route()
	w.requestRaw(id, r.Actor, r.Verb, api.Raw(m), answered)
}

func (w *world) requestRaw(id, actor, verb string, body []byte, answered func(*api.Result)) {
	r := &request{id: id, actor: actor, verb: verb, body: body, answered: answered}
	w.shop.requests = append(w.shop.requests, r)
	w.publish(r)
}

// publish sends a request, with a fresh suffix when it is not the first time.
func (w *world) publish(r *request) {
	p := parcel{id: r.id, Delivery: actors.Delivery{Subject: bus.MailboxSubject(r.actor, r.verb),
		ID: r.id, Body: r.body}}
	if r.sends > 0 {
		p.id += "~" + w.text()
	}
	r.sends++
	r.next = w.now + int64(2*time.Second)
	w.send(fmt.Sprintf("edge%d", w.n(2)), nil, p)
}
