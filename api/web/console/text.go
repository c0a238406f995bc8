package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"ordo/api"
	"ordo/api/web/page"
)

// raw is JSON to be shown.
type raw json.RawMessage

// UnmarshalJSON implements json.Unmarshaler.
func (r *raw) UnmarshalJSON(b []byte) error {
	*r = append((*r)[:0], b...)
	return nil
}

// String is the JSON with a line for each field.
func (r raw) String() string {
	var b bytes.Buffer
	if json.Indent(&b, r, "", "  ") != nil {
		return string(r)
	}
	return b.String()
}

// funcs are what the templates call.
func (s *Server) funcs() template.FuncMap {
	return template.FuncMap{
		"asset": s.site.Asset,
		"tab": func(v view, page, to, name string) tab {
			return tab{to, name, v.Page == page || sections[v.Page] == page}
		},
		"when": when, "iso": iso, "took": took, "number": number, "size": size,
		"link": link, "pretty": func(v any) string { return raw(api.Raw(v)).String() },
		"json": func(r json.RawMessage) string { return raw(r).String() },
		"first": func(text string) string {
			line, _, _ := strings.Cut(text, "\n")
			return line
		},
		"verb":   verb,
		"rate":   func(n int64) string { return fmt.Sprintf("%.1f", float64(n)/60) },
		"short":  func(t api.Time) string { return t.Std().UTC().Format("15:04") },
		"clock":  func(t api.Time) string { return t.Std().UTC().Format("15:04:05.000") },
		"hours":  func(minutes int) string { return fmt.Sprintf("%d h", minutes/60) },
		"joined": strings.Join, "masked": api.MaskText,
		"isorder": func(id string) bool { return strings.HasPrefix(id, api.PrefixOrder+"_") },
	}
}

// verb is the last word of a subject; of an event, its type.
func verb(subject string) string {
	words := strings.Split(subject, ".")
	if len(words) > 4 && words[1] == "event" {
		return words[2] + "." + words[3]
	}
	return words[len(words)-1]
}

// sections are the pages that belong below another one in the navigation.
var sections = map[string]string{"transaction": "transactions", "letter": "dead",
	"incidents": "payments", "paylog": "payments", "refund": "refunds"}

// tab is a link of the navigation.
type tab struct {
	To, Name string
	Here     bool
}

// when is a moment in UTC, to the second.
func when(t api.Time) string {
	if t == 0 {
		return "–"
	}
	return t.Std().UTC().Format("2006-01-02 15:04:05")
}

func iso(t api.Time) string { return t.Std().UTC().Format(time.RFC3339) }

// took is the time between two moments, in words; empty before the second.
func took(from, to api.Time) string {
	if from == 0 || to == 0 || to < from {
		return ""
	}
	d := time.Duration(to - from)
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// number is a number with its digits grouped by three.
func number(n any) string {
	text := fmt.Sprint(n)
	first := 0
	if strings.HasPrefix(text, "-") {
		first = 1
	}
	for i := len(text) - 3; i > first; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// size is a number of bytes in words.
func size(n any) string {
	var b int64
	switch n := n.(type) {
	case uint64:
		b = int64(min(n, 1<<62))
	case int64:
		b = n
	}
	switch {
	case b < 1<<10:
		return fmt.Sprintf("%d B", b)
	case b < 1<<20:
		return fmt.Sprintf("%d KiB", b>>10)
	case b < 1<<30:
		return fmt.Sprintf("%d MiB", b>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(b)/(1<<30))
}

// link is the address of a page of the console: its name, and then names and
// values of its query, or one part of the path.
func link(name string, more ...string) string {
	if len(more) == 1 {
		return Prefix + "/" + name + "/" + url.PathEscape(more[0])
	}
	q := url.Values{}
	for i := 0; i+1 < len(more); i += 2 {
		if more[i+1] != "" {
			q.Set(more[i], more[i+1])
		}
	}
	return page.Address(Prefix+"/"+name, q)
}
