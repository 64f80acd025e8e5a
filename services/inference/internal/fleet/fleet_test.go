package fleet_test

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/inproc"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/backoff"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

const (
	ready   = workerv1.ModelState_MODEL_STATE_READY
	loading = workerv1.ModelState_MODEL_STATE_LOADING
)

// stage is a fleet and the workers that it may meet, by address.
type stage struct {
	source  *discovery.Memory
	fleet   *fleet.Fleet
	workers map[string]*fakes.Worker
	// down refuses the streams of an address.
	down   map[string]*atomic.Bool
	closed map[string]*atomic.Int32
	cut    map[string]chan struct{}
}

func newStage(t *testing.T, addrs ...string) *stage {
	t.Helper()
	s := &stage{
		source: discovery.NewMemory(), workers: make(map[string]*fakes.Worker), down: make(map[string]*atomic.Bool),
		closed: make(map[string]*atomic.Int32), cut: make(map[string]chan struct{}),
	}
	for _, a := range addrs {
		s.workers[a], s.down[a], s.closed[a] = fakes.NewWorker("w-"+a), new(atomic.Bool), new(atomic.Int32)
		s.cut[a] = make(chan struct{})
	}
	s.fleet = fleet.New(fleet.Options{
		Source: s.source, Service: "poterne-worker", Dial: s.dial, Clock: clock.Real(), Logger: slog.New(slog.DiscardHandler),
		Backoff: backoff.Policy{Base: 100 * time.Millisecond, Max: time.Second}, SilenceTimeout: 5 * time.Second, MaxWorkers: 4,
	})
	return s
}

// dial reaches a worker in this process; the step in front of it stands for the
// network.
func (s *stage) dial(in discovery.Instance) (grpc.ClientConnInterface, func() error, error) {
	w, ok := s.workers[in.Addr]
	if !ok {
		return nil, nil, errors.New("nobody there")
	}
	network := grpcserver.Interceptor{
		Name: "network",
		Stream: func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			if s.down[in.Addr].Load() {
				return status.Error(codes.Unavailable, "connection refused")
			}
			done := make(chan error, 1)
			go func() { done <- handler(srv, ss) }()
			select {
			case err := <-done:
				return err
			case <-s.cut[in.Addr]:
				return status.Error(codes.Unavailable, "connection reset")
			}
		},
	}
	conn := inproc.New(grpcserver.Chain{network}, func(r grpc.ServiceRegistrar) { workerv1.RegisterWorkerServiceServer(r, w) })
	return conn, func() error { s.closed[in.Addr].Add(1); return nil }, nil
}

// lose takes a worker off the network.
func (s *stage) lose(addr string) {
	s.down[addr].Store(true)
	close(s.cut[addr])
}

// restore puts it back; nothing may be in flight.
func (s *stage) restore(addr string) {
	s.cut[addr] = make(chan struct{})
	s.down[addr].Store(false)
}

func (s *stage) list(addrs ...string) {
	set := make([]discovery.Instance, 0, len(addrs))
	for _, a := range addrs {
		set = append(set, discovery.Instance{ID: "id-" + a, Service: "poterne-worker", Addr: a})
	}
	s.source.Set("poterne-worker", set)
}

func (s *stage) run(t *testing.T) {
	t.Helper()
	go func() { _ = s.fleet.Run(t.Context()) }()
	synctest.Wait()
}

// wantReady checks who has the version ready.
func (s *stage) wantReady(t *testing.T, digest string, want ...string) {
	t.Helper()
	synctest.Wait()
	var got []string
	for _, c := range s.fleet.View().Ready(digest) {
		got = append(got, c.Worker().Addr())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("ready on %v; want %v", got, want)
	}
}

func TestViewFollowsTheWorkersStates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "a", "b")
		d := fakes.Digest("m")
		s.workers["a"].Set(d, ready)
		s.list("a", "b")
		s.run(t)
		s.wantReady(t, d, "a")
		s.workers["b"].Set(d, loading)
		synctest.Wait()
		if n := s.fleet.View().Loading(d); n != 1 {
			t.Errorf("%d are loading; want 1", n)
		}
		s.workers["b"].Set(d, ready)
		s.wantReady(t, d, "a", "b")
		s.workers["a"].Drain(true)
		s.wantReady(t, d, "b")
		s.workers["b"].Set(d, workerv1.ModelState_MODEL_STATE_FAILED)
		s.wantReady(t, d)
		s.workers["a"].Drain(false)
		s.wantReady(t, d, "a")
	})
}

func TestLoadAloneMakesNoNewView(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "a")
		d := fakes.Digest("m")
		s.workers["a"].Set(d, ready)
		s.list("a")
		s.run(t)
		view, changed := s.fleet.Watch()
		c := view.Ready(d)[0]
		c.Acquire()
		c.Acquire()
		s.workers["a"].Report(d, 2, 2, 3) // two of the five are ours
		synctest.Wait()
		if load, slots := c.Load(); load != 5 || slots != 2 {
			t.Errorf("load %d of %d slots; want 5 of 2", load, slots)
		}
		c.Release()
		if load, _ := c.Load(); load != 4 {
			t.Errorf("load %d after a release; want 4: it must not wait for a report", load)
		}
		c.Release()
		fakes.Pass(t, 3*time.Second)
		select {
		case <-changed:
			t.Error("a new view was made though nothing else serves")
		default:
		}
	})
}

func TestAWorkerThatIsLostGetsNothingAndComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "a", "b")
		d := fakes.Digest("m")
		s.workers["a"].Set(d, ready)
		s.workers["b"].Set(d, ready)
		s.list("a", "b")
		s.run(t)
		s.wantReady(t, d, "a", "b")
		s.lose("a")
		s.wantReady(t, d, "b")
		if n := len(s.fleet.View().Workers); n != 2 {
			t.Errorf("%d workers are known; want 2: discovery still names it", n)
		}
		fakes.Pass(t, 30*time.Second)
		a := s.fleet.View().Workers[0]
		for range 10 {
			a.Failed(time.Now())
		}
		s.restore("a")
		fakes.Pass(t, time.Second)
		s.wantReady(t, d, "a", "b")
		if a.Cooling(time.Now) {
			t.Error("still passed over though it is back")
		}
	})
}

func TestASilentWorkerGetsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "a")
		d := fakes.Digest("m")
		s.workers["a"].Set(d, ready)
		s.list("a")
		s.run(t)
		s.workers["a"].Mute(true)
		fakes.Pass(t, 4*time.Second)
		s.wantReady(t, d, "a")
		fakes.Pass(t, time.Second+50*time.Millisecond)
		s.wantReady(t, d)
		s.workers["a"].Mute(false)
		fakes.Pass(t, 2*time.Second)
		s.wantReady(t, d, "a")
	})
}

func TestAWorkerThatDiscoveryLostStaysWhileItReports(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "a")
		d := fakes.Digest("m")
		s.workers["a"].Set(d, ready)
		s.list("a")
		s.run(t)
		s.list()
		s.wantReady(t, d, "a")
		c := s.fleet.View().Ready(d)[0]
		c.Acquire()
		s.lose("a")
		s.wantReady(t, d)
		if n := len(s.fleet.View().Workers); n != 0 {
			t.Errorf("%d workers are known; want none", n)
		}
		if n := s.closed["a"].Load(); n != 0 {
			t.Error("the connection was closed under a request")
		}
		c.Release()
		if n := s.closed["a"].Load(); n != 1 {
			t.Errorf("the connection was closed %d times; want once, after the last request", n)
		}
	})
}

func TestAWorkerThatMoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "a", "b")
		d := fakes.Digest("m")
		s.workers["a"].Set(d, ready)
		s.workers["b"].Set(d, ready)
		s.source.Set("poterne-worker", []discovery.Instance{{ID: "w", Service: "poterne-worker", Addr: "a"}})
		s.run(t)
		s.wantReady(t, d, "a")
		s.source.Set("poterne-worker", []discovery.Instance{{ID: "w", Service: "poterne-worker", Addr: "b"}})
		s.wantReady(t, d, "b")
		if n := s.closed["a"].Load(); n != 1 {
			t.Errorf("the old connection was closed %d times; want once", n)
		}
	})
}

func TestSettled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "a", "b", "c")
		s.workers["b"].Mute(true)
		s.down["c"].Store(true)
		s.list("a", "b", "c")
		s.run(t)
		if s.fleet.View().Settled {
			t.Error("settled before every worker was heard")
		}
		fakes.Pass(t, 5*time.Second+time.Millisecond)
		synctest.Wait()
		if !s.fleet.View().Settled {
			t.Error("not settled though the silent worker was given up and the third is away")
		}
	})
}

func TestNoMoreWorkersThanTheLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "a", "b", "c", "d", "e")
		s.list("a", "b", "c", "d", "e")
		s.run(t)
		if n := len(s.fleet.View().Workers); n != 4 {
			t.Errorf("%d workers are followed; want 4", n)
		}
	})
}

func TestTheEndClosesEverything(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // fails when a goroutine stays
		s := newStage(t, "a", "b")
		s.list("a", "b")
		t.Cleanup(func() {
			synctest.Wait()
			if a, b := s.closed["a"].Load(), s.closed["b"].Load(); a != 1 || b != 1 {
				t.Errorf("closed %d and %d times; want once each", a, b)
			}
		})
		s.run(t)
	})
}

func TestCooling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "a")
		s.list("a")
		s.run(t)
		w := s.fleet.View().Workers[0]
		if w.Cooling(time.Now) {
			t.Error("passed over without a failure")
		}
		w.Failed(time.Now())
		fakes.Pass(t, 499*time.Millisecond)
		if !w.Cooling(time.Now) {
			t.Error("not passed over after a failure")
		}
		fakes.Pass(t, time.Millisecond)
		if w.Cooling(time.Now) {
			t.Error("passed over for longer than 500ms after one failure")
		}
		for range 20 {
			w.Failed(time.Now())
		}
		fakes.Pass(t, 9*time.Second)
		if !w.Cooling(time.Now) {
			t.Error("not passed over for longer after many failures")
		}
		fakes.Pass(t, time.Second)
		if w.Cooling(time.Now) {
			t.Error("passed over for longer than 10s")
		}
		w.Failed(time.Now())
		w.Succeeded()
		if w.Cooling(time.Now) {
			t.Error("passed over after a success")
		}
	})
}

// Views are made for several that come together; none of them is left out.
func TestAllThatComeTogetherAreSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, "a", "b", "c", "d")
		for a, w := range s.workers {
			w.Set(fakes.Digest(a), ready)
		}
		s.list("a", "b", "c", "d")
		s.run(t)
		for round := range 50 {
			for a := range s.workers {
				s.wantReady(t, fakes.Digest(a), a)
			}
			moved := fmt.Sprint(round)
			for a, w := range s.workers {
				w.Set(fakes.Digest(a), loading)
				w.Set(fakes.Digest(a+moved), ready)
			}
			for a, w := range s.workers {
				s.wantReady(t, fakes.Digest(a))
				s.wantReady(t, fakes.Digest(a+moved), a)
				w.Set(fakes.Digest(a), ready)
			}
		}
	})
}
