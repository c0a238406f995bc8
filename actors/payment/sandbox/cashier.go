package sandbox

import (
	"bytes"
	"crypto/hmac"
	_ "embed"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"ordo/actors/payment/alipay"
	"ordo/api"
	"ordo/stores"
)

//go:embed cashier.html
var cashierText string

var cashierPage = template.Must(template.New("cashier").Parse(cashierText))

// What a person does at the cashier, and what a control call does.
const (
	actionPay     = "pay"
	actionDecline = "decline"
	actionLeave   = "leave"
	actionClose   = "close"
	actionFinish  = "finish"
	actionLook    = "look"
)

// page is what the cashier shows.
type page struct {
	Title, Message, Code        string
	Subject, Amount, OutTradeNo string
	Until, Token, Back          string
}

// cashierPath is the link to a trade's cashier. Nobody can guess another one.
func (g *Gateway) cashierPath(t *trade) string {
	n := strconv.FormatInt(t.N, 36)
	return "/cashier/" + n + "-" + g.mac("cashier "+n)
}

// cashierNumber is the trade's number in a link, 0 for one that is not ours.
func (g *Gateway) cashierNumber(id string) int64 {
	n, mac, _ := strings.Cut(id, "-")
	if len(id) > maxNumber || !hmac.Equal([]byte(mac), []byte(g.mac("cashier "+n))) {
		return 0
	}
	number, err := strconv.ParseInt(n, 36, 64)
	if err != nil {
		return 0
	}
	return number
}

func (g *Gateway) token(t *trade) string { return g.mac("token " + strconv.FormatInt(t.N, 36)) }

// goodURL says whether a link may be notified or returned to; none is fine.
func goodURL(s string) bool {
	u, err := url.Parse(s)
	return s == "" || err == nil && len(s) <= maxURL && u.User == nil && u.Host != "" &&
		(u.Scheme == "http" || u.Scheme == "https")
}

// openCashier is what the methods answer that a shopper's browser calls.
func (g *Gateway) openCashier(w http.ResponseWriter, r *http.Request, c *call) {
	t, sub, err := g.openTrade(c, true)
	switch {
	case err != nil:
		g.broken(w, err)
	case sub != "":
		g.refuseBrowser(w, r, c.Method, sub)
	default:
		http.Redirect(w, r, g.cfg.BaseURL+g.cashierPath(t), http.StatusFound)
	}
}

// refuseBrowser shows a person a page and answers a program with an envelope.
func (g *Gateway) refuseBrowser(w http.ResponseWriter, r *http.Request, method, sub string) {
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		g.reply(w, method, refuse(sub))
		return
	}
	title := "This payment can't be opened"
	if sub == alipay.SubTradeClosed {
		title = "This payment has expired"
	}
	g.show(w, http.StatusBadRequest,
		&page{Title: title, Message: refuse(sub)["sub_msg"], Code: sub})
}

func (g *Gateway) broken(w http.ResponseWriter, err error) {
	g.cfg.Log.Error("sandbox: a request failed", "err", err)
	http.Error(w, "The sandbox has failed.", http.StatusInternalServerError)
}

// show writes a page that loads nothing and can't be framed.
func (g *Gateway) show(w http.ResponseWriter, status int, p *page) {
	var b bytes.Buffer
	if err := cashierPage.Execute(&b, p); err != nil {
		g.broken(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the caller may have gone
}

// atCashier is the trade behind a cashier link, nil after a 404. A code that
// is looked at has been scanned.
func (g *Gateway) atCashier(w http.ResponseWriter, r *http.Request) (t *trade) {
	n := g.cashierNumber(r.PathValue("id"))
	err := g.write(func(c *stores.Conn) (err error) {
		if t, err = g.byNumber(c, n); err != nil || t == nil {
			return err
		}
		return g.scan(c, t)
	})
	if err != nil {
		g.broken(w, err)
		return nil
	}
	if t == nil || n == 0 {
		g.show(w, http.StatusNotFound, &page{Title: "There is no such payment"})
		return nil
	}
	return t
}

// scan turns a code into a trade, unless its time is over.
func (g *Gateway) scan(c *stores.Conn, t *trade) error {
	if t.Status != statusCode || g.now() >= t.Expires {
		return nil
	}
	t.Status = alipay.WaitBuyerPay
	return t.save(c)
}

// showCashier is GET /cashier/{id}.
func (g *Gateway) showCashier(w http.ResponseWriter, r *http.Request) {
	if t := g.atCashier(w, r); t != nil {
		g.showTrade(w, t, "")
	}
}

func (g *Gateway) showTrade(w http.ResponseWriter, t *trade, message string) {
	p := &page{Message: message, Subject: t.Subject, OutTradeNo: t.OutTradeNo, Back: t.ReturnURL,
		Amount: api.Money{Amount: t.Amount, Currency: g.cfg.Currency}.String()}
	switch {
	case t.Status == alipay.WaitBuyerPay:
		p.Title, p.Until, p.Token = "Pay", alipay.FormatTime(t.Expires), g.token(t)
	case t.Status == alipay.TradeClosed && t.Paid > 0:
		p.Title = "Refunded"
	case t.Paid > 0:
		p.Title = "Paid"
		var err error
		if p.Back, err = g.returnLink(t); err != nil {
			g.broken(w, err)
			return
		}
	case t.Closed > 0 && t.Closed < t.Expires:
		p.Title = "Closed without payment"
	default:
		p.Title = "This payment has expired"
	}
	g.show(w, http.StatusOK, p)
}

// useCashier is POST /cashier/{id}: a button was pressed.
func (g *Gateway) useCashier(w http.ResponseWriter, r *http.Request) {
	form, status := readForm(r)
	if status != 0 {
		http.Error(w, http.StatusText(status), status)
		return
	}
	t := g.atCashier(w, r)
	if t == nil {
		return
	}
	if !hmac.Equal([]byte(form.Get("token")), []byte(g.token(t))) {
		http.Error(w, "The form is not from this page.", http.StatusForbidden)
		return
	}
	switch action := form.Get("action"); action {
	case actionLeave:
		g.showTrade(w, t, "You walked away. Nothing is decided, and you can come back.")
	case actionPay, actionDecline:
		g.press(w, r, t.N, action)
	default:
		http.Error(w, "There is no such button.", http.StatusBadRequest)
	}
}

// press carries a button out and sends the browser on: back to the shop after
// paying, else to the cashier, where it shows what can't be done any more.
func (g *Gateway) press(w http.ResponseWriter, r *http.Request, n int64, action string) {
	t, _, err := g.act(n, action, sending{})
	if err != nil {
		g.broken(w, err)
		return
	}
	to := g.cfg.BaseURL + g.cashierPath(t)
	if action == actionPay && t.Status == alipay.TradeSuccess && t.ReturnURL != "" {
		if to, err = g.returnLink(t); err != nil {
			g.broken(w, err)
			return
		}
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// act does to a trade what a person or the gateway itself may do; a refusal or
// "". The trade comes back as it stands then, nil when there is none.
func (g *Gateway) act(n int64, action string, how sending) (t *trade, sub string, err error) {
	err = g.write(func(c *stores.Conn) (err error) {
		sub = ""
		if t, err = g.byNumber(c, n); err != nil {
			return err
		}
		if t == nil {
			sub = alipay.SubTradeNotExist
			return nil
		}
		if err := g.scan(c, t); err != nil {
			return err
		}
		sub, err = g.change(c, t, action, how)
		return err
	})
	return t, sub, err
}

// change carries an action out; a refusal or "".
func (g *Gateway) change(c *stores.Conn, t *trade, action string, how sending) (string, error) {
	switch {
	case action == actionLook:
		return "", nil
	case action == actionFinish && t.Status == alipay.TradeSuccess:
		return "", g.finishTrade(c, t, how)
	case action == actionFinish:
		return alipay.SubTradeStatus, nil
	case t.Status == alipay.WaitBuyerPay && action == actionPay:
		return "", g.payTrade(c, t, how)
	case t.Status == alipay.WaitBuyerPay:
		return "", g.closeTrade(c, t, how)
	case action == actionClose:
		return alipay.SubTradeStatus, nil
	case t.Paid > 0:
		return alipay.SubTradePaid, nil
	}
	return alipay.SubTradeClosed, nil
}

// returnLink is where the shopper's browser goes after paying: the return URL
// with signed fields, which are for display only.
func (g *Gateway) returnLink(t *trade) (string, error) {
	if t.ReturnURL == "" {
		return "", nil
	}
	u, err := url.Parse(t.ReturnURL)
	if err != nil {
		return "", err
	}
	p := alipay.Params{}
	for name, list := range u.Query() { // the shop's own are signed, too
		p[name] = list[0]
	}
	p["method"], p["charset"], p["version"] = alipay.MethodPagePay+".return", "utf-8", "1.0"
	p["app_id"], p["auth_app_id"], p["seller_id"] = g.cfg.AppID, g.cfg.AppID, g.cfg.SellerID
	p["out_trade_no"], p["trade_no"] = t.OutTradeNo, t.No()
	p["total_amount"], p["timestamp"] = g.decimal(t.Amount), alipay.FormatTime(g.now())
	form, err := alipay.SignNotify(g.cfg.GatewayKey, p)
	if err != nil {
		return "", err
	}
	u.RawQuery = form.Encode()
	return u.String(), nil
}
