package placement_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/placement"
)

// ledger counts on how many workers each version is, as nobody in the system
// can, and notes when it is on more than the most.
type ledger struct {
	mu     sync.Mutex
	copies map[string]int
	most   map[string]int
	wrong  []string
}

func (l *ledger) admitted(w *simWorker, digest string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.copies[digest]++
	if l.copies[digest] > l.most[digest] {
		l.wrong = append(l.wrong, fmt.Sprintf("%s begins copy %d of %.15s, of which there shall be %d", w.id, l.copies[digest], digest, l.most[digest]))
	}
}

func (l *ledger) gone(digest string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.copies[digest]--
}

// TestRandomLoadsUnloadsAndCrashes has two replicas keep twelve models on five
// workers while models come and go, are asked for, are used, and workers crash:
// no worker is ever over its memory, no version is ever loaded once too often,
// and after every while without crashes each model is where it shall be.
func TestRandomLoadsUnloadsAndCrashes(t *testing.T) {
	t.Parallel()
	const acts, workers, models, while = 10_000, 5, 12, 500
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, workers, 220, placement.Policies{Default: placement.Policy{Min: 2, Max: 2, IdleUnload: 2 * time.Minute}})
		l := &ledger{copies: make(map[string]int), most: make(map[string]int)}
		for _, w := range p.workers {
			w.admitted, w.gone = l.admitted, l.gone
		}
		chance := rand.New(rand.NewPCG(3, 4))
		g := &game{pair: p, chance: chance, serves: make(map[string]bool)}
		for i := range models {
			m := sized(fmt.Sprintf("m%d", i), int64(10+chance.IntN(30)))
			if i%4 == 1 {
				m = sized(fmt.Sprintf("m%d", i), 90)
			}
			l.most[fakes.VersionDigest(m.GetModel().GetName(), 1)] = 2
			if i%4 == 1 { // may be loaded in a smaller form
				fakes.Variant(1, "q8", m.GetVersions()[0].GetSpec().GetArtifacts()[0].GetSizeBytes()/2, 0.01)(m)
				l.most[fakes.VariantDigest(m.GetModel().GetName(), 1, "q8")] = 2
			}
			if i%3 == 0 { // is loaded when it is asked for
				labelled(m, placement.LabelMinReplicas, "0", placement.LabelMaxReplicas, "1")
				l.most[fakes.VersionDigest(m.GetModel().GetName(), 1)] = 1
			}
			g.models = append(g.models, m)
			g.serves[m.GetModel().GetName()] = true
		}
		g.publish()
		for i := range acts {
			g.act()
			fakes.Pass(t, time.Duration(chance.IntN(300))*time.Millisecond)
			if i%while == while-1 {
				g.rest()
			}
			if t.Failed() || len(l.wrong) > 0 {
				t.Fatalf("after %d acts: %v", i+1, l.wrong)
			}
		}
		if n := p.begins(); n < acts/20 {
			t.Errorf("only %d loads: the test shows little", n)
		}
		smaller := 0
		for _, w := range p.workers {
			for _, r := range w.asks() {
				smaller += strings.Count(r.GetName(), "/q8")
			}
		}
		if smaller < 10 {
			t.Errorf("a smaller form was asked for %d times: the test shows little of them", smaller)
		}
	})
}

// game is what happens to a pair.
type game struct {
	*pair

	chance *rand.Rand
	models []*registryv1.ModelState
	serves map[string]bool
	down   []*simWorker
}

func (g *game) publish() {
	var states []*registryv1.ModelState
	for _, m := range g.models {
		if g.serves[m.GetModel().GetName()] {
			states = append(states, m)
		}
	}
	g.registry.put(states...)
}

// act does one thing at random.
func (g *game) act() {
	m := g.models[g.chance.IntN(len(g.models))].GetModel().GetName()
	w := g.workers[g.chance.IntN(len(g.workers))]
	d := fakes.VersionDigest(m, 1)
	switch n := g.chance.IntN(20); {
	case n < 6:
		g.replicas[g.chance.IntN(2)].Pending(d, false)
	case n < 11:
		w.load(d, int32(g.chance.IntN(5)))
		w.load(fakes.VariantDigest(m, 1, "q8"), int32(g.chance.IntN(2)))
	case n < 14:
		g.serves[m] = !g.serves[m]
		g.publish()
	case n < 17:
		g.replicas[g.chance.IntN(2)].Status(version(m))
		fakes.Pass(g, time.Duration(g.chance.IntN(3))*time.Second)
	case n < 18 && len(g.down) < 2 && !slices.Contains(g.down, w):
		w.crash()
		g.down = append(g.down, w)
	case len(g.down) > 0:
		g.down[0].start()
		g.down = g.down[1:]
	}
}

// rest lets everything settle, and then checks that it did.
func (g *game) rest() {
	for _, w := range g.down {
		w.start()
	}
	g.down = nil
	for _, w := range g.workers {
		for _, m := range g.models {
			w.load(fakes.VersionDigest(m.GetModel().GetName(), 1), 0)
			w.load(fakes.VariantDigest(m.GetModel().GetName(), 1, "q8"), 0)
		}
	}
	fakes.Pass(g, 6*time.Minute)
	for i, m := range g.models {
		name := m.GetModel().GetName()
		if n := g.digestReady(fakes.VariantDigest(name, 1, "q8")); n > 0 {
			g.Errorf("%s is ready on %d workers in a smaller form, though there is room", name, n)
		}
		want := 0
		if g.serves[name] && i%3 != 0 {
			want = 2
		}
		if n := g.ready(name); n != want {
			s, _ := g.replicas[0].Status(version(name))
			g.Errorf("%s is ready on %d workers, and shall be on %d; status %+v", name, n, want, s)
		}
		if g.serves[name] && i%3 == 0 {
			g.replicas[i%2].Pending(fakes.VersionDigest(name, 1), false)
			fakes.Pass(g, 4*time.Second)
			if n := g.ready(name); n != 1 {
				g.Errorf("%s is asked for, and ready on %d workers", name, n)
			}
		}
	}
	for _, w := range g.workers {
		if wrong := w.faults(); len(wrong) > 0 {
			g.Errorf("%v", wrong)
		}
	}
}
