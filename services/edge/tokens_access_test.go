package edge_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/services/edge"
)

// A token of a trusted issuer is as good as a key: for what its roles allow, in
// its own tenant, under a limit of its subject's own, and with its subject in the
// audit trail.
func TestAccessTokens(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner("a", private)
	if err != nil {
		t.Fatal(err)
	}
	set, err := jose.PublicSet(signer)
	if err != nil {
		t.Fatal(err)
	}
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set) }))
	t.Cleanup(issuer.Close)
	g := open(t, func(c *edge.Config) {
		c.Security.Tokens.Issuers = []edge.TokenIssuer{{Issuer: "https://id.example", JWKSURL: issuer.URL, Audiences: []string{"poterne"}}}
	})
	bearer := func(claims map[string]any) []string {
		all := map[string]any{"iss": "https://id.example", "aud": "poterne", "exp": time.Now().Add(time.Hour).Unix(), "sub": "ana", "tenant": "acme"}
		maps.Copy(all, claims)
		token, err := signer.Sign("at+jwt", all)
		if err != nil {
			t.Fatal(err)
		}
		return []string{"Authorization", "Bearer " + token}
	}
	reader := bearer(map[string]any{"roles": []string{"developer"}})
	if a := g.do("GET", "/v1/models", "", reader...); a.status != 200 {
		t.Errorf("a developer lists models: %d %s", a.status, a.text)
	}
	if a := g.do("GET", "/v1/admin/api-keys", "", reader...); a.status != 403 {
		t.Errorf("a developer lists keys: %d %s", a.status, a.text)
	}
	if a := g.do("GET", "/v1/models", "", bearer(nil)...); a.status != 403 {
		t.Errorf("nobody's role: %d %s", a.status, a.text)
	}
	a := g.do("GET", "/v1/models", "", bearer(map[string]any{"roles": []string{"admin"}, "tenant": "default"})...)
	if a.status != 401 || !strings.Contains(a.header.Get("Www-Authenticate"), `error="invalid_token"`) {
		t.Errorf("the platform's tenant: %d %v %s", a.status, a.header, a.text)
	}
	if a := g.do("GET", "/v1/models", "", bearer(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})...); a.status != 401 {
		t.Errorf("an old token: %d %s", a.status, a.text)
	}
	trail := g.do("GET", "/v1/admin/audit?page_size=50", "")
	if trail.status != 200 || !strings.Contains(trail.text, `"subject":"ana"`) || strings.Contains(trail.text, "eyJ") {
		t.Errorf("the audit trail: %d %s", trail.status, trail.text)
	}
}
