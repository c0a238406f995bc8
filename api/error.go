package api

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Code says what was refused, in a word that never changes its meaning, so
// that a program can act on it.
type Code string

// The codes of all refusals. The HTTP status of each stands in api/rest.
const (
	// CodeInvalid: a field is missing, malformed or out of its limits; Place
	// names it.
	CodeInvalid Code = "invalid"
	// CodeNotFound: there is no such thing, or it belongs to another user.
	CodeNotFound Code = "not_found"
	// CodeUnauthorized: no session, or one that has ended.
	CodeUnauthorized Code = "unauthorized"
	// CodeForbidden: the session's role may not do this.
	CodeForbidden Code = "forbidden"
	// CodeBadLogin: no user with this e-mail and password.
	CodeBadLogin Code = "bad_login"
	// CodeEmailTaken: another user has this e-mail address.
	CodeEmailTaken Code = "email_taken"
	// CodeIDReused: the same idempotency key or command id came with another
	// body before.
	CodeIDReused Code = "id_reused"
	// CodeTokenUnknown: the checkout token was never made for this user, or
	// has expired unused.
	CodeTokenUnknown Code = "token_unknown"
	// CodeTokenReused: the checkout token was submitted before with another
	// body.
	CodeTokenReused Code = "token_reused"
	// CodeUnknownSKU: no such SKU is on sale.
	CodeUnknownSKU Code = "unknown_sku"
	// CodeOutOfStock: fewer units are left than are wanted; Data is []Shortage.
	CodeOutOfStock Code = "out_of_stock"
	// CodePriceChanged: a price or the total is not what the shopper saw;
	// Data is []PriceChange.
	CodePriceChanged Code = "price_changed"
	// CodeLimitExceeded: more units than one order or one shopper may buy.
	CodeLimitExceeded Code = "limit_exceeded"
	// CodeCouponUnknown: no such coupon, or it is another user's.
	CodeCouponUnknown Code = "coupon_unknown"
	// CodeCouponUsed: the coupon was redeemed by another order.
	CodeCouponUsed Code = "coupon_used"
	// CodeCouponNotValid: outside of the coupon's validity window.
	CodeCouponNotValid Code = "coupon_not_valid"
	// CodeCouponMinimum: the goods cost less than the coupon's minimum spend.
	CodeCouponMinimum Code = "coupon_minimum"
	// CodeBalanceTooLow: the wallet holds less than the order wants to use.
	CodeBalanceTooLow Code = "balance_too_low"
	// CodeTimeout: the order was not decided before its submit deadline.
	CodeTimeout Code = "timeout"
	// CodeUndone: the step was undone before it could be done.
	CodeUndone Code = "undone"
	// CodeNotCancellable: the order is in a state that can't be cancelled.
	CodeNotCancellable Code = "not_cancellable"
	// CodeTooLarge: the body, message or list is over its limit.
	CodeTooLarge Code = "too_large"
	// CodeBusy: the mailboxes are too far behind; try again later.
	CodeBusy Code = "busy"
	// CodeUnavailable: the actor asked does not answer; try again later.
	CodeUnavailable Code = "unavailable"
	// CodeInternal: a fault of the shop, logged with the request's id.
	CodeInternal Code = "internal"
)

// Error is a refusal: a business answer with a stable code. It is committed
// and answered, never retried.
type Error struct {
	Code Code `json:"code"`
	// Message says it for a person.
	Message string `json:"message"`
	// Place is the field or CSV row that is meant, for example
	// lines[2].quantity.
	Place string `json:"place,omitempty"`
	// Data says more, in a form that the code fixes.
	Data json.RawMessage `json:"data,omitempty"`
}

// Error implements error.
func (e *Error) Error() string {
	if e.Place != "" {
		return fmt.Sprintf("%s: %s: %s", e.Code, e.Place, e.Message)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

// Refuse makes a refusal with a message for a person.
func Refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// At returns the refusal with the place it is about.
func (e *Error) At(place string) *Error {
	e.Place = place
	return e
}

// With returns the refusal with data, which must be marshallable.
func (e *Error) With(data any) *Error {
	e.Data = Raw(data)
	return e
}

// AsError returns the refusal in err's chain, or nil when err is a fault.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// Raw is the JSON of v. It panics when v can't be marshalled, which is a fault
// of the program.
func Raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("api: marshal %T: %v", v, err))
	}
	return b
}
