package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ordo/api"
	"ordo/bus"
)

// ACCEPT M6 S7
// Each actor is a process of its own with its own data directory, and so is
// the API. Each is killed once under load and started again. Nothing is lost,
// nothing twice, and the books hold over all directories.
func TestCrashEachActorItsOwnProcess(t *testing.T) {
	t.Parallel()
	n, root := newCrashNATS(t), t.TempDir()
	dir := func(name string) string { return filepath.Join(root, name) }
	actor := func(name string) *process {
		return serve(t, dir(name), "--nats", n.url, "--only", name, "--no-api")
	}
	processes, dirs := map[string]*process{}, []string{}
	for _, name := range bus.ActorNames() {
		processes[name] = actor(name)
		dirs = append(dirs, dir(name))
	}
	addr := crashFreeAddr(t)
	edge := crashServe(t, addr, dir("api"), "--nats", n.url, "--only", "none")
	l := newCrashLoad(t, edge.url)
	l.begin()
	for _, name := range bus.ActorNames() {
		l.grow(dir("order"), 20)
		processes[name].kill()
		crashRefused(t, name, "--nats", n.url, "--data", dir("second-"+name))
		processes[name] = actor(name)
	}
	edge.kill()
	crashServe(t, addr, dir("api"), "--nats", n.url, "--only", "none")
	l.grow(dir("order"), 20)
	crashRefused(t, "goods", "--nats", n.url, "--data", dir("second-goods"))
	crashRefused(t, "goods", "--nats", n.url, "--data", dir("goods")) // its file is locked
	l.halt()
	l.end()
	l.settled(dirs...)
	for name, p := range processes {
		if code := p.stop(); code != 0 {
			t.Errorf("%s: exit code %d", name, code)
		}
	}
}

// crashRefused starts another owner of an actor, which must end at once and
// say why.
func crashRefused(t *testing.T, actor string, args ...string) {
	t.Helper()
	p := start(t, append([]string{"serve", "--only", actor, "--no-api"}, args...)...)
	code := p.wait(20 * time.Second)
	said := p.log.String()
	if code != 1 || !strings.Contains(said, "start "+actor) ||
		!strings.Contains(said, "owns this actor") &&
			!strings.Contains(said, "held by another process") {
		t.Errorf("a second owner of %s: exit code %d\n%s", actor, code, said)
	}
}

// ACCEPT M4
// SIGTERM under load ends the shop in order, and nothing is lost. It is watched
// by the race detector, whose findings show in the exit code.
func TestCrashTerminatedUnderLoad(t *testing.T) {
	t.Parallel()
	data, addr := t.TempDir(), crashFreeAddr(t)
	path, err := raceBinary()
	if err != nil {
		t.Fatal(err)
	}
	run := func() *process {
		args := serveArgs(t, data, []string{"--http", addr})
		return startAs(t, path, args...).serving().ready()
	}
	p := run()
	l := newCrashLoad(t, p.url)
	l.begin()
	for range 3 {
		l.grow(data, 60)
		if code := p.stop(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		p = run()
	}
	l.halt()
	l.end()
	l.settled(data)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// ACCEPT E1 E3
// The shop is killed while orders expire, and its streams with the timers are
// lost once: every unpaid order is cancelled, once, and its stock is free.
func TestCrashWhileOrdersExpire(t *testing.T) {
	t.Parallel()
	data, addr := t.TempDir(), crashFreeAddr(t)
	p := crashServe(t, addr, data, "--expiry", "2s")
	l := newCrashLoad(t, p.url)
	l.expires = true
	l.begin()
	db := crashDB(t, data, "order")
	in := func(state string) int {
		return crashCount(t, db, `SELECT count(*) FROM orders WHERE state = ?`, state)
	}
	for _, lost := range []bool{false, true, false} {
		expired := in(api.OrderCancelled)
		eventually(t, "orders expire", func() bool {
			return in(api.OrderCancelled) > expired && in(api.OrderPlaced) > 0
		})
		p.kill()
		if lost {
			if err := os.RemoveAll(filepath.Join(data, "nats")); err != nil {
				t.Fatal(err)
			}
		}
		p = crashServe(t, addr, data, "--expiry", "2s")
	}
	l.halt()
	l.end()
	eventually(t, "all orders have expired", func() bool { return in(api.OrderPlaced) == 0 })
	l.settled(data)
	if n := crashCount(t, crashDB(t, data, "goods"), `SELECT sum(locked) FROM stock`); n != 0 {
		t.Errorf("%d units are still locked", n)
	}
}

// A request that never ends holds the shop up after a SIGTERM; a second one
// ends it at once.
func TestCrashTerminatedTwice(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir()).ready()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /admin/v1/users HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
		adminToken)
	// The shop has begun to read the body.
	if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 100"))); err != nil {
		t.Fatal(err)
	}
	for _, said := range []bool{true, false} {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if said {
			eventually(t, "stopping", func() bool {
				_, ok := p.log.find(`"msg":"stopping"`)
				return ok
			})
		}
	}
	// Ended in order, the code would be 0, or 1 for the request that broke off.
	if code := p.wait(30 * time.Second); code != 130 {
		t.Errorf("exit code %d", code)
	}
}
