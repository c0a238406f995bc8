package api

import (
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// Prefixes of ids. An id is <prefix>_<ULID>.
const (
	PrefixOrder    = "ord"
	PrefixCheckout = "chk"
	PrefixUser     = "usr"
	PrefixAddress  = "adr"
	PrefixCoupon   = "cpn"
	PrefixTransfer = "trf"
	PrefixPayment  = "pay"
	PrefixRefund   = "rfd"
	PrefixWebhook  = "whk"
	PrefixDelivery = "msg"
)

// NewID mints an id from the clock and the system's random source. Only edges
// may call it; handlers take tx.NewID, which a replay repeats.
func NewID(prefix string) string {
	return prefix + "_" + ulid.MustNew(ulid.Now(), rand.Reader).String()
}

// DeriveID makes the id that belongs to a name: the same at every call. Its
// time is at, its random part the SHA-256 of the name.
func DeriveID(prefix string, at time.Time, name string) string {
	var id ulid.ULID
	// SetTime fails only after the year 10889.
	if err := id.SetTime(ulid.Timestamp(at)); err != nil {
		id = ulid.ULID{}
	}
	sum := sha256.Sum256([]byte(name))
	copy(id[6:], sum[:10])
	return prefix + "_" + id.String()
}

// OrderID is the id of the order that a checkout token becomes. Whoever knows
// the token knows where the order will be found, before it exists. It answers
// CodeTokenUnknown for what is not a token.
func OrderID(token string) (string, error) {
	id, err := ParseID(PrefixCheckout, token)
	if err != nil {
		return "", Refuse(CodeTokenUnknown, "this is not a checkout token").At("token")
	}
	return DeriveID(PrefixOrder, ulid.Time(id.Time()), token), nil
}

// ParseID reads an id with the given prefix strictly. It answers CodeInvalid
// for anything else.
func ParseID(prefix, s string) (ulid.ULID, error) {
	body, ok := strings.CutPrefix(s, prefix+"_")
	if !ok {
		return ulid.ULID{}, Refuse(CodeInvalid, "%q is not a %s_ id", s, prefix)
	}
	id, err := ulid.ParseStrict(body)
	if err != nil || id.String() != body {
		return ulid.ULID{}, Refuse(CodeInvalid, "%q is not a %s_ id", s, prefix)
	}
	return id, nil
}
