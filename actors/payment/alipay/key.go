package alipay

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
)

// MinKeyBits is the smallest RSA key that is accepted, in bits: the gateway
// itself asks RSA2 users for 2,048 (opendocs.alipay.com, "RSA2 and key pairs").
const MinKeyBits = 2048

// maxKeyBits bounds the work that one signature can cost.
const maxKeyBits = 8192

// maxKeyText bounds the text of a key, in bytes.
const maxKeyText = 64 << 10

// ParsePrivateKey reads an RSA private key: PEM of PKCS #1 or PKCS #8, or the
// bare base64 of either, as the gateway's key tool writes it. A key under
// MinKeyBits, a key of another kind and an encrypted key are errors.
func ParsePrivateKey(text []byte) (*rsa.PrivateKey, error) {
	der, err := keyDER(text)
	if err != nil {
		return nil, fmt.Errorf("alipay: private key: %w", err)
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		other, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return nil, errors.New("alipay: private key: neither PKCS #1 nor PKCS #8")
		}
		var ok bool
		if key, ok = other.(*rsa.PrivateKey); !ok {
			return nil, fmt.Errorf("alipay: private key: is a %T, not RSA", other)
		}
	}
	if err := checkSize(&key.PublicKey); err != nil {
		return nil, fmt.Errorf("alipay: private key: %w", err)
	}
	return key, nil
}

// ParsePublicKey reads an RSA public key: PEM of SubjectPublicKeyInfo, of
// PKCS #1 or of a certificate, or the bare base64 of one of them. A key under
// MinKeyBits and a key of another kind are errors. A certificate's dates and
// chain are not looked at: the operator who configures it vouches for it.
func ParsePublicKey(text []byte) (*rsa.PublicKey, error) {
	der, err := keyDER(text)
	if err != nil {
		return nil, fmt.Errorf("alipay: public key: %w", err)
	}
	key, err := publicKey(der)
	if err != nil {
		return nil, fmt.Errorf("alipay: public key: %w", err)
	}
	if err := checkSize(key); err != nil {
		return nil, fmt.Errorf("alipay: public key: %w", err)
	}
	return key, nil
}

// publicKey tries the three encodings in which a public key is handed over.
func publicKey(der []byte) (*rsa.PublicKey, error) {
	if key, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, errors.New("neither SubjectPublicKeyInfo, PKCS #1 nor a certificate")
		}
		parsed = cert.PublicKey
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("is a %T, not RSA", parsed)
	}
	return key, nil
}

// keyDER is the DER inside a PEM block or inside bare base64, which may be
// broken into lines. The errors never quote the text, which may be a secret.
func keyDER(text []byte) ([]byte, error) {
	if len(text) > maxKeyText {
		return nil, fmt.Errorf("is longer than %d bytes", maxKeyText)
	}
	if bytes.Contains(text, []byte("-----BEGIN")) {
		block, _ := pem.Decode(text)
		if block == nil {
			return nil, errors.New("the PEM is broken")
		}
		return block.Bytes, nil
	}
	bare := bytes.Join(bytes.Fields(text), nil)
	if len(bare) == 0 {
		return nil, errors.New("is empty")
	}
	der, err := base64.StdEncoding.DecodeString(string(bare))
	if err != nil {
		return nil, errors.New("neither PEM nor base64")
	}
	return der, nil
}

// checkSize refuses keys that are too weak, and those that cost too much.
func checkSize(key *rsa.PublicKey) error {
	if bits := key.N.BitLen(); bits < MinKeyBits || bits > maxKeyBits {
		return fmt.Errorf("has %d bits; RSA2 needs %d to %d", bits, MinKeyBits, maxKeyBits)
	}
	return nil
}
