package security

import (
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/apikey"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/firewall"
	"github.com/poterne/poterne/services/edge/internal/login"
	"github.com/poterne/poterne/services/edge/internal/middleware"
	"github.com/poterne/poterne/services/edge/internal/respcache"
	"github.com/poterne/poterne/services/edge/internal/route"
	"github.com/poterne/poterne/services/edge/internal/usage"
	"github.com/poterne/poterne/services/edge/internal/webhook"
)

// Config is the edge's sections about security.
type Config struct {
	// Store is where keys and the audit trail are kept.
	Store  sqldb.Config      `yaml:"store"`
	Keys   apikey.Config     `yaml:"api_keys"`
	Tokens TokensConfig      `yaml:"tokens"`
	Authz  authz.Config      `yaml:"authz"`
	Limits middleware.Config `yaml:"limits"`
	Audit  audit.Config      `yaml:"audit"`
	Login  login.Config      `yaml:"login"`
	// Firewall is the rule set that requests over HTTP are judged by.
	Firewall firewall.Config `yaml:"waf"`
	// Abuse bounds what an address may do before anybody is known.
	Abuse AbuseConfig `yaml:"abuse"`
	// Usage is how what models do is billed.
	Usage usage.Config `yaml:"usage"`
	// Webhooks is who may be told of budgets, and how.
	Webhooks webhook.Config `yaml:"webhooks"`
	// Cache is which answers are kept, to be given again.
	Cache respcache.Config `yaml:"cache"`
	// Routes is what is done with requests.
	Routes route.Config `yaml:"routes"`
}

// DefaultConfig returns the defaults, with the store at dsn.
func DefaultConfig(dsn string) Config {
	return Config{
		Store: sqldb.DefaultConfig(dsn), Keys: apikey.DefaultConfig(), Tokens: DefaultTokensConfig(), Authz: authz.DefaultConfig(),
		Limits: middleware.DefaultConfig(), Audit: audit.DefaultConfig(), Login: login.DefaultConfig(),
		Firewall: firewall.DefaultConfig(), Abuse: defaultAbuse(), Usage: usage.DefaultConfig(), Webhooks: webhook.DefaultConfig(), Cache: respcache.DefaultConfig(),
		Routes: route.DefaultConfig(),
	}
}

// Complete fills what follows from other settings.
func (c *Config) Complete() {
	c.Tokens.Complete()
	c.Login.Complete()
	c.Limits.Complete()
	// A journal that outlives a loss of power is cleared of what the store has, so that
	// SQLite must have that on the disk as well.
	if c.Audit.Journal.Enabled && c.Audit.Journal.Sync {
		c.Store.Sync = sqldb.SyncFull
	}
}

// Validate notes what is wrong; prefix, which may be empty, is put before the
// sections' names.
func (c Config) Validate(p *config.Problems, prefix string) {
	c.Store.Validate(p, prefix+"store")
	c.Keys.Validate(p, prefix+"api_keys")
	c.Tokens.Validate(p, prefix+"tokens")
	c.Authz.Validate(p, prefix+"authz")
	c.Limits.Validate(p, prefix+"limits")
	c.Audit.Validate(p, prefix+"audit")
	c.Login.Validate(p, prefix+"login")
	c.Firewall.Validate(p, prefix+"waf")
	c.Usage.Validate(p, prefix+"usage")
	c.Webhooks.Validate(p, prefix+"webhooks")
	c.Abuse.validate(p, prefix+"abuse", len(c.Limits.TrustedProxies) > 0)
	c.Cache.Validate(p, prefix+"cache")
	c.Routes.Validate(p, prefix+"routes")
}
