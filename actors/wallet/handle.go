package wallet

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"ordo/actors"
	"ordo/api"
)

// posting is a transfer in the making, seen from the user's account.
type posting struct {
	user string
	shop string
	// occurrence is that of the order's step; it counts only with an Order.
	occurrence int
	api.WalletEntry
}

// credit gives a user money or points, or takes them back.
func credit(tx *actors.Tx, m *api.Credit) error {
	if err := checkCredit(m); err != nil {
		return err
	}
	p := &posting{user: m.User, shop: ShopIssued, WalletEntry: api.WalletEntry{
		Amount: m.Amount, Kind: api.EntryCredit, Reason: m.Reason, By: m.By}}
	move := take
	if m.Amount.Amount > 0 {
		move = give
	}
	if err := move(tx, p); err != nil {
		return err
	}
	if err := record(tx, p); err != nil {
		return err
	}
	// record writes the user's entry last.
	if err := tx.Row(`SELECT last_insert_rowid()`).Scan(&p.Seq); err != nil {
		return err
	}
	return tx.Reply(&p.WalletEntry)
}

func checkCredit(m *api.Credit) error {
	n := m.Amount.Amount
	switch {
	case !isText(m.User) || len(m.User) > MaxUser || strings.HasPrefix(m.User, "shop:"):
		return api.Refuse(api.CodeInvalid, "needs a user's id").At("user")
	case n == 0 || n < -api.MaxAmount || n > api.MaxAmount:
		return api.Refuse(api.CodeInvalid, "is 0 or beyond ±%d", int64(api.MaxAmount)).
			At("amount.amount")
	case m.Amount.Currency != api.UnitPoint && !isCurrency(m.Amount.Currency):
		return api.Refuse(api.CodeInvalid, "needs an ISO 4217 code or %s", api.UnitPoint).
			At("amount.currency")
	case !isText(m.Reason) || utf8.RuneCountInString(m.Reason) > MaxReason:
		return api.Refuse(api.CodeInvalid, "needs 1 to %d characters", MaxReason).At("reason")
	}
	return api.CheckBy(m.By)
}

// isText tells whether s says something and can be shown on one line.
func isText(s string) bool {
	return strings.TrimSpace(s) != "" && strings.IndexFunc(s, unicode.IsControl) < 0
}

func isCurrency(s string) bool {
	return len(s) == 3 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// placeOfDebit is where an order says what to take.
const placeOfDebit = "balance"

// debit takes the part of an order that is paid by balance. The order keeps a
// refusal, whose place is the order's field.
func debit(tx *actors.Tx, m *api.Debit) error {
	return tx.Do(m.Step, func() (any, error) {
		if m.Amount.Amount < 1 || m.Amount.Amount > api.MaxAmount {
			return nil, api.Refuse(api.CodeInvalid, "is not between 1 and %d",
				int64(api.MaxAmount)).At(placeOfDebit)
		}
		if !isCurrency(m.Amount.Currency) {
			return nil, api.Refuse(api.CodeInvalid, "is not money").At(placeOfDebit)
		}
		p := &posting{user: m.User, shop: ShopSales, occurrence: m.Occurrence,
			WalletEntry: api.WalletEntry{Kind: api.EntryDebit, Order: m.Order,
				Amount: api.Money{Amount: -m.Amount.Amount, Currency: m.Amount.Currency}}}
		if err := take(tx, p); err != nil {
			return nil, err
		}
		return nil, record(tx, p)
	})
}

// returnDebit gives back what the ledger says that the step took, to the
// account it was taken from. That it can't do when refunds have given back a
// part.
func returnDebit(tx *actors.Tx, m *api.ReturnDebit) error {
	return tx.Undo(m.Step, func() error {
		p := &posting{shop: ShopSales, occurrence: m.Occurrence,
			WalletEntry: api.WalletEntry{Kind: api.EntryReturn, Order: m.Order}}
		if err := tx.Row(`SELECT owner, unit, -amount FROM entry
			WHERE order_id = ?1 AND occurrence = ?2 AND kind = 'debit' AND NOT EXISTS
				(SELECT 1 FROM entry WHERE order_id = ?1 AND kind = 'refund')`, m.Order,
			m.Occurrence).
			Scan(&p.user, &p.Amount.Currency, &p.Amount.Amount); err != nil {
			return fmt.Errorf("debit of order %s: %w", m.Order, err)
		}
		if err := give(tx, p); err != nil {
			return err
		}
		return record(tx, p)
	})
}

// grant gives the points that a paid order earns. Row L2.
func grant(tx *actors.Tx, m *api.GrantPoints) error {
	return tx.Do(m.Step, func() (any, error) {
		if m.Points < 1 || m.Points > api.MaxAmount {
			return nil, fmt.Errorf("order %s earns %d points", m.Order, m.Points)
		}
		p := pointsOf(m.Step, m.User, api.EntryGrant, m.Points)
		if err := give(tx, p); err != nil {
			return nil, err
		}
		return nil, record(tx, p)
	})
}

// revoke takes points back, but no more than the user still has. Row L2.
func revoke(tx *actors.Tx, m *api.RevokePoints) error {
	return tx.Do(m.Step, func() (any, error) {
		if m.Points < 0 {
			return nil, fmt.Errorf("order %s revokes %d points", m.Order, m.Points)
		}
		var held int64
		err := tx.Row(`SELECT balance FROM account WHERE owner = ? AND unit = 'POINT'`, m.User).
			Scan(&held)
		if err != nil && !errors.Is(err, actors.ErrNoRows) {
			return nil, err
		}
		r := &api.Revoked{Points: min(m.Points, held)}
		if r.Points == 0 {
			return r, nil
		}
		p := pointsOf(m.Step, m.User, api.EntryRevoke, -r.Points)
		if err := take(tx, p); err != nil {
			return nil, err
		}
		return r, record(tx, p)
	})
}

func pointsOf(step api.Step, user, kind string, n int64) *posting {
	return &posting{user: user, shop: ShopIssued, occurrence: step.Occurrence,
		WalletEntry: api.WalletEntry{Kind: kind, Order: step.Order,
			Amount: api.Money{Amount: n, Currency: api.UnitPoint}}}
}

// refund gives back a part of what an order took. More than is left of it, or
// to somebody else, is a fault of the order actor. Row Y9.
func refund(tx *actors.Tx, m *api.RefundBalance) error {
	return tx.Do(m.Step, func() (any, error) {
		var left int64
		if err := tx.Row(`SELECT coalesce(-sum(amount), 0) FROM entry WHERE order_id = ?
			AND owner = ? AND unit = ? AND kind IN ('debit', 'return', 'refund')`,
			m.Order, m.User, m.Amount.Currency).Scan(&left); err != nil {
			return nil, err
		}
		if m.Amount.Amount < 1 || m.Amount.Amount > left {
			return nil, fmt.Errorf("refund of %s to %s, of whom order %s has %d", m.Amount, m.User,
				m.Order, left)
		}
		p := &posting{user: m.User, shop: ShopSales, occurrence: m.Occurrence,
			WalletEntry: api.WalletEntry{Kind: api.EntryRefund, Order: m.Order, Amount: m.Amount}}
		if err := give(tx, p); err != nil {
			return nil, err
		}
		return nil, record(tx, p)
	})
}

// take lowers the user's account by what p, being negative, takes. It refuses
// with CodeBalanceTooLow, and then has written nothing.
func take(tx *actors.Tx, p *posting) error {
	p.Balance.Currency = p.Amount.Currency
	err := tx.Row(`UPDATE account SET balance = balance + ?3
		WHERE owner = ?1 AND unit = ?2 AND balance + ?3 >= 0 RETURNING balance`,
		p.user, p.Amount.Currency, p.Amount.Amount).Scan(&p.Balance.Amount)
	if !errors.Is(err, actors.ErrNoRows) {
		return err
	}
	left := api.BalanceLeft{Balance: api.Money{Currency: p.Amount.Currency}}
	err = tx.Row(`SELECT balance FROM account WHERE owner = ? AND unit = ?`,
		p.user, p.Amount.Currency).Scan(&left.Balance.Amount)
	if err != nil && !errors.Is(err, actors.ErrNoRows) {
		return err
	}
	place := "amount"
	if p.Kind == api.EntryDebit {
		place = placeOfDebit
	}
	return api.Refuse(api.CodeBalanceTooLow, "the wallet holds %s", left.Balance).
		At(place).With(&left)
}

// give raises the user's account, which it opens when there is none. A credit
// beyond MaxAmount is refused, and then nothing was written; what was debited
// always fits back in.
func give(tx *actors.Tx, p *posting) error {
	limit := int64(math.MaxInt64)
	if p.Kind == api.EntryCredit {
		limit = api.MaxAmount
	}
	p.Balance.Currency = p.Amount.Currency
	err := tx.Row(`INSERT INTO account (owner, unit, balance) VALUES (?1, ?2, ?3)
		ON CONFLICT DO UPDATE SET balance = balance + ?3 WHERE balance <= ?4 - ?3
		RETURNING balance`,
		p.user, p.Amount.Currency, p.Amount.Amount, limit).Scan(&p.Balance.Amount)
	if errors.Is(err, actors.ErrNoRows) {
		return api.Refuse(api.CodeInvalid, "the account would hold more than %d",
			int64(api.MaxAmount)).At("amount.amount")
	}
	return err
}

// record writes both entries of a transfer whose user's account has moved, the
// shop's first. One statement with one amount, so they can't but add up to
// zero.
func record(tx *actors.Tx, p *posting) error {
	p.Transfer, p.At = tx.NewID(api.PrefixTransfer), tx.Now()
	order, occurrence := any(nil), any(nil)
	if p.Kind != api.EntryCredit {
		order, occurrence = p.Order, p.occurrence
	}
	_, err := tx.Exec(`INSERT INTO entry (owner, unit, transfer, amount, balance, kind,
			order_id, occurrence, reason, author, at)
		VALUES (?11, ?2, ?3, -?4, NULL, ?6, NULL, NULL, '', '', ?10),
			(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?12, ?10)`,
		p.user, p.Amount.Currency, p.Transfer, p.Amount.Amount, p.Balance.Amount, p.Kind,
		order, occurrence, p.Reason, p.At, p.shop, p.By)
	return err
}
