// Package origin tells where a request comes from.
package origin

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
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

// Client is the address that a request comes from; of IPv6 the network of 64 bits,
// because one client has all of it. What a proxy on this machine has added last to
// X-Forwarded-For is believed, what others say there is not.
func Client(r *http.Request) string {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	addr := from.Addr().Unmap()
	if said := r.Header.Values("X-Forwarded-For"); addr.IsLoopback() && len(said) > 0 {
		last := said[len(said)-1]
		last = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
		if by, err := netip.ParseAddr(last); err == nil {
			addr = by.Unmap()
		}
	}
	if addr.Is6() {
		return netip.PrefixFrom(addr.WithZone(""), 64).Masked().String()
	}
	return addr.String()
}
