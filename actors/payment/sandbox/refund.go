package sandbox

import (
	"cmp"
	"errors"

	"ordo/actors/payment/alipay"
	"ordo/api"
	"ordo/stores"
)

// refundWish is what a call of alipay.trade.refund asks for.
type refundWish struct {
	No     string // out_request_no; empty for the whole amount
	Amount int64
	Reason string
}

// refund is alipay.trade.refund. The same number with the same amount is
// answered again and moves nothing.
func (g *Gateway) refund(c *call) (a answer, err error) {
	b := &c.Biz
	wish, ok := g.wishOf(b)
	if !ok {
		return g.refuseRefund(subInvalid, string(b.OutTradeNo)), nil
	}
	err = g.write(func(conn *stores.Conn) error {
		t, sub, err := g.lookUp(conn, c)
		if err != nil || sub != "" {
			a = g.refuseRefund(sub, string(b.OutTradeNo))
			return err
		}
		sub, at, err := refundable(conn, t, wish)
		if err != nil || sub != "" {
			a = g.refuseRefund(sub, string(b.OutTradeNo))
			return err
		}
		change := "N"
		if at == 0 {
			change, at = "Y", g.now()
			if err := g.giveBack(conn, t, wish, at); err != nil {
				return err
			}
		}
		a = success(answer{"out_trade_no": t.OutTradeNo, "trade_no": t.No(),
			"buyer_user_id": buyerID, "buyer_logon_id": buyerLogonID, "fund_change": change,
			"refund_fee": g.decimal(t.Refunded), "gmt_refund_pay": alipay.FormatTime(at)})
		return nil
	})
	return a, err
}

// wishOf reads the refund that a call describes; ok is false when it is none.
func (g *Gateway) wishOf(b *biz) (wish refundWish, ok bool) {
	money, err := api.ParseMoney(string(b.RefundAmount), g.cfg.Currency)
	wish = refundWish{string(b.OutRequestNo), money.Amount, b.RefundReason}
	return wish, err == nil && wish.Amount > 0 && (wish.No == "" || goodNumber(wish.No)) &&
		len(wish.Reason) <= 4*maxSubject
}

func (g *Gateway) refuseRefund(sub, outTradeNo string) answer {
	return refuse(sub).with("out_trade_no", outTradeNo).with("refund_fee", g.decimal(0)).
		with("send_back_fee", g.decimal(0))
}

// number is the one that a refund is kept under: without one it is of the whole
// trade, and has the trade's.
func (w refundWish) number(t *trade) string { return cmp.Or(w.No, t.OutTradeNo) }

// refundable is why a trade can't be refunded, or "", and when it was under this
// number, 0 when it was not.
func refundable(c *stores.Conn, t *trade, w refundWish) (sub string, at api.Time, err error) {
	var before int64
	err = c.Row("SELECT amount, at FROM refund WHERE trade = ? AND out_request_no = ?",
		t.N, w.number(t)).Scan(&before, &at)
	switch {
	case err == nil && before == w.Amount:
		return "", at, nil
	case err == nil:
		return subRefundRepeat, 0, nil
	case !errors.Is(err, stores.ErrNoRows):
		return "", 0, err
	case t.Status == alipay.TradeFinished:
		return subFinished, 0, nil
	case t.Paid == 0:
		return alipay.SubTradeStatus, 0, nil
	case w.Amount > t.Amount-t.Refunded:
		return subRefundTooMuch, 0, nil
	case w.No == "" && w.Amount != t.Amount:
		return subRefundNotTotal, 0, nil
	}
	return "", 0, nil
}

// giveBack refunds; a trade of which nothing is left is closed by it.
func (g *Gateway) giveBack(c *stores.Conn, t *trade, w refundWish, now api.Time) error {
	if t.Refunded += w.Amount; t.Refunded == t.Amount {
		t.Status, t.Closed = alipay.TradeClosed, now
	}
	if _, err := c.Exec("INSERT INTO refund (trade, out_request_no, amount, reason, at) "+
		"VALUES (?, ?, ?, ?, ?)", t.N, w.number(t), w.Amount, w.Reason, now); err != nil {
		return err
	}
	if err := t.save(c); err != nil {
		return err
	}
	p := g.notifyFields(t)
	p["out_biz_no"], p["refund_fee"] = w.number(t), g.decimal(t.Refunded)
	p["gmt_refund"] = refundTime(now)
	return g.enqueue(c, t, p, sending{})
}

// refundTime is a time as it stands in gmt_refund alone, with milliseconds.
func refundTime(t api.Time) string {
	return alipay.FormatTime(t) + t.Std().Format(".000")
}

// queryRefund is alipay.trade.fastpay.refund.query. Of a refund that was not
// made it says nothing but success.
func (g *Gateway) queryRefund(c *call) (a answer, err error) {
	b := &c.Biz
	if !goodNumber(string(b.OutRequestNo)) {
		return refuse(subInvalid), nil
	}
	err = g.write(func(conn *stores.Conn) error {
		t, sub, err := g.lookUp(conn, c)
		if err != nil || sub != "" {
			a = refuse(sub)
			return err
		}
		var amount int64
		var reason string
		var at api.Time
		err = conn.Row("SELECT amount, reason, at FROM refund WHERE trade = ? "+
			"AND out_request_no = ?",
			t.N, string(b.OutRequestNo)).Scan(&amount, &reason, &at)
		if errors.Is(err, stores.ErrNoRows) {
			a = success(answer{})
			return nil
		}
		a = success(answer{"out_trade_no": t.OutTradeNo, "trade_no": t.No(),
			"out_request_no": string(b.OutRequestNo), "total_amount": g.decimal(t.Amount),
			"refund_amount": g.decimal(amount), "refund_status": "REFUND_SUCCESS",
			"refund_reason": reason, "gmt_refund_pay": alipay.FormatTime(at)})
		return err
	})
	return a, err
}
