package sandbox

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"ordo/actors/payment/alipay"
	"ordo/api"
	"ordo/stores"
)

// Limits of a trade, as the page of alipay.trade.page.pay states them.
const (
	maxNumber   = 64  // characters of out_trade_no and out_request_no
	maxSubject  = 256 // characters
	maxPassback = 512
	maxURL      = 2048 // the gateway's is 256 for notify_url
)

// defaultExpiry is the time limit of a trade that came without one.
const defaultExpiry = 15 * 24 * time.Hour

// newTrade reads the trade that a call describes; a refusal or "".
func (g *Gateway) newTrade(c *call) (*trade, string) {
	b := &c.Biz
	t := &trade{OutTradeNo: string(b.OutTradeNo), Status: alipay.WaitBuyerPay, Subject: b.Subject,
		Passback: b.Passback, NotifyURL: c.Params["notify_url"], ReturnURL: c.Params["return_url"],
		Created: g.now()}
	if !t.wellFormed() {
		return nil, subInvalid
	}
	if !goodURL(t.NotifyURL) || !goodURL(t.ReturnURL) {
		return nil, subBadParameter
	}
	amount, err := api.ParseMoney(string(b.TotalAmount), g.cfg.Currency)
	if err != nil || amount.Amount <= 0 {
		return nil, subInvalid
	}
	if t.Amount = amount.Amount; t.Amount > alipay.MaxAmount {
		return nil, subTotalExceeded
	}
	var ok bool
	if t.Expires, ok = expiry(b, t.Created); !ok {
		return nil, subInvalid
	}
	return t, ""
}

func (t *trade) wellFormed() bool {
	return goodNumber(t.OutTradeNo) && t.Subject != "" && len(t.Passback) <= maxPassback &&
		utf8.RuneCountInString(t.Subject) <= maxSubject
}

// expiry is when a trade's time is over: time_expire, else timeout_express
// after now, else the default. Days are the gateway's, in GMT+8.
func expiry(b *biz, now api.Time) (api.Time, bool) {
	switch {
	case b.TimeExpire != "":
		if len(b.TimeExpire) == len("2006-01-02 15:04") {
			b.TimeExpire += ":00"
		}
		t, err := alipay.ParseTime(b.TimeExpire)
		return t, err == nil
	case b.TimeoutExpress == "":
		return now.Add(defaultExpiry), true
	case b.TimeoutExpress == "1c": // the end of the day, whenever it begins
		day := alipay.FormatTime(now.Add(24 * time.Hour))[:len(time.DateOnly)]
		t, err := alipay.ParseTime(day + " 00:00:00")
		return t, err == nil
	}
	last := len(b.TimeoutExpress) - 1
	n, err := strconv.ParseUint(b.TimeoutExpress[:last], 10, 16)
	d := time.Duration(n)
	switch b.TimeoutExpress[last] {
	case 'm':
		d *= time.Minute
	case 'h':
		d *= time.Hour
	case 'd':
		d *= 24 * time.Hour
	default:
		d = 0
	}
	return now.Add(d), err == nil && d > 0 && d <= defaultExpiry
}

func goodNumber(s string) bool {
	return s != "" && len(s) <= maxNumber && strings.Trim(s,
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == ""
}

// openTrade makes the trade of a call, or finds the one with its number. With
// scanned, somebody sees the cashier: only then the protocol knows the trade.
// A refusal or "".
func (g *Gateway) openTrade(c *call, scanned bool) (t *trade, sub string, err error) {
	order, sub := g.newTrade(c)
	if sub != "" {
		return nil, sub, nil
	}
	if !scanned {
		order.Status = statusCode
	}
	err = g.write(func(conn *stores.Conn) (err error) {
		sub = ""
		if t, err = g.find(conn, order.OutTradeNo, ""); err != nil {
			return err
		}
		if t == nil {
			if order.Expires <= g.now() {
				sub = alipay.SubTradeClosed
				return nil
			}
			t = order
			return g.insert(conn, t)
		}
		if sub = reopening(t, order, g.now()); sub != "" {
			return nil
		}
		return g.reopen(conn, t, order)
	})
	return t, sub, err
}

// reopening is why an existing trade can't be opened as order; "" if it can.
func reopening(t, order *trade, now api.Time) string {
	switch {
	case t.Status == alipay.TradeSuccess || t.Status == alipay.TradeFinished:
		return alipay.SubTradePaid
	case t.Status == alipay.TradeClosed || now >= t.Expires:
		return alipay.SubTradeClosed
	case t.Amount != order.Amount:
		return subInconsistent
	}
	return ""
}

// reopen lets the links of an existing trade follow the newest call, and turns
// a code into a trade when it is scanned.
func (g *Gateway) reopen(c *stores.Conn, t, order *trade) error {
	scan := t.Status == statusCode && order.Status == alipay.WaitBuyerPay
	if !scan && t.NotifyURL == order.NotifyURL && t.ReturnURL == order.ReturnURL {
		return nil
	}
	if scan {
		t.Status = alipay.WaitBuyerPay
	}
	t.NotifyURL, t.ReturnURL = order.NotifyURL, order.ReturnURL
	return t.save(c)
}

// precreate is alipay.trade.precreate: a code whose trade begins when it is
// scanned, which is here: when its link is opened.
func (g *Gateway) precreate(c *call) (answer, error) {
	t, sub, err := g.openTrade(c, false)
	if err != nil || sub != "" {
		return refuse(sub).with("out_trade_no", string(c.Biz.OutTradeNo)), err
	}
	return success(answer{"out_trade_no": t.OutTradeNo, "qr_code": c.Base + g.cashierPath(t)}), nil
}

// lookUp is the trade that a call names; a refusal or "".
func (g *Gateway) lookUp(conn *stores.Conn, c *call) (t *trade, sub string, err error) {
	b := &c.Biz
	if b.OutTradeNo == "" && b.TradeNo == "" ||
		len(b.OutTradeNo) > maxNumber || len(b.TradeNo) > maxNumber {
		return nil, subInvalid, nil
	}
	if t, err = g.find(conn, string(b.OutTradeNo), string(b.TradeNo)); err != nil {
		return nil, "", err
	}
	if t == nil || t.Status == statusCode {
		return nil, alipay.SubTradeNotExist, nil
	}
	return t, "", nil
}

// query is alipay.trade.query.
func (g *Gateway) query(c *call) (a answer, err error) {
	err = g.write(func(conn *stores.Conn) error {
		t, sub, err := g.lookUp(conn, c)
		if sub != "" {
			a = refuse(sub)
			g.nothing(a).with("out_trade_no", string(c.Biz.OutTradeNo))
			return nil
		}
		if err == nil {
			a = g.describe(t)
		}
		return err
	})
	return a, err
}

// nothing adds that no money came, as the gateway does.
func (g *Gateway) nothing(a answer) answer {
	for _, name := range []string{"buyer_pay_amount", "invoice_amount", "point_amount",
		"receipt_amount"} {
		a[name] = g.decimal(0)
	}
	return a
}

// describe is the answer to a query.
func (g *Gateway) describe(t *trade) answer {
	a := g.nothing(success(answer{"out_trade_no": t.OutTradeNo, "trade_no": t.No(),
		"trade_status": string(t.Status), "total_amount": g.decimal(t.Amount),
		"buyer_user_id": buyerID, "buyer_logon_id": buyerLogonID}))
	if t.Paid > 0 {
		a["send_pay_date"] = alipay.FormatTime(t.Paid)
		for _, name := range []string{"buyer_pay_amount", "invoice_amount", "receipt_amount"} {
			a[name] = g.decimal(t.Amount)
		}
	}
	return a
}

// close is alipay.trade.close: of a trade that waits for payment only.
func (g *Gateway) close(c *call) (a answer, err error) {
	if !goodURL(c.Params["notify_url"]) {
		return refuse(subBadParameter), nil
	}
	err = g.write(func(conn *stores.Conn) error {
		t, sub, err := g.lookUp(conn, c)
		if err != nil {
			return err
		}
		if sub == "" && t.Status != alipay.WaitBuyerPay {
			sub = alipay.SubTradeStatus
		}
		if sub != "" {
			a = refuse(sub).with("out_trade_no", string(c.Biz.OutTradeNo))
			return nil
		}
		a = success(answer{"out_trade_no": t.OutTradeNo, "trade_no": t.No()})
		return g.closeTrade(conn, t, sending{URL: c.Params["notify_url"]})
	})
	return a, err
}
