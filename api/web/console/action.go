package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ordo/api"
	"ordo/api/web/call"
	"ordo/api/web/page"
)

// action is what a button of a form does.
type action struct {
	// Call is what is asked of the admin API, and Into takes the answer.
	Call call.Call
	Into any
	// Ask is the question that must be answered first, and Yes the answer.
	Ask, Yes string
}

// question is what a page asks before something is done.
type question struct {
	Text, Yes, Reason string
	// About says what else should be known before it is answered.
	About []string
	// Action is the button that was pressed, Fields what else the form had.
	Action string
	Fields []field
	// Form is what every form brings with it, Back leads away.
	Form, Back string
}

// field is a field of a form.
type field struct{ Name, Value string }

// noReason is said to who gave none.
const noReason = "A reason is needed: it is kept, and shown to who looks later."

// do does what a form asks for, once it has a reason and the question has been
// answered; done is true then. Until that, and when it is refused, again shows
// the page with what is wrong, or with the question.
func (v *visit) do(a *action, again func(status int, bad []string) error) (done bool, err error) {
	switch {
	case v.value("reason") == "":
		return false, again(http.StatusUnprocessableEntity, []string{noReason})
	case v.value("confirmed") == "":
		v.question = &question{Text: a.Ask, Yes: a.Yes, Reason: v.value("reason"),
			Action: v.value("action"), Form: v.formToken(), Back: v.here()}
		for name := range v.form {
			if !slices.Contains([]string{"csrf", "action", "confirmed"}, name) {
				v.question.Fields = append(v.question.Fields, field{name, v.value(name)})
			}
		}
		return false, again(http.StatusOK, nil)
	}
	err = v.call(a.Call, a.Into)
	if p := call.Refused(err); p != nil && p.Code != api.CodeUnauthorized &&
		(p.Status < http.StatusInternalServerError || p.Code == api.CodeUnavailable) {
		return false, again(p.Status, []string{sentence(p)})
	}
	return err == nil, err
}

// list asks the admin API for the page of a list that the address names.
func (v *visit) list(path string, ask url.Values, into any) error {
	if cursor := v.query("cursor"); cursor != "" {
		ask.Set("cursor", cursor)
	}
	ask.Set("limit", strconv.Itoa(pageSize))
	return v.get(page.Address(path, ask), into)
}

// query is a field of the page's address, without space around it.
func (v *visit) query(name string) string {
	return strings.TrimSpace(v.r.URL.Query().Get(name))
}

// asked are fields of the page's address that are filled in.
func (v *visit) asked(names ...string) url.Values {
	q := url.Values{}
	for _, name := range names {
		if value := v.query(name); value != "" {
			q.Set(name, value)
		}
	}
	return q
}
