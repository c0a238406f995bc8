package journal_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"ordo/actors/actorstest"
	"ordo/api"
)

// life is a journal with endpoints that admins and receivers do anything to.
type life struct {
	*actorstest.Actor
	*rand.Rand
	n     int
	hooks []string
	// under are tries that nothing was reported of, over those that were.
	under, over []api.WebhookTry
}

// do does something that may happen, and sees what begins.
func (l *life) do() {
	l.n++
	id, hook := fmt.Sprint("edge-", l.n), l.hooks[l.IntN(len(l.hooks))]
	switch p := l.IntN(100); {
	case p < 35:
		emit(l.Actor, "order", api.EventOrderPaid, fmt.Sprint("ord_", l.n))
	case p < 75 && len(l.under) > 0:
		i := l.IntN(len(l.under))
		w := l.under[i]
		l.under = append(l.under[:i], l.under[i+1:]...)
		l.over = append(l.over, w)
		l.report(w)
	case p < 78 && len(l.over) > 0: // told again, perhaps otherwise
		l.report(l.over[l.IntN(len(l.over))])
	case p < 84:
		l.Advance(time.Duration(l.ExpFloat64() * float64(20*time.Minute)))
		l.Tick()
	case p < 85:
		l.Advance(time.Duration(l.ExpFloat64() * float64(48*time.Hour)))
		l.Tick()
	case p < 86:
		l.Restart()
		return
	case p < 87:
		i := l.IntN(len(l.hooks))
		l.Edge(id, &api.DeleteWebhook{ID: l.hooks[i]})
		l.hooks[i] = hookUp(l.Actor, 100+l.n)
	default:
		l.Edge(id, l.command(hook))
	}
	l.under = append(l.under, begun(l.Actor)...)
}

// report has a worker report what became of a try; a worker whose question is
// refused sends nothing.
func (l *life) report(w api.WebhookTry) {
	out := api.WebhookOutcome{Status: []int{200, 200, 204, 500, 500, 429, 302, 410}[l.IntN(8)],
		Milliseconds: int64(l.n)}
	if out.Status == 410 && l.IntN(4) > 0 {
		out.Status = 0
	}
	if l.Ask(&api.GetWebhookCall{WebhookTry: w}, new(api.WebhookCall)) != nil && l.IntN(2) > 0 {
		out = api.WebhookOutcome{Withdrawn: true}
	}
	ends(l.Actor, w, out)
}

// command is one of an admin.
func (l *life) command(hook string) api.Message {
	switch l.IntN(8) {
	case 0, 1, 2:
		return &api.ChangeWebhook{ID: hook, URL: receiver, Enabled: l.IntN(4) > 0}
	case 3:
		return &api.RotateWebhook{ID: hook, Secret: secret(l.n % 200)}
	case 4:
		return &api.ReplayWebhook{ID: hook, Since: 1, All: l.IntN(2) > 0}
	case 5, 6:
		if n := len(l.over); n > 0 {
			return &api.ReplayWebhook{ID: hook, Delivery: l.over[l.IntN(n)].Delivery}
		}
	}
	return &api.TestWebhook{ID: hook}
}

// wrong counts rows that must not be there.
func (l *life) wrong(what, query string) {
	l.T.Helper()
	if n := count(l.Actor, query); n > 0 {
		l.T.Fatalf("%s: %d", what, n)
	}
}

// check holds what must be true at any time.
func (l *life) check() {
	l.T.Helper()
	l.wrong("dead letters", `SELECT count(*) FROM _dead`)
	l.wrong("deliveries that hang", `SELECT count(*) FROM delivery d WHERE state = 'sending'
		AND NOT EXISTS (SELECT 1 FROM _effect WHERE id = d.id || '-' || d.tries AND state = 'open')`)
	l.wrong("tries of nothing", `SELECT count(*) FROM delivery_try t
		WHERE NOT EXISTS (SELECT 1 FROM delivery WHERE n = t.delivery)`)
	l.wrong("effects that are kept", `SELECT count(*) FROM _effect WHERE state = 'closed'`)
	l.wrong("too many under way", fmt.Sprintf(`SELECT count(*) FROM (SELECT 1 FROM delivery
		WHERE state = 'sending' GROUP BY webhook HAVING count(*) > %d)`, api.WebhookWindow))
	l.wrong("ended or not", `SELECT count(*) FROM delivery
		WHERE (ended > 0) <> (state IN ('delivered', 'failed', 'skipped'))`)
}

// Whatever admins, receivers and workers do: no delivery hangs, and in the end
// each has ended and every endpoint that is enabled has what it is to have.
func TestWebhookLife(t *testing.T) {
	for seed := range uint64(2) {
		a, hook := hooked(t)
		l := &life{Actor: a, Rand: rand.New(rand.NewPCG(seed, 1)), hooks: []string{hook}}
		for n := 2; n <= 4; n++ {
			l.hooks = append(l.hooks, hookUp(a, n))
		}
		for i := range 160 {
			l.do()
			if i%25 == 0 {
				l.check()
			}
		}
		for range 20 {
			for ; len(l.under) > 0; l.under = append(l.under[1:], begun(a)...) {
				ends(a, l.under[0], api.WebhookOutcome{Status: 200})
			}
			a.Advance(12 * time.Hour)
			a.Tick()
			l.under = begun(a)
		}
		l.check()
		l.wrong("left", `SELECT count(*) FROM delivery WHERE ended = 0`)
		l.wrong("effects left", `SELECT count(*) FROM _effect`)
	}
}
