package simulate

import (
	"context"
	"strings"
	"time"

	"ordo/actors"
	"ordo/bus"
)

// Now implements actors.Carrier.
func (a *actor) Now() time.Time { return time.Unix(0, a.w.now).UTC() }

// May implements actors.Carrier.
func (a *actor) May() error { return nil }

// Publish implements actors.Carrier.
func (a *actor) Publish(m *actors.Parcel) error {
	if a.budget == 0 {
		return errCrashed
	}
	a.budget--
	p := parcel{id: m.ID, Delivery: actors.Delivery{Subject: m.Subject, ID: m.ID, After: m.After,
		Body: m.Body}}
	if m.Again {
		p.id += "~" + a.w.text()
	}
	p.failed = func(err error) { a.outbox.Failed(m.ID, err) }
	a.w.send(a.name, a, p)
	return nil
}

// Later implements actors.Carrier.
func (a *actor) Later() {
	a.w.at(rest, a, func() { a.outbox.Poll(a.w.ctx) })
}

// Ask implements actors.Carrier.
func (a *actor) Ask(_ context.Context, receiver string) {
	w := a.w
	none := func() { a.outbox.Heard(w.ctx, receiver, nil) }
	if w.fault(coreLost, 10) {
		w.at(time.Second, a, none)
		return
	}
	to := w.named[strings.TrimSuffix(receiver, "."+bus.Shard)]
	w.at(time.Duration(w.n(20))*time.Millisecond, a, func() {
		if !to.up {
			w.at(time.Second, a, none)
			return
		}
		_, number := to.engine.LastOf(bus.Address(a.name))
		a.outbox.Heard(w.ctx, receiver,
			&actors.CommittedReply{Number: number, ReadUpTo: to.readUpTo})
	})
}
