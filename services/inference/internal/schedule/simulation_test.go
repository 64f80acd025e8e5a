package schedule_test

import (
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/services/inference/internal/prefix"
	"github.com/poterne/poterne/services/inference/internal/routing"
	"github.com/poterne/poterne/services/inference/internal/schedule"
)

// load is the requests of a simulation, and what is odd about the engines.
type load struct {
	share float64 // of modelCapacity
	// shared is how many beginnings the prompts share; 0 is none.
	shared int
	// wide says that prompts are from a fifth to nine fifths as long.
	wide bool
	// whole is the share of requests that are answered whole, so that nobody sees
	// the first token.
	whole float64
	// noise is the standard deviation of the time to read a prompt, as a share of
	// it.
	noise float64
	// chunk is that of the engines, and slow how many times slower the first is.
	chunk int
	slow  float64
}

// outcomes are the times to the first token, and the share of the prompts'
// tokens that was cached, without those requests that fill the caches.
type outcomes struct {
	mu          sync.Mutex
	first       []time.Duration
	cached, all int
}

func (o *outcomes) p90() float64 {
	slices.Sort(o.first)
	return o.first[len(o.first)*9/10].Seconds()
}

func (o *outcomes) hits() float64 { return float64(o.cached) / float64(o.all) }

func (o *outcomes) add(first time.Duration, cached, all int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.first = append(o.first, first)
	o.cached, o.all = o.cached+cached, o.all+all
}

// simulated is how long a load lasts, in the time of the bubble.
const simulated = 40 * time.Second

// simulate plays a load to a strategy in time that is not the machine's: what
// comes out does not depend on what else runs there.
func simulate(t *testing.T, l load, strategy schedule.Strategy) *outcomes {
	t.Helper()
	out := new(outcomes)
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, modelWorkers, modelSlots)
		s.opts.Strategy = strategy
		s.sched = schedule.New(s.opts)
		engines := make(map[string]*engine)
		for i, w := range s.workers {
			speed := modelPrefill
			if i == 0 && l.slow > 0 {
				speed /= l.slow
			}
			engines[w.ID] = newEngine(l.chunk, speed)
			go engines[w.ID].run(t.Context())
		}
		r := rand.New(rand.NewPCG(1, 1))
		begun := time.Now()
		var wg sync.WaitGroup
		for time.Since(begun) < simulated {
			pass(time.Duration(r.ExpFloat64() / (l.share * modelCapacity) * float64(time.Second)))
			text, whole, noise := l.text(r), r.Float64() < l.whole, max(0.2, 1+l.noise*r.NormFloat64())
			counts := time.Since(begun) > simulated/5
			wg.Go(func() {
				came := time.Now()
				g := s.place(s.ask(prefix.Prompt{Text: text, MaxTokens: 16}))
				cached := engines[g.Copy().Worker().ID()].read(text, noise)
				if !whole {
					g.FirstToken()
				}
				if counts {
					out.add(time.Since(came), cached, len(text)/4)
				}
				pass(modelDecode)
				g.End(schedule.Result{Served: true, Counted: true, Prompt: len(text) / 4, Cached: cached, Output: 16})
			})
		}
		wg.Wait()
		s.idle()
	})
	return out
}

func (l load) text(r *rand.Rand) []byte {
	size := modelPrompt
	if l.wide {
		size = modelPrompt/5 + r.IntN(modelPrompt*8/5)
	}
	if l.shared == 0 {
		return hexText(r.Uint64(), size)
	}
	return append(hexText(uint64(r.IntN(l.shared)), modelShared), hexText(r.Uint64(), size-modelShared)...)
}

// hexText is so many tokens that no other seed has.
func hexText(seed uint64, tokens int) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	out := make([]byte, 0, 4*tokens)
	for range tokens / 4 {
		out = hex.AppendEncode(out, strconv.AppendUint(nil, r.Uint64()>>4|1<<59, 16)[:8])
	}
	return out
}

// TestAgainstSimplerStrategies compares scored routing with the others on the
// same requests: where prompts share beginnings it is much better, and where they
// do not it is no worse, whatever is odd about engines and prompts. Of equal
// prompts round robin cannot be beaten: each then begins when the first of all
// workers is free.
func TestAgainstSimplerStrategies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		load load
		bar  float64
	}{
		"unrelated":               {load{share: 0.8}, 1.05},
		"reading takes as it may": {load{share: 0.8, noise: 0.3}, 1.05},
		"nearly full":             {load{share: 0.95, noise: 0.1}, 1.05},
		"of any length":           {load{share: 0.8, noise: 0.1, wide: true}, 1.05},
		"answered whole":          {load{share: 0.8, noise: 0.1, whole: 1}, 1.05},
		"some answered whole":     {load{share: 0.8, noise: 0.1, whole: 0.5}, 1.05},
		"read in turns":           {load{share: 0.8, noise: 0.1, chunk: 256}, 1.05},
		"one is slow":             {load{share: 0.7, noise: 0.1, slow: 2}, 1.05},
		"shared":                  {load{share: 0.8, shared: 64}, 0.5},
		"shared, with noise":      {load{share: 0.8, shared: 64, noise: 0.3}, 0.5},
		"shared, read in turns":   {load{share: 0.8, shared: 64, noise: 0.1, chunk: 256}, 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(1, 1)).Uint64
			scored := simulate(t, c.load, &schedule.Scored{
				Terms: schedule.DefaultTerms(), Index: prefix.NewIndex(100_000), Now: time.Now, Random: random,
			})
			for other, strategy := range map[string]schedule.Strategy{
				"least load":  &schedule.LeastLoad{Picker: &routing.Picker{Now: time.Now, Random: random}},
				"round robin": new(schedule.RoundRobin),
			} {
				theirs := simulate(t, c.load, strategy)
				ratio := scored.p90() / theirs.p90()
				t.Logf("p90 time to first token: %.3f of that of %s, which is %.0f ms; %.0f %% and %.0f %% cached", ratio, other,
					1000*theirs.p90(), 100*scored.hits(), 100*theirs.hits())
				if ratio > c.bar {
					t.Errorf("p90 time to first token is %.3f times that of %s; at most %.2f", ratio, other, c.bar)
				}
			}
		})
	}
}
