package inference

import (
	"regexp"
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// maxSegments bounds the names of segments: results are told for each.
const maxSegments = 32

var segmentName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

func (o Outcomes) validate(p *config.Problems) {
	p.Check(o.SpoolBytes >= config.MiB, "outcomes.spool_bytes", "must be at least 1MiB, got %v", o.SpoolBytes)
	p.Check(o.Interval >= 10*time.Millisecond && o.Interval <= time.Minute, "outcomes.interval",
		"must be from 10ms to 1m, got %v", o.Interval)
	names := make(map[string]bool)
	for _, name := range o.Segments {
		p.Check(segmentName.MatchString(name), "outcomes.segments", "a segment is named by lower-case letters, digits, '.', '_' and '-', not %q", name)
		names[name] = true
	}
	p.Check(len(names) <= maxSegments, "outcomes.segments", "must be at most %d names, got %d", maxSegments, len(names))
}
