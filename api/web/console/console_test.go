package console_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"ordo/api"
	"ordo/api/rest"
	"ordo/api/web/console"
)

// answers is an admin API that answers with what is set for a path, and notes what
// was posted.
type answers struct {
	t      *testing.T
	get    map[string]any
	posted []string
}

// refused is an answer that is no success.
type refused struct {
	Status int      `json:"status"`
	Code   api.Code `json:"code"`
	Detail string   `json:"detail"`
}

// ServeHTTP implements http.Handler.
func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer ses_x" {
		a.t.Errorf("%s %s without the operator's token", r.Method, r.URL)
	}
	path := strings.TrimPrefix(r.URL.Path, "/admin/v1")
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			a.t.Error(err)
		}
		a.posted = append(a.posted, path+" "+string(body))
		path = "POST " + path
	}
	what, ok := a.get[path]
	if !ok {
		what = refused{404, api.CodeNotFound, "there is none"}
	}
	if no, bad := what.(refused); bad {
		w.WriteHeader(no.Status)
	}
	_, _ = w.Write(api.Raw(what)) // to memory
}

// operator is a browser that has logged in.
type operator struct {
	t       *testing.T
	pages   http.Handler
	cookies []*http.Cookie
}

func newOperator(t *testing.T, a *answers) *operator {
	t.Helper()
	s, err := console.New(console.Config{API: a,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	return &operator{t: t, pages: s,
		cookies: []*http.Cookie{{Name: "ordo-console", Value: "ses_x"}}}
}

// send asks for a page, or posts a form to it, and answers what it shows.
func (o *operator) send(path string, form url.Values) (status int, text string) {
	o.t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if form != nil {
		r = httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.RemoteAddr, r.Host = "127.0.0.1:5", "127.0.0.1:8080"
	for _, c := range o.cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	o.pages.ServeHTTP(w, r)
	o.cookies = append(o.cookies, w.Result().Cookies()...)
	return w.Code, w.Body.String()
}

// sees asks for a page, and checks which texts are on it, and which are not.
func (o *operator) sees(path string, want, lacks []string) string {
	o.t.Helper()
	status, text := o.send(path, nil)
	if status != http.StatusOK {
		o.t.Errorf("%s: status %d", path, status)
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			o.t.Errorf("%s lacks %q", path, w)
		}
	}
	for _, w := range lacks {
		if strings.Contains(text, w) {
			o.t.Errorf("%s has %q", path, w)
		}
	}
	return text
}

const (
	orderID   = "ord_01ARZ3NDEKTSV4RRFFQ69G5FAV"
	orderPath = "/transactions/" + orderID
	orderPage = console.Prefix + orderPath
)

func lacks(actor string, parts ...string) (l api.MissingList) {
	for _, part := range parts {
		l = append(l, api.Missing{Part: part, Actor: actor, Why: actor + " does not answer"})
	}
	return l
}

// ACCEPT M7: a page says what is unknown, and does not show it as none.
func TestMissingParts(t *testing.T) {
	o := newOperator(t, &answers{t: t, get: map[string]any{orderPath: rest.Timeline{
		Order: api.Order{ID: orderID, State: api.OrderPending, Lines: []api.LineSnapshot{{SKU: "mug"}}},
		Missing: lacks("goods", "letters",
			"effects", "messages", "attempts", "events", "refunds", "steps"),
		Messages: []rest.TimelineMessage{{Actor: "goods", From: "order", Unknown: "goods does not answer",
			Subject: "ordo.goods.0.reserve", Body: json.RawMessage(`{}`)}}}}})
	text := o.sees(orderPage, []string{"Dead letters", "Calls to the world outside", "Attempts to pay",
		`<h2 id="refunds">Refunds`, `data-reload="3"`, "Nothing is known to be open",
		"unknown: goods does not answer (dead letters, calls to the world outside, what it has handled, "}, []string{"not handled yet",
		"nothing yet", ">none<", "Nothing is open"})
	if n := strings.Count(text, "unknown: goods does not answer"); n != 8 {
		t.Errorf("%d parts are unknown: %s", n, text)
	}
	o = newOperator(t, &answers{t: t, get: map[string]any{orderPath: rest.Timeline{
		Order: api.Order{ID: orderID}, Missing: lacks("order", "order", "steps"),
		Found: []api.FoundStep{{Name: "goods.reserve", State: api.StepDone}}}}})
	o.sees(orderPage, []string{"<dd><span class=\"warn\">unknown: order does not answer</span>",
		"What participants have done", "goods.reserve"}, []string{"Submitted", "Cancel order",
		"transactions?user=", "journal was told"})
	o = newOperator(t, &answers{t: t, get: map[string]any{orderPath: rest.Timeline{
		Order: api.Order{ID: orderID, State: api.OrderPlaced}, Told: 1e18,
		Missing: lacks("order", "order", "steps")}}})
	o.sees(orderPage, []string{"as the journal was told of it at <time", "placed", "Submitted"}, nil)
}

// ACCEPT M7: the overview counts nothing that it does not know.
func TestOverviewWithMissingParts(t *testing.T) {
	missing := append(lacks("order", "orders", "dead"), api.Missing{Part: "streams", Why: "no streams"},
		api.Missing{Part: "timers", Why: "no streams"})
	o := newOperator(t, &answers{t: t, get: map[string]any{"/overview": rest.Overview{At: 1e18,
		Dead: 2, Missing: missing, Audit: map[string]any{"ok": true, "left_out": []string{"stock", "x"}},
		Actors: []api.ActorStatus{{Actor: "order", Fault: "does not answer",
			Lag: -1, Dead: -1, Unconfirmed: -1, Effects: -1, Incidents: -1, Messages: -1},
			{Actor: "goods", Ready: true, Lag: -1}}},
		"/transactions": refused{503, api.CodeUnavailable, "away"}}})
	text := o.sees("/console/", []string{`<td colspan="8" class="quiet">unknown: order does not answer`,
		">?</a></dd><dd class=\"quiet\">unknown: order does not answer</dd>",
		">2</a></dd><dd class=\"quiet\">unknown: order does not answer</dd>",
		"<dt>Timers that wait</dt><dd class=\"quiet\">unknown: no streams</dd>",
		"<dt>Placed / s</dt><dd class=\"quiet\">unknown: order does not answer</dd>",
		"unknown: 2 checks are left out", `<p class="warn">unknown: no streams</p>`, `<td class="number">unknown</td>`},
		[]string{"0.0", "state=placed", "<svg", ">-1<"})
	if strings.Count(text, "unknown: order does not answer (orders by state, dead letters, stuck orders)") != 1 {
		t.Errorf("%s", text)
	}
}

// evil is what a shopper, a gateway or an error may bring with it.
const evil = `"><script>alert(1)</script><img src=x onerror='alert(2)'>` +
	`{{.}}<!--javascript:alert(3)`

// filled sets every text in v to evil, every number to 7, and gives every list an
// element.
func filled(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(evil)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint64:
		v.SetUint(7)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(api.Raw(map[string]string{"state": evil, evil: evil}))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		filled(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		filled(key)
		filled(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				filled(v.Field(i))
			}
		}
	}
}

func hostile[T any]() (v T) {
	filled(reflect.ValueOf(&v).Elem())
	return v
}

// Whatever stands in an order, a letter or an error is text on every page, and
// nothing that a browser runs, loads or follows elsewhere.
func TestHostileTexts(t *testing.T) {
	letter := hostile[api.Letter]()
	o := newOperator(t, &answers{t: t, get: map[string]any{
		orderPath: hostile[rest.Timeline](), "/overview": hostile[rest.Overview](),
		"/transactions": hostile[api.TransactionList](), "/dead": hostile[api.LetterList](),
		"/dead/goods/1": letter, "/refunds": hostile[api.RefundList](),
		"/refunds/rfd_1": hostile[api.Refund](), "/orders/" + evil: hostile[api.Order](),
		"/payments": hostile[api.PaymentList](), "/paylog": hostile[api.PayLog](),
		"/incidents": hostile[api.PaymentIncidentList](), "/journal": hostile[api.Journal](),
		"/find":  map[string]any{"items": []any{}, "missing": hostile[api.MissingList]()},
		"/audit": map[string]any{"items": []any{map[string]any{"check": evil, "problem": evil}}},
	}})
	for _, path := range []string{"/", orderPath, "/transactions", "/dead", "/dead/goods/1",
		"/refunds", "/refunds/rfd_1", "/payments", "/payments/log", "/payments/incidents",
		"/journal", "/audit", "/search?q=" + url.QueryEscape(evil),
		"/transactions?user=" + url.QueryEscape(evil)} {
		_, text := o.send(console.Prefix+path, nil)
		if !strings.Contains(text, "alert") {
			t.Errorf("%s shows nothing of it: %s", path, text)
		}
		page, err := html.Parse(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		for n := range page.Descendants() {
			if n.Type == html.ElementNode {
				checkElement(t, path, n)
			}
		}
	}
}

// checkElement complains of what does not come from the console's own templates.
func checkElement(t *testing.T, path string, n *html.Node) {
	t.Helper()
	if n.Data == "img" || n.Data == "style" || n.Data == "script" && n.FirstChild != nil {
		t.Errorf("%s has a %s", path, n.Data)
	}
	for _, a := range n.Attr {
		where := a.Key == "href" || a.Key == "src" || a.Key == "action"
		if strings.HasPrefix(a.Key, "on") || a.Key == "style" ||
			where && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") {
			t.Errorf("%s has %s=%q", path, a.Key, a.Val)
		}
	}
}

// An error of many lines takes one in a list, and all of it is on its own page.
func TestLongTexts(t *testing.T) {
	long := strings.Repeat("stack ", 2000)
	l := api.Letter{N: 1, State: "open", Subject: "ordo.goods.0.reserve", Error: "boom\n" + long,
		Body: api.Raw(map[string]string{"order": orderID})}
	o := newOperator(t, &answers{t: t, get: map[string]any{
		"/overview": rest.Overview{Actors: []api.ActorStatus{{Actor: "goods", Ready: true, Dead: 1}}},
		"/dead":     api.LetterList{Letters: []api.Letter{l}}, "/dead/goods/1": l,
		orderPath: rest.Timeline{Order: api.Order{ID: orderID},
			Letters: []rest.TimelineLetter{{Actor: "goods", Letter: l}}}}})
	o.sees("/console/dead", []string{"boom", "goods 1", orderID}, []string{"stack"})
	o.sees(orderPage, []string{"boom"}, []string{"stack"})
	o.sees("/console/dead/goods/1", []string{"boom", strings.TrimSpace(long)}, nil)
}

// formToken is that of the page's forms.
func formToken(t *testing.T, text string) string {
	t.Helper()
	_, rest, _ := strings.Cut(text, `name="csrf" value="`)
	token, _, ok := strings.Cut(rest, `"`)
	if !ok || token == "" {
		t.Fatalf("no form in %s", text)
	}
	return token
}

// ACCEPT M7: nothing is done without a form of this operator's own page, a reason,
// and a yes to the question, which names the dead letters that are open.
func TestConfirmation(t *testing.T) {
	l := api.Letter{N: 12, State: "open", Subject: "ordo.goods.0.reserve",
		Error: "broken for ann@example.com\nstack"}
	a := &answers{t: t, get: map[string]any{
		orderPath: rest.Timeline{Order: api.Order{ID: orderID, State: api.OrderPending},
			Missing: lacks("wallet", "letters"), Letters: []rest.TimelineLetter{{Actor: "goods", Letter: l},
				{Actor: "goods", Letter: api.Letter{N: 11, State: "dismissed"}}}},
		"POST " + orderPath + "/settle": refused{503, api.CodeUnavailable, "wallet does not answer"},
		"POST " + orderPath + "/retry": rest.Retried{Steps: []string{"goods.reserve"},
			Missing: lacks("wallet", "letters")}}}
	o := newOperator(t, a)
	form := url.Values{"action": {"settle"}, "reason": {"looks odd"}, "confirmed": {"yes"}}
	for name, token := range map[string]string{"none": "", "made up": "x"} {
		form.Set("csrf", token)
		if status, _ := o.send(orderPage, form); status != http.StatusForbidden {
			t.Errorf("%s: status %d", name, status)
		}
	}
	form.Set("csrf", formToken(t, o.sees(orderPage, nil, nil)))
	form.Del("confirmed")
	status, text := o.send(orderPage, form)
	for _, want := range []string{"Compare with all participants", "Yes, settle", "looks odd",
		"Dead letter goods 12 is open: reserve: broken for •••", "Settling handles none of them",
		"Other dead letters are unknown: wallet does not answer"} {
		if !strings.Contains(text, want) {
			t.Errorf("the question lacks %q", want)
		}
	}
	if status != http.StatusOK || strings.Contains(text, "goods 11 is open") ||
		strings.Contains(text, "data-reload") || len(a.posted) > 0 {
		t.Errorf("status %d, posted %q: %s", status, a.posted, text)
	}
	form.Set("reason", " ")
	if status, text = o.send(orderPage, form); status != http.StatusUnprocessableEntity ||
		!strings.Contains(text, "A reason is needed") || len(a.posted) > 0 {
		t.Errorf("without a reason: status %d, posted %q", status, a.posted)
	}
	form.Set("reason", "looks odd")
	form.Set("confirmed", "yes")
	if status, text = o.send(orderPage, form); status != http.StatusServiceUnavailable ||
		!strings.Contains(text, "wallet does not answer (unavailable)") ||
		!strings.Contains(text, orderID) {
		t.Errorf("settled: status %d: %s", status, text)
	}
	form.Set("action", "retry")
	if status, _ = o.send(orderPage, form); status != http.StatusSeeOther {
		t.Errorf("retried: status %d", status)
	}
	form.Set("action", "explode")
	if status, _ = o.send(orderPage, form); status != http.StatusNotFound {
		t.Errorf("an unknown action: status %d", status)
	}
	want := []string{orderPath + `/settle {"reason":"looks odd"}`,
		orderPath + `/retry {"reason":"looks odd"}`}
	if !reflect.DeepEqual(a.posted, want) {
		t.Errorf("posted %q", a.posted)
	}
	o.sees(orderPage+"?note=retried-some", []string{"do not answer were not retried"}, nil)
}
