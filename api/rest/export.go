package rest

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ordo/api"
)

// maxExport is the most products of an export.
const maxExport = 100_000

// exported answers a CSV file.
type exported struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

// exportProducts writes what is on sale in the form that an import reads, with
// the stock as it is. Row C8.
func (s *Server) exportProducts(ctx context.Context, _ *none) (*exported, error) {
	var all []api.Product
	for cursor := ""; ; {
		var list api.ProductList
		if err := s.Edge.Ask(ctx, &api.ListProducts{
			Page: api.Page{Cursor: cursor, Limit: api.MaxPage}}, &list); err != nil {
			return nil, err
		}
		all = append(all, list.Products...)
		if cursor = list.Next; cursor == "" {
			break
		}
		if len(all) > maxExport {
			return nil, api.Refuse(api.CodeTooLarge, "more than %d products", maxExport)
		}
	}
	var b bytes.Buffer
	if err := writeCSV(&b, all); err != nil {
		return nil, err
	}
	return &exported{"text/csv; charset=utf-8", b.Bytes()}, nil
}

func writeCSV(out io.Writer, products []api.Product) error {
	optionNames, attributeNames := namesOf(products)
	header := append(slices.Clone(needed[:]), optional[:]...)
	for _, name := range optionNames {
		header = append(header, "option:"+name)
	}
	for _, name := range attributeNames {
		header = append(header, "attribute:"+name)
	}
	w := csv.NewWriter(out)
	rows := [][]string{header}
	for _, p := range products {
		for _, sku := range p.SKUs {
			row := exportRow(&p, &sku)
			for _, name := range optionNames {
				row = append(row, sku.Options[name])
			}
			for _, name := range attributeNames {
				row = append(row, p.Attributes[name])
			}
			rows = append(rows, row)
		}
	}
	if err := w.WriteAll(rows); err != nil {
		return fmt.Errorf("rest: export: %w", err)
	}
	return nil
}

// namesOf are the names of all options and attributes of products, sorted.
func namesOf(products []api.Product) (options, attributes []string) {
	ofSKUs, ofProducts := map[string]bool{}, map[string]bool{}
	for _, p := range products {
		for name := range p.Attributes {
			ofProducts[name] = true
		}
		for _, sku := range p.SKUs {
			for name := range sku.Options {
				ofSKUs[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(ofSKUs)), slices.Sorted(maps.Keys(ofProducts))
}

// exportRow has the columns of needed and optional, in their order.
func exportRow(p *api.Product, sku *api.SKU) []string {
	price := strings.TrimSuffix(sku.Price.String(), " "+sku.Price.Currency)
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	return []string{sku.ID, p.ID, sku.Name, price, p.Name, number(sku.Stock),
		strings.Join(p.Categories, "|"), sku.Picture, number(sku.MaxPerOrder),
		number(sku.MaxPerUser), sku.Kind, sku.Policy}
}
