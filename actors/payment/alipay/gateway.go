package alipay

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// The methods of the gateway that the shop calls. Each has its page at
// https://opendocs.alipay.com/ under its own name.
const (
	MethodPagePay     = "alipay.trade.page.pay"
	MethodAppPay      = "alipay.trade.app.pay"
	MethodPrecreate   = "alipay.trade.precreate"
	MethodQuery       = "alipay.trade.query"
	MethodRefund      = "alipay.trade.refund"
	MethodRefundQuery = "alipay.trade.fastpay.refund.query"
	MethodClose       = "alipay.trade.close"
)

// VerifyRequest is the gateway's check of an app's request: values are all
// parameters of its query and its body together, known to us or not, because
// a client may sign more than is documented. "sign" alone is left out of the
// signed text. A parameter may stand in query and body with the same value,
// never with two: that is ErrMalformed. It answers ErrSignature for anything but
// a good RSA2 signature by key.
func VerifyRequest(key *rsa.PublicKey, values url.Values) (Params, error) {
	p := make(Params, len(values))
	for name, list := range values {
		if !plainName(name) {
			return nil, fmt.Errorf("%w: the parameter %.64q", ErrMalformed, name)
		}
		for _, value := range list {
			if value != list[0] {
				return nil, fmt.Errorf("%w: %.64q has two values", ErrMalformed, name)
			}
			p[name] = value
		}
	}
	if err := verifyParams(key, p, "sign"); err != nil {
		return nil, err
	}
	return p, nil
}

// EnvelopeSigned is the gateway's answer to method: the inner JSON object as
// it is given, byte for byte, and then its signature. An empty method, or one
// that is not a method's name, gives the error_response envelope.
func EnvelopeSigned(key *rsa.PrivateKey, method string, inner []byte) ([]byte, error) {
	if !json.Valid(inner) || inner[0] != '{' {
		return nil, errors.New("alipay: the answer is not a JSON object")
	}
	sign, err := Sign(key, string(inner))
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{"%s":%s,"sign":"%s"}`, responseKey(method), inner, sign), nil
}

// SignNotify is the gateway's signature of a notify's or a browser return's
// fields: neither "sign" nor "sign_type" is part of the signed text, and empty
// fields are not sent at all, since the two sides' rules for them differ. The
// form that comes back has both; p is not changed.
func SignNotify(key *rsa.PrivateKey, p Params) (url.Values, error) {
	sign, err := Sign(key, SignString(p, "sign", "sign_type"))
	if err != nil {
		return nil, err
	}
	form := make(url.Values, len(p)+2)
	for name, value := range p {
		if value != "" {
			form.Set(name, value)
		}
	}
	form.Set("sign_type", SignType)
	form.Set("sign", sign)
	return form, nil
}

// responseKey is the name of the inner object in the answer to method.
func responseKey(method string) string {
	if method == "" || strings.Trim(method, "abcdefghijklmnopqrstuvwxyz0123456789._") != "" {
		return errorKey
	}
	return strings.ReplaceAll(method, ".", "_") + "_response"
}

// verifyParams answers ErrSignature unless p is signed with RSA2 by key. The
// documentation leaves empty fields out of the signed text and some gateways
// keep them in, so a text with them is tried second: an empty field says
// nothing, whichever of the two was signed.
func verifyParams(key *rsa.PublicKey, p Params, omit ...string) error {
	if p["sign_type"] != SignType {
		return fmt.Errorf("%w: sign_type is %.16q, not RSA2", ErrSignature, p["sign_type"])
	}
	err := Verify(key, SignString(p, omit...), p["sign"])
	if err == nil {
		return nil
	}
	if full := signString(p, true, omit); strings.Contains(full+"&", "=&") {
		return Verify(key, full, p["sign"])
	}
	return err
}
