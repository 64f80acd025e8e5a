package session

import (
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// Config is the section "login.session".
type Config struct {
	// Lifetime is how long a session holds at most, and Idle how long without being
	// used.
	Lifetime time.Duration `yaml:"lifetime"`
	Idle     time.Duration `yaml:"idle"`
	// MaxPerSubject is how many sessions one person has at once; a further one ends
	// the one that was not used for the longest time.
	MaxPerSubject int `yaml:"max_per_subject"`
	// CacheSize is how many sessions are remembered, and as many that do not exist.
	CacheSize int `yaml:"cache_size"`
	// PollInterval is how often the store is asked for changes, in one small read:
	// the end of a session is seen this soon.
	PollInterval time.Duration `yaml:"poll_interval"`
	// StaleFor is how long remembered sessions hold when the store is away.
	StaleFor time.Duration `yaml:"stale_for"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Lifetime: 12 * time.Hour, Idle: time.Hour, MaxPerSubject: 10, CacheSize: 8192,
		PollInterval: 250 * time.Millisecond, StaleFor: time.Minute,
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.Lifetime >= time.Minute && c.Lifetime <= 30*24*time.Hour, prefix+".lifetime", "must be from 1m to 720h, got %v", c.Lifetime)
	p.Check(c.Idle >= time.Minute && c.Idle <= c.Lifetime, prefix+".idle", "must be from 1m to lifetime, got %v", c.Idle)
	p.Check(c.MaxPerSubject >= 1 && c.MaxPerSubject <= 1000, prefix+".max_per_subject", "must be from 1 to 1000, got %d", c.MaxPerSubject)
	p.Check(c.CacheSize >= 1 && c.CacheSize <= 1<<20, prefix+".cache_size", "must be from 1 to 1048576, got %d", c.CacheSize)
	p.Check(c.PollInterval >= 10*time.Millisecond && c.PollInterval <= 500*time.Millisecond, prefix+".poll_interval",
		"must be from 10ms to 500ms, got %v", c.PollInterval)
	p.Check(c.StaleFor >= time.Second && c.StaleFor <= time.Hour, prefix+".stale_for", "must be from 1s to 1h, got %v", c.StaleFor)
}

// touchEvery is how exactly it is known when a session was used last.
func (c Config) touchEvery() time.Duration { return min(time.Minute, c.Idle/8) }
