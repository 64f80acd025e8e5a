package placement_test

import (
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/inproc"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/backoff"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/placement"
	"github.com/poterne/poterne/services/inference/internal/watched"
)

const (
	ready   = workerv1.ModelState_MODEL_STATE_READY
	loading = workerv1.ModelState_MODEL_STATE_LOADING
	failed  = workerv1.ModelState_MODEL_STATE_FAILED
)

// registry is what the controller knows of the registry.
type registry struct {
	*watched.Value[*catalog.Snapshot]

	current atomic.Bool
}

func (r *registry) Current() bool { return r.current.Load() }

func (r *registry) put(models ...*registryv1.ModelState) { r.Set(catalog.NewSnapshot(1, models)) }

// stage is a controller over workers w0, w1 and so on, in a synctest bubble.
type stage struct {
	t *testing.T

	workers    []*fakes.Worker
	source     *discovery.Memory
	set        []discovery.Instance
	registry   *registry
	controller *placement.Controller
}

func newStage(t *testing.T, n, replicas int) *stage {
	t.Helper()
	s := &stage{t: t, source: discovery.NewMemory(), registry: &registry{Value: watched.New[*catalog.Snapshot](nil)}}
	s.registry.current.Store(true)
	byAddr := make(map[string]*fakes.Worker, n)
	for i := range n {
		id := fmt.Sprintf("w%d", i)
		byAddr[id] = fakes.NewWorker(id)
		s.workers = append(s.workers, byAddr[id])
		s.set = append(s.set, discovery.Instance{ID: id, Service: "poterne-worker", Addr: id})
	}
	s.source.Set("poterne-worker", s.set)
	views := fleet.New(fleet.Options{
		Source: s.source, Service: "poterne-worker", Clock: clock.Real(), Logger: slog.New(slog.DiscardHandler),
		Dial: func(in discovery.Instance) (grpc.ClientConnInterface, func() error, error) {
			return inproc.New(fakes.Chain(), func(r grpc.ServiceRegistrar) {
				workerv1.RegisterWorkerServiceServer(r, byAddr[in.Addr])
			}), nil, nil
		},
		Backoff: backoff.Policy{Base: time.Second, Max: time.Second}, SilenceTimeout: 5 * time.Second, MaxWorkers: 100,
	})
	s.controller = placement.New(placement.Options{
		Catalog: s.registry, Views: views, Planner: placement.Spread{}, Clock: clock.Real(), TargetUtilization: 0.7,
		Policies: placement.Policies{Default: placement.Policy{Min: replicas}},
		Logger:   slog.New(slog.DiscardHandler), Interval: time.Second, CallTimeout: 15 * time.Second,
		Backoff:     backoff.Policy{Base: time.Second, Max: time.Minute},
		AbsentGrace: 15 * time.Second, FailedGrace: 30 * time.Second, UnloadAfter: 5 * time.Minute, MinLoaded: time.Minute,
	})
	go func() { _ = views.Run(t.Context()) }()
	go func() { _ = s.controller.Run(t.Context()) }()
	synctest.Wait()
	return s
}

// asked returns how often the workers were asked to load the version.
func (s *stage) asked(digest string) []int {
	synctest.Wait()
	out := make([]int, len(s.workers))
	for i, w := range s.workers {
		for _, d := range w.Loads() {
			if d == digest {
				out[i]++
			}
		}
	}
	return out
}

func bubble(t *testing.T, n, replicas int, fn func(s *stage)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { fn(newStage(t, n, replicas)) })
}

func TestLoadsWhatServes(t *testing.T) {
	bubble(t, 2, 2, func(s *stage) {
		t := s.t
		s.registry.put(fakes.Model("a", 3, fakes.Alias("production", 2), fakes.Split("x", 3, 1_000_000)), fakes.Model("many", 2))
		for digest, want := range map[string][]int{
			fakes.VersionDigest("a", 1): {0, 0}, fakes.VersionDigest("a", 2): {1, 1}, fakes.VersionDigest("a", 3): {1, 1},
			fakes.VersionDigest("many", 1): {0, 0}, fakes.VersionDigest("many", 2): {0, 0},
		} {
			if got := s.asked(digest); !slices.Equal(got, want) {
				t.Errorf("asked for %s %v times; want %v", digest, got, want)
			}
		}
		fakes.Pass(t, time.Minute)
		if got := s.asked(fakes.VersionDigest("a", 2)); !slices.Equal(got, []int{1, 1}) {
			t.Errorf("asked again for what is ready: %v", got)
		}
	})
}

func TestAWorkerThatComesBackEmptyIsAskedAgain(t *testing.T) {
	bubble(t, 1, 1, func(s *stage) {
		t := s.t
		s.registry.put(fakes.Model("a", 1))
		d := fakes.VersionDigest("a", 1)
		s.asked(d)
		s.workers[0].Reset()
		fakes.Pass(t, 6*time.Second)
		if got := s.asked(d); got[0] != 2 {
			t.Errorf("asked %d times; want 2", got[0])
		}
	})
}

func TestARefusalBacksOffAndAnotherIsAsked(t *testing.T) {
	bubble(t, 2, 1, func(s *stage) {
		t := s.t
		refuse := func(*fakes.Worker, *workerv1.LoadModelRequest) error {
			return apierr.New(apierr.FailedPrecondition, "needs 9 GiB, 8 GiB are free")
		}
		s.workers[0].OnLoad, s.workers[1].OnLoad = refuse, refuse
		s.workers[0].SetFree(64 << 30) // preferred
		synctest.Wait()
		d := fakes.VersionDigest("a", 1)
		s.registry.put(fakes.Model("a", 1))
		if got := s.asked(d); !slices.Equal(got, []int{1, 1}) {
			t.Errorf("asked %v times at first; want both once", got)
		}
		// Somebody asks for it: they are asked once more, with leave to unload others.
		if !s.controller.Pending(d, false) {
			t.Error("not pending when it is asked for the first time")
		}
		if got := s.asked(d); !slices.Equal(got, []int{2, 2}) {
			t.Errorf("asked %v times when somebody asks for it; want both twice", got)
		}
		if s.controller.Pending(d, false) {
			t.Error("pending though everybody refused")
		}
		fakes.Pass(t, 10*time.Minute)
		// 1, 2, 4, 8, 16, 32 and then every 60 seconds, seen within a second.
		if got := s.asked(d); got[0] < 13 || got[0] > 17 || got[1] < 13 || got[1] > 17 {
			t.Errorf("asked %v times within ten minutes; want about 16", got)
		}
	})
}

func TestPendingUntilTheStateShowsIt(t *testing.T) {
	bubble(t, 1, 1, func(s *stage) {
		t := s.t
		d := fakes.VersionDigest("a", 1)
		if s.controller.Pending(d, false) {
			t.Error("pending before the registry is known")
		}
		admit := make(chan struct{})
		s.workers[0].OnLoad = func(*fakes.Worker, *workerv1.LoadModelRequest) error { <-admit; return nil }
		s.registry.put(fakes.Model("a", 1))
		if !s.controller.Pending(d, false) {
			t.Error("not pending right after the registry said so")
		}
		synctest.Wait()
		if !s.controller.Pending(d, false) {
			t.Error("not pending while the worker is asked")
		}
		close(admit)
		synctest.Wait()
		if !s.controller.Pending(d, false) {
			t.Error("not pending after the worker agreed")
		}
		if s.controller.Pending(fakes.Digest("other"), false) {
			t.Error("pending though nothing leads to it")
		}
	})
}

func TestAFailingEngineIsGivenTimeAndThenReplaced(t *testing.T) {
	bubble(t, 2, 1, func(s *stage) {
		t := s.t
		s.workers[0].SetFree(64 << 30)
		synctest.Wait()
		d := fakes.VersionDigest("a", 1)
		s.registry.put(fakes.Model("a", 1))
		s.asked(d)
		s.workers[0].Set(d, failed)
		fakes.Pass(t, 29*time.Second)
		if got := s.asked(d); !slices.Equal(got, []int{1, 0}) {
			t.Errorf("asked %v times while the engine is being started again; want [1 0]", got)
		}
		fakes.Pass(t, 3*time.Second)
		if got := s.asked(d); !slices.Equal(got, []int{1, 1}) {
			t.Errorf("asked %v times after the engine failed for long; want [1 1]", got)
		}
	})
}

// TestAWorkerThatIsAwayForAMoment: models are not moved about for a restart.
func TestAWorkerThatIsAwayForAMoment(t *testing.T) {
	bubble(t, 2, 1, func(s *stage) {
		t := s.t
		s.workers[0].SetFree(64 << 30)
		synctest.Wait()
		d := fakes.VersionDigest("a", 1)
		s.registry.put(fakes.Model("a", 1))
		s.asked(d)
		s.workers[0].Mute(true) // taken for away after 5s
		fakes.Pass(t, 19*time.Second)
		if got := s.asked(d); !slices.Equal(got, []int{1, 0}) {
			t.Errorf("asked %v times within the grace; want [1 0]", got)
		}
		fakes.Pass(t, 4*time.Second)
		if got := s.asked(d); !slices.Equal(got, []int{1, 1}) {
			t.Errorf("asked %v times after the grace; want [1 1]", got)
		}
	})
}

func TestADrainingWorkerIsReplacedAtOnce(t *testing.T) {
	bubble(t, 2, 1, func(s *stage) {
		t := s.t
		s.workers[0].SetFree(64 << 30)
		synctest.Wait()
		d := fakes.VersionDigest("a", 1)
		s.registry.put(fakes.Model("a", 1))
		s.asked(d)
		s.workers[0].Drain(true)
		if got := s.asked(d); !slices.Equal(got, []int{1, 1}) {
			t.Errorf("asked %v times; want [1 1]", got)
		}
	})
}

func TestUnloadsWhatNothingLeadsTo(t *testing.T) {
	bubble(t, 1, 1, func(s *stage) {
		t := s.t
		one, two := fakes.VersionDigest("a", 1), fakes.VersionDigest("a", 2)
		s.registry.put(fakes.Model("a", 2, fakes.Alias("production", 1)))
		synctest.Wait()
		s.registry.put(fakes.Model("a", 2, fakes.Alias("production", 2)))
		fakes.Pass(t, 4*time.Minute)
		if got := s.workers[0].Unloads(); len(got) != 0 {
			t.Errorf("unloaded within the grace: %v", got)
		}
		// The registry is away for a moment: the grace begins anew.
		s.registry.current.Store(false)
		fakes.Pass(t, 10*time.Minute)
		s.registry.current.Store(true)
		fakes.Pass(t, 4*time.Minute)
		if got := s.workers[0].Unloads(); len(got) != 0 {
			t.Errorf("unloaded though the registry was away: %v", got)
		}
		fakes.Pass(t, time.Minute+2*time.Second)
		if got := s.workers[0].Unloads(); !slices.Equal(got, []string{one}) {
			t.Errorf("unloaded %v; want %s once", got, one)
		}
		fakes.Pass(t, time.Hour)
		if got := s.workers[0].Unloads(); !slices.Equal(got, []string{one}) || slices.Contains(got, two) {
			t.Errorf("unloaded %v in the end", got)
		}
	})
}

func TestWhatIsWantedAgainStays(t *testing.T) {
	bubble(t, 1, 1, func(s *stage) {
		t := s.t
		first := fakes.Model("a", 2, fakes.Alias("production", 1))
		second := fakes.Model("a", 2, fakes.Alias("production", 2))
		s.registry.put(first)
		synctest.Wait()
		for range 5 { // back and forth, each within the grace
			s.registry.put(second)
			fakes.Pass(t, 4*time.Minute)
			s.registry.put(first)
			fakes.Pass(t, 4*time.Minute)
		}
		if got := s.workers[0].Unloads(); len(got) != 0 {
			t.Errorf("unloaded %v", got)
		}
	})
}

func TestWhatWasLoadedAMomentAgoStays(t *testing.T) {
	bubble(t, 2, 1, func(s *stage) {
		t := s.t
		s.registry.put(fakes.Model("a", 1))
		d := fakes.Digest("stranger") // no name ever led to it
		synctest.Wait()
		s.workers[0].Set(d, loading)
		fakes.Pass(t, 4*time.Minute+30*time.Second)
		s.workers[1].Set(d, ready)
		fakes.Pass(t, 32*time.Second)
		if got := s.workers[0].Unloads(); !slices.Equal(got, []string{d}) {
			t.Errorf("unloaded %v after the grace", got)
		}
		if got := s.workers[1].Unloads(); len(got) != 0 {
			t.Errorf("unloaded %v within a minute of being loaded", got)
		}
		fakes.Pass(t, 30*time.Second)
		if got := s.workers[1].Unloads(); !slices.Equal(got, []string{d}) {
			t.Errorf("unloaded %v after a minute", got)
		}
	})
}
