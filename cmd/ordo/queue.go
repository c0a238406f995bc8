package main

import (
	"context"
	"strings"
	"sync"

	"ordo/api"
)

// queue hands out invoices in the order of the trace, but never two of one
// customer at once.
type queue struct {
	mu    sync.Mutex
	freed *sync.Cond
	rest  []*invoice
	who   map[*invoice]*shopper
	busy  map[*shopper]bool
}

// queue makes a user of every customer, and one of every invoice whose
// customer is not known.
func (r *replay) queue(ctx context.Context) (*queue, error) {
	q := &queue{who: map[*invoice]*shopper{}, busy: map[*shopper]bool{}}
	q.freed = sync.NewCond(&q.mu)
	shoppers, people := []*shopper{}, []person{}
	byEmail := map[string]*shopper{}
	for i := range r.trace.Invoices {
		inv := &r.trace.Invoices[i]
		email := "invoice-" + strings.ToLower(inv.No) + "@replay.example"
		if inv.Customer != "" {
			email = "customer-" + strings.ToLower(inv.Customer) + "@replay.example"
		}
		s, ok := byEmail[email]
		if !ok {
			p := person{Email: email, Name: "Customer " + or(inv.Customer, inv.No)}
			s = &shopper{admin: r.admin, person: p, country: inv.Country}
			byEmail[email] = s
			shoppers, people = append(shoppers, s), append(people, p)
		}
		q.rest = append(q.rest, inv)
		q.who[inv] = s
	}
	made, err := r.admin.users(ctx, people)
	if err != nil {
		return nil, err
	}
	for i, s := range shoppers {
		s.token = made[i].Token
	}
	return q, r.loadBefore(ctx, shoppers)
}

// loadBefore has the shoppers read their earlier orders, if the shop has any.
func (r *replay) loadBefore(ctx context.Context, shoppers []*shopper) error {
	var any api.OrderList
	err := r.admin.do(ctx, request{Method: "GET", Path: "/admin/v1/orders?limit=1",
		Token: r.admin.token, Repeat: true}, &any)
	if err != nil || len(any.Orders) == 0 {
		return err
	}
	return parallel(ctx, r.width, len(shoppers), func(ctx context.Context, i int) error {
		return shoppers[i].loadBefore(ctx)
	})
}

// take is the first invoice whose customer is free, and that customer; it
// waits for one. It must be called once per invoice at most.
func (q *queue) take() (*shopper, *invoice) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		for i, inv := range q.rest {
			if s := q.who[inv]; !q.busy[s] {
				q.busy[s] = true
				// Moving the few before it keeps the rest in order.
				copy(q.rest[1:i+1], q.rest[:i])
				q.rest = q.rest[1:]
				return s, inv
			}
		}
		q.freed.Wait()
	}
}

// release lets the next invoice of the customer go.
func (q *queue) release(s *shopper) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.busy, s)
	q.freed.Broadcast()
}
