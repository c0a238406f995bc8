package web

import (
	"encoding/json"
	"strings"

	"ordo/api"
)

// mistake is what is wrong with a field of a form; of the whole form when it
// has no field.
type mistake struct{ Field, Text string }

// explained is a problem in words.
type explained struct {
	Code    api.Code
	Text    string
	Lines   []string
	Request string
	Order   string
}

// explain says a problem in the visitor's language: what it is, and what its
// data names.
func (v *visit) explain(p *problem) explained {
	return explained{Code: p.Code, Text: v.tongue.code(p.Code),
		Lines: v.tongue.details(p.Code, p.Data, nil), Request: p.Request, Order: p.Order}
}

// details are the lines that a refusal's data names, with names of SKUs where
// they are known.
func (t *tongue) details(code api.Code, data json.RawMessage, names map[string]string) []string {
	name := func(sku string) string {
		switch {
		case names[sku] != "":
			return names[sku]
		case sku == "":
			return t.text("total")
		}
		return sku
	}
	var lines []string
	switch code {
	case api.CodePriceChanged:
		for _, c := range read[[]api.PriceChange](data) {
			lines = append(lines,
				t.text("detail.price", name(c.SKU), t.money(c.Seen), t.money(c.Now)))
		}
	case api.CodeOutOfStock, api.CodeLimitExceeded, api.CodeRefundTooMuch:
		for _, c := range read[[]api.Shortage](data) {
			lines = append(lines, t.text("detail.short", name(c.SKU), c.Wanted, c.Left))
		}
	case api.CodeUnknownSKU:
		for _, sku := range read[[]string](data) {
			lines = append(lines, name(sku))
		}
	case api.CodeBalanceTooLow:
		if left := read[api.BalanceLeft](data); left.Balance.Currency != "" {
			lines = append(lines, t.text("detail.balance", t.money(left.Balance)))
		}
	}
	return lines
}

// read is data as a T, or nothing where it is something else.
func read[T any](data json.RawMessage) (v T) {
	var known T
	if len(data) == 0 || json.Unmarshal(data, &known) != nil {
		return v
	}
	return known
}

// mistakes says a problem at the fields of the form that it is about. Names
// leads from a place of the API to a field; a place that it lacks has the
// field of its first word.
func (v *visit) mistakes(p *problem, names map[string]string) (all []mistake) {
	type field struct {
		Place string `json:"place"`
	}
	places := []field{{p.Place}}
	if p.Code == api.CodeInvalid {
		if more := read[[]field](p.Data); len(more) > 0 {
			places = more
		}
	}
	seen := map[string]bool{}
	for _, at := range places {
		m := v.mistake(p, fieldOf(at.Place, names))
		if !seen[m.Field+m.Text] {
			all = append(all, m)
		}
		seen[m.Field+m.Text] = true
	}
	return all
}

func fieldOf(place string, names map[string]string) string {
	word := place
	if i := strings.IndexAny(place, ".["); i >= 0 {
		word = place[:i]
	}
	if name, ok := names[word]; ok {
		return name
	}
	return word
}

func (v *visit) mistake(p *problem, field string) mistake {
	text := v.tongue.code(p.Code)
	if _, ok := messages["bad."+field]; ok && p.Code == api.CodeInvalid {
		text = v.tongue.text("bad." + field)
	}
	return mistake{Field: field, Text: text}
}
