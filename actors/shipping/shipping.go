// Package shipping is the actor of shipments. It decides what is still to be
// sent and when a shipment counts as received. It never decides whether an
// order may be sent: the order actor tells it.
package shipping

import (
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"ordo/actors"
	"ordo/api"
)

//go:embed schema.sql
var schema string

// migrations are the later versions of the tables.
//
//go:embed 0*.sql
var migrations embed.FS

// Spec describes the shipping actor. Row L3.
func Spec() *actors.Spec {
	return &actors.Spec{
		Name:        "shipping",
		Version:     "1.1.0",
		Description: "Shipments of paid orders, until they are received.",
		Schema:      schema,
		Migrations:  migrations,
		Commands: []actors.Command{
			actors.On(configure),
			actors.On(create).From("order"),
			actors.On(cancel).From("order"),
			actors.On(restore).From("order"),
			actors.On(ship),
			actors.On(receive),
		},
		Queries: []actors.Endpoint{
			actors.Answer("The shipment of an order.", getShipment),
			actors.Answer("Shipments by state, in the order of their making.", listShipments),
		},
		Tick: sweep,
	}
}

// Rules and limits, in seconds, characters and bytes.
const (
	defaultAutoReceive = 14 * 24 * 3600
	maxAutoReceive     = 365 * 24 * 3600
	maxCarrier         = 100
	maxTracking        = 100
	maxBy              = 64
	// maxEvent is the most JSON of a shipment that an event carries.
	maxEvent = api.MaxMessage - 4<<10
	// pageBytes ends a page, and a sweep, however few shipments it has, in
	// bytes of stored text.
	pageBytes = 1 << 20
)

// parcel is a shipment as it is stored.
type parcel struct {
	api.Shipment
	n int64
	// bytes is the size of its stored texts.
	bytes int
}

const columns = `SELECT n, order_id, user_id, state, address, lines, carrier, tracking, created,
	shipped, received, auto_receive FROM shipment `

// read reads a row of columns.
func read(r actors.Row) (p parcel, err error) {
	var address, lines string
	if err := r.Scan(&p.n, &p.Order, &p.User, &p.State, &address, &lines, &p.Carrier, &p.Tracking,
		&p.Created, &p.Shipped, &p.Received, &p.AutoReceive); err != nil {
		return p, err
	}
	p.bytes = len(address) + len(lines)
	if err := json.Unmarshal([]byte(address), &p.Address); err != nil {
		return p, fmt.Errorf("stored address: %w", err)
	}
	if err := json.Unmarshal([]byte(lines), &p.Lines); err != nil {
		return p, fmt.Errorf("stored lines: %w", err)
	}
	return p, nil
}

// isName tells whether s is one line of 1 to limit characters and not blank.
func isName(s string, limit int) bool {
	return strings.TrimSpace(s) != "" && len(s) <= limit*utf8.UTFMax &&
		utf8.RuneCountInString(s) <= limit && utf8.ValidString(s) &&
		strings.IndexFunc(s, unicode.IsControl) < 0
}

func invalid(place, format string, args ...any) *api.Error {
	return api.Refuse(api.CodeInvalid, format, args...).At(place)
}

func noShipment(order string) *api.Error {
	return api.Refuse(api.CodeNotFound, "there is no shipment of order %s", order).At("order")
}

func notShippable(p *parcel) *api.Error {
	return api.Refuse(api.CodeNotShippable, "the shipment is %s", p.State)
}
