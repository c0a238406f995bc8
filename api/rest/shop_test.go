package rest_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/actors"
	"ordo/actors/coupon"
	"ordo/actors/goods"
	"ordo/actors/journal"
	"ordo/actors/learning"
	"ordo/actors/order"
	"ordo/actors/payment"
	"ordo/actors/shipping"
	"ordo/actors/user"
	"ordo/actors/wallet"
	"ordo/api"
	"ordo/api/rest"
	"ordo/bus"
	"ordo/stores"
)

func textLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// shop is all of it: an embedded NATS, every actor, the stores and the edge on
// a real HTTP server.
type shop struct {
	t      testing.TB
	dir    string
	server *bus.Server
	js     jetstream.JetStream
	edge   *bus.Edge
	hosts  map[string]*actors.Host
	url    string
	// checkouts is the bucket of checkout tokens.
	checkouts jetstream.KeyValue
}

var specs = []func() *actors.Spec{order.Spec, goods.Spec, coupon.Spec, wallet.Spec, user.Spec,
	journal.Spec, payment.Spec, learning.Spec, shipping.Spec}

// newShop starts a shop, of whose edge the configuration may be changed.
func newShop(t testing.TB, change ...func(*rest.Config)) *shop {
	t.Helper()
	s := &shop{t: t, dir: t.TempDir(), hosts: map[string]*actors.Host{}}
	s.startNATS()
	s.startAll()
	cfg := rest.Config{Edge: s.edge, AdminToken: adminToken, Currency: "GBP", Log: quiet()}
	var err error
	if cfg.Sessions, err = stores.NewSessions(s.bucket(bus.BucketSession),
		bus.SessionTTL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cfg.Sessions.Close() })
	cfg.Carts = stores.NewCarts(s.bucket(bus.BucketCart), s.bucket(bus.BucketGuestCart))
	s.checkouts = s.bucket(bus.BucketCheckout)
	cfg.Checkouts = stores.NewCheckouts(s.js, s.checkouts)
	for _, c := range change {
		c(&cfg)
	}
	h, err := rest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(nil)
	web.Config = h.HTTP("", nil)
	web.Start()
	t.Cleanup(web.Close)
	t.Cleanup(h.Close)
	s.url = web.URL
	s.seed()
	return s
}

func quiet() *slog.Logger {
	if testing.Verbose() {
		return textLog(os.Stderr)
	}
	return slog.New(slog.DiscardHandler)
}

func (s *shop) startNATS() {
	s.t.Helper()
	var err error
	if s.server, err = bus.StartServer(bus.ServerConfig{Dir: filepath.Join(s.dir, "nats"),
		Log: quiet()}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.server.Shutdown)
	nc, err := bus.Connect(s.server, "", "edge", quiet())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	if s.js, err = bus.NewJetStream(nc, func(*nats.Msg, error) {}); err != nil {
		s.t.Fatal(err)
	}
	if err := bus.Setup(s.t.Context(), s.js); err != nil {
		s.t.Fatal(err)
	}
	s.edge = bus.NewEdge(nc, s.js)
	if err := s.edge.Listen(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = s.edge.Close() })
}

func (s *shop) bucket(name string) jetstream.KeyValue {
	s.t.Helper()
	kv, err := s.js.KeyValue(s.t.Context(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	return kv
}

// startAll starts all actors at once, which takes as long as one.
func (s *shop) startAll() {
	s.t.Helper()
	hosts, errs := make([]*actors.Host, len(specs)), make([]error, len(specs))
	var wait sync.WaitGroup
	for i, spec := range specs {
		wait.Go(func() { hosts[i], errs[i] = s.run(spec()) })
	}
	wait.Wait()
	for i, spec := range specs {
		s.started(spec().Name, hosts[i], errs[i])
	}
}

func (s *shop) run(spec *actors.Spec) (*actors.Host, error) {
	return actors.Start(s.t.Context(), spec, actors.HostConfig{
		Dir: filepath.Join(s.dir, "actors"), Log: quiet(), TickEvery: time.Second,
		Connect: func(name string) (*nats.Conn, error) {
			return bus.Connect(s.server, "", name, quiet())
		}})
}

func (s *shop) started(actor string, h *actors.Host, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	s.hosts[actor] = h
	s.t.Cleanup(func() { s.stop(actor) })
}

func (s *shop) start(spec *actors.Spec) {
	s.t.Helper()
	h, err := s.run(spec)
	s.started(spec.Name, h, err)
}

func (s *shop) stop(actor string) {
	if h := s.hosts[actor]; h != nil {
		delete(s.hosts, actor)
		if err := h.Close(); err != nil {
			s.t.Errorf("close %s: %v", actor, err)
		}
	}
}

// seed puts a mug and a shirt on sale.
func (s *shop) seed() {
	s.t.Helper()
	s.until(func() *reply { return s.admin("GET", "/admin/v1/orders", nil) }, 200)
	s.admin("POST", "/admin/v1/products:import", "sku,spu,name,price,stock,option:size\n"+
		"mug,mug,Mug,10.00,100,\nshirt-s,shirt,Shirt,25.50,3,S\n").want(200)
}

// until repeats a request until it has the status.
func (s *shop) until(ask func() *reply, status int) *reply {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		r := ask()
		if r.status == status {
			return r
		}
		if time.Now().After(deadline) {
			return r.want(status)
		}
		<-tick.C
	}
}

// send sends a request over HTTP.
func (s *shop) send(method, path string, body any, header ...string) *reply {
	s.t.Helper()
	var data []byte
	kind := "application/json"
	switch b := body.(type) {
	case nil:
	case string:
		data, kind = []byte(b), "text/csv"
	default:
		data = api.Raw(b)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(data))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return &reply{s.t, method + " " + path, res.StatusCode, res.Header, b}
}

func (s *shop) admin(method, path string, body any, header ...string) *reply {
	s.t.Helper()
	return s.send(method, path, body, append(header, "Authorization", "Bearer "+adminToken)...)
}

// shopper is a user with a session and an address.
type shopper struct {
	*shop
	id, token, address string
}

type object = map[string]any

var home = object{"name": "Ann", "phone": "020 7946 0000", "lines": []string{"1 High Street"},
	"city": "London", "country": "GB"}

// shopper makes a user through the admin API.
func (s *shop) shopper(email string) *shopper {
	s.t.Helper()
	return s.userWith(object{"email": email})
}

func (s *shop) userWith(fields object) *shopper {
	s.t.Helper()
	made := decode[struct{ Items []struct{ ID, Token string } }](s.admin("POST", "/admin/v1/users",
		object{"users": []object{fields}}).want(201))
	if len(made.Items) != 1 {
		s.t.Fatalf("made %+v", made)
	}
	u := &shopper{shop: s, id: made.Items[0].ID, token: made.Items[0].Token}
	u.address = decode[api.Address](u.call("POST", "/v1/addresses", home).want(201)).ID
	return u
}

func (u *shopper) call(method, path string, body any, header ...string) *reply {
	u.t.Helper()
	return u.send(method, path, body, append(header, "Authorization", "Bearer "+u.token)...)
}

type page struct {
	Token      string
	Expires    api.Time `json:"expires_at"`
	Lines      []object
	Addresses  []api.Address
	Coupons    []api.Coupon
	Balance    api.Money
	PayMethods []string `json:"pay_methods"`
	Total      api.Money
}

// buyNow opens a checkout page for a SKU.
func (u *shopper) buyNow(sku string, n int) page {
	u.t.Helper()
	return decode[page](u.call("POST", "/v1/checkouts",
		object{"sku": sku, "quantity": n}).want(201))
}

// order is the body that submits a page.
func (u *shopper) order(p page) object {
	return object{"token": p.Token, "address_id": u.address, "pay_method": "alipay",
		"channel": "web", "total": p.Total}
}

func (u *shopper) placed(r *reply) api.Order {
	u.t.Helper()
	o := decode[api.Order](r.want(201))
	if o.State != api.OrderPlaced || r.header.Get("Location") != "/v1/orders/"+o.ID {
		u.t.Fatalf("order %s is %s, Location %q", o.ID, o.State, r.header.Get("Location"))
	}
	return o
}

// available is how many units of a SKU can be ordered.
func (s *shop) available(sku string) int64 {
	s.t.Helper()
	return decode[api.SKU](s.send("GET", "/v1/skus/"+sku, nil).want(200)).Available()
}

// allFree waits until no unit of a SKU is locked: an undo is told of the
// refusal, but done after it.
func (s *shop) allFree(sku string) {
	s.t.Helper()
	s.until(func() *reply {
		r := s.send("GET", "/v1/skus/"+sku, nil).want(200)
		if decode[api.SKU](r).Locked > 0 {
			r.status = 0
		}
		return r
	}, 200)
}

func (s *shop) credit(user string, amount int64, key string) *reply {
	s.t.Helper()
	return s.admin("POST", "/admin/v1/wallets/credit", object{"user": user,
		"amount": gbp(amount), "reason": "gift"}, "Idempotency-Key", key)
}

func (s *shop) issue(user string, amount int64) string {
	s.t.Helper()
	now := time.Now()
	made := decode[struct{ Items []api.Coupon }](s.admin("POST", "/admin/v1/coupons",
		object{"coupons": []object{{"user": user, "name": "Welcome", "amount": gbp(amount),
			"valid_from": now.Add(-time.Hour), "valid_until": now.Add(time.Hour)}}}).want(201))
	return made.Items[0].ID
}

func orderPath(id string, more ...any) string {
	return "/v1/orders/" + id + fmt.Sprint(more...)
}
