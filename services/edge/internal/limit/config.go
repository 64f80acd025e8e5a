package limit

import (
	"net"
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// RedisConfig says where replicas share their limits.
type RedisConfig struct {
	// Addr is host:port; empty: nothing is shared.
	Addr     string        `yaml:"addr"`
	Username string        `yaml:"username"`
	Password config.Secret `yaml:"password"`
	DB       int           `yaml:"db"`
	// Timeout is the longest that a request waits for Redis; then the replica
	// decides alone.
	Timeout time.Duration `yaml:"timeout"`
}

// DefaultRedisConfig returns the defaults.
func DefaultRedisConfig() RedisConfig { return RedisConfig{Timeout: 5 * time.Millisecond} }

// Validate notes what is wrong; prefix is the section's path.
func (c RedisConfig) Validate(p *config.Problems, prefix string) {
	if c.Addr != "" {
		_, _, err := net.SplitHostPort(c.Addr)
		p.Check(err == nil, prefix+".addr", "must be host:port, got %q", c.Addr)
	}
	p.Check(c.DB >= 0, prefix+".db", "must not be negative, got %d", c.DB)
	p.Check(c.Timeout > 0 && c.Timeout <= time.Second, prefix+".timeout", "must be positive and at most 1s, got %v", c.Timeout)
}
