package oidc

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/services/edge/internal/authn"
)

// IntrospectionConfig is the section "tokens.introspection": an authorisation
// server that is asked what an opaque token means (RFC 7662).
type IntrospectionConfig struct {
	// URL is its introspection endpoint; empty: opaque tokens are not accepted.
	URL string `yaml:"url"`
	// ClientID and ClientSecret are what we show it.
	ClientID     string        `yaml:"client_id"`
	ClientSecret config.Secret `yaml:"client_secret"`
	// Audiences, Required, Skew, Tenants, SenderConstrained and Mapping are as those
	// of an issuer.
	Audiences []string      `yaml:"audiences"`
	Required  []string      `yaml:"required_claims"`
	Skew      time.Duration `yaml:"skew"`
	Tenants   []string      `yaml:"tenants"`

	SenderConstrained string `yaml:"sender_constrained"`

	Mapping MappingConfig `yaml:"mapping"`
	// CacheFor is how long an answer is remembered: a token that is taken back holds
	// no longer.
	CacheFor time.Duration `yaml:"cache_for"`
}

const (
	// maxAnswerBytes bounds what the server says of a token.
	maxAnswerBytes = 64 << 10
	// refusedFor is how long a token that is not active is not asked about again.
	refusedFor = 10 * time.Second
	// minOpaqueBytes is less than anybody's opaque tokens have: what is shorter is
	// not asked about.
	minOpaqueBytes = 16
)

func (c *IntrospectionConfig) complete() {
	if c.URL == "" {
		return
	}
	var d IssuerConfig
	d.Mapping, d.Skew, d.SenderConstrained = c.Mapping, c.Skew, c.SenderConstrained
	d.complete()
	c.Mapping, c.Skew, c.SenderConstrained = d.Mapping, d.Skew, d.SenderConstrained
	if c.CacheFor == 0 {
		c.CacheFor = time.Minute
	}
}

func (c IntrospectionConfig) validate(p *config.Problems, at string) {
	if c.URL == "" {
		return
	}
	p.Check(fetchable(c.URL), at+".url", "must be an https URL (http on this machine), got %q", c.URL)
	p.Check(c.ClientID != "" && c.ClientSecret != "", at+".client_id", "must be there, and client_secret: who may ask what tokens mean is known to the server")
	p.Check(len(c.Audiences) > 0 && !slices.Contains(c.Audiences, ""), at+".audiences", "must name an audience: tokens meant for others are not for us")
	checkConstrained(p, at, c.SenderConstrained)
	p.Check(c.Skew >= 0 && c.Skew <= 5*time.Minute, at+".skew", "must be from 0s to 5m, got %v", c.Skew)
	p.Check(c.CacheFor > 0 && c.CacheFor <= 10*time.Minute, at+".cache_for", "must be from 1ns to 10m, got %v", c.CacheFor)
	if _, err := newMapping(c.Mapping); err != nil {
		p.Add(at+".mapping", "%v", err)
	}
}

// Introspector accepts opaque tokens that an authorisation server calls active.
// What it said is remembered; requests with one token ask it once. It is safe for
// concurrent use.
type Introspector struct {
	config  IntrospectionConfig
	clock   clock.Clock
	http    *http.Client
	mapping *mapping
	tenants tenants
	cache   *lru.Cache[[sha256.Size]byte, answer]
	flights singleflight.Group
}

// answer is what came of a token, until then.
type answer struct {
	who   authn.Principal
	cause authn.Cause // why it is refused; empty: it is not
	until time.Time
}

// NewIntrospector returns one that asks the server of c, which must be complete.
func NewIntrospector(c IntrospectionConfig, cacheSize int, o Options) (*Introspector, error) {
	m, err := newMapping(c.Mapping)
	if err != nil {
		return nil, fmt.Errorf("tokens: introspection: %w", err)
	}
	cache, err := lru.New[[sha256.Size]byte, answer](cacheSize)
	if err != nil {
		return nil, fmt.Errorf("tokens: make the cache: %w", err)
	}
	return &Introspector{
		config: c, clock: o.Clock, http: client(o.Transport), mapping: m, cache: cache,
		tenants: tenants{named: c.Tenants, platform: o.PlatformTenant},
	}, nil
}

// Recognises reports whether a token can be opaque: it has the characters and the
// length of one (RFC 6750, section 2.1).
func (i *Introspector) Recognises(token string) bool {
	return len(token) >= minOpaqueBytes && !strings.ContainsFunc(strings.TrimRight(token, "="), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~+/", r)
	})
}

// Authenticate returns whom the server says that a token speaks of.
func (i *Introspector) Authenticate(ctx context.Context, token string) (*authn.Principal, error) {
	sum := sha256.Sum256([]byte(token))
	a, ok := i.cache.Get(sum)
	if !ok || !i.clock.Now().Before(a.until) {
		// Not of one request's context: others with the same token wait for it.
		flight := i.flights.DoChan(string(sum[:]), func() (any, error) {
			found, err := i.look(context.WithoutCancel(ctx), token)
			if err == nil {
				i.cache.Add(sum, found)
			}
			return found, err
		})
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case r := <-flight:
			if r.Err != nil {
				return nil, apierr.Wrap(apierr.Unavailable, r.Err, "the token cannot be checked now").WithRetryAfter(retryAfter)
			}
			if a, ok = r.Val.(answer); !ok {
				return nil, errors.New("tokens: no answer")
			}
		}
	}
	if a.cause != "" {
		return nil, refused(a.cause)
	}
	return &a.who, nil
}

// look asks the server, and judges what it says.
func (i *Introspector) look(ctx context.Context, token string) (answer, error) {
	text, err := i.ask(ctx, token)
	if err != nil {
		return answer{}, err
	}
	return i.read(text, i.clock.Now())
}

// read judges what the server has said.
func (i *Introspector) read(text []byte, now time.Time) (answer, error) {
	not := answer{cause: authn.Unknown, until: now.Add(refusedFor)}
	claims, err := jose.ParseClaims(text)
	if err != nil {
		return answer{}, fmt.Errorf("the authorisation server's answer: %w", err)
	}
	if active, _ := claims.All["active"].(bool); !active {
		return not, nil
	}
	until := now.Add(i.config.CacheFor)
	if claims.Expires.IsZero() {
		// The server need not say when; it says that the token holds now.
		claims.Expires = until
	}
	who, cause := i.judge(claims, now)
	if not.cause = cause; cause != "" {
		return not, nil
	}
	return answer{who: who, until: earliest(until, claims.Expires)}, nil
}

// judge returns whom the claims of an active token speak of, or why it is refused
// all the same.
func (i *Introspector) judge(c jose.Claims, now time.Time) (authn.Principal, authn.Cause) {
	err := c.Check(jose.Expected{AnyIssuer: true, Audiences: i.config.Audiences, Skew: i.config.Skew, Required: i.config.Required}, now)
	if errors.Is(err, jose.ErrExpired) {
		return authn.Principal{}, authn.Expired
	}
	caller, failed := i.mapping.caller(c.All)
	if err != nil || failed != nil || !i.tenants.include(caller.Tenant) {
		return authn.Principal{}, authn.Foreign
	}
	who, err := principal(caller, c, i.config.SenderConstrained)
	if err != nil {
		return authn.Principal{}, authn.Foreign
	}
	return who, ""
}

func (i *Introspector) ask(ctx context.Context, token string) ([]byte, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, i.config.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// Encoded as a form before, as RFC 6749 (section 2.3.1) has it.
	req.SetBasicAuth(url.QueryEscape(i.config.ClientID), url.QueryEscape(i.config.ClientSecret.Reveal()))
	resp, err := i.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the authorisation server answers with status %d", resp.StatusCode)
	}
	return bounded(resp.Body, maxAnswerBytes)
}

// bounded reads at most so many bytes; more are an error.
func bounded(r io.Reader, most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("the answer has more than %d bytes", most)
	}
	return text, err
}
