package audit

import (
	"net/url"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/edge/auditproof"
	"github.com/poterne/poterne/services/edge/internal/envelope"
)

// The sinks.
const (
	SinkTable = "table"
	SinkFile  = "file"
)

// What happens to requests when the trail cannot keep up.
const (
	// FullLog serves on; records for which there is no room go to the log, as
	// errors, and are counted.
	FullLog = "log"
	// FullRefuse refuses requests that could not be recorded.
	FullRefuse = "refuse"
)

// Config is the section "audit".
type Config struct {
	// Sink is table (in the edge's store) or file.
	Sink string `yaml:"sink"`
	// File is the path of the file sink, one JSON object a line.
	File string `yaml:"file"`
	// QueueSize is how many records may wait to be written.
	QueueSize int `yaml:"queue_size"`
	// FlushInterval is the longest that a record waits to be written when the
	// sink works. Those that wait are in the journal.
	FlushInterval time.Duration `yaml:"flush_interval"`
	// OnFull is log or refuse.
	OnFull string `yaml:"on_full"`
	// FullWait is how long a request waits for room before OnFull applies.
	FullWait time.Duration `yaml:"full_wait"`
	// Retention is how long records are kept in the table; 0 is for ever.
	Retention   time.Duration    `yaml:"retention"`
	Journal     JournalConfig    `yaml:"journal"`
	Checkpoints CheckpointConfig `yaml:"checkpoints"`
	Content     ContentConfig    `yaml:"content"`
	// Explain has each record say what every step decided about its request.
	Explain bool `yaml:"explain"`
	// TenantProofs lets tenants export their records with proofs, whose numbers tell
	// how many records all tenants have.
	TenantProofs bool `yaml:"tenant_proofs"`
}

// ContentConfig is about the content of model calls, which is kept for tenants that
// want it.
type ContentConfig struct {
	// Key is the master key, as name:key, 32 bytes in base64; empty: no content is
	// kept.
	Key config.Secret `yaml:"key"`
	// PreviousKeys are those from before, by which tenants' keys may still be wrapped.
	PreviousKeys []config.Secret `yaml:"previous_keys"`
	// MaxBytes is the most that is kept of a request, and as much of an answer.
	MaxBytes int `yaml:"max_bytes"`
	// QueueBytes is how much content may wait to be written.
	QueueBytes int64 `yaml:"queue_bytes"`
}

func (c ContentConfig) validate(p *config.Problems, prefix string) {
	if c.Key != "" || len(c.PreviousKeys) > 0 {
		if _, err := envelope.ParseMasters(c.Key, c.PreviousKeys...); err != nil {
			p.Add(prefix+".key", "%v", err)
		}
	}
	p.Check(c.MaxBytes >= 1024 && c.MaxBytes <= 16<<20, prefix+".max_bytes", "must be from 1024 to 16777216, got %d", c.MaxBytes)
	p.Check(c.QueueBytes >= 4*int64(c.MaxBytes) && c.QueueBytes <= 1<<34, prefix+".queue_bytes", "must be from four times max_bytes to 17179869184, got %d", c.QueueBytes)
}

// JournalConfig is about the local files that hold records until the sink has them.
type JournalConfig struct {
	// Enabled: without it, kill -9 loses the records that wait.
	Enabled bool `yaml:"enabled"`
	// Directory is where they are; empty: audit-journal in the data directory. Each
	// process needs its own.
	Directory string `yaml:"directory"`
	// Sync waits for the disk with every record, so that none is lost with the power
	// either.
	Sync bool `yaml:"sync"`
}

// CheckpointConfig is about the signed checkpoints of the chain of records.
type CheckpointConfig struct {
	// Every and Interval say when one is signed: after so many records, and at least
	// so often when there are new ones.
	Every    int64         `yaml:"every"`
	Interval time.Duration `yaml:"interval"`
	// KeyFile holds the key that signs; empty: audit.key in the data directory. It is
	// made when it is not there.
	KeyFile string `yaml:"key_file"`
	// TrustedKeys are verification keys of other replicas and of earlier keys; empty:
	// those that the store has, which whoever can write to it may add to.
	TrustedKeys []string `yaml:"trusted_keys"`
	// Directory, Witness and Log are where checkpoints are kept besides the store: in
	// a file checkpoints.jsonl, by POST to a URL, in the log.
	Directory string           `yaml:"directory"`
	Witness   config.SecretURL `yaml:"witness"`
	Log       bool             `yaml:"log"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Sink: SinkTable, QueueSize: 8192, FlushInterval: 100 * time.Millisecond,
		OnFull: FullLog, FullWait: 250 * time.Millisecond, Retention: 90 * 24 * time.Hour,
		Journal:     JournalConfig{Enabled: true},
		Explain:     true,
		Checkpoints: CheckpointConfig{Every: 1000, Interval: 10 * time.Second},
		Content:     ContentConfig{MaxBytes: 64 << 10, QueueBytes: 32 << 20},
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.Sink == SinkTable || c.Sink == SinkFile, prefix+".sink", "must be table or file, got %q", c.Sink)
	p.Check(c.Sink != SinkFile || c.File != "", prefix+".file", "must be a path when the sink is file")
	p.Check(c.QueueSize >= 1 && c.QueueSize <= 1<<20, prefix+".queue_size", "must be from 1 to 1048576, got %d", c.QueueSize)
	p.Check(c.FlushInterval > 0 && c.FlushInterval <= time.Minute, prefix+".flush_interval", "must be positive and at most 1m, got %v", c.FlushInterval)
	p.Check(c.OnFull == FullLog || c.OnFull == FullRefuse, prefix+".on_full", "must be log or refuse, got %q", c.OnFull)
	p.Check(c.FullWait >= 0 && c.FullWait <= time.Minute, prefix+".full_wait", "must be from 0 to 1m, got %v", c.FullWait)
	p.Check(c.Retention == 0 || c.Retention >= time.Hour, prefix+".retention", "must be 0 or at least 1h, got %v", c.Retention)
	c.Content.validate(p, prefix+".content")
	p.Check(c.Content.Key == "" || c.Sink == SinkTable, prefix+".content.key", "content is kept with the sink table only")
	k := c.Checkpoints
	p.Check(k.Every >= 1 && k.Every <= 1<<20, prefix+".checkpoints.every", "must be from 1 to 1048576, got %d", k.Every)
	p.Check(k.Interval >= 100*time.Millisecond && k.Interval <= 24*time.Hour, prefix+".checkpoints.interval", "must be from 100ms to 24h, got %v", k.Interval)
	if _, err := auditproof.Keys(k.TrustedKeys...); err != nil {
		p.Add(prefix+".checkpoints.trusted_keys", "%v", err)
	}
	if k.Witness != "" {
		u, err := url.Parse(k.Witness.Reveal())
		p.Check(err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https"), prefix+".checkpoints.witness", "must be an http or https URL")
	}
}
