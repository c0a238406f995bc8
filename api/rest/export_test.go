package rest

import "ordo/api"

// Facts are what actors said about an order.
type Facts struct {
	Order    api.Order
	Steps    []api.StepView
	Refunds  []api.Refund
	Statuses map[string]*api.ActorStatus
	Letters  map[string][]api.Letter
	Effects  map[string][]api.EffectView
}

// Why is what a timeline says of them.
func Why(f *Facts, now api.Time) []Cause {
	g := &gathered{order: f.Order, statuses: f.Statuses, letters: f.Letters, effects: f.Effects}
	g.steps.Steps, g.refunds.Refunds = f.Steps, f.Refunds
	return g.why(now)
}
