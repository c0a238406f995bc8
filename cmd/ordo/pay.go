package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ordo/actors/payment/alipay"
	"ordo/actors/payment/gateway"
	"ordo/actors/payment/sandbox"
	"ordo/actors/payment/stripe"
	"ordo/api"
	"ordo/bus"
)

// PayFlags say how money comes in and what follows it. A provider is offered
// when its account is set.
type PayFlags struct {
	PublicURL string `help:"Where providers and browsers reach the shop; its own address if not said." placeholder:"URL"`

	AlipayGateway   string `help:"Alipay's gateway." default:"https://openapi.alipay.com/gateway.do"`
	AlipayAppID     string `help:"App id at Alipay; empty: not offered." placeholder:"ID"`
	AlipaySellerID  string `help:"Seller's account number at Alipay." placeholder:"ID"`
	AlipayKey       string `help:"The app's private key, PEM or base64." placeholder:"FILE"`
	AlipayPublicKey string `help:"Alipay's public key, PEM or base64." placeholder:"FILE"`

	StripeURL    string `help:"Stripe's API." default:"https://api.stripe.com"`
	StripeKey    string `help:"Secret key at Stripe; empty: not offered." placeholder:"KEY"`
	StripeSecret string `help:"Signing secret of the Stripe webhook." placeholder:"SECRET"`

	Sandbox       bool    `help:"Run a gateway to try the shop with, at /sandbox/; no real money."`
	SandboxFactor float64 `help:"How much faster than Alipay's the sandbox repeats notices." default:"1"`
	Production    bool    `help:"Refuse what is only for trying out: the sandbox."`

	PayMargin   time.Duration `help:"How long after its time limit an expired payment is let go." default:"1m"`
	PayQuery    time.Duration `help:"When an open payment is first asked about." default:"15s"`
	PointsPer   int64         `help:"Minor units of a paid total for one point; 0 for no points." default:"100"`
	RefundTime  time.Duration `help:"How long after payment a shopper's refund needs no support." default:"0s"`
	AutoReceive time.Duration `help:"How long after shipping an order counts as received." default:"336h"`

	BreakerFailures uint          `help:"After how many failures in a row a provider is left alone." default:"10"`
	BreakerRest     time.Duration `help:"How long a provider that failed is left alone." default:"10s"`

	CourseFull string `help:"What a paid order for a full course gets." enum:"wait,refund" default:"wait"`
}

// demoPay is how a demo or a replay is paid: at the sandbox.
func demoPay() PayFlags {
	return PayFlags{Sandbox: true, PayMargin: time.Minute, PointsPer: 100,
		RefundTime: 30 * 24 * time.Hour}
}

// setDefaults fills in what must not be zero.
func (f *PayFlags) setDefaults() {
	f.SandboxFactor = cmp.Or(f.SandboxFactor, 1)
	f.PayQuery = cmp.Or(f.PayQuery, 15*time.Second)
	f.BreakerFailures = cmp.Or(f.BreakerFailures, 10)
	f.BreakerRest = cmp.Or(f.BreakerRest, 10*time.Second)
	f.AutoReceive = cmp.Or(f.AutoReceive, 14*24*time.Hour)
	f.CourseFull = cmp.Or(f.CourseFull, api.FullWait)
}

// Validate refuses what can't work together.
func (f *PayFlags) Validate() error {
	errs := []error{
		within("pay-margin", f.PayMargin, 0, 24*time.Hour),
		within("pay-query", f.PayQuery, time.Second, 24*time.Hour),
		within("points-per", f.PointsPer, 0, api.MaxAmount),
		within("refund-time", f.RefundTime, 0, 10*365*24*time.Hour),
		within("breaker-failures", int64(f.BreakerFailures), 1, 1_000_000),
		within("breaker-rest", f.BreakerRest, time.Second, time.Hour),
		within("auto-receive", f.AutoReceive, time.Second, 365*24*time.Hour),
	}
	alipay, stripe := f.AlipayAppID != "", f.StripeKey != ""
	for _, rule := range []struct {
		broken bool
		says   string
	}{
		{f.Sandbox && f.Production, "--sandbox is not for --production"},
		{f.Sandbox && alipay,
			"--sandbox and --alipay-app-id are two gateways of the same kind: give one"},
		{alipay && slices.Contains([]string{f.AlipaySellerID, f.AlipayKey, f.AlipayPublicKey}, ""),
			"--alipay-app-id needs --alipay-seller-id, --alipay-key and --alipay-public-key"},
		{f.Production && f.PublicURL == "" && (alipay || stripe),
			"--production: providers need --public-url to bring their notices"},
		{stripe != (f.StripeSecret != ""), "--stripe-key and --stripe-secret go together"},
	} {
		if rule.broken {
			errs = append(errs, errors.New(rule.says))
		}
	}
	return errors.Join(append(errs, checkFactor(f.SandboxFactor),
		checkWebURL("public-url", f.PublicURL), checkWebURL("alipay-gateway", f.AlipayGateway),
		checkWebURL("stripe-url", f.StripeURL))...)
}

func checkFactor(n float64) error {
	if n <= 0 || n > sandbox.MaxNotifyFactor || math.IsNaN(n) {
		return fmt.Errorf("--sandbox-factor must be above 0 and at most %.0e",
			float64(sandbox.MaxNotifyFactor))
	}
	return nil
}

// checkWebURL refuses what is neither empty nor an address of the web.
func checkWebURL(flag, text string) error {
	u, err := url.Parse(text)
	if text != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("--%s: %q is not an http or https URL", flag, text)
	}
	return nil
}

// gateways makes the providers, and the sandbox where there is one.
func (s *Shop) gateways() error {
	f := &s.cfg.Pay
	base := strings.TrimSuffix(cmp.Or(f.PublicURL, reachable(s.URL), "http://localhost"), "/")
	list := map[string]gateway.Gateway{}
	account := alipay.Config{Gateway: f.AlipayGateway, AppID: f.AlipayAppID,
		SellerID: f.AlipaySellerID, NotifyURL: base + "/pay/alipay/notify",
		ReturnURL: base + "/pay/alipay/return", Currency: s.cfg.Currency, HTTP: payClient(nil)}
	var err error
	switch {
	case f.Sandbox:
		err = s.openSandbox(&account, base)
	case f.AlipayAppID != "":
		err = readKeys(f, &account)
	}
	if err != nil {
		return err
	}
	if account.AppID != "" {
		if list[api.PayAlipay], err = gateway.NewAlipay(account); err != nil {
			return err
		}
	}
	if f.StripeKey != "" {
		if list[api.PayStripe], err = gateway.NewStripe(stripe.Config{API: f.StripeURL,
			SecretKey: f.StripeKey, WebhookSecret: f.StripeSecret,
			SuccessURL: base + "/pay/stripe/return",
			CancelURL:  base + "/pay/stripe/return", HTTP: payClient(nil)}); err != nil {
			return err
		}
	}
	s.pay = gateway.NewGuarded(list, gateway.Guard{Failures: f.BreakerFailures,
		Rest: f.BreakerRest})
	return nil
}

// reachable is the URL with loopback in the place of an address that stands for
// all of the machine's, which nobody can be sent to.
func reachable(shop string) string {
	u, err := url.Parse(shop)
	if err != nil || shop == "" {
		return shop
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.IsUnspecified() {
		u.Host = net.JoinHostPort("127.0.0.1", u.Port())
	}
	return u.String()
}

// payMethods are the ways to pay that the shop offers.
func (s *Shop) payMethods() []string {
	methods := []string{}
	for _, name := range []string{api.PayAlipay, api.PayStripe} {
		if s.pay.Get(name) != nil {
			methods = append(methods, name)
		}
	}
	return methods
}

// payClient calls providers: a try is bounded by bus.EffectTimeout, and many
// of them run side by side. Trust is whose certificates count; nil for the
// system's.
func payClient(trust *x509.CertPool) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if trust != nil {
		t.TLSClientConfig = &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12}
	}
	t.MaxIdleConnsPerHost = payWorkers
	t.MaxConnsPerHost = 4 * payWorkers // of each kind
	return &http.Client{Timeout: bus.EffectTimeout, Transport: t}
}

// ownTrust is the system's trust and the shop's own certificate: the sandbox in a
// shop and the shop speak to each other, and it may be signed by itself.
func (s *Shop) ownTrust() (*x509.CertPool, error) {
	if s.cfg.Certificate == nil {
		return nil, nil
	}
	trust, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	for _, der := range s.cfg.Certificate.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("sandbox: %w", err)
		}
		trust.AddCert(c)
	}
	return trust, nil
}

func readKeys(f *PayFlags, account *alipay.Config) error {
	private, err := os.ReadFile(f.AlipayKey)
	if err != nil {
		return fmt.Errorf("--alipay-key: %w", err)
	}
	if account.PrivateKey, err = alipay.ParsePrivateKey(private); err != nil {
		return fmt.Errorf("--alipay-key %s: %w", f.AlipayKey, err)
	}
	public, err := os.ReadFile(f.AlipayPublicKey)
	if err != nil {
		return fmt.Errorf("--alipay-public-key: %w", err)
	}
	if account.AlipayPublicKey, err = alipay.ParsePublicKey(public); err != nil {
		return fmt.Errorf("--alipay-public-key %s: %w", f.AlipayPublicKey, err)
	}
	return nil
}

// The merchant that the sandbox inside of a shop serves.
const (
	sandboxApp    = "2021000000000001"
	sandboxSeller = "2088000000000001"
	sandboxPath   = "/sandbox"
)

// openSandbox runs the sandbox with keys of its own, kept in the data
// directory, and makes the shop its merchant.
func (s *Shop) openSandbox(account *alipay.Config, base string) error {
	dir := filepath.Join(s.cfg.Data, "sandbox")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	app, err := keptKey(filepath.Join(dir, "app.pem"))
	if err != nil {
		return err
	}
	own, err := keptKey(filepath.Join(dir, "gateway.pem"))
	if err != nil {
		return err
	}
	trust, err := s.ownTrust()
	if err != nil {
		return err
	}
	account.HTTP = payClient(trust)
	s.sandbox, err = sandbox.Open(sandbox.Config{Dir: dir, AppID: sandboxApp,
		SellerID: sandboxSeller, AppPublicKey: &app.PublicKey, GatewayKey: own,
		NotifyFactor: s.cfg.Pay.SandboxFactor, RootCAs: trust, Currency: s.cfg.Currency,
		BaseURL: base + sandboxPath, Control: true, Log: s.cfg.Log.With("part", "sandbox")})
	if err != nil {
		return err
	}
	account.Gateway = base + sandboxPath + "/gateway.do"
	account.AppID, account.SellerID = sandboxApp, sandboxSeller
	account.PrivateKey, account.AlipayPublicKey = app, &own.PublicKey
	return nil
}

// keptKey reads a private key, which it makes at the first start.
func keptKey(path string) (*rsa.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		key, err := alipay.ParsePrivateKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return key, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	text = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	return key, nil
}

// payWorkers is how many calls to providers of one kind run side by side.
const payWorkers = 16

// callProviders does the payment actor's effects until run ends.
func (s *Shop) callProviders(run context.Context) {
	for _, name := range []string{api.EffectPayOpen, api.EffectPayQuery, api.EffectPayClose,
		api.EffectPayRefund} {
		s.wg.Go(func() {
			s.work(run, bus.Worker{Actor: "payment", Name: name, Parallel: payWorkers,
				Do: s.pay.Do})
		})
	}
}

// configureActors brings the shop's rules to the actors of this process.
func (s *Shop) configureActors(run context.Context) {
	f := &s.cfg.Pay
	seconds := func(d time.Duration) int64 { return int64(d.Seconds()) }
	rules := map[string]api.Message{
		"order": &api.ConfigureOrders{Currency: s.cfg.Currency,
			ExpirySeconds: seconds(s.cfg.Expiry), SubmitSeconds: seconds(s.cfg.SubmitDeadline),
			MaxUnits: s.cfg.MaxUnits, PointsPer: f.PointsPer, RefundSeconds: seconds(f.RefundTime)},
		"payment": &api.ConfigurePayments{MarginSeconds: seconds(f.PayMargin),
			QuerySeconds: seconds(f.PayQuery)},
		"learning": &api.ConfigureLearning{WhenFull: f.CourseFull},
		"shipping": &api.ConfigureShipping{AutoReceiveSeconds: seconds(f.AutoReceive)},
	}
	for actor, m := range rules {
		if s.runs(actor) {
			s.wg.Go(func() { s.configure(run, m) })
		}
	}
}

// configure brings one message to its actor, however long that takes.
func (s *Shop) configure(run context.Context, m api.Message) {
	actor := m.Route().Actor
	for run.Err() == nil {
		ctx, cancel := context.WithTimeout(run, drainWait)
		err := s.edge.Do(ctx, "configure-"+rand.Text(), m, nil)
		cancel()
		if err == nil || run.Err() != nil {
			return
		}
		if e := api.AsError(err); e != nil && e.Code == api.CodeInvalid {
			s.fail(fmt.Errorf("configuration of %s: %w", actor, err))
			return
		}
		s.cfg.Log.Warn("the actor has not taken its configuration", "actor", actor, "err", err)
	}
}
