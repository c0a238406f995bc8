package console

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strconv"

	"ordo/api"
	"ordo/api/web/call"
	"ordo/api/web/page"
)

// refundStates are the states of a refund, those that wait for support first.
var refundStates = [...]string{api.RefundAsked, api.RefundRunning, api.RefundDone,
	api.RefundDenied, api.RefundFailed}

// refunds is the page of refunds.
type refunds struct {
	State, Order, User string
	States             []string
	Items              []api.Refund
	Next               string
	// Of is the order that the page is about, Left tells that something of it can
	// be refunded.
	Of   *api.Order
	Left bool
	// Key makes the refund that the page asks for one, however often it is sent.
	Key  string
	Wish url.Values
}

func (v *visit) listRefunds() error { return v.refundsPage(http.StatusOK, nil) }

// refundsPage is about those that wait for support, unless told otherwise.
func (v *visit) refundsPage(status int, bad []string) error {
	d := refunds{State: v.query("state"), Order: v.query("order"), User: v.query("user"),
		States: refundStates[:], Key: rand.Text(), Wish: v.form}
	ask := v.asked("state", "order", "user")
	if len(ask) == 0 && !v.r.URL.Query().Has("state") {
		d.State = api.RefundAsked
		ask.Set("state", d.State)
	}
	var list api.RefundList
	err := v.list("/refunds", ask, &list)
	if err != nil {
		return err
	}
	d.Items, d.Next = list.Refunds, page.Next(v.r, list.Next)
	if d.Order != "" {
		d.Of = &api.Order{}
		if err := v.get("/orders/"+url.PathEscape(d.Order), d.Of); err != nil {
			return err
		}
		for _, l := range d.Of.Lines {
			d.Left = d.Left || d.Of.State == api.OrderPaid && l.Quantity > l.Refunded
		}
	}
	return v.show(status, view{Page: "refunds", Title: "Refunds", Bad: bad, D: &d})
}

// refundOrder gives back the units that were entered. Row Y9.
func (v *visit) refundOrder() error {
	var o api.Order
	path := "/orders/" + url.PathEscape(v.query("order"))
	if err := v.get(path, &o); err != nil {
		return err
	}
	lines, units, bad := v.refundLines(&o)
	if bad != "" {
		return v.refundsPage(http.StatusUnprocessableEntity, []string{bad})
	}
	body := v.stockWish()
	body["lines"], body["reason"] = lines, v.value("reason")
	a := action{Ask: "Refund " + number(units) + " units of this order?", Yes: "Yes, refund them",
		Call: call.Call{Method: http.MethodPost, Path: path + "/refunds", Body: body,
			Header: []string{"Idempotency-Key", v.value("key")}}}
	done, err := v.do(&a, v.refundsPage)
	if !done {
		return err
	}
	return v.goNoted(v.here(), "refunded")
}

// refundLines are the lines with units to be refunded, and how many these are, or
// what is wrong with them.
func (v *visit) refundLines(o *api.Order) (lines []map[string]any, units int64, bad string) {
	for i := range o.Lines {
		name := "line" + strconv.Itoa(i)
		if v.value(name) == "" {
			continue
		}
		n, ok := v.number(name)
		if !ok || n < 0 {
			return nil, 0, o.Lines[i].SKU + ": write how many units, or 0."
		}
		if n > 0 {
			lines = append(lines, map[string]any{"line": i, "quantity": n, "sku": o.Lines[i].SKU})
			units += n
		}
	}
	if units == 0 {
		bad = "Enter how many units of which goods are to be refunded."
	}
	return lines, units, bad
}

// stockWish is what a form says of refunded units.
func (v *visit) stockWish() map[string]any {
	return map[string]any{"keep": v.value("stock") == "keep",
		"returned": v.value("stock") == "back"}
}

// refund is the page of one refund.
type refund struct {
	api.Refund
	// Names are those of the SKUs.
	Names map[string]string
	Note  string
}

func (v *visit) showRefund() error { return v.refundPage(http.StatusOK, nil) }

func (v *visit) refundPath() string { return "/refunds/" + url.PathEscape(v.r.PathValue("id")) }

func (v *visit) refundPage(status int, bad []string) error {
	d := refund{Names: map[string]string{}, Note: v.value("reason")}
	if err := v.get(v.refundPath(), &d.Refund); err != nil {
		return err
	}
	var o api.Order
	if err := v.get("/orders/"+url.PathEscape(d.Order), &o); err != nil {
		return err
	}
	for _, l := range o.Lines {
		d.Names[l.SKU] = l.Name
	}
	return v.show(status, view{Page: "refund", Title: "Refund", Bad: bad, D: &d})
}

// decideRefund grants or denies what a shopper asked for. Row Y9.
func (v *visit) decideRefund() error {
	body := v.stockWish()
	body["note"] = v.value("reason")
	a := action{Call: call.Call{Method: http.MethodPost, Body: body,
		Path: v.refundPath() + "/" + v.value("action")}}
	switch v.value("action") {
	case "grant":
		a.Ask, a.Yes = "Send the money back?", "Yes, grant it"
	case "deny":
		a.Ask, a.Yes = "Refuse this refund? The shopper sees the reason.", "Yes, deny it"
	default:
		return notFound()
	}
	done, err := v.do(&a, v.refundPage)
	if !done {
		return err
	}
	return v.goNoted(v.r.URL.EscapedPath(), v.value("action"))
}
