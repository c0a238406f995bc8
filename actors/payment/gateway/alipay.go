package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"ordo/actors/payment/alipay"
	"ordo/api"
)

// Alipay is the gateway of Alipay, or the sandbox, which speaks the same.
type Alipay struct {
	client *alipay.Client
	cfg    alipay.Config
	began  time.Time

	mu sync.Mutex
	// doubts are the refunds of which a try had no answer, since when; trying
	// counts the tries of each that are under way.
	doubts map[string]time.Time
	trying map[string]int
}

// NewAlipay makes the gateway of a merchant's account.
func NewAlipay(cfg alipay.Config) (*Alipay, error) {
	c, err := alipay.New(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Alipay{client: c, cfg: cfg, began: cfg.Now(), doubts: map[string]time.Time{},
		trying: map[string]int{}}, nil
}

// pay is what an attempt asks the shopper for; always the same for the same
// attempt, so that ten clicks open one trade.
func pay(a *api.Attempt) alipay.Payment {
	return alipay.Payment{OutTradeNo: a.ID, Amount: a.Amount, Subject: "Order " + a.Order,
		At: a.OpenedAt, Expire: a.ExpiresAt}
}

// Link implements Gateway: a page's signed URL, or an app's signed text.
func (g *Alipay) Link(a *api.Attempt) (link api.Link, err error) {
	switch a.Product {
	case api.ProductPage:
		link.URL, err = g.client.PagePay(pay(a))
	case api.ProductApp:
		link.OrderString, err = g.client.AppPay(pay(a))
	default:
		err = api.Refuse(api.CodeInvalid, "%q has no link", a.Product).At("product")
	}
	return link, err
}

// Open implements Gateway: a code to be scanned.
func (g *Alipay) Open(ctx context.Context, a *api.Attempt) (api.Link, error) {
	if a.Product != api.ProductQR {
		return g.Link(a)
	}
	p, err := g.client.Precreate(ctx, pay(a))
	if err == nil && p.QRCode == "" {
		err = fmt.Errorf("%w: a trade without a code", alipay.ErrUnknown)
	}
	var refused *alipay.GatewayError
	if errors.As(err, &refused) && refused.Code != alipay.CodeFailed {
		return api.Link{}, fmt.Errorf("%w: %w", ErrPending, err) // a key or a right is wrong
	}
	return api.Link{QRCode: p.QRCode}, refusal(api.CodeNotPayable, err)
}

// Query implements Gateway.
func (g *Alipay) Query(ctx context.Context, a *api.Attempt) (*api.Trade, error) {
	t, err := g.client.Query(ctx, a.ID)
	var refused *alipay.GatewayError
	if errors.As(err, &refused) && refused.SubCode == alipay.SubTradeNotExist {
		return &api.Trade{Provider: api.PayAlipay, Attempt: a.ID, State: api.TradeNone,
			Amount: a.Amount}, nil
	}
	if err != nil {
		return nil, err
	}
	trade := &api.Trade{Provider: api.PayAlipay, Attempt: a.ID, TradeNo: t.TradeNo,
		State: stateOf(t.Status), Amount: t.Total, PaidAt: t.PaidAt}
	if trade.State == api.TradePaid && t.TradeNo == "" {
		return nil, fmt.Errorf("%w: a paid trade without a number", alipay.ErrUnknown)
	}
	if trade.State == api.TradeClosed && trade.PaidAt != 0 {
		trade.Refunded = trade.Amount // what closes a trade that was paid
	}
	return trade, nil
}

// Close implements Gateway. What the gateway refuses to close it is asked
// about: it may have been paid.
func (g *Alipay) Close(ctx context.Context, a *api.Attempt) (*api.Trade, error) {
	err := g.client.Close(ctx, a.ID)
	var refused *alipay.GatewayError
	if err != nil && !errors.As(err, &refused) {
		return nil, err
	}
	return g.Query(ctx, a)
}

// final are the refusals of a refund that no other day changes. All others are
// about the moment, the account or a key, or not known here: the refund stays
// open, and is asked for again.
var final = map[string]bool{
	"ACQ.INVALID_PARAMETER": true, "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL": true,
	"ACQ.TRADE_HAS_FINISHED": true, "ACQ.TRADE_STATUS_ERROR": true,
	"ACQ.DISCORDANT_REPEAT_REQUEST": true, "ACQ.REASON_TRADE_REFUND_FEE_ERR": true,
	"ACQ.REFUND_FEE_ERROR": true, "ACQ.TRADE_NOT_ALLOW_REFUND": true,
	"ACQ.ONLINE_TRADE_VOUCHER_NOT_ALLOW_REFUND": true, "ACQ.BUYER_NOT_EXIST": true,
}

// settles is how long the gateway may be at work on a refund whose call had no
// answer. Until then its no to another try says nothing about the first.
const settles = 10 * time.Second

// Refund implements Gateway. A refusal is believed when no other try of this
// process was or may still be under way, and none of the process before. Row Y9.
func (g *Alipay) Refund(ctx context.Context, c *api.GatewayCall) (api.RefundOutcome, error) {
	g.mu.Lock()
	alone := g.trying[c.Refund] == 0
	g.trying[c.Refund]++
	g.mu.Unlock()
	out, err := g.refund(ctx, c)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.trying[c.Refund]--; g.trying[c.Refund] == 0 {
		delete(g.trying, c.Refund)
	} else {
		alone = false
	}
	now := g.cfg.Now()
	doubt, ok := g.doubts[c.Refund]
	if !ok {
		doubt = g.began
	}
	switch refused := api.AsError(err); {
	case err == nil || errors.Is(err, ErrPending):
	case refused == nil:
		maps.DeleteFunc(g.doubts,
			func(_ string, at time.Time) bool { return now.Sub(at) > settles })
		g.doubts[c.Refund] = now
	case !alone || now.Sub(doubt) < settles:
		err = fmt.Errorf("%w: %s, but a try before may be under way", ErrPending, refused.Message)
	}
	return out, err
}

// refund asks for a refund. The gateway's word that the request was fine is not
// that money went back, so what this call did not change itself is asked about,
// and so is every refusal.
func (g *Alipay) refund(ctx context.Context, c *api.GatewayCall) (api.RefundOutcome, error) {
	var none api.RefundOutcome
	wish := alipay.Refund{OutTradeNo: c.Attempt.ID, TradeNo: c.Attempt.TradeNo,
		OutRequestNo: c.Refund, Amount: c.RefundAmount, Reason: c.Reason}
	done, err := g.client.Refund(ctx, wish)
	if err == nil && done.Changed {
		return api.RefundOutcome{Total: done.Total, At: done.At}, nil
	}
	var refused *alipay.GatewayError
	if err != nil && !errors.As(err, &refused) {
		return none, err
	}
	at, known, qerr := g.refundKnown(ctx, wish)
	switch {
	case qerr != nil:
		return none, qerr
	case known:
		return api.RefundOutcome{Total: done.Total, At: at}, nil
	case refused == nil:
		return none, fmt.Errorf("%w: the refund was accepted and is not done", ErrPending)
	case refused.Code != alipay.CodeFailed || !final[refused.SubCode]:
		return none, fmt.Errorf("%w: %w", ErrPending, err)
	}
	return none, refusal(api.CodeRefundRefused, err)
}

// refundKnown asks whether a refund is done, and since when. A gateway's no to
// the question is that it is not known.
func (g *Alipay) refundKnown(ctx context.Context, wish alipay.Refund) (at api.Time, known bool,
	err error) {
	state, err := g.client.RefundQuery(ctx, wish)
	switch {
	case errors.As(err, new(*alipay.GatewayError)):
		return 0, false, nil
	case err != nil || !state.Done:
		return 0, false, err
	case state.Amount != wish.Amount:
		return 0, false, api.Refuse(api.CodeRefundRefused,
			"the gateway knows the refund with %s, not %s", state.Amount, wish.Amount)
	}
	return state.At, true, nil
}

// refusal makes the gateway's final no the shop's; other errors stay unknown.
func refusal(code api.Code, err error) error {
	var refused *alipay.GatewayError
	if !errors.As(err, &refused) {
		return err
	}
	return api.Refuse(code, "%s %s", refused.SubCode, refused.SubMsg)
}

// Notice implements Gateway. Row Y3.
func (g *Alipay) Notice(_ http.Header, body []byte) (api.Message, *api.PaymentIncident) {
	n, err := g.client.ParseNotify(body)
	if err != nil {
		return nil, Incident(api.PayAlipay, api.IncidentForged, nil, err)
	}
	t := &api.Trade{Provider: api.PayAlipay, Attempt: n.OutTradeNo, TradeNo: n.TradeNo,
		State: stateOf(n.Status), Amount: n.Total, Refunded: n.RefundFee, PaidAt: n.PaidAt}
	if n.AppID != g.cfg.AppID || n.SellerID != g.cfg.SellerID {
		return nil, Incident(api.PayAlipay, api.IncidentForged, t,
			fmt.Errorf("the notice is for app %.40q of seller %.40q", n.AppID, n.SellerID))
	}
	if t.State == api.TradePaid && t.TradeNo == "" {
		return nil, Incident(api.PayAlipay, api.IncidentForged, t,
			errors.New("money without a trade number"))
	}
	return &api.NoteTrade{Trade: *t}, nil
}

// Accepted implements Gateway.
func (g *Alipay) Accepted() string { return alipay.NotifyReply }

// stateOf is a trade's state in the shop's words. What is not known here is
// waited for.
func stateOf(s alipay.TradeStatus) string {
	switch s {
	case alipay.TradeSuccess, alipay.TradeFinished:
		return api.TradePaid
	case alipay.TradeClosed:
		return api.TradeClosed
	}
	return api.TradeWaiting
}
