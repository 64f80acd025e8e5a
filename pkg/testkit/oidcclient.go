package testkit

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// OIDCCall is what an OAuth client is to do: ask a server for a token by client
// credentials, and call with it.
type OIDCCall struct {
	// Server is the issuer; its metadata is where OpenID Connect has it, or, with
	// Algorithm oauth2, where RFC 8414 has it.
	Server    string `json:"server"`
	Algorithm string `json:"algorithm,omitempty"`
	ClientID  string `json:"client_id"`
	Secret    string `json:"client_secret"`
	// Basic shows the secret in the header, and not in the form.
	Basic bool `json:"basic,omitempty"`
	// Parameters are further ones of the request: scope, resource.
	Parameters map[string]string `json:"parameters,omitempty"`
	// DPoP binds the token to a key that is made for it (RFC 9449).
	DPoP  bool           `json:"dpop,omitempty"`
	Calls []OIDCResource `json:"calls,omitempty"`
	// Revoke takes the token back in the end, and Introspect asks the server whether it
	// is active then.
	Revoke     bool `json:"revoke,omitempty"`
	Introspect bool `json:"introspect,omitempty"`
}

// OIDCResource is called with the token.
type OIDCResource struct {
	Method string `json:"method,omitempty"`
	URL    string `json:"url"`
	// OtherKey proves by another key than the token is bound to.
	OtherKey bool `json:"other_key,omitempty"`
}

// OIDCCalled is what came of an OIDCCall.
type OIDCCalled struct {
	Token   string       `json:"token"`
	Type    string       `json:"token_type"`
	Scope   string       `json:"scope"`
	Answers []OIDCAnswer `json:"answers"`
	Active  bool         `json:"active"`
}

// OIDCAnswer is what a resource has answered to the last try, and that try's proof.
type OIDCAnswer struct {
	Status    int    `json:"status"`
	Challenge string `json:"challenge"`
	Nonce     string `json:"nonce"`
	Proof     string `json:"proof"`
}

// OIDCClient has openid-client do what it is told.
func OIDCClient(tb testing.TB, c OIDCCall) OIDCCalled {
	tb.Helper()
	program := os.Getenv(EnvOIDCProvider)
	if program == "" {
		tb.Fatalf("openid-client is not installed: scripts/components.sh oidc-provider, and say where it is (%s)", EnvOIDCProvider)
	}
	asked, err := json.Marshal(c)
	if err != nil {
		tb.Fatalf("openid-client: %v", err)
	}
	cmd := exec.CommandContext(tb.Context(), Binary(tb, "", []string{"node"}), "client.mjs")
	var failed bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stderr = filepath.Dir(program), bytes.NewReader(asked), &failed
	text, err := cmd.Output()
	if err != nil {
		tb.Fatalf("openid-client: %v\n%s", err, failed.String())
	}
	var done OIDCCalled
	if err := json.Unmarshal(text, &done); err != nil {
		tb.Fatalf("openid-client: %v\n%s", err, text)
	}
	return done
}
