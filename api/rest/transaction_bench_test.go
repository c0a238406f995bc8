package rest_test

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"ordo/actors/goods"
	"ordo/api"
	"ordo/api/rest"
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
		s.measure(b, c.name, c.path)
	}
	// All at once, while their participant is away: what is asked of it is far behind
	// what asked for it, since the order actor is busy.
	s.stop("goods")
	ids = s.floodMany(total, min(total, 5000))
	for _, c := range []struct{ name, path string }{
		{"timeline-stuck", "/admin/v1/transactions/" + ids[len(ids)/2]},
		{"timeline-stuck-last", "/admin/v1/transactions/" + ids[len(ids)-1]},
		{"list-stuck", "/admin/v1/transactions?stuck=true&limit=200"},
	} {
		s.measure(b, c.name, c.path)
	}
	s.start(goods.Spec())
	s.caughtUp()
	s.measure(b, "timeline-was-stuck", "/admin/v1/transactions/"+ids[len(ids)/2])
}

// measure asks for a path again and again. Besides the time, which others on the
// machine lengthen, it reports the CPU that client, edge, actors and NATS took.
func (s *shop) measure(b *testing.B, name, path string) {
	r := s.settledOrOther(path)
	if len(r.body) < 8000 {
		b.Logf("%s", r.body) // with -v: what was found, and what was not
	}
	b.Run(name, func(b *testing.B) {
		before := cpu(b)
		for b.Loop() {
			s.admin("GET", path, nil).want(200)
		}
		b.ReportMetric(float64((cpu(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		b.ReportMetric(float64(len(r.body)), "bytes")
	})
}

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// settledOrOther answers a path once nothing is behind.
func (s *shop) settledOrOther(path string) *reply {
	s.t.Helper()
	return s.until(func() *reply { return s.admin("GET", path, nil) }, 200)
}

// submission is the n-th order of one mug, past the edge's checkouts.
func (s *shop) submission(n int) *api.SubmitOrder {
	s.t.Helper()
	token := api.DeriveID(api.PrefixCheckout, time.Unix(1_700_000_000+int64(n), 0), fmt.Sprint(n))
	order, err := api.OrderID(token)
	if err != nil {
		s.t.Fatal(err)
	}
	return &api.SubmitOrder{Order: order, Token: token, User: fmt.Sprint("usr_", n),
		BodyHash: fmt.Sprintf("%064d", n),
		Lines:    []api.ReserveLine{{SKU: "mug", Quantity: 1, Price: gbp(1000)}},
		Address: api.Address{Name: "Ann", Phone: "0123", Lines: []string{"1 High St"},
			City: "York", Country: "GB"}, Balance: gbp(0), Total: gbp(1000),
		PayMethod: api.PayAlipay, Channel: api.ChannelWeb}
}

// submitMany submits orders, and waits until nothing is behind.
func (s *shop) submitMany(total int) []string {
	s.t.Helper()
	ids := make([]string, total)
	var wg sync.WaitGroup
	next := make(chan *api.SubmitOrder)
	for range 64 {
		wg.Go(func() {
			for m := range next {
				if err := s.edge.Do(s.t.Context(), "submit-"+m.Order, m, nil); err != nil {
					s.t.Error(err)
				}
			}
		})
	}
	for i := range total {
		m := s.submission(i)
		ids[i] = m.Order
		next <- m
	}
	close(next)
	wg.Wait()
	s.caughtUp()
	return ids
}

// floodMany publishes submits without waiting for an answer, from a number on, and
// waits until the order actor has handled them.
func (s *shop) floodMany(from, n int) []string {
	s.t.Helper()
	ids := make([]string, n)
	for i := range n {
		m := s.submission(from + i)
		ids[i] = m.Order
		if _, err := bus.Publish(s.js, bus.MailboxSubject("order", "submit"), "submit-"+m.Order, nil,
			api.Raw(m)); err != nil {
			s.t.Fatal(err)
		}
	}
	<-s.js.PublishAsyncComplete()
	s.until(func() *reply { return s.admin("GET", "/admin/v1/transactions/"+ids[n-1], nil) }, 200)
	return ids
}

// caughtUp waits until no actor is behind.
func (s *shop) caughtUp() {
	s.t.Helper()
	s.until(func() *reply {
		r := s.admin("GET", "/admin/v1/overview", nil)
		for _, a := range decode[rest.Overview](r).Actors {
			if !a.Ready || a.Lag != 0 || a.Unconfirmed != 0 {
				r.status = 0
			}
		}
		return r
	}, 200)
}
