package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ordo/actors/audit"
	"ordo/api"
)

// statementOf is what the sandbox in a data directory says.
func statementOf(t *testing.T, dir string) []string {
	t.Helper()
	g := openSandbox(t, dir)
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "http://127.0.0.1/statement.csv", nil)
	r.RemoteAddr = "127.0.0.1:1"
	g.ServeHTTP(w, r)
	if err := g.Close(); err != nil || w.Code != 200 {
		t.Fatalf("%v: %d %s", err, w.Code, w.Body)
	}
	return strings.Split(strings.TrimSpace(w.Body.String()), "\n")
}

// reconciled runs the command with a statement of these lines.
func reconciled(t *testing.T, dir string, lines []string, flags ...string) (int, string, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "statement.csv")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := run(append([]string{"reconcile", "--data", dir, "--statement", file}, flags...), &out,
		&errs)
	return code, out.String(), errs.String()
}

// row is the number of the statement's line that has all texts, from 0.
func row(t *testing.T, lines []string, texts ...string) int {
	t.Helper()
	for i, line := range lines {
		found := true
		for _, text := range texts {
			found = found && strings.Contains(line, text)
		}
		if found {
			return i
		}
	}
	t.Fatalf("no line has %v", texts)
	return 0
}

// ACCEPT Y8 Y5
func TestReconcile(t *testing.T) {
	dir, orders := moneyBooks(t)
	said := statementOf(t, dir)
	code, out, errs := reconciled(t, dir, said)
	if code != exitOK || errs != "" || !strings.Contains(out, "agree") ||
		!strings.Contains(out, fmt.Sprintf("; %d rows in the statement, %[1]d in", len(said)-1)) {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	part, refund := attemptID(orders["part"], 0), "refund,"+attemptID(orders["overdue"], 0)
	for _, test := range []struct {
		name, want string
		order      string
		change     func(lines []string) []string
	}{
		{"missing with them", missingWithThem, "part", func(lines []string) []string {
			at := row(t, lines, "pay,"+part)
			return append(lines[:at:at], lines[at+1:]...)
		}},
		{"refund missing with them", missingWithThem, "overdue", func(lines []string) []string {
			at := row(t, lines, refund)
			return append(lines[:at:at], lines[at+1:]...)
		}},
		{"missing with us", missingWithUs, "placed", func(lines []string) []string {
			return append(lines, "pay,x,2026010122001400999999999999,,1.00,GBP,2026-01-01T00:00:00Z")
		}},
		{"refund missing with us", missingWithUs, "part", func(lines []string) []string {
			return append(lines, "refund,"+part+",1,rfd_x,1.00,GBP,2026-01-01T00:00:00Z")
		}},
		{"twice", missingWithUs, "part", func(lines []string) []string {
			return append(lines, lines[row(t, lines, "pay,"+part)])
		}},
		{"other amount", otherAmount, "part", func(lines []string) []string {
			at := row(t, lines, "pay,"+part)
			lines[at] = strings.Replace(lines[at], "25.00", "25.01", 1)
			return lines
		}},
		{"other currency", otherAmount, "overdue", func(lines []string) []string {
			at := row(t, lines, refund)
			lines[at] = strings.Replace(lines[at], "GBP", "EUR", 1)
			return lines
		}},
		{"other trade", otherTrade, "part", func(lines []string) []string {
			at := row(t, lines, "pay,"+part)
			lines[at] = strings.Replace(lines[at], part, "pay_x", 1)
			return lines
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			lines := test.change(append([]string{}, said...))
			code, out, errs := reconciled(t, dir, lines, "--margin", "0s")
			if code != exitFailed || errs != "" || strings.Count(out, "\n") != 2 ||
				!strings.HasPrefix(out, test.want) || !strings.Contains(out, "\n1 differences;") {
				t.Errorf("exit %d: %s%s", code, out, errs)
			}
			code, out, errs = reconciled(t, dir, lines, "--margin", "0s", "--json")
			var r struct {
				Differences []difference `json:"differences"`
				Count       int          `json:"count"`
				OK          bool         `json:"ok"`
			}
			if err := json.Unmarshal([]byte(out), &r); code != exitFailed || err != nil || r.OK ||
				r.Count != 1 || len(r.Differences) != 1 || r.Differences[0].Difference != test.want ||
				r.Differences[0].Order != "" && r.Differences[0].Order != orders[test.order] {
				t.Errorf("exit %d: %v: %s%s", code, err, out, errs)
			}
		})
	}
}

// Everything that the two do not agree on is listed, also when it is all.
func TestReconcileListsEveryDifference(t *testing.T) {
	dir, _ := moneyBooks(t)
	said := statementOf(t, dir)
	code, out, _ := reconciled(t, dir, said[:1])
	if n := strings.Count(out, missingWithThem); code != exitFailed || n != len(said)-1 {
		t.Errorf("exit %d, %d differences of %d: %s", code, n, len(said)-1, out)
	}
	change(t, audit.File(dir, "payment"), `DROP TRIGGER log_stays_whole; DELETE FROM log`)
	code, out, _ = reconciled(t, dir, said)
	if n := strings.Count(out, missingWithUs); code != exitFailed || n != len(said)-1 ||
		!strings.Contains(out, "the attempt is paid") || !strings.Contains(out, "the refund is done") {
		t.Errorf("exit %d, %d differences of %d: %s", code, n, len(said)-1, out)
	}
	if code, out, _ = reconciled(t, dir, said[:1], "--json"); code != exitOK ||
		!strings.HasPrefix(out, `{"differences":[],"count":0,`) {
		t.Errorf("exit %d: %s", code, out)
	}
}

// Rows at the ends of a period are left out where the other day's statement may
// have them, and a row that no other one can have is missing. The statement has
// all rows but the log's first refund, which was written down at a time.
func TestReconcileAtTheEnds(t *testing.T) {
	dir, _ := moneyBooks(t)
	said := statementOf(t, dir)
	at := row(t, said, "refund,")
	lines := append(said[:at:at], said[at+1:]...)
	request := strings.Split(said[at], ",")[3]
	for i := range lines[1:] { // the gateway's day is long
		fields := strings.Split(lines[i+1], ",")
		fields[6] = fmt.Sprintf("2026-01-01T%02d:00:00Z", i%24)
		lines[i+1] = strings.Join(fields, ",")
	}
	day := []string{"--from", "2026-01-01", "--to", "2026-01-02"}
	for _, test := range []struct {
		at, want string
		flags    []string
	}{
		// By the shop's clock, which has nanoseconds.
		{"2026-01-01T12:00:00.000000001Z", missingWithThem, nil},
		{"2026-01-01T12:00:00.000000001Z", missingWithThem, day},
		{"2026-01-01T00:10:00.000000001Z", "1 of them left out", nil},
		{"2026-01-01T00:10:00.000000001Z", "1 of them left out", day},
		{"2026-01-01T00:10:00.000000001Z", missingWithThem, append(day, "--margin", "5m")},
		{"2026-01-01T23:50:00.000000001Z", "1 of them left out", day},
		{"2026-01-02T00:10:00.000000001Z", "1 of them left out", day},
		{"2026-01-02T00:10:00.000000001Z", "in the pay log\n", append(day, "--margin", "5m")},
		{"2026-01-02T02:00:00.000000001Z", "in the pay log\n", day},
		{"2026-01-03T00:00:00.000000001Z", "1 of them left out", nil}, // after it was written
		// By the gateway's own.
		{"2026-01-01T00:10:00Z", missingWithThem, nil},
		{"2026-01-01T00:00:00Z", missingWithThem, day},
		{"2026-01-01T23:59:59Z", missingWithThem, day},
		{"2026-01-02T00:00:00Z", "in the pay log\n", day},
		{"2026-01-02T00:00:00Z", "1 of them left out", nil},
		{"2026-01-02T00:00:00Z", "1 of them left out", day[:2]},
		{"2025-12-31T23:59:59Z", "in the pay log\n", day},
	} {
		when, err := time.Parse(time.RFC3339, test.at)
		if err != nil {
			t.Fatal(err)
		}
		change(t, audit.File(dir, "payment"), fmt.Sprintf(`DROP TRIGGER IF EXISTS log_stays_true;
			UPDATE log SET at = %d WHERE refund = '%s'`, when.UnixNano(), request))
		code, out, errs := reconciled(t, dir, lines, test.flags...)
		if (code == exitFailed) != (test.want == missingWithThem) || errs != "" ||
			!strings.Contains(out, test.want) || code == exitOK && strings.Contains(out, "_with_") {
			t.Errorf("%s %v: exit %d: %s%s", test.at, test.flags, code, out, errs)
		}
	}
}

// What was booked while the statement was being written is no difference.
func TestReconcileWhileTheShopRuns(t *testing.T) {
	dir, _ := moneyBooks(t)
	said := statementOf(t, dir)
	code, out, errs := reconciled(t, dir, said[:len(said)-2])
	if code != exitOK || errs != "" || !strings.Contains(out, "2 of them left out") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// JSON that a fault cuts short is JSON all the same, or nothing.
func TestReconcileJSONAfterAFault(t *testing.T) {
	dir, _ := moneyBooks(t)
	said := statementOf(t, dir)
	change(t, audit.File(dir, "payment"), `PRAGMA foreign_keys = off; DROP TABLE attempt`)
	gone := "pay,x,2026010122001400999999999999,,1.00,GBP,2026-01-01T00:00:00Z"
	code, out, errs := reconciled(t, dir, append(said[:len(said):len(said)], gone), "--json")
	if code != exitUsage || out != "" || !strings.Contains(errs, "attempt") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	said[1] = strings.Replace(said[1], "GBP", "EUR", 1)
	code, out, errs = reconciled(t, dir, append(said, gone), "--json")
	var r struct {
		Differences []difference `json:"differences"`
		Error       string       `json:"error"`
		OK          *bool        `json:"ok"`
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitUsage || r.OK == nil ||
		*r.OK || len(r.Differences) != 1 || !strings.Contains(r.Error, "attempt") ||
		!strings.Contains(errs, "attempt") {
		t.Errorf("exit %d: %v: %s%s", code, err, out, errs)
	}
}

// A statement of a day is compared with the log of that day.
func TestReconcileADay(t *testing.T) {
	dir, _ := moneyBooks(t)
	said := statementOf(t, dir)
	for _, test := range []struct {
		flags []string
		code  int
	}{
		{[]string{"--from", "2026-01-02"}, exitOK},
		{[]string{"--to", "2026-01-01T12:00:00Z"}, exitOK},
		{[]string{"--from", "2026-01-01", "--to", "2026-01-02"}, exitFailed},
		{[]string{"--provider", "stripe"}, exitOK},
		{[]string{"--from", "yesterday"}, exitUsage},
		{[]string{"--from", "2026-01-02", "--to", "2026-01-02"}, exitUsage},
		{[]string{"--margin", "-1s"}, exitUsage},
		{[]string{"--margin", "169h"}, exitUsage},
		{[]string{"--provider", "nobody"}, exitUsage},
	} {
		if code, out, errs := reconciled(t, dir, said[:1], test.flags...); code != test.code {
			t.Errorf("%v: exit %d: %s%s", test.flags, code, out, errs)
		}
	}
}

// What can't be read is named with its row, and nothing is compared.
func TestReconcileRefusesBadStatements(t *testing.T) {
	dir, _ := moneyBooks(t)
	const header = "kind,out_trade_no,trade_no,out_request_no,amount,currency,time"
	good := "pay,pay_1,t1,,1.00,GBP,2026-01-01T00:00:00Z"
	for _, bad := range []string{
		"gift,pay_1,t1,,1.00,GBP,2026-01-01T00:00:00Z", "pay,pay_1,,,1.00,GBP,2026-01-01T00:00:00Z",
		"pay,pay_1,t1,r,1.00,GBP,2026-01-01T00:00:00Z", "refund,p,t1,,1.00,GBP,2026-01-01T00:00:00Z",
		"pay,pay_1,t1,,1.005,GBP,2026-01-01T00:00:00Z", "pay,pay_1,t1,,-1.00,GBP,2026-01-01T00:00:00Z",
		"pay,pay_1,t1,,0.00,GBP,2026-01-01T00:00:00Z", "pay,pay_1,t1,,1e3,GBP,2026-01-01T00:00:00Z",
		"pay,pay_1,t1,,1.00,pounds,2026-01-01T00:00:00Z", "pay,pay_1,t1,,1.00,GBP,yesterday",
		"pay,pay_1,t1,,1.00,GBP", `pay,"pay_1,t1,,1.00,GBP,2026-01-01T00:00:00Z`,
		"pay,pay_1," + strings.Repeat("9", 300) + ",,1.00,GBP,2026-01-01T00:00:00Z",
	} {
		code, out, errs := reconciled(t, dir, []string{header, good, bad, good, bad})
		if code != exitUsage || out != "" || !strings.Contains(errs, "statement.csv: row 3: ") ||
			!strings.Contains(errs, "statement.csv: row 5: ") || strings.Contains(errs, "row 4") ||
			!strings.Contains(errs, "2 rows can't be read") {
			t.Errorf("%s: exit %d: %s%s", bad, code, out, errs)
		}
	}
	many := append([]string{header}, strings.Split(strings.Repeat("bad\n", 500), "\n")...)
	if code, _, errs := reconciled(t, dir, many); code != exitUsage ||
		strings.Count(errs, ": row ") != maxBadRows || !strings.Contains(errs, "500 rows") {
		t.Errorf("many bad rows: exit %d: %s", code, errs)
	}
	for _, lines := range [][]string{{""}, {"kind,amount"}, {`"kind`},
		{header, strings.Repeat("x", 5000)}, {"\x1f\x8bbroken"}} {
		if code, out, errs := reconciled(t, dir, lines); code != exitUsage || out != "" || errs == "" {
			t.Errorf("%.40q: exit %d: %s%s", lines, code, out, errs)
		}
	}
	lines := []string{"\ufeff" + header, ""}
	if code, _, errs := reconciled(t, dir, lines); code != exitFailed {
		t.Errorf("a byte order mark and an empty line: exit %d: %s", code, errs)
	}
	if code, _, errs := reconciled(t, t.TempDir(), lines); code != exitUsage ||
		!strings.Contains(errs, "payment.db") {
		t.Errorf("no pay log: exit %d: %s", code, errs)
	}
	if err := os.WriteFile(audit.File(dir, "payment"), []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := reconciled(t, dir, lines); code != exitUsage {
		t.Errorf("a damaged pay log: exit %d: %s", code, errs)
	}
	var out, errs bytes.Buffer
	if code := run([]string{"reconcile", "--data", dir}, &out, &errs); code != exitUsage {
		t.Errorf("no statement: exit %d", code)
	}
}

// FuzzReadMovement: a row is a movement with an amount, or an error.
func FuzzReadMovement(f *testing.F) {
	f.Add("pay,pay_1,t1,,1.00,GBP,2026-01-01T00:00:00Z")
	f.Add(`refund,"a","b",c,0.01,GBP,2026-01-01T00:00:00.5+08:00`)
	at, err := columnsOf(strings.Join(statementColumns, ","))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, line string) {
		m, err := readMovement(line, at)
		if err == nil && (m.amount.Amount <= 0 || m.amount.Amount > api.MaxAmount ||
			m.tradeNo == "" || (m.refund == "") != (m.kind == api.BookPay)) {
			t.Errorf("%q: %+v", line, m)
		}
	})
}
