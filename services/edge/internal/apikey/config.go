package apikey

import (
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// Config is the section "api_keys".
type Config struct {
	// Pepper goes into every key's hash; see Hasher. Empty, or at least 32
	// characters.
	Pepper config.Secret `yaml:"pepper"`
	// CacheSize is how many keys are remembered, and as many that do not exist.
	CacheSize int `yaml:"cache_size"`
	// PollInterval is how often the store is asked for changes, in one small
	// read: revocation is seen this soon.
	PollInterval time.Duration `yaml:"poll_interval"`
	// StaleFor is how long remembered keys hold when the store is away.
	StaleFor time.Duration `yaml:"stale_for"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{CacheSize: 8192, PollInterval: 250 * time.Millisecond, StaleFor: 10 * time.Minute}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.Pepper == "" || len(c.Pepper) >= 32, prefix+".pepper", "must be empty or have at least 32 characters")
	p.Check(c.CacheSize >= 1 && c.CacheSize <= 1<<20, prefix+".cache_size", "must be from 1 to 1048576, got %d", c.CacheSize)
	p.Check(c.PollInterval >= 10*time.Millisecond && c.PollInterval <= 500*time.Millisecond, prefix+".poll_interval",
		"must be from 10ms to 500ms, got %v", c.PollInterval)
	p.Check(c.StaleFor >= time.Second && c.StaleFor <= 24*time.Hour, prefix+".stale_for", "must be from 1s to 24h, got %v", c.StaleFor)
}
