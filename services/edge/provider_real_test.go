//go:build real

package edge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/testkit"
	"github.com/poterne/poterne/services/edge"
)

const (
	realAudience = "https://api.example"
	opaqueOne    = "https://api.example/opaque"
	realService  = "billing"
)

// ahead is the machine's clock, put ahead.
type ahead struct {
	clock.Clock
	by atomic.Int64
}

func newAhead() *ahead { return &ahead{Clock: clock.Real()} }

func (a *ahead) Now() time.Time        { return a.Clock.Now().Add(time.Duration(a.by.Load())) }
func (a *ahead) pass(by time.Duration) { a.by.Add(int64(by)) }

// realProvider is a real authorisation server, and a gate that trusts it.
type realProvider struct {
	*gate
	*testkit.OIDCServer
	options testkit.OIDCProviderOptions
	clock   *ahead
}

// providerKey is a private key as the provider is given it.
func providerKey(t *testing.T, id string) map[string]any {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	return map[string]any{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id, "d": text(private), "x": text(public[1:33]), "y": text(public[33:]),
	}
}

func openRealProvider(t *testing.T, options func(*testkit.OIDCProviderOptions), change func(*edge.Config)) *realProvider {
	t.Helper()
	o := testkit.OIDCProviderOptions{
		Clients: []map[string]any{
			{
				"client_id": realService, "client_secret": realSecret, "grant_types": []string{"client_credentials"}, "redirect_uris": []string{}, "response_types": []string{},
				"id_token_signed_response_alg": "ES256", "token_endpoint_auth_method": "client_secret_post",
			},
			{
				"client_id": realClient, "client_secret": realSecret, "grant_types": []string{"client_credentials"}, "redirect_uris": []string{}, "response_types": []string{},
				"id_token_signed_response_alg": "ES256",
			},
		},
		Keys: &testkit.OIDCKeys{Keys: []map[string]any{providerKey(t, "a")}}, Algorithm: "ES256",
		TokenClaims: map[string]map[string]any{realService: {"tenant": "acme", "roles": []string{"developer"}}},
	}
	if options != nil {
		options(&o)
	}
	p := &realProvider{OIDCServer: testkit.OIDCProvider(t, o), options: o, clock: newAhead()}
	p.gate = open(t, func(c *edge.Config) {
		onFreePorts(c)
		c.Security.Limits.Address.FailureCost = 1
		c.Security.Tokens.Issuers = []edge.TokenIssuer{{Issuer: p.URL, Audiences: []string{realAudience}}}
		in := &c.Security.Tokens.Introspection
		in.URL, in.ClientID, in.ClientSecret, in.Audiences = p.URL+"/token/introspection", realClient, realSecret, []string{opaqueOne}
		in.Mapping.Subject = "has(claims.sub) ? claims.sub : \"client:\" + claims.client_id" // what a client got for itself names no subject there
		if change != nil {
			change(c)
		}
	}, edge.WithClock(p.clock))
	return p
}

// token asks the provider for one, as openid-client does.
func (p *realProvider) token(resource string, change func(*testkit.OIDCCall)) testkit.OIDCCalled {
	p.t.Helper()
	c := testkit.OIDCCall{
		Server: p.URL, ClientID: realService, Secret: realSecret, Parameters: map[string]string{"resource": resource, "scope": "read"},
	}
	if change != nil {
		change(&c)
	}
	return testkit.OIDCClient(p.t, c)
}

func (p *realProvider) models(token string) answer {
	p.t.Helper()
	return p.do("GET", "/v1/models", "", "Authorization", "Bearer "+token)
}

func (p *realProvider) wants(status int, what, token string) {
	p.t.Helper()
	if a := p.models(token); a.status != status {
		p.t.Errorf("%s: status %d, want %d: %s", what, a.status, status, a.text)
	}
}

// restart has the provider sign by the first of these keys and publish all.
func (p *realProvider) restart(keys ...map[string]any) {
	p.t.Helper()
	p.Stop()
	if len(keys) > 0 {
		p.options.Keys = &testkit.OIDCKeys{Keys: keys}
	}
	p.OIDCServer = p.Restart(p.options)
}

func TestRealTokensOfAProvider(t *testing.T) {
	p := openRealProvider(t, nil, nil)
	_, conn := p.serve()
	token := p.token(realAudience, nil).Token
	if !strings.HasPrefix(token, "eyJ") {
		t.Fatalf("no JWT: %.20s", token)
	}
	p.wants(200, "a token", token)
	if code, _, text := rpc(t, conn, "authorization", "Bearer "+token); code != codes.OK {
		t.Errorf("over gRPC: %v %s", code, text)
	}
	if a := p.do("GET", "/v1/admin/audit", "", "Authorization", "Bearer "+token); a.status != http.StatusForbidden {
		t.Errorf("beyond its roles: %d %s", a.status, a.text)
	}
	p.wants(401, "meant for another", p.token("https://other.example", nil).Token)
	// The same signature over other claims, and other signatures over the same.
	parts := strings.Split(token, ".")
	p.wants(401, "changed claims", parts[0]+"."+base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+p.URL+`","aud":"`+realAudience+`","exp":99999999999,"sub":"x","tenant":"acme"}`))+"."+parts[2])
	p.wants(401, "a changed signature", parts[0]+"."+parts[1]+"."+parts[2][4:]+parts[2][:4])
	p.wants(401, "no signature", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))+"."+parts[1]+".")
	p.clock.pass(12 * time.Minute)
	p.wants(401, "after its end", token)
}

// The provider adds a key, signs by it, and takes the one before away, while tokens
// of both are used.
func TestRealProviderRotatesKeys(t *testing.T) {
	p := openRealProvider(t, nil, func(c *edge.Config) { c.Security.Tokens.Issuers[0].RefreshEvery = time.Minute })
	a, b, c := p.options.Keys.Keys[0], providerKey(t, "b"), providerKey(t, "c")
	first := p.token(realAudience, nil).Token
	p.wants(200, "the first key's", first)

	p.restart(b, a)
	second := p.token(realAudience, nil).Token
	p.wants(401, "a key not known yet, asked too early", second)
	p.clock.pass(6 * time.Second) // the issuer was asked a moment ago
	p.wants(200, "the second key's", second)
	p.wants(200, "the first key's, still published", first)

	p.restart(c, b)
	third := p.token(realAudience, nil).Token
	p.wants(200, "the first key's, not read anew yet", first)
	p.clock.pass(6 * time.Second)
	p.wants(200, "the third key's", third)
	p.wants(401, "the first key's, taken away", first)
	p.wants(200, "the second key's", second)

	// Nobody shows a new key: what is taken away is seen when the keys are old.
	p.restart(c)
	p.wants(200, "the second key's, not read anew yet", second)
	p.clock.pass(time.Minute)
	deadline := time.Now().Add(10 * time.Second)
	for p.models(second).status != 401 {
		if time.Now().After(deadline) {
			t.Fatal("the second key's token holds on")
		}
		<-time.After(20 * time.Millisecond)
	}
	p.wants(200, "the third key's", third)
}

// While the provider is away known keys hold; others are 503, without asking it over
// and over; when it is back, so is everything.
func TestRealProviderAway(t *testing.T) {
	p := openRealProvider(t, nil, nil)
	token := p.token(realAudience, nil).Token
	a, b := p.options.Keys.Keys[0], providerKey(t, "b")
	p.restart(b, a)
	other := p.token(realAudience, nil).Token
	p.Kill()
	if x := p.models(token); x.status != 503 || x.header.Get("Retry-After") == "" {
		t.Errorf("nothing known: %d %v %s", x.status, x.header, x.text)
	}
	p.restart(a)
	if x := p.models(token); x.status != 503 {
		t.Errorf("asked again too early: %d", x.status)
	}
	p.clock.pass(6 * time.Second)
	p.wants(200, "it is back", token)
	p.Kill()
	p.clock.pass(6 * time.Second)
	p.wants(401, "a key that is not known, away", other) // whom it may be nobody can say: nobody has signed it
	p.wants(200, "a known key, away", token)
	p.clock.pass(2 * time.Minute) // and what was verified is forgotten
	p.wants(200, "a known key, away, verified anew", token)
	p.restart(b, a)
	p.clock.pass(20 * time.Second)
	p.wants(200, "the other key, back", other)
}

func TestRealOpaqueTokens(t *testing.T) {
	p := openRealProvider(t, nil, nil)
	_, conn := p.serve()
	token := p.token(opaqueOne, nil).Token
	if strings.Contains(token, ".") {
		t.Fatalf("no opaque token: %.20s", token)
	}
	p.wants(200, "a token", token)
	if code, _, text := rpc(t, conn, "authorization", "Bearer "+token); code != codes.OK {
		t.Errorf("over gRPC: %v %s", code, text)
	}
	p.wants(401, "meant for another", p.token("https://other.example/opaque", nil).Token)
	p.wants(401, "nobody's", strings.Repeat("x", 43))

	gone := p.token(opaqueOne, func(c *testkit.OIDCCall) {
		c.Calls = []testkit.OIDCResource{{URL: p.url + "/v1/models"}}
		c.Revoke, c.Introspect = true, true
	})
	if len(gone.Answers) != 1 || gone.Answers[0].Status != 200 || gone.Active {
		t.Fatalf("%+v", gone)
	}
	p.wants(200, "taken back, remembered", gone.Token)
	p.clock.pass(61 * time.Second)
	p.wants(401, "taken back, after the cache time", gone.Token)
	p.wants(200, "the other", token)

	p.Kill()
	p.wants(200, "remembered, the provider away", token)
	unknown := strings.Repeat("y", 43)
	if a := p.models(unknown); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("not known, the provider away: %d %s", a.status, a.text)
	}
	p.clock.pass(61 * time.Second)
	p.wants(503, "known before the cache time, the provider away", token)
	p.restart()
	p.wants(401, "nobody's, the provider back", unknown)
	again := p.token(opaqueOne, nil).Token
	p.wants(200, "a new one", again)
}
