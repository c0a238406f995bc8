package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"ordo/actors/payment/alipay"
	"ordo/api"
	"ordo/api/origin"
	"ordo/stores"
)

const (
	// maxCopies is the most notifies that one control call sends.
	maxCopies = 1000
	// maxDelay is the longest that a control call puts a notify off.
	maxDelay = 10 * time.Minute
	// maxLater is how many control calls whose notifies go out later are at work
	// at once.
	maxLater = 64
	// subTooMany refuses more.
	subTooMany = "TOO_MANY_DELAYED_NOTIFIES"
)

// Actions that only a control call has.
const (
	actionNotify     = "notify"
	actionDeliveries = "deliveries"
	actionFault      = "fault"
)

// control is the body of POST /control.
type control struct {
	// Action is pay, decline (the buyer's payment fails), close (the gateway
	// gives up), finish, notify, deliveries or fault.
	Action     string `json:"action"`
	OutTradeNo string `json:"out_trade_no"`
	// URL is a signed payment link or a cashier link, opened first as a
	// browser would: the trade begins to exist. Optional.
	URL string `json:"url"`
	// Times is how many notifies go out, 1 to 1,000, or how many calls a fault
	// spoils; 0: one.
	Times int `json:"times"`
	// DelayMS puts the first notify off. With notify it is the time before
	// each of them, and the answer does not wait for them; without a delay
	// they go out at once and the answer has what was answered to them.
	DelayMS int64 `json:"delay_ms"`
	// Forge falsifies the notifies; true is "signature".
	Forge forgery `json:"forge"`
	// TradeStatus lets notify repeat an earlier event, late: TRADE_SUCCESS of a
	// trade that was paid, WAIT_BUYER_PAY of any.
	TradeStatus alipay.TradeStatus `json:"trade_status"`
	// Method and Mode are those of a fault; an empty mode ends it.
	Method string    `json:"method"`
	Mode   faultMode `json:"mode"`
}

// forgery is a key of forgeries.
type forgery string

// UnmarshalJSON implements json.Unmarshaler.
func (f *forgery) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "true":
		*f = "signature"
		return nil
	case "false":
		return nil
	}
	return json.Unmarshal(b, (*string)(f))
}

// controlled is the answer to a control call.
type controlled struct {
	OutTradeNo  string             `json:"out_trade_no,omitempty"`
	TradeNo     string             `json:"trade_no,omitempty"`
	TradeStatus alipay.TradeStatus `json:"trade_status,omitempty"`
	// Answers are those to notifies, in no order; what went wrong begins with
	// "error: ".
	Answers []string `json:"answers,omitempty"`
	// Deliveries are the notifies that are still to be sent, the next first.
	Deliveries []pending `json:"deliveries,omitempty"`
	Code       string    `json:"code,omitempty"`
	Message    string    `json:"message,omitempty"`
}

// pending is a notify that was not accepted yet.
type pending struct {
	// Tries is the number of deliveries begun; Next is when the next one is
	// due, and Answer came to the last one.
	Tries  int      `json:"tries"`
	Next   api.Time `json:"next"`
	Answer string   `json:"answer"`
}

// serveControl is POST /control.
func (g *Gateway) serveControl(w http.ResponseWriter, r *http.Request) {
	if !local(r) {
		tell(w, http.StatusForbidden, &controlled{Message: "control is for this machine only"})
		return
	}
	var c control
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(&c)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("there is more than one JSON value")
		}
	}
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		tell(w, http.StatusRequestEntityTooLarge, &controlled{Message: err.Error()})
		return
	case err == nil:
		err = c.check()
	}
	if err != nil {
		tell(w, http.StatusBadRequest, &controlled{Code: subInvalid, Message: err.Error()})
		return
	}
	if c.Action == actionFault {
		g.faults.set(c.Method, c.Mode, max(1, c.Times))
		tell(w, http.StatusOK, &controlled{})
		return
	}
	g.control(w, r, &c)
}

func (c *control) check() error {
	switch c.Action {
	case actionPay, actionDecline, actionClose, actionFinish, actionNotify, actionDeliveries:
		return c.checkSending()
	case actionFault:
		if !known(c.Method) || c.Mode != faultNone && !c.Mode.known() {
			return errors.New("there is no such method or mode")
		}
		if c.Times < 0 || c.Times > maxFaults {
			return fmt.Errorf("times is 0 to %d", maxFaults)
		}
		return nil
	}
	return errors.New("action is pay, decline, close, finish, notify, deliveries or fault")
}

func (c *control) checkSending() error {
	switch c.TradeStatus {
	case "":
	case alipay.WaitBuyerPay, alipay.TradeSuccess:
		if c.Action != actionNotify {
			return errors.New("trade_status is for notify")
		}
	default:
		return errors.New("trade_status is WAIT_BUYER_PAY or TRADE_SUCCESS")
	}
	_, forgeable := forgeries[string(c.Forge)]
	switch {
	case c.Times < 0 || c.Times > maxCopies:
		return fmt.Errorf("times is 0 to %d", maxCopies)
	case c.DelayMS < 0 || c.DelayMS > maxDelay.Milliseconds():
		return fmt.Errorf("delay_ms is 0 to %d", maxDelay.Milliseconds())
	case c.Forge != "" && !forgeable:
		return errors.New("there is no such forgery")
	}
	return nil
}

// local says whether a call comes from this machine, and not from a page of
// another site in a browser on it.
func local(r *http.Request) bool {
	return origin.FromHere(r) && new(http.CrossOriginProtection).Check(r) == nil
}

func tell(w http.ResponseWriter, status int, a *controlled) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(a) // the caller may have gone
}

// control carries out what is about one trade.
func (g *Gateway) control(w http.ResponseWriter, r *http.Request, c *control) {
	done := &controlled{}
	t, sub, err := g.aim(c)
	if err == nil && sub == "" {
		t, sub, err = g.steer(r, c, t, done)
	}
	if err != nil {
		g.broken(w, err)
		return
	}
	if t != nil {
		done.OutTradeNo, done.TradeNo, done.TradeStatus = t.OutTradeNo, t.No(), t.Status
	}
	status := http.StatusOK
	if sub != "" {
		done.Code, done.Message, status = sub, refuse(sub)["sub_msg"], http.StatusConflict
	}
	switch sub {
	case alipay.SubTradeNotExist:
		status = http.StatusNotFound
	case subTooMany:
		status = http.StatusTooManyRequests
	}
	tell(w, status, done)
}

// steer does the action with the trade and fills in what it has to tell; a
// refusal or "".
func (g *Gateway) steer(r *http.Request, c *control, t *trade, done *controlled) (
	after *trade, sub string, err error) {
	how := sending{Forge: string(c.Forge), Times: c.Times,
		Delay: time.Duration(c.DelayMS) * time.Millisecond}
	switch {
	case c.Action == actionNotify && c.TradeStatus == alipay.TradeSuccess && t.Paid == 0:
		return t, alipay.SubTradeStatus, nil
	case c.Action == actionNotify:
		done.Answers, sub = g.notifyNow(r, t.as(c.TradeStatus), how)
		return t, sub, nil
	case c.Action == actionDeliveries:
		done.Deliveries, err = g.deliveries(t)
	default:
		return g.act(t.N, c.Action, how)
	}
	return t, "", err
}

// aim is the trade that a control call is about, after its link was opened; a
// refusal or "".
func (g *Gateway) aim(c *control) (t *trade, sub string, err error) {
	n := int64(0)
	if c.URL != "" {
		t, sub, err := g.follow(c.URL)
		if err != nil || sub != "" {
			return nil, sub, err
		}
		if c.OutTradeNo != "" && c.OutTradeNo != t.OutTradeNo {
			return nil, subInconsistent, nil
		}
		n = t.N
	}
	err = g.write(func(conn *stores.Conn) (err error) {
		if n > 0 {
			t, err = g.byNumber(conn, n)
		} else {
			t, err = g.find(conn, c.OutTradeNo, "")
		}
		return err
	})
	if t == nil && err == nil {
		sub = alipay.SubTradeNotExist
	}
	return t, sub, err
}

// follow opens a link as a browser would, without the network: a signed
// payment link, the signed text that an app gets, or a link to the cashier.
func (g *Gateway) follow(link string) (t *trade, sub string, err error) {
	u, err := url.Parse(link)
	if err != nil {
		return nil, subInvalid, nil
	}
	if _, id, ok := strings.Cut(u.Path, "/cashier/"); ok {
		t, sub, err := g.act(g.cashierNumber(id), actionLook, sending{})
		return t, sub, err
	}
	call, sub := g.linked(u, link)
	if sub != "" {
		return nil, sub, nil
	}
	t, sub, err = g.openTrade(call, true)
	if sub == alipay.SubTradePaid || sub == alipay.SubTradeClosed && t != nil {
		sub = "" // the link shows the trade; what can be done with it is asked next
	}
	return t, sub, err
}

// linked is the call that a signed link makes, or the text that an app gets; a
// refusal or "".
func (g *Gateway) linked(u *url.URL, link string) (*call, string) {
	query := u.RawQuery
	if u.Scheme == "" && u.Host == "" && query == "" {
		query = link
	}
	values, err := url.ParseQuery(query)
	if err != nil || !opensCashier(values.Get("method")) {
		return nil, subInvalid
	}
	return g.verify(values, "")
}

// as is the trade as it stood when it had an earlier status; "" is now.
func (t *trade) as(status alipay.TradeStatus) *trade {
	past := *t
	switch status {
	case alipay.WaitBuyerPay:
		past.Paid = 0
		fallthrough
	case alipay.TradeSuccess:
		past.Status, past.Closed, past.Refunded = status, 0, 0
	}
	return &past
}

// later counts the control calls whose notifies are still to go out.
type later struct {
	lock  sync.Mutex
	n     int
	ended bool
}

// begin takes a place and tells whether there was one.
func (l *later) begin(wg *sync.WaitGroup) bool {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.ended || l.n == maxLater {
		return false
	}
	l.n++
	wg.Add(1)
	return true
}

func (l *later) done(wg *sync.WaitGroup) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.n--
	wg.Done()
}

// end lets nobody begin any more.
func (l *later) end() {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.ended = true
}

// notifyNow sends notifies of a trade as it stands, beside the schedule; a
// refusal or "".
func (g *Gateway) notifyNow(r *http.Request, t *trade, how sending) ([]string, string) {
	to, p := t.NotifyURL, g.notifyFields(t)
	if how.Delay > 0 {
		if !g.later.begin(&g.wg) {
			return nil, subTooMany
		}
		go func() {
			defer g.later.done(&g.wg)
			g.notifySlowly(to, p, how)
		}()
		return nil, ""
	}
	answers := make([]string, max(1, how.Times))
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxPerHost)
	for i := range answers {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			text, err := g.notify.send(r.Context(), to, maps.Clone(p), how.Forge)
			if err != nil {
				text = "error: " + err.Error()
			}
			answers[i] = text
		})
	}
	wg.Wait()
	return answers, ""
}

// notifySlowly sends notifies one after another, with the delay before each.
func (g *Gateway) notifySlowly(to string, p alipay.Params, how sending) {
	for range max(1, how.Times) {
		timer := time.NewTimer(how.Delay)
		select {
		case <-timer.C:
		case <-g.sending.Done():
			timer.Stop()
			return
		}
		if _, err := g.notify.send(g.sending, to, maps.Clone(p), how.Forge); err != nil {
			g.cfg.Log.Warn("sandbox: a notify was not sent", "url", to, "err", err)
		}
	}
}

// deliveries are the notifies of a trade that are still to be sent.
func (g *Gateway) deliveries(t *trade) (all []pending, err error) {
	err = g.write(func(c *stores.Conn) error {
		all = nil
		return c.Each(func(r stores.Row) error {
			var p pending
			err := r.Scan(&p.Tries, &p.Next, &p.Answer)
			all = append(all, p)
			return err
		}, "SELECT tries, next_at, answer FROM notify WHERE trade = +? ORDER BY next_at LIMIT +?",
			t.N, maxCopies)
	})
	return all, err
}
