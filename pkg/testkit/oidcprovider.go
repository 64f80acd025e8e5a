package testkit

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// EnvOIDCProvider is the provider's program, which `scripts/components.sh
// oidc-provider` installs with what it needs.
const EnvOIDCProvider = "POTERNE_OIDC_PROVIDER"

// OIDCProviderOptions says what an OpenID provider knows.
type OIDCProviderOptions struct {
	// Issuer is what it calls itself; empty: its own address. Set it where a proxy
	// stands before it.
	Issuer string `json:"issuer,omitempty"`
	// Proxy says that a proxy stands before it, whose X-Forwarded headers are true.
	Proxy bool `json:"proxy,omitempty"`
	// Clients are its clients' metadata (OpenID Connect Dynamic Client Registration
	// 1.0, section 2).
	Clients []map[string]any `json:"clients"`
	// Accounts are people's claims, by their names; every password is right.
	Accounts map[string]map[string]any `json:"accounts,omitempty"`
	// TokenClaims are what access tokens say of a client that got them for itself, by
	// the client's id.
	TokenClaims map[string]map[string]any `json:"token_claims,omitempty"`
	// Features changes oidc-provider's own option of that name.
	Features map[string]any `json:"features,omitempty"`
}

// OIDCServer is a running OpenID provider, oidc-provider, with everything in
// memory: authorisation code with PKCE, client credentials, introspection,
// revocation, DPoP, RP-initiated logout. Access tokens are JWTs for a resource that
// is asked for, and opaque for one whose name ends in /opaque.
type OIDCServer struct {
	*Process
	// URL is where it listens: its issuer, unless the options say otherwise.
	URL string
	// Restart starts it again at the same address after Kill or Stop; what it held is
	// lost.
	Restart func() *OIDCServer
}

// OIDCProvider starts an OpenID provider.
func OIDCProvider(tb testing.TB, o OIDCProviderOptions) *OIDCServer {
	tb.Helper()
	return oidcProviderAt(tb, o, FreePorts(tb, 1)[0])
}

func oidcProviderAt(tb testing.TB, o OIDCProviderOptions, port int) *OIDCServer {
	tb.Helper()
	program := os.Getenv(EnvOIDCProvider)
	if program == "" {
		tb.Fatalf("the OpenID provider is not installed: scripts/components.sh oidc-provider, and say where it is (%s)", EnvOIDCProvider)
	}
	text, err := json.Marshal(o)
	if err != nil {
		tb.Fatalf("oidc-provider: %v", err)
	}
	file := filepath.Join(tb.TempDir(), "provider.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		tb.Fatalf("oidc-provider: %v", err)
	}
	at := "http://" + Loopback(port)
	p := Start(tb, Command{
		Name: "oidc-provider", Path: Binary(tb, "", []string{"node"}), Dir: filepath.Dir(program),
		Args: []string{program, strconv.Itoa(port), file}, Ready: ReadyHTTP(at + "/.well-known/openid-configuration"),
	})
	return &OIDCServer{Process: p, URL: at, Restart: func() *OIDCServer { return oidcProviderAt(tb, o, port) }}
}
