package api

import (
	"strconv"
	"strings"
)

// Money is an amount in minor units (pence, cents) of a currency. It is never
// a float.
type Money struct {
	// Amount is in minor units of Currency.
	Amount int64 `json:"amount"`
	// Currency is an ISO 4217 code.
	Currency string `json:"currency"`
}

// MaxAmount bounds every price, discount and balance, in minor units, so that
// MaxLines lines of MaxQuantity units are checked before they are multiplied.
const MaxAmount = 1_000_000_000_000

// Digits is the number of minor-unit digits of a currency after ISO 4217; 2
// for one that is not listed here.
func Digits(currency string) int {
	switch currency {
	case "JPY", "KRW", "VND", "CLP", "ISK", "UGX", "XAF", "XOF", "POINT":
		return 0
	case "BHD", "KWD", "OMR", "TND", "JOD", "IQD", "LYD":
		return 3
	}
	return 2
}

// ParseMoney reads a decimal number such as 2.55 strictly: digits, at most one
// point, no more decimals than the currency has, an optional minus sign. It
// answers CodeInvalid for anything else, and for more than MaxAmount.
func ParseMoney(s, currency string) (Money, error) {
	digits := Digits(currency)
	body, neg := strings.CutPrefix(s, "-")
	whole, frac, point := strings.Cut(body, ".")
	if whole == "" || point && frac == "" || len(frac) > digits || len(whole) > 13 {
		return Money{}, Refuse(CodeInvalid, "%q is not an amount of %s", s, currency)
	}
	frac += strings.Repeat("0", digits-len(frac))
	if strings.Trim(whole+frac, "0123456789") != "" {
		return Money{}, Refuse(CodeInvalid, "%q is not an amount of %s", s, currency)
	}
	n, err := strconv.ParseInt(whole+frac, 10, 64)
	if err != nil || n > MaxAmount {
		return Money{}, Refuse(CodeInvalid, "%q is too large", s)
	}
	if neg {
		n = -n
	}
	return Money{n, currency}, nil
}

// String prints the amount as a decimal with its currency, for example
// "2.55 GBP".
func (m Money) String() string {
	digits, sign, n := Digits(m.Currency), "", m.Amount
	if n < 0 {
		sign, n = "-", -n
	}
	s := strconv.FormatUint(uint64(n), 10)
	if digits > 0 {
		if len(s) <= digits {
			s = strings.Repeat("0", digits-len(s)+1) + s
		}
		s = s[:len(s)-digits] + "." + s[len(s)-digits:]
	}
	return sign + s + " " + m.Currency
}

// LineTotal is price times quantity. It answers CodeInvalid when either is
// negative or the product is over MaxAmount.
func LineTotal(price, quantity int64) (int64, error) {
	if price < 0 || quantity < 0 {
		return 0, Refuse(CodeInvalid, "price × quantity is negative")
	}
	if price != 0 && quantity > MaxAmount/price {
		return 0, Refuse(CodeInvalid, "price × quantity is too large")
	}
	return price * quantity, nil
}
