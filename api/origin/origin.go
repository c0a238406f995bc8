// Package origin tells where a request comes from.
package origin

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwarding are headers that a proxy adds.
var forwarding = [...]string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
	"Forwarded", "X-Real-Ip", "Via", "Cf-Connecting-Ip", "True-Client-Ip"}

// FromHere tells whether a request comes from this machine, was not sent through
// a proxy on it, and names it by a loopback address or localhost. Under another
// name a page of somebody else's site could ask in a browser on this machine,
// once its name has become that of 127.0.0.1 (DNS rebinding). A proxy that adds
// none of the usual headers, and calls the shop localhost, can't be told.
func FromHere(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && from.Addr().Unmap().IsLoopback() && IsLoopback(r.Host) &&
		!slices.ContainsFunc(forwarding[:],
			func(name string) bool { return r.Header.Get(name) != "" })
}

// IsLoopback tells whether a host, with or without a port, is this machine by
// whatever resolver.
func IsLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
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
