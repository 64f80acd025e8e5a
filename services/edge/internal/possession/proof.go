package possession

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/jose"
)

const (
	proofType = "dpop+jwt"
	// maxProofBytes is more than any key takes that is accepted.
	maxProofBytes = 8 << 10
	maxURLBytes   = 4096
	maxJTIBytes   = 256
)

// algorithms are those that proofs may be signed by: asymmetric ones.
func algorithms() []jose.Algorithm {
	return []jose.Algorithm{jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.Ed25519, jose.PS256, jose.RS256}
}

// AlgorithmNames lists them.
func AlgorithmNames() (names []string) {
	for _, a := range algorithms() {
		names = append(names, string(a))
	}
	return names
}

// Algorithms lists them for a challenge.
func Algorithms() string { return strings.Join(AlgorithmNames(), " ") }

// proof is a DPoP proof (RFC 9449, section 4.2) whose form and signature are right.
type proof struct {
	key             string // the thumbprint
	jti             string
	method, url     string
	nonce           string
	hasNonce        bool
	tokenHash       string
	issued, expires time.Time
	notBefore       time.Time

	token *jose.Token
	by    jose.Key
}

// parseProof reads a proof; its signature is looked at by signed, which costs more.
func parseProof(text string) (p proof, ok bool) {
	if len(text) > maxProofBytes {
		return p, false
	}
	token, key, err := jose.ParseEmbedded(text)
	if err != nil || token.Type != proofType || !slices.Contains(algorithms(), token.Algorithm) {
		return p, false
	}
	c, err := jose.ParseClaims(token.Unverified())
	if err != nil || c.ID == "" || len(c.ID) > maxJTIBytes || c.IssuedAt.IsZero() {
		return p, false
	}
	p = proof{jti: c.ID, issued: c.IssuedAt, expires: c.Expires, notBefore: c.NotBefore, token: token, by: key}
	for name, into := range map[string]*string{"htm": &p.method, "htu": &p.url, "nonce": &p.nonce, "ath": &p.tokenHash} {
		v, there := c.All[name]
		text, is := v.(string)
		if there && !is {
			return p, false
		}
		*into = text
		p.hasNonce = p.hasNonce || name == "nonce" && there
	}
	return p, p.method != "" && p.url != ""
}

// signed reports whether the key that the proof brings along has signed it, and
// notes which that is.
func (p *proof) signed() bool {
	if !p.token.SignedBy(p.by) {
		return false
	}
	p.key = p.by.Thumbprint()
	return true
}

// timely reports whether the proof was made now, give or take.
func (p *proof) timely(now time.Time, maxAge, skew time.Duration) bool {
	return !p.issued.After(now.Add(skew)) && !p.issued.Before(now.Add(-maxAge)) &&
		(p.expires.IsZero() || now.Before(p.expires.Add(skew))) && !p.notBefore.After(now.Add(skew))
}

// hashOf is the claim ath of a token.
func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
