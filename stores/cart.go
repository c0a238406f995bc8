package stores

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
)

// Limits of carts and of changing them.
const (
	// MaxCartOps is how many operation ids a cart remembers.
	MaxCartOps = 64
	// maxTries is how often a compare-and-set is tried.
	maxTries = 200
	// maxPause is the longest pause between two tries.
	maxPause = 20 * time.Millisecond
	// maxOwner is the longest id of a cart's owner, in bytes.
	maxOwner = 64
	// maxSKU is the longest id of a SKU, in bytes.
	maxSKU = 64
)

// Prefixes of the ids of carts' owners.
const (
	// PrefixGuest begins the id of a shopper who is not logged in.
	PrefixGuest = "gst"
	userPrefix  = api.PrefixUser + "_"
	guestPrefix = PrefixGuest + "_"
)

// CartLine is one SKU in a cart. Row K1.
type CartLine struct {
	SKU string `json:"sku"`
	// Quantity is 1 to api.MaxQuantity.
	Quantity int64 `json:"quantity"`
	// Selected lines go to the checkout.
	Selected bool `json:"selected"`
	// Seen is the unit price when the SKU was first added. Row K2.
	Seen  api.Money `json:"seen"`
	Added api.Time  `json:"added"`
}

// Cart is what a shopper has gathered, in the order of adding; at most
// api.MaxLines lines, a guest's at most MaxGuestLines.
type Cart struct {
	Lines []CartLine `json:"lines"`
	// Ops are the ids of the last MaxCartOps operations that happen once:
	// orders that left the cart and guest carts merged into it.
	Ops []string `json:"ops,omitempty"`
}

// Add adds the line's quantity to what the cart has of its SKU, or adds the
// line. Refusals: CodeInvalid for a quantity below 1 or a malformed SKU,
// CodeLimitExceeded over api.MaxQuantity units or api.MaxLines lines.
func (cart *Cart) Add(line CartLine) error {
	if len(line.SKU) == 0 || len(line.SKU) > maxSKU {
		return api.Refuse(api.CodeInvalid, "a SKU has 1 to %d characters", maxSKU).At("sku")
	}
	if err := checkQuantity(line.Quantity); err != nil {
		return err
	}
	i := cart.find(line.SKU)
	if i < 0 {
		if len(cart.Lines) >= api.MaxLines {
			return api.Refuse(api.CodeLimitExceeded, "a cart has at most %d lines", api.MaxLines).
				At("lines")
		}
		cart.Lines = append(cart.Lines, line)
		return nil
	}
	l := &cart.Lines[i]
	if err := checkQuantity(l.Quantity + line.Quantity); err != nil {
		return err
	}
	l.Quantity += line.Quantity
	l.Selected = l.Selected || line.Selected
	return nil
}

// SetQuantity sets the number of units of a SKU. Refusals: CodeNotFound when
// it is not in the cart, CodeInvalid below 1, CodeLimitExceeded over
// api.MaxQuantity.
func (cart *Cart) SetQuantity(sku string, n int64) error {
	if err := checkQuantity(n); err != nil {
		return err
	}
	i := cart.find(sku)
	if i < 0 {
		return notInCart(sku)
	}
	cart.Lines[i].Quantity = n
	return nil
}

// Select ticks the line of a SKU for the checkout, or not. It refuses with
// CodeNotFound when it is not in the cart.
func (cart *Cart) Select(sku string, on bool) error {
	i := cart.find(sku)
	if i < 0 {
		return notInCart(sku)
	}
	cart.Lines[i].Selected = on
	return nil
}

// Remove takes a SKU out of the cart; one that is not in it is no error.
func (cart *Cart) Remove(sku string) {
	cart.Lines = slices.DeleteFunc(cart.Lines, func(l CartLine) bool { return l.SKU == sku })
}

// Clear takes everything out of the cart.
func (cart *Cart) Clear() { cart.Lines = nil }

func (cart *Cart) find(sku string) int {
	return slices.IndexFunc(cart.Lines, func(l CartLine) bool { return l.SKU == sku })
}

func checkQuantity(n int64) error {
	switch {
	case n < 1:
		return api.Refuse(api.CodeInvalid, "a quantity is at least 1").At("quantity")
	case n > api.MaxQuantity:
		return api.Refuse(api.CodeLimitExceeded, "a quantity is at most %d", api.MaxQuantity).
			At("quantity")
	}
	return nil
}

func notInCart(sku string) error {
	return api.Refuse(api.CodeNotFound, "%q is not in the cart", sku).At("sku")
}

// once remembers an operation and tells whether it is new.
func (cart *Cart) once(op string) bool {
	if slices.Contains(cart.Ops, op) {
		return false
	}
	cart.Ops = append(cart.Ops, op)
	cart.Ops = cart.Ops[max(0, len(cart.Ops)-MaxCartOps):]
	return true
}

// take removes so many units of a SKU, or what there is.
func (cart *Cart) take(sku string, n int64) {
	i := cart.find(sku)
	if i < 0 {
		return
	}
	if cart.Lines[i].Quantity -= n; cart.Lines[i].Quantity <= 0 {
		cart.Remove(sku)
	}
}

// Carts keeps the carts of users, for good, and of guests, as long as their
// bucket does. It may be used by any number of goroutines and processes. Rows
// K1, K3, K4.
type Carts struct {
	users, guests jetstream.KeyValue
	secret        guestSecret
}

// NewCarts opens the store on its two buckets.
func NewCarts(users, guests jetstream.KeyValue) *Carts {
	return &Carts{users: users, guests: guests}
}

// KeptCart is a cart as it stands in the bucket under its owner.
type KeptCart struct {
	Cart
	// Parcel is what is on its way from a guest's cart to a user's.
	Parcel *parcel `json:"parcel,omitempty"`
}

type parcel struct {
	// Op is the operation that the user's cart will remember.
	Op    string     `json:"op"`
	User  string     `json:"user"`
	Lines []CartLine `json:"lines"`
}

// Get is the cart of a user (usr_…) or a guest (gst_…); empty when there is
// none. CodeInvalid for any other owner.
func (c *Carts) Get(ctx context.Context, owner string) (Cart, error) {
	kept, _, err := c.read(ctx, owner)
	return kept.Cart, err
}

// Update changes a cart with change and returns it as it became. The change
// is made on the newest state and called again when somebody else was faster,
// so no change is lost; what it refuses is answered and nothing is written.
// CodeInvalid for an owner that is none, CodeLimitExceeded when a guest's cart
// would grow over MaxGuestLines, CodeBusy when too many change the cart at
// once.
func (c *Carts) Update(ctx context.Context, owner string, change func(*Cart) error) (Cart, error) {
	kept, err := c.change(ctx, owner, func(k *KeptCart) error {
		before := len(k.Lines)
		if err := change(&k.Cart); err != nil {
			return err
		}
		if n := len(k.Lines); n > before && n > MaxGuestLines &&
			strings.HasPrefix(owner, guestPrefix) {
			return api.Refuse(api.CodeLimitExceeded, "a guest's cart has at most %d lines",
				MaxGuestLines).At("lines")
		}
		return nil
	})
	return kept.Cart, err
}

// Take removes the ordered quantities from the user's cart, once for each
// order. Row K3.
func (c *Carts) Take(ctx context.Context, m *api.RemoveFromCart) error {
	if !strings.HasPrefix(m.User, userPrefix) {
		return invalidOwner()
	}
	_, err := c.change(ctx, m.User, func(k *KeptCart) error {
		if !k.once(m.Order) {
			return errNoChange
		}
		for _, l := range m.Lines {
			k.take(l.SKU, l.Quantity)
		}
		return nil
	})
	return err
}

// Merge moves the lines of a guest's cart into a user's, once however often
// it is told and wherever it breaks off, and returns the user's cart. What is
// over the cart's limits is left out. Row K4.
func (c *Carts) Merge(ctx context.Context, guest, user string) (Cart, error) {
	if !strings.HasPrefix(guest, guestPrefix) || !strings.HasPrefix(user, userPrefix) {
		return Cart{}, invalidOwner()
	}
	for range maxTries {
		p, err := c.pack(ctx, guest, user)
		if err != nil {
			return Cart{}, err
		}
		if p == nil {
			return c.Get(ctx, user)
		}
		// A parcel that an earlier merge left is for whom it was packed.
		if err := c.deliver(ctx, p); err != nil {
			return Cart{}, err
		}
		if err := c.unpack(ctx, guest, p.Op); err != nil {
			return Cart{}, err
		}
	}
	return Cart{}, busyCart()
}

// pack makes a parcel of the guest's lines, or returns the one that stands
// there; nil when there is nothing to move. What the guest adds meanwhile
// stays out of it.
func (c *Carts) pack(ctx context.Context, guest, user string) (*parcel, error) {
	for try := range maxTries {
		kept, rev, err := c.read(ctx, guest)
		if err != nil || kept.Parcel != nil || len(kept.Lines) == 0 {
			return kept.Parcel, err
		}
		kept.Parcel, kept.Lines = &parcel{api.NewID("mrg"), user, kept.Lines}, nil
		if err := c.write(ctx, guest, kept, rev); err == nil || !isConflict(err) {
			return kept.Parcel, err
		}
		if err := pause(ctx, try); err != nil {
			return nil, err
		}
	}
	return nil, busyCart()
}

// deliver adds the parcel's lines to the user's cart.
func (c *Carts) deliver(ctx context.Context, p *parcel) error {
	_, err := c.change(ctx, p.User, func(k *KeptCart) error {
		if !k.once(p.Op) {
			return errNoChange
		}
		for _, l := range p.Lines {
			if i := k.find(l.SKU); i >= 0 {
				l.Quantity = min(l.Quantity, api.MaxQuantity-k.Lines[i].Quantity)
			}
			if err := k.Add(l); err != nil && api.AsError(err) == nil {
				return err
			}
		}
		return nil
	})
	return err
}

// unpack drops a delivered parcel, and the guest's cart when nothing else is
// in it.
func (c *Carts) unpack(ctx context.Context, guest, op string) error {
	for try := range maxTries {
		kept, rev, err := c.read(ctx, guest)
		if err != nil || kept.Parcel == nil || kept.Parcel.Op != op {
			return err
		}
		kept.Parcel = nil
		if len(kept.Lines) > 0 {
			err = c.write(ctx, guest, kept, rev)
		} else {
			err = c.guests.Delete(ctx, guest, jetstream.LastRevision(rev))
		}
		if err == nil {
			return nil
		}
		if !isConflict(err) {
			return fmt.Errorf("stores: empty guest cart: %w", err)
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
	return busyCart()
}

// errNoChange has change write nothing.
var errNoChange = errors.New("nothing to change")

// change is a compare-and-set of one cart, tried until nobody comes between.
func (c *Carts) change(ctx context.Context, owner string, fn func(*KeptCart) error) (
	KeptCart, error) {
	for try := range maxTries {
		kept, rev, err := c.read(ctx, owner)
		if err != nil {
			return KeptCart{}, err
		}
		if err := fn(&kept); err != nil {
			if errors.Is(err, errNoChange) {
				return kept, nil
			}
			return KeptCart{}, err
		}
		if err := c.write(ctx, owner, kept, rev); err == nil || !isConflict(err) {
			return kept, err
		}
		if err := pause(ctx, try); err != nil {
			return KeptCart{}, err
		}
	}
	return KeptCart{}, busyCart()
}

// read returns a cart and its revision, 0 when there is none.
func (c *Carts) read(ctx context.Context, owner string) (kept KeptCart, rev uint64, err error) {
	kv, err := c.bucket(owner)
	if err != nil {
		return kept, 0, err
	}
	e, err := kv.Get(ctx, owner)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return kept, 0, nil
	}
	if err != nil {
		return kept, 0, fmt.Errorf("stores: get cart: %w", err)
	}
	if err := json.Unmarshal(e.Value(), &kept); err != nil {
		return kept, 0, fmt.Errorf("stores: get cart: %w", err)
	}
	return kept, e.Revision(), nil
}

// write sets the cart if its revision still is rev.
func (c *Carts) write(ctx context.Context, owner string, kept KeptCart, rev uint64) error {
	kv, err := c.bucket(owner)
	if err != nil {
		return err
	}
	if rev == 0 {
		_, err = kv.Create(ctx, owner, api.Raw(kept))
	} else {
		_, err = kv.Update(ctx, owner, api.Raw(kept), rev)
	}
	if err != nil {
		return fmt.Errorf("stores: set cart: %w", err)
	}
	return nil
}

func (c *Carts) bucket(owner string) (jetstream.KeyValue, error) {
	if !isKeyWord(owner) || len(owner) > maxOwner {
		return nil, invalidOwner()
	}
	switch {
	case strings.HasPrefix(owner, userPrefix):
		return c.users, nil
	case strings.HasPrefix(owner, guestPrefix):
		return c.guests, nil
	}
	return nil, invalidOwner()
}

func invalidOwner() error {
	return api.Refuse(api.CodeInvalid, "a cart belongs to a user or a guest").At("owner")
}

func busyCart() error {
	return api.Refuse(api.CodeBusy, "too many are changing this cart; try again")
}

// isKeyWord tells whether s can be one word of a key.
func isKeyWord(s string) bool {
	for _, b := range []byte(s) {
		if (b < '0' || b > '9') && (b < 'A' || b > 'Z') && (b < 'a' || b > 'z') &&
			b != '_' && b != '-' {
			return false
		}
	}
	return s != ""
}

// isConflict tells whether a compare-and-set failed because somebody else was
// faster.
func isConflict(err error) bool {
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return true
	}
	// Create on a deleted key returns the bare error.
	var e *jetstream.APIError
	return errors.As(err, &e) && (e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// pause waits before the next try, longer and by chance, so that those who
// compete part.
func pause(ctx context.Context, try int) error {
	limit := min(maxPause, time.Millisecond<<min(try, 10))
	t := time.NewTimer(rand.N(limit))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
