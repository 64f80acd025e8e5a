package jose

import (
	"crypto"
	"encoding/base64"
)

// HalfHash is what an ID token says of a text that came along with it, such as
// at_hash (OpenID Connect Core 1.0, section 3.1.3.6): the left half of its hash, by
// the hash of the algorithm that the token is signed by. It is empty for an
// algorithm that is not known.
func (a Algorithm) HalfHash(text string) string {
	f, hash := a.family()
	if f == edwards {
		hash = crypto.SHA512 // Ed25519's own
	}
	if hash == 0 {
		return ""
	}
	h := hash.New()
	h.Write([]byte(text))
	sum := h.Sum(nil)
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
