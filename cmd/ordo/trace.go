package main

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"

	"ordo/api"
)

// Reasons why a row of a trace is not bought, or a cancellation not refunded.
// The counts of a replay's skips are rows, and together with the rows bought and
// refunded they are all rows looked at.
const (
	skipCancellation = "cancellation" // kind C, when nothing is paid
	skipWriteOff     = "write_off"    // kind J, stock thrown away
	skipZeroPrice    = "zero_price"   // kind Z, or a sale for nothing
	skipBadDebt      = "bad_debt"     // kind D
	skipUnknownSKU   = "unknown_sku"  // not in the catalogue
	skipNoPrice      = "no_price"     // the catalogue's price is less than a minor unit, or none
	skipQuantity     = "bad_quantity" // a sale of none, fewer, or more than a line may have
	skipBadRow       = "bad_row"      // the row can't be read
)

// catalogRow is one SKU of the trace's catalogue.
type catalogRow struct {
	SKU, Product, Name, ProductName, Variant, Type string
	// Price is 0 when the SKU can't be sold.
	Price api.Money
}

// catalog holds the rows by upper-case SKU.
type catalog map[string]catalogRow

// invoice is one sale of the trace: what a customer bought at a moment.
type invoice struct {
	No, At, Customer, Country string
	// Lines have different SKUs, in the order of their first row.
	Lines []invoiceLine
	// Amount is what the lines come to by the trace's own prices, in minor units.
	Amount int64
	// rows is how many rows of the file the lines stand for.
	rows int
}

type invoiceLine struct {
	SKU      string
	Quantity int64
}

// cancelRow is a row of kind C: units of an earlier invoice that came back.
type cancelRow struct {
	// No is the number of the cancellation, Ref the earlier invoice's.
	No, At, Ref, SKU string
	Quantity         int64
	// Amount is what they come to by the trace's own prices, in minor units.
	Amount int64
	// key is of the refund that it becomes.
	key string
}

// trace is what a replay does.
type trace struct {
	// Invoices are in the order of the file, and so are Cancels.
	Invoices []invoice
	Cancels  []cancelRow
	// Empty counts the sale invoices of which nothing can be bought.
	Empty int
	// Skips are the rows that are neither in Invoices nor in Cancels.
	Skips skips
	// Rows is how many rows were looked at.
	Rows int
}

// table reads a CSV file, gzipped or not, by the names of its columns. Every
// row is given to each, or nil where it can't be read.
func table(r io.Reader, columns []string, each func(row map[string]string)) error {
	plain, err := unzip(r)
	if err != nil {
		return err
	}
	c := csv.NewReader(plain)
	c.FieldsPerRecord, c.ReuseRecord = -1, true
	header, err := headerOf(c, columns)
	if err != nil {
		return err
	}
	for {
		fields, err := c.Read()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, csv.ErrQuote), errors.Is(err, csv.ErrBareQuote),
			err == nil && len(fields) != len(header):
			each(nil)
			continue
		case err != nil:
			return err
		}
		row := make(map[string]string, len(header))
		for i, name := range header {
			row[name] = fields[i]
		}
		each(row)
	}
}

// headerOf reads the names of a file's columns, among which some must be.
func headerOf(c *csv.Reader, columns []string) ([]string, error) {
	first, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	header := slices.Clone(first)
	header[0] = strings.TrimPrefix(header[0], "\ufeff")
	for _, name := range columns {
		if !slices.Contains(header, name) {
			return nil, fmt.Errorf("there is no column %q", name)
		}
	}
	return header, nil
}

func unzip(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	if magic, err := b.Peek(2); err != nil || magic[0] != 0x1f || magic[1] != 0x8b {
		return b, nil
	}
	return gzip.NewReader(b)
}

// readCatalog reads the catalogue of a trace.
func readCatalog(r io.Reader, currency string) (catalog, error) {
	c := catalog{}
	err := table(r, []string{"spu", "sku", "name", "price"}, func(row map[string]string) {
		sku := strings.ToUpper(row["sku"])
		if sku == "" {
			return
		}
		price, err := api.ParseMoney(row["price"], currency)
		if err != nil || price.Amount <= 0 {
			price = api.Money{Currency: currency}
		}
		c[sku] = catalogRow{SKU: sku, Product: or(row["spu"], sku), Name: or(row["name"], sku),
			ProductName: or(row["spu_name"], row["name"]), Variant: row["variant"],
			Type: or(row["type"], "goods"), Price: price}
	})
	if err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	return c, nil
}

func or(s, other string) string {
	if s = strings.TrimSpace(s); s != "" {
		return s
	}
	return strings.TrimSpace(other)
}

// bill is an invoice while its rows are being gathered.
type bill struct {
	invoice
	cancels []cancelRow
	sale    bool
	total   int
	skips   skips
}

// readTrace reads the first limit sale invoices of a trace and the cancellations
// before them, or all with limit 0. Rows of one SKU in an invoice are merged.
func readTrace(r io.Reader, goods catalog, limit int) (*trace, error) {
	var order []*bill
	bills := map[string]*bill{}
	columns := []string{"inv", "ts", "sku", "qty", "price", "cust", "country", "kind"}
	err := table(r, columns, func(row map[string]string) {
		b, ok := bills[row["inv"]]
		if !ok {
			b = &bill{invoice: invoice{No: row["inv"], At: row["ts"], Customer: row["cust"],
				Country: row["country"]}}
			bills[b.No] = b
			order = append(order, b)
		}
		b.add(row, goods)
	})
	if err != nil {
		return nil, fmt.Errorf("orders: %w", err)
	}
	return gather(order, limit), nil
}

func gather(order []*bill, limit int) *trace {
	t := &trace{}
	for _, b := range order {
		if limit > 0 && len(t.Invoices) == limit {
			break
		}
		t.Rows += b.total
		t.Skips.join(&b.skips)
		t.Cancels = append(t.Cancels, b.cancels...)
		switch {
		case len(b.Lines) > 0:
			t.Invoices = append(t.Invoices, b.invoice)
		case b.sale:
			t.Empty++
		}
	}
	return t
}

// add takes a row into the invoice, or counts why not.
func (b *bill) add(row map[string]string, goods catalog) {
	b.total++
	w, ok := readWorth(row, goods.digits())
	if row != nil && row["kind"] == kindCancel {
		b.cancel(row, w, ok)
		return
	}
	sale := row != nil && row["kind"] == kindSale
	b.sale = b.sale || sale
	reason := saleProblem(row, w, ok, goods)
	if reason == "" && !b.buy(strings.ToUpper(row["sku"]), w) {
		reason = skipQuantity
	}
	if reason != "" {
		b.skips.add(reason, w.amount)
		if sale {
			b.skips.Sales += w.amount
		}
	}
}

// buy adds units to the line of a SKU; false when they would be too many.
func (b *bill) buy(sku string, w worth) bool {
	i := slices.IndexFunc(b.Lines, func(l invoiceLine) bool { return l.SKU == sku })
	if i < 0 {
		i = len(b.Lines)
		b.Lines = append(b.Lines, invoiceLine{SKU: sku})
	}
	if b.Lines[i].Quantity+w.quantity > api.MaxQuantity {
		return false
	}
	b.Lines[i].Quantity += w.quantity
	b.Amount += w.amount
	b.rows++
	return true
}

// cancel takes a row of kind C, or counts why it can't be refunded.
func (b *bill) cancel(row map[string]string, w worth, ok bool) {
	reason := ""
	switch {
	case !ok:
		reason = skipBadRow
	case w.price.Sign() <= 0:
		reason = skipZeroPrice
	case w.quantity > -1 || w.quantity < -api.MaxQuantity:
		reason = skipQuantity
	case row["ref"] == "":
		reason = skipNoRef
	}
	if reason != "" {
		b.skips.add(reason, w.amount)
		b.skips.Refunds -= w.amount
		return
	}
	b.cancels = append(b.cancels, cancelRow{No: b.No, At: row["ts"], Ref: row["ref"],
		SKU: strings.ToUpper(row["sku"]), Quantity: -w.quantity, Amount: -w.amount})
}

// noSale are the reasons why rows of other kinds are left out.
var noSale = map[string]string{"J": skipWriteOff, "Z": skipZeroPrice, "D": skipBadDebt}

// saleProblem is the reason why a row can't be bought; empty when it can.
func saleProblem(row map[string]string, w worth, ok bool, goods catalog) string {
	if row == nil {
		return skipBadRow
	}
	if kind := row["kind"]; kind != kindSale {
		return or(noSale[kind], skipBadRow)
	}
	sku, known := goods[strings.ToUpper(row["sku"])]
	switch {
	case !ok:
		return skipBadRow
	case w.price.Sign() <= 0:
		return skipZeroPrice
	case w.quantity < 1 || w.quantity > api.MaxQuantity:
		return skipQuantity
	case !known:
		return skipUnknownSKU
	case sku.Price.Amount == 0:
		return skipNoPrice
	}
	return ""
}

// stock is how many units of each SKU to seed: the units that the invoices
// want times factor, rounded down.
func (t *trace) stock(factor *big.Rat) map[string]int64 {
	units := map[string]int64{}
	for i := range t.Invoices {
		for _, l := range t.Invoices[i].Lines {
			units[l.SKU] += l.Quantity
		}
	}
	for sku, n := range units {
		share := new(big.Rat).Mul(factor, new(big.Rat).SetInt64(n))
		units[sku] = new(big.Int).Div(share.Num(), share.Denom()).Int64()
	}
	return units
}

// parseFactor reads a stock factor from 0 to 1000, exactly as it is written.
func parseFactor(s string) (*big.Rat, error) {
	f, ok := new(big.Rat).SetString(s)
	if !ok || f.Sign() < 0 || f.Cmp(big.NewRat(1000, 1)) > 0 {
		return nil, fmt.Errorf("the stock factor is a number from 0 to 1000, not %q", s)
	}
	return f, nil
}
