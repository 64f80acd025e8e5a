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
	// Keys are the private keys that it signs by, as JWKs; empty: some of its own. The
	// first that fits signs.
	Keys *OIDCKeys `json:"jwks,omitempty"`
	// Algorithm is what its JWT access tokens are signed by; empty: RS256.
	Algorithm string `json:"algorithm,omitempty"`
	// TLS has it listen on another port too, where clients may show certificates, to
	// which their tokens are then bound (RFC 8705).
	TLS *OIDCTLS `json:"tls,omitempty"`
	// Features changes oidc-provider's own option of that name.
	Features map[string]any `json:"features,omitempty"`
}

// OIDCKeys is a set of private keys.
type OIDCKeys struct {
	Keys []map[string]any `json:"keys"`
}

// OIDCTLS is a port with TLS, and its certificate and key in PEM.
type OIDCTLS struct {
	Port        int    `json:"port"`
	Certificate string `json:"cert"`
	Key         string `json:"key"`
}

// OIDCServer is a running OpenID provider, oidc-provider, with everything in
// memory: authorisation code with PKCE, client credentials, introspection,
// revocation, DPoP, RP-initiated and back-channel logout. Access tokens are JWTs for a resource that
// is asked for, and opaque for one whose name ends in /opaque.
type OIDCServer struct {
	*Process
	// URL is where it listens: its issuer, unless the options say otherwise.
	URL string
	// Restart starts it again at the same address after Kill or Stop, with these
	// options; what it held is lost.
	Restart func(o OIDCProviderOptions) *OIDCServer
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
	return &OIDCServer{Process: p, URL: at, Restart: func(o OIDCProviderOptions) *OIDCServer { return oidcProviderAt(tb, o, port) }}
}
