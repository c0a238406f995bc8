package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	"ordo/api"
	"ordo/cmd/ordo/sample"
)

// demoDay is the day of the sample week whose orders the demo runs.
const demoDay = "2011-11-17"

// demoPassword is the password of the demo's users. They are on a shop with
// temporary files on this machine.
const demoPassword = "ordo-demo"

// demoUnpaid leaves every so manieth of the day's orders to be paid by hand.
const demoUnpaid = 10

// demoSpare is how many of everything there are beside what the day's orders
// take: a visitor finds the shop stocked.
const demoSpare = 24

// DemoCmd runs a shop on temporary files with sample data: two catalogues,
// users with coupons and balances, and a day of a retailer's real orders, most
// of them paid at the sandbox and some refunded in part. It serves until it is
// stopped.
type DemoCmd struct {
	Once bool   `help:"Print the summary and exit."`
	HTTP string `help:"Address of the REST API." default:"127.0.0.1:8080"`
	NATS string `name:"nats-listen" help:"Address for the nats CLI." default:"127.0.0.1:4222"`
}

// Validate refuses what is not an address.
func (c *DemoCmd) Validate() error {
	if c.NATS == "" {
		return checkAddr("http", c.HTTP)
	}
	return errors.Join(checkAddr("http", c.HTTP), checkAddr("nats-listen", c.NATS))
}

// demo is what the banner shows.
type demo struct {
	shop    *Shop
	admin   *admin
	logins  []string
	replay  *replayResult
	started time.Time
	// unpaid is an order that waits for payment, and cashier where it is paid.
	unpaid  *api.Order
	cashier string
}

// Run implements the command.
func (c *DemoCmd) Run(ctx context.Context, t *terminal) (err error) {
	cfg := ShopConfig{HTTP: c.HTTP, NATSListen: c.NATS, Currency: "GBP", Pay: demoPay(), Log: t.Log}
	if c.Once {
		cfg.HTTP, cfg.NATSListen = "127.0.0.1:0", ""
	}
	started := time.Now()
	shop, dir, err := ownShop(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeShop(shop, dir)) }()
	d := &demo{shop: shop, admin: &admin{newClient(shop.URL, 32), shop.AdminToken},
		started: started}
	// A server that ends waits for connections on which nothing was asked.
	defer d.admin.http.CloseIdleConnections()
	if err := d.fill(ctx, t.Err); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := d.banner(t.Out, c.Once); err != nil || c.Once {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-shop.Failed():
		return err
	}
}

// fill puts all sample data into the shop.
func (d *demo) fill(ctx context.Context, progress io.Writer) error {
	if err := d.admin.waitReady(ctx, time.Minute); err != nil {
		return err
	}
	if err := d.importLuma(ctx); err != nil {
		return err
	}
	if err := d.makeUsers(ctx); err != nil {
		return err
	}
	goods, err := readCatalog(bytes.NewReader(sample.CatalogWeek), "GBP")
	if err != nil {
		return err
	}
	week, err := readTrace(bytes.NewReader(sample.OrdersWeek), goods, 0)
	if err != nil {
		return err
	}
	// What was sold that day, and demoSpare of everything, for visitors to buy.
	r := &replay{admin: d.admin, goods: goods, trace: week.day(demoDay), factor: big.NewRat(1, 1),
		spare: demoSpare, width: 16, pay: true}
	r.unpaid = r.trace.unnamed(demoUnpaid)
	if isTerminal(progress) {
		r.progress = progress
	}
	if d.replay, err = r.run(ctx); err != nil {
		return err
	}
	return d.findCashier(ctx, r)
}

// day is a trace with what was sold on a day, and the cancellations of it that
// came on the same day.
func (t *trace) day(date string) *trace {
	day := &trace{}
	sold := map[string]bool{}
	for _, inv := range t.Invoices {
		if strings.HasPrefix(inv.At, date) {
			day.Invoices = append(day.Invoices, inv)
			sold[inv.No] = true
		}
	}
	for _, c := range t.Cancels {
		if strings.HasPrefix(c.At, date) && sold[c.Ref] {
			day.Cancels = append(day.Cancels, c)
		}
	}
	return day
}

// unnamed is every so manieth invoice, without those that a cancellation names.
func (t *trace) unnamed(every int) map[string]bool {
	some := map[string]bool{}
	for i := every - 1; i < len(t.Invoices); i += every {
		some[t.Invoices[i].No] = true
	}
	for i := range t.Cancels {
		delete(some, t.Cancels[i].Ref)
	}
	return some
}

// findCashier opens the cashier for one of the orders that were left.
func (d *demo) findCashier(ctx context.Context, r *replay) error {
	if len(r.open) == 0 {
		return nil
	}
	id := slices.Min(slices.Collect(maps.Keys(r.open)))
	a, err := r.open[id].attempt(ctx, &api.Order{ID: id})
	if err != nil {
		return err
	}
	d.unpaid = &api.Order{ID: id, Due: a.Amount}
	d.cashier, err = leadsTo(ctx, a.Link.URL)
	return err
}

// leadsTo is where a link redirects a browser to, or else the link itself.
func leadsTo(ctx context.Context, link string) (string, error) {
	c := &http.Client{Timeout: 10 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return "", err
	}
	res, err := c.Do(req)
	if err != nil {
		return "", fmt.Errorf("cashier: %w", err)
	}
	defer res.Body.Close()
	return or(res.Header.Get("Location"), link), nil
}

// importLuma puts products with sizes and colours on sale. Their prices are
// taken as pounds.
func (d *demo) importLuma(ctx context.Context) error {
	var rows []importSKU
	var bad error
	columns := []string{"spu", "sku", "name", "size", "color", "price", "qty", "categories"}
	err := table(bytes.NewReader(sample.Luma), columns, func(row map[string]string) {
		price, err := api.ParseMoney(row["price"], "GBP")
		var stock int64
		_, err2 := fmt.Sscan(row["qty"], &stock)
		if bad = errors.Join(bad, err, err2); bad != nil {
			return
		}
		rows = append(rows, importSKU{SKU: row["sku"], Product: row["spu"], Name: row["name"],
			ProductName: row["name"], Price: price, Stock: stock, Categories: row["categories"],
			Options: []string{row["size"], row["color"]}})
	})
	if err = errors.Join(err, bad); err != nil {
		return fmt.Errorf("luma: %w", err)
	}
	return d.admin.importCatalog(ctx, []string{"size", "color"}, rows)
}

// makeUsers registers shoppers who can log in, with a balance, a coupon and an
// address each.
func (d *demo) makeUsers(ctx context.Context) error {
	for _, name := range []string{"Ada", "Grace"} {
		var made struct {
			Token string   `json:"token"`
			User  api.User `json:"user"`
		}
		email := strings.ToLower(name) + "@example.com"
		err := d.admin.do(ctx,
			request{Method: "POST", Path: "/v1/register", Key: email, Repeat: true,
				Body: map[string]any{"email": email, "password": demoPassword, "name": name}},
			&made)
		if err != nil {
			return fmt.Errorf("register %s: %w", email, err)
		}
		if err := d.endow(ctx, made.User.ID); err != nil {
			return err
		}
		err = d.admin.do(ctx, request{Method: "POST", Path: "/v1/addresses", Token: made.Token,
			Key: email, Repeat: true,
			Body: map[string]any{"name": name, "phone": "+44 20 7946 0000",
				"lines": []string{"12 St James's Square"}, "city": "London", "postcode": "SW1Y 4JH",
				"country": "GB"}}, nil)
		if err != nil {
			return fmt.Errorf("address of %s: %w", email, err)
		}
		d.logins = append(d.logins, email)
	}
	return nil
}

// endow gives a user 50.00 and two coupons for a month.
func (d *demo) endow(ctx context.Context, user string) error {
	pounds := func(n int64) api.Money { return api.Money{Amount: n * 100, Currency: "GBP"} }
	if err := d.admin.credit(ctx, "demo-"+user, user, pounds(50)); err != nil {
		return err
	}
	from := api.TimeOf(d.started.Add(-time.Hour).Truncate(time.Second))
	until := from.Add(31 * 24 * time.Hour)
	_, err := d.admin.coupons(ctx, "demo-"+user, []newCoupon{
		{User: user, Name: "5 off", Amount: pounds(5), Minimum: pounds(0), From: from,
			Until: until},
		{User: user, Name: "20 off 100", Amount: pounds(20), Minimum: pounds(100), From: from,
			Until: until},
	})
	return err
}

// cashierHint says how to pay an order by hand.
func (d *demo) cashierHint() string {
	const hint = "POST /v1/orders/{id}/payments answers a link to the sandbox's cashier"
	if d.unpaid == nil {
		return hint
	}
	return fmt.Sprintf("%s (%s of %s; no real money)\n         %s", d.cashier, d.unpaid.Due,
		d.unpaid.ID, hint)
}

func (d *demo) banner(w io.Writer, once bool) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "ordo demo, ready after %.1f s\n", time.Since(d.started).Seconds())
	fmt.Fprintf(&b, "the orders of a UK gift retailer on %s: ", demoDay)
	if err := printReplay(&b, d.replay); err != nil {
		return err
	}
	lines := [][2]string{{"users", strings.Join(d.logins, ", ") + " (password " + demoPassword +
		", 50.00 GBP and two coupons each)"}}
	if !once {
		lines = slices.Concat([][2]string{{"shop", d.shop.URL + "/"},
			{"API", d.shop.URL + "/v1/products?search=hoodie"},
			{"docs", d.shop.URL + "/docs"}, {"admin", d.shop.URL + "/admin/v1, token " +
				d.shop.AdminToken}, {"", "the console " + d.shop.URL +
				"/console/ takes the same token"},
			{"nats", d.shop.NATSURL}, {"pay", d.cashierHint()}}, lines)
	}
	for _, l := range lines {
		if l[1] != "" {
			fmt.Fprintf(&b, "  %-6s %s\n", l[0], l[1])
		}
	}
	if !once {
		fmt.Fprintln(&b,
			"data: see ordo's sample/SOURCE.md for citation and licence; Ctrl-C to stop")
	}
	_, err := w.Write(b.Bytes())
	return err
}
