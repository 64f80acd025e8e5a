package responses

import (
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// Config is the section "responses".
type Config struct {
	// Store says whether responses may be kept; where it is false, none is, whatever
	// requests ask for.
	Store bool `yaml:"store"`
	// TTL is how long one is kept.
	TTL time.Duration `yaml:"ttl"`
	// PerSubject is how many are kept for one subject; the oldest are forgotten.
	PerSubject int `yaml:"per_subject"`
	// MaxTurns bounds the responses that one goes on from.
	MaxTurns int `yaml:"max_turns"`
}

// DefaultConfig returns the defaults: 30 days, as at OpenAI.
func DefaultConfig() Config {
	return Config{Store: true, TTL: 30 * 24 * time.Hour, PerSubject: 10_000, MaxTurns: 256}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.TTL >= time.Minute && c.TTL <= 10*365*24*time.Hour, prefix+".ttl", "must be from 1m to 87600h, got %v", c.TTL)
	p.Check(c.PerSubject >= 1 && c.PerSubject <= 1_000_000, prefix+".per_subject", "must be from 1 to 1000000, got %d", c.PerSubject)
	p.Check(c.MaxTurns >= 1 && c.MaxTurns <= 4096, prefix+".max_turns", "must be from 1 to 4096, got %d", c.MaxTurns)
}
