package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell is a shell that blocks of a document are typed into, one after the
// other, as a person would.
type shell struct {
	t   *testing.T
	in  io.Writer
	out *logBuffer
	// dir is where it works.
	dir string
	// ended is closed when the shell is.
	ended        chan struct{}
	blocks, read int
}

// newShell starts a shell in a directory of its own, with tools on its PATH. Its
// children end with it.
func newShell(t *testing.T, tools string, env ...string) *shell {
	t.Helper()
	s := &shell{t: t, dir: t.TempDir(), out: &logBuffer{}, ended: make(chan struct{})}
	cmd := exec.Command("sh", "-e")
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, s.out, s.out
	cmd.Env = append(append(os.Environ(), "PATH="+tools+":"+os.Getenv("PATH")), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second // of what it has started
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.in = in
	go func() {
		_ = cmd.Wait() // what it prints tells how it went
		close(s.ended)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // all may have ended
		<-s.ended
	})
	return s
}

// run types commands in, waits until they are done, and answers what they have
// printed, which must hold a text.
func (s *shell) run(commands, prints string) string {
	s.t.Helper()
	s.blocks++
	mark := fmt.Sprintf("=== end of block %d", s.blocks)
	if _, err := fmt.Fprintf(s.in, "%s\necho; echo '%s'\n", commands, mark); err != nil {
		s.t.Fatalf("%v\n%s", err, s.out)
	}
	deadline := time.Now().Add(commandWait)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(s.out.String()[s.read:], mark) {
		select {
		case <-tick.C:
		case <-s.ended:
			s.t.Fatalf("the commands stopped:\n%s\n%s", commands, s.out.String()[s.read:])
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %s:\n%s\n%s", commandWait, commands, s.out.String()[s.read:])
		}
	}
	all := s.out.String()
	at := strings.LastIndex(all, mark)
	out := all[s.read:at]
	if s.read = at + len(mark); !strings.Contains(out, prints) {
		s.t.Errorf("not printed: %s\n%s\nbut:\n%s", prints, commands, out)
	}
	return out
}

// tools are the programs that documents use and that are not on every machine.
var tools = map[string]string{"curl": "./testdata/curl",
	"nats":        "./testdata/nats",
	"nats-server": "github.com/nats-io/nats-server/v2"}

// buildTools builds them and answers their directory.
func buildTools(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range append(names, "curl") {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name), tools[name])
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	return dir
}
