package e2e

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
)

// TestExpiry lets 2,000 unpaid orders pass their deadline, more than JetStream
// redelivers at once. There is no sweep, so the timers alone have to do it.
// ACCEPT E1
func TestExpiry(t *testing.T) {
	t.Parallel()
	const crowdSize, each = 50, 40
	const limit = 1000 // JetStream's own for messages that wait to be acked
	data := t.TempDir()
	p := serve(t, data, "--expiry", "10s", "--tick-every", "1h").ready()
	sku := p.onSale(1000, crowdSize*each)
	all := p.shoppers(crowdSize)
	var bodies [crowdSize * each]*submission
	before := make([]string, crowdSize)
	crowd(16, crowdSize, func(i int) {
		s := all[i]
		s.give(gbp(each * 10))
		for j, coupon := range s.coupons(each, 50) {
			bodies[i*each+j] = s.checkout(sku, 1).using(coupon, 50, 10)
		}
		before[i] = s.texts("/v1/wallet", "/v1/coupons?limit=200", "/v1/cart")
	})
	if t.Failed() {
		t.FailNow()
	}
	orders := make([]string, len(bodies))
	crowd(64, len(bodies), func(i int) {
		status, data, err := all[i/each].call("POST", "/v1/orders?wait=10", bodies[i])
		if err != nil || status != http.StatusCreated {
			t.Errorf("order: %d %v %s", status, err, data)
			return
		}
		orders[i] = decode[api.Order](t, data).ID
	})
	var list api.OrderList
	eventually(t, "all orders cancelled", func() bool {
		p.admin().must("GET", "/admin/v1/orders?state=placed&limit=1", nil, &list)
		return len(list.Orders) == 0
	})
	if n := p.openAtOnce(all); n <= limit {
		t.Errorf("only %d orders were open at once", n)
	}
	for i, s := range all {
		eventually(t, "everything given back", func() bool {
			return s.texts("/v1/wallet", "/v1/coupons?limit=200", "/v1/cart") == before[i]
		})
	}
	checkExpired(t, p, orders[0], sku)
	tellLate(t, p, all[0], sku)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	auditClean(t, data)
	sweepAlone(t, data, all[0], sku)
}

// openAtOnce is the most orders that waited for payment at the same time. They
// must all be cancelled for that, once, and not before their time.
func (p *process) openAtOnce(all []*shopper) int {
	p.t.Helper()
	var changes []api.Time
	for _, s := range all {
		var list api.OrderList
		s.must("GET", "/v1/orders?limit=200", nil, &list)
		for _, o := range list.Orders {
			if o.State != api.OrderCancelled || o.Reason.Code != api.CodeTimeout ||
				o.ClosedAt < o.ExpiresAt {
				p.t.Errorf("order: %+v, reason %v", o, o.Reason)
			}
			// What a busy machine lets fall comes again after half a minute.
			if late := o.ClosedAt.Std().Sub(o.ExpiresAt.Std()); late > 40*time.Second {
				p.t.Errorf("order %s was cancelled %s late", o.ID, late)
			}
			changes = append(changes, o.Decided, -o.ClosedAt)
		}
	}
	slices.SortFunc(changes, func(a, b api.Time) int {
		return max(a, -a).Std().Compare(max(b, -b).Std())
	})
	now, most := 0, 0
	for _, c := range changes {
		if c < 0 {
			now--
		} else {
			now++
		}
		most = max(most, now)
	}
	return most
}

// checkExpired checks the books of what was locked and given back.
func checkExpired(t *testing.T, p *process, order, sku string) {
	t.Helper()
	count := map[string]int{}
	for _, e := range p.ledger(sku) {
		count[e.Kind]++
	}
	now := p.sku(sku)
	if now.Locked != 0 || now.Stock != 2000 || count[api.LedgerLock] != 2000 ||
		count[api.LedgerUnlock] != 2000 || len(count) != 3 {
		t.Errorf("stock %+v, ledger %v", now, count)
	}
	eventually(t, "the expiry in the journal", func() bool {
		return slices.Equal(p.journal(order),
			[]string{api.EventOrderPlaced, api.EventOrderCancelled})
	})
}

// tellLate tells the order actor again that a deadline has come; nothing is
// given back twice. ACCEPT E3
func tellLate(t *testing.T, p *process, s *shopper, sku string) {
	t.Helper()
	var list api.OrderList
	s.must("GET", "/v1/orders?limit=5", nil, &list)
	e := p.edge()
	before := s.books(sku)
	for _, o := range list.Orders {
		if err := e.Do(within(t, time.Minute), api.NewID("again"), &api.ExpireOrder{Order: o.ID},
			nil); err != nil {
			t.Error(err)
		}
	}
	if after := s.books(sku); after != before {
		t.Errorf("changed:\n%s\nwas\n%s", after, before)
	}
}

// sweepAlone loses all timers, and the process while the deadline passes. The
// sweep finds what is overdue. ACCEPT E1 E3
func sweepAlone(t *testing.T, data string, s *shopper, sku string) {
	const n = 30
	p := serve(t, data, "--expiry", "2s", "--tick-every", "1h").ready()
	s.client, s.p = p.as(s.token), p
	before := s.holdings(sku)
	var ids []string
	for range n {
		ids = append(ids, s.buy(sku, 1).ID)
	}
	js, err := jetstream.New(p.connect())
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t, time.Minute)
	timers, err := js.Stream(ctx, bus.StreamTimers)
	if err != nil {
		t.Fatal(err)
	}
	if err := timers.Purge(ctx); err != nil {
		t.Fatal(err)
	}
	p.kill()
	p = serve(t, data).ready()
	s.client, s.p = p.as(s.token), p
	for _, id := range ids {
		if o := s.await(id, api.OrderCancelled); o.Reason.Code != api.CodeTimeout {
			t.Errorf("order: %+v", o.Reason)
		}
	}
	s.restored(sku, before)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	auditClean(t, data)
}
