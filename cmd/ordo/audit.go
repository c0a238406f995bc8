package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"ordo/actors/audit"
)

// AuditCmd reads the files of all actors, also of a shop that is running, and
// checks that they are there and whole, and that stock, money, coupons and
// orders add up. It exits with 1 and names every deviation with its order and
// row. What a message that is still under way will put right is counted, not
// reported. Row M11.
type AuditCmd struct {
	Data    []string      `help:"Data directory; several when actors have their own." required:"" type:"path"`
	Partial bool          `help:"Files of actors may be missing; check what those that are there tell."`
	Bound   time.Duration `help:"How late a decision, or the handling of a message, may be." default:"10m"`
	JSON    bool          `name:"json" help:"Print the result as JSON."`
}

// Validate refuses a bound that would be no bound.
func (c *AuditCmd) Validate() error {
	return within("bound", c.Bound, time.Minute, 30*24*time.Hour)
}

// Run implements the command.
func (c *AuditCmd) Run(ctx context.Context, t *terminal) error {
	if err := refuseHalfSwapped(c.Data...); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	result, err := audit.Run(ctx, audit.Options{Dirs: c.Data, Partial: c.Partial, Bound: c.Bound})
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if c.JSON {
		err = json.NewEncoder(t.Out).Encode(result)
	} else {
		err = printAudit(t.Out, result)
	}
	if err == nil && !result.OK {
		err = errFound
	}
	return err
}

func printAudit(w io.Writer, r *audit.Result) error {
	var errs []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format, args...)
		errs = append(errs, err)
	}
	for _, name := range r.Missing {
		say("%s is missing\n", name)
	}
	for _, d := range r.Damaged {
		say("%s\n", d)
	}
	for _, d := range r.Deviations {
		say("DEVIATION %s: %s %s: %s\n", d.Check, or(d.Order, "-"), d.Row, d.Problem)
	}
	for _, text := range r.Warnings {
		say("warning: %s\n", text)
	}
	for _, name := range r.LeftOut {
		say("not checked, a file is missing or damaged: %s\n", name)
	}
	verdict := "all adds up"
	if !r.OK {
		verdict = fmt.Sprintf("%d deviations, %d files missing, %d damaged", len(r.Deviations),
			len(r.Missing), len(r.Damaged))
	}
	say("%s; %d checks, orders %v, %d messages in flight, %d deviations excused by them\n",
		verdict, len(r.Checks), r.Orders, r.InFlight, r.Excused)
	return errors.Join(errs...)
}
