// Package stores keeps what the shop stores: the SQLite file of each actor
// (this file) and the JetStream KV stores of carts, sessions and checkout
// tokens. It decides how files are opened, locked, migrated and checked; what
// stands in them is decided by the actors.
package stores

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing/fstest"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the driver "sqlite"
	"zombiezen.com/go/sqlite"
)

// MaxReaders is the number of connections of one file that only read.
const MaxReaders = 4

// ErrLocked is returned by Open when another process or actor holds the file.
var ErrLocked = errors.New("it is held by another process")

// ErrDamaged is returned by Open when the pages of the file do not fit together.
var ErrDamaged = errors.New("the file is damaged")

// File is one actor's SQLite database: one writer connection and a few that
// only read. WAL with synchronous=FULL, so a commit has reached the disk when
// it returns.
type File struct {
	// Path of the database file; the write-ahead log stands beside it.
	Path string
	// W is the only connection that writes.
	W *Conn
	// R are the connections that read committed state.
	R []*Conn

	lock *os.File
}

// Open opens or makes the database file at path, makes its directory, takes
// the file lock (ErrLocked) and checks the pages of an existing file with
// quick_check (ErrDamaged). Close it after use.
func Open(path string) (*File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("stores: open %s: %w", path, err)
	}
	lock, err := Lock(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("stores: open %s: %w", path, err)
	}
	f := &File{Path: path, lock: lock}
	if err := f.open(); err != nil {
		f.Close()
		switch sqlite.ErrCode(err).ToPrimary() {
		case sqlite.ResultCorrupt, sqlite.ResultNotADB:
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return nil, fmt.Errorf("stores: open %s: %w", path, err)
	}
	return f, nil
}

func (f *File) open() (err error) {
	if f.W, err = openConn(f.Path, sqlite.OpenReadWrite|sqlite.OpenCreate, "busy_timeout=5000",
		"journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-16384",
		"wal_autocheckpoint=4000", "temp_store=MEMORY", "journal_size_limit=67108864"); err != nil {
		return err
	}
	if err := quickCheck(f.W); err != nil {
		return err
	}
	for range MaxReaders {
		r, err := openConn(f.Path, sqlite.OpenReadOnly, "busy_timeout=5000", "query_only=ON",
			"cache_size=-4096")
		if err != nil {
			return err
		}
		f.R = append(f.R, r)
	}
	return nil
}

// OpenReadOnly opens a database file for reading, also one that an actor is
// writing.
func OpenReadOnly(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path, "ro", "query_only(ON)", "busy_timeout(5000)"))
	if err != nil {
		return nil, fmt.Errorf("stores: open %s: %w", path, err)
	}
	db.SetMaxOpenConns(MaxReaders)
	return db, nil
}

// OpenUnused opens a database file that nobody writes, and that has no write-ahead
// log, for reading. Unlike OpenReadOnly it leaves no file beside it.
func OpenUnused(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path, "ro")+"&immutable=1")
	if err != nil {
		return nil, fmt.Errorf("stores: open %s: %w", path, err)
	}
	return db, nil
}

// OpenTogether opens several files for reading in one connection, each under
// its name as a schema, with room for temporary tables. The files must not be
// written meanwhile.
func OpenTogether(files map[string]string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file::memory:?_pragma=temp_store(FILE)")
	if err != nil {
		return nil, fmt.Errorf("stores: open: %w", err)
	}
	db.SetMaxOpenConns(1) // others would not have them
	for name, path := range files {
		if _, err := db.Exec(`ATTACH ? AS "`+name+`"`, dsn(path, "ro")); err != nil {
			return nil, errors.Join(fmt.Errorf("stores: open %s: %w", path, err), db.Close())
		}
	}
	return db, nil
}

func dsn(path, mode string, pragmas ...string) string {
	q := url.Values{"mode": {mode}, "_pragma": pragmas}
	return (&url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: q.Encode()}).String()
}

func quickCheck(c *Conn) error {
	var result string
	if err := c.Row("PRAGMA quick_check(1)").Scan(&result); err != nil {
		return fmt.Errorf("quick_check: %w", err)
	}
	if result != "ok" {
		return fmt.Errorf("quick_check: %w: %s", ErrDamaged, result)
	}
	return nil
}

// Lock takes an exclusive lock on a file, which it makes, and answers ErrLocked
// when another process has it. The kernel drops it when the process ends,
// however it does; closing the file gives it back.
func Lock(path string) (*os.File, error) {
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%w (%s: %w)", ErrLocked, path, err)
	}
	return lock, nil
}

// Migrate brings the file to the newest version of the named schema.
// The first version is schema itself; later ones are goose migrations in more,
// named 00002_….sql and so on, and may be nil.
func (f *File) Migrate(ctx context.Context, name, schema string, more fs.FS) error {
	files := fstest.MapFS{"00001_schema.sql": &fstest.MapFile{
		Data: []byte("-- +goose Up\n-- +goose StatementBegin\n" + schema +
			"\n-- +goose StatementEnd\n"),
	}}
	if more != nil {
		names, err := fs.Glob(more, "0*.sql")
		if err != nil {
			return fmt.Errorf("stores: migrate %s: %w", name, err)
		}
		for _, n := range names {
			data, err := fs.ReadFile(more, n)
			if err != nil {
				return fmt.Errorf("stores: migrate %s: %w", name, err)
			}
			files[n] = &fstest.MapFile{Data: data}
		}
	}
	store, err := database.NewStore(database.DialectSQLite3, "_"+name+"_version")
	if err != nil {
		return fmt.Errorf("stores: migrate %s: %w", name, err)
	}
	db, err := sql.Open("sqlite", dsn(f.Path, "rw", "busy_timeout(5000)", "synchronous(FULL)"))
	if err != nil {
		return fmt.Errorf("stores: migrate %s: %w", name, err)
	}
	defer db.Close()
	p, err := goose.NewProvider("", db, files, goose.WithStore(store),
		goose.WithSlog(slog.New(slog.DiscardHandler)), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("stores: migrate %s: %w", name, err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("stores: migrate %s: %w", name, err)
	}
	return nil
}

// Close closes the connections and gives the lock back.
func (f *File) Close() error {
	var errs []error
	for _, r := range f.R {
		if r != f.W { // in memory they are one
			errs = append(errs, r.Close())
		}
	}
	if f.W != nil {
		errs = append(errs, f.W.Close())
	}
	if f.lock != nil {
		errs = append(errs, f.lock.Close())
	}
	return errors.Join(errs...)
}

// Version is the version of the SQLite library, for example 3.51.3.
func Version(ctx context.Context) (string, error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return "", fmt.Errorf("stores: version: %w", err)
	}
	defer db.Close()
	var v string
	if err := db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&v); err != nil {
		return "", fmt.Errorf("stores: version: %w", err)
	}
	return strings.TrimSpace(v), nil
}
