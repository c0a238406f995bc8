package journal

import (
	"database/sql"
	"encoding/json"
	"strconv"

	"ordo/actors"
	"ordo/api"
)

// The lists, each in the order of an index.
const (
	columns = `SELECT seq, id, type, order_id, user, data, at FROM entry `
	listAll = columns + `WHERE seq > ? ORDER BY seq LIMIT +?`
	byType  = columns + `WHERE seq > ? AND type = +? ORDER BY seq LIMIT +?`
	byOrder = columns + `WHERE seq > ?1 AND order_id = +?2 AND (?3 = '' OR type = +?3)
		ORDER BY seq LIMIT +?4`
)

func listJournal(v *actors.View, q *api.ListJournal) (*api.Journal, error) {
	after, err := parseCursor(q.Cursor)
	if err != nil {
		return nil, err
	}
	size := q.Size()
	list := &api.Journal{Entries: make([]api.JournalEntry, 0, size)}
	query, args := listAll, []any{after, size + 1}
	switch {
	case q.Order != "":
		query, args = byOrder, []any{after, q.Order, q.Type, size + 1}
	case q.Type != "":
		query, args = byType, []any{after, q.Type, size + 1}
	}
	err = v.Each(func(r actors.Row) error {
		if len(list.Entries) == size {
			list.Next = strconv.FormatInt(list.Entries[size-1].Seq, 10)
			return nil
		}
		e, err := scanEntry(r)
		list.Entries = append(list.Entries, e)
		return err
	}, query, args...)
	return list, err
}

func scanEntry(r actors.Row) (e api.JournalEntry, err error) {
	var data sql.NullString
	err = r.Scan(&e.Seq, &e.ID, &e.Type, &e.Order, &e.User, &data, &e.At)
	if data.Valid {
		e.Data = json.RawMessage(data.String)
	}
	return e, err
}

// parseCursor reads the Seq of the last entry of the page before.
func parseCursor(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, api.Refuse(api.CodeInvalid, "this is not a cursor").At("cursor")
	}
	return n, nil
}
