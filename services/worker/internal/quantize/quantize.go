// Package quantize makes smaller weights of a model by the engine's own programs,
// llama.cpp's llama-quantize and llama-perplexity, and keeps what was made and
// measured, so that nothing is made or measured twice. It knows nothing of models,
// versions or who asks; start reading at Maker.
package quantize

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/worker/internal/durable"
	"github.com/poterne/poterne/services/worker/internal/process"
)

// Config bounds what is made.
type Config struct {
	// Directory is where it is kept; empty is quantized in the state directory. One
	// worker at a time uses it. Nothing in it is ever removed by the worker: the
	// registry's variants name these files.
	Directory string `yaml:"directory"`
	// MaxBytes bounds what is kept there together; 0 is as much as the disk has.
	MaxBytes config.Bytes `yaml:"max_bytes"`
	// MinFree is what must stay free on the disk.
	MinFree config.Bytes `yaml:"min_free"`
	// Timeout bounds one quantisation with its measurements, once its files are
	// here.
	Timeout time.Duration `yaml:"timeout"`
	// Threads is how many the programs get when the request does not say; 0 is half
	// of the processors. They give way to engines either way.
	Threads int `yaml:"threads"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{MaxBytes: 256 * config.GiB, MinFree: config.GiB, Timeout: 6 * time.Hour}
}

const maxThreads = 1024

// Validate notes what is wrong.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.Directory == "" || filepath.IsAbs(c.Directory), prefix+".directory", "must be absolute, got %q", c.Directory)
	p.Check(c.MaxBytes >= 0, prefix+".max_bytes", "must not be negative, got %v", c.MaxBytes)
	p.Check(c.MinFree >= 0, prefix+".min_free", "must not be negative, got %v", c.MinFree)
	p.Check(c.Timeout >= time.Second && c.Timeout <= 7*24*time.Hour, prefix+".timeout", "must be from 1s to 168h, got %v", c.Timeout)
	p.Check(c.Threads >= 0 && c.Threads <= maxThreads, prefix+".threads", "must be from 0 to %d, got %d", maxThreads, c.Threads)
}

// Program is one of the programs.
type Program interface {
	// Path is where it is; the error says that it is not there.
	Path() (string, error)
}

// Weights is what a file of weights tells by its head.
type Weights struct {
	// Parameters is how many numbers it holds, and Largest how many its largest
	// tensor does.
	Parameters, Largest int64
	// Quantized says that some of them are quantised already.
	Quantized bool
	// TrainedContext is the longest window that makes sense; 0 when not known.
	TrainedContext int
	// MeasureBytes is what measuring takes of the main memory, by the window.
	MeasureBytes func(window int) int64
}

// Parts is what the maker works with. All are needed.
type Parts struct {
	Quantize, Perplexity Program
	Ledger               *process.Ledger
	Log                  *slog.Logger
	// DiskFree is what may still be written where a directory lies.
	DiskFree func(dir string) (int64, error)
	// Read reads the head of a file of weights.
	Read func(path string) (Weights, error)
	// Verify sees that a file has the SHA-256 that it should have.
	Verify func(ctx context.Context, path, sha256 string) error
}

// Maker makes weights, one at a time. It is safe for concurrent use.
type Maker struct {
	cfg   Config
	parts Parts
	lock  *os.File

	busy sync.Mutex // held by what is being made

	asking chan struct{} // holds one while the program is asked
	mu     sync.Mutex
	offer  *Offer // nil: not asked yet
}

// New returns a maker that keeps what it makes in cfg.Directory. What an earlier
// one left unfinished there is removed.
func New(cfg Config, parts Parts) (*Maker, error) {
	if err := os.MkdirAll(cfg.Directory, 0o700); err != nil {
		return nil, fmt.Errorf("quantize: %w", err)
	}
	dir, err := filepath.EvalSymlinks(cfg.Directory) // files are named by where they are
	if err != nil {
		return nil, fmt.Errorf("quantize: %w", err)
	}
	cfg.Directory = dir
	m := &Maker{cfg: cfg, parts: parts, asking: make(chan struct{}, 1)}
	if m.lock, err = durable.Lock(dir); err != nil {
		return nil, fmt.Errorf("quantize: %w", err)
	}
	if err := m.tidy(); err != nil {
		_ = m.lock.Close()
		return nil, fmt.Errorf("quantize: %w", err)
	}
	return m, nil
}

// Close gives the directory back.
func (m *Maker) Close() error { return m.lock.Close() }

// Directory is where what is made lies.
func (m *Maker) Directory() string { return m.cfg.Directory }

// busyRetry is when to ask again whether another is done.
const busyRetry = 30 * time.Second

// Begin has the caller be the one for whom something is made, until it calls end.
func (m *Maker) Begin() (end func(), err error) {
	if !m.busy.TryLock() {
		return nil, apierr.New(apierr.Overloaded, "this worker is quantising other weights, and makes one at a time").WithRetryAfter(busyRetry)
	}
	return m.busy.Unlock, nil
}
