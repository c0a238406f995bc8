package rest_test

import (
	"strings"
	"testing"
	"time"

	"ordo/api"
	"ordo/api/rest"
	"ordo/bus"
)

// whyNow is when the question is asked.
var whyNow = api.TimeOf(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))

func before(d time.Duration) api.Time { return whyNow.Add(-d) }

// pendingFacts are those of an order that waits for its stock, in a shop that is
// well.
func pendingFacts() *rest.Facts {
	f := &rest.Facts{Order: api.Order{ID: "ord_1", State: api.OrderPending},
		Steps: []api.StepView{{Step: api.Step{Order: "ord_1", Name: "goods.reserve"}, Verb: "reserve",
			State: api.StepAsked, AskedAt: before(40 * time.Second)}},
		Statuses: map[string]*api.ActorStatus{}, Letters: map[string][]api.Letter{},
		Effects: map[string][]api.EffectView{}}
	for _, name := range bus.ActorNames() {
		f.Statuses[name] = &api.ActorStatus{Actor: name, Ready: true, Now: before(time.Second)}
	}
	return f
}

func placedFacts(since time.Duration) *rest.Facts {
	f := pendingFacts()
	f.Order.State, f.Order.Decided, f.Order.ExpiresAt = api.OrderPlaced, before(since),
		before(since-15*time.Minute)
	f.Steps[0].State = api.StepDone
	f.Steps = append(f.Steps, api.StepView{Step: api.Step{Order: "ord_1", Name: "payment.collect"},
		Verb: "collect", State: api.StepAsked, AskedAt: before(since)})
	return f
}

// ACCEPT M7: why an order does not go on is said in a sentence, the likeliest cause
// first.
func TestWhy(t *testing.T) {
	change := func(f *rest.Facts, do func(f *rest.Facts)) *rest.Facts {
		do(f)
		return f
	}
	for name, c := range map[string]struct {
		facts *rest.Facts
		want  []string
	}{
		"nothing is wrong": {pendingFacts(), []string{
			"goods.reserve was asked for 40 s ago and is not answered yet; nothing is known to be wrong"}},
		"nothing is open": {change(pendingFacts(), func(f *rest.Facts) {
			f.Steps[0].State, f.Order.State = api.StepRefused, api.OrderRefused
		}), nil},
		"not ready": {change(pendingFacts(), func(f *rest.Facts) {
			f.Statuses["goods"].Ready, f.Statuses["goods"].Fault = false, "disk full"
		}), []string{"goods.reserve was asked for 40 s ago; the goods actor is not ready: disk full"}},
		"the order actor is away": {change(pendingFacts(), func(f *rest.Facts) {
			f.Statuses["order"].Ready, f.Statuses["order"].Fault = false, "does not answer"
		}), []string{"goods.reserve was asked for 40 s ago; the order actor does not answer"}},
		"a dead letter comes first, and tells nothing of persons": {change(pendingFacts(),
			func(f *rest.Facts) {
				f.Statuses["goods"].Ready, f.Statuses["goods"].Fault = false, "disk full"
				f.Letters["goods"] = []api.Letter{{N: 7, State: "open", Subject: "ordo.goods.0.reserve",
					Error: "no room for ann@example.com\nstack"}, {N: 6, State: "dismissed"}}
				f.Letters["journal"] = []api.Letter{{N: 1, State: "open",
					Subject: "ordo.event.order.placed.ord_1", Error: "x"}}
			}), []string{
			"goods could not handle the message reserve: no room for •••; it is dead letter 7",
			"journal could not handle the event order.placed: x; it is dead letter 1",
			"goods.reserve was asked for 40 s ago; the goods actor is not ready: disk full"}},
		"a stopped channel": {change(pendingFacts(), func(f *rest.Facts) {
			f.Statuses["order"].Stopped = map[string]string{"goods.0": "numbers differ"}
			f.Statuses["goods"].Stopped = map[string]string{"order.0": "numbers differ too"}
		}), []string{
			"goods.reserve was asked for 40 s ago; nothing is sent from order to goods any more: " +
				"numbers differ",
			"goods.reserve was asked for 40 s ago; nothing is sent from goods to order any more: " +
				"numbers differ too"}},
		"a mailbox that is behind": {change(pendingFacts(), func(f *rest.Facts) {
			f.Statuses["goods"].Lag, f.Statuses["goods"].Now = 5000, before(3*time.Minute)
		}), []string{"goods.reserve was asked for 40 s ago; 5000 messages wait in the mailbox of " +
			"goods, which has handled those until 2026-01-01T11:57:00Z"}},
		"an undo": {change(pendingFacts(), func(f *rest.Facts) {
			f.Steps[0].State, f.Steps[0].Verb, f.Steps[0].UndoAt = api.StepUndoing, "release",
				before(3*time.Hour)
			f.Steps[0].AskedAt = before(4 * time.Hour)
		}), []string{
			"goods.release was asked for 3 h ago and is not answered yet; nothing is known to be wrong"}},
		"waits for payment": {placedFacts(5 * time.Minute), []string{
			"it waits for its payment until 2026-01-01T12:10:00Z"}},
		"waits for payment, whose actor is away": {change(placedFacts(5*time.Minute),
			func(f *rest.Facts) {
				f.Statuses["payment"].Ready, f.Statuses["payment"].Fault = false, "disk full"
			}), []string{
			"payment.collect was asked for 5 min ago; the payment actor is not ready: disk full",
			"it waits for its payment until 2026-01-01T12:10:00Z"}},
		"a refund that waits, and a step": {change(pendingFacts(), func(f *rest.Facts) {
			f.Refunds = []api.Refund{{ID: "rfd_1", State: api.RefundAsked, Asked: before(time.Hour)}}
		}), []string{"refund rfd_1 waits for support to grant or deny it",
			"goods.reserve was asked for 40 s ago and is not answered yet; nothing is known to be wrong"}},
		"overdue": {placedFacts(time.Hour), []string{
			"it was to be paid until 2026-01-01T11:15:00Z and has not been ended; the order actor " +
				"handled its last message at 2026-01-01T11:59:59Z"}},
		"a call that fails": {change(placedFacts(5*time.Minute), func(f *rest.Facts) {
			f.Effects["payment"] = []api.EffectView{{Name: "pay-open", State: "open", Attempts: 3,
				At: before(time.Minute), FailedAt: before(20 * time.Second), Error: "no route",
				NextTry: whyNow.Add(5 * time.Second)}, {Name: "pay-query", State: "closed", Error: "x"}}
		}), []string{
			"pay-open has failed 3 times, last 20 s ago: no route; the next try is at " +
				"2026-01-01T12:00:05Z", "it waits for its payment until 2026-01-01T12:10:00Z"}},
		"a call that hangs": {change(placedFacts(5*time.Minute), func(f *rest.Facts) {
			f.Effects["payment"] = []api.EffectView{{Name: "pay-open", State: "open", Attempts: 1,
				At: before(time.Minute), NextTry: whyNow.Add(time.Minute)}}
		}), []string{"pay-open was begun 60 s ago and nothing has come of it; the next try is at " +
			"2026-01-01T12:01:00Z", "it waits for its payment until 2026-01-01T12:10:00Z"}},
		"a refund": {change(pendingFacts(), func(f *rest.Facts) {
			f.Order.State, f.Steps[0].State = api.OrderPaid, api.StepDone
			f.Refunds = []api.Refund{{ID: "rfd_1", State: api.RefundAsked, Asked: before(time.Hour)},
				{ID: "rfd_2", State: api.RefundDone}}
		}), []string{"refund rfd_1 waits for support to grant or deny it"}},
	} {
		got := rest.Why(c.facts, whyNow)
		if len(got) != len(c.want) {
			t.Errorf("%s: got %+v, want %q", name, got, c.want)
			continue
		}
		for i := range got {
			if got[i].Text != c.want[i] || got[i].Actor == "" {
				t.Errorf("%s: got %+v, want %q", name, got[i], c.want[i])
			}
			calm := strings.HasPrefix(c.want[i], "it ") || strings.HasPrefix(c.want[i], "refund ")
			if calm != (got[i].Do == "") {
				t.Errorf("%s: to do %q because of %q", name, got[i].Do, c.want[i])
			}
		}
	}
}
