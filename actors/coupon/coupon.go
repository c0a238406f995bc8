// Package coupon is the actor that keeps the coupons given to users. It
// decides whether a coupon counts for an order and how much it takes off, and
// sees to it that a coupon is used by one order at a time. It never decides
// what goods cost, never spreads a discount over lines, and never forgets a
// coupon. Row S5.
package coupon

import (
	"embed"

	"ordo/actors"
)

//go:embed schema.sql
var schema string

// migrations are the later versions of the tables.
//
//go:embed 0*.sql
var migrations embed.FS

// MaxIssue is the most coupons that one api.IssueCoupons may bring.
const MaxIssue = 500

// MaxName is the longest name of a coupon, in characters.
const MaxName = 100

// MaxUser is the longest id of a user, in bytes.
const MaxUser = 64

// Spec describes the coupon actor: api.IssueCoupons comes from edges,
// api.RedeemCoupon and api.RestoreCoupon from the order actor.
func Spec() *actors.Spec {
	return &actors.Spec{
		Name:        "coupon",
		Version:     "1.1.0",
		Description: "Coupons of users: validity, minimum spend, used by one order at a time",
		Schema:      schema,
		Migrations:  migrations,
		Commands: []actors.Command{
			actors.On(issue),
			actors.On(redeem).From("order"),
			actors.On(restore).From("order"),
		},
		Queries: []actors.Endpoint{
			actors.Answer("a user's coupons, all or those usable for a subtotal", list),
		},
	}
}
