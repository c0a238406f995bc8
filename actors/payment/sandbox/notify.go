package sandbox

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"ordo/actors/payment/alipay"
	"ordo/api"
	"ordo/stores"
)

const (
	// maxDeliveries is how often a notify is sent until it is answered.
	maxDeliveries = 8
	// maxParallel is how many deliveries run at once, and maxPerHost how many of
	// them to one host: one that hangs leaves room for others.
	maxParallel = 256
	maxPerHost  = 64
	// hostRest is how long a notify waits while its host has maxPerHost.
	hostRest = 250 * time.Millisecond
	// maxLook is how many due notifies are looked at in one transaction.
	maxLook = 1024
	// deliveryTime is how long one delivery may take.
	deliveryTime = 10 * time.Second
	// claimTime is how long a delivery is left alone; after a crash in the
	// middle of one it is sent again then.
	claimTime = deliveryTime + 5*time.Second
	// pollEvery is how often what is due is looked for at least.
	pollEvery = 100 * time.Millisecond
	// maxAnswer is how much of an answer to a notify is read, in bytes.
	maxAnswer = 256
	// accepted is the answer that ends the deliveries, exactly.
	accepted = "success"
)

// gaps are the times between deliveries, as documented under "Asynchronous
// notification": 8 in 24 hours and 24 minutes.
var gaps = [maxDeliveries - 1]time.Duration{4 * time.Minute, 10 * time.Minute, 10 * time.Minute,
	time.Hour, 2 * time.Hour, 6 * time.Hour, 15 * time.Hour}

// sending says how a notify goes out other than as usual.
type sending struct {
	// URL goes before the trade's own.
	URL string
	// Delay of the first delivery.
	Delay time.Duration
	// Forge falsifies it; see forgeries.
	Forge string
	// Times is how many copies go out, 0 and 1: one.
	Times int
}

// delivery is a notify that is due.
type delivery struct {
	ID      int64
	URL     string
	Fields  []byte
	Forge   string
	Tries   int
	Started api.Time
}

// notifier sends notifies: those in the state on their schedule, others at
// once.
type notifier struct {
	g      *Gateway
	client *http.Client
	slots  chan struct{} // taken by a running delivery
	wakes  chan struct{}

	lock    sync.Mutex
	running map[string]int // deliveries by host
}

func newNotifier(g *Gateway, hosts hostList) *notifier {
	return &notifier{g: g, slots: make(chan struct{}, maxParallel), wakes: make(chan struct{}, 1),
		running: map[string]int{},
		client: &http.Client{Timeout: deliveryTime,
			// A redirect could lead to a host that may not be notified.
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
			Transport: &http.Transport{DialContext: hosts.dial,
				TLSClientConfig: &tls.Config{RootCAs: g.cfg.RootCAs,
					MinVersion: tls.VersionTLS12},
				MaxIdleConnsPerHost: maxPerHost,
				IdleConnTimeout:     time.Minute, MaxResponseHeaderBytes: 16 << 10}}}
}

// notifyFields are the fields of a notify of what is known now, unsigned.
func (g *Gateway) notifyFields(t *trade) alipay.Params {
	now, amount := g.now(), g.decimal(t.Amount)
	p := alipay.Params{"notify_type": "trade_status_sync", "notify_id": notifyID(now),
		"app_id": g.cfg.AppID, "auth_app_id": g.cfg.AppID, "seller_id": g.cfg.SellerID,
		"charset": "utf-8", "version": "1.0", "out_trade_no": t.OutTradeNo, "trade_no": t.No(),
		"trade_status": string(t.Status), "total_amount": amount, "subject": t.Subject,
		"buyer_id": buyerID, "gmt_create": alipay.FormatTime(t.Created)}
	if t.Passback != "" {
		p["passback_params"] = t.Passback
	}
	if t.Status == statusCode { // only a forged notify speaks of a code
		p["trade_status"] = string(alipay.WaitBuyerPay)
	}
	if t.Paid > 0 {
		p["gmt_payment"] = alipay.FormatTime(t.Paid)
		p["invoice_amount"], p["receipt_amount"], p["buyer_pay_amount"] = amount, amount, amount
		p["point_amount"] = g.decimal(0)
		p["fund_bill_list"] = fmt.Sprintf(`[{"amount":"%s","fundChannel":"ALIPAYACCOUNT"}]`, amount)
	}
	if t.Closed > 0 {
		p["gmt_close"] = alipay.FormatTime(t.Closed)
	}
	if t.Status == alipay.TradeClosed && t.Refunded > 0 {
		p["refund_fee"], p["gmt_refund"] = g.decimal(t.Refunded), refundTime(t.Closed)
	}
	return p
}

// notifyID is unique for each event; its repeats have the same one.
func notifyID(now api.Time) string {
	digits := strings.NewReplacer("-", "", ":", "", " ", "").Replace(alipay.FormatTime(now))
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000_000_000_000))
	if err != nil { // crypto/rand ends the process before it fails
		n = big.NewInt(int64(now) % 1_000_000_000_000_000)
	}
	return fmt.Sprintf("%s00222%s%015d", digits[:8], digits[8:], n)
}

// enqueue writes a notify down, to be sent after the commit. A trade without a
// notify URL has none.
func (g *Gateway) enqueue(c *stores.Conn, t *trade, p alipay.Params, how sending) error {
	to := cmp.Or(how.URL, t.NotifyURL)
	if to == "" {
		return nil
	}
	fields, err := json.Marshal(p)
	if err != nil {
		return err
	}
	for range max(1, how.Times) {
		if _, err := c.Exec("INSERT INTO notify (trade, url, fields, forge, next_at) "+
			"VALUES (?, ?, ?, ?, ?)", t.N, to, string(fields), how.Forge,
			g.now().Add(how.Delay)); err != nil {
			return err
		}
	}
	g.queued = true
	return nil
}

func (n *notifier) wake() {
	select {
	case n.wakes <- struct{}{}:
	default:
	}
}

// host is who a notify goes to.
func (d *delivery) host() string {
	u, err := url.Parse(d.URL)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}

// enter takes a place at the delivery's host, unless all are taken.
func (n *notifier) enter(d *delivery) bool {
	n.lock.Lock()
	defer n.lock.Unlock()
	if n.running[d.host()] >= maxPerHost {
		return false
	}
	n.running[d.host()]++
	return true
}

func (n *notifier) leave(d *delivery) {
	n.lock.Lock()
	defer n.lock.Unlock()
	if n.running[d.host()]--; n.running[d.host()] == 0 {
		delete(n.running, d.host())
	}
}

// dispatch starts deliveries as they fall due, until notifying ends.
func (n *notifier) dispatch() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case n.slots <- struct{}{}: // there is room for one at least
			<-n.slots
		case <-n.g.sending.Done():
			return
		}
		free := cap(n.slots) - len(n.slots)
		due, wait := n.claim(free)
		for _, d := range due {
			n.slots <- struct{}{}
			n.g.wg.Go(func() {
				defer func() { <-n.slots }()
				defer n.leave(&d)
				n.deliver(d)
			})
		}
		if len(due) == free {
			continue
		}
		timer.Reset(wait)
		select {
		case <-n.wakes:
		case <-timer.C:
		case <-n.g.sending.Done():
			return
		}
	}
}

// claim takes at most limit due notifies and says how long to wait for more.
func (n *notifier) claim(limit int) (due []delivery, wait time.Duration) {
	err := n.g.write(func(c *stores.Conn) error {
		for i := range due { // another job of the transaction failed
			n.leave(&due[i])
		}
		due, wait = nil, pollEvery
		more, err := n.g.sweep(c)
		if err != nil {
			return err
		}
		now := n.g.now()
		if due, err = n.takeDue(c, now, limit); err != nil {
			return err
		}
		var next int64
		if err := c.Row("SELECT coalesce(min(next_at), 0) FROM notify").Scan(&next); err != nil {
			return err
		}
		if d := time.Duration(next - int64(now)); next > 0 || more {
			wait = min(wait, max(d, time.Millisecond))
		}
		return nil
	})
	if err != nil {
		for i := range due {
			n.leave(&due[i])
		}
		return nil, pollEvery
	}
	return due, wait
}

// takeDue takes at most limit due notifies. What it took before a fault it
// answers as well.
func (n *notifier) takeDue(c *stores.Conn, now api.Time, limit int) (due []delivery, err error) {
	for looked, full := 0, true; full && len(due) < limit && looked < maxLook; {
		look, err := dueNotifies(c, now, limit-len(due))
		if err != nil {
			return due, err
		}
		full, looked = len(look) == limit-len(due), looked+len(look)
		taken, err := n.take(c, now, look)
		if due = append(due, taken...); err != nil {
			return due, err
		}
	}
	return due, nil
}

// take takes those of due notifies whose hosts have room; the others rest.
func (n *notifier) take(c *stores.Conn, now api.Time, look []delivery) (taken []delivery,
	err error) {
	for _, d := range look {
		next := now.Add(hostRest)
		if n.enter(&d) {
			d.Tries++
			taken = append(taken, d)
			next = now.Add(max(n.gap(d.Tries), claimTime))
		}
		if _, err := c.Exec("UPDATE notify SET tries = ?, next_at = ? WHERE id = ?",
			d.Tries, next, d.ID); err != nil {
			return taken, err
		}
	}
	return taken, nil
}

// dueNotifies are the first ones that are due, at most limit.
func dueNotifies(c *stores.Conn, now api.Time, limit int) (look []delivery, err error) {
	err = c.Each(func(r stores.Row) error {
		d := delivery{Started: now}
		err := r.Scan(&d.ID, &d.URL, &d.Fields, &d.Forge, &d.Tries)
		look = append(look, d)
		return err
	}, `SELECT id, url, fields, forge, tries FROM notify INDEXED BY notify_due
		WHERE next_at <= +? ORDER BY next_at LIMIT +?`, now, limit)
	return look, err
}

// gap is the time from the delivery with this number to the next one.
func (n *notifier) gap(tries int) time.Duration {
	if tries < 1 || tries > len(gaps) {
		return claimTime
	}
	return time.Duration(float64(gaps[tries-1]) / n.g.cfg.NotifyFactor)
}

// deliver sends a notify and writes down what came of it.
func (n *notifier) deliver(d delivery) {
	var p alipay.Params
	answer, err := "", json.Unmarshal(d.Fields, &p)
	if err == nil {
		answer, err = n.send(n.g.sending, d.URL, p, d.Forge)
	}
	if n.g.sending.Err() != nil && answer != accepted {
		n.giveUp(d)
		return
	}
	log := n.g.cfg.Log.With("out_trade_no", p["out_trade_no"], "url", d.URL, "delivery", d.Tries)
	text := answer
	if err != nil {
		text = err.Error()
	}
	done := answer == accepted || d.Tries >= maxDeliveries || errors.Is(err, errNotAllowed)
	if answer != accepted {
		log.Warn("sandbox: a notify was not accepted", "answer", text, "last", done)
	}
	if err := n.g.write(func(c *stores.Conn) error {
		if done {
			_, err := c.Exec("DELETE FROM notify WHERE id = ?", d.ID)
			return err
		}
		_, err := c.Exec("UPDATE notify SET next_at = ?, answer = ? WHERE id = ?",
			d.Started.Add(n.gap(d.Tries)), text, d.ID)
		n.g.queued = true // the dispatcher may be waiting for the claim's time
		return err
	}); err != nil {
		log.Error("sandbox: the outcome of a notify was not kept", "err", err)
	}
}

// giveUp gives back a delivery that the end of notifying cut short: it is due at
// the next start, and does not count.
func (n *notifier) giveUp(d delivery) {
	if err := n.g.write(func(c *stores.Conn) error {
		_, err := c.Exec("UPDATE notify SET next_at = ?, tries = ? WHERE id = ?", d.Started,
			d.Tries-1, d.ID)
		return err
	}); err != nil {
		n.g.cfg.Log.Error("sandbox: a delivery was not given back", "url", d.URL, "err", err)
	}
}

// send signs and posts a notify and returns the answer, an error when there is
// none with status 200.
func (n *notifier) send(ctx context.Context, to string, p alipay.Params, forge string) (
	string, error) {
	p["notify_time"] = alipay.FormatTime(n.g.now())
	body, err := n.g.signed(p, forge)
	if err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	w, err := n.client.Do(r)
	if err != nil {
		return "", err
	}
	defer w.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(w.Body, maxAnswer))
	if err == nil && w.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %.80q", w.StatusCode, answer)
	}
	if err != nil {
		return "", err
	}
	return string(answer), nil
}

// signed is the body of a notify.
func (g *Gateway) signed(p alipay.Params, forge string) (string, error) {
	if forge != "" {
		return g.forged(p, forge)
	}
	form, err := alipay.SignNotify(g.cfg.GatewayKey, p)
	return form.Encode(), err
}

// forgeries says how each falsifies a notify: the fields before they are
// signed, or the form afterwards. Those of the first kind are authentic, and
// only a comparison with what was asked for shows them.
var forgeries = map[string]struct {
	before func(p alipay.Params)
	after  func(form url.Values)
}{
	"amount": {before: func(p alipay.Params) {
		p["total_amount"] = other(p["total_amount"])
	}},
	"app_id":    {before: func(p alipay.Params) { p["app_id"] = other(p["app_id"]) }},
	"seller_id": {before: func(p alipay.Params) { p["seller_id"] = other(p["seller_id"]) }},
	"out_trade_no": {before: func(p alipay.Params) {
		p["out_trade_no"] = other(p["out_trade_no"])
	}},
	"trade_no": {before: func(p alipay.Params) { p["trade_no"] = other(p["trade_no"]) }},
	"altered": {after: func(f url.Values) {
		f.Set("total_amount", other(f.Get("total_amount")))
	}},
	"status":    {after: func(f url.Values) { f.Set("trade_status", "TRADE_FINISHED") }},
	"signature": {after: func(f url.Values) { f.Set("sign", "A"+other(f.Get("sign")[1:])) }},
	"unsigned":  {after: func(f url.Values) { f.Del("sign") }},
	"sign_type": {after: func(f url.Values) { f.Set("sign_type", "RSA") }},
	"repeated": {after: func(f url.Values) {
		f.Add("total_amount", other(f.Get("total_amount")))
	}},
	"extra":    {after: func(f url.Values) { f.Set("refund_fee", f.Get("total_amount")) }},
	"oversize": {after: func(f url.Values) { f.Set("body", strings.Repeat("x", MaxBody)) }},
}

// forged is the body of a falsified notify. It claims that money came, or else
// there would be nothing to gain.
func (g *Gateway) forged(p alipay.Params, kind string) (string, error) {
	forgery, ok := forgeries[kind]
	if !ok {
		return "", fmt.Errorf("sandbox: there is no forgery %.20q", kind)
	}
	if p["trade_status"] == string(alipay.WaitBuyerPay) {
		p["trade_status"], p["gmt_payment"] = string(alipay.TradeSuccess), p["notify_time"]
		for _, name := range []string{"invoice_amount", "receipt_amount", "buyer_pay_amount"} {
			p[name] = p["total_amount"]
		}
	}
	if forgery.before != nil {
		forgery.before(p)
	}
	form, err := alipay.SignNotify(g.cfg.GatewayKey, p)
	if err != nil {
		return "", err
	}
	if forgery.after != nil {
		forgery.after(form)
	}
	return form.Encode(), nil
}

// other is a text like s that differs in its first character, which is a digit
// or a letter where s begins with one.
func other(s string) string {
	if strings.HasPrefix(s, "1") {
		return "2" + s[1:]
	}
	return "1" + s[min(1, len(s)):]
}
