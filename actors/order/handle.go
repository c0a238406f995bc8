package order

import (
	"cmp"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"ordo/actors"
	"ordo/api"
)

// Limits of the configuration, in seconds.
const (
	maxExpiry = 30 * 24 * 3600
	maxSubmit = 24 * 3600
	maxRefund = 10 * 365 * 24 * 3600
)

// configured are the rules in force.
func configured(tx *actors.Tx) (c api.ConfigureOrders, err error) {
	c = api.ConfigureOrders{Currency: "GBP", ExpirySeconds: 900, SubmitSeconds: 60}
	return c, tx.Config(&c)
}

// configure sets the rules for orders submitted from now on.
func configure(tx *actors.Tx, m *api.ConfigureOrders) error {
	switch {
	case !isUpper(m.Currency, 3):
		return invalid("currency", "%q is not an ISO 4217 code", m.Currency)
	case m.ExpirySeconds < 1 || m.ExpirySeconds > maxExpiry:
		return invalid("expiry_seconds", "must be 1 to %d", maxExpiry)
	case m.SubmitSeconds < 1 || m.SubmitSeconds > maxSubmit:
		return invalid("submit_seconds", "must be 1 to %d", maxSubmit)
	case m.MaxUnits < 0:
		return invalid("max_units", "must not be negative")
	case m.PointsPer < 0 || m.PointsPer > api.MaxAmount:
		return invalid("points_per", "must be 0 to %d", int64(api.MaxAmount))
	case m.RefundSeconds < 0 || m.RefundSeconds > maxRefund:
		return invalid("refund_seconds", "must be 0 to %d", maxRefund)
	}
	return tx.Configure(m)
}

// submit makes the order and asks for its stock. Rows S1, S2.
func submit(tx *actors.Tx, m *api.SubmitOrder) error {
	c, err := configured(tx)
	if err != nil {
		return err
	}
	subtotal, err := checkSubmit(m, &c)
	if err != nil {
		return err
	}
	o := newOrder(m, &c, subtotal)
	o.Created = tx.Now()
	o.deadline = tx.Now().Add(time.Duration(c.SubmitSeconds) * time.Second)
	fresh, err := insert(tx, o, m.Token)
	if err != nil {
		return err
	}
	if !fresh {
		return submittedAgain(tx, m)
	}
	_, err = ask(tx, o, hold)
	return err
}

// newOrder is the order as the shopper saw it: its discount is what the total
// is less than the goods, which the coupon has to confirm.
func newOrder(m *api.SubmitOrder, c *api.ConfigureOrders, subtotal int64) *order {
	money := func(n int64) api.Money { return api.Money{Amount: n, Currency: c.Currency} }
	o := &order{bodyHash: m.BodyHash, expiry: c.ExpirySeconds, fromCart: m.FromCart}
	o.Order = api.Order{
		ID: m.Order, User: m.User, State: api.OrderPending, Address: m.Address,
		Lines:    make([]api.LineSnapshot, len(m.Lines)),
		Subtotal: money(subtotal), Discount: money(subtotal - m.Total.Amount),
		Total: m.Total, Balance: money(m.Balance.Amount),
		Due:    money(m.Total.Amount - m.Balance.Amount),
		Coupon: m.Coupon, PayMethod: m.PayMethod, Channel: m.Channel,
	}
	for i, l := range m.Lines {
		o.Lines[i] = api.LineSnapshot{SKU: l.SKU, Quantity: l.Quantity, Price: l.Price}
	}
	return o
}

// submittedAgain accepts the same submission and refuses another one under the
// same token, however long ago the first one was.
func submittedAgain(tx *actors.Tx, m *api.SubmitOrder) error {
	var hash string
	err := tx.Row(`SELECT body_hash FROM orders WHERE id = ?`, m.Order).Scan(&hash)
	if err == nil && hash != "" && hash != m.BodyHash { // empty: made again after a repair
		return api.Refuse(api.CodeTokenReused,
			"the checkout was submitted before with other contents").At("token")
	}
	return err
}

// cancel ends an order that is not paid, for its owner or for support. One that
// waits for payment is closing until the payment actor has closed it. Row E4.
func cancel(tx *actors.Tx, m *api.CancelOrder) error {
	if err := checkCancel(m); err != nil {
		return err
	}
	o, err := load(tx, m.Order)
	if errors.Is(err, sql.ErrNoRows) || err == nil && m.User != "" && m.User != o.User {
		return noOrder(m.Order)
	}
	if err != nil {
		return err
	}
	switch o.State {
	case api.OrderClosing, api.OrderCancelled:
		return tx.Reply(&o.Order)
	case api.OrderPending, api.OrderPlaced:
	default:
		return api.Refuse(api.CodeNotCancellable, "the order is %s", o.State)
	}
	why := cmp.Or(strings.TrimSpace(m.Reason), "cancelled by the shopper")
	reason := api.Refuse(api.CodeCancelled, "%s", why).With(api.Cancellation{By: m.By})
	if o.State == api.OrderPlaced {
		o.atOnce = true
		err = closePayment(tx, o, reason)
	} else {
		err = end(tx, o, api.OrderCancelled, reason)
	}
	if err != nil {
		return err
	}
	return tx.Reply(&o.Order)
}

func checkCancel(m *api.CancelOrder) error {
	least := 0
	if m.User == "" {
		least = 1
	}
	return errors.Join(
		length("by", m.By, 1, 64),
		length("reason", strings.TrimSpace(m.Reason), least, 500))
}

// checkSubmit checks all that can be told from the message alone, and answers
// what the goods cost.
func checkSubmit(m *api.SubmitOrder, c *api.ConfigureOrders) (subtotal int64, err error) {
	if err := checkIdentity(m); err != nil {
		return 0, err
	}
	if subtotal, err = checkLines(m.Lines, c); err != nil {
		return 0, err
	}
	if err := checkAmounts(m, c.Currency, subtotal); err != nil {
		return 0, err
	}
	return subtotal, checkAddress(&m.Address)
}

func checkIdentity(m *api.SubmitOrder) error {
	id, err := api.OrderID(m.Token)
	if err != nil {
		return err
	}
	if id != m.Order {
		return api.Refuse(api.CodeTokenUnknown, "the token is not the order's").At("token")
	}
	if err := length("user", m.User, 1, 64); err != nil {
		return err
	}
	if b, err := hex.DecodeString(m.BodyHash); err != nil || len(b) != 32 {
		return invalid("body_hash", "is not a SHA-256 in hex")
	}
	if m.Channel != api.ChannelWeb && m.Channel != api.ChannelApp {
		return invalid("channel", "must be %s or %s", api.ChannelWeb, api.ChannelApp)
	}
	return length("coupon", m.Coupon, 0, 64)
}

// checkLines answers what the lines cost. Row C9.
func checkLines(lines []api.ReserveLine, c *api.ConfigureOrders) (subtotal int64, err error) {
	if len(lines) == 0 || len(lines) > api.MaxLines {
		return 0, invalid("lines", "must be 1 to %d", api.MaxLines)
	}
	var units int64
	for i, l := range lines {
		cost, err := checkLine(&l, c.Currency)
		if refusal := api.AsError(err); refusal != nil {
			refusal.Place = strings.TrimSuffix(fmt.Sprintf("lines[%d].%s", i, refusal.Place), ".")
			return 0, refusal
		}
		units += l.Quantity
		subtotal += cost
	}
	if subtotal > api.MaxAmount {
		return 0, invalid("lines", "the goods cost more than an order may")
	}
	if c.MaxUnits > 0 && units > c.MaxUnits {
		return 0, api.Refuse(api.CodeLimitExceeded, "an order may have %d units, not %d",
			c.MaxUnits, units).At("lines")
	}
	return subtotal, nil
}

func checkLine(l *api.ReserveLine, currency string) (cost int64, err error) {
	if err := length("sku", l.SKU, 1, 64); err != nil {
		return 0, err
	}
	if l.Quantity < 1 || l.Quantity > api.MaxQuantity {
		return 0, invalid("quantity", "must be 1 to %d", api.MaxQuantity)
	}
	if err := checkMoney("price", l.Price, currency); err != nil {
		return 0, err
	}
	return api.LineTotal(l.Price.Amount, l.Quantity)
}

// checkAmounts checks that the amounts fit together as far as it can be told
// before the coupon says its discount. Row S3.
func checkAmounts(m *api.SubmitOrder, currency string, subtotal int64) error {
	if err := checkMoney("total", m.Total, currency); err != nil {
		return err
	}
	goods := api.Money{Amount: subtotal, Currency: currency}
	switch {
	case m.Coupon == "" && m.Total != goods:
		return priceChanged(m.Total, goods).At("total")
	case m.Total.Amount > subtotal:
		return invalid("total", "is more than the goods cost, which is %s", goods)
	}
	if m.Balance != (api.Money{}) {
		if err := checkMoney("balance", m.Balance, currency); err != nil {
			return err
		}
	}
	if m.Balance.Amount > m.Total.Amount {
		return invalid("balance", "is more than the total of %s", m.Total)
	}
	return checkPayMethod(m)
}

func checkPayMethod(m *api.SubmitOrder) error {
	switch m.PayMethod {
	case api.PayAlipay, api.PayStripe:
		return nil
	case api.PayBalance:
		if m.Balance.Amount != m.Total.Amount {
			return invalid("pay_method", "the balance does not cover the total")
		}
		return nil
	}
	return invalid("pay_method", "%q is not a way to pay", m.PayMethod)
}

func checkAddress(a *api.Address) error {
	if len(a.Lines) < 1 || len(a.Lines) > 5 {
		return invalid("address.lines", "must be 1 to 5")
	}
	for i, l := range a.Lines {
		if err := length(fmt.Sprintf("address.lines[%d]", i), l, 1, 200); err != nil {
			return err
		}
	}
	if !isUpper(a.Country, 2) {
		return invalid("address.country", "%q is not an ISO 3166 alpha-2 code", a.Country)
	}
	return errors.Join(
		length("address.id", a.ID, 0, 64),
		length("address.name", a.Name, 1, 100),
		length("address.phone", a.Phone, 3, 30),
		length("address.city", a.City, 1, 100),
		length("address.postcode", a.Postcode, 0, 20))
}

func checkMoney(place string, m api.Money, currency string) error {
	if m.Currency != currency {
		return invalid(place+".currency", "must be %s", currency)
	}
	if m.Amount < 0 || m.Amount > api.MaxAmount {
		return invalid(place+".amount", "must be 0 to %d minor units", api.MaxAmount)
	}
	return nil
}

// length checks the number of characters.
func length(place, s string, least, most int) error {
	if n := utf8.RuneCountInString(s); n < least || n > most {
		return invalid(place, "must be %d to %d characters", least, most)
	}
	return nil
}

// isUpper tells whether s is n letters A to Z.
func isUpper(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func invalid(place, format string, args ...any) *api.Error {
	return api.Refuse(api.CodeInvalid, format, args...).At(place)
}
