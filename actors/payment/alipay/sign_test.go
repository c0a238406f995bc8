package alipay_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"ordo/actors/payment/alipay"
	"ordo/api"
)

// ACCEPT Y1
func TestKeysInEveryForm(t *testing.T) {
	key := privateKey(t, "app_private_pkcs8.pem")
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PrivateKey(key)
	for name, text := range map[string]string{
		"PKCS1 PEM":            pemText("RSA PRIVATE KEY", pkcs1),
		"PKCS8 PEM":            pemText("PRIVATE KEY", pkcs8),
		"PKCS1 base64":         base64.StdEncoding.EncodeToString(pkcs1),
		"PKCS8 base64":         base64.StdEncoding.EncodeToString(pkcs8),
		"base64 in lines":      lines(base64.StdEncoding.EncodeToString(pkcs8)) + "\r\n",
		"PEM with text before": "the app's key\n" + pemText("PRIVATE KEY", pkcs8),
	} {
		got, err := alipay.ParsePrivateKey([]byte(text))
		if err != nil || !got.Equal(key) {
			t.Errorf("%s: %v", name, err)
		}
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public1 := x509.MarshalPKCS1PublicKey(&key.PublicKey)
	cert := certificate(t, key)
	for name, text := range map[string]string{
		"SPKI PEM":     pemText("PUBLIC KEY", spki),
		"PKCS1 PEM":    pemText("RSA PUBLIC KEY", public1),
		"SPKI base64":  lines(base64.StdEncoding.EncodeToString(spki)),
		"PKCS1 base64": base64.StdEncoding.EncodeToString(public1),
		"certificate":  pemText("CERTIFICATE", cert),
	} {
		got, err := alipay.ParsePublicKey([]byte(text))
		if err != nil || !got.Equal(&key.PublicKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// ACCEPT Y1
func TestKeysThatAreRefused(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := x509.MarshalPKCS8PrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	ecPublic, err := x509.MarshalPKIXPublicKey(&curve.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		pemText("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small)): "1024 bits",
		pemText("PRIVATE KEY", ec):                                     "not RSA",
		string(read(t, embedded, "app_public.pem")):                    "PKCS #8",
		"-----BEGIN PRIVATE KEY-----\nxx":                              "broken",
		"":                                                             "empty",
		"no key at all!":                                               "base64",
		"AAAA":                                                         "PKCS #8",
		strings.Repeat("A", 70000):                                     "longer",
	} {
		_, err := alipay.ParsePrivateKey([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	for text, want := range map[string]string{
		pemText("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&small.PublicKey)): "1024 bits",
		pemText("PUBLIC KEY", ecPublic):                                         "not RSA",
		string(read(t, embedded, "app_private_pkcs8.pem")):                      "neither",
		" ": "empty", "%": "base64",
	} {
		_, err := alipay.ParsePublicKey([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestSignStringRules(t *testing.T) {
	p := alipay.Params{"b": "2 & 3=%26", "a": "", "A": "é", "sign": "x", "sign_type": "RSA2"}
	for want, omit := range map[string][]string{
		"A=é&b=2 & 3=%26&sign_type=RSA2":        {"sign"},
		"A=é&b=2 & 3=%26":                       {"sign", "sign_type"},
		"A=é&b=2 & 3=%26&sign=x&sign_type=RSA2": nil,
	} {
		if got := alipay.SignString(p, omit...); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSignaturesThatAreRefused(t *testing.T) {
	key := privateKey(t, "app_private_pkcs8.pem")
	good, err := alipay.Sign(key, "text")
	if err != nil {
		t.Fatal(err)
	}
	if err := alipay.Verify(&key.PublicKey, "text", good); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "!", good[:len(good)-4], good + "AAAA", "AAAA" + good[4:]} {
		err := alipay.Verify(&key.PublicKey, "text", bad)
		if !errors.Is(err, alipay.ErrSignature) {
			t.Errorf("%.12q: %v", bad, err)
		}
	}
	if alipay.Verify(&key.PublicKey, "texT", good) == nil {
		t.Error("another text is believed")
	}
}

// ACCEPT Y1
func TestRequestsThatTheGatewayRefuses(t *testing.T) {
	key := privateKey(t, "app_private_pkcs8.pem")
	p := alipay.Params{"method": alipay.MethodQuery, "sign_type": "RSA2", "app_id": "1"}
	sign := func(p alipay.Params) url.Values {
		values := p.Values()
		sign, err := alipay.Sign(key, alipay.SignString(p, "sign"))
		if err != nil {
			t.Fatal(err)
		}
		values.Set("sign", sign)
		return values
	}
	// A field in query and body alike, an extra signed field, and an empty one.
	good := sign(alipay.Params{"charset": "utf-8", "sign_type": "RSA2", "x_more": "1", "y": ""})
	good.Add("charset", "utf-8")
	if got, err := alipay.VerifyRequest(&key.PublicKey, good); err != nil || got["x_more"] != "1" {
		t.Fatalf("%v, %v", got, err)
	}
	two := sign(p)
	two.Add("app_id", "2")
	hidden := sign(p)
	hidden.Del("app_id")
	hidden.Del("method")
	hidden.Set("app_id=1&method", alipay.MethodQuery)
	unsigned := sign(p)
	unsigned.Set("extra", "1")
	for name, c := range map[string]struct {
		values url.Values
		want   error
	}{
		"two values":      {two, alipay.ErrMalformed},
		"a field in one":  {hidden, alipay.ErrMalformed},
		"an unsigned one": {unsigned, alipay.ErrSignature},
		"RSA":             {sign(alipay.Params{"sign_type": "RSA"}), alipay.ErrSignature},
		"nothing":         {nil, alipay.ErrSignature},
	} {
		if _, err := alipay.VerifyRequest(&key.PublicKey, c.values); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEnvelopesOfTheGatewaySide(t *testing.T) {
	key := privateKey(t, "alipay_private_pkcs8.pem")
	for method, want := range map[string]string{
		"":                 "error_response",
		`x"y`:              "error_response",
		alipay.MethodClose: "alipay_trade_close_response",
	} {
		body, err := alipay.EnvelopeSigned(key, method, []byte(`{"code":"40002"}`))
		if err != nil || !strings.HasPrefix(string(body), `{"`+want+`":{"code":"40002"},"sign":"`) {
			t.Errorf("%q: %s, %v", method, body, err)
		}
		var refused *alipay.GatewayError
		err = alipay.ParseAnswer(&key.PublicKey, alipay.MethodClose, body, &struct{}{})
		if !errors.As(err, &refused) || refused.Code != alipay.CodeInvalid {
			t.Errorf("%q: read back: %v", method, err)
		}
	}
	for _, inner := range []string{"", "[]", "{", `{"a":1} {}`} {
		if _, err := alipay.EnvelopeSigned(key, "", []byte(inner)); err == nil {
			t.Errorf("%q is signed", inner)
		}
	}
}

func TestAmountsAndTimesOnTheWire(t *testing.T) {
	for s, want := range map[string]int64{"88.88": 8888, "0.01": 1, "1": 100, "100000000.00": 1e10,
		"5.5": 550, "0.00": 0} {
		m, err := alipay.ParseAmount(s, "GBP")
		if err != nil || m != (api.Money{Amount: want, Currency: "GBP"}) {
			t.Errorf("%s: %v, %v", s, m, err)
		}
	}
	for _, s := range []string{"", "-0.01", "-0", "+1", "1e3", "1.", ".5", "0.001", "1,000", " 1",
		"100000000.01", "99999999999999999999", "８"} {
		if m, err := alipay.ParseAmount(s, "CNY"); !errors.Is(err, alipay.ErrMalformed) {
			t.Errorf("%q: %v, %v", s, m, err)
		}
	}
	for amount, want := range map[int64]string{1: "0.01", 100: "1.00", 8888: "88.88"} {
		if got := alipay.FormatAmount(api.Money{Amount: amount, Currency: "GBP"}); got != want {
			t.Errorf("%d: %s", amount, got)
		}
	}
	at := api.TimeOf(time.Date(2025, 12, 31, 16, 4, 5, 999, time.UTC))
	if got := alipay.FormatTime(at); got != "2026-01-01 00:04:05" {
		t.Errorf("GMT+8: %s", got)
	}
	if back, err := alipay.ParseTime("2026-01-01 00:04:05.123"); err != nil ||
		back.Std().Format(time.RFC3339Nano) != "2025-12-31T16:04:05.123Z" {
		t.Errorf("%v, %v", back.Std(), err)
	}
	for _, s := range []string{"", "2026-01-01", "2026-13-01 00:00:00", "9999-01-01 00:00:00"} {
		if _, err := alipay.ParseTime(s); !errors.Is(err, alipay.ErrMalformed) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func pemText(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// lines breaks text after 64 characters, as mail and key tools do.
func lines(s string) string {
	var out []string
	for ; len(s) > 64; s = s[64:] {
		out = append(out, s[:64])
	}
	return strings.Join(append(out, s), "\r\n")
}

func certificate(t *testing.T, key *rsa.PrivateKey) []byte {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func BenchmarkSign(b *testing.B) {
	key, text := privateKey(b, "app_private_pkcs8.pem"), strings.Repeat("x", 500)
	for b.Loop() {
		if _, err := alipay.Sign(key, text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	key, text := privateKey(b, "app_private_pkcs8.pem"), strings.Repeat("x", 500)
	sign, err := alipay.Sign(key, text)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := alipay.Verify(&key.PublicKey, text, sign); err != nil {
			b.Fatal(err)
		}
	}
}
