package stores_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/stores"
)

func openCheckouts(t *testing.T, ttl time.Duration) *stores.Checkouts {
	t.Helper()
	c, _ := checkoutsOn(t, ttl)
	return c
}

// checkoutsOn opens the store and the stream that its bucket is.
func checkoutsOn(t *testing.T, ttl time.Duration) (*stores.Checkouts, jetstream.Stream) {
	t.Helper()
	js := startNATS(t)
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "checkout", TTL: ttl,
		LimitMarkerTTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "KV_checkout")
	if err != nil {
		t.Fatal(err)
	}
	return stores.NewCheckouts(js, kv), s
}

func mint(t *testing.T, c *stores.Checkouts, user string) (token string) {
	t.Helper()
	token = api.NewID(api.PrefixCheckout)
	now := api.TimeOf(time.Now())
	if err := c.Create(t.Context(), token, stores.Checkout{User: user, FromCart: true,
		Lines: []api.ReserveLine{{SKU: "a", Quantity: 2}}, Created: now,
		Expires: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	return token
}

// ACCEPT S2
func TestClaim(t *testing.T) {
	c := openCheckouts(t, time.Hour)
	token := mint(t, c, "usr_1")
	order, err := api.OrderID(token)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		ch, err := c.Claim(t.Context(), "usr_1", token, order, "hash")
		if err != nil || ch.Order != order || ch.BodyHash != "hash" || !ch.FromCart ||
			len(ch.Lines) != 1 || ch.Lines[0].SKU != "a" {
			t.Errorf("%+v, %v", ch, err)
		}
	}
	_, err = c.Claim(t.Context(), "usr_1", token, order, "other")
	wantCode(t, "another hash", err, api.CodeTokenReused)
	if ch, err := c.Claim(t.Context(), "usr_1", token, order, "hash"); err != nil {
		t.Errorf("the first hash again: %+v, %v", ch, err)
	}
}

// A claimed page lives short, so that the bucket is for those who still shop;
// taken back, it lives as long as any other.
func TestClaimedCheckoutLivesShort(t *testing.T) {
	c, stream := checkoutsOn(t, time.Hour)
	token := mint(t, c, "usr_1")
	for _, want := range []string{"", strconv.Itoa(int(stores.ClaimedTTL.Seconds())), ""} {
		m, err := stream.GetLastMsgForSubject(t.Context(), "$KV.checkout.usr_1."+token)
		if err != nil {
			t.Fatal(err)
		}
		got := m.Header.Get("Nats-TTL")
		if d, err := time.ParseDuration(got); err == nil {
			got = strconv.Itoa(int(d.Seconds()))
		}
		if got != want {
			t.Errorf("lives for %q, want %q", got, want)
		}
		if want == "" {
			_, err = c.Claim(t.Context(), "usr_1", token, "ord_1", "hash")
		} else {
			err = c.Unclaim(t.Context(), "usr_1", token, "hash")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// ACCEPT S2
func TestFiftyClaimsAtOnceAreOneOrder(t *testing.T) {
	c := openCheckouts(t, time.Hour)
	for range 10 {
		token := mint(t, c, "usr_1")
		const clients = 50
		var wg sync.WaitGroup
		var orders sync.Map
		start := make(chan struct{})
		for i := range clients {
			wg.Go(func() {
				<-start
				ch, err := c.Claim(t.Context(), "usr_1", token, fmt.Sprintf("ord_%d", i), "hash")
				if err != nil {
					t.Error(err)
				}
				orders.Store(ch.Order, true)
			})
		}
		close(start)
		wg.Wait()
		n := 0
		orders.Range(func(any, any) bool { n++; return true })
		if n != 1 {
			t.Errorf("%d orders, want 1", n)
		}
	}
}

// ACCEPT S2
func TestOneOfManyHashesWins(t *testing.T) {
	c := openCheckouts(t, time.Hour)
	token := mint(t, c, "usr_1")
	var wg sync.WaitGroup
	var won, lost atomic.Int64
	for i := range 20 {
		wg.Go(func() {
			_, err := c.Claim(t.Context(), "usr_1", token, "ord_1", fmt.Sprintf("hash-%d", i))
			switch refusal := api.AsError(err); {
			case err == nil:
				won.Add(1)
			case refusal != nil && refusal.Code == api.CodeTokenReused:
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 19 {
		t.Errorf("%d won and %d lost", won.Load(), lost.Load())
	}
}

// ACCEPT S2 U4
func TestForgedAndForeignTokensAreRefused(t *testing.T) {
	c := openCheckouts(t, time.Hour)
	token := mint(t, c, "usr_1")
	for _, x := range []struct{ name, user, token, order, hash string }{
		{"foreign", "usr_2", token, "ord_1", "hash"},
		{"never made", "usr_1", api.NewID(api.PrefixCheckout), "ord_1", "hash"},
		{"empty", "usr_1", "", "ord_1", "hash"},
		{"a wildcard", "usr_1", "*", "ord_1", "hash"},
		{"no token", "usr_1", "chk_1", "ord_1", "hash"},
		{"no user", "", token, "ord_1", "hash"},
		{"a wildcard user", ">", token, "ord_1", "hash"},
		{"no order", "usr_1", token, "", "hash"},
		{"no hash", "usr_1", token, "ord_1", ""},
	} {
		_, err := c.Claim(t.Context(), x.user, x.token, x.order, x.hash)
		wantCode(t, x.name, err, api.CodeTokenUnknown)
	}
	if _, err := c.Claim(t.Context(), "usr_1", token, "ord_1", "hash"); err != nil {
		t.Errorf("the owner was refused: %v", err)
	}
	wantCode(t, "create without a token", c.Create(t.Context(), "x",
		stores.Checkout{User: "usr_1"}), api.CodeInvalid)
	wantCode(t, "create without a user", c.Create(t.Context(), token, stores.Checkout{}),
		api.CodeInvalid)
	if err := c.Create(t.Context(), token, stores.Checkout{User: "usr_1"}); err == nil {
		t.Error("a token was made twice")
	}
}

// ACCEPT F3
func TestAbandonedCheckoutExpires(t *testing.T) {
	c := openCheckouts(t, time.Second)
	token := mint(t, c, "usr_1")
	again := mint(t, c, "usr_1")
	if _, err := c.Claim(t.Context(), "usr_1", again, "ord_1", "hash"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bucket drops the page", func() bool {
		_, err := c.Claim(t.Context(), "usr_1", again, "ord_1", "hash")
		return api.AsError(err) != nil
	})
	_, err := c.Claim(t.Context(), "usr_1", token, "ord_1", "hash")
	wantCode(t, "an expired token", err, api.CodeTokenUnknown)
}

// ACCEPT F3 S2
func TestExpiredUnclaimedTokenIsRefused(t *testing.T) {
	c := openCheckouts(t, time.Hour)
	token := api.NewID(api.PrefixCheckout)
	end := time.Now().Add(300 * time.Millisecond)
	ch := stores.Checkout{User: "usr_1", Expires: api.TimeOf(end)}
	claimed := api.NewID(api.PrefixCheckout)
	for _, tok := range []string{token, claimed} {
		if err := c.Create(t.Context(), tok, ch); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Claim(t.Context(), "usr_1", claimed, "ord_1", "hash"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the time is over", func() bool { return time.Now().After(end) })
	_, err := c.Claim(t.Context(), "usr_1", token, "ord_2", "hash")
	wantCode(t, "an expired token", err, api.CodeTokenUnknown)
	if _, err := c.Claim(t.Context(), "usr_1", claimed, "ord_1", "hash"); err != nil {
		t.Errorf("a claimed one must stay good: %v", err)
	}
}
