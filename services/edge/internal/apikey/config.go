package apikey

import (
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// Config is the section "api_keys".
type Config struct {
	// Pepper goes into every key's hash; see Peppers. At least 32 characters, or
	// empty for what the file api-key.pepper of the data directory holds, which the
	// first start makes.
	Pepper config.Secret `yaml:"pepper"`
	// PreviousPeppers are in hashes that still hold; they are made anew as keys are
	// used. At most 7.
	PreviousPeppers []config.Secret `yaml:"previous_peppers"`
	// AcceptUnpeppered lets keys hold that were hashed before every hash had a
	// pepper's name.
	AcceptUnpeppered bool `yaml:"accept_unpeppered"`
	// Rehash makes hashes anew with the current pepper as keys are used. Off while
	// edges run that do not know it yet.
	Rehash bool `yaml:"rehash"`
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
	return Config{AcceptUnpeppered: true, Rehash: true, CacheSize: 8192, PollInterval: 250 * time.Millisecond, StaleFor: 10 * time.Minute}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.Pepper == "" || len(c.Pepper) >= minPepper, prefix+".pepper", "must be empty or have at least %d characters", minPepper)
	p.Check(len(c.PreviousPeppers) < maxPeppers, prefix+".previous_peppers", "must be at most %d, got %d", maxPeppers-1, len(c.PreviousPeppers))
	p.Check(c.Pepper != "" || len(c.PreviousPeppers) == 0, prefix+".previous_peppers", "needs a pepper")
	for i, s := range c.PreviousPeppers {
		p.Check(len(s) >= minPepper, fmt.Sprintf("%s.previous_peppers[%d]", prefix, i), "must have at least %d characters", minPepper)
	}
	p.Check(c.CacheSize >= 1 && c.CacheSize <= 1<<20, prefix+".cache_size", "must be from 1 to 1048576, got %d", c.CacheSize)
	p.Check(c.PollInterval >= 10*time.Millisecond && c.PollInterval <= 500*time.Millisecond, prefix+".poll_interval",
		"must be from 10ms to 500ms, got %v", c.PollInterval)
	p.Check(c.StaleFor >= time.Second && c.StaleFor <= 24*time.Hour, prefix+".stale_for", "must be from 1s to 24h, got %v", c.StaleFor)
}
