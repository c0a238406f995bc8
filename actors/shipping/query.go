package shipping

import (
	"errors"
	"slices"
	"strconv"

	"ordo/actors"
	"ordo/api"
)

// getShipment answers the shipment of an order, to its owner or to support.
func getShipment(v *actors.View, q *api.GetShipment) (*api.Shipment, error) {
	p, err := read(v.Row(columns+`WHERE order_id = ?`, q.Order))
	if errors.Is(err, actors.ErrNoRows) || err == nil && q.User != "" && q.User != p.User {
		return nil, noShipment(q.Order)
	}
	return &p.Shipment, err
}

// The lists, each in the order of an index.
const (
	listAll = columns + `WHERE n > ? ORDER BY n LIMIT +?`
	byState = columns + `INDEXED BY shipment_state WHERE n > ? AND state = +?
		ORDER BY n LIMIT +?`
	// The text that it looks for is in no string: there its quotes are escaped.
	byUnsent = columns + `INDEXED BY shipment_unsent WHERE n > ?1 AND instr(lines, '"unsent":') > 0
		AND (?2 = '' OR +state = ?2) ORDER BY n LIMIT +?3`
)

// listShipments answers a page of shipments; large ones make it shorter.
func listShipments(v *actors.View, q *api.ListShipments) (*api.ShipmentList, error) {
	if !slices.Contains([]string{"", api.ShipmentCreated, api.ShipmentShipped,
		api.ShipmentReceived, api.ShipmentCancelled}, q.State) {
		return nil, invalid("state", "%q is not a state of shipments", q.State)
	}
	after, err := parseCursor(q.Cursor)
	if err != nil {
		return nil, err
	}
	query, args := listAll, []any{after, q.Size() + 1}
	if q.Unsent {
		query, args = byUnsent, []any{after, q.State, q.Size() + 1}
	} else if q.State != "" {
		query, args = byState, []any{after, q.State, q.Size() + 1}
	}
	list, bytes, last := &api.ShipmentList{Shipments: []api.Shipment{}}, 0, int64(0)
	err = v.Each(func(r actors.Row) error {
		if len(list.Shipments) == q.Size() || bytes > pageBytes {
			list.Next = strconv.FormatInt(last, 10)
			return nil
		}
		p, err := read(r)
		bytes += p.bytes
		last = p.n
		list.Shipments = append(list.Shipments, p.Shipment)
		return err
	}, query, args...)
	return list, err
}

// parseCursor reads the number of the last shipment of the page before.
func parseCursor(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, api.Refuse(api.CodeInvalid, "is not the next of a list").At("cursor")
	}
	return n, nil
}
