package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"ordo/api"
)

// WebhookCmd looks after the endpoints of others that get the shop's events, in
// a running shop. Row P8.
type WebhookCmd struct {
	Ls         WebhookLsCmd         `cmd:"" help:"List endpoints."`
	Create     WebhookCreateCmd     `cmd:"" help:"Make an endpoint and print its secret, once."`
	Set        WebhookSetCmd        `cmd:"" help:"Change an endpoint; enable or disable it."`
	Delete     WebhookDeleteCmd     `cmd:"" help:"Delete an endpoint and its log."`
	Rotate     WebhookRotateCmd     `cmd:"" help:"Make a new secret and print it, once."`
	Test       WebhookTestCmd       `cmd:"" help:"Send a webhook.test and wait for what becomes of it."`
	Deliveries WebhookDeliveriesCmd `cmd:"" help:"List deliveries to an endpoint."`
	Replay     WebhookReplayCmd     `cmd:"" help:"Send one delivery again, or what was missed."`
}

// WebhookArgs name an endpoint; embed them in a command.
type WebhookArgs struct {
	Remote
	ID   string `arg:"" help:"The endpoint's id, whk_…"`
	JSON bool   `name:"json" help:"Print it as JSON."`
}

func (a *WebhookArgs) path() string { return "/webhooks/" + url.PathEscape(a.ID) }

// call makes a call about the endpoint and decodes what is answered.
func (a *WebhookArgs) call(ctx context.Context, method, more string, body, out any) error {
	if err := a.ask(ctx, method, a.path()+more, body, out); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	return nil
}

// webhookView is an endpoint, with its secret when that is new.
type webhookView struct {
	api.Webhook
	Secret string `json:"secret,omitempty"`
}

// print says what an endpoint is, in a line or in JSON.
func (w *webhookView) print(t *terminal, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(t.Out).Encode(w)
	}
	_, err := fmt.Fprintf(t.Out, "%s %s %s\n", w.ID, webhookState(&w.Webhook), w.URL)
	if err == nil && w.Secret != "" {
		_, err = fmt.Fprintln(t.Out, "secret, not shown again:", w.Secret)
	}
	return err
}

func webhookState(w *api.Webhook) string {
	if w.Enabled {
		return "enabled"
	}
	return "disabled (" + w.Why + ")"
}

// WebhookLsCmd lists endpoints.
type WebhookLsCmd struct {
	Remote
	JSON bool `name:"json" help:"Print a line of JSON for each endpoint."`
}

// Run implements the command.
func (c *WebhookLsCmd) Run(ctx context.Context, t *terminal) error {
	var list api.WebhookList
	if err := c.ask(ctx, "GET", "/webhooks", nil, &list); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	if c.JSON {
		return printLines(t.Out, list.Webhooks)
	}
	w := tabwriter.NewWriter(t.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATE\tFAILURES\tTYPES\tURL") // w keeps its error
	for i := range list.Webhooks {
		h := &list.Webhooks[i]
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", h.ID, webhookState(h), h.Failures,
			or(strings.Join(h.Types, ","), "all"), h.URL)
	}
	return w.Flush()
}

// eventTypes are types of events, with commas between them; 'all' for all, which
// the API writes as none.
type eventTypes []string

// UnmarshalText refuses none: a shell's variable without a value asks for nothing.
func (e *eventTypes) UnmarshalText(text []byte) error {
	*e = eventTypes{}
	if string(text) == "all" {
		return nil
	}
	for typ := range strings.SplitSeq(string(text), ",") {
		if typ = strings.TrimSpace(typ); typ == "" {
			return errors.New("a type is missing; all for all of them")
		}
		*e = append(*e, typ)
	}
	return nil
}

// WebhookCreateCmd makes an endpoint.
type WebhookCreateCmd struct {
	Remote
	URL         string     `arg:"" help:"Where events are posted to."`
	Types       eventTypes `help:"Types of events; all if not said." placeholder:"TYPE,…" default:"all"`
	Description string     `help:"What it is for." placeholder:"TEXT"`
	JSON        bool       `name:"json" help:"Print it as JSON."`
}

// Run implements the command.
func (c *WebhookCreateCmd) Run(ctx context.Context, t *terminal) error {
	var w webhookView
	body := map[string]any{"url": c.URL, "types": c.Types, "description": c.Description}
	if err := c.ask(ctx, "POST", "/webhooks", body, &w); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	return w.print(t, c.JSON)
}

// WebhookSetCmd changes an endpoint.
type WebhookSetCmd struct {
	WebhookArgs
	URL         *string    `help:"Where events are posted to." placeholder:"URL"`
	Types       eventTypes `help:"Types of events; 'all' for all." placeholder:"TYPE,…"`
	Description *string    `help:"What it is for." placeholder:"TEXT"`
	Enable      bool       `help:"Send to it again." xor:"state"`
	Disable     bool       `help:"Send nothing to it." xor:"state"`
}

// Run implements the command: what is not said stays as it is.
func (c *WebhookSetCmd) Run(ctx context.Context, t *terminal) error {
	var w webhookView
	if err := c.call(ctx, "GET", "", nil, &w); err != nil {
		return err
	}
	if c.URL != nil {
		w.URL = *c.URL
	}
	if c.Description != nil {
		w.Description = *c.Description
	}
	if c.Types != nil {
		w.Types = c.Types
	}
	body := map[string]any{"url": w.URL, "description": w.Description, "types": w.Types,
		"enabled": (w.Enabled || c.Enable) && !c.Disable}
	if err := c.call(ctx, "PUT", "", body, &w); err != nil {
		return err
	}
	return w.print(t, c.JSON)
}

// WebhookDeleteCmd deletes an endpoint.
type WebhookDeleteCmd struct{ WebhookArgs }

// Run implements the command.
func (c *WebhookDeleteCmd) Run(ctx context.Context, t *terminal) error {
	if err := c.call(ctx, "DELETE", "", nil, nil); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(t.Out).Encode(map[string]any{"id": c.ID, "deleted": true})
	}
	_, err := fmt.Fprintf(t.Out, "%s: deleted\n", c.ID)
	return err
}

// WebhookRotateCmd makes a new secret.
type WebhookRotateCmd struct{ WebhookArgs }

// Run implements the command.
func (c *WebhookRotateCmd) Run(ctx context.Context, t *terminal) error {
	var w webhookView
	if err := c.call(ctx, "POST", "/rotate", nil, &w); err != nil {
		return err
	}
	return w.print(t, c.JSON)
}

// webhookWait is how long a test is waited for.
const webhookWait = time.Minute

// WebhookTestCmd sends a test.
type WebhookTestCmd struct{ WebhookArgs }

// Run exits with 1 when the test was not delivered.
func (c *WebhookTestCmd) Run(ctx context.Context, t *terminal) error {
	var d api.Delivery
	if err := c.call(ctx, "POST", "/test", nil, &d); err != nil {
		return err
	}
	id := d.ID
	for end := time.Now().Add(webhookWait); d.Ended == 0; {
		if time.Now().After(end) {
			return errors.New("webhook: the test has not ended; see `ordo webhook deliveries`")
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
		if err := c.call(ctx, "GET", "/deliveries/"+id, nil, &d); err != nil {
			return err
		}
	}
	if err := printDeliveries(t, []api.Delivery{d}, c.JSON); err != nil {
		return err
	}
	if d.State != api.DeliveryDelivered {
		return errFound
	}
	return nil
}

// WebhookDeliveriesCmd lists deliveries.
type WebhookDeliveriesCmd struct {
	WebhookArgs
	State string `help:"Those in this state; all for all." enum:"pending,sending,delivered,failed,skipped,all" default:"all"`
	Order string `help:"Those about this order." placeholder:"ORDER"`
	Type  string `help:"Those of this type." placeholder:"TYPE"`
	Limit int    `help:"Most deliveries." default:"50"`
}

// Validate refuses what the API would.
func (c *WebhookDeliveriesCmd) Validate() error { return within("limit", c.Limit, 1, api.MaxPage) }

// Run implements the command.
func (c *WebhookDeliveriesCmd) Run(ctx context.Context, t *terminal) error {
	q := url.Values{"limit": {strconv.Itoa(c.Limit)}}
	if c.State != "all" {
		q.Set("state", c.State)
	}
	for name, value := range map[string]string{"order": c.Order, "type": c.Type} {
		if value != "" {
			q.Set(name, value)
		}
	}
	var list api.DeliveryList
	if err := c.call(ctx, "GET", "/deliveries?"+q.Encode(), nil, &list); err != nil {
		return err
	}
	return printDeliveries(t, list.Deliveries, c.JSON)
}

func printDeliveries(t *terminal, all []api.Delivery, asJSON bool) error {
	if asJSON {
		return printLines(t.Out, all)
	}
	w := tabwriter.NewWriter(t.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DELIVERY\tSTATE\tTRIES\tAT\tTYPE\tORDER\tSTATUS\tERROR") // w keeps its error
	for i := range all {
		d := &all[i]
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%d\t%s\n", d.ID, d.State, d.Tries,
			d.Created.Std().UTC().Format(time.RFC3339), d.Type, d.Order, d.Status, d.Error)
	}
	return w.Flush()
}

// WebhookReplayCmd sends events again.
type WebhookReplayCmd struct {
	WebhookArgs
	Delivery string    `help:"The delivery to send again." xor:"what" required:"" placeholder:"ID"`
	Since    time.Time `help:"Send what was missed since then, as 2006-01-02T15:04:05Z." xor:"what" required:"" placeholder:"TIME"`
	All      bool      `help:"With --since: what was delivered as well."`
}

// Validate refuses what does not go together.
func (c *WebhookReplayCmd) Validate() error {
	if c.All && c.Delivery != "" {
		return errors.New("--all goes with --since")
	}
	return nil
}

// Run implements the command.
func (c *WebhookReplayCmd) Run(ctx context.Context, t *terminal) error {
	more, body := "/deliveries/"+url.PathEscape(c.Delivery)+"/replay", any(nil)
	if c.Delivery == "" {
		more, body = "/replay", map[string]any{"since": api.TimeOf(c.Since), "all": c.All}
	}
	var w webhookView
	if err := c.call(ctx, "POST", more, body, &w); err != nil {
		return err
	}
	return w.print(t, c.JSON)
}
