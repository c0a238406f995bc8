package e2e

import (
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// checkPage checks what holds for every page: what a browser may do with it,
// that its HTML is as written, and that it can be used by keyboard and ear.
func (w *person) checkPage(text string) {
	w.t.Helper()
	bad := func(format string, args ...any) {
		w.t.Helper()
		w.t.Errorf("%s (%s): "+format, append([]any{w.at, w.accept}, args...)...)
	}
	for name, want := range map[string]string{"Content-Type": "text/html; charset=utf-8",
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if got := w.header.Get(name); got != want {
			bad("%s is %q", name, got)
		}
	}
	policy := w.header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") ||
		!strings.Contains(policy, "frame-ancestors 'none'") {
		bad("policy %q", policy)
	}
	checkTags(text, w.page, bad)
	counts := map[string]int{}
	ids := map[string]bool{}
	for n := range all(w.page, "") {
		if n.Namespace == "" { // a drawing has a title of its own
			counts[n.Data]++
		}
		if id := attr(n, "id"); id != "" {
			if ids[id] || strings.ContainsAny(id, " \t\n") {
				bad("the id %q comes twice or has a space", id)
			}
			ids[id] = true
		}
	}
	for _, name := range []string{"h1", "main", "header", "footer", "title"} {
		if counts[name] != 1 {
			bad("%d elements %s", counts[name], name)
		}
	}
	if counts["style"] != 0 || attr(find(w.page, "html"), "lang") == "" {
		bad("an inline style, or no language")
	}
	level := 0
	for n := range all(w.page, "") {
		if len(n.Data) == 2 && n.Data[0] == 'h' && n.Data[1] >= '1' && n.Data[1] <= '6' {
			if next := int(n.Data[1] - '0'); next > level+1 && level != 0 {
				bad("h%d follows h%d", next, level)
			} else {
				level = next
			}
		}
		w.checkElement(n, ids, bad)
	}
}

func find(n *html.Node, name string) *html.Node {
	for d := range all(n, name) {
		return d
	}
	return nil
}

// checkElement checks one element of a page.
func (w *person) checkElement(n *html.Node, ids map[string]bool, bad func(string, ...any)) {
	for _, a := range n.Attr {
		if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
			bad("%s has the attribute %s", n.Data, a.Key)
		}
		if a.Key == "for" || strings.HasPrefix(a.Key, "aria-") && (strings.HasSuffix(a.Key, "by")) {
			for _, id := range strings.Fields(a.Val) {
				if !ids[id] {
					bad("%s of %s leads to no element %q", a.Key, n.Data, id)
				}
			}
		}
	}
	switch n.Data {
	case "script":
		if attr(n, "src") == "" || n.FirstChild != nil {
			bad("an inline script")
		}
	case "img":
		if !hasAttr(n, "alt") {
			bad("a picture without alt")
		}
	case "button", "summary", "legend", "label", "h1", "h2", "li":
		if textOf(n) == "" {
			bad("%s without text", n.Data)
		}
	case "input", "select", "textarea":
		if attr(n, "type") != "hidden" && labelOf(w.page, attr(n, "id")) == "" {
			bad("the field %s has no label", attr(n, "name"))
		}
	case "form":
		if strings.EqualFold(attr(n, "method"), "post") && !hasField(n, "csrf") {
			bad("the form to %s has no csrf", attr(n, "action"))
		}
	case "a", "link":
		w.checkLink(n, ids, bad)
	}
}

func (w *person) checkLink(n *html.Node, ids map[string]bool, bad func(string, ...any)) {
	to := attr(n, "href")
	switch {
	case n.Data == "a" && textOf(n) == "":
		bad("a link to %s without text", to)
	case strings.HasPrefix(to, "#"):
		if !ids[to[1:]] {
			bad("a link to %s, which is not there", to)
		}
	case strings.HasPrefix(to, "/"):
		w.links[to] = true
	case n.Data == "link" || !strings.HasPrefix(to, w.url+"/"):
		bad("a link out of the shop: %s", to)
	}
}

func labelOf(page *html.Node, id string) string {
	for l := range all(page, "label") {
		if id != "" && attr(l, "for") == id {
			return textOf(l)
		}
	}
	return ""
}

func hasField(form *html.Node, name string) bool {
	for n := range all(form, "input") {
		if attr(n, "name") == name && attr(n, "value") != "" {
			return true
		}
	}
	return false
}

// void are the elements without an end.
var void = []string{"meta", "link", "input", "br", "img"}

// checkTags checks that every element is closed where it was opened, and that
// a browser makes no others of them than are written.
func checkTags(text string, page *html.Node, bad func(string, ...any)) {
	var open []string
	// The tokenizer takes what is for browsers without scripts for text.
	text = strings.NewReplacer("<noscript>", "", "</noscript>", "").Replace(text)
	written := map[string]int{}
	for z := html.NewTokenizer(strings.NewReader(text)); ; {
		kind := z.Next()
		token := z.Token()
		switch {
		case kind == html.ErrorToken:
			if len(open) > 0 {
				bad("not closed: %v", open)
			}
			for n := range all(page, "") {
				written[n.Data]--
			}
			delete(written, "noscript")
			for name, n := range written {
				if n != 0 {
					bad("%d elements %s more are written than a browser sees", n, name)
				}
			}
			return
		case kind == html.SelfClosingTagToken:
			written[token.Data]++
		case kind == html.StartTagToken:
			written[token.Data]++
			if !slices.Contains(void, token.Data) {
				open = append(open, token.Data)
			}
		case kind == html.EndTagToken:
			if len(open) == 0 || open[len(open)-1] != token.Data {
				bad("</%s> closes %v", token.Data, open)
				return
			}
			open = open[:len(open)-1]
		}
	}
}
