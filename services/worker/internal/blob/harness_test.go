package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/worker/internal/fetch"
)

const kib = 1 << 10

// content is n bytes that depend on the seed, and their hash.
func content(seed uint64, n int) ([]byte, string) {
	data := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(data)
	return data, sum(data)
}

func sum(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

// fakeSource serves bytes as the test wants it.
type fakeSource struct {
	name string

	mu       sync.Mutex
	data     []byte
	size     int64 // told; that of the data when 0
	tag      string
	noRange  bool
	cutAfter []int         // bytes that each of the next answers brings
	errs     []error       // of the next openings
	wait     chan struct{} // bodies wait for it after their first half
	opens    []int64       // offsets asked for
	served   int
}

func newSource(data []byte) *fakeSource {
	return &fakeSource{name: "https://source.test/file", data: data, tag: `"v1"`}
}

func (s *fakeSource) Name() string { return s.name }
func (s *fakeSource) Kind() string { return "https" }

func (s *fakeSource) Open(ctx context.Context, offset int64, validator string) (*fetch.Content, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opens = append(s.opens, offset)
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		if err != nil {
			return nil, err
		}
	}
	if s.noRange || validator != "" && validator != s.tag {
		offset = 0
	}
	size := s.size
	if size == 0 {
		size = int64(len(s.data))
	}
	rest := s.data[min(offset, int64(len(s.data))):]
	end := io.EOF
	if len(s.cutAfter) > 0 {
		rest, end = rest[:min(s.cutAfter[0], len(rest))], io.ErrUnexpectedEOF
		s.cutAfter = s.cutAfter[1:]
	}
	return &fetch.Content{
		Body: &body{ctx: ctx, source: s, r: bytes.NewReader(rest), half: len(rest) / 2, end: end, wait: s.wait}, Offset: offset, Size: size, Validator: s.tag,
	}, nil
}

type body struct {
	ctx    context.Context
	source *fakeSource
	r      *bytes.Reader
	half   int
	end    error
	wait   chan struct{}
}

func (b *body) Read(p []byte) (int, error) {
	if b.wait != nil && b.r.Len() <= b.half {
		select {
		case <-b.wait:
		case <-b.ctx.Done():
			return 0, context.Cause(b.ctx)
		}
	}
	if b.wait != nil && b.r.Len() > b.half {
		p = p[:min(len(p), b.r.Len()-b.half)]
	}
	n, err := b.r.Read(p[:min(len(p), 4*kib)])
	b.source.mu.Lock()
	b.source.served += n
	b.source.mu.Unlock()
	if errors.Is(err, io.EOF) {
		err = b.end
	}
	return n, err
}

func (b *body) Close() error { return nil }

func (s *fakeSource) offsets() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]int64(nil), s.opens...)
}

// rig is a cache in a directory of its own, on a disk of its own.
type rig struct {
	*testing.T
	*Cache
	mu   sync.Mutex
	disk int64 // of it all
}

func testConfig(dir string) Config {
	cfg := DefaultConfig()
	cfg.Dir, cfg.MinFree, cfg.Attempts = dir, 0, 4
	cfg.BackoffMin, cfg.BackoffMax = time.Millisecond, 4*time.Millisecond
	return cfg
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	cfg := testConfig(t.TempDir())
	if change != nil {
		change(&cfg)
	}
	r := &rig{T: t, disk: 1 << 40}
	r.open(cfg)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func (r *rig) open(cfg Config) {
	r.Helper()
	c, err := Open(cfg, Parts{Clock: clock.Real(), Log: slog.New(slog.DiscardHandler), DiskFree: r.free})
	if err != nil {
		r.Fatal(err)
	}
	r.Cache = c
}

// reopen is what a restart of the worker does.
func (r *rig) reopen() {
	r.Helper()
	if err := r.Close(); err != nil {
		r.Fatal(err)
	}
	r.open(r.cfg)
}

// free is what the disk has left.
func (r *rig) free(dir string) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	free := r.disk
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // it went meanwhile
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			free -= info.Size()
		}
		return nil
	})
	return free, err
}

// get fetches and checks what came.
func (r *rig) get(want Want, src Source) error {
	r.Helper()
	path, err := r.Fetch(r.Context(), want, src)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		r.Fatal(err)
	}
	if sum(data) != want.SHA256 {
		r.Fatalf("the file of %d bytes is not the one that was asked for", len(data))
	}
	return nil
}

// files lists what is in a directory of the cache.
func (r *rig) files(dir string) []string {
	r.Helper()
	list, err := os.ReadDir(r.path(dir))
	if err != nil {
		r.Fatal(err)
	}
	var names []string
	for _, d := range list {
		names = append(names, d.Name())
	}
	return names
}
