package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ordo/api"
)

// binary is the ordo under test, built once.
var binary string

func TestMain(m *testing.M) {
	crashHostNATS()
	diskHost()
	os.Exit(build(m))
}

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ordo-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "ordo")
	if err := makeKeys(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd := exec.Command("go", "build", "-o", binary, "../cmd/ordo")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// buildWith builds the ordo under test in another way, and answers where it is.
func buildWith(name string, flags ...string) (string, error) {
	path := binary + "-" + name
	args := append(append([]string{"build"}, flags...), "-o", path, "../cmd/ordo")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
}

// raceBinary is the ordo under test, built with the race detector if this test
// is. It ends with exit code 66 when it has seen a race.
var raceBinary = sync.OnceValues(func() (string, error) {
	var flags []string
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" || s.Key == "-gcflags" {
			flags = append(flags, s.Key+"="+s.Value)
		}
	}
	return buildWith("race", flags...)
})

// keys are those of the sandbox's merchant and of the sandbox, in PEM, made
// once because that takes long.
var keys [2][]byte

func makeKeys() error {
	for i := range keys {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return err
		}
		keys[i] = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY",
			Bytes: x509.MarshalPKCS1PrivateKey(key)})
	}
	return nil
}

// withSandbox gives the shop a gateway to be paid at, unless it has no API or
// another gateway.
func withSandbox(t testing.TB, data string, args []string) []string {
	t.Helper()
	if slices.Contains(args, "--no-api") || slices.Contains(args, "--sandbox") || slices.Contains(args, "--alipay-app-id") {
		return args
	}
	dir := filepath.Join(data, "sandbox")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"app.pem", "gateway.pem"} {
		if err := os.WriteFile(filepath.Join(dir, name), keys[i], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return append(args, "--sandbox")
}

// adminToken is given to every process under test.
const adminToken = "adm_test"

// process is a running ordo.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	log  *logBuffer
	done chan struct{}
	// url of the REST API and nats of the listener, once it serves.
	url, nats string
	args      []string
}

// serve starts `ordo serve` on free ports and waits until it is serving.
func serve(t testing.TB, data string, args ...string) *process {
	t.Helper()
	return start(t, serveArgs(t, data, args)...).serving()
}

// serveArgs is the command line of serve.
func serveArgs(t testing.TB, data string, args []string) []string {
	t.Helper()
	return bareArgs(data, withSandbox(t, data, args))
}

// bareArgs are those of a shop without a gateway.
func bareArgs(data string, args []string) []string {
	return append([]string{"--log-format", "json", "serve", "--data", data,
		"--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--tick-every", "1s",
		"--admin-token", adminToken}, args...)
}

// serving waits until the process says that it serves.
func (p *process) serving() *process {
	t := p.t
	t.Helper()
	eventually(t, "ordo serve", func() bool {
		select {
		case <-p.done:
			t.Fatalf("ordo serve ended:\n%s", p.log)
		default:
		}
		line, ok := p.log.find(`"msg":"serving"`)
		if !ok {
			return false
		}
		var said struct{ URL, NATS string }
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		p.url, p.nats = said.URL, said.NATS
		return true
	})
	return p
}

// ready waits until the process says that all its actors are.
func (p *process) ready() *process {
	p.t.Helper()
	eventually(p.t, "readiness", func() bool {
		resp, err := http.Get(p.url + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p
}

// start runs the binary. It is killed when the test ends.
func start(t testing.TB, args ...string) *process {
	t.Helper()
	return startAs(t, binary, args...)
}

// startAs is start for an ordo that is built in another way.
func startAs(t testing.TB, path string, args ...string) *process {
	t.Helper()
	p := launch(t, path, nil, args...)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("ordo %s:\n%s", strings.Join(args, " "), p.log.tail(60))
		}
	})
	return p
}

// launch runs a binary with more environment. The caller kills it.
func launch(t testing.TB, path string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(path, args...), log: &logBuffer{},
		done: make(chan struct{}), args: args}
	p.cmd.Env = append(os.Environ(), env...)
	p.run()
	return p
}

// run starts the command.
func (p *process) run() {
	p.t.Helper()
	p.cmd.Stderr = p.log
	p.cmd.Stdout = p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is in ProcessState
		close(p.done)
	}()
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// stop ends the process in order and answers its exit code.
func (p *process) stop() int {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	return p.wait(30 * time.Second)
}

// wait waits for the process to end and answers its exit code.
func (p *process) wait(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		p.t.Fatalf("ordo %s did not end within %s:\n%s", p.args[0], limit, p.log)
	}
	return p.cmd.ProcessState.ExitCode()
}

// logBuffer keeps what a process writes.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// String is everything written so far.
func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBuffer) tail(n int) string {
	lines := strings.Split(l.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (l *logBuffer) find(part string) (string, bool) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, part) {
			return line, true
		}
	}
	return "", false
}

// patience is how long a test waits for what must come: longer than a shop that
// was killed takes to try a call to the world outside again.
const patience = 3 * time.Minute

// eventually polls until ok answers true, for patience at most.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !polled(patience, ok) {
		t.Fatalf("not within %s: %s", patience, what)
	}
}

// polled polls until ok answers true, and tells whether it did in time.
func polled(within time.Duration, ok func() bool) bool {
	deadline := time.Now().Add(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			return false
		}
		<-tick.C
	}
	return true
}

// client calls the REST API as one user, or as admin.
type client struct {
	t     testing.TB
	url   string
	token string
}

func (p *process) admin() *client { return &client{p.t, p.url, adminToken} }

func (p *process) as(token string) *client { return &client{p.t, p.url, token} }

// transport has connections enough for tests with thousands of shoppers.
var transport = &http.Transport{MaxIdleConnsPerHost: 256, MaxConnsPerHost: 256}

// call sends a request and answers the status and the body. What is sent is
// nothing, CSV for a string, raw JSON for bytes, or else a value as JSON.
func (c *client) call(method, path string, body any) (int, []byte, error) {
	resp, data, err := c.send(nil, method, path, body)
	if err != nil {
		return 0, nil, err
	}
	return resp.StatusCode, data, nil
}

// send is call with more headers, and with the headers of the answer.
func (c *client) send(more http.Header, method, path string, body any) (*http.Response, []byte,
	error) {
	var r io.Reader
	contentType := "application/json"
	switch b := body.(type) {
	case nil:
	case string:
		r, contentType = strings.NewReader(b), "text/csv"
	case []byte:
		r = bytes.NewReader(b)
	default:
		r = bytes.NewReader(api.Raw(b))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, r)
	if err != nil {
		return nil, nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	for name, values := range more {
		req.Header[name] = values
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp, data, err
}

// must is call for what must succeed; the answer is decoded into answer.
func (c *client) must(method, path string, body, answer any) {
	c.t.Helper()
	status, data, err := c.call(method, path, body)
	if err != nil || status/100 != 2 {
		c.t.Fatalf("%s %s: status %d, %v\n%s", method, path, status, err, data)
	}
	if answer != nil {
		if err := json.Unmarshal(data, answer); err != nil {
			c.t.Fatalf("%s %s: %v\n%s", method, path, err, data)
		}
	}
}

// refusal is the body of an answer that is not a success.
type refusal struct {
	Status int             `json:"status"`
	Code   api.Code        `json:"code"`
	Detail string          `json:"detail"`
	Place  string          `json:"place"`
	Data   json.RawMessage `json:"data"`
	Order  string          `json:"order"`
}

// problem is call for what must be refused, and answers how it was.
func (c *client) problem(method, path string, body any, status int, code api.Code) (r refusal) {
	c.t.Helper()
	got, data, err := c.call(method, path, body)
	if err != nil {
		c.t.Errorf("%s %s: %v", method, path, err)
		return r
	}
	if err := json.Unmarshal(data, &r); err != nil {
		c.t.Errorf("%s %s: %v: %s", method, path, err, data)
	}
	if got != status || r.Status != status || r.Code != code {
		c.t.Errorf("%s %s: status %d code %q, want %d %q\n%s", method, path, got, r.Code, status,
			code, data)
	}
	return r
}

// audit runs `ordo audit` over the directories of a shop that has ended and
// fails the test on any deviation. It answers what it says.
func audit(t testing.TB, data ...string) string {
	t.Helper()
	args := []string{"audit"}
	for _, dir := range data {
		args = append(args, "--data", dir)
	}
	out, err := exec.Command(binary, args...).CombinedOutput()
	if err != nil {
		t.Errorf("ordo audit: %v\n%s", err, out)
	}
	return string(out)
}
