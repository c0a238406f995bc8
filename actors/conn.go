package actors

import (
	"context"
	"database/sql"
	"fmt"
)

// Row is one row of a result.
type Row interface {
	// Scan copies the columns into dst, as database/sql does.
	Scan(dst ...any) error
}

// conn is a database connection with its prepared statements. It belongs to
// one goroutine at a time.
type conn struct {
	c     *sql.Conn
	stmts map[string]*sql.Stmt
}

func newConn(c *sql.Conn) *conn { return &conn{c: c, stmts: map[string]*sql.Stmt{}} }

func (c *conn) prepare(query string) (*sql.Stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	s, err := c.c.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, err)
	}
	c.stmts[query] = s
	return s, nil
}

func (c *conn) exec(query string, args ...any) (int64, error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	r, err := s.Exec(args...)
	if err != nil {
		return 0, fmt.Errorf("exec %q: %w", query, err)
	}
	return r.RowsAffected()
}

// Row reads one row; its Scan answers sql.ErrNoRows when there is none.
func (c *conn) Row(query string, args ...any) Row {
	s, err := c.prepare(query)
	if err != nil {
		return failedRow{err}
	}
	return s.QueryRow(args...)
}

// Each calls scan for every row of the result until it returns an error.
func (c *conn) Each(scan func(Row) error, query string, args ...any) error {
	s, err := c.prepare(query)
	if err != nil {
		return err
	}
	rows, err := s.Query(args...)
	if err != nil {
		return fmt.Errorf("query %q: %w", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

type failedRow struct{ err error }

func (r failedRow) Scan(...any) error { return r.err }

// View is committed state, read in one transaction. It is good only inside of
// the call that got it.
type View struct{ *conn }
