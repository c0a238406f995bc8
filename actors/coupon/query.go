package coupon

import (
	"database/sql"
	"math"
	"strconv"
	"strings"

	"ordo/actors"
	"ordo/api"
)

// afterIDs sorts after every coupon id.
const afterIDs = "~"

// list answers a user's coupons, one more row being read than is answered, to
// know whether there is a next page.
func list(v *actors.View, q *api.ListCoupons) (*api.CouponList, error) {
	if q.UsableFor != nil {
		return usable(v, q)
	}
	before := afterIDs
	if q.Cursor != "" {
		if _, err := api.ParseID(api.PrefixCoupon, q.Cursor); err != nil {
			return nil, badCursor()
		}
		before = q.Cursor
	}
	answer, more, err := read(v, q.Size(), `SELECT id, user_id, name, amount, minimum, currency,
			valid_from, valid_until, order_id, author FROM coupon
		WHERE user_id = +? AND id < ? ORDER BY id DESC LIMIT +?`, q.User, before, q.Size()+1)
	if more {
		answer.Next = answer.Coupons[q.Size()-1].ID
	}
	return answer, err
}

// usable answers the coupons that would be redeemed at q.At, the largest
// amount first. Its condition is the one of redeem.
func usable(v *actors.View, q *api.ListCoupons) (*api.CouponList, error) {
	if q.At <= 0 {
		return nil, api.Refuse(api.CodeInvalid, "usable_for needs a time").At("at")
	}
	amount, id, err := parseCursor(q.Cursor)
	if err != nil {
		return nil, err
	}
	answer, more, err := read(v, q.Size(), `SELECT id, user_id, name, amount, minimum, currency,
			valid_from, valid_until, order_id, author FROM coupon
		WHERE user_id = +?1 AND order_id IS NULL AND currency = +?2 AND minimum <= +?3
			AND valid_from <= +?4 AND ?4 < valid_until AND (amount, id) < (?5, ?6)
		ORDER BY amount DESC, id DESC LIMIT +?7`,
		q.User, q.UsableFor.Currency, q.UsableFor.Amount, q.At, amount, id, q.Size()+1)
	if more {
		last := &answer.Coupons[q.Size()-1]
		answer.Next = strconv.FormatInt(last.Amount.Amount, 10) + "." + last.ID
	}
	return answer, err
}

// parseCursor reads the <amount>.<id> after which the page of usable coupons
// begins.
func parseCursor(s string) (amount int64, id string, err error) {
	if s == "" {
		return math.MaxInt64, afterIDs, nil
	}
	first, id, _ := strings.Cut(s, ".")
	if amount, err = strconv.ParseInt(first, 10, 64); err != nil {
		return 0, "", badCursor()
	}
	if _, err := api.ParseID(api.PrefixCoupon, id); err != nil {
		return 0, "", badCursor()
	}
	return amount, id, nil
}

func badCursor() error {
	return api.Refuse(api.CodeInvalid, "is not the next of a list").At("cursor")
}

// read reads at most size coupons and tells whether there are more.
func read(v *actors.View, size int, query string, args ...any) (*api.CouponList, bool, error) {
	all := []api.Coupon{}
	err := v.Each(func(r actors.Row) error {
		var c api.Coupon
		var order sql.NullString
		if err := r.Scan(&c.ID, &c.User, &c.Name, &c.Amount.Amount, &c.Minimum.Amount,
			&c.Amount.Currency, &c.ValidFrom, &c.ValidUntil, &order, &c.By); err != nil {
			return err
		}
		c.Minimum.Currency = c.Amount.Currency
		c.State, c.Order = api.CouponOpen, order.String
		if order.Valid {
			c.State = api.CouponUsed
		}
		all = append(all, c)
		return nil
	}, query, args...)
	if len(all) <= size {
		return &api.CouponList{Coupons: all}, false, err
	}
	return &api.CouponList{Coupons: all[:size]}, true, err
}
