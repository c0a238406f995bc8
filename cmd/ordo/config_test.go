package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// printed is what `ordo config print --json` says, by name.
func printed(t *testing.T, args ...string) map[string]setting {
	t.Helper()
	var all []setting
	if err := json.Unmarshal([]byte(ordo(t, exitOK, append(args, "--json")...)), &all); err != nil {
		t.Fatal(err)
	}
	by := map[string]setting{}
	for _, s := range all {
		by[s.Name] = s
	}
	return by
}

// ACCEPT P4
// Each value says where it comes from: what is nearest to the command wins.
func TestConfigPrintTellsSources(t *testing.T) {
	path := writeConfig(t, "http: file:1\ncurrency: EUR\nexpiry: 5m\nlog-level: warn\n"+
		"admin_token: hush\n")
	t.Setenv("ORDO_CURRENCY", "USD")
	t.Setenv("ORDO_EXPIRY", "7m")
	t.Setenv("ORDO_CONFIG", path)
	by := printed(t, "config", "print", "--expiry", "9m")
	for name, want := range map[string]setting{
		"http":            {Value: "file:1", Source: sourceFile, From: path},
		"log-level":       {Value: "warn", Source: sourceFile, From: path},
		"currency":        {Value: "USD", Source: sourceEnvironment, From: "ORDO_CURRENCY"},
		"expiry":          {Value: "9m0s", Source: sourceFlag},
		"submit-deadline": {Value: "1m0s", Source: sourceDefault},
		"points-per":      {Value: 100.0, Source: sourceDefault},
		"admin-token":     {Source: sourceFile, From: path, Secret: true},
		"stripe-key":      {Value: "", Source: sourceDefault},
	} {
		want.Name = name
		if by[name] != want {
			t.Errorf("%s: %+v, want %+v", name, by[name], want)
		}
	}
	if len(by) < 30 {
		t.Errorf("only %d settings", len(by))
	}
	ordo(t, exitUsage, "config", "print", "--expiry", "soon")
	ordo(t, exitUsage, "config", "print", "--only", "bogus")
}

// What is printed can be the file, and serve is then what it was.
func TestConfigPrintIsAFile(t *testing.T) {
	args := []string{"--http", ":0", "--nats-listen=", "--only", "order,goods", "--max-units", "7",
		"--expiry", "90s", "--no-api", "--sandbox-factor", "2.5", "--public-url",
		"https://shop.example/a#b: 'c' \"d\""}
	text := ordo(t, exitOK, append([]string{"config", "print"}, args...)...)
	one, err := parse(t, append([]string{"serve"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	path := writeConfig(t, text)
	two, err := parse(t, "--config", path, "serve")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(one.Serve, two.Serve) {
		t.Errorf("serve was %+v, is %+v\n%s", one.Serve, two.Serve, text)
	}
	if said := ordo(t, exitOK, "config", "check", path); !strings.Contains(said, "are good") {
		t.Error(said)
	}
}

// No secret is shown, however it is printed: neither keys nor passwords in URLs.
func TestConfigPrintHidesSecrets(t *testing.T) {
	t.Setenv("ORDO_NATS", "nats://a:hush@one,nats://a:hush@two")
	args := []string{"config", "print", "--admin-token", "hush-admin", "--stripe-key", "hush-key",
		"--stripe-secret", "hush-secret", "--public-url", "https://ann:hush@shop.example"}
	for _, more := range [][]string{nil, {"--json"}} {
		if said := ordo(t, exitOK, append(args, more...)...); strings.Contains(said, "hush") ||
			strings.Count(said, "ecret") < 5 {
			t.Errorf("%s", said)
		}
	}
	key := printed(t, "config", "print", "--alipay-key", "a.pem")["alipay-key"]
	if key.Value != "a.pem" {
		t.Errorf("the name of a file is no secret: %+v", key)
	}
}

// ACCEPT P4
// A file with mistakes is refused with all of them, each with its line.
func TestConfigCheck(t *testing.T) {
	t.Setenv("ORDO_EXPIRY", "5m") // hides nothing of the file
	for text, want := range map[string][]string{
		"":                               nil,
		"http: :80\nconcurrency: [3, 4]": nil, // of bench
		"concurrency: 3\nmax_units: 7":   nil,
		"htpp: x\nexpiry: soon\nhttp: 7": {":1: htpp: no command", ":2: expiry: it must be a duration",
			":3: http: it must be text"},
		"log-level: loud":                 {":1: log-level: it must be one of debug"},
		"concurrency: [a]":                {":1: concurrency: it must be"},
		"sandbox: maybe":                  {":1: sandbox: it must be true or false"},
		"config: x":                       {":1: config: no command"},
		"expiry: 999h\ncurrency: pounds":  {"expiry must be", "currency must be three"},
		"sandbox: true\nproduction: true": {"sandbox is not for production"},
		"http: a:1\nhttp: b:1":            {`:2: mapping key "http" already defined`},
		"- http":                          {":1: cannot unmarshal"},
		"http: [":                         {"did not find expected"},
	} {
		path, code := writeConfig(t, text), exitOK
		if len(want) > 0 {
			code = exitFailed
		}
		said := ordo(t, code, "config", "check", path)
		for _, w := range want {
			if !strings.Contains(said, w) {
				t.Errorf("%q: %q is not in\n%s", text, w, said)
			}
		}
		if lines := strings.Count(said, "\n"); lines != max(len(want), 1) {
			t.Errorf("%q: %d lines:\n%s", text, lines, said)
		}
	}
	ordo(t, exitUsage, "config", "check", filepath.Join(t.TempDir(), "none"))
	path := writeConfig(t, "admin-token: hush-hush-hush-hush\n")
	ordo(t, exitOK, "config", "check", path)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	said := ordo(t, exitFailed, "config", "check", "--json", path)
	if strings.Contains(said, "hush") || !strings.Contains(said, "others may read it: 0644") {
		t.Errorf("secrets for all to read: %s", said)
	}
}
