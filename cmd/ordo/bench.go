package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ordo/api"
)

// Amounts of a measured order, in minor units.
const (
	benchPrice    = 2000
	benchDiscount = 100
	benchBalance  = 50
)

// Sizes of what a measurement prepares.
const (
	maxBenchUsers = 1000
	maxBenchSKUs  = 500
	// benchDecision is how long an order may take to be decided.
	benchDecision = time.Minute
)

// BenchCmd is a closed-loop client over HTTP in a process of its own: every
// client sends its next order when the one before is decided. An order uses a
// coupon and some balance, and has to end as placed. Users, coupons, balances
// and stock are made before the clock starts. In the mode checkout+order the
// time of an order is that of POST /v1/checkouts and POST /v1/orders together;
// in the mode order the checkouts are made before, and it is that of POST
// /v1/orders alone. With --pay it is also that of opening a payment, paying it at
// the shop's sandbox and waiting for the order to be paid, and a row ends when
// points and shipments of the last orders are there too.
type BenchCmd struct {
	Orders      int    `help:"Orders in each row." default:"5000"`
	Concurrency []int  `help:"Numbers of clients, a row each." default:"1,8,64"`
	Hot         bool   `help:"All orders want the same SKU."`
	Mode        string `help:"What is measured." enum:"checkout+order,order" default:"checkout+order"`
	Pay         bool   `help:"Have each order paid at the shop's sandbox and fulfilled."`
	Server      string `help:"URL of a running shop; else one is started for the time."`
	AdminToken  string `help:"Admin token of the running shop."`
	Data        string `help:"Directory of the shop started; else a temporary one." type:"path"`
	Currency    string `help:"The shop's currency." default:"GBP"`
	JSON        bool   `name:"json" help:"Print a line of JSON for each row."`
}

// Validate refuses what could not be measured.
func (c *BenchCmd) Validate() error {
	errs := []error{within("orders", c.Orders, 1, 10_000_000), checkCurrency(c.Currency)}
	for _, n := range c.Concurrency {
		errs = append(errs, within("concurrency", n, 1, 10_000))
	}
	if len(c.Concurrency) == 0 {
		errs = append(errs, errors.New("--concurrency names no number of clients"))
	}
	if c.Server != "" && !strings.HasPrefix(c.Server, "http://") {
		errs = append(errs, errors.New("--server must begin with http://"))
	}
	return errors.Join(errs...)
}

// benchRow is the result with one number of clients.
type benchRow struct {
	Mode    string `json:"mode"`
	Clients int    `json:"clients"`
	// Orders were placed, or paid where that is measured; Errors were not.
	Orders       int     `json:"orders"`
	Errors       int     `json:"errors"`
	Seconds      float64 `json:"seconds"`
	OrdersPerSec float64 `json:"orders_per_s"`
	P50          float64 `json:"p50_ms"`
	P95          float64 `json:"p95_ms"`
	P99          float64 `json:"p99_ms"`
}

// Run implements the command.
func (c *BenchCmd) Run(ctx context.Context, t *terminal) (err error) {
	url, token := c.Server, c.AdminToken
	if url == "" {
		s, err := startServer(ctx, c.Data, c.Currency, t.Err)
		if err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		defer func() { err = errors.Join(err, s.stop()) }()
		url, token = s.url, s.token
	}
	b := &bench{admin: &admin{newClient(url, 64), token}, cmd: c}
	// A server that ends waits for connections on which nothing was asked.
	defer b.admin.http.CloseIdleConnections()
	if err := b.prepare(ctx); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return b.rows(ctx, t)
}

// rows measures with each number of clients. errFound: some orders failed.
func (b *bench) rows(ctx context.Context, t *terminal) error {
	c := b.cmd
	if !c.JSON {
		fmt.Fprintf(t.Out, "%-20s %8s %9s %7s %9s %9s %9s %9s %9s\n", "mode", "clients", "orders",
			"errors", "seconds", "orders/s", "p50 ms", "p95 ms", "p99 ms")
	}
	failed := false
	for n, clients := range c.Concurrency {
		row, why, err := b.row(ctx, n, clients)
		if err == nil {
			err = row.print(t.Out, c.JSON)
		}
		if err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		for _, e := range why {
			fmt.Fprintln(t.Err, "bench:", e)
		}
		failed = failed || row.Errors > 0
	}
	if failed {
		return errFound
	}
	return nil
}

func (r *benchRow) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	_, err := fmt.Fprintf(w, "%-20s %8d %9d %7d %9.2f %9.0f %9.2f %9.2f %9.2f\n", r.Mode, r.Clients,
		r.Orders, r.Errors, r.Seconds, r.OrdersPerSec, r.P50, r.P95, r.P99)
	return err
}

// bench is one run against one shop.
type bench struct {
	cmd   *BenchCmd
	admin *admin
	host  string
	// run keeps this run's things apart from those of others in the shop.
	run   string
	users []account
	// addresses are one a user.
	addresses []string
	skus      []string
}

func (b *bench) money(amount int64) api.Money {
	return api.Money{Amount: amount, Currency: b.cmd.Currency}
}

// prepare makes SKUs, users with an address each, and their balances.
func (b *bench) prepare(ctx context.Context) error {
	b.host = strings.TrimPrefix(b.admin.base, "http://")
	if err := b.admin.waitReady(ctx, time.Minute); err != nil {
		return err
	}
	b.run = strings.ToLower(api.NewID("b")[2:])
	orders := b.cmd.Orders * len(b.cmd.Concurrency)
	if err := b.makeSKUs(ctx, orders); err != nil {
		return err
	}
	people := make([]person, min(orders, maxBenchUsers))
	for i := range people {
		people[i] = person{Email: fmt.Sprintf("%s-%d@bench.example", b.run, i),
			Name: fmt.Sprintf("Shopper %d", i)}
	}
	var err error
	if b.users, err = b.admin.users(ctx, people); err != nil {
		return err
	}
	// Orders are dealt to users in turn, in each row.
	each := int64(b.cmd.Orders/len(people)+1) * int64(len(b.cmd.Concurrency)) * benchBalance
	b.addresses = make([]string, len(people))
	return parallel(ctx, 32, len(people), func(ctx context.Context, i int) error {
		if err := b.admin.credit(ctx, b.run+"-"+b.users[i].ID, b.users[i].ID,
			b.money(each)); err != nil {
			return err
		}
		var made api.Address
		err := b.admin.do(ctx, request{Method: "POST", Path: "/v1/addresses", Repeat: true,
			Token: b.users[i].Token, Body: map[string]any{"name": people[i].Name,
				"phone": "+44 20 7946 0000", "lines": []string{"1 Bench Street"}, "city": "London",
				"postcode": "N1 9GU", "country": "GB"}}, &made)
		b.addresses[i] = made.ID
		return err
	})
}

// makeSKUs makes one SKU, or many that share the orders.
func (b *bench) makeSKUs(ctx context.Context, orders int) error {
	n := min(orders, maxBenchSKUs)
	if b.cmd.Hot {
		n = 1
	}
	rows, stock := make([]importSKU, n), map[string]int64{}
	for i := range rows {
		sku := fmt.Sprintf("BENCH-%s-%03d", b.run, i)
		rows[i] = importSKU{SKU: sku, Product: "BENCH-" + b.run, Name: fmt.Sprintf("Bench %d", i),
			ProductName: "Bench", Price: b.money(benchPrice), Categories: "Bench",
			Options: []string{fmt.Sprint(i)}}
		b.skus = append(b.skus, sku)
		stock[sku] = int64(orders/n + 1)
	}
	if err := b.admin.importCatalog(ctx, []string{"number"}, rows); err != nil {
		return err
	}
	return b.admin.receive(ctx, b.run, stock)
}

// row measures one number of clients. It also says what the first errors were.
func (b *bench) row(ctx context.Context, n, clients int) (*benchRow, []error, error) {
	load, err := b.load(ctx, n)
	if err != nil {
		return nil, nil, err
	}
	shape := &benchRow{Mode: b.cmd.Mode, Clients: clients}
	if b.cmd.Pay {
		shape.Mode += "+pay"
	}
	if b.cmd.Hot {
		shape.Mode += ",hot"
	}
	wires := make([]*wire, clients)
	for i := range wires {
		wires[i] = &wire{host: b.host}
		defer wires[i].close()
	}
	if b.cmd.Mode == "order" {
		if err := closedLoop(ctx, wires, len(load), func(w *wire, i int) error {
			return load[i].openCheckout(w)
		}); err != nil {
			return nil, nil, err
		}
	}
	took, errs := make([]time.Duration, len(load)), make([]error, len(load))
	began := time.Now()
	err = closedLoop(ctx, wires, len(load), func(w *wire, i int) error {
		start := time.Now()
		errs[i] = b.one(w, &load[i])
		load[i].done = time.Now()
		took[i] = load[i].done.Sub(start)
		return nil
	})
	if err == nil && b.cmd.Pay {
		err = b.settle(ctx, wires, load)
	}
	shape.Seconds = time.Since(began).Seconds()
	return shape, shape.sum(took, errs), err
}

// one brings an order to its end.
func (b *bench) one(w *wire, o *benchOrder) error {
	if !o.open {
		if err := o.openCheckout(w); err != nil {
			return err
		}
	}
	if err := o.submit(w); err != nil || !b.cmd.Pay {
		return err
	}
	return b.pay(w, o)
}

// sum fills in the counts and percentiles, and returns the first errors.
func (r *benchRow) sum(took []time.Duration, errs []error) (first []error) {
	var good []time.Duration
	for i, err := range errs {
		if err == nil {
			good = append(good, took[i])
			continue
		}
		r.Errors++
		if len(first) < 5 {
			first = append(first, err)
		}
	}
	r.Orders = len(good)
	r.OrdersPerSec = math.Round(float64(r.Orders)/max(r.Seconds, 1e-9)*10) / 10
	slices.Sort(good)
	r.P50, r.P95, r.P99 = percentile(good, 50), percentile(good, 95), percentile(good, 99)
	return first
}

// percentile is the nearest rank in sorted times, in milliseconds.
func percentile(sorted []time.Duration, p int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	d := sorted[(len(sorted)*p+99)/100-1]
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}

// closedLoop has every wire do one thing after the other until n are done. The
// first error ends it.
func closedLoop(ctx context.Context, wires []*wire, n int, do func(*wire, int) error) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for _, w := range wires {
		wg.Go(func() {
			for ctx.Err() == nil && failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(w, i); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return ctx.Err()
}
