package memory

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/poterne/poterne/services/worker/internal/durable"
)

// The bounds of what is learnt.
const (
	// maxLearned bounds the versions that are remembered.
	maxLearned = 1024
	// A ratio outside these says more of the measurement than of the estimate.
	minRatio, maxRatio = 0.5, 4
	// lowering is how much of the way down one observation goes: a version that
	// took little once may only not have been used much.
	lowering = 0.25
	// worthKeeping is the change below which the file is not written again.
	worthKeeping = 0.02
	maxFileBytes = 4 << 20
)

// Learned is by how much estimates were wrong: for each version and kind of
// memory, what it was seen to take for each byte estimated. It is kept in a file.
// It is safe for concurrent use.
type Learned struct {
	path string // empty: not kept

	mu      sync.Mutex
	entries map[string]lesson
}

type lesson struct {
	Ratio float64   `json:"ratio"`
	Seen  time.Time `json:"seen"`

	written float64 // Ratio as the file has it
}

// NewLearned returns what the file at path says; empty keeps nothing.
func NewLearned(path string) *Learned {
	l := &Learned{path: path, entries: make(map[string]lesson)}
	info, err := os.Stat(path)
	if path == "" || err != nil || info.Size() > maxFileBytes {
		return l
	}
	// What cannot be read is learnt again.
	data, err := os.ReadFile(path)
	var kept map[string]lesson
	if err != nil || json.Unmarshal(data, &kept) != nil || len(kept) > maxLearned {
		return l
	}
	for key, e := range kept {
		if e.Ratio >= minRatio && e.Ratio <= maxRatio {
			e.written = e.Ratio
			l.entries[key] = e
		}
	}
	return l
}

// Ratio is what an estimate under key is to be multiplied by; 1 when nothing was
// learnt.
func (l *Learned) Ratio(key string) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.entries[key]; ok {
		return e.Ratio
	}
	return 1
}

// Observe notes that what was estimated, without correction, at so many bytes
// was seen to take seen at most. More than was thought holds at once, less only
// by and by.
func (l *Learned) Observe(key string, estimated, seen int64, now time.Time) error {
	if estimated <= 0 || seen <= 0 {
		return nil
	}
	ratio := min(max(float64(seen)/float64(estimated), minRatio), maxRatio)
	l.mu.Lock()
	defer l.mu.Unlock()
	old, known := l.entries[key]
	if !known {
		old.Ratio, old.written = 1, 1
	}
	if ratio < old.Ratio {
		ratio = old.Ratio - (old.Ratio-ratio)*lowering
	}
	changed := math.Abs(ratio-old.written) > worthKeeping
	if changed {
		old.written = ratio
	}
	l.entries[key] = lesson{Ratio: ratio, Seen: now.UTC(), written: old.written}
	l.forgetOldest()
	if !changed || l.path == "" {
		return nil
	}
	return l.write()
}

func (l *Learned) forgetOldest() {
	for len(l.entries) > maxLearned {
		oldest := ""
		for key, e := range l.entries {
			if o := l.entries[oldest]; oldest == "" || cmp.Or(e.Seen.Compare(o.Seen), cmp.Compare(key, oldest)) < 0 {
				oldest = key
			}
		}
		delete(l.entries, oldest)
	}
}

// write replaces the file as a whole, so that a crash leaves the old one.
func (l *Learned) write() error {
	data, err := json.Marshal(l.entries)
	if err != nil {
		return fmt.Errorf("learned memory: %w", err)
	}
	if err := durable.Replace(l.path, data); err != nil {
		return fmt.Errorf("learned memory: %w", err)
	}
	return nil
}

// Corrected is estimate, by pool, multiplied by what ratioOf says of each pool.
func Corrected(estimate map[string]int64, ratioOf func(pool string) float64) map[string]int64 {
	out := make(map[string]int64, len(estimate))
	for id, n := range estimate {
		out[id] = int64(float64(n) * ratioOf(id))
	}
	return out
}

// Largest is the largest of the figures.
func Largest(figures map[string]int64) int64 {
	var most int64
	for _, n := range figures {
		most = max(most, n)
	}
	return most
}

// Names returns the pools' names, shorter ones first: gpu2 before gpu10.
func Names(of map[string]int64) []string {
	out := make([]string, 0, len(of))
	for id := range of {
		out = append(out, id)
	}
	slices.SortFunc(out, compareNames)
	return out
}
