package actors_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/bus"
)

// ACCEPT P9: what two files at the ends of a channel say decides what has to be
// done for it to go on; nothing, while the sender still has what is missing.
func TestFixes(t *testing.T) {
	for name, c := range map[string]struct {
		given actors.Given
		taken actors.Taken
		want  []actors.Fix
	}{
		"level":         {actors.Given{Number: 9, Kept: 1}, actors.Taken{Epoch: "e", Number: 9}, nil},
		"under way":     {actors.Given{Number: 9, Kept: 4}, actors.Taken{Epoch: "e", Number: 3}, nil},
		"nothing taken": {actors.Given{Number: 9, Kept: 1}, actors.Taken{}, nil},
		"followed":      {actors.Given{Number: 9, After: 7, Kept: 1}, actors.Taken{Epoch: "old", Number: 7}, nil},
		"ahead": {actors.Given{Number: 9, Kept: 1}, actors.Taken{Epoch: "e", Number: 12},
			[]actors.Fix{{Actor: "order", Other: "goods", Kind: actors.FixSkip, First: 10, Last: 12}}},
		"ahead of nothing": {actors.Given{}, actors.Taken{Epoch: "e", Number: 2},
			[]actors.Fix{{Actor: "order", Other: "goods", Kind: actors.FixSkip, First: 1, Last: 2}}},
		"pruned": {actors.Given{Number: 9, Kept: 5}, actors.Taken{Epoch: "e", Number: 3},
			[]actors.Fix{{Actor: "goods", Other: "order", Kind: actors.FixLost, First: 4, Last: 4}}},
		"pruned, nothing taken": {actors.Given{Number: 9, Kept: 10}, actors.Taken{},
			[]actors.Fix{{Actor: "goods", Other: "order", Kind: actors.FixLost, First: 1, Last: 9}}},
		"not followed": {actors.Given{Number: 9, After: 5, Kept: 1}, actors.Taken{Epoch: "old", Number: 7},
			[]actors.Fix{{Actor: "order", Other: "goods", Kind: actors.FixEpoch, First: 6, Last: 7}}},
	} {
		sender := &actors.Channels{Actor: "order", Epoch: "e", Given: map[string]actors.Given{},
			Taken: map[string]actors.Taken{}}
		receiver := &actors.Channels{Actor: "goods", Epoch: "g", Given: map[string]actors.Given{},
			Taken: map[string]actors.Taken{}}
		if c.given.Number > 0 {
			sender.Given["goods.0"] = c.given
		}
		if c.taken.Epoch != "" {
			receiver.Taken["order.0"] = c.taken
		}
		if got := actors.Fixes([]*actors.Channels{sender, receiver}); !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// ACCEPT P9 M10: a repair writes numbers, incidents, an epoch and a cut, and the
// numbers go on after it.
func TestRepairOfAFile(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	a.MustEdge("m-1", &act{Send: []int{1, 2, 3}})
	a.Apply(channel(1, &act{}), channel(2, &act{}))
	owner := a.Engine.Owner()
	fixes := []actors.Fix{{Actor: "goods", Other: "coupon", Kind: actors.FixSkip, First: 4, Last: 6},
		{Actor: "goods", Other: "order", Kind: actors.FixLost, First: 3, Last: 7},
		{Actor: "goods", Other: "wallet", Kind: actors.FixLost, First: 1, Last: 2},
		{Actor: "order", Other: "goods", Kind: actors.FixSkip, First: 1, Last: 99}}
	if err := a.Engine.Repair(fixes, "told"); err != nil {
		t.Fatal(err)
	}
	wantCounts(a, map[string]int{"_incident": 4, "_cut": 1})
	c, err := a.Engine.Channels()
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Given["coupon.0"]; got != (actors.Given{Number: 6, After: 6, Kept: 7}) ||
		c.Taken["order.0"].Number != 7 || c.Taken["wallet.0"].Number != 2 || c.Restored ||
		a.Engine.Owner() != owner {
		t.Errorf("%+v", c)
	}
	a.MustEdge("m-2", &act{Send: []int{7, 8}})
	sentNumbers(a, 7)
	a.Apply(channel(8, &act{Write: []int{8}}))
	wallet := edge("wallet.0.new.goods.0.3", &act{Write: []int{3}})
	wallet.After = 5
	a.Apply(wallet)
	wantRows(a, 3, 8)
	a.Restart()
	wantResend(a, 6, 7, 8)
}

// ACCEPT P9: a file that was copied some time ago handles what its mailbox has
// had since, with the same numbers, and is then like the one that went on.
func TestCatchUp(t *testing.T) {
	w := newWorld(t)
	spec := probeSpec()
	h := w.start(spec)
	w.mustDo("goods", "act-0", &act{Write: []int{0}, Send: []int{0}})
	copied := filepath.Join(t.TempDir(), "goods.db")
	snapshot(t, w.path("goods"), copied)
	for i := 1; i < 30; i++ {
		w.mustDo("goods", fmt.Sprintf("act-%d", i), &act{Write: []int{i}, Send: []int{i, i}})
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	e, err := actors.OpenEngine(t.Context(), spec, copied)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.NewEpoch(actors.CutRestore, "test"); err != nil {
		t.Fatal(err)
	}
	if c, err := e.Channels(); err != nil || !c.Restored || c.Given["coupon.0"].Number > 3 {
		t.Errorf("%+v, %v", c, err)
	}
	n, held, err := e.CatchUp(t.Context(), bus.OpenHistory(w.js, "goods"))
	if err != nil || !held || n < 29 {
		t.Errorf("%d messages, %v, %v", n, held, err)
	}
	c, err := e.Channels()
	if err != nil || c.Given["coupon.0"].Number != 59 || c.Given["coupon.0"].Kept != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	if err := w.js.DeleteStream(t.Context(), "GOODS"); err != nil {
		t.Fatal(err)
	}
	if err := bus.Setup(t.Context(), w.js, 0); err != nil {
		t.Fatal(err)
	}
	if n, held, err := e.CatchUp(t.Context(), bus.OpenHistory(w.js, "goods")); n != 0 || held ||
		err != nil {
		t.Errorf("another stream: %d messages, %v, %v", n, held, err)
	}
}

// ACCEPT M10: before retention has taken the beginning of the stream, a snapshot
// is there to start from; few of them are kept.
func TestSnapshotsBeforeRetention(t *testing.T) {
	w := newWorld(t)
	w.start(senderSpec("order"))
	config := w.stream("GOODS").CachedInfo().Config
	config.MaxBytes = 64 << 10
	if _, err := w.js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	w.start(receiverSpec())
	w.send(0, 200)
	if n := len(w.snapshots()); n != 0 {
		t.Errorf("%d snapshots of a stream that is not full", n)
	}
	w.send(200, 100)
	eventually(t, "a snapshot", func() bool { return len(w.snapshots()) > 0 })
	seq := w.snapshots()[0].Anchor.Seq
	if first := w.stream("GOODS").CachedInfo().State.FirstSeq; seq+1 < first {
		t.Errorf("the snapshot is at %d, the stream begins with %d", seq, first)
	}
	v := w.verify(receiverSpec())
	if v.Verdict != actors.VerdictEqual {
		t.Errorf("%+v", v)
	}
}

// purgeTo drops all messages up to a number, as retention does.
func purgeTo(seq uint64) jetstream.StreamPurgeOpt { return jetstream.WithPurgeSequence(seq + 1) }
