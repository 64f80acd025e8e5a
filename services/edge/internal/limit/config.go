package limit

import (
	"net"
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// RedisConfig says where replicas share their limits.
type RedisConfig struct {
	// Addr is host:port of the one server; empty, as Addrs: nothing is shared.
	Addr string `yaml:"addr"`
	// Addrs are, instead, host:port of some nodes of a cluster, or of the sentinels
	// that know the server as Master.
	Addrs    []string      `yaml:"addrs"`
	Cluster  bool          `yaml:"cluster"`
	Master   string        `yaml:"master"`
	Username string        `yaml:"username"`
	Password config.Secret `yaml:"password"`
	DB       int           `yaml:"db"`
	// Timeout is the longest that a request waits for Redis; then the replica
	// decides alone.
	Timeout time.Duration `yaml:"timeout"`
}

// DefaultRedisConfig returns the defaults.
func DefaultRedisConfig() RedisConfig { return RedisConfig{Timeout: 5 * time.Millisecond} }

// maxRedisAddrs bounds Addrs.
const maxRedisAddrs = 64

// Shared reports whether replicas share their limits.
func (c RedisConfig) Shared() bool { return c.Addr != "" || len(c.Addrs) > 0 }

// Servers are the addresses, whichever kind they are.
func (c RedisConfig) Servers() []string {
	if c.Addr != "" {
		return []string{c.Addr}
	}
	return c.Addrs
}

// Validate notes what is wrong; prefix is the section's path.
func (c RedisConfig) Validate(p *config.Problems, prefix string) {
	for _, addr := range c.Servers() {
		_, _, err := net.SplitHostPort(addr)
		p.Check(err == nil, prefix+".addr", "must be host:port, got %q", addr)
	}
	p.Check(c.Addr == "" || len(c.Addrs) == 0, prefix+".addrs", "must not be given besides addr")
	p.Check(len(c.Addrs) <= maxRedisAddrs, prefix+".addrs", "must be at most %d, got %d", maxRedisAddrs, len(c.Addrs))
	p.Check(len(c.Addrs) == 0 || c.Cluster != (c.Master != ""), prefix+".addrs", "are a cluster's nodes (cluster: true) or the sentinels of a master, and must be one of the two")
	p.Check(len(c.Addrs) > 0 || !c.Cluster && c.Master == "", prefix+".addrs", "must be given for a cluster, and for sentinels")
	p.Check(!c.Cluster || c.DB == 0, prefix+".db", "must be 0 in a cluster, got %d", c.DB)
	p.Check(c.DB >= 0, prefix+".db", "must not be negative, got %d", c.DB)
	p.Check(c.Timeout > 0 && c.Timeout <= time.Second, prefix+".timeout", "must be positive and at most 1s, got %v", c.Timeout)
}
