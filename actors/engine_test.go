package actors_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

// delivery is a note from the order actor under an epoch of its choice.
func delivery(epoch string, number, after int64, n *note) actors.Delivery {
	return actors.Delivery{Subject: bus.MailboxSubject("goods", "note"), After: after,
		ID: fmt.Sprintf("order.0.%s.goods.0.%d", epoch, number), Body: api.Raw(n)}
}

// file opens the actor's file beside it.
func file(a *actorstest.Actor) *sql.DB {
	a.T.Helper()
	db, err := sql.Open("sqlite", a.Path)
	if err != nil {
		a.T.Fatal(err)
	}
	a.T.Cleanup(func() { db.Close() })
	return db
}

func count(a *actorstest.Actor, table string) (n int) {
	a.T.Helper()
	if err := file(a).QueryRow(`SELECT count(*) FROM ` + table).Scan(&n); err != nil {
		a.T.Fatal(err)
	}
	return n
}

// ACCEPT M2 M5: the first message of a new epoch may be one that can't be
// handled; the old epoch is over all the same, also after a restart.
func TestDeadLetterFirstOfAnEpoch(t *testing.T) {
	a := actorstest.New(t, receiverSpec())
	for n := range int64(3) {
		a.Apply(delivery("zzz", n+1, 0, &note{N: int(n)}))
	}
	bad := delivery("aaa", 4, 3, &note{N: 3, Panic: true})
	a.Apply(bad)
	a.Restart()
	a.Apply(bad)
	a.Apply(delivery("zzz", 4, 0, &note{N: 3}))
	a.Apply(delivery("aaa", 5, 3, &note{N: 4}))
	if letters, notes := count(a, "_dead"), count(a, "note"); letters != 1 || notes != 4 {
		t.Errorf("%d dead letters and %d notes, want 1 and 4", letters, notes)
	}
}

// ACCEPT M4: a sender that is told nothing sends again and again; the incident
// stands there once.
func TestIncidentOnce(t *testing.T) {
	a := actorstest.New(t, receiverSpec())
	for n := range int64(3) {
		a.Apply(delivery("old", n+1, 0, &note{N: int(n)}))
	}
	for n := range int64(50) {
		a.Apply(delivery("new", n+2, 1, &note{N: int(n)}))
	}
	if n := count(a, "_incident"); n != 1 {
		t.Errorf("%d incidents, want 1", n)
	}
	if n := count(a, "note"); n != 3 {
		t.Errorf("%d notes, want 3", n)
	}
}

// ACCEPT M2: what has no id can't be recognised and is skipped, not taken for
// a repeat of another.
func TestNoID(t *testing.T) {
	a := actorstest.New(t, receiverSpec())
	for n := range 3 {
		a.Apply(actors.Delivery{Subject: "ordo.goods.0.note", Body: api.Raw(&note{N: n})})
	}
	if notes, incidents := count(a, "note"), count(a, "_incident"); notes != 0 || incidents != 1 {
		t.Errorf("%d notes and %d incidents, want 0 and 1", notes, incidents)
	}
}

// BenchmarkForgetting: what a batch costs that forgets a message must not
// depend on how many are remembered.
func BenchmarkForgetting(b *testing.B) {
	for _, remembered := range []int{200, 170_000} {
		b.Run(fmt.Sprint(remembered), func(b *testing.B) {
			a := actorstest.New(b, receiverSpec())
			if _, err := file(a).Exec(`WITH RECURSIVE k (n) AS
				(SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < ?1)
				INSERT INTO _edge (id, subject, hash, at)
				SELECT 'old-' || n, '', x'', ?2 + n * 1000000000 FROM k`, remembered,
				api.TimeOf(actorstest.Start)); err != nil {
				b.Fatal(err)
			}
			a.Restart()
			a.Advance(actors.EdgeMemory)
			for n := 0; b.Loop(); n++ { // one is forgotten each time
				a.Advance(time.Second)
				a.MustEdge(fmt.Sprintf("new-%d", n), &note{N: n})
			}
		})
	}
}

// ACCEPT M2: edge messages are remembered for 48 h.
func TestEdgesAreForgotten(t *testing.T) {
	a := actorstest.New(t, receiverSpec())
	for i := range 100 {
		a.MustEdge(fmt.Sprintf("old-%d", i), &note{N: i})
	}
	a.Advance(actors.EdgeMemory + time.Minute)
	for i := range 3 {
		a.MustEdge(fmt.Sprintf("new-%d", i), &note{N: i})
	}
	if n := count(a, "_edge"); n != 3 {
		t.Errorf("%d edge messages are remembered, want 3", n)
	}
}

// A full disk is a fault of the actor: nothing is lost, nothing is a dead
// letter, and it goes on when there is room.
func TestDiskFull(t *testing.T) {
	pages := 60
	spec := receiverSpec()
	spec.Commands = append(spec.Commands, actors.On(func(tx *actors.Tx, m *goSend) error {
		if err := tx.Row(`PRAGMA max_page_count=` + fmt.Sprint(pages)).Scan(new(int)); err != nil {
			return err
		}
		for i := range m.Count {
			if _, err := tx.Exec(`INSERT INTO note (sender, n) VALUES (?, ?)`,
				strings.Repeat("x", 4000), i); err != nil {
				return err
			}
		}
		return nil
	}))
	a := actorstest.New(t, spec)
	in := []actors.Delivery{
		{Subject: "ordo.goods.0.note", ID: "a", Seq: 1, At: 1, Body: api.Raw(&note{})},
		{Subject: "ordo.goods.0.go-send", ID: "b", Seq: 2, At: 2, Body: api.Raw(&goSend{Count: 500})},
	}
	for range 3 {
		if _, err := a.Engine.Apply(1, in); !stores.IsFault(err) {
			t.Fatalf("got %v, want a fault of the store", err)
		}
	}
	pages = 1 << 20
	if _, err := a.Engine.Apply(1, in); err != nil {
		t.Fatal(err)
	}
	if notes, letters := count(a, "note"), count(a, "_dead"); notes != 501 || letters != 0 {
		t.Errorf("%d notes and %d dead letters, want 501 and 0", notes, letters)
	}
}

// A file that has become read-only is a fault of the actor as well. ACCEPT S7
func TestReadOnly(t *testing.T) {
	readOnly := 0
	spec := receiverSpec()
	spec.Commands = append(spec.Commands, actors.On(func(tx *actors.Tx, m *goSend) error {
		if _, err := tx.Exec(`PRAGMA query_only=` + fmt.Sprint(readOnly)); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO note (sender, n) VALUES ('x', 1)`)
		return err
	}))
	a := actorstest.New(t, spec)
	in := []actors.Delivery{
		{Subject: "ordo.goods.0.go-send", ID: "a", Seq: 1, At: 1, Body: api.Raw(&goSend{})},
	}
	readOnly = 1
	for range 3 {
		if _, err := a.Engine.Apply(1, in); !stores.IsFault(err) {
			t.Fatalf("got %v, want a fault of the store", err)
		}
	}
	readOnly = 0
	a.Restart() // the connection stays what it is
	if _, err := a.Engine.Apply(1, in); err != nil {
		t.Fatal(err)
	}
	if notes, letters := count(a, "note"), count(a, "_dead"); notes != 1 || letters != 0 {
		t.Errorf("%d notes and %d dead letters, want 1 and 0", notes, letters)
	}
}

// Closing waits for the queries that run; later ones are faults.
func TestCloseDuringQueries(t *testing.T) {
	a := actorstest.New(t, receiverSpec())
	for i := range 200 {
		a.MustEdge(fmt.Sprintf("n-%d", i), &note{N: i})
	}
	var wg sync.WaitGroup
	var asked atomic.Int64
	for range 2 * stores.MaxReaders {
		wg.Go(func() {
			for {
				all, err := a.Engine.Ask("notes", nil)
				if err != nil {
					if api.AsError(err) != nil || stores.IsFault(err) {
						t.Errorf("a query after the close: %v", err)
					}
					return
				}
				if n := len(all.([]note)); n != 200 {
					t.Errorf("%d notes, want 200", n)
				}
				asked.Add(1)
			}
		})
	}
	eventually(t, "queries", func() bool { return asked.Load() > 50 })
	if err := a.Engine.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// A query that panics in the middle of its rows gives its snapshot back, so
// that the write-ahead log can be emptied.
func TestPanicInAQuery(t *testing.T) {
	spec := receiverSpec()
	spec.Queries = append(spec.Queries, actors.Answer("Panics.",
		func(v *actors.View, _ *api.GetOrder) (int, error) {
			return 0, v.Each(func(actors.Row) error { panic("as asked") }, `SELECT n FROM note`)
		}))
	a := actorstest.New(t, spec)
	for i := range 3 {
		a.MustEdge(fmt.Sprintf("n-%d", i), &note{N: i})
	}
	for range 2 * stores.MaxReaders {
		if _, err := a.Engine.Ask((&api.GetOrder{}).Endpoint().Verb, nil); err == nil {
			t.Fatal("no fault")
		}
	}
	a.MustEdge("after", &note{N: 3})
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(a.Path)+"?_pragma=busy_timeout(100)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var busy, log, done int
	if err := db.QueryRow(`PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &log, &done); err != nil ||
		busy != 0 {
		t.Errorf("checkpoint: busy %d, %v", busy, err)
	}
}
