package actors

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ordo/stores"
)

// maxShown is how many bytes of a value a difference shows.
const maxShown = 200

// Difference is the first row in which two files differ.
type Difference struct {
	Table string `json:"table"`
	// Key are the values of the row's key.
	Key string `json:"key"`
	// Column is the first that differs; empty when one file has not the row.
	Column string `json:"column,omitempty"`
	// Live and Rebuilt are the values, or "no row".
	Live    string `json:"live"`
	Rebuilt string `json:"rebuilt"`
}

// String is for people.
func (d *Difference) String() string {
	column := ""
	if d.Column != "" {
		column = "." + d.Column
	}
	return fmt.Sprintf("%s%s [%s]: %s live, %s rebuilt", d.Table, column, d.Key, d.Live, d.Rebuilt)
}

// noRow stands for a row that one of the files has not.
const noRow = "no row"

// comparison compares the file of an actor (live) with one that was rebuilt.
type comparison struct {
	db     *sql.DB
	conn   *sql.Conn
	tables int
	rows   int64
}

// table is one to be compared: where to read it from, in either file, and what
// identifies and makes up a row.
type table struct {
	name string
	// source is a SELECT with the place of the schema's name as %s.
	source  string
	key     []string
	columns []string
}

func openComparison(ctx context.Context, live, rebuilt string) (c *comparison, err error) {
	c = &comparison{}
	c.db, err = stores.OpenTogether(map[string]string{"live": live, "rebuilt": rebuilt})
	if err != nil {
		return nil, err
	}
	if c.conn, err = c.db.Conn(ctx); err != nil {
		return nil, errors.Join(err, c.db.Close())
	}
	return c, nil
}

func (c *comparison) close() error { return errors.Join(c.conn.Close(), c.db.Close()) }

// run compares table by table, the domain's first, and answers the first
// difference; nil for none.
func (c *comparison) run(ctx context.Context) (*Difference, error) {
	if d, err := c.schema(ctx); d != nil || err != nil {
		return d, err
	}
	names, err := c.names(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		t, err := c.table(ctx, name)
		if err != nil {
			return nil, err
		}
		if t == nil {
			continue
		}
		if d, err := c.compare(ctx, t); d != nil || err != nil {
			return d, err
		}
	}
	return c.compareSent(ctx)
}

// schema compares tables, triggers, indexes and views as they are defined. A
// guard that is missing shows in no row.
func (c *comparison) schema(ctx context.Context) (*Difference, error) {
	d, err := c.compare(ctx, &table{name: "sqlite_schema", source: `SELECT type, name, sql
		FROM %s.sqlite_schema WHERE name NOT GLOB 'sqlite_*'`, key: []string{"type", "name"},
		columns: []string{"sql"}})
	c.tables, c.rows = 0, 0 // it holds none of the actor's
	return d, err
}

// names are the tables of the live file but SQLite's own.
func (c *comparison) names(ctx context.Context) (all []string, err error) {
	err = c.each(ctx, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		all = append(all, name)
		return err
	}, `SELECT name FROM live.sqlite_schema WHERE type = 'table'
		AND name NOT GLOB 'sqlite_*' ORDER BY name GLOB '[_]*', name`)
	return all, err
}

// table says how a table is compared; nil for one that is not.
func (c *comparison) table(ctx context.Context, name string) (*table, error) {
	t := &table{name: name, source: `SELECT * FROM %s."` + name + `"`}
	err := c.each(ctx, func(scan func(...any) error) error {
		var column string
		var key int
		err := scan(&column, &key)
		if key > 0 {
			t.key = append(t.key, column)
		} else {
			t.columns = append(t.columns, column)
		}
		return err
	}, `SELECT name, pk FROM pragma_table_info(?, 'live') ORDER BY pk, cid`, name)
	if err != nil {
		return nil, err
	}
	if t.key == nil {
		t.key = []string{"rowid"}
		t.source = `SELECT rowid AS rowid, * FROM %s."` + name + `"`
	}
	if strings.HasPrefix(name, "_") && strings.HasSuffix(name, "_version") {
		return nil, nil // when migrations ran here
	}
	if name == "_sent" || name == "_cut" {
		// _sent is compared message by message: its rows are those of batches.
		// Cuts are written beside the stream.
		return nil, nil
	}
	t.leaveOut()
	return t, nil
}

// leaveOut leaves out what differs between two files that are equal.
func (t *table) leaveOut() {
	leave := func(columns ...string) {
		t.columns = slices.DeleteFunc(t.columns, func(c string) bool {
			return slices.Contains(columns, c)
		})
	}
	switch t.name {
	case "_actor":
		leave("owner", "epoch") // random, by file
	case "_out":
		leave("committed", "after") // what the receivers said, and of the epoch
	case "_edge":
		// How many of those that count no more are forgotten depends on batches.
		t.source = fmt.Sprintf(`SELECT * FROM %%[1]s._edge
			WHERE at >= (SELECT now FROM %%[1]s._actor) - %d`, EdgeMemory.Nanoseconds())
	case "_dead":
		// A stack trace has addresses; its first line is the fault.
		leave("error")
		t.columns = append(t.columns, "fault")
		t.source = `SELECT *, substr(error, 1, instr(error || char(10), char(10)) - 1) AS fault
			FROM %s._dead`
	}
}

// compareSent compares the messages that both files still have, by their
// numbers: what is pruned, and how they are grouped, depends on batches.
func (c *comparison) compareSent(ctx context.Context) (*Difference, error) {
	// Once a receiver: a row of _sent is long, and so is looking one up.
	if err := c.exec(ctx, `CREATE TEMP TABLE kept AS SELECT receiver, max(first) AS first FROM (
		SELECT receiver, min(first) AS first FROM live._sent GROUP BY receiver
		UNION ALL SELECT receiver, min(first) FROM rebuilt._sent GROUP BY receiver)
		GROUP BY receiver HAVING count(*) = 2`); err != nil {
		return nil, err
	}
	for _, schema := range []string{"live", "rebuilt"} {
		if err := c.exec(ctx, `CREATE TEMP TABLE sent_`+schema+` (receiver, number, subject, cause,
			body, PRIMARY KEY (receiver, number))`); err != nil {
			return nil, err
		}
		if err := c.exec(ctx, `INSERT INTO sent_`+schema+`
			SELECT o.receiver, number, subject, cause, body FROM `+schema+`._outbox o, kept k
			WHERE k.receiver = o.receiver AND number >= k.first`); err != nil {
			return nil, err
		}
	}
	return c.compare(ctx, &table{name: "_outbox", source: `SELECT * FROM sent_%s`,
		key: []string{"receiver", "number"}, columns: []string{"subject", "cause", "body"}})
}

func (t *table) from(schema string) string {
	return "(" + fmt.Sprintf(t.source, schema) + ")"
}

// compare finds the first row of the live file that the other has not or has
// otherwise, and else the first that only the other has.
func (c *comparison) compare(ctx context.Context, t *table) (*Difference, error) {
	c.tables++
	var n int64
	if err := c.conn.QueryRowContext(ctx, `SELECT count(*) FROM `+t.from("live")).
		Scan(&n); err != nil {
		return nil, fmt.Errorf("%s: %w", t.name, err)
	}
	c.rows += n
	same := t.list(" AND ", t.key, `l."%[1]s" = r."%[1]s"`)
	keys := t.list(", ", t.key, `l."%[1]s"`)
	other := `r."` + t.key[0] + `" IS NULL`
	for _, column := range t.columns {
		other += ` OR l."` + column + `" IS NOT r."` + column + `"`
	}
	key, err := c.first(ctx, len(t.key), `SELECT `+keys+` FROM `+t.from("live")+` l LEFT JOIN `+
		t.from("rebuilt")+` r ON `+same+` WHERE `+other+` ORDER BY `+keys+` LIMIT 1`)
	if err == nil && key == nil {
		key, err = c.first(ctx, len(t.key), `SELECT `+keys+` FROM `+t.from("rebuilt")+
			` l LEFT JOIN `+t.from("live")+` r ON `+same+` WHERE r."`+t.key[0]+`" IS NULL
			ORDER BY `+keys+` LIMIT 1`)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.name, err)
	}
	if key == nil {
		return nil, nil
	}
	return c.explain(ctx, t, key)
}

func (t *table) list(by string, columns []string, format string) string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = fmt.Sprintf(format, c)
	}
	return strings.Join(all, by)
}

// explain says how the rows of a key differ.
func (c *comparison) explain(ctx context.Context, t *table, key []any) (*Difference, error) {
	d := &Difference{Table: t.name, Live: noRow, Rebuilt: noRow}
	shown := make([]string, len(key))
	for i, k := range key {
		shown[i] = show(k)
	}
	d.Key = strings.Join(shown, ", ")
	// The constant is there for tables that are all key.
	query := `SELECT ` + t.list("", t.columns, `"%s", `) + `1 FROM %s WHERE ` +
		t.list(" AND ", t.key, `"%s" = ?`)
	rows := [2][]any{}
	for i, schema := range []string{"live", "rebuilt"} {
		var err error
		if rows[i], err = c.first(ctx, len(t.columns)+1, fmt.Sprintf(query, t.from(schema)),
			key...); err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
	}
	switch live, rebuilt := rows[0], rows[1]; {
	case live == nil:
		d.Rebuilt = "a row"
	case rebuilt == nil:
		d.Live = "a row"
	default:
		for i, column := range t.columns {
			l, r := show(live[i]), show(rebuilt[i])
			if l != r {
				d.Column, d.Live, d.Rebuilt = column, cutTo(l), cutTo(r)
				break
			}
		}
	}
	return d, nil
}

func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case []byte:
		return "x'" + hex.EncodeToString(v) + "'"
	}
	return fmt.Sprint(v)
}

func cutTo(s string) string {
	if len(s) > maxShown {
		return s[:maxShown] + "…"
	}
	return s
}

// first reads the first row of a query with n columns; nil for none.
func (c *comparison) first(ctx context.Context, n int, query string, args ...any) ([]any, error) {
	values, into := make([]any, n), make([]any, n)
	for i := range values {
		into[i] = &values[i]
	}
	err := c.conn.QueryRowContext(ctx, query, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return values, err
}

func (c *comparison) exec(ctx context.Context, query string) error {
	_, err := c.conn.ExecContext(ctx, query)
	return err
}

func (c *comparison) each(ctx context.Context, do func(scan func(...any) error) error,
	query string, args ...any) error {
	rows, err := c.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
