package rest

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ordo/api"
)

// Limits of an import, in the sizes of messages that it makes.
const (
	maxBatchProducts = 200
	maxBatchSKUs     = 500
	maxBatchBytes    = api.MaxMessage - 32<<10
	maxRowErrors     = 100
)

func (s *Server) importRoutes() {
	op := s.op("import-products", "POST /admin/v1/products:import", admins,
		"Make or change products from CSV, if all rows are good")
	op.MaxBodyBytes = MaxImport + 1
	op.Description = "Columns: sku, spu, name, price, and optionally product_name, stock, " +
		"categories (separated by |), picture, max_per_order, max_per_user, kind (digital, " +
		"course), " +
		"stock_policy (payment, none), and option:NAME and " +
		"attribute:NAME. Stock counts for SKUs that are new."
	route(s, op, s.importProducts)
	route(s, s.op("export-products", "GET /admin/v1/products:export", admins,
		"What is on sale, as CSV that can be imported"), s.exportProducts)
}

type importInput struct {
	Idempotent
	DryRun  bool   `query:"dry_run" doc:"Check all rows and change nothing."`
	RawBody []byte `contentType:"text/csv"`
}

// imported says what an import brought.
type imported struct {
	Products int `json:"products"`
	SKUs     int `json:"skus"`
	Rows     int `json:"rows"`
}

// RowError is one bad row in the Data of a refused import. Row C8.
type RowError struct {
	// Row is the line's number in the file; the header is row 1.
	Row int `json:"row"`
	// Place is the column.
	Place   string `json:"place,omitempty"`
	Message string `json:"message"`
}

// importProducts checks all rows before it sends any. The messages are told
// apart by their number, so that a repeat with the same key sends the same.
func (s *Server) importProducts(ctx context.Context, in *importInput) (
	*answer[imported], error) {
	t, err := readProducts(bytes.NewReader(in.RawBody), s.Currency)
	if err != nil {
		return nil, err
	}
	if err := s.checkOwners(ctx, t.list, t.skus, "sku"); err != nil {
		return nil, err
	}
	if in.DryRun {
		out := imported{Rows: t.rows, Products: len(t.list), SKUs: len(t.skus)}
		return &answer[imported]{out}, nil
	}
	id, out := in.messageID(ctx, "import"), imported{Rows: t.rows}
	for n, batch := range batches(t.list) {
		if err := s.do(ctx, id+"-"+strconv.Itoa(n), &api.PutProducts{Products: batch},
			nil); err != nil {
			if refusal := api.AsError(err); refusal != nil && n > 0 {
				refusal.Message += fmt.Sprintf(" (after %d products were imported)", out.Products)
			}
			return nil, err
		}
		out.Products += len(batch)
		for _, p := range batch {
			out.SKUs += len(p.SKUs)
		}
	}
	return &answer[imported]{out}, nil
}

// checkOwners refuses SKUs that belong to another product already, which only
// goods knows, before anything is sent; rows has their rows in the file.
func (s *Server) checkOwners(ctx context.Context, products []api.Product, rows map[string]int,
	column string) error {
	owner := map[string]string{}
	var ids []string
	for i := range products {
		for j := range products[i].SKUs {
			id := products[i].SKUs[j].ID
			owner[id], ids = products[i].ID, append(ids, id)
		}
	}
	var bad []RowError
	for part := range slices.Chunk(ids, maxBatchSKUs) {
		var known api.SKUList
		if err := s.Edge.Ask(ctx, &api.GetSKUs{IDs: part}, &known); err != nil {
			return err
		}
		for i := range known.SKUs {
			if sku := &known.SKUs[i]; sku.Product != owner[sku.ID] && len(bad) < maxRowErrors {
				bad = append(bad, RowError{rows[sku.ID], column,
					fmt.Sprintf("SKU %s belongs to product %s", sku.ID, sku.Product)})
			}
		}
	}
	return refuseRows(bad)
}

// refuseRows is the refusal of a file with bad rows, nil when there are none.
func refuseRows(bad []RowError) error {
	if len(bad) == 0 {
		return nil
	}
	e := bad[0]
	return api.Refuse(api.CodeInvalid, "row %d: %s", e.Row, e.Message).
		At(strings.TrimSuffix(fmt.Sprintf("rows[%d].%s", e.Row, e.Place), ".")).With(bad)
}

// batches cuts products into lists that fit a message.
func batches(products []api.Product) [][]api.Product {
	var all [][]api.Product
	start, skus, size := 0, 0, 0
	for i, p := range products {
		n := len(api.Raw(p)) + 1
		if i > start && (i-start == maxBatchProducts || skus+len(p.SKUs) > maxBatchSKUs ||
			size+n > maxBatchBytes) {
			all = append(all, products[start:i])
			start, skus, size = i, 0, 0
		}
		skus += len(p.SKUs)
		size += n
	}
	if start < len(products) {
		all = append(all, products[start:])
	}
	return all
}

// ParseCSV reads products from CSV, in the order in which they first come, and
// the number of rows. Prices are decimal numbers of the currency. When any row
// is bad it refuses with CodeInvalid, with up to 100 RowErrors in Data.
func ParseCSV(r io.Reader, currency string) ([]api.Product, int, error) {
	t, err := readProducts(r, currency)
	if err != nil {
		return nil, 0, err
	}
	return t.list, t.rows, nil
}

// readProducts is ParseCSV with the rows where everything stands.
func readProducts(r io.Reader, currency string) (*table, error) {
	t := &table{currency: currency, skus: map[string]int{}, products: map[string]int{}}
	in := csv.NewReader(r)
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil {
		return nil, api.Refuse(api.CodeInvalid, "the first row names the columns: %v", err)
	}
	t.readHeader(header)
	for len(t.errors) < maxRowErrors && t.columns != nil {
		rec, err := in.Read()
		if err == io.EOF {
			break
		}
		t.row, _ = in.FieldPos(0)
		var bad *csv.ParseError
		if errors.As(err, &bad) {
			t.row = bad.Line
			t.refuse("", "%v", bad.Err)
			if !errors.Is(bad.Err, csv.ErrFieldCount) {
				break // what follows can't be told apart
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		t.rows++
		t.readRow(rec)
	}
	t.checkProducts()
	return t, refuseRows(t.errors)
}

// table is a CSV file being read.
type table struct {
	currency string
	columns  []string
	row      int // line in the file
	rows     int
	list     []api.Product
	first    []int          // by product: the row where it begins
	products map[string]int // by id: place in list
	skus     map[string]int // by id: row
	errors   []RowError
}

func (t *table) refuse(place, format string, args ...any) {
	if len(t.errors) < maxRowErrors {
		t.errors = append(t.errors, RowError{t.row, place, fmt.Sprintf(format, args...)})
	}
}

var needed = [...]string{"sku", "spu", "name", "price"}

var optional = [...]string{"product_name", "stock", "categories", "picture", "max_per_order",
	"max_per_user", "kind", "stock_policy"}

func (t *table) readHeader(header []string) {
	t.row = 1
	columns, options := make([]string, len(header)), 0
	for i, name := range header {
		name = strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))
		if strings.HasPrefix(name, "option:") {
			options++
		}
		switch {
		case slices.Contains(columns[:i], name):
			t.refuse(name, "the column comes twice")
		case !isColumn(name):
			t.refuse(name, "%q is not a column", name)
		}
		columns[i] = name
	}
	if options > 10 {
		t.refuse("", "a SKU has at most 10 options")
	}
	for _, name := range needed {
		if !slices.Contains(columns, name) {
			t.refuse(name, "the column is missing")
		}
	}
	if len(t.errors) == 0 {
		t.columns = columns
	}
}

// isColumn tells whether a catalogue may have a column of that name.
func isColumn(name string) bool {
	prefix, more, _ := strings.Cut(name, ":")
	named := (prefix == "option" || prefix == "attribute") && api.IsName(more, api.MaxDetailName)
	return named || slices.Contains(needed[:], name) || slices.Contains(optional[:], name)
}

// readRow adds a row's SKU to its product.
func (t *table) readRow(rec []string) {
	p, sku := api.Product{}, api.SKU{}
	for i, text := range rec {
		// The record's memory is used again for the next row.
		t.readField(&p, &sku, t.columns[i], strings.Clone(strings.TrimSpace(text)))
	}
	if before, ok := t.skus[sku.ID]; ok {
		t.refuse("sku", "the SKU stands in row %d as well", before)
		return
	}
	t.skus[sku.ID] = t.row
	i, ok := t.products[p.ID]
	if !ok {
		i = len(t.list)
		t.products[p.ID] = i
		t.list, t.first = append(t.list, p), append(t.first, t.row)
	}
	t.merge(&t.list[i], &p)
	sku.Product = p.ID
	t.list[i].SKUs = append(t.list[i].SKUs, sku)
}

// merge takes what a later row says about the product, which must not differ
// from what an earlier one said.
func (t *table) merge(known, p *api.Product) {
	if known.Name == "" {
		known.Name = p.Name
	}
	if p.Name != "" && p.Name != known.Name {
		t.refuse("product_name", "an earlier row calls the product %q", known.Name)
	}
	for _, c := range p.Categories {
		if !slices.Contains(known.Categories, c) {
			known.Categories = append(known.Categories, c)
		}
	}
	for name, v := range p.Attributes {
		if old, ok := known.Attributes[name]; ok && old != v {
			t.refuse("attribute:"+name, "an earlier row has %q for the product", old)
			continue
		}
		if known.Attributes == nil {
			known.Attributes = map[string]string{}
		}
		known.Attributes[name] = v
	}
}

func (t *table) readField(p *api.Product, sku *api.SKU, column, text string) {
	switch column {
	case "sku":
		sku.ID = t.code(column, text)
	case "spu":
		p.ID = t.code(column, text)
	case "name":
		sku.Name = t.text(column, text, 1, 200)
	case "product_name":
		p.Name = t.text(column, text, 0, 200)
	case "price":
		sku.Price = t.price(text)
	case "stock":
		sku.Stock = t.number(column, text, api.MaxStock)
	case "max_per_order":
		sku.MaxPerOrder = t.number(column, text, api.MaxQuantity)
	case "max_per_user":
		sku.MaxPerUser = t.number(column, text, api.MaxQuantity)
	case "kind":
		sku.Kind = t.oneOf(column, text, api.KindPhysical, api.KindDigital, api.KindCourse)
	case "stock_policy":
		sku.Policy = t.oneOf(column, text, api.PolicyOrder, api.PolicyPayment, api.PolicyNone)
	case "categories":
		p.Categories = t.categories(text)
	case "picture":
		sku.Picture = t.picture(text)
	default:
		t.named(p, sku, column, text)
	}
}

// named reads the columns that carry a name of the shop's own.
func (t *table) named(p *api.Product, sku *api.SKU, column, text string) {
	if text == "" {
		return
	}
	kind, name, _ := strings.Cut(column, ":")
	m, most := &p.Attributes, 500
	if kind == "option" {
		m, most = &sku.Options, 100
	}
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[name] = t.text(column, text, 1, most)
}

func (t *table) text(column, s string, least, most int) string {
	if len(s) < least || !api.IsText(s, most) {
		t.refuse(column, "it is one line of %d to %d characters", least, most)
	}
	return s
}

// code reads a code of the shop's own, as goods allows it.
func (t *table) code(column, s string) string {
	if !api.IsCode(s) {
		t.refuse(column, `it is 1 to 64 plain characters without " \ < > and &`)
	}
	return s
}

func (t *table) price(s string) api.Money {
	m, err := api.ParseMoney(s, t.currency)
	if err != nil {
		t.refuse("price", "%s", api.AsError(err).Message)
	} else if m.Amount < 0 {
		t.refuse("price", "it is below 0")
	}
	return m
}

func (t *table) number(column, s string, most int64) int64 {
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > most {
		t.refuse(column, "it is a whole number from 0 to %d", most)
	}
	return n
}

// oneOf reads a word of a list, of which the first one is empty.
func (t *table) oneOf(column, s string, words ...string) string {
	if !slices.Contains(words, s) {
		t.refuse(column, "it is empty or one of %s", strings.Join(words[1:], ", "))
	}
	return s
}

func (t *table) categories(s string) []string {
	var all []string
	for c := range strings.SplitSeq(s, "|") {
		if c = strings.TrimSpace(c); c != "" {
			levels := strings.Split(c, "/")
			if len(levels) > 10 || slices.ContainsFunc(levels, isBlank) {
				t.refuse("categories", "%q is not a path of 1 to 10 names", c)
			}
			all = append(all, t.text("categories", c, 1, 200))
		}
	}
	return all
}

func isBlank(s string) bool { return strings.TrimSpace(s) == "" }

func (t *table) picture(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https" {
		t.refuse("picture", "it is not a web address")
	}
	return t.text("picture", s, 0, 500)
}

// checkProducts checks what only all rows of a product show together.
func (t *table) checkProducts() {
	for i := range t.list {
		p := &t.list[i]
		t.row = t.first[i]
		if p.Name == "" {
			p.Name = p.SKUs[0].Name
		}
		switch {
		case len(p.SKUs) > maxBatchSKUs:
			t.refuse("spu", "a product has at most %d SKUs", maxBatchSKUs)
		case len(p.Categories) > 20:
			t.refuse("categories", "a product has at most 20 categories")
		case len(p.Attributes) > 50:
			t.refuse("", "a product has at most 50 attributes")
		case len(api.Raw(p)) > maxBatchBytes:
			t.refuse("spu", "the product with its SKUs has more than %d bytes", maxBatchBytes)
		}
	}
}
