// Package artifact finds the files that a model's spec names, on this machine or
// elsewhere, and sees that they are what the spec says. It knows nothing of
// models; start reading at Store, and for files elsewhere at Set.
package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/telemetry"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/durable"
)

// Store is the files of this machine. It remembers which it has read through,
// by path, size and time of change, also across restarts. It is safe for
// concurrent use.
type Store struct {
	roots  []string // without links
	given  []string // as they are configured
	cache  string   // file; empty: not kept
	remote *Remote  // nil: only files of this machine
	log    *slog.Logger

	mu   sync.Mutex
	seen map[string]seen // by path

	reading sync.Mutex // one file at a time: disks do not like more
}

type seen struct {
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	SHA256   string    `json:"sha256"`
}

// NewStore returns a store that serves files under the given directories only,
// or any file when there are none. What it learns is kept in the file cache
// unless that is empty.
func NewStore(roots []string, cache string, log *slog.Logger) (*Store, error) {
	s := &Store{cache: cache, log: log, seen: make(map[string]seen)}
	for _, r := range roots {
		root, err := filepath.EvalSymlinks(r)
		if err != nil {
			return nil, fmt.Errorf("artifact root: %w", err)
		}
		s.roots, s.given = append(s.roots, root), append(s.given, r)
	}
	if cache != "" {
		// What cannot be read is learnt again.
		if data, err := os.ReadFile(cache); err == nil && json.Unmarshal(data, &s.seen) != nil {
			s.seen = make(map[string]seen)
		}
	}
	return s, nil
}

// Locate returns the path of the artifact and checks its size, not its content.
// index is its place in the spec, for errors.
func (s *Store) Locate(a *commonv1.Artifact, index int) (string, error) {
	field := fmt.Sprintf("spec.artifacts[%d]", index)
	u, err := url.Parse(a.GetUri())
	if err != nil || u.Scheme != "file" || u.Host != "" || !filepath.IsAbs(u.Path) {
		return "", apierr.Invalid(field+".uri", "this worker reads file:///absolute/path only, not %q", redact(a.GetUri()))
	}
	outside := func() error {
		return apierr.New(apierr.FailedPrecondition, "artifact %d is outside the directories that this worker reads: %s", index, u.Path)
	}
	path, err := filepath.EvalSymlinks(u.Path)
	if err != nil && !s.named(u.Path) {
		// Who may name any path must not learn which ones there are.
		return "", outside()
	}
	if err != nil {
		return "", apierr.Wrap(apierr.FailedPrecondition, err, "artifact %d is not on this worker: %s", index, u.Path)
	}
	if !s.allowed(path) {
		return "", outside()
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", apierr.Wrap(apierr.FailedPrecondition, err, "artifact %d cannot be read: %s", index, u.Path)
	case !info.Mode().IsRegular():
		return "", apierr.New(apierr.FailedPrecondition, "artifact %d is not a file: %s", index, u.Path)
	case a.GetSizeBytes() != 0 && info.Size() != a.GetSizeBytes():
		return "", apierr.New(apierr.FailedPrecondition, "artifact %d has %d bytes on this worker, not %d: %s",
			index, info.Size(), a.GetSizeBytes(), u.Path)
	}
	return path, nil
}

// allowed reports whether a path without links is under one of the roots.
func (s *Store) allowed(path string) bool { return len(s.roots) == 0 || under(s.roots, path) }

// named reports whether a path is written as one under a root, wherever its links
// lead.
func (s *Store) named(path string) bool {
	return len(s.roots) == 0 || under(s.roots, path) || under(s.given, path)
}

func under(roots []string, path string) bool {
	for _, root := range roots {
		if rel, err := filepath.Rel(root, path); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			return true
		}
	}
	return false
}

// Verify reads the file through, unless it did so before and the file has not
// changed since, and returns an error when its SHA-256 is not want.
func (s *Store) Verify(ctx context.Context, path, want string) error {
	if now, err := filepath.EvalSymlinks(path); err != nil || !s.allowed(now) {
		// It was looked at when the model was admitted, and may be a link by now.
		return apierr.Wrap(apierr.FailedPrecondition, err, "%s is not in the directories that this worker reads any more", path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("artifact: %w", err)
	}
	now := seen{Size: info.Size(), Modified: info.ModTime().UTC()}
	s.mu.Lock()
	known, ok := s.seen[path]
	s.mu.Unlock()
	if !ok || known.Size != now.Size || !known.Modified.Equal(now.Modified) {
		if now.SHA256, err = s.sum(ctx, path); err != nil {
			return fmt.Errorf("artifact: %w", err)
		}
		known = now
		if err := s.remember(path, now); err != nil {
			// The file is what it should be all the same: it is read again after a
			// restart, which is all.
			s.log.WarnContext(ctx, "what is known of artifacts cannot be kept", telemetry.Err(err))
		}
	}
	if known.SHA256 != want {
		// The hash that it has is not told: who may name any path would learn the
		// hash of any file that the worker can read.
		return apierr.New(apierr.FailedPrecondition, "%s does not have the SHA-256 %s", path, want)
	}
	return nil
}

func (s *Store) sum(ctx context.Context, path string) (string, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.CopyBuffer(h, &reader{ctx, f}, make([]byte, 1<<20)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// reader ends a long read when the context does.
type reader struct {
	ctx context.Context //nolint:containedctx // lives for one read of a file
	f   *os.File
}

func (r *reader) Read(b []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.f.Read(b)
}

func (s *Store) remember(path string, what seen) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[path] = what
	if s.cache == "" {
		return nil
	}
	data, err := json.Marshal(s.seen)
	if err != nil {
		return fmt.Errorf("artifact cache: %w", err)
	}
	if err := durable.Replace(s.cache, data); err != nil {
		return fmt.Errorf("artifact cache: %w", err)
	}
	return nil
}
