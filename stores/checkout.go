package stores

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
)

// ClaimedTTL is how long a checkout is kept after its claim: long enough to
// submit again after a crash, and no longer, because then the order answers.
const ClaimedTTL = 10 * time.Minute

// Checkout is a checkout page that was shown, as it stands in the bucket
// under its user and token. Rows F2, F3.
type Checkout struct {
	User  string            `json:"user"`
	Lines []api.ReserveLine `json:"lines"`
	// FromCart has the ordered quantities leave the cart.
	FromCart bool     `json:"from_cart,omitempty"`
	Created  api.Time `json:"created"`
	// Expires is until when the token may be claimed; zero for as long as the
	// bucket keeps it.
	Expires api.Time `json:"expires"`
	// Order and BodyHash are empty until the token is claimed by a submit.
	Order    string `json:"order,omitempty"`
	BodyHash string `json:"body_hash,omitempty"`
}

// Checkouts keeps checkout pages until they are submitted or abandoned: the
// bucket drops them after its time to live. It may be used by any number of
// goroutines and processes.
type Checkouts struct {
	js jetstream.JetStream
	kv jetstream.KeyValue
}

// NewCheckouts opens the store on its bucket, which must allow values a time
// to live of their own.
func NewCheckouts(js jetstream.JetStream, kv jetstream.KeyValue) *Checkouts {
	return &Checkouts{js, kv}
}

// Create keeps a checkout page of ch.User under a fresh token. CodeInvalid for
// what is not a checkout token or a user.
func (c *Checkouts) Create(ctx context.Context, token string, ch Checkout) error {
	key, ok := checkoutKey(ch.User, token)
	if !ok {
		return api.Refuse(api.CodeInvalid, "a checkout needs a user and a token").At("token")
	}
	if _, err := c.kv.Create(ctx, key, api.Raw(ch)); err != nil {
		return fmt.Errorf("stores: create checkout: %w", err)
	}
	return nil
}

// Claim binds the token to one order and the hash of one request body, and
// returns the page. Bound before to the same hash, it returns the page again,
// with the order of the first time; to another, it refuses with
// CodeTokenReused. A token that is unknown, expired unclaimed or another
// user's is refused with CodeTokenUnknown. The page stays for ClaimedTTL, so
// whoever breaks off after Claim may submit again. Row S2.
func (c *Checkouts) Claim(ctx context.Context, user, token, order, bodyHash string) (
	Checkout, error) {
	key, ok := checkoutKey(user, token)
	if !ok || order == "" || bodyHash == "" {
		return Checkout{}, unknownToken()
	}
	for try := range maxTries {
		ch, revision, err := c.read(ctx, key)
		if err != nil {
			return Checkout{}, err
		}
		if ch.Order != "" {
			return ch.again(bodyHash)
		}
		if ch.Expires != 0 && ch.Expires <= api.TimeOf(time.Now()) {
			return Checkout{}, unknownToken()
		}
		ch.Order, ch.BodyHash = order, bodyHash
		err = c.claim(ctx, key, &ch, revision)
		if err == nil {
			return ch, nil
		}
		if !isConflict(err) {
			return Checkout{}, fmt.Errorf("stores: claim checkout: %w", err)
		}
		if err := pause(ctx, try); err != nil {
			return Checkout{}, err
		}
	}
	return Checkout{}, api.Refuse(api.CodeBusy, "too many submit this token; try again")
}

// read reads a page that is to be claimed, with its revision.
func (c *Checkouts) read(ctx context.Context, key string) (ch Checkout, revision uint64,
	err error) {
	e, err := c.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return ch, 0, unknownToken()
	}
	if err == nil {
		err = json.Unmarshal(e.Value(), &ch)
	}
	if err != nil {
		return ch, 0, fmt.Errorf("stores: claim checkout: %w", err)
	}
	return ch, e.Revision(), nil
}

// claim sets the page if its revision still is rev, and gives it ClaimedTTL,
// which the Update of a bucket can't do.
func (c *Checkouts) claim(ctx context.Context, key string, ch *Checkout, rev uint64) error {
	m := &nats.Msg{Subject: "$KV." + c.kv.Bucket() + "." + key, Data: api.Raw(ch)}
	_, err := c.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(rev),
		jetstream.WithMsgTTL(ClaimedTTL))
	return err
}

// Unclaim takes back the claim of a body that was refused before it became an
// order, so that the shopper can mend it and submit again. A claim by another
// body stays.
func (c *Checkouts) Unclaim(ctx context.Context, user, token, bodyHash string) error {
	key, ok := checkoutKey(user, token)
	if !ok {
		return unknownToken()
	}
	e, err := c.kv.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("stores: unclaim checkout: %w", err)
	}
	var ch Checkout
	if err := json.Unmarshal(e.Value(), &ch); err != nil {
		return fmt.Errorf("stores: unclaim checkout: %w", err)
	}
	if ch.BodyHash != bodyHash {
		return nil
	}
	ch.Order, ch.BodyHash = "", ""
	if _, err := c.kv.Update(ctx, key, api.Raw(ch), e.Revision()); err != nil && !isConflict(err) {
		return fmt.Errorf("stores: unclaim checkout: %w", err)
	}
	return nil
}

// again answers a claim of a page that was claimed before.
func (ch Checkout) again(bodyHash string) (Checkout, error) {
	if ch.BodyHash != bodyHash {
		return Checkout{}, api.Refuse(api.CodeTokenReused,
			"this checkout was submitted before with another content").At("token")
	}
	return ch, nil
}

func unknownToken() error {
	return api.Refuse(api.CodeTokenUnknown,
		"there is no such checkout, or it has expired").At("token")
}

// checkoutKey is where a page stands; ok is false for what can't be one.
func checkoutKey(user, token string) (key string, ok bool) {
	if !isKeyWord(user) || len(user) > maxOwner {
		return "", false
	}
	if _, err := api.ParseID(api.PrefixCheckout, token); err != nil {
		return "", false
	}
	return user + "." + token, true
}
