package e2e

import (
	"context"
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
// as ORDERS says, 2,000 unless it is set; a third of them is cancelled, a third is
// paid, and of some of those a refund is asked for. A page is to take 100 ms at
// most with 100,000.
func BenchmarkConsole(b *testing.B) {
	total := 2000
	if n, err := strconv.Atoi(os.Getenv("ORDERS")); err == nil {
		total = n
	}
	p, ids := filledShop(b, total)
	w := p.operator()
	middle := ids[total/60*30+1] // paid, with a refund
	var o api.Order
	p.admin().must("GET", "/admin/v1/orders/"+middle, nil, &o)
	for _, page := range [][2]string{{"overview", "/"}, {"overview-24h", "/?minutes=1440"},
		{"transactions", "/transactions"}, {"stuck", "/transactions?stuck=true"},
		{"state", "/transactions?state=cancelled"}, {"sku", "/transactions?sku=" + o.Lines[0].SKU},
		{"sku-none", "/transactions?sku=none"}, {"state-none", "/transactions?state=refused"},
		{"user", "/transactions?user=" + o.User}, {"older", "/transactions?older=1h"},
		{"order", "/transactions/" + middle}, {"dead", "/dead"}, {"stock", "/stock"},
		{"ledger", "/stock?sku=" + o.Lines[0].SKU}, {"payments", "/payments"},
		{"payments-state", "/payments?state=closed"}, {"payments-paid", "/payments?state=paid"},
		{"payment", "/payments?order=" + middle},
		{"incidents", "/payments/incidents"}, {"paylog", "/payments/log"}, {"refunds", "/refunds"},
		{"refunds-done", "/refunds?state=done"}, {"audit", "/audit"}, {"journal", "/journal"},
		{"journal-order", "/journal?order=" + middle},
		{"journal-type", "/journal?type=" + api.EventOrderRefunded},
		{"search", "/search?q=T000000001"}, {"search-none", "/search?q=x"}} {
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
		if err := bought(b.Context(), e, ids[3*i+1], i); err != nil {
			b.Error(err)
		}
	})
	var look struct{ Orders api.Tally }
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
	p.admin().must("GET", "/admin/v1/overview", nil, &look)
	n := int64(0)
	for _, count := range look.Orders.States {
		n += count
	}
	if n != int64(total) {
		b.Errorf("%d orders: %v", n, look.Orders.States)
	}
	return p, ids
}

// bought pays an order as a gateway's notice would, and asks for a refund of every
// tenth.
func bought(ctx context.Context, e *bus.Edge, order string, i int) error {
	var o api.Order
	var a api.Attempt
	err := e.Ask(ctx, &api.GetOrder{ID: order}, &o)
	open := &api.OpenAttempt{ID: api.NewID(api.PrefixPayment), Order: order, User: o.User,
		Provider: api.PayAlipay, Product: api.ProductPage}
	if err == nil {
		err = e.Do(ctx, "open-"+open.ID, open, &a)
	}
	if err == nil {
		err = e.Do(ctx, "trade-"+a.ID, &api.NoteTrade{Trade: api.Trade{Provider: api.PayAlipay,
			Attempt: a.ID, TradeNo: fmt.Sprintf("T%09d", i), State: api.TradePaid, Amount: a.Amount,
			PaidAt: api.TimeOf(time.Now())}}, nil)
	}
	for err == nil && i%10 == 0 {
		err = e.Do(ctx, api.NewID("ask"), &api.AskRefund{ID: api.NewID(api.PrefixRefund), Order: order,
			User: o.User, By: o.User}, nil)
		if refusal := api.AsError(err); refusal == nil || refusal.Code != api.CodeNotRefundable {
			break
		}
		err = nil // the order does not know of the payment yet
	}
	return err
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
