package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ordo/actors"
	"ordo/actors/settle"
	"ordo/api"
	"ordo/stores"
)

// maxSettled is the most orders that one repair settles.
const maxSettled = 10_000

// unsettled is an order whose files differ, and what becomes of it.
type unsettled struct {
	Order string `json:"order"`
	// State by the order's file; empty when it does not know the order.
	State  string              `json:"state,omitempty"`
	Steps  []settle.Difference `json:"steps,omitempty"`
	Untold string              `json:"untold,omitempty"`
	// Remade says how the order is made again that the order's file does not
	// know; empty when it is not.
	Remade string `json:"remade,omitempty"`
	// Cannot says why messages can't settle it; empty when they can.
	Cannot string `json:"cannot,omitempty"`

	// lost is what it is made of; it has the shopper's address.
	lost *api.RemakeOrder
}

// String is for people.
func (u *unsettled) String() string {
	var parts []string
	for i := range u.Steps {
		parts = append(parts, u.Steps[i].String())
	}
	if u.Untold != "" {
		parts = append(parts, "the journal lacks "+u.Untold)
	}
	return fmt.Sprintf("%s (%s): %s", u.Order, or(u.State, "not known to order"),
		strings.Join(parts, "; "))
}

// message is what the order actor is sent about it.
func (u *unsettled) message() api.Message {
	if u.lost != nil {
		return u.lost // all steps are asked for
	}
	m := &api.SettleOrder{Order: u.Order, Untold: u.Untold}
	for _, d := range u.Steps {
		m.Found = append(m.Found, d.FoundStep)
	}
	return m
}

// orderBooks compares the order actor's file with its participants'.
type orderBooks struct {
	db    *sql.DB
	files map[string]string
	// moving are the orders that a message under way is about; they are left to
	// it.
	moving map[string]bool
	found  map[string]*unsettled
}

// findUnsettled lists the orders that no message under way will settle. When the
// order's file is older than what it sent, what is under way to it answers
// questions that it does not know of, and settles nothing. The files must not be
// written meanwhile.
func findUnsettled(ctx context.Context, files map[string]string, older bool) (all []*unsettled,
	err error) {
	if files["order"] == "" {
		return nil, nil
	}
	b := &orderBooks{files: files, moving: map[string]bool{}, found: map[string]*unsettled{}}
	if b.db, err = stores.OpenTogether(files); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.db.Close()) }()
	if err := b.inFlight(ctx, older); err != nil {
		return nil, err
	}
	for _, look := range []func(context.Context) error{b.compareAll, b.untold, b.remake} {
		if err := look(ctx); err != nil {
			return nil, err
		}
	}
	for _, u := range b.found {
		if u.State != "" {
			u.Cannot = settle.Cannot(u.State, u.Steps)
		}
		all = append(all, u)
	}
	slices.SortFunc(all, func(a, b *unsettled) int { return strings.Compare(a.Order, b.Order) })
	return all, nil
}

// compareAll lists where the order actor's file and those of its participants
// differ.
func (b *orderBooks) compareAll(ctx context.Context) error {
	for _, spec := range specs() {
		if b.files[spec.Name] == "" || !slices.Contains(settle.Participants(), spec.Name) {
			continue
		}
		if err := b.compare(ctx, spec); err != nil {
			return fmt.Errorf("%s: %w", spec.Name, err)
		}
	}
	return nil
}

// inFlight notes the orders of messages that their receivers have not committed.
func (b *orderBooks) inFlight(ctx context.Context, older bool) error {
	for from := range b.files {
		for to := range b.files {
			if older && to == "order" {
				continue
			}
			// Only rows that hold such messages are taken apart.
			err := b.each(ctx, `WITH taken AS (SELECT coalesce(max(number), 0) AS n
					FROM "`+to+`"._in WHERE sender = '`+from+`.0' AND retired = 0)
				SELECT coalesce(m.value -> 'body' ->> '$.order', '')
				FROM taken, "`+from+`"._sent s, json_each(s.messages) m
				WHERE s.receiver = '`+to+`.0' AND s.last > taken.n AND s.first + m.key > taken.n`,
				func(scan func(...any) error) error {
					var order string
					err := scan(&order)
					b.moving[order] = true
					return err
				})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// compare lists where order and participant differ. The query leaves out where both
// say the same, which is nearly everywhere.
func (b *orderBooks) compare(ctx context.Context, participant *actors.Spec) error {
	// As a view, the participant's key can be used; the payment's has none.
	kind := `NOT MATERIALIZED`
	if participant.Steps != "" {
		kind = `MATERIALIZED`
	}
	query := `WITH f AS ` + kind + ` (` + participant.StepsIn(`"`+participant.Name+`"`) + `)
		SELECT s.order_id, s.name, s.occurrence, s.state, coalesce(f.state, ''), o.state
		FROM "order".steps s JOIN "order".orders o ON o.id = s.order_id
			LEFT JOIN f ON f.order_id = s.order_id AND f.step = s.name
				AND f.occurrence = s.occurrence
		WHERE s.name GLOB '` + participant.Name + `.*' AND s.state IS NOT f.state
		UNION ALL
		SELECT f.order_id, f.step, f.occurrence, '', f.state, coalesce(o.state, '')
		FROM f LEFT JOIN "order".steps s ON s.order_id = f.order_id AND s.name = f.step
				AND s.occurrence = f.occurrence
			LEFT JOIN "order".orders o ON o.id = f.order_id
		WHERE s.order_id IS NULL`
	return b.each(ctx, query, func(scan func(...any) error) error {
		var order, own, state string
		var f api.FoundStep
		if err := scan(&order, &f.Name, &f.Occurrence, &own, &f.State, &state); err != nil {
			return err
		}
		d, ok := settle.Differ(own, f)
		if !ok {
			return nil
		}
		if u := b.unsettled(order, state); u != nil && len(u.Steps) < api.MaxFound {
			u.Steps = append(u.Steps, d)
		}
		return nil
	})
}

// untold lists decisions that the journal does not have.
func (b *orderBooks) untold(ctx context.Context) error {
	if b.files["journal"] == "" {
		return nil
	}
	return b.each(ctx, `SELECT o.id, o.state FROM "order".orders o
		WHERE o.state IN ('placed', 'paid', 'refused', 'cancelled') AND NOT EXISTS (
			SELECT 1 FROM journal.entry e
			WHERE e.order_id = o.id AND +e.type = 'order.' || o.state)`,
		func(scan func(...any) error) error {
			var order, state string
			if err := scan(&order, &state); err != nil {
				return err
			}
			if u := b.unsettled(order, state); u != nil {
				u.Untold = "order." + state
			}
			return nil
		})
}

// unsettled is the entry of an order; nil for one that is left to a message, or
// over the limit.
func (b *orderBooks) unsettled(order, state string) *unsettled {
	if b.moving[order] {
		return nil
	}
	u, ok := b.found[order]
	if !ok && len(b.found) < maxSettled {
		u = &unsettled{Order: order, State: state}
		b.found[order] = u
	}
	return u
}

// each calls do with a scan function for every row.
func (b *orderBooks) each(ctx context.Context, query string,
	do func(scan func(...any) error) error, args ...any) error {
	rows, err := b.db.QueryContext(ctx, query, args...)
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
