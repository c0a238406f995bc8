package audit

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// lookOrders is the most orders that are looked at together.
const lookOrders = 2000

// part are the rows of a table that an order has.
type part struct {
	table string
	// order is the column with the order's id.
	order string
	// more narrows the rows where the column has no index.
	more string
}

// parts are the rows that the checks about orders read, by actor.
var parts = map[string][]part{
	"goods":  {{table: "hold", order: "order_id"}},
	"coupon": {{table: "coupon", order: "order_id"}},
	"wallet": {{table: "entry", order: "order_id"}, {table: "_step", order: "order_id"}},
	"payment": {{table: "payment", order: "order_id"}, {table: "attempt", order: "order_id"},
		{table: "log", order: "order_id"}, {table: "refund", order: "order_id"}},
	"learning": {{table: "enrolment", order: "order_id",
		more: " AND user_id IN (SELECT user FROM pick)"}},
	"shipping": {{table: "shipment", order: "order_id"}},
	"journal":  {{table: "entry", order: "order_id"}},
	"order": {{table: "orders", order: "id"}, {table: "steps", order: "order_id"},
		{table: "refund", order: "order_id"}},
}

// look reads some orders of all actors into memory, with the same tables, and
// runs the checks there. Each file is read in a transaction as short as copying
// those rows takes. It belongs to one goroutine.
type look struct {
	books
	db   *sql.DB
	conn *sql.Conn
}

// seen is what one look has found.
type seen struct {
	// found deviates, of orders that rest; moving are orders on their way of
	// which something deviates.
	found  []Deviation
	moving []string
	// checks ran; leftOut are those whose files are not there.
	checks, leftOut []string
}

func newLook(ctx context.Context, b books) (l *look, err error) {
	l = &look{books: b}
	if l.db, err = sql.Open("sqlite", "file::memory:?_pragma=busy_timeout(5000)"); err != nil {
		return nil, err
	}
	if l.conn, err = l.db.Conn(ctx); err != nil {
		return nil, errors.Join(err, l.db.Close())
	}
	if err := l.make(ctx); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *look) close() error { return errors.Join(l.conn.Close(), l.db.Close()) }

func (l *look) exec(ctx context.Context, query string, args ...any) error {
	_, err := l.conn.ExecContext(ctx, query, args...)
	return err
}

// make makes the tables in memory, after those of the files.
func (l *look) make(ctx context.Context) error {
	if err := l.exec(ctx, `CREATE TABLE pick (id TEXT PRIMARY KEY, user TEXT)`); err != nil {
		return err
	}
	for actor, tables := range parts {
		if l.files[actor] == "" {
			continue
		}
		if err := l.exec(ctx, `ATTACH ':memory:' AS "`+actor+`"`); err != nil {
			return err
		}
		err := l.with(ctx, actor, func() error {
			for _, p := range tables {
				if err := l.exec(ctx, fmt.Sprintf(`CREATE TABLE "%s"."%s" AS SELECT * FROM src."%s"
					WHERE 0`, actor, p.table, p.table)); err != nil {
					return err
				}
				if err := l.exec(ctx, fmt.Sprintf(`CREATE INDEX "%s"."%s_look" ON "%s" ("%s")`,
					actor, p.table, p.table, p.order)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// with attaches an actor's file as src for as long as do takes, which sees one
// moment of it.
func (l *look) with(ctx context.Context, actor string, do func() error) error {
	if err := attach(ctx, l.conn, "src", l.files[actor]); err != nil {
		return fmt.Errorf("%s: %w", actor, err)
	}
	err := l.exec(ctx, "BEGIN")
	if err == nil {
		if err = do(); err == nil {
			err = l.exec(ctx, "COMMIT")
		} else {
			err = errors.Join(err, l.exec(context.WithoutCancel(ctx), "ROLLBACK"))
		}
	}
	if err = errors.Join(err, l.exec(context.WithoutCancel(ctx), "DETACH src")); err != nil {
		return fmt.Errorf("%s: %w", actor, err)
	}
	return nil
}

// at looks at some orders, lookOrders at most.
func (l *look) at(ctx context.Context, orders []string) (*seen, error) {
	if err := l.pick(ctx, orders); err != nil {
		return nil, err
	}
	c := cut{}
	for _, actor := range readOrder() {
		if l.files[actor] == "" {
			continue
		}
		l.reading(actor)
		if err := l.with(ctx, actor, func() (err error) {
			c[actor], err = l.copy(ctx, actor)
			return err
		}); err != nil {
			return nil, err
		}
	}
	s := &seen{checks: []string{channels, undelivered}}
	for _, rule := range l.rules() {
		if rule.whole() {
			continue
		}
		if !rule.readable(l.files) {
			s.leftOut = append(s.leftOut, rule.name)
			continue
		}
		s.checks = append(s.checks, rule.name)
		var err error
		if s.found, err = l.run(ctx, l.conn, &rule, s.found); err != nil {
			return nil, err
		}
	}
	all := ordersOf(s.found)
	wrong, err := l.settle(ctx, c, &s.found, new(int))
	rest := ordersOf(s.found)
	s.moving = slices.DeleteFunc(all,
		func(order string) bool { return slices.Contains(rest, order) })
	s.found = append(s.found, wrong...)
	return s, err
}

// pick says which orders are looked at.
func (l *look) pick(ctx context.Context, orders []string) error {
	if err := l.exec(ctx, `DELETE FROM pick`); err != nil {
		return err
	}
	text, err := json.Marshal(orders)
	if err != nil {
		return err
	}
	if err := l.exec(ctx, `INSERT OR IGNORE INTO pick SELECT value, '' FROM json_each(?)`,
		string(text)); err != nil {
		return err
	}
	if l.files["order"] == "" {
		return nil
	}
	return l.with(ctx, "order", func() error {
		return l.exec(ctx, `UPDATE pick SET user = o.user FROM src.orders o WHERE o.id = pick.id`)
	})
}

// copy reads an actor's rows of the orders picked, and where it stands.
func (l *look) copy(ctx context.Context, actor string) (position, error) {
	for _, p := range parts[actor] {
		if err := l.exec(ctx, fmt.Sprintf(`DELETE FROM "%s"."%s"`, actor, p.table)); err != nil {
			return position{}, err
		}
		if err := l.exec(ctx, fmt.Sprintf(`INSERT INTO "%s"."%s" SELECT * FROM src."%s"
			WHERE "%s" IN (SELECT id FROM pick)%s`, actor, p.table, p.table, p.order,
			p.more)); err != nil {
			return position{}, err
		}
	}
	return readPosition(ctx, l.conn, "src")
}

// wholly runs a check that reads all rows, on the files themselves, in a
// transaction of its own.
func (b *books) wholly(ctx context.Context, c *check) (found []Deviation, err error) {
	db, err := sql.Open("sqlite", "file::memory:?_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for _, actor := range c.needs {
		if err := attach(ctx, conn, actor, b.files[actor]); err != nil {
			return nil, err
		}
	}
	if c.gateway() {
		if err := attach(ctx, conn, "sandbox", b.sandbox); err != nil {
			return nil, err
		}
	}
	if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
		return nil, err
	}
	for _, actor := range c.needs {
		// The actors are read before the gateway.
		if _, err := readPosition(ctx, conn, actor); err != nil {
			return nil, err
		}
	}
	return b.run(ctx, conn, c, nil)
}
