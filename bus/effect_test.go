package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ordo/api"
	"ordo/bus"
)

// do does one try of an effect.
type do func(ctx context.Context, e *api.Effect) (any, error)

// work runs a worker until the test ends or stop is called, which waits for its
// end.
func (n *net) work(parallel int, try do) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		bus.Work(ctx, n.js, bus.Worker{Actor: "order", Name: "cart", Parallel: parallel, Do: try},
			quiet())
	}()
	stop = func() { cancel(); <-done }
	n.t.Cleanup(stop)
	return stop
}

// outcome is what the mailbox of order holds at a number.
func (n *net) outcome(seq uint64) (o api.Outcome) {
	n.t.Helper()
	if err := json.Unmarshal(n.message("ORDER", seq).Data, &o); err != nil {
		n.t.Fatal(err)
	}
	return o
}

func (n *net) effect(id string, attempt int) {
	n.t.Helper()
	e := &api.Effect{ID: id, Name: "cart", Attempt: attempt, Body: []byte(`{"user":"u"}`)}
	if err := bus.PublishEffect(n.js, "order", e, bus.Announcement{}); err != nil {
		n.t.Fatal(err)
	}
}

// A worker's outcome goes to the actor once, and is final.
func TestWorkReportsAnOutcome(t *testing.T) {
	n := newNet(t)
	var tries atomic.Int64
	n.work(0, func(ctx context.Context, e *api.Effect) (any, error) {
		tries.Add(1)
		if left, ok := ctx.Deadline(); !ok || time.Until(left) > bus.EffectTimeout {
			t.Error("a try without a time limit")
		}
		if e.ID != "fx-1" || e.Name != "cart" || e.Attempt != 1 || string(e.Body) != `{"user":"u"}` {
			t.Errorf("got %+v", e)
		}
		return map[string]int{"removed": 2}, nil
	})
	n.effect("fx-1", 1)
	n.effect("fx-1", 1) // the actor was restarted and announced it again
	n.wantDone(bus.StreamEffects, "effect-order-cart", 1)
	m := n.message("ORDER", 1)
	var o api.Outcome
	if err := json.Unmarshal(m.Data, &o); err != nil {
		t.Fatal(err)
	}
	if m.Subject != bus.MailboxSubject("order", api.VerbOutcome) || o.Effect != "fx-1" ||
		o.Attempt != 1 || !o.Final || string(o.Data) != `{"removed":2}` || o.Error != "" {
		t.Errorf("%s: %s", m.Subject, m.Data)
	}
	if tries.Load() != 1 || n.state("ORDER").Msgs != 1 {
		t.Errorf("%d tries, %d outcomes, want 1", tries.Load(), n.state("ORDER").Msgs)
	}
	if c := n.consumer(bus.StreamEffects, "effect-order-cart"); c.Config.Description == "" {
		t.Error("the consumer has no description")
	}
}

// A worker may have more time for a try, and its message waits for it longer.
func TestWorkHasItsTime(t *testing.T) {
	n := newNet(t)
	const limit = 3 * bus.EffectTimeout
	left := make(chan time.Duration, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		bus.Work(ctx, n.js, bus.Worker{Actor: "order", Name: "cart", Timeout: limit,
			Do: func(ctx context.Context, _ *api.Effect) (any, error) {
				end, _ := ctx.Deadline()
				left <- time.Until(end)
				return nil, nil
			}}, quiet())
	}()
	defer func() { cancel(); <-done }()
	n.effect("fx-1", 1)
	if d := <-left; d > limit || d < limit-bus.EffectTimeout {
		t.Errorf("%s are left", d)
	}
	const lost = limit + 15*time.Second // with its worker
	if c := n.consumer(bus.StreamEffects, "effect-order-cart"); c.Config.AckWait != lost {
		t.Errorf("the message waits %s", c.Config.AckWait)
	}
}

// Two workers do the same try: the same outcome has the same id and arrives
// once; another one arrives beside it, for the actor to judge.
func TestWorkRepeated(t *testing.T) {
	n := newNet(t)
	var tries atomic.Int64
	n.work(0, func(context.Context, *api.Effect) (any, error) {
		return min(tries.Add(1), 3), nil
	})
	publish := func(id string) {
		n.put(bus.EffectSubject("order", "cart"), id, nil,
			api.Raw(&api.Effect{ID: "fx-1", Name: "cart", Attempt: 1}))
	}
	for i := range 5 { // outcomes 1, 2, 3, 3, 3
		publish(fmt.Sprintf("again-%d", i))
	}
	n.wantDone(bus.StreamEffects, "effect-order-cart", 5)
	var ids []string
	for seq := uint64(1); seq <= n.state("ORDER").LastSeq; seq++ {
		id := bus.Identity(n.message("ORDER", seq).Header)
		if !strings.HasPrefix(id, "out-fx-1-1-") || slices.Contains(ids, id) {
			t.Errorf("the outcome's id is %s, after %v", id, ids)
		}
		ids = append(ids, id)
	}
	if tries.Load() != 5 || len(ids) != 3 {
		t.Errorf("%d tries, %d outcomes, want 5 and 3", tries.Load(), len(ids))
	}
}

// A try that fails reports why and is tried again, first by the stream; other
// effects do not wait for it. What the actor's sweep announced is tried
// once. ACCEPT S7 M4
func TestWorkFails(t *testing.T) {
	t.Parallel()
	n := newNet(t)
	var tries atomic.Int64
	n.work(0, func(_ context.Context, e *api.Effect) (any, error) {
		switch {
		case e.ID == "fx-good":
			return nil, nil
		case e.Attempt == 2 || tries.Add(1) == 1:
			return "half", errors.New("the cart is away")
		}
		return nil, nil
	})
	n.effect("fx-bad", 2)
	n.wantDone(bus.StreamEffects, "effect-order-cart", 1)
	n.effect("fx-bad", 1)
	n.effect("fx-good", 1)
	n.wantDone(bus.StreamEffects, "effect-order-cart", 3)
	n.stored("ORDER", 4)
	for seq, want := range []api.Outcome{
		{Effect: "fx-bad", Attempt: 2, Error: "the cart is away"},
		{Effect: "fx-bad", Attempt: 1, Error: "the cart is away"},
		{Effect: "fx-good", Attempt: 1, Final: true},
		{Effect: "fx-bad", Attempt: 1, Final: true},
	} {
		if o := n.outcome(uint64(seq + 1)); !reflect.DeepEqual(o, want) {
			t.Errorf("got %+v, want %+v", o, want)
		}
	}
	if got := n.state("ORDER").Msgs; got != 4 || tries.Load() != 2 {
		t.Errorf("%d outcomes after %d tries, want 4 and 2", got, tries.Load())
	}
}

// A panic is a failed try and ends nothing.
func TestWorkPanics(t *testing.T) {
	n := newNet(t)
	n.work(2, func(_ context.Context, e *api.Effect) (any, error) {
		if e.Attempt == 2 {
			panic("as asked")
		}
		return 1, nil
	})
	n.effect("fx-1", 2)
	n.effect("fx-1", 1)
	n.wantDone(bus.StreamEffects, "effect-order-cart", 2)
	n.stored("ORDER", 2)
	failed, done := n.outcome(1), n.outcome(2)
	if failed.Final {
		failed, done = done, failed
	}
	if failed.Final || failed.Attempt != 2 || failed.Error != "panic: as asked" {
		t.Errorf("outcome of the panic %+v", failed)
	}
	if !done.Final || done.Attempt != 1 {
		t.Errorf("outcome of the other try %+v", done)
	}
}

// As many tries run side by side as are asked for, and no more; the rest is
// left to other workers.
func TestWorkInParallel(t *testing.T) {
	const parallel, total = 4, 40
	n := newNet(t)
	for i := range total {
		n.effect(fmt.Sprintf("fx-%d", i), 1)
	}
	var inside atomic.Int64
	release := make(chan struct{})
	n.work(parallel, func(ctx context.Context, _ *api.Effect) (any, error) {
		inside.Add(1)
		select {
		case <-release:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	eventually(t, "all side by side", func() bool { return inside.Load() >= parallel })
	n.work(0, func(context.Context, *api.Effect) (any, error) { return nil, nil })
	n.stored("ORDER", total-parallel)
	if got := inside.Load(); got != parallel {
		t.Errorf("%d tries side by side, want %d", got, parallel)
	}
	close(release)
	n.wantDone(bus.StreamEffects, "effect-order-cart", total)
	if got := n.state("ORDER").Msgs; got != total {
		t.Errorf("%d outcomes, want %d", got, total)
	}
}

// A worker that ends breaks its tries off and gives them to the next one at
// once. ACCEPT E3
func TestWorkBrokenOff(t *testing.T) {
	n := newNet(t)
	begun := make(chan struct{})
	stop := n.work(1, func(ctx context.Context, _ *api.Effect) (any, error) {
		close(begun)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	n.effect("fx-1", 2)
	<-begun
	stop()
	if got := n.state("ORDER").Msgs; got != 0 {
		t.Fatalf("%d outcomes of a try that was broken off", got)
	}
	n.work(1, func(context.Context, *api.Effect) (any, error) { return "done", nil })
	n.wantDone(bus.StreamEffects, "effect-order-cart", 1)
	if o := n.outcome(1); o.Effect != "fx-1" || string(o.Data) != `"done"` {
		t.Errorf("got %+v", o)
	}
}

// The time between two tries doubles, ends at ten minutes, and is not the same
// for all.
func TestEffectDelay(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 5, 1: 5, 2: 10, 3: 20, 4: 40, 5: 80, 7: 320,
		8: 600, 9: 600, 100: 600, 1 << 40: 600} {
		want *= time.Second
		if got := bus.EffectDelay("fx-1", n); got < want || got > want+want/4 ||
			got != bus.EffectDelay("fx-1", n) {
			t.Errorf("after %d tries %s, want %s and up to a quarter", n, got, want)
		}
	}
	seen := map[time.Duration]bool{}
	for i := range 100 {
		seen[bus.EffectDelay(fmt.Sprintf("fx-%d", i), 1)] = true
	}
	if len(seen) < 80 {
		t.Errorf("100 effects have %d delays", len(seen))
	}
}

// What can't be read is thrown away, and the work goes on.
func TestWorkThatIsNone(t *testing.T) {
	n := newNet(t)
	n.put(bus.EffectSubject("order", "cart"), "bad-1", nil, []byte(`{`))
	n.put(bus.EffectSubject("order", "cart"), "bad-2", nil, nil)
	n.effect("fx-1", 1)
	n.work(0, func(context.Context, *api.Effect) (any, error) { return nil, nil })
	n.wantDone(bus.StreamEffects, "effect-order-cart", 3)
	if got := n.state("ORDER").Msgs; got != 1 {
		t.Errorf("%d outcomes, want 1", got)
	}
}
