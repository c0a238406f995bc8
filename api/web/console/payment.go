package console

import (
	"net/http"
	"net/url"

	"ordo/api"
	"ordo/api/web/page"
)

// paymentStates are the states of a payment.
var paymentStates = [...]string{api.PaymentOpen, api.PaymentClosing, api.PaymentClosed,
	api.PaymentPaid}

// payments is the page of what orders owe.
type payments struct {
	State  string
	States []string
	Items  []api.Payment
	Next   string
	// Order is the one that the page is about, with all its attempts; Log is the
	// money that moved for it.
	Order string
	Log   []api.PayLogEntry
}

func (v *visit) listPayments() error {
	d := payments{State: v.query("state"), States: paymentStates[:], Order: v.query("order")}
	shown := view{Page: "payments", Title: "Payments", D: &d}
	if d.Order == "" {
		var list api.PaymentList
		err := v.list("/payments", v.asked("state"), &list)
		if err != nil {
			return err
		}
		d.Items, d.Next = list.Payments, page.Next(v.r, list.Next)
		return v.show(http.StatusOK, shown)
	}
	d.Items = make([]api.Payment, 1)
	if err := v.get("/orders/"+url.PathEscape(d.Order)+"/payments", &d.Items[0]); err != nil {
		return err
	}
	var log api.PayLog
	ask := url.Values{"order": {d.Order}, "limit": {"200"}}
	if err := v.get(page.Address("/paylog", ask), &log); err != nil {
		return err
	}
	d.Log = log.Entries
	return v.show(http.StatusOK, shown)
}

// listPayLog is row L4.
func (v *visit) listPayLog() error {
	var log api.PayLog
	err := v.list("/paylog", url.Values{"newest": {"true"}}, &log)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, view{Page: "paylog", Title: "Money that moved",
		D: items{log.Entries, page.Next(v.r, log.Next)}})
}

// items are those of a list, and the link to those that follow.
type items struct {
	Items any
	Next  string
}

// incidents is the page of what a person should know about money.
type incidents struct {
	Kind  string
	Kinds []incidentKind
	Items []api.PaymentIncident
	// Forged counts notices that could not be believed, also those that are not
	// recorded.
	Forged int64
	Next   string
}

// incidentKind is a kind of incident, and what it means.
type incidentKind struct{ Name, Means string }

// incidentKinds are all kinds of incidents.
var incidentKinds = [...]incidentKind{
	{api.IncidentLate, "paid after the order was closed; the money goes back by itself"},
	{api.IncidentDouble, "paid a second time; the money goes back by itself"},
	{api.IncidentRefund, "the provider refused to send money back"},
	{api.IncidentFailed, "a refund that was done has failed since; the money is back at the shop"},
	{api.IncidentReturned, "the provider has sent more back than it was asked to"},
	{api.IncidentAmount, "a notice of another amount or currency; it paid nothing"},
	{api.IncidentTrade, "another trade number for an attempt that has one"},
	{api.IncidentUnknown, "a notice about an attempt that the shop has not made"},
	{api.IncidentForged, "a notice whose signature, app or seller does not hold; it paid nothing"},
}

func (v *visit) listIncidents() error {
	d := incidents{Kind: v.query("kind"), Kinds: incidentKinds[:]}
	var list api.PaymentIncidentList
	err := v.list("/incidents", v.asked("kind"), &list)
	if err != nil {
		return err
	}
	d.Items, d.Forged, d.Next = list.Incidents, list.Forged, page.Next(v.r, list.Next)
	return v.show(http.StatusOK, view{Page: "incidents", Title: "Incidents about money", D: &d})
}

// Means says what an incident is.
func (d *incidents) Means(kind string) string {
	for _, k := range d.Kinds {
		if k.Name == kind {
			return k.Means
		}
	}
	return ""
}
