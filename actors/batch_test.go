package actors_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/api"
)

// ACCEPT M5: whatever is wrong with messages in a batch, those around them are
// handled, in order and once; what bad ones wrote and sent is gone.
func TestBadMessagesInABatch(t *testing.T) {
	bad := map[string]act{
		"panic":      {Write: []int{100}, Send: []int{100}, Begin: "fx", Panic: true},
		"fault":      {Write: []int{100}, Send: []int{100}, Configure: "bad", Fault: true},
		"constraint": {Send: []int{100}, Write: []int{100, 100}},
		"too large":  {Write: []int{100}, Send: []int{100}, Size: api.MaxMessage},
		"refusal":    {Write: []int{100}, Send: []int{100}, Configure: "bad", Refuse: true},
	}
	for name, m := range bad {
		for _, places := range [][]int{{0}, {9}, {4}, {0, 1, 2}, {3, 5, 9},
			{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}} {
			t.Run(fmt.Sprint(name, places), func(t *testing.T) {
				a := actorstest.New(t, probeSpec())
				var in []actors.Delivery
				var good []int
				for i := range 10 {
					if slices.Contains(places, i) {
						in = append(in, edge(fmt.Sprintf("m-%d", i), &m))
						continue
					}
					good = append(good, i)
					in = append(in, edge(fmt.Sprintf("m-%d", i), &act{Write: []int{i}, Send: []int{i}}))
				}
				a.Apply(in...)
				wantRows(a, good...)
				if got := sentNumbers(a, 1); !slices.Equal(got, good) {
					t.Errorf("sent %v, want %v", got, good)
				}
				dead := len(places)
				if m.Refuse {
					dead = 0
				}
				if len(a.Out.Dead) != dead || a.Out.Handled != 10 || len(a.Out.Effects) != 0 {
					t.Errorf("left %+v", a.Out)
				}
				wantCounts(a, map[string]int{"_dead": dead, "_effect": 0, "_edge": 10})
				for _, i := range places { // told again, it is answered the same
					r := a.Edge(fmt.Sprintf("m-%d", i), &m)
					if r.Refusal == nil || a.Out.Skipped != 1 {
						t.Errorf("message %d: %+v", i, r)
					}
				}
				if r := a.MustEdge("config", &act{Reply: "config"}); string(r.Value) != `"none"` {
					t.Errorf("the configuration is %s", r.Value)
				}
			})
		}
	}
}

// Of a batch that fails in the middle nothing is told outside twice.
func TestOutputOfABatchThatFails(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	a.Apply(channel(1, &act{Wake: "k1", Begin: "fx-1", Remind: "r-1"}), channel(3, &act{}),
		channel(2, &act{Wake: "k2", Panic: true}), channel(3, &act{Wake: "k3", Begin: "fx-3"}),
		channel(9, &act{}))
	o := a.Out
	if len(o.Wakes) != 2 || o.Wakes[0].Key != "k1" || o.Wakes[1].Key != "k3" ||
		len(o.Effects) != 2 || len(o.Timers) != 1 || len(o.Dead) != 1 || o.Handled != 3 {
		t.Errorf("left %+v", o)
	}
	if l := o.Dead[0]; l.N != 1 || l.ID != "order.0.one.goods.0.2" || l.State != "open" ||
		l.Attempts != 5 || l.At != api.TimeOf(a.Now.Add(-2*time.Millisecond)) ||
		!strings.Contains(l.Error, "as asked") || l.Subject != "ordo.goods.0.act" {
		t.Errorf("letter %+v", l)
	}
}

// ACCEPT M2: an edge message that is older than the memory of edges may have
// been handled and forgotten, so it is skipped, and counted.
func TestLateEdgeMessages(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	a.MustEdge("m-1", &act{Write: []int{1}})
	a.Advance(actors.EdgeMemory + time.Hour)
	a.MustEdge("m-2", &act{Write: []int{2}})
	now := api.TimeOf(a.Now)
	in := []actors.Delivery{
		edge("late-1", &act{Write: []int{3}}), edge("late-2", &act{Write: []int{4}}),
		edge("young", &act{Write: []int{5}}), channel(1, &act{Write: []int{6}})}
	for i, age := range []time.Duration{actors.EdgeMemory + time.Second, 100 * time.Hour,
		actors.EdgeMemory - time.Second, 100 * time.Hour} {
		in[i].Seq, in[i].At = uint64(100+i), now.Add(-age)
	}
	out, err := a.Engine.Apply(api.TimeOf(actorstest.Start), in)
	if err != nil || out.Handled != 2 || out.Skipped != 2 {
		t.Errorf("left %+v, %v", out, err)
	}
	wantRows(a, 1, 2, 5, 6)
	var late int
	if err := file(a).QueryRow(`SELECT late FROM _actor`).Scan(&late); err != nil || late != 2 {
		t.Errorf("%d late ones are counted, %v, want 2", late, err)
	}
	if a.Engine.Now() != now {
		t.Errorf("the time went to %s, want %s", a.Engine.Now().Std(), now.Std())
	}
}

// ACCEPT M2 S2: the same id with another body is an incident, which stands there
// once, and changes nothing; the first outcome stays.
func TestIDReused(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	first := a.MustEdge("m-1", &act{Write: []int{1}, Reply: "first"})
	for i := range 3 {
		again := a.MustEdge("m-1", &act{Write: []int{2 + i}, Reply: "second"})
		if string(again.Value) != string(first.Value) || string(again.Hash) != string(first.Hash) {
			t.Errorf("told again: %+v", again)
		}
		if a.Out.Skipped != 1 || len(a.Out.Wakes) != 0 {
			t.Errorf("left %+v", a.Out)
		}
	}
	wantRows(a, 1)
	wantCounts(a, map[string]int{"_incident": 1, "_edge": 1, "_dead": 0})
}

// A file keeps the newest incidents, since who sends can cause them.
func TestIncidentsAreBounded(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	const n = 10_010
	for from := 0; from < n; from += 1001 {
		var in []actors.Delivery
		for i := from; i < from+1001; i++ {
			id := fmt.Sprint("m-", i)
			in = append(in, edge(id, &act{}), edge(id, &act{Reply: "other"}))
		}
		a.Apply(in...)
	}
	wantCounts(a, map[string]int{"_incident": 10_000})
	var first string
	if err := file(a).QueryRow(`SELECT text FROM _incident ORDER BY n LIMIT 1`).Scan(&first); err != nil ||
		!strings.Contains(first, "m-10 ") {
		t.Errorf("the oldest is %q, %v", first, err)
	}
}

// Who waits for an edge message is woken with its outcome, also when it comes
// again. ACCEPT S2
func TestWakesWithOutcomes(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	for range 2 {
		a.Apply(edge("m-1", &act{Write: []int{1}, Reply: "good"}), edge("m-2", &act{Refuse: true}),
			edge("m-3", &act{Fault: true}), edge("m-4", &act{}))
		if len(a.Out.Wakes) != 4 {
			t.Fatalf("wakes %+v", a.Out.Wakes)
		}
		for i, want := range []struct {
			value string
			code  api.Code
		}{{`"good"`, ""}, {"", api.CodeInvalid}, {"", api.CodeInternal}, {"", ""}} {
			var r api.Result
			if err := json.Unmarshal(a.Out.Wakes[i].Body, &r); err != nil {
				t.Fatal(err)
			}
			if a.Out.Wakes[i].Key != fmt.Sprintf("m-%d", i+1) || string(r.Value) != want.value ||
				len(r.Hash) != 32 || (r.Refusal != nil) != (want.code != "") ||
				r.Refusal != nil && r.Refusal.Code != want.code {
				t.Errorf("wake %d: %s %+v", i, a.Out.Wakes[i].Key, r)
			}
		}
	}
	var r api.Result
	refusal := a.Ask(&getResult{api.GetResult{ID: "nobody"}}, &r)
	wantRefusal(t, "the result of nothing", refusal, api.CodeNotFound)
}

type getResult struct{ api.GetResult }

func (*getResult) Endpoint() api.Route {
	return api.Route{Actor: "goods", Verb: api.EndpointResult}
}

// A configuration stays over restarts, and goes with the message that was
// refused.
func TestConfigure(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	want := func(what, shop string) {
		t.Helper()
		id := "get-" + what
		if r := a.MustEdge(id, &act{Reply: "config"}); string(r.Value) != `"`+shop+`"` {
			t.Errorf("%s: %s, want %s", what, r.Value, shop)
		}
	}
	want("at first", "none")
	a.MustEdge("m-1", &act{Configure: "one"})
	want("configured", "one")
	a.Restart()
	want("restarted", "one")
	if r := a.Edge("m-2", &act{Configure: "two", Refuse: true}); r.Refusal == nil {
		t.Error("not refused")
	}
	want("refused", "one")
	a.Edge("m-3", &act{Configure: "three", Panic: true})
	want("panic", "one")
	// In one batch, each message sees what those before it configured.
	a.Apply(edge("m-4", &act{Configure: "four"}), edge("m-5", &act{Reply: "config"}),
		edge("m-6", &act{Configure: "bad", Refuse: true}), edge("m-7", &act{Reply: "config"}))
	for _, id := range []string{"m-5", "m-7"} {
		var r api.Result
		if a.Ask(&getResult{api.GetResult{ID: id}}, &r); string(r.Value) != `"four"` {
			t.Errorf("%s: %s", id, r.Value)
		}
	}
	a.Restart()
	want("at last", "four")
}

// The time of an actor never goes back, whatever the messages' times are.
func TestTimeNeverGoesBack(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	for i, at := range []api.Time{1000, 900, 2000, 1500, 1, 2001} {
		d := channel(int64(i+1), &act{Write: []int{i}})
		d.Seq, d.At = uint64(i+1), at
		if _, err := a.Engine.Apply(1, []actors.Delivery{d}); err != nil {
			t.Fatal(err)
		}
		if i == 3 {
			a.Restart()
		}
	}
	var all []row
	a.Ask(&listRows{}, &all)
	var times []api.Time
	for _, r := range all {
		times = append(times, r.At)
	}
	if want := []api.Time{1000, 1000, 2000, 2000, 2000, 2001}; !slices.Equal(times, want) {
		t.Errorf("times %v, want %v", times, want)
	}
}

// The anchor is the last message that was passed, handled or not.
func TestAnchor(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	if got := a.Engine.Anchor(); got != (actors.Anchor{}) {
		t.Errorf("at first %+v", got)
	}
	for i, d := range []actors.Delivery{edge("m-1", &act{}), edge("m-1", &act{}),
		edge("m-2", &act{Refuse: true}), edge("m-3", &act{Panic: true}),
		edge("", &act{}), channel(1, &act{}), channel(1, &act{})} {
		a.Apply(d)
		a.Restart()
		if got, want := a.Engine.Anchor(), (actors.Anchor{Created: api.TimeOf(actorstest.Start),
			Seq: uint64(i + 1), At: api.TimeOf(a.Now), ID: d.ID}); got != want {
			t.Errorf("after message %d %+v, want %+v", i, got, want)
		}
	}
}

// ACCEPT M10: the same messages give the same database, whatever the batches
// were: rows, ids, numbers, outcomes.
func TestSameMessagesSameDatabase(t *testing.T) {
	const total = 200
	all := make([]actors.Delivery, 0, total)
	r := rand.New(rand.NewPCG(7, 7))
	channelNumber := int64(0)
	for i := range total {
		m := &act{Write: []int{i}, Send: []int{i, i}[:r.IntN(3)], Refuse: r.IntN(5) == 0,
			Reply: "config"}
		if r.IntN(9) == 0 {
			m.Configure, m.Begin = fmt.Sprint(i), fmt.Sprintf("fx-%d", i)
		}
		d := edge(fmt.Sprintf("m-%d", i-i%7*r.IntN(2)), m)
		if r.IntN(3) == 0 {
			channelNumber++
			s := api.Step{Order: fmt.Sprintf("ord_%d", r.IntN(9)), Name: "goods.probe"}
			d = channel(channelNumber, &stepDo{s, *m})
		}
		d.Seq, d.At = uint64(i+1), api.Time(i+1)*1e9
		all = append(all, d)
	}
	dump := func(size func() int) string {
		a := actorstest.New(t, probeSpec())
		for rest := all; len(rest) > 0; {
			n := min(size(), len(rest))
			if _, err := a.Engine.Apply(1, rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		return contents(a)
	}
	want := dump(func() int { return 1 })
	if len(want) < 10_000 {
		t.Errorf("the database holds %d bytes", len(want))
	}
	for name, size := range map[string]func() int{
		"at once": func() int { return total }, "of any size": func() int { return 1 + r.IntN(20) }} {
		if got := dump(size); got != want {
			t.Errorf("batches %s give another database", name)
		}
	}
}

// contents is what the actor's tables hold, but for its random ids.
func contents(a *actorstest.Actor) string {
	a.T.Helper()
	db := file(a)
	var b strings.Builder
	for _, query := range []string{
		`SELECT now, created, seq, at, msg_id, handled, skipped, late, config FROM _actor`,
		`SELECT * FROM probe`, `SELECT * FROM _in`, `SELECT receiver, number FROM _out`,
		`SELECT receiver, number, subject, cause, body FROM _outbox ORDER BY receiver, number`,
		`SELECT n, id, subject, hex(hash), refusal, value, at FROM _edge`, `SELECT * FROM _step`,
		`SELECT * FROM _effect`, `SELECT kind, text, at FROM _incident ORDER BY n`} {
		rows, err := db.Query(query)
		if err != nil {
			a.T.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			a.T.Fatal(err)
		}
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				a.T.Fatal(err)
			}
			for _, v := range values {
				fmt.Fprintf(&b, "%v|", *v.(*any))
			}
			b.WriteByte('\n')
		}
		if err := rows.Err(); err != nil {
			a.T.Fatal(err)
		}
	}
	return b.String()
}

// Two ids of one message differ, and so do those of two messages.
func TestNewIDs(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	a.Apply(edge("m-1", &act{Write: []int{1, 2}}), channel(1, &act{Write: []int{3, 4}}))
	var all []row
	a.Ask(&listRows{}, &all)
	seen := map[string]bool{}
	for _, r := range all {
		if !strings.HasPrefix(r.ID, "row_") {
			t.Errorf("the id is %s", r.ID)
		}
		seen[r.ID] = true
	}
	if len(seen) != 4 {
		t.Errorf("4 rows have %d ids", len(seen))
	}
}
