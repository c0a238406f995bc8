package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// ServerConfig says how the embedded NATS server runs.
type ServerConfig struct {
	// Dir is where JetStream keeps its streams.
	Dir string
	// Listen is the loopback address for the nats CLI and other processes,
	// host:port; port 0 takes a free one. Empty: none, in-process only.
	Listen string
	Log    *slog.Logger
}

// MaxPayload is the largest message the server takes, in bytes.
const MaxPayload = 8 << 20

// Server is an embedded NATS server with JetStream on disk.
type Server struct {
	s *server.Server
}

// StartServer starts an embedded server and waits until it takes connections.
// What is published reaches the disk within a second (sync_interval): the
// actors' databases, not the streams, are the truth.
func StartServer(cfg ServerConfig) (*Server, error) {
	opts := &server.Options{
		ServerName: "ordo", JetStream: true, StoreDir: cfg.Dir, SyncInterval: time.Second,
		NoSigs: true, MaxPayload: MaxPayload, DontListen: cfg.Listen == "",
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 1 << 40,
	}
	if cfg.Listen != "" {
		host, port, err := net.SplitHostPort(cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("bus: nats listen address: %w", err)
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			return nil, fmt.Errorf("bus: nats listen address %q: %w", cfg.Listen, err)
		}
		opts.Host, opts.Port = host, n
		if n == 0 {
			opts.Port = server.RANDOM_PORT
		}
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("bus: nats server: %w", err)
	}
	s.SetLoggerV2(serverLog{cfg.Log}, false, false, false)
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		s.Shutdown()
		return nil, errors.New("bus: nats server: not ready after 10 s; is the address in use?")
	}
	return &Server{s}, nil
}

// URL is where other processes connect; empty when the server does not listen.
func (s *Server) URL() string {
	if s.s.Addr() == nil {
		return ""
	}
	return "nats://" + s.s.Addr().String()
}

// Shutdown stops the server and waits until it has.
func (s *Server) Shutdown() {
	s.s.Shutdown()
	s.s.WaitForShutdown()
}

// Connect opens a connection: in-process to server when it is not nil, else to
// the cluster at url. It reconnects for ever.
func Connect(server *Server, url, name string, log *slog.Logger) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name(name), nats.MaxReconnects(-1), nats.ReconnectWait(200 * time.Millisecond),
		nats.RetryOnFailedConnect(url != ""), nats.ReconnectBufSize(-1),
		nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Warn("nats", "conn", name, "subject", subject, "err", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("nats disconnected", "conn", name, "err", err)
			}
		}),
	}
	if server != nil {
		opts = append(opts, nats.InProcessServer(server.s))
	}
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, fmt.Errorf("bus: connect: %w", err)
	}
	return nc, nil
}

// serverLog writes the server's log lines to slog.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(f string, v ...any) { l.log.Debug(fmt.Sprintf(f, v...)) }
func (l serverLog) Warnf(f string, v ...any)   { l.log.Warn(fmt.Sprintf(f, v...)) }
func (l serverLog) Fatalf(f string, v ...any)  { l.log.Error(fmt.Sprintf(f, v...)) }
func (l serverLog) Errorf(f string, v ...any)  { l.log.Error(fmt.Sprintf(f, v...)) }
func (l serverLog) Debugf(f string, v ...any)  { l.log.Debug(fmt.Sprintf(f, v...)) }
func (l serverLog) Tracef(f string, v ...any)  { l.log.Debug(fmt.Sprintf(f, v...)) }
