package journal_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/actors/journal"
	"ordo/api"
)

// ACCEPT P8
// For a day after a rotation both secrets sign.
func TestWebhookRotation(t *testing.T) {
	a, hook := hooked(t)
	a.MustEdge("rotate-1", &api.RotateWebhook{ID: hook, Secret: secret(7)})
	until := api.TimeOf(a.Now).Add(24 * time.Hour)
	call := func() api.WebhookCall {
		emit(a, "order", api.EventOrderPaid, "ord_1")
		return ask[api.WebhookCall](a, &api.GetWebhookCall{WebhookTry: begun(a)[0]})
	}
	if c := call(); c.Secret != secret(7) || c.OldSecret != secret(1) || c.OldUntil != until {
		t.Errorf("call %+v", c)
	}
	a.Advance(25 * time.Hour)
	a.Tick()
	if c := call(); c.Secret != secret(7) || c.OldSecret != "" {
		t.Errorf("a day later: %+v", c)
	}
}

// ACCEPT P8
// A replay sends again under the same webhook-id: one delivery, what was missed
// since a time, or all.
func TestWebhookReplay(t *testing.T) {
	a, hook := hooked(t, api.EventOrderPaid)
	emit(a, "order", api.EventOrderPaid, "ord_1")
	ends(a, begun(a)[0], api.WebhookOutcome{Status: 200})
	id := only(a, hook, api.DeliveryDelivered).ID
	a.MustEdge("replay-1", &api.ReplayWebhook{ID: hook, Delivery: id})
	if got := begun(a); len(got) != 1 || got[0] != (api.WebhookTry{Delivery: id, Number: 2}) {
		t.Fatalf("replayed %+v", got)
	}
	a.MustEdge("replay-2", &api.ReplayWebhook{ID: hook, Delivery: id}) // it is on its way
	if len(a.Out.Effects) != 0 {
		t.Errorf("replayed twice: %+v", begun(a))
	}
	ends(a, api.WebhookTry{Delivery: id, Number: 2}, api.WebhookOutcome{Status: 200})

	set := api.ChangeWebhook{ID: hook, URL: receiver, Types: []string{api.EventOrderPaid}}
	a.MustEdge("off", &set)
	since := api.TimeOf(a.Now)
	flood(a, 25*100, func(i int) string { // more than a sweep handles
		if i%25 == 0 {
			return api.EventOrderPaid
		}
		return api.EventOrderPlaced
	})
	set.Enabled = true
	a.MustEdge("on", &set)
	if n := len(deliveries(a, hook)); n != 1 {
		t.Fatalf("%d deliveries while it was disabled", n)
	}
	a.MustEdge("since", &api.ReplayWebhook{ID: hook, Since: since})
	if n := drain(a); n != 100 {
		t.Errorf("%d were sent", n)
	}
	if d := ask[api.DeliveryDetail](a, &api.GetDelivery{Webhook: hook, ID: id}); d.Tries != 2 {
		t.Errorf("one from before was sent again: %+v", d)
	}
	a.MustEdge("again", &api.ReplayWebhook{ID: hook, Since: since})
	if n := drain(a); n != 0 {
		t.Errorf("%d were sent again", n)
	}
	a.MustEdge("all", &api.ReplayWebhook{ID: hook, Since: 1, All: true})
	if n := drain(a); n != 101 {
		t.Errorf("%d of all were sent again", n)
	}
	a.MustEdge("future", &api.ReplayWebhook{ID: hook, Since: api.TimeOf(a.Now).Add(time.Hour)})
	if n := drain(a); n != 0 {
		t.Errorf("%d of the future were sent", n)
	}
}

// What waits for hours, because an endpoint was down, is sent at once when it is
// replayed: one, or all. What has failed does not count at another address.
func TestWebhookReplayDoesNotWait(t *testing.T) {
	a, hook := hooked(t)
	emit(a, "order", api.EventOrderPaid, "ord_1")
	tries := begun(a)
	for range 5 {
		ends(a, tries[0], api.WebhookOutcome{Error: "no such host"})
		tries = wakes(a, 24*time.Hour)
	}
	for i, m := range []api.ReplayWebhook{{Delivery: tries[0].Delivery}, {Since: 1}} {
		m.ID = hook
		ends(a, tries[0], api.WebhookOutcome{Error: "no such host"})
		waiting := only(a, hook, api.DeliveryPending)
		a.MustEdge(fmt.Sprint("replay-", i), &m)
		next := begun(a)
		if len(next) != 1 || next[0].Number != waiting.Tries+1 {
			t.Fatalf("%+v: began %+v", m, next)
		}
		tries = next
	}
	for range 20 { // it rests
		ends(a, tries[0], api.WebhookOutcome{Error: "no such host"})
		a.Advance(2 * time.Minute)
		a.MustEdge(fmt.Sprint("again-", a.Now), &api.ReplayWebhook{ID: hook, Since: 1})
		tries = begun(a)
	}
	ends(a, tries[0], api.WebhookOutcome{Error: "no such host"})
	a.MustEdge("moved", &api.ChangeWebhook{ID: hook, URL: receiver + "/2", Enabled: true})
	if h := ask[api.Webhook](a, &api.GetWebhook{ID: hook}); h.Failures != 0 || h.FailingSince != 0 {
		t.Errorf("endpoint %+v", h)
	}
	if a.MustEdge("since", &api.ReplayWebhook{ID: hook, Since: 1}); len(begun(a)) != 1 {
		t.Errorf("at another address: began %+v", begun(a))
	}
}

// flood has n events of orders come in one batch.
func flood(a *actorstest.Actor, n int, typ func(i int) string) {
	a.T.Helper()
	events := make([]api.Event, n)
	for i := range events {
		events[i] = api.Event{Type: typ(i), Order: fmt.Sprint("ord_", i)}
	}
	a.Event("order", events...)
}

// drain answers all tries with success until nothing is left to do.
func drain(a *actorstest.Actor) (n int) {
	a.T.Helper()
	tries := begun(a)
	for {
		for len(tries) > 0 {
			w := tries[0]
			ends(a, w, api.WebhookOutcome{Status: 200})
			tries = append(tries[1:], begun(a)...)
			n++
		}
		if a.Tick(); len(a.Out.Sent) == 0 && len(a.Out.Effects) == 0 {
			return n
		}
		tries = begun(a)
	}
}

// A delivery's webhook-id is made of event and endpoint, so that an event that
// is told twice, or replayed after its log is gone, has the same.
func TestWebhookIDsStay(t *testing.T) {
	a, hook := hooked(t)
	emit(a, "order", api.EventOrderPaid, "ord_1")
	ends(a, begun(a)[0], api.WebhookOutcome{Status: 200})
	id := only(a, hook, api.DeliveryDelivered).ID
	a.Advance(31 * 24 * time.Hour)
	if a.Tick(); len(deliveries(a, hook)) != 0 {
		t.Fatalf("the log has %+v", deliveries(a, hook))
	}
	if n := len(list(t, a, api.ListJournal{}).Entries); n != 1 {
		t.Errorf("the journal has %d entries", n)
	}
	a.MustEdge("since", &api.ReplayWebhook{ID: hook, Since: 1})
	if got := only(a, hook, api.DeliverySending); got.ID != id {
		t.Errorf("it is %s now, and was %s", got.ID, id)
	}
}

// The log forgets what has ended, in parts, and never what is under way.
func TestWebhookLogIsPruned(t *testing.T) {
	a, hook := hooked(t)
	flood(a, actors.SweepLimit+200, func(int) string { return api.EventOrderPaid })
	tries := begun(a)
	a.MustEdge("off", &api.ChangeWebhook{ID: hook, URL: receiver}) // which skips what waits
	for _, w := range tries[1:] {                                  // the first one hangs
		ends(a, w, api.WebhookOutcome{Status: 200})
	}
	for range 2 {
		a.Tick()
	}
	a.Advance(31 * 24 * time.Hour)
	if a.Tick(); len(a.Out.Sent) != 1 || len(deliveries(a, hook)) != api.MaxPage {
		t.Errorf("sent %v, %d are left", a.Subjects(), len(deliveries(a, hook)))
	}
	a.Tick()
	if got := only(a, hook, api.DeliverySending); got.Order != "ord_0" {
		t.Errorf("left %+v", got)
	}
	if n := len(list(t, a, api.ListJournal{Order: "ord_7"}).Entries); n != 1 {
		t.Errorf("the journal has %d entries", n)
	}
}

// The log has a limit, also while many deliveries from before wait for an endpoint
// that does not answer.
func TestWebhookLogHasALimit(t *testing.T) {
	a, _ := hooked(t, api.EventOrderPlaced)
	quick := hookUp(a, 2, api.EventOrderPaid)
	flood(a, actors.SweepLimit+200, func(int) string { return api.EventOrderPlaced })
	for i := range 5 {
		emit(a, "order", api.EventOrderPaid, fmt.Sprint("ord_", i))
		ends(a, begun(a)[0], api.WebhookOutcome{Status: 200})
	}
	if a.Tick(); len(deliveries(a, quick)) != 5 {
		t.Fatalf("%d deliveries are left", len(deliveries(a, quick)))
	}
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(a.Path))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`INSERT INTO delivery (n, id, webhook, type, order_id, entry, state,
			next_try, at, ended)
		SELECT n + ?, 'msg_far', webhook, type, order_id, entry, state, next_try, at, ended
		FROM delivery ORDER BY n DESC LIMIT 1`, journal.MaxLog); err != nil {
		t.Fatal(err)
	}
	a.Tick()
	if d := only(a, quick, api.DeliveryDelivered); d.ID != "msg_far" {
		t.Errorf("left %+v", d)
	}
}

// notCalled asks for what a try sends, which must be refused.
func notCalled(a *actorstest.Actor, w api.WebhookTry) {
	a.T.Helper()
	refusal := a.Ask(&api.GetWebhookCall{WebhookTry: w}, new(api.WebhookCall))
	if refusal == nil || refusal.Code != api.CodeNotFound {
		a.T.Errorf("%+v: %v", w, refusal)
	}
}

// An endpoint that is deleted is gone at once, its log within sweeps, and what
// is still reported of it is nothing.
func TestWebhookIsDeleted(t *testing.T) {
	a, hook := hooked(t)
	emit(a, "order", api.EventOrderPaid, "ord_1")
	w := begun(a)[0]
	a.MustEdge("delete", &api.DeleteWebhook{ID: hook})
	notCalled(a, w)
	for _, q := range []api.Query{&api.GetWebhook{ID: hook}, &api.ListDeliveries{Webhook: hook}} {
		if r := a.Ask(q, new(json.RawMessage)); r == nil || r.Code != api.CodeNotFound {
			t.Errorf("%T: %v", q, r)
		}
	}
	for range 2 {
		ends(a, w, api.WebhookOutcome{Status: 500})
		a.Tick()
	}
	emit(a, "order", api.EventOrderPaid, "ord_2")
	if left := count(a, `SELECT count(*) FROM delivery`); len(a.Out.Effects) != 0 || left != 0 ||
		len(a.Out.Dead) != 0 {
		t.Errorf("left %d, %+v", left, a.Out)
	}
	if r := a.Edge("delete-2", &api.DeleteWebhook{ID: hook}); r.Refusal == nil {
		t.Error("it was deleted twice")
	}
}

// A try that is reported twice, or late, counts once.
func TestWebhookOutcomeCountsOnce(t *testing.T) {
	a, hook := hooked(t)
	emit(a, "order", api.EventOrderPaid, "ord_1")
	w := begun(a)[0]
	ends(a, w, api.WebhookOutcome{Status: 500, Milliseconds: 1})
	ends(a, w, api.WebhookOutcome{Status: 200, Milliseconds: 2})
	if d := only(a, hook, api.DeliveryPending); d.Tries != 1 || d.Status != 500 {
		t.Errorf("delivery %+v", d)
	}
	next := wakes(a, time.Minute)
	notCalled(a, w)
	ends(a, w, api.WebhookOutcome{Status: 200})
	only(a, hook, api.DeliverySending)
	a.MustEdge("off", &api.ChangeWebhook{ID: hook, URL: receiver})
	notCalled(a, next[0])
	ends(a, next[0], api.WebhookOutcome{Withdrawn: true})
	only(a, hook, api.DeliverySkipped)
	wantIncidents(a, 0)
}

// ACCEPT P8
// A worker that asks while a journal that was restored still catches up is told
// that its try is not wanted. The journal does not lose the delivery by that.
func TestWebhookTryIsAskedForTooEarly(t *testing.T) {
	a, hook := hooked(t)
	w := api.WebhookTry{Delivery: api.DeriveID(api.PrefixDelivery, time.Unix(0, 0),
		a.ChannelID("order", 1)+"/"+hook), Number: 1}
	notCalled(a, w) // a try from before the restore: the event is still to come
	emit(a, "order", api.EventOrderPaid, "ord_1")
	if got := begun(a); len(got) != 1 || got[0] != w {
		t.Fatalf("began %+v, want %+v", got, w)
	}
	ends(a, w, api.WebhookOutcome{Withdrawn: true}) // which was behind all events
	if d := only(a, hook, api.DeliveryPending); d.Status != 0 || d.Error != "" {
		t.Errorf("delivery %+v", d)
	}
	if got := wakes(a, time.Minute); len(got) != 1 || got[0].Number != 2 {
		t.Fatalf("began %+v", got)
	}
	if h := ask[api.Webhook](a, &api.GetWebhook{ID: hook}); h.Failures != 0 {
		t.Errorf("it counts as a failure: %+v", h)
	}
}

// A test is one try of an event that there was none of.
func TestWebhookTest(t *testing.T) {
	a, hook := hooked(t, api.EventOrderPaid)
	r := a.MustEdge("test", &api.TestWebhook{ID: hook})
	w := begun(a)[0]
	if !strings.Contains(string(r.Value), w.Delivery) {
		t.Errorf("answered %s", r.Value)
	}
	c := ask[api.WebhookCall](a, &api.GetWebhookCall{WebhookTry: w})
	if c.Payload.Type != api.WebhookTest || c.Payload.Data != (api.WebhookData{Webhook: hook}) {
		t.Errorf("call %+v", c)
	}
	ends(a, w, api.WebhookOutcome{Status: 404})
	only(a, hook, api.DeliveryFailed)
}

// A test does not wait while an endpoint rests, nor does it let anything else be
// sent; so many are under way and no more.
func TestWebhookTestOfOneThatRests(t *testing.T) {
	a, _ := hooked(t)
	for i := range 10 {
		emit(a, "order", api.EventOrderPaid, fmt.Sprint("ord_", i))
		ends(a, begun(a)[0], api.WebhookOutcome{Error: "timeout"})
	}
	a.Advance(10 * time.Second)
	if a.Tick(); len(a.Out.Effects) != 0 {
		t.Fatalf("it does not rest: %+v", begun(a))
	}
	var tests []api.WebhookTry
	for i := range api.WebhookWindow + 2 {
		a.MustEdge(fmt.Sprint("test-", i), &api.TestWebhook{ID: hookID(1)})
		tests = append(tests, begun(a)...)
	}
	if len(tests) != api.WebhookWindow {
		t.Fatalf("%d tries began", len(tests))
	}
	ends(a, tests[0], api.WebhookOutcome{Error: "timeout"})
	if got := begun(a); len(got) != 1 || got[0].Number != 1 {
		t.Errorf("after one has failed: %+v", got)
	}
	ends(a, tests[1], api.WebhookOutcome{Status: 200})
	if got := begun(a); len(got) != 1 || got[0].Number != 1 {
		t.Errorf("after one has succeeded: %+v", got)
	}
}

// ACCEPT P8
// Others get ids, states and amounts of an event, and nothing about the person.
func TestWebhookPayload(t *testing.T) {
	gbp := func(n int64) api.Money { return api.Money{Amount: n, Currency: "GBP"} }
	address := api.Address{Name: "Ann Other", Phone: "07700900123"}
	rfd := api.NewID(api.PrefixRefund)
	for _, c := range []struct {
		typ        string
		data       any
		want, lack string
	}{
		{api.EventOrderRefused, &api.Order{ID: "ord_1", State: api.OrderRefused, Total: gbp(500),
			Due: gbp(500), Address: address, Channel: "web", Reason: api.Refuse(api.CodeOutOfStock,
				"too few").With([]int{1})},
			`"state":"refused","reason":"out_of_stock","total":{"amount":500,"currency":"GBP"}`, "few"},
		{api.EventOrderRefunded, &api.Refund{ID: rfd, State: api.RefundDone, Amount: gbp(200),
			Reason: "I am ill", Note: "call Ann"}, `"refund":"` + rfd + `"`, "ill"},
		{api.EventPaymentPaid, &api.PayLogEntry{Kind: "in", Provider: "alipay", Attempt: "pay_1",
			TradeNo: "77", Amount: gbp(500)}, `"provider":"alipay","attempt":"pay_1","trade_no":"77"`,
			"kind"},
		{api.EventShipmentShipped, &api.Shipment{Address: address, State: "shipped",
			Carrier: "Royal Mail", Tracking: "RM1", Lines: []api.ShipLine{{SKU: "a"}}},
			`"carrier":"Royal Mail","tracking":"RM1"`, "lines"},
		{api.EventEnrolled, &api.Enrolment{SKU: "go-1", Title: "Go", State: "enrolled"},
			`"state":"enrolled","sku":"go-1"`, "title"},
		{api.EventOrderPaid, "nothing known", `"data":{"event":7,"order":"ord_1","user":"usr_1"}`, "known"},
		{api.EventOrderPaid, map[string]any{"state": 5, "webhook": "whk_1", "order": "x"},
			`"data":{"event":7,"order":"ord_1","user":"usr_1"}`, "whk"},
	} {
		p := journal.Payload(&api.JournalEntry{Seq: 7, At: 1e18, Event: api.Event{Type: c.typ,
			Order: "ord_1", User: "usr_1", Data: api.Raw(c.data)}})
		text := string(api.Raw(p))
		if !strings.Contains(text, c.want) || !strings.HasPrefix(text,
			`{"type":"`+c.typ+`","timestamp":"2001-09-09T01:46:40Z","data":{"event":7,"order":"ord_1"`) {
			t.Errorf("%s: %s", c.typ, text)
		}
		for _, word := range []string{c.lack, "Ann", "0770"} {
			if strings.Contains(text, word) {
				t.Errorf("%s: %q in %s", c.typ, word, text)
			}
		}
	}
}

// ACCEPT P8
func TestWebhookCommandsAreChecked(t *testing.T) {
	a, hook := hooked(t)
	for i, c := range []struct {
		m     api.Message
		code  api.Code
		place string
	}{
		{&api.CreateWebhook{ID: "whk_1", URL: receiver, Secret: secret(1)}, api.CodeInvalid, ""},
		{&api.CreateWebhook{ID: hook, URL: receiver, Secret: secret(1)}, api.CodeInvalid, "id"},
		{&api.CreateWebhook{ID: hookID(9), URL: "ftp://x", Secret: secret(1)}, api.CodeInvalid, "url"},
		{&api.CreateWebhook{ID: hookID(9), URL: receiver}, api.CodeInvalid, "secret"},
		{&api.CreateWebhook{ID: hookID(9), URL: receiver, Secret: "whsec_AAAA"}, api.CodeInvalid, "secret"},
		{&api.CreateWebhook{ID: hookID(9), URL: receiver, Secret: secret(1),
			Types: []string{api.EventOrderPaid, "order.eaten"}}, api.CodeInvalid, "types[1]"},
		{&api.CreateWebhook{ID: hookID(9), URL: receiver, Secret: secret(1),
			Types: []string{api.EventOrderPaid, api.EventOrderPaid}}, api.CodeInvalid, "types[1]"},
		{&api.ChangeWebhook{ID: hook, URL: receiver, Description: "a\nb"}, api.CodeInvalid, "description"},
		{&api.ChangeWebhook{ID: hookID(9), URL: receiver}, api.CodeNotFound, ""},
		{&api.RotateWebhook{ID: hook, Secret: "x"}, api.CodeInvalid, "secret"},
		{&api.RotateWebhook{ID: hookID(9), Secret: secret(1)}, api.CodeNotFound, ""},
		{&api.TestWebhook{ID: hookID(9)}, api.CodeNotFound, ""},
		{&api.ReplayWebhook{ID: hook}, api.CodeInvalid, "since"},
		{&api.ReplayWebhook{ID: hook, Delivery: "msg_1"}, api.CodeNotFound, "delivery"},
	} {
		r := a.Edge(fmt.Sprint("bad-", i), c.m).Refusal
		if r == nil || r.Code != c.code || r.Place != c.place {
			t.Errorf("%+v: %v", c.m, r)
		}
	}
	for n := 2; n <= api.MaxWebhooks; n++ {
		hookUp(a, n)
	}
	r := a.Edge("one-more", &api.CreateWebhook{ID: hookID(99), URL: receiver, Secret: secret(1)})
	if r.Refusal == nil || r.Refusal.Code != api.CodeLimitExceeded {
		t.Errorf("one more: %v", r.Refusal)
	}
	emit(a, "order", api.EventOrderPaid, "ord_1")
	if n := len(begun(a)); n != api.MaxWebhooks {
		t.Errorf("%d tries", n)
	}
}

// Lists of deliveries come in pages, narrowed by what is asked.
func TestWebhookDeliveryPages(t *testing.T) {
	a, hook := hooked(t)
	for i := range 9 { // a test has one try
		a.MustEdge(fmt.Sprint("test-", i), &api.TestWebhook{ID: hook})
		for _, w := range begun(a) {
			ends(a, w, api.WebhookOutcome{Status: 404})
		}
	}
	for i := range 30 {
		emit(a, "order", []string{api.EventOrderPaid, api.EventOrderPlaced}[i%2],
			fmt.Sprint("ord_", i/10))
		if i%3 == 0 {
			for _, w := range begun(a) {
				ends(a, w, api.WebhookOutcome{Status: 200})
			}
		}
	}
	for want, q := range map[int]api.ListDeliveries{
		39: {}, 15: {Type: api.EventOrderPaid}, 10: {Order: "ord_1"}, 9: {State: api.DeliveryFailed},
		5: {Order: "ord_1", Type: api.EventOrderPaid}, 0: {Order: "ord_9"},
	} {
		q.Webhook, q.Limit = hook, 4
		var seen []string
		for pages := 0; pages == 0 || q.Cursor != ""; pages++ {
			page := ask[api.DeliveryList](a, &q)
			for i := range page.Deliveries {
				seen = append(seen, page.Deliveries[i].ID)
			}
			if q.Cursor = page.Next; pages > want/4 {
				t.Fatalf("%+v: no end", q)
			}
		}
		if slices.Sort(seen); len(slices.Compact(seen)) != want {
			t.Errorf("%+v: %d deliveries, want %d", q, len(seen), want)
		}
	}
	states := map[string]int{}
	for _, d := range deliveries(a, hook) {
		states[d.State]++
	}
	for state, n := range states {
		if got := ask[api.DeliveryList](a, &api.ListDeliveries{Webhook: hook, State: state}); len(
			got.Deliveries) != n {
			t.Errorf("%s: %d, want %d", state, len(got.Deliveries), n)
		}
	}
	if len(states) < 2 {
		t.Errorf("states %v", states)
	}
}
