package sandbox

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"time"

	"ordo/api"
	"ordo/stores"
)

// maxStatement is the most lines of one statement.
const maxStatement = 1_000_000

// statementTime is how long sending one may take.
const statementTime = time.Minute

// statementHeader names the columns. Amounts are decimals without a sign, the
// kind says in which direction; times are RFC 3339 in UTC.
var statementHeader = []string{"kind", "out_trade_no", "trade_no", "out_request_no", "amount",
	"currency", "time"}

// serveStatement is GET /statement.csv?from=&to=: what moved at or after from
// and before to, payments and refunds, each in order of time. Both are RFC 3339
// times or dates in UTC; without them everything is listed.
func (g *Gateway) serveStatement(w http.ResponseWriter, r *http.Request) {
	from, err1 := moment(r.URL.Query().Get("from"), 0)
	to, err2 := moment(r.URL.Query().Get("to"), api.Time(1<<63-1))
	if err := errors.Join(err1, err2); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	g.readLock.Lock()
	defer g.readLock.Unlock()
	if g.run.Err() != nil {
		http.Error(w, "The sandbox is closing.", http.StatusServiceUnavailable)
		return
	}
	c := g.file.R[0]
	if err := c.Begin("BEGIN"); err != nil {
		g.broken(w, err)
		return
	}
	defer func() { _ = c.Rollback() }() // it only read
	var lines int64
	if err := c.Row(`SELECT (SELECT count(*) FROM trade WHERE paid > 0 AND paid >= ?1 AND paid < ?2)
		+ (SELECT count(*) FROM refund WHERE at >= ?1 AND at < ?2)`, from, to).Scan(&lines); err != nil {
		g.broken(w, err)
		return
	}
	if lines > maxStatement {
		http.Error(w, fmt.Sprintf("%d lines; ask for a shorter time", lines),
			http.StatusRequestEntityTooLarge)
		return
	}
	// A reader that stops reading must not keep others out.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(statementTime))
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	if err := g.writeStatement(csv.NewWriter(w), c, from, to); err != nil {
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

func (g *Gateway) writeStatement(out *csv.Writer, c *stores.Conn, from, to api.Time) error {
	if err := out.Write(statementHeader); err != nil {
		return err
	}
	line := func(kind string) func(stores.Row) error {
		return func(r stores.Row) error {
			var t trade
			var request string
			var amount int64
			var at api.Time
			if err := r.Scan(&t.OutTradeNo, &t.N, &t.Created, &request, &amount, &at); err != nil {
				return err
			}
			return out.Write([]string{kind, t.OutTradeNo, t.No(), request, g.decimal(amount),
				g.cfg.Currency, at.Std().Format(time.RFC3339Nano)})
		}
	}
	if err := c.Each(line("pay"), `SELECT out_trade_no, n, created, '', amount, paid FROM trade
		INDEXED BY trade_paid WHERE paid > 0 AND paid >= ?1 AND paid < ?2
		ORDER BY paid, n LIMIT ?3`, from, to, maxStatement); err != nil {
		return err
	}
	if err := c.Each(line("refund"), `SELECT t.out_trade_no, t.n, t.created, r.out_request_no,
		r.amount, r.at FROM refund r JOIN trade t ON t.n = r.trade WHERE r.at >= ?1 AND r.at < ?2
		ORDER BY r.at, r.trade, r.out_request_no LIMIT ?3`, from, to, maxStatement); err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}
