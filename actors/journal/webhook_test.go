package journal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/actors/journal"
	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

const receiver = "https://erp.example.com/ordo"

// hookID and secret are names and secrets that an edge would mint.
func hookID(n int) string {
	return api.DeriveID(api.PrefixWebhook, time.Unix(0, 0), fmt.Sprint(n))
}

func secret(n int) string { return api.WebhookSecret(bytes.Repeat([]byte{byte(n)}, 24)) }

// hooked is a journal with an endpoint for events of some types, or all.
func hooked(t *testing.T, types ...string) (a *actorstest.Actor, hook string) {
	t.Helper()
	a = actorstest.New(t, journal.Spec())
	return a, hookUp(a, 1, types...)
}

func hookUp(a *actorstest.Actor, n int, types ...string) string {
	a.T.Helper()
	a.MustEdge(fmt.Sprint("make-", n), &api.CreateWebhook{ID: hookID(n), URL: receiver,
		Types: types, Secret: secret(n)})
	return hookID(n)
}

func ask[T any](a *actorstest.Actor, q api.Query) (v T) {
	a.T.Helper()
	if refusal := a.Ask(q, &v); refusal != nil {
		a.T.Fatalf("%+v: %v", q, refusal)
	}
	return v
}

func deliveries(a *actorstest.Actor, hook string) []api.Delivery {
	a.T.Helper()
	return ask[api.DeliveryList](a, &api.ListDeliveries{Webhook: hook,
		Page: api.Page{Limit: api.MaxPage}}).Deliveries
}

// only is the only delivery of an endpoint, which must be in a state.
func only(a *actorstest.Actor, hook, state string) api.Delivery {
	a.T.Helper()
	all := deliveries(a, hook)
	if len(all) != 1 || all[0].State != state {
		a.T.Fatalf("deliveries %+v, want one that is %s", all, state)
	}
	return all[0]
}

// begun are the tries that the last message began.
func begun(a *actorstest.Actor) (tries []api.WebhookTry) {
	a.T.Helper()
	for _, f := range a.Out.Effects {
		var w api.WebhookTry
		if err := json.Unmarshal(f.Body, &w); err != nil || f.Name != api.EffectWebhook {
			a.T.Fatalf("effect %+v: %v", f, err)
		}
		tries = append(tries, w)
	}
	return tries
}

type report struct{ api.Outcome }

func (*report) Route() api.Route { return api.Route{Actor: "journal", Verb: api.VerbOutcome} }

var reports int

// ends has a worker report what became of a try.
func ends(a *actorstest.Actor, w api.WebhookTry, out api.WebhookOutcome) {
	a.T.Helper()
	reports++
	a.MustEdge(fmt.Sprint("out-", reports), &report{api.Outcome{Final: true, Attempt: 1,
		Effect: fmt.Sprintf("%s-%d", w.Delivery, w.Number), Data: api.Raw(out)}})
}

// wakes is the first message after which tries begin: a timer of the journal's
// own, or a sweep.
func wakes(a *actorstest.Actor, limit time.Duration) []api.WebhookTry {
	a.T.Helper()
	for _, timer := range a.Out.Timers {
		var m api.SendWebhooks
		if err := json.Unmarshal(timer.Body, &m); err != nil {
			a.T.Fatal(err)
		}
		a.Now = timer.Due.Std()
		if a.MustEdge(timer.ID, &m); len(a.Out.Effects) > 0 {
			return begun(a)
		}
	}
	for began := a.Now; a.Now.Sub(began) < limit; {
		a.Advance(max(30*time.Second, a.Now.Sub(began)/50))
		if a.Tick(); len(a.Out.Effects) > 0 {
			return begun(a)
		}
	}
	return nil
}

// ACCEPT P8
// An event goes to every endpoint that wants its type, once, and to no other.
func TestWebhookGetsWhatItWants(t *testing.T) {
	a, all := hooked(t)
	paid := hookUp(a, 2, api.EventOrderPaid, api.EventPaymentPaid)
	emit(a, "order", api.EventOrderPlaced, "ord_1")
	if got := begun(a); len(got) != 1 || got[0] != (api.WebhookTry{
		Delivery: only(a, all, api.DeliverySending).ID, Number: 1}) {
		t.Errorf("began %+v", got)
	}
	emit(a, "order", api.EventOrderPaid, "ord_1")
	if got := begun(a); len(got) != 2 || got[0].Delivery == got[1].Delivery {
		t.Errorf("began %+v", got)
	}
	only(a, paid, api.DeliverySending)
	emit(a, "order", "order.eaten", "ord_1") // nobody else's business
	if len(a.Out.Effects) != 0 || len(deliveries(a, all)) != 2 {
		t.Errorf("began %+v", begun(a))
	}
	a.Restart()
	emit(a, "order", api.EventOrderPaid, "ord_2")
	if got := begun(a); len(got) != 2 {
		t.Errorf("after a restart: began %+v", got)
	}
}

// ACCEPT P8
// The effect in the stream has neither address nor secret; the worker asks for
// them, and is refused once the try was answered.
func TestWebhookSecretsStayHere(t *testing.T) {
	a, hook := hooked(t)
	emit(a, "order", api.EventOrderPaid, "ord_1")
	w := begun(a)[0]
	if body := string(a.Out.Effects[0].Body); strings.Contains(body, secret(1)[6:]) ||
		strings.Contains(body, receiver) {
		t.Errorf("the effect is %s", body)
	}
	c := ask[api.WebhookCall](a, &api.GetWebhookCall{WebhookTry: w})
	if c.URL != receiver || c.Secret != secret(1) || c.OldSecret != "" ||
		c.Payload.Type != api.EventOrderPaid || c.Payload.Data.Order != "ord_1" {
		t.Errorf("call %+v", c)
	}
	ends(a, w, api.WebhookOutcome{Status: 204})
	only(a, hook, api.DeliveryDelivered)
	for _, w := range []api.WebhookTry{w, {Delivery: w.Delivery, Number: 2}, {Delivery: "msg_x"}} {
		refusal := a.Ask(&api.GetWebhookCall{WebhookTry: w}, new(api.WebhookCall))
		if refusal == nil || refusal.Code != api.CodeNotFound {
			t.Errorf("%+v: %v", w, refusal)
		}
	}
	for _, q := range []api.Query{&api.ListWebhooks{}, &api.GetWebhook{ID: hook}} {
		if text := string(ask[json.RawMessage](a, q)); strings.Contains(text, secret(1)) {
			t.Errorf("%T shows the secret: %s", q, text)
		}
	}
}

// ACCEPT P8
// A delivery that fails is tried ten times over three days, under one
// webhook-id; the clock is the test's.
func TestWebhookIsRetriedOverDays(t *testing.T) {
	a, hook := hooked(t)
	emit(a, "order", api.EventOrderPaid, "ord_1")
	began, last, tries := a.Now, a.Now, begun(a)
	want := []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
		5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}
	for i, wait := range want {
		if len(tries) != 1 || tries[0].Number != i+1 || tries[0].Delivery != deliveries(a, hook)[0].ID {
			t.Fatalf("try %d: %+v", i+1, tries)
		}
		ends(a, tries[0], api.WebhookOutcome{Status: 500, Answer: "ouch"})
		last = a.Now
		only(a, hook, api.DeliveryPending)
		tries = wakes(a, 48*time.Hour)
		if took := a.Now.Sub(last); took < wait || took > wait+wait/8+time.Minute {
			t.Errorf("try %d came after %s, want %s", i+2, took, wait)
		}
	}
	ends(a, tries[0], api.WebhookOutcome{Error: "connection refused"})
	d := only(a, hook, api.DeliveryFailed)
	if took := a.Now.Sub(began); took < 75*time.Hour || took > 86*time.Hour {
		t.Errorf("it was given up after %s", took)
	}
	if tries = wakes(a, 50*time.Hour); tries != nil {
		t.Errorf("tried again: %+v", tries)
	}
	detail := ask[api.DeliveryDetail](a, &api.GetDelivery{Webhook: hook, ID: d.ID})
	if n := len(detail.Attempts); n != 10 || detail.Attempts[0].Error != "connection refused" ||
		detail.Attempts[9].Status != 500 || detail.Attempts[9].Answer != "ouch" || d.Tries != 10 {
		t.Errorf("%d attempts: %+v", n, detail)
	}
	if h := ask[api.Webhook](a, &api.GetWebhook{ID: hook}); !h.Enabled || h.Failures != 10 {
		t.Errorf("endpoint %+v", h)
	}
}

// What a receiver asks for is given, a day at most.
func TestWebhookRetryAfter(t *testing.T) {
	for asked, want := range map[int64]time.Duration{7200: 2 * time.Hour, 1: 5 * time.Second,
		1 << 40: 24 * time.Hour, -1 << 40: 5 * time.Second} {
		a, _ := hooked(t)
		emit(a, "order", api.EventOrderPaid, "ord_1")
		ends(a, begun(a)[0], api.WebhookOutcome{Status: 503, RetryAfter: asked})
		last := a.Now
		wakes(a, 48*time.Hour)
		if took := a.Now.Sub(last); took < want || took > want+want/50+time.Minute {
			t.Errorf("asked for %d s: tried after %s", asked, took)
		}
	}
}

// ACCEPT P8
// 410 disables an endpoint; nothing is sent any more, what waits is skipped.
func TestWebhook410Disables(t *testing.T) {
	a, hook := hooked(t)
	emit(a, "order", api.EventOrderPlaced, "ord_1")
	first := begun(a)[0]
	emit(a, "order", api.EventOrderPaid, "ord_1")
	second := begun(a)[0]
	ends(a, first, api.WebhookOutcome{Status: 503})
	ends(a, second, api.WebhookOutcome{Status: 410})
	h := ask[api.Webhook](a, &api.GetWebhook{ID: hook})
	if h.Enabled || h.Why != api.WebhookGone || h.Since != api.TimeOf(a.Now) {
		t.Errorf("endpoint %+v", h)
	}
	emit(a, "order", api.EventOrderPaid, "ord_2")
	if len(a.Out.Effects) != 0 || len(deliveries(a, hook)) != 2 {
		t.Errorf("began %+v", begun(a))
	}
	a.Tick()
	if all := deliveries(a, hook); all[0].State != api.DeliveryFailed ||
		all[1].State != api.DeliverySkipped {
		t.Errorf("deliveries %+v", all)
	}
	wantIncidents(a, 1)
	for _, m := range []api.Message{&api.TestWebhook{ID: hook},
		&api.ReplayWebhook{ID: hook, Since: 1}} {
		if r := a.Edge(fmt.Sprintf("off-%T", m), m); r.Refusal == nil ||
			r.Refusal.Code != api.CodeWebhookOff {
			t.Errorf("%T: %v", m, r.Refusal)
		}
	}
}

func wantIncidents(a *actorstest.Actor, want int) {
	a.T.Helper()
	db, err := stores.OpenReadOnly(a.Path)
	if err != nil {
		a.T.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRow(`SELECT count(*) FROM _incident`).Scan(&n); err != nil || n != want {
		a.T.Errorf("%d incidents, %v, want %d", n, err, want)
	}
}

// An endpoint to which nothing could be delivered for five days is disabled.
func TestWebhookThatNeverAnswersIsDisabled(t *testing.T) {
	a, hook := hooked(t)
	began := a.Now
	for n := 0; a.Now.Before(began.Add(8 * 24 * time.Hour)); n++ {
		if n%50 == 0 {
			emit(a, "order", api.EventOrderPaid, fmt.Sprint("ord_", n))
		} else {
			a.Tick()
		}
		for _, w := range begun(a) {
			ends(a, w, api.WebhookOutcome{Error: "no such host"})
		}
		if h := ask[api.Webhook](a, &api.GetWebhook{ID: hook}); !h.Enabled {
			if took := a.Now.Sub(began); h.Why != api.WebhookFailing || took < 5*24*time.Hour {
				t.Errorf("after %s: %+v", took, h)
			}
			wantIncidents(a, 1)
			return
		}
		a.Advance(10 * time.Minute)
	}
	t.Error("it was not disabled in eight days")
}

// ACCEPT P8
// An endpoint that hangs has so many tries under way and no more, and after
// many failures one in a minute; another one gets its events at once.
func TestWebhookThatHangsHoldsUpNobody(t *testing.T) {
	a, slow := hooked(t, api.EventOrderPlaced)
	quick := hookUp(a, 2, api.EventOrderPaid)
	var hanging []api.WebhookTry
	for i := range 100 {
		emit(a, "order", api.EventOrderPlaced, fmt.Sprint("ord_", i))
		hanging = append(hanging, begun(a)...)
	}
	if len(hanging) != api.WebhookWindow {
		t.Errorf("%d tries under way", len(hanging))
	}
	emit(a, "order", api.EventOrderPaid, "ord_1")
	if got := begun(a); len(got) != 1 || got[0].Delivery != deliveries(a, quick)[0].ID {
		t.Errorf("the other one: %+v", got)
	}
	for _, w := range hanging {
		ends(a, w, api.WebhookOutcome{Error: "timeout"})
		hanging = append(hanging, begun(a)...)
	}
	// Up to the tenth failure each makes room for another.
	if n := len(hanging); n != api.WebhookWindow+9 {
		t.Errorf("%d tries began", n)
	}
	for _, w := range hanging[api.WebhookWindow:] {
		ends(a, w, api.WebhookOutcome{Error: "timeout"})
	}
	for range 3 { // resting: one at a time
		probe := wakes(a, 2*time.Minute)
		if len(probe) != 1 {
			t.Fatalf("probes %+v", probe)
		}
		ends(a, probe[0], api.WebhookOutcome{Error: "timeout"})
	}
	probe := wakes(a, 2*time.Minute)
	ends(a, probe[0], api.WebhookOutcome{Status: 200})
	if got := len(begun(a)); got != api.WebhookWindow {
		t.Errorf("%d tries began after a success", got)
	}
	if h := ask[api.Webhook](a, &api.GetWebhook{ID: slow}); h.Failures != 0 || h.FailingSince != 0 {
		t.Errorf("endpoint %+v", h)
	}
}

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

// flood has n events come in one batch, on a channel of their own.
func flood(a *actorstest.Actor, n int, typ func(i int) string) {
	a.T.Helper()
	var in []actors.Delivery
	for i := range n {
		e := api.Event{Type: typ(i), Order: fmt.Sprint("ord_", i)}
		in = append(in, actors.Delivery{Subject: bus.EventSubject(e.Type, e.Order),
			ID: a.ChannelID("learning", int64(i+1)), Body: api.Raw(&e)})
	}
	a.Apply(in...)
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

// An endpoint that is deleted is gone at once, its log within sweeps, and what
// is still reported of it is nothing.
func TestWebhookIsDeleted(t *testing.T) {
	a, hook := hooked(t)
	emit(a, "order", api.EventOrderPaid, "ord_1")
	w := begun(a)[0]
	a.MustEdge("delete", &api.DeleteWebhook{ID: hook})
	if refusal := a.Ask(&api.GetWebhook{ID: hook}, new(api.Webhook)); refusal == nil {
		t.Error("it is still there")
	}
	for range 2 {
		ends(a, w, api.WebhookOutcome{Status: 500})
		a.Tick()
	}
	emit(a, "order", api.EventOrderPaid, "ord_2")
	if len(a.Out.Effects) != 0 || len(deliveries(a, hook)) != 0 || len(a.Out.Dead) != 0 {
		t.Errorf("left %+v", a.Out)
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
	ends(a, w, api.WebhookOutcome{Status: 200})
	only(a, hook, api.DeliverySending)
	ends(a, next[0], api.WebhookOutcome{Withdrawn: true})
	only(a, hook, api.DeliverySkipped)
	wantIncidents(a, 0)
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
		30: {}, 15: {Type: api.EventOrderPaid}, 10: {Order: "ord_1"},
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
