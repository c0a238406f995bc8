package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ordo/api"
)

// ACCEPT S9
func tryLongPoll(t *testing.T, p *process) {
	s := p.shopper()
	sku := p.onSale(100, 10)
	o := s.buy(sku, 1)
	path := "/v1/orders/" + o.ID
	// Nothing changes: the answer is what is known, when the wait is over.
	var got api.Order
	s.must("GET", path+"?wait=700ms&known=placed", nil, &got)
	if got.State != api.OrderPlaced {
		t.Errorf("order is %s", got.State)
	}
	answers := make(chan string, 3)
	for range cap(answers) {
		go func() {
			_, data, err := s.call("GET", path+"?wait=10&known=placed", nil)
			var o api.Order
			if err != nil || json.Unmarshal(data, &o) != nil {
				o.State = string(data)
			}
			answers <- o.State
		}()
	}
	s.must("POST", path+"/cancel", nil, nil)
	s.must("GET", path+"?wait=10&known=closing", nil, &got)
	if got.State != api.OrderCancelled {
		t.Errorf("order is %s", got.State)
	}
	for range cap(answers) {
		if state := <-answers; state != api.OrderCancelled && state != api.OrderClosing {
			t.Errorf("answer: %s", state)
		}
	}
	for _, wait := range []string{"-1s", "x", "1e99", "99999999999999999999"} {
		if r := s.problem("GET", path+"?wait="+wait, nil, 422, api.CodeInvalid); r.Place != "wait" {
			t.Errorf("wait %s: %+v", wait, r)
		}
	}
	// An order that nobody knows is not found, also after waiting for it.
	for _, wait := range []string{"", "?wait=300ms"} {
		s.problem("GET", "/v1/orders/"+api.NewID(api.PrefixOrder)+wait, nil, 404, api.CodeNotFound)
	}
}

// event is one of a stream of server-sent events.
type event struct {
	id, name string
	order    api.Order
}

// follow reads the event stream of an order until the shop ends it.
func (s *shopper) follow(order string) (<-chan event, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+"/v1/orders/"+order+"/events", nil)
	if err != nil {
		cancel()
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		cancel()
		return nil, err
	}
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		s.t.Errorf("content type %q", got)
	}
	events := make(chan event, 10)
	go func() {
		defer cancel()
		defer close(events)
		defer resp.Body.Close()
		var e event
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch {
			case name == "id":
				e.id = value
			case name == "event":
				e.name = value
			case name == "data" && json.Unmarshal([]byte(value), &e.order) != nil:
				e.name = "not JSON: " + value
			case lines.Text() == "" && e.name != "":
				events <- e
				e = event{}
			}
		}
	}()
	return events, nil
}

// ACCEPT S9
func tryEvents(t *testing.T, p *process) {
	s := p.shopper()
	sku := p.onSale(100, 10)
	o := s.buy(sku, 1)
	events, err := s.follow(o.ID)
	if err != nil {
		t.Fatal(err)
	}
	first := <-events
	if first.id != "1" || first.name != api.OrderPlaced || first.order.ID != o.ID {
		t.Errorf("first event: %+v", first)
	}
	s.must("POST", "/v1/orders/"+o.ID+"/cancel", nil, nil)
	var names []string
	for e := range events {
		if e.name != e.order.State {
			t.Errorf("event %+v", e)
		}
		names = append(names, e.name)
	}
	// What lies between two looks is not told.
	if len(names) > 1 && names[0] == api.OrderClosing {
		names = names[1:]
	}
	if !slices.Equal(names, []string{api.OrderCancelled}) {
		t.Errorf("events: %v", names)
	}
}

// ACCEPT E4
func tryCancel(t *testing.T, p *process) {
	s := p.shopper()
	sku := p.onSale(1000, 10)
	s.give(gbp(500))
	body := s.checkout(sku, 3).using(s.coupon(200, 0), 200, 400)
	before := s.holdings(sku)
	o := s.submit(body)
	path := "/v1/orders/" + o.ID + "/cancel"
	var done api.Order
	s.must("POST", path, nil, &done)
	if done.State != api.OrderCancelled || done.ClosedAt == 0 ||
		done.Reason.Code != api.CodeCancelled {
		t.Errorf("cancelled: %+v", done)
	}
	s.restored(sku, before)
	// Cancelling again, also by many at once, changes nothing.
	crowd(10, 10, func(int) {
		if status, data, err := s.call("POST", path, nil); err != nil || status != http.StatusOK {
			t.Errorf("again: %d %v %s", status, err, data)
		}
	})
	if rows := p.ledger(sku); len(rows) != 3 || s.holdings(sku) != before {
		t.Errorf("ledger: %+v", rows)
	}
	eventually(t, "the cancellation in the journal", func() bool {
		return slices.Equal(p.journal(o.ID), []string{api.EventOrderPlaced, api.EventOrderCancelled})
	})
	s.problem("POST", "/v1/orders/"+api.NewID(api.PrefixOrder)+"/cancel", nil, 404, api.CodeNotFound)
}

// ACCEPT E4
func tryCancelBySupport(t *testing.T, p *process) {
	s, support := p.shopper(), p.users(1, api.RoleSupport)[0]
	sku := p.onSale(1000, 10)
	before := s.holdings(sku)
	o := s.buy(sku, 3)
	path := "/admin/v1/orders/" + o.ID + "/cancel"
	for _, body := range []any{nil, map[string]any{}, map[string]any{"reason": ""},
		map[string]any{"reason": "  "}} {
		status, data, err := support.call("POST", path, body)
		if err != nil || status != 422 && status != 400 {
			t.Errorf("without a reason: %d %v %s", status, err, data)
		}
	}
	if s.order(o.ID).State != api.OrderPlaced {
		t.Errorf("order: %+v", s.order(o.ID))
	}
	support.must("POST", path, map[string]any{"reason": "wrong price on the page"}, nil)
	got := s.order(o.ID)
	if got.State != api.OrderCancelled || got.Reason.Message != "wrong price on the page" ||
		decode[api.Cancellation](t, got.Reason.Data).By != support.id {
		t.Errorf("order: %+v, reason %+v", got, got.Reason)
	}
	s.restored(sku, before)
	var list api.OrderList
	support.must("GET", "/admin/v1/orders?user="+s.id+"&state=cancelled", nil, &list)
	if len(list.Orders) != 1 || list.Orders[0].ID != o.ID {
		t.Errorf("orders: %+v", list.Orders)
	}
}
