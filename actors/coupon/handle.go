package coupon

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"ordo/actors"
	"ordo/api"
)

// issue writes new coupons, all or none.
func issue(tx *actors.Tx, m *api.IssueCoupons) error {
	if err := errors.Join(checkAll(m.Coupons), api.CheckBy(m.By)); err != nil {
		return err
	}
	if err := refuseKnown(tx, m.Coupons); err != nil {
		return err
	}
	for i := range m.Coupons {
		c := &m.Coupons[i]
		if _, err := tx.Exec(`INSERT INTO coupon
			(user_id, id, name, amount, minimum, currency, valid_from, valid_until, author)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			c.User, c.ID, c.Name, c.Amount.Amount, c.Minimum.Amount, c.Amount.Currency,
			c.ValidFrom, c.ValidUntil, m.By); err != nil {
			return err
		}
	}
	return nil
}

// checkAll refuses a list that is too long or holds a bad coupon or the same
// id twice.
func checkAll(coupons []api.Coupon) error {
	if len(coupons) == 0 {
		return api.Refuse(api.CodeInvalid, "there are no coupons to issue").At("coupons")
	}
	if len(coupons) > MaxIssue {
		return api.Refuse(api.CodeTooLarge, "%d coupons are more than %d", len(coupons), MaxIssue).
			At("coupons")
	}
	ids := make(map[string]bool, len(coupons))
	for i := range coupons {
		refusal := check(&coupons[i])
		if refusal == nil && ids[coupons[i].ID] {
			refusal = api.Refuse(api.CodeInvalid, "the id stands twice in the list").At("id")
		}
		if refusal != nil {
			return refusal.At(fmt.Sprintf("coupons[%d].%s", i, refusal.Place))
		}
		ids[coupons[i].ID] = true
	}
	return nil
}

// check refuses a coupon with a field that is missing or out of its limits.
func check(c *api.Coupon) *api.Error {
	if _, err := api.ParseID(api.PrefixCoupon, c.ID); err != nil {
		return api.AsError(err).At("id")
	}
	switch {
	case !isText(c.User) || len(c.User) > MaxUser:
		return api.Refuse(api.CodeInvalid, "needs a user's id").At("user")
	case !isText(c.Name) || utf8.RuneCountInString(c.Name) > MaxName:
		return api.Refuse(api.CodeInvalid, "needs 1 to %d characters", MaxName).At("name")
	case c.Amount.Amount < 1 || c.Amount.Amount > api.MaxAmount:
		return api.Refuse(api.CodeInvalid, "is not between 1 and %d", int64(api.MaxAmount)).
			At("amount.amount")
	case !isCurrency(c.Amount.Currency):
		return api.Refuse(api.CodeInvalid, "needs an ISO 4217 code").At("amount.currency")
	case c.Minimum.Amount < 0 || c.Minimum.Amount > api.MaxAmount:
		return api.Refuse(api.CodeInvalid, "is not between 0 and %d", int64(api.MaxAmount)).
			At("minimum.amount")
	case c.Minimum != (api.Money{}) && c.Minimum.Currency != c.Amount.Currency:
		return api.Refuse(api.CodeInvalid, "is not the amount's currency").At("minimum.currency")
	case c.ValidFrom < 0:
		return api.Refuse(api.CodeInvalid, "is before 1970").At("valid_from")
	case c.ValidUntil <= c.ValidFrom:
		return api.Refuse(api.CodeInvalid, "must be after valid_from").At("valid_until")
	}
	return nil
}

// isText tells whether s says something and can be shown on one line.
func isText(s string) bool {
	return strings.TrimSpace(s) != "" && strings.IndexFunc(s, unicode.IsControl) < 0
}

func isCurrency(s string) bool {
	return len(s) == 3 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// refuseKnown refuses when one of the ids was issued before, to whomever.
func refuseKnown(tx *actors.Tx, coupons []api.Coupon) error {
	ids := make([]string, len(coupons))
	for i := range coupons {
		ids[i] = coupons[i].ID
	}
	var i int
	err := tx.Row(`SELECT k.key FROM json_each(?) k CROSS JOIN coupon c ON c.id = k.value
		ORDER BY k.key LIMIT 1`, string(api.Raw(ids))).Scan(&i)
	if errors.Is(err, actors.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return api.Refuse(api.CodeIDReused, "coupon %s was issued before", ids[i]).
		At(fmt.Sprintf("coupons[%d].id", i))
}

// redeem has an order use a coupon. One conditional statement decides and
// writes, so two orders can't use one coupon; only a refusal reads again, to
// say why.
func redeem(tx *actors.Tx, m *api.RedeemCoupon) error {
	return tx.Do(m.Step, func() (any, error) {
		if m.Subtotal.Amount < 0 || m.Subtotal.Amount > api.MaxAmount {
			return nil, api.Refuse(api.CodeInvalid, "is not between 0 and %d",
				int64(api.MaxAmount)).At("subtotal")
		}
		discount := api.Money{Currency: m.Subtotal.Currency}
		err := tx.Row(`UPDATE coupon SET order_id = ?1, occurrence = ?2
			WHERE user_id = ?3 AND id = ?4 AND order_id IS NULL AND currency = ?5
				AND minimum <= ?6 AND valid_from <= ?7 AND ?7 < valid_until
			RETURNING min(amount, ?6)`,
			m.Order, m.Occurrence, m.User, m.Coupon, m.Subtotal.Currency, m.Subtotal.Amount,
			tx.Now()).Scan(&discount.Amount)
		if errors.Is(err, actors.ErrNoRows) {
			return nil, whyNot(tx, m)
		}
		if err != nil {
			return nil, err
		}
		return &api.Redeemed{Discount: discount}, nil
	})
}

// whyNot says why redeem found no coupon that counts. What can't be helped
// comes before what a fuller cart would help.
func whyNot(tx *actors.Tx, m *api.RedeemCoupon) error {
	var order sql.NullString
	var minimum api.Money
	var from, until api.Time
	err := tx.Row(`SELECT order_id, minimum, currency, valid_from, valid_until FROM coupon
		WHERE user_id = ? AND id = ?`, m.User, m.Coupon).
		Scan(&order, &minimum.Amount, &minimum.Currency, &from, &until)
	if errors.Is(err, actors.ErrNoRows) {
		return api.Refuse(api.CodeCouponUnknown, "there is no such coupon").At("coupon")
	}
	if err != nil {
		return err
	}
	now := tx.Now()
	switch {
	case order.Valid:
		return api.Refuse(api.CodeCouponUsed, "the coupon was used before").At("coupon")
	case now < from:
		return api.Refuse(api.CodeCouponNotValid, "the coupon is not valid yet").At("coupon")
	case now >= until:
		return api.Refuse(api.CodeCouponNotValid, "the coupon is not valid any more").At("coupon")
	case minimum.Currency != m.Subtotal.Currency:
		return api.Refuse(api.CodeCouponNotValid, "the coupon is for goods in %s",
			minimum.Currency).At("coupon")
	case m.Subtotal.Amount < minimum.Amount:
		return api.Refuse(api.CodeCouponMinimum, "the coupon is for goods of %s or more",
			minimum).At("coupon")
	}
	return fmt.Errorf("coupon %s counts for order %s and was not redeemed", m.Coupon, m.Order)
}

// restore makes the coupon that the step used open again. It may have become
// invalid meanwhile; its window does not move.
func restore(tx *actors.Tx, m *api.RestoreCoupon) error {
	return tx.Undo(m.Step, func() error {
		_, err := tx.Exec(`UPDATE coupon SET order_id = NULL, occurrence = NULL
			WHERE order_id = ? AND occurrence = ?`, m.Order, m.Occurrence)
		return err
	})
}
