// Package consul is discovery by Consul: a source that watches with blocking
// queries, and a registrar that keeps itself registered. It holds no state that
// Consul does not, except the last set that it saw. Start reading at New.
package consul

import (
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// Config is how Consul is reached and believed.
type Config struct {
	// Addr is the host:port or URL of the agent.
	Addr string `yaml:"addr"`
	// Token is the ACL token, if there are ACLs.
	Token config.Secret `yaml:"token"`
	// Datacenter is the one to ask; "" is the agent's own.
	Datacenter string `yaml:"datacenter"`
	// Prefix begins the name of every service in Consul, where several
	// deployments share one.
	Prefix string `yaml:"prefix"`
	// WaitTime is how long a query waits for a change.
	WaitTime time.Duration `yaml:"wait_time"`
	// Grace is how long instances that vanish are kept when Consul has just
	// been away, or when all vanish at once: a Consul that restarts forgets
	// everybody, and everybody is back within a few seconds.
	Grace time.Duration `yaml:"grace"`
	// TTL is how long a registered process is believed after it last reported;
	// it reports three times as often.
	TTL time.Duration `yaml:"ttl"`
	// ExpireAfter is how long after that its registration is removed; Consul
	// takes no less than a minute.
	ExpireAfter time.Duration `yaml:"expire_after"`
	// BackoffBase and BackoffMax bound the pause after a failed query.
	BackoffBase time.Duration `yaml:"backoff_base"`
	BackoffMax  time.Duration `yaml:"backoff_max"`
}

// DefaultConfig returns the defaults for an agent on this machine.
func DefaultConfig() Config {
	return Config{
		Addr: "127.0.0.1:8500", WaitTime: time.Minute, Grace: 15 * time.Second,
		TTL: 6 * time.Second, ExpireAfter: time.Minute,
		BackoffBase: 200 * time.Millisecond, BackoffMax: 5 * time.Second,
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.Addr != "", prefix+".addr", "must be host:port or a URL")
	p.Check(c.WaitTime >= time.Second && c.WaitTime <= 10*time.Minute, prefix+".wait_time", "must be from 1s to 10m, got %v", c.WaitTime)
	p.Check(c.Grace >= 0, prefix+".grace", "must not be negative, got %v", c.Grace)
	p.Check(c.TTL >= time.Second, prefix+".ttl", "must be at least 1s, got %v", c.TTL)
	p.Check(c.ExpireAfter >= time.Minute, prefix+".expire_after", "must be at least 1m, got %v", c.ExpireAfter)
	p.Check(c.BackoffBase > 0, prefix+".backoff_base", "must be positive, got %v", c.BackoffBase)
	p.Check(c.BackoffMax >= c.BackoffBase, prefix+".backoff_max", "must not be less than backoff_base, got %v", c.BackoffMax)
}
