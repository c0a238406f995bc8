package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ordo/api"
	"ordo/bus"
)

// ACCEPT C4
func tryLastUnit(t *testing.T, p *process) {
	s := p.shopper()
	sku := p.onSale(1000, 1)
	late := s.checkout(sku, 1)
	o := s.buy(sku, 1)
	r := s.problem("POST", "/v1/orders?wait=10", late, 409, api.CodeOutOfStock)
	if short := decode[[]api.Shortage](t, r.Data); !slices.Equal(short,
		[]api.Shortage{{SKU: sku, Wanted: 1}}) {
		t.Errorf("short: %+v", short)
	}
	// What a cancelled order gives back can be sold again.
	s.must("POST", "/v1/orders/"+o.ID+"/cancel", nil, nil)
	eventually(t, "the unit back", func() bool { return p.sku(sku).Locked == 0 })
	s.buy(sku, 1)
}

// submitLines hands the order actor an order that no page of the shop would
// show, as another edge might.
func (s *shopper) submitLines(e *bus.Edge, lines ...api.ReserveLine) api.Order {
	s.t.Helper()
	token := api.NewID(api.PrefixCheckout)
	id, err := api.OrderID(token)
	if err != nil {
		s.t.Fatal(err)
	}
	var total int64
	for _, l := range lines {
		total += l.Price.Amount * l.Quantity
	}
	if err := e.Do(within(s.t, time.Minute), "submit-"+id, &api.SubmitOrder{Order: id, Token: token,
		User: s.id, BodyHash: strings.Repeat("0", 64), Lines: lines, Address: sender,
		Balance: gbp(0), Total: gbp(total), PayMethod: api.PayAlipay,
		Channel: api.ChannelWeb}, nil); err != nil {
		s.t.Fatal(err)
	}
	var o api.Order
	s.must("GET", "/v1/orders/"+id+"?wait=10&known="+api.OrderPending, nil, &o)
	return o
}

// ACCEPT C4 C5
func tryTwoLines(t *testing.T, p *process) {
	e := p.edge()
	s := p.shopper()
	sku := p.onSale(1000, 5)
	line := func(n int64) api.ReserveLine {
		return api.ReserveLine{SKU: sku, Quantity: n, Price: gbp(1000)}
	}
	o := s.submitLines(e, line(3), line(3))
	if o.State != api.OrderRefused || o.Reason.Code != api.CodeOutOfStock {
		t.Fatalf("order: %+v", o)
	}
	if short := decode[[]api.Shortage](t, o.Reason.Data); !slices.Equal(short,
		[]api.Shortage{{SKU: sku, Wanted: 6, Left: 5}}) {
		t.Errorf("short: %+v", short)
	}
	if o := s.submitLines(e, line(3), line(2)); o.State != api.OrderPlaced || p.sku(sku).Locked != 5 {
		t.Errorf("order %+v, stock %+v", o, p.sku(sku))
	}
}

// ACCEPT C9
func tryLimits(t *testing.T, p *process) {
	perOrder, perUser, free := api.NewID("sku"), api.NewID("sku"), p.onSale(1, 100_000)
	p.importCSV("sku,spu,name,price,stock,max_per_order,max_per_user",
		perOrder+","+perOrder+",Two an order,1.00,100,2,",
		perUser+","+perUser+",Three a shopper,1.00,100,,3")
	s, stranger := p.shopper(), p.shopper()
	refused := func(sku string, n, left int64) {
		t.Helper()
		r := s.problem("POST", "/v1/orders?wait=10", s.checkout(sku, n), 422, api.CodeLimitExceeded)
		if over := decode[[]api.Shortage](t, r.Data); !slices.Equal(over,
			[]api.Shortage{{SKU: sku, Wanted: n, Left: left}}) {
			t.Errorf("over: %+v", over)
		}
	}
	refused(perOrder, 3, 2)
	s.buy(perOrder, 2)
	s.buy(perOrder, 2)
	first := s.buy(perUser, 2)
	refused(perUser, 2, 1)
	stranger.buy(perUser, 3)
	s.buy(perUser, 1)
	refused(perUser, 1, 0)
	s.must("POST", "/v1/orders/"+first.ID+"/cancel", nil, nil)
	eventually(t, "units back", func() bool { return p.sku(perUser).Locked == 4 })
	s.buy(perUser, 2)
	// The shop's own limit for all lines of an order.
	r := s.problem("POST", "/v1/orders", s.checkout(free, maxUnits+1), 422, api.CodeLimitExceeded)
	if r.Place != "lines" || p.sku(free).Locked != 0 {
		t.Errorf("refusal %+v, stock %+v", r, p.sku(free))
	}
	s.buy(free, maxUnits)
}

// ACCEPT C7 C8 P7
func tryStockByHand(t *testing.T, p *process) {
	s, a := p.shopper(), p.admin()
	sku := p.onSale(1000, 10)
	s.buy(sku, 4)
	a.must("POST", "/admin/v1/stock/receive", map[string]any{"sku": sku, "quantity": 5}, nil)
	adjust := func(n int64) map[string]any {
		return map[string]any{"sku": sku, "difference": n, "reason": "counted"}
	}
	a.must("POST", "/admin/v1/stock/adjust", adjust(-11), nil)
	r := a.problem("POST", "/admin/v1/stock/adjust", adjust(-1), 409, api.CodeOutOfStock)
	if left := decode[[]api.Shortage](t, r.Data); !slices.Equal(left,
		[]api.Shortage{{SKU: sku, Wanted: 1, Left: 0}}) {
		t.Errorf("left: %+v", left)
	}
	var kinds []string
	var stock, locked int64
	for _, e := range p.ledger(sku) {
		kinds = append(kinds, e.Kind)
		stock += e.Stock
		locked += e.Locked
		if e.Cause == "" || e.At == 0 {
			t.Errorf("entry %+v", e)
		}
	}
	now := p.sku(sku)
	if !slices.Equal(kinds, []string{api.LedgerAdjust, api.LedgerReceive, api.LedgerLock,
		api.LedgerReceive}) || stock != now.Stock || locked != now.Locked || stock != 4 || locked != 4 {
		t.Errorf("kinds %v, sums %d and %d, stock %+v", kinds, stock, locked, now)
	}
	// With an idempotency key it happens once.
	for range 3 {
		resp, data, err := a.send(http.Header{"Idempotency-Key": {sku}}, "POST",
			"/admin/v1/stock/receive", map[string]any{"sku": sku, "quantity": 7})
		if err != nil || resp.StatusCode/100 != 2 {
			t.Errorf("receive: %v %v %s", resp, err, data)
		}
	}
	if n := p.sku(sku).Stock; n != 11 {
		t.Errorf("stock is %d", n)
	}
}

// ACCEPT C8
func tryCSV(t *testing.T, p *process) {
	id := api.NewID("spu")
	a, b := id+"-1", id+"-2"
	p.importCSV("sku,spu,name,product_name,price,stock,categories,option:size,attribute:brand,"+
		"max_per_order",
		a+","+id+`,"Tee, ""S""",Tee,2.55,3,Test/CSV|Test/Sale,S,Luma,4`,
		b+","+id+`,Tee M,,2.6,0,,M,,`)
	status, data, err := p.admin().call("GET", "/admin/v1/products:export", nil)
	if err != nil || status != http.StatusOK {
		t.Fatalf("export: %d %v", status, err)
	}
	lines := strings.SplitAfter(string(data), "\n")
	kept := []string{lines[0]}
	for _, l := range lines {
		if strings.HasPrefix(l, a) || strings.HasPrefix(l, b) {
			kept = append(kept, l)
		}
	}
	if len(kept) != 3 {
		t.Fatalf("export: %q", kept)
	}
	var before, after api.Product
	p.as("").must("GET", "/v1/products/"+id, nil, &before)
	p.importCSV(strings.Join(kept, ""))
	p.as("").must("GET", "/v1/products/"+id, nil, &after)
	if string(api.Raw(after)) != string(api.Raw(before)) || before.SKUs[0].Price != gbp(255) ||
		before.SKUs[0].Stock != 3 || before.SKUs[1].Price != gbp(260) {
		t.Errorf("after the export was imported:\n%+v\nwas\n%+v", after, before)
	}
}

// TestFlashSale has 2,000 shoppers want 100 units at the same moment.
// ACCEPT P2 C4
func TestFlashSale(t *testing.T) {
	t.Parallel()
	const crowdSize, units = 2000, 100
	data := t.TempDir()
	p := serve(t, data).ready()
	sku := p.onSale(1000, units)
	all := p.shoppers(crowdSize)
	answers := map[string]int{}
	var mu sync.Mutex
	start := make(chan struct{})
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() {
			<-start
			got := s.rush(sku)
			mu.Lock()
			defer mu.Unlock()
			answers[got]++
		})
	}
	close(start)
	wg.Wait()
	if answers["201 placed"] != units || answers["409 out_of_stock 0"] != crowdSize-units {
		t.Errorf("answers: %v", answers)
	}
	if now := p.sku(sku); now.Stock != units || now.Locked != units {
		t.Errorf("stock: %+v", now)
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	auditClean(t, data)
}

// rush orders one unit as fast as it can and answers what came of it.
func (s *shopper) rush(sku string) string {
	status, data, err := s.call("POST", "/v1/checkouts", checkoutBody(sku, 1))
	var p page
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil || status != http.StatusCreated {
		return "checkout " + strconv.Itoa(status)
	}
	body := s.of(&p)
	for {
		status, data, err = s.call("POST", "/v1/orders?wait=10", body)
		// Not decided yet: ask again with the same token.
		if err != nil || status != http.StatusAccepted {
			break
		}
	}
	var got struct {
		State string
		Code  string
		Data  []api.Shortage
	}
	if err != nil || json.Unmarshal(data, &got) != nil {
		return "order " + strconv.Itoa(status) + " " + string(data)
	}
	answer := strconv.Itoa(status) + " " + got.State + got.Code
	for _, short := range got.Data {
		answer += " " + strconv.FormatInt(short.Left, 10)
	}
	return answer
}
