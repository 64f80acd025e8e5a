package issue

import (
	"net/http"
	"slices"

	"github.com/poterne/poterne/services/edge/internal/possession"
)

// The paths of what everybody may read.
const (
	// KeysPath has the keys to verify tokens by.
	KeysPath = "/.well-known/jwks.json"
	// ServerPath has what clients need to know of the authorisation server (RFC 8414).
	ServerPath = "/.well-known/oauth-authorization-server"
	// ResourcePath has whose tokens are accepted (RFC 9728).
	ResourcePath = "/.well-known/oauth-protected-resource"
)

// cacheFor is for how long others may remember the keys, in seconds: far less than
// a key is published before it signs.
const cacheFor = "max-age=300"

// look has a request pass the address limit.
func look(door Door, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := door.Look(r.Context()); err != nil {
			refuse(w, err)
			return
		}
		next(w, r)
	})
}

// serveKeys answers with the keys to verify tokens by.
func (k *keyring) serveKeys(w http.ResponseWriter, r *http.Request) {
	text, err := k.published(r.Context())
	if err != nil {
		w.Header().Set("Cache-Control", "no-store")
		refuse(w, unreadable(err))
		return
	}
	w.Header().Set("Cache-Control", "public, "+cacheFor)
	w.Header().Set("Content-Type", "application/jwk-set+json")
	_, _ = w.Write(append(slices.Clip(text), '\n'))
}

// document answers with v.
func document(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "public, "+cacheFor)
		answer(w, http.StatusOK, v)
	}
}

// serverMetadata is what RFC 8414, section 2, has.
func serverMetadata(c Config) map[string]any {
	return map[string]any{
		"issuer": c.Issuer, "token_endpoint": c.Issuer + TokenPath, "jwks_uri": c.Issuer + KeysPath,
		"grant_types_supported":                      []string{"client_credentials"},
		"response_types_supported":                   []string{},
		"token_endpoint_auth_methods_supported":      []string{"client_secret_basic", "client_secret_post"},
		"dpop_signing_alg_values_supported":          possession.AlgorithmNames(),
		"tls_client_certificate_bound_access_tokens": c.BindCertificates,
	}
}

// Resource is what the gateway says of itself as a protected resource.
type Resource struct {
	// URL is how clients call it.
	URL string
	// Servers are those whose tokens are accepted.
	Servers []string
}

// metadata is what RFC 9728, section 2, has.
func (r Resource) metadata() map[string]any {
	return map[string]any{
		"resource": r.URL, "authorization_servers": r.Servers, "bearer_methods_supported": []string{"header"},
		"dpop_signing_alg_values_supported":          possession.AlgorithmNames(),
		"tls_client_certificate_bound_access_tokens": true,
		"resource_name": "Poterne",
	}
}
