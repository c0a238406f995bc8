package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

// ACCEPT S2 M4
// One token is submitted by 50 clients at once, the shop is killed in the
// middle, and all of them get the same order.
func TestCrashOneTokenFiftyTimes(t *testing.T) {
	t.Parallel()
	data, addr := t.TempDir(), crashFreeAddr(t)
	p := crashServe(t, addr, data)
	l := newCrashLoad(t, p.url)
	db := crashDB(t, data, "order")
	orders := func() int { return crashCount(t, db, `SELECT count(*) FROM orders`) }
	const rounds, clients = 3, 50
	for round := range rounds {
		u := l.users[round]
		body := u.checkout(0)
		id, err := api.OrderID(body["token"].(string))
		if err != nil {
			t.Fatal(err)
		}
		var begun, answered atomic.Int32
		var wg sync.WaitGroup
		states := make([]string, clients)
		for i := range clients {
			c := *u // each with its own session
			wg.Go(func() {
				begun.Add(1)
				states[i] = c.submitted(id, body)
				answered.Add(1)
			})
		}
		eventually(t, "the moment to kill", func() bool {
			return [...]bool{begun.Load() == clients, orders() > round, answered.Load() > 0}[round]
		})
		p.kill()
		p = crashServe(t, addr, data)
		wg.Wait()
		for i, state := range states {
			if state != api.OrderPlaced {
				t.Errorf("round %d: client %d got %q", round, i, state)
			}
		}
		l.tell(id, api.OrderPlaced)
	}
	if n := orders(); n != rounds {
		t.Errorf("%d tokens became %d orders", rounds, n)
	}
	l.settled(data)
}

// checkout opens a checkout page and is the body that submits it.
func (u *crashUser) checkout(n int) map[string]any {
	u.l.t.Helper()
	var page struct {
		Token string
		Total api.Money
	}
	(&client{u.l.t, u.l.url, u.token}).must("POST", "/v1/checkouts", u.wants(n), &page)
	return u.order(n, page.Token, page.Total)
}

// submitted is the state of the order that the body becomes, if it is the one
// expected.
func (u *crashUser) submitted(id string, body map[string]any) string {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		status, data := u.call("POST", "/v1/orders?wait=2s", body, deadline)
		var o api.Order
		if err := json.Unmarshal(data, &o); err != nil || status/100 != 2 || o.ID != id {
			u.l.t.Errorf("order %s: status %d %s", id, status, data)
			return ""
		}
		if o.Final() {
			return o.State
		}
	}
	return ""
}

// ACCEPT S2
// The shop is killed exactly between the claim of the token and the
// publishing of the order: whoever submits again gets the order, once.
func TestCrashBetweenClaimAndPublish(t *testing.T) {
	t.Parallel()
	data, addr := t.TempDir(), crashFreeAddr(t)
	p := crashServe(t, addr, data)
	l := newCrashLoad(t, p.url)
	u := l.users[0]
	body := u.checkout(0)
	token := body["token"].(string)
	id, err := api.OrderID(token)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stores.NewCheckouts(crashBucket(t, p.nats, bus.BucketCheckout)).
		Claim(t.Context(), u.id, token, id, crashHash(body)); err != nil {
		t.Fatal(err)
	}
	p.kill()
	crashServe(t, addr, data)
	db := crashDB(t, data, "order")
	if n := crashCount(t, db, `SELECT count(*) FROM orders`); n != 0 {
		t.Fatalf("%d orders before anything was published", n)
	}
	other := map[string]any{}
	for k, v := range body {
		other[k] = v
	}
	other["channel"] = api.ChannelApp
	(&client{t, l.url, u.token}).problem("POST", "/v1/orders", other, 422, api.CodeTokenReused)
	for range 3 {
		if state := u.submitted(id, body); state != api.OrderPlaced {
			t.Errorf("the order is %q", state)
		}
	}
	l.tell(id, api.OrderPlaced)
	if n := crashCount(t, db, `SELECT count(*) FROM orders`); n != 1 {
		t.Errorf("%d orders", n)
	}
	l.settled(data)
}

// crashHash is the hash under which the API claims a token for a body.
func crashHash(body map[string]any) string {
	text := api.Raw(struct {
		Token     any `json:"token"`
		Address   any `json:"address_id"`
		Coupon    any `json:"coupon"`
		Balance   any `json:"balance"`
		PayMethod any `json:"pay_method"`
		Channel   any `json:"channel"`
		Total     any `json:"total"`
	}{body["token"], body["address_id"], body["coupon"], body["balance"], body["pay_method"],
		body["channel"], body["total"]})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func crashBucket(t *testing.T, url, bucket string) (jetstream.JetStream, jetstream.KeyValue) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	return js, kv
}
