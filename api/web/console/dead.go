package console

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"ordo/api"
	"ordo/api/web/call"
	"ordo/api/web/page"
)

// letterStates are what becomes of a dead letter.
var letterStates = [...]string{"open", "retried", "dismissed"}

// deadLetters is the page of messages that could not be handled.
type deadLetters struct {
	// Actor and State narrow the list.
	Actor, State   string
	Actors, States []string
	Letters        []letter
	Next           string
	// Notes say whose letters are not shown.
	Notes []string
}

// listDead is row M5. Without an actor it is the first page of every one that has
// dead letters.
func (v *visit) listDead() error {
	d := deadLetters{Actor: v.query("actor"), State: "open", States: letterStates[:]}
	if v.r.URL.Query().Has("state") {
		d.State = v.query("state")
	}
	var o overview
	if err := v.get("/overview?minutes=1", &o); err != nil {
		return err
	}
	for i := range o.Actors {
		a := &o.Actors[i]
		d.Actors = append(d.Actors, a.Actor)
		if d.Actor != "" && d.Actor != a.Actor {
			continue
		}
		if err := v.readLetters(&d, a); err != nil {
			return err
		}
	}
	return v.show(http.StatusOK, view{Page: "dead", Title: "Dead letters", D: &d})
}

// readLetters adds a page of an actor's letters. One that does not answer keeps
// nobody from seeing the others.
func (v *visit) readLetters(d *deadLetters, a *api.ActorStatus) error {
	if d.Actor == "" && d.State == "open" && a.Dead == 0 && a.Ready {
		return nil
	}
	ask := url.Values{"actor": {a.Actor}}
	if d.State != "" {
		ask.Set("state", d.State)
	}
	var list api.LetterList
	err := v.list("/dead", ask, &list)
	if call.Is(err, api.CodeUnavailable) {
		d.Notes = append(d.Notes, "unknown: "+a.Actor+" "+noAnswer)
		return nil
	}
	if err != nil {
		return err
	}
	for i := range list.Letters {
		d.Letters = append(d.Letters, letter{a.Actor, list.Letters[i]})
	}
	switch {
	case d.Actor != "":
		d.Next = page.Next(v.r, list.Next)
	case list.Next != "":
		d.Notes = append(d.Notes, a.Actor+" has more; choose it to see them")
	}
	return nil
}

// noAnswer is said of an actor that can't be asked.
const noAnswer = "does not answer"

// Masked is the letter's message without what it says of persons.
func (l letter) Masked() string { return raw(api.Mask(l.Body)).String() }

// Why is the error without what it says of persons.
func (l letter) Why() string { return api.MaskText(l.Error) }

// Order is the order that the message is about, if it is about one.
func (l letter) Order() string {
	var m struct {
		Order json.RawMessage `json:"order"`
	}
	var id string
	if json.Unmarshal(l.Body, &m) != nil || json.Unmarshal(m.Order, &id) != nil ||
		!strings.HasPrefix(id, api.PrefixOrder+"_") {
		return ""
	}
	return id
}

// letterPath is where the admin API has the letter of the page.
func (v *visit) letterPath() string {
	return "/dead/" + url.PathEscape(v.r.PathValue("actor")) + "/" +
		url.PathEscape(v.r.PathValue("n"))
}

func (v *visit) showLetter() error { return v.letterPage(http.StatusOK, nil) }

func (v *visit) letterPage(status int, bad []string) error {
	l := letter{Actor: v.r.PathValue("actor")}
	if err := v.get(v.letterPath(), &l.Letter); err != nil {
		return err
	}
	return v.show(status, view{Page: "letter", Title: "Dead letter", Bad: bad, D: struct {
		letter
		Reason string
	}{l, v.value("reason")}})
}

// settleLetter has a letter handled again, or dismisses it. Row M5.
func (v *visit) settleLetter() error {
	what := v.value("action")
	var out struct{ State string }
	a := action{Into: &out, Yes: "Yes, " + what, Call: call.Call{Method: http.MethodPost,
		Path: v.letterPath() + "/" + what, Body: map[string]string{"reason": v.value("reason")}}}
	switch what {
	case "retry":
		a.Ask = "Have the actor handle this message again, as it is?"
	case "dismiss":
		a.Ask = "Never handle this message? What it was to do stays undone."
	default:
		return notFound()
	}
	done, err := v.do(&a, v.letterPage)
	if !done {
		return err
	}
	if out.State == "open" {
		return v.letterPage(http.StatusConflict,
			[]string{"It failed again; the error below is the last one."})
	}
	return v.goNoted(v.r.URL.EscapedPath(), out.State)
}

// number is a whole number as a form has it.
func (v *visit) number(name string) (int64, bool) {
	n, err := strconv.ParseInt(v.value(name), 10, 64)
	return n, err == nil
}
