package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ordo/api"
)

// payServer is as much of a shop as a measured payment needs. Everything takes
// two tries, and the order ends in the state.
func payServer(t *testing.T, state string) (b *bench, calls *atomic.Int64) {
	t.Helper()
	const link = "http://gateway.example/?a=1&b=<2>"
	var waits, shipments, entries atomic.Int64
	calls = &atomic.Int64{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/orders/ord_1/payments", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(api.Attempt{ID: "pay_1", Link: api.Link{URL: link}})
	})
	mux.HandleFunc("POST /sandbox/control", func(w http.ResponseWriter, r *http.Request) {
		var c struct{ Action, URL string }
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil || c.Action != "pay" || c.URL != link {
			http.Error(w, "wrong", http.StatusBadRequest)
			return
		}
		calls.Add(1)
		fmt.Fprint(w, `{"trade_status":"TRADE_SUCCESS"}`)
	})
	mux.HandleFunc("GET /v1/orders/ord_1", func(w http.ResponseWriter, r *http.Request) {
		o := api.Order{ID: "ord_1", State: state, Points: 19}
		if r.URL.Query().Get("known") == api.OrderPlaced && waits.Add(1) == 1 {
			o.State = api.OrderPlaced
		}
		_ = json.NewEncoder(w).Encode(o)
	})
	mux.HandleFunc("GET /v1/orders/ord_1/shipment", func(w http.ResponseWriter, r *http.Request) {
		if shipments.Add(1) == 1 {
			http.NotFound(w, r)
			return
		}
		calls.Add(1)
		fmt.Fprint(w, `{}`)
	})
	mux.HandleFunc("GET /v1/wallet/entries", func(w http.ResponseWriter, r *http.Request) {
		var list api.WalletEntryList
		if entries.Add(1) > 1 {
			calls.Add(1)
			list.Entries = []api.WalletEntry{{Order: "ord_1"}}
		}
		_ = json.NewEncoder(w).Encode(list)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return &bench{host: strings.TrimPrefix(s.URL, "http://"), cmd: &BenchCmd{Pay: true}}, calls
}

func TestBenchPays(t *testing.T) {
	b, calls := payServer(t, api.OrderPaid)
	wires := []*wire{{host: b.host}, {host: b.host}}
	load := []benchOrder{{id: "ord_1", session: "s", done: time.Now()}, {session: "failed"}}
	if err := b.pay(wires[0], &load[0]); err != nil {
		t.Fatal(err)
	}
	if err := b.settle(t.Context(), wires, load); err != nil {
		t.Fatal(err)
	}
	// Paid once; shipment and points were waited for.
	if n := calls.Load(); n < 3 {
		t.Errorf("%d calls went through", n)
	}
	for _, w := range wires {
		w.close()
	}
}

func TestBenchCountsWhatIsNotPaid(t *testing.T) {
	b, _ := payServer(t, api.OrderCancelled)
	w := &wire{host: b.host}
	defer w.close()
	if err := b.pay(w, &benchOrder{id: "ord_1"}); err == nil ||
		!strings.Contains(err.Error(), api.OrderCancelled) {
		t.Errorf("a cancelled order: %v", err)
	}
	if err := b.pay(w, &benchOrder{id: "ord_2"}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("an unknown order: %v", err)
	}
	// What failed is not waited for.
	if err := b.settle(t.Context(), []*wire{w}, []benchOrder{{id: "ord_1"}}); err != nil {
		t.Error(err)
	}
}
