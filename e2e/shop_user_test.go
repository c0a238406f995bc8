package e2e

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

func newEmail() string { return strings.ToLower(api.NewID("u")) + "@shop.test" }

// session is the answer to who logs in.
type session struct {
	Token   string
	Expires api.Time `json:"expires_at"`
	User    api.User
}

// register makes an account by password.
func (p *process) register(email, password string) *shopper {
	p.t.Helper()
	var made session
	p.as("").must("POST", "/v1/register",
		map[string]any{"email": email, "password": password, "name": "Ada"}, &made)
	return &shopper{client: p.as(made.Token), p: p, id: made.User.ID}
}

// login begins one more session of the account.
func (p *process) login(email, password string) *shopper {
	p.t.Helper()
	var made session
	p.as("").must("POST", "/v1/login", map[string]any{"email": email, "password": password}, &made)
	return &shopper{client: p.as(made.Token), p: p, id: made.User.ID}
}

// ACCEPT U1
func tryAccounts(t *testing.T, p *process) {
	email, visitor := newEmail(), p.as("")
	first := p.register(email, "correct horse")
	var me api.User
	first.must("GET", "/v1/me", nil, &me)
	if me.ID != first.id || me.Email != email || me.Name != "Ada" || me.Role != api.RoleShopper {
		t.Errorf("me: %+v", me)
	}
	visitor.problem("POST", "/v1/register",
		map[string]any{"email": strings.ToUpper(email), "password": "another one"}, 409,
		api.CodeEmailTaken)
	second := p.login(strings.ToUpper(email), "correct horse")
	if second.id != first.id || second.token == first.token {
		t.Errorf("second session: %+v", second)
	}
	for _, c := range []map[string]any{{"email": email, "password": "wrong horse"},
		{"email": newEmail(), "password": "correct horse"}, {"email": "", "password": ""},
		{"email": email + "\x00", "password": "correct horse"}} {
		visitor.problem("POST", "/v1/login", c, 401, api.CodeBadLogin)
	}
	first.must("POST", "/v1/logout", nil, nil)
	first.problem("GET", "/v1/me", nil, 401, api.CodeUnauthorized)
	first.problem("POST", "/v1/logout", nil, 401, api.CodeUnauthorized)
	second.must("GET", "/v1/me", nil, nil)
	for _, token := range []string{"ses_" + strings.Repeat("A", 32), "x", adminToken, "ses_",
		second.token + "A", strings.ToLower(second.token)} {
		p.as(token).problem("GET", "/v1/me", nil, 401, api.CodeUnauthorized)
	}
	visitor.problem("GET", "/v1/me", nil, 401, api.CodeUnauthorized)
}

// ACCEPT U1
func tryPassword(t *testing.T, p *process) {
	email := newEmail()
	one := p.register(email, "correct horse")
	two := p.login(email, "correct horse")
	change := func(old, fresh string) map[string]any {
		return map[string]any{"old_password": old, "new_password": fresh}
	}
	one.problem("POST", "/v1/me/password", change("wrong horse", "battery staple"), 401,
		api.CodeBadLogin)
	two.must("GET", "/v1/me", nil, nil)
	var made session
	one.must("POST", "/v1/me/password", change("correct horse", "battery staple"), &made)
	p.as(made.Token).must("GET", "/v1/me", nil, nil)
	one.problem("GET", "/v1/me", nil, 401, api.CodeUnauthorized)
	two.problem("GET", "/v1/me", nil, 401, api.CodeUnauthorized)
	p.as("").problem("POST", "/v1/login", map[string]any{"email": email,
		"password": "correct horse"}, 401, api.CodeBadLogin)
	p.login(email, "battery staple").must("GET", "/v1/me", nil, nil)
}

// TestLogoutOutlivesCrash ends a session, and the process right after it was
// told so. What the bucket of sessions wrote last is lost as well, as it may be
// at a power loss. ACCEPT U1
func TestLogoutOutlivesCrash(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data).ready()
	email := newEmail()
	stays, ends := p.register(email, "correct horse"), p.login(email, "correct horse")
	ends.must("POST", "/v1/logout", nil, nil)
	p.reviveSession(ends)
	p.kill()
	// Not even the first request that is served may believe it.
	address := freeAddress(t)
	believed := make(chan int, 1)
	stop := make(chan struct{})
	go func() { believed <- hammer(&client{t, "http://" + address, ends.token}, stop) }()
	p = serve(t, data, "--http", address)
	eventually(t, "the other session", func() bool {
		status, _, err := p.as(stays.token).call("GET", "/v1/me", nil)
		return err == nil && status == http.StatusOK
	})
	close(stop)
	if n := <-believed; n > 0 {
		t.Errorf("the ended session was believed %d times", n)
	}
	p.ready()
	p.as(ends.token).problem("GET", "/v1/me", nil, 401, api.CodeUnauthorized)
	if p.login(email, "correct horse").id != stays.id {
		t.Error("another account")
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	auditClean(t, data)
}

// hammer asks who is logged in until it is stopped, and answers how often it
// was told.
func hammer(c *client, stop <-chan struct{}) (told int) {
	for {
		select {
		case <-stop:
			return told
		default:
		}
		if status, _, err := c.call("GET", "/v1/me", nil); err == nil && status == http.StatusOK {
			told++
		}
	}
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// reviveSession writes an ended session back into its bucket.
func (p *process) reviveSession(s *shopper) {
	p.t.Helper()
	js, err := jetstream.New(p.connect())
	if err != nil {
		p.t.Fatal(err)
	}
	ctx := within(p.t, time.Minute)
	kv, err := js.KeyValue(ctx, bus.BucketSession)
	if err != nil {
		p.t.Fatal(err)
	}
	now := time.Now()
	if _, err := kv.Put(ctx, stores.SessionHash(s.token), api.Raw(stores.Session{User: s.id,
		Role: api.RoleShopper, Started: api.TimeOf(now.Add(-time.Minute)),
		Expires: api.TimeOf(now.Add(time.Hour))})); err != nil {
		p.t.Fatal(err)
	}
	// The process that ended it knows better than the bucket.
	p.as(s.token).problem("GET", "/v1/me", nil, 401, api.CodeUnauthorized)
}

// ACCEPT U4
func tryRoles(t *testing.T, p *process) {
	s, support, admin := p.shopper(), p.users(1, api.RoleSupport)[0], p.users(1, api.RoleAdmin)[0]
	sku := p.onSale(100, 10)
	o := s.buy(sku, 1)
	receive := map[string]any{"sku": sku, "quantity": 1}
	for _, c := range []struct {
		method, path       string
		body               any
		shopper, supporter int
	}{
		{"GET", "/admin/v1/orders", nil, 403, 200},
		{"GET", "/admin/v1/orders/" + o.ID, nil, 403, 200},
		{"GET", "/admin/v1/orders/" + o.ID + "/steps", nil, 403, 200},
		{"GET", "/admin/v1/journal?order=" + o.ID, nil, 403, 200},
		{"GET", "/admin/v1/dead?actor=order", nil, 403, 200},
		{"GET", "/admin/v1/stock/ledger?sku=" + sku, nil, 403, 403},
		{"GET", "/admin/v1/products:export", nil, 403, 403},
		{"POST", "/admin/v1/stock/receive", receive, 403, 403},
		{"POST", "/admin/v1/stock/adjust",
			map[string]any{"sku": sku, "difference": 1, "reason": "x"}, 403, 403},
		{"POST", "/admin/v1/products:import", "sku,spu,name,price\na,a,a,1\n", 403, 403},
		{"POST", "/admin/v1/wallets/credit",
			api.Credit{User: s.id, Amount: gbp(1), Reason: "x"}, 403, 403},
		{"POST", "/admin/v1/coupons", map[string]any{"coupons": []any{}}, 403, 403},
		{"POST", "/admin/v1/users", map[string]any{"users": []any{}}, 403, 403},
		{"PUT", "/admin/v1/users/" + support.id + "/password",
			map[string]any{"new_password": "pass-word"}, 403, 403},
		{"POST", "/admin/v1/orders/" + o.ID + "/cancel", map[string]any{"reason": "x"}, 403, 200},
	} {
		p.as("").problem(c.method, c.path, c.body, 401, api.CodeUnauthorized)
		s.problem(c.method, c.path, c.body, c.shopper, api.CodeForbidden)
		if c.supporter == 200 {
			support.must(c.method, c.path, c.body, nil)
		} else {
			support.problem(c.method, c.path, c.body, c.supporter, api.CodeForbidden)
		}
	}
	admin.must("POST", "/admin/v1/stock/receive", receive, nil)
	if now := p.sku(sku); now.Stock != 11 || now.Locked != 0 {
		t.Errorf("stock: %+v", now)
	}
}

// ACCEPT U2
func tryAddresses(t *testing.T, p *process) {
	s := p.shopper()
	list := func(want ...string) (all []api.Address) {
		t.Helper()
		var got api.AddressList
		s.must("GET", "/v1/addresses", nil, &got)
		if len(got.Addresses) != len(want) {
			t.Fatalf("addresses: %+v, want %v", got.Addresses, want)
		}
		for i, a := range got.Addresses {
			if a.City != want[i] || a.Default != (i == 0) {
				t.Errorf("address %d: %+v, want %s", i, a, want[i])
			}
		}
		return got.Addresses
	}
	in := func(city string) map[string]any {
		a := addressBody(sender)
		a["city"] = city
		return a
	}
	var leeds, york api.Address
	s.must("POST", "/v1/addresses", in("Leeds"), &leeds)
	s.must("POST", "/v1/addresses", in("York"), &york)
	list("London", "Leeds", "York")
	s.must("POST", "/v1/addresses/"+york.ID+"/default", nil, nil)
	all := list("York", "London", "Leeds")
	if a := all[0]; a.Name != sender.Name || a.Phone != sender.Phone ||
		a.Lines[0] != sender.Lines[0] || a.Postcode != sender.Postcode || a.Country != "GB" {
		t.Errorf("address: %+v", a)
	}
	s.must("PUT", "/v1/addresses/"+leeds.ID, in("Hull"), nil)
	list("York", "London", "Hull")
	s.must("DELETE", "/v1/addresses/"+york.ID, nil, nil)
	list("London", "Hull")
	s.problem("DELETE", "/v1/addresses/"+york.ID, nil, 404, api.CodeNotFound)
}

// Nobody reads or touches what is another's, or learns that it exists.
// ACCEPT U4
func tryStrangers(t *testing.T, p *process) {
	s, stranger := p.shopper(), p.shopper()
	sku := p.onSale(100, 10)
	o := s.buy(sku, 1)
	s.add(sku, 2)
	before := s.books(sku)
	city := addressBody(sender)
	city["city"] = "Leeds"
	body := stranger.checkout(sku, 1)
	body.Address = s.address
	r := stranger.problem("POST", "/v1/orders", body, 422, api.CodeInvalid)
	if r.Place != "address_id" {
		t.Errorf("another's address: %+v", r)
	}
	for _, c := range []struct {
		method, path string
		body         any
	}{
		{"GET", "/v1/orders/" + o.ID, nil},
		{"GET", "/v1/orders/" + o.ID + "?wait=1&known=pending", nil},
		{"GET", "/v1/orders/" + o.ID + "/events", nil},
		{"POST", "/v1/orders/" + o.ID + "/cancel", nil},
		{"POST", "/v1/orders/" + o.ID + "/cancel", map[string]any{"reason": "mine"}},
		{"PUT", "/v1/addresses/" + s.address, city},
		{"DELETE", "/v1/addresses/" + s.address, nil},
		{"POST", "/v1/addresses/" + s.address + "/default", nil},
		{"PUT", "/v1/cart/lines/" + sku, map[string]any{"quantity": 1}},
	} {
		r := stranger.problem(c.method, c.path, c.body, 404, api.CodeNotFound)
		if strings.Contains(string(api.Raw(r)), s.id) {
			t.Errorf("%s %s names the owner: %+v", c.method, c.path, r)
		}
	}
	var orders api.OrderList
	stranger.must("GET", "/v1/orders", nil, &orders)
	if len(orders.Orders) != 0 || len(stranger.cart().Lines) != 0 {
		t.Errorf("the stranger has %+v", orders)
	}
	if after := s.books(sku); after != before {
		t.Errorf("changed:\n%s\nwas\n%s", after, before)
	}
}

// ACCEPT U3 P7
func tryLedgers(t *testing.T, p *process) {
	s := p.shopper()
	sku := p.onSale(1000, 10)
	s.give(gbp(500))
	s.give(api.Money{Amount: 30, Currency: api.UnitPoint})
	credit := func(n int64) api.Credit {
		return api.Credit{User: s.id, Amount: gbp(n), Reason: "gift"}
	}
	for range 3 {
		key := http.Header{"Idempotency-Key": {"gift of " + s.id}}
		resp, data, err := p.admin().send(key, "POST", "/admin/v1/wallets/credit", credit(70))
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("credit: %v %v %s", resp, err, data)
		}
	}
	key := http.Header{"Idempotency-Key": {"gift of " + s.id}}
	resp, _, err := p.admin().send(key, "POST", "/admin/v1/wallets/credit", credit(71))
	if err != nil || resp.StatusCode != 422 {
		t.Errorf("the same key for another credit: %v %v", resp, err)
	}
	p.admin().problem("POST", "/admin/v1/wallets/credit", credit(-571), 409, api.CodeBalanceTooLow)
	o := s.submit(s.checkout(sku, 1).using("", 0, 200))
	s.must("POST", "/v1/orders/"+o.ID+"/cancel", nil, nil)
	var w api.Wallet
	eventually(t, "the balance back", func() bool {
		s.must("GET", "/v1/wallet", nil, &w)
		return w.Balance == gbp(570)
	})
	if w.Points != 30 {
		t.Errorf("wallet: %+v", w)
	}
	var list api.WalletEntryList
	s.must("GET", "/v1/wallet/entries", nil, &list)
	want := []struct {
		kind        string
		amount, now int64
	}{{api.EntryReturn, 200, 570}, {api.EntryDebit, -200, 370}, {api.EntryCredit, 70, 570},
		{api.EntryCredit, 500, 500}}
	if len(list.Entries) != len(want) {
		t.Fatalf("entries: %+v", list.Entries)
	}
	for i, e := range list.Entries {
		if e.Kind != want[i].kind || e.Amount != gbp(want[i].amount) || e.Balance != gbp(want[i].now) ||
			(e.Order == o.ID) != (i < 2) || time.Since(e.At.Std()) > time.Minute {
			t.Errorf("entry %d: %+v, want %+v", i, e, want[i])
		}
	}
	s.must("GET", "/v1/wallet/entries?unit=POINT", nil, &list)
	if e := list.Entries; len(e) != 1 || e[0].Amount.Amount != 30 {
		t.Errorf("points: %+v", e)
	}
}
