// Package usage bills what models do: it prices a request (package price), has it
// reserve from budgets (package budget), and keeps what it used (package ledger).
// Start reading at Meter; Open puts the parts together.
package usage

import (
	"regexp"
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// What happens to requests that a hard budget counts while the ledger is away.
const (
	// AwayRefuse refuses those that do not fit into what this edge holds.
	AwayRefuse = "refuse"
	// AwayAllow serves them, says so, and counts them later.
	AwayAllow = "allow"
)

// Config is the section "usage".
type Config struct {
	// Enabled: without it nothing is counted, and there are no prices and no budgets.
	Enabled bool `yaml:"enabled"`
	// Currency is the ISO 4217 code of all prices and budgets.
	Currency string `yaml:"currency"`
	// RequirePrice refuses requests for models that have no price; otherwise these cost
	// nothing.
	RequirePrice bool `yaml:"require_price"`
	// DefaultMaxTokens is how many generated tokens are reserved for a request that does
	// not bound them.
	DefaultMaxTokens int64 `yaml:"default_max_tokens"`
	// WhenAway is refuse or allow.
	WhenAway string `yaml:"when_away"`
	// Timezone is where days and months of budgets begin: a name of the IANA database.
	Timezone string `yaml:"timezone"`
	// Timeout bounds the wait of a request for the ledger, where what this edge holds of
	// a budget is not enough.
	Timeout time.Duration `yaml:"timeout"`
	// ClaimTimeout bounds the wait for the store of a request with an Idempotency-Key.
	ClaimTimeout time.Duration `yaml:"claim_timeout"`
	// LeaseTTL is how long what a killed edge held of budgets is kept.
	LeaseTTL time.Duration `yaml:"lease_ttl"`
	// PollInterval is how often other edges' changes of prices and budgets are looked
	// for.
	PollInterval time.Duration `yaml:"poll_interval"`
	// QueueSize is how many entries may wait for the store.
	QueueSize int `yaml:"queue_size"`
	// Retention is for how long single requests are kept; their sums stay. 0: for ever.
	Retention time.Duration `yaml:"retention"`
	Journal   JournalConfig `yaml:"journal"`
}

// JournalConfig is about the local files that hold usage until the store has it.
type JournalConfig struct {
	// Enabled: without it kill -9 loses what waits.
	Enabled bool `yaml:"enabled"`
	// Directory is where they are; empty: usage-journal in the data directory. Each
	// process needs its own.
	Directory string `yaml:"directory"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Enabled: true, Currency: "USD", DefaultMaxTokens: 4096, WhenAway: AwayRefuse, Timezone: "UTC",
		Timeout: 250 * time.Millisecond, ClaimTimeout: 5 * time.Second, LeaseTTL: 30 * time.Second, PollInterval: 250 * time.Millisecond, QueueSize: 65536,
		Journal: JournalConfig{Enabled: true},
	}
}

const maxDefaultTokens = 1 << 24

// leastRetention is what checking looks at by itself.
const leastRetention = 31 * 24 * time.Hour

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(regexp.MustCompile(`^[A-Z]{3}$`).MatchString(c.Currency), prefix+".currency", "must be an ISO 4217 code such as USD, got %q", c.Currency)
	p.Check(c.DefaultMaxTokens >= 1 && c.DefaultMaxTokens <= maxDefaultTokens, prefix+".default_max_tokens", "must be from 1 to %d, got %d", maxDefaultTokens, c.DefaultMaxTokens)
	p.Check(c.WhenAway == AwayRefuse || c.WhenAway == AwayAllow, prefix+".when_away", "must be refuse or allow, got %q", c.WhenAway)
	_, err := time.LoadLocation(c.Timezone)
	p.Check(err == nil && c.Timezone != "" && c.Timezone != "Local", prefix+".timezone", "must be a name such as UTC or Europe/Paris, got %q", c.Timezone)
	p.Check(c.Timeout >= time.Millisecond && c.Timeout <= 10*time.Second, prefix+".timeout", "must be from 1ms to 10s, got %v", c.Timeout)
	p.Check(c.ClaimTimeout >= time.Millisecond && c.ClaimTimeout <= time.Minute, prefix+".claim_timeout", "must be from 1ms to 1m, got %v", c.ClaimTimeout)
	p.Check(c.LeaseTTL >= 5*time.Second && c.LeaseTTL <= time.Hour, prefix+".lease_ttl", "must be from 5s to 1h, got %v", c.LeaseTTL)
	p.Check(c.PollInterval >= 10*time.Millisecond && c.PollInterval <= 500*time.Millisecond, prefix+".poll_interval",
		"must be from 10ms to 500ms, got %v", c.PollInterval)
	p.Check(c.Retention == 0 || c.Retention >= leastRetention, prefix+".retention", "must be 0, for ever, or at least 744h, got %v", c.Retention)
	p.Check(c.QueueSize >= 1 && c.QueueSize <= 1<<20, prefix+".queue_size", "must be from 1 to 1048576, got %d", c.QueueSize)
}
