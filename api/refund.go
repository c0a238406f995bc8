package api

// States of a refund. Row Y9.
const (
	// RefundAsked: the shopper asked; support decides.
	RefundAsked = "asked"
	// RefundDenied: support said no.
	RefundDenied = "denied"
	// RefundRunning: granted; the money and then the rest go back.
	RefundRunning = "running"
	// RefundDone: all has gone back.
	RefundDone = "done"
	// RefundFailed: the gateway refused to send the money; nothing has gone
	// back.
	RefundFailed = "failed"
)

// Refund gives back a part of a paid order, or all that is left of it. What
// of it is money, balance, points and coupon follows from the allocation
// stored with the order, so that refunds in any grouping add up to it exactly.
// Rows S10, Y9.
type Refund struct {
	// ID is also the gateway's number of the refund.
	ID    string `json:"id"`
	Order string `json:"order"`
	User  string `json:"user"`
	// Number counts the order's refunds from 1; it is the occurrence of its
	// steps.
	Number int `json:"number"`
	// State is one of the Refund constants.
	State string       `json:"state"`
	Lines []RefundLine `json:"lines"`
	// Amount is what the units cost less their discount: Money + Balance.
	Amount Money `json:"amount"`
	// Money goes back through the gateway, Balance into the wallet.
	Money   Money `json:"money"`
	Balance Money `json:"balance"`
	// Points are taken back.
	Points int64 `json:"points,omitempty"`
	// Coupon is open again, when nothing is left of the order.
	Coupon string `json:"coupon,omitempty"`
	// By is the user id of who asked, or ByShop.
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
	// DecidedBy is who granted or denied it, and Note what was said.
	DecidedBy string `json:"decided_by,omitempty"`
	Note      string `json:"note,omitempty"`
	// Problem is why it failed.
	Problem *Error `json:"problem,omitempty"`
	Asked   Time   `json:"asked"`
	Decided Time   `json:"decided"`
	Ended   Time   `json:"ended"`
}

// ByShop is who asks for a refund of what the shop could not deliver.
const ByShop = "shop"

// RefundLine is how many units of a line of the order.
type RefundLine struct {
	// Line counts the order's lines from 0.
	Line int    `json:"line"`
	SKU  string `json:"sku"`
	// Quantity is 1 or more units.
	Quantity int64 `json:"quantity"`
	// Amount is what the units cost less their discount, in minor units, set by
	// the order actor.
	Amount int64 `json:"amount"`
	// Keep leaves the units out of the stock: they were not delivered from it,
	// or can't be sold again.
	Keep bool `json:"keep,omitempty"`
	// Returned says that shipped units have come back, and puts them into the
	// stock. Without it only those go there that have not left.
	Returned bool `json:"returned,omitempty"`
	// Recalled is how many units had not left and were taken out of the
	// shipment, set by the order actor.
	Recalled int64 `json:"recalled,omitempty"`
}

// AskRefund asks for a refund of a paid order. What is reserved by refunds
// that were not denied and have not failed can't be asked for again. The
// outcome is the Refund. Refusals: CodeNotFound (also another user's),
// CodeNotRefundable, CodeInvalid, CodeRefundTooMuch. From edges only. Row Y9.
type AskRefund struct {
	// ID is minted by the edge with PrefixRefund.
	ID    string `json:"id"`
	Order string `json:"order"`
	// User is the owner; empty when support grants.
	User string `json:"user,omitempty"`
	// By is who asks: the shopper's or the supporter's user id.
	By string `json:"by"`
	// Lines are at most MaxLines; none means all that is left.
	Lines []RefundLine `json:"lines,omitempty"`
	// Keep and Returned hold for all lines, as they do for one.
	Keep     bool `json:"keep,omitempty"`
	Returned bool `json:"returned,omitempty"`
	// Reason is at most 500 characters; needed from support.
	Reason string `json:"reason,omitempty"`
}

// Route implements Message.
func (*AskRefund) Route() Route { return Route{"order", "ask-refund"} }

// DecideRefund grants or denies a refund that was asked for. The outcome is
// the Refund. Deciding it again the same way changes nothing. Refusals:
// CodeNotFound, CodeNotRefundable. From edges only.
type DecideRefund struct {
	Refund string `json:"refund"`
	Grant  bool   `json:"grant"`
	By     string `json:"by"`
	// Keep and Returned hold for all lines of a refund that is granted.
	Keep     bool `json:"keep,omitempty"`
	Returned bool `json:"returned,omitempty"`
	// Note is at most 500 characters.
	Note string `json:"note,omitempty"`
}

// Route implements Message.
func (*DecideRefund) Route() Route { return Route{"order", "decide-refund"} }

// Codes of refused refunds.
const (
	// CodeNotRefundable: the order is not paid, or the refund is decided.
	CodeNotRefundable Code = "not_refundable"
	// CodeRefundTooMuch: more units than are left; Data is []Shortage.
	CodeRefundTooMuch Code = "refund_too_much"
)

// GetRefund asks for one refund; CodeNotFound. The answer is a Refund.
type GetRefund struct {
	ID string `json:"id"`
	// User, when not empty, must be the owner.
	User string `json:"user,omitempty"`
}

// Endpoint implements Query.
func (*GetRefund) Endpoint() Route { return Route{"order", "refund"} }

// ListRefunds asks for refunds, newest first. The answer is a RefundList.
type ListRefunds struct {
	Page
	// Order, User and State each narrow the list when not empty.
	Order string `json:"order,omitempty"`
	User  string `json:"user,omitempty"`
	State string `json:"state,omitempty"`
}

// Endpoint implements Query.
func (*ListRefunds) Endpoint() Route { return Route{"order", "refunds"} }

// RefundList answers ListRefunds.
type RefundList struct {
	Refunds []Refund `json:"items"`
	Next    string   `json:"next,omitempty"`
}
