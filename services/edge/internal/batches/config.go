package batches

import (
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// Config is the section "batches".
type Config struct {
	// Concurrency is how many requests of batches an edge has in hand at once.
	Concurrency int `yaml:"concurrency"`
	// MaxRunning is how many batches an edge works on at once, and
	// MaxRunningPerTenant how many of one tenant all edges do.
	MaxRunning          int `yaml:"max_running"`
	MaxRunningPerTenant int `yaml:"max_running_per_tenant"`
	// MaxUnfinishedPerTenant is how many a tenant may have that are not finished.
	MaxUnfinishedPerTenant int `yaml:"max_unfinished_per_tenant"`
	// MaxLines bounds the requests of a batch, and MaxLineBytes each of them.
	MaxLines     int `yaml:"max_lines"`
	MaxLineBytes int `yaml:"max_line_bytes"`
	// Window is how long a batch may take: what a completion window of 24h comes to.
	Window time.Duration `yaml:"window"`
	// TTL is how long a batch is known after its end.
	TTL time.Duration `yaml:"ttl"`
	// Lease is how long an edge has a batch for itself without a sign of life.
	Lease time.Duration `yaml:"lease"`
	// Poll is how often an edge looks for batches that others made or left.
	Poll time.Duration `yaml:"poll"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Concurrency: 16, MaxRunning: 32, MaxRunningPerTenant: 4, MaxUnfinishedPerTenant: 100,
		MaxLines: 50_000, MaxLineBytes: 4 << 20, Window: 24 * time.Hour, TTL: 30 * 24 * time.Hour, Lease: 30 * time.Second, Poll: 2 * time.Second,
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	for _, n := range []struct {
		key         string
		value, most int
	}{
		{"concurrency", c.Concurrency, 4096},
		{"max_running", c.MaxRunning, 1024},
		{"max_running_per_tenant", c.MaxRunningPerTenant, 1024},
		{"max_unfinished_per_tenant", c.MaxUnfinishedPerTenant, 100_000},
		{"max_lines", c.MaxLines, 1_000_000},
		{"max_line_bytes", c.MaxLineBytes, 64 << 20},
	} {
		p.Check(n.value >= 1 && n.value <= n.most, prefix+"."+n.key, "must be from 1 to %d, got %d", n.most, n.value)
	}
	for _, d := range []struct {
		key               string
		value, least, max time.Duration
	}{
		{"window", c.Window, time.Second, 7 * 24 * time.Hour},
		{"ttl", c.TTL, time.Hour, 10 * 365 * 24 * time.Hour},
		{"lease", c.Lease, time.Second, time.Hour},
		{"poll", c.Poll, 50 * time.Millisecond, time.Minute},
	} {
		p.Check(d.value >= d.least && d.value <= d.max, prefix+"."+d.key, "must be from %v to %v, got %v", d.least, d.max, d.value)
	}
}
