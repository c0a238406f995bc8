package main

import (
	"math/big"
	"strconv"
	"strings"

	"ordo/api"
)

// Kinds of rows that a replay does something with.
const (
	kindSale   = "S"
	kindCancel = "C"
)

// Reasons why a cancellation is not refunded, beside those of any row and the
// codes of refusals.
const (
	skipNoRef     = "cancellation_without_invoice"       // it names no invoice
	skipNoInvoice = "cancellation_of_unknown_invoice"    // one that was not offered
	skipNotPaid   = "cancellation_of_unpaid_order"       // refused, expired, or not paid
	skipNoLine    = "cancellation_of_unbought_goods"     // a row that could not be bought
	skipTooMany   = "cancellation_of_more_than_was_sold" // of the invoice's line
	// skipRefused begins the reason of a refund that the shop refused.
	skipRefused = "cancellation_refused_"
)

// skips are rows of a trace that were left out.
type skips struct {
	// Rows and Amounts are by reason; amounts are price × quantity as they stand
	// in the trace, in minor units.
	Rows    map[string]int
	Amounts map[string]int64
	// Sales is the sum of those of kind S, Refunds of kind C without its sign.
	Sales, Refunds int64
}

// add counts a row.
func (s *skips) add(reason string, amount int64) {
	if s.Rows == nil {
		s.Rows, s.Amounts = map[string]int{}, map[string]int64{}
	}
	s.Rows[reason]++
	s.Amounts[reason] += amount
}

// drop counts a cancellation that was not refunded.
func (s *skips) drop(reason string, c *cancelRow) {
	s.add(reason, -c.Amount)
	s.Refunds += c.Amount
}

func (s *skips) join(other *skips) {
	for reason, n := range other.Rows {
		s.add(reason, other.Amounts[reason])
		s.Rows[reason] += n - 1
	}
	s.Sales += other.Sales
	s.Refunds += other.Refunds
}

// worth is what a row of a trace says about money.
type worth struct {
	price    *big.Rat
	quantity int64
	// amount is price × quantity in minor units. A few prices are fractions of
	// one: then it is rounded, halves away from zero.
	amount int64
}

// readWorth reads price and quantity strictly; ok is false, and all is 0, when
// one can't be read, or they come to more than api.MaxAmount.
func readWorth(row map[string]string, digits int) (w worth, ok bool) {
	w.price = new(big.Rat)
	quantity, err := strconv.ParseInt(row["qty"], 10, 64)
	price, ok := parseDecimal(row["price"])
	if err != nil || !ok {
		return w, false
	}
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	sum := new(big.Rat).Mul(price, new(big.Rat).SetInt64(quantity))
	amount, err := strconv.ParseInt(sum.Mul(sum, new(big.Rat).SetInt(scale)).FloatString(0), 10, 64)
	if err != nil || amount > api.MaxAmount || amount < -api.MaxAmount {
		return w, false
	}
	return worth{price, quantity, amount}, true
}

// maxDecimal is the longest price that is read, in characters.
const maxDecimal = 32

// parseDecimal reads a number without an exponent.
func parseDecimal(s string) (*big.Rat, bool) {
	if len(s) > maxDecimal || strings.Trim(s, "-.0123456789") != "" {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// currency is the catalogue's; empty when there is nothing in it.
func (c catalog) currency() string {
	for _, g := range c {
		return g.Price.Currency
	}
	return ""
}

// digits is the number of decimals of the catalogue's currency.
func (c catalog) digits() int { return api.Digits(c.currency()) }
