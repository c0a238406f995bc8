package rest_test

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"ordo/api"
	"ordo/bus"
)

// BenchmarkTimeline looks at orders in the middle of as many as ORDERS says, 5,000
// unless it is set, in the files and in the streams.
func BenchmarkTimeline(b *testing.B) {
	total := 5000
	if n, err := strconv.Atoi(os.Getenv("ORDERS")); err == nil {
		total = n
	}
	s := newShop(b)
	s.admin("POST", "/admin/v1/stock/receive", object{"sku": "mug", "quantity": 1_000_000}).want(204)
	ids := s.submitMany(total)
	b.Logf("%d orders", total)
	for _, c := range []struct{ name, path string }{
		{"timeline", "/admin/v1/transactions/" + ids[total/2]},
		{"last", "/admin/v1/transactions/" + ids[total-1]},
		{"list", "/admin/v1/transactions?limit=200"},
		{"stuck", "/admin/v1/transactions?stuck=true&older=60"},
		{"overview", "/admin/v1/overview"},
	} {
		r := s.settledOrOther(c.path)
		if len(r.body) < 8000 {
			b.Logf("%s", r.body) // with -v: what was found, and what was not
		}
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				s.admin("GET", c.path, nil).want(200)
			}
			b.ReportMetric(float64(len(r.body)), "bytes")
		})
	}
}

// settledOrOther answers a path once nothing is behind.
func (s *shop) settledOrOther(path string) *reply {
	s.t.Helper()
	return s.until(func() *reply { return s.admin("GET", path, nil) }, 200)
}

// submitMany submits orders of one mug each, past the edge's checkouts.
func (s *shop) submitMany(total int) []string {
	s.t.Helper()
	ids := make([]string, total)
	var wg sync.WaitGroup
	next := make(chan int)
	for range 64 {
		wg.Go(func() {
			for i := range next {
				token := api.DeriveID(api.PrefixCheckout, time.Unix(1_700_000_000+int64(i), 0),
					fmt.Sprint(i))
				order, err := api.OrderID(token)
				if err != nil {
					s.t.Error(err)
					return
				}
				ids[i] = order
				if err := s.edge.Do(s.t.Context(), "submit-"+order, &api.SubmitOrder{Order: order,
					Token: token, User: fmt.Sprint("usr_", i), BodyHash: fmt.Sprintf("%064d", i),
					Lines: []api.ReserveLine{{SKU: "mug", Quantity: 1, Price: gbp(1000)}},
					Address: api.Address{Name: "Ann", Phone: "0123", Lines: []string{"1 High St"},
						City: "York", Country: "GB"}, Balance: gbp(0), Total: gbp(1000),
					PayMethod: api.PayAlipay, Channel: api.ChannelWeb}, nil); err != nil {
					s.t.Error(err)
					return
				}
			}
		})
	}
	for i := range total {
		next <- i
	}
	close(next)
	wg.Wait()
	s.until(func() *reply {
		r := s.admin("GET", "/admin/v1/transactions/"+ids[total-1], nil)
		for _, a := range bus.ActorNames() {
			var st api.ActorStatus
			if err := s.edge.AskActor(s.t.Context(), api.Route{Actor: a, Verb: api.EndpointStatus}, nil,
				&st); err != nil || st.Lag > 0 || st.Unconfirmed > 0 {
				r.status = 0
			}
		}
		return r
	}, 200)
	return ids
}
