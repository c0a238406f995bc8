package main

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ordo/actors/audit"
	"ordo/bus"
)

// standing is the standing audit of a data directory, at full speed until the
// test ends.
func standing(t *testing.T, dir string, damaged func(actor, problem string)) *audit.Standing {
	t.Helper()
	cfg := audit.StandingConfig{Files: map[string]string{}, Every: time.Millisecond,
		Whole: time.Millisecond, Rest: 1, Damaged: damaged, Log: slog.New(slog.DiscardHandler)}
	for _, actor := range bus.ActorNames() {
		cfg.Files[actor] = audit.File(dir, actor)
	}
	if path := sandboxFile(dir); exists(path) {
		cfg.Sandbox = path
	}
	s := audit.NewStanding(cfg)
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(t.Context()) })
	t.Cleanup(wg.Wait) // the test's context ends before
	return s
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// until polls for three minutes at most.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within three minutes: %s", what)
		}
		<-tick.C
	}
}

// ACCEPT M11: while orders are placed, paid, refunded, cancelled and paid too
// late, the standing audit looks at all of them and finds nothing.
func TestStandingAuditOfAShopAtWork(t *testing.T) {
	b, _ := moneyDay.books(t)
	b.open()
	s := standing(t, b.dir, nil)
	n := 0
	until(t, "rounds at work", func() bool {
		b.step(n)
		n++
		r := s.Report()
		if !r.OK || r.Error != "" || len(s.Found()) > 0 {
			t.Fatalf("%+v %+v", r, s.Found())
		}
		return r.Rounds > 5 && n > 30
	})
	var first int64
	for range 2 {
		until(t, "quiet, and all of the past passed", func() bool {
			r := s.Report()
			return r.Behind == 0 && r.Moving == 0 && int64(r.PassedAt) > first
		})
		first = int64(s.Report().PassedAt)
		if r := s.Report(); !r.OK || r.Error != "" || len(r.LeftOut) != 0 ||
			r.Checks != len(audit.Checks())-2 {
			t.Errorf("when all is quiet: %+v", r)
		}
	}
}

// ACCEPT M11: whatever ordo audit finds, the standing audit finds as well, and
// says when it is gone.
func TestStandingAuditFindsPlanted(t *testing.T) {
	b, orders := goodsDay.books(t)
	plantedAll(t, b.dir, orders, plantedGoods)
	dir, orders := moneyBooks(t)
	plantedAll(t, dir, orders, plantedMoney)
}

func plantedAll(t *testing.T, dir string, orders map[string]string, all []planted) {
	for i, test := range all {
		t.Run(fmt.Sprint(test.check, " ", i), func(t *testing.T) {
			t.Parallel()
			copied := t.TempDir()
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			path := audit.File(copied, test.file)
			if test.file == "sandbox" {
				path = sandboxFile(copied)
			}
			text := test.change
			for name, id := range orders {
				text = strings.ReplaceAll(text, "$"+name, "'"+id+"'")
			}
			tamperFile(t, path, text)
			s := standing(t, copied, nil)
			until(t, test.check, func() bool { return s.Report().ByCheck[test.check] > 0 })
			want, named := orders[test.order]
			until(t, "naming "+test.order, func() bool {
				return slices.ContainsFunc(s.Found(), func(d audit.Deviation) bool {
					return d.Check == test.check && (!named || d.Order == want) && d.Row != ""
				})
			})
			if s.Report().OK {
				t.Error("it says that all is well")
			}
		})
	}
}

// A deviation that is put right is none any more.
func TestStandingAuditForgets(t *testing.T) {
	b, _ := goodsDay.books(t)
	tamper(t, b.dir, "wallet", `UPDATE account SET balance = balance + 1`)
	tamper(t, b.dir, "order", `UPDATE orders SET points = points + 1 WHERE state = 'paid'`)
	s := standing(t, b.dir, nil)
	until(t, "both", func() bool { return s.Report().Deviations == 2 })
	tamper(t, b.dir, "wallet", `UPDATE account SET balance = balance - 1`)
	until(t, "one is gone", func() bool { return s.Report().Deviations == 1 })
	tamper(t, b.dir, "order", `UPDATE orders SET points = points - 1 WHERE state = 'paid'`)
	until(t, "the other is gone", func() bool { return s.Report().OK })
}

// A process with some of the actors is audited as far as that goes.
func TestStandingAuditOfSomeActors(t *testing.T) {
	b, _ := goodsDay.books(t)
	b.open()
	s := audit.NewStanding(audit.StandingConfig{Every: time.Millisecond, Rest: 1,
		Whole: time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Files: map[string]string{"wallet": audit.File(b.dir, "wallet")}})
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(t.Context()) })
	t.Cleanup(wg.Wait)
	until(t, "rounds", func() bool { return s.Report().Rounds > 3 })
	if r := s.Report(); !r.OK || r.Error != "" || !slices.Contains(r.LeftOut, "debits") ||
		slices.Contains(r.LeftOut, "accounts") {
		t.Errorf("%+v", r)
	}
	b.engines["wallet"].Close()
	delete(b.engines, "wallet")
	tamper(t, b.dir, "wallet", `UPDATE account SET balance = balance + 1`)
	until(t, "the deviation", func() bool { return s.Report().ByCheck["accounts"] == 1 })
}

// spoilPages has all pages of a file but the first be rubbish.
func spoilPages(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(text); i++ {
		text[i] = 0xa5
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// ACCEPT M11: files with a page that can't be read are told of, and no others.
// That the first was found keeps the next from nothing.
func TestStandingAuditFindsDamage(t *testing.T) {
	b, _ := moneyDay.books(t)
	spoilPages(t, audit.File(b.dir, "goods"))
	spoilPages(t, audit.File(b.dir, "shipping"))
	told := make(chan string, 10)
	s := standing(t, b.dir, func(actor, _ string) { told <- actor })
	until(t, "the report", func() bool { return len(s.Report().Damaged) == 2 })
	if both := []string{<-told, <-told}; !slices.Contains(both, "goods") ||
		!slices.Contains(both, "shipping") {
		t.Errorf("told of %v", both)
	}
	for _, d := range s.Report().Damaged {
		if d.File != "goods.db" && d.File != "shipping.db" {
			t.Errorf("%+v", d)
		}
	}
	if s.Report().OK {
		t.Error("it is told to be in order")
	}
}
