package stores_test

import (
	"errors"
	"path/filepath"
	"testing"

	"ordo/stores"
)

func notes(t *testing.T, f *stores.File) (n int) {
	t.Helper()
	if err := f.W.Row(`SELECT count(*) FROM note`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func exec(t *testing.T, f *stores.File, query string) {
	t.Helper()
	if _, err := f.W.Exec(query); err != nil {
		t.Fatal(err)
	}
}

// An image of a file on disk goes on in memory; the file and the image stay
// what they were, and a database in memory can go back to an image.
func TestMemory(t *testing.T) {
	disk, err := stores.Open(filepath.Join(t.TempDir(), "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	exec(t, disk, `CREATE TABLE note (n INTEGER PRIMARY KEY) STRICT`)
	exec(t, disk, `INSERT INTO note VALUES (1)`)
	image, err := disk.Image()
	if err != nil {
		t.Fatal(err)
	}
	memory, err := stores.OpenMemory(image)
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	exec(t, memory, `INSERT INTO note VALUES (2), (3)`)
	if on, in := notes(t, disk), notes(t, memory); on != 1 || in != 3 {
		t.Errorf("%d on disk and %d in memory, want 1 and 3", on, in)
	}
	later, err := memory.Image()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		image []byte
		want  int
	}{{image, 1}, {later, 3}} {
		if err := memory.Restore(c.image); err != nil {
			t.Fatal(err)
		}
		if n := notes(t, memory); n != c.want {
			t.Errorf("%d notes, want %d", n, c.want)
		}
	}
}

// A statement that is made to fail fails as the store would, and the next one
// is as good as ever.
func TestFail(t *testing.T) {
	f, err := stores.OpenMemory(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	exec(t, f, `CREATE TABLE note (n INTEGER PRIMARY KEY) STRICT`)
	f.W.Fail = func(string) error { return stores.ErrFull }
	if _, err := f.W.Exec(`INSERT INTO note VALUES (1)`); !errors.Is(err, stores.ErrFull) ||
		!stores.IsFault(err) {
		t.Errorf("it failed with %v", err)
	}
	f.W.Fail = nil
	exec(t, f, `INSERT INTO note VALUES (1)`)
	if n := notes(t, f); n != 1 {
		t.Errorf("%d notes, want 1", n)
	}
}
