package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ordo/api"
)

// round looks at some orders.
func (s *Standing) round(ctx context.Context) (err error) {
	began := time.Now()
	if s.look == nil {
		if s.look, err = newLook(ctx, s.books); err != nil {
			return err
		}
	}
	p, err := s.pick(ctx)
	if err != nil {
		return err
	}
	seen, err := s.look.at(ctx, p.orders)
	if err != nil {
		return err
	}
	s.news, s.past, s.again = p.news, p.past, seen.moving
	s.mu.Lock()
	defer s.mu.Unlock()
	looked := map[string]bool{"": true}
	for _, order := range p.orders {
		looked[order] = true
	}
	for _, order := range seen.moving {
		delete(looked, order)
	}
	s.note(seen.found, false, "", func(d *suspect) bool {
		return d.unit == "" && (looked[d.Order] || d.Check == undelivered)
	})
	r := &s.report
	took := max(time.Since(began), time.Millisecond)
	s.size = max(leastOrders,
		min(lookOrders, 2*s.size, int(float64(s.size)*float64(roundTakes)/float64(took))))
	r.At, r.TookMicros = api.TimeOf(time.Now()), took.Microseconds()
	r.Orders, r.Moving, r.Behind = len(p.orders), len(seen.moving), p.behind
	r.Rounds++
	if p.passed {
		r.PassedAt = r.At
	}
	return nil
}

// picked are the orders of a round, and how far news and past are looked at
// with them.
type picked struct {
	orders     []string
	news, past int64
	behind     int64
	passed     bool
}

// pick chooses the orders of a round.
func (s *Standing) pick(ctx context.Context) (p picked, err error) {
	p.orders = append(p.orders, s.again...)
	for _, d := range s.suspects {
		if d.unit == "" && d.Order != "" && len(p.orders) < s.size/3 {
			p.orders = append(p.orders, d.Order)
		}
	}
	p.orders = p.orders[:min(len(p.orders), s.size/3)]
	p.news, p.past = s.news, s.past
	if err := s.pickNews(ctx, &p); err != nil {
		return p, err
	}
	if err := s.pickPast(ctx, &p); err != nil {
		return p, err
	}
	slices.Sort(p.orders)
	p.orders = slices.Compact(p.orders)
	return p, nil
}

// pickNews adds the orders of the journal's next entries. At the first time it
// only finds out where the journal ends.
func (s *Standing) pickNews(ctx context.Context, p *picked) error {
	if s.books.files["journal"] == "" {
		return nil
	}
	return s.look.with(ctx, "journal", func() error {
		var last int64
		if err := s.look.conn.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0)
			FROM src.entry`).Scan(&last); err != nil {
			return err
		}
		if p.news < 0 {
			p.news = last
		}
		// An order's entries stand close together, so they are looked at at once.
		orders, full := map[string]bool{}, false
		err := each(ctx, s.look.conn, func(scan func(...any) error) error {
			var seq int64
			var order string
			if err := scan(&seq, &order); err != nil {
				return err
			}
			full = full || len(orders) >= s.size/3 && !orders[order]
			if !full {
				p.news, orders[order] = seq, true
			}
			return nil
		}, `SELECT seq, order_id FROM src.entry WHERE seq > ? ORDER BY seq LIMIT ?`, p.news,
			newsEntries)
		for order := range orders {
			p.orders = append(p.orders, order)
		}
		p.behind = last - p.news
		return err
	})
}

// pickPast fills the round up with orders of the past, from where the last one
// ended.
func (s *Standing) pickPast(ctx context.Context, p *picked) error {
	if s.books.files["order"] == "" {
		return nil
	}
	room := s.size - len(p.orders)
	n := 0
	err := s.look.with(ctx, "order", func() error {
		return each(ctx, s.look.conn, func(scan func(...any) error) error {
			var order string
			err := scan(&p.past, &order)
			p.orders = append(p.orders, order)
			n++
			return err
		}, `SELECT n, id FROM src.orders WHERE n > ? ORDER BY n LIMIT ?`, p.past, room)
	})
	if n < room {
		p.past, p.passed = 0, true
	}
	return err
}

// strays finds orders that an actor has rows of and the order actor does not
// know, to be looked at in the next round.
func (s *Standing) strays(ctx context.Context, actor string) (err error) {
	l, err := newLook(ctx, books{files: map[string]string{}, reading: func(string) {}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	for _, name := range []string{actor, "order"} {
		if err := attach(ctx, l.conn, name, s.books.files[name]); err != nil {
			return err
		}
	}
	for _, p := range parts[actor] {
		if p.table == "_step" {
			continue
		}
		err := each(ctx, l.conn, func(scan func(...any) error) error {
			var order string
			err := scan(&order)
			s.again = append(s.again, order)
			return err
		}, fmt.Sprintf(`SELECT DISTINCT t."%s" FROM "%s"."%s" t WHERE t."%s" <> '' AND NOT EXISTS (
			SELECT 1 FROM "order".orders o WHERE o.id = t."%s") LIMIT 100`, p.order, actor, p.table,
			p.order, p.order))
		if err != nil {
			return err
		}
	}
	return nil
}
