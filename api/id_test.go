package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"ordo/api"
)

func TestNewIDReadsBack(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		before := ulid.Now()
		s := api.NewID(api.PrefixCheckout)
		id, err := api.ParseID(api.PrefixCheckout, s)
		if err != nil {
			t.Fatal(err)
		}
		if id.Time() < before || id.Time() > ulid.Now() {
			t.Fatalf("%s carries the time %d, minted at %d", s, id.Time(), before)
		}
		if seen[s] {
			t.Fatalf("%s was minted twice", s)
		}
		seen[s] = true
	}
}

// An id has one spelling: no other case, length, alphabet or prefix.
func TestParseIDRefuses(t *testing.T) {
	good := "usr_01JZZZZZZZZZZZZZZZZZZZZZZZ"
	if _, err := api.ParseID(api.PrefixUser, good); err != nil {
		t.Fatalf("%s: %v", good, err)
	}
	for _, s := range []string{
		"", "usr", "usr_", "_", strings.TrimPrefix(good, "usr_"), "ord" + good[3:], "USR" + good[3:],
		strings.ToLower(good), good[:len(good)-1], good + "0", good + " ", " " + good, good + "\n",
		"usr_usr_" + good[4:],
		"usr_81JZZZZZZZZZZZZZZZZZZZZZZZ", // over 128 bits
		"usr_ZZZZZZZZZZZZZZZZZZZZZZZZZZ",
		"usr_O1JZZZZZZZZZZZZZZZZZZZZZZZ", // O, I, L and U are no Crockford digits
		"usr_0IJZZZZZZZZZZZZZZZZZZZZZZZ",
		"usr_0LJZZZZZZZZZZZZZZZZZZZZZZZ",
		"usr_0UJZZZZZZZZZZZZZZZZZZZZZZZ",
		"usr_01JZZZZZZZZZZZZ\x00ZZZZZZZZZZ",
		"usr_01JZZZZZZZZZZZZ.ZZZZZZZZZZ",
		strings.Repeat("usr_", 1000),
	} {
		_, err := api.ParseID(api.PrefixUser, s)
		if e := api.AsError(err); e == nil || e.Code != api.CodeInvalid {
			t.Errorf("%q: got %v, want %s", s, err, api.CodeInvalid)
		}
	}
}

func TestDeriveID(t *testing.T) {
	at := time.Date(2026, 7, 1, 12, 0, 0, 345_678_901, time.UTC)
	first := api.DeriveID(api.PrefixTransfer, at, "goods 1")
	if again := api.DeriveID(api.PrefixTransfer, at, "goods 1"); again != first {
		t.Errorf("the same name gave %s and %s", first, again)
	}
	// Recorded: databases hold ids of this form, and a replay must repeat them.
	if want := "trf_01KWERSRTS9XZZFQM5MDXK4NWM"; first != want {
		t.Errorf("got %s, want %s", first, want)
	}
	id, err := api.ParseID(api.PrefixTransfer, first)
	if err != nil {
		t.Fatal(err)
	}
	if got := ulid.Time(id.Time()); !got.Equal(at.Truncate(time.Millisecond)) {
		t.Errorf("%s carries %s, want %s", first, got, at)
	}
	later := at.Add(time.Hour)
	for _, other := range []string{
		api.DeriveID(api.PrefixTransfer, at, "goods 2"),
		api.DeriveID(api.PrefixTransfer, at, ""),
		api.DeriveID(api.PrefixTransfer, later, "goods 1"),
		api.DeriveID(api.PrefixAddress, at, "goods 1"),
	} {
		if other == first {
			t.Errorf("another name, time or prefix gave %s too", other)
		}
	}
	if api.DeriveID(api.PrefixTransfer, later, "goods 1") < first {
		t.Error("a later id sorts before an earlier one")
	}
}

// A time that no id can carry gives a valid id without one.
func TestDeriveIDOutsideOfTime(t *testing.T) {
	for _, at := range []time.Time{{}, time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		id, err := api.ParseID(api.PrefixOrder, api.DeriveID(api.PrefixOrder, at, "x"))
		if err != nil || id.Time() != 0 {
			t.Errorf("%s: got %v with time %d, %v", at, id, id.Time(), err)
		}
	}
}

// The order id follows from the token, so whoever submits it again means the
// same order. ACCEPT S2
func TestOrderID(t *testing.T) {
	token := api.NewID(api.PrefixCheckout)
	order, err := api.OrderID(token)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := api.OrderID(token); err != nil || again != order {
		t.Errorf("the same token gave %s and %s, %v", order, again, err)
	}
	if other, err := api.OrderID(api.NewID(api.PrefixCheckout)); err != nil || other == order {
		t.Errorf("another token gave %s too, %v", other, err)
	}
	was, err := api.ParseID(api.PrefixCheckout, token)
	if err != nil {
		t.Fatal(err)
	}
	is, err := api.ParseID(api.PrefixOrder, order)
	if err != nil {
		t.Fatal(err)
	}
	if is.Time() != was.Time() {
		t.Errorf("the order's time is %d, the token's %d", is.Time(), was.Time())
	}
	// Whoever sees the order's id must not learn the token.
	if is.String()[10:] == was.String()[10:] {
		t.Errorf("%s shows the random part of %s", order, token)
	}
}

// What is not a token is refused. ACCEPT S2
func TestOrderIDOfRubbish(t *testing.T) {
	token := api.NewID(api.PrefixCheckout)
	for _, s := range []string{"", "x", "chk_", token + "x", strings.ToLower(token), token[4:],
		api.NewID(api.PrefixOrder), "chk_" + token, token + ".>", "../" + token} {
		got, err := api.OrderID(s)
		if e := api.AsError(err); e == nil || e.Code != api.CodeTokenUnknown || e.Place != "token" {
			t.Errorf("%q: got %q, %v, want %s at token", s, got, err, api.CodeTokenUnknown)
		}
		if got != "" {
			t.Errorf("%q: a refusal with the id %s", s, got)
		}
	}
}
