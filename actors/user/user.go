// Package user keeps the accounts of the shop, their address books and the
// list of sessions that were ended before their time. It decides who has an
// e-mail address, which address is the default and which sessions must not be
// believed any more. It never sees a password or a session token, only their
// hashes, and never decides who is logged in.
package user

import (
	_ "embed"

	"ordo/actors"
)

//go:embed schema.sql
var schema string

// Spec describes the user actor. Rows U1, U2, U4.
func Spec() *actors.Spec {
	return &actors.Spec{
		Name:        "user",
		Version:     "1.0.0",
		Description: "Accounts, address books and ended sessions.",
		Schema:      schema,
		Commands: []actors.Command{
			actors.On(register),
			actors.On(makeUsers),
			actors.On(changePassword),
			actors.On(endSession),
			actors.On(saveAddress),
			actors.On(deleteAddress),
		},
		Queries: []actors.Endpoint{
			actors.Answer("An account, by id or e-mail address.", getUser),
			actors.Answer("The addresses of a user, the default first.", listAddresses),
			actors.Answer("Sessions ended before their time, in order.", listRevocations),
		},
		Tick: forgetRevocations,
	}
}
