package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"ordo/actors/history"
	"ordo/api"
	"ordo/api/rest"
	"ordo/stores"
)

// TxCmd looks after orders: in a running shop, or in its files. Row M7.
type TxCmd struct {
	Ls     TxLsCmd     `cmd:"" help:"List orders with the steps that they wait for, newest first."`
	Show   TxShowCmd   `cmd:"" help:"Show an order's whole life, and why it is stuck."`
	Retry  TxRetryCmd  `cmd:"" help:"Ask again for the steps that were not answered, and the dead letters."`
	Cancel TxCancelCmd `cmd:"" help:"Cancel an order that is not paid, and undo what it has."`
	Settle TxSettleCmd `cmd:"" help:"Bring an order and its participants together, where they differ."`
}

// TxSource is where a command reads; embed it in one.
type TxSource struct {
	Server     string   `help:"URL of the running shop." default:"http://127.0.0.1:8080"`
	AdminToken string   `help:"Admin token, or the session of a supporter." placeholder:"TOKEN"`
	Data       []string `help:"Read the files in this data directory instead; several when actors have their own." type:"path" placeholder:"DIR"`
}

// check refuses a source that can't be read.
func (s *TxSource) check() error {
	if len(s.Data) == 0 && s.AdminToken == "" {
		return errors.New("a running shop needs --admin-token; files need --data")
	}
	return nil
}

func (s *TxSource) remote() *Remote { return &Remote{Server: s.Server, AdminToken: s.AdminToken} }

// TxShowCmd shows an order's life, as the shop tells it, or from its files, which
// also have what every message wrote.
type TxShowCmd struct {
	TxSource
	Order  string `arg:"" help:"Id of the order."`
	NATS   string `help:"With --data: NATS that has the streams; else that of the first directory." placeholder:"URL"`
	NoRows bool   `help:"With --data: leave out what each message wrote, which takes handling the streams again."`
	JSON   bool   `name:"json" help:"Print it as JSON."`
	Export string `help:"With --data: write it as scenarios that actorstest runs." placeholder:"FILE"`
}

// Validate refuses what contradicts itself.
func (c *TxShowCmd) Validate() error {
	switch {
	case c.Export != "" && c.NoRows:
		return errors.New("--export needs what --no-rows leaves out")
	case len(c.Data) == 0 && (c.NATS != "" || c.NoRows || c.Export != ""):
		return errors.New("--nats, --no-rows and --export are about files: they need --data")
	}
	_, err := api.ParseID(api.PrefixOrder, c.Order)
	return errors.Join(err, c.check())
}

// Run implements the command.
func (c *TxShowCmd) Run(ctx context.Context, t *terminal) error {
	if len(c.Data) > 0 {
		return c.files(ctx, t)
	}
	var life rest.Timeline
	if err := c.remote().ask(ctx, "GET", "/transactions/"+c.Order, nil, &life); err != nil {
		return fmt.Errorf("tx: %w", err)
	}
	if c.JSON {
		return json.NewEncoder(t.Out).Encode(&life)
	}
	return printTimeline(t.Out, &life)
}

// files tells the order's life from the shop's files, and its streams where they
// can be reached.
func (c *TxShowCmd) files(ctx context.Context, t *terminal) (err error) {
	if err := refuseHalfSwapped(c.Data...); err != nil {
		return fmt.Errorf("tx: %w", err)
	}
	cfg := history.Config{Data: c.Data, Specs: specs(), Rows: !c.NoRows, Export: c.Export != ""}
	s, err := openStreams(ctx, c.Data[0], c.NATS, t.Log)
	switch {
	case errors.Is(err, errUnreadable):
		t.Log.Warn("streams not read", "err", err)
	case err != nil:
		return fmt.Errorf("tx: %w", err)
	default:
		cfg.JS = s.js
		defer func() { err = errors.Join(err, s.close()) }()
	}
	life, err := history.Read(ctx, c.Order, cfg)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("tx: there is no order %s", c.Order)
	}
	if err != nil {
		return fmt.Errorf("tx: %w", err)
	}
	if c.Export != "" {
		text, err := json.MarshalIndent(life.Scenarios, "", " ")
		if err != nil {
			return fmt.Errorf("tx: export: %w", err)
		}
		if err := os.WriteFile(c.Export, append(text, '\n'), 0o600); err != nil {
			return fmt.Errorf("tx: export: %w", err)
		}
	}
	if c.JSON {
		return json.NewEncoder(t.Out).Encode(life)
	}
	return printLife(t.Out, life)
}

func printLife(w io.Writer, life *history.Life) error {
	p := &pages{w: w}
	say := p.say
	say("order %s is %s\n\n", life.Order, or(life.State, "unknown"))
	for _, m := range life.Messages {
		say("%s  %s <- %s  %s\n", clock(m.At), m.Actor, m.From, m.Subject)
		say("    id %s", m.ID)
		if m.Cause != "" {
			say("  because of %s", m.Cause)
		}
		say("\n    %s\n", string(m.Body))
		switch {
		case m.Dead != "":
			say("    dead letter %s\n", m.Dead)
		case !m.Handled:
			say("    not handled, or not known any more\n")
		case m.Outcome != "":
			say("    answered %s\n", m.Outcome)
		}
		for _, c := range m.Wrote {
			say("    %-6s %s%s\n", c.Op, c.Table, changed(&c))
		}
		for _, s := range m.Sent {
			say("    sent   %s\n", s.Subject)
		}
	}
	say("\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range life.Steps {
		answered := "-"
		if s.AnsweredAt != 0 {
			answered = clock(s.AnsweredAt)
		}
		fmt.Fprintf(table, "step %s\t%d\t%s\tasked %s\tanswered %s\ttries %d\t%s\n", s.Name,
			s.Occurrence, s.State, clock(s.AskedAt), answered, s.Attempts,
			oneLine(string(s.Refusal)))
	}
	p.err = errors.Join(p.err, table.Flush())
	for _, text := range life.Notes {
		say("note: %s\n", text)
	}
	return p.err
}

func clock(t api.Time) string { return t.Std().UTC().Format("2006-01-02T15:04:05.000000Z") }

// changed prints the columns of a change: key=value, or key=old→new.
func changed(c *stores.Change) string {
	names := map[string]bool{}
	for name := range c.Old {
		names[name] = true
	}
	for name := range c.New {
		names[name] = true
	}
	var b strings.Builder
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range names {
			if !yield(name) {
				return
			}
		}
	}) {
		was, had := c.Old[name]
		is, has := c.New[name]
		switch {
		case had && has:
			fmt.Fprintf(&b, " %s=%v→%v", name, was, is)
		case has:
			fmt.Fprintf(&b, " %s=%v", name, is)
		default:
			fmt.Fprintf(&b, " %s=%v", name, was)
		}
	}
	return b.String()
}
