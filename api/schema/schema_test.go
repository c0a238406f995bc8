package schema_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"ordo/api"
	"ordo/api/schema"
)

// A message's subject leads to its row, whatever stands for the row's stars.
func TestFind(t *testing.T) {
	for subject, want := range map[string]string{
		"ordo.goods.0.reserve":                    "ordo.goods.0.reserve",
		"ordo.event.order.placed.ord_1":           "ordo.event.order.placed.*",
		"$KV.checkout.usr_1.chk_1":                "$KV.checkout.*.*",
		"ordo.timer.order.expiry-900s":            "ordo.timer.order.*",
		"ordo.goods.1.reserve":                    "",
		"ordo.goods.0":                            "",
		"ordo.goods.0.reserve.more":               "",
		"ordo.event.order.placed":                 "",
		"ordo.event.order.placed.ord_1.and.other": "",
		"": "",
	} {
		if s, ok := schema.Find(subject); s.Subject != want || ok != (want != "") {
			t.Errorf("%s: found %q, want %q", subject, s.Subject, want)
		}
	}
}

// reference is a reference within a schema.
var reference = regexp.MustCompile(`"\$ref":"#/\$defs/(\w+)"`)

// document is what a schema holds besides what it says of the body.
type document struct {
	ID       string                     `json:"$id"`
	Ref      string                     `json:"$ref"`
	Examples []json.RawMessage          `json:"examples"`
	Defs     map[string]json.RawMessage `json:"$defs"`
}

// ACCEPT P5
// A schema holds all that it refers to and nothing else, and an example.
func TestOf(t *testing.T) {
	for _, q := range []struct {
		actor, subject string
		reply          bool
		ref            string
	}{
		{"goods", "ordo.goods.0.reserve", false, "ReserveStock"},
		{"goods", "ordo.q.goods.skus", false, "GetSKUs"},
		{"goods", "ordo.q.goods.skus", true, "SKUList"},
		{"journal", "ordo.event.order.paid.ord_1", false, "Event"},
		{"payment", "ordo.effect.payment.pay-open", true, "Opened"},
		{"coupon", "$KV.cart.usr_1", false, "KeptCart"},
	} {
		text, ok := schema.Of(q.actor, api.GetSchema{Subject: q.subject, Reply: q.reply})
		var d document
		if err := json.Unmarshal(text, &d); err != nil || !ok {
			t.Errorf("%s: %v %v", q.subject, ok, err)
			continue
		}
		if d.Ref != "#/$defs/"+q.ref || len(d.Examples) != 1 || d.ID == "" {
			t.Errorf("%s: %s %s, %d examples", q.subject, d.ID, d.Ref, len(d.Examples))
		}
		used := map[string]bool{}
		for _, r := range reference.FindAllStringSubmatch(string(text), -1) {
			if used[r[1]] = true; d.Defs[r[1]] == nil {
				t.Errorf("%s lacks %s", q.subject, r[1])
			}
		}
		if len(used) != len(d.Defs) {
			t.Errorf("%s refers to %d of %d types", q.subject, len(used), len(d.Defs))
		}
	}
	if _, ok := schema.Of("order", api.GetSchema{Subject: "ordo.goods.0.reserve"}); ok {
		t.Error("order answers a schema of goods")
	}
}

// ACCEPT P5
// The AsyncAPI document has a channel and an operation for every subject that
// messages go to, and refers only to what is in it.
func TestAsyncAPI(t *testing.T) {
	text := schema.AsyncAPI("1.2.3")
	var doc struct {
		AsyncAPI string
		Channels map[string]struct {
			Address    string
			Parameters map[string]any
			Messages   map[string]any
		}
		Operations map[string]struct {
			Action  string
			Channel map[string]string
			Reply   map[string]any
		}
	}
	var all any
	if err := json.Unmarshal(text, &doc); err != nil || json.Unmarshal(text, &all) != nil {
		t.Fatal(err)
	}
	for _, s := range schema.All() {
		id := strings.TrimSuffix(s.Subject, ".*")
		op, ok := doc.Operations[id]
		if s.Kind == "bucket" {
			if ok {
				t.Errorf("%s is no message", s.Subject)
			}
			continue
		}
		receives := s.Kind == "command" || s.Kind == "query"
		c := doc.Channels[id]
		if (op.Action == "receive") != receives || (op.Reply != nil) != (s.Kind == "query") ||
			op.Channel["$ref"] != "#/channels/"+id || len(c.Messages) != 1 ||
			strings.Contains(c.Address, "*") || strings.Contains(c.Address, "{") != (c.Parameters != nil) {
			t.Errorf("%s: %+v %+v", s.Subject, op, c)
		}
	}
	found := 0
	for _, r := range regexp.MustCompile(`"\$ref":"#/([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
		at := all
		for _, word := range strings.Split(r[1], "/") {
			at = at.(map[string]any)[word]
		}
		if found++; at == nil {
			t.Errorf("there is no %s", r[1])
		}
	}
	if found < 500 {
		t.Errorf("only %d references", found)
	}
}
