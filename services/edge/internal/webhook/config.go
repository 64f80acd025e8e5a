package webhook

import (
	"net/netip"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/edge/internal/envelope"
)

// Config is the section "webhooks".
type Config struct {
	// Key is the master key that wraps webhooks' secrets in the store: name:key, the key
	// 32 bytes in base64. Without it there are no webhooks.
	Key config.Secret `yaml:"key"`
	// PreviousKeys still open secrets that were wrapped before.
	PreviousKeys []config.Secret `yaml:"previous_keys"`
	// SecretOverlap is for how long a secret still signs after a rotation that does not
	// say it; 0: no longer.
	SecretOverlap time.Duration `yaml:"secret_overlap"`
	// AllowHTTP allows addresses without TLS.
	AllowHTTP bool `yaml:"allow_http"`
	// AllowNetworks are CIDR blocks that may be called although they are no public
	// addresses.
	AllowNetworks []string `yaml:"allow_networks"`
	// Timeout bounds one attempt.
	Timeout time.Duration `yaml:"timeout"`
	// Attempts is after how many that failed a delivery is dead.
	Attempts int `yaml:"attempts"`
	// Backoff is the wait after the first attempt; each further one is four times as
	// long, up to eight hours.
	Backoff time.Duration `yaml:"backoff"`
	// PollInterval is how often what is due is looked for.
	PollInterval time.Duration `yaml:"poll_interval"`
}

// DefaultConfig returns the defaults: no webhooks, and ten attempts in a day.
func DefaultConfig() Config {
	return Config{SecretOverlap: 24 * time.Hour, Timeout: 10 * time.Second, Attempts: 10, Backoff: 5 * time.Second, PollInterval: time.Second}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	if c.Key != "" {
		_, err := envelope.ParseMasters(c.Key, c.PreviousKeys...)
		p.Check(err == nil, prefix+".key", "and previous_keys: %v", err)
	}
	p.Check(c.Key != "" || len(c.PreviousKeys) == 0, prefix+".previous_keys", "must be empty without a key")
	p.Check(c.SecretOverlap >= 0 && c.SecretOverlap <= maxOverlap, prefix+".secret_overlap", "must be from 0 to %v, got %v", maxOverlap, c.SecretOverlap)
	for _, n := range c.AllowNetworks {
		_, err := netip.ParsePrefix(n)
		p.Check(err == nil, prefix+".allow_networks", "must hold CIDR blocks such as 10.1.0.0/16, got %q", n)
	}
	p.Check(len(c.AllowNetworks) <= maxNetworks, prefix+".allow_networks", "must have at most %d, got %d", maxNetworks, len(c.AllowNetworks))
	p.Check(c.Timeout >= 100*time.Millisecond && c.Timeout <= time.Minute, prefix+".timeout", "must be from 100ms to 1m, got %v", c.Timeout)
	p.Check(c.Attempts >= 1 && c.Attempts <= 50, prefix+".attempts", "must be from 1 to 50, got %d", c.Attempts)
	p.Check(c.Backoff >= 10*time.Millisecond && c.Backoff <= time.Hour, prefix+".backoff", "must be from 10ms to 1h, got %v", c.Backoff)
	p.Check(c.PollInterval >= 10*time.Millisecond && c.PollInterval <= time.Minute, prefix+".poll_interval", "must be from 10ms to 1m, got %v", c.PollInterval)
}

const (
	maxNetworks = 64
	// maxOverlap is the contract's, too.
	maxOverlap = 7 * 24 * time.Hour
)
