package rest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"ordo/actors/order"
	"ordo/api"
	"ordo/api/rest"
	"ordo/bus"
)

// placedOrder is a placed order of one mug, at rest.
func (s *shop) placedOrder() string {
	s.t.Helper()
	u := s.shopper("ann@example.com")
	id := u.placed(u.call("POST", "/v1/orders?wait=10s", u.order(u.buyNow("mug", 1)))).ID
	s.settled(id)
	return id
}

// message is the one of an order with a verb.
func message(t rest.Timeline, verb string) (m rest.TimelineMessage) {
	if i := slices.IndexFunc(t.Messages, func(m rest.TimelineMessage) bool {
		return strings.HasSuffix(m.Subject, "."+verb)
	}); i >= 0 {
		m = t.Messages[i]
	}
	return m
}

// ACCEPT M7: what an actor that is away would know of an order is unknown, and not
// nothing; what the others know is there.
func TestTimelineWhileAnActorIsAway(t *testing.T) {
	s := newShop(t)
	id := s.placedOrder()
	s.stop("goods")
	got := s.timeline(id)
	const why = "unknown: goods does not answer"
	for _, part := range []string{"messages", "letters", "effects"} {
		if got.Missing.Unknown(part) != why {
			t.Errorf("%s: %q", part, got.Missing.Unknown(part))
		}
	}
	for _, part := range []string{"order", "steps", "refunds", "attempts", "events", "found"} {
		if text := got.Missing.Unknown(part); text != "" {
			t.Errorf("%s: %q", part, text)
		}
	}
	if m := message(got, "reserve"); m.Handled || m.Unknown != "goods does not answer" {
		t.Errorf("to goods: %+v", m)
	}
	if m := message(got, "submit"); !m.Handled || m.Unknown != "" || m.Outcome != "done" {
		t.Errorf("to order: %+v", m)
	}
	if len(got.Steps) != 2 || got.Steps[0].State != api.StepDone || got.Told != 0 {
		t.Errorf("steps %+v, told at %d", got.Steps, got.Told)
	}
	look := decode[rest.Overview](s.admin("GET", "/admin/v1/overview", nil).want(200))
	if look.Missing.Unknown("dead") != why || look.Missing.Unknown("orders") != "" ||
		look.Dead != 0 || !slices.Contains(look.Notes, why+" (dead letters)") {
		t.Errorf("overview %+v", look)
	}
	for _, a := range look.Actors {
		if a.Actor == "goods" && (a.Dead != -1 || a.Lag != -1 || a.Unconfirmed != -1 ||
			a.Effects != -1 || a.Incidents != -1 || a.Messages != -1) {
			t.Errorf("%+v", a)
		}
	}
	retried := decode[rest.Retried](s.admin("POST", "/admin/v1/transactions/"+id+"/retry",
		object{"reason": "x"}).want(200))
	if retried.Missing.Unknown("letters") != why {
		t.Errorf("retried %+v", retried)
	}
}

// ACCEPT M7: while the order actor is away its orders are shown as the journal was
// told of them, with what participants have done and what the streams have.
func TestTimelineWithoutTheOrderActor(t *testing.T) {
	s := newShop(t)
	id := s.placedOrder()
	s.stop("order")
	got := s.timeline(id)
	if got.Order.ID != id || got.Order.State != api.OrderPlaced || got.Told == 0 ||
		got.Order.Total != gbp(1000) || got.User == "" || len(got.Steps) != 0 {
		t.Errorf("order %+v, told at %d, steps %+v", got.Order, got.Told, got.Steps)
	}
	for _, part := range []string{"order", "steps", "refunds", "messages"} {
		if text := got.Missing.Unknown(part); text != "unknown: order does not answer" {
			t.Errorf("%s: %q", part, text)
		}
	}
	want := []api.FoundStep{{Name: "goods.reserve", State: api.StepDone},
		{Name: "payment.collect", State: api.StepAsked}}
	if !slices.Equal(got.Found, want) || len(got.Events) != 1 {
		t.Errorf("found %+v, events %+v", got.Found, got.Events)
	}
	if len(got.Why) != 1 || got.Why[0].Do == "" ||
		!strings.Contains(got.Why[0].Text, "the order actor does not answer") {
		t.Errorf("why %+v", got.Why)
	}
	if m := message(got, "submit"); m.Unknown != "order does not answer" {
		t.Errorf("submit %+v", m)
	}
	if m := message(got, "reserve"); !m.Handled || m.Unknown != "" {
		t.Errorf("reserve %+v of %+v", m, got.Messages)
	}
	look := decode[rest.Overview](s.admin("GET", "/admin/v1/overview", nil).want(200))
	if look.Missing.Unknown("orders") != "unknown: order does not answer" {
		t.Errorf("overview %+v", look)
	}
	found := decode[rest.Found](s.admin("GET", "/admin/v1/find?q="+id, nil).want(200))
	if !slices.Equal(found.Items, []rest.FoundThing{{Kind: "order", ID: id}}) ||
		found.Missing.Unknown("items") != "unknown: order does not answer" {
		t.Errorf("found %+v", found)
	}
	none := api.NewID(api.PrefixOrder)
	if p := s.admin("GET", "/admin/v1/transactions/"+none, nil).refused(503,
		api.CodeUnavailable); !strings.Contains(p.Detail, "order does not answer") {
		t.Errorf("%+v", p)
	}
	// The journal away as well: what is left are the participants and the streams.
	s.stop("journal")
	got = s.timeline(id)
	if got.Told != 0 || got.Order.State != "" || got.User == "" || len(got.Found) != 2 ||
		message(got, "submit").Seq == 0 || message(got, "reserve").Seq == 0 {
		t.Errorf("without the journal %+v", got)
	}
	s.start(order.Spec())
	s.until(func() *reply {
		r := s.admin("GET", "/admin/v1/transactions/"+id, nil)
		if got = decode[rest.Timeline](r); len(got.Steps) != 2 || len(got.Found) > 0 {
			r.status = 0
		}
		return r
	}, 200)
}

// An actor that takes questions and never answers keeps nobody from telling what
// the others, and the streams, know.
func TestTimelineWhileAnActorHangs(t *testing.T) {
	s := newShop(t)
	id := s.placedOrder()
	s.stop("goods")
	nc, err := bus.Connect(s.server, "", "hangs", quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if _, err := nc.Subscribe("ordo.q.goods.>", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	got := s.timeline(id)
	for _, m := range got.Missing {
		if m.Actor != "goods" || m.Why != "goods does not answer" {
			t.Errorf("missing %+v", m)
		}
	}
	if len(got.Notes) > 0 || len(got.Events) != 1 || len(got.Messages) != 5 ||
		message(got, "submit").Outcome != "done" || got.Order.State != api.OrderPlaced {
		t.Errorf("timeline %+v", got)
	}
}
