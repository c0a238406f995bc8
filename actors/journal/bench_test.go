package journal_test

import (
	"fmt"
	"testing"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/actors/journal"
	"ordo/api"
	"ordo/bus"
)

// BenchmarkEvents keeps events that no endpoint wants, in batches.
func BenchmarkEvents(b *testing.B) {
	const size = 256
	a := actorstest.New(b, journal.Spec())
	body := api.Raw(&api.Order{ID: "ord_1", User: "usr_1", State: api.OrderPaid})
	in, n := make([]actors.Delivery, size), int64(0)
	for b.Loop() {
		for i := range in {
			n++
			e := api.Event{Type: api.EventOrderPaid, Order: fmt.Sprint("ord_", n), User: "usr_1",
				Data: body}
			in[i] = actors.Delivery{Subject: bus.EventSubject(e.Type, e.Order),
				ID: a.ChannelID("order", n), Body: api.Raw(&e)}
		}
		a.Apply(in...)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "µs/event")
}
