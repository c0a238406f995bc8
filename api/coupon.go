package api

// States of a coupon.
const (
	CouponOpen = "open"
	CouponUsed = "used"
)

// Coupon is an amount off one order of its owner. Row S5.
type Coupon struct {
	ID   string `json:"id"`
	User string `json:"user"`
	// Name is what the shopper sees, 1 to 100 characters.
	Name string `json:"name"`
	// Amount is taken off the goods' total, but never more than that total.
	Amount Money `json:"amount"`
	// Minimum is the least the goods must cost, in the currency of Amount; it
	// may be left out.
	Minimum Money `json:"minimum"`
	// ValidFrom and ValidUntil bound its use: from ≤ now < until.
	ValidFrom  Time `json:"valid_from"`
	ValidUntil Time `json:"valid_until"`
	// State is one of the Coupon constants.
	State string `json:"state"`
	// Order is the order that uses it.
	Order string `json:"order,omitempty"`
	// By is who issued it; empty before that was kept.
	By string `json:"by,omitempty"`
}

// IssueCoupons gives coupons to users, all or none, at most 500 a message.
// Issuing a coupon id that exists is refused with CodeIDReused. From edges
// only.
type IssueCoupons struct {
	// Coupons have their ids minted by the edge with PrefixCoupon; State, Order
	// and By are ignored.
	Coupons []Coupon `json:"coupons"`
	// By is who does it: a user id, or admin; at most MaxBy bytes.
	By string `json:"by,omitempty"`
}

// Route implements Message.
func (*IssueCoupons) Route() Route { return Route{"coupon", "issue"} }

// RedeemCoupon uses a coupon for an order. Refusals: CodeCouponUnknown,
// CodeCouponUsed, CodeCouponNotValid (also for goods in another currency),
// CodeCouponMinimum.
type RedeemCoupon struct {
	Step
	User   string `json:"user"`
	Coupon string `json:"coupon"`
	// Subtotal is what the goods cost.
	Subtotal Money `json:"subtotal"`
}

// Route implements Message.
func (*RedeemCoupon) Route() Route { return Route{"coupon", "redeem"} }

// Redeemed is the Data of a RedeemCoupon that was done.
type Redeemed struct {
	// Discount is what is taken off the goods' total.
	Discount Money `json:"discount"`
}

// RestoreCoupon makes the coupon that the step used open again.
type RestoreCoupon struct {
	Step
}

// Route implements Message.
func (*RestoreCoupon) Route() Route { return Route{"coupon", "restore"} }

// ListCoupons asks for a user's coupons, newest first. The answer is a
// CouponList.
type ListCoupons struct {
	Page
	User string `json:"user"`
	// UsableFor, when not nil, leaves only open coupons that are valid now and
	// whose minimum this subtotal reaches, the largest amount first.
	UsableFor *Money `json:"usable_for,omitempty"`
	// At is the moment to judge validity by, from the edge's clock; needed with
	// UsableFor.
	At Time `json:"at,omitempty"`
}

// Endpoint implements Query.
func (*ListCoupons) Endpoint() Route { return Route{"coupon", "list"} }

// CouponList answers ListCoupons.
type CouponList struct {
	Coupons []Coupon `json:"items"`
	Next    string   `json:"next,omitempty"`
}
