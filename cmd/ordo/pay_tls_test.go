package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"math/big"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ordo/api"
)

// ACCEPT P6 Y5
// A shop with a certificate that it signed itself and its sandbox reach each
// other: the gateway is asked, and its notice arrives.
func TestSandboxOverHTTPS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	shop, err := StartShop(t.Context(), ShopConfig{Data: t.TempDir(), HTTP: "127.0.0.1:0",
		Pay: demoPay(), Log: slog.New(slog.DiscardHandler),
		Certificate: &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := shop.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	now := api.TimeOf(time.Now())
	a := &api.Attempt{ID: api.NewID(api.PrefixPayment), Order: "ord_1", Provider: api.PayAlipay,
		Product: api.ProductPage, Amount: gbp(100), OpenedAt: now, ExpiresAt: now.Add(time.Hour)}
	pay := shop.pay.Get(api.PayAlipay)
	if trade, err := pay.Query(t.Context(), a); err != nil || trade.State != api.TradeNone {
		t.Fatalf("%+v, %v", trade, err)
	}
	link, err := pay.Link(a)
	if err != nil {
		t.Fatal(err)
	}
	control := func(body any) (answer string) {
		r := httptest.NewRequest("POST", "https://127.0.0.1/control", strings.NewReader(string(
			api.Raw(body))))
		r.RemoteAddr = "127.0.0.1:1"
		w := httptest.NewRecorder()
		shop.sandbox.ServeHTTP(w, r)
		var got struct {
			Deliveries []struct {
				Answer string `json:"answer"`
			} `json:"deliveries"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
			t.Fatalf("%d %s: %v", w.Code, w.Body, err)
		}
		if len(got.Deliveries) > 0 {
			answer = got.Deliveries[0].Answer
		}
		return answer
	}
	control(map[string]string{"action": "pay", "url": link.URL})
	// The shop has not opened this attempt, which it says; so the notice came.
	deadline := time.Now().Add(20 * time.Second)
	for answer := ""; answer != "fail"; {
		if time.Now().After(deadline) {
			t.Fatalf("the notice was answered %q", answer)
		}
		if err := sleep(t.Context(), 10*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		answer = control(map[string]string{"action": "deliveries", "out_trade_no": a.ID})
	}
}
