// Package alipay speaks the protocol of the Alipay gateway (gateway.do, RSA2,
// public-key mode): it builds and signs requests, verifies answers, notifies
// and browser returns, and can do the gateway's side of each, for a sandbox.
// It decides whether a message is authentic and what it says. It never decides
// whether an order is paid: that is the payment actor's, which compares what
// is said here with what it asked for.
//
// The protocol is described at https://opendocs.alipay.com/: "Request
// signing", "Asynchronous notification", and one page for each method.
package alipay

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// SignType is the only signature algorithm that is made or accepted:
// SHA-256 with RSA, PKCS #1 v1.5.
const SignType = "RSA2"

// ErrSignature says that a text has no signature, or one that the key did not
// make. Nothing in such a message may be believed.
var ErrSignature = errors.New("alipay: the signature is missing or wrong")

// ErrMalformed says that a message does not have the form that the protocol
// gives it: a repeated field, a bad amount, a body over its limit.
var ErrMalformed = errors.New("alipay: malformed")

// Params are the parameters of a request, a notify or a return, decoded: each
// name once, each value as it is before URL encoding.
type Params map[string]string

// ParamsOf makes Params of a form or a query. It answers ErrMalformed when a
// name stands there twice: two readers could take a different one for true.
func ParamsOf(values url.Values) (Params, error) {
	p := make(Params, len(values))
	for name, list := range values {
		if len(list) != 1 {
			return nil, fmt.Errorf("%w: %.64q is there %d times", ErrMalformed, name, len(list))
		}
		p[name] = list[0]
	}
	return p, nil
}

// Values are the parameters as a form, for Encode.
func (p Params) Values() url.Values {
	values := make(url.Values, len(p))
	for name, value := range p {
		values.Set(name, value)
	}
	return values
}

// SignString is the text that is signed: name=value joined by &, raw (not URL
// encoded), sorted by name in byte order, without empty values and without the
// names in omit. Requests omit "sign"; notifies and returns omit "sign" and
// "sign_type".
func SignString(p Params, omit ...string) string { return signString(p, false, omit) }

// signString is SignString, with empty values left in when keepEmpty is true.
func signString(p Params, keepEmpty bool, omit []string) string {
	names, size := make([]string, 0, len(p)), 0
	for name, value := range p {
		if (value != "" || keepEmpty) && !slices.Contains(omit, name) {
			names = append(names, name)
			size += len(name) + len(value) + 2
		}
	}
	slices.Sort(names)
	var b strings.Builder
	b.Grow(size)
	for i, name := range names {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(name)
		b.WriteByte('=')
		b.WriteString(p[name])
	}
	return b.String()
}

// Sign is the RSA2 signature of text in base64. The same key and text always
// give the same signature (PKCS #1 v1.5 has no salt).
func Sign(key *rsa.PrivateKey, text string) (string, error) {
	digest := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	if err != nil {
		return "", fmt.Errorf("alipay: sign: %w", err)
	}
	return base64.StdEncoding.EncodeToString(sig), nil
}

// Verify answers ErrSignature unless sig, in base64, is the RSA2 signature of
// text by the owner of key.
func Verify(key *rsa.PublicKey, text, sig string) error {
	raw, err := base64.StdEncoding.Strict().DecodeString(sig)
	if err != nil || len(raw) == 0 {
		return ErrSignature
	}
	digest := sha256.Sum256([]byte(text))
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], raw) != nil {
		return ErrSignature
	}
	return nil
}
