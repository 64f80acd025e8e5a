package assertion

import (
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// Config is the part of the section identity that says how callers are proven
// between services.
type Config struct {
	// SigningKeyFile holds the Ed25519 key, as PEM (PKCS #8), that this service signs
	// with; empty where it signs nothing.
	SigningKeyFile string `yaml:"signing_key_file"`
	// TrustedKeys is a directory of public keys, or a single file of them. The name
	// of a file, up to its first dot, is the service whose keys are in it: PEM blocks
	// PUBLIC KEY in ISSUER.pem and ISSUER.anything.pem, a JWK set in ISSUER.jwks.
	// Empty: callers are taken at their word.
	TrustedKeys string `yaml:"trusted_keys"`
	// Issuers is what each issuer may assert of others; for itself each may speak.
	// Unless it is set, poterne-edge may speak for every caller, and nobody else for
	// any.
	Issuers map[string]Rights `yaml:"issuers"`
	// ReloadInterval is how often the files are looked at again.
	ReloadInterval time.Duration `yaml:"reload_interval"`
	// RequireSigned refuses to start without the keys.
	RequireSigned bool `yaml:"require_signed"`
}

// Rights is what an issuer may assert.
type Rights struct {
	// Callers: it may say on whose behalf it calls.
	Callers bool `yaml:"callers"`
	// Tenants are those whose callers it may speak for; empty for all.
	Tenants []string `yaml:"tenants"`
}

// edge is who speaks for callers unless Issuers is set.
const edge = "poterne-edge"

// DefaultConfig proves nothing.
func DefaultConfig() Config { return Config{ReloadInterval: 5 * time.Second} }

// Ends says which ends of calls a service is at.
type Ends struct{ Sends, Receives bool }

// Validate notes what is wrong; section is the section's path.
func (c Config) Validate(p *config.Problems, section string, ends Ends) {
	p.Check(c.ReloadInterval >= 100*time.Millisecond && c.ReloadInterval <= time.Hour, section+".reload_interval",
		"must be from 100ms to 1h, got %v", c.ReloadInterval)
	p.Check(!c.RequireSigned || !ends.Sends || c.SigningKeyFile != "", section+".signing_key_file",
		"must name a key, since signed identities are required")
	p.Check(!c.RequireSigned || !ends.Receives || c.TrustedKeys != "", section+".trusted_keys",
		"must name the keys of others, since signed identities are required")
	p.Check(len(c.Issuers) <= maxTrusted, section+".issuers", "must be at most %d, got %d", maxTrusted, len(c.Issuers))
}

func (c Config) rights(issuer string) Rights {
	if c.Issuers == nil {
		return Rights{Callers: issuer == edge}
	}
	return c.Issuers[issuer]
}
