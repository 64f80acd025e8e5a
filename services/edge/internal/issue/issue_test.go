package issue

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/services/edge/internal/authn"
)

// cause is why a token is refused; empty: it is accepted.
func (e *edge) cause(token string) authn.Cause {
	e.t.Helper()
	_, err := e.Authenticator().Authenticate(e.t.Context(), token)
	if r, ok := errors.AsType[*authn.RefusedError](err); ok {
		return r.Cause
	}
	if err != nil {
		e.t.Fatal(err)
	}
	return ""
}

// A token is worth what its key is now: its roles, and no more than both allow.
func TestATokenFollowsItsKey(t *testing.T) {
	k, ck := newKeys(), clock.NewFake(start())
	one := newEdge(t, sqliteDSN(t), ck, k, nil)
	token := one.mustIssue(request{scopes: []string{"model:*", "collection:read"}})
	if !one.Authenticator().Recognises(token) {
		t.Fatal("not recognised")
	}
	ask := func() authn.Principal {
		t.Helper()
		p, err := one.Authenticator().Authenticate(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		return *p
	}
	p := ask()
	if p.Caller.KeyID != "k1" || p.Caller.Tenant != "acme" || p.RequestsPerMinute != 7 || !p.IssueTime.Equal(start()) || p.Claims["client_id"] != "k1" ||
		!slices.Equal(p.Grant.Scopes, []string{"model:*", "collection:read"}) || !slices.Contains(p.Caller.Principals, "group:ops") {
		t.Errorf("%+v", p)
	}
	k.change(func(p *authn.Principal) {
		p.Caller.Roles = []string{"reader"}
		p.Grant = authn.Grant{Scopes: []string{"*:chat", "prompt:read"}, Models: []string{"small"}}
	})
	if p := ask(); !slices.Equal(p.Caller.Roles, []string{"reader"}) || !slices.Equal(p.Grant.Scopes, []string{"model:chat"}) || !slices.Equal(p.Grant.Models, []string{"small"}) {
		t.Errorf("its key has less now: %+v", p)
	}
	k.change(func(p *authn.Principal) { p.Grant.Scopes = []string{"prompt:read"} })
	if got := one.cause(token); got != authn.Foreign {
		t.Errorf("nothing is left: %q", got)
	}
	k.change(func(p *authn.Principal) { p.Grant.Scopes, p.Caller.Subject = nil, "other" })
	if got := one.cause(token); got != authn.Foreign {
		t.Errorf("another's key: %q", got)
	}
	k.change(func(p *authn.Principal) {
		p.Caller.Subject, p.SecretTime = "billing", start().Add(500*time.Millisecond)
	})
	if got := one.cause(token); got != "" {
		t.Errorf("made within the second of a rotation: %q", got)
	}
	k.change(func(p *authn.Principal) { p.SecretTime = start().Add(time.Second) })
	if got := one.cause(token); got != authn.Rotated {
		t.Errorf("of a secret that has ended: %q", got)
	}
	k.mu.Lock()
	clear(k.held)
	k.mu.Unlock()
	if got := one.cause(token); got != authn.Revoked {
		t.Errorf("its key is gone: %q", got)
	}
}

func TestATokenEnds(t *testing.T) {
	k, ck := newKeys(), clock.NewFake(start())
	e := newEdge(t, sqliteDSN(t), ck, k, nil)
	token := e.mustIssue(request{})
	ck.Advance(10*time.Minute + skew - time.Second)
	if got := e.cause(token); got != "" {
		t.Errorf("just before: %q", got)
	}
	ck.Advance(time.Second)
	if got := e.cause(token); got != authn.Expired {
		t.Errorf("after: %q", got)
	}
	// Not after its key.
	k.change(func(p *authn.Principal) { p.ExpireTime = ck.Now().Add(90*time.Second + time.Millisecond) })
	parsed, err := jose.Parse(e.mustIssue(request{}))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := jose.ParseClaims(parsed.Unverified()); err != nil || c.Expires.Sub(c.IssuedAt) != 90*time.Second {
		t.Errorf("%v, %v", c, err)
	}
}

// What is not quite one of our tokens is none.
func TestForeignTokens(t *testing.T) {
	k, ck := newKeys(), clock.NewFake(start())
	e := newEdge(t, sqliteDSN(t), ck, k, nil)
	e.mustIssue(request{})
	signer, err := e.ring.signer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now := ck.Now().Unix()
	forge := func(typ string, changes map[string]any) string {
		c := map[string]any{
			"iss": "https://api.example", "aud": "poterne", "sub": "billing", "tenant": "acme", "client_id": "k1", "iat": now, "exp": now + 60,
		}
		for name, v := range changes {
			if c[name] = v; v == nil {
				delete(c, name)
			}
		}
		token, err := signer.Sign(typ, c)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	stranger := newEdge(t, sqliteDSN(t), ck, k, nil)
	for name, tt := range map[string]struct {
		token string
		want  authn.Cause
	}{
		"good":                 {forge(tokenType, nil), ""},
		"another type":         {forge("JWT", nil), authn.Malformed},
		"another edge's":       {stranger.mustIssue(request{}), authn.Unknown},
		"another issuer":       {forge(tokenType, map[string]any{"iss": "https://api.example/"}), authn.Foreign},
		"another audience":     {forge(tokenType, map[string]any{"aud": "ledger"}), authn.Foreign},
		"no client":            {forge(tokenType, map[string]any{"client_id": nil}), authn.Foreign},
		"a client's number":    {forge(tokenType, map[string]any{"client_id": 1}), authn.Foreign},
		"another client":       {forge(tokenType, map[string]any{"client_id": "k2"}), authn.Revoked},
		"another tenant":       {forge(tokenType, map[string]any{"tenant": "globex"}), authn.Foreign},
		"no end":               {forge(tokenType, map[string]any{"exp": nil}), authn.Foreign},
		"bound to what":        {forge(tokenType, map[string]any{"cnf": "x"}), authn.Foreign},
		"a scope that is none": {forge(tokenType, map[string]any{"scope": "everything"}), authn.Foreign},
	} {
		if got := e.cause(tt.token); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if e.Authenticator().Recognises(forge(tokenType, map[string]any{"iss": "https://other.example"})) {
		t.Error("an issuer's that is trusted besides is taken for ours")
	}
	for _, text := range []string{"", "ey", "ey.ey.ey", "ptn_0123", strings.Repeat("ey", 400) + ".e30.x"} {
		if e.Authenticator().Recognises(text) {
			t.Errorf("%.20q is recognised", text)
		}
	}
}

func TestScopes(t *testing.T) {
	for text, want := range map[string]bool{"model:chat": true, "*:*": true, "model": false, "model:": false, "a:b c": false, "model:chat:now": false} {
		if isScope(text) != want {
			t.Errorf("%q is a scope: %v", text, !want)
		}
	}
	k := newKeys()
	k.change(func(p *authn.Principal) { p.Grant.Scopes = []string{"model:*"} })
	e := newEdge(t, sqliteDSN(t), clock.NewFake(start()), k, nil)
	var wrong *Error
	if _, err := e.issue(request{scopes: []string{"*:chat"}}, authn.Confirmation{}); !errors.As(err, &wrong) || wrong.Code != invalidScope {
		t.Errorf("more than the key: %v", err)
	}
}

// Private keys are kept encrypted where there is a secret; without it they cannot
// be used, and with it older ones still can.
func TestPrivateKeysAreSealed(t *testing.T) {
	k, ck, dsn := newKeys(), clock.NewFake(start()), sqliteDSN(t)
	secret := func(s string) func(*Config) {
		return func(c *Config) { c.KeyEncryptionSecret = config.Secret(s) }
	}
	kept := func(e *edge) (out string) {
		if err := e.db.QueryRowContext(t.Context(), `SELECT private_key FROM edge_token_keys`).Scan(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	one := newEdge(t, dsn, ck, k, secret(strings.Repeat("s", 32)))
	token := one.mustIssue(request{})
	if !strings.HasPrefix(kept(one), sealed) {
		t.Error("it is not encrypted")
	}
	for _, s := range []string{"", strings.Repeat("x", 32)} {
		other := newEdge(t, dsn, ck, k, secret(s))
		if _, err := other.issue(request{}, authn.Confirmation{}); err == nil || strings.Contains(err.Error(), s) && s != "" {
			t.Errorf("signed without the secret: %v", err)
		}
		if got := other.cause(token); got != "" {
			t.Errorf("verifying needs no secret: %q", got)
		}
	}
	plain, dsn := newKeys(), sqliteDSN(t)
	before := newEdge(t, dsn, ck, plain, nil)
	before.mustIssue(request{})
	if !strings.HasPrefix(kept(before), plainly) {
		t.Error("not as it says")
	}
	if got := before.cause(newEdge(t, dsn, ck, plain, secret(strings.Repeat("s", 32))).mustIssue(request{})); got != "" {
		t.Errorf("a key from before there was a secret: %q", got)
	}
}

// Edges that make the first key at once make one.
func TestTheFirstKeyIsOne(t *testing.T) { testFirstKey(t, sqliteDSN(t)) }

func testFirstKey(t *testing.T, dsn string) {
	t.Helper()
	k, ck := newKeys(), clock.NewFake(start())
	var edges []*edge
	for range 4 {
		edges = append(edges, newEdge(t, dsn, ck, k, func(c *Config) { c.Algorithm = string(jose.EdDSA) }))
	}
	var wg sync.WaitGroup
	tokens := make([]string, len(edges))
	for i, e := range edges {
		wg.Go(func() {
			var err error
			if tokens[i], err = e.issue(request{}, authn.Confirmation{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, e := range edges {
		for _, token := range tokens {
			if got := e.cause(token); got != "" {
				t.Errorf("another edge's token: %q", got)
			}
		}
		if text, err := e.ring.published(t.Context()); err != nil || strings.Count(string(text), `"kid"`) != 1 {
			t.Errorf("%s, %v", text, err)
		}
	}
}

// Who has not named the issuer gets the address of the port; replicas that call
// themselves by theirs accept each other's tokens all the same.
func TestIssuersThatAreNotNamed(t *testing.T) {
	for want, tt := range map[string][3]string{
		"https://a.example":     {"https://a.example", "https://b.example", "127.0.0.1:8080"},
		"https://b.example":     {"", "https://b.example/", "127.0.0.1:8080"},
		"http://127.0.0.1:8080": {"", "", "127.0.0.1:8080"},
		"http://localhost:8081": {"", "", ":8081"},
		"http://localhost:8082": {"", "", "0.0.0.0:8082"},
		"http://[::1]:8083":     {"", "", "[::1]:8083"},
	} {
		c := Config{Issuer: tt[0]}
		for range 2 {
			c.Complete(tt[1], tt[2])
		}
		if c.Issuer != want || c.derived != (tt[0] == "" && tt[1] == "") {
			t.Errorf("%v: %+v", tt, c)
		}
	}
	k, ck, dsn := newKeys(), clock.NewFake(start()), sqliteDSN(t)
	address := func(text string) func(*Config) {
		return func(c *Config) { c.Issuer = ""; c.Complete("", text) }
	}
	one, two := newEdge(t, dsn, ck, k, address("10.0.0.1:80")), newEdge(t, dsn, ck, k, address("10.0.0.2:80"))
	if got := two.cause(one.mustIssue(request{})); got != "" {
		t.Errorf("another's token: %q", got)
	}
}
