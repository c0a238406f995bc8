package journal_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/actors/journal"
	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

func list(t *testing.T, a *actorstest.Actor, q api.ListJournal) api.Journal {
	t.Helper()
	var j api.Journal
	if refusal := a.Ask(&q, &j); refusal != nil {
		t.Fatalf("list %+v: %v", q, refusal)
	}
	return j
}

func emit(a *actorstest.Actor, sender, typ, order string) {
	a.Event(sender, api.Event{Type: typ, Order: order, User: "usr_1"})
}

// ACCEPT L4
func TestEveryEventIsKeptInOrder(t *testing.T) {
	a := actorstest.New(t, journal.Spec())
	a.Event("order", api.Event{Type: api.EventOrderPlaced, Order: "ord_1", User: "usr_1",
		Data: json.RawMessage(`{"total":5}`)})
	at := api.TimeOf(a.Now)
	emit(a, "payment", "payment.paid", "ord_1")

	got := list(t, a, api.ListJournal{}).Entries
	if len(got) != 2 {
		t.Fatalf("got %d entries, want 2", len(got))
	}
	want := api.JournalEntry{Seq: 1, ID: a.ChannelID("order", 1), At: at,
		Event: api.Event{Type: api.EventOrderPlaced, Order: "ord_1", User: "usr_1",
			Data: json.RawMessage(`{"total":5}`)}}
	if string(api.Raw(got[0])) != string(api.Raw(want)) {
		t.Errorf("got %s, want %s", api.Raw(got[0]), api.Raw(want))
	}
	if got[1].Type != "payment.paid" || got[1].Data != nil || got[1].Seq != 2 {
		t.Errorf("second entry: %+v", got[1])
	}
}

// ACCEPT L4
func TestFilters(t *testing.T) {
	a := actorstest.New(t, journal.Spec())
	emit(a, "order", api.EventOrderPlaced, "ord_1")
	emit(a, "order", api.EventOrderPlaced, "ord_2")
	emit(a, "order", api.EventOrderPaid, "ord_1")
	for _, c := range []struct {
		name string
		q    api.ListJournal
		want string
	}{
		{"all", api.ListJournal{}, "[1 2 3]"},
		{"order", api.ListJournal{Order: "ord_1"}, "[1 3]"},
		{"type", api.ListJournal{Type: api.EventOrderPlaced}, "[1 2]"},
		{"both", api.ListJournal{Order: "ord_1", Type: api.EventOrderPaid}, "[3]"},
		{"unknown order", api.ListJournal{Order: "ord_3"}, "[]"},
		{"unknown type", api.ListJournal{Type: "order.eaten"}, "[]"},
		{"after", api.ListJournal{Page: api.Page{Cursor: "2"}}, "[3]"},
		{"newest", api.ListJournal{Newest: true}, "[3 2 1]"},
		{"newest of an order", api.ListJournal{Newest: true, Order: "ord_1"}, "[3 1]"},
		{"newest of a type", api.ListJournal{Newest: true, Type: api.EventOrderPlaced}, "[2 1]"},
		{"before", api.ListJournal{Newest: true, Page: api.Page{Cursor: "3", Limit: 1}}, "[2]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			seqs := []int64{}
			for _, e := range list(t, a, c.q).Entries {
				seqs = append(seqs, e.Seq)
			}
			if got := fmt.Sprint(seqs); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// ACCEPT L4
func TestPagesMeetWithoutGapOrOverlap(t *testing.T) {
	a := actorstest.New(t, journal.Spec())
	const n = 25
	for i := range n {
		emit(a, "order", api.EventOrderPlaced, fmt.Sprintf("ord_%d", i%2))
	}
	for _, q := range []api.ListJournal{
		{}, {Type: api.EventOrderPlaced}, {Order: "ord_0"},
	} {
		q.Limit = 5
		seen, last, pages := 0, int64(0), 0
		for {
			j := list(t, a, q)
			for _, e := range j.Entries {
				if e.Seq <= last {
					t.Fatalf("%+v: entry %d after %d", q, e.Seq, last)
				}
				last = e.Seq
				seen++
			}
			pages++
			if q.Cursor = j.Next; q.Cursor == "" || pages > n {
				break
			}
		}
		want := n
		if q.Order != "" {
			want = 13
		}
		if seen != want || pages != (want+4)/5 {
			t.Errorf("%+v: saw %d in %d pages, want %d", q, seen, pages, want)
		}
	}
}

func TestBadCursorIsRefused(t *testing.T) {
	a := actorstest.New(t, journal.Spec())
	for _, cursor := range []string{"x", "-1", "1.5", "99999999999999999999"} {
		refusal := a.Ask(&api.ListJournal{Page: api.Page{Cursor: cursor}}, new(api.Journal))
		if refusal == nil || refusal.Code != api.CodeInvalid || refusal.Place != "cursor" {
			t.Errorf("cursor %q: %v", cursor, refusal)
		}
	}
}

// ACCEPT L4
func TestToldTwiceKeptOnce(t *testing.T) {
	a := actorstest.New(t, journal.Spec())
	e := api.Event{Type: api.EventOrderPaid, Order: "ord_1"}
	d := actors.Delivery{Subject: bus.EventSubject(e.Type, e.Order),
		ID: a.ChannelID("order", 1), Body: api.Raw(&e)}
	a.Apply(d, d)
	a.Apply(d)
	a.Restart()
	a.Apply(d)
	if n := len(list(t, a, api.ListJournal{}).Entries); n != 1 {
		t.Errorf("kept %d times", n)
	}
}

func TestEventWithoutOrderIsPutAside(t *testing.T) {
	a := actorstest.New(t, journal.Spec())
	emit(a, "order", api.EventOrderPlaced, "")
	if len(a.Out.Dead) != 1 {
		t.Errorf("%d dead letters, want 1", len(a.Out.Dead))
	}
	emit(a, "order", api.EventOrderPlaced, "ord_1")
	if n := len(list(t, a, api.ListJournal{}).Entries); n != 1 {
		t.Errorf("kept %d, want the good one alone", n)
	}
}

// ACCEPT L4
func TestNothingCanBeChangedOrDeleted(t *testing.T) {
	f, err := stores.Open(filepath.Join(t.TempDir(), "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Migrate(t.Context(), "journal", journal.Spec().Schema, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := f.W.Exec(`INSERT INTO entry
		(id, type, order_id, user, at) VALUES ('i', 'order.paid', 'ord_1', 'usr_1', 1)`); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{`UPDATE entry SET type = 'order.eaten'`, `DELETE FROM entry`} {
		if _, err := f.W.Exec(statement); err == nil {
			t.Errorf("%s was allowed", statement)
		}
	}
}

func TestPagesAreLimited(t *testing.T) {
	a := actorstest.New(t, journal.Spec())
	for i := range 1000 {
		emit(a, "order", api.EventOrderPlaced, fmt.Sprintf("ord_%d", i))
	}
	j := list(t, a, api.ListJournal{Order: "ord_999"})
	if len(j.Entries) != 1 || j.Entries[0].Seq != 1000 || j.Next != "" {
		t.Errorf("got %+v", j)
	}
	if j = list(t, a, api.ListJournal{Page: api.Page{Limit: 100_000}}); len(j.Entries) != api.MaxPage {
		t.Errorf("a page of %d, want at most %d", len(j.Entries), api.MaxPage)
	}
}
