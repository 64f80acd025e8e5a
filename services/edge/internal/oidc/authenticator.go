package oidc

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/services/edge/internal/authn"
)

// retryAfter is when to try again while an issuer's keys cannot be read.
const retryAfter = 5 * time.Second

// Options are what an Authenticator needs besides its configuration.
type Options struct {
	Clock  clock.Clock
	Logger *slog.Logger
	// Transport reaches the issuers.
	Transport http.RoundTripper
	// PlatformTenant is nobody's to name but an issuer's whose configuration says so.
	PlatformTenant string
}

// Authenticator accepts the tokens of the issuers that are trusted. It is safe for
// concurrent use.
type Authenticator struct {
	clock   clock.Clock
	issuers map[string]*issuer
	cache   *lru.Cache[[sha256.Size]byte, remembered]
	keepFor time.Duration
	stop    context.CancelFunc
	running sync.WaitGroup
}

// issuer is one that is trusted, by its name.
type issuer struct {
	config     IssuerConfig
	expected   jose.Expected
	algorithms []jose.Algorithm
	keys       *keys
	mapping    *mapping
	tenants    tenants
}

// remembered is a token that was verified.
type remembered struct {
	issuer  *issuer
	version uint64 // of the keys that it was verified by
	until   time.Time
	who     *authn.Principal
}

// New returns an authenticator. Close ends what it reads in the background.
func New(c Config, o Options) (*Authenticator, error) {
	ctx, cancel := context.WithCancel(context.Background())
	a := &Authenticator{clock: o.Clock, issuers: make(map[string]*issuer, len(c.Issuers)), keepFor: c.CacheFor, stop: cancel}
	var err error
	if a.cache, err = lru.New[[sha256.Size]byte, remembered](c.CacheSize); err != nil {
		cancel()
		return nil, fmt.Errorf("tokens: make the cache: %w", err)
	}
	for _, ic := range c.Issuers {
		m, err := newMapping(ic.Mapping)
		if err != nil {
			cancel()
			return nil, fmt.Errorf("tokens: issuer %s: %w", ic.Issuer, err)
		}
		is := &issuer{
			config: ic, mapping: m, tenants: tenants{named: ic.Tenants, platform: o.PlatformTenant},
			expected: jose.Expected{Issuer: ic.Issuer, Audiences: ic.Audiences, Skew: ic.Skew, MaxAge: ic.MaxAge, Required: ic.Required},
			keys: &keys{
				from: newFetcher(o.Transport, ic), clock: o.Clock, log: o.Logger, issuer: ic.Issuer, refresh: ic.RefreshEvery, keep: ic.KeepFor,
				spawn: a.running.Go, lifetime: ctx,
			},
		}
		for _, name := range ic.Algorithms {
			is.algorithms = append(is.algorithms, jose.Algorithm(name))
		}
		a.issuers[ic.Issuer] = is
	}
	return a, nil
}

// Close ends the readings under way, and waits for them.
func (a *Authenticator) Close() error {
	a.stop()
	a.running.Wait()
	return nil
}

// Recognises reports whether a token has the form of a signed one.
func (a *Authenticator) Recognises(token string) bool {
	return strings.HasPrefix(token, "ey") && strings.Count(token, ".") == 2
}

// Authenticate returns whom a token speaks of.
func (a *Authenticator) Authenticate(ctx context.Context, token string) (*authn.Principal, error) {
	now := a.clock.Now()
	sum := sha256.Sum256([]byte(token))
	if r, ok := a.cache.Get(sum); ok && now.Before(r.until) && r.issuer.keys.holds(r.version) {
		return r.who, nil
	}
	parsed, err := jose.Parse(token)
	if err != nil {
		return nil, refused(authn.Malformed)
	}
	claims, err := jose.ParseClaims(parsed.Unverified())
	if err != nil {
		return nil, refused(authn.Malformed)
	}
	// Not verified yet: it only says whose keys to ask.
	is, ok := a.issuers[claims.Issuer]
	if !ok {
		return nil, refused(authn.Unknown)
	}
	by, err := is.verify(ctx, parsed)
	if err != nil {
		return nil, err
	}
	who, err := is.principal(claims, now)
	if err != nil {
		return nil, err
	}
	until := earliest(now.Add(a.keepFor), claims.Expires)
	if is.config.MaxAge > 0 {
		until = earliest(until, claims.IssuedAt.Add(is.config.MaxAge))
	}
	if now.Before(until) {
		a.cache.Add(sum, remembered{issuer: is, version: by.version, until: until, who: &who})
	}
	return &who, nil
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// verify finds the key that has signed the token.
func (is *issuer) verify(ctx context.Context, t *jose.Token) (known, error) {
	return is.verifyAs(ctx, t, is.config.Types)
}

// verifyAs is verify for a token of one of the types.
func (is *issuer) verifyAs(ctx context.Context, t *jose.Token, types []string) (known, error) {
	if !slices.Contains(is.algorithms, t.Algorithm) || !slices.Contains(types, t.Type) {
		return known{}, refused(authn.Malformed)
	}
	by, err := is.keys.find(ctx, t.KeyID)
	switch {
	case errors.Is(err, errAway):
		return known{}, apierr.Wrap(apierr.Unavailable, err, "the token's issuer cannot be asked for its keys now").WithRetryAfter(retryAfter)
	case err != nil:
		return known{}, err
	}
	if _, err := t.Verify(by.set); err != nil {
		return known{}, refused(authn.Unknown)
	}
	return by, nil
}

// principal returns whom verified claims speak of.
func (is *issuer) principal(c jose.Claims, now time.Time) (authn.Principal, error) {
	switch err := c.Check(is.expected, now); {
	case errors.Is(err, jose.ErrExpired):
		return authn.Principal{}, refused(authn.Expired)
	case err != nil:
		return authn.Principal{}, refused(authn.Foreign)
	}
	caller, err := is.mapping.caller(c.All)
	if err != nil || !is.tenants.include(caller.Tenant) {
		return authn.Principal{}, refused(authn.Foreign)
	}
	return principal(caller, c, is.config.SenderConstrained)
}

// principal adds to the caller what else the claims say, and refuses a token that
// is not bound to a key where it must be.
func principal(caller identity.Caller, c jose.Claims, constrained string) (authn.Principal, error) {
	bound, err := authn.ConfirmationOf(c.All)
	if err != nil || constrained == Required && bound.None() {
		return authn.Principal{}, refused(authn.Foreign)
	}
	return authn.Principal{Caller: caller, IssueTime: c.IssuedAt, Claims: c.All, Confirmation: bound}, nil
}

// tenants are those whom somebody may speak for.
type tenants struct {
	named    []string
	platform string
}

func (t tenants) include(tenant string) bool {
	if len(t.named) > 0 {
		return slices.Contains(t.named, tenant) || slices.Contains(t.named, AnyTenant)
	}
	return tenant != t.platform
}

func refused(c authn.Cause) error { return &authn.RefusedError{Cause: c} }
