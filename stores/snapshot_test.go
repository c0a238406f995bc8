package stores_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"ordo/stores"
)

// ACCEPT P9 M10: a copy of a file that is being written is of one moment: both
// tables that each transaction writes have as many rows.
func TestSnapshotOfABusyFile(t *testing.T) {
	dir := t.TempDir()
	f, err := stores.Open(filepath.Join(dir, "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	must := func(query string, args ...any) {
		t.Helper()
		if _, err := f.W.Exec(query, args...); err != nil {
			t.Fatal(err)
		}
	}
	must(`CREATE TABLE a (n INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT`)
	must(`CREATE TABLE b (n INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT`)
	text := make([]byte, 2000)
	done := make(chan error, 1)
	copies := make(chan string, 100)
	go func() {
		defer close(copies)
		for i := range 5 {
			to := filepath.Join(dir, "copy"+string(rune('0'+i))+".db")
			if err := stores.Snapshot(t.Context(), filepath.Join(dir, "a.db"), to, 1); err != nil {
				done <- err
				return
			}
			copies <- to
		}
		done <- nil
	}()
	n := 0
	for busy := true; busy; n++ {
		must("BEGIN IMMEDIATE")
		must(`INSERT INTO a (text) VALUES (hex(?))`, text)
		must(`INSERT INTO b (text) VALUES (hex(?))`, text)
		must("COMMIT")
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			busy = false
		default:
		}
	}
	for to := range copies {
		checkCopy(t, to, n)
	}
}

// checkCopy checks that a copy is whole, and has up to n rows in both tables.
func checkCopy(t *testing.T, path string, n int) {
	t.Helper()
	db, err := stores.OpenReadOnly(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var a, b int
	var check, mode string
	if err := errors.Join(db.QueryRow(`SELECT count(*) FROM a`).Scan(&a),
		db.QueryRow(`SELECT count(*) FROM b`).Scan(&b),
		db.QueryRow(`PRAGMA integrity_check`).Scan(&check),
		db.QueryRow(`PRAGMA journal_mode`).Scan(&mode)); err != nil {
		t.Fatal(err)
	}
	if a != b || a > n || check != "ok" || mode != "delete" {
		t.Errorf("%s: %d and %d rows, %s, journal mode %s", path, a, b, check, mode)
	}
}

// A snapshot that fails leaves nothing, and one is never written over a file.
func TestSnapshotThatFails(t *testing.T) {
	dir := t.TempDir()
	f, err := stores.Open(filepath.Join(dir, "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.W.Exec(`CREATE TABLE a (n INTEGER PRIMARY KEY) STRICT`); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	to := filepath.Join(dir, "to.db")
	if err := stores.Snapshot(ended, f.Path, to, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
	if err := stores.Snapshot(t.Context(), filepath.Join(dir, "none.db"), to, 0); err == nil {
		t.Error("a copy of nothing")
	}
	left, err := filepath.Glob(filepath.Join(dir, "to.db*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := os.WriteFile(to, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := stores.Snapshot(t.Context(), f.Path, to, 0); !errors.Is(err, os.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	if text, err := os.ReadFile(to); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
}

// A file of about 100 MB, with and without rests between the steps.
func BenchmarkSnapshot(b *testing.B) {
	dir := b.TempDir()
	f, err := stores.Open(filepath.Join(dir, "a.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := f.W.Exec(`CREATE TABLE a (n INTEGER PRIMARY KEY, x BLOB NOT NULL)`); err != nil {
		b.Fatal(err)
	}
	if err := f.W.Begin("BEGIN"); err != nil {
		b.Fatal(err)
	}
	for range 25_000 {
		if _, err := f.W.Exec(`INSERT INTO a (x) VALUES (randomblob(4000))`); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := f.W.Exec("COMMIT"); err != nil {
		b.Fatal(err)
	}
	for name, rest := range map[string]int{"plain": 0, "resting": 1} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				to := filepath.Join(dir, "copy.db")
				if err := errors.Join(stores.Snapshot(b.Context(), f.Path, to, rest),
					os.Remove(to)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
