package conversation

import (
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/edge/internal/envelope"
)

// Where conversations are kept.
const (
	// StoreDatabase is the edge's own database.
	StoreDatabase = "database"
	// StoreRedis is the server of Config.Redis.
	StoreRedis = "redis"
)

// Config is the section "conversations".
type Config struct {
	// Enabled says whether chats may ask for memory.
	Enabled bool `yaml:"enabled"`
	// Store is StoreDatabase or StoreRedis.
	Store string      `yaml:"store"`
	Redis RedisConfig `yaml:"redis"`
	// Key is a master key that what was said is sealed by, as name:key, 32 bytes in
	// base64; empty: it is kept in the clear. PreviousKeys are those from before, by which
	// conversations may still be sealed.
	Key          config.Secret   `yaml:"key"`
	PreviousKeys []config.Secret `yaml:"previous_keys"`
	// TTL is how long a conversation is kept after its last turn.
	TTL time.Duration `yaml:"ttl"`
	// PerSubject is how many are kept for one subject; those that rest longest are
	// forgotten.
	PerSubject int `yaml:"per_subject"`
	// MaxTurns and MaxBytes bound one conversation; its oldest turns are forgotten.
	MaxTurns int          `yaml:"max_turns"`
	MaxBytes config.Bytes `yaml:"max_bytes"`
	// MaxPromptTokens bounds, by estimate, the turns that a model reads; half of its
	// context does too.
	MaxPromptTokens int           `yaml:"max_prompt_tokens"`
	Summary         SummaryConfig `yaml:"summary"`
}

// RedisConfig says where Redis is.
type RedisConfig struct {
	// Addr is host:port.
	Addr     string        `yaml:"addr"`
	Username string        `yaml:"username"`
	Password config.Secret `yaml:"password"`
	DB       int           `yaml:"db"`
	// Timeout bounds one command.
	Timeout time.Duration `yaml:"timeout"`
}

// SummaryConfig says when a model sums up the older turns of a conversation.
type SummaryConfig struct {
	Enabled bool `yaml:"enabled"`
	// Model does it; empty: the one that answered.
	Model string `yaml:"model"`
	// AfterTurns is from how many turns on, and KeepTurns how many are left as they are.
	AfterTurns int `yaml:"after_turns"`
	KeepTurns  int `yaml:"keep_turns"`
	// MaxTokens bounds the summary, Timeout the work on it.
	MaxTokens int           `yaml:"max_tokens"`
	Timeout   time.Duration `yaml:"timeout"`
}

// DefaultConfig returns the defaults: a week, in the database, summed up by the model
// that answers.
func DefaultConfig() Config {
	return Config{
		Enabled: true, Store: StoreDatabase, Redis: RedisConfig{Timeout: time.Second}, TTL: 7 * 24 * time.Hour, PerSubject: 1000,
		MaxTurns: 200, MaxBytes: 256 * config.KiB, MaxPromptTokens: 4096,
		Summary: SummaryConfig{Enabled: true, AfterTurns: 16, KeepTurns: 6, MaxTokens: 256, Timeout: time.Minute},
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.Store == StoreDatabase || c.Store == StoreRedis, prefix+".store", "must be database or redis, got %q", c.Store)
	p.Check(c.Store != StoreRedis || c.Redis.Addr != "", prefix+".redis.addr", "is required where the store is redis")
	if c.Key != "" || len(c.PreviousKeys) > 0 {
		if _, err := envelope.ParseMasters(c.Key, c.PreviousKeys...); err != nil {
			p.Add(prefix+".key", "%v", err)
		}
	}
	p.Check(c.Redis.Timeout >= 10*time.Millisecond && c.Redis.Timeout <= time.Minute, prefix+".redis.timeout", "must be from 10ms to 1m, got %v", c.Redis.Timeout)
	p.Check(c.TTL >= time.Minute && c.TTL <= 10*365*24*time.Hour, prefix+".ttl", "must be from 1m to 87600h, got %v", c.TTL)
	p.Check(c.PerSubject >= 1 && c.PerSubject <= 1_000_000, prefix+".per_subject", "must be from 1 to 1000000, got %d", c.PerSubject)
	p.Check(c.MaxTurns >= 1 && c.MaxTurns <= 1000, prefix+".max_turns", "must be from 1 to 1000, got %d", c.MaxTurns)
	p.Check(c.MaxBytes >= 4*config.KiB && c.MaxBytes <= 4*config.MiB, prefix+".max_bytes", "must be from 4KiB to 4MiB, got %v", c.MaxBytes)
	p.Check(c.MaxPromptTokens >= 64, prefix+".max_prompt_tokens", "must be at least 64, got %d", c.MaxPromptTokens)
	s := c.Summary
	p.Check(s.KeepTurns >= 1 && s.KeepTurns < s.AfterTurns && s.AfterTurns <= c.MaxTurns, prefix+".summary",
		"keep_turns, after_turns and max_turns must grow, got %d, %d and %d", s.KeepTurns, s.AfterTurns, c.MaxTurns)
	p.Check(s.MaxTokens >= 16 && s.MaxTokens <= 4096, prefix+".summary.max_tokens", "must be from 16 to 4096, got %d", s.MaxTokens)
	p.Check(s.Timeout >= time.Second && s.Timeout <= 10*time.Minute, prefix+".summary.timeout", "must be from 1s to 10m, got %v", s.Timeout)
}
