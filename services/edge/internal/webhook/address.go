package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"syscall"

	"github.com/poterne/poterne/pkg/publicaddr"
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
	if !publicaddr.Allows(a, g.allowed) {
		return &addressError{"it is no public one"}
	}
	return nil
}
