package journal

import (
	"cmp"

	"ordo/actors"
	"ordo/api"
)

// keep appends one event. Its own id or else its message identity is its name,
// so one that comes again by another way, such as a restored stream, is kept
// once, and sent to others once.
func keep(tx *actors.Tx, id string, e *api.Event) error {
	id = cmp.Or(e.ID, id)
	data := any(nil)
	if len(e.Data) > 0 {
		data = string(e.Data)
	}
	n, err := tx.Exec(`INSERT INTO entry (id, type, order_id, user, data, at)
		VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
		id, e.Type, e.Order, e.User, data, tx.Now())
	if err != nil || n == 0 {
		return err
	}
	return announce(tx, id, e)
}
