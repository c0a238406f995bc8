package api

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
)

// Masked stands for what a person who looks after the shop need not see.
const Masked = "•••"

// shown are the fields whose text says nothing of a person, in the JSON of all
// messages. The text of every other field is masked, so that a new field is
// until it is listed here.
var shown = map[string]bool{
	"attempt": true, "by": true, "carrier": true, "categories": true, "channel": true,
	"code": true, "country": true, "coupon": true, "currency": true, "decided_by": true,
	"delivery": true, "types": true,
	"effect": true, "error": true, "id": true, "kind": true, "message": true, "note": true,
	"order": true, "pay_method": true, "place": true, "product": true, "provider": true,
	"reason": true, "refund": true, "settled_by": true, "sku": true, "state": true,
	"step": true, "steps": true, "stock_policy": true, "subject": true, "title": true,
	"tracking": true, "trade_no": true, "type": true, "untold": true, "user": true,
	"when_full": true,
}

// times are the fields of times, in RFC 3339.
var times = regexp.MustCompile(`(^|_)(at|until|from|before|deadline|created|decided|asked|ended|` +
	`now|since|oldest|next_try)$`)

// secrets are addresses of e-mail, telephone numbers as they are written with a
// country code or in China, tokens of checkouts, sessions, guests and
// admins, and secrets of webhooks, within a text that is shown.
var secrets = regexp.MustCompile(`[^\s"'<>=:,;]+@[^\s"'<>,;]+|` +
	`\+\d[\d ()/-]{6,}\d|\b1[3-9]\d{9}\b|` +
	`\b(chk|ses|gst|adm|whsec)_[0-9A-Za-z_.+/=-]{8,}`)

// MaskText masks e-mail addresses and tokens in a text.
func MaskText(s string) string { return secrets.ReplaceAllLiteralString(s, Masked) }

// Mask masks what JSON says of persons, and tokens: names, phones, addresses,
// e-mails. Ids, SKUs, amounts, states and reasons stay, and so do all numbers.
// What is not JSON is masked as a whole.
func Mask(body json.RawMessage) json.RawMessage {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		return Raw(Masked)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(mask(v, false)); err != nil {
		return Raw(Masked)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// mask masks a value, of whose text show tells whether it may be seen.
func mask(v any, show bool) any {
	switch v := v.(type) {
	case string:
		if v != "" && !show {
			return Masked
		}
		return MaskText(v)
	case []any:
		for i := range v {
			v[i] = mask(v[i], show)
		}
	case map[string]any:
		for key := range v {
			if key != "options" { // of goods, by names that the shop has made
				v[key] = mask(v[key], isShown(key, v))
			}
		}
	}
	return v
}

// isShown tells whether the text of a field of an object may be seen. A name is
// a person's, but beside what names goods.
func isShown(key string, of map[string]any) bool {
	if key == "name" {
		return slices.ContainsFunc([]string{"sku", "spu", "minimum"}, func(good string) bool {
			_, ok := of[good]
			return ok
		})
	}
	return shown[key] || times.MatchString(key)
}
