package actors_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/api"
	"ordo/bus"
)

// ACCEPT M2 M4: by its number a message is new, a repeat or too early. What is
// too early is dropped and asked for; nothing is handled twice or out of order.
func TestNumbers(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	for _, c := range []struct {
		number  int64
		handled bool
		missing int64 // the number it asks to go back to; -1: none
	}{
		{2, false, 0}, {1, true, -1}, {1, false, -1}, {3, false, 1}, {9, false, 1}, {2, true, -1},
		{1, false, -1}, {2, false, -1}, {3, true, -1}, {4, true, -1}, {1 << 60, false, 4},
		{5, true, -1},
	} {
		a.Apply(channel(c.number, &act{Write: []int{int(c.number)}}))
		if handled := a.Out.Handled == 1; handled != c.handled || a.Out.Handled+a.Out.Skipped != 1 {
			t.Errorf("number %d: handled %v", c.number, handled)
		}
		missing := int64(-1)
		if len(a.Out.Missing) == 1 {
			m := a.Out.Missing[0]
			if missing = m.Last; m.Sender != "order.0" || m.Epoch != "one" {
				t.Errorf("number %d: missing %+v", c.number, m)
			}
		}
		if missing != c.missing {
			t.Errorf("number %d: missing after %d, want %d", c.number, missing, c.missing)
		}
	}
	wantRows(a, 1, 2, 3, 4, 5)
	if epoch, n := a.Engine.LastOf("order.0"); epoch != "one" || n != 5 {
		t.Errorf("the last is %d of %s", n, epoch)
	}
	if epoch, n := a.Engine.LastOf("coupon.0"); epoch != "" || n != 0 {
		t.Errorf("of a stranger the last is %d of %s", n, epoch)
	}
}

// ACCEPT M9: a message between actors that lacks its beginning, since its stream was
// damaged, is not handled and no dead letter. It is told, and asked for.
func TestDamagedMessage(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	a.Apply(channel(1, &act{Write: []int{1}}))
	for lost := 1; lost < 3; lost++ {
		d := channel(2, &act{Write: []int{2}})
		d.Body = d.Body[len(d.Body)*lost/2:]
		a.Apply(d)
		if want := []actors.Missing{{Sender: "order.0", Epoch: "one", Last: 1}}; a.Out.Handled != 0 ||
			len(a.Out.Dead) != 0 || !slices.Equal(a.Out.Missing, want) {
			t.Errorf("%q: %d handled, dead %+v, missing %+v", d.Body, a.Out.Handled, a.Out.Dead,
				a.Out.Missing)
		}
	}
	wantCounts(a, map[string]int{"_incident": 1, "_dead": 0, "_cut": 2})
	a.Apply(channel(2, &act{Write: []int{2}}))
	// Who asks at an edge again, under the same id, is served.
	d := edge("once", &act{Write: []int{3}})
	whole := d.Body
	d.Body = d.Body[1:]
	a.Apply(d)
	wantCounts(a, map[string]int{"_incident": 2, "_dead": 0, "_edge": 0, "_cut": 3})
	d.Body = whole
	a.Apply(d)
	wantRows(a, 1, 2, 3)
}

// A gap is asked for once a batch and channel, however much comes after it.
func TestGapInABatch(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	var in []actors.Delivery
	for _, n := range []int64{1, 2, 4, 5, 6, 2, 3, 4, 6, 7} {
		in = append(in, channel(n, &act{Write: []int{int(n)}}))
	}
	in[4].ID = "coupon.0.two.goods.0.6"
	a.Apply(in...)
	wantRows(a, 1, 2, 3, 4)
	slices.SortFunc(a.Out.Missing, func(x, y actors.Missing) int { return int(x.Last - y.Last) })
	if want := []actors.Missing{{Sender: "coupon.0", Epoch: "two"},
		{Sender: "order.0", Epoch: "one", Last: 4}}; !slices.Equal(a.Out.Missing, want) {
		t.Errorf("missing %+v, want %+v", a.Out.Missing, want)
	}
	if a.Out.Handled != 4 || a.Out.Skipped != 6 {
		t.Errorf("%d handled, %d skipped", a.Out.Handled, a.Out.Skipped)
	}
}

// ACCEPT M2 M4: deliveries in any order, in batches of any size, with repeats
// and restarts: each message is handled once, in the order of its numbers.
func TestNumbersInAnyOrder(t *testing.T) {
	const total = 60
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 1))
		a := actorstest.New(t, probeSpec())
		next := [2]int64{1, 1}
		for next[0] <= total || next[1] <= total {
			var in []actors.Delivery
			for range 1 + r.IntN(12) {
				s := r.IntN(2)
				n := max(1, next[s]-3+r.Int64N(8))
				if n > total {
					continue
				}
				d := channel(n, &act{Write: []int{100*s + int(n)}})
				if s == 1 {
					d.ID = fmt.Sprintf("coupon.0.two.goods.0.%d", n)
				}
				in = append(in, d)
			}
			a.Apply(in...)
			if r.IntN(10) == 0 {
				a.Restart()
			}
			_, last0 := a.Engine.LastOf("order.0")
			_, last1 := a.Engine.LastOf("coupon.0")
			next = [2]int64{last0 + 1, last1 + 1}
		}
		var want []int
		for n := 1; n <= total; n++ {
			want = append(want, n, 100+n)
		}
		slices.Sort(want)
		wantRows(a, want...)
		wantCounts(a, map[string]int{"_dead": 0, "_incident": 0})
	}
}

// What is meant for another actor is skipped.
func TestForeignReceiver(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	for _, id := range []string{"order.0.one.coupon.0.1", "order.0.one.goods.1.1",
		"goods.0.one.order.0.1"} {
		d := edge(id, &act{Write: []int{1}})
		a.Apply(d)
		if a.Out.Handled != 0 || a.Out.Skipped != 1 || len(a.Out.Missing) != 0 {
			t.Errorf("%s: %+v", id, a.Out)
		}
	}
	wantRows(a)
}

// A number is only a header: whoever may send the actor something could take a
// channel's name, begin a new epoch with it, and what is true would be skipped. So a
// message is taken under an actor's number only if that actor sends such messages, and
// what comes from edges never is.
func TestForgedSender(t *testing.T) {
	spec := probeSpec()
	spec.Commands[0] = spec.Commands[0].From("order")
	spec.Commands = append(spec.Commands, actors.On(func(tx *actors.Tx, m *workFor) error {
		return tx.Begin("probe", m.ID, m)
	}))
	spec.Events = func(*actors.Tx, string, *api.Event) error { return nil }
	a := actorstest.New(t, spec)
	a.Apply(channel(1, &act{Write: []int{1}}))
	forged := []actors.Delivery{}
	// JetStream writes what it is asked for into any stream that has the reply subject.
	answer := channel(2, &act{Write: []int{9}})
	answer.Answer = true
	forged = append(forged, answer)
	for _, subject := range []string{"$KV.session.act", "ordo.wallet.0.act", "act",
		bus.EventSubject("wallet.act", "ord_1")} {
		d := channel(2, &act{Write: []int{9}})
		d.Subject = subject
		forged = append(forged, d)
	}
	for _, verb := range []string{"work-for", api.VerbTick, api.VerbOutcome, api.VerbRetryDead,
		api.VerbDismissDead} {
		d := channel(2, &act{})
		d.ID, d.Subject, d.After = "order.0.two.goods.0.2", "ordo.goods.0."+verb, 1<<60
		forged = append(forged, d)
	}
	for _, id := range []string{"coupon.0.one.goods.0.1", "someone.0.one.goods.0.1"} {
		d := channel(1, &act{Write: []int{9}})
		d.ID = id
		forged = append(forged, d)
	}
	for _, d := range forged {
		a.Apply(d)
		if a.Out.Handled != 0 || a.Out.Skipped != 1 || len(a.Out.Missing) != 0 {
			t.Errorf("%s on %s: %+v", d.ID, d.Subject, a.Out)
		}
	}
	// Those on subjects of others are told as one.
	wantCounts(a, map[string]int{"_incident": 9, "_dead": 0, "_effect": 0})
	a.Apply(channel(2, &act{Write: []int{2}}))
	wantRows(a, 1, 2)
}

// What has five dots and no number, or none above 0, is no channel's: it is an
// edge's id, and recognised as such.
func TestIDsThatAreNoNumbers(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	for i, id := range []string{"order.0.one.goods.0.x", "order.0.one.goods.0.0",
		"order.0.one.goods.0.-1", "order.0.one.goods.0.99999999999999999999", "a.b.c", "......"} {
		for range 2 {
			a.Apply(edge(id, &act{Write: []int{i}}))
		}
	}
	wantRows(a, 0, 1, 2, 3, 4, 5)
}

// A void message takes a number and does nothing. ACCEPT M4
func TestVoid(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	void := channel(1, &act{})
	void.Subject = "ordo.goods.0." + api.VerbVoid
	a.Apply(void)
	if a.Out.Handled != 1 || len(a.Out.Sent) != 0 {
		t.Errorf("left %+v", a.Out)
	}
	a.Apply(channel(1, &act{Write: []int{1}}), channel(2, &act{Write: []int{2}}))
	wantRows(a, 2)
	wantCounts(a, map[string]int{"_dead": 0})
}

// A sender's new file goes on under a new epoch: it is followed when it knows
// of all that was handled, and the old one is over for ever. ACCEPT M2 M6
func TestEpochs(t *testing.T) {
	write := func(n int) *act { return &act{Write: []int{n}} }
	a := actorstest.New(t, probeSpec())
	a.Apply(epoch("one", 1, 0, write(1)), epoch("one", 2, 0, write(2)))
	a.Apply(epoch("two", 4, 3, write(4))) // number 3 was sent and has not come
	if m := a.Out.Missing; len(m) != 1 || m[0] != (actors.Missing{Sender: "order.0", Epoch: "two",
		Last: 2}) {
		t.Errorf("missing %+v", m)
	}
	a.Apply(epoch("one", 3, 0, write(30))) // the old one is over
	a.Apply(epoch("two", 3, 3, write(3)), epoch("two", 4, 3, write(4)))
	a.Restart()
	a.Apply(epoch("one", 5, 0, write(50)))
	a.Apply(epoch("three", 5, 3, write(51))) // it knows less than was handled
	if n := count(a, "_incident"); n != 1 {
		t.Errorf("%d incidents, want 1", n)
	}
	a.Apply(epoch("two", 5, 3, write(5)))
	wantRows(a, 1, 2, 3, 4, 5)
	wantCounts(a, map[string]int{"_in": 2, "_incident": 1})
}

// Two epochs in one batch, and one that fails: nothing of it is believed.
func TestEpochsInABatchThatFails(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	a.Apply(epoch("one", 1, 0, &act{Write: []int{1}}), epoch("two", 2, 1, &act{Write: []int{2}}),
		epoch("two", 3, 1, &act{Panic: true}), epoch("one", 2, 0, &act{Write: []int{20}}),
		epoch("two", 4, 1, &act{Write: []int{4}}))
	wantRows(a, 1, 2, 4)
	if epoch, n := a.Engine.LastOf("order.0"); epoch != "two" || n != 4 {
		t.Errorf("the last is %d of %s", n, epoch)
	}
	wantCounts(a, map[string]int{"_dead": 1})
}

// The epoch that a batch has heard of first and seen end is over after a
// restart as well: what comes again of it is a repeat and no incident.
func TestEpochsInOneBatch(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	first := epoch("one", 1, 0, &act{Write: []int{1}})
	a.Apply(first, epoch("two", 2, 1, &act{Write: []int{2}}))
	a.Restart()
	a.Apply(first)
	wantRows(a, 1, 2)
	wantCounts(a, map[string]int{"_in": 2, "_incident": 0, "_dead": 0})
}

// wantResend checks the numbers that a resend reads, whose bodies are theirs.
// ACCEPT M10 M6: epochs that come and go within one batch are remembered like
// those of batches of their own, also after a restart.
func TestEpochsOfOneBatch(t *testing.T) {
	all := []actors.Delivery{epoch("one", 1, 0, &act{Write: []int{1}}),
		epoch("two", 2, 1, &act{Write: []int{2}}), epoch("three", 3, 2, &act{Write: []int{3}})}
	var want string
	for _, size := range []int{1, 3} {
		a := actorstest.New(t, probeSpec())
		for in := slices.Clone(all); len(in) > 0; in = in[size:] {
			a.Apply(in[:size]...)
		}
		got := contents(a)
		if size == 1 {
			want = got
		}
		if got != want {
			t.Errorf("one batch gives\n%s\nbatches of one\n%s", got, want)
		}
		a.Restart()
		a.Apply(epoch("two", 4, 9, &act{Write: []int{99}}))
		wantRows(a, 1, 2, 3)
	}
}

func wantResend(a *actorstest.Actor, after int64, first, last int64) {
	a.T.Helper()
	sent, err := a.Engine.Resend("coupon.0", after)
	if err != nil {
		a.T.Fatal(err)
	}
	if len(sent) == 0 {
		if first <= last {
			a.T.Errorf("nothing after %d, want %d to %d", after, first, last)
		}
		return
	}
	for i, s := range sent {
		if s.Number != first+int64(i) || s.Receiver != "coupon.0" ||
			s.Subject != "ordo.coupon.0.parcel" || s.Cause == "" ||
			string(s.Body) != fmt.Sprintf(`{"n":%d}`, s.Number) {
			a.T.Fatalf("after %d, place %d: %+v", after, i, s)
		}
	}
	if got := sent[len(sent)-1].Number; got != last {
		a.T.Errorf("after %d: up to %d, want %d", after, got, last)
	}
}

// ACCEPT M1 M4: what was sent is read again from any number, also after a
// restart, whatever the batches were.
func TestResend(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	n := 0
	for _, size := range []int{1, 3, 1, 2, 5} {
		var m act
		for range size {
			n++
			m.Send = append(m.Send, n)
		}
		a.MustEdge(fmt.Sprintf("m-%d", n), &m)
		if got := sentNumbers(a, int64(n-size+1)); !slices.Equal(got, m.Send) {
			t.Errorf("sent %v, want %v", got, m.Send)
		}
	}
	for range 2 {
		for after := range int64(n) {
			wantResend(a, after, after+1, int64(n))
		}
		wantResend(a, int64(n), 1, 0)
		wantResend(a, 1<<40, 1, 0)
		if sent, err := a.Engine.Resend("nobody.0", 0); err != nil || len(sent) != 0 {
			t.Errorf("to nobody: %+v, %v", sent, err)
		}
		a.Restart()
	}
	a.MustEdge("more", &act{Send: []int{n + 1}})
	sentNumbers(a, int64(n+1))
	if got := a.Engine.Receivers()["coupon.0"]; got != [2]int64{int64(n + 1), 0} {
		t.Errorf("given and committed: %v", got)
	}
}

// A resend goes no further ahead than its window, and holds no more bytes than
// it may.
func TestResendInWindows(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	const rows = 3
	for i := range rows {
		var m act
		for j := range actors.ResendWindow {
			m.Send = append(m.Send, i*actors.ResendWindow+j+1)
		}
		a.MustEdge(fmt.Sprintf("m-%d", i), &m)
	}
	after, reads := int64(0), 0
	for ; after < rows*actors.ResendWindow; reads++ {
		sent, err := a.Engine.Resend("coupon.0", after)
		if err != nil || len(sent) == 0 || len(sent) > 2*actors.ResendWindow ||
			sent[0].Number != after+1 {
			t.Fatalf("after %d: %d messages, %v", after, len(sent), err)
		}
		after = sent[len(sent)-1].Number
	}
	if reads < 2 {
		t.Errorf("all were read in %d windows", reads)
	}
	b := actorstest.New(t, probeSpec())
	for i := range 40 {
		b.MustEdge(fmt.Sprintf("m-%d", i), &act{Send: []int{i + 1}, Size: 300_000})
	}
	sent, err := b.Engine.Resend("coupon.0", 0)
	size := 0
	for _, s := range sent {
		size += len(s.Body)
	}
	if err != nil || size > 9<<20 || len(sent) < 10 {
		t.Errorf("%d messages of %d bytes, %v", len(sent), size, err)
	}
}

// ACCEPT M1: sent messages are kept while their receiver may lack them, however
// old, and go by age when it has committed them.
func TestOutboxIsPrunedByAge(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	send := func(n int) {
		a.MustEdge(fmt.Sprintf("m-%d", n), &act{Send: []int{n}})
	}
	for n := 1; n <= 20; n++ {
		send(n)
	}
	a.Advance(10 * actors.OutboxAge)
	send(21)
	wantResend(a, 0, 1, 21)
	if err := a.Engine.Committed("coupon.0", 7); err != nil {
		t.Fatal(err)
	}
	a.Advance(time.Second)
	for n := 22; n <= 30; n++ { // each batch drops two
		send(n)
	}
	wantResend(a, 0, 8, 30)
	a.Restart()
	if got := a.Engine.Receivers()["coupon.0"]; got != [2]int64{30, 7} {
		t.Errorf("given and committed after a restart: %v", got)
	}
	if err := a.Engine.Committed("coupon.0", 30); err != nil {
		t.Fatal(err)
	}
	for n := 31; n <= 45; n++ {
		send(n)
	}
	wantResend(a, 0, 21+1, 45)
}

// Young ones that were committed go when the channel holds too many bytes.
func TestOutboxIsPrunedBySize(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	const total = 60 // of 400 KB as base64
	for n := 1; n <= total; n++ {
		a.MustEdge(fmt.Sprintf("m-%d", n), &act{Send: []int{n}, Size: 300_000})
	}
	if n := count(a, "_sent"); n != total {
		t.Errorf("%d rows of what was not committed, want %d", n, total)
	}
	if err := a.Engine.Committed("coupon.0", total); err != nil {
		t.Fatal(err)
	}
	for n := total + 1; n <= 2*total; n++ {
		a.MustEdge(fmt.Sprintf("m-%d", n), &act{Send: []int{n}, Size: 300_000})
		if err := a.Engine.Committed("coupon.0", int64(n)); err != nil {
			t.Fatal(err)
		}
	}
	var size int64
	if err := file(a).QueryRow(`SELECT sum(length(messages)) FROM _sent`).Scan(&size); err != nil {
		t.Fatal(err)
	}
	if size > 17<<20 || size < 10<<20 {
		t.Errorf("the outbox holds %d bytes, want about 16 MiB", size)
	}
}

// ACCEPT M4 M6: a file that is older than what it sent is noticed; a new epoch
// goes on with the numbers.
func TestCommittedAndNewEpoch(t *testing.T) {
	a := actorstest.New(t, probeSpec())
	a.MustEdge("m-1", &act{Send: []int{1, 2, 3}})
	if err := a.Engine.Committed("coupon.0", 4); err == nil {
		t.Error("more was committed than sent, and nobody noticed")
	}
	if err := a.Engine.Committed("coupon.0", 3); err != nil {
		t.Error(err)
	}
	if err := a.Engine.Committed("coupon.0", 1); err != nil { // an old answer
		t.Error(err)
	}
	if got := a.Engine.Receivers()["coupon.0"]; got != [2]int64{3, 3} {
		t.Errorf("given and committed: %v", got)
	}
	owner := a.Engine.Owner()
	if err := a.Engine.NewEpoch(actors.CutTakeOver, "test"); err != nil {
		t.Fatal(err)
	}
	if a.Engine.Owner() == owner {
		t.Error("the owner is the same")
	}
	a.MustEdge("m-2", &act{Send: []int{4}})
	sentNumbers(a, 4)
	var after int64
	if err := file(a).QueryRow(`SELECT after FROM _out WHERE receiver = 'coupon.0'`).
		Scan(&after); err != nil || after != 3 {
		t.Errorf("the new epoch begins after %d, %v, want 3", after, err)
	}
}
