package sandbox

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"ordo/actors/payment/alipay"
	"ordo/api"
	"ordo/stores"
)

// maxBatch is the most jobs that one transaction takes, and that wait for one.
const maxBatch = 256

// maxExpired is how many trades one sweep closes.
const maxExpired = 100

// errClosed is the answer after Close.
var errClosed = errors.New("sandbox: closed")

// statusCode is a QR code that nobody has scanned: not a trade yet.
const statusCode alipay.TradeStatus = "CODE"

// trade is a row of the table of that name.
type trade struct {
	N                    int64
	OutTradeNo           string
	Status               alipay.TradeStatus
	Amount, Refunded     int64
	Subject, Passback    string
	NotifyURL, ReturnURL string
	Created, Expires     api.Time
	Paid, Closed         api.Time
}

const columns = `n, out_trade_no, status, amount, refunded, subject, passback, notify_url,
	return_url, created, expires, paid, closed`

// No is the gateway's number of the trade: its day and n, 28 digits.
func (t *trade) No() string {
	day := alipay.FormatTime(t.Created)[:10]
	return fmt.Sprintf("%s22001400%012d", strings.ReplaceAll(day, "-", ""), t.N)
}

func (t *trade) scan(r stores.Row) error {
	return r.Scan(&t.N, &t.OutTradeNo, &t.Status, &t.Amount, &t.Refunded, &t.Subject, &t.Passback,
		&t.NotifyURL, &t.ReturnURL, &t.Created, &t.Expires, &t.Paid, &t.Closed)
}

// job is one piece of work on the state. It runs again alone when another one
// of its transaction fails, so it sets its results anew each time.
type job struct {
	do   func(c *stores.Conn) error
	done chan error
}

// write runs do in a transaction, which others share, and returns after the
// commit. An error from do is a fault and rolls back; what the caller did wrong
// is a result, found before the first write.
func (g *Gateway) write(do func(c *stores.Conn) error) error {
	j := job{do, make(chan error, 1)}
	select {
	case g.jobs <- j:
	case <-g.writerDone:
		return errClosed
	}
	select {
	case err := <-j.done:
		return err
	case <-g.writerDone:
	}
	select {
	case err := <-j.done: // the last batch was committed
		return err
	default:
		return errClosed
	}
}

// writeAll is the only goroutine that writes. What waits is committed at once.
func (g *Gateway) writeAll() {
	defer close(g.writerDone)
	for {
		select {
		case j := <-g.jobs:
			batch := []job{j}
			for len(g.jobs) > 0 && len(batch) < maxBatch {
				batch = append(batch, <-g.jobs)
			}
			g.commit(batch)
		case <-g.run.Done():
			return
		}
	}
}

func (g *Gateway) commit(batch []job) {
	g.queued = false
	err := g.transact(batch)
	if err != nil && len(batch) > 1 {
		for _, j := range batch {
			g.commit([]job{j})
		}
		return
	}
	if err != nil {
		g.cfg.Log.Error("sandbox: the state was not changed", "err", err)
	} else if g.queued {
		g.notify.wake()
	}
	for _, j := range batch {
		j.done <- err
	}
}

func (g *Gateway) transact(batch []job) error {
	c := g.file.W
	if err := c.Begin("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for _, j := range batch {
		if err := j.do(c); err != nil {
			return errors.Join(err, c.Rollback())
		}
	}
	if _, err := c.Exec("COMMIT"); err != nil {
		return errors.Join(err, c.Rollback())
	}
	return nil
}

// find is the trade with either number; the gateway's own goes first. It is nil
// when there is none.
func (g *Gateway) find(c *stores.Conn, outTradeNo, tradeNo string) (*trade, error) {
	if tradeNo == "" {
		return g.load(c, "SELECT "+columns+" FROM trade WHERE out_trade_no = ?", outTradeNo)
	}
	n, err := strconv.ParseInt(tradeNo[max(0, len(tradeNo)-12):], 10, 64)
	if err != nil {
		return nil, nil
	}
	t, err := g.byNumber(c, n)
	if err != nil || t == nil || t.No() != tradeNo {
		return nil, err
	}
	return t, nil
}

// byNumber is the trade with the number n, nil when there is none.
func (g *Gateway) byNumber(c *stores.Conn, n int64) (*trade, error) {
	return g.load(c, "SELECT "+columns+" FROM trade WHERE n = ?", n)
}

// load reads a trade; one whose time is over is closed first.
func (g *Gateway) load(c *stores.Conn, query string, arg any) (*trade, error) {
	t := &trade{}
	err := t.scan(c.Row(query, arg))
	if errors.Is(err, stores.ErrNoRows) {
		return nil, nil
	}
	if err == nil && t.Status == alipay.WaitBuyerPay && g.now() >= t.Expires {
		err = g.closeTrade(c, t, sending{})
	}
	return t, err
}

// insert gives the trade its number. The first one of a file is random, so
// that a new file does not give out the numbers of an old one again.
func (g *Gateway) insert(c *stores.Conn, t *trade) error {
	first, err := rand.Int(rand.Reader, big.NewInt(900_000_000_000))
	if err != nil {
		return err
	}
	return c.Row(`INSERT INTO trade (n, out_trade_no, status, amount, subject, passback,
		notify_url, return_url, created, expires)
		VALUES (coalesce((SELECT max(n) + 1 FROM trade), ?), ?, ?, ?, ?, ?, ?, ?, ?, ?)
			RETURNING n`,
		first.Int64()+1, t.OutTradeNo, string(t.Status), t.Amount, t.Subject, t.Passback,
		t.NotifyURL, t.ReturnURL, t.Created, t.Expires).Scan(&t.N)
}

// save writes what may change about a trade.
func (t *trade) save(c *stores.Conn) error {
	_, err := c.Exec(`UPDATE trade SET status = ?, refunded = ?, notify_url = ?, return_url = ?,
		paid = ?, closed = ? WHERE n = ?`, string(t.Status), t.Refunded, t.NotifyURL, t.ReturnURL,
		t.Paid, t.Closed, t.N)
	return err
}

// payTrade is the moment at which a waiting trade is paid.
func (g *Gateway) payTrade(c *stores.Conn, t *trade, how sending) error {
	t.Status, t.Paid = alipay.TradeSuccess, g.now()
	if err := t.save(c); err != nil {
		return err
	}
	return g.enqueue(c, t, g.notifyFields(t), how)
}

// closeTrade closes a waiting trade.
func (g *Gateway) closeTrade(c *stores.Conn, t *trade, how sending) error {
	t.Status, t.Closed = alipay.TradeClosed, g.now()
	if err := t.save(c); err != nil {
		return err
	}
	return g.enqueue(c, t, g.notifyFields(t), how)
}

// finishTrade is the end of a paid trade, a year later at the real gateway.
func (g *Gateway) finishTrade(c *stores.Conn, t *trade, how sending) error {
	t.Status = alipay.TradeFinished
	if err := t.save(c); err != nil {
		return err
	}
	return g.enqueue(c, t, g.notifyFields(t), how)
}

// sweep closes the trades whose time is over and says whether there may be
// more of them.
func (g *Gateway) sweep(c *stores.Conn) (more bool, err error) {
	var all []*trade
	err = c.Each(func(r stores.Row) error {
		t := &trade{}
		all = append(all, t)
		return t.scan(r)
	}, "SELECT "+columns+` FROM trade INDEXED BY trade_expiry
		WHERE status = 'WAIT_BUYER_PAY' AND expires <= +? LIMIT +?`, g.now(), maxExpired)
	for _, t := range all {
		if err == nil {
			err = g.closeTrade(c, t, sending{})
		}
	}
	return len(all) == maxExpired, err
}
