package alipay_test

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"html"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ordo/actors/payment/alipay"
	"ordo/api"
)

// The vectors stand in testdata and, more of them, beside the checkout; where
// they come from stands in testdata/README.md.
const (
	embedded = "testdata"
	shared   = "../../../../shared/alipay-vectors"
)

// vector is one recorded message; each file uses some of the fields.
type vector struct {
	Name       string        `json:"name"`
	Expect     string        `json:"expect"`
	Method     string        `json:"method"`
	Raw        any           `json:"raw"`
	RawBody    string        `json:"raw_body"`
	FormBody   string        `json:"form_body"`
	Params     alipay.Params `json:"params"`
	SignString string        `json:"sign_string"`
	Signed     string        `json:"signed_substring"`
	Sign       string        `json:"sign"`
}

// vectorFile is one of the three files of vectors.
type vectorFile struct {
	AppID    string   `json:"app_id"`
	SellerID string   `json:"seller_id"`
	Vectors  []vector `json:"vectors"`
	Return   struct {
		URL    string        `json:"url"`
		Params alipay.Params `json:"params"`
		Sign   string        `json:"sign"`
	} `json:"return_url"`
}

// eachVector runs check on every vector of file, in testdata and beside the
// checkout.
func eachVector(t *testing.T, file string, check func(t *testing.T, f vectorFile, v vector)) {
	t.Helper()
	for _, dir := range []string{embedded, shared} {
		if _, err := os.Stat(dir); dir != embedded && errors.Is(err, os.ErrNotExist) {
			continue
		}
		f := loadVectors(t, dir, file)
		for _, v := range f.Vectors {
			t.Run(filepath.Base(dir)+"/"+v.Name, func(t *testing.T) { check(t, f, v) })
		}
	}
}

// loadVectors reads a file of vectors that must not be empty.
func loadVectors(t testing.TB, dir, file string) vectorFile {
	t.Helper()
	var f vectorFile
	if err := json.Unmarshal(read(t, dir, file), &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Vectors) == 0 {
		t.Fatalf("no vectors in %s", file)
	}
	return f
}

func read(t testing.TB, dir, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func privateKey(t testing.TB, file string) *rsa.PrivateKey {
	t.Helper()
	key, err := alipay.ParsePrivateKey(read(t, embedded, file))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func publicKey(t testing.TB, file string) *rsa.PublicKey {
	t.Helper()
	key, err := alipay.ParsePublicKey(read(t, embedded, file))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// gatewaySigns says whether the vectors' gateway made a signature of text.
func gatewaySigns(t testing.TB, text, sign string) bool {
	t.Helper()
	return alipay.Verify(publicKey(t, "alipay_public.pem"), text, sign) == nil
}

// ACCEPT Y1
func TestRequestVectorsAreSignedAlike(t *testing.T) {
	key1 := privateKey(t, "app_private_pkcs1.pem")
	key8 := privateKey(t, "app_private_pkcs8.pem")
	app, other := publicKey(t, "app_public.pem"), publicKey(t, "other_public.pem")
	eachVector(t, "requests.json", func(t *testing.T, f vectorFile, v vector) {
		if got := alipay.SignString(v.Params, "sign"); got != v.SignString {
			t.Fatalf("signed text\n%s\nwant\n%s", got, v.SignString)
		}
		for _, key := range []*rsa.PrivateKey{key1, key8} {
			if got, err := alipay.Sign(key, v.SignString); err != nil || got != v.Sign {
				t.Fatalf("sign = %s, %v", got, err)
			}
		}
		sent := sentValues(t, v.Raw)
		p, err := alipay.VerifyRequest(app, sent)
		if err != nil || p["biz_content"] != v.Params["biz_content"] {
			t.Fatalf("the request as it was sent: %v, %v", p, err)
		}
		if _, err := alipay.VerifyRequest(other, sent); !errors.Is(err, alipay.ErrSignature) {
			t.Fatalf("another app's key: %v", err)
		}
		sent.Set("app_id", "2021000000000999")
		if _, err := alipay.VerifyRequest(app, sent); !errors.Is(err, alipay.ErrSignature) {
			t.Fatalf("altered: %v", err)
		}
	})
}

// sentValues is query and body of a recorded request together: a request, a
// page with a form, or an order string.
func sentValues(t *testing.T, raw any) url.Values {
	t.Helper()
	var texts []string
	switch raw := raw.(type) {
	case map[string]any:
		_, query, _ := strings.Cut(raw["url"].(string), "?")
		texts = []string{query, raw["body"].(string)}
	case string:
		texts = []string{raw}
		action := regexp.MustCompile(`action="[^"?]*\?([^"]*)"`).FindStringSubmatch(raw)
		if action != nil {
			texts = action[1:]
			field := regexp.MustCompile(`<input type="hidden" name="(.*?)" value="(.*?)" />`)
			for _, m := range field.FindAllStringSubmatch(raw, -1) {
				texts = append(texts, url.Values{m[1]: {html.UnescapeString(m[2])}}.Encode())
			}
		}
	}
	values, err := url.ParseQuery(strings.Join(texts, "&"))
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// ACCEPT Y1
func TestAnswerVectors(t *testing.T) {
	gateway := publicKey(t, "alipay_public.pem")
	eachVector(t, "responses.json", func(t *testing.T, f vectorFile, v vector) {
		var result struct {
			Code       string `json:"code"`
			OutTradeNo string `json:"out_trade_no"`
		}
		err := alipay.ParseAnswer(gateway, v.Method, []byte(v.RawBody), &result)
		if v.Expect != "valid" {
			if !errors.Is(err, alipay.ErrUnknown) || result.Code != "" {
				t.Fatalf("%s: %+v, %v", v.Expect, result, err)
			}
			return
		}
		if errors.Is(err, alipay.ErrSignature) || errors.Is(err, alipay.ErrMalformed) {
			t.Fatalf("authentic, but %v", err)
		}
		var said struct {
			Code    string `json:"code"`
			SubCode string `json:"sub_code"`
			No      string `json:"out_trade_no"`
		}
		if err := json.Unmarshal([]byte(v.Signed), &said); err != nil {
			t.Fatal(err)
		}
		var refused *alipay.GatewayError
		switch said.Code {
		case alipay.CodeSuccess:
			if err != nil || result.OutTradeNo != said.No {
				t.Fatalf("%+v, %v", result, err)
			}
		case alipay.CodeUnavailable:
			if !errors.Is(err, alipay.ErrUnknown) || errors.As(err, &refused) {
				t.Fatalf("20000: %v", err)
			}
		default:
			if !errors.As(err, &refused) || refused.SubCode != said.SubCode {
				t.Fatalf("refused: %v", err)
			}
		}
	})
}

// ACCEPT Y1
func TestTheGatewaySideMakesTheSameAnswers(t *testing.T) {
	key := privateKey(t, "alipay_private_pkcs8.pem")
	same := 0
	eachVector(t, "responses.json", func(t *testing.T, f vectorFile, v vector) {
		if v.Expect != "valid" {
			return
		}
		method := v.Method
		if strings.HasPrefix(v.RawBody, `{"error_response"`) {
			method = ""
		}
		body, err := alipay.EnvelopeSigned(key, method, []byte(v.Signed))
		if err != nil {
			t.Fatal(err)
		}
		if string(body) == v.RawBody {
			same++
		} else if !strings.Contains(string(body), `"sign":"`+v.Sign+`"}`) {
			t.Fatalf("signed otherwise: %s", body)
		}
	})
	if same < 4 {
		t.Fatalf("only %d envelopes are the same byte for byte", same)
	}
}

// ACCEPT Y1 Y3 Y4
func TestNotifyVectors(t *testing.T) {
	gateway := publicKey(t, "alipay_public.pem")
	eachVector(t, "notifies.json", func(t *testing.T, f vectorFile, v vector) {
		n, err := alipay.ParseNotify(gateway, "CNY", []byte(v.FormBody))
		if v.Expect == "reject" {
			if !errors.Is(err, alipay.ErrSignature) || n != nil {
				t.Fatalf("%+v, %v", n, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(n.Params) != len(v.Params) || n.Params["subject"] != v.Params["subject"] {
			t.Fatalf("fields: %v", n.Params)
		}
		foreign := n.Check(alipay.Expected{AppID: f.AppID, SellerID: f.SellerID,
			OutTradeNo: "ORD202601020001", Amount: api.Money{Amount: 8888, Currency: "CNY"}})
		if got, want := said(n, foreign), wantSaid(v); got != want {
			t.Fatalf("says %q, want %q (%v)", got, want, foreign)
		}
	})
}

// said is what a shop hears in a notify, in one word.
func said(n *alipay.Notify, foreign error) string {
	switch {
	case foreign != nil:
		return "foreign"
	case n.Paid():
		return "paid"
	case n.Refund():
		return "refund"
	case n.Closed():
		return "closed"
	}
	return "nothing"
}

// wantSaid is the word for what a vector expects.
func wantSaid(v vector) string {
	switch {
	case v.Expect == "reject-business":
		return "foreign"
	case v.Params["refund_fee"] != "":
		return "refund"
	case v.Expect == "ack-close":
		return "closed"
	case v.Expect == "ack":
		return "nothing"
	}
	return "paid"
}

// ACCEPT Y1
func TestTheGatewaySideSignsNotifiesAlike(t *testing.T) {
	key := privateKey(t, "alipay_private_pkcs8.pem")
	eachVector(t, "notifies.json", func(t *testing.T, f vectorFile, v vector) {
		text := alipay.SignString(v.Params, "sign", "sign_type")
		if !strings.HasPrefix(v.Expect, "accept") && !strings.HasPrefix(v.Expect, "ack") {
			return
		}
		if text != v.SignString {
			t.Fatalf("signed text\n%s\nwant\n%s", text, v.SignString)
		}
		form, err := alipay.SignNotify(key, v.Params)
		if err != nil || form.Get("sign") != v.Sign || form.Get("sign_type") != "RSA2" {
			t.Fatalf("%v, %v", form, err)
		}
	})
}

// ACCEPT Y3
func TestReturnVector(t *testing.T) {
	f := loadVectors(t, embedded, "notifies.json")
	gateway := publicKey(t, "alipay_public.pem")
	_, query, _ := strings.Cut(f.Return.URL, "?")
	r, err := alipay.ParseReturn(gateway, "CNY", query)
	if err != nil {
		t.Fatal(err)
	}
	want := alipay.Return{AppID: f.AppID, SellerID: f.SellerID, OutTradeNo: "ORD202601020001",
		TradeNo: "2026010222001400000000000001", At: r.At,
		Total: api.Money{Amount: 8888, Currency: "CNY"}}
	if *r != want || alipay.FormatTime(r.At) != "2026-01-02 03:05:12" {
		t.Fatalf("%+v", r)
	}
	// A return is not a notify: it says nothing about the trade's state.
	n, err := alipay.ParseNotify(gateway, "CNY", []byte(query))
	if !errors.Is(err, alipay.ErrMalformed) {
		t.Fatalf("as a notify: %+v, %v", n, err)
	}
	for name, bad := range map[string]string{
		"altered":  strings.Replace(query, "88.88", "0.01", 1),
		"added":    query + "&lang=en",
		"unsigned": query[:strings.Index(query, "&sign=")],
	} {
		if _, err := alipay.ParseReturn(gateway, "CNY", bad); !errors.Is(err, alipay.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = alipay.ParseReturn(gateway, "CNY", query+"&version=1.0")
	if !errors.Is(err, alipay.ErrMalformed) {
		t.Errorf("repeated: %v", err)
	}
}
