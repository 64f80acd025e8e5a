package oidc

import (
	"crypto/elliptic"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/services/edge/internal/authn"
)

func TestWhomATokenSpeaksOf(t *testing.T) {
	b := newBench(t, nil)
	token := sign(t, b.key, b.claims(nil))
	if !b.Recognises(token) || b.Recognises("ptn_0123") || b.Recognises("eyJ") {
		t.Error("not recognised by its form")
	}
	for range 2 { // the second time it is remembered
		p, err := b.Authenticate(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"user:ana", "tenant:acme", "public", "group:research", "group:ops", "role:developer"}
		if c := p.Caller; c.Tenant != "acme" || c.Subject != "ana" || !slices.Equal(c.Roles, []string{"developer"}) || !slices.Equal(c.Principals, want) || c.KeyID != "" {
			t.Errorf("%+v", c)
		}
	}
	if n := b.from.fetches.Load(); n != 1 {
		t.Errorf("its keys were read %d times", n)
	}
	b.clock.Advance(61*time.Minute + time.Second)
	if got := b.cause(token); got != authn.Expired {
		t.Errorf("after its end: %q", got)
	}
}

// A token that is remembered holds no longer than it may.
func TestMaxAge(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Issuers[0].MaxAge, c.Issuers[0].Skew = 30*time.Second, time.Second })
	token := sign(t, b.key, b.claims(nil))
	for _, want := range []authn.Cause{"", "", authn.Expired} {
		if got := b.cause(token); got != want {
			t.Errorf("at %v: %q, want %q", b.clock.Now().Sub(start()), got, want)
		}
		b.clock.Advance(20 * time.Second)
	}
}

// Every defect of an otherwise good token refuses it.
func TestDefects(t *testing.T) {
	b := newBench(t, nil)
	other := newProvider(t)
	stranger := other.rotate(t, "one", false)
	changed := func(name string, v any) string { return sign(t, b.key, b.claims(map[string]any{name: v})) }
	good := sign(t, b.key, b.claims(nil))
	parts := strings.Split(good, ".")
	raw := func(header, payload string) string {
		e := base64.RawURLEncoding.EncodeToString
		return e([]byte(header)) + "." + e([]byte(payload)) + "." + parts[2]
	}
	typed, err := b.key.Sign("dpop+jwt", b.claims(nil))
	if err != nil {
		t.Fatal(err)
	}
	longer := newSigner(t, "long", elliptic.P521())
	b.from.change(func() { b.from.keys["long"] = longer })
	for name, tt := range map[string]struct {
		token string
		want  authn.Cause
	}{
		"no signature":          {parts[0] + "." + parts[1] + ".", authn.Unknown},
		"alg none":              {raw(`{"alg":"none"}`, `{"iss":"`+b.from.URL+`"}`), authn.Malformed},
		"hmac":                  {raw(`{"alg":"HS256","kid":"one"}`, `{"iss":"`+b.from.URL+`"}`), authn.Malformed},
		"an algorithm too many": {sign(t, longer, b.claims(nil)), authn.Malformed},
		"another type":          {typed, authn.Malformed},
		"another's key":         {sign(t, stranger, b.claims(nil)), authn.Unknown},
		"an unknown key":        {sign(t, newSigner(t, "two", elliptic.P256()), b.claims(nil)), authn.Unknown},
		"another issuer":        {sign(t, stranger, b.claims(map[string]any{"iss": other.URL})), authn.Unknown},
		"an issuer's neighbour": {changed("iss", b.from.URL+"/"), authn.Unknown},
		"no issuer":             {changed("iss", nil), authn.Unknown},
		"for others":            {changed("aud", "someone"), authn.Foreign},
		"for nobody":            {changed("aud", nil), authn.Foreign},
		"never ends":            {changed("exp", nil), authn.Foreign},
		"ends as text":          {changed("exp", "1900000000"), authn.Malformed},
		"ended":                 {changed("exp", start().Unix()-61), authn.Expired},
		"not yet":               {changed("nbf", start().Unix()+3600), authn.Foreign},
		"of tomorrow":           {changed("iat", start().Unix()+86400), authn.Foreign},
		"no tenant":             {changed("tenant", nil), authn.Foreign},
		"tenant a number":       {changed("tenant", 7), authn.Foreign},
		"tenant with a slash":   {changed("tenant", "acme/b"), authn.Foreign},
		"the platform":          {changed("tenant", "default"), authn.Foreign},
		"no subject":            {changed("sub", ""), authn.Foreign},
		"a subject of lines":    {changed("sub", "a\nb"), authn.Foreign},
		"too deep":              {changed("x", deep(20)), authn.Malformed},
		"too large":             {changed("x", strings.Repeat("x", 20_000)), authn.Malformed},
	} {
		if got := b.cause(tt.token); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if got := b.cause(good); got != "" {
		t.Errorf("the good one: %q", got)
	}
}

func deep(n int) any {
	var v any = 1
	for range n {
		v = []any{v}
	}
	return v
}

// Keys change without a gap, and tokens with invented key names do not have the
// issuer asked over and over.
func TestRotation(t *testing.T) {
	b := newBench(t, nil)
	old := sign(t, b.key, b.claims(nil))
	if got := b.cause(old); got != "" {
		t.Fatal(got)
	}
	b.clock.Advance(firstPause)
	two := b.from.rotate(t, "two", true)
	if got := b.cause(sign(t, two, b.claims(nil))); got != "" {
		t.Errorf("by a key that is new: %q", got)
	}
	for i := range 20 {
		_ = b.cause(sign(t, newSigner(t, "x"+string(rune('a'+i)), elliptic.P256()), b.claims(nil)))
	}
	if n := b.from.fetches.Load(); n != 2 {
		t.Errorf("the issuer was asked %d times, want 2", n)
	}
	// The old key is taken back: it holds until the keys are read anew, and a
	// remembered token no longer than that.
	b.clock.Advance(firstPause)
	three := b.from.rotate(t, "three", false)
	if got := b.cause(sign(t, three, b.claims(nil))); got != "" {
		t.Errorf("by the third: %q", got)
	}
	if got := b.cause(old); got != authn.Unknown {
		t.Errorf("by a key that was taken back: %q", got)
	}
}

// An issuer that is away does not lock out the holders of known keys, and is not
// asked more often for that.
func TestIssuerAway(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Issuers[0].RefreshEvery, c.Issuers[0].KeepFor = time.Hour, 2*time.Hour })
	b.from.change(func() {
		b.from.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	})
	if got := b.cause(sign(t, b.key, b.claims(nil))); got != "away" {
		t.Errorf("before any key is known: %q", got)
	}
	asked := b.from.fetches.Load()
	for range 10 {
		_ = b.cause(sign(t, b.key, b.claims(nil)))
	}
	if n := b.from.fetches.Load(); n != asked {
		t.Errorf("asked %d times more at once", n-asked)
	}
	b.from.change(func() { b.from.answer = nil })
	b.clock.Advance(firstPause)
	if got := b.cause(sign(t, b.key, b.claims(nil))); got != "" {
		t.Fatalf("once it is back: %q", got)
	}
	b.from.Close()
	b.clock.Advance(90 * time.Minute)
	if got := b.cause(sign(t, b.key, b.claims(nil))); got != "" {
		t.Errorf("with the issuer gone for a while: %q", got)
	}
	b.clock.Advance(31 * time.Minute)
	if got := b.cause(sign(t, b.key, b.claims(nil))); got != "away" {
		t.Errorf("after keep_for: %q", got)
	}
}

// Many requests at once read an issuer's keys once.
func TestOneFlight(t *testing.T) {
	b := newBench(t, nil)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if got := b.cause(sign(t, b.key, b.claims(nil))); got != "" {
				t.Error(got)
			}
		})
	}
	wg.Wait()
	if n := b.from.fetches.Load(); n != 1 {
		t.Errorf("read %d times", n)
	}
}

// What a hostile or broken issuer publishes is not taken.
func TestHostileIssuers(t *testing.T) {
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(s)) }
	}
	for name, answer := range map[string]http.HandlerFunc{
		"redirect":      func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"page":          text("<html>"),
		"no keys":       text(`{"keys":[]}`),
		"a secret":      text(`{"keys":[{"kty":"oct","kid":"one","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`),
		"private":       text(`{"keys":[{"kty":"EC","crv":"P-256","kid":"one","x":"A","y":"A","d":"A"}]}`),
		"twice":         text(`{"keys":[],"keys":[]}`),
		"endless":       text(`{"keys":[` + strings.Repeat(" ", jose.MaxKeySetBytes+1) + `]}`),
		"without reply": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		b := newBench(t, nil)
		b.from.change(func() { b.from.answer = answer })
		if got := b.cause(sign(t, b.key, b.claims(nil))); got != "away" {
			t.Errorf("%s: %q", name, got)
		}
	}
	b := newBench(t, nil)
	b.from.change(func() { b.from.issuer = "https://accounts.example" })
	if got := b.cause(sign(t, b.key, b.claims(nil))); got != "away" {
		t.Errorf("a configuration of another: %q", got)
	}
}

func TestMapping(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.Issuers[0].Tenants = []string{"default", "acme"}
		c.Issuers[0].Mapping = MappingConfig{
			Tenant: `claims.org.id`, Subject: `has(claims.email) ? claims.email : claims.sub`,
			Roles: `claims.realm_access.roles`, Groups: `claims.groups.map(g, "team-" + g)`,
		}
	})
	p, err := b.Authenticate(t.Context(), sign(t, b.key, b.claims(map[string]any{
		"org": map[string]any{"id": "default"}, "email": "ana@acme.example", "realm_access": map[string]any{"roles": []any{"reader", 7}}, "groups": []any{"x"},
	})))
	if err != nil {
		t.Fatal(err)
	}
	if c := p.Caller; c.Tenant != "default" || c.Subject != "ana@acme.example" || !slices.Equal(c.Roles, []string{"reader"}) || !c.HasPrincipal("group:team-x") {
		t.Errorf("%+v", c)
	}
	if got := b.cause(sign(t, b.key, b.claims(map[string]any{"org": map[string]any{"id": "other"}}))); got != authn.Foreign {
		t.Errorf("a tenant that the issuer does not speak for: %q", got)
	}
}

func TestConfig(t *testing.T) {
	good := IssuerConfig{Issuer: "https://id.example/realms/a", Audiences: []string{"poterne"}}
	for name, change := range map[string]func(*IssuerConfig){
		"plain http":     func(c *IssuerConfig) { c.Issuer = "http://id.example" },
		"a query":        func(c *IssuerConfig) { c.Issuer = "https://id.example?a" },
		"a password":     func(c *IssuerConfig) { c.Issuer = "https://a:b@id.example" },
		"no audience":    func(c *IssuerConfig) { c.Audiences = nil },
		"empty audience": func(c *IssuerConfig) { c.Audiences = []string{""} },
		"none":           func(c *IssuerConfig) { c.Algorithms = []string{"none"} },
		"a secret's alg": func(c *IssuerConfig) { c.Algorithms = []string{"HS256"} },
		"no expression":  func(c *IssuerConfig) { c.Mapping.Tenant = "claims." },
		"unknown name":   func(c *IssuerConfig) { c.Mapping.Tenant = "token.tenant" },
		"long skew":      func(c *IssuerConfig) { c.Skew = time.Hour },
	} {
		c := Config{Issuers: []IssuerConfig{good}, CacheSize: 1}
		change(&c.Issuers[0])
		c.Complete()
		var p config.Problems
		c.Validate(&p, "tokens")
		if p.Err() == nil {
			t.Errorf("%s: taken", name)
		}
	}
	c := Config{Issuers: []IssuerConfig{good, good}, CacheSize: 1}
	c.Complete()
	var p config.Problems
	if c.Validate(&p, "tokens"); p.Err() == nil {
		t.Error("an issuer twice is taken")
	}
}
