package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ordo/actors"
	"ordo/actors/audit"
	"ordo/bus"
	"ordo/stores"
)

// errKilled is what a rename panics with at which the process ends.
var errKilled = errors.New("killed")

// halves is a data directory with an old and a new file of each actor, and the
// swap of them whose n-th rename does what is asked for.
func halves(t *testing.T, n int, then func() error) *swap {
	t.Helper()
	s := &swap{Format: swapFormat, New: restoring + "1", Aside: replaced + "1", data: t.TempDir(),
		Actors: bus.ActorNames()}
	write := func(path, text string) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, actor := range s.Actors {
		path := audit.File(s.data, actor)
		write(s.made(actor), "new "+actor)
		if i == 0 {
			continue // it has no file, as at a first start
		}
		write(path, "old "+actor)
		write(path+"-wal", "old log of "+actor)
		write(filepath.Join(actors.SnapshotDir(path), "1"), "old snapshot of "+actor)
	}
	come := 0
	s.rename = func(from, to string) error {
		if come++; come >= n {
			if err := then(); err != nil {
				return err
			}
		}
		return os.Rename(from, to)
	}
	return s
}

// whose are the files of a directory: old or new all of them, else mixed.
func whose(t *testing.T, s *swap) string {
	t.Helper()
	var seen []string
	for i, actor := range s.Actors {
		path := audit.File(s.data, actor)
		text, err := os.ReadFile(path)
		_, wal := os.Stat(path + "-wal")
		_, snaps := os.Stat(actors.SnapshotDir(path))
		switch {
		case err == nil && string(text) == "new "+actor && wal != nil && snaps != nil:
			seen = append(seen, "new")
		case err == nil && string(text) == "old "+actor && wal == nil && snaps == nil,
			i == 0 && err != nil:
			seen = append(seen, "old")
		default:
			seen = append(seen, "mixed")
		}
	}
	slices.Sort(seen)
	if seen = slices.Compact(seen); len(seen) > 1 {
		return "mixed"
	}
	return seen[0]
}

// left is what a swap that is over leaves beside the files.
func left(t *testing.T, s *swap) (all []string) {
	t.Helper()
	for _, pattern := range []string{restoring + "*", replaced + "*", swapName} {
		some, err := filepath.Glob(filepath.Join(s.dir(), pattern))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, some...)
	}
	return all
}

// swapOrDie runs a swap whose process may end in it.
func swapOrDie(s *swap) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = v.(error)
		}
	}()
	return s.run()
}

// ACCEPT P9: a restore that is killed at any of its renames is seen by every
// command, and finished by the next start; one more kill on the way changes
// nothing of that.
func TestRestoreKilledAtEveryRename(t *testing.T) {
	for n := 1; ; n++ {
		s := halves(t, n, func() error { panic(errKilled) })
		err := swapOrDie(s)
		if err == nil {
			if n < 4*len(s.Actors)-3 || whose(t, s) != "new" {
				t.Errorf("whole after %d renames, files are %s", n-1, whose(t, s))
			}
			return
		}
		if !errors.Is(err, errKilled) {
			t.Fatalf("rename %d: %v", n, err)
		}
		if err := refuseHalfSwapped(t.TempDir(), s.data); !errors.Is(err, errUnreadable) {
			t.Errorf("killed at rename %d, it is taken for whole: %v", n, err)
		}
		again, err := readSwap(s.data)
		if err != nil || again == nil {
			t.Fatalf("killed at rename %d: %+v, %v", n, again, err)
		}
		again.rename = func(string, string) error { panic(errKilled) }
		func() {
			defer func() { _ = recover() }()
			_ = again.forth()
		}()
		aside, err := finishSwap(s.data)
		if err != nil || aside != s.aside() || whose(t, s) != "new" {
			t.Errorf("killed at rename %d: files are %s, the old ones in %q: %v", n, whose(t, s), aside, err)
		}
		if got := left(t, s); !slices.Equal(got, []string{s.aside()}) {
			t.Errorf("killed at rename %d: it leaves %v", n, got)
		}
		if old := tree(t, s.aside()); len(old) != 1+4*(len(s.Actors)-1) {
			t.Errorf("killed at rename %d: aside are %v", n, slices.Sorted(maps.Keys(old)))
		}
		if aside, err := finishSwap(s.data); err != nil || aside != "" {
			t.Errorf("finished twice: %q, %v", aside, err)
		}
	}
}

// ACCEPT P9: a restore of which any rename fails changes nothing. When taking it
// back fails too, what is left is known as half done, and finished later.
func TestRestoreWhoseRenameFails(t *testing.T) {
	for n := 1; ; n++ {
		once := syscall.ENOSPC
		s := halves(t, n, func() (err error) {
			if once != 0 {
				err, once = once, 0
			}
			return err
		})
		before := whose(t, s)
		err := s.run()
		if err == nil {
			return
		}
		if before != "old" || whose(t, s) != "old" || len(left(t, s)) > 0 ||
			!errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("rename %d failed: files are %s, left is %v: %v", n, whose(t, s), left(t, s), err)
		}

		s = halves(t, n, func() error { return syscall.EIO })
		err = s.run()
		if n == 1 { // there was nothing to take back
			continue
		}
		if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "restore --replace") ||
			refuseHalfSwapped(s.data) == nil {
			t.Errorf("renames fail from %d on: %v", n, err)
		}
		if aside, err := finishSwap(s.data); err != nil || aside == "" || whose(t, s) != "new" {
			t.Errorf("renames fail from %d on, files are %s in the end: %v", n, whose(t, s), err)
		}
	}
}

// ACCEPT P9: a restore that can't be written down, as on a full disk, leaves neither
// new files, which would keep it full, nor what a later start would finish.
func TestRestoreThatCannotBeWrittenDown(t *testing.T) {
	s := halves(t, 1, func() error { t.Error("a file was moved"); return nil })
	full := filepath.Join(s.dir(), s.New, swapName)
	if err := os.Symlink("/dev/full", full); err != nil {
		t.Fatal(err)
	}
	err := s.run()
	if !errors.Is(err, syscall.ENOSPC) || !strings.HasSuffix(err.Error(), "nothing was changed") ||
		whose(t, s) != "old" || len(left(t, s)) > 0 {
		t.Errorf("files are %s, left is %v: %v", whose(t, s), left(t, s), err)
	}
}

// halfRestored is a backup, and a data directory of which a restore of it was
// killed halfway.
func halfRestored(t *testing.T) (backup, data string) {
	t.Helper()
	b, _ := emptyDay.books(t)
	data, backup = b.dir, filepath.Join(t.TempDir(), "backup")
	ordo(t, 0, "backup", backup, "--data", data)
	m, err := readManifest(backup)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	s := &swap{Format: swapFormat, New: restoring + "1", Aside: replaced + "1", data: data,
		Actors: bus.ActorNames(), rename: func(from, to string) error {
			if n++; n == 2+len(bus.ActorNames()) {
				panic(errKilled)
			}
			return os.Rename(from, to)
		}}
	if err := os.Mkdir(filepath.Join(s.dir(), s.New), 0o700); err != nil {
		t.Fatal(err)
	}
	c := &RestoreCmd{Data: data, Dir: backup, Replace: true}
	for _, b := range m.Actors {
		if err := c.makeFile(t.Context(), m, &b, filepath.Join(s.dir(), s.New)); err != nil {
			t.Fatal(err)
		}
	}
	if err := swapOrDie(s); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	return backup, data
}

// ACCEPT P9: commands that read refuse a half restored directory; serve, repair
// and the next restore finish it, and not while somebody has a file of it open.
func TestHalfRestoredDirectory(t *testing.T) {
	backup, data := halfRestored(t)
	before := tree(t, data)
	for _, args := range [][]string{{"audit"}, {"verify"}, {"repair"},
		{"backup", filepath.Join(t.TempDir(), "x")}, {"restore", backup},
		{"tx", "show", "ord_01JD0000000000000000000000"},
		{"at", "--actor", "goods", "--seq", "1", "--out", filepath.Join(t.TempDir(), "x")}} {
		if said := ordo(t, 2, append(args, "--data", data)...); !strings.Contains(said,
			"has not come to its end: ordo serve") {
			t.Errorf("%v: %s", args, said)
		}
	}
	lock, err := stores.Lock(audit.File(data, "goods") + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	cfg := ShopConfig{Data: data, HTTP: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)}
	if _, err := StartShop(t.Context(), cfg); err == nil ||
		!strings.Contains(err.Error(), "a restore is half done, or under way: goods: ") {
		t.Errorf("started beside an open file: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, data); !maps.Equal(before, after) {
		t.Error("who refused it has changed it")
	}
	shop, err := StartShop(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := shop.Close(context.Background()); err != nil {
		t.Error(err)
	}
	for _, name := range bus.ActorNames() {
		s, err := actors.ReadStanding(t.Context(), audit.File(data, name))
		if err != nil || len(s.Cuts) == 0 {
			t.Errorf("%s is not the restored file: %+v, %v", name, s, err)
		}
	}

	_, data = halfRestored(t)
	ordo(t, 0, "repair", "--data", data, "--apply")
	ordo(t, 0, "audit", "--data", data)
	backup, data = halfRestored(t)
	ordo(t, 0, "restore", backup, "--data", data, "--replace")
	ordo(t, 0, "repair", "--data", data, "--apply")
	ordo(t, 0, "audit", "--data", data)
}
