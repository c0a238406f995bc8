package simulate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"ordo/actors"
	"ordo/actors/payment/gateway"
	"ordo/api"
	"ordo/bus"
)

// ackWait is after how long a try counts as lost with its worker.
const ackWait = 30 * time.Second

// errTimeout is all that is known of a call.
var errTimeout = errors.New("the gateway does not answer")

// effect is an announcement in the stream of effects.
type effect struct {
	work   api.Effect
	actor  string
	tries  int
	due    int64
	stored int64
}

func newEffect(w *world, p *parcel) *effect {
	e := &effect{actor: strings.Split(p.Subject, ".")[2], due: w.now, stored: w.now}
	w.must(json.Unmarshal(p.Body, &e.work))
	return e
}

// worker does one try of an effect that is due, as bus.Worker does.
func (w *world) worker() bool {
	if len(w.effects) == 0 {
		return false
	}
	first := w.n(len(w.effects))
	for i := range w.effects {
		e := w.effects[(first+i)%len(w.effects)]
		if e.due <= w.now {
			w.try(e)
			return true
		}
	}
	return false
}

func (w *world) try(e *effect) {
	e.tries++
	data, err := w.do(&e.work)
	again := e.tries < bus.EffectTries
	switch {
	case err != nil && e.work.Attempt == 1 && again:
		e.due = w.now + int64(bus.EffectDelay(e.work.ID, e.tries))
		w.say("worker", "%s: %v", w.brief(e.work.ID), err)
		return
	case err != nil:
		w.say("worker", "%s: %v; left to the sweep", w.brief(e.work.ID), err)
		w.endEffect(e)
		return
	}
	e.due = w.now + int64(ackWait)
	lost := func(error) {
		if !again {
			w.endEffect(e)
		}
	}
	if w.fault(crashWorker, 10) {
		w.say("worker", "%s: is gone with the answer", w.brief(e.work.ID))
		lost(nil)
		return
	}
	o := api.Outcome{Effect: e.work.ID, Attempt: e.work.Attempt, Final: true}
	if data != nil {
		o.Data = api.Raw(data)
	}
	body := api.Raw(&o)
	sum := sha256.Sum256(body)
	id := fmt.Sprintf("out-%s-%d-%s", o.Effect, o.Attempt, hex.EncodeToString(sum[:8]))
	w.say("worker", "%s: %s", w.brief(e.work.ID), o.Data)
	w.send("worker", nil, parcel{id: id, failed: lost, stored: func() { w.endEffect(e) },
		Delivery: actors.Delivery{Subject: bus.MailboxSubject(e.actor, api.VerbOutcome), ID: id,
			Body: body}})
}

func (w *world) endEffect(e *effect) {
	for i := range w.effects {
		if w.effects[i] == e {
			w.effects = append(w.effects[:i], w.effects[i+1:]...)
			return
		}
	}
}

// do does the work of an effect.
func (w *world) do(e *api.Effect) (any, error) {
	if e.Name == "cart-remove" {
		return nil, nil
	}
	var c api.GatewayCall
	w.must(json.Unmarshal(e.Body, &c))
	return gateway.Call(w.ctx, &provider{w, c.Attempt.Provider}, e.Name, &c)
}

// gatewayModel is what the payment providers know.
type gatewayModel struct {
	trades  map[string]*trade
	order   []*trade
	notices []*notice
}

// trade is one attempt as its provider knows it.
type trade struct {
	api.Attempt
	state   string
	number  string
	paidAt  api.Time
	refunds map[string]int64
	refused map[string]bool
	// opened and noOpen are a provider's answer to open it.
	opened, noOpen bool
}

// captured and returned are what came and went back.
func (t *trade) captured() int64 {
	if t.number == "" {
		return 0
	}
	return t.Amount.Amount
}

func (t *trade) returned() (sum int64) {
	for _, n := range t.refunds {
		sum += n
	}
	return sum
}

// notice waits to be told to the shop.
type notice struct {
	api.Trade
	due int64
}

// provider is one of them, and breaks as the world says.
type provider struct {
	w    *world
	name string
}

func (p *provider) trade(a *api.Attempt) *trade {
	g := &p.w.gateway
	t := g.trades[a.ID]
	if t == nil {
		t = &trade{Attempt: *a, state: api.TradeWaiting, refunds: map[string]int64{},
			refused: map[string]bool{}}
		g.trades[a.ID] = t
		g.order = append(g.order, t)
	}
	return t
}

// known is the trade of an attempt, which ends by itself at its time; nil when
// there is none.
func (p *provider) known(a *api.Attempt) *trade {
	t := p.w.gateway.trades[a.ID]
	if t != nil && t.state == api.TradeWaiting && p.w.time() > t.ExpiresAt.Add(grace) {
		t.state = api.TradeClosed
	}
	return t
}

// grace is how long after its time a provider may still take money.
const grace = 3 * time.Second

func (p *provider) said(t *trade) *api.Trade {
	state := t.state
	if t.number != "" && t.returned() == t.Amount.Amount {
		state = api.TradeClosed // refunded in full
	}
	return &api.Trade{Provider: p.name, Attempt: t.ID, TradeNo: t.number, State: state,
		Amount: t.Amount, PaidAt: t.paidAt,
		Refunded: api.Money{Amount: t.returned(), Currency: t.Amount.Currency}}
}

// Link implements gateway.Gateway.
func (p *provider) Link(a *api.Attempt) (api.Link, error) {
	return api.Link{URL: "https://pay/" + a.ID}, nil
}

// Open implements gateway.Gateway.
func (p *provider) Open(_ context.Context, a *api.Attempt) (api.Link, error) {
	w := p.w
	if w.fault(callUnknown, 6) {
		return api.Link{}, errTimeout
	}
	t := p.trade(a)
	if t.noOpen || !t.opened && w.fault(openRefused, 10) {
		t.noOpen, t.state = true, api.TradeClosed
		return api.Link{}, api.Refuse(api.CodeInvalid, "the provider does not open this")
	}
	t.opened = true
	if w.fault(callUnknown, 6) {
		return api.Link{}, errTimeout
	}
	return api.Link{URL: "https://pay/" + a.ID, Ref: "cs_" + a.ID}, nil
}

// Query implements gateway.Gateway.
func (p *provider) Query(_ context.Context, a *api.Attempt) (*api.Trade, error) {
	if p.w.fault(callUnknown, 6) {
		return nil, errTimeout
	}
	if t := p.known(a); t != nil {
		return p.said(t), nil
	}
	return &api.Trade{Provider: p.name, Attempt: a.ID, State: api.TradeNone, Amount: a.Amount}, nil
}

// Close implements gateway.Gateway.
func (p *provider) Close(ctx context.Context, a *api.Attempt) (*api.Trade, error) {
	if t := p.known(a); t != nil && t.state == api.TradeWaiting {
		t.state = api.TradeClosed
	}
	return p.Query(ctx, a)
}

// Refund implements gateway.Gateway.
func (p *provider) Refund(_ context.Context, c *api.GatewayCall) (
	out api.RefundOutcome, err error) {
	w, t := p.w, p.known(&c.Attempt)
	if t == nil || t.number == "" {
		w.broken("refund", "refund %s of attempt %s, which was never paid", w.brief(c.Refund),
			w.brief(c.Attempt.ID))
	}
	if w.fault(callUnknown, 6) {
		return out, errTimeout
	}
	if _, ok := t.refunds[c.Refund]; !ok {
		if t.refused[c.Refund] || w.fault(refundRefused, 3) {
			t.refused[c.Refund] = true
			return out, api.Refuse(api.CodeRefundRefused, "the provider refuses")
		}
		p.sendBack(t, c)
	}
	if t.refunds[c.Refund] != c.RefundAmount.Amount {
		w.broken("refund", "refund %s comes with %d and with %d", w.brief(c.Refund),
			t.refunds[c.Refund], c.RefundAmount.Amount)
	}
	if w.fault(refundUnknown, 3) {
		return out, errTimeout
	}
	out.Total = api.Money{Amount: t.returned(), Currency: t.Amount.Currency}
	return out, nil
}

// sendBack has money go back for the first time under a number.
func (p *provider) sendBack(t *trade, c *api.GatewayCall) {
	w := p.w
	t.refunds[c.Refund] = c.RefundAmount.Amount
	if t.returned() > t.captured() {
		w.broken("refund", "%d are to go back of %s, on which %d came", t.returned(),
			w.brief(t.ID), t.captured())
	}
	if t.returned() == t.captured() && w.odds(2) {
		w.tell(p.said(t), time.Duration(w.n(3000))*time.Millisecond)
	}
}

// Notice implements gateway.Gateway; it is not used.
func (p *provider) Notice(http.Header, []byte) (api.Message, *api.PaymentIncident) {
	return nil, nil
}

// Accepted implements gateway.Gateway; it is not used.
func (p *provider) Accepted() string { return "success" }

// pay has a shopper pay an attempt at its provider.
func (w *world) pay(a *api.Attempt) {
	p := &provider{w, a.Provider}
	t := p.known(a)
	switch {
	case t == nil && w.time() > a.ExpiresAt.Add(grace):
		return
	case t == nil:
		t = p.trade(a)
	case t.state != api.TradeWaiting:
		return
	}
	if w.fault(payDeclined, 6) {
		w.say("gateway", "declines %s", w.brief(a.ID))
		return
	}
	t.state, t.number, t.paidAt = api.TradePaid, "t"+a.ID[len(a.ID)-10:], w.time()
	w.say("gateway", "captures %s on %s of %s", t.Amount, w.brief(a.ID), w.brief(a.Order))
	delay := time.Duration(w.n(500)) * time.Millisecond
	if w.fault(noticeLate, 4) {
		delay = time.Duration(5+w.n(300)) * time.Second
	}
	if w.fault(noticeLost, 8) {
		w.say("gateway", "loses the notice")
	} else {
		w.tell(p.said(t), delay)
	}
	if w.fault(capturedUnknown, 3) { // the shopper tries another way
		w.openAttempt(w.shop.find(a.Order), 1-way(a.Provider))
	}
}

// tell has the shop told of a trade.
func (w *world) tell(t *api.Trade, after time.Duration) {
	n := &notice{*t, w.now + int64(after)}
	w.gateway.notices = append(w.gateway.notices, n)
	if w.fault(noticeTwice, 3) {
		w.gateway.notices = append(w.gateway.notices, &notice{*t, n.due + int64(w.n(60))*1e9})
	}
}

// notices brings one that is due to an edge, which does not answer before it is
// committed.
func (w *world) notices() bool {
	g := &w.gateway
	for i := range g.notices {
		n := g.notices[i]
		if n.due > w.now {
			continue
		}
		if i+1 < len(g.notices) && g.notices[i+1].due <= w.now && w.fault(noticeReordered, 1) {
			i++
			n = g.notices[i]
		}
		g.notices = append(g.notices[:i], g.notices[i+1:]...)
		m := &api.NoteTrade{Trade: n.Trade}
		sum := sha256.Sum256(api.Raw(m))
		w.say("gateway", "says %s is %s", w.brief(n.Attempt), n.State)
		w.request("notice-"+hex.EncodeToString(sum[:16]), m, nil)
		return true
	}
	return false
}
