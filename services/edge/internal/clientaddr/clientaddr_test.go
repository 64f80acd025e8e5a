package clientaddr

import (
	"net"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

func resolver() *Resolver {
	return New([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")})
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		name      string
		remote    string
		forwarded []string
		want      string
	}{
		{"directly", "192.0.2.1:1234", nil, "192.0.2.1"},
		{"a stranger who names another", "192.0.2.1:1234", []string{"198.51.100.9"}, "192.0.2.1"},
		{"through a proxy", "10.0.0.1:80", []string{"192.0.2.1"}, "192.0.2.1"},
		{"through two", "10.0.0.1:80", []string{"192.0.2.1, 10.0.0.2"}, "192.0.2.1"},
		{"in two headers", "10.0.0.1:80", []string{"192.0.2.1", "10.0.0.2"}, "192.0.2.1"},
		{"with what the client wrote before", "10.0.0.1:80", []string{"127.0.0.1, 203.0.113.5, 192.0.2.1"}, "192.0.2.1"},
		{"a proxy that says nothing", "10.0.0.1:80", nil, "10.0.0.1"},
		{"nonsense from a proxy", "10.0.0.1:80", []string{"unknown"}, "10.0.0.1"},
		{"nonsense before a proxy", "10.0.0.1:80", []string{"x, 10.0.0.2"}, "10.0.0.2"},
		{"only proxies", "10.0.0.1:80", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"IPv6 with a port", "[fd00::1]:80", []string{"[2001:db8::7]:99"}, "2001:db8::7"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:80", []string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		{"a zone", "[fd00::1]:80", []string{"fe80::1%eth0"}, "fe80::1"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.RemoteAddr = c.remote
		for _, f := range c.forwarded {
			r.Header.Add(XForwardedFor, f)
		}
		if got := resolver().FromHTTP(r).String(); got != c.want {
			t.Errorf("%s over HTTP: %s, want %s", c.name, got, c.want)
		}
		tcp, err := net.ResolveTCPAddr("tcp", c.remote)
		if err != nil {
			t.Fatal(err)
		}
		ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: tcp})
		ctx = metadata.NewIncomingContext(ctx, metadata.MD{XForwardedFor: c.forwarded})
		if got := resolver().FromContext(ctx).String(); got != c.want {
			t.Errorf("%s over gRPC: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestNotKnown(t *testing.T) {
	if got := resolver().FromContext(t.Context()); got.IsValid() {
		t.Errorf("an address out of nowhere: %s", got)
	}
}

func TestNetwork(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1",
		"2001:db8:0:1:2:3:4:5": "2001:db8:0:1::/64",
	} {
		if got := Network(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	if got := Network(netip.Addr{}); got == "" {
		t.Error("an unknown address has no bucket")
	}
}

func FuzzResolve(f *testing.F) {
	f.Add("192.0.2.1, 10.0.0.1")
	f.Add(strings.Repeat("10.0.0.1,", 100))
	f.Fuzz(func(t *testing.T, forwarded string) {
		stranger := netip.MustParseAddr("192.0.2.1")
		if got := resolver().resolve(stranger, []string{forwarded}); got != stranger {
			t.Fatalf("a stranger is believed to be %s", got)
		}
		if got := resolver().resolve(netip.MustParseAddr("10.0.0.1"), []string{forwarded}); !got.IsValid() {
			t.Fatal("a request behind a proxy has no address")
		}
	})
}
