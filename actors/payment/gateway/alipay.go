package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"ordo/actors/payment/alipay"
	"ordo/api"
)

// Alipay is the gateway of Alipay, or the sandbox, which speaks the same.
type Alipay struct {
	client *alipay.Client
	cfg    alipay.Config
}

// NewAlipay makes the gateway of a merchant's account.
func NewAlipay(cfg alipay.Config) (*Alipay, error) {
	c, err := alipay.New(cfg)
	if err != nil {
		return nil, err
	}
	return &Alipay{c, cfg}, nil
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
	return &api.Trade{Provider: api.PayAlipay, Attempt: a.ID, TradeNo: t.TradeNo,
		State: stateOf(t.Status), Amount: t.Total, PaidAt: t.PaidAt}, nil
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

// retried are refusals of a refund that may be different another day. So are
// all whose code is not alipay.CodeFailed: a wrong key or a missing right is
// not about the refund.
var retried = map[string]bool{
	"ACQ.SELLER_BALANCE_NOT_ENOUGH": true, "ACQ.CUSTOMER_VALIDATE_ERROR": true,
	"ACQ.USER_NOT_MATCH_ERR": true, "ACQ.REASON_TRADE_BEEN_FREEZEN": true,
	"ACQ.REFUND_CHARGE_ERROR": true,
}

// Refund implements Gateway. The gateway's word that the request was fine is
// not that money went back, so what this call did not change itself is asked
// about, and so is every refusal before it is believed. Row Y9.
func (g *Alipay) Refund(ctx context.Context, c *api.GatewayCall) (api.RefundOutcome, error) {
	var none api.RefundOutcome
	done, err := g.client.Refund(ctx, alipay.Refund{OutTradeNo: c.Attempt.ID,
		OutRequestNo: c.Refund, Amount: c.RefundAmount, Reason: c.Reason})
	if err == nil && done.Changed {
		return api.RefundOutcome{Total: done.Total, At: done.At}, nil
	}
	var refused *alipay.GatewayError
	if err != nil && !errors.As(err, &refused) {
		return none, err
	}
	state, qerr := g.client.RefundQuery(ctx, c.Attempt.ID, c.Refund)
	switch {
	case qerr == nil && state.Done && state.Amount == c.RefundAmount:
		return api.RefundOutcome{Total: done.Total, At: state.At}, nil
	case qerr == nil && state.Done:
		return none, api.Refuse(api.CodeRefundRefused,
			"the gateway knows the refund with %s, not %s", state.Amount, c.RefundAmount)
	case qerr != nil && !errors.As(qerr, new(*alipay.GatewayError)):
		return none, qerr
	case refused == nil:
		return none, fmt.Errorf("%w: the refund was accepted and is not done", ErrPending)
	case refused.Code != alipay.CodeFailed || refused.SubCode == alipay.SubTradeNotExist ||
		retried[refused.SubCode]:
		return none, fmt.Errorf("%w: %w", ErrPending, err)
	}
	return none, refusal(api.CodeRefundRefused, err)
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
