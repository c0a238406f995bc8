package wallet

import (
	"database/sql"
	"math"
	"strconv"

	"ordo/actors"
	"ordo/api"
)

// getWallet answers the balance in the asked currency and the points.
func getWallet(v *actors.View, q *api.GetWallet) (*api.Wallet, error) {
	if !isCurrency(q.Currency) {
		return nil, api.Refuse(api.CodeInvalid, "needs an ISO 4217 code").At("currency")
	}
	w := &api.Wallet{User: q.User, Balance: api.Money{Currency: q.Currency}}
	err := v.Each(func(r actors.Row) error {
		var unit string
		var balance int64
		if err := r.Scan(&unit, &balance); err != nil {
			return err
		}
		if unit == api.UnitPoint {
			w.Points = balance
		} else {
			w.Balance.Amount = balance
		}
		return nil
	}, `SELECT unit, balance FROM account WHERE owner = +? AND unit IN (?, 'POINT')`,
		q.User, q.Currency)
	return w, err
}

// listEntries answers the entries of one user's account, the newest first, one more
// being read than is answered, to know whether there is a next page.
func listEntries(v *actors.View, q *api.ListWalletEntries) (*api.WalletEntryList, error) {
	if q.Unit != api.UnitPoint && !isCurrency(q.Unit) {
		return nil, api.Refuse(api.CodeInvalid, "needs an ISO 4217 code or %s", api.UnitPoint).
			At("unit")
	}
	before := int64(math.MaxInt64)
	if q.Cursor != "" {
		n, err := strconv.ParseInt(q.Cursor, 10, 64)
		if err != nil || n < 1 {
			return nil, api.Refuse(api.CodeInvalid, "is not the next of a list").At("cursor")
		}
		before = n
	}
	all := []api.WalletEntry{}
	err := v.Each(func(r actors.Row) error {
		e := api.WalletEntry{Amount: api.Money{Currency: q.Unit},
			Balance: api.Money{Currency: q.Unit}}
		var order sql.NullString
		if err := r.Scan(&e.Seq, &e.Transfer, &e.Amount.Amount, &e.Balance.Amount, &e.Kind,
			&order, &e.Reason, &e.By, &e.At); err != nil {
			return err
		}
		e.Order = order.String
		all = append(all, e)
		return nil
	}, `SELECT seq, transfer, amount, balance, kind, order_id, reason, author, at
		FROM entry
		WHERE owner = +? AND unit = +? AND balance IS NOT NULL AND seq < ?
			ORDER BY seq DESC LIMIT +?`,
		q.User, q.Unit, before, q.Size()+1)
	if len(all) <= q.Size() {
		return &api.WalletEntryList{Entries: all}, err
	}
	all = all[:q.Size()]
	next := strconv.FormatInt(all[len(all)-1].Seq, 10)
	return &api.WalletEntryList{Entries: all, Next: next}, err
}
