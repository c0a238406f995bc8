package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"ordo/api"
	"ordo/bus"
)

// at is the process for a subtest, which fails in the process's stead.
func (p *process) at(t testing.TB) *process {
	q := *p
	q.t = t
	return &q
}

// gbp is money of the shop under test, in pence.
func gbp(n int64) api.Money { return api.Money{Amount: n, Currency: "GBP"} }

// crowd calls do for 0 to n-1, so many at once. A call that fails the test for
// good takes its goroutine with it; look at t.Failed afterwards.
func crowd(width, n int, do func(i int)) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(width, n) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				do(int(i))
			}
		})
	}
	wg.Wait()
}

// shopper is a user with a session and an address.
type shopper struct {
	*client
	p           *process
	id, address string
}

// sender is where orders of the tests go to.
var sender = api.Address{Name: "Ada Lovelace", Phone: "+44 20 7946 0958",
	Lines: []string{"12 St James's Square"}, City: "London", Postcode: "SW1Y 4JH", Country: "GB"}

// addressBody is an address as its owner writes it.
func addressBody(a api.Address) map[string]any {
	return map[string]any{"name": a.Name, "phone": a.Phone, "lines": a.Lines, "city": a.City,
		"postcode": a.Postcode, "country": a.Country, "default": a.Default}
}

// users makes users with a role and a session, without passwords.
func (p *process) users(n int, role string) []*shopper {
	p.t.Helper()
	all := make([]*shopper, 0, n)
	for len(all) < n {
		var people []map[string]string
		for range min(n-len(all), 500) {
			people = append(people, map[string]string{"role": role,
				"email": strings.ToLower(api.NewID("u")) + "@shop.test"})
		}
		var made struct {
			Items []struct{ ID, Token string }
		}
		p.admin().must("POST", "/admin/v1/users", map[string]any{"users": people}, &made)
		for _, u := range made.Items {
			all = append(all, &shopper{client: p.as(u.Token), p: p, id: u.ID})
		}
	}
	return all
}

// shoppers makes users who can order.
func (p *process) shoppers(n int) []*shopper {
	p.t.Helper()
	all := p.users(n, api.RoleShopper)
	crowd(32, n, func(i int) {
		status, data, err := all[i].call("POST", "/v1/addresses", addressBody(sender))
		var a api.Address
		if err == nil {
			err = json.Unmarshal(data, &a)
		}
		if err != nil || status != http.StatusCreated {
			p.t.Errorf("address: %d %v %s", status, err, data)
		}
		all[i].address = a.ID
	})
	if p.t.Failed() {
		p.t.FailNow()
	}
	return all
}

func (p *process) shopper() *shopper { p.t.Helper(); return p.shoppers(1)[0] }

// importCSV puts goods on sale.
func (p *process) importCSV(rows ...string) {
	p.t.Helper()
	p.admin().must("POST", "/admin/v1/products:import", strings.Join(rows, "\n")+"\n", nil)
}

// onSale puts a new SKU on sale, at a price in pence, and returns its id.
func (p *process) onSale(price, stock int64) string {
	p.t.Helper()
	id := api.NewID("sku")
	p.reprice(id, price, stock)
	return id
}

// reprice changes the price of a SKU, or makes it with a first stock.
func (p *process) reprice(id string, price, stock int64) {
	p.t.Helper()
	p.importCSV("sku,spu,name,price,stock,option:size", fmt.Sprintf("%s,P-%s,Goods %s,%d.%02d,%d,M",
		id, id, id, price/100, price%100, stock))
}

// sku is a SKU as it is now.
func (p *process) sku(id string) (s api.SKU) {
	p.t.Helper()
	p.as("").must("GET", "/v1/skus/"+id, nil, &s)
	return s
}

// ledger are all rows of a SKU's stock ledger, newest first.
func (p *process) ledger(id string) (all []api.StockEntry) {
	p.t.Helper()
	for cursor := ""; ; {
		var list api.StockLedger
		p.admin().must("GET", "/admin/v1/stock/ledger?limit=200&sku="+id+"&cursor="+cursor, nil, &list)
		all = append(all, list.Entries...)
		if cursor = list.Next; cursor == "" {
			return all
		}
	}
}

// journal are the types of the events of an order, oldest first.
func (p *process) journal(order string) (types []string) {
	p.t.Helper()
	var list api.Journal
	p.admin().must("GET", "/admin/v1/journal?order="+order, nil, &list)
	for _, e := range list.Entries {
		types = append(types, e.Type)
	}
	return types
}

// steps are the states of an order's steps by name.
func (p *process) steps(order string) map[string]string {
	p.t.Helper()
	var list api.StepList
	p.admin().must("GET", "/admin/v1/orders/"+order+"/steps", nil, &list)
	states := map[string]string{}
	for _, s := range list.Steps {
		states[s.Name] = s.State
	}
	return states
}

// connect opens a connection to the NATS of the process.
func (p *process) connect() *nats.Conn {
	p.t.Helper()
	nc, err := nats.Connect(p.nats)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(nc.Close)
	return nc
}

// edge reaches the actors of the process past its HTTP API.
func (p *process) edge() *bus.Edge {
	p.t.Helper()
	nc := p.connect()
	js, err := bus.NewJetStream(nc, func(m *nats.Msg, err error) {
		p.t.Errorf("publish %s: %v", m.Subject, err)
	})
	if err != nil {
		p.t.Fatal(err)
	}
	e := bus.NewEdge(nc, js)
	if err := e.Listen(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = e.Close() }) // its process may have ended
	return e
}

// give credits a wallet.
func (s *shopper) give(amount api.Money) {
	s.t.Helper()
	s.p.admin().must("POST", "/admin/v1/wallets/credit",
		api.Credit{User: s.id, Amount: amount, Reason: "gift"}, nil)
}

// coupon issues a coupon that is valid now and returns its id.
func (s *shopper) coupon(amount, minimum int64) string {
	s.t.Helper()
	now := time.Now()
	return s.couponAt(amount, minimum, now.Add(-time.Hour), now.Add(time.Hour))
}

func (s *shopper) couponAt(amount, minimum int64, from, until time.Time) string {
	s.t.Helper()
	return s.issue(map[string]any{"user": s.id, "name": "Welcome", "amount": gbp(amount),
		"minimum": gbp(minimum), "valid_from": api.TimeOf(from), "valid_until": api.TimeOf(until)})[0]
}

// coupons issues many coupons that are valid now and returns their ids.
func (s *shopper) coupons(n int, amount int64) []string {
	s.t.Helper()
	now := time.Now()
	return s.issue(slices.Repeat([]any{map[string]any{"user": s.id, "name": "Many",
		"amount": gbp(amount), "valid_from": api.TimeOf(now.Add(-time.Hour)),
		"valid_until": api.TimeOf(now.Add(time.Hour))}}, n)...)
}

func (s *shopper) issue(coupons ...any) (ids []string) {
	s.t.Helper()
	var made struct{ Items []api.Coupon }
	s.p.admin().must("POST", "/admin/v1/coupons", map[string]any{"coupons": coupons}, &made)
	for _, c := range made.Items {
		ids = append(ids, c.ID)
	}
	return ids
}

// add puts units of a SKU into the cart.
func (s *shopper) add(sku string, n int64) {
	s.t.Helper()
	s.must("POST", "/v1/cart/lines", map[string]any{"sku": sku, "quantity": n}, nil)
}

// cartView is a cart as it is shown.
type cartView struct {
	Lines []struct {
		SKU         string
		Quantity    int64
		Selected    bool
		Price       api.Money
		Seen        api.Money
		PriceChange int64 `json:"price_change"`
		Total       api.Money
		OnSale      bool `json:"on_sale"`
		Available   int64
		Enough      bool
	}
	Total api.Money
}

func (s *shopper) cart() (v cartView) {
	s.t.Helper()
	s.must("GET", "/v1/cart", nil, &v)
	return v
}

// quantities are the units in a cart by SKU.
func (v *cartView) quantities() map[string]int64 {
	all := map[string]int64{}
	for _, l := range v.Lines {
		all[l.SKU] += l.Quantity
	}
	return all
}

// page is a checkout page.
type page struct {
	Token   string
	Expires api.Time `json:"expires_at"`
	Lines   []struct {
		SKU       string
		Quantity  int64
		Price     api.Money
		Total     api.Money
		Available int64
	}
	Addresses  []api.Address
	Coupons    []api.Coupon
	Balance    api.Money
	PayMethods []string `json:"pay_methods"`
	Total      api.Money
}

// submission is what a shopper submits.
type submission struct {
	Token     string     `json:"token"`
	Address   string     `json:"address_id"`
	Coupon    string     `json:"coupon,omitempty"`
	Balance   *api.Money `json:"balance,omitempty"`
	PayMethod string     `json:"pay_method"`
	Channel   string     `json:"channel"`
	Total     api.Money  `json:"total"`
}

// checkout opens the page for one SKU, or for the cart when there is none, and
// answers what a shopper without coupon and balance would submit of it.
func (s *shopper) checkout(sku string, n int64) *submission {
	s.t.Helper()
	var p page
	s.must("POST", "/v1/checkouts", checkoutBody(sku, n), &p)
	return s.of(&p)
}

func checkoutBody(sku string, n int64) map[string]any {
	if sku == "" {
		return map[string]any{"from": "cart"}
	}
	return map[string]any{"sku": sku, "quantity": n}
}

func (s *shopper) of(p *page) *submission {
	return &submission{Token: p.Token, Address: s.address, PayMethod: api.PayAlipay,
		Channel: api.ChannelWeb, Total: p.Total}
}

// using has the coupon take so much off, and the balance pay so much.
func (b *submission) using(coupon string, off, balance int64) *submission {
	money := gbp(balance)
	b.Coupon, b.Balance = coupon, &money
	b.Total.Amount -= off
	return b
}

// submit submits what must be accepted, and waits for the decision.
func (s *shopper) submit(b *submission) (o api.Order) {
	s.t.Helper()
	s.must("POST", "/v1/orders?wait=10", b, &o)
	if o.State == api.OrderPending {
		return s.await(o.ID, api.OrderPlaced)
	}
	return o
}

// buy places an order without coupon and balance.
func (s *shopper) buy(sku string, n int64) api.Order {
	s.t.Helper()
	return s.submit(s.checkout(sku, n))
}

func (s *shopper) order(id string) (o api.Order) {
	s.t.Helper()
	s.must("GET", "/v1/orders/"+id, nil, &o)
	return o
}

// await waits until an order is in a state.
func (s *shopper) await(id, state string) (o api.Order) {
	s.t.Helper()
	eventually(s.t, "order "+state, func() bool {
		o = s.order(id)
		return o.State == state
	})
	return o
}

// holdings is all that an order takes from a shopper and a SKU, as text to be
// compared.
func (s *shopper) holdings(sku string) string {
	s.t.Helper()
	return s.texts("/v1/skus/"+sku, "/v1/wallet", "/v1/coupons", "/v1/cart")
}

// books is everything that may be written for a shopper and a SKU, as text to
// be compared.
func (s *shopper) books(sku string) string {
	s.t.Helper()
	return s.holdings(sku) + s.texts("/v1/wallet/entries", "/v1/wallet/entries?unit=POINT",
		"/v1/orders", "/v1/addresses", "/v1/me") + fmt.Sprint(s.p.ledger(sku))
}

func (s *shopper) texts(paths ...string) string {
	s.t.Helper()
	var b strings.Builder
	for _, path := range paths {
		var text json.RawMessage
		s.must("GET", path, nil, &text)
		fmt.Fprintf(&b, "%s %s\n", path, text)
	}
	return b.String()
}

// restored waits until all that was taken has been given back.
func (s *shopper) restored(sku, before string) {
	s.t.Helper()
	eventually(s.t, "everything given back, as it was before:\n"+before, func() bool {
		return s.holdings(sku) == before
	})
}

// auditClean is audit where nothing went wrong that leaves a dead letter.
func auditClean(t testing.TB, data ...string) {
	t.Helper()
	if out := audit(t, data...); strings.Contains(out, "warning: ") {
		t.Errorf("ordo audit:\n%s", out)
	}
}

// decode reads JSON that must be readable.
func decode[T any](t testing.TB, data []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return v
}

// within is a context for one test's calls to NATS.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}
