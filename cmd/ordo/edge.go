package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ordo/actors/journal/webhook"
	"ordo/api"
	"ordo/api/rest"
	"ordo/api/web"
	"ordo/api/web/console"
	"ordo/bus"
	"ordo/stores"
)

const (
	// followEvery is how often an API process asks for ended sessions.
	followEvery = time.Second
	// drainWait is how long requests may take to finish at the end.
	drainWait = 15 * time.Second
)

// removeFromCarts does the order actor's effect cart-remove.
func (s *Shop) removeFromCarts(run context.Context) {
	carts, err := s.carts(run)
	if err != nil {
		s.fail(err)
		return
	}
	s.work(run, bus.Worker{Actor: "order", Name: api.EffectCartRemove, Parallel: 16,
		Do: func(ctx context.Context, e *api.Effect) (any, error) {
			var m api.RemoveFromCart
			if err := json.Unmarshal(e.Body, &m); err != nil {
				return nil, err
			}
			return nil, carts.Take(ctx, &m)
		}})
}

// sendWebhooks does the journal's effect that calls endpoints of others.
func (s *Shop) sendWebhooks(run context.Context) {
	sender := webhook.New(webhook.Config{Ask: s.edge.Ask, Insecure: s.cfg.WebhookInsecure,
		Version: Version})
	s.wg.Go(func() {
		defer sender.Close()
		s.work(run, bus.Worker{Actor: "journal", Name: api.EffectWebhook,
			Parallel: webhook.Parallel, Timeout: webhook.Timeout, Do: sender.Do})
	})
}

func (s *Shop) carts(ctx context.Context) (*stores.Carts, error) {
	users, err := s.js.KeyValue(ctx, bus.BucketCart)
	if err != nil {
		return nil, fmt.Errorf("carts: %w", err)
	}
	guests, err := s.js.KeyValue(ctx, bus.BucketGuestCart)
	if err != nil {
		return nil, fmt.Errorf("carts: %w", err)
	}
	return stores.NewCarts(users, guests), nil
}

// startAPI serves API and pages, with TLS when there is a certificate.
func (s *Shop) startAPI(ctx, run context.Context) (err error) {
	listener, err := net.Listen("tcp", s.cfg.HTTP)
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	scheme := "http"
	if s.cfg.Certificate != nil {
		scheme = "https"
	}
	s.URL = scheme + "://" + listener.Addr().String()
	// Links to the shop name its address, so that comes before what makes them.
	if err = s.gateways(); err == nil {
		s.rest, err = s.newAPI(ctx)
	}
	var all http.Handler
	if err == nil {
		all, err = s.addresses()
	}
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	s.wg.Go(func() { s.followRevocations(run) })
	s.http = s.rest.HTTP(s.cfg.HTTP, all)
	serve := func() error { return s.http.Serve(listener) }
	if s.cfg.Certificate != nil {
		s.http.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*s.cfg.Certificate},
			MinVersion: tls.VersionTLS12}
		serve = func() error { return s.http.ServeTLS(listener, "", "") }
	}
	s.wg.Go(func() {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			s.fail(fmt.Errorf("http: %w", err))
		}
	})
	return nil
}

func (s *Shop) newAPI(ctx context.Context) (*rest.Server, error) {
	carts, err := s.carts(ctx)
	if err != nil {
		return nil, err
	}
	sessions, err := s.js.KeyValue(ctx, bus.BucketSession)
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	if s.sessions, err = stores.NewSessions(sessions, bus.SessionTTL); err != nil {
		return nil, err
	}
	s.sessions.Hold()
	checkouts, err := s.js.KeyValue(ctx, bus.BucketCheckout)
	if err != nil {
		return nil, fmt.Errorf("checkouts: %w", err)
	}
	if err := s.adminToken(); err != nil {
		return nil, err
	}
	cfg := s.told()
	cfg.Edge, cfg.Sessions, cfg.Carts = s.edge, s.sessions, carts
	cfg.Checkouts, cfg.CheckoutTTL = stores.NewCheckouts(s.js, checkouts), bus.CheckoutTTL
	cfg.Currency, cfg.PayMethods, cfg.Gateways = s.cfg.Currency, s.payMethods(), s.pay
	cfg.WebhookInsecure = s.cfg.WebhookInsecure
	return rest.New(cfg)
}

// Whom the console serves; the empty string is consoleLoopback.
const (
	consoleLoopback   = "loopback"
	consoleEverywhere = "everywhere"
	consoleOff        = "off"
)

// ofAPI are the addresses, and what they begin with, that are the API's. Every
// other one is a page's, or leads to a page that says that there is nothing.
var ofAPI = [...]string{"/v1/", "/admin/", "/docs", "/docs/", "/openapi.json", "/livez",
	"/readyz", "/metrics", "/debug/pprof/", "/pay/{provider}/notify"}

// addresses are all that the shop serves by HTTP: the API, the pages, and the
// sandbox where there is one.
func (s *Shop) addresses() (http.Handler, error) {
	secure := s.cfg.Certificate != nil || strings.HasPrefix(s.cfg.Pay.PublicURL, "https://")
	pages, err := web.New(web.Config{API: s.rest, Currency: s.cfg.Currency, Log: s.cfg.Log,
		Secure: secure})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	for _, path := range ofAPI {
		mux.Handle(path, s.rest)
	}
	if s.sandbox != nil {
		mux.Handle(sandboxPath+"/", http.StripPrefix(sandboxPath, s.sandbox))
	}
	if s.cfg.Console != consoleOff {
		operators, err := console.New(console.Config{API: s.rest, Log: s.cfg.Log,
			Everywhere: s.cfg.Console == consoleEverywhere, Secure: secure})
		if err != nil {
			return nil, err
		}
		counted := s.meters.pages("console", operators)
		mux.Handle(console.Prefix, counted)
		mux.Handle(console.Prefix+"/", counted)
	}
	mux.Handle("/", s.meters.pages("page", pages))
	return mux, nil
}

// adminToken takes the configured token, or the one in the data directory,
// which it makes at the first start.
func (s *Shop) adminToken() error {
	if s.AdminToken != "" {
		return nil // it has been taken
	}
	if s.AdminToken = s.cfg.AdminToken; s.AdminToken != "" {
		return nil
	}
	path := filepath.Join(s.cfg.Data, "admin-token")
	text, err := os.ReadFile(path)
	if err == nil {
		s.AdminToken = strings.TrimSpace(string(text))
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("admin token: %w", err)
	}
	if s.AdminToken != "" {
		return nil
	}
	s.AdminToken, s.NewToken = "adm_"+rand.Text(), true
	if err := os.WriteFile(path, []byte(s.AdminToken+"\n"), 0o600); err != nil {
		return fmt.Errorf("admin token: %w", err)
	}
	return nil
}

// followRevocations has the sessions that the user actor knows to have ended
// refused here. No session is believed before the first of them are known.
func (s *Shop) followRevocations(run context.Context) {
	var after int64
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for run.Err() == nil {
		var list api.RevocationList
		if err := s.edge.Ask(run, &api.ListRevocations{After: after}, &list); err == nil {
			for _, r := range list.Revocations {
				s.sessions.Revoke(r)
				after = max(after, r.Seq)
			}
			if len(list.Revocations) == 0 {
				s.sessions.Release()
			}
		}
		if len(list.Revocations) > 0 {
			continue
		}
		select {
		case <-run.Done():
		case <-ticker.C:
		}
	}
}

// closeAPI closes the HTTP address and finishes the requests in work.
func (s *Shop) closeAPI(ctx context.Context) (errs []error) {
	if s.rest != nil {
		s.rest.Close()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWait)
	defer cancel()
	for _, each := range []*http.Server{s.http, s.signals} {
		if each == nil {
			continue
		}
		if err := each.Shutdown(ctx); err != nil {
			errs = append(errs, err, each.Close())
		}
	}
	return errs
}
