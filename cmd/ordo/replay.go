package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"ordo/api"
)

// ReplayCmd runs a retailer's invoices through a shop over REST: each customer
// a user, each sale invoice a checkout and an order, which is paid at the shop's
// sandbox, and each cancellation a refund. Without --server it runs the shop
// itself. It may be killed and started again, and so may the shop: users, stock,
// orders, payments and refunds that are there already are not made again. So
// the same trace replays once into a shop.
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
	Pay         *bool  `help:"Pay and refund at the shop's sandbox; if not said, when it has one." negatable:""`
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
	// A server that ends waits for connections on which nothing was asked.
	defer r.admin.http.CloseIdleConnections()
	if isTerminal(t.Err) {
		r.progress = t.Err
	}
	if r.pay, err = r.admin.pays(ctx, c.Pay); err != nil {
		return fmt.Errorf("replay: %w", err)
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
	spare    int64 // units of everything beside factor
	width    int
	progress io.Writer // nil for none
	// pay has orders paid, and cancellations refunded, at the shop's sandbox, but
	// for the invoices that unpaid names.
	pay    bool
	unpaid map[string]bool

	mu     sync.Mutex
	result replayResult
	// bought are the orders of the invoices that cancellations name.
	bought map[string]*api.Order
	// open are orders that were left to be paid, with their shoppers.
	open map[string]*shopper
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
	r.begin()
	bar := newBar(r.progress, len(r.trace.Invoices))
	began := time.Now()
	err = parallel(ctx, r.width, len(r.trace.Invoices), func(ctx context.Context, _ int) error {
		s, inv := q.take()
		defer q.release(s)
		o, err := s.buy(ctx, inv)
		if err == nil && r.pay && !r.unpaid[inv.No] {
			o, err = s.pay(ctx, o)
		}
		if err := r.count(s, inv, o, err); err != nil {
			return fmt.Errorf("invoice %s: %w", inv.No, err)
		}
		// The bar only fails with the terminal.
		_ = bar.Add(1)
		return nil
	})
	if err == nil {
		err = r.refundAll(ctx)
	}
	r.result.Seconds = time.Since(began).Seconds()
	_ = bar.Finish()
	return &r.result, errors.Join(err, r.result.check(err))
}

// begin sets what is known before the first order.
func (r *replay) begin() {
	res := &r.result
	res.Refusals, res.Currency = map[string]int{}, r.goods.currency()
	res.Orders.Offered = len(r.trace.Invoices) + r.trace.Empty
	res.Orders.Skipped = r.trace.Empty
	res.left.join(&r.trace.Skips)
	res.Amounts.Offered = r.trace.Skips.Sales
	for i := range r.trace.Invoices {
		res.Amounts.Offered += r.trace.Invoices[i].Amount
	}
	res.Amounts.Cancelled = r.trace.Skips.Refunds
	r.bought, r.open = map[string]*api.Order{}, map[string]*shopper{}
	for i := range r.trace.Cancels {
		res.Amounts.Cancelled += r.trace.Cancels[i].Amount
		r.bought[r.trace.Cancels[i].Ref] = nil
	}
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

// refusalOf is the code of a refusal; what is none ends the replay.
func refusalOf(err error) (api.Code, error) {
	p := asProblem(err)
	if p == nil || p.Status >= 500 || p.Status == 401 || p.Status == 403 {
		return "", err
	}
	return p.Code, nil
}

// count notes what became of an invoice; what is neither an order nor a
// refusal ends the replay.
func (r *replay) count(s *shopper, inv *invoice, o *api.Order, err error) error {
	var code api.Code
	if err != nil {
		if code, err = refusalOf(err); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	res := &r.result
	switch {
	case code != "":
	case o.State == api.OrderPaid:
		res.Orders.Paid++
		res.Amounts.Paid += inv.Amount
		res.Shop.Paid += o.Total.Amount
		if _, wanted := r.bought[inv.No]; wanted {
			r.bought[inv.No] = o
		}
		return nil
	case o.State != api.OrderRefused:
		res.Orders.Placed++
		res.Amounts.Placed += inv.Amount
		if r.pay && o.State == api.OrderPlaced {
			r.open[o.ID] = s
		}
		return nil
	case o.Reason != nil:
		code = o.Reason.Code
	default:
		code = api.CodeInternal
	}
	res.Orders.Refused++
	res.Amounts.Refused += inv.Amount
	res.Refusals[string(code)]++
	return nil
}
