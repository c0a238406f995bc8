package stores_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ordo/stores"
)

// ACCEPT S7
// A file of which any page was overwritten is not opened, and the error says
// that it is damaged; put right, it is opened again.
func TestDamagedPages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	f, err := stores.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Migrate(t.Context(), "a", `CREATE TABLE a (n INTEGER PRIMARY KEY,
		text TEXT NOT NULL UNIQUE) STRICT;`, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if _, err := f.W.Exec(`INSERT INTO a (text) VALUES (?)`,
			fmt.Sprint(i, strings.Repeat("x", 100))); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	if len(good) < 8*page || len(good)%page != 0 {
		t.Fatalf("the file has %d bytes", len(good))
	}
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for at := 0; at < len(good); at += page {
		bad := append([]byte(nil), good...)
		for i := range page {
			bad[at+i] ^= 0xff
		}
		write(bad)
		f, err := stores.Open(path)
		if err == nil {
			f.Close()
		}
		if !stores.IsFault(err) || !errors.Is(err, stores.ErrDamaged) {
			t.Errorf("page %d of %d: %v", at/page+1, len(good)/page, err)
		}
	}
	write(good)
	if f, err = stores.Open(path); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
