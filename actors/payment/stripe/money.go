package stripe

import (
	"fmt"
	"strings"

	"ordo/api"
)

// digits is how many decimals an amount of a currency has at Stripe, which is
// not always what ISO 4217 says: ISK and UGX have two for old times' sake
// (https://docs.stripe.com/currencies, "Zero-decimal" and "Special cases").
func digits(currency string) int {
	switch currency {
	case "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF",
		"XOF", "XPF":
		return 0
	case "BHD", "JOD", "KWD", "OMR", "TND":
		return 3
	}
	return 2
}

// toStripe is an amount in Stripe's units and its currency in Stripe's
// spelling. It answers CodeInvalid for one that Stripe can't express, such as
// a fraction of a whole unit, or the last digit of three.
func toStripe(m api.Money) (amount int64, currency string, err error) {
	if len(m.Currency) != 3 || strings.Trim(m.Currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return 0, "",
			api.Refuse(api.CodeInvalid, "%.8q is not a currency", m.Currency).At("currency")
	}
	if m.Amount <= 0 || m.Amount > api.MaxAmount {
		return 0, "",
			api.Refuse(api.CodeInvalid, "must be 1 to %d", int64(api.MaxAmount)).At("amount")
	}
	there, here := digits(m.Currency), api.Digits(m.Currency)
	amount = m.Amount
	for ; here < there; here++ {
		amount *= 10
	}
	for ; here > there; here-- {
		if amount%10 != 0 {
			return 0, "", api.Refuse(api.CodeInvalid, "%s has too many decimals", m).At("amount")
		}
		amount /= 10
	}
	if there == 3 && amount%10 != 0 {
		return 0, "", api.Refuse(api.CodeInvalid, "the last decimal of %s is not 0", m).At("amount")
	}
	return amount, strings.ToLower(m.Currency), nil
}

// fromStripe reads an amount of Stripe. It answers ErrMalformed for what is
// not one, and for one that the shop can't express.
func fromStripe(amount int64, currency string) (api.Money, error) {
	name := strings.ToUpper(currency)
	if len(name) != 3 || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return api.Money{}, fmt.Errorf("%w: %.20q is not a currency", ErrMalformed, currency)
	}
	m := api.Money{Amount: amount, Currency: name}
	bad := fmt.Errorf("%w: %d is not an amount of %s", ErrMalformed, amount, name)
	if amount < 0 || amount > 100*api.MaxAmount {
		return api.Money{}, bad
	}
	there, here := digits(name), api.Digits(name)
	for ; there < here; there++ {
		m.Amount *= 10
	}
	for ; there > here; there-- {
		if m.Amount%10 != 0 {
			return api.Money{}, bad
		}
		m.Amount /= 10
	}
	if m.Amount > api.MaxAmount {
		return api.Money{}, bad
	}
	return m, nil
}
