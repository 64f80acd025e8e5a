// Package blob keeps files by the SHA-256 of their content, within a bound of
// space, and fetches those that are missing. It knows nothing of models, nor
// where files come from; start reading at Cache.
package blob

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/services/worker/internal/durable"
)

// Config is the section "artifacts.cache".
type Config struct {
	// Dir is where fetched files are kept; empty is cache in the state directory.
	// One worker at a time uses it.
	Dir string `yaml:"dir"`
	// Quota bounds what files take together, fetched in part or whole; the least
	// recently used that no model needs go first. 0 is as much as the disk has.
	Quota config.Bytes `yaml:"quota"`
	// MinFree is what must stay free on the disk.
	MinFree config.Bytes `yaml:"min_free"`
	// MaxFile bounds one file.
	MaxFile config.Bytes `yaml:"max_file"`
	// Parallel is how many files are fetched at once.
	Parallel int `yaml:"parallel"`
	// Attempts is how many tries in a row may bring nothing before a fetch fails.
	Attempts int `yaml:"attempts"`
	// BackoffMin is the pause after the first of them; each further one is twice
	// as long, up to BackoffMax.
	BackoffMin time.Duration `yaml:"backoff_min"`
	BackoffMax time.Duration `yaml:"backoff_max"`
	// RefusedFor is how long a file whose content was not what its hash says is
	// not asked for again.
	RefusedFor time.Duration `yaml:"refused_for"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		MinFree: config.GiB, MaxFile: 1024 * config.GiB, Parallel: 4, Attempts: 6,
		BackoffMin: 500 * time.Millisecond, BackoffMax: 30 * time.Second, RefusedFor: 15 * time.Minute,
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.Dir == "" || filepath.IsAbs(c.Dir), prefix+".dir", "must be absolute, got %q", c.Dir)
	p.Check(c.Quota >= 0, prefix+".quota", "must not be negative, got %v", c.Quota)
	p.Check(c.MinFree >= 0, prefix+".min_free", "must not be negative, got %v", c.MinFree)
	p.Check(c.MaxFile > 0, prefix+".max_file", "must be positive, got %v", c.MaxFile)
	p.Check(c.Parallel > 0 && c.Parallel <= 64, prefix+".parallel", "must be from 1 to 64, got %d", c.Parallel)
	p.Check(c.Attempts > 0 && c.Attempts <= 100, prefix+".attempts", "must be from 1 to 100, got %d", c.Attempts)
	p.Check(c.BackoffMin > 0, prefix+".backoff_min", "must be positive, got %v", c.BackoffMin)
	p.Check(c.BackoffMax >= c.BackoffMin, prefix+".backoff_max", "must not be less than backoff_min, got %v", c.BackoffMax)
	p.Check(c.RefusedFor > 0, prefix+".refused_for", "must be positive, got %v", c.RefusedFor)
}

// Parts is what a cache works with. All but Jitter are needed.
type Parts struct {
	Clock  clock.Clock
	Jitter lifecycle.Jitter
	Log    *slog.Logger
	// DiskFree returns what is free where a directory lies, in bytes.
	DiskFree func(dir string) (int64, error)
}

// Cache is the files of one directory. It is safe for concurrent use.
type Cache struct {
	cfg   Config
	parts Parts
	lock  *os.File
	slots chan struct{} // of fetches that run

	mu       sync.Mutex
	blobs    map[string]*entry // whole files, by SHA-256
	partials map[string]*entry // files fetched in part
	flights  map[string]*flight
	pins     map[string]int
	refused  map[string]refusal // by hash and source
	stats    Stats
}

// entry is a file in the cache. Size and Modified are what it had when its
// content was last known to be right; a blob that differs is read again.
type entry struct {
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	LastUse  time.Time `json:"last_use"`
}

// refusal is a file that has another content than its hash says.
type refusal struct {
	err   error
	until time.Time
}

const (
	dirBlobs    = "blobs/sha256"
	dirPartials = "partial"
	dirViews    = "views"
	fileIndex   = "index.json"

	suffixPartial = ".partial"
	suffixJournal = ".json"
)

// Open opens the cache in cfg.Dir, which it makes if need be. What an earlier
// worker had begun to fetch is gone on with when it is asked for. durable.ErrInUse
// says that another has the directory.
func Open(cfg Config, parts Parts) (*Cache, error) {
	c := &Cache{
		cfg: cfg, parts: parts, slots: make(chan struct{}, cfg.Parallel),
		blobs: make(map[string]*entry), partials: make(map[string]*entry), flights: make(map[string]*flight),
		pins: make(map[string]int), refused: make(map[string]refusal), stats: Stats{Fetches: make(map[Series]int64), Bytes: make(map[string]int64)},
	}
	for _, dir := range []string{dirBlobs, dirPartials, dirViews} {
		if err := os.MkdirAll(c.path(dir), 0o700); err != nil {
			return nil, fmt.Errorf("cache: %w", err)
		}
	}
	var err error
	if c.lock, err = durable.Lock(cfg.Dir); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	if err := c.scan(); err != nil {
		return nil, errors.Join(fmt.Errorf("cache: %w", err), c.lock.Close())
	}
	return c, nil
}

// Close ends the fetches that run, and gives the directory back.
func (c *Cache) Close() error {
	c.mu.Lock()
	var running []*flight
	for _, f := range c.flights {
		f.cancel()
		running = append(running, f)
	}
	c.mu.Unlock()
	for _, f := range running {
		<-f.done
	}
	return c.lock.Close()
}

func (c *Cache) path(name string) string { return filepath.Join(c.cfg.Dir, filepath.FromSlash(name)) }

// Path is where the file with the given SHA-256 is, or will be.
func (c *Cache) Path(sha256 string) string { return filepath.Join(c.path(dirBlobs), sha256) }

func (c *Cache) partial(sha256 string) string {
	return filepath.Join(c.path(dirPartials), sha256+suffixPartial)
}

func (c *Cache) journal(sha256 string) string {
	return filepath.Join(c.path(dirPartials), sha256+suffixJournal)
}

// Has reports whether the file is there, and was not touched since its content
// was known to be right. Its size is returned.
func (c *Cache) Has(sha256 string) (size int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.has(sha256)
}

// Whole returns the files that are there and were known to be right when they
// were last looked at, and when each was last used, by SHA-256. It does not look
// at the disk.
func (c *Cache) Whole() map[string]time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]time.Time, len(c.blobs))
	for sha, e := range c.blobs {
		if !e.Modified.IsZero() {
			out[sha] = e.LastUse
		}
	}
	return out
}

func (c *Cache) has(sha256 string) (int64, bool) {
	e, ok := c.blobs[sha256]
	if !ok {
		return 0, false
	}
	info, err := os.Stat(c.Path(sha256))
	if err != nil || info.Size() != e.Size || !info.ModTime().Equal(e.Modified) {
		return 0, false
	}
	return e.Size, true
}

// Pin keeps the file, there or not yet, from being evicted until release is
// called.
func (c *Cache) Pin(sha256 string) (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pins[sha256]++
	c.touch(sha256)
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.pins[sha256]--; c.pins[sha256] == 0 {
			delete(c.pins, sha256)
		}
		c.touch(sha256)
	})
}

// touch notes a use. That it is lost when the disk does not take it costs no
// more than a worse choice of what to evict.
func (c *Cache) touch(sha256 string) {
	if e, ok := c.blobs[sha256]; ok {
		e.LastUse = c.parts.Clock.Now()
		if err := c.save(); err != nil {
			c.parts.Log.Warn("cache index is not written", slog.Any("error", err))
		}
	}
}

// Fetch returns the path of the file that want names once it is there. Callers
// that want the same file at once share one transfer, which ends when none is
// left. Pin the file first, or it may be evicted before it is used.
func (c *Cache) Fetch(ctx context.Context, want Want, src Source) (string, error) {
	if !isSHA256(want.SHA256) {
		return "", fmt.Errorf("cache: %q is not a SHA-256", want.SHA256)
	}
	for {
		f, err := c.join(ctx, want, src)
		if err != nil || f == nil {
			return c.Path(want.SHA256), err
		}
		select {
		case <-f.done:
			if f.abandoned {
				continue // the others left just before
			}
			return c.Path(want.SHA256), f.err
		case <-ctx.Done():
			if c.leave(f) {
				<-f.done // so that nothing goes on behind who gave up
			}
			return "", context.Cause(ctx)
		}
	}
}

func isSHA256(s string) bool { return regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(s) }
