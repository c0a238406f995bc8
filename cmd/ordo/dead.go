package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"ordo/api"
	"ordo/bus"
)

// DeadCmd looks after the messages that actors could not handle, in a running
// shop. Row M5.
type DeadCmd struct {
	Ls      DeadLsCmd      `cmd:"" help:"List dead letters, newest first."`
	Show    DeadShowCmd    `cmd:"" help:"Show a dead letter with its body and all of its error."`
	Retry   DeadRetryCmd   `cmd:"" help:"Have a dead letter handled again."`
	Dismiss DeadDismissCmd `cmd:"" help:"Settle a dead letter without handling it."`
}

// Remote is a running shop and the right to look after it; embed it in a
// command.
type Remote struct {
	Server     string `help:"URL of the running shop." default:"http://127.0.0.1:8080"`
	AdminToken string `help:"Admin token, or the session of a supporter." required:"" placeholder:"TOKEN"`
}

// ask makes a call of the admin API.
func (r *Remote) ask(ctx context.Context, method, path string, body, out any) error {
	return newClient(r.Server, 1).do(ctx, request{Method: method, Path: "/admin/v1" + path,
		Token: r.AdminToken, Body: body}, out)
}

// DeadLsCmd lists dead letters.
type DeadLsCmd struct {
	Remote
	Actor string `help:"Whose; else those of all actors." placeholder:"ACTOR"`
	State string `help:"Those in this state; all for all." enum:"open,retried,dismissed,all" default:"open"`
	Limit int    `help:"Most letters of an actor." default:"50"`
	JSON  bool   `name:"json" help:"Print a line of JSON for each letter."`
}

// Validate refuses what the API would.
func (c *DeadLsCmd) Validate() error { return within("limit", c.Limit, 1, api.MaxPage) }

// listed is a letter with the name of its actor.
type listed struct {
	Actor string `json:"actor"`
	api.Letter
}

// Run implements the command.
func (c *DeadLsCmd) Run(ctx context.Context, t *terminal) error {
	actors := bus.ActorNames()
	if c.Actor != "" {
		actors = []string{c.Actor}
	}
	var all []listed
	for _, actor := range actors {
		q := url.Values{"actor": {actor}, "limit": {strconv.Itoa(c.Limit)}}
		if c.State != "all" {
			q.Set("state", c.State)
		}
		var page api.LetterList
		if err := c.ask(ctx, "GET", "/dead?"+q.Encode(), nil, &page); err != nil {
			return fmt.Errorf("dead: %w", err)
		}
		for _, l := range page.Letters {
			all = append(all, listed{actor, l})
		}
	}
	if c.JSON {
		return printEach(t.Out, all)
	}
	return printLetters(t, all)
}

// printEach prints a line of JSON for each.
func printEach[T any](w io.Writer, all []T) error {
	enc := json.NewEncoder(w)
	for i := range all {
		if err := enc.Encode(&all[i]); err != nil {
			return err
		}
	}
	return nil
}

func printLetters(t *terminal, all []listed) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(t.Out, "no dead letters")
		return err
	}
	w := tabwriter.NewWriter(t.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ACTOR\tN\tSTATE\tTRIES\tAT\tSUBJECT\tERROR") // w keeps its error
	for i := range all {
		l := &all[i]
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\t%s\t%s\n", l.Actor, l.N, l.State, l.Attempts,
			l.At.Std().UTC().Format(time.RFC3339), l.Subject, l.Error)
	}
	return w.Flush()
}

// LetterArgs name a letter; embed them in a command.
type LetterArgs struct {
	Actor string `arg:"" help:"Whose letter."`
	N     int64  `arg:"" help:"Its number."`
}

func (a *LetterArgs) path() string {
	return "/dead/" + url.PathEscape(a.Actor) + "/" + strconv.FormatInt(a.N, 10)
}

// DeadShowCmd shows a dead letter.
type DeadShowCmd struct {
	LetterArgs
	Remote
	JSON bool `name:"json" help:"Print it as JSON."`
}

// Run implements the command.
func (c *DeadShowCmd) Run(ctx context.Context, t *terminal) error {
	var l api.Letter
	if err := c.ask(ctx, "GET", c.path(), nil, &l); err != nil {
		return fmt.Errorf("dead: %w", err)
	}
	if c.JSON {
		return json.NewEncoder(t.Out).Encode(&l)
	}
	_, err := fmt.Fprintf(t.Out, "%s %d is %s\nsubject   %s\nmessage   %s\nat        %s\ntries     %d\n"+
		"body      %s\nerror     %s\n", c.Actor, l.N, l.State, l.Subject, l.ID,
		l.At.Std().UTC().Format(time.RFC3339Nano), l.Attempts, l.Body, l.Error)
	if err == nil && l.SettledBy != "" {
		_, err = fmt.Fprintf(t.Out, "last by   %s at %s: %s\n", l.SettledBy,
			l.SettledAt.Std().UTC().Format(time.RFC3339), l.Reason)
	}
	return err
}

// SettleArgs are those of what settles a letter; embed them in a command.
type SettleArgs struct {
	LetterArgs
	Remote
	Reason string `help:"Why; kept with the letter." required:"" placeholder:"TEXT"`
}

// settle does it and answers the letter's state then.
func (a *SettleArgs) settle(ctx context.Context, what string) (string, error) {
	var out struct {
		State string `json:"state"`
	}
	err := a.ask(ctx, "POST", a.path()+"/"+what, map[string]string{"reason": a.Reason}, &out)
	if err != nil {
		return "", fmt.Errorf("dead: %w", err)
	}
	return out.State, nil
}

// DeadRetryCmd has a dead letter handled again.
type DeadRetryCmd struct{ SettleArgs }

// Run exits with 1 when the letter could not be handled again.
func (c *DeadRetryCmd) Run(ctx context.Context, t *terminal) error {
	state, err := c.settle(ctx, "retry")
	if err != nil {
		return err
	}
	text := map[string]string{"retried": "handled", "dismissed": "refused, which is its answer",
		"open": "failed again; the letter stays open"}[state]
	if _, err := fmt.Fprintf(t.Out, "%s %d: %s\n", c.Actor, c.N, text); err != nil {
		return err
	}
	if state == "open" {
		return errFound
	}
	return nil
}

// DeadDismissCmd settles a dead letter without handling it.
type DeadDismissCmd struct{ SettleArgs }

// Run implements the command.
func (c *DeadDismissCmd) Run(ctx context.Context, t *terminal) error {
	if _, err := c.settle(ctx, "dismiss"); err != nil {
		return err
	}
	_, err := fmt.Fprintf(t.Out, "%s %d: dismissed\n", c.Actor, c.N)
	return err
}
