package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Names of the KV buckets.
const (
	BucketSession   = "session"
	BucketCart      = "cart"
	BucketGuestCart = "guest-cart"
	BucketCheckout  = "checkout"
	BucketOwner     = "owner"
)

// Names of the streams that are not an actor's mailbox.
const (
	StreamEvents  = "EVENTS"
	StreamTimers  = "TIMERS"
	StreamEffects = "EFFECTS"
	StreamDead    = "DEAD"
)

// tableVersion is raised whenever a stream or bucket in the table changes.
// Setup only ever changes them to a higher version.
const tableVersion = 2

const versionKey = "ordo.version"

// MailboxBytes is the most a mailbox stream keeps, history included.
const MailboxBytes = 1 << 30

// BucketBytes is the most a large bucket keeps. A cart of 20 lines has about
// 3 KiB, a checkout of two lines 500 bytes, a session 250.
const BucketBytes = 4 << 30

const day = 24 * time.Hour

// StreamSpec is a row of the table of streams.
type StreamSpec struct {
	Name        string
	Description string
	Subjects    []string
	MaxBytes    int64
	MaxAge      time.Duration
}

// BucketSpec is a row of the table of KV buckets.
type BucketSpec struct {
	Name        string
	Description string
	TTL         time.Duration
	MaxBytes    int64
	// DropOldest has a full bucket drop what was written longest ago. Without
	// it a full bucket refuses to be written to.
	DropOldest bool
	// KeyTTL lets a value have a time to live of its own.
	KeyTTL bool
}

// Actors are the names of all actors, in the order of an order's life.
var actorNames = [...]string{"order", "goods", "coupon", "wallet", "payment", "learning",
	"shipping", "user", "journal"}

// ActorNames lists the actors of the shop.
func ActorNames() []string { return actorNames[:] }

// Streams is the table of all streams.
func Streams() []StreamSpec {
	mailbox := func(actor, what string) StreamSpec {
		return StreamSpec{MailboxStream(actor), what, []string{"ordo." + actor + ".*.*"},
			MailboxBytes, 7 * day}
	}
	return []StreamSpec{
		mailbox("order", "Mailbox of the order actor: submits, step results, expiries, cancels."),
		mailbox("goods", "Mailbox of the goods actor: reservations and stock changes."),
		mailbox("coupon", "Mailbox of the coupon actor: issues, redemptions, restores."),
		mailbox("wallet", "Mailbox of the wallet actor: credits, debits, returns."),
		mailbox("payment",
			"Mailbox of the payment actor: collections, attempts, notices, refunds."),
		mailbox("learning", "Mailbox of the learning actor: courses, enrolments, withdrawals."),
		mailbox("shipping", "Mailbox of the shipping actor: shipments made, shipped, received."),
		mailbox("user", "Mailbox of the user actor: accounts, addresses, ended sessions."),
		{StreamEvents, "Events about orders, and the mailbox of the journal.",
			[]string{EventPrefix + ">", "ordo.journal.*.*"}, MailboxBytes, 30 * day},
		{StreamTimers, "Messages that wait for their deadline, by delay class.",
			[]string{"ordo.timer.>"}, MailboxBytes, 2 * time.Hour},
		{StreamEffects, "Work for the world outside, by worker.",
			[]string{"ordo.effect.>"}, MailboxBytes / 4, 2 * time.Hour},
		{StreamDead, "Announcements of dead letters; the letters are in the actors' files.",
			[]string{"ordo.dead.>"}, MailboxBytes / 16, 30 * day},
	}
}

// Buckets is the table of all KV buckets.
func Buckets() []BucketSpec {
	return []BucketSpec{
		{BucketSession, "Sessions by the SHA-256 of their token.", SessionTTL, BucketBytes, true,
			false},
		{BucketCart, "Carts by user; they never expire.", 0, BucketBytes, false, false},
		{BucketGuestCart, "Carts of visitors who have not logged in.", GuestCartTTL, MailboxBytes,
			true, false},
		{BucketCheckout, "Checkout tokens by user, with the lines and prices shown.",
			CheckoutTTL, BucketBytes, true, true},
		{BucketOwner, "Which database file owns each actor.", 0, 1 << 20, false, false},
	}
}

// How long sessions, checkout tokens and guests' carts live.
const (
	SessionTTL  = 7 * day
	CheckoutTTL = 2 * time.Hour
	// GuestCartTTL counts from the last change of the cart.
	GuestCartTTL = 3 * day
)

// Setup makes the streams and buckets of the table that do not exist, and
// changes those of a lower version.
func Setup(ctx context.Context, js jetstream.JetStream) error {
	for _, spec := range Streams() {
		if err := setupStream(ctx, js, spec); err != nil {
			return fmt.Errorf("bus: setup stream %s: %w", spec.Name, err)
		}
	}
	for _, spec := range Buckets() {
		if err := setupBucket(ctx, js, spec); err != nil {
			return fmt.Errorf("bus: setup bucket %s: %w", spec.Name, err)
		}
	}
	return nil
}

func setupStream(ctx context.Context, js jetstream.JetStream, spec StreamSpec) error {
	s, err := js.Stream(ctx, spec.Name)
	if err == nil && !older(s.CachedInfo().Config.Metadata) {
		return nil
	}
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	return makeStream(ctx, js, err != nil, jetstream.StreamConfig{
		Name: spec.Name, Description: spec.Description, Subjects: spec.Subjects,
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
		Discard: jetstream.DiscardOld, MaxBytes: spec.MaxBytes, MaxAge: spec.MaxAge,
		Duplicates: 2 * time.Minute, AllowDirect: true, Metadata: version(),
	})
}

// makeStream makes a stream that is missing, or changes one. What describes a
// missing one may lie damaged in its directory: only a change writes it anew,
// and without that the stream would be missing again at every start.
func makeStream(ctx context.Context, js jetstream.JetStream, missing bool,
	cfg jetstream.StreamConfig) error {
	_, err := js.CreateOrUpdateStream(ctx, cfg)
	if err == nil && missing {
		_, err = js.UpdateStream(ctx, cfg)
	}
	return err
}

func setupBucket(ctx context.Context, js jetstream.JetStream, spec BucketSpec) error {
	s, err := js.Stream(ctx, bucketStream(spec.Name))
	if err == nil && !older(s.CachedInfo().Config.Metadata) {
		return nil
	}
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	// A bucket is a stream; as a KeyValueConfig it could not drop its oldest.
	discard := jetstream.DiscardNew
	if spec.DropOldest {
		discard = jetstream.DiscardOld
	}
	return makeStream(ctx, js, err != nil, jetstream.StreamConfig{
		Name: bucketStream(spec.Name), Description: spec.Description,
		Subjects: []string{"$KV." + spec.Name + ".>"}, Storage: jetstream.FileStorage,
		Retention: jetstream.LimitsPolicy, Discard: discard, MaxBytes: spec.MaxBytes,
		MaxAge: spec.TTL, MaxMsgsPerSubject: 1, AllowMsgTTL: spec.KeyTTL, AllowRollup: true,
		DenyDelete: true, AllowDirect: true, Duplicates: 2 * time.Minute, Metadata: version(),
	})
}

// bucketStream is the stream that NATS keeps a bucket in.
func bucketStream(bucket string) string { return "KV_" + bucket }

func version() map[string]string {
	return map[string]string{versionKey: strconv.Itoa(tableVersion)}
}

func older(metadata map[string]string) bool {
	n, err := strconv.Atoi(metadata[versionKey])
	return err != nil || n < tableVersion
}

// Check answers an error that names the streams and buckets that are missing
// or of a lower version.
func Check(ctx context.Context, js jetstream.JetStream) error {
	var errs []error
	check := func(kind, name, stream string) {
		s, err := js.Stream(ctx, stream)
		if err == nil && older(s.CachedInfo().Config.Metadata) {
			err = errors.New("of an older version: run ordo setup")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("bus: %s %s: %w", kind, name, err))
		}
	}
	for _, spec := range Streams() {
		check("stream", spec.Name, spec.Name)
	}
	for _, spec := range Buckets() {
		check("bucket", spec.Name, bucketStream(spec.Name))
	}
	return errors.Join(errs...)
}
