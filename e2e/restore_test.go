package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"ordo/api"
	"ordo/bus"
)

// auditFinds runs `ordo audit` where it must find something about each order.
func auditFinds(t *testing.T, data string, orders ...string) {
	t.Helper()
	commands(t, 1, append([]string{"DEVIATION"}, orders...), "audit", "--data", data)
}

// ACCEPT P9: a backup of a shop under load is restored into a new directory. It
// has every order that was accepted before it began, none that was accepted
// after it was done, and adds up.
func TestBackupUnderLoad(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	backup, fresh := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "fresh")
	p := serve(t, data).ready()
	sku := p.onSale(700, 100_000)
	buyers := p.shoppers(8)
	before := map[string]*shopper{}
	for _, s := range buyers {
		before[s.buy(sku, 1).ID] = s
	}
	stop := make(chan struct{})
	var load sync.WaitGroup
	for _, s := range buyers {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					s.buy(sku, 1)
				}
			}
		})
	}
	commands(t, 0, []string{"9 actors"}, "backup", backup, "--data", data)
	close(stop)
	load.Wait()
	after := buyers[0].buy(sku, 1)
	commands(t, 2, []string{"not an empty directory"}, "backup", backup, "--data", data)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}

	commands(t, 2, []string{"--replace"}, "restore", backup, "--data", data)
	commands(t, 0, []string{"next: ordo repair"}, "restore", backup, "--data", fresh)
	repair(t, fresh)
	q := serve(t, fresh).ready()
	for id := range before {
		var o api.Order
		q.admin().must("GET", "/admin/v1/orders/"+id, nil, &o)
		if o.State != api.OrderPlaced {
			t.Errorf("order %s of before the backup is %s", id, o.State)
		}
	}
	q.admin().problem("GET", "/admin/v1/orders/"+after.ID, nil, http.StatusNotFound, api.CodeNotFound)
	q.shopper().buy(sku, 3)
	q.settled(fresh)
	snapped(t, fresh, bus.ActorNames()...)
	if code := q.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	audit(t, fresh)
	verified(t, fresh)
}

// snapped waits until the actors have a snapshot.
func snapped(t *testing.T, data string, names ...string) {
	t.Helper()
	eventually(t, "snapshots of "+strings.Join(names, ", "), func() bool {
		for _, actor := range names {
			if snapshots(t, data, actor) == 0 {
				return false
			}
		}
		return true
	})
}

// repair has a stopped shop repaired, if there is anything to repair, and wants
// nothing left that can't be.
func repair(t *testing.T, data string) (said string) {
	t.Helper()
	code, said := command(t, "--log-level", "error", "repair", "--data", data)
	if code == 0 {
		return said
	}
	if !strings.Contains(said, "do it with --apply") {
		t.Errorf("ordo repair: exit code %d\n%s", code, said)
	}
	commands(t, 0, []string{"repaired:"}, "--log-level", "error", "repair", "--data", data, "--apply")
	return said
}

// settled waits until the shop's books add up and nothing is under way.
func (p *process) settled(data string) {
	p.t.Helper()
	var last string
	defer func() {
		if p.t.Failed() {
			p.t.Log(last)
		}
	}()
	eventually(p.t, "books that add up", func() bool {
		a, text := crashAuditOf(p.t, data)
		last = string(text)
		return a.OK && a.InFlight == 0
	})
}

// ACCEPT P9 M10: files of some actors are lost and restored from a backup into
// a shop that has gone on and still has its streams. The audit tells the
// differences; repair has the files handle what they missed, after which
// everything is as it was.
func TestRestoreOfSomeActors(t *testing.T) {
	t.Parallel()
	data, backup := t.TempDir(), filepath.Join(t.TempDir(), "backup")
	p := serve(t, data).ready()
	p.life(p.till(), 8)
	commands(t, 0, nil, "backup", backup, "--data", data)
	_, orders := p.life(p.till(), 8)
	p.settled(data)
	was, paid := map[string]string{}, ""
	for i, o := range orders {
		p.admin().must("GET", "/admin/v1/orders/"+o.ID, nil, &orders[i])
		if was[o.ID] = orders[i].State; was[o.ID] == api.OrderPaid {
			paid = o.ID
		}
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}

	for _, actor := range []string{"order", "goods", "wallet"} {
		if err := os.Remove(filepath.Join(data, "actors", actor+".db")); err != nil {
			t.Fatal(err)
		}
	}
	said := commands(t, 0, []string{"--take-over"}, "restore", backup, "--data", data, "--replace",
		"--only", "order,goods,wallet")
	if strings.Contains(said, "payment ") {
		t.Errorf("restore: %s", said)
	}
	auditFinds(t, data, paid)
	// The shop would stop where its channels do not go on.
	p = serve(t, data, "--take-over")
	eventually(t, "a channel that stops", func() bool {
		_, ok := p.log.find("run ordo repair")
		return ok
	})
	p.stop()

	said = repair(t, data)
	if !strings.Contains(said, "catch up: ") && !strings.Contains(said, "channel: ") {
		t.Errorf("repair: %s", said)
	}
	commands(t, 0, []string{"nothing to repair"}, "--log-level", "error", "repair", "--data", data)
	p = serve(t, data, "--take-over").ready()
	p.settled(data)
	for id, state := range was {
		var o api.Order
		if p.admin().must("GET", "/admin/v1/orders/"+id, nil, &o); o.State != state {
			t.Errorf("order %s was %s and is %s", id, state, o.State)
		}
	}
	p.shopper().buy(p.onSale(300, 5), 2)
	p.settled(data)
	snapped(t, data, "order", "goods", "wallet", "payment", "coupon", "journal")
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	verified(t, data)
}

// ACCEPT P9: files of different moments, without streams. Orders that the
// order's file has and participants do not are held again; those that it has
// not are made again from the journal; nothing is counted twice.
func TestRestoreToDifferentMoments(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	early, late := filepath.Join(t.TempDir(), "early"), filepath.Join(t.TempDir(), "late")
	p := serve(t, data).ready()
	sku := p.onSale(1250, 1000)
	buyers := p.shoppers(6)
	for _, s := range buyers {
		s.give(gbp(50_000))
	}
	coupons := make([]string, len(buyers))
	for i, s := range buyers {
		coupons[i] = s.coupon(100, 0)
	}
	buyers[0].buy(sku, 1)
	p.settled(data)
	commands(t, 0, nil, "backup", early, "--data", data)
	var orders []string
	for i, s := range buyers {
		o := s.submit(s.checkout(sku, 2).using(coupons[i], 100, 300))
		orders = append(orders, o.ID)
	}
	buyers[5].must("POST", "/v1/orders/"+orders[5]+"/cancel", map[string]any{}, nil)
	buyers[5].await(orders[5], api.OrderCancelled)
	p.settled(data)
	commands(t, 0, nil, "backup", late, "--data", data)
	p.stop()

	for name, older := range map[string]string{"order": "order", "participants": "goods,wallet,coupon",
		"payment": "payment", "journal": "journal,goods", "pruned": "goods,wallet,coupon,payment"} {
		t.Run(name, func(t *testing.T) {
			fresh := filepath.Join(t.TempDir(), "fresh")
			commands(t, 0, nil, "restore", late, "--data", fresh)
			commands(t, 0, nil, "restore", early, "--data", fresh, "--replace", "--only", older)
			if name == "pruned" { // as it is a day later
				tamper(t, fresh, "order", `DELETE FROM _sent`)
			}
			auditFinds(t, fresh, orders[0])
			said := repair(t, fresh)
			// What the order's file has given is in its outbox, and is sent again.
			for _, id := range orders[:5] {
				if strings.Contains(said, "settle: "+id) != (name == "pruned") ||
					strings.Contains(said, "make again: "+id) != (name == "order") {
					t.Errorf("order %s:\n%s", id, said)
				}
			}
			q := serve(t, fresh).ready()
			q.t = t
			q.settled(fresh)
			for i, id := range orders {
				want := api.OrderPlaced
				if i == 5 {
					want = api.OrderCancelled
				}
				if older == "order" && i == 5 { // it was over
					q.admin().problem("GET", "/admin/v1/orders/"+id, nil, http.StatusNotFound,
						api.CodeNotFound)
					continue
				}
				var o api.Order
				if q.admin().must("GET", "/admin/v1/orders/"+id, nil, &o); o.State != want {
					t.Errorf("order %s is %s, want %s", id, o.State, want)
				}
			}
			if got := q.sku(sku).Locked; got != 11 {
				t.Errorf("%d units are locked, want 11", got)
			}
			q.shopper().buy(sku, 3)
			q.settled(fresh)
			snapped(t, fresh, bus.ActorNames()...)
			if code := q.stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			commands(t, 0, []string{"nothing to repair"}, "--log-level", "error", "repair", "--data",
				fresh)
			if said := audit(t, fresh); !strings.Contains(said, "incident of") ||
				!strings.Contains(said, "repair: ") {
				t.Errorf("the repair is no incident: %s", said)
			}
			verified(t, fresh)
		})
	}
}

// ACCEPT P9: an order that was paid and is not known to the order's file any more
// is made again. Where the journal does not know it either, messages can't settle
// it: repair says so, and leaves it alone.
func TestRepairOfPaidOrders(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	early, late := filepath.Join(t.TempDir(), "early"), filepath.Join(t.TempDir(), "late")
	p := serve(t, data).ready()
	sku := p.onSale(1250, 1000)
	s := p.shopper()
	commands(t, 0, nil, "backup", early, "--data", data)
	o, _ := s.bought(p.till(), sku, 2)
	p.settled(data)
	commands(t, 0, nil, "backup", late, "--data", data)
	p.stop()
	restored := func(older string) string {
		fresh := filepath.Join(t.TempDir(), "fresh")
		commands(t, 0, nil, "restore", late, "--data", fresh)
		commands(t, 0, nil, "restore", early, "--data", fresh, "--replace", "--only", older)
		// The gateway has not been set back.
		if err := os.CopyFS(filepath.Join(fresh, "sandbox"), os.DirFS(filepath.Join(data,
			"sandbox"))); err != nil {
			t.Fatal(err)
		}
		return fresh
	}
	fresh := restored("order")
	if said := repair(t, fresh); !strings.Contains(said, "make again: "+o.ID+" (paid, 1 lines") {
		t.Error(said)
	}
	q := serve(t, fresh).ready()
	q.settled(fresh)
	var again api.Order
	q.admin().must("GET", "/admin/v1/orders/"+o.ID, nil, &again)
	if again.State != api.OrderPaid || again.TradeNo != o.TradeNo || again.Address.Name != o.Address.Name {
		t.Errorf("made again: %+v, was %+v", again, o)
	}
	if sold := q.sku(sku); sold.Stock != 998 || sold.Locked != 0 {
		t.Errorf("stock: %+v", sold)
	}
	q.stop()
	audit(t, fresh)

	fresh = restored("order,journal")
	repair(t, fresh) // what was on its way to the journal comes first
	q = serve(t, fresh).ready()
	eventually(t, "the events of the others, of which none is under way", func() bool {
		a, _ := crashAuditOf(t, fresh)
		return a.InFlight == 0 && slices.Contains(q.journal(o.ID), api.EventPaymentPaid)
	})
	q.stop()
	before := actorFiles(t, fresh)
	for _, apply := range [][]string{nil, {"--apply"}} {
		if after := actorFiles(t, fresh); after != before {
			t.Error("the dry run has written to the files")
		}
		commands(t, 1, []string{"CANNOT: " + o.ID, "it is paid"}, append([]string{"--log-level", "error",
			"repair", "--data", fresh}, apply...)...)
	}
	auditFinds(t, fresh, o.ID)
}

// actorFiles is what the databases of a stopped shop hold, as one hash.
func actorFiles(t *testing.T, data string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(data, "actors", "*.db"))
	if err != nil || len(all) != len(bus.ActorNames()) {
		t.Fatalf("%v, %v", all, err)
	}
	h := sha256.New()
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		h.Write(text)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ACCEPT P9: a backup that was changed, is incomplete or is none is refused, and
// nothing is touched.
func TestRestoreOfABadBackup(t *testing.T) {
	t.Parallel()
	data, good := t.TempDir(), filepath.Join(t.TempDir(), "good")
	p := serve(t, data).ready()
	p.onSale(100, 1)
	commands(t, 0, nil, "backup", good, "--data", data)
	p.stop()
	for what, spoil := range map[string]func(dir string) error{
		"not the file that was backed up": func(dir string) error {
			path := filepath.Join(dir, "goods.db")
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text[len(text)/2] ^= 1
			return os.WriteFile(path, text, 0o600)
		},
		"no such file": func(dir string) error { return os.Remove(filepath.Join(dir, "goods.db")) },
		"is no backup": func(dir string) error { return os.Remove(filepath.Join(dir, "manifest.json")) },
		"manifest.json": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "manifest.json"), []byte("{"), 0o600)
		},
		"format 9": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(`{"format":9}`), 0o600)
		},
		"not an actor's file": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "manifest.json"),
				[]byte(`{"format":1,"actors":[{"actor":"goods","file":"../../x"}]}`), 0o600)
		},
	} {
		dir, fresh := filepath.Join(t.TempDir(), "bad"), filepath.Join(t.TempDir(), "fresh")
		if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
			t.Fatal(err)
		}
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		commands(t, 2, []string{what}, "restore", dir, "--data", fresh)
		if _, err := os.Stat(fresh); err == nil {
			t.Errorf("%s: the data directory was made", what)
		}
	}
	commands(t, 2, []string{"no actor"}, "restore", good, "--data", filepath.Join(t.TempDir(), "x"),
		"--only", "goat")
	entries, err := filepath.Glob(filepath.Join(filepath.Dir(good), "*"))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the backup: %v, %v", entries, err)
	}
}

// ACCEPT P9 M6: one actor's file is lost and restored while all others run, in
// processes of their own. Orders go on, and wait for it; it handles what it
// missed.
func TestRestoreBesideARunningShop(t *testing.T) {
	t.Parallel()
	data, own, backup := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "backup")
	rest := strings.Join(slices.DeleteFunc(slices.Clone(bus.ActorNames()), func(a string) bool {
		return a == "goods"
	}), ",")
	p := serve(t, data, "--only", rest)
	goods := func(more ...string) *process {
		return serve(t, own, append([]string{"--only", "goods", "--no-api", "--nats", p.nats}, more...)...)
	}
	g := goods()
	p.ready()
	sku := p.onSale(400, 1000)
	buyers := p.shoppers(4)
	commands(t, 0, nil, "backup", backup, "--data", own)
	var orders []api.Order
	for _, s := range buyers {
		orders = append(orders, s.buy(sku, 2))
	}
	waiting := buyers[0].checkout(sku, 5)
	g.kill()
	var pending api.Order
	buyers[0].must("POST", "/v1/orders?wait=0", waiting, &pending)

	commands(t, 0, []string{"goods"}, "restore", backup, "--data", own, "--replace")
	args := []string{"--log-level", "error", "repair", "--data", own, "--nats", p.nats}
	commands(t, 1, []string{"catch up: goods handles"}, args...)
	commands(t, 0, []string{"repaired: 1 actors caught up"}, append(args, "--apply")...)
	goods("--take-over")
	buyers[0].await(pending.ID, api.OrderPlaced)
	for i, s := range buyers {
		if o := s.order(orders[i].ID); o.State != api.OrderPlaced {
			t.Errorf("order %s is %s", o.ID, o.State)
		}
	}
	if got := p.sku(sku).Locked; got != 13 {
		t.Errorf("%d units are locked, want 13", got)
	}
	eventually(t, "books that add up", func() bool {
		a, _ := crashAuditOf(t, data, own)
		return a.OK && a.InFlight == 0
	})
	snapped(t, own, "goods")
	verified(t, own, "goods", "--nats", p.nats)
	verified(t, data, "order", "payment")
}
