package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ordo/bus"
	"ordo/stores"
)

// Streams are reached where they are: of a stopped shop in its directory, of a
// running one where its lock file says that it listens; otherwise it is said
// why not.
func TestOpenStreams(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	if _, err := openStreams(t.Context(), dir, "", log); !errors.Is(err, errUnreadable) {
		t.Errorf("a directory without streams: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "nats"), 0o700); err != nil {
		t.Fatal(err)
	}
	own, err := openStreams(t.Context(), dir, "", log)
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Setup(t.Context(), own.js, 0); err != nil {
		t.Fatal(err)
	}
	// While it runs here, nobody else may.
	if _, err := openStreams(t.Context(), dir, "", log); !errors.Is(err, errUnreadable) ||
		!strings.Contains(err.Error(), "does not listen") {
		t.Errorf("a server without a listener: %v", err)
	}
	if err := own.close(); err != nil {
		t.Fatal(err)
	}

	lock, err := stores.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	s, err := bus.StartServer(bus.ServerConfig{Dir: filepath.Join(dir, "nats"),
		Listen: "127.0.0.1:0", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	if err := tellURL(lock, s.URL()); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"", s.URL()} {
		other, err := openStreams(t.Context(), dir, url, log)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bus.OpenHistory(other.js, "goods").State(t.Context()); err != nil {
			t.Error(err)
		}
		if err := other.close(); err != nil {
			t.Error(err)
		}
	}
}
