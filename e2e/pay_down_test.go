package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
)

// apart are the actors that are processes of their own in a payShop.
var apart = []string{"payment", "wallet", "learning", "shipping", "journal"}

// payShop is a shop whose actors after the payment, and that of the payment,
// are processes of their own.
type payShop struct {
	*process
	g     *gateway
	data  string
	parts map[string]*process
	dirs  map[string]string
}

func servePayShop(t *testing.T) *payShop {
	t.Helper()
	addr := crashFreeAddr(t)
	s := &payShop{g: serveGateway(t, addr), data: t.TempDir(), parts: map[string]*process{},
		dirs: map[string]string{}}
	s.process = serve(t, s.data, append([]string{"--http", addr, "--only", "order,goods,coupon,user"},
		s.g.flags...)...).ready()
	for _, actor := range apart {
		s.dirs[actor] = t.TempDir()
		s.begin(actor)
	}
	return s
}

func (s *payShop) begin(actor string) {
	s.t.Helper()
	args := []string{"--only", actor, "--no-api", "--nats", s.nats}
	if actor == "payment" {
		args = append(args, s.g.flags...)
	}
	s.parts[actor] = serve(s.t, s.dirs[actor], args...)
}

func (s *payShop) end(actors ...string) {
	s.t.Helper()
	for _, actor := range actors {
		if code := s.parts[actor].stop(); code != 0 {
			s.t.Errorf("%s: exit code %d", actor, code)
		}
	}
}

// basket is an order of goods and a course, on its way.
type basket struct {
	*shopper
	body *submission
	o    api.Order
	a    api.Attempt
}

// Points, enrolments, shipments and the journal are away while orders are paid
// and refunded, and then the payments too while the gateway takes money, and
// what NATS kept for one of them is lost. When they are back, everything
// arrives, once. ACCEPT L1 L2 L3 L4 S7 M1 Y4
func TestPayServicesDown(t *testing.T) {
	t.Parallel()
	const n, lost = 8, "shipping"
	s := servePayShop(t)
	sku, course := s.onSale(1000, 10*n), s.courseOf(n)
	all := make([]*basket, n)
	for i, who := range s.shoppers(n) {
		who.add(sku, 2)
		who.add(course, 1)
		all[i] = &basket{shopper: who, body: who.checkout("", 0)}
	}
	s.end("wallet", "learning", "shipping", "journal")
	for i, b := range all {
		b.o = b.submit(b.body)
		b.a = b.opens(b.o.ID, api.ProductPage)
		if i < n/2 && s.g.takes(&b.a) == "" {
			t.Error("not paid")
		}
	}
	early, late := all[:n/2], all[n/2:]
	for _, b := range early {
		b.await(b.o.ID, api.OrderPaid)
	}
	var r api.Refund
	s.admin().must("POST", "/admin/v1/orders/"+early[0].o.ID+"/refunds", refundBody(nil), &r)
	s.waiting(early[1].o.ID)
	// Whether the goods have left is not known, so no money goes back yet.
	if step := s.steps(early[0].o.ID)["shipping.cancel"]; step != "" ||
		len(s.g.about(early[0].a.ID)) != 1 {
		t.Errorf("recall is %q, statement %q", step, s.g.about(early[0].a.ID))
	}
	s.end("payment")
	for _, b := range late {
		if s.g.takes(&b.a, "times", 3) == "" {
			t.Error("not paid")
		}
	}
	eventually(t, "a notice that was not accepted", func() bool {
		left := s.g.steer("deliveries", "out_trade_no", late[0].a.ID).Deliveries
		return len(left) > 0 && left[0].Tries > 0
	})
	s.lose(lost)
	for _, actor := range apart {
		s.begin(actor)
	}
	s.refunded(r.ID)
	for i, b := range all {
		b.arrived(course, i == 0)
	}
	if c := s.course(course); c.Enrolled != n-1 || s.sku(sku).Stock != 10*n-2*(n-1) {
		t.Errorf("course %+v, stock %+v", c, s.sku(sku))
	}
	settled := s.settles(s.g.till)
	s.end(apart...)
	dirs := []string{}
	for _, actor := range apart {
		dirs = append(dirs, s.dirs[actor])
	}
	s.even(settled, append(dirs, s.data)...)
}

// waiting checks that an order is paid and waits for those who are away.
func (s *payShop) waiting(order string) {
	s.t.Helper()
	eventually(s.t, "the stock is sold", func() bool {
		return s.steps(order)["goods.sell"] == api.StepDone
	})
	steps := s.steps(order)
	for _, name := range []string{"wallet.grant", "learning.enrol", "shipping.create"} {
		if steps[name] != api.StepAsked {
			s.t.Errorf("step %s is %q", name, steps[name])
		}
	}
}

// lose deletes what NATS keeps for an actor.
func (s *payShop) lose(actor string) {
	s.t.Helper()
	js, err := jetstream.New(s.connect())
	if err != nil {
		s.t.Fatal(err)
	}
	ctx := within(s.t, time.Minute)
	stream, err := js.Stream(ctx, bus.MailboxStream(actor))
	if err == nil {
		err = stream.Purge(ctx)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// arrived waits until all that follows from an order's payment, and its refund,
// is there, and checks that it is there once.
func (b *basket) arrived(course string, refunded bool) {
	b.t.Helper()
	p := b.p
	b.await(b.o.ID, api.OrderPaid)
	p.fulfilled(b.o.ID)
	place, shipment, points := api.EnrolmentEnrolled, api.ShipmentCreated, int64(70)
	events := []string{api.EventOrderPlaced, api.EventPaymentPaid, api.EventOrderPaid,
		api.EventEnrolled, api.EventShipmentCreated}
	if refunded {
		place, shipment, points = api.EnrolmentWithdrawn, api.ShipmentCancelled, 0
		events = append(events, api.EventPaymentRefunded, api.EventWithdrawn,
			api.EventShipmentCancelled, api.EventOrderRefunded)
	}
	slices.Sort(events)
	var got []string
	eventually(b.t, "the events of "+b.o.ID, func() bool {
		got = slices.Sorted(slices.Values(p.journal(b.o.ID)))
		return len(got) >= len(events)
	})
	if !slices.Equal(got, events) {
		b.t.Errorf("journal: %q, want %q", got, events)
	}
	var w api.Wallet
	b.must("GET", "/v1/wallet", nil, &w)
	var ship api.Shipment
	b.must("GET", "/v1/orders/"+b.o.ID+"/shipment", nil, &ship)
	if b.place(course) != place || ship.State != shipment || w.Points != points {
		b.t.Errorf("place %s, shipment %+v, %d points", b.place(course), ship, w.Points)
	}
}
