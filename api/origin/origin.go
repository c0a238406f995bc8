// Package origin tells where a request comes from.
package origin

import (
	"net/http"
	"net/netip"
	"slices"
)

// forwarding are headers that a proxy adds.
var forwarding = [...]string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"}

// FromHere tells whether a request comes from this machine, and not through a
// proxy on it.
func FromHere(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && from.Addr().Unmap().IsLoopback() &&
		!slices.ContainsFunc(forwarding[:],
			func(name string) bool { return r.Header.Get(name) != "" })
}
