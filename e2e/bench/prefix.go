package bench

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/poterne/poterne/services/inference"
)

// The model of a worker in the prefix scenarios: it reads one prompt at a time
// at 8,000 tokens a second, less what it has cached; it caches 40,000 tokens,
// which is 19 of the prefixes; answers of 16 tokens at 100 a second do not
// disturb each other.
func prefixParameters() map[string]string {
	return map[string]string{
		"prefill-rate": "8000", "prefill-parallel": "1", "decode-rate": "100", "kv-tokens": "40000", "slots": "64",
	}
}

const (
	prefixWorkers = 8
	prefixes      = 64
	prefixTokens  = 2000
	// A worker that has nothing cached reads four prompts of two thousand tokens a
	// second: that is the capacity that no policy can fall short of.
	prefixCapacity = prefixWorkers * 8000.0 / (prefixTokens + suffixTokens)
	suffixTokens   = 60
	prefixLoad     = 0.8 * prefixCapacity
	prefixRound    = 20 * time.Second
	prefixRounds   = 2
)

// Prefix compares scored routing with least load and with round robin, on
// prompts that share beginnings and on prompts that do not, on the same traces,
// each policy on fresh workers.
func Prefix(ctx context.Context) ([]Row, error) {
	shared, err := comparePolicies(ctx, func(r *rand.Rand, a *arrival) {
		a.prompt = text(uint64(r.IntN(prefixes)), prefixTokens) + text(r.Uint64(), suffixTokens)
	})
	if err != nil {
		return nil, err
	}
	unrelated, err := comparePolicies(ctx, func(r *rand.Rand, a *arrival) {
		a.prompt = text(r.Uint64(), prefixTokens+suffixTokens)
	})
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, other := range []string{inference.PolicyLeastLoad, inference.PolicyRoundRobin} {
		p90 := func(of map[string][]sample, policy string) time.Duration {
			return quantile(0.9, of[policy], firstToken)
		}
		ratio := float64(p90(shared, inference.PolicyScored)) / float64(p90(shared, other))
		rows = append(rows, Row{
			What: "p90 time to first token, 64 shared prefixes, 80 % load, against " + other,
			Measured: fmt.Sprintf("%.2f (%v, %v; hits %.0f %%, %.0f %%)", ratio, p90(shared, inference.PolicyScored).Round(time.Millisecond),
				p90(shared, other).Round(time.Millisecond), 100*hits(shared[inference.PolicyScored]), 100*hits(shared[other])),
			Bar: "≤ 0.5", Holds: ratio <= 0.5,
		})
		ratio = float64(p90(unrelated, inference.PolicyScored)) / float64(p90(unrelated, other))
		rows = append(rows, Row{
			What: "the same, unrelated prompts, against " + other,
			Measured: fmt.Sprintf("%.2f (%v, %v)", ratio, p90(unrelated, inference.PolicyScored).Round(time.Millisecond),
				p90(unrelated, other).Round(time.Millisecond)),
			Bar: "≤ 1.05", Holds: ratio <= 1.05,
		})
	}
	return rows, nil
}

// comparePolicies plays the same traces under every policy.
func comparePolicies(ctx context.Context, fill func(*rand.Rand, *arrival)) (map[string][]sample, error) {
	out := make(map[string][]sample)
	for round := range prefixRounds {
		trace := poisson(uint64(round), prefixLoad, prefixRound, fill)
		for _, policy := range []string{inference.PolicyScored, inference.PolicyLeastLoad, inference.PolicyRoundRobin} {
			c, err := open(ctx, shape{
				workers: prefixWorkers, parameters: prefixParameters(),
				inference: func(cfg *inference.Config) { cfg.Routing.Policy = policy },
			})
			if err != nil {
				return nil, err
			}
			samples := c.play(ctx, trace)
			if err := c.close(); err != nil {
				return nil, err
			}
			if f := failures(samples); len(f) > 0 {
				return nil, fmt.Errorf("%s: requests failed: %v", policy, slices.Collect(maps.Keys(f)))
			}
			// The first fifth fills the caches.
			out[policy] = append(out[policy], samples[len(samples)/5:]...)
		}
	}
	return out, nil
}
