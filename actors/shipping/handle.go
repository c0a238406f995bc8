package shipping

import (
	"errors"
	"slices"
	"time"

	"ordo/actors"
	"ordo/api"
)

// configured are the rules in force.
func configured(tx *actors.Tx) (c api.ConfigureShipping, err error) {
	c.AutoReceiveSeconds = defaultAutoReceive
	return c, tx.Config(&c)
}

// configure sets the rules for what is shipped from now on.
func configure(tx *actors.Tx, m *api.ConfigureShipping) error {
	if m.AutoReceiveSeconds < 1 || m.AutoReceiveSeconds > maxAutoReceive {
		return invalid("auto_receive_seconds", "must be 1 to %d", maxAutoReceive)
	}
	return tx.Configure(m)
}

// create has the lines of a paid order packed. No lines make no shipment.
func create(tx *actors.Tx, m *api.CreateShipment) error {
	return tx.Do(m.Step, func() (any, error) {
		p := &parcel{Shipment: api.Shipment{Order: m.Order, User: m.User,
			State: api.ShipmentCreated, Created: tx.Now()}}
		for _, l := range m.Lines {
			if l.Quantity > 0 {
				p.Lines = append(p.Lines, l)
			}
		}
		if len(p.Lines) == 0 {
			return nil, nil
		}
		if _, err := tx.Exec(`INSERT INTO shipment (order_id, user_id, state, address, lines,
			created)
			VALUES (?, ?, 'created', ?, ?, ?)`, m.Order, m.User, string(api.Raw(&m.Address)),
			string(api.Raw(p.Lines)), p.Created); err != nil {
			return nil, err
		}
		return nil, tell(tx, api.EventShipmentCreated, p)
	})
}

// cancel takes refunded units out of a shipment, as far as they have not left,
// and answers which these were: money goes back only when that is known.
func cancel(tx *actors.Tx, m *api.CancelShipment) error {
	return tx.Do(m.Step, func() (any, error) {
		p, err := find(tx, m.Order)
		if errors.Is(err, actors.ErrNoRows) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		took := takeOut(p, m.Lines)
		if len(took) == 0 {
			return nil, nil
		}
		if len(p.Lines) == 0 {
			p.State = api.ShipmentCancelled
		}
		if err := keep(tx, p); err != nil {
			return nil, err
		}
		if p.State == api.ShipmentCancelled {
			err = tell(tx, api.EventShipmentCancelled, p)
		}
		return &api.Recalled{Lines: took}, err
	})
}

// restore gives a shipment back what was taken out for a refund that failed.
// What has left can't be opened again: then the units are noted as unsent.
func restore(tx *actors.Tx, m *api.RestoreShipment) error {
	return tx.Undo(m.Step, func() error {
		p, err := find(tx, m.Order)
		if err != nil {
			return err
		}
		for _, l := range m.Lines {
			i := slices.IndexFunc(p.Lines, func(at api.ShipLine) bool { return at.SKU == l.SKU })
			if i < 0 {
				i = len(p.Lines)
				p.Lines = append(p.Lines, api.ShipLine{SKU: l.SKU, Name: l.Name})
			}
			if p.Shipped > 0 {
				p.Lines[i].Unsent += l.Quantity
			} else {
				p.Lines[i].Quantity += l.Quantity
			}
		}
		again := p.State == api.ShipmentCancelled
		if again {
			p.State = api.ShipmentCreated
		}
		if err := keep(tx, p); err != nil || !again {
			return err
		}
		return tell(tx, api.EventShipmentCreated, p)
	})
}

// keep writes what has become of a shipment's lines, and its state.
func keep(tx *actors.Tx, p *parcel) error {
	_, err := tx.Exec(`UPDATE shipment SET lines = ?, state = ? WHERE n = ?`,
		string(api.Raw(p.Lines)), p.State, p.n)
	return err
}

// takeOut removes units that have not left from the lines, and lines that have
// none left, and answers which these were.
func takeOut(p *parcel, units []api.RecallLine) (took []api.CartTake) {
	out := make(map[string]int64, len(units))
	for _, u := range units {
		if p.Shipped == 0 || !u.Returned {
			out[u.SKU] += max(u.Quantity, 0)
		}
	}
	left := make([]api.ShipLine, 0, len(p.Lines))
	for _, l := range p.Lines {
		here := &l.Quantity
		if p.Shipped > 0 {
			here = &l.Unsent
		}
		if n := min(out[l.SKU], *here); n > 0 {
			*here -= n
			out[l.SKU] -= n
			took = append(took, api.CartTake{SKU: l.SKU, Quantity: n})
		}
		if l.Quantity > 0 || l.Unsent > 0 {
			left = append(left, l)
		}
	}
	p.Lines = left
	return took
}

// ship hands a shipment to the carrier and sets the time at which it counts as
// received.
func ship(tx *actors.Tx, m *api.Ship) error {
	if err := checkShip(m); err != nil {
		return err
	}
	p, err := find(tx, m.Order)
	switch {
	case errors.Is(err, actors.ErrNoRows):
		return noShipment(m.Order)
	case err != nil:
		return err
	case p.Shipped > 0 && p.Carrier == m.Carrier && p.Tracking == m.Tracking:
		return tx.Reply(&p.Shipment)
	case p.State != api.ShipmentCreated:
		return notShippable(p)
	}
	rules, err := configured(tx)
	if err != nil {
		return err
	}
	p.State, p.Carrier, p.Tracking, p.Shipped = api.ShipmentShipped, m.Carrier, m.Tracking, tx.Now()
	p.AutoReceive = p.Shipped.Add(time.Duration(rules.AutoReceiveSeconds) * time.Second)
	if _, err := tx.Exec(`UPDATE shipment SET state = 'shipped', carrier = ?, tracking = ?,
		shipped_by = ?, shipped = ?, auto_receive = ? WHERE n = ?`,
		p.Carrier, p.Tracking, m.By, p.Shipped, p.AutoReceive, p.n); err != nil {
		return err
	}
	if err := tx.Reply(&p.Shipment); err != nil {
		return err
	}
	return tell(tx, api.EventShipmentShipped, p)
}

func checkShip(m *api.Ship) error {
	switch {
	case !isName(m.Carrier, maxCarrier):
		return invalid("carrier", "needs 1 to %d characters", maxCarrier)
	case !isName(m.Tracking, maxTracking):
		return invalid("tracking", "needs 1 to %d characters", maxTracking)
	case !isName(m.By, maxBy):
		return invalid("by", "needs a user's id")
	}
	return nil
}

// receive records that the shopper has the goods.
func receive(tx *actors.Tx, m *api.Receive) error {
	p, err := find(tx, m.Order)
	switch {
	case errors.Is(err, actors.ErrNoRows), err == nil && m.User != "" && m.User != p.User:
		return noShipment(m.Order)
	case err != nil:
		return err
	case p.State == api.ShipmentReceived:
		return tx.Reply(&p.Shipment)
	case p.State != api.ShipmentShipped:
		return notShippable(p)
	}
	if err := arrive(tx, p); err != nil {
		return err
	}
	return tx.Reply(&p.Shipment)
}

// arrive makes a shipped parcel a received one.
func arrive(tx *actors.Tx, p *parcel) error {
	p.State, p.Received = api.ShipmentReceived, tx.Now()
	if _, err := tx.Exec(`UPDATE shipment SET state = 'received', received = ? WHERE n = ?`,
		p.Received, p.n); err != nil {
		return err
	}
	return tell(tx, api.EventShipmentReceived, p)
}

// sweep receives what nobody said no to in time, the oldest deadlines first.
func sweep(tx *actors.Tx) (more bool, err error) {
	var due []parcel
	bytes := 0
	if err := tx.Each(func(r actors.Row) error {
		if len(due) == actors.SweepLimit || bytes > pageBytes {
			more = true
			return nil
		}
		p, err := read(r)
		bytes += p.bytes
		due = append(due, p)
		return err
	}, columns+`INDEXED BY shipment_due WHERE state = 'shipped' AND auto_receive <= ?
		ORDER BY auto_receive, n LIMIT +?`, tx.Now(), actors.SweepLimit+1); err != nil {
		return false, err
	}
	for i := range due {
		if err := arrive(tx, &due[i]); err != nil {
			return false, err
		}
	}
	return more, nil
}

// find reads the shipment of an order; ErrNoRows when there is none.
func find(tx *actors.Tx, order string) (*parcel, error) {
	p, err := read(tx.Row(columns+`WHERE order_id = ?`, order))
	return &p, err
}

// tell records the fact, without the address, which is nobody's business in
// the journal, and without the lines where they don't fit into a message.
func tell(tx *actors.Tx, event string, p *parcel) error {
	fact := api.ShipmentFact{Shipment: p.Shipment}
	data := api.Raw(&fact)
	if len(data) > maxEvent {
		fact.Lines = nil
		data = api.Raw(&fact)
	}
	return tx.Emit(api.Event{Type: event, Order: p.Order, User: p.User, Data: data})
}
