package rest

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"ordo/api"
)

// stream writes server-sent events.
type stream struct {
	x    *exchange
	ctrl *http.ResponseController
	n    int
}

// newStream begins to answer with a stream.
func newStream(x *exchange) *stream {
	h := x.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	// Proxies must not hold events back.
	h.Set("X-Accel-Buffering", "no")
	return &stream{x: x, ctrl: x.stream()}
}

// event sends an order as it is now.
func (s *stream) event(o *seen) error {
	s.n++
	var b bytes.Buffer
	b.WriteString("id: " + strconv.Itoa(s.n) + "\nevent: " + o.State + "\ndata: ")
	// JSON has line breaks only between its tokens, where they mean nothing.
	b.Write(bytes.ReplaceAll(o.raw, []byte("\n"), []byte(" ")))
	b.WriteString("\n\n")
	return s.write(b.Bytes())
}

// heartbeat shows that the stream is alive.
func (s *stream) heartbeat() error { return s.write([]byte(": alive\n\n")) }

func (s *stream) write(b []byte) error {
	err := s.ctrl.SetWriteDeadline(time.Now().Add(streamWrite))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := s.x.Write(b); err != nil {
		return err
	}
	if err := s.ctrl.Flush(); err != nil {
		return err
	}
	// HTTP/2 resets a stream at its deadline, also when nothing is being written.
	if err := s.ctrl.SetWriteDeadline(time.Time{}); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// streams counts the event streams that are open, by user.
type streams struct {
	mu  sync.Mutex
	all int
	of  map[string]int
}

// open counts one more, or refuses with CodeBusy when there are too many.
func (c *streams) open(user string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= MaxStreams || c.of[user] >= MaxUserStreams {
		return api.Refuse(api.CodeBusy, "too many event streams are open")
	}
	if c.of == nil {
		c.of = map[string]int{}
	}
	c.all++
	c.of[user]++
	return nil
}

func (c *streams) done(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.of[user]--; c.of[user] == 0 {
		delete(c.of, user)
	}
}
