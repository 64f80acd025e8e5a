package doorway

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

type judge struct {
	expel   func(netip.Prefix)
	trusted netip.Prefix
	banned  atomic.Pointer[netip.Addr]
}

func (j *judge) Trusts(a netip.Addr) bool { return j.trusted.IsValid() && j.trusted.Contains(a) }

func (j *judge) Banned(a netip.Addr) bool {
	b := j.banned.Load()
	return b != nil && *b == a
}

func (j *judge) OnBan(expel func(netip.Prefix)) { j.expel = expel }

// open serves on a port by telling each connection who it is.
func open(t *testing.T, cfg Config, j Judge) string {
	t.Helper()
	inner, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Wrap(inner, cfg, j)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
				_, _ = io.WriteString(c, host+"\n")
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return inner.Addr().String()
}

// ask connects from an address, sends begin and returns who it is taken for; empty
// when it is closed.
func ask(t *testing.T, addr, from, begin string) (string, net.Conn) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return "", nil // closed before the dialer knew of it
	}
	t.Cleanup(func() { _ = c.Close() })
	_, _ = io.WriteString(c, begin)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 64)
	n, _ := c.Read(buf)
	return strings.TrimSpace(string(buf[:n])), c
}

// v2 is a header for a client.
func v2(command, family byte, rest ...byte) string {
	return signature + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + string(rest)
}

func TestConnectionsOfAnAddress(t *testing.T) {
	j := &judge{trusted: netip.MustParsePrefix("127.0.0.3/32")}
	addr := open(t, Config{PerAddress: 2}, j)
	_, first := ask(t, addr, "127.0.0.1", "")
	if who, _ := ask(t, addr, "127.0.0.1", ""); who != "127.0.0.1" {
		t.Fatalf("the second is %q", who)
	}
	if who, _ := ask(t, addr, "127.0.0.1", ""); who != "" {
		t.Errorf("the third comes in as %q", who)
	}
	if who, _ := ask(t, addr, "127.0.0.2", ""); who != "127.0.0.2" {
		t.Errorf("another address is %q", who)
	}
	for range 4 {
		if who, _ := ask(t, addr, "127.0.0.3", ""); who != "127.0.0.3" {
			t.Errorf("a trusted proxy is %q", who)
		}
	}
	_ = first.Close()
	for i := 0; ; i++ {
		if who, _ := ask(t, addr, "127.0.0.1", ""); who != "" {
			break
		}
		if i > 1000 {
			t.Fatal("a place that was left is not given again")
		}
	}
}

func TestBanned(t *testing.T) {
	j := &judge{trusted: netip.MustParsePrefix("127.0.0.3/32")}
	addr := open(t, Config{Proxy: true, HeaderTimeout: 5 * time.Second}, j)
	client := netip.MustParseAddr("192.0.2.7")
	header := v2(0x21, 0x11, 192, 0, 2, 7, 127, 0, 0, 1, 0, 9, 0, 80)
	if who, _ := ask(t, addr, "127.0.0.3", header); who != "192.0.2.7" {
		t.Fatalf("the client is %q", who)
	}
	j.banned.Store(&client)
	if who, _ := ask(t, addr, "127.0.0.3", header); who != "" {
		t.Errorf("the banned client comes in as %q", who)
	}
	proxy := netip.MustParseAddr("127.0.0.3")
	j.banned.Store(&proxy)
	if who, _ := ask(t, addr, "127.0.0.3", header); who != "192.0.2.7" {
		t.Errorf("behind a proxy that is banned: %q", who)
	}
	stranger := netip.MustParseAddr("127.0.0.1")
	j.banned.Store(&stranger)
	if who, _ := ask(t, addr, "127.0.0.1", ""); who != "" {
		t.Errorf("the banned stranger comes in as %q", who)
	}
}

// A ban ends what its address has open.
func TestExpelled(t *testing.T) {
	j := new(judge)
	addr := open(t, Config{}, j)
	_, banned := ask(t, addr, "127.0.0.2", "")
	_, other := ask(t, addr, "127.0.0.1", "")
	j.expel(netip.MustParsePrefix("127.0.0.2/32"))
	if _, err := banned.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open")
	}
	_ = other.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := other.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("another's: %v", err)
	}
}

func TestProxyProtocol(t *testing.T) {
	j := &judge{trusted: netip.MustParsePrefix("127.0.0.3/32")}
	addr := open(t, Config{Proxy: true, HeaderTimeout: 5 * time.Second}, j)
	six := append(netip.MustParseAddr("2001:db8::7").AsSlice(), make([]byte, 20)...)
	for name, c := range map[string]struct{ from, begin, want string }{
		"IPv4":                       {"127.0.0.3", v2(0x21, 0x11, 192, 0, 2, 7, 127, 0, 0, 1, 0, 9, 0, 80), "192.0.2.7"},
		"IPv6":                       {"127.0.0.3", v2(0x21, 0x21, six...), "2001:db8::7"},
		"further fields":             {"127.0.0.3", v2(0x21, 0x11, 192, 0, 2, 7, 127, 0, 0, 1, 0, 9, 0, 80, 4, 0, 1, 0), "192.0.2.7"},
		"for itself":                 {"127.0.0.3", v2(0x20, 0x00), "127.0.0.3"},
		"unspecified":                {"127.0.0.3", v2(0x21, 0x00), "127.0.0.3"},
		"version 1":                  {"127.0.0.3", "PROXY TCP4 192.0.2.7 127.0.0.1 9 80\r\n", ""},
		"a request without a header": {"127.0.0.3", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		"too short":                  {"127.0.0.3", v2(0x21, 0x11, 192, 0, 2, 7), ""},
		"a datagram's":               {"127.0.0.3", v2(0x21, 0x12, 192, 0, 2, 7, 127, 0, 0, 1, 0, 9, 0, 80), ""},
		"too long":                   {"127.0.0.3", v2(0x21, 0x11, make([]byte, maxHeader+1)...), ""},
		"a stranger's is no header":  {"127.0.0.1", v2(0x21, 0x11, 192, 0, 2, 7, 127, 0, 0, 1, 0, 9, 0, 80), "127.0.0.1"},
	} {
		if who, _ := ask(t, addr, c.from, c.begin); who != c.want {
			t.Errorf("%s: %q, want %q", name, who, c.want)
		}
	}
}

// A proxy that says nothing holds up nobody, and not for ever.
func TestProxyThatSaysNothing(t *testing.T) {
	j := &judge{trusted: netip.MustParsePrefix("127.0.0.3/32")}
	addr := open(t, Config{Proxy: true, HeaderTimeout: 200 * time.Millisecond}, j)
	silent := make(chan string, 1)
	go func() {
		who, _ := ask(t, addr, "127.0.0.3", signature[:5])
		silent <- who
	}()
	if who, _ := ask(t, addr, "127.0.0.1", ""); who != "127.0.0.1" {
		t.Errorf("beside it: %q", who)
	}
	if who := <-silent; who != "" {
		t.Errorf("it comes in as %q", who)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte(v2(0x21, 0x11, 192, 0, 2, 7, 127, 0, 0, 1, 0, 9, 0, 80)))
	f.Add([]byte(v2(0x20, 0x00)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(append(bytes.Clone(b), "rest"...))
		addr, err := readHeader(r)
		if err != nil {
			return
		}
		if addr.IsValid() && !bytes.HasPrefix(b, []byte(signature)) {
			t.Fatalf("%x is %v", b, addr)
		}
		if read := int(r.Size()) - r.Len(); read > 16+maxHeader {
			t.Fatalf("%d bytes are read", read)
		}
	})
}
