package order_test

import (
	"fmt"
	"testing"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/actors/order"
	"ordo/api"
	"ordo/bus"
)

// BenchmarkOrderLife has orders submitted, placed, paid and fulfilled, 512 at a
// time, and tells what one costs.
func BenchmarkOrderLife(t *testing.B) {
	const batch = 512
	b := &bench{Actor: actorstest.New(t, order.Spec())}
	sent := map[string]int64{}
	orders := 0
	for t.Loop() {
		drafts := make([]*api.SubmitOrder, batch)
		submits := make([]actors.Delivery, batch)
		for i := range drafts {
			drafts[i] = b.draft()
			drafts[i].User = fmt.Sprint("usr_", b.minted)
			submits[i] = actors.Delivery{ID: "submit-" + drafts[i].Order,
				Subject: bus.MailboxSubject("order", "submit"), Body: api.Raw(drafts[i])}
		}
		b.Apply(submits...)
		for _, step := range []string{"goods.reserve", "payment.collect", "goods.sell",
			"shipping.create"} {
			results := make([]actors.Delivery, batch)
			for i, m := range drafts {
				r := result(m, step, nil)
				switch step {
				case "goods.reserve":
					r.Data = api.Raw(reserved(m))
				case "payment.collect":
					r.Data = api.Raw(api.Paid{Attempt: "pay_1", Provider: api.PayAlipay, TradeNo: "1",
						Amount: m.Total, PaidAt: api.TimeOf(b.Now)})
				}
				sender := step[:5]
				if step == "payment.collect" {
					sender = "payment"
				} else if step == "shipping.create" {
					sender = "shipping"
				}
				sent[sender]++
				results[i] = actors.Delivery{ID: b.ChannelID(sender, sent[sender]),
					Subject: bus.MailboxSubject("order", "step-result"), Body: api.Raw(r)}
			}
			b.Apply(results...)
			if len(b.Out.Dead) > 0 {
				t.Fatal(b.Out.Dead[0].Error)
			}
		}
		orders += batch
	}
	t.ReportMetric(float64(t.Elapsed().Microseconds())/float64(orders), "µs/order")
}
