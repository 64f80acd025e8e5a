// Package issue gives out access tokens of the edge's own (RFC 6749, section 4.4;
// RFC 9068) to holders of API keys, and accepts them. Start reading at Endpoint and
// Authenticator; the keys that sign are in keyring.go.
package issue

import (
	"net"
	"slices"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/services/edge/internal/possession"
)

// Whether tokens must be bound to a key.
const (
	Optional = "optional"
	Required = "required"
)

// maxLifetime bounds a token's, so that a key's publication can be planned before
// anybody knows what it will sign.
const maxLifetime = time.Hour

// Config is the section "tokens.issue".
type Config struct {
	// Enabled offers tokens at all. Until the first one is asked for, that costs
	// nothing.
	Enabled bool `yaml:"enabled"`
	// Issuer is the name in the tokens' iss, an URL; empty: tokens.public_url, or
	// where that is empty the HTTP port's address.
	Issuer string `yaml:"issuer"`
	// derived says that Issuer was made up of an address: tokens need not have it.
	derived bool
	// Audience is the name that tokens mean this gateway by, and OtherAudiences those
	// of services to which tokens may be meant instead.
	Audience       string   `yaml:"audience"`
	OtherAudiences []string `yaml:"other_audiences"`
	// Lifetime is how long a token holds.
	Lifetime time.Duration `yaml:"lifetime"`
	// Algorithm is ES256 or EdDSA, for keys that are made from now on.
	Algorithm string `yaml:"algorithm"`
	// RotateEvery is how long a key signs, and PublishBefore for how long it is
	// published before: longer than others may remember a key set.
	RotateEvery   time.Duration `yaml:"rotate_every"`
	PublishBefore time.Duration `yaml:"publish_before"`
	// SenderConstrained says whether tokens must be bound to a key: Optional, or
	// Required.
	SenderConstrained string `yaml:"sender_constrained"`
	// BindCertificates binds a token to the client certificate that it was asked for
	// with, where there is one.
	BindCertificates bool `yaml:"bind_certificates"`
	// KeyEncryptionSecret encrypts private keys in the store. Empty, or at least 32
	// characters; the same for all replicas.
	KeyEncryptionSecret config.Secret `yaml:"key_encryption_secret"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Enabled: true, Audience: "poterne", Lifetime: 10 * time.Minute, Algorithm: string(jose.ES256),
		RotateEvery: 24 * time.Hour, PublishBefore: time.Hour, SenderConstrained: Optional,
	}
}

// Complete fills what follows from other settings: how clients call the HTTP port,
// and where that listens. A second time changes nothing.
func (c *Config) Complete(publicURL, addr string) {
	if c.Issuer == "" {
		c.Issuer = strings.TrimSuffix(publicURL, "/")
	}
	if c.Issuer == "" {
		c.Issuer, c.derived = "http://"+reachable(addr), true
	}
}

// reachable is an address to listen on as one to call.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	if !c.Enabled {
		return
	}
	p.Check(c.Issuer == "" || possession.PublicURL(c.Issuer) && !strings.HasSuffix(c.Issuer, "/"), prefix+".issuer",
		"must be an http or https URL without query, fragment or slash at its end, got %q", c.Issuer)
	p.Check(audience(c.Audience), prefix+".audience", "must have 1 to 256 characters that are no spaces, got %q", c.Audience)
	p.Check(len(c.OtherAudiences) <= 64, prefix+".other_audiences", "must be at most 64")
	for _, a := range c.OtherAudiences {
		p.Check(audience(a) && a != c.Audience, prefix+".other_audiences", "must have 1 to 256 characters that are no spaces, and not be audience, got %q", a)
	}
	p.Check(c.Lifetime >= time.Minute && c.Lifetime <= maxLifetime, prefix+".lifetime", "must be from 1m to 1h, got %v", c.Lifetime)
	p.Check(slices.Contains([]string{string(jose.ES256), string(jose.EdDSA)}, c.Algorithm), prefix+".algorithm", "must be ES256 or EdDSA, got %q", c.Algorithm)
	p.Check(c.PublishBefore >= 10*time.Minute && c.PublishBefore <= 7*24*time.Hour, prefix+".publish_before", "must be from 10m to 168h, got %v", c.PublishBefore)
	p.Check(c.RotateEvery >= 2*c.PublishBefore && c.RotateEvery <= 90*24*time.Hour, prefix+".rotate_every", "must be from twice publish_before to 2160h, got %v", c.RotateEvery)
	p.Check(c.SenderConstrained == Optional || c.SenderConstrained == Required, prefix+".sender_constrained",
		"must be %s or %s, got %q", Optional, Required, c.SenderConstrained)
	p.Check(c.KeyEncryptionSecret == "" || len(c.KeyEncryptionSecret) >= 32, prefix+".key_encryption_secret", "must be empty or have at least 32 characters")
}

func audience(s string) bool { return s != "" && len(s) <= 256 && !strings.ContainsAny(s, " \t\r\n") }
