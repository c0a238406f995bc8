package rest

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"ordo/api"
)

// The cost of a password's hash, after OWASP's recommendation for argon2id:
// memory in KiB, passes over it, lanes; and sizes in bytes.
const (
	hashMemory = 19 << 10
	hashPasses = 2
	hashLanes  = 1
	saltBytes  = 16
	keyBytes   = 32
	// hashWait is how long a request waits for its turn to hash.
	hashWait = 2 * time.Second
)

// phcFormat is the form in which a hash is kept, with its cost:
// $argon2id$v=19$m=19456,t=2,p=1$salt$key.
const phcFormat = "$argon2id$v=%d$m=%d,t=%d,p=%d$"

// hashing hashes passwords, at most as many at once as there are CPUs, so that
// logins can't take all memory and time from orders.
type hashing struct {
	turns chan struct{}
	// dummy is what a password is compared with where there is no user, so
	// that it takes as long.
	dummy string
}

func newHashing() *hashing {
	return &hashing{turns: make(chan struct{}, runtime.NumCPU()),
		dummy: encodeHash(make([]byte, saltBytes), make([]byte, keyBytes))}
}

// turn waits for a turn to hash; done gives it back. It refuses with CodeBusy
// after hashWait.
func (h *hashing) turn(ctx context.Context) (done func(), err error) {
	t := time.NewTimer(hashWait)
	defer t.Stop()
	select {
	case h.turns <- struct{}{}:
		return func() { <-h.turns }, nil
	case <-t.C:
		return nil, api.Refuse(api.CodeBusy, "too many log in at once; try again later")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hash is the PHC string of a password with a salt; nil for a random one.
func (h *hashing) hash(ctx context.Context, password string, salt []byte) (string, error) {
	done, err := h.turn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	if salt == nil {
		salt = make([]byte, saltBytes)
		rand.Read(salt) // never fails
	}
	key := argon2.IDKey([]byte(password), salt, hashPasses, hashMemory, hashLanes, keyBytes)
	return encodeHash(salt, key), nil
}

// verify tells whether the password has this hash. It takes the same time
// when there is none, and then answers false.
func (h *hashing) verify(ctx context.Context, password, phc string) (bool, error) {
	done, err := h.turn(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	known := phc != ""
	if !known {
		phc = h.dummy
	}
	want, err := decodeHash(phc)
	if err != nil {
		return false, err
	}
	key := argon2.IDKey([]byte(password), want.salt, want.passes, want.memory, want.lanes,
		uint32(len(want.key)))
	return subtle.ConstantTimeCompare(key, want.key) == 1 && known, nil
}

func encodeHash(salt, key []byte) string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf(phcFormat, argon2.Version, hashMemory, hashPasses, hashLanes) +
		enc.EncodeToString(salt) + "$" + enc.EncodeToString(key)
}

// phcHash is a stored hash, taken apart.
type phcHash struct {
	memory, passes uint32
	lanes          uint8
	salt, key      []byte
}

// decodeHash reads a stored hash with whatever cost it was made with.
func decodeHash(phc string) (h phcHash, err error) {
	var version int
	if _, err := fmt.Sscanf(phc, phcFormat, &version, &h.memory, &h.passes, &h.lanes); err != nil {
		return h, fmt.Errorf("rest: stored password hash: %w", err)
	}
	parts := strings.Split(phc, "$")
	if version != argon2.Version || len(parts) != 6 || h.passes < 1 || h.lanes < 1 ||
		h.memory > 1<<20 {
		return h, fmt.Errorf("rest: stored password hash has an unknown form")
	}
	if h.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return h, fmt.Errorf("rest: stored password hash: %w", err)
	}
	if h.key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil {
		return h, fmt.Errorf("rest: stored password hash: %w", err)
	}
	if len(h.key) == 0 {
		return h, fmt.Errorf("rest: stored password hash has no key")
	}
	return h, nil
}
