package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"ordo/actors/payment/alipay"
	"ordo/api"
)

// control has the sandbox of the shop do something. It answers calls from this
// machine only.
func (c *client) control(ctx context.Context, body map[string]any) error {
	return c.do(ctx, request{Method: "POST", Path: sandboxPath + "/control", Body: body,
		Repeat: true}, nil)
}

// pays tells whether orders are to be paid: as asked for, or when the shop has a
// sandbox that this process may control. What says neither is an error.
func (a *admin) pays(ctx context.Context, asked *bool) (bool, error) {
	if asked != nil && !*asked {
		return false, nil
	}
	if err := a.waitReady(ctx, time.Minute); err != nil {
		return false, err
	}
	// Nobody has such a trade; only a sandbox says so.
	err := a.control(ctx, map[string]any{"action": "deliveries", "out_trade_no": "none"})
	p := asProblem(err)
	switch {
	case refusedWith(err, alipay.SubTradeNotExist):
		return true, nil
	case err == nil:
		return false, errors.New("sandbox: it knows a trade that nobody has made")
	case p == nil || !slices.Contains(noControl, p.Status):
		return false, fmt.Errorf("sandbox: %w", err)
	case asked == nil:
		return false, nil
	}
	return false, errors.New("--pay: the shop has no sandbox that may be controlled from here")
}

// noControl are the answers of a shop without a sandbox, of one that is not
// controlled, and of one that is not controlled from this machine.
var noControl = []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusForbidden}

// pay brings a placed order to be paid. One that can't be paid any more comes
// back as it is then.
func (s *shopper) pay(ctx context.Context, o *api.Order) (*api.Order, error) {
	if o.State != api.OrderPlaced {
		return o, nil
	}
	a, err := s.attempt(ctx, o)
	if refusedWith(err, api.CodeNotPayable) {
		return s.await(ctx, o, api.OrderPlaced, api.OrderClosing)
	}
	if err != nil {
		return nil, err
	}
	err = s.admin.control(ctx, map[string]any{"action": "pay", "url": a.Link.URL})
	// The trade is paid or closed already: the order will say which.
	if refusedWith(err, alipay.SubTradePaid) || refusedWith(err, alipay.SubTradeClosed) {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	return s.await(ctx, o, api.OrderPlaced, api.OrderClosing)
}

// attempt opens an attempt to pay the order on a page of the gateway, or finds
// the one that is open.
func (s *shopper) attempt(ctx context.Context, o *api.Order) (*api.Attempt, error) {
	a := &api.Attempt{}
	return a, s.call(ctx, request{Method: "POST", Path: "/v1/orders/" + o.ID + "/payments",
		Body:   map[string]any{"provider": api.PayAlipay, "product": api.ProductPage},
		Repeat: true}, a)
}

// await waits until the order is in none of the states.
func (s *shopper) await(ctx context.Context, o *api.Order, states ...string) (*api.Order, error) {
	deadline := time.Now().Add(patience)
	for slices.Contains(states, o.State) {
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("order %s is still %s after %v", o.ID, o.State, patience)
		}
		path := "/v1/orders/" + o.ID + "?wait=" + orderWait + "&known=" + o.State
		if err := s.call(ctx, request{Method: "GET", Path: path, Repeat: true}, o); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// cancelled are the cancellations of one invoice, in the order of the trace.
type cancelled struct {
	ref  string
	rows []*cancelRow
}

// cancelled are the trace's cancellations by invoice. Each gets the key of the
// refund that it becomes: a refund is of one order, and a cancellation that
// names several invoices is a refund of each.
func (t *trace) cancelled() (all []cancelled) {
	at := map[string]int{}
	refs := map[string]map[string]bool{}
	for i := range t.Cancels {
		c := &t.Cancels[i]
		if _, ok := at[c.Ref]; !ok {
			at[c.Ref] = len(all)
			all = append(all, cancelled{ref: c.Ref})
		}
		all[at[c.Ref]].rows = append(all[at[c.Ref]].rows, c)
		if refs[c.No] == nil {
			refs[c.No] = map[string]bool{}
		}
		refs[c.No][c.Ref] = true
	}
	for i := range t.Cancels {
		c := &t.Cancels[i]
		if c.key = c.No; len(refs[c.No]) > 1 {
			c.key += "-" + c.Ref
		}
	}
	return all
}

// refundAll turns the trace's cancellations into refunds.
func (r *replay) refundAll(ctx context.Context) error {
	all := r.trace.cancelled()
	offered := map[string]bool{}
	for i := range r.trace.Invoices {
		offered[r.trace.Invoices[i].No] = true
	}
	return parallel(ctx, r.width, len(all), func(ctx context.Context, i int) error {
		c := &all[i]
		switch {
		case !r.pay:
			r.drop(skipCancellation, c.rows...)
		case !offered[c.ref]:
			r.drop(skipNoInvoice, c.rows...)
		case r.bought[c.ref] == nil:
			r.drop(skipNotPaid, c.rows...)
		default:
			return r.refundOrder(ctx, c)
		}
		return nil
	})
}

// refundOrder refunds an order, one cancellation after the other.
func (r *replay) refundOrder(ctx context.Context, c *cancelled) error {
	o := r.bought[c.ref]
	b := &giveBack{replay: r, order: o, units: make([]int64, len(o.Lines))}
	for rows := c.rows; len(rows) > 0; {
		key, n := rows[0].key, 1
		for n < len(rows) && rows[n].key == key {
			n++
		}
		if err := b.refund(ctx, key, rows[:n]); err != nil {
			return fmt.Errorf("cancellation %s: %w", key, err)
		}
		rows = rows[n:]
	}
	if b.refunded {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.result.Orders.Refunded++
	}
	return nil
}

// drop counts cancellations that were not refunded.
func (r *replay) drop(reason string, rows ...*cancelRow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range rows {
		r.result.left.drop(reason, c)
	}
}

// giveBack are the refunds of one order.
type giveBack struct {
	*replay
	order *api.Order
	// units are those that the replay has had refunded, of each line.
	units    []int64
	refunded bool
}

// refund asks for one refund with the rows of one cancellation that fit the
// order, and waits until it is over. The key makes a repeat the same refund,
// also in another run.
func (b *giveBack) refund(ctx context.Context, key string, rows []*cancelRow) error {
	var fit []*cancelRow
	var lines []api.RefundLine
	for _, c := range rows {
		i, reason := b.line(c)
		if reason != "" {
			b.drop(reason, c)
			continue
		}
		b.units[i] += c.Quantity
		fit = append(fit, c)
		if at := slices.IndexFunc(lines,
			func(l api.RefundLine) bool { return l.Line == i }); at < 0 {
			lines = append(lines, api.RefundLine{Line: i, SKU: c.SKU, Quantity: c.Quantity})
		} else {
			lines[at].Quantity += c.Quantity
		}
	}
	if len(lines) == 0 {
		return nil
	}
	amount, reason, err := b.admin.refund(ctx, b.order.ID, key, lines)
	if err != nil {
		return err
	}
	if reason != "" {
		for _, l := range lines {
			b.units[l.Line] -= l.Quantity
		}
		b.drop(reason, fit...)
		return nil
	}
	b.refunded = true
	b.mu.Lock()
	defer b.mu.Unlock()
	b.result.Shop.Refunded += amount
	for _, c := range fit {
		b.result.Amounts.Refunded += c.Amount
	}
	return nil
}

// line is the order's line that a row cancels, or the reason why there is none.
func (b *giveBack) line(c *cancelRow) (i int, reason string) {
	i = slices.IndexFunc(b.order.Lines, func(l api.LineSnapshot) bool { return l.SKU == c.SKU })
	switch {
	case i < 0:
		return 0, skipNoLine
	case b.units[i]+c.Quantity > b.order.Lines[i].Quantity:
		return 0, skipTooMany
	}
	return i, ""
}

// refund has support refund lines of an order and waits until that is done. It
// answers what went back, or the reason why nothing did.
func (a *admin) refund(ctx context.Context, order, key string, lines []api.RefundLine) (
	amount int64, reason string, err error) {
	type line struct {
		Line     int    `json:"line"`
		SKU      string `json:"sku"`
		Quantity int64  `json:"quantity"`
	}
	body := struct {
		Lines  []line `json:"lines"`
		Reason string `json:"reason"`
	}{Reason: "cancellation " + key}
	for _, l := range lines {
		body.Lines = append(body.Lines, line{l.Line, l.SKU, l.Quantity})
	}
	var made api.Refund
	if err := a.post(ctx, "/orders/"+order+"/refunds", key, body, &made); err != nil {
		code, err := refusalOf(err)
		return 0, skipRefused + string(code), err
	}
	deadline := time.Now().Add(patience)
	for pause := 5 * time.Millisecond; made.State == api.RefundRunning; pause = min(2*pause,
		time.Second) {
		if time.Now().After(deadline) {
			return 0, "", fmt.Errorf("refund %s is not over after %v", made.ID, patience)
		}
		if err := sleep(ctx, pause); err != nil {
			return 0, "", err
		}
		if err := a.do(ctx, request{Method: "GET", Path: "/admin/v1/refunds/" + made.ID,
			Token: a.token, Repeat: true}, &made); err != nil {
			return 0, "", err
		}
	}
	if made.State != api.RefundDone {
		return 0, skipRefused + made.State, nil
	}
	return made.Amount.Amount, "", nil
}
