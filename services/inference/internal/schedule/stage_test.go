package schedule_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/inproc"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/backoff"
	"github.com/poterne/poterne/services/inference/internal/fair"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/prefix"
	"github.com/poterne/poterne/services/inference/internal/schedule"
)

const ready = workerv1.ModelState_MODEL_STATE_READY

// stage is a scheduler over workers w0, w1 and so on, each with one copy, in a
// synctest bubble.
type stage struct {
	t *testing.T

	digest  string
	workers []*fakes.Worker
	fleet   *fleet.Fleet
	opts    schedule.Options
	sched   *schedule.Scheduler
	refused map[schedule.Refusal]int
}

// bubble runs a test with n workers of the given slots.
func bubble(t *testing.T, n int, slots int32, fn func(s *stage)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, n, slots)
		fn(s)
	})
}

func newStage(t *testing.T, n int, slots int32) *stage {
	t.Helper()
	s := &stage{t: t, digest: fakes.Digest("m"), refused: map[schedule.Refusal]int{}}
	source := discovery.NewMemory()
	set := make([]discovery.Instance, n)
	byAddr := make(map[string]*fakes.Worker, n)
	for i := range n {
		id := fmt.Sprintf("w%d", i)
		w := fakes.NewWorker(id)
		w.Set(s.digest, ready)
		w.Report(s.digest, slots, 0, 0)
		s.workers = append(s.workers, w)
		byAddr[id] = w
		set[i] = discovery.Instance{ID: id, Service: "poterne-worker", Addr: id}
	}
	source.Set("poterne-worker", set)
	s.fleet = fleet.New(fleet.Options{
		Source: source, Service: "poterne-worker", Clock: clock.Real(), Logger: slog.New(slog.DiscardHandler),
		Dial: func(in discovery.Instance) (grpc.ClientConnInterface, func() error, error) {
			return inproc.New(fakes.Chain(), func(r grpc.ServiceRegistrar) {
				workerv1.RegisterWorkerServiceServer(r, byAddr[in.Addr])
			}), nil, nil
		},
		Backoff: backoff.Policy{Base: time.Second, Max: time.Second}, SilenceTimeout: 5 * time.Second, MaxWorkers: 2000,
	})
	var bits uint64
	s.opts = schedule.Options{
		Views: s.fleet, Clock: clock.Real(), MaxQueued: 100, MaxQueuedBytes: 1 << 20,
		Strategy: &schedule.Scored{
			Terms: schedule.DefaultTerms(), Index: prefix.NewIndex(10_000), Now: time.Now,
			Random: func() uint64 { bits += 0x9e3779b97f4a7c15; return bits },
		},
		MaxWait:    [3]time.Duration{time.Minute, time.Minute, time.Minute},
		BatchShare: 0.5, BatchGrace: 10 * time.Second, InputWeight: 1, OutputWeight: 2,
		Refused: func(_ context.Context, _ *schedule.Request, why schedule.Refusal) { s.refused[why]++ },
	}
	s.sched = schedule.New(s.opts)
	go func() { _ = s.fleet.Run(t.Context()) }()
	synctest.Wait()
	return s
}

func (s *stage) request(tenant string) *schedule.Request {
	return &schedule.Request{Digest: s.digest, Name: "m@v1", Tenant: tenant, Class: fair.Standard, Bytes: 10}
}

// place places a request that must get a place at once or later.
func (s *stage) place(req *schedule.Request) *schedule.Grant {
	s.t.Helper()
	g, err := s.sched.Place(s.t.Context(), req, nil)
	if err != nil || g == nil {
		s.t.Fatalf("%s: %v, %v", req.Tenant, g, err)
	}
	return g
}

// waiting is a request that waits; its outcome comes on a channel.
func (s *stage) waiting(ctx context.Context, req *schedule.Request) <-chan outcome {
	out := make(chan outcome, 1)
	go func() {
		g, err := s.sched.Place(ctx, req, nil)
		out <- outcome{g, err}
	}()
	synctest.Wait()
	return out
}

type outcome struct {
	grant *schedule.Grant
	err   error
}

// served ends a grant as an answer of some tokens would.
func served(g *schedule.Grant, prompt, cached, output int) {
	g.FirstToken()
	g.End(schedule.Result{Served: true, Counted: true, Prompt: prompt, Cached: cached, Output: output})
}

// idle fails the test when anything is left of requests that all ended.
func (s *stage) idle() {
	s.t.Helper()
	for _, c := range s.fleet.View().Ready(s.digest) {
		if load, _ := c.Load(); load != 0 || c.Prompts.Load() != 0 {
			s.t.Errorf("%s has %d requests and %d tokens left", c.Worker().ID(), load, c.Prompts.Load())
		}
	}
	for class := fair.Interactive; class <= fair.Batch; class++ {
		if n := s.sched.Queued(class); n != 0 {
			s.t.Errorf("%d %v are said to wait", n, class)
		}
	}
}

// prompt is a request's body of n blocks that begin alike for equal seeds.
func prompt(seed, n int) prefix.Prompt {
	return prefix.Prompt{Text: []byte(strings.Repeat(fmt.Sprintf("%-63d.", seed), n*prefix.BlockBytes/64))}
}

// pass lets time pass in the bubble.
func pass(d time.Duration) { <-time.After(d) }
