package alipay

import (
	"bytes"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// MaxAnswer is the longest answer of the gateway that is read, in bytes.
const MaxAnswer = 1 << 20

// errorKey names the inner object of an answer that the gateway could not
// assign to a method.
const errorKey = "error_response"

// ErrUnknown says that the outcome of a call is not known: no answer, one that
// is not authentic, or one that says so itself. The call may have been carried
// out. Whoever gets it changes no state and asks again: a query for a trade,
// the same number and amount once more for a refund.
var ErrUnknown = errors.New("alipay: the outcome is unknown")

// Codes of the gateway, and sub-codes of the trade methods that a caller acts
// on ("Common error codes" and each method's page at opendocs.alipay.com).
const (
	CodeSuccess     = "10000"
	CodeUnavailable = "20000"
	CodeMissing     = "40001"
	CodeInvalid     = "40002"
	CodeFailed      = "40004"
	CodeLimited     = "40005"

	SubSystemError   = "ACQ.SYSTEM_ERROR"
	SubTradeNotExist = "ACQ.TRADE_NOT_EXIST"
	SubTradePaid     = "ACQ.TRADE_HAS_SUCCESS"
	SubTradeClosed   = "ACQ.TRADE_HAS_CLOSE"
	SubTradeStatus   = "ACQ.TRADE_STATUS_ERROR"
)

// GatewayError is an authentic refusal by the gateway: the request was not
// carried out. TradeNotExist is no proof that the trade will never exist: a
// signed link makes it when the shopper opens it.
type GatewayError struct {
	// Code is the gateway's own code, for example CodeFailed.
	Code string
	// SubCode says what was wrong, for example SubTradeNotExist.
	SubCode string
	// Msg and SubMsg say both for a person, often in Chinese.
	Msg, SubMsg string
	// OutTradeNo is the trade that the gateway speaks of, when it names one.
	OutTradeNo string
}

// Error implements error.
func (e *GatewayError) Error() string {
	return fmt.Sprintf("alipay: refused: %.16s %.64s (%.200s)", e.Code, e.SubCode, e.SubMsg)
}

// outcome is what every inner object says about its call.
type outcome struct {
	Code       string `json:"code"`
	Msg        string `json:"msg"`
	SubCode    string `json:"sub_code"`
	SubMsg     string `json:"sub_msg"`
	OutTradeNo string `json:"out_trade_no"`
}

// ParseAnswer verifies the gateway's answer to method and reads its inner
// object into result, a pointer to a struct. The signature is checked over the
// inner object's exact bytes as they stand in body, wherever "sign" stands.
//
// It answers nil for code 10000 alone, which says that the request was fine
// and not that money moved; a *GatewayError for an authentic refusal; and
// ErrUnknown for everything else (with ErrSignature beside it when there was
// an answer that the key did not sign).
func ParseAnswer(key *rsa.PublicKey, method string, body []byte, result any) error {
	inner, err := openEnvelope(key, method, body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	var o outcome
	if err := json.Unmarshal(inner, &o); err != nil {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	switch {
	case o.Code == CodeSuccess:
		if err := json.Unmarshal(inner, result); err != nil {
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		return nil
	case o.refused():
		return &GatewayError{o.Code, o.SubCode, o.Msg, o.SubMsg, o.OutTradeNo}
	}
	return fmt.Errorf("%w: the gateway says %.16q %.64q", ErrUnknown, o.Code, o.SubCode)
}

// refused says whether the gateway surely did not carry the request out. Its
// own troubles (isp.*, SYSTEM_ERROR), a call limit and codes that nobody has
// documented leave that open.
func (o outcome) refused() bool {
	if strings.HasPrefix(o.SubCode, "isp.") || strings.HasSuffix(o.SubCode, "SYSTEM_ERROR") {
		return false
	}
	switch o.Code {
	case "20001", CodeMissing, CodeInvalid, "40003", CodeFailed, "40006":
		return true
	}
	return false
}

// openEnvelope is the inner object of an authentic answer. An envelope with
// any name twice, or with two inner objects, is not one: a parser that takes
// the last and a verifier that takes the first would believe different things.
func openEnvelope(key *rsa.PublicKey, method string, body []byte) ([]byte, error) {
	if len(body) > MaxAnswer {
		return nil, fmt.Errorf("%w: the answer is over %d bytes", ErrMalformed, MaxAnswer)
	}
	parts, err := splitObject(body)
	if err != nil {
		return nil, err
	}
	name := responseKey(method)
	inner, failed := parts[name], parts[errorKey]
	if inner == nil {
		inner = failed
	} else if failed != nil && name != errorKey {
		return nil, fmt.Errorf("%w: two results", ErrMalformed)
	}
	if len(inner) == 0 || inner[0] != '{' {
		return nil, fmt.Errorf("%w: no %s", ErrMalformed, name)
	}
	var sign string
	if err := json.Unmarshal(parts["sign"], &sign); err != nil {
		return nil, fmt.Errorf("%w: unsigned: %.200q", ErrSignature, inner)
	}
	if err := Verify(key, string(inner), sign); err != nil {
		return nil, err
	}
	return inner, nil
}

// splitObject is the members of a JSON object, each value with its exact
// bytes. It answers ErrMalformed when the text is anything else, has a name
// twice, or has something behind the object.
func splitObject(text []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrMalformed)
	}
	in := json.NewDecoder(bytes.NewReader(text))
	if open, err := in.Token(); err != nil || open != json.Delim('{') {
		return nil, fmt.Errorf("%w: not a JSON object: %.60q", ErrMalformed, text)
	}
	parts := map[string]json.RawMessage{}
	for in.More() {
		name, value, err := member(in)
		if err != nil {
			return nil, err
		}
		if parts[name] != nil {
			return nil, fmt.Errorf("%w: %.64q is there twice", ErrMalformed, name)
		}
		parts[name] = value
	}
	if _, err := in.Token(); err != nil {
		return nil, fmt.Errorf("%w: broken JSON", ErrMalformed)
	}
	if _, err := in.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: more than one JSON value", ErrMalformed)
	}
	return parts, nil
}

// member reads the next name and value of an object.
func member(in *json.Decoder) (name string, value json.RawMessage, err error) {
	token, err := in.Token()
	name, ok := token.(string)
	if err != nil || !ok || in.Decode(&value) != nil {
		return "", nil, fmt.Errorf("%w: broken JSON", ErrMalformed)
	}
	return name, value, nil
}
