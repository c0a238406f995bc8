package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/bus"
	"ordo/stores"
)

// maxURL is more than the address of a server takes in the lock file, in bytes.
const maxURL = 256

// tellURL writes where a running shop's NATS listens into its lock file, for
// commands that read its streams. While the lock is free it means nothing.
func tellURL(lock *os.File, url string) error {
	if err := lock.Truncate(0); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if _, err := lock.WriteAt([]byte(url), 0); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

// streams is the NATS of a shop, for a command that reads or writes its streams
// while the shop may be running or not.
type streams struct {
	lock   *os.File // on a data directory whose NATS is run here
	server *bus.Server
	nc     *nats.Conn
	js     jetstream.JetStream
}

// openStreams reaches the NATS of a shop: at url; or the one that serves the
// data directory; or, when the shop is stopped, one of its own on that
// directory. errUnreadable: there is none.
func openStreams(ctx context.Context, data, url string, log *slog.Logger) (*streams, error) {
	s := &streams{}
	err := s.open(ctx, data, url, log)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *streams) open(ctx context.Context, data, url string, log *slog.Logger) (err error) {
	if url == "" {
		if url, err = s.find(data, log); err != nil {
			return err
		}
	}
	if s.nc, err = bus.Connect(s.server, url, "ordo-history", log); err != nil {
		return err
	}
	if err := awaitNATS(ctx, s.nc, log); err != nil {
		return err
	}
	s.js, err = bus.NewJetStream(s.nc, func(m *nats.Msg, err error) {
		log.Warn("publish failed", "subject", m.Subject, "err", err)
	})
	return err
}

// find starts the server of a directory, or reads where the one that has it
// listens.
func (s *streams) find(data string, log *slog.Logger) (url string, err error) {
	dir := filepath.Join(data, "nats")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return "",
			fmt.Errorf("%w: %s has no streams; --nats says where they are", errUnreadable, data)
	}
	path := filepath.Join(data, "lock")
	s.lock, err = stores.Lock(path)
	if err == nil {
		// What stands there is of a shop that has ended.
		if err := s.lock.Truncate(0); err != nil {
			return "", fmt.Errorf("data directory: %w", err)
		}
		s.server, err = bus.StartServer(bus.ServerConfig{Dir: dir,
			Log: log.With("part", "nats-server")})
		return "", err
	}
	if !errors.Is(err, stores.ErrLocked) {
		return "", err
	}
	return toldURL(path)
}

// toldURL reads where the NATS of a running shop listens from its lock file.
// errUnreadable: it does not.
func toldURL(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text := make([]byte, maxURL)
	n, _ := f.Read(text) // nothing: no listener
	if n == 0 {
		return "", fmt.Errorf("%w: the NATS of the running shop does not listen; stop the shop, "+
			"or start it with --nats-listen", errUnreadable)
	}
	return string(text[:n]), nil
}

func (s *streams) close() error {
	if s.nc != nil {
		s.nc.Close()
	}
	if s.server != nil {
		s.server.Shutdown()
	}
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}
