package actors_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/api"
)

// settle is a wish about a dead letter.
type settle struct {
	api.LetterRef
	verb string
}

func (s *settle) Route() api.Route { return api.Route{Actor: "goods", Verb: s.verb} }

func retry(n int64) *settle   { return &settle{api.LetterRef{N: n}, api.VerbRetryDead} }
func dismiss(n int64) *settle { return &settle{api.LetterRef{N: n}, api.VerbDismissDead} }

type listDead struct{ api.ListLetters }

func (*listDead) Endpoint() api.Route { return api.Route{Actor: "goods", Verb: api.EndpointDead} }

func letters(a *actorstest.Actor, q api.ListLetters) (list api.LetterList) {
	a.T.Helper()
	if refusal := a.Ask(&listDead{q}, &list); refusal != nil {
		a.T.Fatal(refusal)
	}
	return list
}

// wantLetter checks state, attempts and error of the newest letter.
func wantLetter(a *actorstest.Actor, state string, attempts int, text string) {
	a.T.Helper()
	list := letters(a, api.ListLetters{Page: api.Page{Limit: 1}})
	if len(list.Letters) != 1 {
		a.T.Fatalf("letters %+v", list)
	}
	if l := list.Letters[0]; l.State != state || l.Attempts != attempts ||
		!strings.Contains(l.Error, text) {
		a.T.Errorf("got %+v, want %s after %d attempts with %q", l, state, attempts, text)
	}
}

// healing is a probe that fails until it is healed, and then does as it is told.
func healing() (spec *actors.Spec, healed *bool) {
	healed = new(bool)
	spec = probeSpec()
	spec.Commands[0] = actors.On(func(tx *actors.Tx, m *act) error {
		if !*healed {
			return errors.New("not yet")
		}
		return m.run(tx)
	}).From(probeSenders...)
	return spec, healed
}

// ACCEPT M5: a dead letter that is tried again has its effect, once; who sent
// it hears of it then.
func TestRetryOfALetter(t *testing.T) {
	spec, healed := healing()
	a := actorstest.New(t, spec)
	r := a.Edge("m-1", &act{Write: []int{1}, Send: []int{4}, Reply: "good", Wake: "key"})
	wantRefusal(t, "not yet", r.Refusal, api.CodeInternal)
	wantLetter(a, "open", 5, "not yet")
	if r = a.MustEdge("retry-1", retry(1)); string(r.Value) != `"open"` {
		t.Errorf("the retry came to %s", r.Value)
	}
	wantLetter(a, "open", 10, "not yet")
	wantRows(a)
	*healed = true
	a.Restart()
	if r = a.MustEdge("retry-2", retry(1)); string(r.Value) != `"retried"` {
		t.Errorf("the retry came to %s", r.Value)
	}
	if got := sentNumbers(a, 1); len(got) != 1 || got[0] != 4 {
		t.Errorf("sent %v", got)
	}
	wantLetter(a, "retried", 10, "not yet")
	for i, m := range []*settle{retry(1), dismiss(1), retry(2)} {
		r := a.Edge(fmt.Sprintf("again-%d", i), m)
		wantRefusal(t, fmt.Sprint(m), r.Refusal, api.CodeNotFound)
	}
	if r = a.MustEdge("retry-2", retry(1)); string(r.Value) != `"retried"` {
		t.Errorf("told again it came to %s", r.Value)
	}
	r = a.MustEdge("m-1", &act{Write: []int{1}, Send: []int{4}, Reply: "good", Wake: "key"})
	if string(r.Value) != `"good"` || a.Out.Skipped != 1 {
		t.Errorf("the message itself came to %s", r.Value)
	}
	wantRows(a, 1)
	wantCounts(a, map[string]int{"_dead": 1})
}

// ACCEPT M5: a refusal is the answer to a message from an edge, so it settles
// the letter and leaves no other one, nor anything that was written before it.
func TestRetryThatIsRefused(t *testing.T) {
	for name, batch := range map[string][]int{"after a write": {1}, "at once": nil} {
		t.Run(name, func(t *testing.T) {
			spec, healed := healing()
			a := actorstest.New(t, spec)
			a.Edge("m-1", &act{Write: batch, Send: []int{4}, Reply: "x", Refuse: true})
			*healed = true
			if r := a.MustEdge("retry-1", retry(1)); string(r.Value) != `"dismissed"` {
				t.Errorf("the retry came to %s", r.Value)
			}
			if len(a.Out.Sent) != 0 {
				t.Errorf("sent %v", a.Subjects())
			}
			wantRows(a)
			wantLetter(a, "dismissed", 5, "as asked")
			r := a.Edge("m-1", &act{Write: batch, Send: []int{4}, Reply: "x", Refuse: true})
			wantRefusal(t, "the message itself", r.Refusal, api.CodeInvalid)
			if r.Value != nil || r.Refusal.Place != "refuse" {
				t.Errorf("got %+v", r)
			}
			wantCounts(a, map[string]int{"_dead": 1})
		})
	}
}

// Another actor does not wait for an answer: its letter stays open when it is
// refused, and its channel has gone on.
func TestRetryOfAChannelsLetter(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	a.From("order", &act{Write: []int{1}, Refuse: true})
	a.From("order", &act{Write: []int{2}})
	wantLetter(a, "open", 5, "as asked")
	if r := a.MustEdge("retry-1", retry(1)); string(r.Value) != `"open"` {
		t.Errorf("the retry came to %s", r.Value)
	}
	wantLetter(a, "open", 10, "as asked")
	a.From("order", &act{Write: []int{3}})
	wantRows(a, 2, 3)
	if r := a.MustEdge("dismiss-1", dismiss(1)); r.Refusal != nil {
		t.Error(r.Refusal)
	}
	wantLetter(a, "dismissed", 10, "as asked")
	spec, healed := healing()
	b := actorstest.New(t, spec)
	b.From("order", &act{Write: []int{1}, Send: []int{4}})
	*healed = true
	b.MustEdge("retry-1", retry(1))
	if got := sentNumbers(b, 1); len(got) != 1 || got[0] != 4 {
		t.Errorf("sent %v", got)
	}
	wantRows(b, 1)
}

// A message of a type that nobody handles any more, and one that can't be read,
// are kept as they came and stay open however often they are tried. Releases before
// kept what is no JSON as well.
func TestLettersThatCantBeRead(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	bodies := []string{"[]", "1", `"\u0000"`, `{"write":"x"}`, `{}`}
	for i, body := range bodies {
		d := actors.Delivery{Subject: "ordo.goods.0.act", ID: fmt.Sprintf("m-%d", i),
			Body: []byte(body)}
		if i == len(bodies)-1 {
			d.Subject = "ordo.goods.0.gone"
		}
		a.Apply(d)
	}
	for i, body := range []string{"{", "", "\xff\x00"} {
		if _, err := file(a).Exec(`UPDATE _dead SET body = ? WHERE n = ?`, body, i+1); err != nil {
			t.Fatal(err)
		}
		bodies[i] = body
	}
	for i := range bodies {
		n := int64(i + 1)
		if r := a.MustEdge(fmt.Sprintf("retry-%d", n), retry(n)); string(r.Value) != `"open"` {
			t.Errorf("letter %d came to %s", n, r.Value)
		}
		var body string
		if err := file(a).QueryRow(`SELECT body FROM _dead WHERE n = ?`, n).Scan(&body); err != nil ||
			body != bodies[i] {
			t.Errorf("letter %d has the body %q, want %q, %v", n, body, bodies[i], err)
		}
	}
	list := letters(a, api.ListLetters{State: "open"})
	if len(list.Letters) != len(bodies) || string(list.Letters[4].Body) != `"{"` ||
		string(list.Letters[0].Body) != `{}` {
		t.Errorf("letters %+v", list.Letters)
	}
	for i, m := range []*rawMessage{{api.VerbRetryDead, `[1]`}, {api.VerbDismissDead, `{`}} {
		r := a.Edge(fmt.Sprintf("bad-%d", i), m)
		wantRefusal(t, m.body, r.Refusal, api.CodeInvalid)
	}
	wantCounts(a, map[string]int{"_dead": len(bodies)})
}

// Letters are listed newest first, in pages, and by state.
func TestListOfLetters(t *testing.T) {
	const total = 7
	a := actorstest.New(t, probeSpec())
	for i := range total {
		a.Edge(fmt.Sprintf("m-%d", i+1), &act{Fault: true})
	}
	a.MustEdge("d-3", dismiss(3))
	for limit, pages := range map[int]int{1: total, 2: 4, 6: 2, 7: 1, 100: 1} {
		var got []int64
		q := api.ListLetters{Page: api.Page{Limit: limit}}
		n := 0
		for {
			n++
			list := letters(a, q)
			for _, l := range list.Letters {
				got = append(got, l.N)
			}
			if q.Cursor = list.Next; q.Cursor == "" || n > total {
				break
			}
		}
		if fmt.Sprint(got) != "[7 6 5 4 3 2 1]" || n != pages {
			t.Errorf("pages of %d: %v on %d pages, want %d", limit, got, n, pages)
		}
	}
	list := letters(a, api.ListLetters{Page: api.Page{Limit: 3}, State: "open"})
	more := letters(a, api.ListLetters{Page: api.Page{Limit: 3, Cursor: list.Next}, State: "open"})
	if len(list.Letters) != 3 || len(more.Letters) != 3 || more.Next != "" ||
		more.Letters[0].N != 4 || more.Letters[1].N != 2 {
		t.Errorf("open ones: %+v, then %+v", list, more)
	}
	for _, cursor := range []string{"x", "0", "-1", "1.5", "99999999999999999999"} {
		q := &listDead{api.ListLetters{Page: api.Page{Cursor: cursor}}}
		wantRefusal(t, cursor, a.Ask(q, &list), api.CodeInvalid)
	}
	if n := len(letters(a, api.ListLetters{State: "nothing"}).Letters); n != 0 {
		t.Errorf("%d letters of no state", n)
	}
}
