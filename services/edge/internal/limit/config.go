package limit

import (
	"net"
	"time"

	"github.com/redis/go-redis/v9"

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

// Open returns a client for c. It connects when it is first used, since limits
// must work without Redis too. Close it when done.
func (c RedisConfig) Open() *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: c.Addr, Username: c.Username, Password: c.Password.Reveal(), DB: c.DB,
		// The caller's context is the only bound that counts; a retry would break it.
		ContextTimeoutEnabled: true,
		MaxRetries:            -1,
		// A new connection may take longer than one request waits.
		DialTimeout:  time.Second,
		ReadTimeout:  c.Timeout,
		WriteTimeout: c.Timeout,
		PoolTimeout:  c.Timeout,
	})
}
