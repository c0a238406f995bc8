package journal

import (
	"database/sql"
	"encoding/json"
	"math"
	"strconv"

	"ordo/actors"
	"ordo/api"
)

const columns = `SELECT seq, id, type, order_id, user, data, at FROM entry `

// statement is a list in the order of an index, from a place on.
func statement(q *api.ListJournal, at int64) (string, []any) {
	from, order := `WHERE seq > ?1 `, `ORDER BY seq LIMIT +?2`
	if q.Newest {
		from, order = `WHERE seq < ?1 `, `ORDER BY seq DESC LIMIT +?2`
	}
	args := []any{at, q.Size() + 1}
	switch {
	case q.Order != "":
		return columns + from + `AND order_id = +?3 AND (?4 = '' OR type = +?4) ` + order,
			append(args, q.Order, q.Type)
	case q.Type != "":
		return columns + from + `AND type = +?3 ` + order, append(args, q.Type)
	}
	return columns + from + order, args
}

func listJournal(v *actors.View, q *api.ListJournal) (*api.Journal, error) {
	at, err := parseCursor(q.Cursor, q.Newest)
	if err != nil {
		return nil, err
	}
	size := q.Size()
	list := &api.Journal{Entries: make([]api.JournalEntry, 0, size)}
	query, args := statement(q, at)
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

// parseCursor reads the Seq of the last entry of the page before; without one it
// is where the list begins.
func parseCursor(s string, newest bool) (int64, error) {
	switch {
	case s == "" && newest:
		return math.MaxInt64, nil
	case s == "":
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, api.Refuse(api.CodeInvalid, "this is not a cursor").At("cursor")
	}
	return n, nil
}
