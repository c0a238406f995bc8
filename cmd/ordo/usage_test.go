package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ordo/api/rest"
	"ordo/bus"
)

// A command line that asks for what can't be run is one of usage, and says
// which flag it is. Nothing is started.
func TestUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	replay := "replay --orders " + file + " --catalog " + file + " "
	for line, want := range map[string]string{
		"serve --only bogus":                              `no actor "bogus"`,
		"serve --only goods,bogus":                        `no actor "bogus"`,
		"serve --only none,goods":                         `no actor "none"`,
		"serve --only ,":                                  "--only",
		"serve --only none --no-api":                      "nothing to run",
		"serve --tls-cert " + file:                        "go together",
		"serve --tls-key " + file:                         "go together",
		"serve --tls-cert none --tls-key none":            "no such file",
		"serve --tls-cert " + file + " --tls-key " + file: "--tls-cert and --tls-key",
		"serve --tick-every 1ms":                          "--tick-every",
		"serve --tick-every 2h":                           "--tick-every",
		"serve --expiry 0":                                "--expiry",
		"serve --expiry 721h":                             "--expiry",
		"serve --expiry 361h --alipay-app-id 1 --alipay-seller-id 2 --alipay-key k " +
			"--alipay-public-key k": "360h",
		"serve --submit-deadline 25h":     "--submit-deadline",
		"serve --max-units=-1":            "--max-units",
		"serve --drain=-1s":               "--drain",
		"serve --currency gbp":            "--currency",
		"serve --http 8080":               "--http",
		"serve --http :http-but-not":      "--http",
		"serve --nats-listen 4222":        "--nats-listen",
		"serve --data=":                   "--data",
		"serve --pprof 0.0.0.0:0":         "--pprof",
		"serve --pprof 6060":              "--pprof",
		"serve --signals 9090":            "--signals",
		"serve --otlp collector:4318":     "--otlp",
		"serve --otlp http://a:pw@:x":     "--otlp",
		"serve --trace-ratio 0":           "--trace-ratio",
		"serve --trace-ratio 1.5":         "--trace-ratio",
		"serve --trace-ratio NaN":         "--trace-ratio",
		"serve --breaker-failures 0":      "--breaker-failures",
		"serve --breaker-rest 1ms":        "--breaker-rest",
		"serve --nats nats://a:pw@host:x": "--nats",
		"serve --nats http://host":        "--nats",
		"setup --nats nats://":            "--nats",
		"setup --nats host --replicas 2":  "--replicas",
		"demo --http x":                   "--http",
		"demo --nats-listen x":            "--nats-listen",
		"bench --concurrency 0":           "--concurrency",
		"bench --concurrency 8,10001":     "--concurrency",
		"bench --orders 0":                "--orders",
		"bench --server https://shop":     "--server",
		"bench --currency x":              "--currency",
		replay + "--concurrency 0":        "--concurrency",
		replay + "--limit=-1":             "--limit",
		replay + "--stock-factor x":       "stock factor",
		replay + "--server shop":          "--server",
		"audit --data":                    "--data",
		"audit --data x --partially":      "--partially",

		"serve --webhook-insecure --production":                     "--webhook-insecure",
		"webhook replay whk_1 --admin-token a":                      "--since",
		"webhook deliveries w --admin-token a --limit 0":            "--limit",
		"webhook replay w --admin-token a --delivery m --all":       "--all",
		"webhook create https://x.example --admin-token a --types=": "--types",
		"webhook set w --admin-token a --types order.paid,":         "--types",
	} {
		var out, errs bytes.Buffer
		if code := run(strings.Fields(line), &out, &errs); code != exitUsage ||
			!strings.Contains(errs.String(), want) {
			t.Errorf("%s: exit %d: %s", line, code, &errs)
		}
		if strings.Contains(errs.String(), "pw") {
			t.Errorf("%s: a password is shown: %s", line, &errs)
		}
	}
}

// Every flag at its default, and what the README shows, can be run.
func TestUsageTakesWhatIsRight(t *testing.T) {
	for _, line := range []string{"serve", "serve --only none", "serve --only order,goods --no-api",
		"serve --nats tls://a:pw@host:4222,other", "serve --pprof localhost:0 --drain 10s",
		"serve --http :0 --nats-listen=", "serve --otlp https://a:pw@collector:4318/x --trace-ratio 0.1",
		"serve --signals :9090 --no-metrics --admin-pprof --breaker-failures 3 --breaker-rest 1m",
		"bench", "demo", "setup --nats host:4222"} {
		if _, err := parse(t, strings.Fields(line)...); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestHelpShowsDefaults(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"serve", "--help"}, &out, &errs); code != exitOK {
		t.Errorf("exit %d: %s", code, &errs)
	}
	for _, want := range []string{`--data="ordo-data"`, `--http="127.0.0.1:8080"`,
		`--nats-listen="127.0.0.1:4222"`, "--drain=0s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is not in\n%s", want, &out)
		}
	}
}

// A variable that no flag has is as wrong as an unknown key of the file; the
// passwords of nats.conf are nobody's flags and no mistake.
func TestEnvironmentIsChecked(t *testing.T) {
	t.Setenv("ORDO_HTTP", "127.0.0.1:0")
	t.Setenv("ORDO_MODE", "order") // of another command
	t.Setenv("OTHER_HTPP", "x")
	for _, user := range append([]string{"sys", "setup", "operator", "api"}, bus.ActorNames()...) {
		t.Setenv("ORDO_NATS_"+strings.ToUpper(user), "secret")
	}
	var out, errs bytes.Buffer
	if code := run([]string{"version"}, &out, &errs); code != exitOK {
		t.Errorf("exit %d: %s", code, &errs)
	}
	t.Setenv("ORDO_HTPP", "x")
	t.Setenv("ORDO_NATS_GODS", "secret")
	for _, command := range []string{"version", "serve"} {
		errs.Reset()
		if code := run([]string{command}, &out, &errs); code != exitUsage ||
			!strings.Contains(errs.String(), "ORDO_HTPP, ORDO_NATS_GODS\n") ||
			strings.Contains(errs.String(), "secret") {
			t.Errorf("%s: exit %d: %s", command, code, &errs)
		}
	}
}

// A start that waits for a NATS that never comes ends with one clear error that
// does not show the password.
func TestNATSNeverComes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	nc, err := bus.Connect(nil, "nats://ann:secret@"+addr, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = awaitNATS(ctx, nc, log)
	if err == nil || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), addr) ||
		strings.Contains(err.Error(), "\n") {
		t.Errorf("error: %v", err)
	}
	if strings.Count(said.String(), "waiting for NATS") != 1 ||
		strings.Contains(said.String()+err.Error(), "secret") {
		t.Errorf("%v, log: %s", err, &said)
	}
	// A signal is no failure of NATS.
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := awaitNATS(cancelled, nc, log); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}

// The shop's HTTP server bounds the time of an answer, above what a request
// may wait.
func TestAnswersAreBoundedInTime(t *testing.T) {
	shop, err := StartShop(t.Context(), ShopConfig{Data: t.TempDir(), HTTP: "127.0.0.1:0",
		Only: []string{noActors}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := shop.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if h := shop.http; h.WriteTimeout <= rest.MaxWait || h.WriteTimeout > time.Minute ||
		h.ReadHeaderTimeout == 0 || h.IdleTimeout == 0 || h.MaxHeaderBytes == 0 {
		t.Errorf("write %s, head %s, idle %s", h.WriteTimeout, h.ReadHeaderTimeout, h.IdleTimeout)
	}
}

// A negative number that is no flag's value is an argument.
func TestNegativeNumbersAreArguments(t *testing.T) {
	for line, want := range map[string]string{
		"goods adjust M -5 --reason x": "goods adjust M --reason x -- -5",
		"goods adjust M --reason x -5": "goods adjust M --reason x -- -5",
		"goods adjust --reason=x M -5": "goods adjust --reason=x M -- -5",
		"goods adjust M -- -5 -6":      "goods adjust M -- -5 -6",
		"bench --orders -5 -h -":       "bench --orders -5 -h -",
		"":                             "",
	} {
		if got := strings.Join(negativesLast(strings.Fields(line)), " "); got != want {
			t.Errorf("%q becomes %q, want %q", line, got, want)
		}
	}
}

// A page of somebody else, whose name has become that of this machine, gets no
// profile.
func TestProfilerByAnotherName(t *testing.T) {
	for host, want := range map[string]int{"localhost:6060": 200, "127.0.0.1:6060": 200,
		"[::1]:6060": 200, "evil.example:6060": 403} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/debug/pprof/", nil)
		r.Host, r.RemoteAddr = host, "127.0.0.1:5000"
		if onlyHere(profiler()).ServeHTTP(w, r); w.Code != want {
			t.Errorf("%s: status %d", host, w.Code)
		}
	}
}
