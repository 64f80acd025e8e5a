package limit

import (
	"testing"

	"github.com/poterne/poterne/pkg/config"
)

func TestRedisConfig(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*RedisConfig)
		right  bool
	}{
		"nothing":           {func(*RedisConfig) {}, true},
		"a server":          {func(c *RedisConfig) { c.Addr = "h:1" }, true},
		"a cluster":         {func(c *RedisConfig) { c.Addrs, c.Cluster = []string{"h:1", "h:2"}, true }, true},
		"sentinels":         {func(c *RedisConfig) { c.Addrs, c.Master = []string{"h:1"}, "m" }, true},
		"no kind":           {func(c *RedisConfig) { c.Addrs = []string{"h:1"} }, false},
		"both kinds":        {func(c *RedisConfig) { c.Addrs, c.Master, c.Cluster = []string{"h:1"}, "m", true }, false},
		"both addresses":    {func(c *RedisConfig) { c.Addr, c.Addrs, c.Cluster = "h:1", []string{"h:1"}, true }, false},
		"no nodes":          {func(c *RedisConfig) { c.Cluster = true }, false},
		"a cluster's db":    {func(c *RedisConfig) { c.Addrs, c.Cluster, c.DB = []string{"h:1"}, true, 3 }, false},
		"a node's address":  {func(c *RedisConfig) { c.Addrs, c.Cluster = []string{"h"}, true }, false},
		"one server's name": {func(c *RedisConfig) { c.Addr, c.Master = "h:1", "m" }, false},
	} {
		cfg := DefaultRedisConfig()
		c.change(&cfg)
		var p config.Problems
		cfg.Validate(&p, "redis")
		if right := p.Err() == nil; right != c.right {
			t.Errorf("%s: %v", what, p.Err())
		}
	}
}
