package api

// MaxStock is the most units of one SKU that the house may hold.
const MaxStock = 1_000_000_000

// Product (SPU) is a searchable group of SKUs with shared attributes.
// Source: row C1.
type Product struct {
	// ID is the shop's own product code, 1 to 64 printable ASCII characters
	// other than " \ < > and &, with no space at either end.
	ID string `json:"id"`
	// Name is 1 to 200 characters.
	Name string `json:"name"`
	// Categories are paths such as Men/Tops/Jackets, at most 20, of at most 10
	// levels and 200 characters.
	Categories []string `json:"categories,omitempty"`
	// Attributes are shared by all SKUs: at most 50, names of 1 to 50 and
	// values of at most 500 characters.
	Attributes map[string]string `json:"attributes,omitempty"`
	// SKUs are at most 500, by id.
	SKUs []SKU `json:"skus,omitempty"`
}

// SKU is what an order names: one product in one choice of options.
// Source: row C2.
type SKU struct {
	// ID is the shop's own stock-keeping code, of the same form as a
	// product's, and unique in the shop.
	ID string `json:"id"`
	// Product is the id of the SPU; in PutProducts it may be left empty.
	Product string `json:"product"`
	// Name is what a line of an order shows, 1 to 200 characters.
	Name string `json:"name"`
	// Options tell this SKU from its siblings, for example size: M. At most
	// 10, names of 1 to 50 and values of at most 100 characters.
	Options map[string]string `json:"options,omitempty"`
	// Price is in minor units of the shop's currency, 0 to MaxAmount.
	Price Money `json:"price"`
	// Picture is an http or https URL or a path, at most 500 characters.
	Picture string `json:"picture,omitempty"`
	// Stock is the number of units in the house, locked ones included; 0 to
	// MaxStock.
	Stock int64 `json:"stock"`
	// Locked is the number of units held by orders that are not paid yet.
	Locked int64 `json:"locked_stock"`
	// MaxPerOrder is the most units one order may have; 0 for no limit.
	// Row C9.
	MaxPerOrder int64 `json:"max_per_order,omitempty"`
	// MaxPerUser is the most units one user may hold or have bought since the
	// SKU has such a limit; 0 for no limit.
	MaxPerUser int64 `json:"max_per_user,omitempty"`
	// OffSale hides the SKU and refuses orders for it.
	OffSale bool `json:"off_sale,omitempty"`
	// Kind is one of the Kind constants.
	Kind string `json:"kind,omitempty"`
	// Policy is one of the Policy constants. Row C6.
	Policy string `json:"stock_policy,omitempty"`
}

// Kinds of SKUs: what happens when one is paid.
const (
	// KindPhysical, the default, is shipped.
	KindPhysical = ""
	// KindDigital needs nothing to be done.
	KindDigital = "digital"
	// KindCourse enrols the user with the learning actor.
	KindCourse = "course"
)

// Stock policies of a SKU. Row C6.
const (
	// PolicyOrder, the default, locks the units when they are ordered.
	PolicyOrder = ""
	// PolicyPayment takes the units out of the stock when they are paid; who
	// pays too late is refunded.
	PolicyPayment = "payment"
	// PolicyNone keeps no stock: there are always enough, or somebody else
	// counts, as the learning actor does with seats.
	PolicyNone = "none"
)

// Available is the number of units that can still be ordered; MaxQuantity when
// no stock is kept.
func (s SKU) Available() int64 {
	if s.Policy == PolicyNone {
		return MaxQuantity
	}
	return s.Stock - s.Locked
}

// PutProducts makes or changes products and their SKUs' descriptions, prices
// and limits; all of them or none. SKUs that it does not name stay as they
// are. It never changes stock of a SKU that exists; a new SKU receives its
// Stock with a ledger row, but none when its policy is PolicyNone. What is
// reserved keeps the policy that it was reserved under. At most 200 products
// and 500 SKUs a message.
// Refusals: CodeInvalid, also for a SKU of another product, a currency other
// than the shop's and an id given twice; CodeTooLarge. From edges only.
type PutProducts struct {
	Products []Product `json:"products"`
	// By is who does it: a user id, or admin; at most MaxBy bytes.
	By string `json:"by,omitempty"`
}

// Route implements Message.
func (*PutProducts) Route() Route { return Route{"goods", "put-products"} }

// ReceiveStock adds units that came into the house. Refusals: CodeUnknownSKU,
// CodeInvalid. From edges only; the message's id keeps it from happening
// twice.
type ReceiveStock struct {
	SKU string `json:"sku"`
	// Quantity is 1 to MaxQuantity.
	Quantity int64 `json:"quantity"`
	// Reason is at most 500 characters.
	Reason string `json:"reason,omitempty"`
	// By is who does it: a user id, or admin; at most MaxBy bytes.
	By string `json:"by,omitempty"`
}

// Route implements Message.
func (*ReceiveStock) Route() Route { return Route{"goods", "receive-stock"} }

// AdjustStock corrects the stock by a difference, for example after a count.
// It is refused with CodeOutOfStock when less than the locked units would be
// left; also CodeUnknownSKU and CodeInvalid. From edges only.
type AdjustStock struct {
	SKU string `json:"sku"`
	// Difference is -MaxQuantity to MaxQuantity, not 0.
	Difference int64 `json:"difference"`
	// Reason is 1 to 500 characters.
	Reason string `json:"reason"`
	// By is who does it: a user id, or admin; at most MaxBy bytes.
	By string `json:"by,omitempty"`
}

// Route implements Message.
func (*AdjustStock) Route() Route { return Route{"goods", "adjust-stock"} }

// ReserveStock checks the prices and locks the stock of all lines, or refuses
// and names every line that is short, has another price, or is over a limit.
// Units of PolicyPayment are only checked, those of PolicyNone not even that.
// Lines of the same SKU count together. Of several things wrong the first of
// these is answered, for all lines: CodeUnknownSKU (also off sale; Data is
// []string, the SKUs), CodePriceChanged (Data []PriceChange), CodeLimitExceeded
// (Data []Shortage, Left being what this order may still have), CodeOutOfStock
// (Data []Shortage). CodeTooLarge when the lines' texts do not fit into a
// message. Rows C4, C5, C9, S3.
type ReserveStock struct {
	Step
	User  string        `json:"user"`
	Lines []ReserveLine `json:"lines"`
}

// ReserveLine is one line to lock.
type ReserveLine struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
	// Price is the unit price that the shopper saw.
	Price Money `json:"price"`
}

// Route implements Message.
func (*ReserveStock) Route() Route { return Route{"goods", "reserve"} }

// Reserved is the Data of a ReserveStock that was done: the lines in the order
// of the message, as they were at that moment.
type Reserved struct {
	Lines []LineSnapshot `json:"lines"`
}

// LineSnapshot is a line of an order with the SKU as it was when it was
// locked. Row S4.
type LineSnapshot struct {
	SKU      string            `json:"sku"`
	Product  string            `json:"product"`
	Name     string            `json:"name"`
	Options  map[string]string `json:"options,omitempty"`
	Picture  string            `json:"picture,omitempty"`
	Price    Money             `json:"price"`
	Quantity int64             `json:"quantity"`
	// Kind is the SKU's.
	Kind string `json:"kind,omitempty"`
	// Refunded is how many units refunds have reserved or given back, set by
	// the order actor.
	Refunded int64 `json:"refunded,omitempty"`
	// RefundedAmount is what these units come to, in minor units.
	RefundedAmount int64 `json:"refunded_amount,omitempty"`
	// Short and NoSeat are the units that were gone from the stock when they
	// were paid, and those for which there was no seat, set by the order actor.
	// They are refunded. Rows C6, L1.
	Short  int64 `json:"short,omitempty"`
	NoSeat int64 `json:"no_seat,omitempty"`
	// Discount is the line's part of the order's discount, in minor units,
	// set by the order actor. Row S10.
	Discount int64 `json:"discount"`
}

// Shortage is one SKU in the Data of CodeOutOfStock or CodeLimitExceeded.
type Shortage struct {
	SKU    string `json:"sku"`
	Wanted int64  `json:"wanted"`
	Left   int64  `json:"left"`
}

// PriceChange is one line in the Data of CodePriceChanged. SKU is empty for
// the order's total.
type PriceChange struct {
	SKU  string `json:"sku,omitempty"`
	Seen Money  `json:"seen"`
	Now  Money  `json:"now"`
}

// ReleaseStock unlocks what the step locked; what SellStock has sold stays
// sold. Row S8.
type ReleaseStock struct {
	Step
}

// Route implements Message.
func (*ReleaseStock) Route() Route { return Route{"goods", "release"} }

// SellStock turns the units that ReserveStock locked for the order into sold
// ones, and takes those of PolicyPayment out of the stock; what is short of
// them is in the answer's Data, a Sold. It is a step of its own, and refused
// with CodeNotFound when the order has nothing reserved, or not any more.
type SellStock struct {
	Step
}

// Route implements Message.
func (*SellStock) Route() Route { return Route{"goods", "sell"} }

// Sold is the Data of a SellStock that was done.
type Sold struct {
	// Short are the units that could not be had; they are to be refunded.
	Short []CartTake `json:"short,omitempty"`
}

// ReturnStock takes units of an order back that SellStock sold, because they
// are refunded. Units marked Keep do not go back into the stock, but do not
// count towards a limit per user any more either. More than the order has sold
// is left out, and so are units that were short: Keep is for those first. What
// MaxStock leaves no room for is kept. It is never refused. From the order
// actor. Row Y9.
type ReturnStock struct {
	Step
	Lines []ReturnLine `json:"lines"`
}

// Route implements Message.
func (*ReturnStock) Route() Route { return Route{"goods", "return"} }

// ReturnLine is how many units of a SKU come back.
type ReturnLine struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
	// Keep leaves them out of the stock.
	Keep bool `json:"keep,omitempty"`
}

// GetSKUs asks for SKUs by id, at most MaxLines; unknown ones are left out of
// the answer, which is a SKUList in the order of IDs. CodeTooLarge when it
// would be over 4 MiB.
type GetSKUs struct {
	IDs []string `json:"ids"`
}

// Endpoint implements Query.
func (*GetSKUs) Endpoint() Route { return Route{"goods", "skus"} }

// SKUList answers GetSKUs.
type SKUList struct {
	SKUs []SKU `json:"skus"`
}

// GetProduct asks for one product with all its SKUs, those off sale included;
// CodeNotFound. The answer is a Product.
type GetProduct struct {
	ID string `json:"id"`
}

// Endpoint implements Query.
func (*GetProduct) Endpoint() Route { return Route{"goods", "product"} }

// ListProducts asks for products by name and category, ordered by id. The
// answer is a ProductList without SKUs that are off sale; a page of more than
// 1 MiB ends early.
type ListProducts struct {
	Page
	// Search are words that the name must all contain, without regard to case;
	// at most 10 of them and 200 characters.
	Search string `json:"search,omitempty"`
	// Category is a path; everything below it counts as well.
	Category string `json:"category,omitempty"`
}

// Endpoint implements Query.
func (*ListProducts) Endpoint() Route { return Route{"goods", "products"} }

// ProductList answers ListProducts.
type ProductList struct {
	Products []Product `json:"items"`
	Next     string    `json:"next,omitempty"`
}

// ListCategories asks for the category paths directly below another one, in
// their order. The answer is a CategoryList.
type ListCategories struct {
	Page
	// Under is a path; empty for the first level.
	Under string `json:"under,omitempty"`
}

// Endpoint implements Query.
func (*ListCategories) Endpoint() Route { return Route{"goods", "categories"} }

// CategoryList answers ListCategories with whole paths.
type CategoryList struct {
	Categories []string `json:"items"`
	Next       string   `json:"next,omitempty"`
}

// Kinds of stock ledger rows. Row C7. Stock equals the sum of Stock, locked
// units the sum of Locked over a SKU's rows.
const (
	LedgerReceive = "receive"
	LedgerLock    = "lock"
	LedgerUnlock  = "unlock"
	LedgerSell    = "sell"
	LedgerReturn  = "return"
	LedgerAdjust  = "adjust"
)

// StockEntry is one change of a SKU's stock with its cause.
type StockEntry struct {
	Seq int64  `json:"seq"`
	SKU string `json:"sku"`
	// Kind is one of the Ledger constants.
	Kind string `json:"kind"`
	// Stock and Locked are the differences.
	Stock  int64 `json:"stock"`
	Locked int64 `json:"locked"`
	// Cause is the order, or the id of the command.
	Cause  string `json:"cause"`
	Reason string `json:"reason,omitempty"`
	// By is who had it changed; empty for an order, and before that was kept.
	By string `json:"by,omitempty"`
	At Time   `json:"at"`
}

// ListStockLedger asks for the ledger rows of a SKU, newest first;
// CodeNotFound. The answer is a StockLedger.
type ListStockLedger struct {
	Page
	SKU string `json:"sku"`
}

// Endpoint implements Query.
func (*ListStockLedger) Endpoint() Route { return Route{"goods", "ledger"} }

// StockLedger answers ListStockLedger.
type StockLedger struct {
	Entries []StockEntry `json:"items"`
	Next    string       `json:"next,omitempty"`
}
