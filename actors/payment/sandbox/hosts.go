package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// errNotAllowed says that a host may not be notified.
var errNotAllowed = errors.New("sandbox: this host may not be notified; see --allow-notify")

// maxHosts bounds Config.NotifyHosts.
const maxHosts = 100

// hostList is who may be notified besides loopback. What counts is the address
// that a connection goes to, so a name can't point at something else than was
// allowed.
type hostList struct {
	names    map[string]bool
	prefixes []netip.Prefix
}

func parseHosts(list []string) (hostList, error) {
	l := hostList{names: map[string]bool{}}
	if len(list) > maxHosts {
		return l, fmt.Errorf("more than %d hosts to notify", maxHosts)
	}
	for _, s := range list {
		s = strings.ToLower(strings.TrimSpace(s))
		if p, err := netip.ParsePrefix(s); err == nil {
			l.prefixes = append(l.prefixes, p)
		} else if a, err := netip.ParseAddr(s); err == nil {
			l.prefixes = append(l.prefixes, netip.PrefixFrom(a, a.BitLen()))
		} else if s == "" || strings.ContainsAny(s, "/:@ ") {
			return l, fmt.Errorf("%q is neither a host's name nor an address", s)
		} else {
			l.names[s] = true
		}
	}
	return l, nil
}

// allows says whether a connection for host may go to ip. A name that was
// allowed is trusted, but not to point at this link's own addresses.
func (l hostList) allows(host string, ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if ip.IsLoopback() {
		return true
	}
	for _, p := range l.prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return l.names[strings.ToLower(strings.TrimSuffix(host, "."))] &&
		(ip.IsGlobalUnicast() || ip.IsPrivate())
}

// dial is net.Dialer.DialContext for allowed hosts; else it is errNotAllowed.
// The check sees each address after the name was resolved.
func (l hostList) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: 5 * time.Second,
		Control: func(_, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil || !l.allows(host, to.Addr()) {
				return fmt.Errorf("%w: %s", errNotAllowed, addr)
			}
			return nil
		}}
	return d.DialContext(ctx, network, addr)
}
