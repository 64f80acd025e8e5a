package clientaddr

import (
	"crypto/tls"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func forwardedResolver() *Resolver {
	return NewFor([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}, Forwarded)
}

func TestForwarded(t *testing.T) {
	for name, c := range map[string]struct {
		values []string
		want   string
	}{
		"one":                            {[]string{"for=192.0.2.1"}, "192.0.2.1"},
		"all parameters":                 {[]string{`by=10.0.0.1; For="192.0.2.1:4711";proto=https;host="a,b;c"`}, "192.0.2.1"},
		"IPv6 in quotes":                 {[]string{`for="[2001:db8:cafe::17]:4711"`}, "2001:db8:cafe::17"},
		"escaped within quotes":          {[]string{`for="192.0.2\.1"`}, "192.0.2.1"},
		"right to left":                  {[]string{`for=203.0.113.5, for=192.0.2.1, for=10.0.0.2`}, "192.0.2.1"},
		"in two headers":                 {[]string{"for=192.0.2.1", "for=10.0.0.2"}, "192.0.2.1"},
		"unknown":                        {[]string{"for=203.0.113.5, for=unknown"}, "10.0.0.1"},
		"obfuscated":                     {[]string{"for=203.0.113.5, for=_hidden, for=10.0.0.2"}, "10.0.0.2"},
		"without for":                    {[]string{"for=203.0.113.5, proto=https"}, "10.0.0.1"},
		"twice in one":                   {[]string{"for=203.0.113.5;for=192.0.2.1"}, "10.0.0.1"},
		"a quotation left open before":   {[]string{`for="203.0.113.5, for=192.0.2.1`}, "192.0.2.1"},
		"and one that looks closed":      {[]string{`for="x, for="[2001:db8::5]:1"`}, "2001:db8::5"},
		"a comma in quotes is no end":    {[]string{`for=203.0.113.5;x=", for=192.0.2.9", for=192.0.2.1`}, "192.0.2.1"},
		"nonsense after the quotation":   {[]string{`for="192.0.2.1"x`}, "10.0.0.1"},
		"IPv6 without quotes is nothing": {[]string{`for=[2001:db8::1]`}, "10.0.0.1"},
		"an empty element":               {[]string{"for=192.0.2.1,"}, "192.0.2.1"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.RemoteAddr = "10.0.0.1:80"
		r.Header["Forwarded"] = c.values
		r.Header.Set("X-Forwarded-For", "198.51.100.1") // never looked at
		if got := forwardedResolver().FromHTTP(r).String(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		r.RemoteAddr = "192.0.2.77:80"
		if got := forwardedResolver().FromHTTP(r).String(); got != "192.0.2.77" {
			t.Errorf("%s: a stranger is believed to be %s", name, got)
		}
	}
}

func TestOneHeaderIsBelieved(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	r.RemoteAddr = "10.0.0.1:80"
	r.Header.Set("Forwarded", "for=198.51.100.1")
	if got := resolver().FromHTTP(r).String(); got != "10.0.0.1" {
		t.Errorf("Forwarded is believed beside X-Forwarded-For: %s", got)
	}
}

func TestOrigin(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	r.Host, r.TLS = "edge:8080", &tls.ConnectionState{}
	r.Header.Set("X-Forwarded-Proto", "http")
	r.Header.Set("X-Forwarded-Host", "api.example")
	for remote, want := range map[string][2]string{
		"10.0.0.1:80":  {"http", "api.example"},
		"192.0.2.1:80": {"https", "edge:8080"},
	} {
		r.RemoteAddr = remote
		if scheme, host := resolver().Origin(r); scheme != want[0] || host != want[1] {
			t.Errorf("from %s: %s %s", remote, scheme, host)
		}
	}
	r.RemoteAddr = "10.0.0.1:80"
	r.Header.Set("X-Forwarded-Host", "a.example, b.example")
	r.Header.Add("X-Forwarded-Proto", "https")
	if scheme, host := resolver().Origin(r); scheme != "https" || host != "edge:8080" {
		t.Errorf("two values are believed: %s %s", scheme, host)
	}
}

func FuzzForwarded(f *testing.F) {
	f.Add(`for="[2001:db8::1]:80";proto=https, for=10.0.0.1`)
	f.Add(`for="a\"b,`)
	f.Fuzz(func(t *testing.T, value string) {
		stranger := netip.MustParseAddr("192.0.2.1")
		if got := forwardedResolver().resolve(stranger, []string{value}); got != stranger {
			t.Fatalf("a stranger is believed to be %s", got)
		}
		// What a client wrote before cannot change what the nearest proxy says.
		for _, by := range []string{`for=192.0.2.7`, `for="192.0.2.7:99";proto=https`} {
			hops := forwardedFor([]string{value, by})
			if got := parse(hops[len(hops)-1]); got.String() != "192.0.2.7" {
				t.Fatalf("%q", hops)
			}
		}
		if got := forwardedResolver().resolve(netip.MustParseAddr("10.0.0.1"), []string{value}); !got.IsValid() {
			t.Fatal("a request behind a proxy has no address")
		}
	})
}
