package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"ordo/actors/payment/alipay"
	"ordo/api"
)

// Sub-codes of the gateway beside those that package alipay names.
const (
	subInconsistent   = "ACQ.CONTEXT_INCONSISTENT"
	subFinished       = "ACQ.TRADE_HAS_FINISHED"
	subInvalid        = "ACQ.INVALID_PARAMETER"
	subTotalExceeded  = "ACQ.TOTAL_FEE_EXCEED"
	subRefundNotTotal = "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"
	subRefundTooMuch  = "ACQ.REASON_TRADE_REFUND_FEE_ERR"
	subRefundRepeat   = "ACQ.DISCORDANT_REPEAT_REQUEST"

	subBadSignature = "isv.invalid-signature"
	subBadParameter = "isv.invalid-parameter"
	subUnavailable  = "isp.unknow-error" // as the gateway spells it
)

// The one buyer of the sandbox.
const (
	buyerID      = "2088722000000099"
	buyerLogonID = "san***@sandbox.com"
)

// maxMethod is the longest name of a method, in bytes.
const maxMethod = 128

// methodWapPay is the page of a phone's browser; it is page pay here.
const methodWapPay = "alipay.trade.wap.pay"

// subTexts say sub-codes to a person.
var subTexts = map[string]string{
	alipay.SubTradeNotExist: "The trade does not exist.",
	alipay.SubTradePaid:     "The trade has been paid already.",
	alipay.SubTradeClosed:   "The trade is closed, or its time is over.",
	alipay.SubTradeStatus:   "The trade is not in a state that allows this.",
	alipay.SubSystemError:   "System error; the outcome is unknown.",
	subInconsistent:         "The trade exists with other content.",
	subFinished:             "The trade is finished and can't be refunded any more.",
	subInvalid:              "A parameter is missing or wrong.",
	subTotalExceeded:        "The amount is over the limit.",
	subRefundNotTotal:       "A refund without out_request_no must be of the whole amount.",
	subRefundTooMuch:        "The refund is more than what is left of the payment.",
	subRefundRepeat:         "This out_request_no was used with another amount.",
	subBadSignature:         "The signature is wrong.",
	subBadParameter:         "A parameter is malformed.",
	subTooMany:              "Too many control calls have notifies that are still to be sent.",
	subUnavailable:          "The service is not available; the outcome is unknown.",
}

// answer is the inner object of an envelope.
type answer map[string]string

func success(fields answer) answer {
	fields["code"], fields["msg"] = alipay.CodeSuccess, "Success"
	return fields
}

// refuse is the answer with a sub-code. The code follows from the sub-code's
// family ("Common error codes").
func refuse(sub string) answer {
	a := answer{"sub_code": sub, "sub_msg": subTexts[sub]}
	switch {
	case strings.HasPrefix(sub, "isv.missing-"):
		a["code"], a["msg"] = alipay.CodeMissing, "Missing Required Arguments"
	case strings.HasPrefix(sub, "isv."):
		a["code"], a["msg"] = alipay.CodeInvalid, "Invalid Arguments"
	case strings.HasPrefix(sub, "isp."):
		a["code"], a["msg"] = alipay.CodeUnavailable, "Service Currently Unavailable"
	default:
		a["code"], a["msg"] = alipay.CodeFailed, "Business Failed"
	}
	if a["sub_msg"] == "" {
		a["sub_msg"] = "A parameter is missing or wrong: " + sub
	}
	return a
}

// with adds a field.
func (a answer) with(name, value string) answer {
	a[name] = value
	return a
}

// decimal is an amount as it stands on the wire.
func (g *Gateway) decimal(amount int64) string {
	return alipay.FormatAmount(api.Money{Amount: amount, Currency: g.cfg.Currency})
}

// serveGateway is POST and GET /gateway.do.
func (g *Gateway) serveGateway(w http.ResponseWriter, r *http.Request) {
	values, status := readForm(r)
	if status != 0 {
		http.Error(w, http.StatusText(status), status)
		return
	}
	method := values.Get("method")
	mode := g.faults.take(method)
	if mode == faultNone || mode.late() {
		g.answerCall(&faultyWriter{ResponseWriter: w, mode: mode}, r, values)
		return
	}
	g.fail(w, r, mode)
}

// readForm is all parameters of query and body, or a status that refuses them.
func readForm(r *http.Request) (url.Values, int) {
	if r.Method == http.MethodPost {
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil && r.ContentLength != 0 ||
			err == nil && kind != "application/x-www-form-urlencoded" {
			return nil, http.StatusUnsupportedMediaType
		}
	}
	var long *http.MaxBytesError
	switch err := r.ParseForm(); {
	case errors.As(err, &long), len(r.URL.RawQuery) > MaxBody:
		return nil, http.StatusRequestEntityTooLarge
	case err != nil:
		return nil, http.StatusBadRequest
	}
	return r.Form, 0
}

// call is a verified request.
type call struct {
	Method string
	Params alipay.Params
	Biz    biz
	Base   string // of links to the cashier
}

// biz is what biz_content may hold. The gateway ignores other members.
type biz struct {
	OutTradeNo     plain  `json:"out_trade_no"`
	TradeNo        plain  `json:"trade_no"`
	TotalAmount    plain  `json:"total_amount"`
	Subject        string `json:"subject"`
	TimeExpire     string `json:"time_expire"`
	TimeoutExpress string `json:"timeout_express"`
	Passback       string `json:"passback_params"`
	RefundAmount   plain  `json:"refund_amount"`
	RefundReason   string `json:"refund_reason"`
	OutRequestNo   plain  `json:"out_request_no"`
}

// plain is text, or a number as its digits stand there: clients send amounts and
// numbers of trades both ways, and the gateway takes both.
type plain string

// UnmarshalJSON implements json.Unmarshaler.
func (p *plain) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(b, []byte(`"`)) {
		return json.Unmarshal(b, (*string)(p))
	}
	var n json.Number
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	*p = plain(n)
	return nil
}

// verify checks everything that all methods have in common, and answers a
// refusal or "".
func (g *Gateway) verify(values url.Values, base string) (*call, string) {
	for _, name := range []string{"method", "app_id", "sign_type", "sign", "timestamp", "version"} {
		if values.Get(name) == "" {
			return nil, missing(name)
		}
	}
	switch {
	case !known(values.Get("method")):
		return nil, "isv.invalid-method"
	case values.Get("app_id") != g.cfg.AppID:
		return nil, "isv.invalid-app-id"
	case values.Get("sign_type") != alipay.SignType:
		return nil, "isv.invalid-signature-type"
	}
	p, err := alipay.VerifyRequest(g.cfg.AppPublicKey, values)
	if errors.Is(err, alipay.ErrSignature) {
		return nil, subBadSignature
	}
	if err != nil {
		return nil, subBadParameter
	}
	return read(p, base)
}

// read is what an authentic request asks for; a refusal or "".
func read(p alipay.Params, base string) (*call, string) {
	if charset := p["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, "isv.invalid-charset"
	}
	if format := p["format"]; format != "" && !strings.EqualFold(format, "json") {
		return nil, "isv.invalid-format"
	}
	if _, err := alipay.ParseTime(p["timestamp"]); err != nil {
		return nil, "isv.invalid-timestamp"
	}
	c := &call{Method: p["method"], Params: p, Base: base}
	if err := json.Unmarshal([]byte(p["biz_content"]), &c.Biz); err != nil {
		return nil, subBadParameter
	}
	return c, ""
}

// missing is the sub-code for a parameter that is not there.
func missing(name string) string {
	switch name {
	case "sign":
		name = "signature"
	case "sign_type":
		name = "signature-type"
	}
	return "isv.missing-" + strings.ReplaceAll(name, "_", "-")
}

func known(method string) bool {
	switch method {
	case alipay.MethodPrecreate, alipay.MethodQuery, alipay.MethodRefund,
		alipay.MethodRefundQuery, alipay.MethodClose:
		return true
	}
	return opensCashier(method)
}

// opensCashier says whether a method is one that a shopper's browser or phone
// calls with a link that the shop has signed.
func opensCashier(method string) bool {
	switch method {
	case alipay.MethodPagePay, alipay.MethodAppPay, methodWapPay:
		return true
	}
	return false
}

// answerCall verifies a request, carries it out and answers it.
func (g *Gateway) answerCall(w http.ResponseWriter, r *http.Request, values url.Values) {
	method := values.Get("method") // names the envelope, also of a method that is not known
	if len(method) > maxMethod {
		method = ""
	}
	c, sub := g.verify(values, g.base(r))
	switch {
	case sub != "" && opensCashier(method):
		g.refuseBrowser(w, r, method, sub)
	case sub != "":
		g.reply(w, method, refuse(sub))
	case opensCashier(method):
		g.openCashier(w, r, c)
	default:
		a, err := g.carryOut(c)
		if err != nil {
			g.cfg.Log.Error("sandbox: a call failed", "method", method, "err", err)
			a = refuse(subUnavailable)
		}
		g.reply(w, method, a)
	}
}

func (g *Gateway) carryOut(c *call) (answer, error) {
	switch c.Method {
	case alipay.MethodPrecreate:
		return g.precreate(c)
	case alipay.MethodQuery:
		return g.query(c)
	case alipay.MethodRefund:
		return g.refund(c)
	case alipay.MethodRefundQuery:
		return g.queryRefund(c)
	}
	return g.close(c)
}

// reply writes the signed envelope. The gateway answers 200 also to failures.
func (g *Gateway) reply(w http.ResponseWriter, method string, a answer) {
	maps.DeleteFunc(a, func(_, value string) bool { return value == "" })
	var inner bytes.Buffer
	e := json.NewEncoder(&inner)
	e.SetEscapeHTML(false)
	err := e.Encode(a)
	var body []byte
	if err == nil {
		body, err = alipay.EnvelopeSigned(g.cfg.GatewayKey, method, bytes.TrimSpace(inner.Bytes()))
	}
	if err != nil {
		g.cfg.Log.Error("sandbox: an answer was not signed", "err", err)
		http.Error(w, "sandbox", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(body) // the caller may have gone
}
