// Package settle compares what the order actor says of an order's steps with what
// its participants say, after they may have come apart: files that were restored
// to different moments, or a dead letter that was dismissed. It decides which
// differences count, and which of them messages can't settle; it reads nothing and
// sends nothing itself.
package settle

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ordo/api"
)

// closing is the state of a payment that waits for the gateway to close it.
const closing = "closing"

// Participants are the actors that do steps of orders.
func Participants() []string {
	return []string{"goods", "coupon", "wallet", "payment", "learning", "shipping"}
}

// Difference is a step of which the order actor says another thing than its
// participant.
type Difference struct {
	api.FoundStep
	// Own is what the order actor says; empty for nothing.
	Own string `json:"own"`
}

// String is for people.
func (d *Difference) String() string {
	participant, _, _ := strings.Cut(d.Name, ".")
	name := d.Name
	if d.Occurrence > 0 {
		name = fmt.Sprintf("%s of refund %d", d.Name, d.Occurrence)
	}
	return fmt.Sprintf("%s is %s by order, %s by %s", name, cmp.Or(d.Own, "not known"),
		cmp.Or(d.State, "not known"), participant)
}

// Differ compares a step's state by the order actor, empty for a step that it
// does not know, with that by its participant, and answers the difference, if it
// is one. A payment, and the refund of one, may be waiting for the gateway;
// whoever else was asked has answered, when no message is under way.
func Differ(own string, f api.FoundStep) (d Difference, ok bool) {
	switch own {
	case api.StepAsked, api.StepUndoing:
		ok = !atGateway(own, f)
	case api.StepDone:
		ok = f.State != api.StepDone
	case api.StepUndone, api.StepRefused:
		ok = f.State == api.StepDone
	case "":
		ok = f.State == api.StepDone || f.State == api.StepAsked || f.State == closing
	}
	d = Difference{FoundStep: f, Own: own}
	if d.State == closing {
		d.State = api.StepUndone
	}
	return d, ok
}

// atGateway tells whether a payment or its refund waits for the gateway, which is
// how only the payment actor can leave a step.
func atGateway(own string, f api.FoundStep) bool {
	return own == api.StepAsked && f.State == api.StepAsked ||
		own == api.StepUndoing && f.State == closing
}

// Compare compares all steps of one order, those of the order actor with what
// participants know, MaxFound differences at most.
func Compare(own []api.StepView, found []api.FoundStep) (all []Difference) {
	type key struct {
		name       string
		occurrence int
	}
	states := map[key]string{}
	for _, f := range found {
		states[key{f.Name, f.Occurrence}] = f.State
	}
	add := func(own string, f api.FoundStep) {
		if d, ok := Differ(own, f); ok && len(all) < api.MaxFound {
			all = append(all, d)
		}
	}
	for i := range own {
		k := key{own[i].Name, own[i].Occurrence}
		add(own[i].State, api.FoundStep{Name: k.name, Occurrence: k.occurrence, State: states[k]})
		delete(states, k)
	}
	for _, f := range found {
		if _, ok := states[key{f.Name, f.Occurrence}]; ok {
			add("", f)
		}
	}
	return all
}

// Cannot says why messages can't settle an order's differences; empty when they
// can. state is the order's, empty when the order actor does not know it.
func Cannot(state string, all []Difference) string {
	paid := slices.ContainsFunc(all, func(d Difference) bool {
		return d.Name == collect && d.State == api.StepDone
	})
	for i := range all {
		why := all[i].cannot(state, paid)
		if state == "" {
			why = all[i].cannotUndo(paid)
		}
		if why != "" {
			return why
		}
	}
	return ""
}

// collect is the step of the payment.
const collect = "payment.collect"

// cannot says why an order that the order actor knows can't be settled by
// messages.
func (d *Difference) cannot(state string, paid bool) string {
	switch {
	case d.Name == collect && d.Own == api.StepDone && d.State == api.StepUndone:
		return "it is paid, and the payment's file has closed it: see its trade at " +
			"the provider"
	case state == api.OrderPaid && d.Own == api.StepDone && d.State != "" &&
		d.State != api.StepAsked:
		return d.Name + " was undone of a paid order"
	case d.Own == "" && d.State == api.StepDone && !Undoable(d.Name) && !paid:
		return d.Name + " was done, and the order's file does not know why"
	}
	return ""
}

// cannotUndo says why what was done for an order that the order actor does not
// know can't be undone by messages.
func (d *Difference) cannotUndo(paid bool) string {
	switch {
	case paid:
		return "it is paid, and the order's file does not know it: see its payment, and " +
			"refund it at the provider or restore a newer file of order"
	case !Undoable(d.Name):
		return d.Name + " was done for it, and the order's file does not know it"
	}
	return ""
}

// Undoable tells whether a step can be undone without a refund.
func Undoable(step string) bool {
	return slices.Contains([]string{"goods.reserve", "coupon.redeem", "wallet.debit",
		collect}, step)
}
