package placement_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/inproc"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/backoff"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/placement"
	"github.com/poterne/poterne/services/inference/internal/watched"
)

// pair is two replicas over the same workers, in a synctest bubble. They share
// nothing but what the workers and the registry say.
type pair struct {
	*testing.T

	workers  []*simWorker
	registry *registry
	replicas []*placement.Controller
}

func newPair(t *testing.T, workers int, memory int64, policies placement.Policies) *pair {
	t.Helper()
	p := &pair{T: t, registry: &registry{Value: watched.New[*catalog.Snapshot](nil)}}
	p.registry.current.Store(true)
	source := discovery.NewMemory()
	var set []discovery.Instance
	byAddr := make(map[string]*simWorker)
	for i := range workers {
		w := newSimWorker(fmt.Sprintf("w%d", i), memory)
		p.workers, byAddr[w.id] = append(p.workers, w), w
		set = append(set, discovery.Instance{ID: w.id, Service: "poterne-worker", Addr: w.id})
	}
	source.Set("poterne-worker", set)
	for i := range 2 {
		var mu sync.Mutex
		chance := rand.New(rand.NewPCG(uint64(i), 7))
		jitter := func() float64 { mu.Lock(); defer mu.Unlock(); return chance.Float64() }
		views := fleet.New(fleet.Options{
			Source: source, Service: "poterne-worker", Clock: clock.Real(), Logger: slog.New(slog.DiscardHandler),
			Dial: func(in discovery.Instance) (grpc.ClientConnInterface, func() error, error) {
				return inproc.New(fakes.Chain(), func(r grpc.ServiceRegistrar) {
					workerv1.RegisterWorkerServiceServer(r, byAddr[in.Addr])
				}), nil, nil
			},
			Backoff:        backoff.Policy{Base: 50 * time.Millisecond, Max: time.Second, Jitter: jitter},
			SilenceTimeout: 5 * time.Second, MaxWorkers: 100,
		})
		c := placement.New(placement.Options{
			Catalog: p.registry, Views: views, Planner: placement.Spread{}, Policies: policies, Clock: clock.Real(),
			Logger: slog.New(slog.DiscardHandler), Interval: time.Second, Stagger: 100 * time.Millisecond, JoinDelay: 2 * time.Second, Jitter: jitter,
			CallTimeout: 15 * time.Second, Backoff: backoff.Policy{Base: time.Second, Max: time.Minute, Jitter: jitter},
			AbsentGrace: 15 * time.Second, FailedGrace: 30 * time.Second, UnloadAfter: 2 * time.Minute, MinLoaded: time.Minute,
			TargetUtilization: 0.5,
		})
		p.replicas = append(p.replicas, c)
		go func() { _ = views.Run(t.Context()) }()
		go func() { _ = c.Run(t.Context()) }()
	}
	synctest.Wait()
	return p
}

// sized is a model whose one version takes so many bytes.
func sized(name string, bytes int64) *registryv1.ModelState {
	m := fakes.Model(name, 1)
	m.Versions[0].Spec.Artifacts = []*commonv1.Artifact{{SizeBytes: bytes}}
	return m
}

func labelled(m *registryv1.ModelState, kv ...string) *registryv1.ModelState {
	m.Model.Labels = make(map[string]string)
	for i := 0; i < len(kv); i += 2 {
		m.Model.Labels[kv[i]] = kv[i+1]
	}
	return m
}

// ready counts the workers on which the model is ready.
func (p *pair) ready(name string) int { return p.digestReady(fakes.VersionDigest(name, 1)) }

func (p *pair) digestReady(digest string) int {
	synctest.Wait()
	n := 0
	for _, w := range p.workers {
		if w.has(digest) == ready {
			n++
		}
	}
	return n
}

// begins counts the loads that workers admitted.
func (p *pair) begins() int {
	n := 0
	for _, w := range p.workers {
		n += w.begins()
	}
	return n
}

func inPair(t *testing.T, workers int, memory int64, policies placement.Policies, test func(p *pair)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(newPair(t, workers, memory, policies)) })
}

func TestTwoReplicasLoadOnce(t *testing.T) {
	inPair(t, 4, 100, placement.Policies{Default: placement.Policy{Min: 2}}, func(p *pair) {
		p.registry.put(sized("a", 10), sized("b", 20), sized("c", 30))
		fakes.Pass(p, time.Minute)
		for _, m := range []string{"a", "b", "c"} {
			if n := p.ready(m); n != 2 {
				p.Errorf("%s is ready on %d workers; want 2", m, n)
			}
		}
		if n := p.begins(); n != 6 {
			p.Errorf("%d loads were begun; want 6", n)
		}
		if s, ok := p.replicas[0].Status(version("a")); !ok || s != (placement.Status{Desired: 2, Min: 2, Max: 2}) {
			p.Errorf("status %+v", s)
		}
	})
}

// A version that nobody asks for is not loaded; one that is asked for drives out
// what nobody uses, and goes when it is not used any more.
func TestOnDemand(t *testing.T) {
	policies := placement.Policies{Default: placement.Policy{Min: 0, Max: 1, IdleUnload: 10 * time.Minute}}
	inPair(t, 1, 100, policies, func(p *pair) {
		p.registry.put(sized("a", 60), sized("b", 60), sized("huge", 200))
		fakes.Pass(p, time.Minute)
		if p.begins() != 0 {
			p.Fatal("loaded though nobody asked")
		}
		a, b := fakes.VersionDigest("a", 1), fakes.VersionDigest("b", 1)
		if !p.replicas[0].Pending(a, false) {
			p.Error("not pending though it was just asked for")
		}
		fakes.Pass(p, time.Second)
		if !p.replicas[0].Pending(a, false) || p.workers[0].has(a) != loading {
			p.Errorf("it is not being loaded: %v", p.workers[0].has(a))
		}
		fakes.Pass(p, 3*time.Second)
		if p.ready("a") != 1 {
			p.Fatal("not loaded on demand")
		}
		p.replicas[1].Pending(b, false) // the other replica is asked for the other
		fakes.Pass(p, 5*time.Second)
		if p.ready("b") != 1 || p.ready("a") != 0 {
			p.Errorf("a on %d, b on %d workers", p.ready("a"), p.ready("b"))
		}
		if p.replicas[0].Pending(fakes.VersionDigest("huge", 1), false); p.ready("b") != 1 {
			p.Error("what does not fit drove something out")
		}
		fakes.Pass(p, 2*time.Second)
		if s, _ := p.replicas[0].Status(version("huge")); s.Problem == "" || p.replicas[0].Pending(fakes.VersionDigest("huge", 1), false) {
			p.Errorf("status %+v of what cannot be loaded", s)
		}
		fakes.Pass(p, 12*time.Minute)
		if p.ready("b") != 0 || p.workers[0].has(b) != 0 {
			p.Error("not unloaded though nobody uses it")
		}
	})
}

// More is loaded when much is asked, and unloaded when it is not, one by one and
// not below the least.
func TestReplicasFollowTheLoad(t *testing.T) {
	policies := placement.Policies{Default: placement.Policy{Min: 1, Max: 4, IdleUnload: 3 * time.Minute}}
	inPair(t, 5, 100, policies, func(p *pair) {
		p.registry.put(sized("a", 60))
		d := fakes.VersionDigest("a", 1)
		fakes.Pass(p, 10*time.Second)
		if p.ready("a") != 1 {
			p.Fatalf("ready on %d workers", p.ready("a"))
		}
		press := func(each int32) {
			for _, w := range p.workers {
				w.load(d, each)
			}
		}
		press(4) // of 4 slots, where half is to be used
		fakes.Pass(p, 2*time.Minute)
		if n := p.ready("a"); n != 2 {
			p.Errorf("ready on %d workers; want 2", n)
		}
		for range 5 {
			press(40)
			fakes.Pass(p, 30*time.Second)
		}
		if n := p.ready("a"); n != 4 {
			p.Errorf("ready on %d workers; want the most, 4", n)
		}
		if p.begins() != 4 {
			p.Errorf("%d loads were begun; want 4", p.begins())
		}
		press(0)
		fakes.Pass(p, 3*time.Minute)
		if n := p.ready("a"); n != 4 {
			p.Errorf("ready on %d workers soon after; want 4", n)
		}
		fakes.Pass(p, 90*time.Second)
		if n := p.ready("a"); n != 3 {
			p.Errorf("ready on %d workers after a while; want 3", n)
		}
		fakes.Pass(p, 15*time.Minute)
		if n := p.ready("a"); n != 1 || p.begins() != 4 {
			p.Errorf("ready on %d workers in the end, %d loads; want the least, 1", n, p.begins())
		}
	})
}

// What was promised for one model is pinned, and may drive out what was not.
func TestGuaranteedCopies(t *testing.T) {
	policies := placement.Policies{Default: placement.Policy{Min: 1, Max: 2, IdleUnload: time.Hour}}
	inPair(t, 2, 100, policies, func(p *pair) {
		p.registry.put(sized("a", 60), sized("b", 60))
		fakes.Pass(p, 5*time.Minute)
		vip := labelled(sized("vip", 80), placement.LabelMinReplicas, "1", placement.LabelWarmUp, "true")
		p.registry.put(sized("a", 60), sized("b", 60), vip)
		fakes.Pass(p, 10*time.Second)
		if p.ready("vip") != 1 || p.ready("a")+p.ready("b") != 1 {
			p.Fatalf("vip on %d, a on %d, b on %d", p.ready("vip"), p.ready("a"), p.ready("b"))
		}
		var seen bool
		for _, w := range p.workers {
			for _, r := range w.asks() {
				if r.GetName() == "vip@v1" {
					seen = true
					if !r.GetPinned() || !r.GetEvict() || !r.GetWarmUp() {
						p.Errorf("asked with %v", r)
					}
				}
			}
		}
		if !seen {
			p.Error("nobody was asked")
		}
		p.replicas[0].Pending(fakes.VersionDigest("a", 1), false)
		p.replicas[1].Pending(fakes.VersionDigest("b", 1), false)
		fakes.Pass(p, time.Minute)
		if p.ready("vip") != 1 {
			p.Error("a pinned copy was driven out")
		}
		// The promise is taken back: the copy stays, and is pinned no longer.
		p.registry.put(sized("a", 60), sized("b", 60), sized("vip", 80))
		fakes.Pass(p, time.Minute)
		for _, w := range p.workers {
			if s, _ := w.state(); len(s.GetModels()) == 1 && s.GetModels()[0].GetPinned() {
				p.Errorf("still pinned: %v", s.GetModels())
			}
		}
	})
}
