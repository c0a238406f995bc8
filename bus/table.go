package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
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
const tableVersion = 4

// Keys of the metadata of streams, buckets and consumers, for people who look.
const (
	versionKey = "ordo.version"
	// kindKey is one of the Kind constants, actorKey whose it is.
	kindKey  = "ordo.kind"
	actorKey = "ordo.actor"
	// keepsKey is how long things are kept, in words.
	keepsKey = "ordo.keeps"
	// schemaKey is the subject to ask for the JSON Schemas of what is in it.
	schemaKey = "ordo.schema"
)

// Kinds of streams, buckets and consumers, as their metadata says it.
const (
	KindMailbox = "mailbox"
	KindEvents  = "events"
	KindTimers  = "timers"
	KindEffects = "effects"
	KindDead    = "dead-letters"
	KindBucket  = "bucket"
	KindReader  = "reader"
)

// MailboxBytes is the most a mailbox stream keeps, history included.
const MailboxBytes = 1 << 30

// BucketBytes is the most a large bucket keeps. A cart of 20 lines has about
// 3 KiB, a checkout of two lines 500 bytes, a session 250.
const BucketBytes = 4 << 30

const day = 24 * time.Hour

const (
	// workKept is how long TIMERS and EFFECTS keep a message: longer than MaxTimer.
	workKept = 2 * time.Hour
	// unasked is after what time a consumer of theirs ends that nobody asks, for
	// example because deadlines have another length now: none of its messages is
	// left by then.
	unasked = 2 * workKept
)

// StreamSpec is a row of the table of streams.
type StreamSpec struct {
	Name        string
	Description string
	Subjects    []string
	MaxBytes    int64
	MaxAge      time.Duration
	// Kind is one of the Kind constants.
	Kind string
	// Actor reads it; empty where several do.
	Actor string
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

// ActorNames lists the actors of the shop. The list is the caller's own.
func ActorNames() []string { return slices.Clone(actorNames[:]) }

// Streams is the table of all streams.
func Streams() []StreamSpec {
	mailbox := func(actor, what string) StreamSpec {
		return StreamSpec{MailboxStream(actor), what, []string{"ordo." + actor + ".*.*"},
			MailboxBytes, 7 * day, KindMailbox, actor}
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
			[]string{EventPrefix + ">", "ordo.journal.*.*"}, MailboxBytes, 30 * day,
			KindEvents, "journal"},
		{StreamTimers, "Messages that wait for their deadline, by delay class.",
			[]string{"ordo.timer.>"}, MailboxBytes, workKept, KindTimers, ""},
		{StreamEffects, "Work for the world outside, by worker.",
			[]string{"ordo.effect.>"}, MailboxBytes / 4, workKept, KindEffects, ""},
		{StreamDead, "Announcements of dead letters; the letters are in the actors' files.",
			[]string{"ordo.dead.>"}, MailboxBytes / 16, 30 * day, KindDead, ""},
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

// MaxReplicas is the most copies that a cluster keeps of a stream.
const MaxReplicas = 5

// Setup makes the streams and buckets of the table that do not exist, and
// changes those of a lower version. They have so many replicas, an odd number of
// servers of a cluster; 0 leaves those that exist as they are, and makes new ones
// with one.
func Setup(ctx context.Context, js jetstream.JetStream, replicas int) error {
	for _, spec := range Streams() {
		if err := setupStream(ctx, js, spec, replicas); err != nil {
			return fmt.Errorf("bus: setup stream %s: %w", spec.Name, err)
		}
	}
	for _, spec := range Buckets() {
		if err := setupBucket(ctx, js, spec, replicas); err != nil {
			return fmt.Errorf("bus: setup bucket %s: %w", spec.Name, err)
		}
	}
	return nil
}

func setupStream(ctx context.Context, js jetstream.JetStream, spec StreamSpec,
	replicas int) error {
	return makeStream(ctx, js, replicas, jetstream.StreamConfig{
		Name: spec.Name, Description: spec.Description, Subjects: spec.Subjects,
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
		Discard: jetstream.DiscardOld, MaxBytes: spec.MaxBytes, MaxAge: spec.MaxAge,
		Duplicates: 2 * time.Minute, AllowDirect: true, Metadata: spec.metadata(),
	})
}

// makeStream makes a stream that is missing, or changes one that is of a lower
// version or has other replicas than wanted. What describes a missing one may lie
// damaged in its directory: only a change writes it anew, and without that the
// stream would be missing again at every start.
func makeStream(ctx context.Context, js jetstream.JetStream, replicas int,
	cfg jetstream.StreamConfig) error {
	cfg.Replicas = max(replicas, 1)
	s, err := js.Stream(ctx, cfg.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		if _, err = js.CreateOrUpdateStream(ctx, cfg); err == nil {
			_, err = js.UpdateStream(ctx, cfg)
		}
		return err
	case err != nil:
		return err
	}
	was := s.CachedInfo().Config
	if replicas == 0 {
		cfg.Replicas = was.Replicas
	}
	switch {
	case older(was.Metadata):
		cfg.Placement = was.Placement
	case was.Replicas != cfg.Replicas:
		was.Replicas = cfg.Replicas // of a newer table all else stays
		cfg = was
	default:
		return nil
	}
	_, err = js.UpdateStream(ctx, cfg)
	return err
}

func setupBucket(ctx context.Context, js jetstream.JetStream, spec BucketSpec,
	replicas int) error {
	// A bucket is a stream; as a KeyValueConfig it could not drop its oldest.
	discard := jetstream.DiscardNew
	if spec.DropOldest {
		discard = jetstream.DiscardOld
	}
	return makeStream(ctx, js, replicas, jetstream.StreamConfig{
		Name: bucketStream(spec.Name), Description: spec.Description,
		Subjects: []string{"$KV." + spec.Name + ".>"}, Storage: jetstream.FileStorage,
		Retention: jetstream.LimitsPolicy, Discard: discard, MaxBytes: spec.MaxBytes,
		MaxAge: spec.TTL, MaxMsgsPerSubject: 1, AllowMsgTTL: spec.KeyTTL, AllowRollup: true,
		DenyDelete: true, AllowDirect: true, Duplicates: 2 * time.Minute,
		Metadata: spec.metadata(),
	})
}

// metadata is what a stream says of itself. Where several actors have messages in
// it, each has the schemas of its own.
func (s *StreamSpec) metadata() map[string]string {
	m := metadata(s.Kind, s.Actor)
	m[keepsKey] = fmt.Sprintf("%s, %d MiB at most; then the oldest goes", span(s.MaxAge),
		s.MaxBytes>>20)
	m[schemaKey] = QuerySubject(cmp.Or(s.Actor, "*"), api.EndpointSchema)
	return m
}

func (s *BucketSpec) metadata() map[string]string {
	m := metadata(KindBucket, "")
	full := "then writes are refused"
	if s.DropOldest {
		full = "then the oldest goes"
	}
	m[keepsKey] = fmt.Sprintf("%s, %d MiB at most; %s", span(s.TTL), s.MaxBytes>>20, full)
	m[schemaKey] = QuerySubject("*", api.EndpointSchema)
	return m
}

// span is a time in words; 0 is for ever.
func span(d time.Duration) string {
	switch {
	case d == 0:
		return "for ever"
	case d%day == 0:
		return fmt.Sprintf("%d days", d/day)
	}
	return fmt.Sprintf("%d hours", d/time.Hour)
}

// bucketStream is the stream that NATS keeps a bucket in.
func bucketStream(bucket string) string { return "KV_" + bucket }

// metadata says what something in NATS is, and of which version of the table.
func metadata(kind, actor string) map[string]string {
	m := map[string]string{versionKey: strconv.Itoa(tableVersion), kindKey: kind}
	if actor != "" {
		m[actorKey] = actor
	}
	return m
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
