package api

// States of a shipment. Row L3.
const (
	// ShipmentCreated: to be packed.
	ShipmentCreated = "created"
	// ShipmentShipped: with the carrier.
	ShipmentShipped = "shipped"
	// ShipmentReceived: the shopper has it, or the time to say no is over.
	ShipmentReceived = "received"
	// ShipmentCancelled: all of it was refunded before it was shipped.
	ShipmentCancelled = "cancelled"
)

// Shipment is what goes to the address of a paid order.
type Shipment struct {
	Order string `json:"order"`
	User  string `json:"user"`
	// State is one of the Shipment constants.
	State string `json:"state"`
	// Address is the order's snapshot.
	Address Address `json:"address"`
	// Lines are the units that are to be shipped or were; none when it is
	// cancelled.
	Lines []ShipLine `json:"lines"`
	// Carrier and Tracking are set when it is shipped.
	Carrier  string `json:"carrier,omitempty"`
	Tracking string `json:"tracking,omitempty"`
	Created  Time   `json:"created"`
	Shipped  Time   `json:"shipped"`
	Received Time   `json:"received"`
	// AutoReceive is when it counts as received if nobody says so.
	AutoReceive Time `json:"auto_receive"`
}

// ShipLine is how many units of a SKU are shipped.
type ShipLine struct {
	SKU  string `json:"sku"`
	Name string `json:"name"`
	// Quantity is how many are in the shipment.
	Quantity int64 `json:"quantity"`
	// Unsent is how many were left out for a refund that then failed, after the
	// rest had left: they are still to be sent, or refunded.
	Unsent int64 `json:"unsent,omitempty"`
}

// CreateShipment has a paid order's physical lines shipped; no lines make no
// shipment. It is never refused. From the order actor.
type CreateShipment struct {
	Step
	User    string     `json:"user"`
	Address Address    `json:"address"`
	Lines   []ShipLine `json:"lines"`
}

// Route implements Message.
func (*CreateShipment) Route() Route { return Route{"shipping", "create"} }

// CancelShipment takes units out of a shipment, because they are refunded.
// What is shipped stays shipped. It is never refused; the step's data is a
// Recalled. From the order actor.
type CancelShipment struct {
	Step
	Lines []RecallLine `json:"lines"`
}

// RecallLine is how many units of a SKU are refunded.
type RecallLine struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
	// Returned says that they have left and come back: they are none of those
	// that are still to be sent.
	Returned bool `json:"returned,omitempty"`
}

// Route implements Message.
func (*CancelShipment) Route() Route { return Route{"shipping", "cancel"} }

// Recalled is the data of CancelShipment: the units that had not left, which
// will not leave any more.
type Recalled struct {
	Lines []CartTake `json:"lines,omitempty"`
}

// RestoreShipment undoes CancelShipment, because the refund has failed. What
// had been taken out goes with the shipment again or, where that has left, is
// noted as Unsent. From the order actor.
type RestoreShipment struct {
	Step
	// Lines are what CancelShipment took out, with their Quantity.
	Lines []ShipLine `json:"lines"`
}

// Route implements Message.
func (*RestoreShipment) Route() Route { return Route{"shipping", "restore"} }

// Ship says that a shipment is with the carrier. Saying the same again changes
// nothing. The outcome is the Shipment. Refusals: CodeNotFound,
// CodeNotShippable, CodeInvalid. From edges only.
type Ship struct {
	Order string `json:"order"`
	// Carrier is 1 to 100 characters, Tracking 1 to 100.
	Carrier  string `json:"carrier"`
	Tracking string `json:"tracking"`
	// By is the user id of who says so, 1 to 64 characters.
	By string `json:"by"`
}

// Route implements Message.
func (*Ship) Route() Route { return Route{"shipping", "ship"} }

// Receive says that the shopper has the goods; again changes nothing. The
// outcome is the Shipment. Refusals: CodeNotFound (also another user's),
// CodeNotShippable when it has not been shipped. From edges only.
type Receive struct {
	Order string `json:"order"`
	// User is the owner; empty when support says it.
	User string `json:"user,omitempty"`
}

// Route implements Message.
func (*Receive) Route() Route { return Route{"shipping", "receive"} }

// CodeNotShippable: the shipment is in a state that does not allow it.
const CodeNotShippable Code = "not_shippable"

// ConfigureShipping sets the rules of the shipping actor; they count for what
// is shipped afterwards. From edges only.
type ConfigureShipping struct {
	// AutoReceiveSeconds is how long after it was shipped a shipment counts as
	// received, one second to a year.
	AutoReceiveSeconds int64 `json:"auto_receive_seconds"`
}

// Route implements Message.
func (*ConfigureShipping) Route() Route { return Route{"shipping", "configure"} }

// GetShipment asks for an order's shipment; CodeNotFound. The answer is a
// Shipment.
type GetShipment struct {
	Order string `json:"order"`
	// User, when not empty, must be the owner.
	User string `json:"user,omitempty"`
}

// Endpoint implements Query.
func (*GetShipment) Endpoint() Route { return Route{"shipping", "shipment"} }

// ListShipments asks for shipments in the order of their making. The answer
// is a ShipmentList, which may hold fewer shipments than asked for, and still
// have a Next, when they are large.
type ListShipments struct {
	Page
	// State narrows the list when not empty.
	State string `json:"state,omitempty"`
	// Unsent narrows it to those that have units which are still to be sent.
	Unsent bool `json:"unsent,omitempty"`
}

// Endpoint implements Query.
func (*ListShipments) Endpoint() Route { return Route{"shipping", "shipments"} }

// ShipmentList answers ListShipments.
type ShipmentList struct {
	Shipments []Shipment `json:"items"`
	Next      string     `json:"next,omitempty"`
}

// Events of shipping; Data is the Shipment without its address, and without
// its lines where they are too large for a message.
const (
	EventShipmentCreated   = "shipping.created"
	EventShipmentShipped   = "shipping.shipped"
	EventShipmentReceived  = "shipping.received"
	EventShipmentCancelled = "shipping.cancelled"
)

// ShipmentFact is the Data of events about shipments: a shipment without its
// address, which is nobody's business in the journal.
type ShipmentFact struct {
	Shipment
	// Address hides that of the shipment and is never set.
	Address *Address `json:"address,omitempty"`
}
