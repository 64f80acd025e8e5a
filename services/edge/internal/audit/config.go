package audit

import (
	"time"

	"github.com/poterne/poterne/pkg/config"
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
	// sink works. A record is made when its request ends: kill -9, or a machine
	// that fails, loses the records that wait, and those of the requests in hand.
	FlushInterval time.Duration `yaml:"flush_interval"`
	// OnFull is log or refuse.
	OnFull string `yaml:"on_full"`
	// FullWait is how long a request waits for room before OnFull applies.
	FullWait time.Duration `yaml:"full_wait"`
	// Retention is how long records are kept in the table; 0 is for ever.
	Retention time.Duration `yaml:"retention"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Sink: SinkTable, QueueSize: 8192, FlushInterval: 100 * time.Millisecond,
		OnFull: FullLog, FullWait: 250 * time.Millisecond, Retention: 90 * 24 * time.Hour,
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
}
