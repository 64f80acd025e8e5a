package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/signing"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/backoff"
	"github.com/poterne/poterne/services/inference/internal/silence"
	"github.com/poterne/poterne/services/inference/internal/watched"
)

// MaxModels bounds what one registry may make this process hold.
const MaxModels = 10_000

// FollowerOptions is what a Follower needs.
type FollowerOptions struct {
	Registry registryv1.RegistryServiceClient
	Clock    clock.Clock
	Logger   *slog.Logger
	// Backoff spaces the tries to reach the registry.
	Backoff backoff.Policy
	// SilenceTimeout is how long a stream may bring nothing, heartbeats
	// included, before it is taken for dead.
	SilenceTimeout time.Duration
	// File, when set, keeps the last snapshot for a start without the registry.
	File *File
	// Applied, when set, is told the revision of every snapshot published.
	Applied func(revision int64)
	// Trust says which versions may serve; the zero value lets all.
	Trust signing.Policy
}

// Follower keeps the snapshot in step with the registry. Snapshot, Watch and
// Current may be called from any goroutine.
type Follower struct {
	opts    FollowerOptions
	value   *watched.Value[*Snapshot]
	current atomic.Bool
}

// NewFollower returns a follower that knows nothing until Run.
func NewFollower(opts FollowerOptions) *Follower {
	return &Follower{opts: opts, value: watched.New[*Snapshot](nil)}
}

// Snapshot returns the last state known, or nil before the first one.
func (f *Follower) Snapshot() *Snapshot { return f.value.Get() }

// Watch returns the last state known, and a channel that is closed once there
// is another.
func (f *Follower) Watch() (*Snapshot, <-chan struct{}) { return f.value.Watch() }

// Current reports whether the snapshot is the registry's present state, as far
// as a living watch stream can tell.
func (f *Follower) Current() bool { return f.current.Load() }

// Load starts from the file, when there is one that can be read. What is wrong
// with it is logged and does not prevent the start.
func (f *Follower) Load(ctx context.Context) {
	if f.opts.File == nil {
		return
	}
	s, err := f.opts.File.Read()
	s = s.Trusting(f.opts.Trust)
	switch {
	case err != nil:
		f.opts.Logger.WarnContext(ctx, "the registry's last snapshot cannot be used", slog.Any("error", err))
	case s != nil:
		f.opts.Logger.InfoContext(ctx, "started from the registry's last snapshot",
			slog.Int64("revision", s.Revision()), slog.Int("models", s.Len()))
		f.publish(s)
	}
}

// Run follows the registry until ctx ends, and keeps the file in step. It starts from a whole snapshot,
// because a file may come from another registry's history, and resumes from the
// last revision after that.
func (f *Follower) Run(ctx context.Context) error {
	var saving sync.WaitGroup
	defer saving.Wait()
	if f.opts.File != nil {
		kept, changed := f.Watch() // before anything can be published
		saving.Go(func() { f.keep(ctx, kept, changed) })
	}
	var from position
	failures := 0
	for ctx.Err() == nil {
		progressed, err := f.follow(ctx, &from)
		f.current.Store(false)
		if ctx.Err() != nil {
			break
		}
		if outOfRange(err) && from.revision != 0 {
			f.opts.Logger.InfoContext(ctx, "the registry no longer has the revision: taking a snapshot",
				slog.Int64("revision", from.revision))
			from = position{}
			continue
		}
		failures++
		if progressed {
			failures = 1
		}
		wait := f.opts.Backoff.Wait(failures)
		level := slog.LevelWarn
		if failures > 1 {
			level = slog.LevelDebug // said once is enough
		}
		f.opts.Logger.LogAttrs(ctx, level, "the registry's watch stream ended: the last state stays",
			slog.Any("error", err), slog.Duration("retry_in", wait))
		if clock.Sleep(ctx, f.opts.Clock, wait) != nil {
			break
		}
	}
	return nil
}

// outOfRange reports whether the registry asks for a start from 0. A registry
// whose interceptors speak only the common taxonomy says INVALID_ARGUMENT.
func outOfRange(err error) bool {
	switch status.Code(err) {
	case codes.OutOfRange, codes.InvalidArgument:
		return true
	default:
		return false
	}
}

// position is where the stream goes on; the zero value asks for a snapshot. The etag
// tells the registry whether the revision is one of its own.
type position struct {
	revision int64
	etag     string
}

// follow runs one stream. It moves from on, and reports whether any message
// came.
func (f *Follower) follow(ctx context.Context, from *position) (progressed bool, err error) {
	ctx, heard, stop := silence.Guard(ctx, f.opts.Clock, f.opts.SilenceTimeout)
	defer stop()
	if s := f.Snapshot(); from.revision != 0 && !s.withPrompts {
		*from = position{} // the registry may have learnt of prompts: a resumption would not tell those that are there
	}
	stream, err := f.opts.Registry.Watch(ctx, &registryv1.WatchRequest{FromRevision: from.revision, FromEtag: from.etag, Prompts: true})
	if err != nil {
		return false, fmt.Errorf("watch the registry: %w", err)
	}
	b := builder{trust: f.opts.Trust}
	if from.revision != 0 {
		b.base = f.Snapshot()
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			return progressed, fmt.Errorf("watch the registry: %w", errors.Join(err, context.Cause(ctx)))
		}
		heard()
		progressed = true
		next, err := b.apply(msg)
		if err != nil {
			*from = position{}
			return progressed, fmt.Errorf("watch the registry: %w", err)
		}
		if next == nil {
			continue
		}
		*from = position{next.Revision(), msg.GetEtag()}
		if next.Revision() != f.revision() || !f.Current() {
			f.publish(next)
		}
		f.current.Store(true)
	}
}

func (f *Follower) revision() int64 {
	if s := f.Snapshot(); s != nil {
		return s.Revision()
	}
	return -1
}

func (f *Follower) publish(s *Snapshot) {
	f.value.Set(s)
	if f.opts.Applied != nil {
		f.opts.Applied(s.Revision())
	}
}
