package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

// The model of a worker in the queue scenarios: four requests at once, each of
// 20 tokens at 50 a second, which is 0.4 s; prompts cost nothing.
func queueParameters() map[string]string {
	return map[string]string{"decode-rate": "50", "slots": "4"}
}

const (
	queueWorkers  = 4
	queueTokens   = 20
	queueService  = queueTokens / 50.0 // seconds
	queueCapacity = queueWorkers * 4 / queueService
)

func plain(tenant string) func(*rand.Rand, *arrival) {
	return func(r *rand.Rand, a *arrival) {
		a.tenant, a.maxTokens, a.prompt = tenant, queueTokens, text(r.Uint64(), 20)
	}
}

// Fairness has ten tenants at nine tenths of the capacity together, and then one
// of them send ten times its share.
func Fairness(ctx context.Context) ([]Row, error) {
	const tenants, during = 10, 30 * time.Second
	share := 0.9 * queueCapacity / tenants
	var quiet [][]arrival
	for i := range uint64(tenants) {
		quiet = append(quiet, poisson(i, share, during, plain(fmt.Sprintf("t%d", i))))
	}
	flood := append([][]arrival{poisson(100, 10*share, during, plain("t0"))}, quiet[1:]...)
	wait := func(traces [][]arrival) (p99 time.Duration, lost int, err error) {
		c, err := open(ctx, shape{workers: queueWorkers, parameters: queueParameters()})
		if err != nil {
			return 0, 0, err
		}
		samples := c.play(ctx, merge(traces...))
		for i := range samples {
			if samples[i].tenant != "t0" && samples[i].reason != "" {
				lost++
			}
		}
		return quantile(0.99, samples, func(s *sample) (time.Duration, bool) { return s.queued, s.tenant != "t0" && s.reason == "" }),
			lost, c.close()
	}
	before, lostBefore, err := wait(quiet)
	if err != nil {
		return nil, err
	}
	during10, lost, err := wait(flood)
	if err != nil {
		return nil, err
	}
	growth := float64(during10)/float64(before) - 1
	return []Row{{
		What:     "growth of the others' p99 queue time while one tenant sends 10 times its share",
		Measured: fmt.Sprintf("%+.0f %% (%v to %v)", 100*growth, before.Round(time.Millisecond), during10.Round(time.Millisecond)),
		Bar:      "< 20 %", Holds: growth < 0.2,
	}, {
		What: "requests of the others that were lost to it", Measured: fmt.Sprint(lost - lostBefore), Bar: "0", Holds: lost <= lostBefore,
	}}, nil
}

// Overload raises the load to three times the capacity; every request is of use
// only within two seconds.
func Overload(ctx context.Context) ([]Row, error) {
	const during, deadline = 12 * time.Second, 2 * time.Second
	good := make(map[float64]float64)
	var peak float64
	var refusal time.Duration
	loads := []float64{0.8, 1, 1.5, 3}
	for _, load := range loads {
		c, err := open(ctx, shape{workers: queueWorkers, parameters: queueParameters()})
		if err != nil {
			return nil, err
		}
		samples := c.play(ctx, poisson(7, load*queueCapacity, during, func(r *rand.Rand, a *arrival) {
			plain(fmt.Sprintf("t%d", r.IntN(5)))(r, a)
			a.deadline = deadline
		}))
		if err := c.close(); err != nil {
			return nil, err
		}
		n := 0
		for i := range samples {
			if samples[i].reason == "" {
				n++
			}
		}
		good[load] = float64(n) / during.Seconds()
		peak = max(peak, good[load])
		refusal = max(refusal, quantile(0.99, samples, func(s *sample) (time.Duration, bool) { return s.total, s.reason == apierr.Overloaded }))
	}
	share := good[3] / peak
	return []Row{{
		What:     "goodput at 3 times the capacity, of its peak",
		Measured: fmt.Sprintf("%.0f %% (%.1f of %.1f a second; capacity %.0f)", 100*share, good[3], peak, queueCapacity),
		Bar:      "≥ 90 %", Holds: share >= 0.9,
	}, {
		What: "p99 time to refuse", Measured: refusal.Round(100 * time.Microsecond).String(), Bar: "< 50ms", Holds: refusal < 50*time.Millisecond,
	}}, nil
}
