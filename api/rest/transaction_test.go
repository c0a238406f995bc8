package rest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/actors/goods"
	"ordo/api"
	"ordo/api/rest"
	"ordo/bus"
)

func (s *shop) timeline(order string) rest.Timeline {
	s.t.Helper()
	return decode[rest.Timeline](s.admin("GET", "/admin/v1/transactions/"+order, nil).want(200))
}

// settled waits until an order waits for nothing but its payment, and all that
// was said about it has been handled.
func (s *shop) settled(order string) rest.Timeline {
	s.t.Helper()
	var t rest.Timeline
	s.until(func() *reply {
		r := s.admin("GET", "/admin/v1/transactions/"+order, nil).want(200)
		t = decode[rest.Timeline](r)
		open := slices.ContainsFunc(t.Steps, func(st rest.TimelineStep) bool {
			return st.Open() && st.Name != "payment.collect"
		})
		if open || len(t.Events) == 0 || slices.ContainsFunc(t.Messages,
			func(m rest.TimelineMessage) bool { return !m.Handled }) {
			r.status = 0
		}
		return r
	}, 200)
	return t
}

// ACCEPT M7: support sees an order's steps, messages, events, effects and what it
// waits for, and nothing of who lives where.
func TestTimeline(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	o := u.placed(u.call("POST", "/v1/orders?wait=10s", u.order(u.buyNow("mug", 2))))
	got := s.settled(o.ID)
	if got.Order.State != api.OrderPlaced || got.User != u.id || got.Order.Total != gbp(2000) ||
		got.Order.Lines[0].Name == api.Masked || len(got.Notes) > 0 || len(got.Letters) > 0 {
		t.Errorf("timeline %+v", got)
	}
	var seen []string
	for _, m := range got.Messages {
		seen = append(seen, m.From+">"+m.Subject)
		if m.Seq == 0 || m.Stream != bus.MailboxStream(m.Actor) || m.At == 0 || m.ID == "" {
			t.Errorf("message %+v", m)
		}
	}
	want := []string{"edge>ordo.order.0.submit", "order>ordo.goods.0.reserve",
		"goods>ordo.order.0.step-result", "order>ordo.payment.0.collect",
		"order>" + bus.EventSubject(api.EventOrderPlaced, o.ID)}
	slices.Sort(want[3:])
	slices.Sort(seen[min(3, len(seen)):])
	if !slices.Equal(seen, want) {
		t.Errorf("messages %q, want %q", seen, want)
	}
	if first := got.Messages[0]; first.Outcome != "done" || first.Dead != "" {
		t.Errorf("submit %+v", first)
	}
	if len(got.Why) != 1 || !strings.Contains(got.Why[0].Text, "waits for its payment until") {
		t.Errorf("why %+v", got.Why)
	}
	if len(got.Commands) < 4 || got.Commands[0] !=
		fmt.Sprintf(`nats request ordo.q.order.order '{"id":"%s"}'`, o.ID) {
		t.Errorf("commands %q", got.Commands)
	}
	raw := string(s.admin("GET", "/admin/v1/transactions/"+o.ID, nil).want(200).body)
	for _, secret := range []string{"Ann", "7946", "High Street", "London", "chk_"} {
		if strings.Contains(raw, secret) {
			t.Errorf("%s is shown in %s", secret, raw)
		}
	}
	s.admin("GET", "/admin/v1/transactions/"+api.NewID(api.PrefixOrder), nil).
		refused(404, api.CodeNotFound)
	s.admin("GET", "/admin/v1/transactions/x", nil).refused(404, api.CodeNotFound)
	u.call("GET", "/admin/v1/transactions/"+o.ID, nil).refused(403, api.CodeForbidden)
}

// ids are the orders of a list.
func (s *shop) ids(query string) (ids []string) {
	s.t.Helper()
	for _, o := range decode[api.TransactionList](s.admin("GET", "/admin/v1/transactions?"+query,
		nil).want(200)).Transactions {
		ids = append(ids, o.Order)
	}
	return ids
}

// ACCEPT M7: the list is filtered by state, user, SKU and what is stuck.
func TestTransactions(t *testing.T) {
	s := newShop(t)
	ann, bob := s.shopper("ann@example.com"), s.shopper("bob@example.com")
	mug := ann.placed(ann.call("POST", "/v1/orders?wait=10s", ann.order(ann.buyNow("mug", 1)))).ID
	shirt := bob.placed(bob.call("POST", "/v1/orders?wait=10s",
		bob.order(bob.buyNow("shirt-s", 1)))).ID
	bob.call("POST", "/v1/orders/"+shirt+"/cancel", nil).want(200)
	s.settled(shirt)
	for query, want := range map[string][]string{
		"":               {shirt, mug},
		"limit=1":        {shirt},
		"state=placed":   {mug},
		"user=" + ann.id: {mug},
		"sku=shirt-s":    {shirt},
		"sku=none":       nil,
		"older=3600":     nil,
		"stuck=true":     nil,
		"state=cancelled&sku=shirt-s&user=" + bob.id: {shirt},
		"state=placed&sku=shirt-s":                   nil,
	} {
		if got := s.ids(query); !slices.Equal(got, want) {
			t.Errorf("%q lists %q, want %q", query, got, want)
		}
	}
	list := decode[api.TransactionList](s.admin("GET", "/admin/v1/transactions?state=placed", nil).
		want(200))
	if waits := list.Transactions[0].Waits; len(waits) != 1 || waits[0].Name != "payment.collect" {
		t.Errorf("waits %+v", waits)
	}
	s.admin("GET", "/admin/v1/transactions?cursor=x", nil).refused(422, api.CodeInvalid)
}

// ACCEPT M7: an order whose participant is down says so, and goes on once it is
// back and asked again.
func TestStuckOrder(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	p := u.buyNow("mug", 1)
	s.stop("goods")
	o := decode[api.Order](u.call("POST", "/v1/orders?wait=100ms", u.order(p)).want(202))
	s.until(func() *reply {
		r := s.admin("GET", "/admin/v1/transactions?stuck=true", nil).want(200)
		if len(decode[api.TransactionList](r).Transactions) == 0 {
			r.status = 0
		}
		return r
	}, 200)
	got := s.timeline(o.ID)
	if len(got.Why) == 0 || got.Why[0].Actor != "goods" || got.Why[0].Since == 0 ||
		!strings.Contains(got.Why[0].Text, "goods.reserve was asked for") ||
		!strings.Contains(got.Why[0].Text, "the goods actor does not answer") {
		t.Errorf("why %+v", got.Why)
	}
	look := decode[rest.Overview](s.admin("GET", "/admin/v1/overview", nil).want(200))
	for _, a := range look.Actors {
		if down := a.Actor == "goods"; a.Ready == down || down && a.Fault != "does not answer" {
			t.Errorf("actor %+v", a)
		}
	}
	asked := decode[rest.Retried](s.admin("POST", "/admin/v1/transactions/"+o.ID+"/retry",
		object{"reason": "goods was down"}).want(200))
	if !slices.Equal(asked.Steps, []string{"goods.reserve"}) || asked.Letters != 0 {
		t.Errorf("retried %+v", asked)
	}
	s.start(goods.Spec())
	got = s.settled(o.ID)
	if got.Order.State != api.OrderPlaced || got.Steps[0].Attempts != 2 {
		t.Errorf("order %s, steps %+v", got.Order.State, got.Steps)
	}
	if got.Events[0].Type != api.EventOrderRetried ||
		!strings.Contains(string(got.Events[0].Data), "goods was down") {
		t.Errorf("events %+v", got.Events)
	}
	if n := s.available("mug"); n != 99 {
		t.Errorf("%d mugs", n)
	}
}

// ACCEPT M7 M5: a retry takes on the dead letters about the order.
func TestRetryOfLetters(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	o := u.placed(u.call("POST", "/v1/orders?wait=10s", u.order(u.buyNow("mug", 1))))
	s.settled(o.ID)
	// An answer to what nobody asked for can't be handled.
	body := api.Raw(&api.StepResult{Step: api.Step{Order: o.ID, Name: "goods.sell"}})
	if _, err := s.js.Publish(t.Context(), bus.MailboxSubject("order", "step-result"), body,
		jetstream.WithMsgID("odd-1")); err != nil {
		t.Fatal(err)
	}
	s.until(func() *reply {
		r := s.admin("GET", "/admin/v1/dead?actor=order", nil).want(200)
		if len(decode[api.LetterList](r).Letters) == 0 {
			r.status = 0
		}
		return r
	}, 200)
	got := s.timeline(o.ID)
	if len(got.Letters) != 1 || got.Letters[0].Actor != "order" || len(got.Why) == 0 ||
		!strings.Contains(got.Why[0].Text, "order could not handle the message step-result") ||
		!strings.Contains(got.Why[0].Text, "dead letter 1") {
		t.Errorf("letters %+v, why %+v", got.Letters, got.Why)
	}
	if i := slices.IndexFunc(got.Messages, func(m rest.TimelineMessage) bool {
		return m.ID == "odd-1"
	}); i < 0 || !strings.HasPrefix(got.Messages[i].Dead, "1, open: ") {
		t.Errorf("messages %+v", got.Messages)
	}
	again := decode[rest.Retried](s.admin("POST", "/admin/v1/transactions/"+o.ID+"/retry",
		object{"reason": "look again"}).want(200))
	if again.Open != 1 || again.Letters != 0 ||
		!slices.Equal(again.Steps, []string{"payment.collect"}) {
		t.Errorf("retried %+v", again)
	}
}

// ACCEPT M7: an order of which a participant has lost its part is brought together
// with it, and one that is well is left alone.
func TestSettleOrder(t *testing.T) {
	s := newShop(t)
	u := s.shopper("ann@example.com")
	o := u.placed(u.call("POST", "/v1/orders?wait=10s", u.order(u.buyNow("mug", 1))))
	s.settled(o.ID)
	settle := func() rest.Settled {
		t.Helper()
		return decode[rest.Settled](s.admin("POST", "/admin/v1/transactions/"+o.ID+"/settle",
			object{"reason": "looks odd"}).want(200))
	}
	if got := settle(); len(got.Found) != 0 {
		t.Errorf("settled %+v", got)
	}
	// Goods is told by somebody else to give the units back.
	if err := s.edge.Do(t.Context(), "meddle", &api.ReleaseStock{Step: api.Step{Order: o.ID,
		Name: "goods.reserve"}}, nil); err != nil {
		t.Fatal(err)
	}
	got := settle()
	if len(got.Found) != 1 || got.Found[0] != (api.FoundStep{Name: "goods.reserve",
		State: api.StepUndone}) {
		t.Errorf("settled %+v", got)
	}
	s.until(func() *reply {
		r := s.admin("GET", "/admin/v1/transactions/"+o.ID, nil).want(200)
		end := decode[rest.Timeline](r)
		if !slices.ContainsFunc(end.Events, func(e api.JournalEntry) bool {
			return e.Type == api.EventOrderSettled && strings.Contains(string(e.Data), `"by":"admin"`)
		}) || end.Order.State != api.OrderCancelled {
			r.status = 0
		}
		return r
	}, 200)
	s.settled(o.ID)
	s.admin("POST", "/admin/v1/transactions/"+api.NewID(api.PrefixOrder)+"/settle",
		object{"reason": "x"}).refused(404, api.CodeNotFound)
	// The answer to the meddling was a dead letter, which can be handled now.
	s.admin("POST", "/admin/v1/transactions/"+o.ID+"/retry", object{"reason": "x"}).want(200)
	s.admin("POST", "/admin/v1/transactions/"+o.ID+"/retry", object{"reason": "x"}).
		refused(409, api.CodeNothingToRetry)
}

// ACCEPT M7: the overview counts orders, and tells how actors and streams are.
func TestOverview(t *testing.T) {
	s := newShop(t, func(c *rest.Config) { c.Audit = func() any { return object{"ok": true} } })
	u := s.shopper("ann@example.com")
	o := u.placed(u.call("POST", "/v1/orders?wait=10s", u.order(u.buyNow("mug", 1))))
	s.settled(o.ID)
	got := decode[rest.Overview](s.admin("GET", "/admin/v1/overview?minutes=5", nil).want(200))
	if got.Orders.States[api.OrderPlaced] != 1 || len(got.Orders.States) != 1 ||
		len(got.Orders.Minutes) != 1 && len(got.Orders.Minutes) != 2 {
		t.Errorf("orders %+v", got.Orders)
	}
	if len(got.Actors) != len(bus.ActorNames()) || len(got.Streams) != len(bus.Streams()) ||
		got.Timers.Pending != 1 || len(got.Notes) > 0 || got.Dead != 0 ||
		time.Since(got.At.Std()) > time.Minute {
		t.Errorf("overview %+v", got)
	}
	if b, _ := json.Marshal(got.Audit); string(b) != `{"ok":true}` {
		t.Errorf("audit %s", b)
	}
	if i := slices.IndexFunc(got.Streams, func(st bus.StreamState) bool {
		return st.Name == "ORDER"
	}); got.Streams[i].Messages < 2 || got.Streams[i].MaxBytes == 0 {
		t.Errorf("streams %+v", got.Streams)
	}
	s.admin("GET", "/admin/v1/overview?minutes=1441", nil).refused(422, api.CodeInvalid)
	u.call("GET", "/admin/v1/overview", nil).refused(403, api.CodeForbidden)
}
