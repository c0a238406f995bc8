package e2e

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/bus"
	"ordo/stores"
)

// crashLeft is what a kill left behind in the middle.
type crashLeft struct {
	// unacked messages stand in a mailbox and were not handled; submits are
	// those of them that are new orders.
	unacked, submits int
	// undone messages were committed by their sender and not by their receiver.
	undone int
	// half are orders with some steps done and some not.
	half int
}

// ACCEPT M9 M4
// The JetStream directory is deleted after a kill under load. Whatever was in
// the middle, every accepted order is decided within 30 s, and nothing twice.
func TestCrashJetStreamDirectoryDeleted(t *testing.T) {
	t.Parallel()
	data, addr := t.TempDir(), crashFreeAddr(t)
	p := crashServe(t, addr, data)
	l := newCrashLoad(t, p.url)
	l.begin()
	var sum crashLeft
	for round := 1; sum.submits == 0 || sum.undone == 0 || sum.half == 0 || round <= 3; round++ {
		if round > 20 {
			t.Fatalf("after %d rounds: %+v", round-1, sum)
		}
		l.grow(data, 100)
		p.kill()
		left := crashLeftIn(t, data)
		t.Logf("round %d: %+v", round, left)
		sum.unacked += left.unacked
		sum.submits += left.submits
		sum.undone += left.undone
		sum.half += left.half
		open := crashPending(t, data)
		if err := os.RemoveAll(filepath.Join(data, "nats")); err != nil {
			t.Fatal(err)
		}
		p = crashServe(t, addr, data)
		crashDecided(t, data, open)
	}
	l.halt()
	l.end()
	l.settled(data)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	audit(t, data)
	t.Logf("left in the middle, over all rounds: %+v", sum)
}

// crashPending are the orders that wait for their steps.
func crashPending(t *testing.T, data string) (ids []string) {
	t.Helper()
	db, err := stores.OpenReadOnly(filepath.Join(data, "actors", "order.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT id FROM orders WHERE state = 'pending'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}

// crashDecided waits until all these orders are decided, 30 s at most.
func crashDecided(t *testing.T, data string, ids []string) {
	t.Helper()
	began := time.Now()
	for _, id := range ids {
		eventually(t, "order "+id+" is decided", func() bool {
			return crashNumber(t, data, "order", `SELECT state <> 'pending' FROM orders
				WHERE id = ?`, id) == 1
		})
	}
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("%d orders were decided only after %s", len(ids), d)
	}
}

// crashLeftIn counts what is in the middle in a shop that was killed.
func crashLeftIn(t *testing.T, data string) (left crashLeft) {
	t.Helper()
	left.half = crashCount(t, crashDB(t, data, "order"), `SELECT count(*) FROM orders o
		WHERE state = 'pending' AND EXISTS (SELECT 1 FROM steps WHERE order_id = o.id
			AND state = 'done')`)
	for _, sender := range bus.ActorNames() {
		for _, receiver := range bus.ActorNames() {
			committed := crashCount(t, crashDB(t, data, receiver), `SELECT coalesce(max(number), 0)
				FROM _in WHERE sender = ? AND retired = 0`, bus.Address(sender))
			left.undone += crashCount(t, crashDB(t, data, sender), `SELECT count(*) FROM _outbox
				WHERE receiver = ? AND number > ?`, bus.Address(receiver), committed)
		}
	}
	crashStreams(t, filepath.Join(data, "nats"), func(js jetstream.JetStream) {
		for _, actor := range bus.ActorNames() {
			messages, submits := crashUnhandled(t, js, data, actor)
			left.unacked += messages
			left.submits += submits
		}
	})
	return left
}

// crashStreams opens the streams of a shop that was killed, in their directory.
func crashStreams(t *testing.T, dir string, read func(js jetstream.JetStream)) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	s, err := bus.StartServer(bus.ServerConfig{Dir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	nc, err := bus.Connect(s, "", "crash", log)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := bus.NewJetStream(nc, func(*nats.Msg, error) {})
	if err != nil {
		t.Fatal(err)
	}
	read(js)
}

// crashUnhandled counts an actor's messages behind its anchor.
func crashUnhandled(t *testing.T, js jetstream.JetStream, data, actor string) (all, submits int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, bus.MailboxStream(actor))
	if err != nil {
		t.Fatal(err)
	}
	anchor := crashCount(t, crashDB(t, data, actor), `SELECT seq FROM _actor`)
	for seq := uint64(anchor) + 1; seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(ctx, seq)
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		all++
		if err == nil && strings.HasSuffix(m.Subject, ".submit") {
			submits++
		}
	}
	return all, submits
}
