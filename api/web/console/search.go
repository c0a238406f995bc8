package console

import (
	"net/http"
	"net/url"

	"ordo/api/web/call"
)

// found is something that a word names.
type found struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

// To is the page about it.
func (f found) To() string {
	switch f.Kind {
	case "user":
		return link("transactions", "user", f.ID)
	case "sku":
		return link("stock", "sku", f.ID)
	}
	return link("transactions", f.ID)
}

// search leads to the page that a word is about: the id of an order, an attempt, a
// refund or a user, an e-mail address, a SKU, or a provider's number.
func (v *visit) search() error {
	word := v.query("q")
	var d struct {
		Items []found `json:"items"`
		Word  string  `json:"-"`
	}
	d.Word = word
	if word != "" {
		err := v.get("/find?"+url.Values{"q": {word}}.Encode(), &d)
		if p := call.Refused(err); p != nil && p.Status == http.StatusUnprocessableEntity {
			err = nil // nothing is called that
		}
		if err != nil {
			return err
		}
	}
	if len(d.Items) == 1 {
		return v.goTo(d.Items[0].To())
	}
	status := http.StatusOK
	if len(d.Items) == 0 && word != "" {
		status = http.StatusNotFound
	}
	return v.show(status, view{Page: "search", Title: "Search", D: &d})
}
