package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// person uses the shop's pages with a browser that runs no script: follows
// links, fills in fields by their labels, and presses buttons by their text.
// Every page that a person sees is checked.
type person struct {
	t    testing.TB
	url  string
	http *http.Client
	// accept is the language that the browser asks for.
	accept string
	// from is the address that a proxy says the person has; empty for no proxy.
	from string
	// page is what the person sees, at says where.
	page   *html.Node
	at     *url.URL
	status int
	header http.Header
	// links are all that led elsewhere in the shop.
	links map[string]bool
}

func (p *process) person(accept string) *person {
	p.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return &person{t: p.t, url: p.url, accept: accept, links: map[string]bool{},
		http: &http.Client{Transport: transport, Jar: jar}}
}

// visit opens an address of the shop.
func (w *person) visit(path string) *person {
	w.t.Helper()
	return w.send(http.MethodGet, w.url+path, nil)
}

func (w *person) send(method, address string, form url.Values) *person {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, address,
		strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Accept-Language", w.accept)
	if w.from != "" {
		r.Header.Set("X-Forwarded-For", w.from)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := w.http.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	w.at, w.status, w.header = resp.Request.URL, resp.StatusCode, resp.Header
	w.page, err = html.ParseWithOptions(strings.NewReader(string(text)),
		html.ParseOptionEnableScripting(false))
	if err != nil {
		w.t.Fatal(err)
	}
	if strings.HasPrefix(address, w.url) && !strings.HasPrefix(w.at.Path, "/sandbox/") {
		w.checkPage(string(text))
	}
	return w
}

// sees fails the test unless the page has the status and shows all texts.
func (w *person) sees(status int, texts ...string) *person {
	w.t.Helper()
	shown := textOf(w.page)
	for _, text := range texts {
		if !strings.Contains(shown, text) {
			w.t.Fatalf("%s does not show %q:\n%s", w.at, text, shown)
		}
	}
	if w.status != status {
		w.t.Fatalf("%s: status %d, want %d:\n%s", w.at, w.status, status, shown)
	}
	return w
}

// lacks fails the test when the page shows a text.
func (w *person) lacks(text string) *person {
	w.t.Helper()
	if shown := textOf(w.page); strings.Contains(shown, text) {
		w.t.Fatalf("%s shows %q:\n%s", w.at, text, shown)
	}
	return w
}

// follow follows a link by its text.
func (w *person) follow(text string) *person {
	w.t.Helper()
	for n := range all(w.page, "a") {
		if strings.Contains(textOf(n), text) {
			to, err := w.at.Parse(attr(n, "href"))
			if err != nil {
				w.t.Fatal(err)
			}
			return w.send(http.MethodGet, to.String(), nil)
		}
	}
	w.t.Fatalf("%s has no link %q:\n%s", w.at, text, textOf(w.page))
	return nil
}

// fill enters a text into the field with this label; for a radio button or a
// box "on" and "" choose and leave it.
func (w *person) fill(label, text string) *person {
	w.t.Helper()
	for l := range all(w.page, "label") {
		if !strings.HasPrefix(textOf(l), label) {
			continue
		}
		n := byID(w.page, attr(l, "for"))
		switch attr(n, "type") {
		case "radio":
			for other := range all(formOf(n), "input") {
				if attr(other, "type") == "radio" && attr(other, "name") == attr(n, "name") {
					setAttr(other, "checked", false, "")
				}
			}
			setAttr(n, "checked", true, "")
		case "checkbox":
			setAttr(n, "checked", text != "", "")
		default:
			for option := range all(n, "option") {
				setAttr(option, "selected", textOf(option) == text, "")
			}
			setAttr(n, "value", true, text)
		}
		return w
	}
	w.t.Fatalf("%s has no field %q:\n%s", w.at, label, textOf(w.page))
	return nil
}

// choose chooses a radio button by its label.
func (w *person) choose(label string) *person { w.t.Helper(); return w.fill(label, "on") }

// press presses the button with this text.
func (w *person) press(text string) *person {
	w.t.Helper()
	method, to, form := w.form(text)
	return w.send(method, to, form)
}

// form is what pressing a button sends.
func (w *person) form(text string) (method, to string, form url.Values) {
	w.t.Helper()
	for b := range all(w.page, "button") {
		if !strings.HasPrefix(textOf(b), text) {
			continue
		}
		f := formOf(b)
		form = url.Values{}
		for n := range all(f, "input") {
			kind := attr(n, "type")
			if kind != "radio" && kind != "checkbox" {
				form.Add(attr(n, "name"), attr(n, "value"))
			} else if hasAttr(n, "checked") {
				form.Add(attr(n, "name"), or(attr(n, "value"), "on", hasAttr(n, "value")))
			}
		}
		for n := range all(f, "select") {
			form.Add(attr(n, "name"), chosen(n))
		}
		if name := attr(b, "name"); name != "" {
			form.Set(name, attr(b, "value"))
		}
		action, err := w.at.Parse(attr(f, "action"))
		if err != nil {
			w.t.Fatal(err)
		}
		if strings.EqualFold(attr(f, "method"), "post") {
			return http.MethodPost, action.String(), form
		}
		action.RawQuery = form.Encode()
		return http.MethodGet, action.String(), nil
	}
	w.t.Fatalf("%s has no button %q:\n%s", w.at, text, textOf(w.page))
	return "", "", nil
}

// chosen is the value of the option of a select that is selected, or the first.
func chosen(n *html.Node) string {
	option := find(n, "option")
	for o := range all(n, "option") {
		if hasAttr(o, "selected") {
			option = o
		}
	}
	return or(attr(option, "value"), textOf(option), hasAttr(option, "value"))
}

// or is value where there is one, and else otherwise.
func or(value, otherwise string, there bool) string {
	if there {
		return value
	}
	return otherwise
}

// until opens the page again until it shows a text.
func (w *person) until(text string) *person {
	w.t.Helper()
	eventually(w.t, "the page shows "+text, func() bool {
		w.send(http.MethodGet, w.at.String(), nil)
		return strings.Contains(textOf(w.page), text)
	})
	return w
}

// cookie is the value of one of the person's cookies.
func (w *person) cookie(name string) string {
	base, err := url.Parse(w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range w.http.Jar.Cookies(base) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// register makes an account with an e-mail address of its own.
func (w *person) register(email string) *person {
	w.t.Helper()
	return w.visit("/register").fill("E-mail", email).fill("Password", "correct horse").
		press("Make the account").sees(http.StatusOK, "You are logged in")
}

// addAddress fills in the form of a new address.
func (w *person) addAddress() *person {
	w.t.Helper()
	return w.fill("Name", "Ada Lovelace").fill("Street and number", "12 St James's Square").
		fill("City", "London").fill("Postcode", "SW1Y 4JH").fill("Country", "gb").
		fill("Phone", "+44 20 7946 0958").press("Save")
}

// id is the id in the address of the page, which is about one thing.
func (w *person) id() string { return w.at.Path[strings.LastIndexByte(w.at.Path, '/')+1:] }

// all are the elements of a name below n.
func all(n *html.Node, name string) func(func(*html.Node) bool) {
	return func(yield func(*html.Node) bool) {
		for d := range n.Descendants() {
			if d.Type == html.ElementNode && (name == "" || d.Data == name) && !yield(d) {
				return
			}
		}
	}
}

func attr(n *html.Node, name string) string {
	if n == nil {
		return ""
	}
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func hasAttr(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

func setAttr(n *html.Node, name string, there bool, value string) {
	n.Attr = slices.DeleteFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
	if there {
		n.Attr = append(n.Attr, html.Attribute{Key: name, Val: value})
	}
}

func byID(n *html.Node, id string) *html.Node {
	for d := range all(n, "") {
		if attr(d, "id") == id {
			return d
		}
	}
	return nil
}

func formOf(n *html.Node) *html.Node {
	for n.Parent != nil && n.Data != "form" {
		n = n.Parent
	}
	return n
}

// textOf is the text below n, its space made alike.
func textOf(n *html.Node) string {
	if n == nil {
		return ""
	}
	var b strings.Builder
	if n.Type == html.TextNode {
		b.WriteString(n.Data)
	}
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		} else if d.Type == html.ElementNode {
			b.WriteString(" ")
		}
	}
	return words(b.String())
}

// tour opens every page that any page led to, once, and answers how many.
func (w *person) tour() int { w.t.Helper(); return w.tourOf("/") }

// tourOf is the tour of the pages whose addresses begin with that.
func (w *person) tourOf(begin string) int {
	w.t.Helper()
	seen := map[string]bool{}
	for again := true; again; {
		again = false
		for link := range w.links {
			if seen[link] || len(seen) > 400 || !strings.HasPrefix(link, begin) {
				continue
			}
			seen[link], again = true, true
			if strings.HasPrefix(link, "/docs") || strings.Contains(link, "/assets/") {
				resp, err := w.http.Get(w.url + link)
				if err != nil {
					w.t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					w.t.Errorf("%s: %s", link, resp.Status)
				}
				continue
			}
			if w.visit(link); w.status != http.StatusOK {
				w.t.Errorf("a link to %s: status %d", link, w.status)
			}
		}
	}
	return len(seen)
}

// String is the page as text, for messages.
func (w *person) String() string { return fmt.Sprintf("%s: %s", w.at, textOf(w.page)) }
