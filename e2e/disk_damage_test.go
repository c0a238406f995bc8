package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"

	"ordo/api"
	"ordo/bus"
)

// ACCEPT S7 M11
// A page of an actor's file was overwritten. The start notices it, the audit
// too; that actor stays down alone and readiness names it, while the others
// serve. With the file put right it comes back by itself, and what waited for
// it goes on.
func TestDamagedFile(t *testing.T) {
	t.Parallel()
	data, addr := t.TempDir(), crashFreeAddr(t)
	run := func() *process { return serve(t, data, "--http", addr, "--pay-query", "1s") }
	p := run().ready()
	s := p.shopper()
	sku := p.onSale(1000, 10)
	if code := p.stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	path := filepath.Join(data, "actors", "shipping.db")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := append([]byte(nil), good...)
	page := soakPage(newSoakRand(t).IntN(len(bad)/4096), bad)
	t.Logf("page %d of %d is overwritten", page, len(bad)/4096)
	replace(t, path, bad)
	out, err := exec.Command(binary, "audit", "--data", data).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "shipping.db is damaged") {
		t.Errorf("audit: %v %s", err, out)
	}
	p = run()
	waiting := aloneDown(p, s, sku, "damaged")
	replace(t, path, good)
	p.ready()
	p.fulfilled(waiting)
	eventually(t, "the audit has the actor too", func() bool {
		status, said, err := p.as("").call("GET", "/readyz", nil)
		return err == nil && status == 200 && strings.Contains(string(said), `"left_out":[]`)
	})
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	auditClean(t, data)
}

// soakPage overwrites a page.
func soakPage(page int, file []byte) int {
	for i := range 4096 {
		file[page*4096+i] ^= 0xff
	}
	return page + 1
}

// replace puts another file in the place of one, with its rights.
func replace(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// aloneDown checks a shop in which the shipping actor is down, and answers an
// order that is paid and waits for it.
func aloneDown(p *process, s *shopper, sku, why string) (waiting string) {
	t := p.t
	t.Helper()
	s.url, s.p = p.url, p
	eventually(t, "all others are ready", func() bool {
		said := p.readiness()
		return strings.Contains(said, `"actor":"shipping","ready":false`) &&
			strings.Contains(said, why) && strings.Count(said, `"ready":false`) == 1
	})
	eventually(t, "sessions are known", func() bool {
		status, _, err := s.call("GET", "/v1/me", nil)
		return err == nil && status == http.StatusOK
	})
	o := s.buy(sku, 1)
	s.pays(p.till(), o.ID)
	s.problem("GET", "/v1/orders/"+o.ID+"/shipment", nil, 503, api.CodeUnavailable)
	if state := p.steps(o.ID)["shipping.create"]; state != api.StepAsked {
		t.Errorf("the shipment is %q", state)
	}
	return o.ID
}

// ACCEPT S7
// An actor's file is read-only: that actor stays down alone, and comes back
// when it may be written.
func TestReadOnlyFile(t *testing.T) {
	t.Parallel()
	data, addr := t.TempDir(), crashFreeAddr(t)
	args := []string{"--http", addr, "--pay-query", "1s"}
	p := serve(t, data, args...).ready()
	s := p.shopper()
	sku := p.onSale(1000, 10)
	if code := p.stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	path := filepath.Join(data, "actors", "shipping.db")
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	p = &process{t: t, log: &logBuffer{}, done: make(chan struct{}), args: args}
	p.cmd = exec.Command(binary, serveArgs(t, data, args)...)
	if os.Getuid() == 0 { // to whom rights are nothing
		p.cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, Size: 1}},
		}
	}
	p.run()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("ordo:\n%s", p.log.tail(60))
		}
	})
	p.serving()
	waiting := aloneDown(p, s, sku, "readonly")
	// The write-ahead log has the rights that the file had.
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if err := os.Chmod(file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.ready()
	p.fulfilled(waiting)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	auditClean(t, data)
}

// ACCEPT M5 S8
// Messages that no actor can handle come in under a load. Each is put aside
// after its tries, with its error; the others go on. Support looks, retries one
// and dismisses all.
func TestDeadLettersUnderLoad(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := crashServe(t, crashFreeAddr(t), data)
	l := newCrashLoad(t, p.url)
	l.begin()
	nc := p.connect()
	actors := []string{"goods", "wallet", "order"}
	for i, actor := range actors {
		l.grow(data, 20)
		for _, m := range []struct{ verb, body string }{
			{"reserve", `["order"]`}, {"no-such-verb", `{}`}, {api.VerbOutcome, `[1,2]`},
		} {
			// The names of messages between actors, of a sender that is none.
			err := nc.PublishMsg(&nats.Msg{Subject: bus.MailboxSubject(actor, m.verb),
				Header: nats.Header{"Nats-Msg-Id": {fmt.Sprintf("poison-%d-%s", i, m.verb)}},
				Data:   []byte(m.body)})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	letters := func(actor, state string) (all []api.Letter) {
		return pages[api.Letter](p.admin(), "/admin/v1/dead?actor="+actor+"&state="+state)
	}
	for _, actor := range actors {
		eventually(t, actor+" has put three aside", func() bool {
			return len(letters(actor, "open")) == 3
		})
		for i, letter := range letters(actor, "open") {
			if letter.Attempts != 5 || letter.Error == "" || !strings.HasPrefix(letter.ID, "poison-") {
				t.Errorf("letter %+v", letter)
			}
			path, why := fmt.Sprintf("/admin/v1/dead/%s/%d/", actor, letter.N),
				map[string]string{"reason": "a test"}
			if i == 0 {
				status, body, err := p.admin().call("POST", path+"retry", why)
				if err != nil || status/100 != 2 {
					t.Errorf("retry: %d %v %s", status, err, body)
				}
				eventually(t, "tried again", func() bool {
					return letters(actor, "open")[0].Attempts == 10
				})
			}
			p.admin().must("POST", path+"dismiss", why, nil)
		}
		if n := len(letters(actor, "open")); n != 0 {
			t.Errorf("%s has %d open letters", actor, n)
		}
	}
	if status, _, err := p.as("").call("GET", "/readyz", nil); err != nil || status != http.StatusOK {
		t.Errorf("readiness: %d %v", status, err)
	}
	l.grow(data, 20)
	l.halt()
	l.end()
	l.settled(data)
}
