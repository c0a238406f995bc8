package actors

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"ordo/stores"
)

// A fault of the store, such as a full disk, is over when a batch has been
// committed, not when the mailbox has been sought again. Only run's goroutine
// calls these.

// failed notes a fault.
func (h *Host) failed(err error) {
	if stores.IsFault(err) {
		h.faulty = true
	}
	h.notReady(err)
}

// healed makes the actor ready again after a batch was committed, or when there
// is none to commit.
func (h *Host) healed() {
	if h.faulty {
		h.faulty = false
		h.ready.Store(true)
	}
}

// whileConnected is a context with a limit that also ends when the connection
// is lost: what has been asked over it is not answered any more.
func (h *Host) whileConnected(ctx context.Context, limit time.Duration) (context.Context,
	context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	lost := h.nc.StatusChanged(nats.RECONNECTING)
	h.wg.Go(func() {
		defer h.nc.RemoveStatusListener(lost)
		defer cancel()
		select {
		case <-lost:
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}
