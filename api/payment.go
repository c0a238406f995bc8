package api

// States of a payment: what an order is owed. Row E2.
const (
	// PaymentOpen: it may be paid.
	PaymentOpen = "open"
	// PaymentClosing: the trades at the gateway are being closed; money that
	// comes before they are still pays.
	PaymentClosing = "closing"
	// PaymentClosed: it can't be paid any more; money that still comes is
	// refunded.
	PaymentClosed = "closed"
	// PaymentPaid: it was paid, once.
	PaymentPaid = "paid"
)

// States of an attempt to pay.
const (
	AttemptOpen   = "open"
	AttemptPaid   = "paid"
	AttemptClosed = "closed"
)

// Products of a gateway: how a shopper pays.
const (
	// ProductPage is a page of the gateway in the browser.
	ProductPage = "page"
	// ProductApp is a signed text that the shop's app hands to the gateway's.
	ProductApp = "app"
	// ProductQR is a code to be scanned.
	ProductQR = "qr"
)

// Payment is what an order is owed, and what came.
type Payment struct {
	Order string `json:"order"`
	User  string `json:"user"`
	// State is one of the Payment constants.
	State  string `json:"state"`
	Amount Money  `json:"amount"`
	// ExpiresAt is the order's deadline; the gateway takes nothing after it.
	ExpiresAt Time `json:"expires_at"`
	// Attempts are in the order in which they were opened.
	Attempts []Attempt `json:"attempts"`
	// Refunded is what has gone back through the gateway for the order's
	// refunds.
	Refunded Money `json:"refunded"`
}

// Attempt is one try to pay an order with one provider: one trade there. Its
// id is the gateway's out_trade_no.
type Attempt struct {
	ID    string `json:"id"`
	Order string `json:"order"`
	User  string `json:"user"`
	// Provider is PayAlipay or PayStripe.
	Provider string `json:"provider"`
	// Product is one of the Product constants.
	Product string `json:"product"`
	Amount  Money  `json:"amount"`
	// State is one of the Attempt constants.
	State string `json:"state"`
	// Link is how the shopper pays; empty where the gateway has not said it
	// yet, and where the edge makes it.
	Link Link `json:"link"`
	// OpenedAt and ExpiresAt bound the time to pay.
	OpenedAt  Time `json:"opened_at"`
	ExpiresAt Time `json:"expires_at"`
	// TradeNo is the gateway's own number, once known.
	TradeNo  string `json:"trade_no,omitempty"`
	PaidAt   Time   `json:"paid_at"`
	ClosedAt Time   `json:"closed_at"`
	// Problem is why the gateway did not open it.
	Problem *Error `json:"problem,omitempty"`
}

// Link is how a shopper pays an attempt: one of URL, OrderString and QRCode is
// set.
type Link struct {
	// URL is a page to open in a browser.
	URL string `json:"url,omitempty"`
	// OrderString goes to the gateway's app.
	OrderString string `json:"order_string,omitempty"`
	// QRCode is the text of a code to be scanned.
	QRCode string `json:"qr_code,omitempty"`
	// Ref is the provider's own number of the session.
	Ref string `json:"ref,omitempty"`
}

// Remote tells whether only the gateway can say the link of a product.
func Remote(provider, product string) bool {
	return provider != PayAlipay || product == ProductQR
}

// CollectPayment has an order's amount collected: it may be paid from now on,
// until it is closed. The step is answered when it has been paid, with a Paid,
// and otherwise as undone by ClosePayment: one of the two, never both. From
// the order actor. Rows E2, Y6.
type CollectPayment struct {
	Step
	User   string `json:"user"`
	Amount Money  `json:"amount"`
	// ExpiresAt is the order's deadline.
	ExpiresAt Time `json:"expires_at"`
	// Again has what was answered before answered once more, for a repair.
	Again bool `json:"again,omitempty"`
	// Paid is what has paid the order, for a payment whose file has lost that: it
	// is paid so.
	Paid *Paid `json:"paid,omitempty"`
}

// Route implements Message.
func (*CollectPayment) Route() Route { return Route{"payment", "collect"} }

// Paid is the Data of a CollectPayment that was done.
type Paid struct {
	Attempt  string `json:"attempt"`
	Provider string `json:"provider"`
	TradeNo  string `json:"trade_no"`
	Amount   Money  `json:"amount"`
	// PaidAt is the gateway's time.
	PaidAt Time `json:"paid_at"`
}

// ClosePayment undoes CollectPayment. AtOnce answers at once, and money that
// still comes is refunded; otherwise the gateway's trades are closed first, or
// their time limit and a margin waited for. A payment that has been paid is
// left alone and not answered, because its answer is under way. Row E2.
type ClosePayment struct {
	Step
	AtOnce bool `json:"at_once,omitempty"`
	// Again has what was answered before answered once more, for a repair.
	Again bool `json:"again,omitempty"`
}

// Route implements Message.
func (*ClosePayment) Route() Route { return Route{"payment", "close"} }

// ReleasePayment is the timer's message at the end of a closing payment's time.
// A payment that is not closing, or whose time is not over, is left alone.
// Row E2.
type ReleasePayment struct {
	Order string `json:"order"`
}

// Route implements Message.
func (*ReleasePayment) Route() Route { return Route{"payment", "release"} }

// OpenAttempt asks for an attempt to pay an order. While one of the same
// provider and product is open, that is the answer, however often it is asked.
// One of another provider or product replaces it: its trade is closed, and
// money that comes on either pays the order. The outcome is an Attempt.
// Refusals: CodeNotFound (also another user's), CodeNotPayable, CodeInvalid,
// CodeLimitExceeded over MaxAttempts, CodeIDReused for the ID of an attempt that
// is over or another order's. From edges only. Row Y2.
type OpenAttempt struct {
	// ID is minted by the edge with PrefixPayment; it counts when a new
	// attempt is made.
	ID    string `json:"id"`
	Order string `json:"order"`
	User  string `json:"user"`
	// Provider is PayAlipay or PayStripe.
	Provider string `json:"provider"`
	// Product is one of the Product constants.
	Product string `json:"product"`
}

// Route implements Message.
func (*OpenAttempt) Route() Route { return Route{"payment", "open"} }

// MaxAttempts is the most attempts an order may have.
const MaxAttempts = 20

// CodeNotPayable: the order is paid, closing or closed, or its time is over.
const CodeNotPayable Code = "not_payable"

// States of a trade at a gateway.
const (
	// TradeNone: the gateway does not know it. The shopper may not have opened
	// the page yet.
	TradeNone = "none"
	// TradeWaiting: it waits for the shopper.
	TradeWaiting = "waiting"
	// TradePaid: money came. It stays that when a part is refunded.
	TradePaid = "paid"
	// TradeClosed: it can't be paid any more, or was refunded in full.
	TradeClosed = "closed"
)

// Trade is what a gateway says about an attempt, in a notice that was
// verified or as the answer to a question.
type Trade struct {
	Provider string `json:"provider"`
	// Attempt is the gateway's out_trade_no.
	Attempt string `json:"attempt"`
	TradeNo string `json:"trade_no,omitempty"`
	// State is one of the Trade constants.
	State string `json:"state"`
	// Amount is the whole trade's.
	Amount Money `json:"amount"`
	// Refunded is the sum of all refunds so far, where the gateway says it.
	Refunded Money `json:"refunded"`
	PaidAt   Time  `json:"paid_at"`
	// Ref is the provider's number of the session or event, for people.
	Ref string `json:"ref,omitempty"`
}

// NoteTrade brings a gateway's verified notice. Its id is made from what it
// says, so a repeat is the same message. The outcome is a Noted. From edges
// only. Rows Y3, Y4.
type NoteTrade struct {
	Trade
}

// Route implements Message.
func (*NoteTrade) Route() Route { return Route{"payment", "trade"} }

// NoteRefund brings a provider's verified notice that a refund has failed for
// good. One that is under way is refused by it; one that was done stays so, and
// an incident tells of it. The outcome is a Noted. From edges only. Row Y9.
type NoteRefund struct {
	Provider string `json:"provider"`
	// Refund is the shop's number of it.
	Refund string `json:"refund"`
	// Ref is the provider's number, and Reason its word for why.
	Ref    string `json:"ref"`
	Reason string `json:"reason"`
}

// Route implements Message.
func (*NoteRefund) Route() Route { return Route{"payment", "refund-failed"} }

// What became of a notice.
const (
	// NotedPaid: it paid the order, now or before.
	NotedPaid = "paid"
	// NotedRefunded: the money came too late or twice, and goes back.
	NotedRefunded = "refunded"
	// NotedClosed: it closed the attempt.
	NotedClosed = "closed"
	// NotedNothing: it changed nothing.
	NotedNothing = "nothing"
	// NotedIncident: it does not fit what was asked for or has been decided; an
	// incident has been recorded. A repeat would change nothing.
	NotedIncident = "incident"
)

// Noted is the outcome of NoteTrade and NoteRefund.
type Noted struct {
	// Result is one of the Noted constants.
	Result string `json:"result"`
}

// Kinds of payment incidents.
const (
	IncidentForged  = "forged"         // signature, app or seller do not hold
	IncidentUnknown = "unknown_order"  // no such attempt
	IncidentAmount  = "wrong_amount"   // not the attempt's amount or currency
	IncidentTrade   = "second_trade"   // another trade number for the attempt
	IncidentLate    = "late_payment"   // paid after the order was closed
	IncidentDouble  = "double_payment" // paid a second time
	IncidentRefund  = "refund_refused" // the gateway refused a refund
	// IncidentReturned: the gateway has sent more back than it was asked to.
	IncidentReturned = "unknown_refund"
	// IncidentFailed: a refund that was done has failed since; the money is
	// back at the shop.
	IncidentFailed = "refund_failed"
)

// PaymentIncident is something about money that a person should know.
type PaymentIncident struct {
	Seq int64 `json:"seq"`
	// Kind is one of the Incident constants.
	Kind     string `json:"kind"`
	Provider string `json:"provider"`
	Attempt  string `json:"attempt,omitempty"`
	Order    string `json:"order,omitempty"`
	TradeNo  string `json:"trade_no,omitempty"`
	Amount   Money  `json:"amount"`
	// Text says more, at most 500 characters.
	Text string `json:"text"`
	At   Time   `json:"at"`
}

// NoteIncident records a notice that could not be believed. Its id is made
// from the notice's bytes. At most MaxIncidents are kept; more are counted.
// From edges only. Row Y3.
type NoteIncident struct {
	PaymentIncident
}

// Route implements Message.
func (*NoteIncident) Route() Route { return Route{"payment", "incident"} }

// MaxIncidents is the most forged notices that are recorded one by one.
const MaxIncidents = 10_000

// RefundPayment sends a part of what was captured back through the gateway,
// under a number that is made once. The step is answered when the outcome is
// known: done, or refused with CodeRefundRefused and nothing sent. It has no
// undo. From the order actor. Row Y9.
type RefundPayment struct {
	Step
	// Refund is the order's refund, and the gateway's out_request_no.
	Refund string `json:"refund"`
	Amount Money  `json:"amount"`
	// Reason is for the shopper's statement.
	Reason string `json:"reason,omitempty"`
	// Again has what was answered before answered once more, for a repair.
	Again bool `json:"again,omitempty"`
	// Paid is what has paid the order, for a payment whose file has lost that.
	Paid *Paid `json:"paid,omitempty"`
}

// Route implements Message.
func (*RefundPayment) Route() Route { return Route{"payment", "refund"} }

// CodeRefundRefused: the gateway refused to send the money back.
const CodeRefundRefused Code = "refund_refused"

// ConfigurePayments sets the rules of the payment actor. From edges only.
type ConfigurePayments struct {
	// MarginSeconds is how long after the gateway's time limit an expired
	// order's payment is released though the gateway did not say that its
	// trade is closed; 0 to a day.
	MarginSeconds int64 `json:"margin_seconds"`
	// QuerySeconds is when an open attempt is first asked about at the
	// gateway, then after twice as long each time; 1 to a day.
	QuerySeconds int64 `json:"query_seconds"`
}

// Route implements Message.
func (*ConfigurePayments) Route() Route { return Route{"payment", "configure"} }

// Effects of the payment actor: the names of the workers that call gateways.
// Each takes a GatewayCall.
const (
	// EffectPayOpen opens an attempt at the gateway; its outcome is an Opened.
	EffectPayOpen = "pay-open"
	// EffectPayQuery asks about an attempt; its outcome is a Trade.
	EffectPayQuery = "pay-query"
	// EffectPayClose closes a trade; its outcome is a Trade as it is then.
	EffectPayClose = "pay-close"
	// EffectPayRefund refunds; its outcome is a RefundOutcome.
	EffectPayRefund = "pay-refund"
)

// GatewayCall is the work of the payment actor's effects.
type GatewayCall struct {
	Attempt Attempt `json:"attempt"`
	// Refund and RefundAmount are set for refunds.
	Refund       string `json:"refund,omitempty"`
	RefundAmount Money  `json:"refund_amount"`
	Reason       string `json:"reason,omitempty"`
}

// Opened is the outcome of EffectPayOpen.
type Opened struct {
	Link Link `json:"link"`
	// Refusal is the gateway's final no.
	Refusal *Error `json:"refusal,omitempty"`
}

// RefundOutcome is the final outcome of EffectPayRefund.
type RefundOutcome struct {
	// Refusal is the gateway's final no; nil when the money went back.
	Refusal *Error `json:"refusal,omitempty"`
	// Total is the sum of all refunds of the trade after it, where said.
	Total Money `json:"total"`
	// At is the gateway's time of the refund, where said.
	At Time `json:"at"`
}

// GetPayment asks what an order is owed and what came; CodeNotFound. The
// answer is a Payment.
type GetPayment struct {
	Order string `json:"order"`
	// User, when not empty, must be the owner.
	User string `json:"user,omitempty"`
}

// Endpoint implements Query.
func (*GetPayment) Endpoint() Route { return Route{"payment", "payment"} }

// GetAttempt asks for one attempt by its id; CodeNotFound. The answer is an
// Attempt.
type GetAttempt struct {
	ID string `json:"id"`
}

// Endpoint implements Query.
func (*GetAttempt) Endpoint() Route { return Route{"payment", "attempt"} }

// ListPayments asks for payments, newest first. The answer is a PaymentList,
// whose payments have no attempts.
type ListPayments struct {
	Page
	// State narrows the list when not empty.
	State string `json:"state,omitempty"`
}

// Endpoint implements Query.
func (*ListPayments) Endpoint() Route { return Route{"payment", "payments"} }

// PaymentList answers ListPayments.
type PaymentList struct {
	Payments []Payment `json:"items"`
	Next     string    `json:"next,omitempty"`
}

// ListPaymentIncidents asks for incidents, newest first. The answer is a
// PaymentIncidentList.
type ListPaymentIncidents struct {
	Page
	// Kind narrows the list when not empty.
	Kind string `json:"kind,omitempty"`
}

// Endpoint implements Query.
func (*ListPaymentIncidents) Endpoint() Route { return Route{"payment", "incidents"} }

// PaymentIncidentList answers ListPaymentIncidents.
type PaymentIncidentList struct {
	Incidents []PaymentIncident `json:"items"`
	// Forged counts forged notices, also those not recorded one by one.
	Forged int64  `json:"forged"`
	Next   string `json:"next,omitempty"`
}

// Kinds of pay-log rows.
const (
	// BookPay: money came in for an order, or late, or twice.
	BookPay = "pay"
	// BookRefund: money went back.
	BookRefund = "refund"
)

// PayLogEntry is money that moved at a gateway, as the shop knows it. Rows
// Y6, Y8.
type PayLogEntry struct {
	Seq int64 `json:"seq"`
	// Kind is one of the Book constants.
	Kind     string `json:"kind"`
	Provider string `json:"provider"`
	Order    string `json:"order"`
	Attempt  string `json:"attempt"`
	TradeNo  string `json:"trade_no"`
	// Refund is the number of a refund.
	Refund string `json:"refund,omitempty"`
	Amount Money  `json:"amount"`
	// At is the gateway's time where it said one, else the shop's.
	At Time `json:"at"`
}

// ListPayLog asks for the pay log, oldest first unless told otherwise. The answer
// is a PayLog.
type ListPayLog struct {
	Page
	// Order narrows the list when not empty.
	Order string `json:"order,omitempty"`
	// Newest begins with the newest row.
	Newest bool `json:"newest,omitempty"`
}

// Endpoint implements Query.
func (*ListPayLog) Endpoint() Route { return Route{"payment", "log"} }

// PayLog answers ListPayLog.
type PayLog struct {
	Entries []PayLogEntry `json:"items"`
	Next    string        `json:"next,omitempty"`
}

// FindTrade asks for the row of the pay log that a provider knows by this number:
// money that came by its trade number, or money that went back by the refund's.
// CodeNotFound. The answer is a PayLogEntry.
type FindTrade struct {
	Number string `json:"number"`
}

// Endpoint implements Query.
func (*FindTrade) Endpoint() Route { return Route{"payment", "trade"} }
