package actors_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ordo/actors"
	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

// path is where a test actor's file is.
func (w *world) path(actor string) string { return filepath.Join(w.dir, "actors", actor+".db") }

// standing is what the file of goods says of itself.
func (w *world) standing() *actors.Standing {
	w.t.Helper()
	s, err := actors.ReadStanding(w.t.Context(), w.path("goods"))
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) snapshots() []actors.Snapshot {
	w.t.Helper()
	all, err := actors.Snapshots(w.t.Context(), w.path("goods"))
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// verify compares goods with its stream.
func (w *world) verify(spec *actors.Spec) *actors.Verification {
	w.t.Helper()
	v, err := actors.Verify(w.t.Context(), spec, w.path("goods"), bus.OpenHistory(w.js, "goods"),
		w.t.TempDir())
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// wantVerdict checks what a verification says, and whether it began with a
// snapshot.
func wantVerdict(t *testing.T, v *actors.Verification, verdict string, snapshot bool) {
	t.Helper()
	if v.Verdict != verdict || (v.Snapshot != "") != snapshot {
		t.Errorf("%+v; difference %v; want %s, from a snapshot %v", v, v.Difference, verdict, snapshot)
	}
}

// send has the order actor send notes to goods, and waits until they are there.
func (w *world) send(from, n int) {
	w.t.Helper()
	w.mustDo("order", fmt.Sprintf("send-%d", from), &goSend{From: from, Count: n})
	eventually(w.t, "notes", func() bool { return len(w.notes()) >= from+n })
}

// write changes the file of goods behind its actor's back.
func (w *world) write(query string, args ...any) {
	w.t.Helper()
	db, err := sql.Open("sqlite", w.path("goods"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(query, args...); err != nil {
		w.t.Fatal(err)
	}
}

// ACCEPT M10: an actor's file, rebuilt from the beginning of its stream, equals
// the live one; a row that was changed, added or deleted is found and named.
func TestVerify(t *testing.T) {
	w := newWorld(t)
	w.start(senderSpec("order"))
	h := w.start(receiverSpec())
	w.send(0, 2000)
	w.mustDo("goods", "edge-1", &note{Sender: "edge", N: 1})
	v := w.verify(receiverSpec())
	wantVerdict(t, v, actors.VerdictEqual, false)
	if v.Messages < 2001 || v.From != 1 || v.Rows < 2001 || v.Tables < 8 {
		t.Errorf("%+v", v)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change, back string
		want         actors.Difference
	}{
		{`UPDATE note SET n = -7 WHERE at = 42`, `UPDATE note SET n = 41 WHERE at = 42`,
			actors.Difference{Table: "note", Key: "42", Column: "n", Live: "-7", Rebuilt: "41"}},
		{`INSERT INTO note VALUES (99999, 'x', 1)`, `DELETE FROM note WHERE at = 99999`,
			actors.Difference{Table: "note", Key: "99999", Live: "a row", Rebuilt: "no row"}},
		{`DELETE FROM note WHERE at = 7`, `INSERT INTO note VALUES (7, 'order', 6)`,
			actors.Difference{Table: "note", Key: "7", Live: "no row", Rebuilt: "a row"}},
		{`UPDATE _edge SET refusal = '{}' WHERE id = 'edge-1'`, `UPDATE _edge SET refusal = NULL`,
			actors.Difference{Table: "_edge", Column: "refusal", Live: "{}", Rebuilt: "NULL"}},
		{`UPDATE _actor SET handled = handled + 1`, `UPDATE _actor SET handled = handled - 1`,
			actors.Difference{Table: "_actor", Key: "1", Column: "handled"}},
		{`CREATE TRIGGER more AFTER INSERT ON note BEGIN SELECT 1; END`, `DROP TRIGGER more`,
			actors.Difference{Table: "sqlite_schema", Key: "trigger, more", Live: "a row",
				Rebuilt: "no row"}},
		{`CREATE INDEX more ON note (n)`, `DROP INDEX more`,
			actors.Difference{Table: "sqlite_schema", Key: "index, more", Live: "a row",
				Rebuilt: "no row"}},
	} {
		w.write(c.change)
		v := w.verify(receiverSpec())
		wantVerdict(t, v, actors.VerdictDiffers, false)
		if d := v.Difference; d == nil || d.Table != c.want.Table || d.Column != c.want.Column ||
			c.want.Key != "" && d.Key != c.want.Key ||
			c.want.Live != "" && (d.Live != c.want.Live || d.Rebuilt != c.want.Rebuilt) {
			t.Errorf("%s: %v, want %v", c.change, d, &c.want)
		}
		w.write(c.back)
		wantVerdict(t, w.verify(receiverSpec()), actors.VerdictEqual, false)
	}
}

// ACCEPT M10: a sender's messages are compared as well, by their numbers.
func TestVerifyTheOutbox(t *testing.T) {
	w := newWorld(t)
	spec := senderSpec("goods")
	spec.Commands = append(spec.Commands, actors.On(func(tx *actors.Tx, m *act) error {
		for _, n := range m.Send {
			if err := tx.Send(&parcel{N: n}); err != nil {
				return err
			}
		}
		return nil
	}))
	h := w.start(spec)
	for i := range 20 {
		w.mustDo("goods", fmt.Sprintf("act-%d", i), &act{Send: []int{i, i + 100}})
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	wantVerdict(t, w.verify(spec), actors.VerdictEqual, false)
	w.write(`UPDATE _sent SET messages = replace(messages, '"n":105', '"n":106')`)
	v := w.verify(spec)
	wantVerdict(t, v, actors.VerdictDiffers, false)
	if d := v.Difference; d == nil || d.Table != "_outbox" || d.Key != "coupon.0, 12" ||
		d.Column != "body" || d.Live != `{"n":106}` {
		t.Errorf("%v", d)
	}
}

// ACCEPT M10: a message that the stream has lost is a hole, not a difference.
// When the actor itself meets one, that is a cut: it takes a snapshot, and can
// be rebuilt from there.
func TestVerifyAcrossAHole(t *testing.T) {
	w := newWorld(t)
	w.start(senderSpec("order"))
	h := w.start(receiverSpec())
	w.send(0, 100)
	if err := w.stream("GOODS").DeleteMsg(t.Context(), 50); err != nil {
		t.Fatal(err)
	}
	v := w.verify(receiverSpec())
	wantVerdict(t, v, actors.VerdictHole, false)
	if v.Hole == nil || *v.Hole != (actors.Hole{First: 50, Last: 50}) {
		t.Errorf("hole %v", v.Hole)
	}

	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	last := w.standing().Anchor.Seq
	w.mustPublish("goods", "edge-1", &note{Sender: "edge", N: 1})
	w.mustPublish("goods", "edge-2", &note{Sender: "edge", N: 2})
	if err := w.stream("GOODS").DeleteMsg(t.Context(), last+1); err != nil {
		t.Fatal(err)
	}
	w.start(receiverSpec())
	eventually(t, "a snapshot after the hole", func() bool { return len(w.snapshots()) == 1 })
	cuts := w.standing().Cuts
	if len(cuts) != 1 || cuts[0].Reason != actors.CutHole ||
		!strings.Contains(cuts[0].Text, fmt.Sprintf("messages %d to %d", last+1, last+1)) {
		t.Errorf("cuts %+v", cuts)
	}
	w.send(100, 100)
	wantVerdict(t, w.verify(receiverSpec()), actors.VerdictEqual, true)
}

// mustPublish puts a message into a mailbox whose actor may be down.
func (w *world) mustPublish(to, id string, m api.Message) {
	w.t.Helper()
	f, err := bus.Publish(w.js, bus.MailboxSubject(to, m.Route().Verb), id, nil, api.Raw(m))
	if err != nil {
		w.t.Fatal(err)
	}
	select {
	case <-f.Ok():
	case err := <-f.Err():
		w.t.Fatal(err)
	}
}

// ACCEPT M10 M9: after its stream was lost, and after a release with other
// rules, an actor takes a snapshot and is rebuilt from that.
func TestVerifyAfterCuts(t *testing.T) {
	w := newWorld(t)
	w.start(senderSpec("order"))
	h := w.start(receiverSpec())
	w.send(0, 300)
	if err := w.js.DeleteStream(t.Context(), "GOODS"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a snapshot after the stream was lost", func() bool { return len(w.snapshots()) == 1 })
	w.send(300, 300)
	wantVerdict(t, w.verify(receiverSpec()), actors.VerdictEqual, true)
	if cuts := w.standing().Cuts; len(cuts) != 1 || cuts[0].Reason != actors.CutAnchor {
		t.Errorf("cuts %+v", cuts)
	}

	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	newer := receiverSpec()
	newer.Version = "1.1.0"
	if v := w.verify(newer); v.Verdict != actors.VerdictUnknown || !strings.Contains(v.Why, "1.0.0") {
		t.Errorf("a file of other rules: %+v", v)
	}
	h = w.start(newer)
	eventually(t, "a snapshot by the new rules", func() bool { return len(w.snapshots()) == 2 })
	w.send(600, 300)
	v := w.verify(newer)
	wantVerdict(t, v, actors.VerdictEqual, true)
	if v.Messages < 300 || v.Messages > 700 {
		t.Errorf("%d messages since the snapshot", v.Messages)
	}
	if cuts := w.standing().Cuts; len(cuts) != 2 || cuts[1].Reason != actors.CutRules {
		t.Errorf("cuts %+v", cuts)
	}

	// Without the snapshot there is nothing to begin with.
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(actors.SnapshotDir(w.path("goods"))); err != nil {
		t.Fatal(err)
	}
	if v := w.verify(newer); v.Verdict != actors.VerdictUnknown || !strings.Contains(v.Why, "rules") {
		t.Errorf("without snapshots: %+v", v)
	}
	// The next start takes one.
	w.start(newer)
	eventually(t, "a snapshot at the start", func() bool { return len(w.snapshots()) == 1 })
	wantVerdict(t, w.verify(newer), actors.VerdictEqual, true)
}

// ACCEPT M10 M5: a dead letter is a cut. The file is rebuilt with it from before,
// and from the snapshot that is taken of it.
func TestVerifyAcrossADeadLetter(t *testing.T) {
	w := newWorld(t)
	w.start(senderSpec("order"))
	h := w.start(receiverSpec())
	w.send(0, 50)
	if err := w.do("goods", "bad-1", &note{Sender: "edge", Panic: true}); err == nil {
		t.Error("a message that panics was answered")
	}
	w.send(50, 50)
	eventually(t, "a snapshot of the letter", func() bool { return len(w.snapshots()) == 1 })
	v := w.verify(receiverSpec())
	wantVerdict(t, v, actors.VerdictEqual, false)
	if err := w.do("goods", "bad-2", &note{Sender: "edge", Panic: true}); err == nil {
		t.Error("a message that panics was answered")
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if cuts := w.standing().Cuts; len(cuts) != 2 || cuts[1].Reason != actors.CutDead {
		t.Errorf("cuts %+v", cuts)
	}
	// Retention takes the beginning.
	if err := w.stream("GOODS").Purge(t.Context(), purgeTo(w.snapshots()[0].Anchor.Seq)); err != nil {
		t.Fatal(err)
	}
	wantVerdict(t, w.verify(receiverSpec()), actors.VerdictEqual, true)
	if got := len(w.snapshots()); got != 1 {
		t.Errorf("%d snapshots within a minute, want 1", got)
	}
}

// ACCEPT M10: a domain as it was after a message, against what was recorded then.
func TestAt(t *testing.T) {
	w := newWorld(t)
	w.start(senderSpec("order"))
	h := w.start(receiverSpec())
	type moment struct {
		at    api.Time
		seq   uint64
		notes int
	}
	var was []moment
	for i := range 5 {
		w.send(i*40, 40)
		w.mustDo("goods", fmt.Sprintf("edge-%d", i), &note{Sender: "order", N: -1})
		// The file is read while it goes on: all that counts is its own anchor.
		copied := filepath.Join(t.TempDir(), "copy.db")
		snapshot(t, w.path("goods"), copied)
		s, err := actors.ReadStanding(t.Context(), copied)
		if err != nil {
			t.Fatal(err)
		}
		was = append(was, moment{s.Now, s.Anchor.Seq, countNotes(t, copied)})
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	history := bus.OpenHistory(w.js, "goods")
	for _, m := range was {
		for name, target := range map[string]actors.Target{"seq": {Seq: m.seq},
			"time": {Seq: w.standing().Anchor.Seq, Until: m.at}} {
			target.Spec, target.Live = receiverSpec(), w.standing()
			out := filepath.Join(t.TempDir(), "at.db")
			r, err := target.At(t.Context(), history, w.snapshots(), out)
			if err != nil {
				t.Fatalf("by %s: %v", name, err)
			}
			if got := countNotes(t, out); got != m.notes || r.Anchor.Seq != m.seq {
				t.Errorf("by %s at %d: %d notes, want %d at %d", name, r.Anchor.Seq, got, m.notes, m.seq)
			}
		}
	}
	beyond := actors.Target{Spec: receiverSpec(), Live: w.standing(), Seq: w.standing().Anchor.Seq + 1}
	if _, err := beyond.At(t.Context(), history, nil, filepath.Join(t.TempDir(), "x.db")); err == nil {
		t.Error("a message that has not come")
	}
	if err := w.stream("GOODS").Purge(t.Context(), purgeTo(was[1].seq)); err != nil {
		t.Fatal(err)
	}
	gone := actors.Target{Spec: receiverSpec(), Live: w.standing(), Seq: was[2].seq}
	if _, err := gone.At(t.Context(), history, nil, filepath.Join(t.TempDir(), "x.db")); !errors.Is(
		err, actors.ErrNoStart) {
		t.Errorf("a place without a start: %v", err)
	}
}

func countNotes(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := stores.OpenReadOnly(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(`SELECT count(*) FROM note`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// snapshot copies a file that may be in use.
func snapshot(t *testing.T, from, to string) {
	t.Helper()
	if err := stores.Snapshot(t.Context(), from, to, 0); err != nil {
		t.Fatal(err)
	}
}
