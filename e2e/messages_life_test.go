package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"ordo/api"
	"ordo/bus"
)

// life is what a shop has lived through, by its ids.
type life struct {
	p                               *process
	user, sku, course               string
	order, attempt, refund, webhook string
}

// badBody is a message that nobody can handle.
const badBody = "[]"

// liveOn takes what a shop lives through besides what the tests of rights do:
// stock, refunds that support grants and denies, an order that is refused, a
// course that is full, a new password, webhooks, and a letter that is retried.
func liveOn(p *process, g *gateway) *life {
	p.t.Helper()
	l := &life{p: p, sku: p.onSale(1000, 9), course: p.courseOf(1)}
	ann, bob := p.shopper(), p.shopper()
	l.user = ann.id
	l.hooks(ann)
	for path, body := range map[string]any{
		"/admin/v1/stock/receive": map[string]any{"sku": l.sku, "quantity": 2},
		"/admin/v1/stock/adjust":  map[string]any{"sku": l.sku, "difference": -1, "reason": "broken"},
	} {
		p.admin().must("POST", path, body, nil)
	}
	ann.give(gbp(500))
	l.order = ann.submit(ann.checkout(l.sku, 2).using("", 0, 500)).ID
	l.attempt = ann.pays(g.till, l.order).ID
	p.fulfilled(l.order)
	ann.bought(g.till, l.course, 1)
	bob.bought(g.till, l.course, 1) // and waits for a seat
	l.refunds(ann)
	last := p.onSale(1000, 1)
	late := bob.checkout(last, 1)
	ann.buy(last, 1)
	bob.problem("POST", "/v1/orders?wait=10", late, http.StatusConflict, api.CodeOutOfStock)
	bob.must("DELETE", "/v1/addresses/"+bob.address, nil, nil)
	l.visitor()
	l.password()
	l.letter()
	return l
}

// refunds has support deny a refund and grant the next.
func (l *life) refunds(ann *shopper) {
	l.p.t.Helper()
	for _, state := range []string{api.RefundDenied, api.RefundDone} {
		what := map[string]string{api.RefundDenied: "deny", api.RefundDone: "grant"}[state]
		l.refund = ann.asks(l.order, map[int]int64{0: 2}).ID
		l.p.admin().must("POST", "/admin/v1/refunds/"+l.refund+"/"+what, map[string]string{"note": "ok"},
			nil)
		eventually(l.p.t, "refund "+state, func() bool {
			var r api.Refund
			l.p.admin().must("GET", "/admin/v1/refunds/"+l.refund, nil, &r)
			return r.State == state
		})
	}
}

// visitor fills a cart and goes.
func (l *life) visitor() {
	l.p.t.Helper()
	var made struct{ Guest string }
	l.p.as("").must("POST", "/v1/guests", nil, &made)
	resp, data, err := l.p.as("").send(http.Header{"Ordo-Guest": {made.Guest}}, "POST",
		"/v1/cart/lines", fmt.Appendf(nil, `{"sku":%q,"quantity":2}`, l.sku))
	if err != nil || resp.StatusCode/100 != 2 {
		l.p.t.Fatalf("%v %s", err, data)
	}
}

// password changes a password.
func (l *life) password() {
	l.p.t.Helper()
	who := map[string]string{"email": "eve@example.com", "password": "pass-word"}
	var made struct{ Token string }
	l.p.as("").must("POST", "/v1/register", who, nil)
	l.p.as("").must("POST", "/v1/login", who, &made)
	l.p.as(made.Token).must("POST", "/v1/me/password", map[string]string{
		"old_password": who["password"], "new_password": "word-pass"}, nil)
}

// hooks does with webhooks all there is to do, and leaves one.
func (l *life) hooks(ann *shopper) {
	l.p.t.Helper()
	gone, e := newEndpoint(l.p.t, nil), newEndpoint(l.p.t, nil)
	for _, e := range []*endpoint{gone, e} {
		l.p.hooks(e, api.EventOrderPlaced)
	}
	l.webhook = e.hook.ID
	e.answer(http.StatusServiceUnavailable)
	o := ann.buy(l.sku, 1)
	eventually(l.p.t, "two tries", func() bool { return len(e.of(o.ID)) == 2 })
	path := "/admin/v1/webhooks/" + l.webhook
	l.p.admin().must("PUT", path, map[string]any{"url": e.url, "enabled": true,
		"types": []string{api.EventOrderPlaced}}, nil)
	l.p.admin().must("POST", path+"/test", nil, nil)
	l.p.admin().must("POST", path+"/replay", map[string]any{"since": api.Time(1)}, nil)
	l.p.admin().must("DELETE", "/admin/v1/webhooks/"+gone.hook.ID, nil, nil)
	l.p.admin().must("POST", path+"/rotate", nil, nil)
}

// letter has a message become a dead letter, and retries it.
func (l *life) letter() {
	l.p.t.Helper()
	m := nats.NewMsg(bus.MailboxSubject("goods", "reserve"))
	m.Header.Set(nats.MsgIdHdr, "not-from-an-actor-either")
	m.Data = []byte(badBody)
	if _, err := l.p.connect().RequestMsg(m, 5*time.Second); err != nil {
		l.p.t.Fatal(err)
	}
	eventually(l.p.t, "a retry", func() bool {
		status, _, err := l.p.admin().call("POST", "/admin/v1/dead/goods/2/retry",
			map[string]string{"reason": "a test"})
		return err == nil && status == http.StatusOK
	})
}

// questions are one for each query, about what the shop has lived through.
func (l *life) questions(nc *nats.Conn) map[string]string {
	l.p.t.Helper()
	order, user := fmt.Sprintf(`{"order":%q}`, l.order), fmt.Sprintf(`{"user":%q}`, l.user)
	id := func(id string) string { return fmt.Sprintf(`{"id":%q}`, id) }
	deliveries := `{"webhook":"` + l.webhook + `"}`
	all := map[string]string{
		"coupon.list": user, "goods.categories": `{}`, "goods.ledger": fmt.Sprintf(`{"sku":%q}`, l.sku),
		"goods.products": `{}`, "goods.skus": fmt.Sprintf(`{"ids":[%q]}`, l.sku),
		"journal.deliveries": deliveries, "journal.entries": order, "journal.webhook": id(l.webhook),
		"journal.webhooks": `{}`, "learning.courses": `{}`, "learning.enrolments": user,
		"learning.course": fmt.Sprintf(`{"sku":%q}`, l.course),
		"order.order":     id(l.order), "order.orders": user, "order.refund": id(l.refund),
		"order.refunds": order, "order.steps": order, "order.submission": id(l.order),
		"order.tally": `{"minutes":5}`, "order.transactions": `{"limit":2}`,
		"order.result":    id(lastID(l.p.t, nc, "ORDER", bus.MailboxSubject("order", "submit"))),
		"payment.attempt": id(l.attempt), "payment.incidents": `{}`, "payment.log": order,
		"payment.payment": order, "payment.payments": `{"limit":2}`, "shipping.shipment": order,
		"shipping.shipments": `{"limit":2}`, "user.addresses": user, "user.revocations": `{"after":0}`,
		"user.user": id(l.user), "wallet.entries": fmt.Sprintf(`{"user":%q,"unit":"GBP"}`, l.user),
		"wallet.wallet": fmt.Sprintf(`{"user":%q,"currency":"GBP"}`, l.user),
	}
	for _, actor := range bus.ActorNames() {
		all[actor+"."+api.EndpointStatus] = ""
		all[actor+"."+api.EndpointDead] = `{}`
		all[actor+"."+api.EndpointEffects] = `{"limit":3}`
		all[actor+"."+api.EndpointKnown] = order
	}
	all["goods.product"] = id(asked[api.ProductList](l, nc, all, "goods.products").Products[0].ID)
	all["payment.trade"] = fmt.Sprintf(`{"number":%q}`,
		asked[api.PayLog](l, nc, all, "payment.log").Entries[0].TradeNo)
	all["journal.delivery"] = fmt.Sprintf(`{"webhook":%q,"id":%q}`, l.webhook,
		asked[api.DeliveryList](l, nc, all, "journal.deliveries").Deliveries[0].ID)
	all["learning.check-seats"] = string(api.Raw(&api.CheckSeats{Courses: []api.Course{
		asked[api.Course](l, nc, all, "learning.course")}}))
	return all
}

// asked is the answer to one of the questions.
func asked[T any](l *life, nc *nats.Conn, all map[string]string, query string) T {
	l.p.t.Helper()
	return ask[T](l.p.t, nc, "ordo.q."+query, json.RawMessage(all[query]))
}

// lastID is the identity of the last message on a subject.
func lastID(t testing.TB, nc *nats.Conn, stream, subject string) string {
	t.Helper()
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	m, err := js.GetLastMsg(stream, subject)
	if err != nil {
		t.Fatal(err)
	}
	return bus.Identity(m.Header)
}
