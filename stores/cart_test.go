package stores_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/stores"
)

// startNATS runs an embedded server with JetStream in the test's directory.
func startNATS(t *testing.T) jetstream.JetStream {
	t.Helper()
	s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: t.TempDir(),
		DontListen: true, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func bucket(t *testing.T, js jetstream.JetStream, name string, ttl time.Duration,
) jetstream.KeyValue {
	t.Helper()
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: name, TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func openCarts(t *testing.T) (c *stores.Carts, users, guests jetstream.KeyValue) {
	t.Helper()
	js := startNATS(t)
	users, guests = bucket(t, js, "cart", 0), bucket(t, js, "guest-cart", time.Hour)
	return stores.NewCarts(users, guests), users, guests
}

// eventually polls until ok answers true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func wantCode(t *testing.T, what string, err error, code api.Code) {
	t.Helper()
	if refusal := api.AsError(err); refusal == nil || refusal.Code != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

func line(sku string, n int64) stores.CartLine {
	return stores.CartLine{SKU: sku, Quantity: n, Selected: true, Seen: api.Money{Amount: 250,
		Currency: "GBP"}, Added: api.TimeOf(time.Unix(1, 0))}
}

func add(t *testing.T, c *stores.Carts, owner string, lines ...stores.CartLine) stores.Cart {
	t.Helper()
	cart, err := c.Update(t.Context(), owner, func(cart *stores.Cart) error {
		for _, l := range lines {
			if err := cart.Add(l); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return cart
}

// contents prints what is in a cart, for example "a×2 b×1".
func contents(cart stores.Cart) string {
	var s []string
	for _, l := range cart.Lines {
		s = append(s, fmt.Sprintf("%s×%d", l.SKU, l.Quantity))
	}
	return strings.Join(s, " ")
}

func wantCart(t *testing.T, c *stores.Carts, owner, want string) {
	t.Helper()
	cart, err := c.Get(t.Context(), owner)
	if got := contents(cart); err != nil || got != want {
		t.Errorf("cart of %s: %q, %v; want %q", owner, got, err, want)
	}
}

// ACCEPT K1
func TestCartKeepsEveryChangeOfManyClients(t *testing.T) {
	c, _, _ := openCarts(t)
	const clients, each = 24, 10
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for range each {
				_, err := c.Update(t.Context(), "usr_1", func(cart *stores.Cart) error {
					if err := cart.Add(line("shared", 1)); err != nil {
						return err
					}
					return cart.Add(line(fmt.Sprintf("own-%d", i), 1))
				})
				if err != nil {
					t.Errorf("client %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	cart, err := c.Get(t.Context(), "usr_1")
	if err != nil || len(cart.Lines) != clients+1 {
		t.Fatalf("%d lines, %v", len(cart.Lines), err)
	}
	for _, l := range cart.Lines {
		want := int64(each)
		if l.SKU == "shared" {
			want = clients * each
		}
		if l.Quantity != want {
			t.Errorf("%s: %d, want %d", l.SKU, l.Quantity, want)
		}
	}
}

// ACCEPT K1
func TestCartChanges(t *testing.T) {
	c, _, _ := openCarts(t)
	wantCart(t, c, "usr_1", "")
	add(t, c, "usr_1", line("a", 1), line("b", 2), line("a", 3))
	wantCart(t, c, "usr_1", "a×4 b×2")
	cart, err := c.Update(t.Context(), "usr_1", func(cart *stores.Cart) error {
		if err := cart.SetQuantity("a", 7); err != nil {
			return err
		}
		cart.Remove("x")
		cart.Remove("b")
		return cart.Select("a", false)
	})
	if err != nil || contents(cart) != "a×7" || cart.Lines[0].Selected {
		t.Errorf("%+v, %v", cart, err)
	}
	add(t, c, "usr_2", line("z", 1))
	if cart, err = c.Update(t.Context(), "usr_1", func(cart *stores.Cart) error {
		cart.Clear()
		return nil
	}); err != nil || len(cart.Lines) != 0 {
		t.Errorf("cleared: %+v, %v", cart, err)
	}
	wantCart(t, c, "usr_1", "")
	wantCart(t, c, "usr_2", "z×1")
}

// ACCEPT K1
func TestCartRefusals(t *testing.T) {
	c, _, _ := openCarts(t)
	add(t, c, "usr_1", line("a", 5))
	for _, x := range []struct {
		name   string
		change func(*stores.Cart) error
		code   api.Code
	}{
		{"add none", func(c *stores.Cart) error { return c.Add(line("a", 0)) }, api.CodeInvalid},
		{"add less", func(c *stores.Cart) error { return c.Add(line("a", -1)) }, api.CodeInvalid},
		{"no SKU", func(c *stores.Cart) error { return c.Add(line("", 1)) }, api.CodeInvalid},
		{"long SKU", func(c *stores.Cart) error {
			return c.Add(line(strings.Repeat("s", 65), 1))
		}, api.CodeInvalid},
		{"too many units", func(c *stores.Cart) error {
			return c.Add(line("a", api.MaxQuantity-4))
		}, api.CodeLimitExceeded},
		{"huge", func(c *stores.Cart) error { return c.Add(line("b", 1<<62)) },
			api.CodeLimitExceeded},
		{"set none", func(c *stores.Cart) error { return c.SetQuantity("a", 0) }, api.CodeInvalid},
		{"set too many", func(c *stores.Cart) error {
			return c.SetQuantity("a", api.MaxQuantity+1)
		}, api.CodeLimitExceeded},
		{"set unknown", func(c *stores.Cart) error { return c.SetQuantity("x", 1) },
			api.CodeNotFound},
		{"select unknown", func(c *stores.Cart) error { return c.Select("x", true) },
			api.CodeNotFound},
		{"too many lines", func(c *stores.Cart) error {
			for i := range api.MaxLines {
				if err := c.Add(line(fmt.Sprint(i), 1)); err != nil {
					return err
				}
			}
			return nil
		}, api.CodeLimitExceeded},
	} {
		_, err := c.Update(t.Context(), "usr_1", x.change)
		wantCode(t, x.name, err, x.code)
	}
	wantCart(t, c, "usr_1", "a×5")
	fault := errors.New("a fault")
	if _, err := c.Update(t.Context(), "usr_1", func(*stores.Cart) error { return fault }); !errors.Is(
		err, fault) {
		t.Errorf("the change's own error became %v", err)
	}
}

// ACCEPT U4
func TestCartOwners(t *testing.T) {
	c, _, _ := openCarts(t)
	for _, owner := range []string{"", "x", "usr_.", "usr_1.2", "usr_*", "gst_>", "usr_ü", "ord_1",
		"usr_" + strings.Repeat("1", 61)} {
		_, err := c.Get(t.Context(), owner)
		wantCode(t, "get "+owner, err, api.CodeInvalid)
		_, err = c.Update(t.Context(), owner, func(*stores.Cart) error { return nil })
		wantCode(t, "update "+owner, err, api.CodeInvalid)
	}
	_, err := c.Merge(t.Context(), "usr_1", "usr_2")
	wantCode(t, "merge a user", err, api.CodeInvalid)
	_, err = c.Merge(t.Context(), "gst_1", "gst_2")
	wantCode(t, "merge into a guest", err, api.CodeInvalid)
	wantCode(t, "take from a guest", c.Take(t.Context(), &api.RemoveFromCart{User: "gst_1"}),
		api.CodeInvalid)
}

// ACCEPT K3
func TestOrderedQuantitiesLeaveTheCartOnce(t *testing.T) {
	c, _, _ := openCarts(t)
	add(t, c, "usr_1", line("a", 5), line("b", 2), line("c", 1), line("d", 1))
	m := &api.RemoveFromCart{Order: "ord_1", User: "usr_1", Lines: []api.CartTake{
		{SKU: "a", Quantity: 3}, {SKU: "b", Quantity: 2}, {SKU: "d", Quantity: 4},
		{SKU: "x", Quantity: 1}}}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := c.Take(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantCart(t, c, "usr_1", "a×2 c×1")
	m.Order = "ord_2"
	if err := c.Take(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	wantCart(t, c, "usr_1", "c×1")
}

// ACCEPT K3
func TestTakeIsRememberedWithoutACart(t *testing.T) {
	c, _, _ := openCarts(t)
	m := &api.RemoveFromCart{Order: "ord_0", User: "usr_1",
		Lines: []api.CartTake{{SKU: "a", Quantity: 1}}}
	if err := c.Take(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	add(t, c, "usr_1", line("a", 100))
	for n := range stores.MaxCartOps {
		m.Order = fmt.Sprintf("ord_%d", n)
		if err := c.Take(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	wantCart(t, c, "usr_1", fmt.Sprintf("a×%d", 101-stores.MaxCartOps))
	cart, err := c.Get(t.Context(), "usr_1")
	if err != nil || len(cart.Ops) != stores.MaxCartOps {
		t.Errorf("remembers %d operations, %v", len(cart.Ops), err)
	}
}

// ACCEPT K4
func TestMerge(t *testing.T) {
	c, _, guests := openCarts(t)
	add(t, c, "usr_1", line("a", 1), line("b", api.MaxQuantity-1))
	add(t, c, "gst_1", line("b", 5), line("c", 2))
	want := fmt.Sprintf("a×1 b×%d c×2", api.MaxQuantity)
	for range 2 {
		cart, err := c.Merge(t.Context(), "gst_1", "usr_1")
		if err != nil || contents(cart) != want {
			t.Errorf("%q, %v; want %q", contents(cart), err, want)
		}
	}
	if _, err := guests.Get(t.Context(), "gst_1"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("the guest's cart is still there: %v", err)
	}
	add(t, c, "gst_1", line("c", 3))
	if _, err := c.Merge(t.Context(), "gst_1", "usr_1"); err != nil {
		t.Fatal(err)
	}
	wantCart(t, c, "usr_1", strings.Replace(want, "c×2", "c×5", 1))
	wantCart(t, c, "gst_1", "")
}

// ACCEPT K4
func TestMergeWhileTheGuestGoesOn(t *testing.T) {
	c, _, _ := openCarts(t)
	const clients, each = 10, 10
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range each {
				if _, err := c.Update(t.Context(), "gst_1", func(cart *stores.Cart) error {
					return cart.Add(line("a", 1))
				}); err != nil {
					t.Error(err)
				}
				if _, err := c.Merge(t.Context(), "gst_1", "usr_1"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := c.Merge(t.Context(), "gst_1", "usr_1"); err != nil {
		t.Fatal(err)
	}
	wantCart(t, c, "usr_1", fmt.Sprintf("a×%d", clients*each))
	wantCart(t, c, "gst_1", "")
}

// brokenBucket fails every write from the n-th on, as a process does that is
// killed there.
type brokenBucket struct {
	jetstream.KeyValue
	left *int
}

var errKilled = errors.New("killed")

func (b brokenBucket) die() bool {
	*b.left--
	return *b.left < 0
}

func (b brokenBucket) Create(ctx context.Context, k string, v []byte,
	o ...jetstream.KVCreateOpt) (uint64, error) {
	if b.die() {
		return 0, errKilled
	}
	return b.KeyValue.Create(ctx, k, v, o...)
}

func (b brokenBucket) Update(ctx context.Context, k string, v []byte, rev uint64) (uint64, error) {
	if b.die() {
		return 0, errKilled
	}
	return b.KeyValue.Update(ctx, k, v, rev)
}

func (b brokenBucket) Delete(ctx context.Context, k string, o ...jetstream.KVDeleteOpt) error {
	if b.die() {
		return errKilled
	}
	return b.KeyValue.Delete(ctx, k, o...)
}

// ACCEPT K4
func TestMergeBreaksOffAnywhere(t *testing.T) {
	c, users, guests := openCarts(t)
	for writes := range 3 {
		guest, user := fmt.Sprintf("gst_%d", writes), fmt.Sprintf("usr_%d", writes)
		add(t, c, user, line("a", 1))
		add(t, c, guest, line("a", 2))
		left := writes
		broken := stores.NewCarts(brokenBucket{users, &left}, brokenBucket{guests, &left})
		if _, err := broken.Merge(t.Context(), guest, user); !errors.Is(err, errKilled) {
			t.Fatalf("after %d writes: %v", writes, err)
		}
		add(t, c, guest, line("b", 1))
		if _, err := c.Merge(t.Context(), guest, user); err != nil {
			t.Fatal(err)
		}
		wantCart(t, c, user, "a×3 b×1")
		wantCart(t, c, guest, "")
	}
}
