package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
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
	prefixRounds   = 5
)

// Prefix compares scored routing with least load and with round robin, on
// prompts that share beginnings and on prompts that do not. In each round the
// policies are given the same requests at the same times, each with workers of
// its own, so that what disturbs the machine disturbs all; what counts is the
// median of the rounds' ratios. The service's own tests have the same comparison
// in time that nothing disturbs.
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
		ratio, told := shared.against(other)
		rows = append(rows, Row{
			What: "p90 time to first token, 64 shared prefixes, 80 % load, against " + other,
			Measured: fmt.Sprintf("%s; hits %.0f %%, %.0f %%", told,
				100*hits(shared.all(inference.PolicyScored)), 100*hits(shared.all(other))),
			Bar: "≤ 0.5", Holds: ratio <= 0.5,
		})
		ratio, told = unrelated.against(other)
		rows = append(rows, Row{
			What: "the same, unrelated prompts, against " + other, Measured: told, Bar: "≤ 1.05", Holds: ratio <= 1.05,
		})
	}
	return rows, nil
}

// rounds is what came of each round under each policy.
type rounds []map[string][]sample

// against is the median over the rounds of scored routing's p90 time to first
// token divided by another policy's, and the same to read: with the least and the
// largest ratio, and the medians of both times.
func (rs rounds) against(other string) (ratio float64, told string) {
	var ratios []float64
	var ours, theirs []time.Duration
	for _, r := range rs {
		a, b := quantile(0.9, r[inference.PolicyScored], firstToken), quantile(0.9, r[other], firstToken)
		ratios, ours, theirs = append(ratios, float64(a)/float64(b)), append(ours, a), append(theirs, b)
	}
	ratio = median(ratios)
	return ratio, fmt.Sprintf("%.2f (%.2f to %.2f in %d rounds; %v, %v)", ratio, slices.Min(ratios), slices.Max(ratios), len(rs),
		median(ours).Round(time.Millisecond), median(theirs).Round(time.Millisecond))
}

func (rs rounds) all(policy string) []sample {
	var out []sample
	for _, r := range rs {
		out = append(out, r[policy]...)
	}
	return out
}

// median sorts values, of which there is at least one.
func median[T cmp.Ordered](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}

// comparePolicies plays the same traces under every policy.
func comparePolicies(ctx context.Context, fill func(*rand.Rand, *arrival)) (rounds, error) {
	var out rounds
	for seed := range uint64(prefixRounds) {
		round, err := playPolicies(ctx, poisson(seed, prefixLoad, prefixRound, fill))
		if err != nil {
			return nil, err
		}
		out = append(out, round)
	}
	return out, nil
}

// playPolicies plays a trace under every policy at once.
func playPolicies(ctx context.Context, trace []arrival) (_ map[string][]sample, err error) {
	policies := []string{inference.PolicyScored, inference.PolicyLeastLoad, inference.PolicyRoundRobin}
	clusters := make(map[string]*cluster, len(policies))
	defer func() {
		for _, c := range clusters {
			err = errors.Join(err, c.close())
		}
	}()
	for _, policy := range policies {
		c, err := open(ctx, shape{
			workers: prefixWorkers, parameters: prefixParameters(),
			inference: func(cfg *inference.Config) { cfg.Routing.Policy = policy },
		})
		if err != nil {
			return nil, err
		}
		clusters[policy] = c
	}
	out := make(map[string][]sample, len(policies))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for policy, c := range clusters {
		wg.Go(func() {
			samples := c.play(ctx, trace)
			mu.Lock()
			defer mu.Unlock()
			out[policy] = samples
		})
	}
	wg.Wait()
	for policy, samples := range out {
		if f := failures(samples); len(f) > 0 {
			return nil, fmt.Errorf("%s: requests failed: %v", policy, slices.Collect(maps.Keys(f)))
		}
		// The first fifth fills the caches.
		out[policy] = samples[len(samples)/5:]
	}
	return out, nil
}
