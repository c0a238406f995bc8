// Package goods is the actor of the catalogue and its stock. It decides what
// is on sale, at which price, how many units are left, who holds them and how
// many of them one order and one user may have. It never decides what an order
// costs in the end, takes money, or knows whether an order was paid: the order
// actor tells it what to lock, release and sell.
package goods

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"ordo/actors"
	"ordo/api"
)

//go:embed schema.sql
var schema string

// migrations are the later versions of the tables.
//
//go:embed 0*.sql
var migrations embed.FS

// Spec describes the actor. Rows C1 to C7, C9 and Y9.
func Spec() *actors.Spec {
	return &actors.Spec{
		Name:        "goods",
		Version:     "1.2.0",
		Description: "Products, SKUs, prices, and stock with its ledger.",
		Schema:      schema,
		Migrations:  migrations,
		Commands: []actors.Command{
			actors.On(putProducts),
			actors.On(receiveStock),
			actors.On(adjustStock),
			actors.On(reserveStock).From("order"),
			actors.On(releaseStock).From("order"),
			actors.On(sellStock).From("order"),
			actors.On(returnStock).From("order"),
		},
		Queries: []actors.Endpoint{
			actors.Answer("SKUs with price and stock, by id.", getSKUs),
			actors.Answer("One product with its SKUs.", getProduct),
			actors.Answer("Products by name and category.", listProducts),
			actors.Answer("Categories directly below a path.", listCategories),
			actors.Answer("Changes of a SKU's stock, newest first.", listStockLedger),
		},
	}
}

// Limits of what a shop may write into its catalogue, in characters where not
// said otherwise.
const (
	maxCode       = 64
	maxName       = 200
	maxPicture    = 500
	maxReason     = 500
	maxPath       = 200
	maxDepth      = 10 // levels of a category
	maxCategories = 20
	maxAttributes = 50
	maxOptions    = 10
	maxPairName   = 50
	maxAttribute  = 500
	maxOption     = 100
	maxProducts   = 200 // products a message
	maxSKUs       = 500 // SKUs a message, and SKUs a product
	maxSearch     = 200
	maxWords      = 10
)

// want is one SKU of a reservation with all its lines together, and what is
// known of it.
type want struct {
	held
	// item is the SKU as a line of the order shows it; without product when
	// it can't be bought.
	item                          api.LineSnapshot
	left, maxPerOrder, maxPerUser int64
	// taken is what the user holds or has bought, when there is a limit.
	taken int64
}

// held is one SKU of a hold, as the hold's row keeps it.
type held struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
	// Counted is true when it counts against the limit per user.
	Counted bool `json:"counted,omitempty"`
	// Policy is the SKU's when it was reserved; it counts until the end.
	Policy string `json:"policy,omitempty"`
	// Short are the units that were gone when the order was paid; a sold hold
	// has sold the others.
	Short int64 `json:"short,omitempty"`
	// Returned are the sold units that came back, Kept those of them that did
	// not go back into the stock.
	Returned int64 `json:"returned,omitempty"`
	Kept     int64 `json:"kept,omitempty"`
	// Void are the short units that were refunded.
	Void int64 `json:"void,omitempty"`
	// Here are the refunded units of which the order says that they are here,
	// short ones included.
	Here int64 `json:"here,omitempty"`
}

// takeBack notes units that come back. Those that were short count first, which
// never were in the stock; of the others as many go there as are here. So it
// does not matter in which grouping and order refunds come.
func (h *held) takeBack(quantity int64, keep bool) (b back) {
	n := min(quantity, h.Quantity-h.Returned-h.Void)
	stocked := h.Returned - h.Kept
	h.Here = max(h.Here, stocked) // a file of before 1.1.0 has it not
	if !keep {
		h.Here += n
	}
	b.void = min(n, h.Short-h.Void)
	b.units = n - b.void
	h.Void += b.void
	h.Returned += b.units
	b.stock = max(0, min(h.Here, h.Returned)-stocked)
	h.Kept = h.Returned - stocked - b.stock
	return b
}

// back is what came back of one SKU: units that were sold, those of them that
// go into the stock, and units that were short.
type back struct{ units, stock, void int64 }

// hold is what one step of an order has reserved.
type hold struct {
	step       string
	occurrence int
	user       string
	lines      []held
}

func readHeld(text string) (lines []held, err error) {
	if err = json.Unmarshal([]byte(text), &lines); err != nil {
		err = fmt.Errorf("hold: %w", err)
	}
	return lines, err
}

// takeBack notes the units that come back, takes them off left, and answers
// them by line of the hold; nil when there are none.
func (h *hold) takeBack(left []api.ReturnLine) []back {
	at := make(map[string]int, len(h.lines))
	for i := range h.lines {
		at[h.lines[i].SKU] = i
	}
	all, found := make([]back, len(h.lines)), false
	for i := range left {
		place, ok := at[left[i].SKU]
		if !ok || left[i].Quantity <= 0 {
			continue
		}
		b := h.lines[place].takeBack(left[i].Quantity, left[i].Keep)
		left[i].Quantity -= b.units + b.void
		all[place].units += b.units
		all[place].stock += b.stock
		found = found || b != back{}
	}
	if !found {
		return nil
	}
	return all
}

// wantList are the SKUs of a reservation in the order in which the lines name
// them, and the place of each line's SKU among them.
type wantList struct {
	skus []want
	at   []int
}

// isCode tells whether s is a code of the shop's own. What JSON would write in
// more than one byte is left out, so that 2,000 of them fit into a message.
func isCode(s string) bool {
	if len(s) < 1 || len(s) > maxCode || s[0] == ' ' || s[len(s)-1] == ' ' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || strings.IndexByte(`"\<>&`, c) >= 0 {
			return false
		}
	}
	return true
}

// isText tells whether s is one line of at most limit characters.
func isText(s string, limit int) bool {
	return len(s) <= limit*utf8.UTFMax && utf8.RuneCountInString(s) <= limit &&
		utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

// isName is isText for what must not be blank.
func isName(s string, limit int) bool {
	return isText(s, limit) && strings.TrimSpace(s) != ""
}

func isCurrency(s string) bool {
	return len(s) == 3 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func isPrice(m api.Money) bool {
	return m.Amount >= 0 && m.Amount <= api.MaxAmount && isCurrency(m.Currency)
}

func isQuantity(n int64) bool { return n >= 1 && n <= api.MaxQuantity }

// isPicture tells whether s is a web address, or a path on the shop's own.
func isPicture(s string) bool {
	u, err := url.Parse(s)
	return err == nil && isText(s, maxPicture) &&
		(u.Scheme == "" || u.Scheme == "http" || u.Scheme == "https")
}

func isCategory(s string) bool {
	levels := strings.Split(s, "/")
	for _, level := range levels {
		if !isName(level, maxPath) {
			return false
		}
	}
	return len(levels) <= maxDepth && isText(s, maxPath)
}

// ancestors are the path itself and all paths above it.
func ancestors(path string) []string {
	var all []string
	for i := range len(path) {
		if path[i] == '/' {
			all = append(all, path[:i])
		}
	}
	return append(all, path)
}

func invalid(place, format string, args ...any) error {
	return api.Refuse(api.CodeInvalid, format, args...).At(place)
}

// checkProducts checks what can be checked without the database.
func checkProducts(m *api.PutProducts) error {
	if len(m.Products) == 0 {
		return invalid("products", "there are no products")
	}
	if len(m.Products) > maxProducts {
		return api.Refuse(api.CodeTooLarge, "more than %d products", maxProducts).At("products")
	}
	products, skus := map[string]bool{}, map[string]bool{}
	for i := range m.Products {
		p, at := &m.Products[i], fmt.Sprintf("products[%d]", i)
		if err := checkProduct(at, p); err != nil {
			return err
		}
		if products[p.ID] {
			return invalid(at+".id", "product %s stands in the message twice", p.ID)
		}
		products[p.ID] = true
		for j := range p.SKUs {
			if id := p.SKUs[j].ID; skus[id] {
				return invalid(fmt.Sprintf("%s.skus[%d].id", at, j),
					"SKU %s stands in the message twice", id)
			}
			skus[p.SKUs[j].ID] = true
		}
	}
	if len(skus) > maxSKUs {
		return api.Refuse(api.CodeTooLarge, "more than %d SKUs", maxSKUs).At("products")
	}
	return nil
}

func checkProduct(at string, p *api.Product) error {
	switch {
	case !isCode(p.ID):
		return invalid(at+".id", "not a code of 1 to %d plain characters", maxCode)
	case !isName(p.Name, maxName):
		return invalid(at+".name", "not a name of 1 to %d characters", maxName)
	case len(p.Categories) > maxCategories:
		return invalid(at+".categories", "more than %d categories", maxCategories)
	case !arePairs(p.Attributes, maxAttributes, maxAttribute):
		return invalid(at+".attributes", "more than %d attributes, or a name not of 1 to %d or "+
			"a value over %d characters", maxAttributes, maxPairName, maxAttribute)
	}
	for i, c := range p.Categories {
		if !isCategory(c) {
			return invalid(fmt.Sprintf("%s.categories[%d]", at, i),
				"not a path of 1 to %d names and %d characters", maxDepth, maxPath)
		}
	}
	for i := range p.SKUs {
		if err := checkSKU(fmt.Sprintf("%s.skus[%d]", at, i), p.ID, &p.SKUs[i]); err != nil {
			return err
		}
	}
	return nil
}

func checkSKU(at, product string, s *api.SKU) error {
	switch {
	case !isCode(s.ID):
		return invalid(at+".id", "not a code of 1 to %d plain characters", maxCode)
	case s.Product != "" && s.Product != product:
		return invalid(at+".product", "it stands below product %s", product)
	case !isName(s.Name, maxName):
		return invalid(at+".name", "not a name of 1 to %d characters", maxName)
	case !arePairs(s.Options, maxOptions, maxOption):
		return invalid(at+".options", "more than %d options, or a name not of 1 to %d or a "+
			"value over %d characters", maxOptions, maxPairName, maxOption)
	case !isPrice(s.Price):
		return invalid(at+".price", "not an amount of 0 to %d in a currency", api.MaxAmount)
	case !isPicture(s.Picture):
		return invalid(at+".picture", "not a web address of at most %d characters", maxPicture)
	case s.Stock < 0 || s.Stock > api.MaxStock:
		return invalid(at+".stock", "not a number of 0 to %d", api.MaxStock)
	case s.MaxPerOrder < 0 || s.MaxPerOrder > api.MaxQuantity:
		return invalid(at+".max_per_order", "not a number of 0 to %d", api.MaxQuantity)
	case s.MaxPerUser < 0 || s.MaxPerUser > api.MaxQuantity:
		return invalid(at+".max_per_user", "not a number of 0 to %d", api.MaxQuantity)
	case s.Kind != api.KindPhysical && s.Kind != api.KindDigital && s.Kind != api.KindCourse:
		return invalid(at+".kind", "not a kind of SKU")
	case s.Policy != api.PolicyOrder && s.Policy != api.PolicyPayment && s.Policy != api.PolicyNone:
		return invalid(at+".stock_policy", "not a stock policy")
	}
	return nil
}

// arePairs checks named values. The answer must not depend on the map's order.
func arePairs(pairs map[string]string, most, limit int) bool {
	for name, value := range pairs {
		if !isName(name, maxPairName) || !isText(value, limit) {
			return false
		}
	}
	return len(pairs) <= most
}

func checkLines(m *api.ReserveStock) error {
	switch {
	case !isName(m.User, maxCode):
		return invalid("user", "not the id of a user")
	case len(m.Lines) == 0:
		return invalid("lines", "there are no lines")
	case len(m.Lines) > api.MaxLines:
		return api.Refuse(api.CodeTooLarge, "more than %d lines", api.MaxLines).At("lines")
	}
	for i := range m.Lines {
		switch l := &m.Lines[i]; {
		case !isCode(l.SKU):
			return invalid(fmt.Sprintf("lines[%d].sku", i), "not the code of a SKU")
		case !isQuantity(l.Quantity):
			return invalid(fmt.Sprintf("lines[%d].quantity", i), "not a number of 1 to %d",
				api.MaxQuantity)
		case !isPrice(l.Price):
			return invalid(fmt.Sprintf("lines[%d].price", i),
				"not an amount of 0 to %d in a currency", api.MaxAmount)
		}
	}
	return nil
}

// checkWants names everything that is wrong of the first kind that applies:
// unknown, other price, over a limit, short.
func checkWants(m *api.ReserveStock, w *wantList) error {
	var unknown []string
	var limits, short []api.Shortage
	for i := range w.skus {
		s := &w.skus[i]
		if s.item.Product == "" {
			unknown = append(unknown, s.SKU)
			continue
		}
		if most, ok := s.allowed(); ok && s.Quantity > most {
			limits = append(limits, api.Shortage{SKU: s.SKU, Wanted: s.Quantity, Left: most})
		}
		if s.Policy != api.PolicyNone && s.Quantity > s.left {
			short = append(short, api.Shortage{SKU: s.SKU, Wanted: s.Quantity, Left: s.left})
		}
	}
	if unknown != nil {
		return refuse(api.CodeUnknownSKU, "%d SKUs are not on sale", len(unknown), unknown)
	}
	if changes := priceChanges(m, w); changes != nil {
		return refuse(api.CodePriceChanged, "%d prices have changed", len(changes), changes)
	}
	if limits != nil {
		return refuse(api.CodeLimitExceeded, "%d SKUs are over a purchase limit", len(limits),
			limits)
	}
	if short != nil {
		return refuse(api.CodeOutOfStock, "%d SKUs are short of stock", len(short), short)
	}
	return nil
}

func refuse(code api.Code, format string, n int, data any) error {
	return api.Refuse(code, format, n).At("lines").With(data)
}

// allowed is how many units this order may have; ok is false without a limit.
// Row C9.
func (w *want) allowed() (most int64, ok bool) {
	most = api.MaxQuantity * api.MaxLines
	if w.maxPerOrder > 0 {
		most = w.maxPerOrder
	}
	if w.maxPerUser > 0 {
		most = min(most, max(0, w.maxPerUser-w.taken))
	}
	return most, w.maxPerOrder > 0 || w.maxPerUser > 0
}

// priceChanges are the lines whose price is not what the shopper saw. Row S3.
func priceChanges(m *api.ReserveStock, w *wantList) (changes []api.PriceChange) {
	for i, l := range m.Lines {
		if now := w.skus[w.at[i]].item.Price; now != l.Price {
			changes = append(changes, api.PriceChange{SKU: l.SKU, Seen: l.Price, Now: now})
		}
	}
	return changes
}

// answerRoom is what a message needs beside the data of a step.
const answerRoom = 4 << 10

// snapshots is the JSON of the lines as they are now, an api.Reserved. It is
// made before anything is written, because many lines with long texts may be
// too much for a message.
func snapshots(m *api.ReserveStock, w *wantList) (json.RawMessage, error) {
	lines := make([]api.LineSnapshot, len(m.Lines))
	for i, l := range m.Lines {
		lines[i] = w.skus[w.at[i]].item
		lines[i].Quantity = l.Quantity
	}
	data := api.Raw(api.Reserved{Lines: lines})
	if len(data) > api.MaxMessage-answerRoom {
		return nil,
			api.Refuse(api.CodeTooLarge, "the texts of these lines are too long for one order").
				At("lines")
	}
	return data, nil
}
