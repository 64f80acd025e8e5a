package webhook

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/standardwebhook"
	"github.com/poterne/poterne/services/edge/internal/envelope"
)

// The example of the specification's libraries.
func TestSignature(t *testing.T) {
	secret, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := standardwebhook.Sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Error(got)
	}
}

func TestAddresses(t *testing.T) {
	g, err := newGuard(Config{AllowNetworks: []string{"10.1.0.0/16", "fd00:1::/32"}})
	if err != nil {
		t.Fatal(err)
	}
	for text, ok := range map[string]bool{
		"8.8.8.8": true, "2606:4700:4700::1111": true, "10.1.2.3": true, "fd00:1::5": true, "::ffff:10.1.2.3": true, "::ffff:8.8.8.8": true,
		"10.2.0.1": false, "127.0.0.1": false, "127.9.9.9": false, "0.0.0.0": false, "169.254.169.254": false, "192.168.1.1": false, "172.31.0.1": false,
		"100.64.0.1": false, "198.18.0.1": false, "224.0.0.1": false, "255.255.255.255": false, "168.63.129.16": false,
		"::1": false, "::": false, "fe80::1": false, "fc00::1": false, "fd00:2::1": false, "ff02::1": false, "::ffff:127.0.0.1": false,
		"64:ff9b::7f00:1": false, "64:ff9b:1::a00:1": false, "2002:7f00:1::": false, "2001:0:7f00:1::": false, "::7f00:1": false, "::ffff:0:7f00:1": false,
	} {
		if err := g.judge(netip.MustParseAddr(text)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
	for text, ok := range map[string]bool{
		"https://example.com/hooks?x=1": true, "https://10.1.0.9:8443/": true,
		"http://example.com/": false, "https://127.0.0.1/": false, "https://[::1]/": false, "https://user:p@example.com/": false, "https://example.com/#f": false,
		"ftp://example.com/": false, "example.com": false, "https://": false, "https:///x": false, "": false, "https://example.com/" + strings.Repeat("x", maxURL): false,
		"https://10.2.0.9/": false, "https:example.com": false,
	} {
		if err := g.url(text); (err == nil) != ok {
			t.Errorf("%.80s: %v", text, err)
		}
	}
}

// sealedHook is a webhook with a secret.
func sealedHook(t *testing.T, s *Sender, url string) *Hook {
	t.Helper()
	h := &Hook{Tenant: "acme", UID: "u", URL: url}
	secret, err := envelope.NewKey()
	if err == nil {
		err = h.seal(s.masters, secret)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// What a name leads to is judged when it is called: localhost is no address by itself.
func TestNothingInsideIsCalled(t *testing.T) {
	called := false
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	t.Cleanup(inside.Close)
	c := testConfig()
	c.AllowNetworks = nil
	s, err := NewSender(c, clock.Real())
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(inside.URL, "http://"), ":")
	r := s.Send(t.Context(), sealedHook(t, s, "http://localhost:"+port+"/"), "evt_1", []byte("{}"))
	if called || r.OK() || !strings.Contains(r.Problem, "no public one") {
		t.Errorf("called: %v, %+v", called, r)
	}
	// Neither by the way of a redirect, and not through a proxy.
	t.Setenv("HTTP_PROXY", inside.URL)
	allowed := testConfig()
	away := httptest.NewServer(http.RedirectHandler(inside.URL, http.StatusTemporaryRedirect))
	t.Cleanup(away.Close)
	if s, err = NewSender(allowed, clock.Real()); err != nil {
		t.Fatal(err)
	}
	if r := s.Send(t.Context(), sealedHook(t, s, away.URL), "evt_1", []byte("{}")); called || r.OK() || r.Status != http.StatusTemporaryRedirect {
		t.Errorf("a redirect is followed: %v, %+v", called, r)
	}
}

func TestProblems(t *testing.T) {
	c := testConfig()
	c.Timeout = 2 * time.Second
	s, err := NewSender(c, clock.Real())
	if err != nil {
		t.Fatal(err)
	}
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the end of a connection is seen once that is read
		<-r.Context().Done()
	}))
	t.Cleanup(slow.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	for url, want := range map[string]string{
		slow.URL: "it did not answer in time", gone.URL: "the connection failed", secure.URL: "its certificate is not valid",
	} {
		if r := s.Send(t.Context(), sealedHook(t, s, url), "evt_1", []byte("{}")); r.OK() || !strings.HasPrefix(r.Problem, want) || strings.Contains(r.Problem, "127.0.0.1:") {
			t.Errorf("%+v, want %q", r, want)
		}
	}
	other := *sealedHook(t, s, slow.URL)
	other.Tenant = "beta"
	if r := s.Send(t.Context(), &other, "evt_1", []byte("{}")); !strings.Contains(r.Problem, "secret") {
		t.Errorf("%+v", r)
	}
}

func TestConfig(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"":                 func(*Config) {},
		"no key":           func(c *Config) { c.Key = "" },
		"webhooks.key":     func(c *Config) { c.Key = "m1:short" },
		"previous":         func(c *Config) { c.Key, c.PreviousKeys = "", []config.Secret{"x"} },
		"secret_overlap":   func(c *Config) { c.SecretOverlap = 8 * 24 * time.Hour },
		"allow_networks":   func(c *Config) { c.AllowNetworks = []string{"10.0.0.1"} },
		"webhooks.timeout": func(c *Config) { c.Timeout = 0 },
		"attempts":         func(c *Config) { c.Attempts = 0 },
		"backoff":          func(c *Config) { c.Backoff = 0 },
		"poll_interval":    func(c *Config) { c.PollInterval = 0 },
	} {
		c := testConfig()
		change(&c)
		var p config.Problems
		c.Validate(&p, "webhooks")
		if err := p.Err(); (err == nil) != (name == "" || name == "no key") || err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
