// Package wallet is the actor that keeps what users hold in the shop: money
// and points, in one double-entry ledger. It decides whether there is enough
// to take and records every movement twice, once for the user and once for
// the shop. It never decides what an order costs or how many points it earns,
// and no account of a user ever goes below zero. Rows L2, S6, U3, Y9.
package wallet

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

// MaxReason is the longest reason of a credit, in characters.
const MaxReason = 500

// MaxUser is the longest id of a user, in bytes.
const MaxUser = 64

// The shop's own accounts: the other side of every transfer, one per unit.
// Their balances are the sums of their entries and may be below zero.
const (
	// ShopIssued is where credits and granted points come from, and revoked
	// points go to.
	ShopIssued = "shop:issued"
	// ShopSales is where debits go to, and returns and refunds come from.
	ShopSales = "shop:sales"
)

// Spec describes the wallet actor: api.Credit comes from edges, all else from
// the order actor.
func Spec() *actors.Spec {
	return &actors.Spec{
		Name:        "wallet",
		Version:     "1.2.0",
		Description: "Balances and points of users in a double-entry ledger",
		Schema:      schema,
		Migrations:  migrations,
		Commands: []actors.Command{
			actors.On(credit),
			actors.On(debit).From("order"),
			actors.On(returnDebit).From("order"),
			actors.On(grant).From("order"),
			actors.On(revoke).From("order"),
			actors.On(refund).From("order"),
		},
		Queries: []actors.Endpoint{
			actors.Answer("what a user holds: balance and points", getWallet),
			actors.Answer("a user's ledger entries in one unit", listEntries),
		},
	}
}
