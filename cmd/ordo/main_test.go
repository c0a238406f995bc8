package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// parse parses a command line into a cli.
func parse(t *testing.T, args ...string) (*cli, error) {
	t.Helper()
	var c cli
	var out bytes.Buffer
	p, err := newParser(&c, &out, &out, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Parse(args)
	return &c, err
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ordo.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagsGoBeforeEnvironmentBeforeFile(t *testing.T) {
	path := writeConfig(t, `
http: file:1
expiry: 5m
currency: EUR
max_units: 7
log-level: debug
concurrency: [3, 4]
`)
	t.Setenv("ORDO_HTTP", "env:1")
	t.Setenv("ORDO_CURRENCY", "USD")
	c, err := parse(t, "--config", path, "serve", "--http", "flag:1")
	if err != nil {
		t.Fatal(err)
	}
	if c.Serve.HTTP != "flag:1" || c.Serve.Currency != "USD" || c.Serve.Expiry != 5*time.Minute ||
		c.Serve.MaxUnits != 7 || c.LogLevel != "debug" || c.Serve.SubmitDeadline != time.Minute {
		t.Errorf("%+v", c.Serve)
	}
	t.Setenv("ORDO_CONFIG", path)
	if c, err = parse(t, "bench"); err != nil {
		t.Fatal(err)
	}
	if len(c.Bench.Concurrency) != 2 || c.Bench.Concurrency[1] != 4 || c.Bench.Currency != "USD" {
		t.Errorf("with ORDO_CONFIG: %+v", c.Bench)
	}
}

func TestWrongConfigurationIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"htpp: x\n":         "unknown key htpp",
		"config: other\n":   "unknown key config",
		"expiry: soon\n":    "soon",
		"log-level: loud\n": "loud",
		"http: [\n":         "configuration file",
	} {
		var out, errs bytes.Buffer
		code := run([]string{"--config", writeConfig(t, text), "serve"}, &out, &errs)
		if code != exitUsage || !strings.Contains(errs.String(), want) {
			t.Errorf("%q: exit %d: %s", text, code, &errs)
		}
	}
	for _, args := range [][]string{{"serve", "--nope"}, {"nope"}, {}, {"audit"},
		{"--config", "/does/not/exist", "serve"}, {"serve", "--expiry", "soon"}} {
		var out, errs bytes.Buffer
		if code := run(args, &out, &errs); code != exitUsage || errs.Len() == 0 {
			t.Errorf("%v: exit %d: %s", args, code, &errs)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"--help"}, &out, &errs); code != exitOK ||
		!strings.Contains(out.String(), "replay") {
		t.Errorf("help: exit %d: %s", code, &out)
	}
	out.Reset()
	if code := run([]string{"version"}, &out, &errs); code != exitOK ||
		!strings.HasPrefix(out.String(), "ordo "+Version) ||
		!strings.Contains(out.String(), "SQLite 3.") {
		t.Errorf("version: exit %d: %s%s", code, &out, &errs)
	}
}

// Logs are JSON where nobody looks at them.
func TestLogFormat(t *testing.T) {
	for format, want := range map[string]string{"auto": `"msg":"hello"`, "text": "hello"} {
		var out bytes.Buffer
		log := newLog(&cli{LogLevel: "warn", LogFormat: format}, &out)
		log.Info("quiet")
		log.Warn("hello")
		if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "quiet") {
			t.Errorf("%s: %s", format, &out)
		}
	}
}
