package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ordo/api"
	"ordo/api/web/call"
)

// pageSize is the most rows of a page.
const pageSize = 50

// filters are the fields by which transactions are looked for.
type filters struct {
	State, User, SKU, Older string
	Stuck                   bool
	States                  []string
	Items                   []api.Transaction
	Next                    string
}

func (v *visit) listTransactions() error {
	q := v.r.URL.Query()
	d := filters{State: q.Get("state"), User: strings.TrimSpace(q.Get("user")),
		SKU: strings.TrimSpace(q.Get("sku")), Older: strings.TrimSpace(q.Get("older")),
		Stuck: q.Get("stuck") != "", States: states[:]}
	page := view{Page: "transactions", Title: "Transactions", D: &d}
	ask := url.Values{"limit": {strconv.Itoa(pageSize)}, "cursor": {q.Get("cursor")}}
	for name, value := range map[string]string{"state": d.State, "user": d.User, "sku": d.SKU} {
		if value != "" {
			ask.Set(name, value)
		}
	}
	if d.Stuck {
		ask.Set("stuck", "true")
	}
	if d.Older != "" {
		older, err := time.ParseDuration(d.Older)
		if err != nil || older < 0 {
			page.Bad = []string{"Older than: write a time such as 90s, 10m or 2h."}
			return v.show(http.StatusUnprocessableEntity, page)
		}
		ask.Set("older", strconv.FormatInt(int64(older/time.Second), 10))
	}
	var list api.TransactionList
	if err := v.get("/transactions?"+ask.Encode(), &list); err != nil {
		p := call.Refused(err)
		if p == nil || p.Code != api.CodeInvalid {
			return err
		}
		page.Bad = []string{p.Detail + " " + p.Place}
		return v.show(p.Status, page)
	}
	d.Items = list.Transactions
	if list.Next != "" {
		q.Set("cursor", list.Next)
		d.Next = address(v.r.URL.EscapedPath(), q)
	}
	return v.show(http.StatusOK, page)
}

// timeline is what the admin API answers of an order.
type timeline struct {
	Order    api.Order          `json:"order"`
	Why      []cause            `json:"why"`
	Steps    []step             `json:"steps"`
	Refunds  []api.Refund       `json:"refunds"`
	Attempts []api.Attempt      `json:"attempts"`
	Events   []api.JournalEntry `json:"events"`
	Messages []message          `json:"messages"`
	Effects  []effect           `json:"effects"`
	Letters  []letter           `json:"letters"`
	Commands []string           `json:"commands"`
	Notes    []string           `json:"notes"`
}

type cause struct {
	Text  string   `json:"text"`
	Actor string   `json:"actor"`
	Since api.Time `json:"since"`
}

type step struct {
	api.StepView
	Actor   string   `json:"actor"`
	Subject string   `json:"subject"`
	NextTry api.Time `json:"next_try"`
}

type message struct {
	Actor   string   `json:"actor"`
	From    string   `json:"from"`
	Stream  string   `json:"stream"`
	Seq     uint64   `json:"seq"`
	Subject string   `json:"subject"`
	ID      string   `json:"id"`
	Cause   string   `json:"cause"`
	At      api.Time `json:"at"`
	Body    raw      `json:"body"`
	Handled bool     `json:"handled"`
	Outcome string   `json:"outcome"`
	Dead    string   `json:"dead"`
}

type effect struct {
	Actor string `json:"actor"`
	api.EffectView
}

type letter struct {
	Actor string `json:"actor"`
	api.Letter
}

// transaction is the page of an order.
type transaction struct {
	timeline
	// Open is true while a step or an effect waits, or a letter is open, and Over
	// once the order can't be cancelled any more.
	Open, Over bool
	// Ask is what is to be confirmed; empty when nothing is.
	Ask, Reason string
}

// actions are what can be done about an order, by the name of the button.
var actions = map[string]struct{ path, note string }{
	"retry":  {"/transactions/%s/retry", "retried"},
	"settle": {"/transactions/%s/settle", "settled"},
	"cancel": {"/orders/%s/cancel", "cancelled"},
}

func (v *visit) showTransaction() error { return v.transactionPage(http.StatusOK, "", nil) }

// transactionPage shows the order, with an action to be confirmed, or with what
// was wrong with it.
func (v *visit) transactionPage(status int, ask string, bad []string) error {
	id := v.r.PathValue("id")
	d := transaction{Ask: ask, Reason: v.value("reason")}
	if err := v.get("/transactions/"+url.PathEscape(id), &d.timeline); err != nil {
		return err
	}
	d.Open = slices.ContainsFunc(d.Steps, func(s step) bool { return s.Open() }) ||
		slices.ContainsFunc(d.Letters, func(l letter) bool { return l.State == "open" })
	d.Over = !slices.Contains([]string{api.OrderPending, api.OrderPlaced}, d.Order.State)
	page := view{Page: "transaction", Title: "Transaction", Bad: bad, D: &d}
	if d.Open && ask == "" && len(bad) == 0 {
		page.Reload = refreshEvery
	}
	return v.show(status, page)
}

// actOnTransaction does what was asked for once it is confirmed.
func (v *visit) actOnTransaction() error {
	name := v.value("action")
	act, known := actions[name]
	switch {
	case !known:
		return v.showTransaction()
	case v.value("reason") == "":
		return v.transactionPage(http.StatusUnprocessableEntity, "",
			[]string{"A reason is needed: it is kept in the journal."})
	case v.value("confirmed") == "":
		return v.transactionPage(http.StatusOK, name, nil)
	}
	var settled struct{ Found []api.FoundStep }
	path := strings.Replace(act.path, "%s", url.PathEscape(v.r.PathValue("id")), 1)
	err := v.post(path, map[string]string{"reason": v.value("reason")}, &settled)
	if p := call.Refused(err); p != nil && p.Status < http.StatusInternalServerError &&
		p.Code != api.CodeUnauthorized && p.Code != api.CodeNotFound {
		return v.transactionPage(p.Status, "", []string{sentence(p)})
	}
	if err != nil {
		return err
	}
	note := act.note
	if name == "settle" && len(settled.Found) == 0 {
		note = "equal"
	}
	return v.goNoted(v.r.URL.EscapedPath(), note)
}

// sentence is a refusal in a sentence, with its code.
func sentence(p *call.Problem) string {
	text := p.Detail + " (" + string(p.Code)
	if p.Place != "" {
		text += ", " + p.Place
	}
	return text + ")"
}
