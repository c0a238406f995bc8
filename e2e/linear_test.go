package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"ordo/api"
)

// Accounts of each kind, and how many work on each at once.
const (
	linearAccounts = 3
	linearWidth    = 4
)

// linear records what happens to the stock of SKUs and the balance of users,
// as those see it who order, cancel, receive, credit and look over REST.
type linear struct {
	*crashLoad
	r *rand.Rand
	// begin is what accounts have at first.
	begin map[string]int64
	began time.Time
	// answered counts operations with a known outcome.
	answered atomic.Int64

	hmu     sync.Mutex
	history []porcupine.Operation
}

// newLinear makes SKUs and users to be watched.
func newLinear(t *testing.T, p *process) *linear {
	t.Helper()
	l := &linear{crashLoad: &crashLoad{t: t, url: p.url, told: map[string]string{},
		stop: make(chan struct{}), ctx: t.Context()}, r: newSoakRand(t), began: time.Now(),
		begin: map[string]int64{}}
	t.Cleanup(l.wg.Wait)
	p.importCSV("sku,spu,name,price,stock", "PLENTY,PLENTY,Plenty,10.00,1000000")
	for i := range linearAccounts {
		sku := fmt.Sprintf("WATCHED-%d", i)
		p.importCSV("sku,spu,name,price,stock", sku+","+sku+",Watched,10.00,20")
		l.begin[sku] = 20
		for n := range linearWidth {
			l.work(l.user(p, fmt.Sprintf("sku-%d-%d", i, n)), &stockWork{sku: sku})
		}
		owner := l.user(p, fmt.Sprintf("wallet-%d", i))
		l.begin[owner.id] = 0
		for range linearWidth {
			u := *owner // with a session of its own
			l.work(&u, &walletWork{})
		}
	}
	return l
}

func (l *linear) user(p *process, name string) *crashUser {
	l.t.Helper()
	u := &crashUser{l: l.crashLoad, email: name + "@example.org"}
	var made struct{ Items []struct{ ID, Token string } }
	p.admin().must("POST", "/admin/v1/users",
		map[string]any{"users": []map[string]string{{"email": u.email, "name": "W"}}}, &made)
	u.id, u.token = made.Items[0].ID, made.Items[0].Token
	var a api.Address
	p.as(u.token).must("POST", "/v1/addresses", crashAddress, &a)
	u.address = a.ID
	return u
}

// linearWork is what one of them does.
type linearWork interface {
	// act does one operation, chosen by dice.
	act(l *linear, u *crashUser, dice *rand.Rand)
}

// work has one of them act until halt.
func (l *linear) work(u *crashUser, w linearWork) {
	dice := rand.New(rand.NewPCG(l.r.Uint64(), 0))
	l.wg.Go(func() {
		// Histories are short, so that all their orders can be tried.
		pace := time.NewTicker(100 * time.Millisecond)
		defer pace.Stop()
		for {
			select {
			case <-l.stop:
				return
			case <-l.ctx.Done():
				return
			case <-pace.C:
			}
			w.act(l, u, dice)
		}
	})
}

func (l *linear) now() int64 { return time.Since(l.began).Nanoseconds() }

// note records an operation that ends now, or never when its outcome is not
// known.
func (l *linear) note(call int64, in linearInput, out linearOutput) {
	o := porcupine.Operation{Input: in, Output: out, Call: call, Return: l.now()}
	if !out.known {
		o.Return = forever
	} else {
		l.answered.Add(1)
	}
	l.hmu.Lock()
	defer l.hmu.Unlock()
	l.history = append(l.history, o)
}

// order submits an order, once when it is impatient, else until it is decided,
// and records it as an operation on an account. It answers the order's id when
// it was accepted.
func (l *linear) order(u *crashUser, in linearInput, body map[string]any, impatient bool) string {
	id, err := api.OrderID(body["token"].(string))
	if err != nil {
		l.t.Error(err)
		return ""
	}
	call := l.now()
	for deadline := time.Now().Add(patience); ; {
		var said struct {
			State string
			Code  api.Code
		}
		var status int
		var data []byte
		if impatient {
			status, data, _ = l.once("POST", "/v1/orders?wait=1s", u.token, "", body)
		} else {
			status, data = u.call("POST", "/v1/orders?wait=2s", body, deadline)
		}
		_ = json.Unmarshal(data, &said) // there may be none
		switch {
		case status == http.StatusCreated:
			l.note(call, in, linearOutput{known: true})
			return id
		case said.Code == api.CodeOutOfStock || said.Code == api.CodeBalanceTooLow:
			l.note(call, in, linearOutput{known: true, refused: true})
			return ""
		case impatient || said.Code == api.CodeTokenUnknown || time.Now().After(deadline):
			l.note(call, in, linearOutput{})
			return ""
		case status != http.StatusAccepted:
			l.t.Errorf("order %s: %d %s", id, status, data)
			return ""
		}
	}
}

// page opens a checkout; nil when that does not work now.
func (l *linear) page(u *crashUser, sku string, n int64) map[string]any {
	var page struct {
		Token string
		Total api.Money
	}
	status, data := u.call("POST", "/v1/checkouts", map[string]any{"sku": sku, "quantity": n},
		time.Now().Add(patience))
	if status != http.StatusCreated || json.Unmarshal(data, &page) != nil {
		l.t.Errorf("checkout: %d %s", status, data)
		return nil
	}
	return map[string]any{"token": page.Token, "address_id": u.address, "total": page.Total,
		"pay_method": api.PayAlipay, "channel": api.ChannelWeb}
}

// cancel cancels an order and records that it gives units back, which is over
// when the step that took them is undone.
func (l *linear) cancel(u *crashUser, id, step string, in linearInput) {
	call, deadline := l.now(), time.Now().Add(patience)
	status, data := u.call("POST", "/v1/orders/"+id+"/cancel", map[string]any{}, deadline)
	if status != http.StatusOK {
		l.t.Errorf("cancel %s: %d %s", id, status, data)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) && l.ctx.Err() == nil {
		_, data := l.call("GET", "/admin/v1/orders/"+id+"/steps", adminToken, "", nil, deadline)
		var list api.StepList
		if json.Unmarshal(data, &list) == nil {
			for _, s := range list.Steps {
				if s.Name == step && s.State == api.StepUndone {
					l.note(call, in, linearOutput{known: true})
					return
				}
			}
		}
		<-tick.C
	}
	l.t.Errorf("order %s was cancelled, and %s is not undone", id, step)
}

// put has support put units in.
func (l *linear) put(in linearInput, path string, body any, dice *rand.Rand) {
	call := l.now()
	status, data := l.call("POST", path, adminToken, fmt.Sprint("put-", dice.Uint64()), body,
		time.Now().Add(patience))
	if status/100 != 2 {
		l.t.Errorf("%s: %d %s", path, status, data)
	}
	l.note(call, in, linearOutput{known: status/100 == 2})
}

// look reads an account.
func (l *linear) look(account, path, token string, read func(data []byte) (have, locked int64)) {
	call := l.now()
	status, data, err := l.once("GET", path, token, "", nil)
	if err != nil || status != http.StatusOK {
		return // nothing was seen
	}
	have, locked := read(data)
	l.note(call, linearInput{account, opRead, 0}, linearOutput{true, false, have, locked})
}

// stockWork is done by one shopper of a SKU.
type stockWork struct {
	sku  string
	held []heldOrder
}

type heldOrder struct {
	id    string
	units int64
}

func (w *stockWork) act(l *linear, u *crashUser, dice *rand.Rand) {
	n := dice.IntN(20)
	switch {
	case n < 9:
		units := 2 * (1 + dice.Int64N(3))
		if body := l.page(u, w.sku, units); body != nil {
			if id := l.order(u, linearInput{w.sku, opLock, units}, body, dice.IntN(3) == 0); id != "" {
				w.held = append(w.held, heldOrder{id, units})
			}
		}
	case n < 14 && len(w.held) > 0:
		h := w.held[0]
		w.held = w.held[1:]
		l.cancel(u, h.id, "goods.reserve", linearInput{w.sku, opFree, h.units})
	case n == 14:
		l.put(linearInput{w.sku, opPut, 2}, "/admin/v1/stock/receive",
			map[string]any{"sku": w.sku, "quantity": 2}, dice)
	default:
		l.look(w.sku, "/v1/skus/"+w.sku, u.token, func(data []byte) (int64, int64) {
			s := decode[api.SKU](l.t, data)
			return s.Stock, s.Locked
		})
	}
}

// walletWork is done by one session of a user.
type walletWork struct{}

func (walletWork) act(l *linear, u *crashUser, dice *rand.Rand) {
	n := dice.IntN(20)
	switch {
	case n < 9:
		amount, body := 2*(50+dice.Int64N(450)), l.page(u, "PLENTY", 1)
		if body == nil {
			return
		}
		if body["balance"] = gbp(amount); amount >= 900 {
			amount = 1000
			body["balance"], body["pay_method"] = gbp(amount), api.PayBalance
		}
		id := l.order(u, linearInput{u.id, opTake, amount}, body, dice.IntN(3) == 0)
		if id != "" && amount < 1000 && dice.IntN(2) == 0 {
			l.cancel(u, id, "wallet.debit", linearInput{u.id, opPut, amount})
		}
	case n < 12:
		l.put(linearInput{u.id, opPut, 1500}, "/admin/v1/wallets/credit",
			map[string]any{"user": u.id, "amount": gbp(1500), "reason": "gift"}, dice)
	default:
		l.look(u.id, "/v1/wallet", u.token, func(data []byte) (int64, int64) {
			return decode[api.Wallet](l.t, data).Balance.Amount, 0
		})
	}
}

// acts waits until so many more operations have been answered.
func (l *linear) acts(n int64) {
	l.t.Helper()
	n += l.answered.Load()
	eventually(l.t, "operations are answered", func() bool { return l.answered.Load() >= n })
}

// check ends the work and checks stock and balances, each kind by itself.
func (l *linear) check() {
	l.t.Helper()
	l.halt()
	l.wg.Wait()
	var stock, wallet []porcupine.Operation
	for _, o := range l.history {
		if l.begin[o.Input.(linearInput).account] > 0 {
			stock = append(stock, o)
		} else {
			wallet = append(wallet, o)
		}
	}
	checkHistory(l.t, maps.Clone(l.begin), stock)
	checkHistory(l.t, maps.Clone(l.begin), wallet)
}

// ACCEPT M4 S7 G3 U3
// The shop is killed again and again while shoppers order, cancel and look and
// support receives goods and credits wallets. What all of them have seen fits
// one order of events, in which nothing is lost and nothing happens twice.
func TestLinearUnderKills(t *testing.T) {
	t.Parallel()
	data, addr := t.TempDir(), crashFreeAddr(t)
	run := func() *process { return crashServe(t, addr, data, "--submit-deadline", "1h") }
	p := run()
	l := newLinear(t, p)
	for range 5 {
		l.acts(80)
		p.kill()
		p = run()
	}
	l.acts(80)
	l.check()
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	auditClean(t, data)
}

// ACCEPT M4 M9 S7
// The same while an external NATS is killed and loses the tails of its
// mailboxes, and the actors go on.
func TestLinearWhileNATSDies(t *testing.T) {
	t.Parallel()
	n, data := newCrashNATS(t), t.TempDir()
	p := crashServe(t, crashFreeAddr(t), data, "--nats", n.url, "--submit-deadline", "1h")
	l := newLinear(t, p)
	for range 4 {
		l.acts(80)
		n.end(false)
		for _, stream := range n.streams() {
			if crashIsMailbox(stream) {
				n.damage(stream, crashCut)
			}
		}
		n.start()
		p.ready()
	}
	l.acts(80)
	l.check()
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	auditClean(t, data)
}
