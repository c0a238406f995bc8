package webhook

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"code.dny.dev/ssrf"

	"ordo/api"
)

// guard refuses a connection to an address that is not of the public internet,
// after the name was resolved and before a byte is sent: private networks,
// loopback, link-local with the metadata of clouds, carriers' NAT, multicast, and
// IPv6 forms of IPv4 addresses. One service of a cloud has a public address.
var guard = ssrf.New(ssrf.WithAnyPort(),
	ssrf.WithDeniedV4Prefixes(netip.MustParsePrefix("168.63.129.16/32")))

// CheckURL refuses an address that events must not be sent to, as far as it
// shows: no https, a user, a port below 1024 that is not 443, an address or a
// name of a private network. Insecure allows http, and any host and port. What a
// name leads to is checked when it is called.
func CheckURL(s string, insecure bool) error {
	refuse := func(format string, args ...any) error {
		return api.Refuse(api.CodeInvalid, format, args...).At("url")
	}
	u, err := url.Parse(s)
	if err != nil || !api.IsWebhookURL(s) || u.Host == "" || u.Hostname() == "" {
		return refuse("this is not the address of an endpoint")
	}
	switch {
	case u.User != nil:
		return refuse("an address has no user and no password")
	case u.Fragment != "":
		return refuse("an address has no fragment")
	case insecure:
		return nil
	case u.Scheme != "https":
		return refuse("an address begins with https://")
	case !portAllowed(u.Port()):
		return refuse("the port is 443, or 1024 and higher")
	case !hostAllowed(u.Hostname()):
		return refuse("the host is not one of the public internet")
	}
	return nil
}

func portAllowed(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && (n == 443 || n >= 1024)
}

// hostAllowed refuses addresses that guard refuses, names of this machine and
// its network, and numbers that some resolvers take for addresses: 2130706433,
// 0x7f.1, 0177.0.0.1.
func hostAllowed(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Zone() == "" && guard.SafeAddr(ip) == nil
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	last := host[strings.LastIndexByte(host, '.')+1:]
	if _, err := strconv.ParseUint(last, 0, 64); err == nil || isDigits(last) {
		return false
	}
	switch last {
	case "", host, "localhost", "local", "internal", "localdomain", "arpa":
		return false
	}
	return net.ParseIP(host) == nil
}

func isDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }
