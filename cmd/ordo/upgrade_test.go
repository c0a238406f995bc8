package main

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"ordo/actors"
	"ordo/actors/audit"
	"ordo/stores"
)

// aged makes an actor's closed file one of the first release: the tables are
// made by the first version of the schemas, and the rows have what those know.
func aged(t *testing.T, spec *actors.Spec, path string) {
	t.Helper()
	runtime, err := os.ReadFile("../../actors/schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	first := path + ".first"
	f, err := stores.Open(first)
	if err == nil {
		err = f.Migrate(t.Context(), "runtime", string(runtime), nil)
	}
	if err == nil {
		err = f.Migrate(t.Context(), spec.Name, spec.Schema, nil)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	// Guards are for handlers: they are taken off while rows are copied.
	db := rawFile(t, first)
	guards := texts(t, db, `SELECT sql FROM sqlite_schema WHERE type = 'trigger'`)
	for _, name := range texts(t, db, `SELECT name FROM sqlite_schema WHERE type = 'trigger'`) {
		execFile(t, db, `DROP TRIGGER `+name)
	}
	execFile(t, db, `ATTACH `+quoted(path)+` AS now`)
	for _, name := range texts(t, db, `SELECT name FROM main.sqlite_schema WHERE type = 'table'
			AND name NOT GLOB 'sqlite_*' AND name NOT GLOB '_*_version'`) {
		columns := strings.Join(texts(t, db, `SELECT '"' || name || '"' FROM pragma_table_info(`+
			quoted(name)+`, 'main')`), ", ")
		execFile(t, db, fmt.Sprintf(`INSERT INTO main.%q (%s) SELECT %[2]s FROM now.%[1]q`, name, columns))
	}
	for _, guard := range guards {
		execFile(t, db, guard)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(first, path); err != nil {
		t.Fatal(err)
	}
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func rawFile(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(path))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	return db
}

func execFile(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	if _, err := db.Exec(query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func texts(t *testing.T, db *sql.DB, query string) (all []string) {
	t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// defined is what a file defines, but for the tables' rows.
func defined(t *testing.T, path string) []string {
	t.Helper()
	db := rawFile(t, path)
	defer db.Close()
	return texts(t, db, `SELECT type || ' ' || name || ': ' || coalesce(sql, '') FROM sqlite_schema
		ORDER BY 1`)
}

// counted are the rows of a file's tables, as text.
func counted(t *testing.T, path string) (all []string) {
	t.Helper()
	db := rawFile(t, path)
	defer db.Close()
	for _, name := range texts(t, db, `SELECT name FROM sqlite_schema WHERE type = 'table'
			AND name NOT GLOB 'sqlite_*' AND name NOT GLOB '_*' ORDER BY name`) {
		all = append(all, texts(t, db, `SELECT `+quoted(name)+` || ': ' || count(*) FROM "`+name+`"`)...)
	}
	return all
}

// A shop goes on with files that the first release has made: they get the
// tables of today, keep their rows, and their orders are paid, refunded and
// cancelled as if nothing had been.
func TestFilesOfTheFirstRelease(t *testing.T) {
	b, orders := moneyDay.books(t)
	before := map[string][]string{}
	for _, spec := range specs() {
		path := audit.File(b.dir, spec.Name)
		aged(t, spec, path)
		before[spec.Name] = counted(t, path)
	}

	b.open()
	if r := b.audit(); !r.OK || r.InFlight != 0 {
		t.Errorf("upgraded: %+v", r)
	}
	for _, spec := range specs() {
		path := audit.File(b.dir, spec.Name)
		was, is := before[spec.Name], counted(t, path)
		for _, line := range was {
			if !slices.Contains(is, line) {
				t.Errorf("%s: %v rows were, %v are", spec.Name, was, is)
				break
			}
		}
	}
	b.outcomes() // of the refund that was running
	b.pay(orders["placed"], 1)
	b.refund(orders["placed"], "placed-1", 0)
	b.refund(orders["part"], "part-3")
	b.outcomes()
	b.pay(b.buy("later", "", 100, "A", "C"), 1)
	b.submit("lost", 1, couponID(0), 0)
	b.tick()
	r := b.audit()
	if !r.OK || r.InFlight != 0 || r.Orders["paid"] != 10 || r.Orders["placed"] != 0 {
		t.Errorf("went on: %+v", r)
	}
	b.close()
	fresh := newBooks(t)
	fresh.close()
	for _, spec := range specs() {
		was, is := defined(t, audit.File(b.dir, spec.Name)), defined(t, audit.File(fresh.dir, spec.Name))
		if !slices.Equal(was, is) {
			t.Errorf("%s: an upgraded file has\n%s\na new one\n%s", spec.Name, strings.Join(was, "\n"),
				strings.Join(is, "\n"))
		}
	}
}
