package web

import (
	"fmt"
	"html/template"
	"strings"

	"golang.org/x/text/currency"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"ordo/api"
	"ordo/api/web/page"
)

// languages are those that messages has, the first where a visitor wants none
// of them.
var languages = [...]language.Tag{language.English, language.SimplifiedChinese}

var matcher = language.NewMatcher(languages[:])

// tongue is a language, with all pages in it.
type tongue struct {
	// Code is the language's for HTML, and Name what it calls itself.
	Code, Name string
	index      int
	printer    *message.Printer
	pages      map[string]*template.Template
}

func newTongue(index int, tag language.Tag, site *page.Site) (*tongue, error) {
	t := &tongue{Code: tag.String(), index: index, printer: message.NewPrinter(tag)}
	t.Name = t.text("language.name")
	var err error
	t.pages, err = site.Templates(template.FuncMap{
		"t": t.mustText, "money": t.money, "amount": t.amount, "when": t.when, "iso": iso,
		"code": t.code, "choice": t.options, "page": pageLink, "tone": tone, "initial": initial,
		"swatch": swatch, "asset": site.Asset,
		"picture": picture, "hint": t.hint,
		"left": func(l api.LineSnapshot) int64 { return l.Quantity - l.Refunded },
	})
	return t, err
}

// chooseTongue is the language that a visitor chose, or else the best of those
// that the browser asks for.
func (s *Server) chooseTongue(chosen, accepted string) *tongue {
	for _, t := range s.tongues {
		if t.Code == chosen {
			return t
		}
	}
	tags, _, err := language.ParseAcceptLanguage(accepted)
	if err != nil || len(tags) == 0 {
		return s.tongues[0]
	}
	_, index, _ := matcher.Match(tags...)
	return s.tongues[index]
}

// text is a message with its arguments; its key where there is none.
func (t *tongue) text(key string, args ...any) string {
	m, ok := messages[key]
	if !ok {
		return key
	}
	if len(args) == 0 {
		return m[t.index]
	}
	return fmt.Sprintf(m[t.index], args...)
}

// mustText is text for pages, which fail where a message is missing.
func (t *tongue) mustText(key string, args ...any) (string, error) {
	if _, ok := messages[key]; !ok {
		return "", fmt.Errorf("there is no message %q", key)
	}
	return t.text(key, args...), nil
}

// hint says how a field is to be filled in; empty where that is plain.
func (t *tongue) hint(field string) string {
	if _, ok := messages["hint."+field]; !ok {
		return ""
	}
	return t.text("hint." + field)
}

// code is a refusal's code in words.
func (t *tongue) code(code api.Code) string {
	if _, ok := messages["code."+string(code)]; !ok {
		return t.text("code.unknown", string(code))
	}
	return t.text("code." + string(code))
}

// money is an amount as it is written in the language: £1,234.50.
func (t *tongue) money(m api.Money) string {
	if m.Currency == api.UnitPoint {
		return t.text("points", t.amount(m))
	}
	number, minus := strings.CutPrefix(t.amount(m), "-")
	sign := ""
	if minus {
		sign = "−"
	}
	symbol := m.Currency
	if unit, err := currency.ParseISO(m.Currency); err == nil {
		symbol = t.printer.Sprint(currency.Symbol(unit))
	}
	if symbol == m.Currency {
		symbol += "\u00a0"
	}
	return sign + symbol + number
}

// amount is the number of an amount, its digits grouped by three.
func (t *tongue) amount(m api.Money) string {
	number, _, _ := strings.Cut(m.String(), " ")
	whole, rest, point := strings.Cut(number, ".")
	first := 0
	if strings.HasPrefix(whole, "-") {
		first = 1
	}
	for i := len(whole) - 3; i > first; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if point {
		whole += "." + rest
	}
	return whole
}

// when is a moment in words. The server does not know the visitor's clock, so
// it is UTC; the page's script makes it local.
func (t *tongue) when(at api.Time) string {
	return at.Std().Format(t.text("time.format"))
}

// iso is a moment as an attribute has it.
func iso(at api.Time) string { return at.Std().Format("2006-01-02T15:04:05Z") }
