package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/memory"
)

// shop makes engines that really take memory of a machine, and notes when they
// take more than there is, or one is started that runs already.
type shop struct {
	capacity int64

	mu     sync.Mutex
	taken  int64
	live   map[string]int // by name
	opened int
	wrong  []string
	broken map[string]bool // engines that are not healthy
}

func (*shop) Kind() string     { return "fake" }
func (*shop) Available() error { return nil }

func (s *shop) Plan(_ context.Context, m engine.Model) (*engine.Plan, error) {
	n := weight(m.Name)
	return &engine.Plan{
		Connect: func(int) engine.Engine { return s.open(m.Name, n) }, Slots: 2, MaxInFlight: 4,
		MemoryBytes: map[string]int64{engine.PoolCPU: n},
	}, nil
}

// weight is what a model takes: 10 to 40 MiB.
func weight(name string) int64 { return int64(10+name[1]%4*10) * mib }

func (s *shop) open(name string, n int64) engine.Engine {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken += n
	s.live[name]++
	s.opened++
	if s.taken > s.capacity {
		s.wrong = append(s.wrong, fmt.Sprintf("%d bytes of %d are taken", s.taken, s.capacity))
	}
	if s.live[name] > 1 {
		s.wrong = append(s.wrong, name+" runs twice")
	}
	return &shopEngine{fakeEngine: newFakeEngine(), shop: s, name: name, bytes: n}
}

func (s *shop) crash(name string, broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken[name] = broken
}

type shopEngine struct {
	*fakeEngine

	shop  *shop
	name  string
	bytes int64
}

func (e *shopEngine) Health(context.Context) error {
	e.shop.mu.Lock()
	defer e.shop.mu.Unlock()
	if e.shop.broken[e.name] {
		return errEngine
	}
	return nil
}

func (e *shopEngine) Close() {
	e.shop.mu.Lock()
	defer e.shop.mu.Unlock()
	e.shop.taken -= e.bytes
	e.shop.live[e.name]--
}

// TestTwoReplicasAtRandom has two replicas load, unload and use models as they
// like while engines crash: the worker is never over its memory, no model runs
// twice, and none is lost.
func TestTwoReplicasAtRandom(t *testing.T) {
	const replicas, rounds, each = 2, 500, 10
	for seed := range uint64(2) {
		synctest.Test(t, func(t *testing.T) {
			s := &shop{capacity: 100 * mib, live: make(map[string]int), broken: make(map[string]bool)}
			r := newRigWith(t, func(cfg *Config, parts *Parts) {
				cfg.MaxModels, cfg.MinIdle = 6, time.Second
				parts.Adapters = []engine.Adapter{s}
				parts.Pools = memory.NewPools(map[string]int64{engine.PoolCPU: s.capacity})
			})
			for round := range rounds {
				var wg sync.WaitGroup
				for i := range replicas {
					chance := rand.New(rand.NewPCG(seed, uint64(round*replicas+i)))
					wg.Go(func() {
						for range each {
							r.act(s, chance)
						}
					})
				}
				wg.Wait()
				pass(time.Duration(round%40) * time.Second)
				synctest.Wait()
				r.holds(s)
				if r.Failed() {
					t.Fatalf("seed %d, round %d", seed, round)
				}
			}
			if s.opened < rounds {
				t.Errorf("only %d engines were started: the test shows little", s.opened)
			}
		})
	}
}

// act does one thing at random.
func (r *rig) act(s *shop, chance *rand.Rand) {
	c := string("0123456789"[chance.IntN(10)])
	switch chance.IntN(6) {
	case 0, 1:
		r.mustNotFailOddly(r.loadAs(c, func(req *workerv1.LoadModelRequest) {
			req.Evict, req.Pinned = chance.IntN(2) == 0, chance.IntN(8) == 0
			req.WarmUp = chance.IntN(4) == 0
			req.Spec = &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: "fake"}
		}))
	case 2:
		_, err := r.client.UnloadModel(r.Context(), &workerv1.UnloadModelRequest{Digest: digest(c)})
		r.mustNotFailOddly(nil, err)
	case 3:
		r.mustNotFailOddly(nil, r.invoke(c))
	case 4:
		s.crash("m"+c, chance.IntN(2) == 0)
	case 5:
		pass(time.Duration(chance.IntN(3000)) * time.Millisecond)
	}
}

// mustNotFailOddly allows what a caller has to expect.
func (r *rig) mustNotFailOddly(_ *workerv1.LoadedModel, err error) {
	switch apierr.ReasonOf(err) {
	case "", apierr.FailedPrecondition, apierr.Unavailable, apierr.Overloaded:
	default:
		r.Errorf("odd: %v", err)
	}
}

// holds checks what must always hold while nothing is under way.
func (r *rig) holds(s *shop) {
	state := r.agent.State("")
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wrong) > 0 {
		r.Errorf("%v", s.wrong)
	}
	var told, evictable int64
	shown := make(map[string]bool)
	for _, m := range state.GetModels() {
		if shown[m.GetDigest()] {
			r.Errorf("%s is told twice", m.GetName())
		}
		shown[m.GetDigest()] = true
		told += m.GetMemoryBytes()
		if running := s.live[m.GetName()]; m.GetState() == workerv1.ModelState_MODEL_STATE_READY && running != 1 {
			r.Errorf("%s is ready and runs %d times", m.GetName(), running)
		}
	}
	// An engine that runs without being told is lost.
	for name, n := range s.live {
		if n > 0 && !slices.ContainsFunc(state.GetModels(), func(m *workerv1.LoadedModel) bool { return m.GetName() == name }) {
			r.Errorf("%s runs and is not told of", name)
		}
	}
	pool := state.GetMemory()[0]
	if evictable = pool.GetEvictableBytes(); pool.GetUsedBytes() != told || told > s.capacity || evictable > told || s.taken > told {
		r.Errorf("%d bytes set aside, models say %d, %d could go, engines take %d, there are %d", pool.GetUsedBytes(), told, evictable, s.taken, s.capacity)
	}
	if n := len(state.GetModels()); n > int(state.GetMaxModels()) {
		r.Errorf("%d models, and no more than %d are taken", n, state.GetMaxModels())
	}
}
