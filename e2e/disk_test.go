package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ordo/api"
)

// diskMount, in the environment, has this test binary mount a small file system
// and run the command that follows: <directory> <size>.
const diskMount = "ORDO_TEST_MOUNT"

// diskHost, when this process was started to, mounts a file system of its own,
// runs a shop on it and, when the shop has ended, its audit. Nobody else sees
// the file system.
func diskHost() {
	dir, size, ok := strings.Cut(os.Getenv(diskMount), " ")
	if !ok {
		return
	}
	os.Unsetenv(diskMount)
	signal.Ignore(syscall.SIGTERM)
	err := unix.Mount("ordo-test", dir, "tmpfs", 0, "size="+size)
	for _, args := range [][]string{os.Args[2:], {"audit", "--data", dir}} {
		if err == nil {
			cmd := exec.Command(os.Args[1], args...)
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			err = cmd.Run()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, os.Args[1:], err)
		os.Exit(1)
	}
	os.Exit(0)
}

// inNamespace has a command run as root of a user and mount namespace of its
// own, in which anybody may mount.
func inNamespace(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:     true,
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
}

// disk is what a shop writes to, and can be full.
type disk struct {
	name string
	// serve starts a shop whose data directory the test sees as data.
	serve func(t *testing.T, args ...string) (p *process, data string)
	// fill leaves no room, free gives it back. What comes free after fill, fill
	// takes as well.
	fill, free func(t *testing.T, p *process, data string)
	// end stops the shop and audits it.
	end func(t *testing.T, p *process, data string)
}

// smallDisk is a tmpfs of 256 MiB: what a full disk says, ENOSPC.
var smallDisk = disk{"full", func(t *testing.T, args ...string) (*process, string) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := &process{t: t, log: &logBuffer{}, done: make(chan struct{}), args: args}
	p.cmd = exec.Command(self, append([]string{binary}, bareArgs(dir, args)...)...)
	p.cmd.Env = append(os.Environ(), diskMount+"="+dir+" 256m")
	inNamespace(p.cmd)
	p.run()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("ordo:\n%s", p.log.tail(60))
		}
	})
	p.serving()
	return p, fmt.Sprintf("/proc/%d/root%s", p.cmd.Process.Pid, dir)
}, func(t *testing.T, _ *process, data string) {
	f, err := os.OpenFile(filepath.Join(data, "filler"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size >= 512; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}, func(t *testing.T, _ *process, data string) {
	if err := os.Remove(filepath.Join(data, "filler")); err != nil {
		t.Fatal(err)
	}
}, func(t *testing.T, p *process, _ string) {
	// The process group is the host and its shop; the host ignores it.
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	code := p.wait(30 * time.Second)
	_, ok := p.log.find("all adds up")
	if _, warned := p.log.find("warning: "); code != 0 || !ok || warned {
		t.Errorf("exit code %d, audit:\n%s", code, p.log.tail(10))
	}
}}

// noGrowth forbids the process to write to any file, EFBIG: a disk that fails,
// or a quota that is used up. It needs no rights.
var noGrowth = disk{"no write", func(t *testing.T, args ...string) (*process, string) {
	data := t.TempDir()
	return serve(t, data, args...), data
}, func(t *testing.T, p *process, _ string) {
	limitFiles(t, p, 0)
}, func(t *testing.T, p *process, _ string) {
	limitFiles(t, p, unix.RLIM_INFINITY)
}, func(t *testing.T, p *process, data string) {
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	auditClean(t, data)
}}

func limitFiles(t *testing.T, p *process, size uint64) {
	t.Helper()
	limit := unix.Rlimit{Cur: size, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		t.Fatal(err)
	}
}

// disks are those that this machine can make.
func disks(t *testing.T) []disk {
	t.Helper()
	cmd := exec.Command("/bin/true")
	inNamespace(cmd)
	if err := cmd.Run(); err != nil {
		t.Logf("no namespaces here (%v): ENOSPC itself is not met", err)
		return []disk{noGrowth}
	}
	return []disk{smallDisk, noGrowth}
}

// ACCEPT S7 M4 S8
// The disk gets full under a load. What would change something is refused with
// 503, reading goes on, readiness is red and says why. It heals within 10 s of
// the room coming back, without a restart and without loss.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	for _, d := range disks(t) {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			diskFull(t, d)
		})
	}
}

func diskFull(t *testing.T, d disk) {
	p, data := d.serve(t, "--http", crashFreeAddr(t), "--expiry", "1h", "--sandbox")
	p.ready()
	l := newCrashLoad(t, p.url)
	u := l.users[0]
	l.begin()
	for range 3 {
		l.decides(50)
		// What is refused now may be done later, and is then known by its token.
		before := []any{u.checkout(1), u.checkout(1), u.checkout(1)}
		d.fill(t, p, data)
		eventually(t, "readiness is red", func() bool { return p.readiness() != "" })
		why := p.readiness()
		gift := api.Credit{User: u.id, Amount: gbp(1), Reason: "gift"}
		calls := []*fullCall{{p.as(u.token), "/v1/orders?wait=1s", before},
			{p.as(u.token), "/v1/checkouts", slices.Repeat([]any{u.wants(0)}, 3)},
			{p.admin(), "/admin/v1/wallets/credit", slices.Repeat([]any{gift}, 3)}}
		for len(calls) > 0 {
			d.fill(t, p, data)
			calls = refused(t, calls)
		}
		p.as("").must("GET", "/v1/skus/HOT", nil, nil)
		d.free(t, p, data)
		began := time.Now()
		p.ready()
		l.decides(1)
		healed := time.Since(began)
		t.Logf("red: %s; healed after %s", why, healed.Round(time.Millisecond))
		if healed > 10*time.Second {
			t.Errorf("healed after %s", healed)
		}
	}
	l.halt()
	l.end()
	is := map[string]string{}
	for _, o := range pages[api.Order](p.admin(), "/admin/v1/orders") {
		is[o.ID] = o.State
	}
	l.compare(is)
	d.end(t, p, data)
}

// fullCall is a POST that needs room, with a body for each try.
type fullCall struct {
	*client
	path  string
	tries []any
}

// refused makes calls, all at once, and answers those to be made again: room had
// come free, as NATS was done with a file, and they went through.
func refused(t *testing.T, calls []*fullCall) (again []*fullCall) {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, c := range calls {
		wg.Go(func() {
			status, data, err := c.call("POST", c.path, c.tries[0])
			var r refusal
			if err == nil {
				err = json.Unmarshal(data, &r)
			}
			c.tries = c.tries[1:]
			switch {
			case err == nil && status == 503 && r.Code == api.CodeUnavailable:
			case err == nil && status/100 == 2 && len(c.tries) > 0:
				mu.Lock()
				defer mu.Unlock()
				again = append(again, c)
			default:
				t.Errorf("POST %s: status %d, %v: %s", c.path, status, err, data)
			}
		})
	}
	wg.Wait()
	return again
}

// decides waits until shoppers were told of so many more decisions.
func (l *crashLoad) decides(n int) {
	l.t.Helper()
	count := func() (n int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, told := range l.told {
			if told != "" && told != api.OrderPending {
				n++
			}
		}
		return n
	}
	n += count()
	eventually(l.t, "more orders are decided", func() bool { return count() >= n })
}

// readiness is what /readyz says while it is red; empty while it is green.
func (p *process) readiness() string {
	status, data, err := p.as("").call("GET", "/readyz", nil)
	if err == nil && status == http.StatusOK {
		return ""
	}
	return fmt.Sprint(status, " ", err, " ", string(data))
}
