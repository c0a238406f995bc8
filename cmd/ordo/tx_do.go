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

// do has it done.
func (a *TxArgs) do(ctx context.Context, path string, out any) error {
	if err := a.ask(ctx, "POST", path, map[string]string{"reason": a.Reason}, out); err != nil {
		return fmt.Errorf("tx: %w", err)
	}
	return nil
}

// say prints the answer as JSON, or what it means.
func (a *TxArgs) say(t *terminal, out any, text string) error {
	if a.JSON {
		return json.NewEncoder(t.Out).Encode(out)
	}
	_, err := fmt.Fprintf(t.Out, "order %s: %s\n", a.Order, text)
	return err
}

// TxRetryCmd asks again for what an order waits for.
type TxRetryCmd struct{ TxArgs }

// Run exits with 1 when a dead letter could not be handled again.
func (c *TxRetryCmd) Run(ctx context.Context, t *terminal) error {
	var out rest.Retried
	if err := c.do(ctx, "/transactions/"+c.Order+"/retry", &out); err != nil {
		return err
	}
	text := fmt.Sprintf("asked again for %s; %d dead letters handled",
		or(strings.Join(out.Steps, ", "), "nothing"), out.Letters)
	if out.Open > 0 {
		text += fmt.Sprintf(", %d failed again and stay open", out.Open)
	}
	if missing := out.Missing.Unknown("letters"); missing != "" {
		text += "; other dead letters are " + missing
	}
	if err := c.say(t, &out, text); err != nil || out.Open == 0 {
		return err
	}
	return errFound
}

// TxCancelCmd cancels an order.
type TxCancelCmd struct{ TxArgs }

// Run implements the command.
func (c *TxCancelCmd) Run(ctx context.Context, t *terminal) error {
	var out api.Order
	if err := c.do(ctx, "/orders/"+c.Order+"/cancel", &out); err != nil {
		return err
	}
	return c.say(t, &out, out.State)
}

// TxSettleCmd has an order and its participants brought together.
type TxSettleCmd struct{ TxArgs }

// Run implements the command.
func (c *TxSettleCmd) Run(ctx context.Context, t *terminal) error {
	var out rest.Settled
	if err := c.do(ctx, "/transactions/"+c.Order+"/settle", &out); err != nil {
		return err
	}
	text := "order and participants say the same"
	if len(out.Differences) > 0 {
		text = "to be settled: " + strings.Join(out.Differences, "; ")
	}
	return c.say(t, &out, text)
}
