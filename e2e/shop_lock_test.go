package e2e

import (
	"strings"
	"testing"
	"time"
)

// A second server on a data directory that is in use is refused before it
// touches anything: sessions in JetStream survive it. One who exists already
// is not given another role. ACCEPT M6 U4
func TestDataDirectoryIsOnePlace(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data).ready()
	users := func(role string) (token string) {
		var made struct {
			Items []struct{ ID, Token string }
		}
		p.admin().must("POST", "/admin/v1/users", map[string]any{"users": []map[string]string{
			{"email": "sue@example.com", "name": "Sue", "role": role}}}, &made)
		return made.Items[0].Token
	}
	token := users("support")
	q := start(t, "serve", "--data", data, "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0")
	if code := q.wait(30 * time.Second); code != 1 || !strings.Contains(q.log.String(), "held by") {
		t.Errorf("the second server ended with %d:\n%s", code, q.log)
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	p = serve(t, data).ready()
	var me struct{ Role string }
	p.as(token).must("GET", "/v1/me", nil, &me)
	if me.Role != "support" {
		t.Errorf("role %q", me.Role)
	}
	promoted := p.as(users("admin"))
	status, body, err := promoted.call("POST", "/admin/v1/stock/adjust",
		map[string]any{"sku": "x", "difference": 1, "reason": "count"})
	if err != nil || status != 403 {
		t.Errorf("support adjusted stock: %d %s %v", status, body, err)
	}
}
