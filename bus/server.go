package bus

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

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

// How an embedded server is healed.
const (
	// startWithin is how long a server may take to read its streams and begin, and
	// endWithin how long one that has not begun may take to end.
	startWithin = time.Minute
	endWithin   = 10 * time.Second
	// healEvery is how often it is looked at.
	healEvery = time.Second
	// healRoom is how much must be writable before it is started again, in
	// bytes.
	healRoom = 1 << 20
)

// Server is an embedded NATS server with JetStream on disk. A stream that could
// not be written once, as on a full disk, is never written again by the same
// server, which does not answer those who publish to it either. So the server is
// ended then, which everybody notices at once, and started anew when there is
// room again. Connections made by Connect come back by themselves.
type Server struct {
	cfg  ServerConfig
	opts *server.Options
	stop chan struct{}
	done chan struct{}

	mu sync.Mutex
	s  *server.Server
	// fault is why the server was ended; nil while it runs.
	fault error
}

// StartServer starts an embedded server and waits until it takes connections.
// What is published reaches the disk within a second (sync_interval): the
// actors' databases, not the streams, are the truth.
func StartServer(cfg ServerConfig) (*Server, error) {
	opts, err := serverOptions(cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, opts: opts, stop: make(chan struct{}), done: make(chan struct{})}
	if err := s.start(); err != nil {
		return nil, err
	}
	go s.heal()
	return s, nil
}

func serverOptions(cfg ServerConfig) (*server.Options, error) {
	opts := &server.Options{
		ServerName: "ordo", JetStream: true, StoreDir: cfg.Dir, SyncInterval: time.Second,
		NoSigs: true, MaxPayload: MaxPayload, DontListen: cfg.Listen == "",
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 1 << 40,
	}
	if cfg.Listen == "" {
		return opts, nil
	}
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
	return opts, nil
}

// start starts a server on the address that the one before had, and once more
// when it could not open the state of a consumer, which is then dropped.
func (s *Server) start() error {
	n, err := s.launch()
	if err != nil {
		return err
	}
	dropped, err := dropConsumers(n, s.cfg.Dir)
	if len(dropped) > 0 {
		s.cfg.Log.Warn("consumers could not be opened and begin anew", "consumers", dropped)
		n.Shutdown()
		n.WaitForShutdown()
		n, err = s.launch()
	}
	if err != nil {
		return err
	}
	if addr, ok := n.Addr().(*net.TCPAddr); ok {
		s.opts.Port = addr.Port
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s, s.fault = n, nil
	return nil
}

func (s *Server) launch() (*server.Server, error) {
	n, err := server.NewServer(s.opts.Clone())
	if err != nil {
		return nil, fmt.Errorf("bus: nats server: %w", err)
	}
	if err := s.mayListen(); err != nil {
		return nil, err
	}
	n.SetLoggerV2(serverLog{s.cfg.Log}, false, false, false)
	go n.Start()
	if n.ReadyForConnections(startWithin) {
		return n, nil
	}
	ended := make(chan struct{})
	go func() { // one that hangs may never end
		defer close(ended)
		n.Shutdown()
		n.WaitForShutdown()
	}()
	select {
	case <-ended:
		return nil, fmt.Errorf("bus: nats server: not ready after %s", startWithin)
	case <-time.After(endWithin):
		return nil, fmt.Errorf("%w: not ready after %s", errHangs, startWithin)
	}
}

// errHangs: the server neither starts nor ends. Only with the process does it
// let go of its directory.
var errHangs = errors.New("bus: nats server hangs; start the process again, and if it hangs " +
	"again move its directory aside: see docs/operations.md")

// mayListen tells at once what the server would only log: that it can't have its
// address.
func (s *Server) mayListen() error {
	if s.opts.DontListen {
		return nil
	}
	port := max(s.opts.Port, 0) // server.RANDOM_PORT is -1
	l, err := net.Listen("tcp", net.JoinHostPort(s.opts.Host, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("bus: nats server: %w", err)
	}
	return l.Close()
}

// dropConsumers deletes from the directory the consumers that a server did not
// open, because what is kept of them is damaged: they could not be made anew
// beside it. Mailboxes are read on from the actors' own places, and timers and
// effects that come again are recognised.
func dropConsumers(n *server.Server, dir string) (dropped []string, err error) {
	info, err := n.Jsz(&server.JSzOptions{Accounts: true, Streams: true, Consumer: true})
	if err != nil {
		return nil, fmt.Errorf("bus: nats server: %w", err)
	}
	for _, account := range info.AccountDetails {
		for i := range account.Streams {
			stream := &account.Streams[i]
			open := map[string]bool{}
			for _, c := range stream.Consumer {
				open[c.Name] = true
			}
			path := filepath.Join(dir, server.JetStreamStoreDir, account.Name, "streams",
				stream.Name, "obs")
			kept, err := os.ReadDir(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return dropped, fmt.Errorf("bus: nats server: %w", err)
			}
			for _, c := range kept {
				if open[c.Name()] {
					continue
				}
				if err := os.RemoveAll(filepath.Join(path, c.Name())); err != nil {
					return dropped, fmt.Errorf("bus: nats server: %w", err)
				}
				dropped = append(dropped, stream.Name+"/"+c.Name())
			}
		}
	}
	return dropped, nil
}

// heal ends the server when it can't write, and starts it anew when it can.
func (s *Server) heal() {
	defer close(s.done)
	ticker := time.NewTicker(healEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
		if s.Fault() == nil {
			s.check()
			continue
		}
		if tryWrite(s.cfg.Dir) != nil {
			continue
		}
		if err := s.start(); err != nil {
			s.cfg.Log.Error("NATS server not started", "err", err)
			if errors.Is(err, errHangs) {
				return // a second one on the same directory would destroy it
			}
			continue
		}
		s.cfg.Log.Info("the NATS server has been started anew")
	}
}

// check ends a server that can't write.
func (s *Server) check() {
	s.mu.Lock()
	n := s.s
	s.mu.Unlock()
	err := writeFault(n.Healthz(&server.HealthzOptions{Details: true}))
	if err == nil {
		return
	}
	s.cfg.Log.Error("streams can't be written; the NATS server waits for room", "err", err)
	s.mu.Lock()
	s.fault = err
	s.mu.Unlock()
	s.shutdown()
}

// writeFault is the first fault of writing among what the server says of
// itself. Streams that it could not open are not its matter.
func writeFault(h *server.HealthStatus) error {
	for _, e := range h.Errors {
		if e.Type == server.HealthzErrorJetStream ||
			e.Type == server.HealthzErrorStream && strings.Contains(e.Error, "write error") {
			return errors.New(e.Error)
		}
	}
	return nil
}

// tryWrite tells whether there is room in a directory.
func tryWrite(dir string) error {
	f, err := os.CreateTemp(dir, "room-")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, healRoom))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// Fault tells why the server does not run, because streams can't be written;
// nil when it does.
func (s *Server) Fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// InProcessConn implements nats.InProcessConnProvider with the server that
// runs now.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		return nil, s.fault
	}
	return s.s.InProcessConn()
}

// URL is where other processes connect; empty when the server does not listen.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.s.Addr() == nil {
		return ""
	}
	return "nats://" + s.s.Addr().String()
}

// Shutdown stops the server and waits until it has. It may be called again.
func (s *Server) Shutdown() {
	s.mu.Lock()
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.mu.Unlock()
	<-s.done
	s.shutdown()
}

func (s *Server) shutdown() {
	s.mu.Lock()
	n := s.s
	s.mu.Unlock()
	n.Shutdown()
	n.WaitForShutdown()
}

// Connect opens a connection: in-process to server when it is not nil, else to
// the cluster at url. It reconnects for ever. Answers come to InboxPrefix.
func Connect(server *Server, url, name string, log *slog.Logger) (*nats.Conn, error) {
	opts := []nats.Option{
		Inbox(url),
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
		opts = append(opts, nats.InProcessServer(server))
	}
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, fmt.Errorf("bus: connect: %w", err)
	}
	return nc, nil
}

// Inbox has answers come to InboxPrefix.
func Inbox(urls string) nats.Option {
	return func(o *nats.Options) error {
		o.InboxPrefix = InboxPrefix(urls) // empty is nats.go's own
		return nil
	}
}

// InboxPrefix is where answers come to a user with a password: _INBOX.<user>, so that
// users can be kept from hearing those to others. It is empty, which is nats.go's own,
// when the first of the URLs has none (a name alone is a token) or its name is no part
// of a subject.
func InboxPrefix(urls string) string {
	first, _, _ := strings.Cut(urls, ",")
	u, err := url.Parse(strings.TrimSpace(first))
	if err != nil || u.User == nil {
		return ""
	}
	if _, has := u.User.Password(); !has {
		return ""
	}
	user := u.User.Username()
	if strings.ContainsFunc(user, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '_'
	}) {
		return ""
	}
	return nats.InboxPrefix + user
}

// serverLog writes the server's log lines to slog.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(f string, v ...any) { l.log.Debug(fmt.Sprintf(f, v...)) }
func (l serverLog) Warnf(f string, v ...any)   { l.log.Warn(fmt.Sprintf(f, v...)) }
func (l serverLog) Fatalf(f string, v ...any)  { l.log.Error(fmt.Sprintf(f, v...)) }
func (l serverLog) Errorf(f string, v ...any)  { l.log.Error(fmt.Sprintf(f, v...)) }
func (l serverLog) Debugf(f string, v ...any)  { l.log.Debug(fmt.Sprintf(f, v...)) }
func (l serverLog) Tracef(f string, v ...any)  { l.log.Debug(fmt.Sprintf(f, v...)) }
