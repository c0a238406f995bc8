package bus_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
)

const versionKey = "ordo.version"

// Everything in the table exists, says what it is for and has its limits.
// ACCEPT P5
func TestSetupMakesTheTable(t *testing.T) {
	n := newNet(t)
	for _, spec := range bus.Streams() {
		c := n.stream(spec.Name).CachedInfo().Config
		if c.Description == "" || c.Description != spec.Description {
			t.Errorf("%s: description %q, want %q", spec.Name, c.Description, spec.Description)
		}
		if !slices.Equal(c.Subjects, spec.Subjects) || c.MaxBytes != spec.MaxBytes ||
			c.MaxAge != spec.MaxAge || c.MaxBytes <= 0 || c.MaxAge <= 0 {
			t.Errorf("%s: %v, %d bytes, %s", spec.Name, c.Subjects, c.MaxBytes, c.MaxAge)
		}
		if c.Retention != jetstream.LimitsPolicy || c.Storage != jetstream.FileStorage ||
			c.Discard != jetstream.DiscardOld || c.Metadata[versionKey] == "" {
			t.Errorf("%s: %+v", spec.Name, c)
		}
		wantTold(t, c)
	}
	for _, spec := range bus.Buckets() {
		kv, err := n.js.KeyValue(t.Context(), spec.Name)
		if err != nil {
			t.Errorf("%s: %v", spec.Name, err)
			continue
		}
		status, err := kv.Status(t.Context())
		if err != nil || status.TTL() != spec.TTL {
			t.Errorf("%s: TTL %s, want %s, %v", spec.Name, status.TTL(), spec.TTL, err)
		}
		c := n.stream("KV_" + spec.Name).CachedInfo().Config
		if c.Description == "" || c.Description != spec.Description || c.MaxBytes != spec.MaxBytes ||
			c.Metadata[versionKey] == "" {
			t.Errorf("%s: %+v", spec.Name, c)
		}
		wantBucket(t, spec, c)
		wantTold(t, c)
	}
	if err := bus.Check(t.Context(), n.js); err != nil {
		t.Error(err)
	}
}

// wantTold checks that metadata tells for how long something is kept, and where
// its schema is.
func wantTold(t *testing.T, c jetstream.StreamConfig) {
	t.Helper()
	age := fmt.Sprintf("%d hours", c.MaxAge/time.Hour)
	switch {
	case c.MaxAge == 0:
		age = "for ever"
	case c.MaxAge%(24*time.Hour) == 0:
		age = fmt.Sprintf("%d days", c.MaxAge/(24*time.Hour))
	}
	end := "then the oldest goes"
	if c.Discard == jetstream.DiscardNew {
		end = "then writes are refused"
	}
	want := fmt.Sprintf("%s, %d MiB at most; %s", age, c.MaxBytes>>20, end)
	if got := c.Metadata["ordo.keeps"]; got != want {
		t.Errorf("%s keeps %q, want %q", c.Name, got, want)
	}
	actor := cmp.Or(c.Metadata["ordo.actor"], "*")
	if c.Metadata["ordo.schema"] != bus.QuerySubject(actor, api.EndpointSchema) {
		t.Errorf("%s: %v", c.Name, c.Metadata)
	}
}

// wantBucket checks what only streams made for a KV store have.
func wantBucket(t *testing.T, spec bus.BucketSpec, c jetstream.StreamConfig) {
	t.Helper()
	discard := jetstream.DiscardNew
	if spec.DropOldest {
		discard = jetstream.DiscardOld
	}
	if c.Discard != discard || c.AllowMsgTTL != spec.KeyTTL || c.MaxMsgsPerSubject != 1 ||
		!c.AllowRollup || !c.DenyDelete || !c.AllowDirect || c.Storage != jetstream.FileStorage {
		t.Errorf("%s: %+v", spec.Name, c)
	}
}

// The buckets of the first version are changed, and keep what is in them.
func TestSetupChangesTheFirstVersion(t *testing.T) {
	n := bare(t)
	for _, spec := range bus.Buckets() {
		kv, err := n.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: spec.Name,
			Description: "Of version 1.", TTL: spec.TTL * 2, MaxBytes: spec.MaxBytes / 4,
			Storage: jetstream.FileStorage, Metadata: map[string]string{versionKey: "1"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Create(t.Context(), "a.key", []byte("old")); err != nil {
			t.Fatal(err)
		}
	}
	if err := bus.Check(t.Context(), n.js); err == nil ||
		!strings.Contains(err.Error(), "bucket checkout: of an older version") {
		t.Errorf("version 1 is good enough: %v", err)
	}
	if err := bus.Setup(t.Context(), n.js, 0); err != nil {
		t.Fatal(err)
	}
	for _, spec := range bus.Buckets() {
		c := n.stream("KV_" + spec.Name).CachedInfo().Config
		if c.Description != spec.Description || c.MaxBytes != spec.MaxBytes || c.MaxAge != spec.TTL ||
			c.Metadata[versionKey] != "4" {
			t.Errorf("%s: %+v", spec.Name, c)
		}
		wantBucket(t, spec, c)
		kv, err := n.js.KeyValue(t.Context(), spec.Name)
		if err != nil {
			t.Fatal(err)
		}
		e, err := kv.Get(t.Context(), "a.key")
		if err != nil || string(e.Value()) != "old" {
			t.Fatalf("%s: %v, %v", spec.Name, e, err)
		}
		if _, err := kv.Update(t.Context(), "a.key", []byte("new"), e.Revision()); err != nil {
			t.Errorf("%s: %v", spec.Name, err)
		}
		_, err = kv.Create(t.Context(), "short.lived", nil, jetstream.KeyTTL(time.Hour))
		if (err == nil) != spec.KeyTTL {
			t.Errorf("%s: a key with a time to live: %v", spec.Name, err)
		}
	}
	if err := bus.Check(t.Context(), n.js); err != nil {
		t.Error(err)
	}
}

// A full bucket of guests' carts drops the oldest and takes the newest.
func TestFullBucketDropsTheOldest(t *testing.T) {
	n := newNet(t)
	c := n.stream("KV_" + bus.BucketGuestCart).CachedInfo().Config
	c.MaxBytes = 64 << 10
	if _, err := n.js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	kv, err := n.js.KeyValue(t.Context(), bus.BucketGuestCart)
	if err != nil {
		t.Fatal(err)
	}
	const carts = 100
	for i := range carts {
		if _, err := kv.Create(t.Context(), strconv.Itoa(i), make([]byte, 1<<10)); err != nil {
			t.Fatalf("cart %d: %v", i, err)
		}
	}
	if _, err := kv.Get(t.Context(), "0"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("the oldest: %v", err)
	}
	if _, err := kv.Get(t.Context(), strconv.Itoa(carts-1)); err != nil {
		t.Errorf("the newest: %v", err)
	}
}

// What is published on a subject of ordo is stored in the stream meant.
func TestSubjectsBelongToTheirStreams(t *testing.T) {
	n := newNet(t)
	want := map[string]string{
		bus.EventSubject("order.placed", "ord_1"):     bus.StreamEvents,
		bus.TimerSubject("order", "expiry-900s"):      bus.StreamTimers,
		bus.EffectSubject("order", "remove-cart"):     bus.StreamEffects,
		bus.DeadSubject("goods"):                      bus.StreamDead,
		bus.MailboxSubject("order", "submit"):         "ORDER",
		bus.MailboxSubject("journal", "effect-tried"): bus.StreamEvents,
	}
	for _, actor := range bus.ActorNames() {
		want[bus.MailboxSubject(actor, "tick")] = bus.MailboxStream(actor)
	}
	for subject, stream := range want {
		if ack := n.put(subject, "", nil, []byte(`{}`)); ack.Stream != stream {
			t.Errorf("%s is stored in %s, want %s", subject, ack.Stream, stream)
		}
	}
	// Wake-ups and questions are for who listens now: no stream may keep them.
	for _, subject := range []string{bus.WakeSubject("ord_1"), bus.QuerySubject("order", "order"),
		bus.ResendSubject("order.0"), bus.CommittedSubject("order.0"), bus.KnownSubject, bus.UpSubject} {
		if name, err := n.js.StreamNameBySubject(t.Context(), subject); err == nil {
			t.Errorf("%s is stored in %s", subject, name)
		}
	}
}

func TestSetupAgainChangesNothing(t *testing.T) {
	n := newNet(t)
	n.fill(1, 3)
	before := n.stream("GOODS").CachedInfo()
	for range 2 {
		if err := bus.Setup(t.Context(), n.js, 0); err != nil {
			t.Fatal(err)
		}
	}
	after := n.stream("GOODS").CachedInfo()
	if !after.Created.Equal(before.Created) || after.State.Msgs != 3 || after.State.LastSeq != 3 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// describe gives a stream another description and version by hand.
func (n *net) describe(stream, version string) {
	n.t.Helper()
	c := n.stream(stream).CachedInfo().Config
	c.Description = "By hand."
	c.Metadata = map[string]string{}
	if version != "" {
		c.Metadata[versionKey] = version
	}
	if _, err := n.js.UpdateStream(n.t.Context(), c); err != nil {
		n.t.Fatal(err)
	}
}

// A process of an older release leaves what a newer one made.
func TestSetupNeverLowersAVersion(t *testing.T) {
	n := newNet(t)
	for _, stream := range []string{"ORDER", "KV_cart"} {
		want := n.stream(stream).CachedInfo().Config
		for version, kept := range map[string]bool{"99": true, want.Metadata[versionKey]: true,
			"0": false, "-1": false, "": false, "new": false} {
			n.describe(stream, version)
			if err := bus.Setup(t.Context(), n.js, 0); err != nil {
				t.Fatal(err)
			}
			got := n.stream(stream).CachedInfo().Config
			switch {
			case kept && (got.Description != "By hand." || got.Metadata[versionKey] != version):
				t.Errorf("%s of version %q was changed: %+v", stream, version, got)
			case !kept && (got.Description != want.Description ||
				got.Metadata[versionKey] != want.Metadata[versionKey]):
				t.Errorf("%s of version %q was not changed: %+v", stream, version, got)
			}
		}
	}
}

func TestCheckNamesWhatIsMissing(t *testing.T) {
	n := bare(t)
	err := bus.Check(t.Context(), n.js)
	for _, spec := range bus.Streams() {
		if err == nil || !strings.Contains(err.Error(), "stream "+spec.Name+":") {
			t.Errorf("nothing set up: %s is not named in %v", spec.Name, err)
		}
	}
	for _, spec := range bus.Buckets() {
		if err == nil || !strings.Contains(err.Error(), "bucket "+spec.Name+":") {
			t.Errorf("nothing set up: %s is not named in %v", spec.Name, err)
		}
	}
	if err := bus.Setup(t.Context(), n.js, 0); err != nil {
		t.Fatal(err)
	}
	if err := n.js.DeleteStream(t.Context(), "WALLET"); err != nil {
		t.Fatal(err)
	}
	if err := n.js.DeleteKeyValue(t.Context(), bus.BucketSession); err != nil {
		t.Fatal(err)
	}
	err = bus.Check(t.Context(), n.js)
	if err == nil || strings.Count(err.Error(), "\n") != 1 ||
		!strings.Contains(err.Error(), "stream WALLET:") ||
		!strings.Contains(err.Error(), "bucket session:") {
		t.Errorf("got %v, want WALLET and session and no other", err)
	}
	if err := bus.Setup(t.Context(), n.js, 0); err != nil {
		t.Fatal(err)
	}
	if err := bus.Check(t.Context(), n.js); err != nil {
		t.Error(err)
	}
}
