package alipay

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"ordo/api"
)

// MaxNotify is the longest notify body and return query, in bytes.
const MaxNotify = 64 << 10

// maxFields bounds the fields of one notify; the gateway sends about 30.
const maxFields = 128

// NotifyReply is the whole body that tells the gateway, with status 200, that
// a notify was committed. Anything else makes it come again.
const NotifyReply = "success"

// ErrForeign says that an authentic notify is not about what was expected:
// another app, seller, trade or amount. It is recorded and marks nothing paid.
var ErrForeign = errors.New("alipay: not the expected trade")

// Notify is an authentic message of the gateway about a trade. Authentic does
// not mean that it is about an order of this shop: Check compares it.
type Notify struct {
	AppID, SellerID string
	// NotifyID is the same in all deliveries of one event.
	NotifyID string
	// OutTradeNo is the shop's number of the trade, TradeNo the gateway's.
	OutTradeNo, TradeNo string
	// Status is a state of TradeStatus, or a word that is not known here.
	Status TradeStatus
	// Total is the amount of the trade; RefundFee all that went back up to
	// now, zero in a notify that is not about a refund.
	Total, RefundFee api.Money
	// OutBizNo is the number of the refund, in a notify about one.
	OutBizNo string
	// NotifyTime is when it was sent, PaidAt when the shopper paid (0 if
	// never), RefundedAt when money went back, ClosedAt when the trade closed.
	NotifyTime, PaidAt, RefundedAt, ClosedAt api.Time
	// Params are all fields as they came.
	Params Params
}

// ParseNotify verifies and reads a notify: body is the POST body and nothing
// else, since a field in the URL is nobody's. It answers ErrSignature for a
// body that key did not sign with RSA2 over everything but sign and sign_type,
// and ErrMalformed for a body over MaxNotify, a repeated field, a charset
// other than UTF-8, and amounts or times that can't be read.
func ParseNotify(key *rsa.PublicKey, currency string, body []byte) (*Notify, error) {
	p, err := parseSigned(key, string(body))
	if err != nil {
		return nil, err
	}
	f := fields{currency: currency}
	n := &Notify{
		AppID:      p["app_id"],
		SellerID:   p["seller_id"],
		NotifyID:   p["notify_id"],
		OutTradeNo: p["out_trade_no"],
		TradeNo:    p["trade_no"],
		Status:     TradeStatus(p["trade_status"]),
		Total:      f.amount(p["total_amount"]),
		RefundFee:  f.amount(p["refund_fee"]),
		OutBizNo:   p["out_biz_no"],
		NotifyTime: f.time(p["notify_time"]),
		PaidAt:     f.time(p["gmt_payment"]),
		RefundedAt: f.time(p["gmt_refund"]),
		ClosedAt:   f.time(p["gmt_close"]),
		Params:     p,
	}
	if n.OutTradeNo == "" || n.Status == "" || n.Total.Amount == 0 {
		f.keep(fmt.Errorf("%w: no trade number, status or amount", ErrMalformed))
	}
	if f.err != nil {
		return nil, f.err
	}
	return n, nil
}

// ParseNotify is ParseNotify with the client's gateway key and currency.
func (c *Client) ParseNotify(body []byte) (*Notify, error) {
	return ParseNotify(c.cfg.AlipayPublicKey, c.cfg.Currency, body)
}

// Paid says that the notify's event is the payment itself: the trade is paid
// and the event is not a refund. It may come more than once, and after others.
func (n *Notify) Paid() bool { return n.paidStatus() && !n.Refund() }

// Refund says that the event is a refund: RefundFee has gone back in all. The
// trade stays TradeSuccess after a partial one and is TradeClosed after a full
// one.
func (n *Notify) Refund() bool { return n.RefundFee.Amount > 0 || n.RefundedAt != 0 }

// Closed says that the trade ended without ever being paid.
func (n *Notify) Closed() bool { return n.Status == TradeClosed && !n.EverPaid() }

// EverPaid says that money came at some time, whatever became of it since.
func (n *Notify) EverPaid() bool { return n.paidStatus() || n.Refund() || n.PaidAt != 0 }

// paidStatus says whether the trade holds money now.
func (n *Notify) paidStatus() bool { return n.Status == TradeSuccess || n.Status == TradeFinished }

// Expected is what the shop knows about a trade before it believes a notify.
type Expected struct {
	AppID, SellerID string
	// OutTradeNo is the number under which the shop asked for the payment.
	OutTradeNo string
	// Amount is what it asked for.
	Amount api.Money
}

// Expect is what a notify about the trade outTradeNo over amount must say when
// it is for this client's merchant.
func (c *Client) Expect(outTradeNo string, amount api.Money) Expected {
	return Expected{c.cfg.AppID, c.cfg.SellerID, outTradeNo, amount}
}

// Check answers ErrForeign, with the field that differs, unless the notify is
// about the trade that want describes (the four checks of the gateway's page
// "Asynchronous notification"; row Y3).
func (n *Notify) Check(want Expected) error {
	switch {
	case n.AppID != want.AppID:
		return fmt.Errorf("%w: app_id is %.64q", ErrForeign, n.AppID)
	case n.SellerID != want.SellerID:
		return fmt.Errorf("%w: seller_id is %.64q", ErrForeign, n.SellerID)
	case n.OutTradeNo != want.OutTradeNo:
		return fmt.Errorf("%w: out_trade_no is %.64q", ErrForeign, n.OutTradeNo)
	case n.Total != want.Amount:
		return fmt.Errorf("%w: total_amount is %s, not %s", ErrForeign, n.Total, want.Amount)
	}
	return nil
}

// Return is what the cashier page tells the shopper's browser. It is only ever
// shown: it carries no trade status, and a browser may send it at any time.
type Return struct {
	AppID, SellerID, OutTradeNo, TradeNo string
	Total                                api.Money
	// At is when the gateway sent the browser back.
	At api.Time
}

// ParseReturn verifies and reads the query of a browser return, by the rules
// of ParseNotify.
func ParseReturn(key *rsa.PublicKey, currency, query string) (*Return, error) {
	p, err := parseSigned(key, query)
	if err != nil {
		return nil, err
	}
	f := fields{currency: currency}
	r := &Return{
		AppID:      p["app_id"],
		SellerID:   p["seller_id"],
		OutTradeNo: p["out_trade_no"],
		TradeNo:    p["trade_no"],
		Total:      f.amount(p["total_amount"]),
		At:         f.time(p["timestamp"]),
	}
	if r.OutTradeNo == "" {
		f.keep(fmt.Errorf("%w: no trade number", ErrMalformed))
	}
	if f.err != nil {
		return nil, f.err
	}
	return r, nil
}

// ParseReturn is ParseReturn with the client's gateway key and currency.
func (c *Client) ParseReturn(query string) (*Return, error) {
	return ParseReturn(c.cfg.AlipayPublicKey, c.cfg.Currency, query)
}

// parseSigned is the fields of a form that the gateway signed. The form is
// read strictly, because the signature covers a text in which a field's name
// or value could hide another field.
func parseSigned(key *rsa.PublicKey, form string) (Params, error) {
	if len(form) > MaxNotify || strings.Count(form, "&") >= maxFields {
		return nil, fmt.Errorf("%w: over %d bytes or %d fields", ErrMalformed,
			MaxNotify, maxFields)
	}
	values, err := url.ParseQuery(form)
	if err != nil {
		return nil, fmt.Errorf("%w: not a form", ErrMalformed)
	}
	p, err := ParamsOf(values)
	if err != nil {
		return nil, err
	}
	for name, value := range p {
		if !plainName(name) || !utf8.ValidString(value) {
			return nil, fmt.Errorf("%w: the field %.64q", ErrMalformed, name)
		}
	}
	if charset := p["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, fmt.Errorf("%w: the charset is %.20q, not utf-8", ErrMalformed, charset)
	}
	return p, verifyParams(key, p, "sign", "sign_type")
}

// plainName says whether name could be a field of the gateway.
func plainName(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789_ABCDEFGHIJKLMNOPQRSTUVWXYZ.-"
	return name != "" && len(name) <= 64 && strings.Trim(name, letters) == ""
}
