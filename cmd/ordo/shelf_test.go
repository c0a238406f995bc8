package main

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ordo/actors/audit"
	"ordo/bus"
)

// day are the closed books of a shop's day, with which many tests begin. They are
// made once, by the first of them.
type day struct {
	fill func(*books) map[string]string

	once   sync.Once
	now    time.Time
	seq    uint64
	orders map[string]string
	// files are what stands in the directory, by path.
	files map[string][]byte
}

var (
	emptyDay = &day{fill: func(*books) map[string]string { return nil }}
	goodsDay = &day{fill: func(b *books) map[string]string {
		orders := b.fill()
		b.tick()
		return orders
	}}
	moneyDay = &day{fill: func(b *books) map[string]string {
		orders := b.fillMoney()
		b.tick()
		return orders
	}}
	// gatewayDay is moneyDay with the books of the gateway.
	gatewayDay = &day{fill: func(b *books) map[string]string {
		orders := b.fillMoney()
		b.tick()
		b.fillSandbox()
		return orders
	}}
)

// books are a copy of the day's, closed, and its orders by what became of them.
func (d *day) books(t *testing.T) (*books, map[string]string) {
	t.Helper()
	d.once.Do(func() { d.make(t) })
	if d.files == nil {
		t.Fatal("the test that made the day's books has failed")
	}
	b := &books{t: t, dir: t.TempDir(), now: d.now, seq: d.seq, lost: map[string]bool{}}
	for name, text := range d.files {
		path := filepath.Join(b.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(b.close)
	return b, d.orders
}

func (d *day) make(t *testing.T) {
	t.Helper()
	b := &books{t: t, dir: t.TempDir(), now: testStart, lost: map[string]bool{}}
	b.open()
	d.orders = d.fill(b)
	b.close()
	d.now, d.seq = b.now, b.seq
	files := map[string][]byte{}
	for _, actor := range bus.ActorNames() {
		files[filepath.Join("actors", actor+".db")] = nil
		if path := audit.File(b.dir, actor); exists(path + "-wal") {
			t.Fatalf("%s is not closed", path)
		}
	}
	if exists(sandboxFile(b.dir)) {
		files[filepath.Join("sandbox", filepath.Base(sandboxFile(b.dir)))] = nil
	}
	for name := range files {
		text, err := os.ReadFile(filepath.Join(b.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = text
	}
	d.files = files
}
