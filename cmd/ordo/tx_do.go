package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"ordo/api"
	"ordo/api/rest"
)

// TxArgs are those of what is done about an order of a running shop; embed them in
// a command.
type TxArgs struct {
	Remote
	Order  string `arg:"" help:"Id of the order."`
	Reason string `help:"Why; kept in the journal." required:"" placeholder:"TEXT"`
	JSON   bool   `name:"json" help:"Print the answer as JSON."`
}

// Validate refuses what is not an order's id.
func (a *TxArgs) Validate() error {
	_, err := api.ParseID(api.PrefixOrder, a.Order)
	return err
}

// do has it done, and prints the answer, or what say makes of it.
func (a *TxArgs) do(ctx context.Context, t *terminal, path string, out any,
	say func() string) error {
	if err := a.ask(ctx, "POST", path, map[string]string{"reason": a.Reason}, out); err != nil {
		return fmt.Errorf("tx: %w", err)
	}
	if a.JSON {
		return json.NewEncoder(t.Out).Encode(out)
	}
	_, err := fmt.Fprintf(t.Out, "order %s: %s\n", a.Order, say())
	return err
}

// TxRetryCmd asks again for what an order waits for.
type TxRetryCmd struct{ TxArgs }

// Run exits with 1 when a dead letter could not be handled again.
func (c *TxRetryCmd) Run(ctx context.Context, t *terminal) error {
	var out rest.Retried
	err := c.do(ctx, t, "/transactions/"+c.Order+"/retry", &out, func() string {
		text := fmt.Sprintf("asked again for %s; %d dead letters handled",
			or(strings.Join(out.Steps, ", "), "nothing"), out.Letters)
		if out.Open > 0 {
			text += fmt.Sprintf(", %d failed again and stay open", out.Open)
		}
		return text
	})
	if err == nil && out.Open > 0 {
		return errFound
	}
	return err
}

// TxCancelCmd cancels an order.
type TxCancelCmd struct{ TxArgs }

// Run implements the command.
func (c *TxCancelCmd) Run(ctx context.Context, t *terminal) error {
	var out api.Order
	return c.do(ctx, t, "/orders/"+c.Order+"/cancel", &out, func() string { return out.State })
}

// TxSettleCmd has an order and its participants brought together.
type TxSettleCmd struct{ TxArgs }

// Run implements the command.
func (c *TxSettleCmd) Run(ctx context.Context, t *terminal) error {
	var out rest.Settled
	return c.do(ctx, t, "/transactions/"+c.Order+"/settle", &out, func() string {
		if len(out.Differences) == 0 {
			return "order and participants say the same"
		}
		return "to be settled: " + strings.Join(out.Differences, "; ")
	})
}
