package e2e

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/actors"
	"ordo/api"
	"ordo/bus"

	_ "modernc.org/sqlite" // files are changed behind their actors' backs
)

// command runs the binary to its end and answers its exit code and what it says.
func command(t *testing.T, args ...string) (code int, said string) {
	t.Helper()
	out, err := exec.Command(binary, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("ordo %v: %v", args, err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return code, string(out)
}

// commands runs the binary and checks its exit code and parts of what it says.
func commands(t *testing.T, code int, parts []string, args ...string) string {
	t.Helper()
	got, said := command(t, args...)
	if got != code {
		t.Errorf("ordo %v: exit code %d, want %d\n%s", args, got, code, said)
	}
	for _, part := range parts {
		if !strings.Contains(said, part) {
			t.Errorf("ordo %v does not say %q:\n%s", args, part, said)
		}
	}
	return said
}

// verified runs `ordo verify` where all actors must be equal, and answers what
// it says of each.
func verified(t *testing.T, data string, more ...string) map[string]actors.Verification {
	t.Helper()
	said := commands(t, 0, nil, append([]string{"--log-level", "error", "verify", "--json", "--data",
		data}, more...)...)
	var all []actors.Verification
	if err := json.Unmarshal([]byte(said), &all); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	by := map[string]actors.Verification{}
	for _, v := range all {
		by[v.Actor] = v
	}
	if len(more) == 0 && len(by) != len(bus.ActorNames()) {
		t.Errorf("%d actors verified: %s", len(by), said)
	}
	return by
}

// life is orders of all kinds: placed, paid, refunded in part, refused and
// cancelled, with coupons and balances.
func (p *process) life(g *till, n int) (all []*shopper, orders []api.Order) {
	p.t.Helper()
	sku, scarce := p.onSale(1250, 10_000), p.onSale(999, 3)
	all = p.shoppers(n)
	var mu sync.Mutex
	crowd(8, n, func(i int) {
		s := all[i]
		s.give(gbp(100_000))
		o := s.submit(s.checkout(sku, 2).using(s.coupon(100, 0), 100, 300))
		mu.Lock()
		orders = append(orders, o)
		mu.Unlock()
		switch i % 4 {
		case 1:
			s.pays(g, o.ID)
		case 2:
			s.pays(g, o.ID)
			p.fulfilled(o.ID)
			s.refunds(o.ID, map[int]int64{0: 1})
		case 3:
			s.must("POST", "/v1/orders/"+o.ID+"/cancel", map[string]any{}, nil)
			s.await(o.ID, api.OrderCancelled)
		}
		if _, _, err := s.call("POST", "/v1/orders?wait=10", s.checkout(scarce, 2)); err != nil {
			p.t.Error(err) // most are out of stock
		}
	})
	return all, orders
}

// ACCEPT M10: what every actor's stream tells equals its file: of a shop that
// runs and is used meanwhile, after a dead letter, after it was started with
// another configuration, after its streams were lost, and when it is stopped. A
// row that was changed is found and named, and a message that the stream has
// lost is a hole.
func TestVerifyAShop(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data).ready()
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		p.life(p.till(), 24)
	}()
	for live := true; live; {
		verified(t, data)
		select {
		case <-busy:
			live = false
		default:
		}
	}
	for _, v := range verified(t, data) {
		if v.Snapshot != "" || v.Messages == 0 && v.To > 0 {
			t.Errorf("%+v", v)
		}
	}

	// A dead letter is a cut.
	stray := &api.StepResult{Step: api.Step{Order: "ord_x", Name: "goods.gift"}}
	if err := p.edge().Do(within(t, 20*time.Second), "stray-1", stray, nil); err == nil {
		t.Error("nonsense was handled")
	}
	snapped(t, data, "order")
	verified(t, data, "order")

	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	p = serve(t, data, "--expiry", "10m", "--max-units", "50").ready()
	p.life(p.till(), 8)
	verified(t, data)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	verified(t, data)
	audit(t, data)

	differs(t, data)
	lost := streamLost(t, data)
	said := commands(t, 1, []string{fmt.Sprintf("goods: HOLE: message %d is not in the stream", lost)},
		"verify", "--data", data, "goods", "wallet")
	if !strings.Contains(said, "wallet: equal") {
		t.Errorf("verify: %s", said)
	}
}

// snapshots counts those of an actor.
func snapshots(t *testing.T, data, actor string) int {
	t.Helper()
	all, err := actors.Snapshots(t.Context(), filepath.Join(data, "actors", actor+".db"))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// tamper changes a file of a stopped shop.
func tamper(t *testing.T, data, actor, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(data, "actors", actor+".db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r, err := db.Exec(query)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("%s: %d rows, %v", query, n, err)
	}
}

// differs plants a difference in one row and has it named.
func differs(t *testing.T, data string) {
	t.Helper()
	tamper(t, data, "wallet", `UPDATE account SET balance = balance + 1 WHERE owner = (
		SELECT min(owner) FROM account) AND unit = 'GBP'`)
	commands(t, 1, []string{"wallet: DIFFERS: account.balance ["}, "verify", "--data", data, "wallet")
	tamper(t, data, "wallet", `UPDATE account SET balance = balance - 1 WHERE owner = (
		SELECT min(owner) FROM account) AND unit = 'GBP'`)
	verified(t, data, "wallet")
	commands(t, 2, []string{"no actor"}, "verify", "--data", data, "goat")
	commands(t, 2, []string{"no actors' files"}, "verify", "--data", t.TempDir())
}

// streamLost deletes a message out of the middle of the goods actor's stream.
func streamLost(t *testing.T, data string) (seq uint64) {
	t.Helper()
	crashStreams(t, filepath.Join(data, "nats"), func(js jetstream.JetStream) {
		stream, err := js.Stream(t.Context(), "GOODS")
		if err != nil {
			t.Fatal(err)
		}
		seq = stream.CachedInfo().State.LastSeq / 2
		if err := stream.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	})
	return seq
}

// ACCEPT M10 M9: after its streams were lost a shop is rebuilt from the
// snapshots that it took of that cut; a domain is seen as it was.
func TestVerifyAfterTheStreamsAreLost(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data).ready()
	p.life(p.till(), 6)
	p.kill()
	if err := os.RemoveAll(filepath.Join(data, "nats")); err != nil {
		t.Fatal(err)
	}
	p = serve(t, data).ready()
	snapped(t, data, bus.ActorNames()...)
	s := p.shopper()
	sku := p.onSale(500, 10)
	first := s.buy(sku, 1)
	before := goodsAt(t, data)
	second := s.buy(sku, 2)
	for actor, v := range verified(t, data) {
		if v.Snapshot == "" {
			t.Errorf("%s: %+v", actor, v)
		}
	}
	out := filepath.Join(t.TempDir(), "goods.db")
	commands(t, 0, []string{"after message"}, "at", "--data", data, "--actor", "goods", "--seq",
		fmt.Sprint(before), "--out", out)
	if holds := holdsOf(t, out, first.ID, second.ID); holds != 1 {
		t.Errorf("%d of the two orders are held at message %d", holds, before)
	}
	commands(t, 2, []string{"exists"}, "at", "--data", data, "--actor", "goods", "--seq",
		fmt.Sprint(before), "--out", out)
	commands(t, 1, []string{"nothing to rebuild it from"}, "at", "--data", data, "--actor", "goods",
		"--time", "2020-01-01T00:00:00Z", "--out", out+"2")
	p.endsEven(p.till(), data)
}

// goodsAt is where the goods actor stands in its stream.
func goodsAt(t *testing.T, data string) uint64 {
	t.Helper()
	s, err := actors.ReadStanding(t.Context(), filepath.Join(data, "actors", "goods.db"))
	if err != nil {
		t.Fatal(err)
	}
	return s.Anchor.Seq
}

func holdsOf(t *testing.T, file string, orders ...string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, o := range orders {
		var held int
		if err := db.QueryRow(`SELECT count(*) FROM hold WHERE order_id = ?`, o).Scan(&held); err != nil {
			t.Fatal(err)
		}
		n += held
	}
	return n
}
