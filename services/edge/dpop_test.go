package edge_test

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/poterne/poterne/pkg/jose"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge"
)

// holder has the key that a token is bound to.
type holder struct {
	t     *testing.T
	key   *jose.Signer
	token string
	nonce string
	made  int
}

func newHolder(t *testing.T, is *trusted) *holder {
	t.Helper()
	h := &holder{t: t, key: newKey(t, "x")}
	h.token = is.token(map[string]any{"cnf": map[string]any{"jkt": h.key.Thumbprint()}})
	return h
}

// claims are those of a good proof, with changes; nil takes one away.
func (h *holder) claims(method, url string, changes map[string]any) map[string]any {
	h.made++
	sum := sha256.Sum256([]byte(h.token))
	c := map[string]any{
		"jti": "proof-" + strconv.Itoa(h.made), "htm": method, "htu": url, "iat": time.Now().Unix(),
		"ath": base64.RawURLEncoding.EncodeToString(sum[:]),
	}
	if h.nonce != "" {
		c["nonce"] = h.nonce
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func (h *holder) proof(method, url string, changes map[string]any) string {
	h.t.Helper()
	text, err := h.key.SignEmbedding("dpop+jwt", h.claims(method, url, changes))
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

const modelsRPC = edgev1.OpenAIService_ListModels_FullMethodName

func TestDPoP(t *testing.T) {
	is := newTrusted(t)
	g := open(t, is.trust)
	_, conn := g.serve()
	h := newHolder(t, is)
	url := g.url + "/v1/models"
	ask := func(proof string) answer {
		return g.do("GET", "/v1/models?page_size=5", "", "Authorization", "DPoP "+h.token, "DPoP", proof)
	}

	// Without a nonce: it is told one, which is then good, over gRPC too.
	a := ask(h.proof("GET", url, map[string]any{"nonce": nil}))
	challenge := a.header.Get("Www-Authenticate")
	if a.status != 401 || !strings.HasPrefix(challenge, "DPoP ") || !strings.Contains(challenge, `error="use_dpop_nonce"`) ||
		!strings.Contains(challenge, `algs="ES256 `) || a.header.Get("Dpop-Nonce") == "" {
		t.Fatalf("without a nonce: %d %v %s", a.status, a.header, a.text)
	}
	h.nonce = a.header.Get("Dpop-Nonce")
	good := h.proof("GET", url, nil)
	if a := ask(good); a.status != 200 {
		t.Fatalf("a good proof: %d %v %s", a.status, a.header, a.text)
	}
	if a := ask(good); a.status != 401 || !strings.Contains(a.header.Get("Www-Authenticate"), `error="invalid_dpop_proof"`) {
		t.Errorf("shown twice: %d %v", a.status, a.header)
	}
	target := "http://" + conn.Target() + modelsRPC
	over := h.proof("POST", target, nil)
	if code, _, text := rpc(t, conn, "authorization", "DPoP "+h.token, "dpop", over); code != codes.OK {
		t.Errorf("over gRPC: %v %s", code, text)
	}
	if code, md, _ := rpc(t, conn, "authorization", "DPoP "+h.token, "dpop", over); code != codes.Unauthenticated || !strings.Contains(md.Get("www-authenticate")[0], "invalid_dpop_proof") {
		t.Errorf("shown twice over gRPC: %v %v", code, md)
	}
	if code, md, _ := rpc(t, conn, "authorization", "DPoP "+h.token, "dpop", h.proof("POST", target, map[string]any{"nonce": "x"})); code != codes.Unauthenticated || len(md.Get("dpop-nonce")) != 1 {
		t.Errorf("another's nonce over gRPC: %v %v", code, md)
	}
	// How the URL is written does not matter; what it means does.
	for _, same := range []string{strings.Replace(url, "http", "HTTP", 1), g.url + "/v1/./x/../%6Dodels"} {
		if a := ask(h.proof("GET", same, nil)); a.status != 200 {
			t.Errorf("%s: %d %s", same, a.status, a.text)
		}
	}
}

// What a proof must be: each of these is refused, over REST and over gRPC, and
// tells nothing of the token.
func TestDPoPDefects(t *testing.T) {
	is := newTrusted(t)
	g := open(t, is.trust)
	_, conn := g.serve()
	h := newHolder(t, is)
	h.nonce = g.do("GET", "/v1/models", "", "Authorization", "DPoP "+h.token, "DPoP", h.proof("GET", g.url+"/v1/models", map[string]any{"nonce": nil})).header.Get("Dpop-Nonce")
	other := newHolder(t, is)
	now := time.Now().Unix()
	typed := func(typ string) func(string, string) string {
		return func(m, u string) string {
			text, err := h.key.SignEmbedding(typ, h.claims(m, u, nil))
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
	}
	changed := func(name string, v any) func(string, string) string {
		return func(m, u string) string { return h.proof(m, u, map[string]any{name: v}) }
	}
	header := func(head string) func(string, string) string {
		return func(m, u string) string {
			parts := strings.Split(h.proof(m, u, nil), ".")
			return base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + parts[1] + "." + parts[2]
		}
	}
	edit := func(f func(parts []string)) func(string, string) string {
		return func(m, u string) string {
			parts := strings.Split(h.proof(m, u, nil), ".")
			f(parts)
			return strings.Join(parts, ".")
		}
	}
	for name, prove := range map[string]func(method, url string) string{
		"no proof":            func(string, string) string { return "" },
		"rubbish":             func(string, string) string { return "a.b.c" },
		"too long":            func(m, u string) string { return h.proof(m, u, map[string]any{"x": strings.Repeat("x", 9000)}) },
		"another type":        typed("at+jwt"),
		"no type":             typed(""),
		"a type in capitals":  typed("DPoP+JWT"),
		"the key's name only": func(m, u string) string { s, _ := h.key.Sign("dpop+jwt", h.claims(m, u, nil)); return s },
		"alg none":            header(`{"alg":"none","typ":"dpop+jwt"}`),
		"a secret":            header(`{"alg":"HS256","typ":"dpop+jwt","jwk":{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}`),
		"an unknown kind":     header(`{"alg":"ES256","typ":"dpop+jwt","jwk":{"kty":"AKP"}}`),
		"off the curve":       header(`{"alg":"ES256","typ":"dpop+jwt","jwk":{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}`),
		"crit":                header(`{"alg":"ES256","typ":"dpop+jwt","crit":["x"]}`),
		"signature changed":   edit(func(p []string) { p[2] = p[2][4:8] + p[2][:4] + p[2][8:] }),
		"signature zero":      edit(func(p []string) { p[2] = strings.Repeat("A", 86) }),
		"no signature":        edit(func(p []string) { p[2] = "" }),
		"padding":             edit(func(p []string) { p[1] += "=" }),
		"four parts":          edit(func(p []string) { p[2] += ".A" }),
		"another method":      func(_, u string) string { return h.proof("DELETE", u, nil) },
		"a method in small":   func(m, u string) string { return h.proof(strings.ToLower(m), u, nil) },
		"no method":           changed("htm", nil),
		"a method's number":   changed("htm", 1),
		"another host":        func(m, u string) string { return h.proof(m, strings.Replace(u, "127.0.0.1", "127.0.0.2", 1), nil) },
		"another scheme":      func(m, u string) string { return h.proof(m, strings.Replace(u, "http", "https", 1), nil) },
		"another path":        func(m, u string) string { return h.proof(m, u+"/x", nil) },
		"a query":             func(m, u string) string { return h.proof(m, u+"?a=b", nil) },
		"a fragment":          func(m, u string) string { return h.proof(m, u+"#a", nil) },
		"a user":              func(m, u string) string { return h.proof(m, strings.Replace(u, "http://", "http://a@", 1), nil) },
		"no URL":              changed("htu", nil),
		"URL no text":         changed("htu", []string{"x"}),
		"a path only":         changed("htu", "/v1/models"),
		"no jti":              changed("jti", nil),
		"an empty jti":        changed("jti", ""),
		"a long jti":          changed("jti", strings.Repeat("j", 257)),
		"no time":             changed("iat", nil),
		"time as text":        changed("iat", strconv.FormatInt(now, 10)),
		"of the past":         changed("iat", now-90),
		"of the future":       changed("iat", now+60),
		"ended":               changed("exp", now-60),
		"not yet":             changed("nbf", now+60),
		"no token":            changed("ath", nil),
		"another token":       changed("ath", strings.Repeat("A", 43)),
		"token hash in full":  func(m, u string) string { return h.proof(m, u, map[string]any{"ath": h.token}) },
		"by another key":      func(m, u string) string { other.token, other.nonce = h.token, h.nonce; return other.proof(m, u, nil) },
	} {
		a := g.do("GET", "/v1/models", "", "Authorization", "DPoP "+h.token, "DPoP", prove("GET", g.url+"/v1/models"))
		challenge := a.header.Get("Www-Authenticate")
		want := `error="invalid_dpop_proof"`
		if name == "by another key" {
			want = `error="invalid_token"`
		}
		if a.status != 401 || !strings.HasPrefix(challenge, "DPoP ") || !strings.Contains(challenge, want) || strings.Contains(a.text, "eyJ") {
			t.Errorf("%s: %d %s %s", name, a.status, challenge, a.text)
		}
		code, md, text := rpc(t, conn, "authorization", "DPoP "+h.token, "dpop", prove("POST", "http://"+conn.Target()+modelsRPC))
		if code != codes.Unauthenticated || len(md.Get("www-authenticate")) != 1 || !strings.Contains(md.Get("www-authenticate")[0], want) || strings.Contains(text, "eyJ") {
			t.Errorf("%s over gRPC: %v %v %s", name, code, md, text)
		}
	}
	// An invalid token with a good proof is no more than invalid.
	h.token = is.token(map[string]any{"cnf": map[string]any{"jkt": h.key.Thumbprint()}, "aud": "x"})
	a := g.do("GET", "/v1/models", "", "Authorization", "DPoP "+h.token, "DPoP", h.proof("GET", g.url+"/v1/models", nil))
	if a.status != 401 || !strings.Contains(a.header.Get("Www-Authenticate"), `error="invalid_token"`) {
		t.Errorf("another's token: %d %v", a.status, a.header)
	}
	// Two proofs are one too many.
	if code, _, _ := rpc(t, conn, "authorization", "DPoP "+h.token, "dpop", "a", "dpop", "b"); code != codes.Unauthenticated {
		t.Errorf("two proofs: %v", code)
	}
}

// A token is shown as what it is: bound ones by a proof, others without.
func TestSchemes(t *testing.T) {
	is := newTrusted(t)
	g := open(t, func(c *edge.Config) { is.trust(c); c.Security.Tokens.Possession.Nonce = false })
	_, conn := g.serve()
	h := newHolder(t, is)
	bound := h.token
	free := is.token(nil)
	for name, tt := range map[string]struct{ scheme, token string }{
		"a bound token as bearer":           {"Bearer", bound},
		"a free token with a proof":         {"DPoP", free},
		"an API key with a proof":           {"DPoP", g.key},
		"bound in an unknown way":           {"Bearer", is.token(map[string]any{"cnf": map[string]any{"kid": "x"}})},
		"bound to nothing":                  {"Bearer", is.token(map[string]any{"cnf": map[string]any{}})},
		"bound to a certificate not shown":  {"Bearer", is.token(map[string]any{"cnf": map[string]any{"x5t#S256": h.key.Thumbprint()}})},
		"bound to both, no certificate":     {"DPoP", is.token(map[string]any{"cnf": map[string]any{"jkt": h.key.Thumbprint(), "x5t#S256": h.key.Thumbprint()}})},
		"bound to another key than claimed": {"DPoP", is.token(map[string]any{"cnf": map[string]any{"jkt": newKey(t, "y").Thumbprint()}})},
	} {
		h.token = tt.token
		a := g.do("GET", "/v1/models", "", "Authorization", tt.scheme+" "+tt.token, "DPoP", h.proof("GET", g.url+"/v1/models", nil))
		if a.status != 401 || !strings.Contains(a.header.Get("Www-Authenticate"), `error="invalid_token"`) {
			t.Errorf("%s: %d %v %s", name, a.status, a.header.Values("Www-Authenticate"), a.text)
		}
		code, _, _ := rpc(t, conn, "authorization", tt.scheme+" "+tt.token, "dpop", h.proof("POST", "http://"+conn.Target()+modelsRPC, nil))
		if code != codes.Unauthenticated {
			t.Errorf("%s over gRPC: %v", name, code)
		}
	}
	if a := g.do("GET", "/v1/models", "", "Authorization", "Bearer "+free); a.status != 200 {
		t.Errorf("a free token: %d %s", a.status, a.text)
	}
	a := g.do("GET", "/v1/models", "", "Authorization", "")
	if got := a.header.Values("Www-Authenticate"); len(got) != 2 || !strings.HasPrefix(got[0], "Bearer ") || !strings.HasPrefix(got[1], "DPoP ") {
		t.Errorf("without credentials: %q", got)
	}
	// An issuer may be held to bind its tokens.
	g = open(t, func(c *edge.Config) { is.trust(c); c.Security.Tokens.Issuers[0].SenderConstrained = "required" })
	if a := g.do("GET", "/v1/models", "", "Authorization", "Bearer "+free); a.status != 401 {
		t.Errorf("a free token of an issuer that must bind: %d %s", a.status, a.text)
	}
}

// The URL is the public one: as configured, or as a proxy says that is trusted.
func TestDPoPBehindProxies(t *testing.T) {
	is := newTrusted(t)
	for name, tt := range map[string]struct {
		change  func(*edge.Config)
		headers []string
		good    string // before /v1/models
	}{
		"configured": {func(c *edge.Config) { c.Security.Tokens.PublicURL = "https://api.example/gate/" }, nil, "https://api.example:443/gate"},
		"forwarded": {func(c *edge.Config) {
			c.Security.Limits.TrustedProxies, c.Security.Limits.ForwardedHeader = []string{"127.0.0.0/8"}, "forwarded"
		}, []string{"Forwarded", `for=1.2.3.4;host=evil, for=5.6.7.8;proto=https;host="API.example"`}, "https://api.example"},
		"x-forwarded": {func(c *edge.Config) { c.Security.Limits.TrustedProxies = []string{"127.0.0.0/8"} }, []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil, api.example:8443"}, "https://api.example:8443"},
		"nobody's":    {func(*edge.Config) {}, []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "api.example"}, ""},
	} {
		g := open(t, func(c *edge.Config) { is.trust(c); c.Security.Tokens.Possession.Nonce = false; tt.change(c) })
		h := newHolder(t, is)
		for _, at := range []string{"https://api.example", "https://api.example:8443", "https://api.example/gate", "https://api.example:443/gate", g.url} {
			want := 401
			if at == tt.good || tt.good == "" && at == g.url || strings.Replace(at, "gate", "", 1) != at && strings.Contains(tt.good, "gate") {
				want = 200
			}
			headers := append([]string{"Authorization", "DPoP " + h.token, "DPoP", h.proof("GET", at+"/v1/models", nil)}, tt.headers...)
			if a := g.do("GET", "/v1/models", "", headers...); a.status != want {
				t.Errorf("%s: a proof for %s: %d, want %d", name, at, a.status, want)
			}
		}
	}
}
