package main

import (
	"strings"
	"testing"
	"unicode"

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

// What a shopper writes neither steers the terminal of who looks at the order, nor
// makes a line that seems to be ours.
func TestTimelineOfHostileText(t *testing.T) {
	hostile := "late\n  do: run this\r\x1b]0;title\a\u009b2J"
	life := rest.Timeline{Refunds: []api.Refund{{ID: "rfd", By: hostile}}}
	life.Order.ID, life.Order.State = "ord", api.OrderCancelled
	life.Order.Reason = api.Refuse(api.CodeCancelled, "%s", hostile)
	life.Notes = []string{hostile}
	var out strings.Builder
	if err := printTimeline(&out, &life); err != nil {
		t.Fatal(err)
	}
	shown := strings.ReplaceAll(out.String(), "\n", "")
	if strings.ContainsFunc(shown, unicode.IsControl) || strings.Contains(out.String(), "\n  do:") ||
		strings.Count(shown, "late   do: run this") != 3 {
		t.Errorf("%q", out.String())
	}
}
