package api

import "encoding/json"

// JournalEntry is one event as the journal keeps it, for ever and in the order
// of arrival. Row L4.
type JournalEntry struct {
	Seq int64 `json:"seq"`
	// ID is the message identity of the event.
	ID string `json:"id"`
	Event
	At Time `json:"at"`
}

// Intervention is what a person had done about the order, or wanted to, where the
// event tells of that; else it is empty.
func (e *JournalEntry) Intervention() (i Intervention) {
	switch e.Type {
	case EventOrderRetried, EventOrderSettled, EventCancelFailed:
		_ = json.Unmarshal(e.Data, &i) // it stays empty, and the data is shown as it is
	}
	return i
}

// ListJournal asks for events, oldest first unless told otherwise. The answer is a Journal.
type ListJournal struct {
	Page
	// Order and Type each narrow the list when not empty.
	Order string `json:"order,omitempty"`
	Type  string `json:"type,omitempty"`
	// Newest begins with the newest event.
	Newest bool `json:"newest,omitempty"`
}

// Endpoint implements Query.
func (*ListJournal) Endpoint() Route { return Route{"journal", "entries"} }

// Journal answers ListJournal.
type Journal struct {
	Entries []JournalEntry `json:"items"`
	Next    string         `json:"next,omitempty"`
}

// Events of payment, the pay log; Data is a PayLogEntry. Row L4.
const (
	// EventPaymentPaid: money came for the order.
	EventPaymentPaid = "payment.paid"
	// EventPaymentLate: money came too late or twice, and goes back.
	EventPaymentLate = "payment.late"
	// EventPaymentRefunded: money went back.
	EventPaymentRefunded = "payment.refunded"
)

// Types of events about orders. The Data of those about refunds is a
// Refund, of those about what a person did an Intervention, of all others the
// Order.
const (
	EventOrderPlaced    = "order.placed"
	EventOrderRefused   = "order.refused"
	EventOrderPaid      = "order.paid"
	EventOrderCancelled = "order.cancelled"
	EventCancelFailed   = "order.cancel-failed"
	EventOrderRefunded  = "order.refunded"
	EventRefundAsked    = "order.refund-asked"
	EventRefundDenied   = "order.refund-denied"
	EventRefundFailed   = "order.refund-failed"
	EventOrderRetried   = "order.retried"
	EventOrderSettled   = "order.settled"
)

// EventType is a row of the table of events.
type EventType struct {
	// Type is <domain>.<past tense>.
	Type        string
	Description string
	// Data is an empty value of what the event carries.
	Data any
}

// EventTypes is the table of all events.
func EventTypes() []EventType {
	return []EventType{
		{EventOrderPlaced, "It holds all that it needs, and waits for its payment.", Order{}},
		{EventOrderRefused, "A step was refused, or nobody answered in time.", Order{}},
		{EventOrderPaid, "It is paid.", Order{}},
		{EventOrderCancelled, "It was cancelled, or not paid in time.", Order{}},
		{EventCancelFailed, "It was to be cancelled, and was paid before.", Intervention{}},
		{EventOrderRefunded, "A refund of it is done.", Refund{}},
		{EventRefundAsked, "A shopper waits for support to grant a refund.", Refund{}},
		{EventRefundDenied, "Support has denied a refund.", Refund{}},
		{EventRefundFailed, "The gateway has refused a refund.", Refund{}},
		{EventOrderRetried, "Support has had its open steps asked for again.", Intervention{}},
		{EventOrderSettled, "Support has had it settled with its participants.", Intervention{}},
		{EventPaymentPaid, "Money came for the order.", PayLogEntry{}},
		{EventPaymentLate, "Money came too late or twice, and goes back.", PayLogEntry{}},
		{EventPaymentRefunded, "Money went back.", PayLogEntry{}},
		{EventEnrolled, "A user has a seat in a course.", Enrolment{}},
		{EventWaiting, "A user waits for a seat in a course.", Enrolment{}},
		{EventWithdrawn, "A seat or a place in the waiting list has ended.", Enrolment{}},
		{EventShipmentCreated, "There is something to be sent.", ShipmentFact{}},
		{EventShipmentShipped, "A parcel is with the carrier.", ShipmentFact{}},
		{EventShipmentReceived, "A parcel has come, or counts as received.", ShipmentFact{}},
		{EventShipmentCancelled, "Nothing of it is sent any more.", ShipmentFact{}},
	}
}
