package doorway

import (
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
)

// signature begins a header of the PROXY protocol, version 2.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// maxHeader bounds what follows the fixed part: addresses, and further fields that
// are passed over.
const maxHeader = 2048

var errHeader = errors.New("doorway: no header of the PROXY protocol, version 2")

// readHeader reads the header (haproxy.org, The PROXY protocol, section 2.2) and not
// a byte more. The address is invalid when the proxy speaks for itself, or for
// somebody without an address that it knows. Version 1 is refused: it is text that
// a request can look like.
func readHeader(r io.Reader) (netip.AddrPort, error) {
	var fixed [16]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return netip.AddrPort{}, err
	}
	command, family := fixed[12], fixed[13]
	length := int(binary.BigEndian.Uint16(fixed[14:]))
	if string(fixed[:12]) != signature || command>>4 != 2 || length > maxHeader {
		return netip.AddrPort{}, errHeader
	}
	rest := make([]byte, length)
	if _, err := io.ReadFull(r, rest); err != nil {
		return netip.AddrPort{}, err
	}
	switch command & 0xf {
	case 0: // LOCAL
		return netip.AddrPort{}, nil
	case 1: // PROXY
	default:
		return netip.AddrPort{}, errHeader
	}
	switch family {
	case 0x00: // AF_UNSPEC
		return netip.AddrPort{}, nil
	case 0x11: // TCP over IPv4: source, destination, ports
		if length < 12 {
			return netip.AddrPort{}, errHeader
		}
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(rest)), binary.BigEndian.Uint16(rest[8:])), nil
	case 0x21: // TCP over IPv6
		if length < 36 {
			return netip.AddrPort{}, errHeader
		}
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(rest)).Unmap(), binary.BigEndian.Uint16(rest[32:])), nil
	default: // datagrams and sockets that cannot be
		return netip.AddrPort{}, errHeader
	}
}
