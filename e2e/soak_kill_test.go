package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ordo/api"
	"ordo/bus"
)

// soakKills is how often TestSoakKill kills the shop.
var soakKills = flag.Int("soak-kill", 36, "rounds of TestSoakKill")

// soakSeed has a soak draw the same rounds again; the moments within a round
// are the machine's.
var soakSeed = flag.Uint64("soak-seed", 0, "seed of a soak; 0 for a new one")

func newSoakRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-soak-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// failpointBinary is the ordo under test, built with failpoints.
var failpointBinary = sync.OnceValues(func() (string, error) {
	return buildWith("failpoint", "-tags", "failpoint")
})

// soakPlace is a named place of the runtime, the actors that come there under
// the load, the busiest three first, and how often each does in a moment.
type soakPlace struct {
	name   string
	actors []string
	most   int
}

var soakPlaces = []soakPlace{
	{"before-tx", bus.ActorNames(), 30},
	{"before-commit", bus.ActorNames(), 30},
	{"after-commit", bus.ActorNames(), 30},
	{"before-ack", bus.ActorNames(), 30},
	{"before-publish", []string{"order", "payment", "goods", "wallet", "coupon", "shipping"}, 60},
	{"after-publish", []string{"order", "payment", "goods", "wallet", "coupon", "shipping"}, 60},
	{"before-mark", []string{"order", "payment", "goods", "wallet", "coupon", "shipping"}, 3},
	{"effect-answered", []string{"payment"}, 4},
}

// soakTrap draws where a process is to end: every place in turn, so that each
// is come to, with one of its actors.
func soakTrap(r *rand.Rand, n int) (place, actor string, times int) {
	p := soakPlaces[n%len(soakPlaces)]
	actor = p.actors[r.IntN(len(p.actors))]
	times = 1 + r.IntN(p.most)
	if !slices.Contains([]string{"order", "payment", "goods"}, actor) {
		times = 1 + r.IntN(1+p.most/10)
	}
	return p.name, actor, times
}

// soak is a shop that is killed again and again under a load.
type soak struct {
	t    *testing.T
	r    *rand.Rand
	data string
	args []string
	load *crashLoad
	last *process

	// hit counts the failpoints that ended a process, missed those not come
	// to, random the kills at a random moment.
	hit            map[string]int
	missed, random int

	mu      sync.Mutex
	refunds map[string]string // id → the last state told
}

// ACCEPT M4 E1 E3 E2 Y9
// The shop is killed at random moments and at every failpoint, under a load
// that orders, pays, cancels and has orders expire and refunded. At the end
// everything is decided as it was told, nothing twice, and the books hold.
func TestSoakKill(t *testing.T) {
	t.Parallel()
	s := newSoak(t)
	began := time.Now()
	for n, traps := 0, 0; n < *soakKills && !t.Failed(); n++ {
		switch {
		case n%25 == 24:
			s.look()
		case n%3 == 2:
			s.killAtRandom()
		default:
			s.killAtTrap(traps)
			traps++
		}
	}
	took := time.Since(began)
	s.finish()
	t.Logf("%d rounds in %s, %.0f a minute: %d at random moments, %d traps not come to, %v",
		*soakKills, took.Round(time.Second), float64(*soakKills)/took.Minutes(), s.random,
		s.missed, s.hit)
	for _, p := range soakPlaces {
		if !slices.ContainsFunc(p.actors, func(a string) bool { return s.hit[p.name+":"+a] > 0 }) {
			t.Errorf("no process ended at %s", p.name)
		}
	}
}

// newSoak starts a shop and its load, and kills the shop.
func newSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{t: t, r: newSoakRand(t), data: t.TempDir(), hit: map[string]int{},
		refunds: map[string]string{}}
	s.begin().kill()
	return s
}

// begin starts the shop, with flags of its own, and the load.
func (s *soak) begin(more ...string) *process {
	s.t.Helper()
	s.args = append(more, "--http", crashFreeAddr(s.t), "--expiry", "10s", "--pay-query", "1s",
		"--pay-margin", "1s", "--sandbox-factor", "1000")
	p := serve(s.t, s.data, s.args...).ready()
	s.load = newCrashLoad(s.t, p.url)
	s.load.expires, s.load.after = true, s.after
	s.load.begin()
	return p
}

func (s *soak) serve(path string, env ...string) *process {
	s.t.Helper()
	if s.last == nil {
		s.t.Cleanup(func() {
			s.last.kill()
			if s.t.Failed() {
				s.t.Logf("the last process:\n%s", s.last.log.tail(60))
			}
		})
	}
	s.last = launch(s.t, path, env, serveArgs(s.t, s.data, s.args)...)
	return s.last
}

// killAtRandom kills the shop at a moment of its start or of the load.
func (s *soak) killAtRandom() {
	p := s.serve(binary)
	defer p.kill()
	select {
	case <-p.done:
		s.t.Errorf("ordo ended by itself:\n%s", p.log.tail(30))
	case <-time.After(time.Duration(s.r.IntN(1500)) * time.Millisecond):
		s.random++
	}
}

// killAtTrap has the shop end at a failpoint.
func (s *soak) killAtTrap(n int) {
	path, err := failpointBinary()
	if err != nil {
		s.t.Fatal(err)
	}
	place, actor, times := soakTrap(s.r, n)
	p := s.serve(path, fmt.Sprintf("ORDO_FAILPOINT=%s:%s:%d", place, actor, times))
	defer p.kill()
	select {
	case <-p.done:
	case <-time.After(3 * time.Second):
		s.missed++
		return
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	_, said := p.log.find(fmt.Sprintf("failpoint %s:%s:%d", place, actor, times))
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL || !said {
		s.t.Errorf("ordo ended by itself:\n%s", p.log.tail(30))
	}
	s.hit[place+":"+actor]++
}

// look lets the shop run until it is ready and has taken orders, and audits it
// while it does.
func (s *soak) look() {
	p := s.serve(binary)
	defer p.kill()
	p.serving().ready()
	s.load.grow(s.data, 20)
	if a, text := crashAuditOf(s.t, s.data); !a.OK {
		s.t.Errorf("audit of the running shop: %s", text)
	}
	s.random++
}

// finish lets the load end and compares the books with what was told.
func (s *soak) finish() {
	t := s.t
	p := serve(t, s.data, s.args...).ready()
	s.load.halt()
	s.load.end()
	s.settle()
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	audit(t, s.data)
	t.Logf("%d refunds; files: %s", len(s.refunds), s.sizes())
}

// settle waits until nothing is open any more and compares the books of the
// running shop with what was told.
func (s *soak) settle() {
	t := s.t
	t.Helper()
	db := crashDB(t, s.data, "order")
	eventually(t, "everything has expired, is paid or refunded", func() bool {
		return crashCount(t, db, `SELECT (SELECT count(*) FROM orders WHERE state IN
			('pending', 'placed', 'closing')) + (SELECT count(*) FROM refund WHERE state IN
			('asked', 'running'))`) == 0
	})
	s.load.settled(s.data)
	if n := crashCount(t, crashDB(t, s.data, "goods"), `SELECT sum(locked) FROM stock`); n != 0 {
		t.Errorf("%d units are still locked", n)
	}
	for id, told := range s.refunds {
		if n := crashCount(t, db, `SELECT count(*) FROM refund WHERE id = ? AND state = ?`, id,
			told); n != 1 {
			t.Errorf("refund %s was told to be %s, and is not", id, told)
		}
	}
	if n := crashCount(t, db, `SELECT count(*) FROM refund`); n != len(s.refunds) || n == 0 {
		t.Errorf("%d refunds were asked for, %d are there", len(s.refunds), n)
	}
	for _, state := range []string{api.OrderPaid, api.OrderRefused, api.OrderCancelled} {
		if n := crashCount(t, db, `SELECT count(*) FROM orders WHERE state = ?`, state); n == 0 {
			t.Errorf("no order is %s", state)
		}
	}
}

// sizes are the sizes of the actors' files, in KiB.
func (s *soak) sizes() string {
	out, err := exec.Command("du", "-sk", filepath.Join(s.data, "actors"),
		filepath.Join(s.data, "nats")).Output()
	if err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(string(out)), " ")
}

// after goes on with an order that was placed: it is paid and refunded in part
// or whole, or cancelled, or left to expire.
func (s *soak) after(u *crashUser, n int, id string, deadline time.Time) {
	switch n / 4 % 5 { // n is even: others are paid or refused
	case 0:
		if s.pay(u, id, api.ProductPage, deadline) {
			s.refund(id, 1, deadline)
		}
	case 1:
		s.pay(u, id, api.ProductQR, deadline)
	case 2:
		if s.pay(u, id, api.ProductPage, deadline) {
			s.refund(id, 0, deadline)
		}
	case 3:
		status, data := u.call("POST", "/v1/orders/"+id+"/cancel", map[string]any{}, deadline)
		if status != 200 && status != 409 {
			s.t.Errorf("cancel %s: %d %s", id, status, data)
		}
		s.await(u, id, deadline, api.OrderPlaced, api.OrderClosing)
	}
}

// pay pays an order at the sandbox; false when it could not be paid any more.
func (s *soak) pay(u *crashUser, id, product string, deadline time.Time) bool {
	var a api.Attempt
	path := "/v1/orders/" + id + "/payments"
	for {
		status, data := u.call("POST", path, map[string]any{"product": product}, deadline)
		if status == 409 {
			return s.await(u, id, deadline, api.OrderPlaced, api.OrderClosing) == api.OrderPaid
		}
		if status/100 != 2 || json.Unmarshal(data, &a) != nil || time.Now().After(deadline) {
			s.t.Errorf("pay %s: %d %s", id, status, data)
			return false
		}
		if payLink(&a) != "" {
			break
		}
	}
	// The trade may be paid or closed by now; the order will say which.
	status, data := s.load.call("POST", "/sandbox/control", "", "", map[string]any{"action": "pay",
		"out_trade_no": a.ID, "url": payLink(&a)}, deadline)
	if status != 200 && status != 409 {
		s.t.Errorf("sandbox: pay %s: %d %s", a.ID, status, data)
	}
	return s.await(u, id, deadline, api.OrderPlaced, api.OrderClosing) == api.OrderPaid
}

// await waits until an order is in none of the states, and notes what its
// shopper is told then.
func (s *soak) await(u *crashUser, id string, deadline time.Time, states ...string) string {
	var o api.Order
	for o.State = states[0]; slices.Contains(states, o.State); {
		status, data := u.call("GET", "/v1/orders/"+id+"?wait=1s&known="+o.State, nil, deadline)
		if status != 200 || json.Unmarshal(data, &o) != nil || time.Now().After(deadline) {
			s.t.Errorf("order %s: %d %s", id, status, data)
			return ""
		}
	}
	u.l.tell(id, o.State)
	return o.State
}

// refund has support refund units of an order's line, 0 for all, once, and
// waits until the refund is over.
func (s *soak) refund(order string, units int64, deadline time.Time) {
	lines := map[int]int64{}
	if units > 0 {
		lines[0] = units
	}
	var r api.Refund
	status, data := s.load.call("POST", "/admin/v1/orders/"+order+"/refunds", adminToken,
		"refund-"+order, refundBody(lines), deadline)
	if status != 201 || json.Unmarshal(data, &r) != nil {
		s.t.Errorf("refund of %s: %d %s", order, status, data)
		return
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for r.State == api.RefundRunning && time.Now().Before(deadline) {
		<-tick.C
		status, data = s.load.call("GET", "/admin/v1/refunds/"+r.ID, adminToken, "", nil, deadline)
		if status != 200 || json.Unmarshal(data, &r) != nil {
			s.t.Errorf("refund %s: %d %s", r.ID, status, data)
			return
		}
	}
	if r.State != api.RefundDone {
		s.t.Errorf("refund %s is %s", r.ID, r.State)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refunds[r.ID] = r.State
}
