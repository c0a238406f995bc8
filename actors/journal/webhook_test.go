package journal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"ordo/actors/actorstest"
	"ordo/actors/journal"
	"ordo/api"
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
		notCalled(a, w)
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
	began, tries := a.Now, begun(a)
	want := []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
		5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}
	for i, wait := range want {
		if len(tries) != 1 || tries[0].Number != i+1 || tries[0].Delivery != deliveries(a, hook)[0].ID {
			t.Fatalf("try %d: %+v", i+1, tries)
		}
		ends(a, tries[0], api.WebhookOutcome{Status: 500, Answer: "ouch"})
		last := a.Now
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

// One that is enabled and disabled again is one more incident.
func TestWebhook410Again(t *testing.T) {
	a, hook := hooked(t)
	for n := 1; n <= 2; n++ {
		a.MustEdge(fmt.Sprint("on-", n), &api.ChangeWebhook{ID: hook, URL: receiver, Enabled: true})
		emit(a, "order", api.EventOrderPaid, "ord_1")
		ends(a, begun(a)[0], api.WebhookOutcome{Status: 410})
		wantIncidents(a, n)
		a.Advance(time.Minute)
	}
}

func wantIncidents(a *actorstest.Actor, want int) {
	a.T.Helper()
	if n := count(a, `SELECT count(*) FROM _incident`); n != want {
		a.T.Errorf("%d incidents, want %d", n, want)
	}
}

// count reads a number from the actor's file.
func count(a *actorstest.Actor, query string) (n int) {
	a.T.Helper()
	db, err := stores.OpenReadOnly(a.Path)
	if err != nil {
		a.T.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(query).Scan(&n); err != nil {
		a.T.Fatal(err)
	}
	return n
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
