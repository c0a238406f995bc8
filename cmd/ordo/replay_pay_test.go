package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ordo/actors/audit"
	"ordo/api"
)

// payOrders has a customer who cancels in parts, one who wants too much, and
// cancellations of every kind that can't be refunded. Its prices are not the
// catalogue's.
const payOrders = `inv,ts,sku,qty,price,cust,country,kind,ref
1,2010-12-01T08:26,10A,6,2.55,7,United Kingdom,S,
1,2010-12-01T08:26,10B,2,3.39,7,United Kingdom,S,
2,2010-12-01T08:27,10C,4,0.80,,EIRE,S,
C3,2010-12-01T08:29,10A,-4,2.50,7,United Kingdom,C,1
C3,2010-12-01T08:29,10A,-1,2.55,7,United Kingdom,C,1
C3,2010-12-01T08:29,10C,-1,0.80,7,United Kingdom,C,2
C4,2010-12-01T08:30,10A,-2,2.55,7,United Kingdom,C,1
C4,2010-12-01T08:30,10B,-2,3.39,7,United Kingdom,C,1
C5,2010-12-01T08:31,10C,-1,0.80,7,United Kingdom,C,1
C5,2010-12-01T08:31,10C,-1,0.80,7,United Kingdom,C,
C6,2010-12-01T08:32,10C,-1,0.80,7,United Kingdom,C,99
7,2010-12-01T08:33,PADS,1,0.001,9,France,S,
8,2010-12-01T08:34,10C,100,0.75,9,France,S,
C9,2010-12-01T08:35,10C,-1,0.75,9,France,C,8
`

// payShop runs a shop with a sandbox for as long as use takes.
func payShop(t *testing.T, data string, use func(a *admin)) {
	t.Helper()
	shop, err := StartShop(t.Context(), ShopConfig{Data: data, HTTP: "127.0.0.1:0", MaxUnits: 50,
		Pay: demoPay(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := shop.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	use(&admin{newClient(shop.URL, 16), shop.AdminToken})
}

// replayPay runs payOrders against a shop.
func replayPay(t *testing.T, a *admin, asked *bool) *replayResult {
	t.Helper()
	goods, err := readCatalog(strings.NewReader(testCatalog), "GBP")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := readTrace(strings.NewReader(payOrders), goods, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := &replay{admin: a, goods: goods, trace: tr, factor: big.NewRat(1, 1), width: 4}
	if r.pay, err = a.pays(t.Context(), asked); err != nil {
		t.Fatal(err)
	}
	got, err := r.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// ACCEPT Y5 Y6 Y9 M11
// A trace is placed, paid and refunded, its sums are the trace's own, and all
// books add up. A second run finds everything done.
func TestReplayPays(t *testing.T) {
	data := t.TempDir()
	for range 2 {
		payShop(t, data, func(a *admin) {
			got := replayPay(t, a, nil)
			o, m := got.Orders, got.Amounts
			if o.Offered != 4 || o.Paid != 2 || o.Refused != 1 || o.Skipped != 1 || o.Placed != 0 ||
				o.Refunded != 2 || got.Refusals[string(api.CodeLimitExceeded)] != 1 {
				t.Errorf("orders %+v, refusals %v", o, got.Refusals)
			}
			if m.Offered != 10028 || m.Paid != 2528 || m.Refused != 7500 || m.SkippedSales != 0 ||
				m.Cancelled != 2838 || m.Refunded != 2013 || m.SkippedRefunds != 825 {
				t.Errorf("amounts %+v", m)
			}
			if got.Shop.Paid != 2470 || got.Shop.Refunded != 1960 {
				t.Errorf("in the shop %+v", got.Shop)
			}
			if want := map[string]int{skipNoPrice: 1, skipTooMany: 1, skipNoLine: 1, skipNoRef: 1,
				skipNoInvoice: 1, skipNotPaid: 1}; !maps.Equal(got.Skips, want) {
				t.Errorf("skips %v, want %v", got.Skips, want)
			}
			if want := map[string]int64{skipNoPrice: 0, skipTooMany: -510, skipNoLine: -80,
				skipNoRef: -80, skipNoInvoice: -80, skipNotPaid: -75}; !maps.Equal(got.SkipAmounts, want) {
				t.Errorf("skips come to %v, want %v", got.SkipAmounts, want)
			}
		})
		books, err := audit.Run(t.Context(), audit.Options{Dirs: []string{data}})
		if err != nil || !books.OK || len(books.Warnings) > 0 || len(books.Orders) != 1 ||
			books.Orders[api.OrderPaid] != 2 {
			t.Errorf("%v: %+v", err, books)
		}
		if code, out, errs := reconciled(t, data, statementOf(t, data)); code != exitOK ||
			!strings.Contains(out, "agree; 5 rows") {
			t.Errorf("reconcile: exit %d: %s%s", code, out, errs)
		}
	}
}

// Without payment the orders stay placed, and a later run with it pays them.
func TestReplayPaysLater(t *testing.T) {
	no := false
	payShop(t, t.TempDir(), func(a *admin) {
		got := replayPay(t, a, &no)
		if o, m := got.Orders, got.Amounts; o.Placed != 2 || o.Paid != 0 || o.Refused != 1 ||
			o.Refunded != 0 || m.Placed != 2528 || m.Paid != 0 || m.Refunded != 0 ||
			m.SkippedRefunds != 2838 || got.Skips[skipCancellation] != 8 || got.Skips[skipNoRef] != 1 {
			t.Errorf("%+v", got)
		}
		if got = replayPay(t, a, nil); got.Orders.Paid != 2 || got.Orders.Refunded != 2 {
			t.Errorf("with payment: %+v", got)
		}
	})
}

// A refund that the shop refuses is skipped with the reason, and so is one that
// the gateway does. Their units are still there for the next cancellation.
func TestReplayCountsRefusedRefunds(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /admin/v1/orders/{id}/refunds", func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		if key == "C1" {
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write([]byte(`{"status":409,"code":"not_refundable"}`))
			return
		}
		_ = json.NewEncoder(w).Encode(api.Refund{ID: key, State: api.RefundRunning})
	})
	mux.HandleFunc("GET /admin/v1/refunds/{id}", func(w http.ResponseWriter, r *http.Request) {
		f := api.Refund{ID: r.PathValue("id"), State: api.RefundFailed}
		if f.ID == "C3" {
			f.State, f.Amount = api.RefundDone, api.Money{Amount: 6}
		}
		_ = json.NewEncoder(w).Encode(f)
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	r := &replay{admin: &admin{newClient(s.URL, 2), "t"}, pay: true, width: 2}
	r.trace = &trace{Invoices: []invoice{{No: "1"}}, Cancels: []cancelRow{
		{No: "C1", Ref: "1", SKU: "A", Quantity: 2, Amount: 3},
		{No: "C2", Ref: "1", SKU: "A", Quantity: 2, Amount: 4},
		{No: "C3", Ref: "1", SKU: "A", Quantity: 2, Amount: 5},
		{No: "C4", Ref: "1", SKU: "A", Quantity: 1, Amount: 7}}}
	r.begin()
	r.bought["1"] = &api.Order{ID: "ord_1", Lines: []api.LineSnapshot{{SKU: "A", Quantity: 2}}}
	if err := r.refundAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.result.left; got.Rows[skipRefused+"not_refundable"] != 1 ||
		got.Rows[skipRefused+"failed"] != 1 || got.Rows[skipTooMany] != 1 || got.Refunds != 14 ||
		r.result.Orders.Refunded != 1 || r.result.Amounts.Refunded != 5 ||
		r.result.Shop.Refunded != 6 {
		t.Errorf("%+v", r.result)
	}
}

// Only an answer that says so means that there is no sandbox to control.
func TestReplayTellsAFaultFromNoSandbox(t *testing.T) {
	for _, test := range []struct {
		status    int
		body      string
		pays, bad bool
	}{
		{404, `{"code":"ACQ.TRADE_NOT_EXIST"}`, true, false},
		{404, `{"status":404,"code":"not_found"}`, false, false},
		{403, `{"message":"control is for this machine only"}`, false, false},
		{405, `Method Not Allowed`, false, false},
		{400, `{"code":"ACQ.INVALID_PARAMETER"}`, false, true},
		{409, `{"code":"ACQ.TRADE_STATUS_ERROR"}`, false, true},
		{500, `Internal Server Error`, false, true},
		{200, `{}`, false, true},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/readyz" {
				return
			}
			w.WriteHeader(test.status)
			_, _ = w.Write([]byte(test.body))
		}))
		pays, err := (&admin{newClient(s.URL, 1), "t"}).pays(t.Context(), nil)
		if pays != test.pays || (err != nil) != test.bad {
			t.Errorf("%d %s: %v, %v", test.status, test.body, pays, err)
		}
		s.Close()
	}
}

// A shop without a sandbox is not paid, and says so when that was asked for.
func TestReplayNeedsASandboxToPay(t *testing.T) {
	yes := true
	shop, err := StartShop(t.Context(), ShopConfig{Data: t.TempDir(), HTTP: "127.0.0.1:0",
		Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	a := &admin{newClient(shop.URL, 2), shop.AdminToken}
	if pays, err := a.pays(t.Context(), nil); pays || err != nil {
		t.Errorf("not asked: %v %v", pays, err)
	}
	if pays, err := a.pays(t.Context(), &yes); pays || err == nil {
		t.Errorf("asked: %v %v", pays, err)
	}
	if err := shop.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

func TestReplayCommand(t *testing.T) {
	dir := t.TempDir()
	orders, goods := filepath.Join(dir, "orders.csv"), filepath.Join(dir, "catalog.csv")
	for path, text := range map[string]string{orders: payOrders, goods: testCatalog} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for flag, paid := range map[string]int{"--pay": 3, "--pay=false": 0, "--no-pay": 0} {
		var out, errs bytes.Buffer
		if code := run([]string{"replay", "--json", "--orders", orders, "--catalog", goods, flag}, &out,
			&errs); code != exitOK {
			t.Errorf("%s: exit %d: %s", flag, code, &errs)
		}
		var r replayResult
		if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Orders.Paid != paid ||
			r.Orders.Placed+paid != 3 || r.Amounts.Offered != 10028 || r.Currency != "GBP" {
			t.Errorf("%s: %v: %s", flag, err, &out)
		}
		if code := run([]string{"replay", "--orders", orders, "--catalog", goods, flag}, &out,
			&errs); code != exitOK || !strings.Contains(out.String(), "sales GBP 100.28 = placed ") {
			t.Errorf("%s: exit %d: %s%s", flag, code, &out, &errs)
		}
	}
}
