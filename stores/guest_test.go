package stores_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/stores"
)

func mintGuest(t *testing.T, c *stores.Carts) string {
	t.Helper()
	id, err := c.MintGuest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// ACCEPT K4: only an id that the shop has minted has a cart, in any process.
func TestGuestIDsAreTheShopsOwn(t *testing.T) {
	c, users, guests := openCarts(t)
	other := stores.NewCarts(users, guests)
	id := mintGuest(t, c)
	if again := mintGuest(t, c); again == id || len(id) > 64 {
		t.Errorf("ids %q and %q", id, again)
	}
	for _, carts := range []*stores.Carts{c, other} {
		if err := carts.CheckGuest(t.Context(), id); err != nil {
			t.Errorf("minted by the shop: %v", err)
		}
	}
	add(t, c, id, line("a", 1))
	wantCart(t, other, id, "a×1")
	invented := api.NewID(stores.PrefixGuest)
	for _, forged := range []string{"", "gst_", invented, invented + "-", invented + id[30:], id[:30],
		id[:len(id)-1], id + "A", id + "-A", "usr_" + id[4:], id[:4] + "0" + id[5:], "gst_>"} {
		if forged != id {
			wantCode(t, "forged "+forged, other.CheckGuest(t.Context(), forged), api.CodeInvalid)
		}
	}
}

// The processes that start a shop at once agree on one secret.
func TestGuestsOfManyProcesses(t *testing.T) {
	_, users, guests := openCarts(t)
	const processes = 20
	var wg sync.WaitGroup
	ids := make([]string, processes)
	for i := range processes {
		wg.Go(func() {
			var err error
			if ids[i], err = stores.NewCarts(users, guests).MintGuest(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	c := stores.NewCarts(users, guests)
	for _, id := range ids {
		if err := c.CheckGuest(t.Context(), id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// A bucket that can't be read is a fault, and the id neither good nor bad.
func TestGuestSecretOutOfReach(t *testing.T) {
	c, users, guests := openCarts(t)
	id := mintGuest(t, c)
	away := stores.NewCarts(unreadable{users}, guests)
	if err := away.CheckGuest(t.Context(), id); !errors.Is(err, errKilled) {
		t.Errorf("checked: %v", err)
	}
	if _, err := away.MintGuest(t.Context()); !errors.Is(err, errKilled) {
		t.Errorf("minted: %v", err)
	}
}

// unreadable is a bucket that fails every read.
type unreadable struct{ jetstream.KeyValue }

func (unreadable) Get(context.Context, string) (jetstream.KeyValueEntry, error) {
	return nil, errKilled
}

// ACCEPT K1 K4: a guest's cart is bounded, a user's has room for more.
func TestGuestCartIsSmall(t *testing.T) {
	c, _, _ := openCarts(t)
	guest := mintGuest(t, c)
	lines := make([]stores.CartLine, stores.MaxGuestLines)
	for i := range lines {
		lines[i] = line(fmt.Sprint(i), 1)
	}
	add(t, c, guest, lines...)
	more := func(cart *stores.Cart) error { return cart.Add(line("more", 1)) }
	_, err := c.Update(t.Context(), guest, more)
	wantCode(t, "one more line", err, api.CodeLimitExceeded)
	// Of what is there, more can be had, and less.
	add(t, c, guest, line("7", 1))
	cart, err := c.Update(t.Context(), guest, func(cart *stores.Cart) error {
		cart.Remove("0")
		return nil
	})
	if err != nil || len(cart.Lines) != stores.MaxGuestLines-1 {
		t.Errorf("%d lines, %v", len(cart.Lines), err)
	}
	add(t, c, "usr_1", lines...)
	add(t, c, "usr_1", line("more", 1))
}
