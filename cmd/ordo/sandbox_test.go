package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ordo/actors/payment/alipay"
	"ordo/api"
)

// vectorKey is a worthless key of the recorded vectors.
func vectorKey(name string) string {
	return filepath.Join("..", "..", "actors", "payment", "alipay", "testdata", name)
}

// ACCEPT Y5
func TestSandboxCommandServesUntilItIsStopped(t *testing.T) {
	read, write := io.Pipe()
	cmd := &SandboxCmd{HTTP: "127.0.0.1:0", Data: t.TempDir(), AppID: "2021", SellerID: "2088",
		AppPublicKey: vectorKey("app_public.pem"), Currency: "CNY", NotifyFactor: 1000,
		GatewayKey: vectorKey("alipay_private_pkcs8.pem")}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		log := slog.New(slog.DiscardHandler)
		ended <- cmd.Run(ctx, &terminal{Out: write, Err: io.Discard, Log: log})
		write.Close()
	}()
	line, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		t.Fatal(err, <-ended)
	}
	_, gateway, _ := strings.Cut(strings.TrimSpace(line), ": ")
	private, err := readKeyFile(vectorKey("app_private_pkcs8.pem"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := alipay.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	public, err := readKeyFile(vectorKey("alipay_public.pem"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := alipay.ParsePublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	client, err := alipay.New(alipay.Config{Gateway: gateway, AppID: "2021", SellerID: "2088",
		PrivateKey: key, AlipayPublicKey: own, NotifyURL: "http://127.0.0.1:1/",
		ReturnURL: "http://127.0.0.1:1/"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	code, err := client.Precreate(t.Context(), alipay.Payment{OutTradeNo: "A1", Subject: "s",
		Amount: api.Money{Amount: 1, Currency: "CNY"}, At: api.TimeOf(now),
		Expire: api.TimeOf(now.Add(time.Hour))})
	if err != nil {
		t.Fatal(err)
	}
	w, err := http.Get(code.QRCode)
	if err != nil {
		t.Fatal(err)
	}
	w.Body.Close()
	trade, err := client.Query(t.Context(), "A1")
	if err != nil || trade.Status != alipay.WaitBuyerPay || w.StatusCode != http.StatusOK {
		t.Errorf("%d %+v %v", w.StatusCode, trade, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestSandboxCommandRefusesBadKeys(t *testing.T) {
	good := SandboxCmd{HTTP: "127.0.0.1:0", Data: t.TempDir(), AppID: "2021", SellerID: "2088",
		AppPublicKey: vectorKey("app_public.pem"), NotifyFactor: 1,
		GatewayKey: vectorKey("alipay_private_pkcs8.pem")}
	for name, change := range map[string]func(*SandboxCmd){
		"--app-public-key": func(c *SandboxCmd) { c.AppPublicKey = c.GatewayKey },
		"--gateway-key":    func(c *SandboxCmd) { c.GatewayKey = c.AppPublicKey },
		"no such file":     func(c *SandboxCmd) { c.GatewayKey = filepath.Join(c.Data, "none") },
		"notify factor":    func(c *SandboxCmd) { c.NotifyFactor = -1 },
	} {
		cmd := good
		change(&cmd)
		term := &terminal{Out: io.Discard, Err: io.Discard, Log: slog.New(slog.DiscardHandler)}
		if err := cmd.Run(t.Context(), term); err == nil ||
			!strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
