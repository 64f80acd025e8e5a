package files

import (
	"net/url"
	"path/filepath"
	"slices"
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
	// Contents is where the bytes of new files go: store, directory or bucket. Files of
	// before are read where they are, as long as that is named here.
	Contents string `yaml:"contents"`
	// Directory is an absolute path, on one machine or mounted by all edges.
	Directory string       `yaml:"directory"`
	Bucket    BucketConfig `yaml:"bucket"`
}

// The values of Contents.
const (
	ContentsStore     = "store"
	ContentsDirectory = "directory"
	ContentsBucket    = "bucket"
)

// BucketConfig is how a bucket of S3's kind is reached.
type BucketConfig struct {
	// Name is the bucket's; it must be there. Empty: there is none.
	Name string `yaml:"name"`
	// Prefix begins the keys of all objects, such as poterne/files/.
	Prefix string `yaml:"prefix"`
	// Endpoint is the server's URL; empty is AWS's in Region.
	Endpoint string `yaml:"endpoint"`
	// Region is part of the signature.
	Region string `yaml:"region"`
	// AccessKeyID and SecretAccessKey sign requests. SessionToken belongs to
	// temporary ones.
	AccessKeyID     string        `yaml:"access_key_id"`
	SecretAccessKey config.Secret `yaml:"secret_access_key"`
	SessionToken    config.Secret `yaml:"session_token"`
	// VirtualHost puts the bucket's name into the host instead of the path.
	VirtualHost bool `yaml:"virtual_host"`
}

// URL is where the server is.
func (c BucketConfig) URL() string {
	if c.Endpoint == "" {
		return "https://s3." + c.Region + ".amazonaws.com"
	}
	return c.Endpoint
}

func (c BucketConfig) validate(p *config.Problems, prefix string) {
	if c.Name == "" {
		return
	}
	u, err := url.Parse(c.URL())
	p.Check(err == nil && u.Host != "" && u.User == nil && (u.Scheme == "https" || u.Scheme == "http") && (u.Path == "" || u.Path == "/") && u.RawQuery == "",
		prefix+".endpoint", "must be http://host:port or https://host:port")
	p.Check(c.Region != "", prefix+".region", "must not be empty")
	p.Check(c.AccessKeyID != "", prefix+".access_key_id", "must not be empty")
	p.Check(c.SecretAccessKey.Reveal() != "", prefix+".secret_access_key", "must not be empty")
}

// DefaultConfig returns the defaults: as at OpenAI, 200 MiB and 30 days.
func DefaultConfig() Config {
	return Config{
		MaxFileBytes: 200 << 20, MaxTenantBytes: 2 << 30, MaxTenantFiles: 1000, TTL: 30 * 24 * time.Hour,
		Contents: ContentsStore, Bucket: BucketConfig{Region: "us-east-1"},
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.MaxFileBytes >= 1 && c.MaxFileBytes <= 4<<30, prefix+".max_file_bytes", "must be from 1 to 4294967296, got %d", c.MaxFileBytes)
	p.Check(c.MaxTenantBytes >= c.MaxFileBytes && c.MaxTenantBytes <= 1<<50, prefix+".max_tenant_bytes",
		"must be from max_file_bytes to 1125899906842624, got %d", c.MaxTenantBytes)
	p.Check(c.MaxTenantFiles >= 1 && c.MaxTenantFiles <= 1_000_000, prefix+".max_tenant_files", "must be from 1 to 1000000, got %d", c.MaxTenantFiles)
	p.Check(c.TTL >= time.Hour && c.TTL <= 10*365*24*time.Hour, prefix+".ttl", "must be from 1h to 87600h, got %v", c.TTL)
	p.Check(slices.Contains([]string{ContentsStore, ContentsDirectory, ContentsBucket}, c.Contents), prefix+".contents",
		"must be %s, %s or %s, got %q", ContentsStore, ContentsDirectory, ContentsBucket, c.Contents)
	p.Check(c.Directory == "" || filepath.IsAbs(c.Directory), prefix+".directory", "must be absolute, got %q", c.Directory)
	p.Check(c.Contents != ContentsDirectory || c.Directory != "", prefix+".directory", "must not be empty where contents is %s", ContentsDirectory)
	p.Check(c.Contents != ContentsBucket || c.Bucket.Name != "", prefix+".bucket.name", "must not be empty where contents is %s", ContentsBucket)
	c.Bucket.validate(p, prefix+".bucket")
}
