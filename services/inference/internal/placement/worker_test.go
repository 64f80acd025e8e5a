package placement_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

// loadTime is how long a simWorker takes to load a model.
const loadTime = 2 * time.Second

// simWorker is a worker that has memory and admits against it, as the real one
// does. It notes what must not happen. It is safe for concurrent use.
type simWorker struct {
	workerv1.UnimplementedWorkerServiceServer

	id    string
	total int64
	more  int64 // what a model takes beyond its files
	// admitted, when set before the worker is used, is told of every load; w.mu is
	// held.
	admitted func(w *simWorker, digest string)
	// gone, likewise, is told of every model that is there no more.
	gone func(digest string)

	mu       sync.Mutex
	models   map[string]*simModel
	life     int // grows when the process ends
	down     bool
	sequence int64
	changed  chan struct{}
	wrong    []string
	begun    []string // loads that were admitted, by digest
	requests []*workerv1.LoadModelRequest
}

type simModel struct {
	workerv1.LoadedModel // its state as it is told

	bytes int64
}

func newSimWorker(id string, total int64) *simWorker {
	return &simWorker{id: id, total: total, models: make(map[string]*simModel), changed: make(chan struct{})}
}

// change changes the state under the lock and pushes it.
func (w *simWorker) change(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := slices.Collect(maps.Keys(w.models))
	fn()
	for _, digest := range before {
		if w.models[digest] == nil && w.gone != nil {
			w.gone(digest)
		}
	}
	if used := w.used(); used > w.total {
		w.wrong = append(w.wrong, fmt.Sprintf("%s: %d of %d bytes are taken", w.id, used, w.total))
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *simWorker) used() int64 {
	var sum int64
	for _, m := range w.models {
		sum += m.bytes
	}
	return sum
}

// crash ends the process: its models are gone.
func (w *simWorker) crash() { w.change(func() { w.down = true; w.life++; clear(w.models) }) }

// start begins its next life.
func (w *simWorker) start() { w.change(func() { w.down = false }) }

// load is how much is asked of a version.
func (w *simWorker) load(digest string, active int32) {
	w.change(func() {
		if m := w.models[digest]; m != nil {
			m.Active, m.LastUsedTime = active, timestamppb.New(time.Now())
		}
	})
}

// has reports the state of a version.
func (w *simWorker) has(digest string) workerv1.ModelState {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m := w.models[digest]; m != nil {
		return m.GetState()
	}
	return workerv1.ModelState_MODEL_STATE_UNSPECIFIED
}

func (w *simWorker) WatchState(_ *workerv1.WatchStateRequest, stream grpc.ServerStreamingServer[workerv1.WatchStateResponse]) error {
	tick := clock.Real().NewTicker(time.Second)
	defer tick.Stop()
	w.mu.Lock()
	life := w.life
	w.mu.Unlock()
	for {
		state, changed := w.state()
		if state == nil || w.isPast(life) {
			return apierr.New(apierr.Unavailable, "the worker is down")
		}
		if err := stream.Send(&workerv1.WatchStateResponse{State: state}); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-tick.C():
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func (w *simWorker) isPast(life int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.life != life
}

func (w *simWorker) state() (*workerv1.WorkerState, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, nil
	}
	w.sequence++
	s := &workerv1.WorkerState{
		WorkerId: w.id, Sequence: w.sequence, Engines: []string{fakes.Engine}, ObserveTime: timestamppb.Now(), MaxModels: 64,
		Memory: []*workerv1.MemoryPool{{Id: "cpu", TotalBytes: w.total, UsedBytes: w.used(), FreeBytes: w.total - w.used()}},
	}
	for _, m := range w.models {
		s.InFlight += m.Active
		s.Memory[0].EvictableBytes += m.evictable()
		s.Models = append(s.Models, &workerv1.LoadedModel{
			Digest: m.Digest, State: m.State, Slots: 4, Active: m.Active, Pinned: m.Pinned, LastUsedTime: m.LastUsedTime, Engine: fakes.Engine,
		})
	}
	return s, w.changed
}

func (m *simModel) evictable() int64 {
	if m.State != ready || m.Pinned || m.Active > 0 {
		return 0
	}
	return m.bytes
}

// LoadModel admits what fits, after unloading what may be unloaded if it may.
func (w *simWorker) LoadModel(_ context.Context, req *workerv1.LoadModelRequest) (*workerv1.LoadModelResponse, error) {
	var err error
	w.change(func() { err = w.admit(req) })
	return &workerv1.LoadModelResponse{}, err
}

func (w *simWorker) admit(req *workerv1.LoadModelRequest) error {
	if w.down {
		return apierr.New(apierr.Unavailable, "the worker is down")
	}
	w.requests = append(w.requests, req)
	if m := w.models[req.GetDigest()]; m != nil {
		m.Pinned = req.GetPinned()
		return nil
	}
	need := w.more
	for _, a := range req.GetSpec().GetArtifacts() {
		need += a.GetSizeBytes()
	}
	for w.used()+need > w.total {
		victim := w.oldest()
		if victim == nil || !req.GetEvict() {
			return apierr.New(apierr.FailedPrecondition, "needs %d bytes, %d are free", need, w.total-w.used())
		}
		delete(w.models, victim.Digest)
	}
	m := &simModel{bytes: need}
	m.Digest, m.State, m.Pinned = req.GetDigest(), loading, req.GetPinned()
	w.models[m.Digest] = m
	if w.admitted != nil {
		w.admitted(w, m.Digest)
	}
	w.begun = append(w.begun, m.Digest)
	time.AfterFunc(loadTime, func() {
		w.change(func() {
			if w.models[m.Digest] == m && m.State == loading {
				m.State, m.LastUsedTime = ready, timestamppb.Now()
			}
		})
	})
	return nil
}

// oldest is the model that may be unloaded and was used longest ago.
func (w *simWorker) oldest() *simModel {
	var out *simModel
	for _, m := range w.models {
		if m.evictable() > 0 && (out == nil || m.LastUsedTime.AsTime().Before(out.LastUsedTime.AsTime())) {
			out = m
		}
	}
	return out
}

func (w *simWorker) UnloadModel(_ context.Context, req *workerv1.UnloadModelRequest) (*workerv1.UnloadModelResponse, error) {
	w.change(func() { delete(w.models, req.GetDigest()) })
	return &workerv1.UnloadModelResponse{}, nil
}

// faults returns what went wrong.
func (w *simWorker) faults() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.wrong)
}

func (w *simWorker) begins() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.begun)
}

func (w *simWorker) asks() []*workerv1.LoadModelRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.requests)
}
