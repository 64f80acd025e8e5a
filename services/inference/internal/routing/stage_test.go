package routing_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/inproc"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/backoff"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/poison"
	"github.com/poterne/poterne/services/inference/internal/routing"
	"github.com/poterne/poterne/services/inference/internal/schedule"
)

const (
	ready   = workerv1.ModelState_MODEL_STATE_READY
	loading = workerv1.ModelState_MODEL_STATE_LOADING
)

// stage is a router over workers w0, w1 and so on, in a synctest bubble.
type stage struct {
	t *testing.T

	digest  string
	workers []*fakes.Worker
	fleet   *fleet.Fleet
	router  *routing.Router
	pending bool
	asked   int // whether a load is pending
	print   func() uint64
	forms   []string // the variants that may serve

	mu  sync.Mutex
	log []string // the workers tried, in order
}

func newStage(t *testing.T, n int) *stage {
	t.Helper()
	s := &stage{t: t, digest: fakes.Digest("m")}
	source := discovery.NewMemory()
	set := make([]discovery.Instance, n)
	byAddr := make(map[string]*fakes.Worker, n)
	for i := range n {
		id := fmt.Sprintf("w%d", i)
		w := fakes.NewWorker(id)
		w.Set(s.digest, ready)
		s.workers = append(s.workers, w)
		byAddr[id] = w
		set[i] = discovery.Instance{ID: id, Service: "poterne-worker", Addr: id}
	}
	source.Set("poterne-worker", set)
	s.fleet = fleet.New(fleet.Options{
		Source: source, Service: "poterne-worker", Clock: clock.Real(), Logger: slog.New(slog.DiscardHandler),
		Dial: func(in discovery.Instance) (grpc.ClientConnInterface, func() error, error) {
			conn := inproc.New(fakes.Chain(), func(r grpc.ServiceRegistrar) {
				workerv1.RegisterWorkerServiceServer(r, byAddr[in.Addr])
			})
			return conn, nil, nil
		},
		Backoff: backoff.Policy{Base: time.Second, Max: time.Second}, SilenceTimeout: 5 * time.Second, MaxWorkers: 100,
	})
	var bits uint64
	strategy := &schedule.LeastLoad{Picker: &routing.Picker{Now: time.Now, Random: func() uint64 { bits++; return bits * 7919 }}}
	s.router = routing.New(routing.Options{
		Views: s.fleet, Clock: clock.Real(), Scheduler: schedule.New(schedule.Options{
			Views: s.fleet, Clock: clock.Real(), Strategy: strategy, MaxQueued: 100, MaxQueuedBytes: 1 << 20,
			MaxWait: [3]time.Duration{time.Minute, time.Minute, time.Minute},
		}),
		MaxAttempts: 3, WaitForReady: 10 * time.Second, MaxWaiters: 4,
		Pending: func(string, bool) bool { s.asked++; return s.pending },
		Poison:  poison.New(poison.Config{Engines: 2, Among: 3, For: time.Minute, Max: 10}, clock.Real()),
	})
	go func() { _ = s.fleet.Run(t.Context()) }()
	synctest.Wait()
	return s
}

func (s *stage) query() *routing.Query {
	return &routing.Query{
		Request: schedule.Request{Digest: s.digest, Name: "m@v1", Key: "key", Variants: s.forms}, Referenced: true, WaitForReady: -1, Print: s.print,
	}
}

// do runs a request that each worker answers as answer says.
func (s *stage) do(ctx context.Context, answer func(worker string) (bool, error)) error {
	return s.router.Do(ctx, s.query(), func(_ context.Context, run *routing.Run) (bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		worker := run.Copy().Worker().ID()
		s.log = append(s.log, worker)
		if run.Attempt() != len(s.log) {
			return false, fmt.Errorf("attempt %d is numbered %d", len(s.log), run.Attempt())
		}
		return answer(worker)
	})
}

// lost is what gRPC says of a connection that broke.
func lost() error { return status.Error(codes.Unavailable, "error reading from server: EOF") }
