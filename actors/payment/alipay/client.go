package alipay

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"ordo/api"
)

// DefaultCurrency is that of a merchant account when Config names none.
const DefaultCurrency = "CNY"

// DefaultTimeout bounds one call when Config.HTTP is nil; the context of a
// call may end it sooner.
const DefaultTimeout = 10 * time.Second

// Config is a merchant's account at a gateway. Another gateway (the sandbox,
// the real one) is another Config and nothing else.
type Config struct {
	// Gateway is the URL of gateway.do, without a query.
	Gateway string
	// AppID is the app's number at the gateway.
	AppID string
	// SellerID is the merchant's account number, which every notify names.
	SellerID string
	// PrivateKey is the app's own key; it signs requests.
	PrivateKey *rsa.PrivateKey
	// AlipayPublicKey is the gateway's key; it verifies all that comes back.
	AlipayPublicKey *rsa.PublicKey
	// NotifyURL is where the gateway posts notifies to.
	NotifyURL string
	// ReturnURL is where the cashier page sends the browser, without a query:
	// what the shop put there itself would not be covered by the signature.
	ReturnURL string
	// Currency is the account's, an ISO 4217 code; "" means CNY. The protocol
	// itself never names it.
	Currency string
	// HTTP sends the calls; nil means a client with DefaultTimeout. Redirects
	// are never followed.
	HTTP *http.Client
	// Now is the clock of the requests' timestamps; nil means time.Now.
	Now func() time.Time
}

// Client calls a gateway in the name of one merchant. It is safe for
// concurrent use and keeps no state.
type Client struct {
	cfg Config
}

// New checks cfg and makes a client. It sends nothing.
func New(cfg Config) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Currency == "" {
		cfg.Currency = DefaultCurrency
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	client := http.Client{Timeout: DefaultTimeout}
	if cfg.HTTP != nil {
		client = *cfg.HTTP
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}
	cfg.HTTP = &client
	return &Client{cfg}, nil
}

func (cfg *Config) check() error {
	if cfg.AppID == "" || cfg.SellerID == "" {
		return errors.New("alipay: the app id and the seller id are needed")
	}
	if cfg.PrivateKey == nil || cfg.AlipayPublicKey == nil {
		return errors.New("alipay: the app's private and the gateway's public key are needed")
	}
	for _, key := range []*rsa.PublicKey{&cfg.PrivateKey.PublicKey, cfg.AlipayPublicKey} {
		if err := checkSize(key); err != nil {
			return fmt.Errorf("alipay: a key %w", err)
		}
	}
	for _, u := range []string{cfg.Gateway, cfg.NotifyURL, cfg.ReturnURL} {
		if err := checkURL(u); err != nil {
			return err
		}
	}
	return nil
}

// checkURL refuses what is no plain absolute URL.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" ||
		u.User != nil || strings.ContainsAny(s, "?#") {
		return fmt.Errorf("alipay: %.200q is not a plain http or https URL", s)
	}
	return nil
}

// Precreated is a trade whose cashier is reached by a QR code.
type Precreated struct {
	OutTradeNo string
	// QRCode is the text of the code, a URL.
	QRCode string
}

// Precreate asks for a QR code that pays p. Repeating it for the same p is
// harmless: it is the same trade.
func (c *Client) Precreate(ctx context.Context, p Payment) (Precreated, error) {
	signed, err := c.payRequest(MethodPrecreate, productQR, p)
	if err != nil {
		return Precreated{}, err
	}
	var a struct {
		OutTradeNo string `json:"out_trade_no"`
		QRCode     string `json:"qr_code"`
	}
	if err := c.send(ctx, signed, p.OutTradeNo, &a); err != nil {
		return Precreated{}, err
	}
	return Precreated{a.OutTradeNo, a.QRCode}, sameNo(a.OutTradeNo, p.OutTradeNo)
}

// Trade is what the gateway says about a trade.
type Trade struct {
	OutTradeNo string
	// TradeNo is the gateway's own number.
	TradeNo string
	Status  TradeStatus
	// Total is the amount of the trade, whether paid or not.
	Total api.Money
	// PaidAt is when the shopper paid, 0 before that.
	PaidAt api.Time
}

// Query asks for the state of a trade. A *GatewayError with SubTradeNotExist
// is the answer until the shopper has opened the cashier, and the signed link
// can still make the trade until its time_expire.
func (c *Client) Query(ctx context.Context, outTradeNo string) (Trade, error) {
	var a struct {
		OutTradeNo  string      `json:"out_trade_no"`
		TradeNo     string      `json:"trade_no"`
		TradeStatus TradeStatus `json:"trade_status"`
		TotalAmount string      `json:"total_amount"`
		SendPayDate string      `json:"send_pay_date"`
	}
	err := c.call(ctx, MethodQuery, bizTrade{OutTradeNo: outTradeNo}, &a)
	if err != nil {
		return Trade{}, err
	}
	f := fields{currency: c.cfg.Currency}
	t := Trade{a.OutTradeNo, a.TradeNo, a.TradeStatus,
		f.amount(a.TotalAmount), f.time(a.SendPayDate)}
	f.keep(sameNo(a.OutTradeNo, outTradeNo))
	if !t.Status.known() || t.Total.Amount == 0 {
		f.keep(fmt.Errorf("%w: a trade without a status or amount", ErrMalformed))
	}
	return t, f.unknown()
}

// Refund is one refund of a trade, in whole or in part.
type Refund struct {
	// OutTradeNo is the trade.
	OutTradeNo string
	// TradeNo is the gateway's own number of it. The gateway goes by it where
	// both are given, and has more than one trade of an OutTradeNo when one was
	// opened again; without it a refund may take the money of another one.
	TradeNo string
	// OutRequestNo is the shop's number of the refund. Repeating a number with
	// the same amount refunds once; it is kept for ever.
	OutRequestNo string
	// Amount is what goes back, above zero.
	Amount api.Money
	// Reason is for a person; it may be empty.
	Reason string
}

// Refunded is the gateway's answer to a refund.
type Refunded struct {
	OutTradeNo, TradeNo string
	// Changed says that this very call moved money. False is the answer to a
	// repeated number; RefundQuery then tells whether the refund is done.
	Changed bool
	// Total is all that has been refunded of the trade up to now, this refund
	// included: refund_fee is cumulative.
	Total api.Money
	// At is when this refund was made, 0 when the gateway does not say.
	At api.Time
}

// Refund sends money of a paid trade back to the shopper. After ErrUnknown it
// is repeated with the same number and amount, never with another number.
func (c *Client) Refund(ctx context.Context, r Refund) (Refunded, error) {
	if err := c.checkRefund(r); err != nil {
		return Refunded{}, err
	}
	var a struct {
		OutTradeNo string `json:"out_trade_no"`
		TradeNo    string `json:"trade_no"`
		FundChange string `json:"fund_change"`
		RefundFee  string `json:"refund_fee"`
		RefundPay  string `json:"gmt_refund_pay"`
	}
	err := c.call(ctx, MethodRefund, bizTrade{
		OutTradeNo:   r.OutTradeNo,
		TradeNo:      r.TradeNo,
		RefundAmount: FormatAmount(r.Amount),
		OutRequestNo: r.OutRequestNo,
		RefundReason: cleanText(r.Reason),
	}, &a)
	if err != nil {
		return Refunded{}, err
	}
	f := fields{currency: c.cfg.Currency}
	// Money that went back did so also at a time that can't be read.
	at, _ := ParseTime(a.RefundPay)
	done := Refunded{a.OutTradeNo, a.TradeNo, a.FundChange == "Y", f.amount(a.RefundFee), at}
	f.keep(sameNo(a.OutTradeNo, r.OutTradeNo))
	if done.Changed && done.Total.Amount < r.Amount.Amount {
		f.keep(fmt.Errorf("%w: refunded %.20q in all", ErrMalformed, a.RefundFee))
	}
	return done, f.unknown()
}

// checkRefund answers CodeInvalid for what the gateway would refuse.
func (c *Client) checkRefund(r Refund) error {
	if err := checkNo(r.OutRequestNo, "out_request_no"); err != nil {
		return err
	}
	return c.checkAmount(r.Amount)
}

// RefundState is what the gateway knows about one refund.
type RefundState struct {
	OutTradeNo, TradeNo, OutRequestNo string
	// Done says that the money went back. False says that the refund never
	// arrived or failed: repeat it with the same number and amount, and not
	// within 10 seconds, in which the gateway may not know of it yet.
	Done bool
	// Amount is that of this refund alone; zero when it is not done.
	Amount api.Money
	// At is when it was done, 0 when the gateway does not say.
	At api.Time
}

// RefundQuery asks by its numbers whether a refund is done. Code 10000 alone
// does not say so; refund_status does.
func (c *Client) RefundQuery(ctx context.Context, r Refund) (RefundState, error) {
	if err := checkNo(r.OutRequestNo, "out_request_no"); err != nil {
		return RefundState{}, err
	}
	var a struct {
		OutTradeNo   string `json:"out_trade_no"`
		TradeNo      string `json:"trade_no"`
		OutRequestNo string `json:"out_request_no"`
		RefundStatus string `json:"refund_status"`
		RefundAmount string `json:"refund_amount"`
		GmtRefundPay string `json:"gmt_refund_pay"`
	}
	err := c.call(ctx, MethodRefundQuery, bizTrade{
		OutTradeNo:   r.OutTradeNo,
		TradeNo:      r.TradeNo,
		OutRequestNo: r.OutRequestNo,
		QueryOptions: []string{"gmt_refund_pay"},
	}, &a)
	if err != nil {
		return RefundState{}, err
	}
	s := RefundState{OutTradeNo: r.OutTradeNo, TradeNo: a.TradeNo, OutRequestNo: r.OutRequestNo,
		Amount: api.Money{Currency: c.cfg.Currency}}
	if a.RefundStatus != "REFUND_SUCCESS" {
		return s, nil
	}
	f := fields{currency: c.cfg.Currency}
	s.Done, s.Amount, s.At = true, f.amount(a.RefundAmount), f.time(a.GmtRefundPay)
	f.keep(sameNo(a.OutTradeNo, r.OutTradeNo))
	f.keep(sameNo(a.OutRequestNo, r.OutRequestNo))
	return s, f.unknown()
}

// Close closes a trade that waits for its buyer. The gateway refuses a paid
// one, and one that does not exist yet, whose link it does not kill.
func (c *Client) Close(ctx context.Context, outTradeNo string) error {
	var a outcome
	if err := c.call(ctx, MethodClose, bizTrade{OutTradeNo: outTradeNo}, &a); err != nil {
		return err
	}
	return sameNo(a.OutTradeNo, outTradeNo)
}

// bizTrade is the biz_content of the calls about a trade that exists.
type bizTrade struct {
	OutTradeNo   string   `json:"out_trade_no"`
	TradeNo      string   `json:"trade_no,omitempty"`
	RefundAmount string   `json:"refund_amount,omitempty"`
	OutRequestNo string   `json:"out_request_no,omitempty"`
	RefundReason string   `json:"refund_reason,omitempty"`
	QueryOptions []string `json:"query_options,omitempty"`
}

// call signs a request about a trade at the present time and sends it.
func (c *Client) call(ctx context.Context, method string, biz bizTrade, result any) error {
	if err := checkNo(biz.OutTradeNo, "out_trade_no"); err != nil {
		return err
	}
	extra := Params{}
	if method == MethodClose {
		extra["notify_url"] = c.cfg.NotifyURL
	}
	signed, err := c.sign(method, api.TimeOf(c.cfg.Now()), extra, biz)
	if err != nil {
		return err
	}
	return c.send(ctx, signed, biz.OutTradeNo, result)
}

// send posts a signed request and reads its authentic answer into result.
// Whatever goes wrong on the way is ErrUnknown, even a refused connection:
// a proxy may have passed the request on.
func (c *Client) send(ctx context.Context, signed Params, outTradeNo string, result any) error {
	query, biz := splitRequest(signed)
	body := url.Values{"biz_content": {biz}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		c.cfg.Gateway+"?"+query.Encode(), strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("alipay: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded;charset=utf-8")
	req.Header.Set("Accept", "application/json")
	answer, err := c.exchange(req)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnknown, signed["method"], err)
	}
	err = ParseAnswer(c.cfg.AlipayPublicKey, signed["method"], answer, result)
	var refused *GatewayError
	if errors.As(err, &refused) && refused.OutTradeNo != "" && refused.OutTradeNo != outTradeNo {
		return sameNo(refused.OutTradeNo, outTradeNo)
	}
	return err
}

// exchange sends req and reads at most MaxAnswer bytes of a 200.
func (c *Client) exchange(req *http.Request) ([]byte, error) {
	resp, err := c.cfg.HTTP.Do(req)
	if err != nil {
		// The URL in the client's error carries the signed request.
		var sent *url.Error
		if errors.As(err, &sent) {
			err = sent.Err
		}
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	if err == nil && len(answer) > MaxAnswer {
		err = fmt.Errorf("%w: the answer is over %d bytes", ErrMalformed, MaxAnswer)
	}
	return answer, err
}

// sameNo answers ErrUnknown when an answer speaks of another trade or refund
// than was asked about: it may be an old one, played again.
func sameNo(got, want string) error {
	if got != want {
		return fmt.Errorf("%w: asked about %s, told about %.64q", ErrUnknown, want, got)
	}
	return nil
}
