package fetch

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestAddressesThatAreNotAsked(t *testing.T) {
	for address, want := range map[string]struct{ named, own bool }{ // may be dialled for a name, and for this machine's own
		"93.184.215.14":            {true, true},
		"10.1.2.3":                 {true, true},
		"192.168.1.1":              {true, true},
		"172.16.0.1":               {true, true},
		"100.64.0.1":               {true, true},
		"2606:4700::1111":          {true, true},
		"fd12:3456:789a::1":        {true, true},
		"64:ff9b::5db8:d70e":       {true, true},
		"127.0.0.1":                {false, true},
		"127.8.9.10":               {false, true},
		"::1":                      {false, true},
		"::ffff:127.0.0.1":         {false, true},
		"::127.0.0.1":              {false, true},
		"64:ff9b::7f00:1":          {false, true},
		"2002:7f00:1::1":           {false, true},
		"::ffff:0:127.0.0.1":       {false, true},
		"0.0.0.0":                  {},
		"0.1.2.3":                  {},
		"::":                       {},
		"169.254.169.254":          {},
		"169.254.170.2":            {},
		"::ffff:169.254.169.254":   {},
		"::ffff:a9fe:a9fe":         {},
		"::169.254.169.254":        {},
		"::ffff:0:a9fe:a9fe":       {},
		"64:ff9b::a9fe:a9fe":       {},
		"64:ff9b:1::a9fe:a9fe":     {},
		"64:ff9b:1:a9fe:a9:fe00::": {},
		"2002:a9fe:a9fe::":         {},
		"2001:0:a9fe:a9fe::1":      {},
		"2001::5601:5601":          {}, // Teredo's client, inverted
		"fe80::1":                  {},
		"fe80::1%eth0":             {},
		"::1%lo":                   {},
		"fec0::1":                  {},
		"fd00:ec2::254":            {},
		"fd00:ec2::23":             {},
		"fd20:ce::254":             {},
		"fd00:c1::a9fe:a9fe":       {},
		"100.100.100.200":          {},
		"168.63.129.16":            {},
		"192.0.0.192":              {},
		"224.0.0.1":                {},
		"ff02::1":                  {},
		"ff01::1":                  {},
		"255.255.255.255":          {},
		"100::1":                   {},
		"not an address":           {},
		"":                         {},
	} {
		for own, may := range map[bool]bool{false: want.named, true: want.own} {
			if err := judge(net.JoinHostPort(address, "80"), own); (err == nil) != may {
				t.Errorf("%s (own %v): %v", address, own, err)
			} else if err != nil && !refusedAddress(err) {
				t.Errorf("%s: %T is no judgement", address, err)
			}
		}
	}
}

// nameServer answers each question for an IPv4 address with the next of the
// addresses, the last one from then on.
func nameServer(t *testing.T, addresses ...string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	var asked atomic.Int32
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			if q.Type == dnsmessage.TypeA {
				i := min(int(asked.Add(1)), len(addresses)) - 1
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
					Body:   &dnsmessage.AResource{A: netip.MustParseAddr(addresses[i]).As4()},
				}}
			}
			if packed, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(packed, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// resolving has f ask for names of r.
func resolving(t *testing.T, f *Fetchers, r *net.Resolver) {
	t.Helper()
	web, ok := f.byScheme[SchemeHTTP].(*webFetcher)
	if !ok {
		t.Fatal("no fetcher for http")
	}
	d := &dialer{net.Dialer{Resolver: r}}
	web.client.http.Transport = &http.Transport{DialContext: d.dial, DisableKeepAlives: true}
}

// A name is judged by the address that is dialled, each time: what it resolved to
// a moment ago says nothing.
func TestNamesThatResolveToAMachinesOwn(t *testing.T) {
	var asked atomic.Int32
	own := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	for name, addresses := range map[string][]string{
		"metadata":                        {"169.254.169.254"},
		"loopback":                        {"127.0.0.1"},
		"none":                            {"0.0.0.0"},
		"after one that may be":           {"192.0.2.1", "127.0.0.1"}, // rebinding: the first answer is for a check
		"after one that may be, metadata": {"192.0.2.1", "169.254.169.254"},
	} {
		host := "models.example.test:" + own.Port()
		f, r := New(testConfig("http://"+host), realClock()), nameServer(t, addresses...)
		for range len(addresses) - 1 { // as a check before the request would
			if got, err := r.LookupHost(t.Context(), "models.example.test"); err != nil || got[0] != addresses[0] {
				t.Fatalf("%s: %v, %v", name, got, err)
			}
		}
		resolving(t, f, r)
		_, _, err := get(t.Context(), f, Request{Ref: mustParse(t, "http://"+host+"/f")})
		wantError(t, err, Permanent, "not one that files are fetched from")
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("this machine was asked %d times", n)
	}
}

// A redirect leads to no such address either, also where its host is allowed.
func TestRedirectsToAMachinesOwn(t *testing.T) {
	var asked atomic.Int32
	own := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	for _, target := range []string{
		"http://metadata.example.test:" + own.Port() + "/latest/meta-data",
		"http://[fd00:ec2::254]/latest/meta-data", "http://[::ffff:169.254.169.254]/x", "http://[64:ff9b::a9fe:a9fe]/x",
		"http://169.254.169.254/latest", "http://0.0.0.0/x",
	} {
		from := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", target)
			w.WriteHeader(http.StatusFound)
		})
		ref := Request{Ref: mustParse(t, from.String()+"/f")}
		_, _, err := get(t.Context(), New(testConfig(from.String()), realClock()), ref)
		wantError(t, err, Permanent, "does not allow")
		cfg := testConfig(from.String())
		to := strings.TrimPrefix(strings.SplitAfterN(target, "/", 4)[2], "/")
		cfg.RedirectHosts = []string{strings.TrimSuffix(to, "/")}
		f := New(cfg, realClock())
		resolving(t, f, nameServer(t, "127.0.0.1")) // what is no address is a name
		_, _, err = get(t.Context(), f, ref)
		wantError(t, err, Permanent, "not one that files are fetched from")
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("this machine was asked %d times", n)
	}
}

// A host's token is for what is allowed there: an open redirect does not have it
// read the rest.
func TestRedirectsWithinAHostAndItsToken(t *testing.T) {
	data, _ := payload(1000)
	var seen seenHeaders
	u := serve(t, seen.note(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/llm/open" {
			http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
			return
		}
		file(data)(w, r)
	}))
	cfg := testConfig(u.String() + "/llm")
	cfg.HTTP = map[string]WebHost{u.Host: {Token: "t0ken"}}
	f := New(cfg, realClock())
	for to, want := range map[string]string{
		"/llm/model":             "Bearer t0ken|Bearer t0ken",
		"/secret":                "Bearer t0ken|",
		"/llm/../secret":         "Bearer t0ken|",
		"/llm/..;/secret":        "Bearer t0ken|",
		"/llm/%252e%252e/secret": "Bearer t0ken|",
		"/llmsecret":             "Bearer t0ken|",
	} {
		seen.auth = nil
		if _, _, err := get(t.Context(), f, Request{Ref: mustParse(t, u.String()+"/llm/open?to="+strings.ReplaceAll(to, "%", "%25"))}); err != nil {
			t.Errorf("%s: %v", to, err)
		}
		if got := seen.all(); got != want {
			t.Errorf("%s: shown %q, want %q", to, got, want)
		}
	}
}
