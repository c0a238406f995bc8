package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"ordo/api"
	"ordo/api/rest"
)

// GoodsCmd looks after the catalogue and the stock of a running shop. Row C8.
type GoodsCmd struct {
	Import  GoodsImportCmd  `cmd:"" help:"Put products on sale, or change them, from a CSV file."`
	Export  GoodsExportCmd  `cmd:"" help:"Write what is on sale as CSV that can be imported."`
	Receive GoodsReceiveCmd `cmd:"" help:"Add units that came into the house."`
	Adjust  GoodsAdjustCmd  `cmd:"" help:"Correct the stock by a difference."`
	Ledger  GoodsLedgerCmd  `cmd:"" help:"List every change of a SKU's stock, newest first."`
}

// GoodsImportCmd imports a catalogue.
type GoodsImportCmd struct {
	Remote
	File   string `arg:"" help:"CSV file, or - for standard input." placeholder:"FILE"`
	DryRun bool   `help:"Check every row and change nothing."`
	JSON   bool   `name:"json" help:"Print the result as JSON."`
}

// maxCatalogue is the largest file to import, in bytes.
const maxCatalogue = 512 << 20

// imported is the result of an import.
type imported struct {
	Products int `json:"products"`
	SKUs     int `json:"skus"`
	Rows     int `json:"rows"`
	// DryRun is true when nothing was changed.
	DryRun bool `json:"dry_run,omitempty"`
	// Errors are the rows that are refused; then nothing was changed.
	Errors []rest.RowError `json:"errors,omitempty"`
}

// Run checks all parts of the file before any is imported. A part that fails
// after that leaves those before it imported; the error says how many rows.
func (c *GoodsImportCmd) Run(ctx context.Context, t *terminal) error {
	text, err := c.read()
	if err != nil {
		return err
	}
	parts, err := splitCSV(text, rest.MaxImport)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errUnreadable, c.File, err)
	}
	all := imported{DryRun: c.DryRun}
	if c.DryRun || len(parts) > 1 {
		if err := c.each(ctx, parts, &all, true); err != nil {
			return err
		}
	}
	if !c.DryRun && len(all.Errors) == 0 {
		all = imported{}
		if err := c.each(ctx, parts, &all, false); err != nil {
			return fmt.Errorf("%w (%d rows are imported; importing the file again is harmless)",
				err,
				all.Rows)
		}
	}
	if err := c.print(t.Out, &all); err != nil {
		return err
	}
	if len(all.Errors) > 0 {
		return errFound
	}
	return nil
}

func (c *GoodsImportCmd) read() ([]byte, error) {
	in := io.Reader(os.Stdin)
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUnreadable, err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxCatalogue+1))
	if err == nil && len(text) > maxCatalogue {
		err = fmt.Errorf("more than %d bytes", maxCatalogue)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errUnreadable, c.File, err)
	}
	return text, nil
}

// each sends all parts, and gathers their results and the rows refused. Its keys
// are of this run, so that a call that is repeated is done once.
func (c *GoodsImportCmd) each(ctx context.Context, parts []csvPart, all *imported,
	dry bool) error {
	run := api.NewID("imp")
	shop := newClient(c.Server, 1)
	for i, part := range parts {
		r := request{Method: http.MethodPost, Path: "/admin/v1/products:import",
			Token: c.AdminToken,
			Key:   run + "-" + strconv.Itoa(i), Body: part.text, Repeat: true}
		if dry {
			r.Path += "?dry_run=true"
		}
		var one imported
		err := shop.do(ctx, r, &one)
		var bad []rest.RowError
		if p := asProblem(err); p != nil && p.Code == api.CodeInvalid && len(p.Data) > 0 {
			err = json.Unmarshal(p.Data, &bad)
		}
		if err != nil {
			return fmt.Errorf("goods: import: %w", err)
		}
		for _, e := range bad {
			if e.Row > 1 {
				e.Row += part.skipped
			}
			all.Errors = append(all.Errors, e)
		}
		all.Products, all.SKUs, all.Rows = all.Products+one.Products, all.SKUs+one.SKUs,
			all.Rows+one.Rows
		if len(all.Errors) > 0 && !dry {
			return nil
		}
	}
	return nil
}

func (c *GoodsImportCmd) print(w io.Writer, all *imported) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(all)
	}
	var errs []error
	for _, e := range all.Errors {
		_, err := fmt.Fprintf(w, "%s:%d: %s%s\n", c.File, e.Row, column(e.Place), e.Message)
		errs = append(errs, err)
	}
	verdict := "imported"
	switch {
	case len(all.Errors) > 0:
		verdict = "nothing is imported"
	case all.DryRun:
		verdict = "all rows are good; nothing is changed"
	}
	_, err := fmt.Fprintf(w, "%s: %d rows, %d SKUs of %d products, %d errors\n", verdict, all.Rows,
		all.SKUs, all.Products, len(all.Errors))
	return errors.Join(append(errs, err)...)
}

func column(name string) string {
	if name == "" {
		return ""
	}
	return name + ": "
}

// GoodsExportCmd exports the catalogue.
type GoodsExportCmd struct {
	Remote
	Out string `help:"File to write; else standard output." placeholder:"FILE" type:"path"`
}

// Run writes the file whole or not at all.
func (c *GoodsExportCmd) Run(ctx context.Context, t *terminal) error {
	text, err := newClient(c.Server, 1).raw(ctx, &request{Method: http.MethodGet,
		Path: "/admin/v1/products:export", Token: c.AdminToken})
	if err != nil {
		return fmt.Errorf("goods: export: %w", err)
	}
	if c.Out == "" {
		_, err = t.Out.Write(text)
		return err
	}
	if err := replaceFile(c.Out, text); err != nil {
		return fmt.Errorf("goods: export: %w", err)
	}
	return nil
}

// GoodsReceiveCmd receives stock.
type GoodsReceiveCmd struct {
	Remote
	SKU      string `arg:"" help:"The SKU."`
	Quantity int64  `arg:"" help:"How many units came."`
	Reason   string `help:"Kept in the ledger." placeholder:"TEXT"`
	Key      string `help:"Idempotency key: with the same one it happens once." placeholder:"KEY"`
	JSON     bool   `name:"json" help:"Print the SKU as JSON."`
}

// Run implements the command.
func (c *GoodsReceiveCmd) Run(ctx context.Context, t *terminal) error {
	body := api.ReceiveStock{SKU: c.SKU, Quantity: c.Quantity, Reason: c.Reason}
	return changeStock(ctx, t, &c.Remote, stockChange{"receive", c.SKU, c.Key, body, c.JSON})
}

// GoodsAdjustCmd corrects stock.
type GoodsAdjustCmd struct {
	Remote
	SKU        string `arg:"" help:"The SKU."`
	Difference int64  `arg:"" help:"Units more, or with a minus less."`
	Reason     string `help:"Why; kept in the ledger." required:"" placeholder:"TEXT"`
	Key        string `help:"Idempotency key: with the same one it happens once." placeholder:"KEY"`
	JSON       bool   `name:"json" help:"Print the SKU as JSON."`
}

// Run implements the command.
func (c *GoodsAdjustCmd) Run(ctx context.Context, t *terminal) error {
	body := api.AdjustStock{SKU: c.SKU, Difference: c.Difference, Reason: c.Reason}
	return changeStock(ctx, t, &c.Remote, stockChange{"adjust", c.SKU, c.Key, body, c.JSON})
}

// stockChange is a change of the stock of a SKU.
type stockChange struct {
	what, sku, key string
	body           any
	json           bool
}

// changeStock does it once, and prints the SKU as it is then.
func changeStock(ctx context.Context, t *terminal, r *Remote, c stockChange) error {
	shop, key := newClient(r.Server, 1), or(c.key, api.NewID("cli"))
	err := shop.do(ctx, request{Method: http.MethodPost, Path: "/admin/v1/stock/" + c.what,
		Token: r.AdminToken, Key: key, Body: c.body, Repeat: true}, nil)
	if err != nil {
		return fmt.Errorf("goods: %s: %w", c.what, undecided(err, key))
	}
	var sku api.SKU
	if err := shop.do(ctx, request{Method: http.MethodGet, Repeat: true,
		Path: "/v1/skus/" + url.PathEscape(c.sku)}, &sku); err != nil {
		return fmt.Errorf("goods: %s: it is done; the SKU: %w", c.what, err)
	}
	if c.json {
		return json.NewEncoder(t.Out).Encode(&sku)
	}
	_, err = fmt.Fprintf(t.Out, "%s: %d in stock, %d of them locked\n", sku.ID, sku.Stock,
		sku.Locked)
	return err
}

// GoodsLedgerCmd lists a SKU's ledger.
type GoodsLedgerCmd struct {
	Remote
	SKU   string `arg:"" help:"The SKU."`
	Limit int    `help:"Most rows." default:"50"`
	JSON  bool   `name:"json" help:"Print a line of JSON for each row."`
}

// Validate refuses what the API would.
func (c *GoodsLedgerCmd) Validate() error { return within("limit", c.Limit, 1, api.MaxPage) }

// Run implements the command.
func (c *GoodsLedgerCmd) Run(ctx context.Context, t *terminal) error {
	q := url.Values{"sku": {c.SKU}, "limit": {strconv.Itoa(c.Limit)}}
	var list api.StockLedger
	if err := c.ask(ctx, http.MethodGet, "/stock/ledger?"+q.Encode(), nil, &list); err != nil {
		return fmt.Errorf("goods: ledger: %w", err)
	}
	if c.JSON {
		return printLines(t.Out, list.Entries)
	}
	w := tabwriter.NewWriter(t.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "AT\tKIND\tSTOCK\tLOCKED\tCAUSE\tBY\tREASON") // w keeps its error
	for _, e := range list.Entries {
		fmt.Fprintf(w, "%s\t%s\t%+d\t%+d\t%s\t%s\t%s\n", e.At.Std().UTC().Format(time.RFC3339),
			e.Kind, e.Stock, e.Locked, e.Cause, or(e.By, "-"), e.Reason)
	}
	return w.Flush()
}

// printLines prints a line of JSON for each item.
func printLines[T any](w io.Writer, items []T) error {
	enc := json.NewEncoder(w)
	for i := range items {
		if err := enc.Encode(&items[i]); err != nil {
			return err
		}
	}
	return nil
}
