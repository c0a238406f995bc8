package main

import (
	"context"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"ordo/api"
)

// testQueue has two invoices of customer a between those of others.
func testQueue() (*queue, []*invoice) {
	q := &queue{who: map[*invoice]*shopper{}, busy: map[*shopper]bool{}}
	q.freed = sync.NewCond(&q.mu)
	shoppers := map[string]*shopper{"a": {}, "b": {}, "c": {country: "EIRE"}}
	for i, who := range []string{"a", "a", "b", "a", "c", "b"} {
		inv := &invoice{No: string(rune('0' + i)), Customer: who}
		q.rest = append(q.rest, inv)
		q.who[inv] = shoppers[who]
	}
	return q, slices.Clone(q.rest)
}

func TestQueueKeepsCustomersInOrder(t *testing.T) {
	q, _ := testQueue()
	sa, first := q.take()
	_, second := q.take()
	_, third := q.take()
	if first.No != "0" || second.No != "2" || third.No != "4" {
		t.Fatalf("took %s %s %s, want 0 2 4", first.No, second.No, third.No)
	}
	q.release(sa)
	if _, next := q.take(); next.No != "1" {
		t.Errorf("took %s after a was free, want 1", next.No)
	}
}

func TestQueueHandsOutEverythingOnce(t *testing.T) {
	q, all := testQueue()
	var mu sync.Mutex
	order := map[string][]string{}
	busy := map[*shopper]bool{}
	err := parallel(t.Context(), 4, len(all), func(context.Context, int) error {
		s, inv := q.take()
		mu.Lock()
		if busy[s] {
			t.Errorf("customer %s buys twice at once", inv.Customer)
		}
		busy[s] = true
		order[inv.Customer] = append(order[inv.Customer], inv.No)
		mu.Unlock()
		mu.Lock()
		busy[s] = false
		mu.Unlock()
		q.release(s)
		return nil
	})
	if err != nil || !slices.Equal(order["a"], []string{"0", "1", "3"}) ||
		!slices.Equal(order["b"], []string{"2", "5"}) || len(order["c"]) != 1 {
		t.Errorf("%v %v", err, order)
	}
}

func TestParallelStopsAtTheFirstError(t *testing.T) {
	var calls atomic.Int64
	bad := errors.New("no")
	err := parallel(t.Context(), 3, 1000, func(context.Context, int) error {
		if calls.Add(1) == 5 {
			return bad
		}
		return nil
	})
	if !errors.Is(err, bad) || calls.Load() == 1000 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
}

// An invoice that was ordered in an earlier run is not ordered again.
func TestOrdersFromBeforeAreTaken(t *testing.T) {
	order := func(id string, lines ...invoiceLine) api.Order {
		o := api.Order{ID: id, State: api.OrderPlaced}
		for _, l := range lines {
			o.Lines = append(o.Lines, api.LineSnapshot{SKU: l.SKU, Quantity: l.Quantity})
		}
		return o
	}
	s := &shopper{before: []api.Order{order("1", invoiceLine{"A", 1}),
		order("2", invoiceLine{"B", 2}, invoiceLine{"A", 1}), order("3", invoiceLine{"A", 1})}}
	one := &invoice{Lines: []invoiceLine{{"A", 1}}}
	two := &invoice{Lines: []invoiceLine{{"A", 1}, {"B", 2}}}
	other := &invoice{Lines: []invoiceLine{{"A", 2}}}
	for i, want := range []struct {
		inv *invoice
		id  string
	}{{one, "1"}, {other, ""}, {one, "3"}, {one, ""}, {two, "2"}, {two, ""}} {
		o := s.takeBefore(want.inv)
		if o == nil && want.id != "" || o != nil && o.ID != want.id {
			t.Errorf("%d: %+v, want %q", i, o, want.id)
		}
	}
}

func TestReplayCountsOutcomes(t *testing.T) {
	inv := invoice{Amount: 7}
	r := &replay{factor: big.NewRat(1, 1), trace: &trace{Invoices: []invoice{inv, inv, inv, inv, inv},
		Empty: 1, Skips: skips{Sales: 3}}}
	r.begin()
	for _, state := range []string{api.OrderPlaced, api.OrderPaid, api.OrderCancelled} {
		if err := r.count(nil, &inv, &api.Order{State: state}, nil); err != nil {
			t.Error(err)
		}
	}
	refused := &api.Order{State: api.OrderRefused, Reason: api.Refuse(api.CodeOutOfStock, "short")}
	if err := r.count(nil, &inv, refused, nil); err != nil {
		t.Error(err)
	}
	if r.result.check(nil) == nil {
		t.Error("a replay that is not over adds up")
	}
	if err := r.count(nil, &inv, nil, &problem{Status: 409, Code: api.CodeOutOfStock}); err != nil {
		t.Error(err)
	}
	for _, fault := range []error{errUnreachable, &problem{Status: 500, Code: api.CodeInternal},
		&problem{Status: 401, Code: api.CodeUnauthorized}} {
		if err := r.count(nil, &inv, nil, fault); err == nil {
			t.Errorf("%v was counted", fault)
		}
	}
	o, a := r.result.Orders, r.result.Amounts
	if err := r.result.check(nil); err != nil || o.Placed != 2 || o.Paid != 1 || o.Refused != 2 ||
		a.Placed != 14 || a.Paid != 7 || a.Refused != 14 || a.SkippedSales != 3 || a.Offered != 38 ||
		r.result.Refusals["out_of_stock"] != 2 {
		t.Errorf("%v: %+v", err, r.result)
	}
}

// What may be repeated is, while the shop is busy or away.
func TestClientTriesAgain(t *testing.T) {
	var calls atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch calls.Add(1) {
		case 1:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"status":503,"code":"busy","detail":"later"}`))
		case 2:
			panic(http.ErrAbortHandler) // the connection breaks
		default:
			_, _ = w.Write([]byte(`{"id":"` + r.Header.Get("Idempotency-Key") + `"}`))
		}
	}))
	defer s.Close()
	c := newClient(s.URL+"/", 2)
	var out struct {
		ID string `json:"id"`
	}
	post := request{Method: "POST", Path: "/x", Key: "k", Body: map[string]int{"a": 1}, Repeat: true}
	if err := c.do(t.Context(), post, &out); err != nil || out.ID != "k" || calls.Load() != 3 {
		t.Errorf("%v after %d calls: %+v", err, calls.Load(), out)
	}
	calls.Store(0)
	post.Repeat, post.Key = false, ""
	if err := c.do(t.Context(), post, &out); !refusedWith(err, api.CodeBusy) || calls.Load() != 1 {
		t.Errorf("not to be repeated: %v after %d calls", err, calls.Load())
	}
	if err := c.do(t.Context(), post, &out); !errors.Is(err, errUnreachable) {
		t.Errorf("a broken connection: %v", err)
	}
}

func TestCountryCodes(t *testing.T) {
	for name, want := range map[string]string{"EIRE": "IE", "Unspecified": "GB", "": "GB",
		"Germany": "DE"} {
		if got := countryCode(name); got != want {
			t.Errorf("%q is %s, want %s", name, got, want)
		}
	}
}
