package issue

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/grant"
)

const (
	// tokenType is the type of access tokens (RFC 9068, section 2.1).
	tokenType = "at+jwt"
	// skew is by how much replicas' clocks may differ.
	skew = 10 * time.Second
	// retryAfter is when to try again after the store did not answer.
	retryAfter = time.Second
)

// Keys knows the API keys that tokens are issued for.
type Keys interface {
	// Authenticate returns the holder of the key whose text is shown.
	Authenticate(ctx context.Context, text string) (*authn.Principal, error)
	// ByID returns the holder of a key as it is now.
	ByID(ctx context.Context, id string) (authn.Principal, error)
}

// Authenticator accepts the tokens that the edge has issued itself. The key that
// one was issued for is looked up at each use: a token holds no longer than its
// key, and may do no more than that may now. It is safe for concurrent use.
type Authenticator struct {
	config   Config
	ring     *keyring
	keys     Keys
	clock    clock.Clock
	expected jose.Expected
	others   []string
	cache    *lru.Cache[[sha256.Size]byte, verified]
}

// verified is a token whose signature and claims were found good.
type verified struct {
	keyID, client string
	scopes        []string
	claims        jose.Claims
	bound         authn.Confirmation
}

func newAuthenticator(c Config, ring *keyring, keys Keys, ck clock.Clock, others []string, cacheSize int) (*Authenticator, error) {
	cache, err := lru.New[[sha256.Size]byte, verified](cacheSize)
	if err != nil {
		return nil, fmt.Errorf("tokens: make the cache: %w", err)
	}
	return &Authenticator{
		config: c, ring: ring, keys: keys, clock: ck, others: others, cache: cache,
		// Where nobody has named the issuer, replicas call themselves by their addresses;
		// that one of them has signed the token is what counts.
		expected: jose.Expected{Issuer: c.Issuer, AnyIssuer: c.derived, Audiences: []string{c.Audience, c.Issuer}, Skew: skew},
	}, nil
}

// Recognises reports whether a token names a key of ours, and no issuer that is
// trusted besides: that may be an edge too.
func (a *Authenticator) Recognises(token string) bool {
	head, rest, ok := strings.Cut(token, ".")
	if !ok || len(head) > 512 || !strings.HasPrefix(head, "ey") {
		return false
	}
	var header struct {
		Kid string `json:"kid"`
	}
	if !decodes(head, &header) || !strings.HasPrefix(header.Kid, KeyPrefix) {
		return false
	}
	var claims struct {
		Iss string `json:"iss"`
	}
	payload, _, _ := strings.Cut(rest, ".")
	return decodes(payload, &claims) && !slices.Contains(a.others, claims.Iss)
}

func decodes(part string, into any) bool {
	raw, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(raw, into) == nil
}

// Authenticate returns whom a token was issued to, with what it may be used for.
func (a *Authenticator) Authenticate(ctx context.Context, token string) (*authn.Principal, error) {
	sum := sha256.Sum256([]byte(token))
	v, ok := a.cache.Get(sum)
	if set, _ := a.ring.known(); !ok || !set.Has(v.keyID) || !a.clock.Now().Before(v.claims.Expires) {
		var err error
		if v, err = a.verify(ctx, token); err != nil {
			return nil, err
		}
		a.cache.Add(sum, v)
	}
	p, err := a.keys.ByID(ctx, v.client)
	if err != nil {
		return nil, err
	}
	if p.Caller.Tenant != v.claims.All["tenant"] || p.Caller.Subject != v.claims.Subject {
		return nil, &authn.RefusedError{Cause: authn.Foreign, KeyID: v.client}
	}
	if v.claims.IssuedAt.Before(p.SecretTime.Truncate(time.Second)) { // as exact as the claim
		return nil, &authn.RefusedError{Cause: authn.Rotated, KeyID: v.client}
	}
	if slices.ContainsFunc(v.scopes, func(s string) bool { return !isScope(s) }) {
		return nil, &authn.RefusedError{Cause: authn.Foreign, KeyID: v.client}
	}
	if len(v.scopes) > 0 {
		if p.Grant = p.Grant.Intersect(grant.Grant{Scopes: v.scopes}); p.Grant.Scopes[0] == "" { // nothing is left
			return nil, &authn.RefusedError{Cause: authn.Foreign, KeyID: v.client}
		}
	}
	p.IssueTime, p.Claims, p.Confirmation = v.claims.IssuedAt, v.claims.All, v.bound
	return &p, nil
}

func (a *Authenticator) verify(ctx context.Context, token string) (v verified, err error) {
	parsed, err := jose.Parse(token)
	if err != nil || parsed.Type != tokenType || parsed.Algorithm != jose.ES256 && parsed.Algorithm != jose.EdDSA {
		return v, refused(authn.Malformed)
	}
	set, err := a.ring.find(ctx, parsed.KeyID)
	if err != nil {
		return v, apierr.Wrap(apierr.Unavailable, err, "the token cannot be checked now").WithRetryAfter(retryAfter)
	}
	payload, err := parsed.Verify(set)
	if err != nil {
		return v, refused(authn.Unknown)
	}
	claims, err := jose.ParseClaims(payload)
	if err != nil {
		return v, refused(authn.Malformed)
	}
	switch err := claims.Check(a.expected, a.clock.Now()); {
	case errors.Is(err, jose.ErrExpired):
		return v, refused(authn.Expired)
	case err != nil:
		return v, refused(authn.Foreign)
	}
	client, _ := claims.All["client_id"].(string)
	scopes, _ := claims.All["scope"].(string)
	bound, err := authn.ConfirmationOf(claims.All)
	if err != nil || client == "" || a.config.SenderConstrained == Required && bound.None() {
		return v, refused(authn.Foreign)
	}
	return verified{parsed.KeyID, client, strings.Fields(scopes), claims, bound}, nil
}

func refused(c authn.Cause) error { return &authn.RefusedError{Cause: c} }
