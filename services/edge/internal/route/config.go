package route

import (
	"slices"
	"strconv"
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// Config is the section "routes".
type Config struct {
	// File is a YAML file with further rules, as Rules has them; read at the start.
	File string `yaml:"file"`
	// Rules are routes. One that is kept at run time under the same name takes the place
	// of one of these.
	Rules []Route `yaml:"rules"`
	// RetryBudget bounds retries.
	RetryBudget BudgetConfig `yaml:"retry_budget"`
	// Breaker passes models over that fail.
	Breaker BreakerConfig `yaml:"breaker"`
	// MaxMirrored is how many copies of requests are worked on at once; further ones are
	// not made.
	MaxMirrored int `yaml:"max_mirrored"`
}

// DefaultConfig returns the defaults: no routes.
func DefaultConfig() Config {
	return Config{
		RetryBudget: BudgetConfig{Percent: 20, MinPerSecond: 10, Window: 10 * time.Second},
		Breaker:     BreakerConfig{ConsecutiveFailures: 5, OpenFor: 10 * time.Second},
		MaxMirrored: 16,
	}
}

// Load adds the rules of File, and fills in what rules leave out.
func (c *Config) Load() error {
	if c.File != "" {
		var of struct {
			Rules []Route `yaml:"rules"`
		}
		if err := config.Load(&of, config.Sources{File: c.File}); err != nil {
			return err
		}
		c.Rules = append(slices.Clone(c.Rules), of.Rules...)
	}
	for i := range c.Rules {
		c.Rules[i].Complete()
	}
	return nil
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	b := c.RetryBudget
	p.Check(b.Percent >= 0 && b.Percent <= 100, prefix+".retry_budget.percent", "must be from 0 to 100, got %v", b.Percent)
	p.Check(b.MinPerSecond >= 0 && b.MinPerSecond <= 10_000, prefix+".retry_budget.min_per_second", "must be from 0 to 10000, got %v", b.MinPerSecond)
	p.Check(b.Window >= time.Second && b.Window <= 10*time.Minute, prefix+".retry_budget.window", "must be from 1s to 10m, got %v", b.Window)
	p.Check(c.Breaker.ConsecutiveFailures >= 0 && c.Breaker.ConsecutiveFailures <= 1000, prefix+".breaker.consecutive_failures",
		"must be from 0 to 1000, got %d", c.Breaker.ConsecutiveFailures)
	p.Check(c.Breaker.OpenFor >= 10*time.Millisecond && c.Breaker.OpenFor <= time.Hour, prefix+".breaker.open_for", "must be from 10ms to 1h, got %v", c.Breaker.OpenFor)
	p.Check(c.MaxMirrored >= 0 && c.MaxMirrored <= 1024, prefix+".max_mirrored", "must be from 0 to 1024, got %d", c.MaxMirrored)
	loaded := c
	if err := loaded.Load(); err != nil {
		p.Check(false, prefix+".file", "%v", err)
		return
	}
	p.Check(len(loaded.Rules) <= MaxRoutes, prefix+".rules", "must be at most %d, got %d", MaxRoutes, len(loaded.Rules))
	for i, r := range loaded.Rules {
		at := prefix + ".rules[" + strconv.Itoa(i) + "]"
		if i >= len(c.Rules) {
			at = prefix + ".file: rules[" + strconv.Itoa(i-len(c.Rules)) + "]"
		}
		for _, problem := range r.Check() {
			p.Check(false, at+"."+problem.Field, "%s", problem.Text)
		}
		p.Check(!slices.ContainsFunc(loaded.Rules[:i], func(o Route) bool { return o.Name == r.Name }), at+".name", "there is another route %q", r.Name)
	}
}
