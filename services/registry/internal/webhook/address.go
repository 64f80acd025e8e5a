package webhook

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"syscall"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/publicaddr"
)

// Whoever may make a webhook makes this process send requests: they must reach no
// service that trusts its own network. Addresses are judged as they are dialled,
// since a name may resolve to another one each time that it is asked for.

// errAddress says that an address is not sent to.
var errAddress = errors.New("the address is not one that webhooks are sent to: it is private or reserved, and webhooks.allow_addresses does not name its range")

// CheckURL returns what is wrong with where messages are to be sent. The text is
// not repeated: it may hold a token.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return apierr.Invalid("url", "is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return apierr.Invalid("url", "must begin with https:// or http://")
	case u.Hostname() == "":
		return apierr.Invalid("url", "must name a host")
	case u.User != nil:
		return apierr.Invalid("url", "must not hold credentials: messages are signed instead")
	case u.Fragment != "":
		return apierr.Invalid("url", "must have no fragment")
	}
	return nil
}

// guard judges the addresses that are dialled.
type guard struct{ allowed []netip.Prefix }

// control is a net.Dialer's Control.
func (g guard) control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !g.allows(at.Addr()) {
		return errAddress
	}
	return nil
}

// allows reports whether a is a public address or one that the configuration names.
func (g guard) allows(a netip.Addr) bool { return publicaddr.Allows(a, g.allowed) }

// ParsePrefixes reads the addresses that messages may be sent to though they are
// not public.
func ParsePrefixes(list []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(list))
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not an address range such as 10.0.0.0/8", text)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func newDialer(g guard) *net.Dialer { return &net.Dialer{Timeout: connectTimeout, Control: g.control} }
