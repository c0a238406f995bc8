package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"ordo/actors/payment/alipay"
	"ordo/actors/payment/sandbox"
	"ordo/api/rest"
)

// SandboxCmd runs a payment gateway to try a shop with, alone. No real money
// moves. Row Y5.
type SandboxCmd struct {
	HTTP         string   `help:"Address of the gateway." default:"127.0.0.1:8090"`
	Data         string   `help:"Directory of its state." default:"ordo-sandbox"`
	AppID        string   `help:"The shop's app id." required:"" placeholder:"ID"`
	AppPublicKey string   `help:"The shop's public key, PEM or base64." required:"" placeholder:"FILE"`
	GatewayKey   string   `help:"The sandbox's own private key." required:"" placeholder:"FILE"`
	SellerID     string   `help:"The shop's seller id." required:"" placeholder:"ID"`
	NotifyFactor float64  `help:"Run the schedule of notifies so many times faster." default:"1"`
	Currency     string   `help:"Currency of all amounts." default:"CNY"`
	AllowNotify  []string `help:"Hosts that may be notified besides loopback." placeholder:"HOST"`
	BaseURL      string   `help:"Begins links to the cashier; empty: as the request's host." placeholder:"URL"`
}

// Run serves until the context ends.
func (c *SandboxCmd) Run(ctx context.Context, t *terminal) (err error) {
	gateway, err := c.open(t.Log)
	if err != nil {
		return err
	}
	// After the server, whose calls use it.
	defer func() { err = errors.Join(err, gateway.Close()) }()
	listener, err := net.Listen("tcp", c.HTTP)
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	server := newSandboxServer(gateway, t.Log)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Fprintf(t.Out, "sandbox gateway: http://%s/gateway.do\n", listener.Addr())
	select {
	case <-ctx.Done():
	case err = <-failed:
		return fmt.Errorf("http: %w", err)
	}
	// A call that is made to hang would hold the server up for long.
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), sandboxDrain)
	defer cancel()
	if server.Shutdown(stop) != nil {
		return server.Close()
	}
	return nil
}

// sandboxDrain is how long calls may take to finish at the end.
const sandboxDrain = 2 * time.Second

// newSandboxServer limits what callers can hold.
func newSandboxServer(h http.Handler, log *slog.Logger) *http.Server {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	rest.DropUnused(s)
	return s
}

func (c *SandboxCmd) open(log *slog.Logger) (*sandbox.Gateway, error) {
	public, err := readKeyFile(c.AppPublicKey)
	if err != nil {
		return nil, err
	}
	app, err := alipay.ParsePublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("--app-public-key: %w", err)
	}
	private, err := readKeyFile(c.GatewayKey)
	if err != nil {
		return nil, err
	}
	own, err := alipay.ParsePrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("--gateway-key: %w", err)
	}
	return sandbox.Open(sandbox.Config{Dir: c.Data, AppID: c.AppID, SellerID: c.SellerID,
		AppPublicKey: app, GatewayKey: own, NotifyFactor: c.NotifyFactor,
		NotifyHosts: c.AllowNotify,
		Currency:    c.Currency, BaseURL: c.BaseURL, Control: true, Log: log})
}

// readKeyFile reads a file that is as small as a key.
func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 64<<10))
}
