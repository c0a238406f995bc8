package stores

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
)

// MaxGuestLines is the most lines of a guest's cart.
const MaxGuestLines = 100

const (
	// secretKey is where the guests' secret stands, in the bucket of users'
	// carts, because that one forgets nothing. It is no user's id.
	secretKey = "guest-secret"
	// secretAge is how long the secret is believed without looking again: the
	// bucket may have been lost and made anew by another process.
	secretAge = time.Minute
	// sealBytes is the length of a guest id's seal before it is printed.
	sealBytes = 15
)

// guestSecret signs the ids of guests, so that only those have a cart that the
// shop has minted.
type guestSecret struct {
	mu   sync.Mutex
	key  []byte
	read time.Time
}

// MintGuest makes the id of a new guest: gst_, a ULID and the shop's seal. All
// processes of the shop know it as theirs. Row K4.
func (c *Carts) MintGuest(ctx context.Context) (string, error) {
	key, err := c.guestKey(ctx)
	if err != nil {
		return "", err
	}
	id := api.NewID(PrefixGuest)
	return id + "-" + seal(key, id), nil
}

// CheckGuest refuses with CodeInvalid an id that MintGuest did not make.
func (c *Carts) CheckGuest(ctx context.Context, guest string) error {
	id, sealed, _ := strings.Cut(guest, "-")
	if _, err := api.ParseID(PrefixGuest, id); err != nil {
		return api.Refuse(api.CodeInvalid, "this is not a guest id of the shop")
	}
	key, err := c.guestKey(ctx)
	if err != nil {
		return err
	}
	if !hmac.Equal([]byte(sealed), []byte(seal(key, id))) {
		return api.Refuse(api.CodeInvalid, "this is not a guest id of the shop")
	}
	return nil
}

// IsGuest tells whether s looks like a guest's id, minted here or not.
func IsGuest(s string) bool {
	return strings.HasPrefix(s, guestPrefix) && isKeyWord(s) && len(s) <= maxOwner
}

func seal(key []byte, id string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id)) // never fails
	return base32.StdEncoding.EncodeToString(mac.Sum(nil)[:sealBytes])
}

// guestKey is the secret that all processes share. Where it is lost, it is put
// back as this process knows it, or made.
func (c *Carts) guestKey(ctx context.Context) ([]byte, error) {
	c.secret.mu.Lock()
	key, read := c.secret.key, c.secret.read
	c.secret.mu.Unlock()
	if key != nil && time.Since(read) < secretAge {
		return key, nil
	}
	fresh, err := c.readSecret(ctx)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		if fresh = key; fresh == nil {
			fresh = make([]byte, sha256.Size)
			rand.Read(fresh) // never fails
		}
		if _, err = c.users.Create(ctx, secretKey, api.Raw(fresh)); isConflict(err) {
			fresh, err = c.readSecret(ctx)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stores: guests' secret: %w", err)
	}
	c.secret.mu.Lock()
	defer c.secret.mu.Unlock()
	c.secret.key, c.secret.read = fresh, time.Now()
	return fresh, nil
}

func (c *Carts) readSecret(ctx context.Context) (key []byte, err error) {
	e, err := c.users.Get(ctx, secretKey)
	if err != nil {
		return nil, err
	}
	return key, json.Unmarshal(e.Value(), &key)
}
