package rest

import (
	"net"
	"net/http"
	"sync"
)

// DropUnused has a server that is shut down close the connections on which
// nothing has ever come. Browsers open them ahead, and so does Go's own client
// that gets another connection free while it dials. http.Server.Shutdown waits
// five seconds for a request on each, which it would not answer any more. Call
// DropUnused before the server serves.
func DropUnused(srv *http.Server) {
	u := &unused{conns: map[net.Conn]bool{}}
	srv.ConnState = u.note
	srv.RegisterOnShutdown(u.drop)
}

// unused are the connections without a byte.
type unused struct {
	mu      sync.Mutex
	conns   map[net.Conn]bool
	dropped bool // later ones are closed as they come
}

func (u *unused) note(c net.Conn, state http.ConnState) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(u.conns, c)
	case u.dropped:
		_ = c.Close() // nobody has used it
	default:
		u.conns[c] = true
	}
}

func (u *unused) drop() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.dropped = true
	for c := range u.conns {
		_ = c.Close() // nobody has used it
	}
}
