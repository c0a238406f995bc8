package simulate

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"ordo/api"
)

// edges ask for answers to requests, or look at orders.
func (w *world) edges(most int) {
	s := &w.shop
	for range most {
		if len(s.requests) > 0 {
			w.await(s.requests[w.n(len(s.requests))])
		}
		if len(s.orders) > 0 && !w.odds(3) {
			w.look(s.orders[w.n(len(s.orders))])
		}
	}
}

// await asks for the answer to a request once, and sends it again in time.
func (w *world) await(r *request) bool {
	a := w.named[r.actor]
	if !a.up {
		return false
	}
	answer, err := a.engine.Ask(api.EndpointResult, api.Raw(&api.GetResult{ID: r.id}))
	if api.AsError(err) != nil {
		if w.now >= r.next {
			w.publish(r)
		}
		return false
	}
	w.must(err)
	result := answer.(*api.Result)
	sum := sha256.Sum256(r.body)
	if string(sum[:]) != string(result.Hash) {
		w.broken("edge", "%s is known with another body", r.id)
	}
	if result.Refusal != nil && result.Refusal.Code == api.CodeInternal &&
		!w.oracle.dismissed[r.id] {
		return false // a dead letter that support will look at
	}
	w.shop.requests = slices.DeleteFunc(w.shop.requests, func(x *request) bool { return x == r })
	w.oracle.told[r.actor+" "+r.id] = result
	if r.answered != nil {
		r.answered(result)
	}
	return true
}

// look reads an order as its owner.
func (w *world) look(o *anOrder) {
	a := w.named["order"]
	if !a.up {
		return
	}
	answer, err := a.engine.Ask("order", api.Raw(&api.GetOrder{ID: o.Order, User: o.User}))
	if api.AsError(err) != nil {
		if o.told != "" {
			w.broken("told", "%s was %s and is gone", o.name, o.told)
		}
		return
	}
	w.must(err)
	seen := answer.(*api.Order)
	w.oracle.sees(o, seen)
	if o.told != seen.State {
		w.say("shopper", "sees %s %s", o.name, seen.State)
		o.told = seen.State
		switch {
		case w.calm:
		case o.told == api.OrderPlaced && !w.odds(4):
			w.openAttempt(o, w.n(2))
		case o.told == api.OrderPaid && w.odds(2):
			w.askRefund(o)
		}
	}
}

// shopper does something.
func (w *world) shopper() {
	s := &w.shop
	if len(s.orders) == 0 || w.odds(4) && len(s.orders) < 14 {
		w.buy()
		return
	}
	o := s.orders[w.n(len(s.orders))]
	switch w.n(16) {
	case 0:
		w.submit(o, o.SubmitOrder)
	case 1:
		w.submitOther(o)
	case 2:
		w.cancel(o)
	case 3, 4:
		w.ship(o)
	case 5, 6, 7:
		w.askRefund(w.oneThatIs(api.OrderPaid, o))
	case 8, 9, 10:
		w.openAttempt(w.oneThatIs(api.OrderPlaced, o), w.n(2))
	default:
		w.tryToPay(o)
	}
}

// tryToPay looks for an order with attempts, from one on, and has one of them
// paid or looked at.
func (w *world) tryToPay(o *anOrder) {
	for range 4 {
		if len(o.attempts) > 0 {
			w.payOrLook(o.attempts[w.n(len(o.attempts))])
			return
		}
		o = w.shop.orders[w.n(len(w.shop.orders))]
	}
}

// oneThatIs is an order in a state, else any.
func (w *world) oneThatIs(state string, any *anOrder) *anOrder {
	s := &w.shop
	for range 6 {
		if o := s.orders[w.n(len(s.orders))]; o.told == state {
			return o
		}
	}
	return any
}

// buy submits a new order.
func (w *world) buy() {
	s := &w.shop
	s.count++
	user := users[w.n(len(users))]
	token := api.DeriveID(api.PrefixCheckout, time.Unix(0, w.now),
		fmt.Sprintf("%d/%d", w.Seed, s.count))
	id, err := api.OrderID(token)
	w.must(err)
	o := &anOrder{name: fmt.Sprintf("order-%d", len(s.orders)+1),
		bodies: map[string]*api.SubmitOrder{}, accepted: map[string]bool{},
		refused: map[string]bool{}}
	o.SubmitOrder = w.body(id, token, user)
	s.orders = append(s.orders, o)
	w.oracle.names[id[len(api.PrefixOrder):]] = o.name
	w.submit(o, o.SubmitOrder)
}

// body is what a shopper wants, with the prices as seen.
func (w *world) body(id, token, user string) *api.SubmitOrder {
	s := &w.shop
	m := &api.SubmitOrder{Order: id, Token: token, User: user, Channel: api.ChannelWeb,
		PayMethod: api.PayAlipay, FromCart: w.odds(3), Balance: gbp(0),
		Address: api.Address{Name: "Ann", Phone: "0123", Lines: []string{"1 High Street"},
			City: "London", Country: "GB"}}
	prices := s.prices
	if w.odds(10) {
		prices = s.stale
	}
	var total int64
	first := w.n(len(wares))
	for i := range 1 + w.n(3) {
		x := &wares[(first+i)%len(wares)]
		l := api.ReserveLine{SKU: x.ID, Quantity: int64(1 + w.n(2)), Price: gbp(prices[x.ID])}
		m.Lines = append(m.Lines, l)
		total += l.Quantity * l.Price.Amount
	}
	if w.odds(3) {
		c := &s.coupons[w.n(len(s.coupons))]
		if c.User == user && c.Minimum.Amount <= total {
			m.Coupon = c.ID
			total -= min(total, c.Amount.Amount)
		}
	}
	m.Total = gbp(total)
	if w.odds(3) && total > 0 {
		m.Balance = gbp(min(total, int64(1+w.n(3000))))
		if m.Balance == m.Total {
			m.PayMethod = api.PayBalance
		}
	}
	sum := sha256.Sum256(api.Raw(m))
	m.BodyHash = hex.EncodeToString(sum[:])
	return m
}

// submit sends an order, as the edge does: the claim binds the token to the
// body, unless it is lost.
func (w *world) submit(o *anOrder, m *api.SubmitOrder) {
	s := &w.shop
	claimed, ok := s.checkouts[m.Token]
	if ok && claimed != m.BodyHash {
		w.say("shopper", "submits %s with another body: refused by the edge", o.name)
		return
	}
	if !ok {
		if s.lost && len(o.bodies) > 0 && w.may(checkoutLost) {
			w.hits[checkoutLost]++
		}
		s.checkouts[m.Token] = m.BodyHash
		s.unsynced = append(s.unsynced, m.Token)
	}
	w.say("shopper", "%s submits %s: %s", m.User[4:], o.name, describe(m))
	o.bodies[m.BodyHash] = m
	w.request("submit-"+m.Order+"-"+m.BodyHash[:16], m, func(r *api.Result) {
		if r.Refusal == nil {
			o.accepted[m.BodyHash] = true
			return
		}
		w.say("shopper", "is told that %s is refused: %s", o.name, r.Refusal.Code)
		o.refused[m.BodyHash] = true
	})
}

func describe(m *api.SubmitOrder) (text string) {
	for _, l := range m.Lines {
		text += fmt.Sprintf("%d %s, ", l.Quantity, l.SKU)
	}
	if m.Coupon != "" {
		text += "a coupon, "
	}
	return text + fmt.Sprintf("total %s, balance %s", m.Total, m.Balance)
}

// submitOther sends the token again with other contents.
func (w *world) submitOther(o *anOrder) {
	m := w.body(o.Order, o.Token, o.User)
	w.submit(o, m)
}

func (w *world) cancel(o *anOrder) {
	w.shop.count++
	m := &api.CancelOrder{Order: o.Order, User: o.User, By: o.User}
	if w.odds(4) {
		m.User, m.By, m.Reason = "", support, "asked for"
	}
	w.say("shopper", "cancels %s", o.name)
	w.request(fmt.Sprintf("cancel-%d", w.shop.count), m, func(r *api.Result) {
		if r.Refusal == nil {
			w.oracle.cancelled[o.Order] = true
		}
	})
}

var providers = [2]string{api.PayAlipay, api.PayStripe}

func way(provider string) int { return slices.Index(providers[:], provider) }

// openAttempt asks for a way to pay.
func (w *world) openAttempt(o *anOrder, way int) {
	if o == nil || o.told != "" && o.told != api.OrderPlaced {
		return
	}
	w.shop.count++
	m := &api.OpenAttempt{Order: o.Order, User: o.User, Provider: providers[way],
		Product: api.ProductPage, ID: api.DeriveID(api.PrefixPayment, time.Unix(0, w.now),
			fmt.Sprintf("%d/%d", w.Seed, w.shop.count))}
	o.tries++
	w.oracle.names[m.ID[len(api.PrefixPayment):]] = fmt.Sprintf("%s/try-%d", o.name, o.tries)
	w.say("shopper", "wants to pay %s with %s", o.name, m.Provider)
	w.request("open-"+m.ID, m, func(r *api.Result) {
		if r.Refusal != nil {
			return
		}
		var a api.Attempt
		w.must(json.Unmarshal(r.Value, &a))
		if !slices.ContainsFunc(o.attempts, func(x *api.Attempt) bool { return x.ID == a.ID }) {
			o.attempts = append(o.attempts, &a)
		}
		if w.odds(2) {
			w.payOrLook(&a)
		}
	})
}

// payOrLook pays an attempt, once its link is known.
func (w *world) payOrLook(a *api.Attempt) {
	if !api.Remote(a.Provider, a.Product) || a.Link != (api.Link{}) {
		w.pay(a)
		return
	}
	p := w.named["payment"]
	if !p.up {
		return
	}
	answer, err := p.engine.Ask("attempt", api.Raw(&api.GetAttempt{ID: a.ID}))
	if err != nil {
		return // set back, or not yet
	}
	a.Link = answer.(*api.Attempt).Link
}

// askRefund asks for some lines, or for all.
func (w *world) askRefund(o *anOrder) {
	if o.told != api.OrderPaid && !w.odds(10) {
		return
	}
	w.shop.count++
	m := &api.AskRefund{Order: o.Order, User: o.User, By: o.User,
		ID: api.DeriveID(api.PrefixRefund, time.Unix(0, w.now), fmt.Sprintf("%d/%d", w.Seed,
			w.shop.count))}
	if w.odds(3) {
		m.User, m.By, m.Reason, m.Returned = "", support, "damaged", w.odds(4)
	}
	if !w.odds(3) {
		for range 1 + w.n(2) {
			l := w.n(len(o.Lines))
			m.Lines = append(m.Lines, api.RefundLine{Line: l, Quantity: int64(1 + w.n(2)),
				Keep: w.odds(8)})
		}
	}
	o.refunds = append(o.refunds, m.ID)
	w.oracle.names[m.ID[len(api.PrefixRefund):]] = fmt.Sprintf("%s/refund-%d", o.name,
		len(o.refunds))
	w.say("shopper", "asks for %s", w.brief(m.ID))
	w.request("ask-"+m.ID, m, func(r *api.Result) {
		if r.Refusal == nil {
			w.shop.refunds = append(w.shop.refunds, m.ID)
		}
	})
}

func (w *world) ship(o *anOrder) {
	if o.told != api.OrderPaid {
		return
	}
	w.shop.count++
	if w.odds(2) {
		w.request(fmt.Sprintf("ship-%d", w.shop.count), &api.Ship{Order: o.Order, Carrier: "Post",
			Tracking: "T1", By: support}, nil)
		return
	}
	w.request(fmt.Sprintf("receive-%d", w.shop.count), &api.Receive{Order: o.Order, User: o.User},
		nil)
}

// admin does something.
func (w *world) admin() {
	s := &w.shop
	s.count++
	sku := wares[w.n(3)].ID
	switch w.n(9) {
	case 0, 1:
		n := int64(1 + w.n(3))
		w.say("admin", "receives %d %s", n, sku)
		w.request(fmt.Sprintf("stock-%d", s.count), &api.ReceiveStock{SKU: sku, Quantity: n},
			func(r *api.Result) {
				if r.Refusal == nil {
					w.oracle.stock[sku] += n
				}
			})
	case 2:
		n := cmp.Or(int64(w.n(5)-3), 1)
		w.say("admin", "adjusts %s by %d", sku, n)
		w.request(fmt.Sprintf("stock-%d", s.count), &api.AdjustStock{SKU: sku, Difference: n,
			Reason: "counted"}, func(r *api.Result) {
			if r.Refusal == nil {
				w.oracle.stock[sku] += n
			}
		})
	case 3:
		w.credit(users[w.n(len(users))], int64(w.n(3000)-500)|1)
	case 4:
		if w.fault(rulesChanged, 1) {
			w.say("admin", "changes the rules")
			w.configure()
		}
	case 5:
		w.changePrice()
	case 6:
		w.putCourses(s.seats + int64(w.n(2)))
	default:
		w.decide()
	}
}

func (w *world) changePrice() {
	s := &w.shop
	x := wares[w.n(len(wares))]
	x.SKU.Price = gbp(x.Price.Amount + int64(w.n(5))*50)
	w.say("admin", "changes the price of %s to %s", x.ID, x.SKU.Price)
	w.request(fmt.Sprintf("price-%d", s.count), &api.PutProducts{Products: []api.Product{
		{ID: "all", Name: "All", SKUs: []api.SKU{x.SKU}}}}, func(r *api.Result) {
		s.stale[x.ID], s.prices[x.ID] = s.prices[x.ID], x.SKU.Price.Amount
	})
}

// decide grants or denies a refund.
func (w *world) decide() {
	s := &w.shop
	if len(s.refunds) == 0 {
		return
	}
	s.count++
	id := s.refunds[w.n(len(s.refunds))]
	w.request(fmt.Sprintf("decide-%d", s.count), &api.DecideRefund{Refund: id, Grant: !w.odds(3),
		By: support}, nil)
}
