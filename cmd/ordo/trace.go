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
	"strconv"
	"strings"

	"ordo/api"
)

// Reasons why a row of a trace is not bought. The counts of a replay's skips
// are rows, and together with the rows bought they are all rows looked at.
const (
	skipCancellation = "cancellation" // kind C
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
	// rows is how many rows of the file the lines stand for.
	rows int
}

type invoiceLine struct {
	SKU      string
	Quantity int64
}

// trace is what a replay does.
type trace struct {
	// Invoices are in the order of the file.
	Invoices []invoice
	// Empty counts the sale invoices of which nothing can be bought.
	Empty int
	// Skips counts the rows not bought by reason.
	Skips map[string]int
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
	first, err := c.Read()
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	header := slices.Clone(first)
	header[0] = strings.TrimPrefix(header[0], "\ufeff")
	for _, name := range columns {
		if !slices.Contains(header, name) {
			return fmt.Errorf("there is no column %q", name)
		}
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
	sale  bool
	total int
	skips map[string]int
}

// readTrace reads the first limit sale invoices of a trace, or all with limit
// 0. Rows of one SKU in an invoice are merged.
func readTrace(r io.Reader, goods catalog, limit int) (*trace, error) {
	var order []*bill
	bills := map[string]*bill{}
	columns := []string{"inv", "ts", "sku", "qty", "price", "cust", "country", "kind"}
	err := table(r, columns, func(row map[string]string) {
		b, ok := bills[row["inv"]]
		if !ok {
			b = &bill{invoice: invoice{No: row["inv"], At: row["ts"], Customer: row["cust"],
				Country: row["country"]}, skips: map[string]int{}}
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
	t := &trace{Skips: map[string]int{}}
	for _, b := range order {
		if limit > 0 && len(t.Invoices) == limit {
			break
		}
		t.Rows += b.total
		for reason, n := range b.skips {
			t.Skips[reason] += n
		}
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
	if row != nil && row["kind"] == "S" {
		b.sale = true
	}
	quantity, reason := saleOf(row, goods)
	if reason != "" {
		b.skips[reason]++
		return
	}
	sku := strings.ToUpper(row["sku"])
	for i := range b.Lines {
		if b.Lines[i].SKU != sku {
			continue
		}
		if b.Lines[i].Quantity+quantity > api.MaxQuantity {
			b.skips[skipQuantity]++
			return
		}
		b.Lines[i].Quantity += quantity
		b.rows++
		return
	}
	b.Lines = append(b.Lines, invoiceLine{sku, quantity})
	b.rows++
}

// saleOf is the quantity a row sells, or the reason why it can't be bought.
func saleOf(row map[string]string, goods catalog) (quantity int64, reason string) {
	if row == nil {
		return 0, skipBadRow
	}
	switch row["kind"] {
	case "S":
	case "C":
		return 0, skipCancellation
	case "J":
		return 0, skipWriteOff
	case "Z":
		return 0, skipZeroPrice
	case "D":
		return 0, skipBadDebt
	default:
		return 0, skipBadRow
	}
	price, ok := new(big.Rat).SetString(row["price"])
	quantity, err := strconv.ParseInt(row["qty"], 10, 64)
	sku, known := goods[strings.ToUpper(row["sku"])]
	switch {
	case !ok || err != nil:
		return 0, skipBadRow
	case price.Sign() <= 0:
		return 0, skipZeroPrice
	case quantity < 1 || quantity > api.MaxQuantity:
		return 0, skipQuantity
	case !known:
		return 0, skipUnknownSKU
	case sku.Price.Amount == 0:
		return 0, skipNoPrice
	}
	return quantity, ""
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
