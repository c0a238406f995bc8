package goods

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"ordo/actors"
	"ordo/api"
)

// Sizes of answers, in bytes of stored text.
const (
	// pageBytes ends a page of products, however few there are on it.
	pageBytes = 1 << 20
	// maxAnswer is the most that SKUs asked for by id may have.
	maxAnswer = 4 << 20
)

const skuColumns = `s.id, s.product, s.name, s.options, s.picture, s.price, s.currency,
	k.stock, k.locked, s.max_per_order, s.max_per_user, s.off_sale, s.kind, s.policy`

// skuReader collects SKUs from rows of skuColumns.
type skuReader struct {
	skus []api.SKU
	// bytes is the size of their texts.
	bytes int
}

func (c *skuReader) read(r actors.Row) error {
	var s api.SKU
	var options string
	err := r.Scan(&s.ID, &s.Product, &s.Name, &options, &s.Picture, &s.Price.Amount,
		&s.Price.Currency, &s.Stock, &s.Locked, &s.MaxPerOrder, &s.MaxPerUser, &s.OffSale,
		&s.Kind, &s.Policy)
	if err != nil {
		return err
	}
	if s.Options, err = readPairs(options); err != nil {
		return err
	}
	c.bytes += len(s.ID) + len(s.Product) + len(s.Name) + len(options) + len(s.Picture) + 200
	if c.bytes > maxAnswer {
		return api.Refuse(api.CodeTooLarge, "the answer is too large; ask for fewer SKUs")
	}
	c.skus = append(c.skus, s)
	return nil
}

// readPairs reads what pairsText wrote.
func readPairs(text string) (pairs map[string]string, err error) {
	if text == "" {
		return nil, nil
	}
	if err = json.Unmarshal([]byte(text), &pairs); err != nil {
		err = fmt.Errorf("stored pairs: %w", err)
	}
	return pairs, err
}

// getSKUs answers SKUs in the order of the ids. Row C3.
func getSKUs(v *actors.View, q *api.GetSKUs) (*api.SKUList, error) {
	if len(q.IDs) > api.MaxLines {
		return nil, api.Refuse(api.CodeTooLarge, "more than %d ids", api.MaxLines).At("ids")
	}
	c := skuReader{skus: []api.SKU{}}
	if len(q.IDs) > 0 {
		if err := v.Each(c.read, `SELECT `+skuColumns+` FROM json_each(?) j
			CROSS JOIN sku s ON s.id = j.value JOIN stock k ON k.sku = s.id ORDER BY j.key`,
			string(api.Raw(q.IDs))); err != nil {
			return nil, err
		}
	}
	return &api.SKUList{SKUs: c.skus}, nil
}

// getProduct answers a product with all its SKUs, those off sale included.
func getProduct(v *actors.View, q *api.GetProduct) (*api.Product, error) {
	p, _, err := readProduct(v.Row(`SELECT id, name, categories, attributes FROM product
		WHERE id = +?`, q.ID))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, api.Refuse(api.CodeNotFound, "there is no product %s", q.ID).At("id")
	}
	if err != nil {
		return nil, err
	}
	var c skuReader
	if err := v.Each(c.read, `SELECT `+skuColumns+` FROM sku s JOIN stock k ON k.sku = s.id
		WHERE s.product = +? ORDER BY s.id`, p.ID); err != nil {
		return nil, err
	}
	p.SKUs = c.skus
	return &p, nil
}

// readProduct reads a product without its SKUs, and the size of its texts.
func readProduct(r actors.Row) (p api.Product, bytes int, err error) {
	var categories, attributes string
	if err := r.Scan(&p.ID, &p.Name, &categories, &attributes); err != nil {
		return p, 0, err
	}
	if err := json.Unmarshal([]byte(categories), &p.Categories); err != nil {
		return p, 0, fmt.Errorf("stored categories: %w", err)
	}
	p.Attributes, err = readPairs(attributes)
	return p, len(p.ID) + len(p.Name) + len(categories) + len(attributes), err
}

func checkSearch(q *api.ListProducts) error {
	switch {
	case !isText(q.Search, maxSearch) || len(strings.Fields(q.Search)) > maxWords:
		return invalid("search", "more than %d words or %d characters", maxWords, maxSearch)
	case !isText(q.Category, maxPath):
		return invalid("category", "more than %d characters", maxPath)
	case !isText(q.Cursor, maxCode):
		return invalid("cursor", "not the cursor of a page")
	}
	return nil
}

// listProducts answers a page of products by name and category. Row C3.
func listProducts(v *actors.View, q *api.ListProducts) (*api.ProductList, error) {
	if err := checkSearch(q); err != nil {
		return nil, err
	}
	found, sizes, err := findProducts(v, q)
	if err != nil {
		return nil, err
	}
	list := &api.ProductList{Products: []api.Product{}}
	bytes := 0
	for i := range found {
		if i == q.Size() || bytes > pageBytes {
			list.Next = found[i-1].ID
			break
		}
		c := skuReader{}
		if err := v.Each(c.read, `SELECT `+skuColumns+` FROM sku s JOIN stock k ON k.sku = s.id
			WHERE s.product = +? AND NOT s.off_sale ORDER BY s.id`, found[i].ID); err != nil {
			return nil, err
		}
		found[i].SKUs = c.skus
		bytes += sizes[i] + c.bytes
		list.Products = append(list.Products, found[i])
	}
	return list, nil
}

const hasAllWords = `NOT EXISTS
	(SELECT 1 FROM json_each(?2) w WHERE instr(p.search, w.value) = 0)`

// findProducts reads one product more than the page holds, without SKUs.
func findProducts(v *actors.View, q *api.ListProducts) (all []api.Product, sizes []int, err error) {
	scan := func(r actors.Row) error {
		p, bytes, err := readProduct(r)
		all, sizes = append(all, p), append(sizes, bytes)
		return err
	}
	words := string(api.Raw(strings.Fields(strings.ToLower(q.Search))))
	if path := strings.Trim(q.Category, "/"); path != "" {
		err = v.Each(scan, `SELECT p.id, p.name, p.categories, p.attributes
			FROM category c JOIN product p ON p.id = c.product
			WHERE c.path = +?4 AND c.product > ?1 AND `+hasAllWords+`
			ORDER BY c.product LIMIT +?3`, q.Cursor, words, q.Size()+1, path)
	} else {
		err = v.Each(scan, `SELECT p.id, p.name, p.categories, p.attributes
			FROM product p WHERE p.id > ?1 AND `+hasAllWords+`
			ORDER BY p.id LIMIT +?3`, q.Cursor, words, q.Size()+1)
	}
	return all, sizes, err
}

// listCategories jumps from one path to the next of the same level: a seek a
// category, however many products and levels are below it.
func listCategories(v *actors.View, q *api.ListCategories) (*api.CategoryList, error) {
	if !isText(q.Under, maxPath) || !isText(q.Cursor, maxPath) {
		return nil, invalid("under", "more than %d characters", maxPath)
	}
	prefix := strings.Trim(q.Under, "/")
	if prefix != "" {
		prefix += "/"
	}
	from := prefix
	if strings.HasPrefix(q.Cursor, prefix) {
		from = q.Cursor + "\x01" // no path has control characters
	}
	list := &api.CategoryList{Categories: []string{}}
	for {
		var path sql.NullString
		if err := v.Row(`SELECT min(path) FROM category WHERE path >= +?`, from).
			Scan(&path); err != nil {
			return nil, err
		}
		if !path.Valid || !strings.HasPrefix(path.String, prefix) {
			return list, nil
		}
		if i := strings.IndexByte(path.String[len(prefix):], '/'); i >= 0 {
			from = path.String[:len(prefix)+i] + "0" // the character after /
			continue
		}
		if n := len(list.Categories); n == q.Size() {
			list.Next = list.Categories[n-1]
			return list, nil
		}
		list.Categories = append(list.Categories, path.String)
		from = path.String + "\x01"
	}
}

// listStockLedger follows the chain of a SKU's ledger from the newest row, or
// from the cursor. Row C7.
func listStockLedger(v *actors.View, q *api.ListStockLedger) (*api.StockLedger, error) {
	var next int64
	err := v.Row(`SELECT last FROM stock WHERE sku = +?`, q.SKU).Scan(&next)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, api.Refuse(api.CodeNotFound, "there is no such SKU").At("sku")
	}
	if err != nil {
		return nil, err
	}
	if q.Cursor != "" {
		if next, err = strconv.ParseInt(q.Cursor, 10, 64); err != nil || next <= 0 {
			return nil, invalid("cursor", "not the cursor of a page")
		}
	}
	list := &api.StockLedger{Entries: []api.StockEntry{}}
	for next > 0 && len(list.Entries) < q.Size() {
		var e api.StockEntry
		err := v.Row(`SELECT seq, prev, sku, kind, stock, locked, cause, reason, author, at
			FROM ledger
			WHERE seq = +? AND sku = +?`, next, q.SKU).
			Scan(&e.Seq, &next, &e.SKU, &e.Kind, &e.Stock, &e.Locked, &e.Cause, &e.Reason,
				&e.By, &e.At)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, invalid("cursor", "not the cursor of a page of this SKU")
		}
		if err != nil {
			return nil, err
		}
		list.Entries = append(list.Entries, e)
	}
	if next > 0 {
		list.Next = strconv.FormatInt(next, 10)
	}
	return list, nil
}
