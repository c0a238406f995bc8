package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// server is a shop in a child process, this same binary.
type server struct {
	url, token string
	dir        string // temporary, to be removed
	cmd        *exec.Cmd
	done       chan error
}

// startServer starts a shop on a free port and waits until it is ready.
// Without a directory it gets a temporary one.
func startServer(ctx context.Context, data, currency string, log io.Writer) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{token: rand.Text(), done: make(chan error, 1)}
	if data == "" {
		if s.dir, err = os.MkdirTemp("", "ordo-"); err != nil {
			return nil, err
		}
		data = s.dir
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, errors.Join(err, removeDir(s.dir))
	}
	s.url = "http://" + addr
	s.cmd = exec.Command(self, "--log-level=warn", "serve", "--data", data, "--http", addr,
		"--nats-listen=", "--currency", currency, "--sandbox")
	// In the environment the token is not seen by other users' ps.
	s.cmd.Env = append(withoutOwn(os.Environ()), "ORDO_ADMIN_TOKEN="+s.token)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, removeDir(s.dir))
	}
	go func() { s.done <- s.cmd.Wait() }() // ends with the child
	if err := newClient(s.url, 1).waitReady(ctx, time.Minute); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// withoutOwn leaves out what would have the child be another shop than is
// measured. What only looks at it, such as ORDO_PPROF, stays.
func withoutOwn(env []string) []string {
	var kept []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		switch name {
		case "ORDO_NATS", "ORDO_ONLY", "ORDO_NO_API", "ORDO_TLS_CERT", "ORDO_TLS_KEY",
			"ORDO_ADMIN_TOKEN", "ORDO_CONFIG", "ORDO_MAX_UNITS", "ORDO_DRAIN":
		default:
			kept = append(kept, e)
		}
	}
	return kept
}

// freeAddr is a loopback address that was free a moment ago.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// stop ends the child and removes its temporary files.
func (s *server) stop() error {
	err := s.cmd.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	select {
	case werr := <-s.done:
		if werr != nil {
			err = errors.Join(err, fmt.Errorf("server: %w", werr))
		}
	case <-time.After(30 * time.Second):
		err = errors.Join(err, errors.New("server did not stop"), s.cmd.Process.Kill(), <-s.done)
	}
	return errors.Join(err, removeDir(s.dir))
}
