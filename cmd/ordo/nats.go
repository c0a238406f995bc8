package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/bus"
	"ordo/stores"
)

const (
	// natsWait is how long a start waits for an external NATS, and for its
	// streams to be made.
	natsWait = 30 * time.Second
	// natsSay is the time between two log lines of who waits for NATS.
	natsSay = 5 * time.Second
)

// connect embeds a NATS server or joins one, and makes the streams.
func (s *Shop) connect(ctx context.Context) (err error) {
	if s.cfg.NATS == "" {
		if err := s.embed(); err != nil {
			return err
		}
	}
	if s.nc, err = s.dial("ordo-edge"); err != nil {
		return err
	}
	if err := awaitNATS(ctx, s.nc, s.cfg.Log); err != nil {
		return err
	}
	if s.js, err = bus.NewJetStream(s.nc, func(m *nats.Msg, err error) {
		s.cfg.Log.Warn("publish failed", "subject", m.Subject, "err", err)
	}); err != nil {
		return err
	}
	if err := setupStreams(ctx, s.js, s.cfg.Log); err != nil {
		return err
	}
	s.edge = bus.NewEdge(s.nc, s.js)
	if len(s.cfg.Only) == 0 {
		return nil // all actors are in this process and notify the edge
	}
	return s.edge.Listen()
}

// embed starts a NATS server of the shop's own. A second one on the same streams
// would destroy them.
func (s *Shop) embed() (err error) {
	if s.lock, err = stores.Lock(filepath.Join(s.cfg.Data, "lock")); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := s.lock.Truncate(0); err != nil { // the address of one that has ended
		return fmt.Errorf("data directory: %w", err)
	}
	if s.server, err = bus.StartServer(bus.ServerConfig{Dir: filepath.Join(s.cfg.Data, "nats"),
		Listen: s.cfg.NATSListen, Log: s.cfg.Log.With("part", "nats-server")}); err != nil {
		return err
	}
	s.NATSURL = s.server.URL()
	return tellURL(s.lock, s.NATSURL)
}

func (s *Shop) dial(name string) (*nats.Conn, error) {
	return bus.Connect(s.server, s.cfg.NATS, name, s.cfg.Log.With("part", "nats"))
}

// awaitNATS waits until a connection that was begun is there, natsWait at
// most. It ends at once when NATS refuses the user.
func awaitNATS(ctx context.Context, nc *nats.Conn, log *slog.Logger) error {
	limited, cancel := context.WithTimeout(ctx, natsWait)
	defer cancel()
	changed := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(changed)
	say := time.NewTicker(natsSay)
	defer say.Stop()
	servers := withoutPasswords(strings.Join(nc.Opts.Servers, ","))
	for !nc.IsConnected() {
		switch {
		case errors.Is(ctx.Err(), context.Canceled):
			return ctx.Err()
		case nc.IsClosed():
			return fmt.Errorf("NATS at %s: %w", servers, nc.LastError())
		case limited.Err() != nil:
			return fmt.Errorf("NATS does not answer at %s: %w", servers, limited.Err())
		}
		log.Warn("waiting for NATS", "servers", servers)
		select {
		case <-changed:
		case <-say.C:
		case <-limited.Done():
		}
	}
	return nil
}

// setupStreams makes the streams and buckets; a user who may not do that can
// go on when they are all there. While NATS is up and JetStream is not, as in
// a cluster without a leader, it waits, natsWait at most.
func setupStreams(ctx context.Context, js jetstream.JetStream, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, natsWait)
	defer cancel()
	again := time.NewTicker(natsSay / 5)
	defer again.Stop()
	for tries := 0; ; tries++ {
		err := bus.Setup(ctx, js, 0)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%w; is JetStream on?", err)
		case !errors.Is(err, nats.ErrNoResponders):
			if missing := bus.Check(ctx, js); missing != nil {
				return errors.Join(err, missing)
			}
			return nil
		case tries%5 == 0:
			log.Warn("waiting for JetStream", "err", err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}
