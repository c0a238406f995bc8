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

// written are the shown fields that people write into as they like.
var written = map[string]bool{"error": true, "message": true, "note": true, "reason": true,
	"title": true}

// secret are the fields that let somebody in, or prove who it is.
var secret = map[string]bool{"password_hash": true, "secret": true, "session": true,
	"token": true}

// tokens are those of checkouts, sessions, guests and admins, and secrets of
// webhooks, within a text; contacts are addresses of e-mail, and telephone numbers as
// they are written with a country code or in China.
var (
	tokens   = regexp.MustCompile(`\b(chk|ses|gst|adm|whsec)_[0-9A-Za-z_.+/=-]{8,}`)
	contacts = regexp.MustCompile(`[^\s"'<>=:,;]+@[^\s"'<>,;]+|` +
		`\+\d[\d ()/-]{6,}\d|\b1[3-9]\d{9}\b`)
)

// phones are other telephone numbers. Codes of goods and numbers of trades look the
// same, so they are looked for only in what people write.
var phones = regexp.MustCompile(`\(?\b0\d[\d ()/-]{6,14}\d\b|\(?\b\d{3}\)?[ .-]\d{3}[ .-]\d{4}\b`)

// MaskText masks e-mail addresses, telephone numbers and tokens in a text that
// somebody has written.
func MaskText(s string) string { return phones.ReplaceAllLiteralString(maskCode(s), Masked) }

// maskCode is MaskText for a text that is a code or a number.
func maskCode(s string) string {
	return contacts.ReplaceAllLiteralString(tokens.ReplaceAllLiteralString(s, Masked), Masked)
}

// Mask masks what JSON says of persons, and tokens: names, phones, addresses,
// e-mails. Ids, SKUs, amounts, states and reasons stay, and so do all numbers.
// What is not JSON is masked as a whole.
func Mask(body json.RawMessage) json.RawMessage {
	return rewrite(body, func(v any) any { return mask(v, "", false) })
}

// MaskSecrets masks only what lets somebody in: tokens, and secrets of webhooks. What
// is not JSON is masked as a whole.
func MaskSecrets(body json.RawMessage) json.RawMessage {
	return rewrite(body, func(v any) any { return maskSecrets(v, "") })
}

// rewrite decodes JSON, and encodes what change has made of it.
func rewrite(body json.RawMessage, change func(any) any) json.RawMessage {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		return Raw(Masked)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(change(v)); err != nil {
		return Raw(Masked)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// mask masks the value of a field, of whose text show tells whether it may be seen.
func mask(v any, field string, show bool) any {
	switch v := v.(type) {
	case string:
		switch {
		case v != "" && !show:
			return Masked
		case written[field]:
			return MaskText(v)
		}
		return maskCode(v)
	case []any:
		for i := range v {
			v[i] = mask(v[i], field, show)
		}
	case map[string]any:
		for key := range v {
			if key != "options" { // of goods, by names that the shop has made
				v[key] = mask(v[key], key, isShown(key, v))
			}
		}
	}
	return v
}

// maskSecrets masks the value of a field where it lets somebody in.
func maskSecrets(v any, field string) any {
	switch v := v.(type) {
	case string:
		if v != "" && secret[field] {
			return Masked
		}
		return tokens.ReplaceAllLiteralString(v, Masked)
	case []any:
		for i := range v {
			v[i] = maskSecrets(v[i], field)
		}
	case map[string]any:
		for key := range v {
			v[key] = maskSecrets(v[key], key)
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
