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
	"ordo/api/web/page"
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
	d := filters{State: v.query("state"), User: v.query("user"), SKU: v.query("sku"),
		Older: v.query("older"), Stuck: v.query("stuck") != "", States: states[:]}
	shown := view{Page: "transactions", Title: "Transactions", D: &d}
	ask := v.asked("state", "user", "sku")
	if d.Stuck {
		ask.Set("stuck", "true")
	}
	if d.Older != "" {
		older, err := time.ParseDuration(d.Older)
		if err != nil || older < 0 {
			shown.Bad = []string{"Older than: write a time such as 90s, 10m or 2h."}
			return v.show(http.StatusUnprocessableEntity, shown)
		}
		ask.Set("older", strconv.FormatInt(int64(older/time.Second), 10))
	}
	var list api.TransactionList
	err := v.list("/transactions", ask, &list)
	if p := call.Refused(err); p != nil && p.Code == api.CodeInvalid {
		shown.Bad = []string{sentence(p)}
		return v.show(p.Status, shown)
	}
	if err != nil {
		return err
	}
	d.Items, d.Next = list.Transactions, page.Next(v.r, list.Next)
	return v.show(http.StatusOK, shown)
}

// timeline is what the admin API answers of an order.
type timeline struct {
	Order    api.Order          `json:"order"`
	Told     api.Time           `json:"told"`
	Why      []cause            `json:"why"`
	Steps    []step             `json:"steps"`
	Found    []api.FoundStep    `json:"found"`
	Refunds  []api.Refund       `json:"refunds"`
	Attempts []api.Attempt      `json:"attempts"`
	Events   []api.JournalEntry `json:"events"`
	Messages []message          `json:"messages"`
	Effects  []effect           `json:"effects"`
	Letters  []letter           `json:"letters"`
	Commands []string           `json:"commands"`
	Missing  api.MissingList    `json:"missing"`
	Notes    []string           `json:"notes"`
}

type cause struct {
	Text  string   `json:"text"`
	Do    string   `json:"do"`
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
	Unknown string   `json:"unknown"`
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
	// Open is true while a step waits, a letter is open or something is not known,
	// and Over once the order can't be cancelled any more.
	Open, Over bool
	Reason     string
}

// actions are what can be done about an order, by the name of the button: where
// the admin API has it, the question that is asked first, and the note after it.
var actions = map[string]struct{ path, ask, note string }{
	"retry": {"/transactions/%s/retry", "Ask again for every step that was not answered, " +
		"and have the order's dead letters handled again?", "retried"},
	"settle": {"/transactions/%s/settle", "Compare with all participants, " +
		"and have the order follow what they say?", "settled"},
	"cancel": {"/orders/%s/cancel", "Cancel the order, and give back all that it holds?",
		"cancelled"},
}

func (v *visit) showTransaction() error { return v.transactionPage(http.StatusOK, nil) }

func (v *visit) transactionPage(status int, bad []string) error {
	d := transaction{Reason: v.value("reason")}
	if err := v.get("/transactions/"+url.PathEscape(v.r.PathValue("id")), &d.timeline); err != nil {
		return err
	}
	d.Open = slices.ContainsFunc(d.Steps, func(s step) bool { return s.Open() }) ||
		slices.ContainsFunc(d.Letters, func(l letter) bool { return l.State == "open" }) ||
		len(d.Missing) > 0
	d.Over = !slices.Contains([]string{api.OrderPending, api.OrderPlaced}, d.Order.State)
	v.tellOpenLetters(&d.timeline)
	page := view{Page: "transaction", Title: "Transaction", Bad: bad, D: &d}
	if d.Open && v.question == nil && len(bad) == 0 {
		page.Reload = refreshEvery
	}
	return v.show(status, page)
}

// tellOpenLetters has a question say which dead letters are open: a retry handles
// them again, and who settles should know of them.
func (v *visit) tellOpenLetters(t *timeline) {
	q := v.question
	if q == nil {
		return
	}
	for i := range t.Letters {
		if l := &t.Letters[i]; l.State == "open" {
			why, _, _ := strings.Cut(l.Why(), "\n")
			q.About = append(q.About, "Dead letter "+l.Actor+" "+number(l.N)+" is open: "+
				verb(l.Subject)+": "+why)
		}
	}
	if text := t.Missing.Unknown("letters"); text != "" {
		q.About = append(q.About, "Other dead letters are "+text)
	}
	if len(q.About) > 0 && q.Action == "settle" {
		q.About = append(q.About, "Settling handles none of them. What one was to do can still "+
			"come, when it is retried: retry or dismiss it first.")
	}
}

// actOnTransaction is row M7.
func (v *visit) actOnTransaction() error {
	name := v.value("action")
	act, known := actions[name]
	if !known {
		return notFound()
	}
	var out struct {
		Found   []api.FoundStep
		Steps   []string
		Open    int
		Missing api.MissingList
	}
	path := strings.Replace(act.path, "%s", url.PathEscape(v.r.PathValue("id")), 1)
	a := action{Ask: act.ask, Yes: "Yes, " + name, Into: &out, Call: call.Call{
		Method: http.MethodPost, Path: path, Body: map[string]string{"reason": v.value("reason")}}}
	done, err := v.do(&a, v.transactionPage)
	switch {
	case !done:
		return err
	case out.Open > 0:
		text := "Dead letters that failed again, and stay open: " + number(out.Open) + "."
		if len(out.Steps) > 0 {
			text = "Asked again for " + strings.Join(out.Steps, ", ") + ". " + text
		}
		return v.transactionPage(http.StatusConflict, []string{text})
	case len(out.Missing) > 0:
		return v.goNoted(v.r.URL.EscapedPath(), "retried-some")
	case name == "settle" && len(out.Found) == 0:
		return v.goNoted(v.r.URL.EscapedPath(), "equal")
	}
	return v.goNoted(v.r.URL.EscapedPath(), act.note)
}

// sentence is a refusal in a sentence, with its code.
func sentence(p *call.Problem) string {
	text := p.Detail + " (" + string(p.Code)
	if p.Place != "" {
		text += ", " + p.Place
	}
	return text + ")"
}
