package api

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
)

// Limits of webhooks. Row P8.
const (
	// MaxWebhooks is the most endpoints of a shop.
	MaxWebhooks = 20
	// WebhookWindow is how many deliveries to one endpoint are under way at once.
	WebhookWindow = 16
	// MaxWebhookURL and MaxWebhookText are the longest address, in bytes, and
	// description of an endpoint, in characters.
	MaxWebhookURL  = 2048
	MaxWebhookText = 200
	// MaxWebhookAnswer is how much is kept of a receiver's answer, in bytes, and
	// MaxWebhookError of why a try failed.
	MaxWebhookAnswer = 1 << 10
	MaxWebhookError  = 300
)

// WebhookTest is the type of a delivery that only tries an endpoint.
const WebhookTest = "webhook.test"

// webhookTypes are the events that are sent to others. One that is not here is
// the shop's own business.
var webhookTypes = [...]string{
	EventOrderPlaced, EventOrderRefused, EventOrderPaid, EventOrderCancelled, EventOrderRefunded,
	EventRefundAsked, EventRefundDenied, EventRefundFailed,
	EventPaymentPaid, EventPaymentLate, EventPaymentRefunded,
	EventShipmentCreated, EventShipmentShipped, EventShipmentReceived, EventShipmentCancelled,
	EventEnrolled, EventWaiting, EventWithdrawn,
}

// WebhookTypes are the types of events that an endpoint can have.
func WebhookTypes() []string { return webhookTypes[:] }

// IsWebhookType tells whether events of a type are sent to others.
func IsWebhookType(typ string) bool { return slices.Contains(webhookTypes[:], typ) }

// Webhook is an endpoint of somebody else's that gets the shop's events. Its
// secret is shown once, when it is made.
type Webhook struct {
	ID string `json:"id"`
	// URL is where events are posted to.
	URL         string `json:"url"`
	Description string `json:"description,omitempty"`
	// Types are the events that it gets; none for all of WebhookTypes.
	Types   []string `json:"types"`
	Enabled bool     `json:"enabled"`
	// Why is why it was disabled, one of the Webhook constants, and Since since
	// when it is enabled or disabled.
	Why     string `json:"why,omitempty"`
	Since   Time   `json:"since"`
	Created Time   `json:"created"`
	// Failures counts the tries that failed since one was answered with success,
	// and FailingSince is when the first of them was; null for none.
	Failures     int64 `json:"failures"`
	FailingSince Time  `json:"failing_since"`
	// OldSecretUntil is how long deliveries are signed with the secret before the
	// present one as well.
	OldSecretUntil Time `json:"old_secret_until"`
	// Replaying is how many events a replay has still to look at.
	Replaying int64 `json:"replaying,omitempty"`
}

// Why an endpoint is disabled.
const (
	// WebhookByAdmin: an admin has disabled it.
	WebhookByAdmin = "admin"
	// WebhookGone: it has answered 410.
	WebhookGone = "gone"
	// WebhookFailing: nothing was delivered to it for days.
	WebhookFailing = "failing"
	// WebhookBacklog: too many deliveries waited for it.
	WebhookBacklog = "backlog"
)

// CreateWebhook makes an endpoint. The edge has minted id and secret and has
// checked the address. Refusals: CodeInvalid, CodeLimitExceeded. The outcome is
// the Webhook.
type CreateWebhook struct {
	ID          string   `json:"id"`
	URL         string   `json:"url"`
	Description string   `json:"description,omitempty"`
	Types       []string `json:"types,omitempty"`
	// Secret is whsec_ and the base64 of 24 to 64 bytes.
	Secret string `json:"secret"`
}

// Route implements Message.
func (*CreateWebhook) Route() Route { return Route{"journal", "create-webhook"} }

// ChangeWebhook sets what an endpoint is. What waits for one that is disabled
// is not sent any more. Refusals: CodeInvalid, CodeNotFound. The outcome is the
// Webhook.
type ChangeWebhook struct {
	ID          string   `json:"id"`
	URL         string   `json:"url"`
	Description string   `json:"description,omitempty"`
	Types       []string `json:"types,omitempty"`
	Enabled     bool     `json:"enabled"`
}

// Route implements Message.
func (*ChangeWebhook) Route() Route { return Route{"journal", "change-webhook"} }

// DeleteWebhook forgets an endpoint and its log. Refusals: CodeNotFound.
type DeleteWebhook struct {
	ID string `json:"id"`
}

// Route implements Message.
func (*DeleteWebhook) Route() Route { return Route{"journal", "delete-webhook"} }

// RotateWebhook gives an endpoint a new secret, minted at the edge. For a day
// deliveries are signed with the old one as well. Refusals: CodeInvalid,
// CodeNotFound. The outcome is the Webhook.
type RotateWebhook struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// Route implements Message.
func (*RotateWebhook) Route() Route { return Route{"journal", "rotate-webhook"} }

// TestWebhook sends WebhookTest to an endpoint, in one try. Refusals:
// CodeNotFound, CodeWebhookOff. The outcome is the Delivery.
type TestWebhook struct {
	ID string `json:"id"`
}

// Route implements Message.
func (*TestWebhook) Route() Route { return Route{"journal", "test-webhook"} }

// ReplayWebhook sends again, under the webhook-id that it had: one delivery, or
// the events since a time that the endpoint has not got. Refusals: CodeInvalid,
// CodeNotFound, CodeWebhookOff. The outcome is the Webhook.
type ReplayWebhook struct {
	ID string `json:"id"`
	// Delivery is the one to send; empty for all Since.
	Delivery string `json:"delivery,omitempty"`
	Since    Time   `json:"since,omitzero"`
	// All sends those that were delivered as well.
	All bool `json:"all,omitempty"`
}

// Route implements Message.
func (*ReplayWebhook) Route() Route { return Route{"journal", "replay-webhook"} }

// SendWebhooks has the deliveries of an endpoint sent that are due; the journal
// sends it itself, by a timer.
type SendWebhooks struct {
	ID string `json:"id"`
}

// Route implements Message.
func (*SendWebhooks) Route() Route { return Route{"journal", "send-webhooks"} }

// CodeWebhookOff: nothing is sent to an endpoint that is disabled.
const CodeWebhookOff Code = "webhook_off"

// ListWebhooks asks for all endpoints. The answer is a WebhookList.
type ListWebhooks struct{}

// Endpoint implements Query.
func (*ListWebhooks) Endpoint() Route { return Route{"journal", "webhooks"} }

// WebhookList answers ListWebhooks, oldest first.
type WebhookList struct {
	Webhooks []Webhook `json:"items"`
}

// GetWebhook asks for one endpoint; CodeNotFound. The answer is a Webhook.
type GetWebhook struct {
	ID string `json:"id"`
}

// Endpoint implements Query.
func (*GetWebhook) Endpoint() Route { return Route{"journal", "webhook"} }

// Delivery is an event on its way to an endpoint.
type Delivery struct {
	// ID is the webhook-id, the same at every try and every replay.
	ID      string `json:"id"`
	Webhook string `json:"webhook"`
	Type    string `json:"type"`
	// Order is the order that the event is about, Event its number in the
	// journal; both are missing in a test.
	Order string `json:"order,omitempty"`
	Event int64  `json:"event,omitempty"`
	// State is one of the Delivery constants.
	State string `json:"state"`
	// Tries counts all tries, NextTry is when the next one is due.
	Tries   int  `json:"tries"`
	NextTry Time `json:"next_try"`
	Created Time `json:"created"`
	Ended   Time `json:"ended"`
	// Status and Error are those of the last try.
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
}

// States of a delivery.
const (
	// DeliveryPending waits for its next try.
	DeliveryPending = "pending"
	// DeliverySending has a try under way.
	DeliverySending = "sending"
	// DeliveryDelivered was answered with a status of 200 to 299.
	DeliveryDelivered = "delivered"
	// DeliveryFailed has used up its tries, or was answered with 410.
	DeliveryFailed = "failed"
	// DeliverySkipped is not sent because the endpoint was disabled.
	DeliverySkipped = "skipped"
)

// DeliveryTry is one try of a delivery.
type DeliveryTry struct {
	Number int  `json:"number"`
	At     Time `json:"at"`
	WebhookOutcome
}

// ListDeliveries asks for an endpoint's deliveries, newest first; CodeNotFound.
// The answer is a DeliveryList.
type ListDeliveries struct {
	Page
	Webhook string `json:"webhook"`
	// State, Order and Type each narrow the list when not empty.
	State string `json:"state,omitempty"`
	Order string `json:"order,omitempty"`
	Type  string `json:"type,omitempty"`
}

// Endpoint implements Query.
func (*ListDeliveries) Endpoint() Route { return Route{"journal", "deliveries"} }

// DeliveryList answers ListDeliveries.
type DeliveryList struct {
	Deliveries []Delivery `json:"items"`
	Next       string     `json:"next,omitempty"`
}

// GetDelivery asks for one delivery of an endpoint; CodeNotFound. The answer is
// a DeliveryDetail.
type GetDelivery struct {
	Webhook string `json:"webhook"`
	ID      string `json:"id"`
}

// Endpoint implements Query.
func (*GetDelivery) Endpoint() Route { return Route{"journal", "delivery"} }

// DeliveryDetail is a delivery with its tries and what is sent.
type DeliveryDetail struct {
	Delivery
	Attempts []DeliveryTry  `json:"attempts"`
	Payload  WebhookPayload `json:"payload"`
}

// EffectWebhook is the effect that makes one try of a delivery; its body is a
// WebhookTry, its outcome a WebhookOutcome.
const EffectWebhook = "webhook"

// WebhookTry is what a worker is told: which delivery, and the how manieth try
// of it. What is sent where, and the secrets, it asks the journal for, so that
// they do not stand in the stream.
type WebhookTry struct {
	Delivery string `json:"delivery"`
	Number   int    `json:"number"`
}

// GetWebhookCall asks for what the try of a delivery sends; CodeNotFound when
// it is not to be sent any more. It is for workers alone. The answer is a
// WebhookCall.
type GetWebhookCall struct{ WebhookTry }

// Endpoint implements Query.
func (*GetWebhookCall) Endpoint() Route { return Route{"journal", "webhook-call"} }

// WebhookCall answers GetWebhookCall.
type WebhookCall struct {
	URL    string `json:"url"`
	Secret string `json:"secret"`
	// OldSecret signs as well until OldUntil.
	OldSecret string         `json:"old_secret,omitempty"`
	OldUntil  Time           `json:"old_until,omitzero"`
	Payload   WebhookPayload `json:"payload"`
}

// WebhookOutcome is what became of a try.
type WebhookOutcome struct {
	// Status is the HTTP status; 0 when there was none.
	Status int `json:"status,omitempty"`
	// Error says why there was none.
	Error string `json:"error,omitempty"`
	// Answer is the beginning of the answer's body.
	Answer string `json:"answer,omitempty"`
	// RetryAfter is how many seconds the receiver asked to be left alone.
	RetryAfter int64 `json:"retry_after,omitempty"`
	// Milliseconds is how long it took.
	Milliseconds int64 `json:"ms"`
	// Withdrawn is true when nothing was sent, because it was no longer wanted.
	Withdrawn bool `json:"withdrawn,omitempty"`
}

// WebhookPayload is the body of a delivery, after Standard Webhooks 1.0.
type WebhookPayload struct {
	Type string `json:"type"`
	// Timestamp is when the event was kept.
	Timestamp Time        `json:"timestamp"`
	Data      WebhookData `json:"data"`
}

// WebhookData is what is told of an event: ids, states and amounts, and nothing
// about the person but the user's id.
type WebhookData struct {
	// Event is the number of the event in the journal.
	Event int64  `json:"event,omitempty"`
	Order string `json:"order,omitempty"`
	User  string `json:"user,omitempty"`
	// Refund is the refund's id, in events about one.
	Refund string `json:"refund,omitempty"`
	// State is that of the order, refund, shipment or enrolment.
	State string `json:"state,omitempty"`
	// Reason is the code of why an order was refused or cancelled.
	Reason Code `json:"reason,omitempty"`
	// Total, Balance and Due are the order's.
	Total   Money `json:"total,omitzero"`
	Balance Money `json:"balance,omitzero"`
	Due     Money `json:"due,omitzero"`
	// Amount is what was paid or is refunded.
	Amount    Money  `json:"amount,omitzero"`
	PayMethod string `json:"pay_method,omitempty"`
	Channel   string `json:"channel,omitempty"`
	Provider  string `json:"provider,omitempty"`
	Attempt   string `json:"attempt,omitempty"`
	TradeNo   string `json:"trade_no,omitempty"`
	Carrier   string `json:"carrier,omitempty"`
	Tracking  string `json:"tracking,omitempty"`
	// SKU is the course of an enrolment.
	SKU string `json:"sku,omitempty"`
	// Webhook is the endpoint that a test is for.
	Webhook string `json:"webhook,omitempty"`
}

// Secrets of webhooks, as Standard Webhooks has them.
const (
	webhookSecretPrefix = "whsec_"
	minWebhookSecret    = 24
	maxWebhookSecret    = 64
)

// WebhookSecret writes 24 to 64 random bytes as a secret.
func WebhookSecret(random []byte) string {
	return webhookSecretPrefix + base64.StdEncoding.EncodeToString(random)
}

// IsWebhookSecret tells whether s is what WebhookSecret writes.
func IsWebhookSecret(s string) bool {
	text, ok := strings.CutPrefix(s, webhookSecretPrefix)
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	return ok && err == nil && len(key) >= minWebhookSecret && len(key) <= maxWebhookSecret
}

var webhookURL = regexp.MustCompile(`^https?://[^\s/?#]+[^\s#]*$`)

// IsWebhookURL tells whether s has the form of an endpoint's address. Where it
// may lead is checked at the edge, and when it is called.
func IsWebhookURL(s string) bool { return len(s) <= MaxWebhookURL && webhookURL.MatchString(s) }
