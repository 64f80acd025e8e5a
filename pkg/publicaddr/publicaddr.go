// Package publicaddr tells public addresses from those of one's own network, which what
// callers name must not reach. It resolves no names: judge an address where it is dialled
// (net.Dialer's Control), for a name may resolve to another one each time that it is
// asked for. Start reading at Allows.
package publicaddr

import "net/netip"

// Allows reports whether a is a public address, or one of a network of allowed, whose
// prefixes are masked.
func Allows(a netip.Addr, allowed []netip.Prefix) bool {
	if a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	for _, p := range allowed {
		if p.Contains(a) {
			return true
		}
	}
	// 2000::/3 is all of IPv6 that is given out to the public.
	if a.Is6() && !netip.MustParsePrefix("2000::/3").Contains(a) {
		return false
	}
	for _, p := range special() {
		if netip.MustParsePrefix(p).Contains(a) {
			return false
		}
	}
	return true
}

// special is IANA's registries of special-purpose addresses (RFC 6890), within 2000::/3
// for IPv6, and a cloud's own services. Those that stand for IPv4 addresses are among
// them: what they come to depends on who translates.
func special() []string {
	return []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
		"168.63.129.16/32", // Azure's, for its machines
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	}
}
