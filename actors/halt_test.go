package actors_test

import (
	"strings"
	"testing"

	"ordo/actors"
)

// ACCEPT M11: an actor whose file is damaged takes no more messages and says
// why; another one goes on, and what it sends waits.
func TestHaltStopsOneActor(t *testing.T) {
	w := newWorld(t)
	receiver, sender := w.start(receiverSpec()), w.start(senderSpec("order"))
	w.mustDo("order", "go-1", &goSend{From: 0, Count: 3})
	eventually(t, "three notes", func() bool { return len(w.notes()) == 3 })
	receiver.Halt("page 7 is never used")
	w.mustDo("order", "go-2", &goSend{From: 3, Count: 3})
	halted := func(s actors.Status) bool {
		return !s.Ready && strings.Contains(s.Fault, "page 7 is never used")
	}
	// It is waited for what would let it go on: a tick, a seek.
	for range 3 {
		before := receiver.Status().Batches
		eventually(t, "the sender goes on", func() bool {
			return sender.Status().Ready && sender.Status().Unconfirmed == 3 &&
				halted(receiver.Status())
		})
		if after := receiver.Status().Batches; after != before {
			t.Errorf("%d batches after it was halted", after-before)
		}
	}
	if n := len(w.notes()); n != 3 {
		t.Errorf("%d notes, want the three from before", n)
	}
	if err := receiver.Close(); err != nil {
		t.Fatal(err)
	}
	w.start(receiverSpec())
	eventually(t, "six notes after a new start", func() bool { return len(w.notes()) == 6 })
}
