package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"ordo/api"
)

// settlePause is the time between two looks at an order that is not fulfilled.
const settlePause = 2 * time.Millisecond

// pay opens a payment of a placed order, pays it as a person would at the
// sandbox, and waits until the shop says that the order is paid.
func (b *bench) pay(w *wire, o *benchOrder) error {
	path := "/v1/orders/" + o.id
	body, err := w.ask(b.post(path+"/payments", o.session, struct{}{}))
	if err != nil {
		return fmt.Errorf("payment: %w", err)
	}
	// The link goes as it stands, JSON's escapes included.
	link := json.RawMessage(fmt.Appendf(nil, `"%s"`, field(body, "url")))
	if _, err := w.ask(b.post(sandboxPath+"/control", "", map[string]any{"action": "pay",
		"url": link})); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	wait := b.get(path+"?wait=10&known="+api.OrderPlaced, o.session)
	for deadline := time.Now().Add(benchDecision); ; {
		body, err := w.ask(wait)
		switch state := string(field(body, "state")); {
		case err != nil:
			return fmt.Errorf("paid: %w", err)
		case state == api.OrderPaid:
			return nil
		case state != api.OrderPlaced || time.Now().After(deadline):
			return fmt.Errorf("order %s is %s", o.id, state)
		}
	}
}

// ask sends a request and reads an answer that must be a success.
func (w *wire) ask(request []byte) ([]byte, error) {
	status, body, err := w.roundTrip(request)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("%d %s", status, body[:min(len(body), 300)])
	}
	return body, err
}

// settle waits until the orders that came last to be paid have their shipments
// and points. Those before them have theirs then, because the order actor asks
// for them in the order of payment.
func (b *bench) settle(ctx context.Context, wires []*wire, load []benchOrder) error {
	var last []*benchOrder
	for i := range load {
		if load[i].id != "" {
			last = append(last, &load[i])
		}
	}
	slices.SortFunc(last, func(x, y *benchOrder) int { return y.done.Compare(x.done) })
	last = last[:min(len(last), len(wires))]
	return closedLoop(ctx, wires, len(last), func(w *wire, i int) error {
		deadline := time.Now().Add(benchDecision)
		for {
			missing, err := b.fulfilled(w, last[i])
			if err != nil || missing == "" {
				return err
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("order %s is paid, but there is no %s", last[i].id, missing)
			}
			if err := sleep(ctx, settlePause); err != nil {
				return err
			}
		}
	})
}

// fulfilled says what a paid order still lacks. An order that failed lacks
// nothing.
func (b *bench) fulfilled(w *wire, o *benchOrder) (missing string, err error) {
	var order api.Order
	body, err := w.ask(b.get("/v1/orders/"+o.id, o.session))
	if err == nil {
		err = json.Unmarshal(body, &order)
	}
	if err != nil || order.State != api.OrderPaid {
		return "", err
	}
	status, body, err := w.roundTrip(b.get("/v1/orders/"+o.id+"/shipment", o.session))
	switch {
	case err != nil:
		return "", err
	case status == 404:
		return "shipment", nil
	case status != 200:
		return "", fmt.Errorf("shipment: %d %s", status, body[:min(len(body), 300)])
	}
	if order.Points == 0 {
		return "", nil
	}
	return b.points(w, o)
}

// points says whether a paid order still lacks its points.
func (b *bench) points(w *wire, o *benchOrder) (missing string, err error) {
	var list api.WalletEntryList
	body, err := w.ask(b.get(fmt.Sprintf("/v1/wallet/entries?unit=%s&limit=%d", api.UnitPoint,
		api.MaxPage), o.session))
	if err == nil {
		err = json.Unmarshal(body, &list)
	}
	if err != nil || slices.ContainsFunc(list.Entries,
		func(e api.WalletEntry) bool { return e.Order == o.id }) {
		return "", err
	}
	return "points", nil
}
