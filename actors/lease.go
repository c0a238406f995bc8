package actors

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
)

// How long a lease holds.
const (
	leaseRenew = 2 * time.Second
	leaseHolds = 10 * time.Second
	// leaseTry bounds one access to the lease.
	leaseTry = 3 * time.Second
)

// ErrOwned is returned by Start when another database file owns the actor.
var ErrOwned = errors.New("actors: another database file owns this actor")

// errNotRenewed keeps a batch from being committed.
var errNotRenewed = errors.New("lease: it was not renewed in time")

// lease is the entry owner.<actor>.<shard> in KV: which file owns the actor,
// and that its process is alive.
type lease struct {
	h        *Host
	kv       jetstream.KeyValue
	key      string
	instance string
	revision uint64
	until    atomic.Int64
	// lost is true for ever once another file has been seen to own the actor.
	lost atomic.Bool
}

// LeaseEntry is what stands in the bucket owner under <actor>.<shard>.
type LeaseEntry struct {
	// Owner is the file's own id.
	Owner string `json:"owner"`
	// Instance is the process's own, Host and File tell people where it is.
	Instance string   `json:"instance"`
	Host     string   `json:"host"`
	File     string   `json:"file"`
	Renewed  api.Time `json:"renewed"`
	Released bool     `json:"released,omitempty"`
}

// takeLease makes this file the actor's owner: when nobody was, when it was
// already and no other process renews the lease, or with TakeOver. After a
// take-over it waits until the other file's owner can't commit any more.
func takeLease(ctx context.Context, h *Host) (*lease, error) {
	l := &lease{h: h, key: bus.Address(h.spec.Name), instance: rand.Text()[:10]}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		fence, err := l.take(ctx)
		switch {
		case err == nil && fence:
			return l, l.outlast(ctx)
		case err == nil || errors.Is(err, ErrOwned):
			return l, err
		}
		h.log.Warn("lease", "err", err)
		select {
		case <-ctx.Done():
			return l, fmt.Errorf("lease: %w", err)
		case <-time.After(publishWait):
		}
	}
}

// outlast waits as long as a lease holds, in which the owner before may still
// commit.
func (l *lease) outlast(ctx context.Context) error {
	l.h.log.Info("waiting for the lease before to end", "wait", leaseHolds)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(leaseHolds):
		return l.renew(ctx)
	}
}

// take writes the lease. fence is true when another file held it and did not
// give it back.
func (l *lease) take(ctx context.Context) (fence bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTry)
	defer cancel()
	kv, err := l.h.js.KeyValue(ctx, bus.BucketOwner)
	if err != nil {
		return false, err
	}
	l.kv = kv
	start := time.Now()
	entry, err := kv.Get(ctx, l.key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		if err := l.askSenders(ctx); err != nil {
			return false, err
		}
		l.revision, err = kv.Create(ctx, l.key, l.entry(false))
		return false, l.taken(start, err)
	}
	if err != nil {
		return false, err
	}
	held := leaseIn(entry)
	fence = held.Owner != l.h.engine.Owner() && !held.Released
	if err := l.mayTake(&held); err != nil {
		return false, err
	}
	l.revision, err = kv.Update(ctx, l.key, l.entry(false), entry.Revision())
	return fence, l.taken(start, err)
}

// mayTake decides whether a lease held before may become this process's.
func (l *lease) mayTake(held *LeaseEntry) error {
	mine := l.entryNow(false)
	switch {
	case held.Owner == mine.Owner &&
		(held.Released || held.Host == mine.Host && held.File == mine.File):
		return nil // the file lock proves that nobody else has this file
	case held.Owner == mine.Owner:
		if age := time.Since(held.Renewed.Std()); age < leaseHolds {
			return fmt.Errorf("%w: %s on %s renewed it %s ago", ErrOwned, held.File, held.Host,
				age.Round(time.Second))
		}
		return nil
	case !l.h.cfg.TakeOver && held.Owner == "":
		return fmt.Errorf("%w: what stands at %s in the bucket %s is no lease; if nobody else has "+
			"the actor, start with --take-over", ErrOwned, l.key, bus.BucketOwner)
	case !l.h.cfg.TakeOver:
		return fmt.Errorf("%w: it belongs to %s on %s; start with --take-over to replace it",
			ErrOwned, held.File, held.Host)
	}
	return l.h.engine.NewEpoch(CutTakeOver, "from "+held.File+" on "+held.Host)
}

// leaseIn reads an entry; a lease without an owner is none.
func leaseIn(entry jetstream.KeyValueEntry) (held LeaseEntry) {
	if err := json.Unmarshal(entry.Value(), &held); err != nil {
		return LeaseEntry{}
	}
	return held
}

// askSenders refuses an empty file where a sender knows of a committed number:
// the actor has lived in another file. Senders that are down are not waited
// for.
func (l *lease) askSenders(ctx context.Context) error {
	if l.h.engine.Anchor().Seq != 0 || l.h.cfg.TakeOver {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 150*time.Millisecond)
	defer cancel()
	inbox := l.h.nc.NewInbox()
	sub, err := l.h.nc.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := l.h.nc.PublishRequest(bus.KnownSubject, inbox, []byte(l.key)); err != nil {
		return err
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil // nobody knows of it
		}
		if len(m.Data) > 0 {
			return fmt.Errorf("%w: %s has numbers that it has committed, but this file is empty; "+
				"start with --take-over to begin anew", ErrOwned, m.Data)
		}
	}
}

// taken counts the lease from before it was written.
func (l *lease) taken(start time.Time, err error) error {
	if err == nil {
		l.until.Store(start.Add(leaseHolds).UnixNano())
	}
	return err
}

func (l *lease) entryNow(released bool) LeaseEntry {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return LeaseEntry{Owner: l.h.engine.Owner(), Instance: l.instance, Host: host,
		File: l.h.engine.file.Path, Renewed: api.TimeOf(time.Now()), Released: released}
}

func (l *lease) entry(released bool) []byte {
	e := l.entryNow(released)
	return api.Raw(&e)
}

// run renews the lease until ctx ends.
func (l *lease) run(ctx context.Context) {
	ticker := time.NewTicker(leaseRenew)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := l.renew(ctx)
		if l.lost.Load() {
			l.h.disown(err)
			return
		}
		if err != nil && ctx.Err() == nil {
			l.h.log.Warn("lease not renewed", "err", err)
		}
	}
}

// renew writes the lease again; one that was lost with the streams is made
// anew.
func (l *lease) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseTry)
	defer cancel()
	start := time.Now()
	revision, err := l.kv.Update(ctx, l.key, l.entry(false), l.revision)
	if err == nil {
		l.revision = revision
		return l.taken(start, nil)
	}
	entry, gerr := l.kv.Get(ctx, l.key)
	switch {
	case errors.Is(gerr, jetstream.ErrKeyNotFound):
		_, err := l.take(ctx)
		return err
	case gerr != nil:
		return errors.Join(err, gerr)
	}
	held := leaseIn(entry)
	switch {
	case held.Owner == "", // no lease: somebody wrote over ours
		held.Instance == l.instance, // an earlier renewal whose answer was lost
		// older than ours: the bucket lost its newest entries
		held.Owner == l.h.engine.Owner() &&
			held.Renewed < l.entryNow(false).Renewed.Add(-leaseHolds):
		l.revision = entry.Revision()
		return nil // the next one counts
	}
	l.lost.Store(true)
	l.until.Store(0)
	return fmt.Errorf("%w: %s on %s has taken it", ErrOwned, held.File, held.Host)
}

// check tells whether a batch may be committed now.
func (l *lease) check() error {
	if time.Now().UnixNano() < l.until.Load() {
		return nil
	}
	if l.lost.Load() {
		return fmt.Errorf("lease: %w", ErrOwned)
	}
	return errNotRenewed
}

// release lets another process take the lease at once.
func (l *lease) release() {
	if l.kv == nil || l.lost.Load() || l.until.Load() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaseTry)
	defer cancel()
	// Not written, the lease just expires.
	_, _ = l.kv.Update(ctx, l.key, l.entry(true), l.revision)
}
