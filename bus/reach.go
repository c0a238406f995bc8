package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// lostAfter is how long a connection is away before those who wait on it
	// are told.
	lostAfter = time.Second
	// reachEvery is how often an edge looks at its connection.
	reachEvery = 100 * time.Millisecond
)

// errLost ends the waiting on a connection that is away.
var errLost = errors.New("the connection to NATS is lost")

// reach knows whether an edge's connection has been away for lostAfter.
type reach struct {
	nc   *nats.Conn
	stop context.CancelFunc
	done chan struct{}
	mu   sync.Mutex
	// up is a context that ends when the connection is lost, and a new one
	// when it is back.
	up   context.Context
	lose context.CancelFunc
}

func watchReach(nc *nats.Conn) *reach {
	ctx, stop := context.WithCancel(context.Background())
	r := &reach{nc: nc, stop: stop, done: make(chan struct{})}
	r.up, r.lose = context.WithCancel(context.Background())
	go r.run(ctx)
	return r
}

func (r *reach) close() {
	r.stop()
	<-r.done
}

// lost is closed when the connection is lost, from now on or already.
func (r *reach) lost() <-chan struct{} { return r.context().Done() }

func (r *reach) context() context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.up
}

// bound is ctx that also ends, with the cause errLost, when the connection is
// lost.
func (r *reach) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(r.context(), func() { cancel(errLost) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

func (r *reach) run(ctx context.Context) {
	defer close(r.done)
	ticker := time.NewTicker(reachEvery)
	defer ticker.Stop()
	var since time.Time // when it was first seen to be away
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		switch {
		case r.nc.IsConnected():
			since = time.Time{}
			r.back()
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= lostAfter:
			r.lose()
		}
	}
}

// back begins a new context after the last one was ended.
func (r *reach) back() {
	if r.up.Err() == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up, r.lose = context.WithCancel(context.Background())
}
