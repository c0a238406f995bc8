package api_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ordo/api"
)

// hidden are the fields of all messages, events and answers whose text is masked.
// A new field that is none of these must be shown on purpose.
var hidden = []string{"address", "body_hash", "city", "description", "email", "lines", "name", "order_string",
	"password_hash", "phone", "picture", "postcode", "qr_code", "ref", "role", "secret", "session",
	"text",
	"token", "url"}

// personal is what a field is called that says who somebody is, or lets them in.
var personal = regexp.MustCompile(`name|phone|mobile|mail|address|street|city|postcode|zip|token|` +
	`password|secret|hash|session|consignee|recipient|birth|url|qr_code|order_string`)

// fill puts a text into every string of a value, and one element into every list.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			v.Set(reflect.ValueOf(json.RawMessage(`{}`)))
			return
		}
		if v.Type().Elem().Kind() != reflect.Uint8 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	}
}

// leaves collects the fields of texts, by whether they were shown.
func leaves(v any, key string, all map[string]bool) {
	switch v := v.(type) {
	case string:
		if v != "" {
			all[key] = all[key] || v != api.Masked
		}
	case []any:
		for _, e := range v {
			leaves(e, key, all)
		}
	case map[string]any:
		for k, e := range v {
			leaves(e, k, all)
		}
	}
}

// ACCEPT M7: of every message that there is, what says who somebody is, or lets
// them in, is masked, and so is every field that nobody has decided about.
func TestMaskKnowsAllMessages(t *testing.T) {
	all := []any{&api.Event{}, &api.Order{}, &api.Refund{}, &api.Payment{}, &api.Trade{},
		&api.PayLogEntry{}, &api.User{}, &api.Address{}, &api.Result{}, &api.Letter{},
		&api.GatewayCall{}, &api.Opened{}, &api.RefundOutcome{}, &api.Intervention{},
		&api.RemoveFromCart{}, &api.Outcome{}, &api.JournalEntry{}}
	for _, m := range messages {
		all = append(all, m)
	}
	fields := map[string]bool{}
	for _, m := range all {
		v := reflect.New(reflect.TypeOf(m).Elem())
		fill(v.Elem())
		var got any
		if err := json.Unmarshal(api.Mask(api.Raw(v.Interface())), &got); err != nil {
			t.Fatalf("%T: %v", m, err)
		}
		leaves(got, "", fields)
	}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		switch shown := fields[key]; {
		case shown && key != "name" && personal.MatchString(key):
			t.Errorf("%s is shown", key)
		case !shown && !slices.Contains(hidden, key):
			t.Errorf("%s is masked; list it as hidden here, or as shown in mask.go", key)
		}
	}
	for _, key := range hidden {
		if shown, seen := fields[key]; !seen || shown && key != "name" {
			t.Errorf("%s is hidden nowhere", key)
		}
	}
	if len(fields) < 40 {
		t.Errorf("only %d fields were looked at", len(fields))
	}
}

func TestMask(t *testing.T) {
	for body, want := range map[string]string{
		`{"address":{"id":"adr_1","name":"Ann","phone":"1","lines":["1 High St"],"country":"GB"}}`: `{"address":` +
			`{"country":"GB","id":"adr_1","lines":["•••"],"name":"•••","phone":"•••"}}`,
		`{"lines":[{"sku":"mug","name":"Mug","quantity":2,"options":{"size":"M"}}]}`: `{"lines":[{"name":"Mug",` +
			`"options":{"size":"M"},"quantity":2,"sku":"mug"}]}`,
		`{"name":"Ann","first_name":"Ann","age":7}`:                  `{"age":7,"first_name":"•••","name":"•••"}`,
		`{"note":"call +44 7700 900123, or 13800138000"}`:            `{"note":"call •••, or •••"}`,
		`{"reason":"ring 07700 900123 or (020) 7946 0958"}`:          `{"reason":"ring ••• or •••"}`,
		`{"note":"0571-87654321, (212) 555-0123"}`:                   `{"note":"•••, •••"}`,
		`{"reason":"2 of 3 at 2026-01-02 09:30, 0.50 GBP, 1000000"}`: `{"reason":"2 of 3 at 2026-01-02 09:30, 0.50 GBP, 1000000"}`,
		`{"sku":"0123456789012","tracking":"0123 4567 8901"}`:        `{"sku":"0123456789012","tracking":"0123 4567 8901"}`,
		`{"trade_no":"2026112822001400147148925706"}`:                `{"trade_no":"2026112822001400147148925706"}`,
		`{"reason":"it was whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}`: `{"reason":"it was •••"}`,
		`{"reason":"call ann@example.com, or chk_01ABCDEFGHJ"}`:      `{"reason":"call •••, or •••"}`,
		`{"amount":12345678901234567890}`:                            `{"amount":12345678901234567890}`,
		`{"at":"2026-01-01T00:00:00Z","token":""}`:                   `{"at":"2026-01-01T00:00:00Z","token":""}`,
		`"Ann"`:     `"•••"`,
		`{"a":1} x`: `"•••"`,
		`{`:         `"•••"`,
		``:          `"•••"`,
		`null`:      `null`,
	} {
		if got := string(api.Mask(json.RawMessage(body))); got != want {
			t.Errorf("%s became %s, want %s", body, got, want)
		}
	}
	if got := api.MaskText(strings.Repeat("a", 300)); len(got) != 300 {
		t.Errorf("a text became %q", got)
	}
}

// Admins see what support sees masked, but nothing that lets somebody in.
func TestMaskSecrets(t *testing.T) {
	for body, want := range map[string]string{
		`{"secret":"whsec_x","url":"https://h.example","types":["order.paid"]}`: `{"secret":"•••",` +
			`"types":["order.paid"],"url":"https://h.example"}`,
		`{"users":[{"email":"ann@example.com","name":"Ann","password_hash":"$argon2id$x"}]}`: `{"users":[` +
			`{"email":"ann@example.com","name":"Ann","password_hash":"•••"}]}`,
		`{"token":["a"],"session":"b","n":12345678901234567890}`: `{"n":12345678901234567890,"session":"•••",` +
			`"token":["•••"]}`,
		`{"reason":"it was adm_0123456789, ring 07700 900123"}`: `{"reason":"it was •••, ring 07700 900123"}`,
		`"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"`:              `"•••"`,
		`{`: `"•••"`,
	} {
		if got := string(api.MaskSecrets(json.RawMessage(body))); got != want {
			t.Errorf("%s became %s, want %s", body, got, want)
		}
	}
}
