package authz

import (
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// Config is the section "authz".
type Config struct {
	// PlatformTenant is the tenant whose administrators administer the platform:
	// every tenant's keys, the registry, the workers. Its own policy is the
	// platform's.
	PlatformTenant string `yaml:"platform_tenant"`
	// PolicyFile names a file with more rules, after the default ones; empty: none.
	// Policies in the store come on top of it.
	PolicyFile string `yaml:"policy_file"`
	// CacheSize is how many decisions are remembered.
	CacheSize int `yaml:"cache_size"`
	// MaxTenantConditions is how many different conditions a tenant's own policy may
	// have. What is in force already stays.
	MaxTenantConditions int `yaml:"max_tenant_conditions"`
	// PollInterval is how often the store is asked whether a policy was activated.
	PollInterval time.Duration `yaml:"poll_interval"`
}

// maxPollInterval keeps a new policy from being seen later than within a second.
const maxPollInterval = 500 * time.Millisecond

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{PlatformTenant: "default", CacheSize: 16384, MaxTenantConditions: 512, PollInterval: 250 * time.Millisecond}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.PlatformTenant != "", prefix+".platform_tenant", "must not be empty")
	p.Check(c.CacheSize >= 1 && c.CacheSize <= 1<<20, prefix+".cache_size", "must be from 1 to 1048576, got %d", c.CacheSize)
	p.Check(c.MaxTenantConditions >= 1 && c.MaxTenantConditions <= MaxConditions, prefix+".max_tenant_conditions", "must be from 1 to %d, got %d", MaxConditions, c.MaxTenantConditions)
	p.Check(c.PollInterval > 0 && c.PollInterval <= maxPollInterval, prefix+".poll_interval", "must be positive and at most %v, got %v", maxPollInterval, c.PollInterval)
	if c.PolicyFile != "" {
		if _, err := ReadPolicy(c.PolicyFile); err != nil {
			p.Add(prefix+".policy_file", "%v", err)
		}
	}
}

// Policy returns the policy that c names.
func (c Config) Policy() (Policy, error) {
	if c.PolicyFile != "" {
		return ReadPolicy(c.PolicyFile)
	}
	return DefaultPolicy()
}
