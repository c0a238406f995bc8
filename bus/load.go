package bus

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// loadEvery is how often an edge looks how far mailboxes are behind.
const loadEvery = 500 * time.Millisecond

// load knows which mailboxes are too far behind: what their actors have not
// received fills more than 80% of what the stream may keep.
type load struct {
	js     jetstream.JetStream
	cancel context.CancelFunc
	done   chan struct{}
	mu     sync.Mutex
	full   map[string]bool
}

func watchLoad(js jetstream.JetStream) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{js: js, cancel: cancel, done: make(chan struct{}), full: map[string]bool{}}
	go l.run(ctx)
	return l
}

func (l *load) close() {
	l.cancel()
	<-l.done
}

// behind tells whether edges must not add to an actor's mailbox now.
func (l *load) behind(actor string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.full[actor]
}

func (l *load) run(ctx context.Context) {
	defer close(l.done)
	ticker := time.NewTicker(loadEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, actor := range ActorNames() {
			full, err := l.look(ctx, actor)
			if err != nil {
				continue // as it was; publishing will tell
			}
			l.mu.Lock()
			l.full[actor] = full
			l.mu.Unlock()
		}
	}
}

func (l *load) look(ctx context.Context, actor string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s, err := l.js.Stream(ctx, MailboxStream(actor))
	if err != nil {
		return false, err
	}
	info := s.CachedInfo()
	state, limit := info.State, info.Config.MaxBytes
	// Only a stream that is nearly full can be too far behind.
	if limit <= 0 || state.Bytes < uint64(limit)/10*8 || state.Msgs == 0 {
		return false, nil
	}
	c, err := s.PushConsumer(ctx, actor+"-"+Shard)
	if err != nil {
		return false, err
	}
	ci := c.CachedInfo()
	pending := ci.NumPending + uint64(ci.NumAckPending)
	return pending*(state.Bytes/state.Msgs) >= uint64(limit)/10*8, nil
}
