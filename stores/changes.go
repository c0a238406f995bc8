package stores

import (
	"bytes"
	"fmt"

	"zombiezen.com/go/sqlite"
)

// Change is one row that changed.
type Change struct {
	Table string `json:"table"`
	// Op is insert, update or delete.
	Op string `json:"op"`
	// Old are the columns before, New those after it. An update has the key in
	// Old, and otherwise only what changed.
	Old map[string]any `json:"old,omitempty"`
	New map[string]any `json:"new,omitempty"`
}

// Record calls do and tells which rows have changed by it, all in all, in
// tables with a primary key.
func (c *Conn) Record(do func() error) (changes []Change, err error) {
	s, err := c.c.CreateSession("")
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	defer s.Delete()
	if err := s.Attach(""); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	if err := do(); err != nil {
		return nil, err
	}
	var set bytes.Buffer
	if err := s.WriteChangeset(&set); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	it, err := sqlite.NewChangesetIterator(&set)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	defer func() {
		if cerr := it.Close(); err == nil {
			err = cerr
		}
	}()
	columns := map[string][]string{}
	for {
		more, err := it.Next()
		if err != nil || !more {
			return changes, err
		}
		op, err := it.Operation()
		if err != nil {
			return nil, err
		}
		if columns[op.TableName] == nil {
			if columns[op.TableName], err = c.Columns(op.TableName); err != nil {
				return nil, err
			}
		}
		change, err := readChange(it, op, columns[op.TableName])
		if err != nil {
			return nil, err
		}
		changes = append(changes, change)
	}
}

// Columns are the names of a table's columns.
func (c *Conn) Columns(table string) (names []string, err error) {
	err = c.Each(func(r Row) error {
		var name string
		err := r.Scan(&name)
		names = append(names, name)
		return err
	}, `SELECT name FROM pragma_table_info(?)`, table)
	return names, err
}

func readChange(it *sqlite.ChangesetIterator, op *sqlite.ChangesetOperation, columns []string) (
	c Change, err error) {
	c = Change{Table: op.TableName, Op: map[sqlite.OpType]string{sqlite.OpInsert: "insert",
		sqlite.OpUpdate: "update", sqlite.OpDelete: "delete"}[op.Type]}
	if op.Type != sqlite.OpInsert {
		if c.Old, err = readValues(it.Old, columns, op.NumColumns); err != nil {
			return c, err
		}
	}
	if op.Type != sqlite.OpDelete {
		c.New, err = readValues(it.New, columns, op.NumColumns)
	}
	return c, err
}

// readValues reads the columns that a change has.
func readValues(get func(int) (sqlite.Value, error), columns []string, n int) (map[string]any,
	error) {
	values := map[string]any{}
	for i := range min(n, len(columns)) {
		v, err := get(i)
		if err != nil {
			return nil, fmt.Errorf("record: column %s: %w", columns[i], err)
		}
		switch v.Type() {
		case sqlite.TypeInteger:
			values[columns[i]] = v.Int64()
		case sqlite.TypeFloat:
			values[columns[i]] = v.Float()
		case sqlite.TypeText:
			values[columns[i]] = v.Text()
		case sqlite.TypeBlob:
			values[columns[i]] = fmt.Sprintf("x'%x'", v.Blob())
		}
	}
	return values, nil
}
