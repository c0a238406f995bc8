package sandbox

import (
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"ordo/api"
	"ordo/stores"
)

const (
	// maxStatement is the most lines of one statement.
	maxStatement = 9_999_999
	// statementPage is how many lines are read at once.
	statementPage = 1000
	// pageTime is how long sending a page may take.
	pageTime = 30 * time.Second
)

// statementHeader names the columns. Amounts are decimals without a sign, the
// kind says in which direction; times are RFC 3339 in UTC.
var statementHeader = []string{"kind", "out_trade_no", "trade_no", "out_request_no", "amount",
	"currency", "time"}

// serveStatement is GET /statement.csv?from=&to=: what moved at or after from
// and before to, payments and refunds, each in order of time. Both are RFC 3339
// times or dates in UTC; without them everything is listed. It is read a page at
// a time, so a slow caller holds nobody up; what moves meanwhile is not in it.
func (g *Gateway) serveStatement(w http.ResponseWriter, r *http.Request) {
	if !local(r) {
		http.Error(w, "The statement is for this machine only.", http.StatusForbidden)
		return
	}
	from, err1 := moment(r.URL.Query().Get("from"), 0)
	to, err2 := moment(r.URL.Query().Get("to"), math.MaxInt64)
	if err := errors.Join(err1, err2); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	// The writer writes in the order of its clock: what is not committed when
	// this is done has a later time.
	err := g.write(func(*stores.Conn) error {
		to = min(to, g.now()+1)
		return nil
	})
	var lines int64
	if err == nil {
		lines, err = g.countStatement(from, to)
	}
	switch {
	case errors.Is(err, errClosed):
		http.Error(w, "The sandbox is closing.", http.StatusServiceUnavailable)
		return
	case err != nil:
		g.broken(w, err)
		return
	case lines > maxStatement:
		http.Error(w, fmt.Sprintf("%d lines; ask for a shorter time", lines),
			http.StatusRequestEntityTooLarge)
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	if err := g.writeStatement(w, from, to); err != nil {
		g.cfg.Log.Warn("sandbox: a statement was not sent whole", "err", err)
		panic(http.ErrAbortHandler) // half a statement must not look like a whole one
	}
}

// moment reads a time of a statement's query.
func moment(s string, absent api.Time) (api.Time, error) {
	if s == "" {
		return absent, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t, err = time.Parse(time.DateOnly, s)
	}
	if err != nil || t.Year() < 1970 || t.Year() > 2261 {
		return 0, fmt.Errorf("%.40q is neither a date nor a time", s)
	}
	return api.TimeOf(t), nil
}

// read has the one reader to itself for a moment.
func (g *Gateway) read(do func(c *stores.Conn) error) error {
	g.readLock.Lock()
	defer g.readLock.Unlock()
	if g.run.Err() != nil {
		return errClosed
	}
	return do(g.file.R[0])
}

func (g *Gateway) countStatement(from, to api.Time) (lines int64, err error) {
	err = g.read(func(c *stores.Conn) error {
		return c.Row(`SELECT (SELECT count(*) FROM trade WHERE paid > 0 AND paid >= ?1
			AND paid < ?2)
			+ (SELECT count(*) FROM refund WHERE at >= ?1 AND at < ?2)`, from, to).Scan(&lines)
	})
	return lines, err
}

// moved is a line of a statement, and the place that the next page begins after.
type moved struct {
	trade   trade
	request string
	amount  int64
	at      api.Time
}

// statements are the queries of a page, by kind: lines after the time, the
// trade and the refund's number, before a time.
var statements = [...]struct{ kind, query string }{
	{api.BookPay, `SELECT out_trade_no, n, created, '', amount, paid FROM trade
		INDEXED BY trade_paid WHERE paid > 0 AND (paid, n, '') > (?1, ?2, ?3) AND paid < ?4
		ORDER BY paid, n LIMIT ?5`},
	{api.BookRefund, `SELECT t.out_trade_no, t.n, t.created, r.out_request_no, r.amount, r.at
		FROM refund r INDEXED BY refund_at JOIN trade t ON t.n = r.trade
		WHERE (r.at, r.trade, r.out_request_no) > (?1, ?2, ?3) AND r.at < ?4
		ORDER BY r.at, r.trade, r.out_request_no LIMIT ?5`},
}

func (g *Gateway) writeStatement(w http.ResponseWriter, from, to api.Time) error {
	out := csv.NewWriter(w)
	if err := out.Write(statementHeader); err != nil {
		return err
	}
	deadline := http.NewResponseController(w)
	for _, s := range statements {
		last := moved{at: from, trade: trade{N: -1}}
		for more := true; more; {
			page := make([]moved, 0, statementPage)
			if err := g.read(func(c *stores.Conn) error {
				return c.Each(func(r stores.Row) error {
					var m moved
					err := r.Scan(&m.trade.OutTradeNo, &m.trade.N, &m.trade.Created, &m.request,
						&m.amount, &m.at)
					page = append(page, m)
					return err
				}, s.query, last.at, last.trade.N, last.request, to, statementPage)
			}); err != nil {
				return err
			}
			if more = len(page) == statementPage; more {
				last = page[len(page)-1]
			}
			_ = deadline.SetWriteDeadline(time.Now().Add(pageTime)) // a recorder has none
			if err := g.writePage(out, s.kind, page); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *Gateway) writePage(out *csv.Writer, kind string, page []moved) error {
	for i := range page {
		m := &page[i]
		if err := out.Write([]string{kind, m.trade.OutTradeNo, m.trade.No(), m.request,
			g.decimal(m.amount), g.cfg.Currency, m.at.Std().Format(time.RFC3339Nano)}); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
