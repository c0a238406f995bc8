package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"ordo/actors"
	"ordo/api"
)

// checkEnd checks that everything adds up, by what shoppers and support were
// told and providers know.
func (w *world) checkEnd(ends map[string]int) {
	orders := w.readOrders(ends)
	w.checkTold(orders)
	w.checkGateways(orders)
	w.checkWallets(orders)
	w.checkStock(orders)
	w.checkCoupons(orders)
	w.checkSeats(orders)
	w.checkShipments(orders)
	w.checkLacking(orders)
	w.checkJournal(orders)
}

// ended is an order as it ended, with its refunds.
type ended struct {
	api.Order
	hash    string
	refunds []api.Refund
}

// back is how many units of a line went back, and how many of them are in the
// house: not those that the shop keeps out of its stock, nor those that were
// shipped and have not come back.
func (e *ended) back(line int) (units, here int64) {
	for _, r := range e.refunds {
		for _, l := range r.Lines {
			if r.State != api.RefundDone || l.Line != line {
				continue
			}
			units += l.Quantity
			switch {
			case l.Keep:
			case e.Lines[line].Kind == api.KindPhysical && !l.Returned:
				here += l.Recalled
			default:
				here += l.Quantity
			}
		}
	}
	return units, here
}

// sum adds up what went back.
func (e *ended) sum() (money, balance, points int64) {
	for _, r := range e.refunds {
		if r.State == api.RefundDone {
			money += r.Money.Amount
			balance += r.Balance.Amount
			points += r.Points
		}
	}
	return money, balance, points
}

func (w *world) readOrders(ends map[string]int) map[string]*ended {
	a := w.named["order"]
	all := map[string]*ended{}
	for _, o := range w.shop.orders {
		answer, err := a.engine.Ask("submission", api.Raw(&api.GetSubmission{ID: o.Order}))
		if api.AsError(err) != nil {
			continue
		}
		w.must(err)
		s := answer.(*api.Submission)
		e := &ended{Order: s.Order, hash: s.BodyHash}
		answer, err = a.engine.Ask("refunds", api.Raw(&api.ListRefunds{Order: o.Order,
			Page: api.Page{Limit: api.MaxPage}}))
		w.must(err)
		e.refunds = answer.(*api.RefundList).Refunds
		all[o.Order] = e
		why := e.State
		if e.Reason != nil {
			why += " " + string(e.Reason.Code)
		}
		ends[why]++
		for _, r := range e.refunds {
			ends["refund "+r.State]++
		}
	}
	if n := w.one(a, `SELECT count(*) FROM orders`); n != int64(len(all)) {
		w.broken("orders", "there are %d, and shoppers know %d", n, len(all))
	}
	return all
}

// checkTold checks that what was answered is still so.
func (w *world) checkTold(orders map[string]*ended) {
	for _, o := range w.shop.orders {
		e := orders[o.Order]
		for _, hash := range sorted(o.accepted) {
			if e == nil || e.hash != hash {
				w.broken("told", "%s was accepted and is gone", o.name)
			}
			w.checkBody(o, o.bodies[hash], e)
		}
		if e != nil {
			w.checkToldOf(o, e)
		}
	}
	w.checkAnswers(len(w.oracle.told))
}

// checkToldOf checks what was answered of an order that there is.
func (w *world) checkToldOf(o *anOrder, e *ended) {
	if o.refused[e.hash] {
		w.broken("told", "%s was refused and is %s", o.name, e.State)
	}
	if !strings.Contains(after[o.told], e.State) {
		w.broken("told", "%s was %s and is %s", o.name, o.told, e.State)
	}
	if w.oracle.cancelled[o.Order] && e.State != api.OrderCancelled && e.State != api.OrderPaid {
		w.broken("told", "%s was cancelled and is %s", o.name, e.State)
	}
}

// checkAnswers checks that some of what was answered by actors that are up is
// known to them, and the same.
func (w *world) checkAnswers(most int) {
	keys := sorted(w.oracle.told)
	if len(keys) == 0 {
		return
	}
	first := w.n(len(keys))
	for i := range min(most, len(keys)) {
		key := keys[(first+i)%len(keys)]
		actor, id, _ := strings.Cut(key, " ")
		a := w.named[actor]
		if !a.up {
			continue
		}
		answer, err := a.engine.Ask(api.EndpointResult, api.Raw(&api.GetResult{ID: id}))
		if err != nil {
			w.broken("told", "%s was answered by %s, which does not know it", w.brief(id), actor)
		}
		if r := answer.(*api.Result); (r.Refusal == nil) != (w.oracle.told[key].Refusal == nil) {
			w.broken("told", "the answer of %s to %s has changed", actor, w.brief(id))
		}
	}
}

// checkBody checks that an order is what the shopper saw.
func (w *world) checkBody(o *anOrder, m *api.SubmitOrder, e *ended) {
	if e.Total != m.Total || e.Balance.Amount != m.Balance.Amount || len(e.Lines) != len(m.Lines) {
		w.broken("body", "%s of %s with balance %s became one of %s with %s", o.name, m.Total,
			m.Balance, e.Total, e.Balance)
	}
	for i, l := range m.Lines {
		if k := e.Lines[i]; k.SKU != l.SKU || k.Quantity != l.Quantity || k.Price != l.Price {
			w.broken("body", "line %d of %s became %d %s at %s", i, o.name, k.Quantity, k.SKU,
				k.Price)
		}
	}
}

// checkGateways compares the money at the providers with what orders are worth.
func (w *world) checkGateways(orders map[string]*ended) {
	p := w.named["payment"]
	net := map[string]int64{}
	for _, t := range w.gateway.order {
		net[t.Order] += t.captured() - t.returned()
		if n := w.one(p, fmt.Sprintf(`SELECT captured FROM attempt WHERE id = '%s'`, t.ID)); n !=
			t.captured() {
			w.broken("books", "%d came on %s, and %d is booked", t.captured(), w.brief(t.ID), n)
		}
		back := w.one(p, fmt.Sprintf(`SELECT coalesce(sum(amount), 0) FROM log
			WHERE kind = 'refund' AND attempt = '%s'`, t.ID))
		if back != t.returned() {
			w.broken("books", "%d went back of %s, and %d is booked", t.returned(), w.brief(t.ID),
				back)
		}
	}
	for _, id := range sorted(orders) {
		e, want := orders[id], int64(0)
		if e.State == api.OrderPaid {
			money, _, _ := e.sum()
			want = e.Due.Amount - money
		}
		want += w.one(p, fmt.Sprintf(`SELECT coalesce(sum(amount), 0) FROM refund
			WHERE kind = 'late' AND state = 'refused' AND order_id = '%s'`, id))
		if net[id] != want {
			w.broken("money", "the providers hold %d for %s, which is %s and worth %d", net[id],
				w.brief(id), e.State, want)
		}
	}
	for id := range net {
		if orders[id] == nil {
			w.broken("money", "money for %s, which does not exist", w.brief(id))
		}
	}
}

// checkWallets compares balances and points with what orders took and gave.
func (w *world) checkWallets(orders map[string]*ended) {
	a := w.named["wallet"]
	for _, u := range users {
		balance, points := w.oracle.credits[u], int64(0)
		for _, e := range orders {
			if e.User != u || e.State != api.OrderPaid {
				continue
			}
			_, back, _ := e.sum()
			balance += back - e.Balance.Amount
			points += e.Points
		}
		points -= w.one(a, fmt.Sprintf(`SELECT coalesce(-sum(amount), 0) FROM entry
			WHERE owner = '%s' AND kind = 'revoke'`, u))
		if got := w.account(a, u, "GBP"); got != balance {
			w.broken("balance", "%s holds %d, and %d is right", u, got, balance)
		}
		if got := w.account(a, u, api.UnitPoint); got != points {
			w.broken("points", "%s holds %d, and %d is right", u, got, points)
		}
	}
	for _, id := range sorted(orders) {
		_, _, points := orders[id].sum()
		taken := w.one(a, fmt.Sprintf(`SELECT coalesce(-sum(amount), 0) FROM entry
			WHERE order_id = '%s' AND kind = 'revoke'`, id))
		if taken > points {
			w.broken("points", "%d were taken back for %s, whose refunds have %d", taken,
				w.brief(id), points)
		}
	}
}

func (w *world) account(a *actor, user, unit string) int64 {
	return w.one(a, fmt.Sprintf(`SELECT coalesce((SELECT balance FROM account
		WHERE owner = '%s' AND unit = '%s'), 0)`, user, unit))
}

// checkStock computes the stock from what was received, sold and returned.
func (w *world) checkStock(orders map[string]*ended) {
	a := w.named["goods"]
	for _, x := range wares {
		if x.Policy == api.PolicyNone {
			continue
		}
		want, taken := w.oracle.stock[x.ID], map[string]int64{}
		for _, e := range orders {
			stock, units := w.moved(e, x.ID)
			want += stock
			taken[e.User] += units
		}
		if got := w.one(a, fmt.Sprintf(`SELECT stock FROM stock WHERE sku = '%s'`, x.ID)); got !=
			want {
			w.broken("stock", "there are %d %s, and %d is right", got, x.ID, want)
		}
		if n := w.one(a, fmt.Sprintf(`SELECT locked FROM stock WHERE sku = '%s'`, x.ID)); n != 0 {
			w.broken("stock", "%d %s are locked by nobody", n, x.ID)
		}
		for _, u := range users {
			got := w.one(a, fmt.Sprintf(`SELECT coalesce((SELECT units FROM taken WHERE sku = '%s'
				AND user_id = '%s'), 0)`, x.ID, u))
			if x.MaxPerUser > 0 && (got != taken[u] || got > x.MaxPerUser) {
				w.broken("limit", "%s has %d %s, and %d is counted", u, taken[u], x.ID, got)
			}
		}
	}
}

// moved is by how much an order has changed the stock of a SKU, and how many
// units of it the shopper has.
func (w *world) moved(e *ended, sku string) (stock, units int64) {
	if e.State != api.OrderPaid {
		return 0, 0
	}
	var bought, back, here int64
	for i, l := range e.Lines {
		if l.SKU == sku {
			b, h := e.back(i)
			bought, back, here = bought+l.Quantity, back+b, here+h
		}
	}
	short := w.oracle.short[e.ID+sku]
	// What goes back is first what was never there.
	return min(here, max(0, back-short)) - (bought - short), bought - max(back, short)
}

// checkCoupons checks that each is used by the order that has it.
func (w *world) checkCoupons(orders map[string]*ended) {
	a := w.named["coupon"]
	used := map[string]string{}
	for _, id := range sorted(orders) {
		e := orders[id]
		if e.Coupon == "" || e.State != api.OrderPaid || slices.ContainsFunc(e.refunds,
			func(r api.Refund) bool { return r.Coupon != "" }) {
			continue
		}
		if by := used[e.Coupon]; by != "" {
			w.broken("coupon", "%s and %s have used one", w.brief(by), w.brief(id))
		}
		used[e.Coupon] = id
	}
	for _, c := range w.shop.coupons {
		var by string
		w.must(a.file.W.Row(`SELECT coalesce(order_id, '') FROM coupon WHERE id = ?`,
			c.ID).Scan(&by))
		if by != used[c.ID] {
			w.broken("coupon", "one is used by %q, and %q is right", w.brief(by),
				w.brief(used[c.ID]))
		}
	}
}

// checkSeats compares enrolments with what is paid and not refunded.
func (w *world) checkSeats(orders map[string]*ended) {
	a := w.named["learning"]
	for _, id := range sorted(orders) {
		e, units, bought := orders[id], int64(0), int64(0)
		for i, l := range e.Lines {
			if l.Kind == api.KindCourse && e.State == api.OrderPaid {
				back, _ := e.back(i)
				bought, units = bought+l.Quantity, units+l.Quantity-back
			}
		}
		if bought == w.oracle.seatless[id] {
			units = 0 // to be refunded, which a provider may refuse
		}
		got := w.one(a, fmt.Sprintf(`SELECT coalesce(sum(units), 0) FROM enrolment
			WHERE order_id = '%s' AND state <> 'withdrawn'`, id))
		if got != units {
			w.broken("seats", "%s has %d places, and %d is right", w.brief(id), got, units)
		}
	}
}

// checkShipments compares what is or was to be shipped with what was paid, less
// what refunds kept from leaving.
func (w *world) checkShipments(orders map[string]*ended) {
	a := w.named["shipping"]
	for _, id := range sorted(orders) {
		var state, lines string
		err := a.file.W.Row(`SELECT state, lines FROM shipment WHERE order_id = ?`, id).
			Scan(&state, &lines)
		want, any := orders[id].parcel()
		switch {
		case errors.Is(err, actors.ErrNoRows) && any:
			w.broken("shipment", "%s has none", w.brief(id))
		case errors.Is(err, actors.ErrNoRows):
			continue
		}
		w.must(err)
		var shipped []api.ShipLine
		w.must(json.Unmarshal([]byte(lines), &shipped))
		got := int64(0)
		for _, l := range shipped {
			got += l.Quantity + l.Unsent
		}
		if got != want {
			w.broken("shipment", "that of %s is %s with %d units; %d are right", w.brief(id), state,
				got, want)
		}
	}
}

// checkLacking checks that what could not be had went back, unless a refund that
// the shop began by itself was refused: that is left to a person.
func (w *world) checkLacking(orders map[string]*ended) {
	for _, id := range sorted(orders) {
		e := orders[id]
		if slices.ContainsFunc(e.refunds, func(r api.Refund) bool {
			return r.By == api.ByShop && r.State == api.RefundFailed
		}) {
			continue
		}
		back, courses, seats := e.wentBack(), map[string]int64{}, int64(0)
		for _, l := range e.Lines {
			if want := w.oracle.short[id+l.SKU]; back[l.SKU] < want {
				w.broken("lacking", "%s could not be given %d %s, and %d went back", w.brief(id),
					want, l.SKU, back[l.SKU])
			}
			if l.Kind == api.KindCourse {
				courses[l.SKU] = back[l.SKU]
			}
		}
		for _, n := range courses {
			seats += n
		}
		if want := w.oracle.seatless[id]; seats < want {
			w.broken("lacking", "%s had no place for %d, and %d went back", w.brief(id), want,
				seats)
		}
	}
}

// wentBack are the units that went back, or are asked to, by SKU.
func (e *ended) wentBack() map[string]int64 {
	back := map[string]int64{}
	for _, r := range e.refunds {
		if r.State != api.RefundDone && r.State != api.RefundAsked {
			continue
		}
		for _, l := range r.Lines {
			back[e.Lines[l.Line].SKU] += l.Quantity
		}
	}
	return back
}

// parcel is how many units are shipped, or to be: all that were paid, but for
// those that refunds kept from leaving. any is true when there were some.
func (e *ended) parcel() (units int64, any bool) {
	for i, l := range e.Lines {
		if l.Kind != api.KindPhysical || e.State != api.OrderPaid {
			continue
		}
		units, any = units+l.Quantity, true
		for _, r := range e.refunds {
			for _, b := range r.Lines {
				if b.Line == i && r.State == api.RefundDone {
					units -= b.Recalled
				}
			}
		}
	}
	return units, any
}

// checkJournal compares the journal with the orders' ends.
func (w *world) checkJournal(orders map[string]*ended) {
	a := w.named["journal"]
	for _, id := range sorted(orders) {
		e := orders[id]
		got := w.one(a, fmt.Sprintf(`SELECT count(*) FROM entry WHERE order_id = '%s'
			AND type IN ('order.paid', 'order.refused', 'order.cancelled')`, id))
		right := w.one(a, fmt.Sprintf(`SELECT count(*) FROM entry WHERE order_id = '%s'
			AND type = 'order.%s'`, id, e.State))
		if got != 1 || right != 1 {
			w.broken("journal", "%s is %s, and has %d ends in the journal", w.brief(id), e.State,
				got)
		}
	}
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
