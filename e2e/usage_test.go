package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ordo/api"
)

// fetch gets a page, with status 0 while nobody answers.
func fetch(url string) (status int, body string) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(data)
}

// ACCEPT P4
// The profiler has an address of its own, and the API does not serve it. What
// would tell the command line, which may hold secrets, is not there.
func TestProfiler(t *testing.T) {
	t.Parallel()
	addr := crashFreeAddr(t)
	p := serve(t, t.TempDir(), "--pprof", addr).ready()
	for path, want := range map[string]string{"/": "goroutine", "/goroutine?debug=1": "ordo/actors",
		"/heap?debug=1": "heap profile", "/profile?seconds=1": "", "/trace?seconds=1": ""} {
		status, body := fetch("http://" + addr + "/debug/pprof" + path)
		if status != http.StatusOK || body == "" || !strings.Contains(body, want) {
			t.Errorf("%s: status %d: %.200s", path, status, body)
		}
	}
	for _, url := range []string{p.url + "/debug/pprof/", "http://" + addr + "/debug/pprof/cmdline",
		"http://" + addr + "/v1/products"} {
		if status, _ := fetch(url); status != http.StatusNotFound {
			t.Errorf("%s: status %d", url, status)
		}
	}
}

// ACCEPT M6 P1
// A process that is started before its NATS waits for it.
func TestStartWaitsForNATS(t *testing.T) {
	t.Parallel()
	n, addr := newCrashNATS(t), crashFreeAddr(t)
	n.end(false)
	p := start(t, "--log-format", "json", "serve", "--data", t.TempDir(), "--http", addr, "--nats",
		n.url, "--admin-token", adminToken)
	p.url = "http://" + addr
	eventually(t, "waiting for NATS", func() bool {
		_, ok := p.log.find(`"waiting for NATS"`)
		return ok
	})
	n.start()
	if sku := p.ready().sku(p.onSale(100, 7)); sku.Stock != 7 {
		t.Errorf("stock: %+v", sku)
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// While it drains, a shop says that it is not ready and serves on, on new
// connections as well. A second signal ends it at once.
func TestDrain(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--drain", "1h").ready()
	terminate := func() {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	terminate()
	eventually(t, "not ready", func() bool {
		status, _ := fetch(p.url + "/readyz")
		return status == http.StatusServiceUnavailable
	})
	http.DefaultClient.CloseIdleConnections()
	if status, body := fetch(p.url + "/livez"); status != http.StatusOK {
		t.Errorf("livez: %d %s", status, body)
	}
	if o := p.shopper().buy(p.onSale(100, 1), 1); o.State != api.OrderPlaced {
		t.Errorf("order is %s", o.State)
	}
	terminate()
	if code := p.wait(30 * time.Second); code != 130 {
		t.Errorf("exit code %d", code)
	}
	q := serve(t, t.TempDir(), "--drain", "100ms")
	if code := q.stop(); code != 0 {
		t.Errorf("after the drain: exit code %d", code)
	}
}

// ACCEPT S9
// The end of a shop answers those who wait for an order's next state, well
// before their time is over.
func TestEndAnswersLongPolls(t *testing.T) {
	t.Parallel()
	addr := crashFreeAddr(t)
	p := serve(t, t.TempDir(), "--pprof", addr).ready()
	s := p.shopper()
	o := s.buy(p.onSale(100, 1), 1)
	type answer struct {
		status int
		data   []byte
		err    error
	}
	const polls = 3
	answers := make(chan answer, polls)
	for range polls {
		go func() {
			var a answer
			a.status, a.data, a.err = s.call("GET", "/v1/orders/"+o.ID+"?wait=10s&known=placed", nil)
			answers <- a
		}()
	}
	eventually(t, "long-polls at the shop", func() bool {
		_, stacks := fetch("http://" + addr + "/debug/pprof/goroutine?debug=2")
		return strings.Count(stacks, "rest.(*Server).await(") == polls
	})
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(8 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for range polls {
		a := <-answers
		if a.err != nil || a.status != http.StatusOK ||
			decode[api.Order](t, a.data).State != api.OrderPlaced {
			t.Errorf("%d %v %s", a.status, a.err, a.data)
		}
	}
}

// runWith runs a command with a directory of its own for temporary files, and
// answers what it prints. It must end well and leave no file.
func runWith(t *testing.T, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("ordo %v: %v\n%s", args, err, &errs)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("ordo %v left %v %v", args, left, err)
	}
	return string(out)
}

// Each number of clients is a row, and all orders are placed.
func TestBench(t *testing.T) {
	for _, extra := range [][]string{{"--mode", "order"}, {"--hot"}} {
		out := runWith(t, append([]string{"bench", "--orders", "20", "--concurrency", "1,4",
			"--json"}, extra...)...)
		var clients []int
		for line := range strings.Lines(out) {
			var row struct {
				Mode            string
				Clients, Orders int
				Errors          int
				Rate            float64 `json:"orders_per_s"`
			}
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			if row.Orders != 20 || row.Errors != 0 || row.Rate <= 0 ||
				!strings.Contains(row.Mode, strings.TrimLeft(extra[len(extra)-1], "-")) {
				t.Errorf("row %s", line)
			}
			clients = append(clients, row.Clients)
		}
		if len(clients) != 2 || clients[0] != 1 || clients[1] != 4 {
			t.Errorf("clients %v:\n%s", clients, out)
		}
	}
}

// The demo fills a shop, says what it did and ends.
func TestDemoOnce(t *testing.T) {
	t.Parallel()
	out := runWith(t, "demo", "--once")
	for _, want := range []string{"ordo demo, ready after", " orders offered: ", " placed, ",
		"ada@example.com, grace@example.com (password "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if strings.Contains(out, " 0 placed") || strings.Contains(out, "adm_") {
		t.Errorf("%s", out)
	}
}

// A part of the shop is audited only when that is asked for.
func TestAuditOfAPart(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data, "--only", "goods", "--no-api")
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"audit", "--data", data}, 1, "order.db is missing"},
		{[]string{"audit", "--data", data, "--partial"}, 0, "all adds up"},
	} {
		p := start(t, test.args...)
		if code := p.wait(time.Minute); code != test.code ||
			!strings.Contains(p.log.String(), test.want) {
			t.Errorf("%v: exit code %d: %s", test.args, code, p.log)
		}
	}
}
