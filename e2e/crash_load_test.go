package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ordo/api"
	"ordo/stores"
)

// What the shoppers of a load have, and how long they wait for one answer: a call
// that was under way when NATS was killed is answered late, and a new one sooner.
const (
	crashUsers   = 24
	crashCoupons = 40 // a user
	crashAnswer  = 4 * time.Second
)

// crashLoad buys with many shoppers at once while processes are killed, and
// remembers what every one of them was told.
type crashLoad struct {
	t     *testing.T
	url   string
	users []*crashUser
	stop  chan struct{}
	wg    sync.WaitGroup
	// ctx ends with the test.
	ctx context.Context

	mu sync.Mutex
	// told is the last state a shopper was told of an order; empty for one
	// that was submitted and not accepted.
	told map[string]string
	// expires says that what was placed may be cancelled by now.
	expires bool
	// flips says that messages are damaged so that an actor may see it.
	flips bool
	// after, unless nil, goes on with an order that was placed.
	after func(u *crashUser, n int, id string, deadline time.Time)
	// slow is the longest time that one shopper waited for one order.
	slow time.Duration
}

// crashUser is one shopper, used by one goroutine at a time.
type crashUser struct {
	l       *crashLoad
	email   string
	id      string
	token   string
	address string
	coupons []string
}

// newCrashLoad makes shoppers with addresses, coupons and money, and two
// SKUs: one there is plenty of, and one that is soon sold out.
func newCrashLoad(t *testing.T, url string) *crashLoad {
	t.Helper()
	l := &crashLoad{t: t, url: url, told: map[string]string{}, stop: make(chan struct{}),
		ctx: t.Context()}
	t.Cleanup(l.wg.Wait)
	shop := &client{t, url, adminToken}
	shop.must("POST", "/admin/v1/products:import",
		"sku,spu,name,price,stock\nHOT,HOT,Hot,10.00,1000000\nSCARCE,SCARCE,Scarce,3.33,150\n", nil)
	people := make([]map[string]string, crashUsers)
	for i := range people {
		u := &crashUser{l: l, email: fmt.Sprintf("crash-%d@example.org", i)}
		l.users = append(l.users, u)
		people[i] = map[string]string{"email": u.email, "name": "Crash"}
	}
	var made struct{ Items []struct{ ID, Token string } }
	shop.must("POST", "/admin/v1/users", map[string]any{"users": people}, &made)
	var wg sync.WaitGroup
	for i, u := range l.users {
		u.id, u.token = made.Items[i].ID, made.Items[i].Token
		wg.Go(func() { u.furnish(shop) })
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return l
}

// furnish gives the shopper an address, money and coupons.
func (u *crashUser) furnish(shop *client) {
	gbp := func(n int64) api.Money { return api.Money{Amount: n, Currency: "GBP"} }
	now := api.TimeOf(time.Now())
	coupons := make([]map[string]any, crashCoupons)
	for i := range coupons {
		id := api.DeriveID(api.PrefixCoupon, time.Unix(0, 0), fmt.Sprint(u.id, i))
		u.coupons = append(u.coupons, id)
		coupons[i] = map[string]any{"id": id, "user": u.id, "name": "Five off", "amount": gbp(500),
			"valid_from": now.Add(-time.Hour), "valid_until": now.Add(24 * time.Hour)}
	}
	var address api.Address
	for _, c := range []struct {
		path, token  string
		body, answer any
	}{
		{"/v1/addresses", u.token, crashAddress, &address},
		{"/admin/v1/wallets/credit", adminToken,
			map[string]any{"user": u.id, "amount": gbp(10_000_000), "reason": "seed"}, nil},
		{"/admin/v1/coupons", adminToken, map[string]any{"coupons": coupons}, nil},
	} {
		status, data, err := (&client{u.l.t, u.l.url, c.token}).call("POST", c.path, c.body)
		if err != nil || status/100 != 2 {
			u.l.t.Errorf("%s: status %d, %v, %s", c.path, status, err, data)
			return
		}
		if c.answer != nil {
			if err := json.Unmarshal(data, c.answer); err != nil {
				u.l.t.Errorf("%s: %v", c.path, err)
			}
		}
	}
	u.address = address.ID
}

var crashAddress = map[string]any{"name": "Crash", "phone": "+44 20 7946 0000",
	"lines": []string{"1 Crash Street"}, "city": "London", "country": "GB"}

// begin has all shoppers buy until halt.
func (l *crashLoad) begin() {
	for _, u := range l.users {
		l.wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-l.stop:
					return
				case <-l.ctx.Done():
					return
				default:
				}
				if began := time.Now(); !u.buy(n, began.Add(patience)) {
					return
				} else if d := time.Since(began); d > 0 {
					l.waited(d)
				}
			}
		})
	}
}

func (l *crashLoad) waited(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slow = max(l.slow, d)
}

// halt has no shopper begin another purchase.
func (l *crashLoad) halt() { close(l.stop) }

// end waits until every shopper has finished its last purchase after halt.
func (l *crashLoad) end() {
	l.t.Helper()
	l.wg.Wait()
	l.t.Logf("%d checkouts submitted; the longest wait was %s", len(l.told),
		l.slow.Round(time.Millisecond))
}

// buy buys one thing: through new checkouts as long as the one before was lost
// with its KV bucket. It answers false when it gave up.
func (u *crashUser) buy(n int, deadline time.Time) bool {
	for time.Now().Before(deadline) {
		var page struct {
			Token string
			Total api.Money
		}
		if status, data := u.call("POST", "/v1/checkouts", u.wants(n), deadline); status != 201 {
			u.l.t.Errorf("checkout: status %d %s", status, data)
			return false
		} else if err := json.Unmarshal(data, &page); err != nil {
			u.l.t.Errorf("checkout: %v", err)
			return false
		}
		id, err := api.OrderID(page.Token)
		if err != nil {
			u.l.t.Error(err)
			return false
		}
		if !u.submit(id, u.order(n, page.Token, page.Total), deadline) {
			continue
		}
		if u.l.after != nil && u.l.toldOf(id) == api.OrderPlaced {
			u.l.after(u, n, id, deadline)
		}
		return true
	}
	u.l.t.Errorf("shopper %s gave up on purchase %d", u.email, n)
	return false
}

// wants is the n-th thing that a shopper buys: every fourth is scarce.
func (u *crashUser) wants(n int) map[string]any {
	if n%4 == 2 {
		return map[string]any{"sku": "SCARCE", "quantity": 2}
	}
	return map[string]any{"sku": "HOT", "quantity": 1 + n%3}
}

// order is its submission: with a coupon and some balance, paid by balance
// alone, plain, or with a coupon that another order has used.
func (u *crashUser) order(n int, token string, total api.Money) map[string]any {
	o := map[string]any{"token": token, "address_id": u.address, "pay_method": api.PayAlipay,
		"channel": api.ChannelWeb}
	pay := func(m api.Money) { o["balance"] = m }
	switch n % 4 {
	case 0, 3:
		if i := n / 4; i < len(u.coupons) {
			o["coupon"] = u.coupons[i]
			total.Amount -= 500
		}
		pay(api.Money{Amount: 100, Currency: total.Currency})
	case 1:
		o["pay_method"] = api.PayBalance
		pay(total)
	}
	o["total"] = total
	return o
}

// submit submits until the order is decided; false when the checkout was lost
// and there is no order.
func (u *crashUser) submit(id string, body map[string]any, deadline time.Time) bool {
	u.l.tell(id, "")
	for time.Now().Before(deadline) {
		status, data := u.call("POST", "/v1/orders?wait=2s", body, deadline)
		var said struct {
			State, Order string
			Code         api.Code
		}
		if err := json.Unmarshal(data, &said); err != nil {
			u.l.t.Errorf("order %s: status %d %s", id, status, data)
			return true
		}
		switch {
		case status == http.StatusCreated:
			u.l.tell(id, said.State)
			return true
		case status == http.StatusAccepted:
			u.l.tell(id, api.OrderPending)
		case said.Order == id:
			u.l.tell(id, api.OrderRefused)
			return true
		case said.Code == api.CodeTokenUnknown:
			if !u.exists(id) {
				return false
			}
		default:
			u.l.t.Errorf("order %s: status %d %s", id, status, data)
			return true
		}
	}
	u.l.t.Errorf("order %s was not decided in time", id)
	return true
}

// exists looks for an order whose checkout is lost: its submit may still be on
// its way.
func (u *crashUser) exists(id string) bool {
	until := time.Now().Add(2 * time.Second)
	for tick := time.NewTicker(100 * time.Millisecond); time.Now().Before(until); <-tick.C {
		if status, _ := u.call("GET", "/v1/orders/"+id, nil, until); status == http.StatusOK {
			return true
		}
	}
	return false
}

func (l *crashLoad) tell(id, state string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told[id] = state
}

func (l *crashLoad) toldOf(id string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told[id]
}

// call repeats a call while the shop does not answer or is not available, and
// with a new session when the old one is lost.
func (u *crashUser) call(method, path string, body any, deadline time.Time) (int, []byte) {
	for {
		status, data := u.l.call(method, path, u.token, "", body, deadline)
		if status != http.StatusUnauthorized || time.Now().After(deadline) || u.l.ctx.Err() != nil {
			return status, data
		}
		u.logIn()
	}
}

// call repeats a call with a bearer token, and an Idempotency-Key if there is
// one, while the shop does not answer or is not available.
func (l *crashLoad) call(method, path, token, key string, body any, deadline time.Time) (int,
	[]byte) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		status, data, err := l.once(method, path, token, key, body)
		if err == nil && status != http.StatusServiceUnavailable || time.Now().After(deadline) ||
			l.ctx.Err() != nil {
			return status, data
		}
		<-tick.C
	}
}

// once makes a call, and gives up after crashAnswer.
func (l *crashLoad) once(method, path, token, key string, body any) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(l.ctx, crashAnswer)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, l.url+path, bytes.NewReader(api.Raw(body)))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, data, err
}

func (u *crashUser) logIn() {
	status, data, err := (&client{u.l.t, u.l.url, adminToken}).call("POST", "/admin/v1/users",
		map[string]any{"users": []map[string]string{{"email": u.email, "name": "Crash"}}})
	var made struct{ Items []struct{ Token string } }
	if err == nil && status == http.StatusCreated && json.Unmarshal(data, &made) == nil {
		u.token = made.Items[0].Token
	}
}

// crashDB opens an actor's file for reading, also while it is being written.
func crashDB(t *testing.T, data, actor string) *sql.DB {
	t.Helper()
	db, err := stores.OpenReadOnly(filepath.Join(data, "actors", actor+".db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// crashCount is the number that a query answers.
func crashCount(t *testing.T, db *sql.DB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.QueryRow(query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// crashNumber is crashCount in a file that is opened for that alone.
func crashNumber(t *testing.T, data, actor, query string, args ...any) int {
	t.Helper()
	db, err := stores.OpenReadOnly(filepath.Join(data, "actors", actor+".db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	return crashCount(t, db, query, args...)
}

// grow waits until the order file has n more orders.
func (l *crashLoad) grow(data string, n int) {
	l.t.Helper()
	count := func() int {
		return crashNumber(l.t, data, "order", `SELECT coalesce(max(n), 0) FROM orders`)
	}
	n += count()
	eventually(l.t, "more orders", func() bool { return count() >= n })
}

// crashAudit is what `ordo audit --json` says.
type crashAudit struct {
	OK       bool
	InFlight int `json:"in_flight"`
	Excused  int
	Warnings []string
	Orders   map[string]int
	LeftOut  []string `json:"left_out"`
}

func crashAuditOf(t testing.TB, dirs ...string) (a crashAudit, text []byte) {
	t.Helper()
	args := []string{"audit", "--json"}
	for _, dir := range dirs {
		args = append(args, "--data", dir)
	}
	text, _ = exec.Command(binary, args...).Output() // the exit code is in OK
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatalf("ordo audit: %v\n%s", err, text)
	}
	return a, text
}

// settled waits until every message has been committed and every order has
// been decided, and compares the books with what the shoppers were told: each
// accepted order is there once, decided as it was said, and nothing else is.
// dirs are the data directories, the order actor's first.
func (l *crashLoad) settled(dirs ...string) {
	t := l.t
	t.Helper()
	var a crashAudit
	var text []byte
	eventually(t, "everything is decided and committed", func() bool {
		a, text = crashAuditOf(t, dirs...)
		return a.InFlight == 0 && a.Orders[api.OrderPending] == 0
	})
	if l.flips {
		a.Warnings = slices.DeleteFunc(a.Warnings, crashUnreadable)
	}
	if !a.OK || len(a.Warnings) > 0 || len(a.LeftOut) > 0 {
		t.Errorf("audit: %s", text)
	}
	l.compare(crashOrders(t, dirs[0]))
	t.Logf("orders: %v", a.Orders)
}

// crashUnreadable tells the incident of a message that was damaged in its stream: the
// server's checksum does not cover how long the headers are.
func crashUnreadable(warning string) bool {
	return strings.Contains(warning, ": no-id: ") || strings.Contains(warning, ": damaged: ")
}

// crashOrders are the states of all orders in a data directory.
func crashOrders(t *testing.T, data string) map[string]string {
	t.Helper()
	rows, err := crashDB(t, data, "order").Query(`SELECT id, state FROM orders`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	is := map[string]string{}
	for rows.Next() {
		var id, state string
		if err := rows.Scan(&id, &state); err != nil {
			t.Fatal(err)
		}
		is[id] = state
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return is
}

// compare compares the orders with what shoppers were told.
func (l *crashLoad) compare(is map[string]string) {
	t := l.t
	t.Helper()
	for id, state := range is {
		if told, ok := l.told[id]; !ok || told == "" {
			t.Errorf("order %s is %s, but no shopper was told of it", id, state)
		}
	}
	for id, told := range l.told {
		if l.expires && (told == api.OrderPlaced || told == api.OrderClosing) &&
			is[id] == api.OrderCancelled {
			continue
		}
		if told != "" && is[id] != told && told != api.OrderPending {
			t.Errorf("order %s is %q, but its shopper was told %q", id, is[id], told)
		}
	}
	if len(is) == 0 {
		t.Error("there are no orders")
	}
}

// crashServe is serve on an address that stays the same over restarts, and
// ready.
func crashServe(t *testing.T, addr, data string, args ...string) *process {
	t.Helper()
	return serve(t, data, append(args, "--http", addr)...).ready()
}
