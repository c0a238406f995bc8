package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"ordo/bus"
	"ordo/stores"
)

// Damage is a file that can't be read as an actor's.
type Damage struct {
	File    string `json:"file"`
	Problem string `json:"problem"`
}

// String is for people.
func (d Damage) String() string { return d.File + " is damaged: " + d.Problem }

// readOrder is the order in which the actors' files are read, receivers before
// their senders. The journal comes first, so that what it tells of has happened
// in what is read of the others, and the order actor last, so that whatever they
// have done was asked for by what is read of orders.
func readOrder() []string {
	names := slices.DeleteFunc(slices.Clone(bus.ActorNames()), func(name string) bool {
		return name == "order" || name == "journal"
	})
	return slices.Concat([]string{"journal"}, names, []string{"order"})
}

// File is the path of an actor's database in a data directory.
func File(dir, actor string) string { return filepath.Join(dir, "actors", actor+".db") }

// ErrNoFiles is returned by Run when no actor has a file in the directories.
var ErrNoFiles = errors.New("there are no actors' files")

// find looks for the file of each actor in all directories.
func (a *audit) find(dirs []string) error {
	for _, actor := range readOrder() {
		for _, dir := range dirs {
			path := File(dir, actor)
			_, err := os.Stat(path)
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				return err
			case a.files[actor] != "":
				return fmt.Errorf("actor %s has two files: %s and %s", actor, a.files[actor], path)
			default:
				a.files[actor] = path
			}
		}
		if a.files[actor] == "" {
			a.result.Missing = append(a.result.Missing, actor+".db")
		}
	}
	if len(a.files) == 0 {
		return fmt.Errorf("%w in %v", ErrNoFiles, dirs)
	}
	return nil
}

// checkPages sets the files aside that SQLite can't read to their end.
func (a *audit) checkPages(ctx context.Context) error {
	a.result.Checks = append(a.result.Checks, pages)
	for _, actor := range readOrder() {
		if a.files[actor] == "" {
			continue
		}
		problem, err := pageProblem(ctx, a.files[actor], "_actor")
		if err != nil {
			return fmt.Errorf("%s: %w", a.files[actor], err)
		}
		if problem != "" {
			a.result.Damaged = append(a.result.Damaged, Damage{actor + ".db", problem})
			delete(a.files, actor)
		}
	}
	return nil
}

// pageProblem is what is wrong with a file's pages; empty when nothing is. A
// file that has not the table is nobody's.
func pageProblem(ctx context.Context, path, table string) (problem string, err error) {
	db, err := stores.OpenReadOnly(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&problem)
	if err == nil && problem == "ok" {
		problem = ""
		// An empty file is whole.
		err = db.QueryRowContext(ctx, `SELECT iif(count(*) = 0, 'it has no table ' || ?1, '')
			FROM sqlite_schema WHERE name = ?1`, table).Scan(&problem)
	}
	if isDamage(err) {
		return err.Error(), nil
	}
	return strings.Join(strings.Fields(problem), " "), err
}

// isDamage tells what is wrong in a file from what keeps it from being read.
func isDamage(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	// The low byte is the kind of the error.
	code := e.Code() & 0xff
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

// findSandbox looks for the books of a sandbox in all directories, and sets
// them aside when SQLite can't read them.
func (a *audit) findSandbox(ctx context.Context, dirs []string) error {
	for _, dir := range dirs {
		path := filepath.Join(dir, "sandbox", "sandbox.db")
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		problem, err := pageProblem(ctx, path, "trade")
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", path, err)
		case problem != "":
			a.result.Damaged = append(a.result.Damaged, Damage{"sandbox.db", problem})
		case a.sandbox != "":
			return fmt.Errorf("there are two sandboxes: %s and %s", a.sandbox, path)
		default:
			a.sandbox = path
		}
	}
	return nil
}

// open attaches all files to one connection, each under its actor's name, and
// fixes what is read of each, in the order of readOrder. The sandbox is read
// after the actors: what the shop knows, the gateway has done before.
func (a *audit) open(ctx context.Context) (db *sql.DB, err error) {
	var names []string
	for _, actor := range readOrder() {
		if a.files[actor] != "" {
			names = append(names, actor)
		}
	}
	if db, err = stores.OpenReadOnly(a.files[names[0]]); err != nil {
		return nil, err
	}
	if a.conn, err = db.Conn(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := a.attachAll(ctx, names); err != nil {
		return nil, errors.Join(err, a.conn.Close(), db.Close())
	}
	return db, nil
}

// attachAll attaches the files and begins to read each.
func (a *audit) attachAll(ctx context.Context, names []string) (err error) {
	for _, actor := range names {
		if err := attach(ctx, a.conn, actor, a.files[actor]); err != nil {
			return err
		}
	}
	if a.sandbox != "" {
		if err := attach(ctx, a.conn, "sandbox", a.sandbox); err != nil {
			return err
		}
	}
	if _, err := a.conn.ExecContext(ctx, "BEGIN"); err != nil {
		return err
	}
	a.cut = cut{}
	for _, actor := range names {
		a.reading(actor)
		// The first read of a file fixes what is seen of it.
		if a.cut[actor], err = readPosition(ctx, a.conn, actor); err != nil {
			return err
		}
	}
	return nil
}

// attach makes a file readable under a name.
func attach(ctx context.Context, conn *sql.Conn, name, path string) error {
	uri := url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: "mode=ro"}
	_, err := conn.ExecContext(ctx, `ATTACH ? AS "`+name+`"`, uri.String())
	return err
}
