package api

// UnitPoint is the currency code of loyalty points in the wallet's ledger.
const UnitPoint = "POINT"

// Wallet is what a user holds.
type Wallet struct {
	User string `json:"user"`
	// Balance is money, in the shop's currency.
	Balance Money `json:"balance"`
	// Points are counted in whole points.
	Points int64 `json:"points"`
}

// Credit puts money or points into a user's wallet from the shop's own
// account, or takes them back when Amount is negative (CodeBalanceTooLow when
// there are fewer). An account holds at most MaxAmount by credits. The outcome
// is the user's WalletEntry. From edges only; the message's id keeps it from
// happening twice. Row U3.
type Credit struct {
	User string `json:"user"`
	// Amount is money, or points when its currency is UnitPoint; not 0.
	Amount Money `json:"amount"`
	// Reason is 1 to 500 characters.
	Reason string `json:"reason"`
	// By is who does it: a user id, or admin; at most MaxBy bytes.
	By string `json:"by,omitempty"`
}

// Route implements Message.
func (*Credit) Route() Route { return Route{"wallet", "credit"} }

// Debit takes the part of an order that is paid by balance: money, 1 to
// MaxAmount. Refusals, at the order's balance: CodeBalanceTooLow with
// BalanceLeft, CodeInvalid. Row S6.
type Debit struct {
	Step
	User   string `json:"user"`
	Amount Money  `json:"amount"`
}

// Route implements Message.
func (*Debit) Route() Route { return Route{"wallet", "debit"} }

// ReturnDebit gives back what the step debited.
type ReturnDebit struct {
	Step
}

// Route implements Message.
func (*ReturnDebit) Route() Route { return Route{"wallet", "return-debit"} }

// GrantPoints gives the points that a paid order earns, 1 to MaxAmount. It is
// never refused. From the order actor. Row L2.
type GrantPoints struct {
	Step
	User   string `json:"user"`
	Points int64  `json:"points"`
}

// Route implements Message.
func (*GrantPoints) Route() Route { return Route{"wallet", "grant"} }

// RevokePoints takes points back because units are refunded, but no more than
// the user still has. It is never refused; the answer's Data is a Revoked. From
// the order actor. Row L2.
type RevokePoints struct {
	Step
	User   string `json:"user"`
	Points int64  `json:"points"`
}

// Route implements Message.
func (*RevokePoints) Route() Route { return Route{"wallet", "revoke"} }

// Revoked is the Data of a RevokePoints: what was taken.
type Revoked struct {
	Points int64 `json:"points"`
}

// RefundBalance gives back a part of what the order took from the wallet. It
// is never refused; more than the order took from this user, less what it gave
// back, is a fault. From the order actor. Row Y9.
type RefundBalance struct {
	Step
	User   string `json:"user"`
	Amount Money  `json:"amount"`
}

// Route implements Message.
func (*RefundBalance) Route() Route { return Route{"wallet", "refund"} }

// BalanceLeft is the Data of CodeBalanceTooLow: what the account holds.
type BalanceLeft struct {
	Balance Money `json:"balance"`
}

// Kinds of wallet entries. All but EntryCredit have an Order.
const (
	// EntryCredit: given, or taken back, by the shop.
	EntryCredit = "credit"
	// EntryDebit: taken for an order, and EntryReturn: given back because it
	// was not placed or was cancelled.
	EntryDebit  = "debit"
	EntryReturn = "return"
	// EntryGrant: points that a paid order earned, and EntryRevoke: taken back
	// by a refund.
	EntryGrant  = "grant"
	EntryRevoke = "revoke"
	// EntryRefund: given back by a refund.
	EntryRefund = "refund"
)

// WalletEntry is one side of a double entry, seen from the user's account.
type WalletEntry struct {
	Seq int64 `json:"seq"`
	// Transfer joins the two sides.
	Transfer string `json:"transfer"`
	// Amount is what was added to the account; negative for what was taken.
	Amount Money `json:"amount"`
	// Balance is what the account held after it.
	Balance Money `json:"balance"`
	// Kind is one of the Entry constants.
	Kind   string `json:"kind"`
	Order  string `json:"order,omitempty"`
	Reason string `json:"reason,omitempty"`
	// By is who gave or took a credit; empty for an order, and before that was
	// kept.
	By string `json:"by,omitempty"`
	At Time   `json:"at"`
}

// GetWallet asks for a user's wallet; a user without one has nothing in it.
// The answer is a Wallet.
type GetWallet struct {
	User string `json:"user"`
	// Currency is the shop's, for a wallet without entries.
	Currency string `json:"currency"`
}

// Endpoint implements Query.
func (*GetWallet) Endpoint() Route { return Route{"wallet", "wallet"} }

// ListWalletEntries asks for the entries of a user in one unit, newest first.
// The answer is a WalletEntryList.
type ListWalletEntries struct {
	Page
	User string `json:"user"`
	// Unit is a currency or UnitPoint.
	Unit string `json:"unit"`
}

// Endpoint implements Query.
func (*ListWalletEntries) Endpoint() Route { return Route{"wallet", "entries"} }

// WalletEntryList answers ListWalletEntries.
type WalletEntryList struct {
	Entries []WalletEntry `json:"items"`
	Next    string        `json:"next,omitempty"`
}
