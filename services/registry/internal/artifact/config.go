package artifact

import (
	"net/url"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/registry/internal/content"
)

// Config is the section "artifacts".
type Config struct {
	// Dir is where files are kept, unless S3 names a bucket. Replicas share it.
	Dir string `yaml:"dir"`
	// MinFree is how many bytes of Dir's disk stay free.
	MinFree config.Bytes `yaml:"min_free"`
	// S3 is the bucket that files are kept in.
	S3 content.BucketConfig `yaml:"s3"`
	// MaxBytes bounds one file.
	MaxBytes config.Bytes `yaml:"max_bytes"`
	// TotalBytes bounds all files together, those that are being uploaded too; 0 is
	// no bound.
	TotalBytes config.Bytes `yaml:"total_bytes"`
	Uploads    Uploads      `yaml:"uploads"`
	// Grace is how long a file stays that nothing refers to.
	Grace time.Duration `yaml:"grace"`
	// CollectEvery is the time between two looks at what may go.
	CollectEvery time.Duration `yaml:"collect_every"`
}

// Uploads bound what is being uploaded.
type Uploads struct {
	// Max is how many may be open, and MaxBytes how large their files together.
	Max      int          `yaml:"max"`
	MaxBytes config.Bytes `yaml:"max_bytes"`
	// PartBytes is how much is kept at a time: what is less is lost when a call
	// breaks off. Parts of large files are larger.
	PartBytes config.Bytes `yaml:"part_bytes"`
	// IdleTimeout is how long one may get no further, and MaxAge how long it may
	// take in all.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	MaxAge      time.Duration `yaml:"max_age"`
}

// DefaultConfig returns the defaults: a directory in the working directory.
func DefaultConfig() Config {
	const day = 24 * time.Hour
	return Config{
		Dir: "artifacts", MinFree: config.GiB, MaxBytes: 512 * config.GiB,
		Uploads: Uploads{Max: 64, MaxBytes: 1024 * config.GiB, PartBytes: 16 * config.MiB, IdleTimeout: day, MaxAge: 7 * day},
		Grace:   day, CollectEvery: 10 * time.Minute,
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.S3.Bucket != "" || c.Dir != "", prefix+".dir", "must not be empty without a bucket")
	p.Check(c.MinFree >= 0, prefix+".min_free", "must not be negative, got %v", c.MinFree)
	p.Check(c.MaxBytes > 0, prefix+".max_bytes", "must be positive, got %v", c.MaxBytes)
	p.Check(c.TotalBytes >= 0, prefix+".total_bytes", "must not be negative, got %v", c.TotalBytes)
	p.Check(c.Grace > 0, prefix+".grace", "must be positive, got %v", c.Grace)
	p.Check(c.CollectEvery >= time.Second, prefix+".collect_every", "must be at least 1s, got %v", c.CollectEvery)
	u := c.Uploads
	p.Check(u.Max >= 1, prefix+".uploads.max", "must be positive, got %d", u.Max)
	p.Check(u.MaxBytes > 0, prefix+".uploads.max_bytes", "must be positive, got %v", u.MaxBytes)
	p.Check(u.PartBytes >= 5*config.MiB && u.PartBytes <= 512*config.MiB, prefix+".uploads.part_bytes", "must be from 5MiB to 512MiB, got %v", u.PartBytes)
	p.Check(u.IdleTimeout > 0, prefix+".uploads.idle_timeout", "must be positive, got %v", u.IdleTimeout)
	p.Check(u.MaxAge >= u.IdleTimeout, prefix+".uploads.max_age", "must not be less than idle_timeout, got %v", u.MaxAge)
	if s := c.S3; s.Bucket != "" {
		e, err := url.Parse(s.Endpoint)
		p.Check(s.Endpoint == "" || err == nil && (e.Scheme == "http" || e.Scheme == "https") && e.Host != "" && e.User == nil && (e.Path == "" || e.Path == "/"),
			prefix+".s3.endpoint", "must be an http or https URL without credentials and path")
		p.Check((s.AccessKeyID == "") == (s.SecretAccessKey == ""), prefix+".s3", "must have both access_key_id and secret_access_key, or neither")
	}
}
