package stores

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"

	modernc "modernc.org/sqlite"
	"zombiezen.com/go/sqlite"

	"ordo/api"
)

// ErrNoRows is what Row.Scan answers when there is no row.
var ErrNoRows = sql.ErrNoRows

// Row is one row of a result.
type Row interface {
	// Scan copies the columns into dst, pointers as database/sql takes them.
	Scan(dst ...any) error
}

// Conn is one connection to a database file, with its statements prepared once
// and kept by their text, which must therefore be constant. It belongs to one
// goroutine at a time. Arguments of LIMIT, and those that a column equals in a
// statement with ORDER BY or JOIN, are written +?: for a bare ? SQLite plans
// such a statement anew at every run, which takes longer than running it. It goes past
// database/sql, which would add half again to the time of each statement.
type Conn struct {
	c   *sqlite.Conn
	row row
	// Statements counts the statements run; any goroutine may load it.
	Statements atomic.Int64
	// Fail, when not nil, is asked before each statement, and what it answers is
	// the statement's error: simulations break a store with it.
	Fail func(query string) error
}

// ErrFull is the fault of a full disk, for Conn.Fail.
var ErrFull = sqlite.ResultFull.ToError()

// openConn opens a connection and runs the pragmas.
func openConn(path string, flags sqlite.OpenFlags, pragmas ...string) (*Conn, error) {
	c, err := sqlite.OpenConn(path, flags)
	if err != nil {
		return nil, err
	}
	conn := &Conn{c: c}
	for _, p := range pragmas {
		if err := conn.pragma(p); err != nil {
			c.Close()
			return nil, fmt.Errorf("pragma %s: %w", p, err)
		}
	}
	return conn, nil
}

func (c *Conn) pragma(p string) error {
	s, _, err := c.c.PrepareTransient("PRAGMA " + p)
	if err != nil {
		return err
	}
	if _, err := s.Step(); err != nil {
		return err
	}
	return s.Finalize()
}

// Close closes the connection.
func (c *Conn) Close() error { return c.c.Close() }

// Begin starts a transaction, as "BEGIN" or "BEGIN IMMEDIATE". One that an
// error has left open is rolled back first, so that the connection heals.
func (c *Conn) Begin(how string) error {
	if err := c.Rollback(); err != nil {
		return err
	}
	_, err := c.Exec(how)
	return err
}

// Rollback rolls back the transaction, unless an error has ended it already.
func (c *Conn) Rollback() error {
	if c.c.AutocommitEnabled() {
		return nil
	}
	_, err := c.Exec("ROLLBACK")
	return err
}

// start prepares a statement, binds its arguments and takes the first step.
func (c *Conn) start(query string, args []any) (s *sqlite.Stmt, ok bool, err error) {
	c.Statements.Add(1)
	if c.Fail != nil {
		if err := c.Fail(query); err != nil {
			return nil, false, inQuery(query, err)
		}
	}
	if s, err = c.c.Prepare(query); err != nil {
		return nil, false, err
	}
	for i, a := range args {
		if err := bind(s, i+1, a); err != nil {
			return nil, false, inQuery(query, fmt.Errorf("argument %d: %w", i+1, err))
		}
	}
	if ok, err = s.Step(); err != nil {
		return nil, false, inQuery(query, err)
	}
	return s, ok, nil
}

// inQuery says which statement an error is of, in one line.
func inQuery(query string, err error) error {
	return fmt.Errorf("%q: %w", strings.Join(strings.Fields(query), " "), err)
}

// Exec runs a statement and returns the number of rows it changed.
func (c *Conn) Exec(query string, args ...any) (int64, error) {
	s, ok, err := c.start(query, args)
	if err != nil {
		return 0, err
	}
	for ok {
		if ok, err = s.Step(); err != nil {
			return 0, inQuery(query, err)
		}
	}
	n := int64(c.c.Changes())
	return n, s.Reset()
}

// Row runs a statement and reads its first row; Scan answers ErrNoRows when
// there is none. The row is good until the next call of the connection.
func (c *Conn) Row(query string, args ...any) Row {
	s, ok, err := c.start(query, args)
	if err == nil && !ok {
		err = ErrNoRows
		if rerr := s.Reset(); rerr != nil {
			err = rerr
		}
	}
	c.row = row{s, err, true}
	return &c.row
}

// Found tells whether the last call of Row has found a row.
func (c *Conn) Found() bool { return !errors.Is(c.row.err, ErrNoRows) }

// Each calls scan for every row of the result until it returns an error.
func (c *Conn) Each(scan func(Row) error, query string, args ...any) (err error) {
	s, ok, err := c.start(query, args)
	if err != nil {
		return err
	}
	// An open statement would hold its snapshot, also when scan panics.
	defer func() {
		if rerr := s.Reset(); err == nil {
			err = rerr
		}
	}()
	r := row{s: s}
	for ok {
		if err := scan(&r); err != nil {
			return err
		}
		if ok, err = s.Step(); err != nil {
			return inQuery(query, err)
		}
	}
	return nil
}

type row struct {
	s   *sqlite.Stmt
	err error
	// only is true when Scan ends the statement.
	only bool
}

// Scan implements Row.
func (r *row) Scan(dst ...any) (err error) {
	if r.err != nil {
		return r.err
	}
	if n := r.s.ColumnCount(); n != len(dst) {
		err = fmt.Errorf("the row has %d columns, %d are wanted", n, len(dst))
	}
	for i := 0; i < len(dst) && err == nil; i++ {
		if err = scan(r.s, i, dst[i]); err != nil {
			err = fmt.Errorf("column %d (%s): %w", i, r.s.ColumnName(i), err)
		}
	}
	if r.only {
		if rerr := r.s.Reset(); err == nil {
			err = rerr
		}
	}
	return err
}

func bind(s *sqlite.Stmt, i int, v any) error {
	switch v := v.(type) {
	case nil:
		s.BindNull(i)
	case string:
		s.BindText(i, v)
	case int64:
		s.BindInt64(i, v)
	case int:
		s.BindInt64(i, int64(v))
	case api.Time:
		s.BindInt64(i, int64(v))
	case bool:
		s.BindBool(i, v)
	case []byte:
		if v == nil {
			s.BindNull(i)
			return nil
		}
		s.BindBytes(i, v)
	default:
		return bindAny(s, i, v)
	}
	return nil
}

// bindAny binds what database/sql would: named types and driver.Valuers.
func bindAny(s *sqlite.Stmt, i int, v any) error {
	value, err := driver.DefaultParameterConverter.ConvertValue(v)
	if err != nil {
		return err
	}
	switch value := value.(type) {
	case float64:
		s.BindFloat(i, value)
		return nil
	case nil, string, int64, bool, []byte:
		return bind(s, i, value)
	}
	return fmt.Errorf("a %T can't be stored", v)
}

func scan(s *sqlite.Stmt, i int, dst any) error {
	null := s.ColumnType(i) == sqlite.TypeNull
	switch dst := dst.(type) {
	case *sql.NullString:
		dst.String, dst.Valid = s.ColumnText(i), !null
		return nil
	case *sql.NullInt64:
		dst.Int64, dst.Valid = s.ColumnInt64(i), !null
		return nil
	case *[]byte:
		*dst = columnBytes(s, i, null)
		return nil
	case *json.RawMessage:
		*dst = columnBytes(s, i, null)
		return nil
	}
	if null {
		return fmt.Errorf("NULL does not fit into %T", dst)
	}
	switch dst := dst.(type) {
	case *string:
		*dst = s.ColumnText(i)
	case *int64:
		*dst = s.ColumnInt64(i)
	case *int:
		*dst = int(s.ColumnInt64(i))
	case *api.Time:
		*dst = api.Time(s.ColumnInt64(i))
	case *bool:
		*dst = s.ColumnInt64(i) != 0
	case *float64:
		*dst = s.ColumnFloat(i)
	default:
		return scanAny(s, i, dst)
	}
	return nil
}

func columnBytes(s *sqlite.Stmt, i int, null bool) []byte {
	if null {
		return nil
	}
	b := make([]byte, s.ColumnLen(i))
	return b[:s.ColumnBytes(i, b)]
}

// scanAny reads into pointers to named integers and strings.
func scanAny(s *sqlite.Stmt, i int, dst any) error {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return fmt.Errorf("%T is not a pointer to scan into", dst)
	}
	switch e := v.Elem(); {
	case e.CanInt():
		e.SetInt(s.ColumnInt64(i))
	case e.CanUint():
		e.SetUint(uint64(s.ColumnInt64(i)))
	case e.Kind() == reflect.String:
		e.SetString(s.ColumnText(i))
	default:
		return fmt.Errorf("can't scan into %T", dst)
	}
	return nil
}

// faults are the result codes that are a fault of the store, not of a
// statement.
var faults = map[sqlite.ResultCode]bool{
	sqlite.ResultFull: true, sqlite.ResultIOErr: true, sqlite.ResultBusy: true,
	sqlite.ResultLocked: true, sqlite.ResultReadOnly: true, sqlite.ResultCorrupt: true,
	sqlite.ResultNotADB: true, sqlite.ResultCantOpen: true, sqlite.ResultNoMem: true,
	sqlite.ResultPerm: true, sqlite.ResultProtocol: true,
}

// IsFault tells a fault of the store (disk full, input/output, lock, damage)
// from a fault of the statement, such as a broken constraint.
func IsFault(err error) bool {
	var e *modernc.Error // of database/sql, with which files are migrated
	if errors.As(err, &e) {
		return faults[sqlite.ResultCode(e.Code()).ToPrimary()]
	}
	return errors.Is(err, ErrDamaged) || err != nil && faults[sqlite.ErrCode(err).ToPrimary()]
}
