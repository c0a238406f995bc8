package alipay

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"unicode/utf8"

	"ordo/api"
)

// MaxNo is the longest out_trade_no and out_request_no, in characters.
const MaxNo = 64

// MaxSubject is the longest subject and refund reason, in characters; a longer
// one is cut.
const MaxSubject = 256

// The products of the three ways to pay, as the gateway calls them.
const (
	productPage = "FAST_INSTANT_TRADE_PAY"
	productApp  = "QUICK_MSECURITY_PAY"
	productQR   = "QR_CODE_OFFLINE"
)

// Payment is what one payment attempt asks the shopper for. The same Payment
// always gives the same signed request, so that ten clicks open one trade.
type Payment struct {
	// OutTradeNo is the shop's number of the trade: 1 to MaxNo letters, digits
	// and underscores.
	OutTradeNo string
	// Amount is what the shopper pays, above zero and at most MaxAmount, in
	// the currency of the merchant account.
	Amount api.Money
	// Subject is what the shopper reads at the cashier; the characters / = &
	// that the gateway does not take become spaces.
	Subject string
	// At is the time of the attempt, the timestamp of the request.
	At api.Time
	// Expire is when the gateway no longer lets the shopper pay, after At. It
	// is always sent: a signed link lives until then, whatever queries say.
	Expire api.Time
}

// Form is a page pay request for a browser to send by POST.
type Form struct {
	// Action is the URL to post to; it carries the signed public parameters.
	Action string
	// Fields are the hidden fields of the form.
	Fields Params
}

// PagePay is the signed URL (GET) of the gateway's cashier page for p. It
// answers CodeInvalid for a payment out of its limits.
func (c *Client) PagePay(p Payment) (string, error) {
	signed, err := c.payRequest(MethodPagePay, productPage, p)
	if err != nil {
		return "", err
	}
	return c.cfg.Gateway + "?" + signed.Values().Encode(), nil
}

// PagePayForm is PagePay as a form, for a request too long for a URL.
func (c *Client) PagePayForm(p Payment) (Form, error) {
	signed, err := c.payRequest(MethodPagePay, productPage, p)
	if err != nil {
		return Form{}, err
	}
	query, biz := splitRequest(signed)
	return Form{c.cfg.Gateway + "?" + query.Encode(), Params{"biz_content": biz}}, nil
}

// AppPay is the signed order string that a mobile app hands to the gateway's
// kit. It answers CodeInvalid for a payment out of its limits.
func (c *Client) AppPay(p Payment) (string, error) {
	signed, err := c.payRequest(MethodAppPay, productApp, p)
	if err != nil {
		return "", err
	}
	// The kit decodes %20, not the plus sign of forms.
	return strings.ReplaceAll(signed.Values().Encode(), "+", "%20"), nil
}

// bizPay is the biz_content of the three ways to pay, in the order of the
// documentation.
type bizPay struct {
	OutTradeNo  string `json:"out_trade_no"`
	TotalAmount string `json:"total_amount"`
	Subject     string `json:"subject"`
	ProductCode string `json:"product_code"`
	TimeExpire  string `json:"time_expire"`
}

// payRequest is the signed parameters of a payment. Precreate has no browser
// and app pay no page, so only page pay returns somewhere.
func (c *Client) payRequest(method, product string, p Payment) (Params, error) {
	if err := c.checkPayment(p); err != nil {
		return nil, err
	}
	extra := Params{"notify_url": c.cfg.NotifyURL}
	if method == MethodPagePay {
		extra["return_url"] = c.cfg.ReturnURL
	}
	return c.sign(method, p.At, extra, bizPay{
		OutTradeNo:  p.OutTradeNo,
		TotalAmount: FormatAmount(p.Amount),
		Subject:     cleanText(p.Subject),
		ProductCode: product,
		TimeExpire:  FormatTime(p.Expire),
	})
}

// checkPayment answers CodeInvalid for what the gateway would refuse.
func (c *Client) checkPayment(p Payment) error {
	if err := checkNo(p.OutTradeNo, "out_trade_no"); err != nil {
		return err
	}
	if err := c.checkAmount(p.Amount); err != nil {
		return err
	}
	if strings.TrimSpace(p.Subject) == "" || !utf8.ValidString(p.Subject) {
		return api.Refuse(api.CodeInvalid, "a payment needs a subject").At("subject")
	}
	if p.At <= 0 || p.Expire <= p.At {
		return api.Refuse(api.CodeInvalid, "must be after the attempt").At("expire")
	}
	return nil
}

// checkAmount answers CodeInvalid unless m can be paid or refunded here.
func (c *Client) checkAmount(m api.Money) error {
	if m.Currency != c.cfg.Currency {
		return api.Refuse(api.CodeInvalid, "the account is in %s", c.cfg.Currency).At("currency")
	}
	if m.Amount <= 0 || m.Amount > MaxAmount {
		return api.Refuse(api.CodeInvalid, "must be 1 to %d", int64(MaxAmount)).At("amount")
	}
	return nil
}

// checkNo answers CodeInvalid unless no is a number as the gateway takes it.
func checkNo(no, place string) error {
	const letters = "0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if no == "" || len(no) > MaxNo || strings.Trim(no, letters) != "" {
		return api.Refuse(api.CodeInvalid, "must be 1 to %d letters or digits", MaxNo).At(place)
	}
	return nil
}

// cleanText makes text fit for a subject or a reason.
func cleanText(s string) string {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune("/=&", r) || r < ' ' {
			return ' '
		}
		return r
	}, s)
	for i := range s {
		if utf8.RuneCountInString(s[:i]) == MaxSubject {
			return s[:i]
		}
	}
	return s
}

// sign is the complete parameters of a request to method with biz as its
// biz_content, signed over all of them but "sign".
func (c *Client) sign(method string, at api.Time, extra Params, biz any) (Params, error) {
	content, err := marshal(biz)
	if err != nil {
		return nil, err
	}
	p := Params{
		"method":      method,
		"app_id":      c.cfg.AppID,
		"charset":     "utf-8",
		"version":     "1.0",
		"sign_type":   SignType,
		"timestamp":   FormatTime(at),
		"biz_content": content,
	}
	for name, value := range extra {
		if value != "" {
			p[name] = value
		}
	}
	p["sign"], err = Sign(c.cfg.PrivateKey, SignString(p, "sign"))
	return p, err
}

// splitRequest is a signed request as it is sent: the public parameters in the
// query, biz_content in the body.
func splitRequest(signed Params) (query url.Values, biz string) {
	query = signed.Values()
	query.Del("biz_content")
	return query, signed["biz_content"]
}

// marshal is the JSON of v with < > & as they are, for a person who reads it.
func marshal(v any) (string, error) {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	if err := out.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}
