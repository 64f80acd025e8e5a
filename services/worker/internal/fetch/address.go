package fetch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// Private addresses are where stores of one's own are, so they may be asked. What
// must not is a machine's own services that no configuration names: a cloud's
// metadata, in all its forms, and what listens on this machine's loopback.

// addressError says why an address is not asked.
type addressError struct{ why string }

func (e *addressError) Error() string {
	return "the address is not one that files are fetched from: " + e.why
}

// dialer connects to names, and judges each address as it is really dialled: a
// name may resolve to another one each time that it is asked for.
type dialer struct{ net.Dialer }

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	own := isThisMachine(host)
	judged := d.Dialer
	judged.Control = func(_, address string, _ syscall.RawConn) error { return judge(address, own) }
	return judged.DialContext(ctx, network, address)
}

// judge returns why the address, with its port, is not to be dialled. own says
// that this machine is meant by name.
func judge(address string, own bool) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return &addressError{"it cannot be read"}
	}
	if at.Addr().Zone() != "" {
		return &addressError{"it is one of a link"}
	}
	for _, a := range meanings(at.Addr()) {
		switch {
		case a.IsLinkLocalUnicast(), a.IsMulticast(), a.IsUnspecified(), a.IsInterfaceLocalMulticast():
			return &addressError{"it is link-local, multicast or none"}
		case a.IsLoopback() && !own:
			return &addressError{"it is this machine's own, and is not named so"}
		}
		for _, p := range machineServices() {
			if p.Contains(a) {
				return &addressError{fmt.Sprintf("%v is for a machine's own services", p)}
			}
		}
	}
	return nil
}

// machineServices are addresses of a cloud's own services for its machines that
// are not link-local, and those that are nobody's.
func machineServices() []netip.Prefix {
	var out []netip.Prefix
	for _, p := range []string{
		"0.0.0.0/8", "192.0.0.0/24", "240.0.0.0/4",
		"100.100.100.200/32",              // Alibaba Cloud
		"168.63.129.16/32",                // Azure
		"fd00:ec2::/32",                   // AWS
		"fd20:ce::254/128",                // Google Cloud
		"fd00:c1::a9fe:a9fe/128",          // Oracle Cloud
		"::/128", "100::/64", "fec0::/10", // none, discarded, and site-local as it once was
	} {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// meanings are a and the IPv4 addresses that it stands for where something on the
// way translates: mapped and compatible ones, NAT64, 6to4 and Teredo.
func meanings(a netip.Addr) []netip.Addr {
	a = a.Unmap()
	out := []netip.Addr{a}
	if a.Is4() {
		return out
	}
	b := a.As16()
	v4 := func(at int) { out = append(out, netip.AddrFrom4([4]byte(b[at:at+4]))) }
	in := func(prefix string) bool { return netip.MustParsePrefix(prefix).Contains(a) }
	switch {
	case a.IsLoopback() || a.IsUnspecified():
	case in("::/96"), in("::ffff:0:0:0/96"), in("64:ff9b::/96"):
		v4(12)
	case in("64:ff9b:1::/48"): // of which a network takes all or a part (RFC 6052)
		v4(12)
		out = append(out, netip.AddrFrom4([4]byte{b[6], b[7], b[9], b[10]}))
	case in("2002::/16"):
		v4(2)
	case in("2001::/32"):
		v4(4) // the server
		for i := 12; i < 16; i++ {
			b[i] ^= 0xff
		}
		v4(12) // the client
	}
	return out
}

// isThisMachine reports whether a URL that names host means this machine.
func isThisMachine(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// refusedAddress reports whether err is a judgement, which does not pass by
// itself.
func refusedAddress(err error) bool {
	_, is := errors.AsType[*addressError](err)
	return is
}
