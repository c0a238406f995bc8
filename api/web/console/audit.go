package console

import (
	"net/http"

	"ordo/api"
	"ordo/api/web/page"
)

// deviation is what does not add up, as the admin API says it.
type deviation struct {
	Check   string `json:"check"`
	Order   string `json:"order"`
	Row     string `json:"row"`
	Problem string `json:"problem"`
}

// showAudit is row M11.
func (v *visit) showAudit() error {
	var d struct {
		Items   []deviation `json:"items"`
		Verdict *verdict    `json:"-"`
	}
	if err := v.get("/audit", &d); err != nil {
		return err
	}
	var o overview
	err := v.get("/overview?minutes=1", &o)
	if err == nil {
		d.Verdict, err = o.verdict()
	}
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, view{Page: "audit", Title: "Audit", D: &d})
}

// journal is the page of events about orders.
type journal struct {
	Order, Type string
	Types       []string
	Items       []event
	Next        string
}

// event is an entry of the journal.
type event struct{ api.JournalEntry }

// Masked is the event's data without what it says of persons.
func (e event) Masked() string { return raw(api.Mask(e.Data)).String() }

// eventTypes are all that the journal keeps.
var eventTypes = [...]string{api.EventOrderPlaced, api.EventOrderRefused, api.EventOrderPaid,
	api.EventOrderCancelled, api.EventCancelFailed, api.EventOrderRefunded, api.EventRefundAsked,
	api.EventRefundDenied, api.EventRefundFailed, api.EventOrderRetried, api.EventOrderSettled,
	api.EventPaymentPaid, api.EventPaymentLate, api.EventPaymentRefunded}

// listJournal is row L4: an order's events in their order, those of all orders the
// newest first.
func (v *visit) listJournal() error {
	d := journal{Order: v.query("order"), Type: v.query("type"), Types: eventTypes[:]}
	ask := v.asked("order", "type")
	if d.Order == "" {
		ask.Set("newest", "true")
	}
	var list api.Journal
	err := v.list("/journal", ask, &list)
	if err != nil {
		return err
	}
	d.Next = page.Next(v.r, list.Next)
	for _, e := range list.Entries {
		d.Items = append(d.Items, event{e})
	}
	return v.show(http.StatusOK, view{Page: "journal", Title: "Journal", D: &d})
}
