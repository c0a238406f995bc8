package main

import (
	"strings"
	"testing"

	"ordo/api"
	"ordo/api/rest"
)

// ACCEPT M7: who wanted something of an order stands beside the event, with why.
func TestTimelineSaysWho(t *testing.T) {
	said := func(typ string) string {
		t.Helper()
		var out strings.Builder
		if err := printTimeline(&out, &rest.Timeline{Events: []api.JournalEntry{{Event: api.Event{
			Type: typ, Data: []byte(`{"by":"usr_sup","reason":"wrong price"}`)}}}}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	for _, typ := range []string{api.EventCancelFailed, api.EventOrderRetried,
		api.EventOrderSettled} {
		if text := said(typ); !strings.Contains(text, "usr_sup") ||
			!strings.Contains(text, "wrong price") {
			t.Errorf("%s: %s", typ, text)
		}
	}
	if text := said(api.EventOrderPaid); strings.Contains(text, "usr_sup") {
		t.Errorf("the data of an order is taken for a person's: %s", text)
	}
}
