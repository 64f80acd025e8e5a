// Package possession judges whether who shows a token has the key that it is bound
// to: by DPoP (RFC 9449), or by the certificate of the connection (RFC 8705). It
// does not know what tokens say. Start reading at Checker.
package possession

import (
	"context"
	"crypto/subtle"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
)

// NonceHeader tells a client the nonce for its next proof.
const NonceHeader = "dpop-nonce"

// The errors of OAuth.
const (
	InvalidProof = "invalid_dpop_proof"
	UseNonce     = "use_dpop_nonce"
)

// Checker judges proofs. It is safe for concurrent use.
type Checker struct {
	config    Config
	clock     clock.Clock
	addresses *clientaddr.Resolver
	nonces    nonces
	shown     *replay
}

// New returns a checker; all replicas on one store must have the same key, of at
// least 32 bytes, so that each accepts the others' nonces.
func New(c Config, key []byte, ck clock.Clock, addresses *clientaddr.Resolver) *Checker {
	return &Checker{
		config: c, clock: ck, addresses: addresses, nonces: nonces{key, c.NonceLifetime},
		// A proof that is ahead of us can be shown for longest.
		shown: newReplay(c.MaxAge+c.Skew, c.MaxProofs),
	}
}

// Proof is a proof of a request that was found good by itself: whether it is one
// of the right key is for Confirm to say. The zero value is none.
type Proof struct {
	// Key is the thumbprint of the key.
	Key string
	// Nonce is what the client should take for its next proofs; empty: what it has.
	Nonce string

	jti string
}

// Verify judges the proof of the request of ctx, which shows a token; empty: which
// asks for one. What is wrong with it is a *authn.RefusedError. Nothing is
// remembered yet: strangers could fill the memory.
func (c *Checker) Verify(ctx context.Context, token string) (Proof, error) {
	want, ok := c.target(ctx)
	if !ok || len(want.proofs) != 1 {
		return Proof{}, refused()
	}
	p, ok := parseProof(want.proofs[0])
	if !ok || p.method != want.method || token != "" && !same(p.tokenHash, hashOf(token)) {
		return Proof{}, refused()
	}
	if at, ok := normalise(p.url); !ok || at != want.url {
		return Proof{}, refused()
	}
	now := c.clock.Now()
	next, err := c.nonce(p, now)
	if err != nil {
		return Proof{}, err
	}
	if !p.timely(now, c.config.MaxAge, c.config.Skew) || !p.signed() {
		return Proof{}, refused()
	}
	return Proof{Key: p.key, Nonce: next, jti: p.jti}, nil
}

// nonce judges the proof's nonce, and returns the next one if it is time for it.
func (c *Checker) nonce(p proof, now time.Time) (string, error) {
	if !c.config.Nonce && !p.hasNonce {
		return "", nil
	}
	holds, ageing := c.nonces.check(p.nonce, now)
	if !holds {
		return "", &authn.RefusedError{Cause: authn.Nonce, Code: UseNonce, Nonce: c.nonces.make(now)}
	}
	if ageing {
		return c.nonces.make(now), nil
	}
	return "", nil
}

// Confirm returns the principal of a token that was shown with the proof, if who
// shows it has proven what the token is bound to, and nobody has shown that proof
// before.
func (c *Checker) Confirm(ctx context.Context, scheme authn.Scheme, proof Proof, p *authn.Principal) (*authn.Principal, error) {
	bound := p.Confirmation
	if scheme == authn.DPoP != (bound.Key != "") || bound.Key != "" && !same(bound.Key, proof.Key) ||
		bound.Certificate != "" && !same(bound.Certificate, c.Certificate(ctx)) {
		return nil, &authn.RefusedError{Cause: authn.Unproven, KeyID: p.Caller.KeyID}
	}
	if bound.Key != "" {
		if err := c.Use(proof, owner(*p)); err != nil {
			return nil, err
		}
	}
	if p.Bound == !bound.None() {
		return p, nil
	}
	proven := *p
	proven.Bound = !proven.Bound
	return &proven, nil
}

// Use notes that the owner, who is known by now, has shown a proof, and refuses one
// that was shown before.
func (c *Checker) Use(proof Proof, owner string) error {
	switch c.shown.show(owner, idOf(proof.Key, proof.jti), c.clock.Now()) {
	case fresh:
		return nil
	case tooMany:
		return apierr.New(apierr.RateLimited, "too many DPoP proofs in a short time").WithRetryAfter(c.config.MaxAge)
	case full:
		return apierr.New(apierr.Unavailable, "no more DPoP proofs can be remembered now").WithRetryAfter(time.Second)
	case repeated:
		return refused()
	default:
		return refused()
	}
}

// owner is who fills the memory.
func owner(p authn.Principal) string {
	if p.Caller.KeyID != "" {
		return p.Caller.KeyID
	}
	return p.Caller.Tenant + "/" + p.Caller.Subject
}

func refused() error { return &authn.RefusedError{Cause: authn.Unproven, Code: InvalidProof} }

func same(a, b string) bool {
	return a != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}
