package web

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"ordo/api"
	"ordo/api/web/call"
	"ordo/api/web/page"
)

// listOrders shows the visitor's orders, newest first.
func (v *visit) listOrders() error {
	var list api.OrderList
	err := v.list("/v1/orders", nil, &list)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, view{Page: "orders", Title: v.tongue.text("orders.title"),
		D: paged{list.Orders, page.Next(v.r, list.Next)}})
}

// paged are items of a list, and the link to those that follow.
type paged struct {
	Items any
	Next  string
}

// list asks for the page of a list that the address names.
func (v *visit) list(path string, more url.Values, into any) error {
	if err := v.needUser(); err != nil {
		return err
	}
	ask := url.Values{"limit": {pageSize}}
	for name := range more {
		ask.Set(name, more.Get(name))
	}
	if cursor := v.r.URL.Query().Get("cursor"); cursor != "" {
		ask.Set("cursor", cursor)
	}
	return v.get(page.Address(path, ask), into)
}

// receipt is the page of an order.
type receipt struct {
	api.Order
	Stages   []stage
	Refunds  []api.Refund
	Shipment *api.Shipment
	// Key makes the refund that the page asks for one, however often it is sent.
	Key string
	// Reason is why it was refused or cancelled, in words.
	Reason []string
	// Live is true while the state may still change, and Moving while something
	// else does that is told by looking again.
	Live, Moving bool
	// Left tells that something can still be refunded.
	Left bool
	Wish url.Values
}

// stage is one step of an order's way.
type stage struct {
	Key  string
	Done bool
	// Now is true for the last one that is done.
	Now bool
	At  api.Time
}

func (v *visit) showOrder() error {
	if err := v.needUser(); err != nil {
		return err
	}
	return v.orderPage(http.StatusOK, nil)
}

func (v *visit) orderPath() string {
	return "/v1/orders/" + url.PathEscape(v.r.PathValue("id"))
}

func (v *visit) orderPage(status int, bad []mistake) error {
	p := receipt{Key: rand.Text(), Wish: v.form}
	path := v.orderPath()
	if v.r.URL.Query().Get("note") == "ordered" {
		path += "?wait=2s" // a submit that was just sent may not be known yet
	}
	if err := v.get(path, &p.Order); err != nil {
		return err
	}
	if p.State == api.OrderPaid {
		if err := v.readAftermath(&p); err != nil {
			return err
		}
	}
	p.Live = slices.Contains([]string{api.OrderPending, api.OrderPlaced, api.OrderClosing}, p.State)
	p.Left = p.State == api.OrderPaid && slices.ContainsFunc(p.Lines,
		func(l api.LineSnapshot) bool { return l.Quantity > l.Refunded })
	if e := p.Order.Reason; e != nil {
		p.Reason = append([]string{v.tongue.code(e.Code)},
			v.tongue.details(e.Code, e.Data, lineNames(&p.Order))...)
	}
	p.setStages()
	page := view{Page: "order", Title: v.tongue.text("order.title"), Errors: bad, D: &p}
	if p.State == api.OrderPending || p.State == api.OrderClosing || p.Moving {
		page.Reload = 3
	}
	return v.show(status, page)
}

func lineNames(o *api.Order) map[string]string {
	names := map[string]string{}
	for _, l := range o.Lines {
		names[l.SKU] = l.Name
	}
	return names
}

// NameOf is the name of the goods of a refund's line.
func (p *receipt) NameOf(l api.RefundLine) string {
	if l.Line >= 0 && l.Line < len(p.Lines) && p.Lines[l.Line].Name != "" {
		return p.Lines[l.Line].Name
	}
	return l.SKU
}

// readAftermath is what followed a payment.
func (v *visit) readAftermath(p *receipt) error {
	var refunds api.RefundList
	if err := v.get(v.orderPath()+"/refunds", &refunds); err != nil {
		return err
	}
	p.Refunds = refunds.Refunds
	for _, r := range p.Refunds {
		p.Moving = p.Moving || r.State == api.RefundRunning
	}
	var shipment api.Shipment
	err := v.get(v.orderPath()+"/shipment", &shipment)
	switch {
	case err == nil:
		p.Shipment = &shipment
	case !is(err, api.CodeNotFound):
		return err
	}
	return nil
}

// setStages draws the order's way from what it says of itself.
func (p *receipt) setStages() {
	stages := []stage{{Key: "submitted", Done: true, At: p.Created},
		{Key: "placed", Done: p.Decided != 0, At: p.Decided}}
	switch p.State {
	case api.OrderRefused:
		stages = append(stages[:1], stage{Key: "refused", Done: true, At: p.Decided})
	case api.OrderCancelled:
		stages = append(stages, stage{Key: "cancelled", Done: true, At: p.ClosedAt})
	case api.OrderClosing:
		stages = append(stages, stage{Key: "closing", Done: true, At: p.ClosedAt})
	default:
		stages = append(stages, stage{Key: "paid", Done: p.PaidAt != 0, At: p.PaidAt})
		if s := p.Shipment; s != nil && s.State != api.ShipmentCancelled {
			stages = append(stages, stage{Key: "shipped", Done: s.Shipped != 0, At: s.Shipped},
				stage{Key: "received", Done: s.Received != 0, At: s.Received})
		}
	}
	for i := range stages {
		if stages[i].Done {
			stages[i].Now = i+1 == len(stages) || !stages[i+1].Done
		}
	}
	p.Stages = stages
}

// changeOrder is a button of the order's page.
func (v *visit) changeOrder() error {
	if err := v.needUser(); err != nil {
		return err
	}
	var err error
	note := v.value("action")
	switch note {
	case "pay":
		return v.payOrder()
	case "cancel":
		err = v.post(v.orderPath()+"/cancel", nil, nil)
	case "receive":
		err = v.post(v.orderPath()+"/receive", nil, nil)
	case "refund":
		return v.refundOrder()
	default:
		return notFound()
	}
	if p := refused(err); p != nil && p.Status == http.StatusConflict {
		return v.orderPage(p.Status, v.mistakes(p, map[string]string{p.Place: ""}))
	}
	if err != nil {
		return err
	}
	return v.goNoted(v.r.URL.EscapedPath(), note)
}

// payOrder asks for a link to pay with and shows it. The browser is never sent
// to another site by itself. Row Y2.
func (v *visit) payOrder() error {
	var a api.Attempt
	err := v.post(v.orderPath()+"/payments", nil, &a)
	if p := refused(err); p != nil && p.Status == http.StatusConflict {
		return v.orderPage(p.Status, v.mistakes(p, map[string]string{p.Place: ""}))
	}
	if err != nil {
		return err
	}
	v.setCookie(cookiePaying, a.Order, payingAge)
	return v.show(http.StatusOK, view{Page: "pay", Title: v.tongue.text("pay.title"), D: a})
}

// returnFromPaying is where a provider sends the browser back to: to the order
// that it went to pay. It decides nothing. Row Y3.
func (v *visit) returnFromPaying() error {
	order := v.cookie(cookiePaying)
	if order == "" {
		v.s.API.ServeHTTP(v.w, v.r)
		return nil
	}
	v.dropCookie(cookiePaying)
	return v.goNoted(pageLink("orders", order), "returned")
}

// refundOrder asks for the units that were entered. Row Y9.
func (v *visit) refundOrder() error {
	var o api.Order
	if err := v.get(v.orderPath(), &o); err != nil {
		return err
	}
	lines := []map[string]any{}
	var bad []mistake
	for i := range o.Lines {
		field := "line" + strconv.Itoa(i)
		text := v.value(field)
		if text == "" || text == "0" {
			continue
		}
		n, wrong := v.quantity(field)
		bad = append(bad, wrong...)
		lines = append(lines, map[string]any{"line": i, "quantity": n, "sku": o.Lines[i].SKU})
	}
	if len(lines) == 0 {
		bad = append(bad, mistake{"refund", v.tongue.text("bad.refund")})
	}
	if len(bad) > 0 {
		return v.orderPage(http.StatusUnprocessableEntity, bad)
	}
	body := map[string]any{"lines": lines, "reason": v.value("reason")}
	err := v.post(v.orderPath()+"/refunds", body, nil, "Idempotency-Key", v.value("key"))
	if p := ofForm(err, api.CodeNotFound); p != nil {
		bad := v.mistakes(p, map[string]string{"lines": "refund"})
		for _, line := range v.tongue.details(p.Code, p.Data, lineNames(&o)) {
			bad = append(bad, mistake{"refund", line})
		}
		return v.orderPage(p.Status, bad)
	}
	if err != nil {
		return err
	}
	return v.goNoted(v.r.URL.EscapedPath(), "refund")
}

// watchOrder passes on the API's stream of what becomes of an order.
func (v *visit) watchOrder() error {
	if v.session == "" {
		return &problem{Status: http.StatusForbidden, Code: api.CodeUnauthorized}
	}
	r, err := http.NewRequestWithContext(v.r.Context(), http.MethodGet, v.orderPath()+"/events",
		nil)
	if err != nil {
		return err
	}
	call.Forward(r, v.r)
	r.Header.Set("Authorization", "Bearer "+v.session)
	v.s.API.ServeHTTP(v.w, r)
	return nil
}
