package jose

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
)

// ParseEmbedded reads a token that brings along the public key that it is signed
// by, in its header's jwk, and returns both. SignedBy then says whether somebody had the
// private key, and nothing of who that was: which key it should be, the caller must
// know from elsewhere. The key must be public, whole, and one for the token's
// algorithm, as those of a set must be.
func ParseEmbedded(token string) (*Token, Key, error) {
	t, h, err := parse(token)
	if err != nil {
		return nil, Key{}, err
	}
	if h.JWK == nil {
		return nil, Key{}, errors.New("token: its header brings no key along")
	}
	var j jwk
	if err := json.Unmarshal(h.JWK, &j); err != nil {
		return nil, Key{}, errors.New("token: the key in its header is no JSON object, or has a member twice or of the wrong type")
	}
	key, err := j.key(KeySetOptions{})
	if err != nil {
		return nil, Key{}, fmt.Errorf("token: the key in its header: %w", err)
	}
	return t, key, nil
}

// SignedBy reports whether the key has signed the token.
func (t *Token) SignedBy(k Key) bool {
	return k.Verifies(t.Algorithm) && verify(k.key, t.Algorithm, []byte(t.signed), t.signature)
}

// Thumbprint names the key by itself: SHA-256 of its required members (RFC 7638;
// RFC 8037, section 2), in base64url. A secret has none.
func (k Key) Thumbprint() string {
	p, err := publicJWK(k.key)
	if err != nil {
		return ""
	}
	// What is in the members needs no quoting.
	var members string
	switch p.Kty {
	case "RSA":
		members = `{"e":"` + p.E + `","kty":"RSA","n":"` + p.N + `"}`
	case "EC":
		members = `{"crv":"` + p.Crv + `","kty":"EC","x":"` + p.X + `","y":"` + p.Y + `"}`
	default:
		members = `{"crv":"` + p.Crv + `","kty":"` + p.Kty + `","x":"` + p.X + `"}`
	}
	sum := sha256.Sum256([]byte(members))
	return encode(sum[:])
}
