package rest

import (
	"fmt"
	"strings"
	"time"

	"ordo/api"
	"ordo/bus"
)

// waitsOverdue is how long after its deadline an order that is not paid shows
// that the order actor is not at work.
const waitsOverdue = time.Minute

// Cause is a reason why an order does not go on.
type Cause struct {
	Text string `json:"text"`
	// Do says what helps; empty where nothing is wrong.
	Do string `json:"do,omitempty"`
	// Actor is whose it is, Since when it began.
	Actor string   `json:"actor"`
	Since api.Time `json:"since"`
}

// causes collects reasons, in the order of likelihood.
type causes struct {
	g   *gathered
	now api.Time
	all []Cause
}

// add adds a reason, and answers it for what helps.
func (c *causes) add(actor string, since api.Time, format string, args ...any) *Cause {
	c.all = append(c.all, Cause{Text: api.MaskText(fmt.Sprintf(format, args...)), Actor: actor,
		Since: since})
	return &c.all[len(c.all)-1]
}

// What helps.
const (
	doStart  = "start it, then the order goes on by itself; its log and /readyz say what is wrong"
	doMend   = "see to what the error says, then retry, which has it handled again"
	doRepair = "stop the shop and run ordo repair"
	doCall   = "see to the provider and its keys; it is tried again by itself"
	doWait   = "wait, it goes on by itself; see to the disk when the number grows"
	doAsk    = "wait a moment, then retry, and then settle"
)

// why says what keeps the order from going on: a dead letter of its own; for each
// step that is not answered what is known to be wrong on its way; what it waits
// for in good order.
func (g *gathered) why(now api.Time) []Cause {
	c := &causes{g: g, now: now, all: []Cause{}}
	for _, actor := range bus.ActorNames() {
		for _, l := range g.letters[actor] {
			if l.State == "open" {
				c.add(actor, l.At, "%s could not handle %s: %s; it is dead letter %d", actor,
					verbOf(l.Subject), firstLine(l.Error), l.N).Do = doMend
			}
		}
	}
	if g.missing.Unknown("order") != "" {
		c.add("order", 0, "the order actor does not answer, so what the order waits for is not "+
			"known").Do = doStart
		c.effects()
		return c.all
	}
	c.faults()
	c.effects()
	c.lags()
	c.waits()
	return c.all
}

// verbOf is the last word of a subject, or an event's type.
func verbOf(subject string) string {
	if event, ok := strings.CutPrefix(subject, bus.EventPrefix); ok {
		words := strings.Split(event, ".")
		return "the event " + strings.Join(words[:max(len(words)-1, 1)], ".")
	}
	return "the message " + subject[strings.LastIndexByte(subject, '.')+1:]
}

// open calls f with every step that is not answered, and a text that says which.
func (c *causes) open(f func(st *api.StepView, actor, text string)) {
	for i := range c.g.steps.Steps {
		st := &c.g.steps.Steps[i]
		if !st.Open() {
			continue
		}
		actor, _, _ := strings.Cut(st.Name, ".")
		text := fmt.Sprintf("%s.%s was asked for %s ago", actor, st.Verb, c.ago(st.Since()))
		if st.Occurrence > 0 {
			text = fmt.Sprintf("%s of refund %d", text, st.Occurrence)
		}
		f(st, actor, text)
	}
}

func (c *causes) waitsForPayment(st *api.StepView) bool {
	return c.g.order.State == api.OrderPlaced && st.State == api.StepAsked &&
		st.Name == "payment.collect"
}

// ago is the time since t, in words.
func (c *causes) ago(t api.Time) string {
	d := max(time.Duration(c.now-t), 0)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// faults are channels that are stopped and actors that are not at work.
func (c *causes) faults() {
	owner := c.g.statuses["order"]
	c.open(func(st *api.StepView, actor, text string) {
		participant := c.g.statuses[actor]
		if why := owner.Stopped[bus.Address(actor)]; why != "" {
			c.add(actor, st.Since(), "%s; nothing is sent from order to %s any more: %s", text,
				actor, why).Do = doRepair
		}
		if why := participant.Stopped[bus.Address("order")]; why != "" {
			c.add(actor, st.Since(), "%s; nothing is sent from %s to order any more: %s", text,
				actor, why).Do = doRepair
		}
		for _, a := range []*api.ActorStatus{participant, owner} {
			switch {
			case a.Fault == noAnswer:
				c.add(a.Actor, st.Since(), "%s; the %s actor does not answer", text,
					a.Actor).Do = doStart
			case !a.Ready:
				c.add(a.Actor, st.Since(), "%s; the %s actor is not ready: %s", text, a.Actor,
					a.Fault).Do = doStart
			}
		}
	})
	if o := &c.g.order; c.g.payment.State == api.PaymentPaid &&
		(o.State == api.OrderPlaced || o.State == api.OrderClosing) {
		c.add("payment", o.Decided, "the payment actor knows that it is paid, and the order actor "+
			"has not heard of it; the order actor %s", condition(owner))
	}
	if o := &c.g.order; o.State == api.OrderPlaced && c.now > o.ExpiresAt.Add(waitsOverdue) {
		c.add("order", o.ExpiresAt, "it was to be paid until %s and has not been ended; the order "+
			"actor %s", clock(o.ExpiresAt), condition(owner))
	}
}

// condition says in words how an actor is.
func condition(a *api.ActorStatus) string {
	switch {
	case a.Fault == noAnswer:
		return noAnswer
	case !a.Ready:
		return "is not ready: " + a.Fault
	}
	return "handled its last message at " + clock(a.Now)
}

func clock(t api.Time) string { return t.Std().UTC().Format(time.RFC3339) }

// effects are calls to the world outside that have failed or are under way.
func (c *causes) effects() {
	for _, actor := range bus.ActorNames() {
		for _, f := range c.g.effects[actor] {
			switch {
			case f.State != "open":
			case f.Error != "":
				c.add(actor, f.At, "%s has failed %d times, last %s ago: %s; the next try is at %s",
					f.Name, f.Attempts, c.ago(f.FailedAt), f.Error, clock(f.NextTry)).Do = doCall
			case time.Duration(c.now-f.At) > bus.EffectTimeout:
				c.add(actor, f.At,
					"%s was begun %s ago and nothing has come of it; the next try is "+
						"at %s", f.Name, c.ago(f.At), clock(f.NextTry)).Do = doCall
			}
		}
	}
}

// lags are mailboxes that are behind.
func (c *causes) lags() {
	c.open(func(st *api.StepView, actor, text string) {
		for _, name := range []string{actor, "order"} {
			a := c.g.statuses[name]
			if a.Lag > 0 && a.Ready {
				c.add(name, st.Since(),
					"%s; %d messages wait in the mailbox of %s, which has handled "+
						"those until %s", text, a.Lag, name, clock(a.Now)).Do = doWait
			}
		}
	})
}

// waits is what the order waits for though nothing is wrong.
func (c *causes) waits() {
	o, wrong := &c.g.order, len(c.all) > 0
	if o.State == api.OrderPlaced && c.now <= o.ExpiresAt.Add(waitsOverdue) {
		c.add("payment", o.Decided, "it waits for its payment until %s", clock(o.ExpiresAt))
	}
	for i := range c.g.refunds.Refunds {
		if r := &c.g.refunds.Refunds[i]; r.State == api.RefundAsked {
			c.add("order", r.Asked, "refund %s waits for support to grant or deny it", r.ID)
		}
	}
	if wrong {
		return
	}
	calm := "nothing is known to be wrong"
	if len(c.g.missing) > 0 {
		calm += ", but not all is known"
	}
	c.open(func(st *api.StepView, actor, text string) {
		if c.waitsForPayment(st) {
			return
		}
		c.add(actor, st.Since(), "%s and is not answered yet; %s", text, calm).Do = doAsk
	})
}
