package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ordo/api"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	var times []time.Duration
	for i := range 100 {
		times = append(times, time.Duration(i+1)*time.Millisecond)
	}
	for p, want := range map[int]float64{50: 50, 95: 95, 99: 99, 100: 100} {
		if got := percentile(times, p); got != want {
			t.Errorf("p%d is %v, want %v", p, got, want)
		}
	}
	if percentile(nil, 50) != 0 || percentile(times[:1], 99) != 1 {
		t.Error("percentiles of none and of one")
	}
}

func TestRowCountsErrorsApart(t *testing.T) {
	r := &benchRow{Seconds: 2}
	bad := fmt.Errorf("no")
	first := r.sum([]time.Duration{time.Millisecond, time.Hour, 3 * time.Millisecond},
		[]error{nil, bad, nil})
	if r.Orders != 2 || r.Errors != 1 || r.OrdersPerSec != 1 || r.P99 != 3 || first[0] != bad {
		t.Errorf("%+v %v", r, first)
	}
}

// The bench's own HTTP client reads what a Go server sends.
func TestWireSpeaksHTTP(t *testing.T) {
	var submits, conns atomic.Int64
	mux := http.NewServeMux()
	token := api.NewID(api.PrefixCheckout)
	mux.HandleFunc("POST /v1/checkouts", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token":"%s","lines":[]}`, token)
	})
	mux.HandleFunc("POST /v1/orders", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !strings.Contains(string(body), token) ||
			r.Header.Get("Authorization") != "Bearer ses_1" {
			http.Error(w, "wrong", http.StatusBadRequest)
			return
		}
		switch submits.Add(1) {
		case 1: // not decided yet
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprint(w, `{"id":"ord_1","state":"pending"}`)
		case 3:
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"code":"out_of_stock"}`)
		default:
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"id":"ord_1","state":"placed"}`)
		}
	})
	s := httptest.NewUnstartedServer(mux)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	b := &bench{host: strings.TrimPrefix(s.URL, "http://")}
	w := &wire{host: b.host}
	defer w.close()
	for i, want := range []string{"", "409", ""} {
		o := benchOrder{checkout: b.post("/v1/checkouts", "ses_1", map[string]any{"sku": "A"}),
			order: b.post("/v1/orders", "ses_1", map[string]any{"token": blankToken})}
		o.token = strings.Index(string(o.order), blankToken)
		if err := o.openCheckout(w); err != nil {
			t.Fatal(err)
		}
		err := o.submit(w)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("order %d: %v, want %q", i, err, want)
		}
	}
	if n := conns.Load(); n != 2 { // the third answer closed the first one
		t.Errorf("%d connections, want 2", n)
	}
}

func TestWireRefusesWhatItCantRead(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush() // an answer without a length
		fmt.Fprint(w, "x")
	}))
	defer s.Close()
	b := &bench{host: strings.TrimPrefix(s.URL, "http://")}
	w := &wire{host: b.host}
	if _, _, err := w.roundTrip(b.post("/", "", nil)); err == nil || w.conn != nil {
		t.Errorf("an answer without a length: %v", err)
	}
	s.Close()
	if _, _, err := w.roundTrip(b.post("/", "", nil)); err == nil {
		t.Error("nobody listens")
	}
}
