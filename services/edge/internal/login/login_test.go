package login

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/edge/internal/oidc"
)

func TestOwnPath(t *testing.T) {
	for text, own := range map[string]bool{
		"/": true, "/account": true, "/docs/?x=1": true, "/docs/?u=https://evil.example": true, "/a//b": true, "/%2e%2e": true, "/loginx": true,
		"": false, "account": false, "//evil.example": false, "///evil.example": false, `/\evil.example`: false, `\/evil.example`: false,
		"https://evil.example": false, "javascript:alert(1)": false, "/\tx": false, "/\r\nSet-Cookie: a=b": false, "/ x": false, "/é": false,
		"/%2f/evil.example": false, "/%5cevil.example": false, "/a#b": false, "/login": false, "/login?return_to=/": false, "/login/callback?code=x": false,
		"/logout": false, "/%": false, "/\x00": false, "/" + strings.Repeat("a", maxPath): false,
	} {
		if got := ownPath(text); (got == text && text != "") != own || got != "" && got != text {
			t.Errorf("%.60q: %q", text, got)
		}
	}
}

func FuzzOwnPath(f *testing.F) {
	for _, s := range []string{"/", "//x", `/\x`, "/%2fx", "/a?b#c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		switch got := ownPath(s); {
		case got != "" && got != s:
			t.Errorf("%q became %q", s, got)
		case got != "" && (got[0] != '/' || strings.HasPrefix(got, "//") || strings.ContainsAny(got, "\\\r\n\t ")):
			t.Errorf("%q is taken for a path of ours", s)
		}
	})
}

func newTestSealer(t *testing.T, key byte) *sealer {
	t.Helper()
	s, err := newSealer([]byte(strings.Repeat(string(rune(key)), 32)), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFlow(t *testing.T) {
	s, now := newTestSealer(t, 'a'), time.Unix(1_800_000_000, 0)
	f, cookie, err := s.begin("/docs/", nil, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{f.State, f.Nonce, f.Verifier} {
		if len(secret) != 43 || strings.Contains(cookie, secret) {
			t.Errorf("%q in %q", secret, cookie)
		}
	}
	if got, err := s.open(cookie, now.Add(flowTime-time.Second)); err != nil || len(got) != 1 || got[0] != f {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.open(cookie, now.Add(flowTime)); err == nil {
		t.Error("it holds after its time")
	}
	if _, err := newTestSealer(t, 'b').open(cookie, now); err == nil {
		t.Error("another key opens it")
	}
	for i := range len(cookie) {
		with := []byte(cookie)
		if with[i]++; with[i] == cookie[i] {
			continue
		}
		if _, err := s.open(string(with), now); err == nil {
			t.Errorf("it opens with character %d changed", i)
		}
	}
	for _, text := range []string{"", "x", "====", cookie + cookie, strings.Repeat("A", maxFlowBytes+1)} {
		if _, err := s.open(text, now); err == nil {
			t.Errorf("%.20q opens", text)
		}
	}
	other, again, err := s.begin("/docs/", nil, now)
	if err != nil || other.State == f.State || other.Verifier == f.Verifier || other.Nonce == f.Nonce || again == cookie {
		t.Errorf("two logins alike: %v", err)
	}
	if _, _, err := (&sealer{aead: s.aead, random: strings.NewReader("few")}).begin("/", nil, now); err == nil {
		t.Error("it begins without chance")
	}
}

// A browser may have several logins under way, in tabs of its own; the oldest make
// room.
func TestFlows(t *testing.T) {
	s, now := newTestSealer(t, 'a'), time.Unix(1_800_000_000, 0)
	var all []flow
	for i, returnTo := range []string{"/1", "/2", "/3", "/4", "/5", "/" + strings.Repeat("a", maxPath-1), "/" + strings.Repeat("b", maxPath-1), "/" + strings.Repeat("c", maxPath-1)} {
		f, cookie, err := s.begin(returnTo, all, now.Add(time.Duration(i)*time.Minute))
		if err != nil || len(cookie) > maxFlowBytes {
			t.Fatalf("%d bytes, %v", len(cookie), err)
		}
		if all, err = s.open(cookie, now.Add(time.Duration(i)*time.Minute)); err != nil || len(all) > maxFlows || all[len(all)-1] != f {
			t.Fatalf("%+v, %v", all, err)
		}
		if got, others, ok := ofState(all, f.State); !ok || got != f || len(others) != len(all)-1 {
			t.Errorf("%+v of %+v", got, all)
		}
		if i == 4 && (len(all) != maxFlows || all[0].ReturnTo != "/2") {
			t.Errorf("left are %+v", all)
		}
	}
	cookie, err := s.seal(all)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := s.open(cookie, time.Unix(all[0].Expires, 0)); err != nil || len(left) != len(all)-1 {
		t.Errorf("one is over: %+v, %v", left, err)
	}
	for _, state := range []string{"", "x", all[0].State + "x"} {
		if _, _, ok := ofState(all, state); ok {
			t.Errorf("%q is a state", state)
		}
	}
}

func TestConfig(t *testing.T) {
	good := func() Config {
		c := DefaultConfig()
		c.Provider = oidc.ProviderConfig{Issuer: "https://id.example", ClientID: "edge"}
		c.PublicURL = "https://edge.example"
		return c
	}
	problems := func(c Config) string {
		c.Complete()
		var p config.Problems
		c.Validate(&p, "login")
		if err := p.Err(); err != nil {
			return err.Error()
		}
		return ""
	}
	for _, c := range []Config{DefaultConfig(), good()} {
		if got := problems(c); got != "" {
			t.Error(got)
		}
	}
	for want, change := range map[string]func(*Config){
		"login.issuer: must be there":       func(c *Config) { c.Provider.Issuer = "" },
		"login.issuer: must be an https":    func(c *Config) { c.Provider.Issuer = "http://id.example" },
		"login.client_id":                   func(c *Config) { c.Provider.ClientID = "" },
		"login.scopes":                      func(c *Config) { c.Provider.Scopes = []string{"a b"} },
		"login.algorithms":                  func(c *Config) { c.Provider.Algorithms = []string{"HS256"} },
		"login.mapping":                     func(c *Config) { c.Provider.Mapping.Tenant = "((" },
		"login.skew":                        func(c *Config) { c.Provider.Skew = time.Hour },
		"login.default_path":                func(c *Config) { c.DefaultPath = "//evil.example" },
		"login.session.lifetime":            func(c *Config) { c.Session.Lifetime = 0 },
		"login.session.idle":                func(c *Config) { c.Session.Idle = 24 * time.Hour },
		"login.session.max_per_subject":     func(c *Config) { c.Session.MaxPerSubject = 0 },
		"login.session.poll_interval":       func(c *Config) { c.Session.PollInterval = time.Minute },
		"login.session.cache_size":          func(c *Config) { c.Session.CacheSize = 0 },
		"login.session.stale_for":           func(c *Config) { c.Session.StaleFor = 0 },
		"login.public_url: must be https:/": func(c *Config) { c.PublicURL = "" },
	} {
		c := good()
		change(&c)
		if got := problems(c); !strings.Contains(got, want) {
			t.Errorf("%s is not among %s", want, got)
		}
	}
	for url, ok := range map[string]bool{
		"https://edge.example": true, "https://edge.example:8443": true, "http://127.0.0.1:8080": true, "http://localhost:8080": true, "http://[::1]:8080": true,
		"https://edge.example/": false, "https://edge.example/x": false, "http://edge.example": false, "https://a@edge.example": false,
		"https://Edge.example": false, "https://edge.example:443": false, "http://localhost:80": false, "https://": false, "ftp://edge.example": false, "https://edge.example?x": false,
	} {
		c := good()
		c.PublicURL = url
		if got := problems(c); (got == "") != ok {
			t.Errorf("%s: %s", url, got)
		}
	}
	secure, local := good(), good()
	local.PublicURL = "http://127.0.0.1:8080"
	if secure.SessionCookie() != "__Host-poterne-session" || !secure.secure() || local.SessionCookie() != "poterne-session" || local.secure() {
		t.Errorf("the cookies are %s and %s", secure.SessionCookie(), local.SessionCookie())
	}
	if good().Provider.ClientSecret != "" {
		t.Error("a public client has a secret")
	}
}
