package alipay

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"ordo/api"
)

// beijing is the zone of every time on the wire (GMT+8, no daylight saving).
var beijing = time.FixedZone("GMT+8", 8*60*60)

// timeLayout is the form of every time on the wire. A fraction of a second
// behind it, as in gmt_refund, is read as well.
const timeLayout = "2006-01-02 15:04:05"

// MaxAmount is the largest amount of one trade, in minor units: the gateway
// takes 0.01 to 100,000,000.00.
const MaxAmount = 10_000_000_000

// TradeStatus is the state of a trade at the gateway.
type TradeStatus string

// The states of a trade. They only move forward: WaitBuyerPay to Closed or
// Success, Success to Closed (refunded in whole) or to Finished (a year later,
// no refund is possible any more).
const (
	WaitBuyerPay  TradeStatus = "WAIT_BUYER_PAY"
	TradeClosed   TradeStatus = "TRADE_CLOSED"
	TradeSuccess  TradeStatus = "TRADE_SUCCESS"
	TradeFinished TradeStatus = "TRADE_FINISHED"
)

// known says whether the protocol has this state.
func (s TradeStatus) known() bool {
	return s == WaitBuyerPay || s == TradeClosed || s == TradeSuccess || s == TradeFinished
}

// FormatTime writes a time as the gateway wants it, in GMT+8, cut to seconds.
func FormatTime(t api.Time) string { return t.Std().In(beijing).Format(timeLayout) }

// ParseTime reads a time of the gateway, which is in GMT+8. It answers
// ErrMalformed for anything else and for years outside of 1678 to 2261.
func ParseTime(s string) (api.Time, error) {
	t, err := time.ParseInLocation(timeLayout, s, beijing)
	if err != nil || t.Year() < 1678 || t.Year() > 2261 {
		return 0, fmt.Errorf("%w: %.40q is not a time", ErrMalformed, s)
	}
	return api.TimeOf(t), nil
}

// FormatAmount writes an amount as the gateway wants it: a decimal with the
// currency's decimals and without its name, for example 88.88.
func FormatAmount(m api.Money) string {
	amount, _, _ := strings.Cut(m.String(), " ")
	return amount
}

// ParseAmount reads a decimal amount of the gateway strictly, as money of the
// merchant account's currency. It answers ErrMalformed for anything that is
// not one, that is below zero or above MaxAmount.
func ParseAmount(s, currency string) (api.Money, error) {
	m, err := api.ParseMoney(s, currency)
	if err != nil || m.Amount > MaxAmount || strings.HasPrefix(s, "-") {
		return api.Money{}, fmt.Errorf("%w: %.40q is not an amount", ErrMalformed, s)
	}
	return m, nil
}

// fields reads the typed fields of a message and keeps the first error, so
// that a message with one bad field is refused as a whole.
type fields struct {
	currency string
	err      error
}

// amount reads a decimal; an absent one is zero.
func (f *fields) amount(s string) api.Money {
	if s == "" {
		return api.Money{Currency: f.currency}
	}
	m, err := ParseAmount(s, f.currency)
	f.keep(err)
	return m
}

// time reads a time; an absent one is 0.
func (f *fields) time(s string) api.Time {
	if s == "" {
		return 0
	}
	t, err := ParseTime(s)
	f.keep(err)
	return t
}

// keep remembers the first error.
func (f *fields) keep(err error) {
	if f.err == nil {
		f.err = err
	}
}

// unknown is the first error as ErrUnknown: an answer that can't be read says
// nothing about what was done.
func (f *fields) unknown() error {
	if f.err == nil || errors.Is(f.err, ErrUnknown) {
		return f.err
	}
	return fmt.Errorf("%w: %w", ErrUnknown, f.err)
}
