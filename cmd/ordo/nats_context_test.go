package main

import (
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readContext reads a context as the nats CLI does, by the names of ADR-21.
func readContext(t *testing.T, root, name string) map[string]string {
	t.Helper()
	path := filepath.Join(root, "nats", "context", name+".json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]string
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, filepath.Dir(path)} {
		info, err := os.Stat(p)
		if err != nil || info.Mode()&0o077 != 0 {
			t.Errorf("%s: %v %v", p, err, info.Mode())
		}
	}
	return fields
}

// ACCEPT P5
// User and password have their own fields, are in a file that nobody else may
// read, and are not printed. What is there is replaced only when asked to.
func TestNATSContext(t *testing.T) {
	root := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", root)
	said := ordo(t, exitOK, "nats-context", "--nats", "tls://me:s3c@one:4222,tls://me:s3c@two:4222")
	said += ordo(t, exitOK, "nats-context", "--nats", "nats://t0ken@one", "--name", "token", "--json",
		"--inbox-prefix", "_INBOX_me")
	if strings.Contains(said, "s3c") || strings.Contains(said, "t0ken") {
		t.Errorf("a secret is shown: %s", said)
	}
	for name, want := range map[string]map[string]string{
		"ordo": {"url": "tls://one:4222,tls://two:4222", "user": "me", "password": "s3c",
			"inbox_prefix": "_INBOX.me"},
		"token": {"url": "nats://one", "token": "t0ken", "inbox_prefix": "_INBOX_me"},
	} {
		want["description"] = "An ordo shop"
		if got := readContext(t, root, name); !maps.Equal(got, want) {
			t.Errorf("%s: %v", name, got)
		}
	}
	said = ordo(t, exitFailed, "nats-context", "--nats", "nats://other")
	if !strings.Contains(said, "--force") || readContext(t, root, "ordo")["user"] != "me" {
		t.Errorf("replaced unasked: %s", said)
	}
	ordo(t, exitOK, "nats-context", "--nats", "nats://other", "--force")
	if got := readContext(t, root, "ordo"); got["url"] != "nats://other" || got["password"] != "" {
		t.Errorf("not replaced: %v", got)
	}
	for _, args := range [][]string{{"--name", "../x"}, {"--name", ""}, {"--name", "a/b"},
		{"--nats", "http://x"}} {
		ordo(t, exitUsage, append([]string{"nats-context"}, args...)...)
	}
	said = ordo(t, exitFailed, "nats-context", "--nats", "nats://a:1@x,nats://b:2@y", "--name", "two")
	if !strings.Contains(said, "different users") {
		t.Errorf("two users: %s", said)
	}
}

// Selecting keeps which one was selected before, as `nats context select` does.
func TestNATSContextIsSelected(t *testing.T) {
	root := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("HOME", root)
	root = filepath.Join(root, ".config")
	for _, name := range []string{"one", "two", "two"} {
		ordo(t, exitOK, "nats-context", "--nats", "nats://x", "--name", name, "--select", "--force")
	}
	for file, want := range map[string]string{"context.txt": "two", "previous-context.txt": "one"} {
		if text, err := os.ReadFile(filepath.Join(root, "nats", file)); string(text) != want {
			t.Errorf("%s: %q %v", file, text, err)
		}
	}
}

// The context of a data directory is that of the shop that runs on it.
func TestNATSContextOfAShop(t *testing.T) {
	root, data := t.TempDir(), t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", root)
	args := []string{"nats-context", "--data", data}
	ordo(t, exitUsage, args...) // there never was a shop
	shop, err := StartShop(t.Context(), ShopConfig{Data: data, HTTP: "127.0.0.1:0",
		NATSListen: "127.0.0.1:0", Only: []string{noActors}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ordo(t, exitOK, args...)
	url := readContext(t, root, "ordo")["url"]
	if url != shop.NATSURL || url == "" {
		t.Errorf("url %q, the shop's is %q", url, shop.NATSURL)
	}
	if err := shop.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if said := ordo(t, exitUsage, append(args, "--force")...); !strings.Contains(said, "not run") {
		t.Errorf("of a shop that has ended: %s", said)
	}
}
