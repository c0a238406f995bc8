package api

// States of an order. Rows S4, E1.
const (
	// OrderPending: submitted, not decided yet.
	OrderPending = "pending"
	// OrderPlaced: everything is held; it waits for payment until ExpiresAt.
	OrderPlaced = "placed"
	// OrderPaid: paid in full.
	OrderPaid = "paid"
	// OrderRefused: a step was refused, or the submit deadline passed; what
	// was taken has been or is being given back.
	OrderRefused = "refused"
	// OrderClosing: expiring or being cancelled; can't be paid any more.
	OrderClosing = "closing"
	// OrderCancelled: expired or cancelled; what was held has been or is being
	// given back.
	OrderCancelled = "cancelled"
)

// Order is an order as its owner sees it. Row S4.
type Order struct {
	ID   string `json:"id"`
	User string `json:"user"`
	// State is one of the Order constants.
	State string `json:"state"`
	// Reason says why it was refused or cancelled.
	Reason *Error         `json:"reason,omitempty"`
	Lines  []LineSnapshot `json:"lines"`
	// Address is a snapshot.
	Address Address `json:"address"`
	// Subtotal is what the goods cost, Discount the coupon's part, Total what
	// is left, Balance the part of it paid from the wallet, and Due what is
	// still to be paid: Subtotal = Total + Discount, Total = Balance + Due.
	Subtotal Money `json:"subtotal"`
	Discount Money `json:"discount"`
	Total    Money `json:"total"`
	Balance  Money `json:"balance"`
	Due      Money `json:"due"`
	// Coupon is the id of the coupon used.
	Coupon string `json:"coupon,omitempty"`
	// PayMethod and Channel are as submitted.
	PayMethod string `json:"pay_method"`
	Channel   string `json:"channel"`
	Created   Time   `json:"created"`
	// Decided is when it was placed or refused.
	Decided Time `json:"decided"`
	// ExpiresAt is when it is cancelled if it has not been paid.
	ExpiresAt Time `json:"expires_at"`
	PaidAt    Time `json:"paid_at"`
	ClosedAt  Time `json:"closed_at"`
	// Attempt, Provider and TradeNo say which payment paid it. Row Y6.
	Attempt  string `json:"attempt,omitempty"`
	Provider string `json:"provider,omitempty"`
	TradeNo  string `json:"trade_no,omitempty"`
	// Points are those it earned.
	Points int64 `json:"points,omitempty"`
	// Refunded is what refunds have reserved or given back of Total.
	Refunded Money `json:"refunded"`
}

// Final tells whether a shopper who waits for the order's submission has the
// answer: it is no longer pending.
func (o *Order) Final() bool { return o.State != OrderPending }

// Ways to pay and channels. Row S1.
const (
	PayAlipay  = "alipay"
	PayStripe  = "stripe"
	PayBalance = "balance"

	ChannelWeb = "web"
	ChannelApp = "app"
)

// SubmitOrder starts an order. The edge has checked the token's owner and
// claimed it. Its id as a message is submit-<order>; the same order again
// changes nothing. It is refused, without an order being made, for what is
// malformed (CodeInvalid), a Total that is not the sum of the lines when there
// is no coupon (CodePriceChanged), too many units (CodeLimitExceeded), a token
// that is not the order's (CodeTokenUnknown), and another BodyHash than the
// first time (CodeTokenReused). What a step refuses is the Reason of the order
// instead. From edges only. Rows S1, S2.
type SubmitOrder struct {
	// Order is OrderID(Token).
	Order string `json:"order"`
	Token string `json:"token"`
	User  string `json:"user"`
	// BodyHash is the SHA-256 of what the shopper sent, in hex.
	BodyHash string `json:"body_hash"`
	// Lines are 1 to MaxLines with the unit prices that the shopper saw.
	Lines   []ReserveLine `json:"lines"`
	Address Address       `json:"address"`
	Coupon  string        `json:"coupon,omitempty"`
	// Balance is how much of the total to take from the wallet.
	Balance Money `json:"balance"`
	// Total is what the shopper saw: the goods less the coupon.
	Total Money `json:"total"`
	// PayMethod is one of the Pay constants; PayBalance only when Balance
	// covers the total.
	PayMethod string `json:"pay_method"`
	// Channel is ChannelWeb or ChannelApp.
	Channel string `json:"channel"`
	// FromCart has the ordered quantities leave the user's cart. Row K3.
	FromCart bool `json:"from_cart,omitempty"`
}

// Route implements Message.
func (*SubmitOrder) Route() Route { return Route{"order", "submit"} }

// ExpireOrder is the timer's message at the order's deadline. An order that
// is not placed any more, or whose deadline has moved, is left alone. Row E1.
type ExpireOrder struct {
	Order string `json:"order"`
}

// Route implements Message.
func (*ExpireOrder) Route() Route { return Route{"order", "expire"} }

// MaxFound is the most steps that one SettleOrder is about.
const MaxFound = 1000

// SettleOrder has the order actor settle an order with its participants, whose
// files and its own were restored to different moments; `ordo repair` sends it, and
// support for one order.
// It is refused with CodeInvalid for a step that does not exist. Sent again it
// does no harm. Row P9.
type SettleOrder struct {
	// Order may be one that the order actor does not know.
	Order string `json:"order"`
	// Found are the steps in which the files differ, MaxFound at most.
	Found []FoundStep `json:"found"`
	// Untold is the event of the order's decision, when the journal lacks it.
	Untold string `json:"untold,omitempty"`
	// By is the person who asks, and Reason why, which the journal then keeps;
	// empty from a repair.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// RemakeOrder has an order made again that the order actor's file has lost, of what
// the journal tells of it. `ordo repair` alone sends it: what it says is believed.
// It is refused with CodeInvalid when it can't be an order. One that is there is
// left alone. Row P9.
type RemakeOrder struct {
	// Order is as it was when it was placed or, if it was, paid.
	Order Order `json:"order"`
	// Refunds are all that were asked for or have ended since, by their numbers.
	// None may be running.
	Refunds []Refund `json:"refunds,omitempty"`
}

// Route implements Message.
func (*RemakeOrder) Route() Route { return Route{"order", "remake"} }

// FoundStep is what a participant's file says of a step.
type FoundStep struct {
	Name       string `json:"step"`
	Occurrence int    `json:"occurrence,omitempty"`
	// State is StepDone, StepRefused or StepUndone; StepAsked when it is not
	// decided yet; empty when the participant knows nothing of it.
	State string `json:"state"`
}

// Route implements Message.
func (*SettleOrder) Route() Route { return Route{"order", "settle"} }

// CancelOrder cancels an order that is not paid. Refusals: CodeNotFound (also
// for another user's), CodeNotCancellable. The outcome is the Order. Row E4.
type CancelOrder struct {
	Order string `json:"order"`
	// User is the owner; empty when support cancels.
	User string `json:"user,omitempty"`
	// By is who asks: the shopper's or the supporter's user id. It is needed.
	By string `json:"by"`
	// Reason is needed from support, at most 500 characters.
	Reason string `json:"reason,omitempty"`
}

// Route implements Message.
func (*CancelOrder) Route() Route { return Route{"order", "cancel"} }

// CodeCancelled: the shopper or support cancelled the order; Data is a
// Cancellation. It is the Reason of an order, never an answer to a request.
const CodeCancelled Code = "cancelled"

// Cancellation is the Data of CodeCancelled.
type Cancellation struct {
	// By is the user id of who cancelled.
	By string `json:"by"`
}

// ConfigureOrders sets the rules of the order actor; they count for orders
// submitted afterwards. From edges only.
type ConfigureOrders struct {
	// Currency is the only one the shop sells in.
	Currency string `json:"currency"`
	// ExpirySeconds is how long a placed order waits for payment, from one
	// second to 30 days.
	ExpirySeconds int64 `json:"expiry_seconds"`
	// SubmitSeconds is how long a pending order waits for its steps, from one
	// second to a day.
	SubmitSeconds int64 `json:"submit_seconds"`
	// MaxUnits is the most units of all lines of an order; 0 for no limit.
	// Row C9.
	MaxUnits int64 `json:"max_units"`
	// PointsPer is for how many minor units of the total a paid order earns
	// one point; 0 for none. Row L2.
	PointsPer int64 `json:"points_per"`
	// RefundSeconds is how long after the payment a shopper's refund is
	// granted at once; later, and with 0 always, support decides.
	RefundSeconds int64 `json:"refund_seconds"`
}

// Route implements Message.
func (*ConfigureOrders) Route() Route { return Route{"order", "configure"} }

// GetOrder asks for one order; CodeNotFound. The answer is an Order.
type GetOrder struct {
	ID string `json:"id"`
	// User, when not empty, must be the owner.
	User string `json:"user,omitempty"`
}

// Endpoint implements Query.
func (*GetOrder) Endpoint() Route { return Route{"order", "order"} }

// GetSubmission asks what was submitted under an order id, for an edge that
// got the same token again; CodeNotFound. The answer is a Submission.
type GetSubmission struct {
	ID string `json:"id"`
}

// Endpoint implements Query.
func (*GetSubmission) Endpoint() Route { return Route{"order", "submission"} }

// Submission answers GetSubmission.
type Submission struct {
	User     string `json:"user"`
	BodyHash string `json:"body_hash"`
	Order    Order  `json:"order"`
}

// ListOrders asks for orders, newest first. The answer is an OrderList, which
// may hold fewer orders than asked for, and still have a Next, when they are
// large.
type ListOrders struct {
	Page
	// User and State each narrow the list when not empty.
	User  string `json:"user,omitempty"`
	State string `json:"state,omitempty"`
}

// Endpoint implements Query.
func (*ListOrders) Endpoint() Route { return Route{"order", "orders"} }

// OrderList answers ListOrders.
type OrderList struct {
	Orders []Order `json:"items"`
	Next   string  `json:"next,omitempty"`
}

// States of a saga step.
const (
	StepAsked   = "asked"
	StepDone    = "done"
	StepRefused = "refused"
	StepUndoing = "undoing"
	StepUndone  = "undone"
)

// StepView is one step of an order as support sees it. Row M7.
type StepView struct {
	Step
	// State is one of the Step constants.
	State string `json:"state"`
	// Attempts is how often the participant was asked.
	Attempts int    `json:"attempts"`
	Refusal  *Error `json:"refusal,omitempty"`
	AskedAt  Time   `json:"asked_at"`
	// UndoAt is when its undo was asked for.
	UndoAt Time `json:"undo_at,omitzero"`
	// AnsweredAt is when the last answer was handled.
	AnsweredAt Time `json:"answered_at"`
	// Verb is the participant's message that was sent last: that of the step, or
	// of its undo.
	Verb string `json:"verb,omitempty"`
}

// Open tells whether the step waits for an answer.
func (s *StepView) Open() bool { return s.State == StepAsked || s.State == StepUndoing }

// Since is when what the step waits for was asked for.
func (s *StepView) Since() Time {
	if s.State == StepUndoing {
		return max(s.AskedAt, s.UndoAt)
	}
	return s.AskedAt
}

// GetSteps asks for the steps of an order in the order in which they began;
// CodeNotFound. The answer is a StepList.
type GetSteps struct {
	Order string `json:"order"`
}

// Endpoint implements Query.
func (*GetSteps) Endpoint() Route { return Route{"order", "steps"} }

// StepList answers GetSteps.
type StepList struct {
	Steps []StepView `json:"items"`
}

// RemoveFromCart is the effect by which what was ordered leaves the cart. A
// cart remembers the order, so a repeat removes nothing. Row K3.
type RemoveFromCart struct {
	Order string     `json:"order"`
	User  string     `json:"user"`
	Lines []CartTake `json:"lines"`
}

// CartTake is how many units of a SKU leave the cart.
type CartTake struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}
