package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"ordo/api"
)

// ReplayCmd runs a retailer's invoices through a shop over REST: each customer
// a user, each sale invoice a checkout and an order. Without --server it runs
// the shop itself. It may be killed and started again, and so may the shop:
// users, stock and orders that are there already are not made again. So the
// same trace replays once into a shop.
type ReplayCmd struct {
	Orders      string `help:"CSV of the orders, may be gzipped." required:"" type:"existingfile"`
	Catalog     string `help:"CSV of the catalogue, may be gzipped." required:"" type:"existingfile"`
	Server      string `help:"URL of a running shop; else one is run here."`
	AdminToken  string `help:"Admin token of the running shop."`
	Data        string `help:"Directory of the shop run here; else a temporary one." type:"path"`
	Concurrency int    `help:"Customers who buy at once." default:"16"`
	Limit       int    `help:"Most sale invoices to offer; 0 for all." default:"0"`
	StockFactor string `help:"Stock to seed, as a share of the units sold." default:"1.0"`
	Currency    string `help:"The shop's currency." default:"GBP"`
	JSON        bool   `name:"json" help:"Print the result as JSON."`
}

// Validate refuses what could not be replayed.
func (c *ReplayCmd) Validate() error {
	_, err := parseFactor(c.StockFactor)
	if err == nil && c.Server != "" && !strings.HasPrefix(c.Server, "http://") &&
		!strings.HasPrefix(c.Server, "https://") {
		err = errors.New("--server must begin with http:// or https://")
	}
	return errors.Join(err, within("concurrency", c.Concurrency, 1, 1000),
		within("limit", c.Limit, 0, math.MaxInt), checkCurrency(c.Currency))
}

// replayResult is what a replay did. Offered orders are placed, paid, refused or
// skipped; skips count rows of the trace by reason.
type replayResult struct {
	Orders struct {
		// Offered are the sale invoices looked at.
		Offered int `json:"offered"`
		// Placed are also those that were placed and have expired since.
		Placed  int `json:"placed"`
		Paid    int `json:"paid"`
		Refused int `json:"refused"`
		// Skipped are sale invoices of which nothing can be bought.
		Skipped int `json:"skipped"`
	} `json:"orders"`
	// Refusals counts the refused orders by code.
	Refusals map[string]int `json:"refusals"`
	// Skips counts the rows that were not bought by reason.
	Skips map[string]int `json:"skips"`
	// Seconds is how long the orders took, seeding excluded.
	Seconds float64 `json:"seconds"`
}

// Run implements the command.
func (c *ReplayCmd) Run(ctx context.Context, t *terminal) (err error) {
	factor, err := parseFactor(c.StockFactor)
	if err != nil {
		return err
	}
	goods, tr, err := c.read()
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	url, token := c.Server, c.AdminToken
	if url == "" {
		shop, dir, err := ownShop(ctx, ShopConfig{Data: c.Data, HTTP: "127.0.0.1:0",
			Currency: c.Currency, Pay: demoPay(), Log: t.Log})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closeShop(shop, dir)) }()
		url, token = shop.URL, shop.AdminToken
	}
	r := &replay{admin: &admin{newClient(url, c.Concurrency+8), token}, goods: goods, trace: tr,
		factor: factor, width: c.Concurrency}
	if isTerminal(t.Err) {
		r.progress = t.Err
	}
	result, err := r.run(ctx)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	return c.print(t.Out, result)
}

func (c *ReplayCmd) read() (catalog, *trace, error) {
	catalogFile, err := os.Open(c.Catalog)
	if err != nil {
		return nil, nil, err
	}
	defer catalogFile.Close()
	goods, err := readCatalog(catalogFile, c.Currency)
	if err != nil {
		return nil, nil, err
	}
	ordersFile, err := os.Open(c.Orders)
	if err != nil {
		return nil, nil, err
	}
	defer ordersFile.Close()
	t, err := readTrace(ordersFile, goods, c.Limit)
	return goods, t, err
}

func (c *ReplayCmd) print(w io.Writer, r *replayResult) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(r)
	}
	return printReplay(w, r)
}

func printReplay(w io.Writer, r *replayResult) error {
	var b bytes.Buffer
	o := &r.Orders
	done := o.Placed + o.Paid + o.Refused
	fmt.Fprintf(&b, "%d orders offered: %d placed, %d paid, %d refused, %d skipped", o.Offered,
		o.Placed, o.Paid, o.Refused, o.Skipped)
	fmt.Fprintf(&b, "; %.1f s, %.0f orders/s\n", r.Seconds, float64(done)/max(r.Seconds, 1e-3))
	for _, code := range slices.Sorted(maps.Keys(r.Refusals)) {
		fmt.Fprintf(&b, "  refused   %7d  %s\n", r.Refusals[code], code)
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Skips)) {
		fmt.Fprintf(&b, "  rows left %7d  %s\n", r.Skips[reason], reason)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// ownShop starts a shop in this process. Without a directory it gets a
// temporary one, which is returned for closeShop to remove.
func ownShop(ctx context.Context, cfg ShopConfig) (shop *Shop, dir string, err error) {
	if cfg.Data == "" {
		if dir, err = os.MkdirTemp("", "ordo-"); err != nil {
			return nil, "", err
		}
		cfg.Data = dir
	}
	if shop, err = StartShop(ctx, cfg); err != nil {
		return nil, "", errors.Join(err, removeDir(dir))
	}
	return shop, dir, nil
}

func closeShop(shop *Shop, dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return errors.Join(shop.Close(ctx), removeDir(dir))
}

func removeDir(dir string) error {
	if dir == "" {
		return nil
	}
	return os.RemoveAll(dir)
}

// replay runs one trace against one shop.
type replay struct {
	admin    *admin
	goods    catalog
	trace    *trace
	factor   *big.Rat
	width    int
	progress io.Writer // nil for none

	mu     sync.Mutex
	result replayResult
}

func (r *replay) run(ctx context.Context) (*replayResult, error) {
	if err := r.admin.waitReady(ctx, time.Minute); err != nil {
		return nil, err
	}
	if err := r.seed(ctx); err != nil {
		return nil, err
	}
	q, err := r.queue(ctx)
	if err != nil {
		return nil, err
	}
	r.result.Orders.Offered = len(r.trace.Invoices) + r.trace.Empty
	r.result.Orders.Skipped = r.trace.Empty
	r.result.Skips, r.result.Refusals = r.trace.Skips, map[string]int{}
	bar := newBar(r.progress, len(r.trace.Invoices))
	began := time.Now()
	err = parallel(ctx, r.width, len(r.trace.Invoices), func(ctx context.Context, _ int) error {
		s, inv := q.take()
		defer q.release(s)
		o, err := s.buy(ctx, inv)
		if err := r.count(o, err); err != nil {
			return fmt.Errorf("invoice %s: %w", inv.No, err)
		}
		// The bar only fails with the terminal.
		_ = bar.Add(1)
		return nil
	})
	r.result.Seconds = time.Since(began).Seconds()
	_ = bar.Finish()
	return &r.result, err
}

func newBar(w io.Writer, n int) *progressbar.ProgressBar {
	if w == nil {
		return progressbar.DefaultSilent(int64(n))
	}
	return progressbar.NewOptions(n, progressbar.OptionSetWriter(w), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionSetItsString("orders"),
		progressbar.OptionSetDescription("replay"), progressbar.OptionClearOnFinish(),
		progressbar.OptionThrottle(100*time.Millisecond))
}

// count notes what became of an invoice; what is neither an order nor a
// refusal ends the replay.
func (r *replay) count(o *api.Order, err error) error {
	code := ""
	if err != nil {
		p := asProblem(err)
		if p == nil || p.Status >= 500 || p.Status == 401 || p.Status == 403 {
			return err
		}
		code = string(p.Code)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case code != "":
	case o.State == api.OrderPaid:
		r.result.Orders.Paid++
		return nil
	case o.State != api.OrderRefused:
		r.result.Orders.Placed++
		return nil
	case o.Reason != nil:
		code = string(o.Reason.Code)
	default:
		code = string(api.CodeInternal)
	}
	r.result.Orders.Refused++
	r.result.Refusals[code]++
	return nil
}
