package e2e

import (
	"database/sql"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ordo/api"
)

// ACCEPT M5: a message that can't be handled is put aside after its tries, and
// others go on; support sees it, has it tried again when the cause is mended,
// and dismisses another one.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data).ready()
	var made struct {
		Users []struct{ ID string } `json:"items"`
	}
	p.admin().must("POST", "/admin/v1/users", map[string]any{"users": []map[string]any{
		{"email": "ann@example.com"}}}, &made)
	issue := func(name string) (int, []byte) {
		status, body, err := p.admin().call("POST", "/admin/v1/coupons", map[string]any{
			"coupons": []map[string]any{{"user": made.Users[0].ID, "name": name,
				"amount":     map[string]any{"amount": 5, "currency": "GBP"},
				"valid_from": "2026-01-01T00:00:00Z", "valid_until": "2036-01-01T00:00:00Z"}}})
		if err != nil {
			t.Fatal(err)
		}
		return status, body
	}
	// A fault of the program, as it were: a rule that the handler does not know.
	rule(t, data, `CREATE TRIGGER broken BEFORE INSERT ON coupon WHEN new.name LIKE 'bad%'
		BEGIN SELECT RAISE(ABORT, 'broken as planned'); END`)
	for _, name := range []string{"bad 1", "bad 2"} {
		if status, body := issue(name); status != 500 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if status, body := issue("good"); status != 201 {
		t.Errorf("others do not go on: %d %s", status, body)
	}
	if code, out := p.dead("ls"); code != 0 || strings.Count(out, "broken as planned") != 2 ||
		!strings.Contains(out, "coupon  2  open") {
		t.Errorf("ls: exit %d: %s", code, out)
	}
	if code, out := p.dead("show", "coupon", "1"); code != 0 || !strings.Contains(out, "bad 1") ||
		!strings.Contains(out, "tries     5") {
		t.Errorf("show: exit %d: %s", code, out)
	}
	if code, out := p.dead("retry", "coupon", "1", "--reason", "hope"); code != 1 ||
		!strings.Contains(out, "failed again") {
		t.Errorf("retry too early: exit %d: %s", code, out)
	}
	rule(t, data, `DROP TRIGGER broken`)
	if code, out := p.dead("retry", "coupon", "1", "--reason", "mended"); code != 0 ||
		!strings.Contains(out, "handled") {
		t.Errorf("retry: exit %d: %s", code, out)
	}
	if code, out := p.dead("dismiss", "coupon", "2", "--reason", "given by hand"); code != 0 {
		t.Errorf("dismiss: exit %d: %s", code, out)
	}
	for _, args := range [][]string{{"retry", "coupon", "1"}, {"dismiss", "coupon", "2"},
		{"retry", "coupon", "9"}, {"retry", "nobody", "1"}} {
		if code, out := p.dead(append(args, "--reason", "again")...); code != 1 ||
			!strings.Contains(out, string(api.CodeNotFound)) {
			t.Errorf("%v: exit %d: %s", args, code, out)
		}
	}
	if code, out := p.dead("show", "coupon", "2"); code != 0 ||
		!strings.Contains(out, "last by   admin") || !strings.Contains(out, "given by hand") {
		t.Errorf("show: exit %d: %s", code, out)
	}
	if code, out := p.dead("ls"); code != 0 || out != "no dead letters\n" {
		t.Errorf("ls: exit %d: %s", code, out)
	}
	if line, ok := p.log.find(`"msg":"dead letter dismiss"`); !ok ||
		!strings.Contains(line, `"by":"admin"`) || !strings.Contains(line, "given by hand") {
		t.Errorf("log line %q", line)
	}
	if n := count(t, data, `SELECT count(*) FROM coupon WHERE name IN ('bad 1', 'good')`); n != 2 {
		t.Errorf("%d coupons, want the one retried and the good one", n)
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	audit(t, data)
}

// dead runs `ordo dead` against the shop.
func (p *process) dead(args ...string) (code int, out string) {
	p.t.Helper()
	cmd := exec.Command(binary, append(append([]string{"dead"}, args...), "--server", p.url,
		"--admin-token", adminToken)...)
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		p.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

func fileOf(t *testing.T, data, actor string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(filepath.Join(data, "actors", actor+".db"))+
		"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// rule changes what the coupon actor's file allows, while the actor runs.
func rule(t *testing.T, data, statement string) {
	t.Helper()
	ruleOf(t, data, "coupon", statement)
}

func ruleOf(t *testing.T, data, actor, statement string) {
	t.Helper()
	if _, err := fileOf(t, data, actor).Exec(statement); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, data, query string) (n int) {
	t.Helper()
	if err := fileOf(t, data, "coupon").QueryRow(query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
