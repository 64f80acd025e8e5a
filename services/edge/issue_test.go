package edge_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/services/edge"
)

const tokenPath = "/oauth2/token"

// newClient makes a key, and returns its id and text.
func (g *gate) newClient(roles string) (id, secret string) {
	g.t.Helper()
	a := g.do("POST", "/v1/admin/api-keys", `{"name":"svc","tenant":"acme","subject":"billing","groups":["ops"],"roles":["`+roles+`"]}`)
	secret, _ = a.at("key").(string)
	id, _ = a.at("api_key", "id").(string)
	if secret == "" || id == "" {
		g.t.Fatalf("%d %s", a.status, a.text)
	}
	return id, secret
}

func form(pairs ...string) string {
	v := make(url.Values)
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

// ask asks for a token without other credentials than those in the form.
func (g *gate) ask(body string, pairs ...string) answer {
	g.t.Helper()
	return g.do("POST", tokenPath, body, append([]string{"Authorization", "", "Content-Type", "application/x-www-form-urlencoded"}, pairs...)...)
}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
}

// payload is what a token says.
func payload(t *testing.T, token string) (out map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTokensOfTheEdge(t *testing.T) {
	g := build(t, func(c *edge.Config) { onFreePorts(c); c.Security.Tokens.PublicURL = "https://api.example" })
	_, _, conn := g.runAll()
	id, secret := g.newClient("developer")

	a := g.ask(form("grant_type", "client_credentials"), "Authorization", basic(id, secret))
	token, _ := a.at("access_token").(string)
	if a.status != 200 || a.at("token_type") != "Bearer" || a.at("expires_in") != 600.0 || a.header.Get("Cache-Control") != "no-store" || token == "" {
		t.Fatalf("%d %v %s", a.status, a.header, a.text)
	}
	c := payload(t, token)
	if c["iss"] != "https://api.example" || c["sub"] != "billing" || c["client_id"] != id || c["tenant"] != "acme" ||
		at(c, "aud", 0) != "poterne" || at(c, "roles", 0) != "developer" || at(c, "groups", 0) != "ops" || c["jti"] == "" {
		t.Errorf("it says %v", c)
	}
	bearer := []string{"Authorization", "Bearer " + token}
	if a := g.do("GET", "/v1/models", "", bearer...); a.status != 200 {
		t.Errorf("over REST: %d %s", a.status, a.text)
	}
	if code, _, text := rpc(t, conn, "authorization", "Bearer "+token); code != codes.OK {
		t.Errorf("over gRPC: %v %s", code, text)
	}
	if a := g.do("GET", "/v1/admin/audit", "", bearer...); a.status != 403 {
		t.Errorf("beyond its roles: %d %s", a.status, a.text)
	}

	// Others verify it by what is published.
	server := g.do("GET", "/.well-known/oauth-authorization-server", "", "Authorization", "")
	resource := g.do("GET", "/.well-known/oauth-protected-resource", "", "Authorization", "")
	if server.at("issuer") != "https://api.example" || server.at("token_endpoint") != "https://api.example/oauth2/token" ||
		server.at("jwks_uri") != "https://api.example/.well-known/jwks.json" || resource.at("resource") != "https://api.example" ||
		resource.at("authorization_servers", 0) != "https://api.example" {
		t.Errorf("metadata: %s %s", server.text, resource.text)
	}
	keys := g.do("GET", "/.well-known/jwks.json", "", "Authorization", "")
	set, err := jose.ParseKeySet([]byte(keys.text), jose.KeySetOptions{})
	if err != nil || set.Keys() != 1 || !strings.Contains(keys.header.Get("Cache-Control"), "max-age=") || strings.Contains(keys.text, `"d"`) {
		t.Fatalf("%v %s", err, keys.text)
	}
	parsed, err := jose.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parsed.Verify(set); err != nil {
		t.Error(err)
	}
	if a := g.do("GET", "/v1/models", "", "Authorization", ""); !strings.Contains(a.header.Get("Www-Authenticate"), `resource_metadata="https://api.example/.well-known/oauth-protected-resource"`) {
		t.Errorf("challenge: %v", a.header)
	}

	// The trail has both, and no secret.
	trail := g.do("GET", "/v1/admin/audit?page_size=100", "")
	if !strings.Contains(trail.text, `"method":"/oauth2/token"`) || !strings.Contains(trail.text, `"key_id":"`+id) || strings.Contains(trail.text, secret) || strings.Contains(trail.text, "eyJ") {
		t.Errorf("the trail: %s", trail.text)
	}

	// Its key's end is its own.
	if a := g.do("DELETE", "/v1/admin/api-keys/"+id, ""); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	if a := g.do("GET", "/v1/models", "", bearer...); a.status != 401 {
		t.Errorf("after its key's end: %d %s", a.status, a.text)
	}
	if a := g.ask(form("grant_type", "client_credentials"), "Authorization", basic(id, secret)); a.status != 401 || a.at("error") != "invalid_client" {
		t.Errorf("asked for after its key's end: %d %s", a.status, a.text)
	}
}

func TestTokenRequests(t *testing.T) {
	g := open(t, func(c *edge.Config) {
		c.Security.Limits.Address.FailureCost = 1
		c.Security.Tokens.Issue.OtherAudiences = []string{"https://bill.example/api", "ledger"}
	})
	id, secret := g.newClient("developer")
	otherID, _ := g.newClient("reader")
	post := func(pairs ...string) string {
		return form(append([]string{"grant_type", "client_credentials", "client_id", id, "client_secret", secret}, pairs...)...)
	}
	for name, tt := range map[string]struct {
		body    string
		headers []string
		status  int
		code    string // the error's; empty: what the token says instead
	}{
		"in the form":             {post(), nil, 200, ""},
		"both ids":                {form("grant_type", "client_credentials", "client_id", id), []string{"Authorization", basic(id, secret)}, 200, ""},
		"scopes":                  {post("scope", "model:chat  collection:*"), nil, 200, ""},
		"an audience":             {post("audience", "ledger"), nil, 200, ""},
		"a resource":              {post("resource", "https://bill.example/api", "audience", "poterne"), nil, 200, ""},
		"empty ones":              {post("scope", "", "audience", "", "x", "y"), nil, 200, ""},
		"no credentials":          {form("grant_type", "client_credentials"), nil, 401, "invalid_client"},
		"no secret":               {form("grant_type", "client_credentials", "client_id", id), nil, 401, "invalid_client"},
		"no id":                   {form("grant_type", "client_credentials", "client_secret", secret), nil, 401, "invalid_client"},
		"another's id":            {form("grant_type", "client_credentials", "client_id", otherID, "client_secret", secret), nil, 401, "invalid_client"},
		"a wrong secret":          {form("grant_type", "client_credentials", "client_id", id, "client_secret", secret+"x"), nil, 401, "invalid_client"},
		"another scheme":          {form("grant_type", "client_credentials"), []string{"Authorization", "Bearer " + secret}, 401, "invalid_client"},
		"not base64":              {form("grant_type", "client_credentials"), []string{"Authorization", "Basic ?"}, 401, "invalid_client"},
		"no colon":                {form("grant_type", "client_credentials"), []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(id))}, 401, "invalid_client"},
		"a broken percent":        {form("grant_type", "client_credentials"), []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("%zz:"+secret))}, 401, "invalid_client"},
		"header and form":         {post(), []string{"Authorization", basic(id, secret)}, 400, "invalid_request"},
		"two ids":                 {form("grant_type", "client_credentials", "client_id", otherID), []string{"Authorization", basic(id, secret)}, 400, "invalid_request"},
		"another grant":           {form("grant_type", "password", "client_id", id, "client_secret", secret), nil, 400, "unsupported_grant_type"},
		"no grant":                {form("client_id", id, "client_secret", secret), nil, 400, "unsupported_grant_type"},
		"grant twice":             {post("grant_type", "client_credentials"), nil, 400, "invalid_request"},
		"JSON":                    {`{"grant_type":"client_credentials"}`, []string{"Content-Type", "application/json"}, 400, "invalid_request"},
		"no type":                 {post(), []string{"Content-Type", ""}, 400, "invalid_request"},
		"compressed":              {post(), []string{"Content-Encoding", "gzip"}, 400, "invalid_request"},
		"a semicolon":             {post() + ";a=b", nil, 400, "invalid_request"},
		"a broken form":           {post() + "&a=%zz", nil, 400, "invalid_request"},
		"too large":               {post("x", strings.Repeat("x", 17<<10)), nil, 400, "invalid_request"},
		"no scope":                {post("scope", "chat"), nil, 400, "invalid_scope"},
		"a scope of signs":        {post("scope", `model:"chat"`), nil, 400, "invalid_scope"},
		"too many scopes":         {post("scope", strings.Repeat("a:b ", 65)), nil, 400, "invalid_request"},
		"another audience":        {post("audience", "someone"), nil, 400, "invalid_target"},
		"one good, one bad":       {post("audience", "ledger", "audience", "someone"), nil, 400, "invalid_target"},
		"a resource's neighbour":  {post("resource", "https://bill.example/api/"), nil, 400, "invalid_target"},
		"a proof that is rubbish": {post(), []string{"DPoP", "a.b.c"}, 400, "invalid_dpop_proof"},
	} {
		a := g.ask(tt.body, tt.headers...)
		if a.status != tt.status || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Pragma") != "no-cache" || strings.Contains(a.text, secret) {
			t.Errorf("%s: %d %v %s", name, a.status, a.header, a.text)
			continue
		}
		if code, _ := a.at("error").(string); code != tt.code {
			t.Errorf("%s: %s", name, a.text)
		}
		if (a.status == 401) != strings.HasPrefix(a.header.Get("Www-Authenticate"), "Basic ") {
			t.Errorf("%s: challenged by %q", name, a.header.Get("Www-Authenticate"))
		}
	}
	if a := g.ask(form("grant_type", "client_credentials")); a.status != 401 {
		t.Fatal(a.text)
	}
	if a := g.do("POST", tokenPath+"?client_secret="+secret, post(), "Authorization", "", "Content-Type", "application/x-www-form-urlencoded"); a.at("error") != "invalid_request" {
		t.Errorf("in the URL: %s", a.text)
	}
	if a := g.do("GET", tokenPath, "", "Authorization", ""); a.status != 405 {
		t.Errorf("GET: %d", a.status)
	}
	// What is meant for others is not for us.
	a := g.ask(post("audience", "ledger", "scope", "model:chat"))
	token, _ := a.at("access_token").(string)
	if c := payload(t, token); at(c, "aud", 0) != "ledger" || c["scope"] != "model:chat" || a.at("scope") != "model:chat" {
		t.Errorf("%v", c)
	}
	if a := g.do("GET", "/v1/models", "", "Authorization", "Bearer "+token); a.status != 401 {
		t.Errorf("a token for others: %d", a.status)
	}
}

// A token is bound to the key whose proof it was asked for with.
func TestTokensOfTheEdgeAreBound(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.Security.Tokens.Issue.SenderConstrained = "required" })
	id, secret := g.newClient("developer")
	ask := form("grant_type", "client_credentials", "client_id", id, "client_secret", secret)
	if a := g.ask(ask); a.status != 400 || a.at("error") != "invalid_request" {
		t.Errorf("without a proof: %d %s", a.status, a.text)
	}
	h := &holder{t: t, key: newKey(t, "x")}
	proof := func() string { return h.proof("POST", g.url+tokenPath, map[string]any{"ath": nil}) }
	a := g.ask(ask, "DPoP", proof())
	if h.nonce = a.header.Get("Dpop-Nonce"); a.status != 400 || a.at("error") != "use_dpop_nonce" || h.nonce == "" {
		t.Fatalf("without a nonce: %d %s", a.status, a.text)
	}
	first := proof()
	a = g.ask(ask, "DPoP", first)
	h.token, _ = a.at("access_token").(string)
	if a.status != 200 || a.at("token_type") != "DPoP" || at(payload(t, h.token), "cnf", "jkt") != h.key.Thumbprint() {
		t.Fatalf("%d %s", a.status, a.text)
	}
	if a := g.ask(ask, "DPoP", first); a.at("error") != "invalid_dpop_proof" {
		t.Errorf("a proof again: %s", a.text)
	}
	if a := g.do("GET", "/v1/models", "", "Authorization", "DPoP "+h.token, "DPoP", h.proof("GET", g.url+"/v1/models", nil)); a.status != 200 {
		t.Errorf("with a proof: %d %s", a.status, a.text)
	}
	if a := g.do("GET", "/v1/models", "", "Authorization", "Bearer "+h.token); a.status != 401 {
		t.Errorf("without: %d %s", a.status, a.text)
	}
}

// Wrong guesses cost the address as everywhere.
func TestTokenGuessesAreSlow(t *testing.T) {
	g := open(t, func(c *edge.Config) {
		c.Security.Limits.Address.RequestsPerMinute, c.Security.Limits.Address.FailureCost = 20, 10
	})
	last := answer{}
	for range 4 {
		last = g.ask(form("grant_type", "client_credentials", "client_id", "x", "client_secret", "ptn_x"))
	}
	if last.status != http.StatusTooManyRequests || last.header.Get("Retry-After") == "" || last.at("error") != "temporarily_unavailable" {
		t.Errorf("%d %v %s", last.status, last.header, last.text)
	}
	if a := g.do("GET", "/.well-known/jwks.json", "", "Authorization", ""); a.status != http.StatusTooManyRequests {
		t.Errorf("the keys: %d", a.status)
	}
}

// What is off is not there.
func TestTokensOfTheEdgeAreOff(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.Security.Tokens.Issue.Enabled = false })
	for _, path := range []string{"/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource"} {
		if a := g.do("GET", path, ""); a.status != 404 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := g.ask(form("grant_type", "client_credentials")); a.status != 404 {
		t.Errorf("asked for: %d", a.status)
	}
	if a := g.do("GET", "/v1/models", "", "Authorization", ""); len(a.header.Values("Www-Authenticate")) != 1 {
		t.Errorf("challenged by %q", a.header.Values("Www-Authenticate"))
	}
}
