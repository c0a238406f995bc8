package stores

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"
)

// snapshotStep is how many pages of a file are copied at a time.
const snapshotStep = 256

// ErrNoSpace is returned by Snapshot when the disk has not twice the file's size
// left: a copy must not be what fills it.
var ErrNoSpace = errors.New("too little space is left on the disk for a copy")

// Snapshot copies the database file from, which an actor may be writing, to a
// new file as it was at one moment. The copy is one file without a write-ahead
// log, on the disk when Snapshot returns, and is not there at all when it fails.
//
// The copying only reads, so the writer is never held up; what it commits
// meanwhile stays in the write-ahead log until the copy is done. After each
// step Snapshot rests for rest times as long as the step took, to leave the
// processor to the others.
func Snapshot(ctx context.Context, from, to string, rest int) error {
	if err := checkSpace(from, filepath.Dir(to)); err != nil {
		return fmt.Errorf("stores: snapshot %s: %w", from, err)
	}
	if _, err := os.Stat(to); err == nil {
		return fmt.Errorf("stores: snapshot %s: %w: %s", from, os.ErrExist, to)
	}
	part := to + ".part"
	err := errors.Join(removeAny(part), removeAny(part+"-journal"))
	if err == nil {
		err = copyPages(ctx, from, part, rest)
	}
	if err == nil {
		err = Publish(part, to)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("stores: snapshot %s: %w", from, err), removeAny(part))
	}
	return nil
}

func removeAny(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func checkSpace(from, dir string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return err
	}
	if left := int64(fs.Bavail) * fs.Bsize; left < 2*info.Size() {
		return fmt.Errorf("%w: %d bytes are, the file has %d", ErrNoSpace, left, info.Size())
	}
	return nil
}

func copyPages(ctx context.Context, from, to string, rest int) (err error) {
	src, err := openConn(from, sqlite.OpenReadOnly, "busy_timeout=5000", "query_only=ON",
		"cache_size=-1024")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	dst, err := openConn(to, sqlite.OpenReadWrite|sqlite.OpenCreate, "synchronous=OFF",
		"cache_size=-1024")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	// The read transaction fixes what is copied: without it a commit of the
	// writer would have the copying begin again.
	if err := src.Begin("BEGIN"); err != nil {
		return err
	}
	var tables int64
	if err := src.Row(`SELECT count(*) FROM sqlite_schema`).Scan(&tables); err != nil {
		return err
	}
	b, err := sqlite.NewBackup(dst.c, "", src.c, "")
	if err != nil {
		return err
	}
	err = step(ctx, b, rest)
	if cerr := b.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if _, err := src.Exec("COMMIT"); err != nil {
		return err
	}
	return dst.pragma("journal_mode=DELETE")
}

func step(ctx context.Context, b *sqlite.Backup, rest int) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for more := true; more; {
		began := time.Now()
		var err error
		if more, err = b.Step(snapshotStep); err != nil && !more {
			return err
		}
		// A page that is locked for the moment is tried again.
		pause.Reset(time.Duration(rest)*time.Since(began) + busyRest(err))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause.C:
		}
	}
	return nil
}

func busyRest(err error) time.Duration {
	if err == nil {
		return 0
	}
	return time.Millisecond
}

// Publish renames a finished file or directory and has both its contents and
// its name reach the disk.
func Publish(from, to string) error {
	if err := Sync(from); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return Sync(filepath.Dir(to))
}

// Sync has the contents of a file, or the names in a directory, reach the disk.
func Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
