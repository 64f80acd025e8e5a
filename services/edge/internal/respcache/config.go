package respcache

import (
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// Use says which requests may be answered from the cache.
type Use string

// The uses.
const (
	// Off: none, even when they ask for it.
	Off Use = "off"
	// Asked: those that ask for it.
	Asked Use = "asked"
	// Deterministic: those that set the temperature to 0, and those that ask.
	Deterministic Use = "deterministic"
	// All: every one that does not decline.
	All Use = "all"
)

// Config is the section "cache".
type Config struct {
	// Enabled says whether anything is kept at all.
	Enabled bool `yaml:"enabled"`
	// MemoryBytes bounds what this process keeps, by what the answers take; 0: nothing,
	// where there is a shared store.
	MemoryBytes config.Bytes `yaml:"memory_bytes"`
	// MaxEntryBytes bounds one answer; a longer one is not kept.
	MaxEntryBytes config.Bytes `yaml:"max_entry_bytes"`
	// Use, TTL and StaleWhileRevalidate hold where no rule says otherwise.
	Use Use `yaml:"use"`
	// TTL is for how long an answer is fresh, and MaxTTL the most that a request may
	// ask for.
	TTL    time.Duration `yaml:"ttl"`
	MaxTTL time.Duration `yaml:"max_ttl"`
	// StaleWhileRevalidate is how long after that an answer is still given while it is
	// made anew.
	StaleWhileRevalidate time.Duration `yaml:"stale_while_revalidate"`
	// RememberServing is for how long the edge remembers what the inference service said
	// would answer, while the registry says that nothing changed; 0: every request asks.
	RememberServing time.Duration `yaml:"remember_serving"`
	// Rules are for some tenants and models; the first that is about a request holds.
	Rules []Rule `yaml:"rules"`
	// Shared is where edges share answers.
	Shared SharedConfig `yaml:"shared"`
}

// Rule is how the requests of some tenants to some models are kept.
type Rule struct {
	// Tenants and Models are whose requests, and to what, the rule is about; names of
	// models, as requests have them, may be patterns: small*. None: all.
	Tenants []string `yaml:"tenants"`
	Models  []string `yaml:"models"`
	Use     Use      `yaml:"use"`
	// TTL and StaleWhileRevalidate: 0 is the section's own.
	TTL                  time.Duration `yaml:"ttl"`
	StaleWhileRevalidate time.Duration `yaml:"stale_while_revalidate"`
	// Tools has answers kept that call tools, and Truncated those that end at
	// max_tokens.
	Tools     bool `yaml:"tools"`
	Truncated bool `yaml:"truncated"`
	// PerSubject has no caller be answered with what another of the tenant asked.
	PerSubject bool     `yaml:"per_subject"`
	Semantic   Semantic `yaml:"semantic"`
}

// Semantic says when a question is answered with what was kept for another one.
type Semantic struct {
	// Model is the embedding model that compares questions, as `model` of a request
	// names one; empty: none is compared.
	Model string `yaml:"model"`
	// Threshold is the least cosine similarity, above 0 and at most 1.
	Threshold float64 `yaml:"threshold"`
}

// SharedConfig says where edges share answers.
type SharedConfig struct {
	// Backend is redis, redis-cluster, redis-sentinel or memcached; empty: nothing is
	// shared.
	Backend string `yaml:"backend"`
	// Addrs are host:port: of Redis, of some nodes of the cluster, of the sentinels,
	// or of every memcached.
	Addrs []string `yaml:"addrs"`
	// Master is the name that the sentinels know the master by.
	Master   string        `yaml:"master"`
	Username string        `yaml:"username"`
	Password config.Secret `yaml:"password"`
	DB       int           `yaml:"db"`
	// Timeout is the longest that a request waits for it.
	Timeout time.Duration `yaml:"timeout"`
}

// The backends.
const (
	BackendRedis    = "redis"
	BackendCluster  = "redis-cluster"
	BackendSentinel = "redis-sentinel"
	BackendMemcache = "memcached"
)

// DefaultConfig keeps nothing.
func DefaultConfig() Config {
	return Config{
		MemoryBytes: 64 * config.MiB, MaxEntryBytes: config.MiB, Use: Deterministic, TTL: time.Hour, MaxTTL: 24 * time.Hour,
		RememberServing: time.Second,
		Shared:          SharedConfig{Timeout: 5 * time.Millisecond},
	}
}

// The bounds on rules, addresses, and on how long what would answer is remembered.
const (
	maxRules = 64
	maxNames = 256
	maxAddrs = 64

	maxRememberServing = 10 * time.Second
)

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.MemoryBytes >= config.MiB && c.MemoryBytes <= 64*config.GiB || c.MemoryBytes == 0 && c.Shared.Backend != "", prefix+".memory_bytes",
		"must be from 1 MiB to 64 GiB, or 0 with a shared store, got %d", c.MemoryBytes)
	p.Check(c.MaxEntryBytes >= config.KiB && c.MaxEntryBytes <= 16*config.MiB, prefix+".max_entry_bytes",
		"must be from 1 KiB to 16 MiB, got %d", c.MaxEntryBytes)
	c.checkUse(p, prefix+".use", c.Use)
	p.Check(c.MaxTTL >= time.Second && c.MaxTTL <= 30*24*time.Hour, prefix+".max_ttl", "must be from 1s to 720h, got %v", c.MaxTTL)
	p.Check(c.TTL >= time.Second && c.TTL <= c.MaxTTL, prefix+".ttl", "must be from 1s to max_ttl, got %v", c.TTL)
	p.Check(c.StaleWhileRevalidate >= 0 && c.StaleWhileRevalidate <= c.MaxTTL, prefix+".stale_while_revalidate",
		"must be from 0s to max_ttl, got %v", c.StaleWhileRevalidate)
	p.Check(c.RememberServing >= 0 && c.RememberServing <= maxRememberServing, prefix+".remember_serving", "must be from 0s to %v, got %v",
		maxRememberServing, c.RememberServing)
	p.Check(len(c.Rules) <= maxRules, prefix+".rules", "must be at most %d, not %d", maxRules, len(c.Rules))
	for i, r := range c.Rules {
		at := fmt.Sprintf("%s.rules[%d]", prefix, i)
		c.checkUse(p, at+".use", r.Use)
		p.Check(len(r.Tenants) <= maxNames && len(r.Models) <= maxNames, at, "must name at most %d tenants and models", maxNames)
		for _, m := range r.Models {
			_, err := path.Match(m, "")
			p.Check(err == nil, at+".models", "%q is no pattern", m)
		}
		p.Check(r.TTL >= 0 && r.TTL <= c.MaxTTL, at+".ttl", "must be from 0s to max_ttl, got %v", r.TTL)
		p.Check(r.StaleWhileRevalidate >= 0 && r.StaleWhileRevalidate <= c.MaxTTL, at+".stale_while_revalidate",
			"must be from 0s to max_ttl, got %v", r.StaleWhileRevalidate)
		s := r.Semantic
		p.Check(s.Model == "" || s.Threshold > 0 && s.Threshold <= 1, at+".semantic.threshold", "must be above 0 and at most 1, got %v", s.Threshold)
		p.Check(s.Model == "" || len(r.Tenants) > 0, at+".semantic", "is for tenants that the rule names: none is compared without its tenant's wish")
		p.Check(len(s.Model) <= maxNames, at+".semantic.model", "must have at most %d bytes", maxNames)
	}
	c.Shared.validate(p, prefix+".shared")
}

func (Config) checkUse(p *config.Problems, at string, u Use) {
	p.Check(slices.Contains([]Use{Off, Asked, Deterministic, All}, u), at, "must be off, asked, deterministic or all, got %q", u)
}

func (c SharedConfig) validate(p *config.Problems, prefix string) {
	p.Check(slices.Contains([]string{"", BackendRedis, BackendCluster, BackendSentinel, BackendMemcache}, c.Backend), prefix+".backend",
		"must be redis, redis-cluster, redis-sentinel or memcached, got %q", c.Backend)
	p.Check(c.Backend == "" || len(c.Addrs) > 0, prefix+".addrs", "must not be empty")
	p.Check(c.Backend != BackendRedis || len(c.Addrs) == 1, prefix+".addrs", "must be one address, or backend redis-cluster or redis-sentinel")
	p.Check(len(c.Addrs) <= maxAddrs, prefix+".addrs", "must be at most %d", maxAddrs)
	for _, a := range c.Addrs {
		p.Check(hostPort(a), prefix+".addrs", "must be host:port, got %q", a)
	}
	p.Check((c.Backend == BackendSentinel) == (c.Master != ""), prefix+".master", "goes with backend redis-sentinel")
	p.Check(c.DB >= 0 && (c.DB == 0 || c.Backend == BackendRedis || c.Backend == BackendSentinel), prefix+".db",
		"must not be negative, and is for redis and redis-sentinel, got %d", c.DB)
	p.Check(c.Timeout > 0 && c.Timeout <= time.Second, prefix+".timeout", "must be positive and at most 1s, got %v", c.Timeout)
}

// rule returns what holds for a request.
func (c *Config) rule(tenant, model string) Rule {
	for _, r := range c.Rules {
		if !r.about(tenant, model) {
			continue
		}
		if r.TTL == 0 {
			r.TTL = c.TTL
		}
		if r.StaleWhileRevalidate == 0 {
			r.StaleWhileRevalidate = c.StaleWhileRevalidate
		}
		return r
	}
	return Rule{Use: c.Use, TTL: c.TTL, StaleWhileRevalidate: c.StaleWhileRevalidate}
}

func (r *Rule) about(tenant, model string) bool {
	if len(r.Tenants) > 0 && !slices.Contains(r.Tenants, tenant) {
		return false
	}
	return len(r.Models) == 0 || slices.ContainsFunc(r.Models, func(m string) bool {
		ok, err := path.Match(m, model)
		return ok && err == nil
	})
}
