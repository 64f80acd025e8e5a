// Package oidc accepts the tokens of OpenID providers and OAuth authorisation
// servers: it finds their keys, keeps them, and says whom a token speaks of. It
// decides nothing about what they may do. Start reading at Authenticator; keys are
// in keys.go, and what claims mean in mapping.go.
package oidc

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/jose"
)

// AnyTenant stands for every tenant, the platform's too.
const AnyTenant = "*"

// Whether tokens must be bound to a key that their holder proves to have.
const (
	Optional = "optional"
	Required = "required"
)

// maxIssuers bounds how many issuers are trusted.
const maxIssuers = 64

// Config is the section "tokens".
type Config struct {
	// Issuers are those whose tokens are accepted.
	Issuers []IssuerConfig `yaml:"issuers"`
	// Introspection accepts opaque tokens.
	Introspection IntrospectionConfig `yaml:"introspection"`
	// CacheSize is how many verified tokens are remembered, and CacheFor how long at
	// most: a key that its issuer has taken back holds no longer.
	CacheSize int           `yaml:"cache_size"`
	CacheFor  time.Duration `yaml:"cache_for"`
}

// IssuerConfig is one issuer that is trusted, and for what.
type IssuerConfig struct {
	// Issuer is its name, as its tokens have it in iss: an https URL. Its
	// configuration is at /.well-known/openid-configuration below it.
	Issuer string `yaml:"issuer"`
	// JWKSURL is where its keys are; empty: where its configuration says.
	JWKSURL string `yaml:"jwks_url"`
	// Audiences are the names that its tokens may mean us by, in aud.
	Audiences []string `yaml:"audiences"`
	// Algorithms are those that it may sign by.
	Algorithms []string `yaml:"algorithms"`
	// Types are the values of the header typ that are accepted; "" is none.
	Types []string `yaml:"types"`
	// Required are claims that its tokens must have.
	Required []string `yaml:"required_claims"`
	// Skew is by how much its clock may differ from ours.
	Skew time.Duration `yaml:"skew"`
	// MaxAge is how long after iat its tokens hold, whatever exp says; 0: as exp says.
	MaxAge time.Duration `yaml:"max_age"`
	// Tenants are those that it may speak for; empty: every one but the platform's;
	// AnyTenant: that one too.
	Tenants []string `yaml:"tenants"`
	// SenderConstrained says whether its tokens must be bound to a key: Optional, or
	// Required.
	SenderConstrained string `yaml:"sender_constrained"`
	// Mapping says where a token's claims have what we need to know.
	Mapping MappingConfig `yaml:"mapping"`
	// RefreshEvery is how often its keys are read anew, and KeepFor how long those
	// that are known hold while it cannot be reached.
	RefreshEvery time.Duration `yaml:"refresh_every"`
	KeepFor      time.Duration `yaml:"keep_for"`
}

// MappingConfig has expressions in CEL over the token's claims, as `claims`. What
// a token does not have is empty; without a tenant and a subject it is refused.
type MappingConfig struct {
	// Tenant and Subject are texts.
	Tenant  string `yaml:"tenant"`
	Subject string `yaml:"subject"`
	// Roles and Groups are lists of texts, or one text with spaces between.
	Roles  string `yaml:"roles"`
	Groups string `yaml:"groups"`
}

// DefaultConfig returns the defaults: no issuer.
func DefaultConfig() Config { return Config{CacheSize: 16384, CacheFor: time.Minute} }

// DefaultIssuer returns the defaults of one.
func DefaultIssuer() IssuerConfig {
	return IssuerConfig{
		Algorithms: []string{string(jose.RS256), string(jose.PS256), string(jose.ES256), string(jose.ES384), string(jose.EdDSA), string(jose.Ed25519)},
		// RFC 9068's type of access tokens, and what issuers had before.
		Types:             []string{"at+jwt", "application/at+jwt", "JWT", ""},
		SenderConstrained: Optional, Skew: time.Minute, RefreshEvery: time.Hour, KeepFor: 24 * time.Hour,
		Mapping: MappingConfig{Tenant: "claims.tenant", Subject: "claims.sub", Roles: "claims.roles", Groups: "claims.groups"},
	}
}

// Complete fills what an issuer leaves out. A list of the configuration replaces
// the default's.
func (c *Config) Complete() {
	for i := range c.Issuers {
		c.Issuers[i].complete()
	}
	c.Introspection.complete()
}

func (c *IssuerConfig) complete() {
	d := DefaultIssuer()
	if c.Algorithms == nil {
		c.Algorithms = d.Algorithms
	}
	if c.Types == nil {
		c.Types = d.Types
	}
	for _, p := range []struct {
		set *time.Duration
		to  time.Duration
	}{{&c.Skew, d.Skew}, {&c.RefreshEvery, d.RefreshEvery}, {&c.KeepFor, d.KeepFor}} {
		if *p.set == 0 {
			*p.set = p.to
		}
	}
	for _, p := range []struct {
		set *string
		to  string
	}{
		{&c.SenderConstrained, d.SenderConstrained},
		{&c.Mapping.Tenant, d.Mapping.Tenant},
		{&c.Mapping.Subject, d.Mapping.Subject},
		{&c.Mapping.Roles, d.Mapping.Roles},
		{&c.Mapping.Groups, d.Mapping.Groups},
	} {
		if *p.set == "" {
			*p.set = p.to
		}
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(len(c.Issuers) <= maxIssuers, prefix+".issuers", "must be at most %d", maxIssuers)
	p.Check(c.CacheSize >= 1 && c.CacheSize <= 1<<20, prefix+".cache_size", "must be from 1 to 1048576, got %d", c.CacheSize)
	p.Check(c.CacheFor >= 0 && c.CacheFor <= time.Hour, prefix+".cache_for", "must be from 0s to 1h, got %v", c.CacheFor)
	c.Introspection.validate(p, prefix+".introspection")
	for i, issuer := range c.Issuers {
		issuer.validate(p, fmt.Sprintf("%s.issuers[%d]", prefix, i))
		for _, other := range c.Issuers[:i] {
			p.Check(other.Issuer != issuer.Issuer, fmt.Sprintf("%s.issuers[%d].issuer", prefix, i), "is there twice: %s", issuer.Issuer)
		}
	}
}

func (c IssuerConfig) validate(p *config.Problems, at string) {
	p.Check(fetchable(c.Issuer), at+".issuer", "must be an https URL without query or fragment (http on this machine), got %q", c.Issuer)
	p.Check(c.JWKSURL == "" || fetchable(c.JWKSURL), at+".jwks_url", "must be an https URL (http on this machine), got %q", c.JWKSURL)
	p.Check(len(c.Audiences) > 0 && !slices.Contains(c.Audiences, ""), at+".audiences", "must name an audience: tokens meant for others are not for us")
	p.Check(len(c.Algorithms) > 0, at+".algorithms", "must name an algorithm")
	for _, a := range c.Algorithms {
		known := jose.Algorithm(a)
		p.Check(known.Known() && !known.Symmetric(), at+".algorithms", "%q is none that tokens are verified by", a)
	}
	p.Check(len(c.Types) > 0, at+".types", "must name a type; \"\" is none")
	checkConstrained(p, at, c.SenderConstrained)
	p.Check(c.Skew >= 0 && c.Skew <= 5*time.Minute, at+".skew", "must be from 0s to 5m, got %v", c.Skew)
	p.Check(c.MaxAge >= 0, at+".max_age", "must not be negative, got %v", c.MaxAge)
	p.Check(c.RefreshEvery >= time.Minute && c.RefreshEvery <= 24*time.Hour, at+".refresh_every", "must be from 1m to 24h, got %v", c.RefreshEvery)
	p.Check(c.KeepFor >= c.RefreshEvery && c.KeepFor <= 30*24*time.Hour, at+".keep_for",
		"must be from refresh_every to 720h, got %v", c.KeepFor)
	if _, err := newMapping(c.Mapping); err != nil {
		p.Add(at+".mapping", "%v", err)
	}
}

func checkConstrained(p *config.Problems, at, text string) {
	p.Check(text == Optional || text == Required, at+".sender_constrained", "must be %s or %s, got %q", Optional, Required, text)
}

// fetchable reports whether keys may come from a URL: over TLS, or from this very
// machine.
func fetchable(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(text) > 2048 {
		return false
	}
	if u.Scheme == "https" {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}
