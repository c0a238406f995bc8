package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"ordo/api"
	"ordo/bus"
)

// BenchmarkConsole opens every page of the console of a shop with as many orders
// as ORDERS says, 2,000 unless it is set; a third of them is cancelled. A page is
// to take 100 ms at most with 100,000.
func BenchmarkConsole(b *testing.B) {
	total := 2000
	if n, err := strconv.Atoi(os.Getenv("ORDERS")); err == nil {
		total = n
	}
	p, ids := filledShop(b, total)
	w := p.operator()
	middle := ids[total/2]
	var o api.Order
	p.admin().must("GET", "/admin/v1/orders/"+middle, nil, &o)
	for _, page := range [][2]string{{"overview", "/"}, {"overview-24h", "/?minutes=1440"},
		{"transactions", "/transactions"}, {"stuck", "/transactions?stuck=true"},
		{"state", "/transactions?state=cancelled"}, {"sku", "/transactions?sku=" + o.Lines[0].SKU},
		{"sku-none", "/transactions?sku=none"}, {"state-none", "/transactions?state=refused"},
		{"user", "/transactions?user=" + o.User}, {"older", "/transactions?older=1h"},
		{"order", "/transactions/" + middle}, {"dead", "/dead"}, {"stock", "/stock"},
		{"ledger", "/stock?sku=" + o.Lines[0].SKU}, {"payments", "/payments"},
		{"payments-state", "/payments?state=closed"}, {"payments-none", "/payments?state=paid"}, {"payment", "/payments?order=" + middle},
		{"incidents", "/payments/incidents"}, {"paylog", "/payments/log"}, {"refunds", "/refunds"},
		{"refunds-done", "/refunds?state=done"}, {"audit", "/audit"}, {"journal", "/journal"},
		{"journal-order", "/journal?order=" + middle},
		{"journal-type", "/journal?type=" + api.EventOrderRefunded},
		{"search", "/search?q=x"}} {
		b.Run(page[0], func(b *testing.B) {
			var size int64
			for b.Loop() {
				resp, err := w.http.Get(p.url + "/console" + page[1])
				if err != nil {
					b.Fatal(err)
				}
				size, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode >= http.StatusInternalServerError {
					b.Fatal(resp.Status, err)
				}
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}

// filledShop is a shop with so many orders of two goods, past checkouts, and at
// rest.
func filledShop(b *testing.B, total int) (*process, []string) {
	b.Helper()
	p := serve(b, b.TempDir(), "--expiry", "24h").ready()
	goods := []string{p.onSale(1000, 1_000_000), p.onSale(1000, 1_000_000)}
	e := p.edge()
	ids := make([]string, total)
	each(total, func(i int) {
		token := api.DeriveID(api.PrefixCheckout, time.Now(), fmt.Sprint(i))
		id, err := api.OrderID(token)
		if err != nil {
			b.Error(err)
			return
		}
		ids[i] = id
		m := &api.SubmitOrder{Order: id, Token: token, User: fmt.Sprint("usr_", i%5000),
			BodyHash: fmt.Sprintf("%064d", i), PayMethod: api.PayAlipay, Channel: api.ChannelWeb,
			Lines: []api.ReserveLine{{SKU: goods[i%2], Quantity: 1, Price: gbp(1000)}},
			Address: api.Address{Name: "Ann", Phone: "0123", Lines: []string{"1 High St"},
				City: "York", Country: "GB"}, Balance: gbp(0), Total: gbp(1000)}
		if err := e.Do(b.Context(), "submit-"+id, m, nil); err != nil {
			b.Error(err)
		}
	})
	each(total/3, func(i int) {
		_, _, _ = p.admin().call("POST", "/admin/v1/orders/"+ids[3*i]+"/cancel",
			map[string]string{"reason": "too many"}) // those that it misses stay placed
	})
	eventually(b, "rest", func() bool {
		for _, a := range bus.ActorNames() {
			var st api.ActorStatus
			if err := e.AskActor(b.Context(), api.Route{Actor: a, Verb: api.EndpointStatus}, nil,
				&st); err != nil || st.Lag > 0 || st.Unconfirmed > 0 {
				return false
			}
		}
		return true
	})
	return p, ids
}

// each does something for 0 to n-1, 64 side by side.
func each(n int, do func(int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range 64 {
		wg.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
