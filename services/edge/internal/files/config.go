package files

import (
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// Config is the section "files".
type Config struct {
	// MaxFileBytes bounds one file.
	MaxFileBytes int64 `yaml:"max_file_bytes"`
	// MaxTenantBytes and MaxTenantFiles bound what all files of a tenant come to.
	// Results of batches count, and are kept even where there is no room left.
	MaxTenantBytes int64 `yaml:"max_tenant_bytes"`
	MaxTenantFiles int64 `yaml:"max_tenant_files"`
	// TTL is how long a file is kept whose maker says nothing.
	TTL time.Duration `yaml:"ttl"`
}

// DefaultConfig returns the defaults: as at OpenAI, 200 MiB and 30 days.
func DefaultConfig() Config {
	return Config{MaxFileBytes: 200 << 20, MaxTenantBytes: 2 << 30, MaxTenantFiles: 1000, TTL: 30 * 24 * time.Hour}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.MaxFileBytes >= 1 && c.MaxFileBytes <= 4<<30, prefix+".max_file_bytes", "must be from 1 to 4294967296, got %d", c.MaxFileBytes)
	p.Check(c.MaxTenantBytes >= c.MaxFileBytes && c.MaxTenantBytes <= 1<<50, prefix+".max_tenant_bytes",
		"must be from max_file_bytes to 1125899906842624, got %d", c.MaxTenantBytes)
	p.Check(c.MaxTenantFiles >= 1 && c.MaxTenantFiles <= 1_000_000, prefix+".max_tenant_files", "must be from 1 to 1000000, got %d", c.MaxTenantFiles)
	p.Check(c.TTL >= time.Hour && c.TTL <= 10*365*24*time.Hour, prefix+".ttl", "must be from 1h to 87600h, got %v", c.TTL)
}
