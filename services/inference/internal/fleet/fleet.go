// Package fleet knows the workers: where they are, what each has loaded, how
// busy it is and whether it can be reached. Discovery says who there is; each
// worker's state stream says the rest, and is the better judge of whether a
// worker lives. The package does not decide who gets a request or a model; start
// reading at Fleet, then at View.
package fleet

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/backoff"
	"github.com/poterne/poterne/services/inference/internal/watched"
)

// Dialer opens a connection to a worker, which may connect later. closeConn
// may be nil.
type Dialer func(in discovery.Instance) (conn grpc.ClientConnInterface, closeConn func() error, err error)

// Options is what a Fleet needs.
type Options struct {
	Source discovery.Source
	// Service is the workers' name in discovery.
	Service string
	// Replica is this process's name to the workers, by which they tell its
	// requests from others'.
	Replica string
	Dial    Dialer
	Clock   clock.Clock
	Logger  *slog.Logger
	// Backoff spaces the tries to open a worker's state stream.
	Backoff backoff.Policy
	// SilenceTimeout is how old a worker's last state may be; a stream that
	// brings nothing for longer is taken for dead.
	SilenceTimeout time.Duration
	// MaxWorkers bounds how many workers are followed.
	MaxWorkers int
}

// Fleet follows all workers. View and Watch may be called from any goroutine.
type Fleet struct {
	opts Options
	view *watched.Value[*View]
	wg   sync.WaitGroup

	mu      sync.Mutex
	members map[memberKey]*member
	pending map[*member]bool // of the first set, not heard yet; nil before it
	settled bool
	ids     atomic.Uint32 // of copies

	// changes counts what changed the view, and shown is how many of them the
	// present one has.
	changes atomic.Uint64
	shown   uint64
}

// memberKey tells workers apart: one that comes back at another address is
// another connection.
type memberKey struct{ id, addr string }

// New returns a fleet that knows nobody until Run.
func New(opts Options) *Fleet {
	return &Fleet{opts: opts, view: watched.New(newView(nil, false)), members: make(map[memberKey]*member)}
}

// View returns the present view, never nil.
func (f *Fleet) View() *View { return f.view.Get() }

// Watch returns the present view and a channel that is closed once there is
// another.
func (f *Fleet) Watch() (*View, <-chan struct{}) { return f.view.Watch() }

// Run follows discovery and the workers until ctx ends.
func (f *Fleet) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer f.end()
	defer f.wg.Wait()
	defer cancel()
	sets := f.opts.Source.Watch(ctx, f.opts.Service)
	for {
		select {
		case set, ok := <-sets:
			if !ok {
				<-ctx.Done()
				return nil
			}
			f.apply(ctx, set)
		case <-ctx.Done():
			return nil
		}
	}
}

// end closes the connections; nobody follows the workers any more.
func (f *Fleet) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, m := range f.members {
		m.worker.retire()
		delete(f.members, key)
	}
	f.publish()
}

// apply takes over discovery's newest set.
func (f *Fleet) apply(ctx context.Context, set []discovery.Instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	listed := make(map[memberKey]bool, len(set))
	addrOf := make(map[string]string, len(set))
	for _, in := range set {
		listed[memberKey{in.ID, in.Addr}] = true
		addrOf[in.ID] = in.Addr
	}
	for key, m := range f.members {
		m.listed = listed[key]
		addr, moved := addrOf[key.id]
		moved = moved && addr != key.addr
		// A worker that still reports is alive, whatever discovery lost.
		if !m.listed && (moved || !m.worker.Report().Connected) {
			f.drop(ctx, key, m)
		}
	}
	for _, in := range set {
		f.add(ctx, in)
	}
	if f.pending == nil {
		f.pending = make(map[*member]bool, len(f.members))
		for _, m := range f.members {
			f.pending[m] = true
		}
	}
	f.publish()
}

// add follows a worker that is not followed yet; f.mu is held.
func (f *Fleet) add(ctx context.Context, in discovery.Instance) {
	key := memberKey{in.ID, in.Addr}
	if _, ok := f.members[key]; ok {
		return
	}
	if len(f.members) >= f.opts.MaxWorkers {
		f.opts.Logger.WarnContext(ctx, "too many workers: one is left out",
			slog.String("worker", in.ID), slog.Int("limit", f.opts.MaxWorkers))
		return
	}
	conn, closeConn, err := f.opts.Dial(in)
	if err != nil {
		f.opts.Logger.ErrorContext(ctx, "the worker cannot be dialled", slog.String("worker", in.ID),
			slog.String("addr", in.Addr), slog.Any("error", err))
		return
	}
	worker := newWorker(in, workerv1.NewWorkerServiceClient(conn), closeConn, &f.ids, f.opts.Clock.Now())
	ctx, cancel := context.WithCancel(ctx)
	m := &member{fleet: f, key: key, worker: worker, listed: true, cancel: cancel}
	f.members[key] = m
	f.opts.Logger.InfoContext(ctx, "worker found", slog.String("worker", in.ID), slog.String("addr", in.Addr))
	f.wg.Go(func() { m.run(ctx) })
}

// drop forgets a worker; f.mu is held.
func (f *Fleet) drop(ctx context.Context, key memberKey, m *member) {
	f.opts.Logger.InfoContext(ctx, "worker gone", slog.String("worker", m.worker.ID()), slog.String("addr", key.addr))
	m.cancel()
	m.worker.retire()
	delete(f.members, key)
	f.heard(m)
}

// heard notes that the first word of m came, or will never come; f.mu is held.
func (f *Fleet) heard(m *member) { delete(f.pending, m) }

// show makes a new view of a change that a member counted, unless the present one
// has it: of a thousand workers that come together, which wait here for each
// other, each would make a view of all; f.mu is held.
func (f *Fleet) show(change uint64) {
	settles := !f.settled && f.pending != nil && len(f.pending) == 0
	if change > f.shown || settles {
		f.publish()
	}
}

// publish makes a new view; f.mu is held.
func (f *Fleet) publish() {
	// Who counts a change has made it.
	f.shown = f.changes.Load()
	f.settled = f.settled || (f.pending != nil && len(f.pending) == 0)
	workers := make([]*Worker, 0, len(f.members))
	for m := range maps.Values(f.members) {
		workers = append(workers, m.worker)
	}
	f.view.Set(newView(slices.Clip(workers), f.settled))
}
