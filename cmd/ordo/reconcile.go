package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"ordo/actors/audit"
	"ordo/api"
)

// ReconcileCmd compares the shop's pay log with a gateway's statement and lists
// every difference. It exits with 1 when there are some, and with 2 when it
// can't tell, because a file or a row of it can't be read. It reads the log of a
// shop that is running as it is at one moment. Row Y8.
type ReconcileCmd struct {
	Data      string `help:"Data directory with the payment actor's file." required:"" type:"path"`
	Statement string `help:"CSV of the gateway." required:"" type:"existingfile" placeholder:"FILE"`
	Provider  string `help:"Whose statement it is." enum:"alipay,stripe" default:"alipay"`
	From      string `help:"The statement begins here: a date or a time in UTC; else with its first row." placeholder:"TIME"`
	To        string `help:"It ends before this; else with its last row." placeholder:"TIME"`

	Margin time.Duration `help:"How far a time that the shop wrote down may be from the gateway's." default:"1h"`
	JSON   bool          `name:"json" help:"Print the result as JSON."`
}

// maxMargin bounds --margin.
const maxMargin = 7 * 24 * time.Hour

// Validate refuses what is no time.
func (c *ReconcileCmd) Validate() error {
	from, err1 := parseMoment("from", c.From, 0)
	to, err2 := parseMoment("to", c.To, math.MaxInt64)
	err3 := error(nil)
	switch {
	case c.Margin < 0 || c.Margin > maxMargin:
		err3 = fmt.Errorf("--margin: 0 to %v", maxMargin)
	case from >= to:
		err3 = errors.New("--from: it is not before --to")
	}
	return errors.Join(err1, err2, err3)
}

// parseMoment reads a date or a time.
func parseMoment(flag, s string, absent api.Time) (api.Time, error) {
	if s == "" {
		return absent, nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(form, s); err == nil && t.Year() >= 1970 && t.Year() <= 2261 {
			return api.TimeOf(t), nil
		}
	}
	return 0, fmt.Errorf("--%s: %q is neither a date nor a time", flag, s)
}

// Kinds of differences.
const (
	// missingWithUs: the statement has it, and the pay log has not.
	missingWithUs = "missing_with_us"
	// missingWithThem: the pay log has it, and the statement has not.
	missingWithThem = "missing_with_them"
	// otherAmount: both have it, with another amount or currency.
	otherAmount = "other_amount"
	// otherTrade: both have it, of another attempt or trade.
	otherTrade = "other_trade"
)

// difference is one movement of money that the two do not agree on.
type difference struct {
	// Difference is one of the kinds above.
	Difference string `json:"difference"`
	// Kind is api.BookPay or api.BookRefund.
	Kind string `json:"kind"`
	// Row of the statement, the header being 1; 0 when it has none.
	Row int `json:"row,omitempty"`
	// Order is the shop's, if it knows the attempt.
	Order   string `json:"order,omitempty"`
	Attempt string `json:"out_trade_no"`
	TradeNo string `json:"trade_no"`
	Refund  string `json:"out_request_no,omitempty"`
	// Ours and Theirs are the amounts, nil where it is missing.
	Ours   *api.Money `json:"ours,omitempty"`
	Theirs *api.Money `json:"theirs,omitempty"`
	// Note says what else the shop knows of it.
	Note string `json:"note,omitempty"`
}

// String is the difference as a line.
func (d *difference) String() string {
	amount := func(m *api.Money) string {
		if m == nil {
			return "-"
		}
		return m.String()
	}
	s := fmt.Sprintf("%-17s %-6s %s", d.Difference, d.Kind, d.Attempt)
	for _, number := range []string{d.TradeNo, d.Refund, d.Order} {
		if number != "" {
			s += " " + number
		}
	}
	s += fmt.Sprintf(": ours %s, theirs %s", amount(d.Ours), amount(d.Theirs))
	if d.Row > 0 {
		s += fmt.Sprintf(" (row %d)", d.Row)
	}
	if d.Note != "" {
		s += "; " + d.Note
	}
	return s
}

// Run implements the command.
func (c *ReconcileCmd) Run(ctx context.Context, t *terminal) error {
	if err := c.check(t.Err); err != nil {
		return fmt.Errorf("%w: reconcile: %w", errUnreadable, err)
	}
	out := bufio.NewWriter(t.Out)
	report := &differences{out: out, asJSON: c.JSON}
	err := c.compare(ctx, report)
	err = errors.Join(err, report.end(err))
	if err = errors.Join(err, out.Flush()); err != nil {
		return fmt.Errorf("%w: reconcile: %w", errUnreadable, err)
	}
	if report.count > 0 {
		return errFound
	}
	return nil
}

// differences prints differences as they are found: there may be as many as
// rows.
type differences struct {
	out    *bufio.Writer
	asJSON bool
	count  int
	// rows are those of the statement, entries those of the pay log that are of
	// its period or may be, and left those of them that may be of another one.
	rows, entries, left int
}

func (r *differences) add(d *difference) error {
	r.count++
	if !r.asJSON {
		_, err := fmt.Fprintln(r.out, d)
		return err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	before := ","
	if r.count == 1 {
		before = `{"differences":[`
	}
	_, err = fmt.Fprintf(r.out, "%s%s", before, text)
	return err
}

// end closes the report. After a failure there is no verdict: the differences
// found so far are whole all the same, and JSON stays JSON.
func (r *differences) end(failed error) error {
	switch {
	case failed != nil && (!r.asJSON || r.count == 0):
		return nil
	case failed != nil:
		_, err := fmt.Fprintf(r.out, `],"error":%s,"ok":false}`+"\n", api.Raw(failed.Error()))
		return err
	case r.asJSON:
		before := "]"
		if r.count == 0 {
			before = `{"differences":[]`
		}
		_, err := fmt.Fprintf(r.out, `%s,"count":%d,"statement_rows":%d,"log_rows":%d,`+
			`"left_out":%d,"ok":%t}`+"\n", before, r.count, r.rows, r.entries, r.left, r.count == 0)
		return err
	}
	verdict, left := "statement and pay log agree", ""
	if r.count > 0 {
		verdict = fmt.Sprintf("%d differences", r.count)
	}
	if r.left > 0 {
		left = fmt.Sprintf(", %d of them left out: they may be of another period", r.left)
	}
	_, err := fmt.Fprintf(r.out, "%s; %d rows in the statement, %d in the pay log%s\n", verdict,
		r.rows, r.entries, left)
	return err
}

// Limits of statements.
const (
	// maxStatementRows is the most rows of one statement.
	maxStatementRows = 10_000_000
	// maxStatementLine is more than the longest row, maxStatementField the
	// longest field, in bytes.
	maxStatementLine  = 4096
	maxStatementField = 255
	// maxBadRows is how many bad rows are named.
	maxBadRows = 100
)

// statementColumns are what a statement must have, in any order.
var statementColumns = []string{"kind", "out_trade_no", "trade_no", "out_request_no", "amount",
	"currency", "time"}

// movement is a row of a statement.
type movement struct {
	row                            int
	kind, attempt, tradeNo, refund string
	amount                         api.Money
	at                             api.Time
}

// eachMovement reads a statement from its file, a line at a time. A row that
// can't be read is given to bad, and reading goes on.
func (c *ReconcileCmd) eachMovement(take func(*movement) error, bad func(row int, err error) error,
) error {
	f, err := os.Open(c.Statement)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, err := unzip(f)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Statement, err)
	}
	lines := bufio.NewScanner(plain)
	lines.Buffer(make([]byte, 0, maxStatementLine), maxStatementLine)
	var at []int
	row := 0
	for lines.Scan() {
		if row++; row > maxStatementRows {
			return fmt.Errorf("%s has more than %d rows", c.Statement, maxStatementRows)
		}
		if row == 1 {
			if at, err = columnsOf(lines.Text()); err != nil {
				return fmt.Errorf("%s: header: %w", c.Statement, err)
			}
			continue
		}
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		m, err := readMovement(lines.Text(), at)
		if err != nil {
			err = bad(row, err)
		} else {
			m.row = row
			err = take(m)
		}
		if err != nil {
			return err
		}
	}
	return c.ended(lines.Err(), row)
}

// ended says what is wrong with a statement that ends after so many rows.
func (c *ReconcileCmd) ended(err error, row int) error {
	switch {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("%s: row %d is longer than %d bytes", c.Statement, row+1,
			maxStatementLine-1)
	case err != nil:
		return fmt.Errorf("%s: %w", c.Statement, err)
	case row == 0:
		return fmt.Errorf("%s is empty", c.Statement)
	}
	return nil
}

// fieldsOf splits a line of a CSV file. A field of a statement has no line
// break, so a quote that is not closed costs one row.
func fieldsOf(line string) ([]string, error) {
	fields, err := csv.NewReader(strings.NewReader(line)).Read()
	var broken *csv.ParseError
	if errors.As(err, &broken) {
		return nil, broken.Err
	}
	return fields, err
}

// columnsOf finds the places of statementColumns in a header; the number of its
// columns comes last.
func columnsOf(line string) ([]int, error) {
	header, err := fieldsOf(strings.TrimPrefix(line, "\ufeff"))
	if err != nil {
		return nil, err
	}
	at := make([]int, 0, len(statementColumns)+1)
	for _, name := range statementColumns {
		i := slices.Index(header, name)
		if i < 0 {
			return nil, fmt.Errorf("there is no column %q", name)
		}
		at = append(at, i)
	}
	return append(at, len(header)), nil
}

// readMovement reads a row strictly.
func readMovement(line string, at []int) (*movement, error) {
	fields, err := fieldsOf(line)
	if err != nil {
		return nil, err
	}
	if want := at[len(statementColumns)]; len(fields) != want {
		return nil, fmt.Errorf("it has %d fields, not %d", len(fields), want)
	}
	field := func(column int) string { return fields[at[column]] }
	for i, name := range statementColumns {
		if len(fields[at[i]]) > maxStatementField {
			return nil, fmt.Errorf("%s is longer than %d bytes", name, maxStatementField)
		}
	}
	m := &movement{kind: field(0), attempt: field(1), tradeNo: field(2), refund: field(3)}
	if err := m.check(); err != nil {
		return nil, err
	}
	if m.amount, err = readAmount(field(4), field(5)); err != nil {
		return nil, err
	}
	when, err := time.Parse(time.RFC3339, field(6))
	if err != nil || when.Year() < 1970 || when.Year() > 2261 {
		return nil, fmt.Errorf("time %q is not RFC 3339", field(6))
	}
	m.at = api.TimeOf(when)
	return m, nil
}

func (m *movement) check() error {
	switch {
	case m.kind != api.BookPay && m.kind != api.BookRefund:
		return fmt.Errorf("kind %q is neither %s nor %s", m.kind, api.BookPay, api.BookRefund)
	case m.tradeNo == "":
		return errors.New("there is no trade_no")
	case (m.refund != "") != (m.kind == api.BookRefund):
		return errors.New("out_request_no is for refunds, and needed for them")
	}
	return nil
}

func readAmount(text, currency string) (m api.Money, err error) {
	if checkCurrency(currency) != nil {
		return m, fmt.Errorf("currency %q is not three capital letters", currency)
	}
	if m, err = api.ParseMoney(text, currency); err != nil {
		return m, errors.New(api.AsError(err).Message)
	}
	if m.Amount <= 0 {
		return m, fmt.Errorf("amount %s is not above zero", m)
	}
	return m, nil
}

// check reads the whole statement before anything is compared, since a row that
// can't be read would make false differences, and names its bad rows.
func (c *ReconcileCmd) check(errs io.Writer) error {
	bad := 0
	err := c.eachMovement(func(*movement) error { return nil }, func(row int, err error) error {
		if bad++; bad > maxBadRows {
			return nil
		}
		_, werr := fmt.Fprintf(errs, "%s: row %d: %v\n", c.Statement, row, err)
		return werr
	})
	if err == nil && bad > 0 {
		err = fmt.Errorf("%s: %d rows can't be read", c.Statement, bad)
	}
	return err
}

// compare looks up each row of the statement in the log, whatever its time
// there, and then each row of the log among those found. Memory grows by a bit
// for each row of the log.
func (c *ReconcileCmd) compare(ctx context.Context, report *differences) (err error) {
	l, closeLog, err := openLedger(ctx, audit.File(c.Data, "payment"), c.Provider)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	p := period{from: math.MaxInt64, to: 0, margin: c.Margin, whole: c.Provider == api.PayAlipay}
	if err := c.eachMovement(func(m *movement) error {
		report.rows++
		p.from, p.to = min(p.from, m.at), max(p.to, m.at+1)
		d, err := l.look(ctx, m)
		if err == nil && d != nil {
			err = report.add(d)
		}
		return err
	}, func(row int, err error) error {
		return fmt.Errorf("%s changed meanwhile: row %d: %w", c.Statement, row, err)
	}); err != nil {
		return err
	}
	if report.rows == 0 {
		p.from, p.to = 0, math.MaxInt64
	}
	p.begins, p.ends = c.From != "", c.To != ""
	var err1, err2 error
	p.from, err1 = parseMoment("from", c.From, p.from)
	p.to, err2 = parseMoment("to", c.To, p.to)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return l.rest(ctx, p, report)
}
