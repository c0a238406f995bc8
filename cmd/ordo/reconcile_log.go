package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"ordo/api"
	"ordo/stores"
)

// ledger is the pay log of one provider at one moment.
type ledger struct {
	conn     *sql.Conn
	provider string
	find     *sql.Stmt
	// seen has a bit for each row of the log that stands in the statement.
	seen []uint64
}

// openLedger opens the payment actor's file and fixes what is seen of it.
func openLedger(ctx context.Context, path, provider string) (l *ledger, done func() error,
	err error) {
	if _, err := os.Stat(path); err != nil {
		return nil, nil, err
	}
	db, err := stores.OpenReadOnly(path)
	if err != nil {
		return nil, nil, err
	}
	l = &ledger{provider: provider}
	if l.conn, err = db.Conn(ctx); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	done = func() error { return errors.Join(l.conn.Close(), db.Close()) }
	var last int64
	if _, err = l.conn.ExecContext(ctx, "BEGIN"); err == nil {
		err = l.conn.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM log`).Scan(&last)
	}
	if err == nil {
		l.find, err = l.conn.PrepareContext(ctx, `SELECT seq, order_id, attempt, trade_no, amount,
			currency FROM log WHERE kind = ? AND provider = ?
			AND iif(kind = 'pay', trade_no, refund) = ?`)
	}
	l.seen = make([]uint64, last/64+1)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), done())
	}
	return l, done, nil
}

// look compares a row of the statement with the log; nil when they agree.
func (l *ledger) look(ctx context.Context, m *movement) (*difference, error) {
	d := &difference{Kind: m.kind, Row: m.row, Attempt: m.attempt, TradeNo: m.tradeNo,
		Refund: m.refund, Theirs: &m.amount}
	number := m.tradeNo
	if m.kind == api.BookRefund {
		number = m.refund
	}
	var seq int64
	var attempt, tradeNo string
	var ours api.Money
	err := l.find.QueryRowContext(ctx, m.kind, l.provider, number).
		Scan(&seq, &d.Order, &attempt, &tradeNo, &ours.Amount, &ours.Currency)
	if errors.Is(err, sql.ErrNoRows) {
		d.Difference = missingWithUs
		return d, l.explain(ctx, d)
	}
	if err != nil {
		return nil, err
	}
	word, bit := seq/64, uint64(1)<<(seq%64)
	twice := l.seen[word]&bit != 0
	l.seen[word] |= bit
	switch {
	case twice:
		d.Difference, d.Note = missingWithUs, "it stands in the statement twice"
	case attempt != m.attempt || tradeNo != m.tradeNo:
		d.Difference, d.Ours = otherTrade, &ours
		d.Note = fmt.Sprintf("ours is of %s %s", attempt, tradeNo)
	case ours != m.amount:
		d.Difference, d.Ours = otherAmount, &ours
	default:
		return nil, nil
	}
	return d, nil
}

// explain adds what the shop knows of a movement that its log has not.
func (l *ledger) explain(ctx context.Context, d *difference) error {
	query, number := `SELECT order_id, 'the attempt is ' || state FROM attempt WHERE id = ?`,
		d.Attempt
	if d.Kind == api.BookRefund {
		query, number = `SELECT order_id, 'the refund is ' || state FROM refund WHERE number = ?`,
			d.Refund
	}
	err := l.conn.QueryRowContext(ctx, query, number).Scan(&d.Order, &d.Note)
	if errors.Is(err, sql.ErrNoRows) {
		d.Note = "the shop did not ask for it"
		return nil
	}
	return err
}

// period is the time that a statement covers: from is in it, to is not.
type period struct {
	from, to api.Time
	// begins and ends say that from and to were told. Else they are the times
	// of the statement's first and last row, and what lies beyond them was
	// perhaps to be in it.
	begins, ends bool
	// margin is how far the time of a row of the log may be from the gateway's.
	margin time.Duration
	// whole says that a time of whole seconds is the gateway's own.
	whole bool
}

// holds tells whether a row of the log at this time must be in the statement,
// and else whether it may be. The log has the gateway's time where it was told,
// which Alipay says in seconds; the shop's own has nanoseconds, and is a moment
// after the gateway's.
func (p *period) holds(at api.Time) (must, may bool) {
	first, last := at.Add(-p.margin), at.Add(p.margin)
	if p.whole && at%api.Time(time.Second) == 0 {
		first, last = at, at.Add(time.Second-1)
	}
	must = first >= p.from && last < p.to
	may = (last >= p.from || !p.begins) && (first < p.to || !p.ends)
	return must, may
}

// rest reports the rows of the log that the statement should have and has not,
// and counts those that another one may have.
func (l *ledger) rest(ctx context.Context, p period, report *differences) error {
	rows, err := l.conn.QueryContext(ctx,
		`SELECT seq, at, kind, order_id, attempt, trade_no, refund,
		amount, currency FROM log WHERE provider = ? ORDER BY seq`, l.provider)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		d := &difference{Difference: missingWithThem, Ours: &api.Money{}}
		var seq int64
		var at api.Time
		if err := rows.Scan(&seq, &at, &d.Kind, &d.Order, &d.Attempt, &d.TradeNo, &d.Refund,
			&d.Ours.Amount, &d.Ours.Currency); err != nil {
			return err
		}
		seen := l.seen[seq/64]&(1<<(seq%64)) != 0
		must, may := p.holds(at)
		if seen || may {
			report.entries++
		}
		switch {
		case seen:
		case must:
			err = report.add(d)
		case may:
			report.left++
		}
		if err != nil {
			return err
		}
	}
	return rows.Err()
}
