package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ordo/api"
	"ordo/cmd/ordo/sample"
)

// ACCEPT M4 M11 Y4 Y6
// The shop is killed several times under a replay of real orders that are paid;
// the replay goes on each time, and the books hold.
func TestCrashUnderReplay(t *testing.T) {
	t.Parallel()
	data, addr := t.TempDir(), crashFreeAddr(t)
	// What a notice did not bring is asked for soon.
	soon := []string{"--pay-query", "1s", "--sandbox-factor", "1000"}
	p := crashServe(t, addr, data, soon...)
	replay := crashReplay(t, p.url)
	db := crashDB(t, data, "order")
	for _, kill := range []int{1, 30, 60, 90} {
		eventually(t, "orders", func() bool {
			return crashCount(t, db, `SELECT count(*) FROM orders`) >= kill
		})
		select {
		case <-replay.done:
			t.Fatalf("the replay was over before %d orders:\n%s", kill, replay.log)
		default:
		}
		p.kill()
		p = crashServe(t, addr, data, soon...)
	}
	if code := replay.wait(time.Minute); code != 0 {
		t.Fatalf("replay: exit code %d\n%s", code, replay.log)
	}
	line, ok := replay.log.find(`{"orders":`)
	if !ok {
		t.Fatalf("replay printed no result:\n%s", replay.log)
	}
	var said struct {
		Orders struct{ Offered, Placed, Paid, Refused, Skipped int }
	}
	if err := json.Unmarshal([]byte(line), &said); err != nil {
		t.Fatal(err)
	}
	t.Log(line)
	// There is just stock enough, so an invoice bought twice would have another
	// one refused.
	o := said.Orders
	if o.Offered < 120 || o.Paid+o.Skipped != o.Offered {
		t.Errorf("not every invoice was paid: %+v", o)
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	a, text := crashAuditOf(t, data)
	if !a.OK || len(a.Warnings) > 0 || a.Orders[api.OrderPending] > 0 {
		t.Errorf("audit: %s", text)
	}
	// Every invoice became one order, whoever was killed when.
	if len(a.Orders) != 1 || a.Orders[api.OrderPaid] != o.Paid {
		t.Errorf("the shop has %v, the replay says %+v", a.Orders, o)
	}
}

// crashReplay starts a replay of the sample against a shop.
func crashReplay(t *testing.T, url string) *process {
	t.Helper()
	dir := t.TempDir()
	orders, catalog := filepath.Join(dir, "orders.csv.gz"), filepath.Join(dir, "catalog.csv.gz")
	for path, text := range map[string][]byte{orders: sample.OrdersWeek, catalog: sample.CatalogWeek} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return start(t, "replay", "--json", "--orders", orders, "--catalog", catalog, "--server", url,
		"--admin-token", adminToken, "--concurrency", "4", "--stock-factor", "1.0", "--limit", "120")
}
