package web

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ordo/api"
	"ordo/api/web/page"
)

// pageSize is how many items a page of a list shows.
const pageSize = "24"

// crumb is a category in the way to it.
type crumb struct{ Path, Name string }

func crumbOf(path string) crumb { return crumb{path, path[strings.LastIndexByte(path, '/')+1:]} }

// shelf is a page of the catalogue.
type shelf struct {
	Search, Category string
	// Way leads to the category, Below are those directly below it.
	Way, Below []crumb
	Products   []shelved
	// First and Next are links to other pages of the list; empty for none.
	First, Next string
}

// shelved is a product as a list shows it.
type shelved struct {
	api.Product
	// From is the least that one of its SKUs costs.
	From    api.Money
	Many    bool
	Colours []string
	Gone    bool
	Picture string
}

// browse shows the catalogue. Row C3.
func (v *visit) browse() error {
	q := v.r.URL.Query()
	p := shelf{Search: q.Get("search"), Category: strings.Trim(q.Get("category"), "/")}
	ask := url.Values{"limit": {pageSize}}
	here := url.Values{}
	for _, name := range []string{"search", "category"} {
		if q.Get(name) != "" {
			ask.Set(name, q.Get(name))
			here.Set(name, q.Get(name))
		}
	}
	if cursor := q.Get("cursor"); cursor != "" {
		ask.Set("cursor", cursor)
		p.First = page.Address("/", here)
	}
	var list api.ProductList
	if err := v.get(page.Address("/v1/products", ask), &list); err != nil {
		return err
	}
	var below api.CategoryList
	if err := v.get(page.Address("/v1/categories", url.Values{"under": {p.Category}}),
		&below); err != nil {
		return err
	}
	for i := range list.Products {
		p.Products = append(p.Products, shelve(list.Products[i]))
	}
	p.setWay(below.Categories)
	if list.Next != "" {
		here.Set("cursor", list.Next)
		p.Next = page.Address("/", here)
	}
	title := v.tongue.text("goods.title")
	if p.Category != "" {
		title = crumbOf(p.Category).Name
	}
	return v.show(http.StatusOK, view{Page: "browse", Title: title, D: p})
}

func (p *shelf) setWay(below []string) {
	for i, c := range p.Category {
		if c == '/' {
			p.Way = append(p.Way, crumbOf(p.Category[:i]))
		}
	}
	for _, path := range below {
		p.Below = append(p.Below, crumbOf(path))
	}
}

func shelve(f api.Product) shelved {
	s := shelved{Product: f, Gone: true}
	for i, k := range f.SKUs {
		if i == 0 || k.Price.Amount < s.From.Amount {
			s.Many = s.Many || i > 0
			s.From = k.Price
		}
		s.Many = s.Many || k.Price != s.From
		s.Gone = s.Gone && k.Available() < 1
		s.Picture = cmp.Or(s.Picture, k.Picture)
		for name, value := range k.Options {
			if isColour(name) && !slices.Contains(s.Colours, value) {
				s.Colours = append(s.Colours, value)
			}
		}
	}
	slices.Sort(s.Colours)
	return s
}

// offer is the page of a product.
type offer struct {
	api.Product
	Way []crumb
	// Choices are its options, when each combination of them is one SKU at
	// most; otherwise SKUs are chosen from a list.
	Choices []choice
	Variant []api.SKU
	// Chosen is the SKU that the choices lead to; nil for none.
	Chosen   *api.SKU
	Most     int64
	Quantity int64
}

// choice is an option to choose a value of.
type choice struct {
	Name   string
	Values []value
}

type value struct {
	Text    string
	Checked bool
}

// showProduct is a product with what is chosen of it.
func (v *visit) showProduct() error {
	f, err := v.product()
	if err != nil {
		return err
	}
	q := v.r.URL.Query()
	picked := picks(q)
	if sku := q.Get("sku"); sku != "" {
		picked = picksOf(f, sku)
	}
	return v.offer(http.StatusOK, f, picked, 1, nil)
}

func (v *visit) product() (f api.Product, err error) {
	err = v.get("/v1/products/"+url.PathEscape(v.r.PathValue("id")), &f)
	f.SKUs = slices.DeleteFunc(f.SKUs, func(s api.SKU) bool { return s.OffSale })
	slices.SortStableFunc(f.SKUs, compareSKUs)
	return f, err
}

// compareSKUs orders a product's SKUs by their options, as choices are.
func compareSKUs(a, b api.SKU) int {
	for _, name := range slices.Sorted(maps.Keys(a.Options)) {
		if c := compareValues(a.Options[name], b.Options[name]); c != 0 {
			return c
		}
	}
	return 0
}

func compareValues(a, b string) int {
	return cmp.Or(cmp.Compare(sizeRank(a), sizeRank(b)), cmp.Compare(a, b))
}

// pick is what is chosen: a value of each option, or a SKU by its id.
type pick struct {
	options map[string]string
	sku     string
}

// optionField begins the names of fields that choose an option.
const optionField = "o."

func picks(q url.Values) pick {
	p := pick{options: map[string]string{}, sku: q.Get("sku")}
	for name := range q {
		if option, ok := strings.CutPrefix(name, optionField); ok {
			p.options[option] = q.Get(name)
		}
	}
	return p
}

func picksOf(f api.Product, sku string) pick {
	for i := range f.SKUs {
		if f.SKUs[i].ID == sku {
			return pick{options: f.SKUs[i].Options, sku: sku}
		}
	}
	return pick{sku: sku}
}

func (v *visit) offer(status int, f api.Product, p pick, quantity int64, bad []mistake) error {
	o := offer{Product: f, Quantity: max(quantity, 1)}
	if len(f.Categories) > 0 {
		path := f.Categories[0]
		for i, c := range path + "/" {
			if c == '/' {
				o.Way = append(o.Way, crumbOf(path[:i]))
			}
		}
	}
	names, plain := optionNames(f.SKUs)
	if len(p.options) == 0 && p.sku == "" {
		p = firstPick(f.SKUs)
	}
	o.Chosen = chosen(f.SKUs, p, plain)
	if plain {
		for _, name := range names {
			o.Choices = append(o.Choices, choiceOf(f.SKUs, name, p.options[name]))
		}
	} else {
		o.Variant = f.SKUs
	}
	if k := o.Chosen; k != nil {
		o.Most = min(k.Available(), cmp.Or(k.MaxPerOrder, api.MaxQuantity))
	}
	return v.show(status, view{Page: "product", Title: f.Name, Errors: bad, D: o})
}

// optionNames are the options that all SKUs have, and whether they tell all
// SKUs apart.
func optionNames(skus []api.SKU) (names []string, plain bool) {
	if len(skus) == 0 {
		return nil, true
	}
	names = slices.Sorted(maps.Keys(skus[0].Options))
	seen := map[string]bool{}
	for i := range skus {
		if !slices.Equal(names, slices.Sorted(maps.Keys(skus[i].Options))) {
			return nil, false
		}
		key := fmt.Sprint(skus[i].Options) // maps print in the order of their keys
		if seen[key] {
			return nil, false
		}
		seen[key] = true
	}
	return names, true
}

// firstPick is the first SKU that can be had, or else the first.
func firstPick(skus []api.SKU) pick {
	for i := range skus {
		if skus[i].Available() > 0 {
			return pick{skus[i].Options, skus[i].ID}
		}
	}
	if len(skus) == 0 {
		return pick{}
	}
	return pick{skus[0].Options, skus[0].ID}
}

func chosen(skus []api.SKU, p pick, plain bool) *api.SKU {
	for i := range skus {
		if plain && maps.Equal(skus[i].Options, p.options) || !plain && skus[i].ID == p.sku {
			return &skus[i]
		}
	}
	return nil
}

func choiceOf(skus []api.SKU, name, checked string) choice {
	c := choice{Name: name}
	for i := range skus {
		text := skus[i].Options[name]
		if !slices.ContainsFunc(c.Values, func(v value) bool { return v.Text == text }) {
			c.Values = append(c.Values, value{text, text == checked})
		}
	}
	slices.SortStableFunc(c.Values, func(a, b value) int { return compareValues(a.Text, b.Text) })
	return c
}

// sizes in the order of people.
var sizes = [...]string{"XXS", "XS", "S", "M", "L", "XL", "XXL", "XXXL"}

// sizeRank orders sizes and numbers; everything else is alike.
func sizeRank(text string) int {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return slices.Index(sizes[:], text)
}

// chooseProduct is a button of the product's page. Row F1.
func (v *visit) chooseProduct() error {
	f, err := v.product()
	if err != nil {
		return err
	}
	p := picks(v.form)
	if v.value("action") == "look" {
		q := url.Values{}
		for name, value := range p.options {
			q.Set(optionField+name, value)
		}
		if p.sku != "" {
			q.Set("sku", p.sku)
		}
		return v.goTo(page.Address(v.r.URL.EscapedPath(), q))
	}
	quantity, bad := v.quantity("quantity")
	_, plain := optionNames(f.SKUs)
	sku := chosen(f.SKUs, p, plain)
	if sku == nil {
		bad = append(bad, mistake{"choice", v.tongue.text("bad.choice")})
	}
	if len(bad) > 0 {
		return v.offer(http.StatusUnprocessableEntity, f, p, quantity, bad)
	}
	if v.value("action") == "buy" {
		return v.goTo(page.Address("/checkout", url.Values{"sku": {sku.ID},
			"quantity": {strconv.FormatInt(quantity, 10)}}))
	}
	err = v.addToCart(sku.ID, quantity)
	if problem := ofForm(err); problem != nil {
		return v.offer(problem.Status, f, p, quantity, v.mistakes(problem,
			map[string]string{"sku": "choice", "lines": ""}))
	}
	if err != nil {
		return err
	}
	return v.goNoted("/cart", "added")
}

// quantity reads how many units are wanted.
func (v *visit) quantity(field string) (int64, []mistake) {
	n, err := strconv.ParseInt(v.value(field), 10, 64)
	if err != nil || n < 1 || n > api.MaxQuantity {
		return 1, []mistake{{field, v.tongue.text("bad.quantity")}}
	}
	return n, nil
}

// findSKU leads from a SKU to its product.
func (v *visit) findSKU() error {
	var sku api.SKU
	if err := v.get("/v1/skus/"+url.PathEscape(v.r.PathValue("id")), &sku); err != nil {
		return err
	}
	return v.goTo(page.Address("/products/"+url.PathEscape(sku.Product),
		url.Values{"sku": {sku.ID}}))
}

// options are a SKU's options in a line, or else its id.
func (t *tongue) options(options map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(options)) {
		all = append(all, options[name])
	}
	return strings.Join(all, ", ")
}

// pageLink is the address of something by its id.
func pageLink(kind, id string) string { return "/" + kind + "/" + url.PathEscape(id) }

// tone is one of eight colours for a product without a picture.
func tone(id string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // never fails
	return h.Sum32() % 8
}

// initial is the first letter of a name, for a product without a picture.
func initial(name string) string {
	for _, c := range name {
		return strings.ToUpper(string(c))
	}
	return ""
}

func isColour(option string) bool {
	name := strings.ToLower(option)
	return name == "color" || name == "colour" || option == "颜色"
}

// colours are those that the style sheet can show.
var colours = [...]string{"black", "blue", "brown", "gray", "green", "lavender", "multi",
	"orange", "purple", "red", "white", "yellow"}

// swatch is the class of a colour's name; empty for a name that is none.
func swatch(text string) string {
	name := strings.ToLower(text)
	if name == "grey" {
		name = "gray"
	}
	if slices.Contains(colours[:], name) {
		return "swatch c-" + name
	}
	return ""
}

// picture is the address of a picture that the policy lets a page load: one of
// the shop's own, or one over HTTPS.
func picture(address string) string {
	if strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "//") ||
		strings.HasPrefix(address, "https://") {
		return address
	}
	return ""
}
