package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"ordo/api"
)

// replayResult is what a replay did. Offered orders are placed, paid, refused or
// skipped; skips count rows of the trace by reason. The amounts add up in the
// same way, to the trace's own totals.
type replayResult struct {
	Orders struct {
		// Offered are the sale invoices looked at.
		Offered int `json:"offered"`
		// Placed are also those that were placed and have expired since, but not
		// those that are paid.
		Placed  int `json:"placed"`
		Paid    int `json:"paid"`
		Refused int `json:"refused"`
		// Skipped are sale invoices of which nothing can be bought.
		Skipped int `json:"skipped"`
		// Refunded are paid orders of which something was refunded.
		Refunded int `json:"refunded"`
	} `json:"orders"`
	// Amounts are price × quantity of the trace's rows in minor units.
	Amounts struct {
		// Offered are all rows of sales: Placed + Paid + Refused + SkippedSales.
		Offered      int64 `json:"offered"`
		Placed       int64 `json:"placed"`
		Paid         int64 `json:"paid"`
		Refused      int64 `json:"refused"`
		SkippedSales int64 `json:"skipped_sales"`
		// Cancelled are all rows of cancellations: Refunded + SkippedRefunds.
		Cancelled      int64 `json:"cancelled"`
		Refunded       int64 `json:"refunded"`
		SkippedRefunds int64 `json:"skipped_refunds"`
	} `json:"amounts"`
	// Shop is what the paid orders, and what went back of them, came to in the
	// shop, which sells at one price each.
	Shop struct {
		Paid     int64 `json:"paid"`
		Refunded int64 `json:"refunded"`
	} `json:"shop"`
	Currency string `json:"currency"`
	// Refusals counts the refused orders by code.
	Refusals map[string]int `json:"refusals"`
	// Skips counts the rows that were not bought or refunded by reason, and
	// SkipAmounts adds up what they come to.
	Skips       map[string]int   `json:"skips"`
	SkipAmounts map[string]int64 `json:"skip_amounts"`
	// Seconds is how long the orders took, seeding excluded.
	Seconds float64 `json:"seconds"`

	left skips
}

// check fills in what was skipped, and answers an error when a replay that came
// to its end does not add up.
func (r *replayResult) check(failed error) error {
	r.Skips, r.SkipAmounts = map[string]int{}, map[string]int64{}
	maps.Copy(r.Skips, r.left.Rows)
	maps.Copy(r.SkipAmounts, r.left.Amounts)
	o, a := &r.Orders, &r.Amounts
	a.SkippedSales, a.SkippedRefunds = r.left.Sales, r.left.Refunds
	switch {
	case failed != nil:
	case o.Offered != o.Placed+o.Paid+o.Refused+o.Skipped:
		return fmt.Errorf("the orders do not add up: %+v", *o)
	case a.Offered != a.Placed+a.Paid+a.Refused+a.SkippedSales,
		a.Cancelled != a.Refunded+a.SkippedRefunds:
		return fmt.Errorf("the amounts do not add up: %+v", *a)
	}
	return nil
}

func (c *ReplayCmd) print(w io.Writer, r *replayResult) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(r)
	}
	return printReplay(w, r)
}

func printReplay(w io.Writer, r *replayResult) error {
	var b bytes.Buffer
	o, a := &r.Orders, &r.Amounts
	done := o.Placed + o.Paid + o.Refused
	fmt.Fprintf(&b, "%d orders offered: %d placed, %d paid, %d refused, %d skipped", o.Offered,
		o.Placed, o.Paid, o.Refused, o.Skipped)
	fmt.Fprintf(&b, "; %d refunded; %.1f s, %.0f orders/s\n", o.Refunded, r.Seconds,
		float64(done)/max(r.Seconds, 1e-3))
	money := func(n int64) string { return decimal(api.Money{Amount: n, Currency: r.Currency}) }
	fmt.Fprintf(&b, "  sales %s %s = placed %s + paid %s + refused %s + skipped %s\n", r.Currency,
		money(a.Offered), money(a.Placed), money(a.Paid), money(a.Refused), money(a.SkippedSales))
	fmt.Fprintf(&b, "  cancellations %s %s = refunded %s + skipped %s\n", r.Currency,
		money(a.Cancelled), money(a.Refunded), money(a.SkippedRefunds))
	fmt.Fprintf(&b, "  at the shop's own prices: paid %s, refunded %s\n", money(r.Shop.Paid),
		money(r.Shop.Refunded))
	for _, code := range slices.Sorted(maps.Keys(r.Refusals)) {
		fmt.Fprintf(&b, "  refused   %7d  %s\n", r.Refusals[code], code)
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Skips)) {
		fmt.Fprintf(&b, "  rows left %7d  %s, %s\n", r.Skips[reason], reason,
			money(r.SkipAmounts[reason]))
	}
	_, err := w.Write(b.Bytes())
	return err
}
