package models

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/edge/internal/authz"
)

const (
	// silence is how long a stream may bring nothing before it is taken for dead: the
	// registry says every few seconds that nothing happened.
	silence = 12 * time.Second
	// The pauses before the registry is asked again.
	firstPause, longestPause = 100 * time.Millisecond, 5 * time.Second
	// maxModels bounds what a registry may make this process hold.
	maxModels = 10_000
)

// Registry is what the follower needs of the registry.
type Registry interface {
	Watch(ctx context.Context, in *registryv1.WatchRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[registryv1.WatchResponse], error)
}

// Deps is what a Follower works with; Report may be nil.
type Deps struct {
	// Registry is followed; nil: there is none, and nothing is known.
	Registry Registry
	// Platform is the tenant whose callers see every model.
	Platform string
	Clock    clock.Clock
	Log      *slog.Logger
	// Report is told, on every change, what is wrong; "" when nothing is.
	Report func(problem string)
}

// Follower keeps what is known in step with the registry. While that is away, what
// was known goes on. It is safe for concurrent use.
type Follower struct {
	d       Deps
	set     atomic.Pointer[Set]
	current atomic.Bool
	heard   atomic.Int64 // when the registry last said something, in microseconds; 0: never
	states  int64        // how many states of models there were
	present atomic.Pointer[present]
	changes int64 // how many presents there were
}

// present is where in the registry's history what is known is. It is not changed once
// made.
type present struct{ change, revision int64 }

// NewFollower returns one that knows nothing until its component runs.
func NewFollower(d Deps) *Follower {
	if d.Report == nil {
		d.Report = func(string) {}
	}
	return &Follower{d: d}
}

// Find implements authz.Models. What is not there while the registry is away may have
// been made since: that is not known.
func (f *Follower) Find(name, reference, tenant string) (*authz.ModelFacts, error) {
	set := f.set.Load()
	if set == nil {
		return nil, authz.ErrModelsUnknown
	}
	m, err := set.Find(name, reference, tenant, f.d.Platform)
	if err != nil && !f.current.Load() {
		return nil, authz.ErrModelsUnknown
	}
	return m, err
}

// Any reports whether callers of the tenant know a model of a name that is meant; true
// where that is not known.
func (f *Follower) Any(tenant string, meant func(name string) bool) bool {
	set := f.set.Load()
	return set == nil || !f.current.Load() || set.Any(tenant, f.d.Platform, meant)
}

// Age returns how long ago the registry last said something; false: it never did.
func (f *Follower) Age() (time.Duration, bool) {
	at := f.heard.Load()
	if at == 0 {
		return 0, false
	}
	return max(0, f.d.Clock.Now().Sub(time.UnixMicro(at))), true
}

// Present returns the registry's revision as far as it was told, of prompts as of models,
// and a number that is another one after anything changed and each time that the stream
// was lost; 0 while there is none. The stream may have been dead for as long as silence
// without that being known.
func (f *Follower) Present() (change, revision int64) {
	p := f.present.Load()
	if p == nil {
		return 0, 0
	}
	return p.change, p.revision
}

// move notes where in the registry's history what is known is now. A heartbeat says that
// nothing happened, unless it brings a revision that was of something else.
func (f *Follower) move(msg *registryv1.WatchResponse) {
	revision := msg.GetRevision()
	if p := f.present.Load(); p != nil && msg.GetHeartbeat() != nil && p.revision == revision {
		return
	}
	f.changes++
	f.present.Store(&present{change: f.changes, revision: revision})
}

// Component returns the part that follows the registry.
func (f *Follower) Component() lifecycle.Component {
	return lifecycle.Component{Name: "models", Run: func(ctx context.Context) error {
		pause := firstPause
		for ctx.Err() == nil && f.d.Registry != nil {
			before := f.heard.Load()
			f.ended(ctx, f.follow(ctx), pause == firstPause)
			if f.heard.Load() != before {
				pause = firstPause
			}
			_ = clock.Sleep(ctx, f.d.Clock, pause) // ctx is looked at next
			pause = min(2*pause, longestPause)     //nolint:mnd // doubled
		}
		return nil
	}}
}

// ended tells, once, that the registry cannot be followed.
func (f *Follower) ended(ctx context.Context, err error, first bool) {
	f.present.Store(nil)
	if was := f.current.Swap(false); ctx.Err() != nil || !was && !first {
		return
	}
	problem := "the registry was not reached yet: rules that ask for labels, versions or arms refuse"
	if f.set.Load() != nil {
		problem = "the registry is away: rules ask for labels, versions and arms as they were at " +
			time.UnixMicro(f.heard.Load()).UTC().Format(time.RFC3339)
	}
	f.d.Report(problem)
	level := slog.LevelWarn
	if status.Code(err) == codes.Unimplemented {
		level = slog.LevelDebug // an older registry, or none
	}
	f.d.Log.LogAttrs(ctx, level, "the registry cannot be followed", slog.String("problem", problem), telemetry.Err(err))
}

// follow runs one stream, from a whole snapshot.
func (f *Follower) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	heard := make(chan struct{}, 1)
	go f.guard(ctx, heard, cancel)
	stream, err := f.d.Registry.Watch(ctx, &registryv1.WatchRequest{Prompts: true}) // their revisions count in Present
	if err != nil {
		return fmt.Errorf("watch the registry: %w", err)
	}
	var parts *Set // of a snapshot that is not whole
	for {
		msg, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("watch the registry: %w", errors.Join(err, context.Cause(ctx)))
		}
		select {
		case heard <- struct{}{}:
		default:
		}
		if parts, err = f.apply(msg, parts); err != nil {
			return err
		}
	}
}

// guard ends a stream on which nothing is heard.
func (f *Follower) guard(ctx context.Context, heard <-chan struct{}, end context.CancelCauseFunc) {
	timer := f.d.Clock.NewTimer(silence)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-heard:
			timer.Reset(silence)
		case <-timer.C():
			end(fmt.Errorf("nothing was heard for %v", silence))
			return
		}
	}
}

// apply takes a message in. It returns the snapshot that is not whole yet, or nil.
func (f *Follower) apply(msg *registryv1.WatchResponse, parts *Set) (*Set, error) {
	known := f.set.Load()
	switch e := msg.GetEvent().(type) {
	case *registryv1.WatchResponse_Snapshot:
		if e.Snapshot.GetFirst() {
			parts = &Set{models: make(map[string]*model)}
		}
		if parts == nil {
			return nil, errors.New("watch the registry: a snapshot began without its first part")
		}
		for _, s := range e.Snapshot.GetModels() {
			parts.models[s.GetModel().GetName()] = f.read(s)
		}
		if len(parts.models) > maxModels {
			return nil, fmt.Errorf("watch the registry: there are more than %d models", maxModels)
		}
		if !e.Snapshot.GetLast() {
			return parts, nil
		}
		known = parts
	case *registryv1.WatchResponse_Changed:
		if known == nil || !f.current.Load() {
			return nil, errors.New("watch the registry: a change came before the snapshot")
		}
		if known = known.with(e.Changed.GetModel().GetName(), f.read(e.Changed)); len(known.models) > maxModels {
			return nil, fmt.Errorf("watch the registry: there are more than %d models", maxModels)
		}
	case *registryv1.WatchResponse_Removed:
		if known == nil || !f.current.Load() {
			return nil, errors.New("watch the registry: a change came before the snapshot")
		}
		known = known.without(e.Removed)
	case *registryv1.WatchResponse_Heartbeat, *registryv1.WatchResponse_PromptChanged:
	default:
		return nil, errors.New("watch the registry: an event of an unknown kind came")
	}
	f.heard.Store(f.d.Clock.Now().UnixMicro())
	if known != nil {
		f.set.Store(known)
	}
	if _, whole := msg.GetEvent().(*registryv1.WatchResponse_Snapshot); whole && !f.current.Swap(true) {
		f.d.Report("")
	}
	if f.current.Load() {
		f.move(msg)
	}
	return nil, nil //nolint:nilnil // nothing is left over
}

// read gives every state that comes another name: what was decided by one is not
// taken for a decision by another.
func (f *Follower) read(s *registryv1.ModelState) *model {
	f.states++
	return read(s, strconv.FormatInt(f.states, 36))
}
