package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"sync"

	"ordo/api"
)

// maxAdminList is the most users or coupons of one admin call.
const maxAdminList = 500

// admin makes what a shop needs before shoppers come: goods, stock, users,
// coupons and balances, through the admin API.
type admin struct {
	*client
	token string
}

func (a *admin) post(ctx context.Context, path, key string, body, out any) error {
	err := a.do(ctx, request{Method: "POST", Path: "/admin/v1" + path, Token: a.token, Key: key,
		Body: body, Repeat: true}, out)
	if err != nil {
		return fmt.Errorf("admin %s: %w", path, err)
	}
	return nil
}

// account is a user with a session.
type account struct {
	ID    string `json:"id"`
	Email string `json:"email"`
	Token string `json:"token"`
}

// person is what the admin API needs to make a user.
type person struct {
	Email string `json:"email"`
	Name  string `json:"name"`
}

// users makes users with sessions, in the order given. A user that is there
// already gets a new session.
func (a *admin) users(ctx context.Context, people []person) ([]account, error) {
	all := make([]account, 0, len(people))
	for part := range slices.Chunk(people, maxAdminList) {
		var made struct {
			Users []account `json:"items"`
		}
		body := map[string]any{"users": part}
		if err := a.post(ctx, "/users", "", body, &made); err != nil {
			return nil, err
		}
		if len(made.Users) != len(part) {
			return nil, fmt.Errorf("admin /users: %d of %d were made", len(made.Users), len(part))
		}
		all = append(all, made.Users...)
	}
	return all, nil
}

// importSKU is a row of a catalogue import.
type importSKU struct {
	SKU, Product, Name, ProductName, Categories string
	Price                                       api.Money
	Stock                                       int64
	// Options are in the order of the header's option columns.
	Options []string
}

// importCatalog puts SKUs on sale. Stock counts for new SKUs only.
func (a *admin) importCatalog(ctx context.Context, options []string, rows []importSKU) error {
	// 10,000 rows stay well below the limit of an import body.
	for part := range slices.Chunk(rows, 10_000) {
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		header := []string{"sku", "spu", "name", "product_name", "price", "stock", "categories"}
		for _, o := range options {
			header = append(header, "option:"+o)
		}
		w.Write(header)
		for i := range part {
			r := &part[i]
			w.Write(append([]string{r.SKU, r.Product, r.Name, r.ProductName, decimal(r.Price),
				strconv.FormatInt(r.Stock, 10), r.Categories}, r.Options...))
		}
		if w.Flush(); w.Error() != nil {
			return fmt.Errorf("import: %w", w.Error())
		}
		if err := a.post(ctx, "/products:import", "", b.Bytes(), nil); err != nil {
			return err
		}
	}
	return nil
}

// decimal prints the amount without its currency.
func decimal(m api.Money) string {
	s := m.String()
	return s[:len(s)-len(m.Currency)-1]
}

// receive adds stock of many SKUs at once. Each carries a key made of prefix
// and SKU, so that a second call with the same prefix adds nothing.
func (a *admin) receive(ctx context.Context, prefix string, stock map[string]int64) error {
	skus := make([]string, 0, len(stock))
	for sku := range stock {
		skus = append(skus, sku)
	}
	slices.Sort(skus)
	return parallel(ctx, 32, len(skus), func(ctx context.Context, i int) error {
		left := stock[skus[i]]
		for part := 0; left > 0; part++ {
			n := min(left, api.MaxQuantity)
			key := prefix + "-" + strconv.Itoa(part) + "-" + url.QueryEscape(skus[i])
			body := api.ReceiveStock{SKU: skus[i], Quantity: n, Reason: "seed"}
			if err := a.post(ctx, "/stock/receive", key, body, nil); err != nil {
				return err
			}
			left -= n
		}
		return nil
	})
}

// newCoupon is a coupon to issue; the shop makes its id.
type newCoupon struct {
	User    string    `json:"user"`
	Name    string    `json:"name"`
	Amount  api.Money `json:"amount"`
	Minimum api.Money `json:"minimum"`
	From    api.Time  `json:"valid_from"`
	Until   api.Time  `json:"valid_until"`
}

// coupons issues coupons and returns their ids in order.
func (a *admin) coupons(ctx context.Context, key string, coupons []newCoupon) ([]string, error) {
	ids := make([]string, 0, len(coupons))
	n := 0
	for part := range slices.Chunk(coupons, maxAdminList) {
		var made struct {
			Coupons []api.Coupon `json:"items"`
		}
		body := map[string]any{"coupons": part}
		n++
		if err := a.post(ctx, "/coupons", key+"-"+strconv.Itoa(n), body, &made); err != nil {
			return nil, err
		}
		for i := range made.Coupons {
			ids = append(ids, made.Coupons[i].ID)
		}
	}
	if len(ids) != len(coupons) {
		return nil, fmt.Errorf("admin /coupons: %d of %d were made", len(ids), len(coupons))
	}
	return ids, nil
}

// credit puts money into a wallet, once for a key.
func (a *admin) credit(ctx context.Context, key, user string, amount api.Money) error {
	body := api.Credit{User: user, Amount: amount, Reason: "seed"}
	return a.post(ctx, "/wallets/credit", key, body, nil)
}

// parallel calls do for 0 to n-1 on a number of goroutines and returns the
// first error, after which no new call begins.
func parallel(ctx context.Context, width, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	work := make(chan int)
	for range min(width, n) {
		wg.Go(func() {
			for i := range work {
				if err := do(ctx, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
feed:
	for i := range n {
		select {
		case work <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}
