package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
)

// addressError says why an address is not called.
type addressError struct{ why string }

func (e *addressError) Error() string { return "the address is not called: " + e.why }

// guard judges addresses: tenants name them, and the edge is inside the network. Only
// public ones are called, and those that the configuration allows.
type guard struct {
	http    bool
	allowed []netip.Prefix
}

func newGuard(c Config) (guard, error) {
	g := guard{http: c.AllowHTTP}
	for _, n := range c.AllowNetworks {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return g, fmt.Errorf("webhooks.allow_networks: %w", err)
		}
		g.allowed = append(g.allowed, p.Masked())
	}
	return g, nil
}

const maxURL = 2048

// url returns why a webhook may not have an address. What its name resolves to is
// judged when it is called.
func (g guard) url(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return errors.New("it must be an absolute URL")
	case len(text) > maxURL:
		return fmt.Errorf("it must have at most %d bytes", maxURL)
	case u.Scheme != "https" && (u.Scheme != "http" || !g.http):
		return errors.New("it must begin with https://")
	case u.User != nil || u.Fragment != "" || strings.Contains(text, "#"):
		return errors.New("it must have no user information and no fragment")
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		return g.judge(a)
	}
	return nil
}

// control is asked with each address as it is really dialled: a name may resolve to
// another one each time that it is asked for.
func (g guard) control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return &addressError{"it cannot be read"}
	}
	return g.judge(at.Addr())
}

func (g guard) judge(a netip.Addr) error {
	if a.Zone() != "" {
		return &addressError{"it is one of a link"}
	}
	a = a.Unmap()
	for _, p := range g.allowed {
		if p.Contains(a) {
			return nil
		}
	}
	if a.Is6() && !netip.MustParsePrefix("2000::/3").Contains(a) {
		return &addressError{"it is no public one"}
	}
	for _, p := range notPublic() {
		if netip.MustParsePrefix(p).Contains(a) {
			return &addressError{"it is no public one"}
		}
	}
	return nil
}

// notPublic is the IANA registries of special-purpose addresses, within 2000::/3 for
// IPv6. Those that stand for IPv4 addresses are among them: what they come to depends
// on who translates.
func notPublic() []string {
	return []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"168.63.129.16/32", // Azure's, for its machines
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	}
}
