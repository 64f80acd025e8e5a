package publicaddr_test

import (
	"net/netip"
	"testing"

	"github.com/poterne/poterne/pkg/publicaddr"
)

func TestAllows(t *testing.T) {
	allowed := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32")}
	for text, ok := range map[string]bool{
		"8.8.8.8": true, "2606:4700:4700::1111": true, "::ffff:8.8.8.8": true, "10.1.2.3": true, "::ffff:10.1.2.3": true, "fd00:1::5": true,
		"10.2.0.1": false, "127.0.0.1": false, "::ffff:127.0.0.1": false, "169.254.169.254": false, "168.63.129.16": false, "240.0.0.1": false,
		"255.255.255.255": false, "::1": false, "::": false, "fe80::1": false, "fe80::1%eth0": false, "2606::1%eth0": false, "64:ff9b::7f00:1": false,
		"2002:7f00:1::": false, "2001:0:7f00:1::": false, "3fff::1": false,
	} {
		if got := publicaddr.Allows(netip.MustParseAddr(text), allowed); got != ok {
			t.Errorf("%s: %t", text, got)
		}
	}
}
